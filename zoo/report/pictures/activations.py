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

NOTHING = 0.5  # percent: what is told as 0
MEASURES = {"dead": "dead units", "saturated": "saturated values"}
SENTENCES = {"dead": "No unit is dead at any probe.", "saturated": "No value is saturated at any probe."}


@styled
def activations_figure(run: RunFolder):
    """Heat maps, layers by epochs, of what is dead and saturated; a sentence for what is not; `None` without probes."""
    if run.probes is None:
        return None
    names = run.layers
    shares = {measure: _percent(run, measure) for measure in MEASURES}
    drawn = [m for m, share in shares.items() if not np.isfinite(share).all() or np.max(share, initial=0.0) >= NOTHING]
    told = "   ".join(SENTENCES[measure] for measure in MEASURES if measure not in drawn)
    title = f"Dead and saturated activations  ·  {counted(names)}"
    above = 0.25 if told else 0.0
    if not drawn:
        return _with_sentence(new_figure(0.35, title, run), told, 0.2)
    labels, left = axis_labels(names)
    body = row_height(len(names))
    figure = _with_sentence(new_figure(0.55 + body + 0.3 + above, title, run), told, 0.55 + body + 0.35)
    gap, bar_width = 0.25, 1.0
    each = (WIDTH - left - gap * (len(drawn) - 1) - bar_width) / len(drawn)
    for i, measure in enumerate(drawn):
        share = shares[measure]
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
        most = f"at most {highest:.0f} %" if highest >= NOTHING else "none"
        panel_title(ax, f"{MEASURES[measure]}: {most}", pad=5)
        label_axis(ax.xaxis, "epoch (0 is before training)", 0.26)
        whole_numbers(ax.xaxis)
    ticks = {value / 100: str(value) for value in range(0, 101, 20)}
    colour_bar(figure, (WIDTH - 0.85, 0.55, body), "Blues", ticks, "share of the layer, %")
    return figure


def _percent(run: RunFolder, measure: str) -> np.ndarray:
    """(layers, probes) percent; NaN where the activation is not finite, which is neither dead nor saturated."""
    assert run.probes is not None, "this is drawn of probes"
    share = 100.0 * run.probes[measure][:, run.shown].T
    share[~np.isfinite(run.probes["activation_rms"][:, run.shown].T)] = np.nan
    return share


def _with_sentence(figure, told: str, inches: float):
    """Write a sentence so far above the lower edge; return the figure."""
    figure.text(0.15 / WIDTH, inches / figure.get_figheight(), told, fontsize=9)
    return figure
