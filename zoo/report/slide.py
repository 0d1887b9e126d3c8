"""The picture of a comparison, for slides."""

import textwrap

import numpy as np

from zoo.archive.differences import mean_and_deviation
from zoo.archive.summary import Metric
from zoo.report.entries import (
    Entry,
    Grid,
    grid_of,
    heat_colours,
    label,
    metric_of,
    settings,
    verdict_of_most,
)
from zoo.report.pictures.frame import plain, short
from zoo.report.pictures.scales import log_line, log_scale, whole_numbers
from zoo.report.pictures.style import COLOURS, GREY, styled
from zoo.report.text import over_repeats
from zoo.telemetry.page.bilingual import SIGNS

MOST_LINES = 12


@styled
def comparison_figure(entries: list[Entry], keys: list[str], title: str):
    """Draw the profiles of up to twelve settings on a slide; of more the heat map, or the best and the worst six."""
    from matplotlib.figure import Figure

    groups = sorted(settings(entry for entry in entries if entry.profiles), key=_rank)
    grid = grid_of(entries, keys)
    figure = Figure(figsize=(13.33, 7.5))
    figure.text(0.03, 0.955, plain(short(title, 110)), fontsize=17, fontweight="bold", va="center")
    if len(groups) > MOST_LINES and grid is not None:
        _draw_grid(figure, entries, grid)
        return figure
    note = "weight gradient norm (L2) against depth"
    if len(groups) > MOST_LINES:
        note += f", the best and the worst {MOST_LINES // 2} of {len(groups)}"
        groups = groups[: MOST_LINES // 2] + groups[-MOST_LINES // 2 :]
    if any(len(group) > 1 for group in groups):
        note += "; lines are geometric means of repeats, bands reach from the smallest to the largest"
    figure.text(0.03, 0.905, note, fontsize=11, color=GREY, va="center")
    _draw_groups(figure, groups, keys)
    return figure


def _draw_groups(figure, groups: list[list[Entry]], keys: list[str]) -> None:
    every = [entry.profiles["gradient_norm"] for group in groups for entry in group]
    values = np.concatenate([p.ravel() for p in every]) if every else np.zeros(0)
    handles = []
    for moment, (left, name) in enumerate(((0.06, "step 0"), (0.375, "the end"))):
        ax = figure.add_axes((left, 0.1, 0.285, 0.74))
        log_scale(ax, values, most=10)
        ax.set_title(name, loc="left", fontsize=12, fontweight="bold")
        ax.set_xlabel("layer, 1 at the input", fontsize=11)
        ax.tick_params(labelsize=10, labelleft=moment == 0)
        for i, group in enumerate(groups):
            colour, dash = COLOURS[i % len(COLOURS)], ("-", (0, (4, 1.5)))[i // len(COLOURS) % 2]
            style = {"color": colour, "linestyle": dash, "linewidth": 2.2}
            if len(group[0].layers) <= 40:
                style |= {"marker": "o", "markersize": 4}
            _draw_group(ax, group, moment, i, style)
            if moment == 0:
                handles.append((style, group))
        ax.set_xlim(left=0.5)
        whole_numbers(ax.xaxis)
    _legend(figure, handles, keys)


def _draw_group(ax, group: list[Entry], moment: int, number: int, style: dict) -> None:
    """Draw a setting's mean profile and the band of its repeats; mark what a log scale cannot hold."""
    profiles = np.stack([entry.profiles["gradient_norm"][moment] for entry in group if entry.layers == group[0].layers])
    x = np.arange(1, profiles.shape[1] + 1)
    usable = np.isfinite(profiles) & (profiles > 0)
    logs = np.where(usable, np.log10(profiles, where=usable, out=np.zeros_like(profiles)), np.nan)
    log_line(ax, x, 10 ** logs.mean(axis=0), **style)
    if len(profiles) > 1:
        ax.fill_between(x, 10 ** logs.min(axis=0), 10 ** logs.max(axis=0), color=style["color"], alpha=0.15, lw=0)
    for marker, lost, level in (
        ("x", ~np.isfinite(profiles), 0.985 - 0.012 * number),
        ("v", profiles == 0, 0.015 + 0.012 * number),
    ):
        where = x[lost.any(axis=0)]
        if len(where):
            place = {"transform": ax.get_xaxis_transform(), "color": style["color"], "markersize": 5}
            ax.plot(where, np.full(len(where), level), marker, **place)


def _rank(group: list[Entry]) -> float:
    """Sort settings best first by their mean metric; what is not a number comes last."""
    mean, _ = mean_and_deviation([entry.value for entry in group])
    return Metric(metric_of(group), mean).rank


def _legend(figure, handles: list, keys: list[str]) -> None:
    """Write beside the panels which line is what: its values, and below them the verdict and the metric."""
    from matplotlib.lines import Line2D

    y, step = 0.81, min(0.078, 0.74 / max(len(handles), 1))
    for style, group in handles:
        figure.add_artist(Line2D([0.685, 0.715], [y, y], transform=figure.transFigure, **style))
        lines = textwrap.wrap(plain(label(group[0], keys, repeats=False)), 46, max_lines=2, placeholder=" …")
        size = 9.5 if len(lines) < 2 else 8.5
        figure.text(0.725, y, "\n".join(lines), fontsize=size, va="center", linespacing=1.05)
        told = verdict_of_most(group)
        if group[0].metric:
            shown = over_repeats([entry.value for entry in group])
            told += f" · {group[0].metric.name.removeprefix('test_')} {shown}"
        figure.text(
            0.725,
            y - 0.52 * step,
            SIGNS.get(verdict_of_most(group).split()[0], "·"),
            fontsize=8.5,
            va="center",
            color=GREY,
        )
        figure.text(0.742, y - 0.52 * step, plain(told), fontsize=8.5, va="center", color=GREY)
        y -= step


def _draw_grid(figure, entries: list[Entry], grid: Grid) -> None:
    metric = metric_of(entries)
    means = grid.means()
    colours = heat_colours(means, metric)
    figure.text(0.03, 0.905, f"{metric.removeprefix('test_')} and verdict", fontsize=11, color=GREY, va="center")
    ax = figure.add_axes((0.14, 0.12, 0.83, 0.72))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xlim(-0.5, len(grid.across) - 0.5)
    ax.set_ylim(len(grid.down) - 0.5, -0.5)
    ax.set_xticks(range(len(grid.across)), [plain(short(v, 18)) for v in grid.across], fontsize=10)
    ax.set_yticks(range(len(grid.down)), [plain(short(v, 18)) for v in grid.down], fontsize=10)
    ax.tick_params(length=0)
    ax.set_xlabel(plain(grid.keys[1]), fontsize=12, fontweight="bold")
    ax.set_ylabel(plain(grid.keys[0]), fontsize=12, fontweight="bold")
    from matplotlib.patches import Rectangle

    size = min(16.0, 140 / len(grid.across), 180 / len(grid.down))
    for i, a in enumerate(grid.down):
        for j, b in enumerate(grid.across):
            cell = grid.cells.get((a, b))
            ground, ink = colours[i][j] if cell else ("#FFFFFF", GREY)
            ax.add_patch(Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, facecolor=ground, linewidth=0))
            value = f"{means[i, j]:.3g}" if np.isfinite(means[i, j]) else "–"
            ax.text(j, i - 0.12, value, ha="center", va="center", color=ink, fontsize=size, fontweight="bold")
            if cell:
                ax.text(
                    j, i + 0.2, plain(verdict_of_most(cell)), ha="center", va="center", color=ink, fontsize=0.65 * size
                )
