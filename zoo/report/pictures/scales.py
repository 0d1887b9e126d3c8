"""Log scales with ticks that can be read, and lines: also through what a log scale cannot hold, and of many steps."""

import math

import numpy as np

from zoo.report.pictures.frame import ABOVE
from zoo.report.pictures.style import GREY, RED

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FINEST = 900  # columns of a line; about as many pixels as a picture has for it


def decades(logs: np.ndarray) -> tuple[float, float]:
    """Return the lowest and highest of the given log10 values, at least one decade apart; (-1, 0) for none."""
    if not len(logs):
        return -1.0, 0.0
    low, high = float(np.min(logs)), float(np.max(logs))
    spare = max(0.0, 1.0 - (high - low)) / 2
    return low - spare, high + spare


def log_scale(ax, values: np.ndarray, most: int = 6) -> None:
    """Give `ax` a log scale, with about `most` ticks, of whole decades around the positive finite values."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    usable = values[np.isfinite(values) & (values > 0)].astype(np.float64)
    low, high = decades(np.log10(usable))
    low = math.floor(low + 0.02)
    high = max(low + 1, math.ceil(high - 0.02))
    ax.set_yscale("log")
    edge = max(0.08, 0.03 * (high - low))  # of a panel of two inches, half a marker
    ax.set_ylim(10.0 ** (low - edge), 10.0 ** (high + edge))
    ticks = log_ticks(low, high, most)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FixedFormatter(written(ticks)))
    ax.yaxis.set_minor_locator(NullLocator())
    if not len(usable):
        ax.text(0.5, 0.5, "no positive finite value", transform=ax.transAxes, ha="center", color=GREY)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return about `most` round values from 10^low to 10^high: powers of ten, in a short range 2 and 5 of them too.

    Of a long range every second, third, fifth, tenth, ... power of ten, counted from 10^0.
    """
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last - first >= 2:
        every = next(n for n in (1, 2, 3, 5, 10, 20, 50, 100, 1000) if n * (most - 1) >= last - first)
        return [10.0**power for power in range(first + -first % every, last + 1, every)]
    values = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
    return [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]


def written(values: list[float]) -> list[str]:
    """[0.1, 1] -> ["0.1", "1"]; [1e-7, 1] -> ["10⁻⁷", "10⁰"]: plain text, for formulas are slow to set."""
    powers = [math.log10(value) for value in values]
    if all(-3.01 < power < 3.01 for power in powers) or any(abs(power - round(power)) > 1e-9 for power in powers):
        return [f"{value:g}" for value in values]
    return ["10" + str(round(power)).translate(RAISED) for power in powers]


def whole_numbers(axis) -> np.ndarray:
    """Mark whole numbers only; return those that an axis shows of its range."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    low, high = axis.get_view_interval()
    shown = axis.get_major_locator()()
    return shown[(low <= shown) & (shown <= high)]


def widen(ax, share: float = 0.05) -> None:
    """Let a linear scale reach over no less than a share of its largest value: one dot must not look like a course."""
    low, high = ax.get_ylim()
    spare = share * max(abs(low), abs(high), 1e-12) - (high - low)
    if spare > 0:
        ax.set_ylim(low - spare / 2, high + spare / 2)


def plot_line(ax, x: np.ndarray, y: np.ndarray, **style) -> None:
    """Plot y against x: as dots if so few values are finite that a line may not show, in the legend even if none is."""
    finite = np.isfinite(y)
    if np.count_nonzero(finite) < 4:
        style["marker"] = "o"
    y = np.where(finite, y, np.nan)[: len(x)]
    kept = extremes(y) if finite.any() else []
    ax.plot(x[kept], y[kept], **style)


def log_line(ax, x: np.ndarray, y: np.ndarray, **style) -> None:
    """Plot y against x on a log scale."""
    plot_line(ax, x, np.where(y > 0, y, np.nan), **style)


def extremes(y: np.ndarray, columns: int = FINEST) -> np.ndarray:
    """Return the indices of what a line of many values looks like: the lowest and highest of each column of them.

    Args:
        y: (n,), may hold NaN.
        columns: that the values share.

    Returns:
        Rising indices: all n of them up to 4 values a column, else at most two a column. A column of nothing but NaN
        keeps one, and with it the gap in the line.
    """
    share = math.ceil(len(y) / columns)
    if share <= 4:
        return np.arange(len(y))
    rows = np.pad(y, (0, -len(y) % share), constant_values=np.nan).reshape(-1, share)
    unknown = np.isnan(rows)
    lowest = np.where(unknown, np.inf, rows).argmin(axis=1)
    highest = np.where(unknown, -np.inf, rows).argmax(axis=1)
    return np.unique(np.arange(len(rows)) * share + [lowest, highest])


def mark_nonfinite(ax, x: np.ndarray, where: np.ndarray) -> None:
    """Mark the steps at which a value is not finite, one of those that share a column."""
    if where.any():
        marked = np.flatnonzero(where)
        marked = marked[np.unique(marked * FINEST // len(where), return_index=True)[1]]
        level = np.full(len(marked), 0.95)
        ax.plot(x[marked], level, "|", color=RED, transform=ax.get_xaxis_transform(), markersize=5, label="not finite")


def mark_unusable(ax, x: np.ndarray, series: dict[str, np.ndarray]) -> None:
    """Mark what a log scale cannot hold, in each series' colour: × at the top if not finite, ▾ at the bottom if 0."""
    notes = []
    for marker, note, height, where_of in (
        ("x", "× not finite", 0.95, lambda y: ~np.isfinite(y)),
        ("v", "▾ zero", 0.05, lambda y: y == 0),
    ):
        for row, (colour, y) in enumerate(series.items()):
            where = where_of(y)
            if where.any():
                level = np.full(np.count_nonzero(where), height + (0.05 * row if marker == "v" else -0.05 * row))
                ax.plot(x[where], level, marker, color=colour, transform=ax.get_xaxis_transform(), markersize=4)
                notes.append(note)
    if notes:
        ax.annotate("   ".join(dict.fromkeys(notes)), (0.5, 1), (0, 5), **ABOVE, ha="center", color=GREY, fontsize=8)
