"use strict";
// What a page holds of a run, unpacked: log10 of norms, NaN where a value is not finite, -Infinity where it is zero.
const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

function levelsOf(packed) {
  const bytes = new DataView(bytesOf(packed.levels).buffer), count = bytes.byteLength / 2;
  const step = (packed.high - packed.low) / 65532, levels = new Float64Array(count);
  for (let i = 0; i < count; i += 1) {
    const code = bytes.getUint16(2 * i, true);
    levels[i] = code === 65535 ? NaN : code === 65534 ? -Infinity : packed.low + code * step;
  }
  return levels;
}

function thinnedOf(packed, unpack) {
  const middle = unpack(packed.middle);
  const bits = packed.nonfinite ? bytesOf(packed.nonfinite) : null;
  return {
    middle,
    least: packed.least ? unpack(packed.least) : middle,
    largest: packed.largest ? unpack(packed.largest) : middle,
    lost: (i) => bits !== null && ((bits[i >> 3] >> (7 - (i & 7))) & 1) === 1,
  };
}

// A run as its page tells it. A column is a step, or a stretch of them; without steps it is a probe.
class Recorded {
  constructor(told) {
    this.told = told;
    this.steps = told.steps ?? null;
    this.probes = told.probes ?? null;
    const known = this.steps ?? this.probes;
    this.layers = known?.layers ?? [];
    this.columns = this.steps ? Math.ceil(this.steps.count / this.steps.share) : (this.probes?.steps.length ?? 0);
    this.place = new Map((this.probes?.layers ?? []).map((name, i) => [name, i]));
    this.values = {};
    if (this.steps) {
      for (const name of ["gradient", "update", "norm", "clipped"]) {
        if (this.steps[name]) this.values[name] = thinnedOf(this.steps[name], levelsOf);
      }
      this.values.loss = thinnedOf(this.steps.loss, (numbers) => numbers.map((v) => v ?? NaN));
    }
    if (this.probes) {
      for (const name of ["delta", "activation"]) this.values[name] = levelsOf(this.probes[name]);
      if (!this.steps) this.values.gradient = { middle: this.byLayer(levelsOf(this.probes.gradient)), lost: () => false };
      for (const name of ["dead", "saturated"]) this.values[name] = bytesOf(this.probes[name].percent);
      this.along = this.probes.along.map((cell) => ({ ...cell, delta: levelsOf(cell.delta), activation: levelsOf(cell.activation) }));
    }
  }

  // (probes, layers) -> (layers, probes), as steps have it.
  byLayer(levels) {
    const count = this.columns, rows = this.probes.layers.length;
    return Float64Array.from({ length: rows * count }, (_, i) => levels[(i % count) * rows + Math.floor(i / count)]);
  }

  get measures() {
    return ["gradient", "delta", "activation", "update"].filter((name) => this.values[name]);
  }

  // First and last step of a column.
  stretch(column) {
    if (!this.steps) return [this.probes.steps[column], this.probes.steps[column]];
    const first = column * this.steps.share;
    return [first, Math.min(first + this.steps.share, this.steps.count) - 1];
  }

  columnOf(step) {
    if (this.steps) return Math.min(Math.max(Math.floor(step / this.steps.share), 0), this.columns - 1);
    return Math.max(this.probes.steps.findLastIndex((at) => at <= step), 0);
  }

  // The last probe that was made when a column's steps were done.
  probe(column) {
    const done = this.steps ? this.stretch(column)[1] + 1 : this.probes.steps[column];
    return Math.max(this.probes.steps.findLastIndex((at) => at <= done), 0);
  }

  // A measure of one layer at a column: {middle, least, largest}, or null where it was not measured.
  at(measure, layer, column) {
    const values = this.values[measure];
    if (!values) return null;
    if (values.middle) {
      const i = layer * this.columns + column;
      return { middle: values.middle[i], least: values.least?.[i], largest: values.largest?.[i], lost: values.lost(i) };
    }
    const place = this.place.get(this.layers[layer]);
    if (place === undefined) return null;
    return { middle: values[this.probe(column) * this.probes.layers.length + place] };
  }

  profile(measure, column) {
    return this.layers.map((_, layer) => this.at(measure, layer, column)?.middle ?? NaN);
  }

  // What a measure was before the first step: of norms that of the first one.
  first(measure) {
    return this.profile(measure, 0);
  }

  // Share of a layer, in percent, at a probe; null where it is not known.
  share(name, layer, probe) {
    const place = this.place.get(this.layers[layer]);
    const percent = place === undefined ? 255 : this.values[name][probe * this.probes.layers.length + place];
    return percent === 255 ? null : percent;
  }

  epochOf(step) {
    const ends = this.steps?.ends ?? [];
    const epoch = ends.findIndex((end) => step < end);
    return ends.length ? (epoch < 0 ? ends.length : epoch) + 1 : null;
  }
}
