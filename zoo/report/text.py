"""What a person reads at the end: the block of a run, the table of a sweep."""

import collections
import io
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.archive.differences import REPEATS, gathered, mean_and_deviation, setting_of
from zoo.archive.models import models_in
from zoo.archive.summary import Metric, Summary
from zoo.places import COMMAND
from zoo.telemetry.findings import Verdict
from zoo.telemetry.language import LABEL, label, named, padded, say, wrapped

if TYPE_CHECKING:  # they import Keras
    from zoo.telemetry.history import GradientHistory
    from zoo.telemetry.probe import Probe

BAR = 32
MOST_ROWS = 24
MOST_MODELS = 6  # that are told one by one
PIECES = re.compile(r"[^ _.]*[_.]|[^ _.]+| ")  # all of a column's head, parted where it may be broken


def redraws() -> bool:
    """Whether output may be drawn anew in place, and in colour: on a terminal where nothing asks for plain text."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns that lines may take; 80 where there is no terminal."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def folded(lines: Sequence[str]) -> list[str]:
    """Return lines that a terminal has room for, what goes on indented."""
    return [wrapped(line, width()) for line in lines]


def run_block(summary: Summary, history: "GradientHistory | None", viewer: str | None) -> str:
    """Return the closing block of one run.

    Args:
        summary: of the run, which finished.
        history: its gradients; `None` if they were not tracked.
        viewer: the command that shows the recorded runs.
    """
    tested = "  ".join(f"{key[5:]} {value:.4g}" for key, value in summary.metrics.items() if key.startswith("test_"))
    lines = [
        "─" * min(79, shutil.get_terminal_size().columns),
        f"{label('trained')}{summary.name}",
        " " * LABEL
        + say(
            "{parameters:,} parameters, {epochs}, {duration}{stopped}",
            parameters=summary.parameters,
            epochs=say("1 epoch" if summary.epochs == 1 else "{count} epochs", count=summary.epochs),
            duration=duration(summary.seconds),
            stopped=stopped_told(summary.stopped),
        ),
        f"{label('test')}{tested}",
    ]
    if summary.verdict:
        lines.append(f"{label('verdict')}{summary.verdict.headline}")
        lines += tries(summary.verdict)
        lines += found(summary.verdict)
    lines = folded(lines)
    lines += folded(flight_lines(summary.flight, history, summary.folder))
    if history is not None and len(history):
        lines += [
            "",
            say("gradient norm of each layer, median over the last epoch, log scale"),
            *profile_bars(history.layers, history.last_profile),
        ]
    lines += ["", f"{label('page')}{summary.folder / 'run.html'}", f"{label('files')}{summary.folder}"]
    if told := models_told([summary.folder]):
        lines.append(told)
    if viewer:
        lines.append(label("compare") + say("{viewer}   (MLflow on http://127.0.0.1:5000)", viewer=viewer))
    return "\n".join(lines)


def models_told(folders: Sequence[Path]) -> str:
    """Return lines with path and size of the models in these folders; of many how many there are, and their size."""
    paths = [folder / name for folder in folders for name in models_in(folder)]
    if len(paths) > MOST_MODELS:
        size = sum(path.stat().st_size for path in paths)
        return label("models") + say("{count}, {size} together", count=len(paths), size=size_told(size))
    return "\n".join(f"{label('model')}{path} ({size_told(path.stat().st_size)})" for path in paths)


def size_told(size: int) -> str:
    """Return a number of bytes: `0.3 MB`."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


def tested_block(file: Path, name: str, samples: int, metrics: Mapping[str, float], summary: Summary) -> str:
    """Return what `python -m zoo.evaluate` prints.

    Args:
        file: of the model.
        name: of the data.
        samples: how many there were.
        metrics: that it came to.
        summary: of the run that left it.
    """
    own = {key[5:]: value for key, value in summary.metrics.items() if key.startswith("test_")}
    lines = [
        f"{label('model')}{file} ({size_told(file.stat().st_size)})",
        label("data") + say("{name}: {samples:,} samples", name=name, samples=samples),
        f"{label('test')}{_metrics_told(metrics)}",
    ]
    if own:
        lines.append(label("run") + say("{metrics} on its own test part", metrics=_metrics_told(own)))
    return "\n".join(lines)


def _metrics_told(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))


def stopped_told(why: str | None) -> str:
    """Return what ended a training before its last epoch, as the end of a line."""
    if why is None:
        return ""
    if why == "pruned":
        return say(", stopped as others were better")
    return say(", stopped as hopeless" if why == "hopeless" else ", stopped as its loss was not finite")


def tries(verdict: Verdict) -> list[str]:
    """Return up to three lines on what to try: overrides, or where the run's model heeds none, changes to its code."""
    told = (verdict.remedies or [cure.short for cure in verdict.cures])[:3]
    return [(" " * LABEL if i else label("try")) + line for i, line in enumerate(told)]


def found(verdict: Verdict, *, notes: bool = False) -> list[str]:
    """Return lines on up to three faults that the verdict does not tell itself; with `notes` on all that was found."""
    told = verdict.further if notes else [finding for finding in verdict.further if finding.fault][:3]
    lines = []
    for finding in told:
        lines.append(f"{label('found') if finding.fault else label('note')}{finding.told}")
        lines += [" " * LABEL + say("try {change}", change=say(cure.change)) for cure in finding.cures[:1]]
    return lines


def verdict_word(summary: Summary) -> str:
    """Return the verdict's name with its confidence, `vanishing 0.95`; what became of a run that did not finish."""
    return f"{named(summary.word)} {summary.confidence:.2f}" if summary.confidence else named(summary.word)


def flight_lines(flight: Mapping[str, Any] | None, history: "GradientHistory | None", folder: Path) -> list[str]:
    """Return three lines on where a training stopped being numbers; one if gradients alone overflowed, without harm.

    Args:
        flight: as in `flight.json`; `None` without one.
        history: the run's `GradientHistory` or `None`.
        folder: the run folder.
    """
    told = flight_told(flight, history)
    if flight is None:
        return [label("overflow") + line for line in told]
    where = say("{path}, and the steps before in flight.csv", path=folder / "flight.json")
    return [label("failed") + told[0], label("samples") + told[1], label("flight") + where]


def flight_told(flight: Mapping[str, Any] | None, history: "GradientHistory | None") -> list[str]:
    """Return where a training stopped being numbers, and its samples there; arguments as of `flight_lines`."""
    if flight is None:
        overflown = 0 if history is None else np.count_nonzero(~np.isfinite(history.global_norm))
        if history is None or not overflown:
            return []
        told = say(
            "in {count} of {all} steps, which loss scaling or clipping made good", count=overflown, all=len(history)
        )
        return [told]
    failed, first = flight["variables"], flight["first"]
    if first == "loss":
        first = say(
            "the loss, and from it the gradients of {count} variables" if failed else "the loss", count=len(failed)
        )
    elif len(failed) > 1:
        first = say("{first} (gradient; {count} more with it)", first=first, count=len(failed) - 1)
    came = say("nothing foretold it")
    if flight["rises_from"] < flight["step"]:
        came = say(
            "gradients rose from step {step} on, {grown} most"
            if flight["grown"]
            else "gradients rose from step {step} on",
            step=flight["rises_from"],
            grown=flight["grown"],
        )
    if flight["finite_after"]:
        came = say("{came}; {count} later steps were finite", came=came, count=flight["finite_after"])
    samples = ", ".join(map(str, flight["indices"][:5])) + (", ..." if len(flight["indices"]) > 5 else "")
    samples = say(
        "batch of {count}: {samples}" if flight["indices"] else "steps are not batches",
        count=len(flight["indices"]),
        samples=samples,
    )
    if flight["suspects"]:
        odd = flight["suspects"][0]
        samples = say(
            "{index} (row {row} of the source) in step {step} stands out by a value of {largest:.1e}; {samples}",
            index=odd["index"],
            row=odd["row"],
            step=odd["step"],
            largest=float(odd["largest"]),
            samples=samples,
        )
    where = {"step": flight["step"], "epoch": flight["epoch"] + 1}
    return [say("step {step}, epoch {epoch}: {first}; {came}", first=first, came=came, **where), samples]


def preflight_block(name: str, parameters: int, verdict: Verdict, probe: "Probe") -> str:
    """Return what `preflight=true` prints: the back-propagated gradient of each layer before the first step."""
    lines = [
        "─" * min(79, shutil.get_terminal_size().columns),
        label("built") + say("{name}: {parameters:,} parameters", name=name, parameters=parameters),
    ]
    lines += tries(verdict)
    lines = folded(lines)
    lines += ["", say("gradient that comes back to each layer's output, per sample, log scale")]
    return "\n".join(lines + profile_bars(probe.layers, probe.delta_norm))


def profile_bars(layers: list[str], profile: np.ndarray) -> list[str]:
    """Return one line a layer: name, a bar on a log scale over the profile's own decades, the norm."""
    usable = profile[np.isfinite(profile) & (profile > 0)]
    low, high = (math.floor(np.log10(usable.min())), math.ceil(np.log10(usable.max()))) if len(usable) else (0, 1)
    high = max(high, low + 1)
    shown = np.unique(np.linspace(0, len(profile) - 1, min(len(profile), MOST_ROWS)).round().astype(int))
    width = max(len(layers[i]) for i in shown)
    lines = [f"{'':{width}}  1e{low:+03d}{'':{BAR - 10}}1e{high:+03d}"]
    for i in shown:
        value = profile[i]
        if not np.isfinite(value):
            bar = say("not finite")
        elif value == 0:
            bar = ""
        else:
            bar = blocks(float((np.log10(value) - low) / (high - low) * BAR))
        lines.append(f"{layers[i]:{width}}  {padded(bar, BAR)}  {value:.2e}")
    return lines


def blocks(length: float) -> str:
    """Return a bar of `length` characters, drawn in eighths; never quite nothing."""
    eighths = max(1, round(length * 8))
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def progress_line(done: int, total: int, summary: Summary, keys: list[str], left: float | None) -> str:
    """Return `3/24 what differs  verdict  metric  seconds  ETA`, of which `left` seconds is the last.

    Where it is not known how many there will be, `left` is `None`, and the total is not told.
    """
    name, eta = differing(summary, keys), "" if left is None else "  " + say("ETA {duration}", duration=duration(left))
    which = f"{done}" if left is None else f"{done}/{total}"
    if not summary.finished:
        return f"{which}  {name}  {named(summary.status)}: {summary.reason}{eta}"
    key, value = summary.metric
    return f"{which}  {name}  {named(summary.word)}  {key} {value:.4g}  {duration(summary.seconds)}{eta}"


def differing(summary: Summary, keys: list[str]) -> str:
    """Return what makes a run another one than the rest of its sweep: `model.depth=5 activation=relu`."""
    chosen = summary.chosen
    return " ".join(f"{key}={short(chosen[key])}" for key in keys if key in chosen) or summary.name


def short(value: str) -> str:
    """'0.07698135320280701' -> '0.07698': a search chooses numbers that nobody would type."""
    try:
        return value if len(value) <= 8 else f"{float(value):.4g}"
    except ValueError:
        return value


def sweep_table(runs: Sequence[Summary], title: str, keys: list[str]) -> str:
    """Return the comparison of a sweep's runs, best first, with only `keys`, those that differ.

    Runs that differ in seed or fold alone share a row: mean ± deviation, the best validation first,
    since that is what a choice may be made by.
    """
    shown = [key for key in keys if key not in REPEATS]
    if shown != keys:
        header, rows = _grouped_rows(gathered(runs, lambda run: setting_of(run, shown)), shown)
    else:
        header, rows = _run_rows(runs, shown)
    return drawn_table(title, header, rows, words={say("verdict"), *shown})


def drawn_table(title: str, header: list[str], rows: list[list[str]], words: Collection[str]) -> str:
    """Return a table for the terminal, with the columns of `words` to the left, and the others, of numbers, right."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    width = max(80, shutil.get_terminal_size((120, 24)).columns)  # a file or a pipe has no width of its own
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    least = [max(map(cell_len, [*PIECES.findall(head), *cells])) for head, *cells in columns]
    # Where there is too little room it is rather the heads that are broken than what stands below them.
    while (excess := sum(widths) + 3 * len(widths) - width) > 0 and widths != least:
        longest = max(range(len(widths)), key=lambda i: widths[i] - least[i])
        widths[longest] -= min(excess, widths[longest] - least[longest])
    table = Table(title=title, title_justify="left", show_edge=False)
    for name, chosen in zip(header, widths, strict=True):
        justify = "left" if name in words else "right"
        head = _broken(name, chosen)
        folded = excess > 0 and name in words and name != say("verdict")  # values of keys may be as long as they like
        table.add_column(head, overflow="fold", justify=justify, width=None if folded else chosen)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    # Without markup, in which [a,b] would be a style.
    Console(file=text, width=width, markup=False).print(table)
    return text.getvalue().rstrip()


def _broken(head: str, width: int) -> str:
    """Break a column's head where its words end: "test_accuracy" -> "test_\\naccuracy"."""
    lines = [""]
    for piece in PIECES.findall(head):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def _run_rows(runs: Sequence[Summary], keys: list[str]) -> tuple[list[str], list[list[str]]]:
    finished = sorted((run for run in runs if run.finished), key=lambda run: run.metric.rank)
    metric = finished[0].metric.name if finished else "metric"
    rows = []
    for run in [*finished, *(run for run in runs if not run.finished)]:
        row = [*(short(run.chosen.get(key, "")) for key in keys), verdict_word(run)]
        if run.finished:
            arrives = "{:.0e} → {:.0e}".format(*run.arriving) if run.arriving else ""
            own, value = run.metric
            told = f"{value:.4g}{_other(own, metric)}"
            row += [_over([run], _training(own)), told, arrives, f"{run.seconds:.1f}"]
        else:
            row += [""] * 4
        rows.append(row)
    header = [*keys, say("verdict"), _training(metric), metric, say("reaches first layer"), say("seconds")]
    return header, rows


def _grouped_rows(groups: list[list[Summary]], keys: list[str]) -> tuple[list[str], list[list[str]]]:
    done = [[run for run in group if run.finished] for group in groups]
    # Of runs of several kinds, as a query may find them, each has its own.
    own = [group[0].metric.name if group else None for group in done]
    metric = next((name for name in own if name), "test_metric")
    validation = validation_of(metric)

    def order(i: int) -> tuple[bool, float]:
        name = own[i]
        if name is None:
            return False, math.inf
        mean = float(np.mean([run.metrics[validation_of(name)] for run in done[i]]))
        return name != metric, Metric(name, mean).rank

    rows = []
    for i in sorted(range(len(groups)), key=order):
        name = own[i] or metric
        told = [""] * 3
        if done[i]:
            names = (_training(name), validation_of(name), name)
            told = [_over(done[i], n) for n in names]
            told = [*told[:-1], told[-1] + _other(name, metric)]
        counts = collections.Counter(run.word for run in groups[i])
        chosen = groups[i][0].chosen
        rows.append(
            [
                *(short(chosen.get(key, "")) for key in keys),
                str(len(groups[i])),
                ", ".join(f"{count} {named(verdict)}" for verdict, count in counts.items()),
                *told,
                f"{sum(run.seconds for run in done[i]):.1f}",
            ]
        )
    header = [*keys, say("runs"), say("verdict"), _training(metric), validation, metric, say("seconds")]
    return header, rows


def _training(metric: str) -> str:
    """What the training part came to in the last epoch, where `metric` is of the test part."""
    return metric.removeprefix("test_")


def _over(runs: Sequence[Summary], metric: str) -> str:
    """Return a metric over repeats; nothing where it was not recorded."""
    values = [run.metrics[metric] for run in runs if metric in run.metrics]
    return over_repeats(values) if values else ""


def validation_of(metric: str) -> str:
    """What a choice between settings may be made by, where `metric` is of the test part."""
    return metric.replace("test_", "val_")


def over_repeats(values: Sequence[float]) -> str:
    """Return the mean and the deviation of one value over repeats; where there are none, the one value."""
    return with_deviation(*mean_and_deviation(values)) if len(values) > 1 else f"{values[0]:.4g}"


def with_deviation(mean: float, deviation: float) -> str:
    """0.91528, 0.0098 -> "0.9153 ± 0.0098": as many digits as the deviation leaves a meaning."""
    if not (math.isfinite(mean) and deviation > 0):
        return f"{mean:.4g} ± {deviation:.2g}"
    digits = min(6, max(0, 1 - math.floor(math.log10(deviation))))
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def _other(own: str, metric: str) -> str:
    """Name a run's own metric where the column is of another one."""
    return "" if own == metric else f" ({own.removeprefix('test_')})"


def command_of(overrides: Sequence[str]) -> str:
    """Return the command that makes a run, as a shell takes it."""
    return " ".join([COMMAND, *map(shlex.quote, overrides)])


def duration(seconds: float) -> str:
    """75 -> '1 min 15 s': to whole seconds, from an hour on to whole minutes."""
    whole = round(seconds)
    if whole < 60:
        return say("{seconds:.0f} s", seconds=whole)
    if whole < 3600:
        return say("{minutes:.0f} min {seconds:.0f} s", minutes=whole // 60, seconds=whole % 60)
    hours, minutes = divmod(round(seconds / 60), 60)
    return say("{hours:.0f} h {minutes:.0f} min", hours=hours, minutes=minutes)
