"""training.png: loss, metric, learning rate and global gradient norm against time."""

import functools

import numpy as np

from zoo.archive.run import RunFolder
from zoo.report.pictures.frame import WIDTH, add_axes, epoch_axis, label_axis, new_figure, panel_title, upright_lines
from zoo.report.pictures.scales import log_line, log_scale, mark_nonfinite, plot_line, whole_numbers, widen
from zoo.report.pictures.style import BLUE, DASHED, GREEN, INK, ORANGE, SKY, styled

NOT_METRICS = ("epoch", "loss", "learning_rate")


@styled
def training_figure(run: RunFolder):
    """A panel for each of them on one time axis; `None` where nothing was recorded."""
    history, epochs = run.history, run.epochs
    if history is None and not epochs:
        return None
    ends = np.arange(1, len(epochs.get("epoch", ())) + 1)
    if history is not None and len(history.epoch_ends):
        ends = history.epoch_ends
    steps = int(ends[-1]) if history is None else len(history)
    panels = [(_draw_loss, "loss", 1.7)]
    metric = next((name for name in epochs if name not in NOT_METRICS and not name.startswith("val_")), None)
    if metric:
        panels.append((functools.partial(_draw_metric, metric=metric), metric, 1.3))
    if run.rates is not None and len(run.rates):
        panels.append((_draw_rate, "learning rate, at each epoch's end", 0.8))
    if history is not None:
        panels.append((_draw_global_norm, "global gradient norm (L2)", 1.3))

    gap = 0.38
    top = 0.55 + sum(tall + gap for _, _, tall in panels) - gap
    figure = new_figure(top + 0.45, "Training", run)
    for i, (draw, title, tall) in enumerate(panels):
        ax = add_axes(figure, 0.85, top - tall, WIDTH - 1.05, tall)
        top -= tall + gap
        draw(ax, run, ends)
        ax.set_xlim(0, 1.008 * max(steps, 1))  # with the marker of the last epoch
        raised = 0.16 if i == 0 else 0.0  # inches, for the epochs above the first panel
        panel_title(ax, title, pad=4 + 72 * raised)
        if ax.get_legend_handles_labels()[1]:
            corner = (1.0, 1.0 + (raised + 0.01) / tall)
            ax.legend(loc="lower right", bbox_to_anchor=corner, ncols=4, handlelength=1.8, borderaxespad=0.1)
        if i == 0 and history is not None:
            epoch_axis(ax, ends)
        marks = whole_numbers(ax.xaxis)
        if i < len(panels) - 1:
            upright_lines(ax, marks)
    label_axis(ax.xaxis, "optimizer step" if history is not None else "epoch", 0.26)
    return figure


def _draw_loss(ax, run: RunFolder, ends: np.ndarray) -> None:
    shown = [run.epochs[name] for name in ("loss", "val_loss") if name in run.epochs]
    if run.history is not None and np.isfinite(run.history.losses).any():
        losses = run.history.losses
        x = np.arange(len(losses)) + 0.5
        plot_line(ax, x, losses, color=SKY, alpha=0.6, linewidth=0.7, label="each step")
        mark_nonfinite(ax, x, ~np.isfinite(losses))
        shown.append(losses)
    _epoch_lines(ax, run, ends, "loss")
    values = np.concatenate(shown) if shown else np.zeros(0)
    usable = values[np.isfinite(values)]
    if not len(usable) or (usable.min() > 0 and usable.max() > min(20 * usable.min(), 1e4)):
        log_scale(ax, usable)
    else:
        widen(ax)


def _draw_metric(ax, run: RunFolder, ends: np.ndarray, metric: str) -> None:
    _epoch_lines(ax, run, ends, metric)
    if metric == "accuracy":
        ax.set_ylim(-0.05, 1.05)
    else:
        widen(ax)


def _epoch_lines(ax, run: RunFolder, ends: np.ndarray, name: str) -> None:
    """Draw the training mean of each epoch in the epoch's middle, the validation at its end, where it was measured."""
    middles = ends - np.diff(ends, prepend=0) / 2
    for x, column, label, colour in (
        (middles, name, "training, mean of the epoch", BLUE),
        (ends, f"val_{name}", "validation", ORANGE),
    ):
        if column in run.epochs:
            marker = "o" if len(ends) <= 60 else None
            plot_line(ax, x, run.epochs[column], color=colour, marker=marker, label=label, clip_on=False)


def _draw_rate(ax, run: RunFolder, ends: np.ndarray) -> None:
    marker = "o" if len(ends) <= 60 else None
    rates = np.zeros(0) if run.rates is None else run.rates
    plot_line(ax, ends, rates, color=GREEN, marker=marker, clip_on=False)
    highest = float(np.nanmax(rates, initial=1e-12))
    ax.set_ylim(-0.06 * highest, 1.1 * highest)
    ax.set_yticks([0, highest], ["0", f"{highest:.3g}"])


def _draw_global_norm(ax, run: RunFolder, ends: np.ndarray) -> None:
    history, clipping = run.history, run.config.get("clipping", {})
    assert history is not None, "this panel is drawn of recorded gradients"
    x = np.arange(len(history)) + 0.5
    shown = [history.global_norm]
    log_line(ax, x, history.global_norm, color=BLUE, linewidth=1.0, label="before clipping" if clipping else "_norm")
    if history.clip_norms is not None:
        after = history.clip_norms[:, 1]
        limits = ", ".join(f"{key} {value:g}" for key, value in clipping.items() if key != "global_clipnorm")
        label = f"after clipping ({limits})" if limits else "after clipping"
        log_line(ax, x, after, color=ORANGE, linewidth=1.0, label=label)
        shown.append(after[np.isfinite(after)])
    if threshold := clipping.get("global_clipnorm"):
        ax.axhline(threshold, **DASHED, color=INK, label=f"threshold {threshold:g}")
        shown.append(np.array([threshold]))
    log_scale(ax, np.concatenate(shown))
    mark_nonfinite(ax, x, ~np.isfinite(history.global_norm))
