"""In a cure: the state of the last sound epoch of a run that broke, which gentler ways of it go on from.

It lies in the sweep's folder, `sound/KEY`, for KEY see `key_of`: a run finds there what was left by the one that it
departs from, and needs no more than its own config. Where nothing lies, it trains from its first epoch, to the same.
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from omegaconf import DictConfig

from zoo.archive.differences import LABELS, WITHOUT_EFFECT
from zoo.archive.run import read_columns
from zoo.archive.sweep import SOUND
from zoo.config import resolved
from zoo.running.checkpoint import Checkpoint, variables_of
from zoo.telemetry.breaking import sound_epoch
from zoo.telemetry.keras_private import source_of_rate


def key_of(cfg: DictConfig) -> str:
    """Return a digest of what a run follows from, but for how it goes on gently: the same for all ways of one run."""
    left_out = {*WITHOUT_EFFECT, *LABELS, "gentler"}
    content = {key: value for key, value in resolved(cfg).items() if key not in left_out}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def put(cfg: DictConfig, sweep: Path, checkpoint: Checkpoint) -> None:
    """Put what the run left that this one departs from, if it did, where `checkpoint.restore` finds it."""
    folder = sweep / SOUND / key_of(cfg)
    for file in [*checkpoint.files, *checkpoint.whole, checkpoint.path]:  # it last: what is cut off begins anew
        if (folder / file.name).is_file():
            shutil.copy(folder / file.name, file)


class Sound(keras.callbacks.Callback):
    """Keeps the checkpoint of the epoch of the lowest loss, and leaves it for others if the training broke after it.

    It comes after the `Checkpoint`.

    Args:
        cfg: of the run.
        sweep: folder of its sweep.
        checkpoint: that is written after each epoch.
        history: `history.csv`, which has the epoch's row then.
    """

    def __init__(self, cfg: DictConfig, sweep: Path, checkpoint: Checkpoint, history: Path):
        super().__init__()
        self.cfg, self.sweep, self.checkpoint, self.history = cfg, sweep, checkpoint, history
        self.kept = checkpoint.path.with_name("sound.npz")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        losses = read_columns(self.history)["loss"]
        if np.isfinite(losses[-1]) and losses[-1] < min(losses[:-1][np.isfinite(losses[:-1])], default=np.inf):
            # The checkpoint is replaced, never written into: a second name for its file keeps what it holds.
            with contextlib.suppress(FileNotFoundError):
                self.kept.unlink()
            os.link(self.checkpoint.path, self.kept)

    def on_train_end(self, logs: dict | None = None) -> None:
        folder = self.sweep / SOUND / key_of(self.cfg)
        if sound_epoch(read_columns(self.history)["loss"]) is None or folder.exists():
            return
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        new.mkdir(parents=True)
        rate = _place_of_rate(self.model)
        with np.load(self.kept, allow_pickle=False) as file:
            named = {name: file[name] for name in ("memory", "arrays")}
            values = [file[f"v{i}"] for i in range(len(file.files) - len(named))]
        # A run that goes on gently has a schedule in the place of this number.
        values = [value for i, value in enumerate(values) if i != rate]
        np.savez(new / self.checkpoint.path.name, **named, **{f"v{i}": value for i, value in enumerate(values)})
        for file in [*self.checkpoint.files, *self.checkpoint.whole]:
            if file.is_file():
                shutil.copy(file, new / file.name)
        with contextlib.suppress(OSError):  # another process left the same
            new.rename(folder)


def _place_of_rate(model: Any) -> int | None:
    """Return where a checkpoint has the learning rate, if that is a number and no schedule."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    rate = source_of_rate(optimizer)
    return next((i for i, variable in enumerate(variables_of(model)) if variable is rate), None)
