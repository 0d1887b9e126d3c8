"""Rows of numbers that grow with the training, while the memory they take does not."""

import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

MOST_BYTES = 16 * 2**20  # of rows in memory; more go to a file


class Rows:
    """(steps, columns) float32 that grow at the end: in memory while they are few, else in a file.

    Args:
        columns: of a row.
        path: the file, from the first row on, so that rows outlive the process; what it holds already is kept as far
            as `size` says. `None` for a temporary file, which nobody sees.
        size: rows of `path` to keep.

    Raises:
        ValueError: if `path` holds fewer than `size`.
    """

    def __init__(self, columns: int, path: Path | None = None, size: int = 0):
        self.columns, self.size = columns, size
        self._array = np.zeros((0, columns), np.float32)
        self._file = None
        if path is not None:
            held = path.stat().st_size if path.exists() else 0
            if held < size * columns * 4:  # to cut a file beyond its end would fill it up with zeros
                whole = held // (columns * 4)
                raise ValueError(f"{path} is damaged: it holds {whole:,} of the {size:,} rows to go on after.")
            path.touch()
            self._file = open(path, "r+b", buffering=0)  # noqa: SIM115  it is open as long as the training goes on
            self._file.truncate(size * columns * 4)
            self._file.seek(0, 2)

    def __len__(self) -> int:
        return self.size

    def append(self, block: np.ndarray) -> None:
        """Add (n, columns) rows."""
        block = np.ascontiguousarray(block, np.float32)
        end = self.size + len(block)
        if self._file is None and end * self.columns * 4 > MOST_BYTES:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            _write(self._file, self._array[: self.size])
            self._array = np.zeros((0, self.columns), np.float32)
        if self._file is not None:
            _write(self._file, block)
        else:
            if end > len(self._array):  # room for twice as many: memory that is not written to is not taken
                grown = np.empty((max(2 * len(self._array), end), self.columns), np.float32)
                grown[: self.size] = self._array[: self.size]
                self._array = grown
            self._array[self.size : end] = block
        self.size = end

    def close(self) -> None:
        """Let go of the file: no more rows come. Arrays that were returned stay."""
        if self._file is not None:
            self._file.close()

    def __getstate__(self) -> dict:
        return {"columns": self.columns, "rows": np.array(self.array())}

    def __setstate__(self, state: dict) -> None:
        """Hold the rows without the file: that is another process', or the original's."""
        Rows.__init__(self, state["columns"])
        self.append(state["rows"])

    def array(self) -> np.ndarray:
        """Return all rows, (steps, columns), read-only: a view, or the file, mapped where its disk can."""
        if self._file is not None and self.size and self.columns:
            shape = (self.size, self.columns)
            try:
                return np.memmap(self._file, np.float32, "r", shape=shape)
            except OSError:  # some network disks map no files
                self._file.seek(0)
                view = np.fromfile(self._file, np.float32, self.size * self.columns).reshape(shape)
                self._file.seek(0, 2)
        else:
            view = np.zeros((self.size, self.columns), np.float32) if self._file else self._array[: self.size]
        view.flags.writeable = False
        return view


def _write(file: BinaryIO, block: np.ndarray) -> None:
    """Write all of a C-ordered block: without a buffer one call may take a part, and leave half a row in silence."""
    rest = block.reshape(-1).view(np.uint8).data
    while len(rest):
        rest = rest[file.write(rest) :]
