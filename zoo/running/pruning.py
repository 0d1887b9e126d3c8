"""A trial of a search that says after each epoch how good it is, and ends where others were better by then."""

import math
import warnings
from pathlib import Path
from typing import Any

import keras

from zoo.archive.study import Search
from zoo.errors import UserError


class StopWhenPruned(keras.callbacks.Callback):
    """Reports an epoch's metric to the study of the search, and stops the training if its pruner says so.

    Args:
        sweep: folder of the search.
        number: of the trial.
    """

    def __init__(self, sweep: Path, number: int):
        super().__init__()
        self.pruned = False  # the checkpoint keeps it
        self._sweep, self._number = sweep, number
        self._trial: Any = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        search = Search.of(self._sweep)
        assert search is not None
        self._metric = search.objectives[0]
        self._trial = search.trial(search.study(self._sweep), self._number)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = (logs or {}).get(self._metric)
        if value is None:
            known = ", ".join(logs or {})
            raise UserError(f"objective={self._metric}: a pruner needs a metric of each epoch, which are {known}.")
        if not math.isnan(value):  # that run ends by itself
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an epoch that is done again, after a cut, was reported before
                self._trial.report(float(value), epoch)
        if self._trial.should_prune():
            self.pruned = True
            self.model.stop_training = True  # pyright: ignore[reportOptionalMemberAccess]  Keras has set it


def pruning_of(folder: Path, sweep: Path | None) -> list[StopWhenPruned]:
    """Return the callback of a trial whose search prunes; none of any other run.

    Args:
        folder: of the run.
        sweep: that it belongs to.
    """
    search = Search.of(sweep) if sweep is not None else None
    if sweep is None or search is None or search.pruner == "none":
        return []
    return [StopWhenPruned(sweep, int(folder.name))]
