"""What a person reads at the end: the block of a run, the table of a sweep."""

import dataclasses
import io
import math
import shutil
from pathlib import Path

import numpy as np

from zoo.archive.summary import REPEATS, chosen_metric, overridden, sort_value

BAR = 32
MOST_ROWS = 24
STOPPED = {"hopeless": ", stopped as hopeless", "not finite": ", stopped as its loss was not finite"}


def run_block(name: str, summary: dict, history, folder: Path, viewer: str | None) -> str:
    """Return the closing block of one run.

    Args:
        name: the run's name.
        summary: of the run, as in `summary.json`.
        history: its `GradientHistory`, or `None` if gradients were not tracked.
        folder: the run folder.
        viewer: the command that shows the recorded runs.
    """
    metrics = summary["metrics"]
    tested = "  ".join(f"{key[5:]} {value:.4g}" for key, value in metrics.items() if key.startswith("test_"))
    lines = [
        "─" * min(79, shutil.get_terminal_size().columns),
        f"trained   {name}",
        f"          {summary['parameters']:,} parameters, {summary['epochs']} epochs, {duration(summary['seconds'])}"
        + STOPPED.get(summary["stopped"], ""),
        f"test      {tested}",
    ]
    verdict = summary["verdict"]
    if verdict:
        lines.append(f"verdict   {verdict['name']}: {told(verdict)}")
        lines += tries(verdict)
    lines += flight_lines(summary.get("flight"), history, folder)
    if history is not None and len(history):
        lines += [
            "",
            "gradient norm of each layer, median over the last epoch, log scale",
            *profile_bars(history.layers, last_profile(history)),
        ]
    lines += ["", f"files     {folder}"]
    if viewer:
        lines.append(f"compare   {viewer}   (MLflow on http://127.0.0.1:5000)")
    return "\n".join(lines)


def told(verdict: dict) -> str:
    """Return a verdict's sentence with its confidence; of the undecided there is none."""
    confidence = verdict.get("confidence") or 0.0
    return verdict["sentence"] + (f" (confidence {confidence:.2f})" if confidence else "")


def tries(verdict: dict) -> list[str]:
    """Return up to three lines on what to try: overrides, or where the run's model heeds none, changes to its code."""
    changes = [f"{cure['name']}: {cure['change']}" for cure in verdict.get("cures", [])]
    told = (verdict["remedies"] or changes)[:3]
    return [f"{'try' if i == 0 else '':10}{line}" for i, line in enumerate(told)]


def verdict_word(verdict: dict | None) -> str:
    """Return a verdict's name with its confidence, `vanishing 0.95`; "-" for none."""
    if not verdict:
        return "-"
    confidence = verdict.get("confidence") or 0.0
    return f"{verdict['name']} {confidence:.2f}" if confidence else verdict["name"]


def flight_lines(flight: dict | None, history, folder: Path) -> list[str]:
    """Return three lines on where a training stopped being numbers; one if gradients alone overflowed, without harm.

    Args:
        flight: as in `flight.json`; `None` without one.
        history: the run's `GradientHistory` or `None`.
        folder: the run folder.
    """
    if flight is None:
        overflown = 0 if history is None else np.count_nonzero(~np.isfinite(history.global_norm))
        if not overflown:
            return []
        return [f"overflow  in {overflown} of {len(history)} steps, which loss scaling or clipping made good"]
    failed, first = flight["variables"], flight["first"]
    if first == "loss":
        first = "the loss" + (f", and from it the gradients of {len(failed)} variables" if failed else "")
    elif len(failed) > 1:
        first += f" (gradient; {len(failed) - 1} more with it)"
    came = "nothing foretold it"
    if flight["rises_from"] < flight["step"]:
        came = f"gradients rose from step {flight['rises_from']} on"
        came += f", {flight['grown']} most" if flight["grown"] else ""
    after = f"; {flight['finite_after']} later steps were finite" if flight["finite_after"] else ""
    samples = ", ".join(map(str, flight["indices"][:5])) + (", ..." if len(flight["indices"]) > 5 else "")
    samples = f"batch of {len(flight['indices'])}: {samples}" if flight["indices"] else "steps are not batches"
    if flight["suspects"]:
        odd = flight["suspects"][0]
        samples = (
            f"{odd['index']} (row {odd['row']} of the source) in step {odd['step']} stands out by a value of "
            f"{float(odd['largest']):.1e}; {samples}"
        )
    return [
        f"failed    step {flight['step']}, epoch {flight['epoch'] + 1}: {first}; {came}{after}",
        f"samples   {samples}",
        f"flight    {folder / 'flight.json'}, and the steps before in flight.csv",
    ]


def preflight_block(name: str, parameters: int, verdict, probe) -> str:
    """Return what `preflight=true` prints: the back-propagated gradient of each layer before the first step."""
    lines = ["─" * min(79, shutil.get_terminal_size().columns), f"built     {name}: {parameters:,} parameters"]
    lines += tries(dataclasses.asdict(verdict))
    lines += ["", "gradient that comes back to each layer's output, per sample, log scale"]
    return "\n".join(lines + profile_bars(probe.layers, probe.delta_norm))


def last_profile(history) -> np.ndarray:
    """Return the (layers,) gradient norms, each the median over the last epoch."""
    rows = history.epoch(-1) if len(history.epoch_ends) else slice(None)
    return np.median(history.norms[rows], axis=0)


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
            bar = "not finite"
        elif value == 0:
            bar = ""
        else:
            bar = blocks((np.log10(value) - low) / (high - low) * BAR)
        lines.append(f"{layers[i]:{width}}  {bar:{BAR}}  {value:.2e}")
    return lines


def blocks(length: float) -> str:
    """Return a bar of `length` characters, drawn in eighths; never quite nothing."""
    eighths = max(1, round(length * 8))
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def progress_line(done: int, total: int, summary: dict, keys: list[str], left: float) -> str:
    """Return `3/24 what differs  verdict  metric  seconds  ETA`, of which `left` seconds is the last."""
    name, eta = differing(summary, keys), f"ETA {duration(left)}"
    if summary["status"] != "FINISHED":
        return f"{done}/{total}  {name}  {summary['status']}: {summary.get('reason')}  {eta}"
    key, value = chosen_metric(summary)
    verdict = summary["verdict"]["name"] if summary["verdict"] else "-"
    return f"{done}/{total}  {name}  {verdict}  {key} {value:.4g}  {duration(summary['seconds'])}  {eta}"


def differing(summary: dict, keys: list[str]) -> str:
    """Return what makes a run another one than the rest of its sweep: `model.depth=5 activation=relu`."""
    chosen = overridden(summary)
    return " ".join(f"{key}={short(chosen[key])}" for key in keys if key in chosen) or summary["name"]


def short(value: str) -> str:
    """'0.07698135320280701' -> '0.07698': a search chooses numbers that nobody would type."""
    try:
        return value if len(value) <= 8 else f"{float(value):.4g}"
    except ValueError:
        return value


def sweep_table(runs: list[dict], title: str, keys: list[str]) -> str:
    """Return the comparison of a sweep's runs, best first, with only `keys`, those that differ.

    Runs that differ in seed or fold alone share a row (see `grouped`): mean ± deviation, the best validation first,
    since that is what a choice may be made by.
    """
    from rich.console import Console
    from rich.table import Table

    shown = [key for key in keys if key not in REPEATS]
    if shown != keys:
        header, rows = _grouped_rows(grouped(runs, shown), shown)
    else:
        header, rows = _run_rows(runs, shown)
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in header:
        known = name in ("verdict", *shown)
        table.add_column(name, overflow="fold", justify="left" if known else "right")
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=max(80, shutil.get_terminal_size().columns)).print(table)
    return text.getvalue().rstrip()


def _run_rows(runs: list[dict], keys: list[str]) -> tuple[list[str], list[list[str]]]:
    finished = sorted((r for r in runs if r["status"] == "FINISHED"), key=sort_value)
    metric = chosen_metric(finished[0])[0] if finished else "metric"
    rows = []
    for r in finished + [r for r in runs if r["status"] != "FINISHED"]:
        chosen = overridden(r)
        row = [short(chosen.get(key, "")) for key in keys]
        if r["status"] == "FINISHED":
            verdict = verdict_word(r["verdict"])
            arrives = "{:.0e} → {:.0e}".format(*r["arriving"]) if r.get("arriving") else ""
            own, value = chosen_metric(r)
            row += [verdict, f"{value:.4g}{_other(own, metric)}", arrives, f"{r['seconds']:.1f}"]
        else:
            row += [r["status"], "", "", ""]
        rows.append(row)
    return [*keys, "verdict", metric, "reaches first layer", "seconds"], rows


def grouped(runs: list[dict], keys: list[str]) -> list[list[dict]]:
    """Return the runs in groups that agree in what the command line set for `keys`, in the order of their first."""
    groups: dict[tuple, list[dict]] = {}
    for r in runs:
        chosen = overridden(r)
        groups.setdefault(tuple(chosen.get(key, "") for key in keys), []).append(r)
    return list(groups.values())


def _grouped_rows(groups: list[list[dict]], keys: list[str]) -> tuple[list[str], list[list[str]]]:
    done = [[r for r in group if r["status"] == "FINISHED"] for group in groups]
    # Of runs of several kinds, as a query may find them, each has its own.
    own = [chosen_metric(group[0])[0] if group else None for group in done]
    metric = next((name for name in own if name), "test_metric")
    validation = metric.replace("test_", "val_")

    def order(i: int) -> tuple[bool, float]:
        mean = np.mean([r["metrics"][own[i].replace("test_", "val_")] for r in done[i]]) if done[i] else math.nan
        worst = math.isnan(mean)
        return own[i] not in (metric, None), math.inf if worst else -mean if own[i] == "test_accuracy" else mean

    rows = []
    for i in sorted(range(len(groups)), key=order):
        name = own[i] or metric
        told = [mean_and_deviation([r["metrics"][n] for r in done[i]]) for n in (name.replace("test_", "val_"), name)]
        counts: dict[str, int] = {}
        for r in groups[i]:
            finished = r["status"] == "FINISHED"
            verdict = (r["verdict"]["name"] if r["verdict"] else "-") if finished else r["status"]
            counts[verdict] = counts.get(verdict, 0) + 1
        chosen = overridden(groups[i][0])
        rows.append(
            [
                *(short(chosen.get(key, "")) for key in keys),
                str(len(groups[i])),
                ", ".join(f"{count} {verdict}" for verdict, count in counts.items()),
                *(text + _other(name, metric) if text else "" for text in told),
                f"{np.sum([r['seconds'] for r in done[i]]):.1f}",
            ]
        )
    return [*keys, "runs", "verdict", validation, metric, "seconds"], rows


def _other(own: str, metric: str) -> str:
    """Name a run's own metric where the column is of another one."""
    return "" if own == metric else f" ({own.removeprefix('test_')})"


def mean_and_deviation(values: list[float]) -> str:
    """[0.9, 0.94] -> '0.920 ± 0.028': the mean, and the deviation of one value (of a sample: n - 1)."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def duration(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
