"use strict";
// Sorts and filters the table, and draws the profiles of the chosen runs. Text from runs is only ever set as text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const body = $("runs").tBodies[0];
  const rows = [...body.rows];
  const box = (row) => row.querySelector("input[type=checkbox]");
  const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8c8c8c"];
  const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

  // --- sort -------------------------------------------------------------------------------------------------------
  const value = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  const number = (text) => (text === "" ? NaN : Number(text));

  function sort(head) {
    const column = head.cellIndex;
    const first = head.dataset.first ?? "ascending";
    const other = { ascending: "descending", descending: "ascending" };
    const order = head.hasAttribute("aria-sort") ? other[head.getAttribute("aria-sort")] : first;
    for (const th of head.parentNode.cells) th.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const numeric = rows.every((row) => value(row, column) === "" || !Number.isNaN(number(value(row, column))));
    rows.sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is missing comes last, either way
      return sign * (numeric ? number(x) - number(y) : x.localeCompare(y, "en", { numeric: true }));
    });
    body.append(...rows);
    draw();
  }
  for (const button of document.querySelectorAll("#runs th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  // --- filter -----------------------------------------------------------------------------------------------------
  const chips = [...document.querySelectorAll(".chip")];

  function filter() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const off = new Set(chips.filter((c) => c.getAttribute("aria-pressed") === "false").map((c) => c.dataset.verdict));
    let shown = 0;
    for (const row of rows) {
      const text = `${row.dataset.name} ${row.textContent}`.toLowerCase();
      row.hidden = off.has(row.dataset.verdict) || !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    $("count").textContent = shown === rows.length ? `${shown} runs` : `${shown} of ${rows.length} runs`;
  }
  $("filter").addEventListener("input", filter);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") === "false");
      filter();
    });
  }

  // --- choose -----------------------------------------------------------------------------------------------------
  function choose(wanted) {
    for (const row of rows) if (!box(row).disabled) box(row).checked = wanted(row);
    draw();
  }
  $("all").addEventListener("click", () => choose((row) => !row.hidden));
  $("none").addEventListener("click", () => choose(() => false));
  body.addEventListener("change", draw);
  for (const cell of document.querySelectorAll("#map td button")) {
    const runs = cell.dataset.runs.split(" ");
    cell.addEventListener("click", () => {
      const chosen = rows.filter((row) => runs.includes(row.dataset.run));
      const on = !chosen.every((row) => box(row).disabled || box(row).checked);
      for (const row of chosen) if (!box(row).disabled) box(row).checked = on;
      draw();
    });
  }

  // --- draw -------------------------------------------------------------------------------------------------------
  const chart = $("chart"), tip = $("tip"), legend = $("legend");
  const W = 1100, H = 360, LEFT = 58, RIGHT = 14, TOP = 12, BOTTOM = 40;
  let points = [];

  function element(name, attributes, parent, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, v] of Object.entries(attributes)) node.setAttribute(key, v);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }
  const superscript = (n) => String(n).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");

  function draw() {
    chart.querySelector("svg")?.remove();
    legend.replaceChildren();
    tip.style.display = "none";
    points = [];
    const measure = $("measure").value, moment = Number($("moment").value), share = $("depth").value === "share";
    const chosen = rows.filter((row) => box(row).checked).map((row) => data.runs[Number(row.dataset.run)]);
    const drawn = chosen.map((run) => [run, run.profiles?.[measure]?.[moment] ?? []]);
    const levels = drawn.flatMap(([, profile]) => profile).filter((v) => typeof v === "number");
    let low = 0, high = 1;
    if (levels.length) {
      low = Math.floor(levels.reduce((a, b) => Math.min(a, b)) + 0.02);
      high = Math.max(low + 1, Math.ceil(levels.reduce((a, b) => Math.max(a, b)) - 0.02));
    }
    const deepest = drawn.reduce((most, [, profile]) => Math.max(most, profile.length), 2);
    const x = (i, n) => LEFT + (W - LEFT - RIGHT) * (share ? (n > 1 ? i / (n - 1) : 0.5) : i / (deepest - 1));
    const y = (v) => TOP + (H - TOP - BOTTOM) * (1 - (v - low) / (high - low));

    const svg = element("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "profiles of the chosen runs" }, chart);
    const every = Math.ceil((high - low) / 8);
    for (let power = Math.ceil(low / every) * every; power <= high; power += every) {
      element("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(power), y2: y(power) }, svg);
      element("text", { x: LEFT - 8, y: y(power) + 4, "text-anchor": "end" }, svg, `10${superscript(power)}`);
    }
    const step = share ? 0.25 : [1, 2, 5, 10, 20, 50, 100, 200, 500].find((s) => deepest / s <= 16) ?? 1000;
    for (let at = share ? 0 : step; at <= (share ? 1 : deepest); at += step) {
      const px = share ? LEFT + (W - LEFT - RIGHT) * at : x(at - 1, deepest);
      element("line", { class: "grid", x1: px, x2: px, y1: TOP, y2: H - BOTTOM }, svg);
      element("text", { x: px, y: H - BOTTOM + 16, "text-anchor": "middle" }, svg, String(at));
    }
    const axis = share ? "depth, 0 at the input and 1 at the output" : "layer, 1 at the input";
    element("text", { x: (W + LEFT) / 2, y: H - 6, "text-anchor": "middle" }, svg, axis);
    if (!chosen.length) {
      element("text", { x: (W + LEFT) / 2, y: H / 2, "text-anchor": "middle" }, svg, "choose runs in the table below");
    } else if (!drawn.some(([, profile]) => profile.length)) {
      element("text", { x: (W + LEFT) / 2, y: H / 2, "text-anchor": "middle" }, svg, "the chosen runs recorded none of this");
    }

    drawn.forEach(([run, profile], i) => {
      const colour = COLOURS[i % COLOURS.length];
      const dash = DASHES[Math.floor(i / COLOURS.length) % DASHES.length];
      let path = "", pen = "M";
      profile.forEach((v, j) => {
        const px = x(j, profile.length);
        if (typeof v !== "number") { // null is not finite, "0" is zero
          const mark = v === null ? ["×", TOP + 9] : ["▾", H - BOTTOM - 2];
          const style = `fill: ${colour}; font-size: 13px`;
          element("text", { class: "mark", "data-i": i, x: px, y: mark[1], "text-anchor": "middle", style }, svg, mark[0]);
          pen = "M";
          return;
        }
        path += `${pen}${px.toFixed(1)} ${y(v).toFixed(1)}`;
        pen = "L";
        points.push([px, y(v), i, run, j, v]);
      });
      if (path) {
        element("path", { class: "curve", "data-i": i, d: path, stroke: colour, "stroke-dasharray": dash }, svg);
      }
      if (profile.length <= 40) {
        for (const [px, py, of] of points) {
          if (of === i) element("circle", { class: "mark", "data-i": i, cx: px, cy: py, r: 2.6, fill: colour }, svg);
        }
      }
      const entry = document.createElement("span");
      const swatch = element("svg", { width: 26, height: 10, "aria-hidden": "true" }, entry);
      element("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash }, swatch);
      entry.append([run.label, run.verdict, run.metric].filter(Boolean).join(" · "));
      entry.addEventListener("mouseenter", () => emphasize(i));
      entry.addEventListener("mouseleave", () => emphasize(null));
      legend.append(entry);
    });
    svg.addEventListener("mousemove", (event) => {
      const area = svg.getBoundingClientRect();
      const [mx, my] = [((event.clientX - area.left) * W) / area.width, ((event.clientY - area.top) * H) / area.height];
      let best = null, nearest = 900; // within 30 units
      for (const point of points) {
        const distance = (point[0] - mx) ** 2 + (point[1] - my) ** 2;
        if (distance < nearest) [best, nearest] = [point, distance];
      }
      emphasize(best && best[2]);
      tip.style.display = best ? "block" : "none";
      if (!best) return;
      const [px, py, , run, layer, v] = best;
      tip.textContent = `${data.layers[run.layers][layer]}: ${(10 ** v).toPrecision(3)}  ·  ${run.label}`;
      const right = px > W / 2;
      tip.style.left = right ? "" : `${(px / W) * area.width + 12}px`;
      tip.style.right = right ? `${(1 - px / W) * area.width + 12}px` : "";
      tip.style.top = `${(py / H) * area.height - 12}px`;
    });
    svg.addEventListener("mouseleave", () => {
      tip.style.display = "none";
      emphasize(null);
    });
  }

  function emphasize(i) {
    chart.classList.toggle("one", i !== null);
    for (const node of chart.querySelectorAll("[data-i]")) node.classList.toggle("chosen", node.dataset.i === String(i));
  }

  for (const id of ["measure", "moment", "depth"]) $(id).addEventListener("change", draw);
  filter();
  draw();
})();
