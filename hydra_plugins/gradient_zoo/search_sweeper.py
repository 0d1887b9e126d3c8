"""`hydra/sweeper=optuna`: a search by Optuna; how its trials are asked for and told is in `zoo.sweeping.search`."""

from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SearchSweeper(Sweeper):
    """Does one trial after the other, each with values that Optuna chooses by those before.

    The arguments are in `zoo.config.SearchSweeper`; `zoo.sweeping.plan` has made a `Search` of them.
    """

    def __init__(self, n_trials: int, n_jobs: int, **search: Any):
        self.n_trials, self.n_jobs = n_trials, n_jobs
        self.asked: DictConfig
        self.launches: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Start the launcher."""
        self.asked = config
        self.launches = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Do the trials; what became of each is in its run folder and in the study."""
        from zoo.sweeping.search import Trials

        def launch(jobs: list[tuple[str, ...]], first: int) -> None:
            self.launches.launch([list(words) for words in jobs], initial_job_idx=first)

        trials = Trials(self.asked, Path(self.asked.hydra.sweep.dir), self.n_trials, launch)
        # Ours does jobs for several threads at once, each when it has a worker that is free.
        workers = getattr(self.launches, "workers", None)
        if workers is None:
            trials.do(self.n_jobs)
        else:
            trials.do_each(workers)
