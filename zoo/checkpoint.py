"""What a training that was cut off goes on from: weights, optimizer, random state, what callbacks remember."""

import os
import pickle
import random
from pathlib import Path

import keras
import numpy as np

from zoo.telemetry.probe import Probes

PLAIN = (int, float, complex, str, bytes, bool, type(None), np.ndarray, np.generic)


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after each epoch; `restore` puts model and callbacks where the last one left them.

    A training that was cut off and restored takes the very steps that one without a cut takes: on a deterministic
    device, bit for bit.

    Args:
        path: of the one file, which is replaced as a whole.
        callbacks: those whose memory counts; this one must come after them.
        probes: that of them which probes, if any.
    """

    def __init__(self, path: Path, callbacks: list[keras.callbacks.Callback], probes: Probes | None):
        super().__init__()
        self.path, self.callbacks, self.probes = path, callbacks, probes
        self._memories: list[dict] = []

    def restore(self, model: keras.Model) -> tuple[int, bool]:
        """Set the state of `model` (built, compiled) and of the callbacks, if there is a checkpoint.

        Returns:
            How many epochs are done, and whether a callback has stopped the training there.
        """
        if not self.path.is_file():
            return 0, False
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path, allow_pickle=False) as file:
            memory = pickle.loads(file["memory"].tobytes())
            for i, variable in enumerate(_variables(model)):
                variable.assign(file[f"v{i}"])
        self._memories = memory["callbacks"]
        if self.probes is not None:
            self.probes.results = memory["probes"]
        random.setstate(memory["random"])
        np.random.set_state(memory["numpy"])
        return memory["epochs"], memory["stopped"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, for at its own beginning a callback such as EarlyStopping forgets what it knew.
        for callback, memory in zip(self.callbacks, self._memories, strict=False):
            vars(callback).update(memory)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        memory = {
            "epochs": epoch + 1,
            "stopped": self.model.stop_training,
            "callbacks": [_memory(callback) for callback in self.callbacks],
            "probes": self.probes.results if self.probes is not None else [],
            "random": random.getstate(),
            "numpy": np.random.get_state(),
        }
        arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(self.model))}
        new = self.path.with_suffix(".new.npz")
        np.savez(new, memory=np.frombuffer(pickle.dumps(memory), np.uint8), **arrays)
        os.replace(new, self.path)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, seeds of dropout and the like, and the optimizer's state; not what metrics count within an epoch."""
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    return [v for v in [*model.variables, *model.optimizer.variables] if id(v) not in metrics]


def _memory(callback: keras.callbacks.Callback) -> dict:
    """What a callback remembers in plain values: a count, a best value, the best weights."""
    return {name: value for name, value in vars(callback).items() if name != "params" and _plain(value)}


def _plain(value) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value)) and all(map(_plain, value.values()))
    return isinstance(value, PLAIN)
