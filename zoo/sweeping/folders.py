"""The folder of a run or sweep: made before anything is done, and gone at the end if nothing came into it."""

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from zoo.archive.lock import STATE
from zoo.errors import UserError, explain


def make_folder(key: str, folder: Path) -> None:
    """Make a folder that can be written; when the process ends, what of it was made here and is empty goes.

    Args:
        key: that chose it.
        folder: of a run or sweep, which may be there.

    Raises:
        UserError: if it cannot be made or written.
    """
    new = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _remove_empty(new)
        told = f"{key}={folder}: it cannot be written ({error.strerror}): give another folder."
        raise UserError(explain(error) or told) from error
    if new:
        atexit.register(_remove_empty, new)


def leave_nothing(folder: Path) -> None:
    """Take away a folder in which there is nothing but what a lock needs."""
    if [path.name for path in folder.iterdir()] == [STATE]:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            if folder.is_dir():
                folder.rmdir()
