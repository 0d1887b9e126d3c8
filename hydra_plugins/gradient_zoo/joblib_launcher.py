"""`hydra/launcher=joblib`: the runs of a sweep in worker processes; what it does is in `zoo.sweeping.workers`."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class JoblibLauncher(Launcher):
    """Runs as many jobs at once as there are cores.

    Args:
        n_jobs: how many; -1 for as many as there are cores.
    """

    def __init__(self, n_jobs: int):
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Start the workers: they import TensorFlow while the sweep is being prepared."""
        from zoo.archive.sweep import SweepFolder
        from zoo.sweeping.workers import Workers

        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.workers = Workers(self.n_jobs, SweepFolder(Path(config.hydra.sweep.dir)).left())

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; return what each returned, in order."""
        sweep = Path(self.config.hydra.sweep.dir)
        sweep.mkdir(parents=True, exist_ok=True)
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        return self.workers.run(
            [
                (number, list(overrides), self.hydra_context.config_loader, self.config, self.task_function)
                for number, overrides in zip(numbers, job_overrides, strict=True)
            ],
            sweep,
        )
