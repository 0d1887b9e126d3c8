"""`hydra/launcher=joblib`: the runs of a sweep in worker processes; what it does is in `zoo.sweeping.workers`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class JoblibLauncher(Launcher):
    """Runs as many jobs at once as there are cores; jobs of one program are trained as one where that is faster.

    Args:
        n_jobs: how many; -1 for as many as there are cores.
        pack: how many jobs may be trained as one; "auto" for what is fast, 1 for none.
    """

    def __init__(self, n_jobs: int, pack: Any = "auto"):
        self.n_jobs, self.pack = n_jobs, pack

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Start the workers: they import TensorFlow while the sweep is being prepared."""
        from zoo.archive.sweep import SweepFolder
        from zoo.sweeping.packs import checked
        from zoo.sweeping.workers import Workers

        self.most = checked(self.pack)
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.workers = Workers(self.n_jobs, SweepFolder(Path(config.hydra.sweep.dir)).left())

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; return what each returned, in order."""
        sweep = Path(self.config.hydra.sweep.dir)
        sweep.mkdir(parents=True, exist_ok=True)
        jobs = [
            (number, list(overrides), self.hydra_context.config_loader, self.config, self.task_function)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        return self.workers.run(self._packs(jobs), sweep)

    def _packs(self, jobs: list[tuple]) -> list[list[tuple]]:
        """Part the jobs into those that are trained together, and say which are not."""
        from zoo.sweeping.hydra_private import composed, is_grid
        from zoo.sweeping.packs import packs

        # What searches or cures goes by the runs before; a preflight trains none.
        if len(jobs) < 2 or self.most == 1 or self.config.preflight or not is_grid(self.config):
            return [[job] for job in jobs]
        found, told = packs([composed(self.config, job[1]) for job in jobs], self.most, self.workers.slots)
        if self.config.verbose:
            print("".join(f"{line}\n" for line in told), end="", file=sys.stderr, flush=True)
        return [[jobs[k] for k in places] for places in found]
