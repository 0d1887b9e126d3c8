"""Pictures of one run, drawn from its folder alone: which layers starve, since when, what training did.

matplotlib is imported when the first picture is drawn. Figures are made without pyplot: nothing asks for a screen, and
nothing stays in memory.
"""

import contextlib
import gc
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.archive.run import read_run
from zoo.errors import disk_full
from zoo.report.pictures.activations import activations_figure
from zoo.report.pictures.gradients import gradients_figure
from zoo.report.pictures.profile import profile_figure
from zoo.report.pictures.style import save
from zoo.report.pictures.training import training_figure

FIGURES = {
    "gradients": gradients_figure,
    "profile": profile_figure,
    "training": training_figure,
    "activations": activations_figure,
}


def draw_run(folder: str | Path) -> list[Path]:
    """Draw what the files of a run folder allow; return the pictures' paths.

    gradients.png: the gradient norm of every layer at every step.
    profile.png: weight gradients, back-propagated gradients and activations against depth, at step 0 and at the end.
    training.png: loss, metric, learning rate and global gradient norm against time.
    activations.png: the share of dead units and of saturated values, in every layer at every epoch.
    """
    run = read_run(folder)
    drawn = []
    with _no_collection():
        for name, draw in FIGURES.items():
            figure = draw(run)
            if figure is not None:
                drawn.append(Path(folder) / f"{name}.png")
                save(figure, drawn[-1])
    return drawn


def draw_missing(folders: Iterable[Path]) -> None:
    """Draw each run that was to have pictures and has none: one of a sweep, or one whose process was killed before."""
    for folder in folders:
        if lacks_pictures(folder):
            draw_if_possible(folder)


def lacks_pictures(folder: Path) -> bool:
    """Whether a run was to have pictures and has none."""
    config = folder / "config.yaml"
    if any((folder / f"{name}.png").is_file() for name in FIGURES) or not config.is_file():
        return False
    return "\npictures: true\n" in config.read_text(encoding="utf-8")  # a sweep's thousand are parsed in no time


def draw_if_possible(folder: Path) -> list[Path]:
    """Draw a run; if that fails, say so and no more: a picture is not worth a training."""
    try:
        return draw_run(folder)
    except Exception as error:
        if disk_full(error):
            raise
        print(f"pictures of {folder} could not be drawn: {type(error).__name__}: {error}", file=sys.stderr)
        return []


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Let garbage lie: matplotlib makes so many objects that Python, in search of some, walks all that Keras holds."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
