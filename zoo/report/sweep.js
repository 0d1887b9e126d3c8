"use strict";
// Sorts and filters the table, and draws the profiles of the chosen runs. Text from runs is only ever set as text.
(() => {
  const body = $("runs").tBodies[0];
  const rows = [...body.rows];
  const box = (row) => row.querySelector("input[type=checkbox]");

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
  const HEIGHT = 360;
  let points = [];

  // Whole numbers of layers, from the first on; or shares of the depth.
  function depthAxis(share, deepest, width) {
    if (share) return { ...linearAxis(0, 1, width < 500 ? 2 : 4), title: "depth, 0 at the input and 1 at the output" };
    return { ...linearAxis(1, Math.max(deepest, 2), Math.max(2, width / 60), true), title: "layer, 1 at the input" };
  }

  function draw() {
    legend.replaceChildren();
    tip.style.display = "none";
    points = [];
    const measure = $("measure").value, moment = Number($("moment").value), share = $("depth").value === "share";
    const chosen = rows.filter((row) => box(row).checked).map((row) => data.runs[Number(row.dataset.run)]);
    // null is not finite, "0" is zero
    const profileOf = (run) => (run.profiles?.[measure]?.[moment] ?? []).map((v) => (v === null ? NaN : v === "0" ? -Infinity : v));
    const drawn = chosen.map((run) => [run, profileOf(run)]);
    const deepest = drawn.reduce((most, [, profile]) => Math.max(most, profile.length), 2);
    const xAxis = depthAxis(share, deepest, chart.clientWidth), yAxis = logAxis(drawn.flatMap(([, profile]) => profile), 8);
    const frame = frameOf(chart, HEIGHT, xAxis, yAxis, "profiles of the chosen runs"), { svg } = frame;
    const at = (n) => Array.from({ length: n }, (_, i) => (share ? (n > 1 ? i / (n - 1) : 0.5) : i + 1));
    const nothing = !chosen.length ? "choose runs in the table below" : drawn.some(([, p]) => p.length) ? "" : "the chosen runs recorded none of this";
    if (nothing) element("text", { x: (frame.left + frame.right) / 2, y: HEIGHT / 2, "text-anchor": "middle" }, svg, nothing);

    drawn.forEach(([run, profile], i) => {
      const colour = `var(--series-${i % SERIES})`, dash = DASHES[Math.floor(i / SERIES) % DASHES.length], xs = at(profile.length);
      lineOf(frame, xs, profile, { "data-i": i, style: `stroke: ${colour}`, "stroke-dasharray": dash });
      lostMarks(frame, xs, profile, { "data-i": i, style: `fill: ${colour}` });
      profile.forEach((v, j) => {
        if (!Number.isFinite(v)) return;
        points.push([frame.px(xs[j]), frame.py(v), i, run, j, v]);
        if (profile.length > 40) return;
        element("circle", { class: "mark", "data-i": i, cx: frame.px(xs[j]), cy: frame.py(v), r: 2.6, style: `fill: ${colour}` }, svg);
      });
      const entry = document.createElement("span");
      const swatch = element("svg", { width: 26, height: 10, "aria-hidden": "true" }, entry);
      element("line", { x1: 0, x2: 26, y1: 5, y2: 5, style: `stroke: ${colour}`, "stroke-width": 2.5, "stroke-dasharray": dash }, swatch);
      entry.append([run.label, run.verdict, run.metric].filter(Boolean).join(" · "));
      entry.addEventListener("mouseenter", () => emphasize(i));
      entry.addEventListener("mouseleave", () => emphasize(null));
      legend.append(entry);
    });
    svg.addEventListener("mousemove", (event) => {
      const area = svg.getBoundingClientRect();
      const [mx, my] = [event.clientX - area.left, event.clientY - area.top];
      let best = null, nearest = 900; // within 30 px
      for (const point of points) {
        const distance = (point[0] - mx) ** 2 + (point[1] - my) ** 2;
        if (distance < nearest) [best, nearest] = [point, distance];
      }
      emphasize(best && best[2]);
      tip.style.display = best ? "block" : "none";
      if (!best) return;
      const [px, py, , run, layer, v] = best;
      tip.textContent = `${data.layers[run.layers][layer]}: ${(10 ** v).toPrecision(3)}  ·  ${run.label}`;
      const right = px > frame.width / 2;
      tip.style.left = right ? "" : `${px + 12}px`;
      tip.style.right = right ? `${frame.width - px + 12}px` : "";
      tip.style.top = `${py - 12}px`;
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
  whenResized([chart], draw);
})();
