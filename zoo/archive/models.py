"""The trained models that runs leave: which files they are, and which of a sweep's are among its best."""

import math
import os
import shutil
from pathlib import Path

from zoo.archive.study import MINIMIZE
from zoo.archive.summary import Summary, less_is_better
from zoo.archive.sweep import SweepFolder
from zoo.errors import UserError

LAST, BEST = "model.keras", "best.keras"  # as after the last epoch; as after the one that was best by the objective
KINDS = (LAST, BEST)
WAITING = "models"  # in a sweep's folder: those of its runs that are among the best so far, each in a folder by number


def models_in(folder: Path) -> list[str]:
    """Return the names of the models that lie in a folder."""
    return [name for name in KINDS if (folder / name).is_file()]


def files_of(folder: Path) -> list[str]:
    """Return the names of the files in a run's folder that the store gets as files: all but its models."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in KINDS)


class BestModels:
    """The models of a sweep's best runs, kept while it goes on by whoever has done a run.

    No process waits for another one: each sees the runs that are finished, keeps its own model if fewer than `count` of
    them are better, and takes away what is not among the best of them any more. So those of the best are always there,
    and at times some more.

    Args:
        sweep: its folder.
        objective: of its runs, the first of several.
        count: how many are kept.
    """

    def __init__(self, sweep: Path, objective: str, count: int):
        self.sweep, self.objective, self.count = SweepFolder(sweep), objective, count
        directions = (self.sweep.read().get("search") or {}).get("directions")
        self.sign = 1 if (directions[0] == MINIMIZE if directions else less_is_better(objective)) else -1

    @property
    def folder(self) -> Path:
        """Where they wait for the sweep's end."""
        return self.sweep.path / WAITING

    def place(self, number: str, value: float) -> Path | None:
        """Return the folder for the models of a run that comes to `value`; `None` if it is none of the best."""
        rank = self._rank(value)
        if rank == math.inf:
            return None
        others = [(other, name) for other, name, _ in self._ranked() if name != number]
        if sum(other < (rank, number) for other in others) >= self.count:
            return None
        place = self.folder / number
        place.mkdir(parents=True, exist_ok=True)
        return place

    def drop_others(self) -> None:
        """Take away the models that are not among the best any more."""
        for _, _, place in self._ranked()[self.count :]:
            shutil.rmtree(place, ignore_errors=True)

    def gather(self) -> None:
        """Let the models that an earlier end of the sweep has put into runs' folders wait again, as it goes on."""
        for folder in self.sweep.jobs():
            for name in models_in(folder):
                place = self.folder / folder.name
                place.mkdir(parents=True, exist_ok=True)
                os.replace(folder / name, place / name)

    def settle(self) -> list[Path]:
        """Put the models of the best runs into these runs' folders, at the sweep's end; return those folders."""
        self.drop_others()
        kept = []
        for _, number, place in self._ranked():
            folder = self.sweep.path / number
            for name in models_in(place):
                os.replace(place / name, folder / name)
            kept.append(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        return kept

    def _rank(self, value: float) -> float:
        """Return what sorts the best first; infinity for what is no number."""
        return self.sign * value if math.isfinite(value) else math.inf

    def _ranked(self) -> list[tuple[float, str, Path]]:
        """Return rank, number and the place of the models of each finished run that has some, the best first."""
        found = []
        for place in self.folder.glob("*"):
            try:
                summary = Summary.read(self.sweep.path / place.name)
            except UserError:  # a damaged one: its run is done again
                continue
            if summary.finished and models_in(place):
                found.append((self._rank(summary.measured(self.objective)), place.name, place))
        return sorted(found)
