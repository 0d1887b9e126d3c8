"""The runs of a comparison: what differs between them, repeats of one setting, and the grid that two keys make."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from zoo.archive.run import kernel_layers
from zoo.archive.summary import chosen_metric, overridden
from zoo.report.pictures.style import INK
from zoo.telemetry.history import GradientHistory

MEASURES = ("gradient_norm", "delta_norm", "activation_rms")
REPEATS = ("seed", "data.fold")  # runs that differ in nothing else are repeats of one setting
ERRORS = ("test_loss", "test_rmse")  # metrics of which less is better


@dataclasses.dataclass
class Row:
    """One run, as it is shown.

    Attributes:
        summary: of the run.
        values: of the keys that differ.
        metric: name and value of the test metric; `None` unless the run finished.
        setting: what it shares with its repeats.
        layers: names of the layers in the profiles.
        profiles: for each measure (2, layers) float64: at step 0 and at the end.
    """

    summary: dict
    values: list[str]
    metric: tuple[str, float] | None
    setting: tuple[str, ...]
    layers: list[str] = dataclasses.field(default_factory=list)
    profiles: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The verdict's name; what became of the run if it did not finish."""
        if self.summary["status"] != "FINISHED":
            return self.summary["status"]
        return (self.summary.get("verdict") or {}).get("name", "-")

    @property
    def confidence(self) -> float:
        """How certain the verdict is; 0 if there is none, or if it is undecided."""
        return (self.summary.get("verdict") or {}).get("confidence") or 0.0

    @property
    def sentence(self) -> str:
        """The verdict's sentence and what to try; the reason if the run did not finish."""
        if self.summary["status"] != "FINISHED":
            return self.summary.get("reason") or "no reason was recorded"
        verdict = self.summary.get("verdict") or {"sentence": "gradients were not tracked"}
        return "\n".join([verdict["sentence"], *(f"try {remedy}" for remedy in verdict.get("remedies", [])[:3])])

    @property
    def value(self) -> float:
        """The metric's value; NaN if there is none."""
        return self.metric[1] if self.metric else math.nan


def row_of(summary: dict, keys: Sequence[str]) -> Row:
    """Read what is shown of a run: its values of `keys`, metric and profiles."""
    overrides = overridden(summary)
    finished = summary["status"] == "FINISHED"
    setting = tuple(sorted(o for o in summary["overrides"] if o.partition("=")[0] not in REPEATS))
    row = Row(
        summary,
        [overrides.get(key, "") for key in keys],
        chosen_metric(summary) if finished else None,
        setting if finished else ("", summary["folder"]),
    )
    if finished:  # what a killed run left may be half a file
        row.layers, row.profiles = read_profiles(summary["folder"])
    return row


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


def label(row: Row, keys: Sequence[str], *, named: bool) -> str:
    """Return the values that tell a run from the others.

    Args:
        row: of the run.
        keys: that differ.
        named: `depth=5 seed=1`, repeats told apart; or `5`, as under a heading that names the keys.
    """
    shown = [i for i in (range(len(keys)) if named else varied(keys)) if row.values[i]]
    if not shown:
        return row.summary["name"]
    if not named:
        return " · ".join(row.values[i] for i in shown)
    return " ".join(f"{name}={row.values[i]}" for i, name in enumerate(short_keys(keys)) if i in shown)


def short_keys(keys: Sequence[str]) -> list[str]:
    """["model.depth", "a.rate", "b.rate"] -> ["depth", "a.rate", "b.rate"]."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]


def settings(rows: Iterable[Row]) -> list[list[Row]]:
    """Gather the repeats of each setting, in the order of their first rows."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.setting, []).append(row)
    return list(groups.values())


def mean_and_deviation(group: Sequence[Row]) -> tuple[float, float]:
    """Return the mean and the standard deviation (n - 1) of the metric over repeats, NaN where it cannot be told."""
    values = np.array([row.value for row in group])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan


def with_deviation(mean: float, deviation: float) -> str:
    """0.91528, 0.0098 -> "0.9153 ± 0.0098": as many digits as the deviation leaves a meaning."""
    if not (math.isfinite(mean) and deviation > 0):
        return f"{mean:.4g} ± {deviation:.2g}"
    digits = min(6, max(0, 1 - math.floor(math.log10(deviation))))
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def metric_of(rows: list[Row]) -> str:
    """Return the name of the metric that most of the page is about: that of the first run that has one."""
    return next((row.metric[0] for row in rows if row.metric), "metric")


def verdict_of_most(cell: list[Row]) -> str:
    """Return the verdict of most of a cell's runs, and of how many if not of all."""
    name, count = collections.Counter(row.verdict for row in cell).most_common(1)[0]
    return name if count == len(cell) else f"{name} {count}/{len(cell)}"


@dataclasses.dataclass
class Grid:
    """Settings that two keys make: `cells[row value, column value]` holds the runs."""

    keys: tuple[str, str]
    down: list[str]
    across: list[str]
    cells: dict[tuple[str, str], list[Row]]

    def means(self) -> np.ndarray:
        """(down, across): the mean metric of each cell; NaN where no run finished or the cell is empty."""
        means = np.full((len(self.down), len(self.across)), np.nan)
        for (a, b), rows in self.cells.items():
            values = [row.value for row in rows if row.metric]
            if values:
                means[self.down.index(a), self.across.index(b)] = np.mean(values)
        return means


def grid_of(rows: list[Row], keys: list[str]) -> Grid | None:
    """Return the grid when exactly two keys vary besides seeds and folds."""
    two = varied(keys)
    if len(two) != 2 or not rows:
        return None
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.values[two[0]], row.values[two[1]]), []).append(row)
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
            share = 1.0 - share if metric in ERRORS and high > low else share
            found[-1].append((to_hex(colormaps["viridis"](share)), INK if share > 0.55 else "#FFFFFF"))
    return found
