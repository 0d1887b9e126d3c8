"use strict";
// What the page of a run and that of a sweep draw with. Text that comes from a person is only ever set as text.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const SERIES = 6; // colours of series, --series-0 to --series-5: each has one meaning on a page
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function element(name, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}
const superscript = (n) => String(n).replace(/./g, (c) => SUPER[c] ?? "⁻");
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

// --- axes: {low, high, ticks: [[value, text], ...]} -------------------------------------------------------------------

// Of log10 values, at least a decade: one dot must not look like a cliff. Up to two decades 2 and 5 are marked too.
function logAxis(values, most = 6) {
  const known = values.filter(Number.isFinite);
  let low = known.length ? least(known) : 0, high = known.length ? largest(known) : 1;
  const spare = Math.max(0, 1 - (high - low)) / 2;
  [low, high] = [low - spare - 0.04, high + spare + 0.04];
  if (high - low > 2) {
    const every = Math.ceil((high - low) / most), ticks = [];
    for (let power = Math.ceil(low / every) * every; power <= high; power += every) ticks.push([power, `10${superscript(power)}`]);
    return { low, high, ticks };
  }
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const factor of [1, 2, 5]) {
      const at = power + Math.log10(factor);
      if (at >= low && at <= high) ticks.push([at, shown(factor * 10 ** power)]);
    }
  }
  return { low, high, ticks };
}

// Round steps of 1, 2, 5, 10, ... in a range of numbers.
function linearAxis(low, high, most = 6, whole = false) {
  const rough = Math.max((high - low) / most, whole ? 1 : 1e-12), power = 10 ** Math.floor(Math.log10(rough));
  const every = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / every - 1e-9) + 0; i * every <= high + every * 1e-9; i += 1) ticks.push([i * every, shown(i * every + 0)]);
  return { low, high, ticks };
}

// 0.00021345 -> "2.13e-4", 1234567 -> "1,234,567", 0.5 -> "0.5".
function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return value.toLocaleString("en");
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}

// --- a frame with axes, as wide as its host: text keeps its size --------------------------------------------------------

function frameOf(host, height, x, y, told) {
  host.querySelector("svg")?.remove();
  const width = Math.max(host.clientWidth, 160);
  const svg = element("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told }, host);
  const letters = y.ticks.reduce((most, [, text]) => Math.max(most, text.length), 1);
  const left = 14 + 6.2 * letters, right = width - 10, top = 8, bottom = height - (x.title ? 34 : 20);
  const px = (value) => left + ((right - left) * (value - x.low)) / (x.high - x.low || 1);
  const py = (value) => bottom - ((bottom - top) * (value - y.low)) / (y.high - y.low || 1);
  for (const [value, text] of y.ticks) {
    element("line", { class: "grid", x1: left, x2: right, y1: py(value), y2: py(value) }, svg);
    element("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, svg, text);
  }
  let free = -Infinity; // ticks whose texts would touch are left out
  for (const [value, text] of x.ticks) {
    const at = px(value), half = 3.2 * text.length + 3;
    element("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }, svg);
    if (at - half < free) continue;
    element("text", { x: Math.min(at, width - half), y: bottom + 14, "text-anchor": "middle" }, svg, text);
    free = at + half;
  }
  if (x.title) element("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, svg, x.title);
  const value = (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    return x.low + ((x.high - x.low) * (Math.min(Math.max(at, left), right) - left)) / (right - left);
  };
  return { svg, px, py, left, right, top, bottom, width, height, value };
}

// A line through what is a finite number; a gap where nothing is.
function lineOf(frame, xs, ys, attributes) {
  let path = "", pen = "M";
  ys.forEach((y, i) => {
    if (!Number.isFinite(y)) {
      pen = "M";
      return;
    }
    const lone = pen === "M" && !Number.isFinite(ys[i + 1]);
    path += `${pen}${frame.px(xs[i]).toFixed(1)} ${frame.py(y).toFixed(1)}${lone ? "h.1" : ""}`;
    pen = "L";
  });
  return path ? element("path", { class: "curve", d: path, ...attributes }, frame.svg) : null;
}

// The ground between two lines.
function bandOf(frame, xs, lows, highs, attributes) {
  const at = (i, ys) => `${frame.px(xs[i]).toFixed(1)} ${frame.py(ys[i]).toFixed(1)}`;
  let path = "";
  for (let i = 0; i < xs.length; i += 1) {
    if (!Number.isFinite(lows[i])) continue;
    let end = i;
    while (end + 1 < xs.length && Number.isFinite(lows[end + 1])) end += 1;
    const there = [], back = [];
    for (let k = i; k <= end; k += 1) {
      there.push(at(k, highs));
      back.unshift(at(k, lows));
    }
    path += `M${there.join("L")}L${back.join("L")}Z`;
    i = end;
  }
  return path ? element("path", { class: "band", d: path, ...attributes }, frame.svg) : null;
}

// What a log scale cannot hold: a cross on top where a value is not finite, a triangle at the bottom where it is zero.
function lostMarks(frame, xs, ys, style) {
  ys.forEach((y, i) => {
    if (Number.isFinite(y)) return;
    const zero = y === -Infinity;
    const place = { class: "mark", x: frame.px(xs[i]), y: zero ? frame.bottom - 2 : frame.top + 9, "text-anchor": "middle" };
    element("text", { ...place, ...style }, frame.svg, zero ? "▾" : "×");
  });
}

// Draw anew when a width changes, not more than once a frame.
function whenResized(hosts, draw) {
  const measured = () => hosts.reduce((sum, host) => sum + host.clientWidth, 0);
  let width = measured(), asked = false;
  new ResizeObserver(() => {
    const now = measured();
    if (now === width || asked) return;
    asked = true;
    requestAnimationFrame(() => {
      [asked, width] = [false, now];
      draw();
    });
  }).observe(document.body);
}
