"""What a `-m` command asks for, found and checked before anything is begun."""

import dataclasses
import sys

from omegaconf import DictConfig

from zoo.archive.differences import varying
from zoo.archive.study import MAXIMIZE, MINIMIZE, PRUNERS, SAMPLERS, Search
from zoo.archive.summary import COSTS
from zoo.config import check, check_files, objectives
from zoo.errors import UserError, masked
from zoo.sweeping import hydra_private
from zoo.sweeping.cure import MOST, longest
from zoo.sweeping.identity import code_of, identity_of, search_identity
from zoo.sweeping.search import dimensions, ends
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
        identity, code: by which the same command finds its folder again.
        search: how a search chooses; `None` of any other sweep.
    """

    overrides: list[str]
    total: int
    varying: list[str]
    open: bool = False
    epochs: int = 0
    identity: str | None = None
    code: str | None = None
    search: Search | None = None

    @property
    def told(self) -> str:
        """How many runs there will be."""
        if not self.open:
            return say("1 run" if self.total == 1 else "{count} runs", count=self.total)
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
        searches = hydra_private.searches(config)
        if not (cures or searches or hydra_private.is_grid(config)):
            raise UserError("hydra/sweeper: choose basic, which tries every combination, or optuna, which searches.")
        jobs = ends(config) if searches else hydra_private.grid(config)
        if not jobs:
            raise UserError("this sweep has no run: glob(...) finds files of a group alone, such as 'remedy=glob(*)'.")
        if len(jobs) > MANY:
            told = f"{len(jobs):,} jobs: each is composed and checked before the first begins"
            print(told, file=sys.stderr, flush=True)
        composed = [hydra_private.composed(config, words) for words in jobs]
        for job in composed:
            check(job)
            if hydra_private.stays_here(config):
                check_files(job)
            if job.preflight != config.preflight:
                raise UserError("preflight=true is for all jobs of a command or for none: say it once.")
        identity, code = identity_of(composed), code_of(composed)
        if searches:
            return cls._of_search(config, overrides, composed, identity, code)
        if cures:
            most = len(jobs) * (1 + MOST)
            epochs = max(job.epochs for job in composed)
            return cls(overrides, most, [], open=True, epochs=epochs, identity=f"cure {identity}", code=code)
        return cls(overrides, len(jobs), varying(jobs), identity=identity, code=code)

    @classmethod
    def _of_search(
        cls, config: DictConfig, overrides: list[str], composed: list[DictConfig], identity: str, code: str
    ) -> "Plan":
        search = _search_of(config, max(job.epochs for job in composed))
        known = search_identity(identity, dimensions(config), search)
        total = config.hydra.sweeper.n_trials
        return cls(overrides, total, list(dimensions(config)), identity=known, code=code, search=search)


def _search_of(config: DictConfig, epochs: int) -> Search:
    """Return what a command says of its search.

    Raises:
        UserError: for a mistake in it.
    """
    asked, names = config.hydra.sweeper, objectives(config)
    for key, value, choices in (("sampler", asked.sampler, SAMPLERS), ("pruner", asked.pruner, PRUNERS)):
        if value not in choices:
            raise UserError(f"hydra.sweeper.{key}={value}: choose one of {', '.join(choices)}.")
    for key, value in (("n_trials", asked.n_trials), ("n_jobs", asked.n_jobs)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"hydra.sweeper.{key}={value}: it must be a whole number, 1 or more.")
    directions = asked.direction
    if directions is None:
        directions = [_direction(name) for name in names]
    directions = [directions] if isinstance(directions, str) else list(directions)
    if len(directions) != len(names) or not {*directions} <= {MINIMIZE, MAXIMIZE}:
        raise UserError(f"hydra.sweeper.direction={asked.direction}: say minimize or maximize for each objective.")
    if asked.pruner != "none" and (len(names) > 1 or names[0].startswith("test_") or names[0] in COSTS):
        raise UserError(f"hydra.sweeper.pruner={asked.pruner}: it goes by one objective, a metric of each epoch.")
    if asked.storage and masked(asked.storage) != asked.storage:
        raise UserError(
            "hydra.sweeper.storage: leave the password out, which would be written to the sweep's folder; PostgreSQL "
            "takes it from PGPASSWORD or ~/.pgpass."
        )
    return Search(names, directions, asked.sampler, asked.pruner, config.seed, epochs, asked.storage)


def _direction(name: str) -> str:
    """Which way is better, where a metric's name says it."""
    if name.endswith("accuracy"):
        return MAXIMIZE
    if name.endswith(("loss", "rmse")) or name in COSTS:
        return MINIMIZE
    raise UserError(f"objective={name}: say whether to hydra.sweeper.direction=minimize or maximize it.")
