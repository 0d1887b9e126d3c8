"""What a training that was cut off goes on from: weights, optimizer, random state, what callbacks remember."""

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.archive.files import Sum, replace_file, replace_file_with, sync
from zoo.running.plain import Plain, PlainFile
from zoo.telemetry.answers import Answers
from zoo.telemetry.batch import Batch
from zoo.telemetry.probe import Attention, Lookup, Probe, Probes, Residual
from zoo.telemetry.recurrent import TimeProfile
from zoo.telemetry.setting import Setting

# The functions that a callback may remember: those by which Keras' own tell better from worse, which they find out in
# the first epoch. Any other is left as the new callback has it, for a file must not choose what is called.
FUNCTIONS = {
    "keras.ops.less": keras.ops.less,
    "keras.ops.greater": keras.ops.greater,
    "numpy.less": np.less,
    "numpy.greater": np.greater,
}
PLAIN = Plain([Probe, Attention, Residual, Lookup, TimeProfile, Answers, Batch, Setting], FUNCTIONS)


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after each epoch; `restore` puts model and callbacks where the last one left them.

    A training that was cut off and restored takes the very steps that one without a cut takes: on a deterministic
    device, bit for bit. Of a callback counts what is plain (see `Plain`) among its attributes.

    To read a checkpoint runs no code: it holds numbers and text.

    Args:
        path: of the one file, which is replaced as a whole.
        callbacks: those whose memory counts; this one must come after them.
        probes: that of them which probes, if any.
        files: that grow during the training, written by callbacks before this one, and are gone on with: each is on
            the disk before the checkpoint that counts its bytes. One that is not there does not count.
        whole: small files that are replaced during the training: the checkpoint holds what they held.

    Attributes:
        told: why `restore` went on with nothing though there was a checkpoint, one line; else `None`.
    """

    def __init__(
        self,
        path: Path,
        callbacks: list[keras.callbacks.Callback],
        probes: Probes | None,
        files: Sequence[Path] = (),
        whole: Sequence[Path] = (),
    ):
        super().__init__()
        self.path, self.callbacks, self.probes = path, callbacks, probes
        # What was probed is written once: with all of it in each checkpoint, epochs would cost more and more.
        self._probed = PlainFile(path.with_name("probes.plain"), PLAIN)
        self._written = 0
        self.files, self.whole = [*files, self._probed.path], list(whole)
        self.told: str | None = None
        # Of this process' own: what was restored may be rewritten before the training goes on.
        self._sums = [Sum(file) for file in self.files]
        self._memories: list[dict] = []
        self._random: tuple | None = None

    def restore(self, model: keras.Model) -> tuple[int, bool]:
        """Set the state of `model` (built, compiled), of the callbacks and the files, if there is a checkpoint.

        Nothing is set if it cannot be used: `told` says why. What files hold beyond it is cut off.

        Returns:
            How many epochs are done, and whether a callback has stopped the training there.
        """
        self.told = None
        if not self.path.is_file():
            return 0, False
        model.optimizer.build(model.trainable_variables)
        variables = variables_of(model)
        try:
            memory, values = _read(self.path)
            fault = self._fault(memory, values, variables)
        except Exception as error:  # what a damaged file raises is beyond listing
            fault = f"{self.path} is damaged, or of another version ({type(error).__name__})"
            memory, values = {}, []
        if fault is not None:
            self.told = f"{fault}: the run starts from its first epoch"
            return 0, False
        for file, (length, _) in self._of(self.files, memory["files"]):
            os.truncate(file, length)  # a cut may have come between a row and its checkpoint
        for file, content in self._of(self.whole, memory["whole"]):
            replace_file(file, content)
        for variable, value in zip(variables, values, strict=True):
            # A file knows the half precisions of `ml_dtypes` as so many bytes alone.
            variable.assign(value.view(np.dtype(variable.dtype)) if value.dtype.kind == "V" else value)
        self._memories, self._random = memory["callbacks"], memory["random"]
        if self.probes is not None:
            results = self._probed.read()
            self._written = len(results)
            self.probes.resume(results)
        return memory["epochs"], memory["stopped"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, for at its own beginning a callback such as EarlyStopping forgets what it knew.
        for callback, memory in zip(self.callbacks, self._memories, strict=False):
            for name, value in memory.items():
                _remember(callback, name, value)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self._random is not None:  # not before, for `fit` may draw numbers as it begins
            _set_random_state(*self._random)
            self._random = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        model = self.model
        assert model is not None, "Keras sets it before the first epoch"
        if self.probes is not None:
            if not self._written:  # of a try before, which left no checkpoint to go on from
                self._probed.path.unlink(missing_ok=True)
            self._probed.append(self.probes.results[self._written :])
            self._written = len(self.probes.results)
        for file in self.files:
            if file.is_file():
                sync(file)
        memory = {
            "epochs": epoch + 1,
            "stopped": bool(model.stop_training),
            "callbacks": [_memory(callback) for callback in self.callbacks],
            "random": _random_state(),
            "files": {added.path.name: added.take() for added in self._sums if added.path.is_file()},
            "whole": {file.name: file.read_bytes() for file in self.whole if file.is_file()},
        }
        text, arrays = PLAIN.write(memory)
        values: dict[str, Any] = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables_of(model))}
        replace_file_with(self.path, lambda new: np.savez(new, memory=text, arrays=arrays, **values))

    def _fault(self, memory: dict, values: list[np.ndarray], variables: list[keras.Variable]) -> str | None:
        """Return what keeps a checkpoint that was read from being used."""
        if [v.shape for v in values] != [tuple(v.shape) for v in variables] or (
            len(memory["callbacks"]) != len(self.callbacks)
        ):
            return f"{self.path} is of another model or of other callbacks"
        for file, (length, crc) in self._of(self.files, memory["files"]):
            if not file.is_file():
                return f"{file} is missing"
            found = Sum(file).take(length)
            if found[0] < length:
                return f"{file} is damaged (it holds {found[0]:,} of the {length:,} bytes that were written)"
            if found[1] != crc:
                return f"{file} is damaged (its first {length:,} bytes are not those that were written)"
        return None

    @staticmethod
    def _of(files: list[Path], known: dict[str, Any]) -> list[tuple[Path, Any]]:
        """Return those of the files that a checkpoint knows, and what it knows of each."""
        return [(file, known[file.name]) for file in files if file.name in known]


def _read(path: Path) -> tuple[dict, list[np.ndarray]]:
    """Return the memory of a checkpoint and the values of the model's variables."""
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        if (broken := file.zip.testzip()) is not None:
            raise ValueError(f"{broken} is not what was written")
        memory = PLAIN.read(file["memory"], file["arrays"])
        values = [file[f"v{i}"] for i in range(len(file.files) - 2)]
    if not {"epochs", "stopped", "callbacks", "random", "files", "whole"} <= memory.keys():
        raise ValueError("it holds something else")
    return memory, values


def variables_of(model: keras.Model) -> list[keras.Variable]:
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
    found = {name: dict(v) if isinstance(v, dict) else v for name, v in vars(callback).items() if name != "params"}
    return {name: value for name, value in found.items() if PLAIN.takes(value)}


def _remember(callback: keras.callbacks.Callback, name: str, value: Any) -> None:
    old = vars(callback).get(name)
    if isinstance(old, dict) and type(old) is not dict and isinstance(value, dict):
        old.clear()  # a Counter, say, stays one
        old.update(value)
    else:
        vars(callback)[name] = value
