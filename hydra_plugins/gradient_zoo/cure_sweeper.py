"""`hydra/sweeper=cure`: what `cure=true` asks for; what is tried, and why, is in `zoo.sweeping.cure`."""

from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CureSweeper(Sweeper):
    """Does the runs that a command asks for, and then those that may cure the sick ones among them.

    Args:
        params: as Hydra's own sweeper takes them: what an experiment sweeps over.
    """

    def __init__(self, params: dict[str, str] | None = None):
        self.params = params
        self.asked: DictConfig
        self.launches: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Start the launcher."""
        self.asked = config
        self.launches = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Do all of it; what became of each run is written to the sweep's folder."""
        from zoo.archive.summary import Summary
        from zoo.sweeping.cure import cure_all

        folder, begun = Path(self.asked.hydra.sweep.dir), 0

        def run(jobs: list[tuple[str, ...]]) -> list[Summary]:
            nonlocal begun
            numbers = range(begun, begun + len(jobs))
            begun += len(jobs)
            self.launches.launch([list(words) for words in jobs], initial_job_idx=numbers.start)
            return [Summary.read(folder / str(number)) for number in numbers]

        return cure_all(self.asked, folder, run)
