"""How every picture looks. Colours are Okabe & Ito's and viridis, which every kind of colour vision tells apart."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Okabe & Ito 2008, Color universal design; black and the hard to see yellow left out.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
BLUE, ORANGE, GREEN, RED, SKY, PINK = COLOURS
INK, GREY, ZERO = "#222222", "#6E6E6E", "#D0D0D0"
DPI = 110
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 9,
    "text.hinting": "no_hinting",  # a fifth of a picture's time, for nothing that one sees
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
    "agg.path.chunksize": 10000,
}
DASHED = {"linestyle": (0, (4, 2)), "linewidth": 1.1}
HATCHED = {"facecolor": "white", "hatch": "//////", "edgecolor": RED}


def styled(draw: Callable) -> Callable:
    """Draw in this module's style, whatever the caller's matplotlib is set to."""

    @functools.wraps(draw)
    def within(*arguments, **options):
        import matplotlib

        style: dict[Any, Any] = {**matplotlib.rcParamsDefault, **STYLE}
        # Asking for the default backend imports pyplot, half a second, and chooses one. These figures need none.
        del style["backend"]
        with matplotlib.rc_context(style):
            return draw(*arguments, **options)

    return within


@styled  # some ticks are made only now
def save(figure, path: Path) -> None:
    """Write a figure as PNG, without the alpha channel that matplotlib's own writer spends half of its time on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set(dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.save(path, dpi=(DPI, DPI), compress_level=1)
