"""What a `-m` command asks for, found and checked before anything is begun."""

import dataclasses
import sys

from omegaconf import DictConfig

from zoo.archive.differences import varying
from zoo.config import check
from zoo.errors import UserError
from zoo.sweeping import hydra_private
from zoo.sweeping.cure import MOST, longest
from zoo.sweeping.identity import code_of, identity_of
from zoo.telemetry.language import say

MANY = 200  # jobs, from which on one waits long enough to be told


@dataclasses.dataclass(frozen=True)
class Plan:
    """The jobs of a sweep.

    Attributes:
        overrides: the words of the command.
        total: how many runs there will be.
        varying: the keys that differ between them.
        open: whether `total` is how many there may be at most: what may cure follows from the runs before.
        epochs: of the longest of them.
        identity, code: by which the same command finds its folder again; `None` of a search, which cannot go on.
    """

    overrides: list[str]
    total: int
    varying: list[str]
    open: bool = False
    epochs: int = 0
    identity: str | None = None
    code: str | None = None

    @property
    def told(self) -> str:
        """How many runs there will be."""
        if not self.open:
            return say("{count} runs", count=self.total)
        first = self.total // (1 + MOST)
        return say(
            "{runs}, and after each that is sick at most {most} more, of {epochs} epochs together",
            runs=say("the run" if first == 1 else "{count} runs", count=first),
            most=MOST,
            epochs=longest(self.epochs),
        )

    @classmethod
    def of(cls, config: DictConfig) -> "Plan":
        """Compose and check every job of a sweep whose own config was checked.

        Raises:
            UserError: for a mistake in one of them.
        """
        if isinstance(config.resume, str):
            raise UserError(f"resume={config.resume} goes on with one run: leave out -m.")
        overrides, cures = list(config.hydra.overrides.task), hydra_private.cures(config)
        if config.cure != cures:
            raise UserError("cure=true stands alone on the command line: leave out hydra/sweeper=, and say it there.")
        if cures and config.preflight:
            raise UserError("preflight=true trains nothing that could be cured: leave out one of the two.")
        if not cures and not hydra_private.is_grid(config):
            return cls(overrides, config.hydra.sweeper.n_trials, hydra_private.searched(config))
        jobs = hydra_private.grid(config)
        if len(jobs) > MANY:
            told = f"{len(jobs):,} jobs: each is composed and checked before the first begins"
            print(told, file=sys.stderr, flush=True)
        composed = [hydra_private.composed(config, words) for words in jobs]
        for job in composed:
            check(job)
            if job.preflight != config.preflight:
                raise UserError("preflight=true is for all jobs of a command or for none: say it once.")
        identity, code = identity_of(composed), code_of(composed)
        if cures:
            most = len(jobs) * (1 + MOST)
            epochs = max(job.epochs for job in composed)
            return cls(overrides, most, [], open=True, epochs=epochs, identity=f"cure {identity}", code=code)
        return cls(overrides, len(jobs), varying(jobs), identity=identity, code=code)
