"""The journal of a run: what the tracking store shall hold of it, on disk before it is sent."""

import json
import os
import threading
import zlib
from collections import deque
from pathlib import Path

from zoo.archive.files import replace_file
from zoo.archive.lock import STATE


class Journal:
    """Entries in the order in which they were logged, and how many of them the store has.

    Each line bears its checksum: one that was damaged may still be JSON, with another number in it. Lines that cannot
    be read are left out, and so is what the store has, if that is not to be read: it is sent again, and the store,
    which knows each entry by its time, takes it once.

    Args:
        folder: of the run.
        keep: whether to go on with the journal that is there, if there is one.

    Attributes:
        key: the tag by which the store knows the run; `None` of a journal whose first line was lost.
        damaged: whether more than the end of the last line, which a process that is killed may leave, was lost.
    """

    def __init__(self, folder: Path, keep: bool = False):
        self.path = folder / STATE / "journal.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = threading.Lock()
        self.delivered, self.asked = 0, keep
        self.run_id: str | None = None
        entries, self.damaged = _entries(self.path) if keep else ([], False)
        progress = self._read_progress()
        if keep and progress is not None and not self.damaged:
            self.delivered = progress["delivered"]
        if progress is not None and (keep or not _entries(self.path)[0]):
            self.run_id = progress["run_id"]  # the run is there, whatever became of the line that began it
        if not keep:
            self._progress.unlink(missing_ok=True)
        self.key: str | None = _key_of(entries[0]) if entries else None
        self.entries = entries
        self.pending = deque(entries[self.delivered :])
        # Rewritten: a process that was killed may have left half a line.
        replace_file(self.path, "".join(_sealed(entry) for entry in entries))
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  open until the run ends

    @property
    def _progress(self) -> Path:
        return self.path.with_name("delivered.json")

    @property
    def logged(self) -> set[tuple[str, int]]:
        """Name and step of each point that was logged before this process."""
        points = (entry["points"] for entry in self.entries if entry["op"] == "points")
        return {(name, step) for some in points for name, _, step in some}

    def append(self, op: str, **content) -> None:
        """Write an entry."""
        entry = {"op": op, **content}
        self.key = self.key or _key_of(entry)
        self._file.write(_sealed(entry))
        self._file.flush()
        with self._guard:
            self.pending.append(entry)

    def advance(self, count: int) -> None:
        """Note that the store has `count` more entries."""
        with self._guard:
            for _ in range(count):
                self.pending.popleft()
        self.delivered += count
        # Not synced to disk as the journal is: without it everything is sent again, which does no harm.
        new = self._progress.with_suffix(".new")
        new.write_text(_sealed({"delivered": self.delivered, "run_id": self.run_id}), encoding="utf-8")
        os.replace(new, self._progress)

    def sync(self) -> None:
        """Have the disk hold what was written so far."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_progress(self) -> dict | None:
        try:
            progress = _unsealed(self._progress.read_bytes())
            return {"delivered": int(progress["delivered"]), "run_id": progress["run_id"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _key_of(entry: dict) -> str | None:
    return entry["tags"].get("journal") if entry["op"] == "create" else None


def _sealed(content: dict) -> str:
    text = json.dumps(content)
    return f"{text}\t{zlib.crc32(text.encode()):08x}\n"


def _unsealed(line: bytes) -> dict:
    """Return what was sealed; the first versions wrote no checksum.

    Raises:
        ValueError: if it is not that.
    """
    text, tab, checksum = line.rstrip().rpartition(b"\t")
    if tab and zlib.crc32(text) != int(checksum, 16):
        raise ValueError("it is damaged")
    return json.loads(text if tab else checksum)


def _entries(path: Path) -> tuple[list[dict], bool]:
    """Return the entries from the one that creates the run on, and whether any was lost."""
    entries, lost = [], 0
    if path.is_file():
        lines = path.read_bytes().splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                entry = _unsealed(line)
                entries.append({**entry, "op": entry["op"]})
            except (ValueError, KeyError, TypeError):
                lost += number < len(lines)
    if entries and entries[0]["op"] != "create":
        return [], True
    return entries, lost > 0
