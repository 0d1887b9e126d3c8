"use strict";
// The page of a run: one cursor, a step and a layer, that moves every panel; and a second run laid over the first.
const page = document.documentElement;
const run = new Recorded(data);
const THIS = "var(--series-0)", OTHER = "var(--series-1)", VALIDATION = "var(--series-2)", CLIPPED = "var(--series-3)";
const FIRST = "5 3", THEORY = "1.5 3";
let other = null; // the second run
const lost = run.steps?.marks.find((mark) => mark.kind.endsWith("not finite")); // a page opens where numbers end
let cursor = lost ? run.columnOf(lost.step) : Math.max(run.columns - 1, 0), layer = Math.max(run.layers.indexOf(data.layer), 0);
let courses = [], maps = []; // what moves with the cursor without being drawn anew

function say(template, values = {}) {
  const said = data.texts[page.lang]?.[template] ?? template;
  return said.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
const number = (level) => (level === undefined || Number.isNaN(level) ? say("not finite") : level === -Infinity ? "0" : shown(10 ** level));
const spread = ({ middle, least: low, largest: high }) => (low === undefined || Object.is(low, high) ? number(middle) : `${number(middle)} (${number(low)} – ${number(high)})`);
const NAMES = {
  gradient: () => say("weight gradient"),
  delta: () => say("back-propagated gradient (delta)"),
  activation: () => say("activations"),
  update: () => say("update ratio"),
};

// --- where the cursor is ------------------------------------------------------------------------------------------------

function whereText() {
  const [first, last] = run.stretch(cursor), values = { first: shown(first), last: shown(last), epoch: run.epochOf(first) ?? "" };
  if (!run.steps) return say("probe after {first} steps", values);
  const step = first === last ? say("step {first}", values) : say("steps {first} to {last}, middle (least – largest)", values);
  return values.epoch ? `${step}, ${say("epoch {epoch}", values)}` : step;
}

function told() {
  const parts = run.measures.map((measure) => {
    const at = run.at(measure, layer, cursor);
    return at && `${NAMES[measure]()} ${spread(at)}`;
  });
  if (run.values.loss) {
    const loss = { middle: run.values.loss.middle[cursor], least: run.values.loss.least[cursor], largest: run.values.loss.largest[cursor] };
    const text = Number.isFinite(loss.middle) ? shown(loss.middle) : say("not finite");
    parts.unshift(`${say("loss")} ${Object.is(loss.least, loss.largest) ? text : `${text} (${shown(loss.least)} – ${shown(loss.largest)})`}`);
  }
  const [first, last] = run.stretch(cursor);
  const here = (run.steps?.marks ?? []).filter((mark) => mark.step >= first && mark.step <= last);
  const marked = here.map((mark, i) => markText(mark, i === 0 || here[i - 1].step !== mark.step));
  const named = run.layers.length ? [run.layers[layer]] : [];
  return [whereText(), ...named, ...parts.filter(Boolean), ...marked].join(" · ");
}

const KINDS = {
  "loss not finite": () => [say("the loss is not finite"), "×", true],
  "gradient not finite": () => [say("a gradient is not finite"), "×", true],
  "loss spike": () => [say("the loss leaps"), "▲", false],
  "gradient spike": () => [say("the gradient leaps"), "▲", false],
  clipping: () => [say("clipping begins"), "┃", false],
};

// The samples of a step are told once, whatever came together there.
function markText(mark, withSamples) {
  const most = 16, samples = mark.samples.slice(0, most).join(", ") + (mark.samples.length > most ? ", …" : "");
  const text = say("step {step}: {what}", { step: shown(mark.step), what: KINDS[mark.kind]()[0] });
  return withSamples && mark.samples.length ? `${text}; ${say("its samples: {samples}", { samples })}` : text;
}

function moveTo(column, row = layer) {
  cursor = Math.min(Math.max(column, 0), run.columns - 1);
  layer = Math.min(Math.max(row, 0), Math.max(run.layers.length - 1, 0));
  $("cursor").value = cursor;
  $("cursor").setAttribute("aria-valuetext", whereText());
  if ($("layer")) $("layer").value = layer;
  $("where").textContent = told();
  const [first, last] = run.stretch(cursor);
  for (const course of courses) course.move((first + last + 1) / 2);
  for (const map of maps) map.move();
  drawProfiles();
  drawAlong();
  drawNumbers();
}

// --- the map of layers by steps -----------------------------------------------------------------------------------------

function ticksOfSteps() {
  const count = run.steps ? run.steps.count : run.columns;
  return linearAxis(0, count, Math.max(2, $("map").clientWidth / 90), true).ticks.map(([at, text]) => [at / count, text]);
}

function drawMap() {
  if (!$("map")) return;
  const measure = $("measure").value;
  const cells = run.layers.map((_, row) => Array.from({ length: run.columns }, (_, column) => run.at(measure, row, column)));
  const levels = cells.flat().map((at) => at?.middle ?? NaN).filter(Number.isFinite);
  const [low, high] = levels.length ? [least(levels), Math.max(largest(levels), least(levels) + 1)] : [0, 1];
  const value = (row, column) => {
    const at = cells[row][column];
    if (at === null) return null;
    if (at.lost || Number.isNaN(at.middle)) return "lost";
    return at.middle === -Infinity ? "zero" : (at.middle - low) / (high - low);
  };
  const label = say("{measure} of {count} layers, at each step", { measure: NAMES[measure](), count: run.layers.length });
  $("map").setAttribute("aria-label", label);
  const map = mapOf($("map"), { layers: run.layers, columns: run.columns, value, colour: viridis, ticks: ticksOfSteps(), told: label });
  dragged(map.svg, (event) => {
    const [row, column] = map.cell(event);
    moveTo(column, row);
  });
  maps.push({ move: () => map.move(layer, cursor) });
  const scale = $("scale");
  scale.querySelector(".scale").style.background = `linear-gradient(to right, ${channels.map((c) => `rgb(${c})`).join(",")})`;
  scale.querySelector(".low").textContent = number(low);
  scale.querySelector(".high").textContent = number(high);
}

// --- against depth ------------------------------------------------------------------------------------------------------

function drawProfiles() {
  const count = Math.max(run.layers.length, other?.layers.length ?? 0);
  for (const measure of ["gradient", "delta", "activation", "update"]) {
    const host = document.querySelector(`#${measure} .chart`);
    if (!host) continue;
    const lines = [];
    if (other?.values[measure]) lines.push({ ys: other.profile(measure, other.columnOf(run.stretch(cursor)[0])), colour: OTHER, width: 1.6 });
    const now = run.layers.map((_, row) => run.at(measure, row, cursor));
    const ys = now.map((at) => at?.middle ?? NaN);
    const wide = now.some((at) => at?.least !== undefined && at.least !== at.largest);
    lines.push({ ys: run.first(measure), colour: "var(--soft)", dash: FIRST, width: 1.4 });
    lines.push({ ys, colour: THIS, marks: true, band: wide ? [now.map((at) => at.least), now.map((at) => at.largest)] : null });
    // On top, so that it is seen where a training keeps to it.
    if (data.theory[measure]) lines.push({ ys: data.theory[measure].map((v) => (v > 0 ? Math.log10(v) : NaN)), colour: "var(--ink)", dash: THEORY, width: 2 });
    const label = `${NAMES[measure]()}: ${whereText()}; ${run.layers.map((name, i) => `${name} ${number(ys[i])}`).join(", ")}`;
    const frame = profileOf(host, lines, { count, title: say("layer, 1 at the input"), told: label, chosen: layer });
    dragged(frame.svg, (event) => moveTo(cursor, Math.round(frame.value(event)) - 1));
  }
}

function drawAlong() {
  if (!run.along?.length) return;
  const probe = run.probe(cursor);
  run.along.forEach((cell, i) => {
    for (const measure of ["delta", "activation"]) {
      const part = (levels, at) => Array.from(levels.slice(at * cell.count, (at + 1) * cell.count));
      const lines = [
        { ys: part(cell[measure], 0), colour: "var(--soft)", dash: FIRST, width: 1.4 },
        { ys: part(cell[measure], probe), colour: THIS, marks: true },
      ];
      const told = say("{measure} of {layer} against time", { measure: NAMES[measure](), layer: cell.layer });
      profileOf(document.querySelector(`#along-${i}-${measure} .chart`), lines, { count: cell.count, title: say("time step"), told, chosen: -1 });
    }
  });
}

// --- against the steps --------------------------------------------------------------------------------------------------

const isLost = (mark) => mark.kind.endsWith("not finite");
const signs = (of) => (run.steps?.marks ?? []).filter((mark) => mark.kind.startsWith(of)).map((mark) => ({ step: mark.step, sign: KINDS[mark.kind]()[1], lost: isLost(mark) }));

function columnsOf(recorded, values, colour, dash) {
  const xs = Array.from({ length: recorded.columns }, (_, column) => (recorded.stretch(column)[0] + recorded.stretch(column)[1] + 1) / 2);
  const band = values.least === values.middle ? null : [Array.from(values.least), Array.from(values.largest)];
  return { xs, ys: Array.from(values.middle), band, colour, dash, width: 1.2, dots: recorded.columns < 4 };
}

// The training's mean of an epoch stands in its middle, the validation at its end.
function epochsOf(recorded, name, colour, dash) {
  const values = recorded.told.epochs[name];
  if (!values) return null;
  const every = recorded.told.epochs.every, ends = recorded.steps?.ends;
  const end = (epoch) => (ends?.length ? ends[Math.min(epoch, ends.length) - 1] : epoch);
  const xs = values.map((_, i) => {
    const epoch = (i + 1) * every, before = epoch > 1 ? end(epoch - 1) : 0;
    return name.startsWith("val_") || name === "learning_rate" ? end(epoch) : (before + end(epoch)) / 2;
  });
  return { xs, ys: values.map((v) => v ?? NaN), colour, dash, dots: values.length <= 60 };
}

function drawCourses() {
  courses = [];
  for (const host of document.querySelectorAll("#courses .chart")) {
    const name = host.dataset.name, isNorm = name === "norm";
    let lines = [];
    for (const recorded of other ? [other, run] : [run]) {
      const [own, dash] = recorded === run ? [THIS, ""] : [OTHER, ""];
      if (recorded.values[name]) lines.push(columnsOf(recorded, recorded.values[name], own, dash));
      if (isNorm && recorded === run && run.values.clipped) lines.push(columnsOf(run, run.values.clipped, CLIPPED));
      if (!isNorm) {
        lines.push(epochsOf(recorded, name, own, name === "loss" ? "6 3" : ""));
        if (name !== "learning_rate") lines.push(epochsOf(recorded, `val_${name}`, recorded === run ? VALIDATION : OTHER, recorded === run ? "" : "2 3"));
      }
    }
    lines = lines.filter(Boolean);
    let values = lines.flatMap((line) => [...line.ys, ...(line.band ? [...line.band[0], ...line.band[1]] : [])]).filter(Number.isFinite);
    const logs = !isNorm && values.length && least(values) > 0 && largest(values) > 20 * least(values) && name !== "learning_rate";
    if (logs) {
      for (const line of lines) {
        line.ys = line.ys.map(Math.log10);
        line.band = line.band && line.band.map((ys) => ys.map(Math.log10));
      }
      values = values.map(Math.log10);
    }
    const y = isNorm || logs ? logAxis(values, 5) : spanOf(name, values);
    const [end, title] = [Math.max(...[run, other].filter(Boolean).map((r) => r.steps?.count ?? largest(lines.flatMap((l) => l.xs)))), run.steps ? say("optimizer step") : say("epoch")];
    const told = say("{name} against time", { name: host.parentNode.querySelector("figcaption").innerText });
    const course = courseOf(host, lines, { end, y, title, told, marks: name === "loss" ? signs("loss") : isNorm ? [...signs("gradient"), ...signs("clipping")] : [] });
    dragged(course.frame.svg, (event) => run.steps && moveTo(run.columnOf(Math.floor(course.frame.value(event)))));
    if (run.steps) courses.push(course);
  }
}

// Shares from 0 to 1; a rate from 0; else what there is, at least a twentieth of it: noise must not look like a cliff.
function spanOf(name, values) {
  if (name.endsWith("accuracy")) return linearAxis(0, 1, 5);
  if (!values.length) return linearAxis(0, 1, 5);
  const [low, high] = name === "learning_rate" ? [0, 1.08 * largest(values)] : [least(values), largest(values)];
  const spare = Math.max(0, 0.05 * Math.abs(high) - (high - low), 1e-9) / 2;
  return linearAxis(low - (name === "learning_rate" ? 0 : spare), high + spare, 5);
}

// --- dead and saturated shares ------------------------------------------------------------------------------------------

function drawShares() {
  for (const host of document.querySelectorAll("#shares .map")) {
    const name = host.dataset.name, probes = run.probes.steps.length;
    const value = (row, probe) => {
      const percent = run.share(name, row, probe);
      return percent === null ? "lost" : percent / 100;
    };
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const [from, to] = dark ? [[29, 35, 41], [150, 210, 255]] : [[255, 255, 255], [8, 48, 107]];
    const colour = (share) => from.map((c, i) => Math.round(c + (to[i] - c) * share));
    const ticks = linearAxis(0, Math.max(probes - 1, 1), Math.max(2, host.clientWidth / 90), true).ticks.map(([at]) => [(at + 0.5) / probes, String(run.probes.number[at] ?? "")]);
    const map = mapOf(host, { layers: run.layers, columns: probes, value, colour, ticks: ticks.filter(([at]) => at <= 1), told: host.parentNode.querySelector("figcaption").innerText });
    dragged(map.svg, (event) => {
      const [row, probe] = map.cell(event);
      moveTo(run.columnOf(Math.max(run.probes.steps[probe] - (run.steps ? 1 : 0), 0)), row);
    });
    maps.push({ move: () => map.move(layer, run.probe(cursor)) });
  }
}

// --- numbers ------------------------------------------------------------------------------------------------------------

function drawNumbers() {
  const table = $("numbers");
  if (!table?.closest("details").open) return;
  const measures = run.measures, shares = ["dead", "saturated"].filter((name) => run.values[name]);
  const row = (tag, texts) => {
    const tr = document.createElement("tr");
    texts.forEach((text, i) => {
      const cell = document.createElement(i ? tag : "th");
      cell.textContent = text;
      cell.scope = tag === "th" ? "col" : "row";
      if (i) cell.className = "number";
      tr.append(cell);
    });
    return tr;
  };
  const percent = (value) => (value === null ? "–" : `${value} %`);
  table.tHead.replaceChildren(row("th", [say("layer"), ...measures.map((m) => NAMES[m]()), ...shares.map((s) => (s === "dead" ? say("dead") : say("saturated")))]));
  table.tBodies[0].replaceChildren(
    ...run.layers.map((name, i) => {
      const values = measures.map((measure) => run.at(measure, i, cursor));
      return row("td", [name, ...values.map((at) => (at ? spread(at) : "–")), ...shares.map((s) => percent(run.share(s, i, run.probe(cursor))))]);
    }),
  );
}

// --- everything ---------------------------------------------------------------------------------------------------------

function drawLegends() {
  const own = other ? data.name : run.steps && run.steps.share > 1 ? say("at the cursor; the ground reaches from the least to the largest") : say("at the cursor");
  const others = other ? [[other.told.name, OTHER]] : [];
  if ($("profile-legend")) {
    const theory = Object.keys(data.theory).length ? [[say("theory at step 0"), "var(--ink)", THEORY]] : [];
    legendOf($("profile-legend"), [[own, THIS], ...others, [say("step 0"), "var(--soft)", FIRST], ...theory]);
  }
  if ($("course-legend")) {
    const entries = [[other ? data.name : run.steps ? say("training, each step") : say("training"), THIS], ...others];
    if (run.steps && run.told.epochs.loss) entries.push([say("training, mean of the epoch"), THIS, "6 3"]);
    if (Object.keys(data.epochs).some((name) => name.startsWith("val_"))) entries.push([say("validation"), VALIDATION]);
    if (run.values.clipped) entries.push([say("after clipping"), CLIPPED]);
    legendOf($("course-legend"), entries);
  }
}

function drawMarks() {
  $("marks")?.replaceChildren(
    ...run.steps.marks.map((mark) => {
      const button = document.createElement("button");
      const [what, sign, lost] = KINDS[mark.kind]();
      button.type = "button";
      button.className = lost ? "lost" : "";
      button.textContent = `${sign} ${say("step {step}: {what}", { step: shown(mark.step), what })}`;
      button.addEventListener("click", () => moveTo(run.columnOf(mark.step)));
      return button;
    }),
  );
}

function draw() {
  if (!run.columns) return;
  maps = [];
  for (const option of $("measure")?.options ?? []) option.textContent = NAMES[option.value]();
  drawMarks();
  drawLegends();
  drawMap();
  drawCourses();
  drawShares();
  moveTo(cursor);
}

if (run.columns) {
  $("cursor").max = run.columns - 1;
  $("cursor").addEventListener("input", (event) => moveTo(Number(event.target.value)));
  $("layer")?.addEventListener("change", (event) => moveTo(cursor, Number(event.target.value)));
  $("measure")?.addEventListener("change", draw);
  $("map")?.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [-20, 0], PageDown: [20, 0], Home: [-run.columns, 0], End: [run.columns, 0] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    moveTo(cursor + move[0], layer + move[1]);
  });
  $("numbers")?.closest("details").addEventListener("toggle", drawNumbers);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
