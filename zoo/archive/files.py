"""Files that outlive a power cut: replaced as a whole, or grown and summed up, so that damage is seen."""

import contextlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

CHUNK = 2**20  # bytes that are read at once


def replace_file(path: Path, text: str | bytes) -> None:
    """Put `text`, in UTF-8, in the place of what `path` holds; else as `replace_file_with`."""
    data = text.encode() if isinstance(text, str) else text

    def write(file: BinaryIO) -> None:
        file.write(data)

    replace_file_with(path, write)


def replace_file_with(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Put what `write` writes to the file it is given, which is open for bytes, in the place of what `path` holds.

    Whoever reads, and whatever is cut off, finds the old content or the new one. The new one is made beside it, in
    `NAME.new`; what a killed process left there is overwritten.

    Raises:
        OSError: if it cannot be written. Then, as when `write` raises, `path` is as it was.
    """
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # before it gets its name: else after a power cut that may be an empty file's
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    with contextlib.suppress(OSError):  # some file systems do not open, or sync, folders
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk holds what was written to a file, or the names that a folder has.

    Raises:
        OSError: if it cannot be opened, or the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Sum:
    """Length in bytes and CRC-32 of a file that only grows, taken over and over: each time of its new bytes alone."""

    def __init__(self, path: Path):
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.length, self.crc, self._file = 0, 0, (0, 0)

    def take(self, length: int | None = None) -> tuple[int, int]:
        """Go on to the end of the file, or of its first `length` bytes if it has so many; return both numbers.

        A file that was replaced, or is shorter now, is summed up from its beginning.

        Raises:
            OSError: if it cannot be read.
        """
        with open(self.path, "rb") as file:
            state = os.fstat(file.fileno())
            end = state.st_size if length is None else min(length, state.st_size)
            if self._file != (state.st_dev, state.st_ino) or end < self.length:
                self._forget()
                self._file = (state.st_dev, state.st_ino)
            file.seek(self.length)
            while chunk := file.read(min(CHUNK, end - self.length)):
                self.length, self.crc = self.length + len(chunk), zlib.crc32(chunk, self.crc)
        return self.length, self.crc
