"""The study of a search: what its trials came to, by which Optuna chooses the next one."""

import dataclasses
import logging
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.archive.sweep import SweepFolder
from zoo.errors import UserError

if TYPE_CHECKING:
    import optuna

FILE = "search.db"
PATIENCE = 120.0  # seconds that another process may take to write to the database
SAMPLERS = ("tpe", "random")
PRUNERS = ("none", "median", "hyperband")
MINIMIZE, MAXIMIZE = "minimize", "maximize"


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search is: how it chooses, and by what.

    Attributes:
        objectives: metrics of the last epoch, or "seconds" or "parameters".
        directions: MINIMIZE or MAXIMIZE of each.
        sampler, pruner: one of `SAMPLERS` and `PRUNERS`.
        seed: of the sampler.
        epochs: that a trial which is not pruned takes.
        storage: address of a database server; `None` for a file in the sweep's folder.
    """

    objectives: list[str]
    directions: list[str]
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    epochs: int = 1
    storage: str | None = None

    @classmethod
    def of(cls, folder: Path) -> "Search | None":
        """Return the search of a sweep's folder; `None` of any other sweep."""
        known = SweepFolder(folder).read().get("search")
        return cls(**known) if known else None

    def study(self, folder: Path, *, make: bool = False) -> "optuna.Study":
        """Return the study of the search that lies in `folder`.

        Args:
            folder: of the sweep, whose name is the study's.
            make: whether it is made if it is not there.

        Raises:
            UserError: if Optuna is not installed, or the server does not answer.
        """
        optuna = imported()
        lies = self.storage or f"sqlite:///{folder / FILE}"
        options = {} if self.storage else {"connect_args": {"timeout": PATIENCE}}
        try:
            storage = optuna.storages.RDBStorage(lies, engine_kwargs=options)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                if not make:
                    return optuna.load_study(
                        study_name=folder.name, storage=storage, sampler=self.sampler_for(0), pruner=self._pruner()
                    )
                return optuna.create_study(
                    study_name=folder.name,
                    storage=storage,
                    sampler=self.sampler_for(0),
                    pruner=self._pruner(),
                    directions=self.directions,
                    load_if_exists=True,
                )
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("sqlalchemy", "optuna", "builtins"):
                raise
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"the search's database {lies} cannot be used: {reason}") from error

    def sampler_for(self, number: int) -> Any:
        """Return what chooses the values of trial `number`.

        Each has a seed of its own, which follows from that of the search: whichever process chooses, before or after a
        search was cut off, it chooses the same, and not what another one has chosen.
        """
        import numpy as np

        optuna = imported()
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "constant_liar" is experimental in Optuna 4
            # Trials that run count as bad ones, or else several at once would try the same.
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    @staticmethod
    def trial(study: "optuna.Study", number: int) -> "optuna.Trial":
        """Return trial `number` of a study, which may be of another process, to go on with it."""
        optuna = imported()
        # Optuna hands out a trial to go on with to the process that asked for it, and to no other.
        return optuna.trial.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)

    def _pruner(self) -> Any:
        optuna = imported()
        if self.pruner == "median":
            return optuna.pruners.MedianPruner()
        if self.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(max_resource=self.epochs)
        return optuna.pruners.NopPruner()


def imported() -> Any:
    """Return Optuna, which says nothing by itself.

    Raises:
        UserError: if it is not installed, or too old.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper=optuna needs Optuna: pip install 'gradient-zoo[optuna]'.") from error
    if int(re.match(r"\d+", optuna.__version__)[0]) < 4:  # pyright: ignore[reportOptionalSubscript]
        raise UserError(
            f"hydra/sweeper=optuna needs Optuna 4, not {optuna.__version__}: pip install -U 'gradient-zoo[optuna]'."
        )
    optuna.logging.set_verbosity(logging.ERROR)
    return optuna
