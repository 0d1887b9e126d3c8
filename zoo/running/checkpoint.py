"""What a training that was cut off goes on from: weights, optimizer, random state, what callbacks remember."""

import os
import pickle
import random
from pathlib import Path
from types import FunctionType
from typing import Any

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
        self._random: tuple | None = None

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
            self.probes.resume(memory["probes"])
        self._random = memory["random"]
        return memory["epochs"], memory["stopped"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, for at its own beginning a callback such as EarlyStopping forgets what it knew.
        for callback, memory in zip(self.callbacks, self._memories, strict=False):
            vars(callback).update(memory)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self._random is not None:  # not before, for `fit` may draw numbers as it begins
            _set_random_state(*self._random)
            self._random = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        model = self.model
        assert model is not None, "Keras sets it before the first epoch"
        memory = {
            "epochs": epoch + 1,
            "stopped": model.stop_training,
            "callbacks": [_memory(callback) for callback in self.callbacks],
            "probes": self.probes.results if self.probes is not None else [],
            "random": _random_state(),
        }
        arrays: dict[str, Any] = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
        new = self.path.with_suffix(".new.npz")
        np.savez(new, memory=np.frombuffer(pickle.dumps(memory), np.uint8), **arrays)
        os.replace(new, self.path)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, seeds of dropout and the like, and the optimizer's state; not what metrics count within an epoch."""
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    return [v for v in [*model.variables, *model.optimizer.variables] if id(v) not in metrics]


def _random_state() -> tuple:
    """The state of Python's generator, NumPy's, and torch's own ones, from which Keras draws there."""
    states = []
    if keras.config.backend() == "torch":
        import torch

        states = [state.numpy() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]
    return random.getstate(), np.random.get_state(), states


def _set_random_state(python: tuple, numpy: tuple, torch_states: list[np.ndarray]) -> None:
    random.setstate(python)
    np.random.set_state(numpy)
    if torch_states:
        import torch

        own, *devices = map(torch.from_numpy, torch_states)
        torch.set_rng_state(own)
        torch.cuda.set_rng_state_all(devices[: torch.cuda.device_count()])


def _memory(callback: keras.callbacks.Callback) -> dict:
    """What a callback remembers: a count, a best value, the best weights, which way is better."""
    return {name: value for name, value in vars(callback).items() if name != "params" and _plain(value)}


def _plain(value) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value)) and all(map(_plain, value.values()))
    if isinstance(value, FunctionType):
        return "<" not in value.__qualname__  # one that has a name in its module
    return isinstance(value, PLAIN)
