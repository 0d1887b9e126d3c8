"""`hydra/sweeper=cure`: what `cure=true` asks for; what is tried, and why, is in `zoo.sweeping.cure`."""

from pathlib import Path
from typing import Any

from hydra_plugins.gradient_zoo.launching import LaunchingSweeper


class CureSweeper(LaunchingSweeper):
    """Does the runs that a command asks for, and then those that may cure the sick ones among them.

    Args:
        params: as Hydra's own sweeper takes them: what an experiment sweeps over.
    """

    def __init__(self, params: dict[str, str] | None = None):
        self.params = params

    def sweep(self, arguments: list[str]) -> Any:
        """Do all of it; what became of each run is written to the sweep's folder."""
        from zoo.archive.summary import Summary
        from zoo.sweeping.cure import cure_all

        folder, begun = Path(self.asked.hydra.sweep.dir), 0

        def run(jobs: list[tuple[str, ...]]) -> list[Summary]:
            nonlocal begun
            numbers = range(begun, begun + len(jobs))
            begun += len(jobs)
            self.launch(jobs, numbers.start)
            return [Summary.read(folder / str(number)) for number in numbers]

        return cure_all(self.asked, folder, run)
