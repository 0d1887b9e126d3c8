"""Pictures of one run, drawn from its folder alone: which layers starve, since when, what training did.

matplotlib is imported when the first picture is drawn. Figures are made without pyplot: nothing asks for a screen, and
nothing stays in memory. Colours are Okabe & Ito's and viridis, which every kind of colour vision tells apart.
"""

import functools
import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zoo.runfolder import Run, read_run, theory_of

# Okabe & Ito 2008, Color universal design; black and the hard to see yellow left out.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
BLUE, ORANGE, GREEN, RED, SKY, PINK = COLOURS
VERDICTS = {
    "healthy": GREEN,
    "vanishing": BLUE,
    "exploding": RED,
    "dead": "#4D4D4D",
    "saturated": PINK,
    "stalled": ORANGE,
    "unstable": SKY,
}
INK, GREY, ZERO = "#222222", "#6E6E6E", "#D0D0D0"
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9A9A9A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.7,
    "hatch.color": RED,
    "savefig.dpi": 110,
    "agg.path.chunksize": 10000,
}
WIDTH = 9.0  # inches, of every picture
COLUMNS = 360  # of the picture of all steps; more steps share a column
DASHED = {"linestyle": (0, (4, 2)), "linewidth": 1.1}
HATCHED = {"facecolor": "white", "hatch": "//////", "edgecolor": RED}
LETTER = 0.066  # inches, a letter of 8 points


def draw_run(folder: str | Path) -> list[Path]:
    """Draw what the files of a run folder allow; return the pictures' paths.

    gradients.png: the gradient norm of every layer at every step.
    profile.png: weight gradients, back-propagated gradients and activations against depth, at step 0 and at the end.
    training.png: loss, metric, learning rate and global gradient norm against time.
    activations.png: the share of dead units and of saturated values, in every layer at every epoch.
    """
    run = read_run(folder)
    drawn = []
    for name, figure in (
        ("gradients", gradients_figure),
        ("profile", profile_figure),
        ("training", training_figure),
        ("activations", activations_figure),
    ):
        picture = figure(run)
        if picture is not None:
            drawn.append(Path(folder) / f"{name}.png")
            save(picture, drawn[-1])
    return drawn


def save(figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=STYLE["savefig.dpi"], facecolor="white", pil_kwargs={"compress_level": 4})


def styled(draw: Callable) -> Callable:
    """Draw in this module's style, whatever the caller's matplotlib is set to."""

    @functools.wraps(draw)
    def within(*arguments, **options):
        import matplotlib

        with matplotlib.rc_context(matplotlib.rcParamsDefault | STYLE):
            return draw(*arguments, **options)

    return within


# --- All layers, all steps --------------------------------------------------------------------------------------------


@styled
def gradients_figure(run: Run):
    """Layers by steps, colour = log10 of the gradient norm; `None` where none were recorded."""
    if run.history is None or not len(run.history):
        return None
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    history, names = run.history, run.layers
    levels, nonfinite = bins(history.norms[:, run.shown], COLUMNS)
    low, high = decades(levels[np.isfinite(levels)])
    colours = ScalarMappable(Normalize(low, high), "viridis")
    image = colours.to_rgba(np.where(np.isfinite(levels), levels, low))
    image[np.isneginf(levels)] = _rgba(ZERO)
    image[nonfinite] = 0.0  # see-through: the hatched ground shows what is not finite

    labels, left = _labels(names)
    body = _row_height(len(names))
    figure = _figure(0.55 + body + 0.3, f"Gradient norm of every layer at every step  ·  {_count(names)}", run)
    ax = _axes(figure, left, 0.55, WIDTH - left - 1.15, body)
    _ground(ax, nonfinite.any())
    steps = len(history)
    ax.imshow(
        image, extent=(-0.5, steps - 0.5, len(names) - 0.5, -0.5), aspect="auto", interpolation="nearest", zorder=1
    )
    _name_rows(ax, labels, body)
    ax.set_xlabel("optimizer step")
    whole_numbers(ax.xaxis)
    _epoch_axis(ax, history.epoch_ends - 0.5)

    bar = figure.colorbar(colours, cax=_axes(figure, WIDTH - 1.0, 0.55, 0.16, body))
    bar.outline.set_visible(False)
    bar.set_label("gradient norm (L2)")
    bar.ax.grid(False)
    ticks = log_ticks(low, high, round(body / 0.35))
    bar.set_ticks([math.log10(value) for value in ticks], labels=_written(ticks))
    notes = []
    if nonfinite.any():
        first = int(history.steps[np.argmin(np.isfinite(history.norms[:, run.shown]).all(axis=1))])
        notes.append((f"not finite, first at step {first}", HATCHED))
    if np.isneginf(levels).any():
        notes.append(("exactly zero", {"facecolor": ZERO}))
    _legend_patches(ax, notes, loc="upper right", corner=(1.0, -0.22 / body))
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
    finite = np.isfinite(norms)
    usable = finite & (norms > 0)
    logs = np.log10(norms, where=usable, out=np.zeros(norms.shape))

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts, axis=0, dtype=np.float64).T

    counts, seen = total(usable), total(finite)
    levels = np.where(seen > 0, -np.inf, np.nan)
    np.divide(total(logs), counts, where=counts > 0, out=levels)
    return levels, seen < np.diff([*starts, len(norms)])


def decades(logs: np.ndarray) -> tuple[float, float]:
    """Return the lowest and highest of the given log10 values, at least one decade apart; (-1, 0) for none."""
    if not len(logs):
        return -1.0, 0.0
    low, high = float(np.min(logs)), float(np.max(logs))
    spare = max(0.0, 1.0 - (high - low)) / 2
    return low - spare, high + spare


# --- Against depth ----------------------------------------------------------------------------------------------------


@styled
def profile_figure(run: Run):
    """Weight gradients, back-propagated gradients and activations against depth, at step 0 and at the end."""
    history, probes = run.history, run.probes
    panels = []
    if history is not None and len(history):
        norms = history.norms[:, run.shown]
        last = norms[history.epoch(-1)] if len(history.epoch_ends) else norms
        median = np.median(last.astype(np.float64), axis=0)
        panels.append(("weight gradient", "L2 norm", norms[0], median, "weight_gradient"))
    elif probes is not None:
        measure = probes["gradient_norm"][:, run.shown]
        panels.append(("weight gradient", "L2 norm, probe batch", measure[0], measure[-1], "weight_gradient"))
    if probes is not None:
        for label, unit, name, predicted in (
            ("back-propagated gradient (delta)", "L2 norm, per sample", "delta_norm", "delta_rms"),
            ("activation", "root mean square", "activation_rms", "activation_rms"),
        ):
            measure = probes[name][:, run.shown]
            panels.append((label, unit, measure[0], measure[-1], predicted))
    if not panels:
        return None

    names = run.layers
    theory = None if probes is None else theory_of(run.config, probes["activation_rms"][0, run.shown])
    labels, bottom = _labels(names)
    bottom, each, gap = bottom + 0.2, 1.55, 0.42
    title = f"Gradients and activations against depth  ·  {_count(names)}"
    figure = _figure(bottom + len(panels) * (each + gap), title, run)
    x = np.arange(1, len(names) + 1)
    marker = "o" if len(names) <= 40 else None
    for i, (label, unit, first, end, predicted) in enumerate(panels):
        y = bottom + (len(panels) - 1 - i) * (each + gap)
        ax = _axes(figure, 0.85, y, WIDTH - 1.05, each)
        expected = None if theory is None else _anchored(theory, predicted, first, run.config["model"]["width"])
        shown = [first, end] + ([expected] if expected is not None else [])
        log_scale(ax, np.concatenate(shown))
        if expected is not None:
            log_line(ax, x[: len(expected)], expected, **DASHED, color=INK, label="theory at step 0")
        log_line(ax, x, first, color=BLUE, marker=marker, label="step 0")
        log_line(ax, x, end, color=ORANGE, marker=marker, label="end")
        mark_unusable(ax, x, {BLUE: first, ORANGE: end})
        ax.set_xlim(0.5, len(names) + 0.5)
        ax.set_ylabel(unit)
        ax.set_title(label, loc="left", fontsize=9, fontweight="bold", pad=5)
        _name_columns(ax, labels, WIDTH - 1.05, named=i == len(panels) - 1)
        if i == 0 and ax.get_legend_handles_labels()[1]:
            ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, handlelength=2.4, borderaxespad=0.2)
    ax.set_xlabel("layer, from the input to the output")
    return figure


def log_scale(ax, values: np.ndarray, most: int = 6) -> None:
    """Give `ax` a log scale, with about `most` ticks, of whole decades around the positive finite values."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    usable = values[np.isfinite(values) & (values > 0)].astype(np.float64)
    low, high = decades(np.log10(usable))
    low = math.floor(low + 0.02)
    high = max(low + 1, math.ceil(high - 0.02))
    ax.set_yscale("log")
    ax.set_ylim(10.0 ** (low - 0.08), 10.0 ** (high + 0.08))
    ticks = log_ticks(low, high, most)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FixedFormatter(_written(ticks)))
    ax.yaxis.set_minor_locator(NullLocator())
    if not len(usable):
        ax.text(0.5, 0.5, "no positive finite value", transform=ax.transAxes, ha="center", color=GREY)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return about `most` round values from 10^low to 10^high: powers of ten, in a short range 2 and 5 of them too."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last - first >= 2:
        return [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first) / (most - 1))))]
    values = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
    return [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]


def log_line(ax, x: np.ndarray, y: np.ndarray, **style) -> None:
    """Plot y against x on a log scale."""
    _line(ax, x, np.where(y > 0, y, np.nan), **style)


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
        text = "   ".join(dict.fromkeys(notes))
        place = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
        ax.annotate(text, (0.5, 1), (0, 5), **place, color=GREY, fontsize=8)


def _anchored(theory, name: str, measured: np.ndarray, width: int) -> np.ndarray | None:
    """Return a prediction in the measurement's unit: theory knows gradients only relative to the last hidden layer."""
    if name == "activation_rms":
        return theory.activation_rms
    expected = theory.delta_rms.copy()
    if name == "weight_gradient":
        # A sample's gradient is delta h^T in the kernel and delta in the bias. The size of the inputs is not known.
        expected[1:] *= np.sqrt(1.0 + width * theory.activation_rms[:-1] ** 2)
        expected[0] = np.nan
    scale = measured[len(expected) - 1] / expected[-1]
    return scale * expected if np.isfinite(scale) and scale > 0 else None


# --- Against time -----------------------------------------------------------------------------------------------------


@styled
def training_figure(run: Run):
    """Loss, metric, learning rate and global gradient norm on one time axis; `None` where nothing was recorded."""
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
    figure = _figure(top + 0.45, "Training", run)
    for i, (draw, title, tall) in enumerate(panels):
        ax = _axes(figure, 0.85, top - tall, WIDTH - 1.05, tall)
        top -= tall + gap
        draw(ax, run, ends)
        ax.set_xlim(0, max(steps, 1))
        raised = 0.16 if i == 0 else 0.0  # inches, for the epochs above the first panel
        ax.set_title(title, loc="left", fontsize=9, fontweight="bold", pad=4 + 72 * raised)
        if ax.get_legend_handles_labels()[1]:
            corner = (1.0, 1.0 + (raised + 0.01) / tall)
            ax.legend(loc="lower right", bbox_to_anchor=corner, ncols=4, handlelength=1.8, borderaxespad=0.1)
        if i == 0 and history is not None:
            _epoch_axis(ax, ends)
        ax.tick_params(labelbottom=i == len(panels) - 1)
        whole_numbers(ax.xaxis)
    ax.set_xlabel("optimizer step" if history is not None else "epoch")
    return figure


NOT_METRICS = ("epoch", "loss", "learning_rate")


def _draw_loss(ax, run: Run, ends: np.ndarray) -> None:
    shown = [run.epochs[name] for name in ("loss", "val_loss") if name in run.epochs]
    if run.history is not None and np.isfinite(run.history.losses).any():
        losses = run.history.losses
        x = np.arange(len(losses)) + 0.5
        _line(ax, x, losses, color=SKY, alpha=0.6, linewidth=0.7, label="each step")
        _mark_nonfinite(ax, x, ~np.isfinite(losses))
        shown.append(losses)
    _epoch_lines(ax, run, ends, "loss")
    values = np.concatenate(shown) if shown else np.zeros(0)
    usable = values[np.isfinite(values)]
    if not len(usable) or (usable.min() > 0 and usable.max() > min(20 * usable.min(), 1e4)):
        log_scale(ax, usable)


def _draw_metric(ax, run: Run, ends: np.ndarray, metric: str) -> None:
    _epoch_lines(ax, run, ends, metric)
    if metric == "accuracy":
        ax.set_ylim(-0.02, 1.02)


def _epoch_lines(ax, run: Run, ends: np.ndarray, name: str) -> None:
    """Draw the training mean of each epoch in the epoch's middle, the validation at its end, where it was measured."""
    middles = ends - np.diff(ends, prepend=0) / 2
    for x, column, label, colour in (
        (middles, name, "training, mean of the epoch", BLUE),
        (ends, f"val_{name}", "validation", ORANGE),
    ):
        if column in run.epochs:
            marker = "o" if len(ends) <= 60 else None
            _line(ax, x, run.epochs[column], color=colour, marker=marker, label=label, clip_on=False)


def _draw_rate(ax, run: Run, ends: np.ndarray) -> None:
    marker = "o" if len(ends) <= 60 else None
    _line(ax, ends, run.rates, color=GREEN, marker=marker, clip_on=False)
    highest = float(np.nanmax(run.rates, initial=1e-12))
    ax.set_ylim(0, 1.08 * highest)
    ax.set_yticks([0, highest], ["0", f"{highest:.3g}"])


def _draw_global_norm(ax, run: Run, ends: np.ndarray) -> None:
    history, clipping = run.history, run.config.get("clipping", {})
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
    _mark_nonfinite(ax, x, ~np.isfinite(history.global_norm))


def _line(ax, x: np.ndarray, y: np.ndarray, **style) -> None:
    """Plot y against x; so few finite values that a line may not show them, as dots."""
    finite = np.isfinite(y)
    if np.count_nonzero(finite) < 4:
        style["marker"] = "o"
    if finite.any():
        ax.plot(x[: len(y)], np.where(finite, y, np.nan)[: len(x)], **style)


def _mark_nonfinite(ax, x: np.ndarray, where: np.ndarray) -> None:
    if where.any():
        level = np.full(np.count_nonzero(where), 0.95)
        ax.plot(x[where], level, "|", color=RED, transform=ax.get_xaxis_transform(), markersize=5, label="not finite")


# --- Activations ------------------------------------------------------------------------------------------------------


@styled
def activations_figure(run: Run):
    """Share of dead units and of saturated values, layers by epochs; `None` without probes."""
    if run.probes is None:
        return None
    names = run.layers
    labels, left = _labels(names)
    body = _row_height(len(names))
    figure = _figure(0.55 + body + 0.3, f"Dead and saturated activations  ·  {_count(names)}", run)
    gap, bar_width = 0.25, 1.0
    each = (WIDTH - left - gap - bar_width) / 2
    for i, (measure, title) in enumerate((("dead", "dead units"), ("saturated", "saturated values"))):
        share = 100.0 * run.probes[measure][:, run.shown].T
        share[~np.isfinite(run.probes["activation_rms"][:, run.shown].T)] = np.nan  # NaN is neither dead nor saturated
        ax = _axes(figure, left + i * (each + gap), 0.55, each, body)
        _ground(ax, not np.isfinite(share).all())
        ax.spines[:].set_visible(True)
        probes = share.shape[1]
        image = ax.imshow(
            np.ma.masked_invalid(share), extent=(-0.5, probes - 0.5, len(names) - 0.5, -0.5), aspect="auto",
            interpolation="nearest", vmin=0, vmax=100, cmap="Blues", zorder=1,
        )  # fmt: skip
        if i == 0:
            _name_rows(ax, labels, body)
        else:
            ax.set_yticks([])
        if not np.isfinite(share).all():
            _legend_patches(ax, [("not finite", HATCHED)], loc="lower right", corner=(1.0, 1.0))
        highest = np.nanmax(share, initial=0.0)
        most = f"at most {highest:.0f} %" if highest >= 0.5 else "none"
        ax.set_title(f"{title}: {most}", loc="left", fontsize=9, fontweight="bold", pad=5)
        ax.set_xlabel("epoch (0 is before training)")
        whole_numbers(ax.xaxis)
    bar = figure.colorbar(image, cax=_axes(figure, WIDTH - 0.85, 0.55, 0.16, body))
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    bar.set_label("share of the layer, %")
    return figure


# --- Frames, names and ticks ------------------------------------------------------------------------------------------


def _figure(height: float, title: str, run: Run):
    """Return a figure whose lower `height` inches are free; above stand what it shows, of which run, the verdict."""
    from matplotlib.figure import Figure

    verdict = run.summary.get("verdict") or {}
    told = f"{verdict['name']}: {verdict['sentence']}" if verdict else ""
    lines = textwrap.wrap(told, 130, max_lines=3, placeholder=" …")
    total = height + 0.6 + 0.17 * len(lines)
    figure = Figure(figsize=(WIDTH, total))

    def write(inches: float, text: str, left: float = 0.15, **style) -> None:
        figure.text(left / WIDTH, 1 - inches / total, plain(text), va="baseline", **style)

    write(0.27, title, fontsize=11, fontweight="bold")
    write(0.46, short(run.summary.get("name", ""), 130), color=GREY, fontsize=8)
    if lines:
        write(0.65, "■", color=VERDICTS.get(verdict["name"], INK), fontsize=8)
    for i, line in enumerate(lines):
        write(0.65 + 0.16 * i, line, left=0.3, fontsize=8)
    return figure


def _axes(figure, left: float, bottom: float, width: float, height: float):
    """Add axes at a place given in inches: laying out by measuring text would cost as much as drawing."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, bottom / h, width / w, height / h))


def plain(text: str) -> str:
    """Return `text` as matplotlib shall write it: one line, and a dollar sign is a dollar sign."""
    return " ".join(text.split()).replace("$", r"\$")


def short(text: str, most: int) -> str:
    """Return `text` in at most `most` letters, what is too much taken from its middle."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - most + most // 2 + 1 :]}"


def _labels(names: Sequence[str]) -> tuple[list[str], float]:
    """Return the names as they are written at an axis, and the room in inches that the longest takes."""
    labels = [plain(short(name, 26)) for name in names]
    return labels, 0.3 + LETTER * max(map(len, labels))


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} layer{'s' * (len(names) != 1)}"


def _row_height(rows: int) -> float:
    """Inches for the picture of so many rows."""
    return min(max(1.6, 0.2 * rows), 7.5)


def _fitting(count: int, inches: float) -> np.ndarray:
    """Indices of the labels that fit beside each other: all, or the first, the last, and some evenly spaced between."""
    every = 1 if count * 0.15 <= inches else math.ceil(count * 0.22 / inches)
    return np.append(np.arange(0, count - every, every), count - 1)


def _ground(ax, hatched: bool) -> None:
    """Prepare the ground of a heat map; it shows where the map is see-through."""
    ax.grid(False)
    ax.patch.set(facecolor="white", hatch="////" if hatched else None, edgecolor=RED)
    ax.spines[:].set_visible(False)


def _name_rows(ax, labels: Sequence[str], inches: float) -> None:
    rows = _fitting(len(labels), inches)
    ax.set_yticks(rows, [labels[i] for i in rows])
    ax.tick_params(axis="y", length=0 if len(rows) == len(labels) else 3)


def _name_columns(ax, labels: Sequence[str], inches: float, named: bool) -> None:
    """Name the columns under the lowest of several panels; in all of them a line leads up from each name."""
    columns = _fitting(len(labels), inches)
    # One collection of lines: as many grid lines, each with its tick, would cost half of the picture's time.
    ax.grid(False, axis="x")
    style = {"color": STYLE["grid.color"], "linewidth": STYLE["grid.linewidth"], "zorder": 0.5}
    ax.vlines(columns + 1, 0, 1, transform=ax.get_xaxis_transform(), **style)
    if named:
        ax.set_xticks(columns + 1, [labels[i] for i in columns], rotation=90)
    else:
        ax.set_xticks([])


def _epoch_axis(ax, ends: np.ndarray) -> None:
    """Number the epochs above a time axis, each at its end."""
    if not len(ends):
        return
    every = math.ceil(len(ends) / 20)
    top = ax.secondary_xaxis("top")
    top.set_xticks(ends[every - 1 :: every], [str(i) for i in range(every, len(ends) + 1, every)])
    top.spines["top"].set_visible(False)
    top.tick_params(length=3, labelsize=7, pad=1)
    ax.annotate("epoch", (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=7, color=GREY)


def whole_numbers(axis) -> None:
    """Mark whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _written(values: list[float]) -> list[str]:
    """[0.1, 1] -> ["0.1", "1"]; [1e-7, 1] -> ["$10^{-7}$", "$10^{0}$"], which matplotlib sets as powers."""
    powers = [math.log10(value) for value in values]
    if all(-3.01 < power < 3.01 for power in powers) or any(abs(power - round(power)) > 1e-9 for power in powers):
        return [f"{value:g}" for value in values]
    return [f"$10^{{{round(power)}}}$" for power in powers]


def _legend_patches(ax, notes: list[tuple[str, dict]], loc: str, corner: tuple[float, float]) -> None:
    from matplotlib.patches import Patch

    if notes:
        handles = [Patch(label=label, linewidth=0, **style) for label, style in notes]
        ax.legend(handles=handles, loc=loc, bbox_to_anchor=corner, ncols=2, borderaxespad=0.3)


def _rgba(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    return to_rgba(colour)
