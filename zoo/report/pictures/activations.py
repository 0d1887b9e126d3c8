"""activations.png: the share of dead units and of saturated values, in every layer at every epoch."""

import numpy as np

from zoo.archive.run import RunFolder
from zoo.report.pictures.frame import (
    WIDTH,
    add_axes,
    axis_labels,
    colour_bar,
    counted,
    ground,
    label_axis,
    legend_patches,
    name_rows,
    new_figure,
    panel_title,
    row_height,
)
from zoo.report.pictures.scales import whole_numbers
from zoo.report.pictures.style import HATCHED, styled


@styled
def activations_figure(run: RunFolder):
    """Two heat maps, layers by epochs; `None` without probes."""
    if run.probes is None:
        return None
    names = run.layers
    labels, left = axis_labels(names)
    body = row_height(len(names))
    figure = new_figure(0.55 + body + 0.3, f"Dead and saturated activations  ·  {counted(names)}", run)
    gap, bar_width = 0.25, 1.0
    each = (WIDTH - left - gap - bar_width) / 2
    for i, (measure, title) in enumerate((("dead", "dead units"), ("saturated", "saturated values"))):
        share = 100.0 * run.probes[measure][:, run.shown].T
        share[~np.isfinite(run.probes["activation_rms"][:, run.shown].T)] = np.nan  # NaN is neither dead nor saturated
        ax = add_axes(figure, left + i * (each + gap), 0.55, each, body)
        ground(ax, not np.isfinite(share).all())
        ax.spines[:].set_visible(True)
        probes = share.shape[1]
        ax.imshow(
            np.ma.masked_invalid(share), extent=(-0.5, probes - 0.5, len(names) - 0.5, -0.5), aspect="auto",
            interpolation="nearest", vmin=0, vmax=100, cmap="Blues", zorder=1,
        )  # fmt: skip
        if i == 0:
            name_rows(ax, labels, body)
        else:
            ax.set_yticks([])
        if not np.isfinite(share).all():
            legend_patches(ax, [("not finite", HATCHED)], loc="lower right", corner=(1.0, 1.0))
        highest = np.nanmax(share, initial=0.0)
        most = f"at most {highest:.0f} %" if highest >= 0.5 else "none"
        panel_title(ax, f"{title}: {most}", pad=5)
        label_axis(ax.xaxis, "epoch (0 is before training)", 0.26)
        whole_numbers(ax.xaxis)
    ticks = {value / 100: str(value) for value in range(0, 101, 20)}
    colour_bar(figure, (WIDTH - 0.85, 0.55, body), "Blues", ticks, "share of the layer, %")
    return figure
