"""The runs of a comparison: what differs between them, repeats of one setting, and the grid that two keys make."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from zoo.archive.differences import REPEATS, gathered, setting_of
from zoo.archive.run import kernel_layers
from zoo.archive.summary import Metric, Summary, less_is_better
from zoo.report.pictures.style import INK
from zoo.telemetry.history import GradientHistory

MEASURES = ("gradient_norm", "delta_norm", "activation_rms")


@dataclasses.dataclass
class Entry:
    """One run, as it is shown.

    Attributes:
        summary: of the run.
        values: of the keys that differ.
        metric: of the test part; `None` unless the run finished.
        setting: the values that it shares with its repeats.
        layers: names of the layers in the profiles.
        profiles: for each measure (2, layers) float64: at step 0 and at the end.
    """

    summary: Summary
    values: list[str]
    metric: Metric | None
    setting: tuple[str, ...]
    layers: list[str] = dataclasses.field(default_factory=list)
    profiles: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The verdict's name; what became of the run if it did not finish."""
        return self.summary.word

    @property
    def sentence(self) -> str:
        """The verdict's sentence, what to try and what else was found; the reason if the run did not finish."""
        if not self.summary.finished:
            return self.summary.reason or "it was cut off, and could not say why"
        if (verdict := self.summary.verdict) is None:
            return "gradients were not tracked"
        others = [f"{finding.cause}: {finding.sentence}" for finding in verdict.further if finding.fault]
        return "\n".join([verdict.sentence, *(f"try {remedy}" for remedy in verdict.remedies[:3]), *others])

    @property
    def value(self) -> float:
        """The metric's value; NaN if there is none."""
        return self.metric.value if self.metric else math.nan


def entry_of(summary: Summary, keys: Sequence[str]) -> Entry:
    """Read what is shown of a run: its values of `keys`, metric and profiles."""
    values = [summary.chosen.get(key, "") for key in keys]
    entry = Entry(summary, values, summary.metric if summary.finished else None, setting_of(summary, keys))
    if summary.finished:  # what a killed run left may be half a file
        entry.layers, entry.profiles = read_profiles(summary.folder)
    return entry


def read_profiles(folder: str | Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return a run's layers with weights between units, and measures (2, layers) at step 0 and at the end.

    From the probes; a run without them has the gradient norms of its first step and the median of its last epoch's.
    """
    probes, gradients = Path(folder) / "probes.npz", Path(folder) / "gradients.npz"
    if probes.is_file():
        with np.load(probes, allow_pickle=False) as file:
            shown = kernel_layers(file["has_kernel"])
            return file["layers"][shown].tolist(), {
                name: file[name][[0, -1]][:, shown].astype(np.float64) for name in MEASURES
            }
    if gradients.is_file():
        history = GradientHistory.load(gradients)
        if len(history):
            shown = kernel_layers(history)
            norms = history.norms[:, shown].astype(np.float64)
            last = norms[history.epoch(-1)] if len(history.epoch_ends) else norms
            return [history.layers[i] for i in shown], {"gradient_norm": np.stack([norms[0], np.median(last, axis=0)])}
    return [], {}


def varied(keys: Sequence[str]) -> list[int]:
    """Indices of the keys that tell settings apart: all but seeds and folds."""
    return [i for i, key in enumerate(keys) if key not in REPEATS]


def label(entry: Entry, keys: Sequence[str], *, repeats: bool) -> str:
    """Return the settings that tell a run from the others, each with its name: `depth=5 seed=1`.

    Args:
        entry: of the run.
        keys: that differ.
        repeats: whether seeds and folds are told too.
    """
    shown = [i for i in (range(len(keys)) if repeats else varied(keys)) if entry.values[i]]
    if not shown:
        return entry.summary.name
    return " ".join(f"{name}={entry.values[i]}" for i, name in enumerate(short_keys(keys)) if i in shown)


def short_keys(keys: Sequence[str]) -> list[str]:
    """["model.depth", "a.rate", "b.rate"] -> ["depth", "a.rate", "b.rate"]."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def settings(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Gather the repeats of each setting, in the order of their first entries."""
    return gathered(entries, lambda entry: entry.setting)


def metric_of(entries: list[Entry]) -> str:
    """Return the name of the metric that most of the page is about: that of the first run that has one."""
    return next((entry.metric.name for entry in entries if entry.metric), "metric")


def verdict_of_most(cell: list[Entry]) -> str:
    """Return the verdict of most of a cell's runs, and of how many if not of all."""
    name, count = collections.Counter(entry.verdict for entry in cell).most_common(1)[0]
    return name if count == len(cell) else f"{name} {count}/{len(cell)}"


@dataclasses.dataclass
class Grid:
    """Settings that two keys make: `cells[row value, column value]` holds the runs."""

    keys: tuple[str, str]
    down: list[str]
    across: list[str]
    cells: dict[tuple[str, str], list[Entry]]

    def means(self) -> np.ndarray:
        """(down, across): the mean metric of each cell; NaN where no run finished or the cell is empty."""
        means = np.full((len(self.down), len(self.across)), np.nan)
        for (a, b), entries in self.cells.items():
            values = [entry.value for entry in entries if entry.metric]
            if values:
                means[self.down.index(a), self.across.index(b)] = np.mean(values)
        return means


def grid_of(entries: list[Entry], keys: list[str]) -> Grid | None:
    """Return the grid when exactly two keys vary besides seeds and folds."""
    two = varied(keys)
    if len(two) != 2 or not entries:
        return None
    cells: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        cells.setdefault((entry.values[two[0]], entry.values[two[1]]), []).append(entry)
    down, across = (sorted({pair[i] for pair in cells}, key=_natural) for i in range(2))
    return Grid((keys[two[0]], keys[two[1]]), down, across, cells)


def _natural(text: str) -> tuple:
    """Sort numbers by value, before words."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def heat_colours(means: np.ndarray, metric: str) -> list[list[tuple[str, str]]]:
    """Return ground and ink for each mean: viridis, bright is good; grey where there is no number."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    finite = means[np.isfinite(means)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    found = []
    for line in means:
        found.append([])
        for value in line:
            if not np.isfinite(value):
                found[-1].append(("#D0D0D0", INK))
                continue
            share = (value - low) / (high - low) if high > low else 1.0
            share = 1.0 - share if less_is_better(metric) and high > low else share
            found[-1].append((to_hex(colormaps["viridis"](share)), INK if share > 0.55 else "#FFFFFF"))
    return found
