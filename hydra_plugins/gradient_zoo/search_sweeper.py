"""`hydra/sweeper=optuna`: a search by Optuna; how its trials are asked for and told is in `zoo.sweeping.search`."""

from pathlib import Path
from typing import Any

from hydra_plugins.gradient_zoo.launching import LaunchingSweeper


class SearchSweeper(LaunchingSweeper):
    """Does one trial after the other, each with values that Optuna chooses by those before.

    The arguments are in `zoo.config.SearchSweeper`; `zoo.sweeping.plan` has made a `Search` of them.
    """

    def __init__(self, n_trials: int, n_jobs: int, **search: Any):
        self.n_trials, self.n_jobs = n_trials, n_jobs

    def sweep(self, arguments: list[str]) -> Any:
        """Do the trials; what became of each is in its run folder and in the study."""
        from zoo.sweeping.search import Trials

        trials = Trials(self.asked, Path(self.asked.hydra.sweep.dir), self.n_trials, self.launch)
        # Ours does jobs for several threads at once, each when it has a worker that is free.
        workers = getattr(self.launcher, "workers", None)
        if workers is None:
            trials.do(self.n_jobs)
        else:
            trials.do_each(workers)
