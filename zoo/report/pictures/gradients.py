"""gradients.png: all layers, all steps."""

import math

import numpy as np

from zoo.archive.run import RunFolder
from zoo.report.pictures.frame import (
    WIDTH,
    add_axes,
    axis_labels,
    colour_bar,
    counted,
    epoch_axis,
    ground,
    label_axis,
    legend_patches,
    name_rows,
    new_figure,
    row_height,
)
from zoo.report.pictures.scales import decades, log_ticks, whole_numbers, written
from zoo.report.pictures.style import HATCHED, ZERO, styled

COLUMNS = 360  # more steps share a column


@styled
def gradients_figure(run: RunFolder):
    """Layers by steps, colour = log10 of the gradient norm; `None` where none were recorded."""
    if run.history is None or not len(run.history):
        return None
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, to_rgba

    history, names = run.history, run.layers
    levels, nonfinite = (part[run.shown] for part in bins(history.norms, COLUMNS))
    low, high = decades(levels[np.isfinite(levels)])
    colours = ScalarMappable(Normalize(low, high), "viridis")
    image = colours.to_rgba(np.where(np.isfinite(levels), levels, low))
    image[np.isneginf(levels)] = to_rgba(ZERO)
    image[nonfinite] = 0.0  # see-through: the hatched ground shows what is not finite

    labels, left = axis_labels(names)
    body = row_height(len(names))
    figure = new_figure(0.55 + body + 0.3, f"Gradient norm of every layer at every step  ·  {counted(names)}", run)
    ax = add_axes(figure, left, 0.55, WIDTH - left - 1.15, body)
    ground(ax, bool(nonfinite.any()))
    ax.imshow(
        image,
        extent=(0, len(history), len(names) - 0.5, -0.5),  # as in the other pictures: steps that are done
        aspect="auto",
        interpolation="nearest",
        zorder=1,
    )
    name_rows(ax, labels, body)
    label_axis(ax.xaxis, "optimizer step", 0.26)
    whole_numbers(ax.xaxis)
    epoch_axis(ax, history.epoch_ends)

    ticks = log_ticks(low, high, round(body / 0.35))
    shares = [(math.log10(value) - low) / (high - low) for value in ticks]
    ticks = dict(zip(shares, written(ticks), strict=True))
    colour_bar(figure, (WIDTH - 1.0, 0.55, body), "viridis", ticks, "gradient norm (L2)")
    notes = []
    if nonfinite.any():
        first = int(history.steps[np.argmin(np.isfinite(history.norms[:, run.shown]).all(axis=1))])
        notes.append((f"not finite, first at step {first}", HATCHED))
    if np.isneginf(levels).any():
        notes.append(("exactly zero", {"facecolor": ZERO}))
    legend_patches(ax, notes, loc="upper right", corner=(1.0, -0.22 / body))
    return figure


def bins(norms: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Gather steps into at most `columns` columns.

    Args:
        norms: (steps, layers), not negative.
        columns: at most so many.

    Returns:
        (layers, columns) float64, the mean of log10 over a column's positive finite norms; -inf where all its finite
        norms are 0; NaN where none is finite. And (layers, columns) bool: whether a norm in it is not finite.
    """
    starts = np.unique(np.linspace(0, len(norms), min(columns, len(norms)), endpoint=False).astype(int))
    levels = np.full((norms.shape[1], len(starts)), np.nan)
    nonfinite = np.zeros(levels.shape, bool)
    for i, part in enumerate(np.split(norms, starts[1:])):  # a part stays in the cache; all steps at once do not
        finite = np.isfinite(part)
        usable = finite & (part > 0)
        logs = np.log10(part, where=usable, out=np.zeros(part.shape))
        count = np.count_nonzero(usable, axis=0)
        levels[finite.any(axis=0), i] = -np.inf
        np.divide(logs.sum(axis=0), count, where=count > 0, out=levels[:, i])
        nonfinite[:, i] = ~finite.all(axis=0)
    return levels, nonfinite
