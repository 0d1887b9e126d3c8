"""Many steps as few columns, told honestly: the least, the middle and the largest value of each stretch of steps."""

import base64
import dataclasses
import math

import numpy as np

MOST_COLUMNS = 600  # of a page's width, whatever its layers
MOST_CELLS = 66_000  # layers by columns: with least, middle and largest half a megabyte
LEAST_COLUMNS = 60
TOGETHER = 1670  # steps whose norms lie in the processor's cache while they are summed and sorted
SMALL = np.float32(1e-34)  # squares below which float32 has fewer digits
LEAST = 1e-24  # square of the smallest weight norm that an update is compared with
CODES = 65533  # levels of a packed value; behind them
NOT_FINITE, ZERO = 65535, 65534


@dataclasses.dataclass(frozen=True, eq=False)
class Thinned:
    """What stretches of steps came to; each array is (rows, columns).

    Attributes:
        least, middle, largest: of a stretch's finite values: the middle is the lower median, one of the values. NaN
            where none is finite.
        nonfinite: bool, whether a value of the stretch is not finite.
    """

    least: np.ndarray
    middle: np.ndarray
    largest: np.ndarray
    nonfinite: np.ndarray


def share_of(steps: int, rows: int) -> int:
    """Return how many steps share a column: 1 for as long as all fit."""
    most = min(MOST_COLUMNS, max(LEAST_COLUMNS, MOST_CELLS // max(rows, 1)))
    return max(1, math.ceil(steps / most))


def thinned(values: np.ndarray, share: int) -> Thinned:
    """Gather (rows, steps) values, `share` of them in a column."""
    rows, steps = values.shape
    whole = steps // share * share
    parts = [values[:, :whole].reshape(rows, -1, share), values[:, None, whole:]]
    return joined([_gathered(part) for part in parts if part.size] or [_gathered(values[:, :, None])])


def _gathered(values: np.ndarray) -> Thinned:
    """(rows, columns, share) -> (rows, columns). Sorted, what is not finite stands behind what is."""
    if values.shape[-1] == 1:
        one = values[..., 0]
        finite = np.isfinite(one)
        one = np.where(finite, one, np.nan)
        return Thinned(one, one, one, ~finite)
    ordered = np.sort(values, axis=-1)
    count = ordered.shape[-1]
    if np.isfinite(ordered[..., -1]).all() and np.isfinite(ordered[..., 0]).all():
        middle = ordered[..., (count - 1) // 2]
        return Thinned(ordered[..., 0], middle, ordered[..., -1], np.zeros(middle.shape, bool))
    first = np.isneginf(ordered).sum(axis=-1, keepdims=True)
    finite = np.isfinite(ordered).sum(axis=-1, keepdims=True)

    def at(place: np.ndarray) -> np.ndarray:
        value = np.take_along_axis(ordered, np.clip(first + place, 0, count - 1), axis=-1)
        return np.where(finite > 0, value, np.nan)[..., 0]

    return Thinned(at(np.zeros_like(finite)), at((finite - 1) // 2), at(finite - 1), finite[..., 0] < count)


def joined(parts: list[Thinned]) -> Thinned:
    """Put parts of a training one behind the other."""
    return Thinned(
        np.concatenate([part.least for part in parts], axis=1),
        np.concatenate([part.middle for part in parts], axis=1),
        np.concatenate([part.largest for part in parts], axis=1),
        np.concatenate([part.nonfinite for part in parts], axis=1),
    )


def thinned_layers(
    variable_norms: np.ndarray,
    owners: np.ndarray,
    layers: int,
    share: int,
    *,
    shown: np.ndarray,
    over: np.ndarray | None = None,
) -> tuple[Thinned, np.ndarray]:
    """Thin the norm of each layer without holding the layers' norms of all steps.

    Args:
        variable_norms: (steps, variables).
        owners: (variables,) index of each variable's layer.
        layers: how many there are.
        share: steps in a column.
        shown: indices of the layers to thin.
        over: (steps, variables) norms to divide each layer's by, such as of weights; `None` for 1.

    Returns:
        (shown, columns); and (steps,) float32 the norm over all layers, or the quotient of both.
    """
    by_rank = _by_rank(owners)
    each, total = [], []
    block = max(1, TOGETHER // share) * share
    for start in range(0, len(variable_norms), block):
        squares = _layer_squares(variable_norms[start : start + block], layers, by_rank)
        whole = squares.sum(axis=0)
        if over is not None:
            below = _layer_squares(over[start : start + block], layers, by_rank)
            whole /= np.maximum(below.sum(axis=0), LEAST)
            squares /= np.maximum(below, LEAST)
        every = len(shown) == layers
        each.append(_rooted(thinned(squares if every else squares[shown], share)))
        total.append(np.sqrt(whole).astype(np.float32))
    return joined(each), np.concatenate(total)


def _by_rank(owners: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return layers and their first variables, layers and their second ones, ...: each pair is added in one go."""
    order = np.argsort(owners, kind="stable")
    ranks = np.arange(len(owners)) - np.searchsorted(owners[order], owners[order])
    return [(owners[order][ranks == rank], order[ranks == rank]) for rank in range(int(ranks.max(initial=-1)) + 1)]


def _layer_squares(norms: np.ndarray, layers: int, by_rank: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(steps, variables) -> (layers, steps), float64 where float32 may not hold the squares."""
    columns = np.ascontiguousarray(norms.T)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = _summed(np.square(columns), layers, by_rank)
    if not (squares.min(initial=SMALL) < SMALL or not squares.max(initial=SMALL) < np.inf):
        return squares
    return _summed(np.square(columns, dtype=np.float64), layers, by_rank)


def _summed(columns: np.ndarray, layers: int, by_rank: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    total = np.zeros((layers, columns.shape[1]), columns.dtype)
    for owned, variables in by_rank:
        total[owned] += columns[variables]
    return total


def _rooted(squares: Thinned) -> Thinned:
    """Roots keep the order of what they are taken of: few are taken, after the sorting."""
    least, middle, largest = (np.sqrt(a).astype(np.float32) for a in (squares.least, squares.middle, squares.largest))
    return Thinned(least, middle, largest, squares.nonfinite)


def packed(values: np.ndarray) -> dict:
    """Return not negative values as 16-bit levels of their log10, in base64: to 4 digits over 12 decades.

    Returns:
        "low" and "high": log10 of what 0 and `CODES` - 1 stand for; "levels": uint16, little endian, row by row;
        `NOT_FINITE` and `ZERO` stand for what has no logarithm.
    """
    values = np.asarray(values, np.float32)
    finite = np.isfinite(values)
    usable = finite & (values > 0)
    logs = np.log10(values, where=usable, out=np.zeros(values.shape, np.float32))
    low, high = (float(logs[usable].min()), float(logs[usable].max())) if usable.any() else (0.0, 1.0)
    scale = (CODES - 1) / (high - low) if high > low else 0.0
    levels = np.rint((logs - np.float32(low)) * np.float32(scale)).astype(np.int32)
    levels = np.where(usable, np.clip(levels, 0, CODES - 1), np.where(finite, ZERO, NOT_FINITE)).astype("<u2")
    return {"low": low, "high": high, "levels": base64.b64encode(levels.tobytes()).decode()}
