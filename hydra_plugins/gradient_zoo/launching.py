"""What our sweepers have in common."""

from collections.abc import Sequence

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LaunchingSweeper(Sweeper):
    """A sweeper that has the launcher of its command do jobs whenever it knows of some.

    Attributes:
        asked: the command's config.
        launcher: that the config chose.
    """

    asked: DictConfig
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Start the launcher."""
        self.asked = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def launch(self, jobs: Sequence[tuple[str, ...]], first: int) -> None:
        """Do jobs of these words, of which the first has the number `first`; return when they have ended."""
        self.launcher.launch([list(words) for words in jobs], initial_job_idx=first)
