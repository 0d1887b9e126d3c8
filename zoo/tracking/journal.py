"""The journal of a run: what the tracking store shall hold of it, on disk before it is sent."""

import json
import os
import threading
from collections import deque
from pathlib import Path

from zoo.archive.lock import STATE


class Journal:
    """Entries in the order in which they were logged, and how many of them the store has.

    Args:
        folder: of the run.
        keep: whether to go on with the journal that is there, if there is one.
    """

    def __init__(self, folder: Path, keep: bool = False):
        self.path = folder / STATE / "journal.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = threading.Lock()
        self.delivered, self.asked = 0, keep
        self.run_id: str | None = None
        entries = _entries(self.path) if keep else []
        if keep and self._progress.is_file():
            progress = json.loads(self._progress.read_text())
            self.delivered, self.run_id = progress["delivered"], progress["run_id"]
        if not keep:
            self._progress.unlink(missing_ok=True)
        self.entries = entries
        self.pending = deque(entries[self.delivered :])
        # Rewritten: a process that was killed may have left half a line.
        self._replace(self.path, "".join(json.dumps(entry) + "\n" for entry in entries))
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  open until the run ends

    @property
    def _progress(self) -> Path:
        return self.path.with_name("delivered.json")

    def append(self, op: str, **content) -> None:
        """Write an entry."""
        entry = {"op": op, **content}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        with self._guard:
            self.pending.append(entry)

    def advance(self, count: int) -> None:
        """Note that the store has `count` more entries."""
        with self._guard:
            for _ in range(count):
                self.pending.popleft()
        self.delivered += count
        self._replace(self._progress, json.dumps({"delivered": self.delivered, "run_id": self.run_id}))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        new = path.with_name(path.name + ".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)


def _entries(path: Path) -> list[dict]:
    entries = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return entries
