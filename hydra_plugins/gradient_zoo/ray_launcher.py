"""`hydra/launcher=ray`: each run of a sweep a task of a Ray cluster."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

JOBS = 100  # of a process, which then gives back the memory that it has gathered


class RayLauncher(Launcher):
    """Hands the jobs to Ray; a job whose node is lost is done again, from its last epoch.

    Args:
        address: of the cluster: `ray://HOST:10001`, `HOST:6379` or `auto`; `None` starts one on this machine.
        num_cpus, num_gpus: that Ray sets aside for each job.
        max_retries: how often a job is tried again whose process or node is lost.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float, max_retries: int):
        self.address = address
        # A process keeps what it compiled for its next job; on a GPU it would keep all of its memory too.
        calls = 1 if num_gpus else JOBS
        self.options = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries, "max_calls": calls}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what each job needs."""
        self.config_loader, self.task_function, self.config = hydra_context.config_loader, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; return what each returned, in order.

        Raises:
            UserError: if Ray is not installed or there is no cluster at the address.
        """
        from zoo.sweeping.ray import run_on_ray

        jobs = [
            (number, list(overrides), self.config_loader, self.config, self.task_function)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        return run_on_ray(jobs, self.address, self.options, Path(self.config.hydra.sweep.dir))
