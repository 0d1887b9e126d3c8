"""The page of a comparison: one file without network, whose table reads well even where scripts do not run."""

import collections
import dataclasses
import json
import math
import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.archive.differences import mean_and_deviation
from zoo.archive.summary import less_is_better
from zoo.report.entries import (
    Entry,
    grid_of,
    heat_colours,
    label,
    metric_of,
    settings,
    verdict_of_most,
)
from zoo.report.paired import paired_section
from zoo.report.pictures.scales import decades
from zoo.report.run_page import FILE
from zoo.report.text import over_repeats
from zoo.telemetry.page.bilingual import escaped
from zoo.telemetry.page.file import filled, hash_of, joined
from zoo.telemetry.page.telling import sign

HERE = Path(__file__).parent
PICTURE = "profile.png"
SPARK = (100, 30)  # pixels
SPARK_RANGE = (-12.0, 6.0)  # decades; beyond them one run would flatten all others


def page_text(entries: list[Entry], keys: list[str], title: str, folder: Path, link: str | None) -> str:
    """Return the page.

    Args:
        entries: best first.
        keys: that differ.
        title: of the page.
        folder: that it will lie in.
        link: address of a run in MLflow, but for its id; `None` for no links.
    """
    script = "\n".join([joined(("plot.js",)), joined(("sweep.js",), HERE)])
    finished = sum(entry.metric is not None for entry in entries)
    counts = collections.Counter(entry.verdict for entry in entries)
    told = [f"{len(entries)} runs", *(f"{n} {name}" for name, n in counts.most_common() if name != "-")]
    if entries and finished < len(entries):
        told.insert(1, f"{finished} finished")
    parts = {
        "title": escaped(title),
        "subtitle": escaped(" · ".join(told)),
        "heat_map": _heat_map(entries, keys),
        "paired": paired_section([entry.summary for entry in entries], keys),
        "chips": "\n    ".join(_chip(name, n) for name, n in counts.most_common()),
        "table": _table(entries, keys, folder, link),
        "data": _embedded(entries, keys),
        "style": "\n".join([joined(("page.css",)), joined(("sweep.css",), HERE)]),
        "script": script,
        "script_hash": hash_of(script),
    }
    return filled(HERE / "sweep.html", parts)


def _chip(name: str, count: int) -> str:
    return (
        f'<button type="button" class="chip" data-verdict="{escaped(name)}" aria-pressed="true">'
        f"{sign(name)}{escaped(name)} {count}</button>"
    )


def _embedded(entries: list[Entry], keys: list[str]) -> str:
    """Return the JSON that the page's script draws from: log10 of the profiles, null if not finite, "0" if zero."""
    layers: dict[tuple[str, ...], int] = {}
    runs = []
    for entry in entries:
        metric = f"{entry.metric.name.removeprefix('test_')} {entry.value:.4g}" if entry.metric else ""
        runs.append(
            {
                "folder": str(entry.summary.folder),
                "label": label(entry, keys, repeats=True),
                "verdict": entry.verdict,
                "metric": metric,
                "layers": layers.setdefault(tuple(entry.layers), len(layers)),
                "profiles": {name: [_levels(p) for p in profile] for name, profile in entry.profiles.items()},
            }
        )
    text = json.dumps({"layers": [list(names) for names in layers], "runs": runs}, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # or else a name could end the script element


def _levels(profile: np.ndarray) -> list[float | str | None]:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(profile)
    return [
        None if not math.isfinite(v) else "0" if v == 0 else round(float(x), 3)
        for v, x in zip(profile, logs, strict=True)
    ]


@dataclasses.dataclass
class Column:
    """A column of the table: its head, how a first press sorts it ("" is never), and the cell of a run."""

    head: str
    cell: Callable[[Entry], str]
    first: str = ""
    kind: str = ""


def _table(entries: list[Entry], keys: list[str], folder: Path, link: str | None) -> str:
    chosen = _first_chosen(entries)
    number = {id(entry): i for i, entry in enumerate(entries)}
    by_metric = _metric_column(entries)
    columns = [
        Column("", lambda entry: _box(entry, number[id(entry)] in chosen)),
        *_key_columns(keys, folder),
        Column("verdict", _verdict_cell, "ascending"),
        by_metric,
        *_repeats_column(entries, by_metric.first),
        *_arriving_column(entries),
        _profile_column(entries, folder),
        Column("seconds", lambda entry: _number(entry.summary.seconds or None, "{:.1f}"), "ascending", "number"),
        Column("parameters", lambda entry: _number(entry.summary.parameters, "{:,}"), "ascending", "number"),
    ]
    if link:
        columns.append(Column("", lambda entry: _link(entry, link)))
    lines = ['<table id="runs">', "<thead><tr>"]
    for column in columns:
        order = f' aria-sort="{column.first}"' if column is by_metric else ""
        head = escaped(column.head)
        head = f'<button type="button">{head}</button>' if column.first else head
        lines.append(f'<th scope="col" class="{column.kind}" data-first="{column.first}"{order}>{head}</th>')
    lines.append("</tr></thead>\n<tbody>")
    for i, entry in enumerate(entries):
        name, verdict = escaped(entry.summary.name), escaped(entry.verdict)
        cells = "".join(column.cell(entry) for column in columns)
        lines.append(f'<tr data-run="{i}" data-name="{name}" data-verdict="{verdict}">{cells}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _box(entry: Entry, checked: bool) -> str:
    state = ("checked" if checked else "") if entry.profiles else "disabled"
    told = f"draw the profile of {escaped(entry.summary.name)}"
    return f'<td><input type="checkbox" aria-label="{told}" {state}></td>'


def _key_columns(keys: list[str], folder: Path) -> list[Column]:
    """What differs, of which the first leads to the run's page."""

    def cell(entry: Entry, text: str, first: bool) -> str:
        shown = escaped(text or "–")
        shown = _linked(entry.summary.folder / FILE, folder, shown) if first else shown
        return f'<td class="key" data-v="{escaped(text)}">{shown}</td>'

    if not keys:
        return [Column("run", lambda entry: cell(entry, entry.summary.name, True), "ascending")]
    return [
        Column(key, lambda entry, i=i: cell(entry, entry.values[i], i == 0), "ascending") for i, key in enumerate(keys)
    ]


def _linked(file: Path, folder: Path, shown: str) -> str:
    """Let something lead to a file, as it is found from the page's folder; if there is none, leave it as it is."""
    if not file.is_file():
        return shown
    to = urllib.parse.quote(Path(os.path.relpath(file, folder)).as_posix())
    return f'<a href="{escaped(to)}">{shown}</a>'


def _verdict_cell(entry: Entry) -> str:
    verdict, failed = escaped(entry.verdict), "" if entry.metric else " failed"
    told = f'data-v="{verdict}" title="{escaped(entry.sentence)}"'
    sure = f" <small>{entry.summary.confidence:.2f}</small>" if entry.summary.confidence else ""
    return f'<td class="verdict{failed}" {told}>{sign(entry.verdict)}{verdict}{sure}</td>'


def _metric_column(entries: list[Entry]) -> Column:
    metric = metric_of(entries)

    def cell(entry: Entry) -> str:
        other = f" ({entry.metric.name})" if entry.metric and entry.metric.name != metric else ""
        return _number(entry.metric and entry.value, "{:.4g}" + escaped(other))

    return Column(metric.removeprefix("test_"), cell, "ascending" if less_is_better(metric) else "descending", "number")


def _repeats_column(entries: list[Entry], first: str) -> list[Column]:
    cells = {}
    for group in settings(entry for entry in entries if entry.metric):
        if len(group) > 1:
            values = [entry.value for entry in group]
            cell = _number(mean_and_deviation(values)[0], f"{over_repeats(values)} <small>of {len(group)}</small>")
            cells |= {id(entry): cell for entry in group}
    nothing = _number(None, "")
    return [Column("mean ± deviation", lambda entry: cells.get(id(entry), nothing), first, "number")] if cells else []


def _arriving_column(entries: list[Entry]) -> list[Column]:
    """The share of the output's delta that reaches the first layer, at step 0 and at the end."""

    def cell(entry: Entry) -> str:
        first, last = entry.summary.arriving or (None, None)
        return _number(last, f"{first:.0e} → {last:.0e}" if last is not None else "")

    told = any(entry.summary.arriving for entry in entries)
    return [Column("reaches first layer", cell, "ascending", "number")] if told else []


def _profile_column(entries: list[Entry], folder: Path) -> Column:
    low, high = limits = _spark_range(entries)
    head = f"profile, 1e{low:.0f} to 1e{high:.0f}"
    return Column(
        head, lambda entry: f"<td>{_linked(entry.summary.folder / PICTURE, folder, _spark(entry, limits))}</td>"
    )


def _link(entry: Entry, link: str) -> str:
    run_id = entry.summary.run_id
    if not run_id:
        return "<td></td>"
    to = escaped(link + urllib.parse.quote(str(run_id)))
    return f'<td><a href="{to}" target="_blank" rel="noopener">MLflow</a></td>'


def _number(value: float | None, shown: str) -> str:
    """Return a cell that sorts by `value`, and shows it as the format `shown` says."""
    if value is None:
        return '<td class="number" data-v=""></td>'
    sortable = "" if math.isnan(value) else repr(float(value)).replace("inf", "Infinity")
    return f'<td class="number" data-v="{sortable}">{shown.format(value)}</td>'


def _first_chosen(entries: list[Entry]) -> set[int]:
    """Indices of the runs whose profiles are drawn when the page opens: all of few, the best and worst of many."""
    able = [i for i, entry in enumerate(entries) if entry.profiles]
    return set(able if len(able) <= 6 else able[:3] + able[-3:])


def _spark_range(entries: list[Entry]) -> tuple[float, float]:
    values = [entry.profiles["gradient_norm"].ravel() for entry in entries if entry.profiles]
    values = np.concatenate(values) if values else np.zeros(0)
    low, high = decades(np.log10(values[np.isfinite(values) & (values > 0)]))
    low, high = max(low, SPARK_RANGE[0]), min(high, SPARK_RANGE[1])
    return (low, high) if low < high else SPARK_RANGE


def _spark(entry: Entry, limits: tuple[float, float]) -> str:
    """Draw the weight gradient against depth, the same scale for all runs.

    A bar on top is not finite, one at the bottom zero; triangles point to where a line goes on beyond the scale.
    """
    if not entry.profiles:
        return "–"
    width, height = SPARK
    low, high = limits
    profiles = entry.profiles["gradient_norm"]
    columns = np.unique(np.linspace(0, profiles.shape[1] - 1, 60).round().astype(int))
    x = 2 + (width - 4) * (columns / max(profiles.shape[1] - 1, 1) if len(columns) > 1 else np.array([0.5]))
    paths = []
    for kind, profile in zip(("first", "end"), profiles[:, columns], strict=True):
        usable = np.isfinite(profile) & (profile > 0)
        logs = np.log10(profile, where=usable, out=np.zeros(len(profile)))
        y = height - 3 - (height - 6) * (np.clip(logs, low, high) - low) / (high - low)
        path, pen = "", "M"
        for px, py, good in zip(x, y, usable, strict=True):
            path += f"{pen}{px:.1f} {py:.1f}" if good else ""
            pen = "L" if good else "M"
        if len(columns) == 1 and path:
            path += "h.1"
        paths.append(f'<path class="{kind}" d="{path}"/>' if path else "")
        if kind != "end":
            continue
        for where, tip, foot in (
            (usable & (logs > high + 0.05), 0, 4),
            (usable & (logs < low - 0.05), height, height - 4),
        ):
            cut = "".join(f"M{px:.1f} {tip}L{px - 2.5:.1f} {foot}h5Z" for px in x[where])
            paths.append(f'<path class="cut" d="{cut}"/>' if cut else "")
        for where, level in ((~np.isfinite(profile), 2), (profile == 0, height - 1)):
            if where.any():
                paths.append(f'<path class="lost" d="{"".join(f"M{px - 1:.1f} {level}h2" for px in x[where])}"/>')
    told = f"weight gradient norm against depth, 1e{low:.0f} to 1e{high:.0f}: dashed at step 0, solid at the end"
    if "cut" in "".join(paths):
        told += "; triangles: it goes on beyond the scale"
    return (
        f'<svg class="spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{told}</title>{''.join(paths)}</svg>"
    )


def _heat_map(entries: list[Entry], keys: list[str]) -> str:
    grid = grid_of(entries, keys)
    if grid is None:
        return ""
    metric = metric_of(entries)
    means = grid.means()
    colours = heat_colours(means, metric)
    index = {id(entry): i for i, entry in enumerate(entries)}
    lines = [
        f'<section id="map"><h2>{escaped(metric.removeprefix("test_"))} and verdict</h2>'
        "<p>Press a cell to draw its profiles.</p>",
        '<div class="wide"><table><thead><tr><td></td>',
        f'<th class="axis" colspan="{len(grid.across)}">{escaped(grid.keys[1])}</th></tr>',
        f'<tr><th class="axis">{escaped(grid.keys[0])}</th>' + "".join(f"<th>{escaped(v)}</th>" for v in grid.across),
        "</tr></thead><tbody>",
    ]
    for i, a in enumerate(grid.down):
        lines.append(f"<tr><th>{escaped(a)}</th>")
        for j, b in enumerate(grid.across):
            cell = grid.cells.get((a, b))
            if not cell:
                lines.append('<td><span class="none">–</span></td>')
                continue
            ground, ink = colours[i][j]
            told = "\n".join(f"{entry.verdict}: {entry.sentence}" for entry in cell)
            value = f"{means[i, j]:.4g}" if np.isfinite(means[i, j]) else "–"
            lines.append(
                f'<td><button type="button" data-runs="{" ".join(str(index[id(entry)]) for entry in cell)}" '
                f'style="background:{ground};color:{ink}" title="{escaped(told)}">'
                f"{value}<small>{escaped(verdict_of_most(cell))}</small></button></td>"
            )
        lines.append("</tr>")
    return "\n".join([*lines, "</tbody></table></div></section>"])
