"""A sweep's folder: what it is a sweep of, so that the same command finds it again, and what became of each run."""

import json
from pathlib import Path

from zoo.archive.files import replace_file
from zoo.archive.summary import Summary

SOUND = "sound"  # in a cure's folder: what gentler ways to go on begin with


class SweepFolder:
    """The folder of a sweep; each run of it has a folder in it by its number."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def _file(self) -> Path:
        return self.path / "sweep.json"

    def read(self) -> dict:
        """Return what `write` wrote; nothing if that is not there, or is not whole."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        except (OSError, ValueError):
            return {}

    def write(self, **content) -> None:
        """Write what the sweep is."""
        self.path.mkdir(parents=True, exist_ok=True)
        replace_file(self._file, json.dumps(content, indent=1) + "\n")

    def job(self, number: int) -> Path:
        """The folder of run `number`."""
        return self.path / str(number)

    def left(self) -> int | None:
        """Return how many runs are not finished; `None` if it is not known how many there will be."""
        total = self.read().get("total")
        return total and total - sum(summary.finished for summary in self.summaries())

    def summaries(self) -> list[Summary]:
        """Return the summaries of all runs that left one or were cut off, in the order of their numbers."""
        return [Summary.read(folder) for folder in self.jobs()]

    def jobs(self) -> list[Path]:
        """Return the folders of the runs that were begun, in the order of their numbers."""
        found = [p for p in self.path.iterdir() if p.is_dir() and p.name.isdigit()] if self.path.is_dir() else []
        return sorted(found, key=lambda p: int(p.name))


def find(sweeps: Path, identity: str, code: str | None) -> Path | None:
    """Return the newest sweep folder in `sweeps` of that identity and, unless `None`, of that code."""
    found = [path.parent for path in sweeps.glob("*/sweep.json")]
    for path in sorted(found, reverse=True):
        known = SweepFolder(path).read()
        if known.get("identity") == identity and code in (None, known.get("code")):
            return path
    return None
