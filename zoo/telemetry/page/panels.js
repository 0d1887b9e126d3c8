"use strict";
// The panels of a run's page. Each is given what to draw, and draws it anew; `pick` moves the one cursor.
const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26838f", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"];
const channels = VIRIDIS.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

function viridis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (channels.length - 1), i = Math.min(Math.floor(at), channels.length - 2);
  return channels[i].map((from, c) => Math.round(from + (channels[i + 1][c] - from) * (at - i)));
}
const colourOf = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
const cut = (text, most) => (text.length <= most ? text : `${text.slice(0, most >> 1)}…${text.slice(text.length - (most >> 1) + 1)}`);

// Follow a pointer that is pressed, as a person drags it.
function dragged(node, move) {
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    move(event);
  });
  node.addEventListener("pointermove", (event) => event.buttons & 1 && move(event));
}

// --- a map: layers by columns -------------------------------------------------------------------------------------------

// `value(layer, column)` is a share of the colours, null for nothing known, "lost" or "zero".
function mapOf(host, { layers, columns, value, colour, ticks, told }) {
  host.replaceChildren();
  const width = Math.max(host.clientWidth, 160), most = width < 640 ? 20 : 26;
  const names = layers.map((name) => cut(name, most));
  const left = 10 + 6.2 * Math.min(most, largest(names.map((name) => name.length)));
  const rows = Math.round(Math.min(Math.max(layers.length * 18, 60), 440)), bottom = 22;
  const box = { left, top: 2, width: width - left - 2, height: rows };
  host.style.height = `${rows + bottom}px`;
  const canvas = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  Object.assign(canvas.style, { left: `${left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` });
  canvas.setAttribute("aria-hidden", "true");
  host.append(canvas);
  const small = new OffscreenCanvas(columns, layers.length), pixels = new ImageData(columns, layers.length), lost = [];
  const zero = colourOf("--zero").slice(1).match(/../g).map((hex) => parseInt(hex, 16));
  for (let layer = 0; layer < layers.length; layer += 1) {
    for (let column = 0; column < columns; column += 1) {
      const share = value(layer, column);
      if (share === "lost") lost.push([layer, column]);
      if (share === null || share === "lost") continue;
      pixels.data.set([...(share === "zero" ? zero : colour(share)), 255], 4 * (layer * columns + column));
    }
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  if (lost.length) hatched(context, lost, canvas.width / columns, canvas.height / layers.length, ratio);
  const svg = element("svg", { width, height: rows + bottom, role: "img", "aria-label": told }, host);
  const every = Math.ceil(14 / (rows / layers.length));
  for (let i = 0; i < layers.length; i += every) {
    element("text", { x: left - 5, y: box.top + (i + 0.5) * (rows / layers.length) + 4, "text-anchor": "end" }, svg, names[i]);
  }
  let free = -Infinity;
  for (const [at, text] of ticks) {
    const x = left + at * box.width, half = 3.2 * text.length + 4;
    if (x - half < free || x + half > width + 8) continue;
    element("text", { x: Math.min(x, width - half), y: rows + 16, "text-anchor": "middle" }, svg, text);
    free = x + half;
  }
  const cursor = element("path", { class: "cursor" }, svg);
  return {
    svg,
    cell(event) {
      const area = svg.getBoundingClientRect();
      const share = (at, from, size, count) => Math.min(Math.max(Math.floor(((at - from) / size) * count), 0), count - 1);
      return [share(event.clientY - area.top, box.top, rows, layers.length), share(event.clientX - area.left, left, box.width, columns)];
    },
    move(layer, column) {
      const [w, h] = [Math.max(box.width / columns, 1.5), rows / layers.length];
      const [x, y] = [left + (column / columns) * box.width, box.top + layer * h];
      const row = layer < 0 ? "" : `M${left} ${y}h${box.width}v${h}h${-box.width}Z`;
      cursor.setAttribute("d", `M${x} ${box.top}h${w}v${rows}h${-w}Z${row}`);
    },
  };
}

// Not by colour alone: what is not finite is hatched.
function hatched(context, cells, width, height, ratio) {
  const tile = new OffscreenCanvas(6 * ratio, 6 * ratio), pen = tile.getContext("2d");
  pen.fillStyle = colourOf("--card");
  pen.fillRect(0, 0, 6 * ratio, 6 * ratio);
  pen.strokeStyle = colourOf("--lost");
  pen.lineWidth = 1.6 * ratio;
  for (const shift of [-6, 0, 6]) {
    pen.moveTo((shift - 1) * ratio, 7 * ratio);
    pen.lineTo((shift + 7) * ratio, -ratio);
  }
  pen.stroke();
  context.fillStyle = context.createPattern(tile, "repeat");
  context.beginPath();
  for (const [layer, column] of cells) {
    context.rect(Math.floor(column * width), Math.floor(layer * height), Math.ceil(width), Math.ceil(height));
  }
  context.fill();
}

// --- against depth, or against time -------------------------------------------------------------------------------------

// Lines of {ys, style, over, band}; `over` is drawn above the others, and what it has no logarithm of is marked.
function profileOf(host, lines, { count, title, told, chosen }) {
  const everything = lines.flatMap((line) => [...line.ys, ...(line.band ? [...line.band[0], ...line.band[1]] : [])]);
  const x = linearAxis(0.5, count + 0.5, Math.max(2, host.clientWidth / 60), true);
  x.title = title;
  const frame = frameOf(host, 190, x, logAxis(everything, 5), told);
  const at = (n) => Array.from({ length: n }, (_, i) => (n === count ? i + 1 : 1 + (i * (count - 1)) / Math.max(n - 1, 1)));
  for (const line of lines) {
    if (line.band) bandOf(frame, at(line.ys.length), line.band[0], line.band[1], { style: `fill: ${line.colour}` });
  }
  for (const line of lines) {
    const xs = at(line.ys.length);
    lineOf(frame, xs, line.ys, { style: `stroke: ${line.colour}; stroke-width: ${line.width ?? 1.8}`, "stroke-dasharray": line.dash ?? "" });
    if (line.marks) lostMarks(frame, xs, line.ys, { style: `fill: ${line.colour}` });
  }
  if (chosen >= 0) {
    element("line", { class: "cursor", x1: frame.px(chosen + 1), x2: frame.px(chosen + 1), y1: frame.top, y2: frame.bottom }, frame.svg);
  }
  return frame;
}

// Against the steps: lines of {xs, ys, colour, dash, width, band, dots}; returns what moves the cursor.
function courseOf(host, lines, { end, y, title, told, marks }) {
  const x = linearAxis(0, Math.max(end, 1), Math.max(2, host.clientWidth / 80), true);
  x.title = title;
  const frame = frameOf(host, 170, x, y, told);
  const inside = (ys) => ys.map((v) => (Number.isFinite(v) ? Math.min(Math.max(v, y.low), y.high) : v));
  for (const { xs, band, colour } of lines) {
    if (band) bandOf(frame, xs, inside(band[0]), inside(band[1]), { style: `fill: ${colour}` });
  }
  for (const { xs, ys, colour, dash, width, dots } of lines) {
    lineOf(frame, xs, inside(ys), { style: `stroke: ${colour}; stroke-width: ${width ?? 1.8}`, "stroke-dasharray": dash ?? "" });
    if (dots) {
      ys.forEach((v, i) => Number.isFinite(v) && element("circle", { cx: frame.px(xs[i]), cy: frame.py(v), r: 2.4, style: `fill: ${colour}` }, frame.svg));
    }
  }
  for (const { step, sign, lost } of marks) {
    const place = { class: `mark ${lost ? "lost" : ""}`, x: frame.px(step + 0.5), y: frame.top + 10, "text-anchor": "middle" };
    element("text", { ...place, style: lost ? "fill: var(--lost)" : "fill: var(--ink)" }, frame.svg, sign);
  }
  const cursor = element("line", { class: "cursor", y1: frame.top, y2: frame.bottom }, frame.svg);
  return {
    frame,
    move(step) {
      cursor.setAttribute("x1", frame.px(step));
      cursor.setAttribute("x2", frame.px(step));
    },
  };
}

// What the lines of a panel are.
function legendOf(host, entries) {
  host.replaceChildren();
  for (const [text, colour, dash, width] of entries) {
    const entry = document.createElement("span");
    const swatch = element("svg", { width: 26, height: 10, "aria-hidden": "true" }, entry);
    const style = `stroke: ${colour}; stroke-width: ${width ?? 2.2}`;
    element("line", { x1: 0, x2: 26, y1: 5, y2: 5, style, "stroke-dasharray": dash ?? "" }, swatch);
    entry.append(text);
    host.append(entry);
  }
}
