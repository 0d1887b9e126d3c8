"""profile.png: weight gradients, back-propagated gradients and activations against depth."""

import numpy as np

from zoo.archive.run import RunFolder, theory_of_run
from zoo.report.pictures.frame import (
    WIDTH,
    add_axes,
    axis_labels,
    counted,
    label_axis,
    name_columns,
    new_figure,
    panel_title,
)
from zoo.report.pictures.scales import log_line, log_scale, mark_unusable
from zoo.report.pictures.style import BLUE, DASHED, INK, ORANGE, styled

MEASURES = (
    ("back-propagated gradient (delta)", "L2 norm, per sample", "delta_norm", "delta"),
    ("activation", "root mean square", "activation_rms", "activation"),
)


@styled
def profile_figure(run: RunFolder):
    """A panel a measure, at step 0, at the end, and as theory foretells it; `None` where none was recorded."""
    panels = _panels(run)
    if not panels:
        return None
    names = run.layers
    theory = theory_of_run(run)
    labels, bottom = axis_labels(names)
    bottom, each, gap = bottom + 0.2, 1.55, 0.42
    title = f"Gradients and activations against depth  ·  {counted(names)}"
    figure = new_figure(bottom + len(panels) * (each + gap), title, run)
    x = np.arange(1, len(names) + 1)
    marker = "o" if len(names) <= 40 else None
    lines = {}
    for i, (label, unit, first, end, predicted) in enumerate(panels):
        y = bottom + (len(panels) - 1 - i) * (each + gap)
        ax = add_axes(figure, 0.85, y, WIDTH - 1.05, each)
        expected = theory.get(predicted)
        shown = [first, end] + ([expected] if expected is not None else [])
        log_scale(ax, np.concatenate(shown))
        if expected is not None:  # above the lines, which may cover all of it
            log_line(ax, x[: len(expected)], expected, **DASHED, color=INK, label="theory at step 0", zorder=4)
        # The end on top is thinner: where nothing has changed, both are seen.
        log_line(ax, x, first, color=BLUE, marker=marker, linewidth=2.8, markersize=5, label="step 0")
        log_line(ax, x, end, color=ORANGE, marker=marker, linewidth=1.2, markersize=2.5, label="end")
        mark_unusable(ax, x, {BLUE: first, ORANGE: end})
        ax.set_xlim(0.5, len(names) + 0.5)
        label_axis(ax.yaxis, unit, 0.52)
        panel_title(ax, label, pad=5)
        name_columns(ax, labels, WIDTH - 1.05, named=i == len(panels) - 1)
        lines |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if lines:  # a panel may lack one of them
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98), "borderaxespad": 0.2}
        figure.axes[0].legend(lines.values(), lines.keys(), **place, ncols=3, handlelength=2.4)
    label_axis(ax.xaxis, "layer, from the input to the output", bottom - 0.35)
    return figure


def _panels(run: RunFolder) -> list[tuple[str, str, np.ndarray, np.ndarray, str]]:
    """Title, unit, (layers,) at step 0, (layers,) at the end, and theory's name of each measure."""
    history, probes, panels = run.history, run.probes, []
    if history is not None and len(history):
        last = history.norms[history.epoch(-1)] if len(history.epoch_ends) else history.norms
        median = np.median(last[:, run.shown].astype(np.float64), axis=0)
        panels.append(("weight gradient", "L2 norm", history.norms[0, run.shown], median, "gradient"))
    elif probes is not None:
        measure = probes["gradient_norm"][:, run.shown]
        panels.append(("weight gradient", "L2 norm, probe batch", measure[0], measure[-1], "gradient"))
    if probes is not None:
        for label, unit, name, predicted in MEASURES:
            measure = probes[name][:, run.shown]
            panels.append((label, unit, measure[0], measure[-1], predicted))
    return panels
