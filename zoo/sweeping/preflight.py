"""`preflight=true` with -m: jobs that train nothing, in a folder that is gone when the command has ended."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from zoo.config import home
from zoo.sweeping import hydra_private
from zoo.sweeping.progress import Progress


@contextlib.contextmanager
def passing_folder(config: DictConfig) -> Iterator[Path]:
    """A folder for what the jobs have to say: beside other temporary files, or where other machines see it too.

    It is removed at the end of the block, or, if this process is killed before, by a process of loky's that waits until
    the last of the workers is gone.
    """
    from loky.backend import resource_tracker

    shared = None
    if not hydra_private.stays_here(config):
        shared = home() / "mlruns"
        shared.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gradient-zoo-preflight-", dir=shared))
    resource_tracker.register(str(folder), "folder")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        resource_tracker.unregister(str(folder), "folder")


class Foretelling(Progress):
    """How far the jobs are, of which none is the best: a loss before the first step is no merit."""

    def line(self) -> str:
        """Return `12/48 done, 2 running, ETA 3 min`."""
        self.best = None
        return super().line()
