"""The frame of a picture: what it shows and of which run, axes at places in inches, names of layers, epochs."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from zoo.archive.run import RunFolder
from zoo.report.pictures.style import GREY, RED, STYLE
from zoo.telemetry.page.bilingual import SIGNS

WIDTH = 9.0  # inches, of every picture
LETTER = 0.066  # inches, a letter of 8 points
NAME = {"fontsize": 8, "color": GREY}  # of a layer at an axis
ABOVE = {"xycoords": "axes fraction", "textcoords": "offset points"}


def new_figure(height: float, title: str, run: RunFolder):
    """Return a figure whose lower `height` inches are free; above stand what it shows, of which run, the verdict."""
    from matplotlib.figure import Figure

    verdict = run.summary.verdict
    told = f"{verdict.name}: {verdict.sentence}" if verdict else ""
    if verdict and not drawable(told):
        told = verdict.name
    lines = textwrap.wrap(told, 130, max_lines=3, placeholder=" …")
    total = height + 0.6 + 0.17 * len(lines)
    figure = Figure(figsize=(WIDTH, total))

    def write(inches: float, text: str, left: float = 0.15, **style) -> None:
        figure.text(left / WIDTH, 1 - inches / total, plain(text), va="baseline", **style)

    write(0.27, title, fontsize=11, fontweight="bold")
    write(0.46, short(run.summary.name, 130), color=GREY, fontsize=8)
    if verdict:
        write(0.65, SIGNS.get(verdict.name, "·"), fontsize=8)
    for i, line in enumerate(lines):
        write(0.65 + 0.16 * i, line, left=0.3, fontsize=8)
    return figure


def add_axes(figure, left: float, bottom: float, width: float, height: float):
    """Add axes at a place given in inches: laying out by measuring text would cost as much as drawing."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, bottom / h, width / w, height / h))


def panel_title(ax, title: str, pad: float) -> None:
    """Write a panel's title `pad` points above it. At a height that is given nothing need be measured for it."""
    ax.set_title(title, loc="left", y=1.0, fontsize=9, fontweight="bold", pad=pad)


def plain(text: str) -> str:
    """Return `text` as matplotlib shall write it: one line, and a dollar sign is a dollar sign."""
    return " ".join(text.split()).replace("$", r"\$")


def drawable(text: str) -> bool:
    """Whether the font has all of a text's letters: it has no Chinese."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(STYLE["font.family"])).get_charmap()
    return all(ord(letter) in known for letter in text)


def short(text: str, most: int) -> str:
    """Return `text` in at most `most` letters, what is too much taken from its middle."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - most + most // 2 + 1 :]}"


def axis_labels(names: Sequence[str]) -> tuple[list[str], float]:
    """Return the names as they are written at an axis, and the room in inches that the longest takes."""
    labels = [plain(short(name, 26)) for name in names]
    return labels, 0.3 + LETTER * max(map(len, labels))


def counted(names: Sequence[str]) -> str:
    """["a", "b"] -> "2 layers"."""
    return f"{len(names)} layer{'s' * (len(names) != 1)}"


def row_height(rows: int) -> float:
    """Inches for the picture of so many rows."""
    return min(max(1.6, 0.2 * rows), 7.5)


def fitting(count: int, inches: float) -> np.ndarray:
    """Indices of the labels that fit beside each other: all, or some evenly spaced from the first on, and the last."""
    if count * 0.15 <= inches:
        return np.arange(count)
    shown = np.arange(0, count - 1, math.ceil(count * 0.28 / inches))
    return np.append(shown[(count - 1 - shown) * inches / count >= 0.15], count - 1)


def ground(ax, hatched: bool) -> None:
    """Prepare the ground of a heat map; it shows where the map is see-through."""
    ax.grid(False)
    ax.patch.set(facecolor="white", hatch="////" if hatched else None, edgecolor=RED)
    ax.spines[:].set_visible(False)


def name_rows(ax, labels: Sequence[str], inches: float) -> None:
    """Name as many rows of a heat map, `inches` high, as fit."""
    rows = fitting(len(labels), inches)
    ax.set_yticks([])
    across = ax.get_yaxis_transform()
    if len(rows) < len(labels):
        ax.hlines(rows, -_share(ax, 0.05, 0), 0, transform=across, color=GREY, linewidth=0.8, clip_on=False)
    style = {"transform": across, "ha": "right", "va": "center_baseline", **NAME}
    for row in rows:  # a tick with its lines and two labels would cost three times what a text costs
        ax.text(-_share(ax, 0.09, 0), row, labels[row], **style)


def name_columns(ax, labels: Sequence[str], inches: float, named: bool) -> None:
    """Name the columns under the lowest of several panels; in all of them a line leads up from each name."""
    columns = fitting(len(labels), inches)
    upright_lines(ax, columns + 1)
    style = {"transform": ax.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top", **NAME}
    for column in columns if named else ():
        ax.text(column + 1, -_share(ax, 0.09, 1), labels[column], **style)


def upright_lines(ax, places: Sequence[float] | np.ndarray) -> None:
    """Draw a grid's upright lines without ticks."""
    ax.set_xticks([])
    style = {"color": STYLE["grid.color"], "linewidth": STYLE["grid.linewidth"], "zorder": 0.5}
    ax.vlines(places, 0, 1, transform=ax.get_xaxis_transform(), **style)


def epoch_axis(ax, ends: np.ndarray) -> None:
    """Number the epochs above a time axis, each at its end: all of few, else each second, fifth, tenth, ..."""
    if not len(ends):
        return
    every = next(n * 10**power for power in range(20) for n in (1, 2, 5) if n * 10**power * 12 >= len(ends))
    shown = np.arange(every, len(ends) + 1, every)
    along = ax.get_xaxis_transform()
    style = {"color": GREY, "linewidth": 0.8, "clip_on": False}
    ax.vlines(ends[shown - 1], 1, 1 + _share(ax, 0.04, 1), transform=along, **style)
    style = {"transform": along, "ha": "center", "fontsize": 7, "color": GREY}
    for epoch in shown:
        ax.text(ends[epoch - 1], 1 + _share(ax, 0.065, 1), str(epoch), **style)
    ax.annotate("epoch", (0, 1), (0, 5), **ABOVE, fontsize=7, color=GREY)


def label_axis(axis, text: str, inches: float) -> None:
    """Write what an axis shows, so far from it; where the place is given, the numbers beside it are not measured."""
    axis.set_label_text(text)
    dimension = 1 if axis.axis_name == "x" else 0
    away = -_share(axis.axes, inches, dimension)
    axis.set_label_coords(*((0.5, away) if dimension else (away, 0.5)))


def colour_bar(figure, place: tuple[float, float, float], cmap: str, ticks: dict[float, str], label: str) -> None:
    """Add the colours from the lowest to the highest value and what they mean; matplotlib's own costs three times that.

    Args:
        figure: to add it to.
        place: left, bottom and height in inches.
        cmap: name of the colours.
        ticks: what stands beside which share of the height, from 0 to 1.
        label: what the colours show.
    """
    left, bottom, height = place
    ax = add_axes(figure, left, bottom, 0.16, height)
    ax.imshow(np.linspace(0, 1, 256)[:, None], cmap=cmap, origin="lower", aspect="auto", extent=(0, 1, 0, 1))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.yaxis.tick_right()
    ax.set_yticks(list(ticks), list(ticks.values()))
    figure.text((left + 0.7) / WIDTH, (bottom + height / 2) / figure.get_figheight(), label, rotation=90, va="center")


def _share(ax, inches: float, dimension: int) -> float:
    """Return what share of the width (0) or height (1) of axes so many inches are."""
    box = ax.get_position()
    return inches / ((box.width, box.height)[dimension] * ax.figure.get_size_inches()[dimension])


def legend_patches(ax, notes: list[tuple[str, dict]], loc: str, corner: tuple[float, float]) -> None:
    """Explain what patches of some looks mean."""
    from matplotlib.patches import Patch

    if notes:
        handles = [Patch(label=label, linewidth=0, **style) for label, style in notes]
        ax.legend(handles=handles, loc=loc, bbox_to_anchor=corner, ncols=2, borderaxespad=0.3)
