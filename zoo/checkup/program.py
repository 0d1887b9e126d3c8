"""A person's program as the check-up sees it: the model, its data, and what one pass shows."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo.checkup.task import Task, tasks_of
from zoo.telemetry.dry_step import Assigned, built
from zoo.telemetry.layers import optimizers_of
from zoo.telemetry.probe import Probe, Prober

MOST = 10_000  # samples that are looked at; of more, every so many-th
HELD = 50_000_000  # numbers of theirs that are held in memory at once
ONE_PASS = 256  # samples of the probe
NUMBERS = 4_000_000  # that the inputs of one pass hold at most: a pass keeps what every layer gives
LEAST = 16  # samples of a pass, however large they are
DRAWN = 2_048  # samples that are taken from a data set that is not held in memory


@dataclasses.dataclass
class Program:
    """What is checked.

    Attributes:
        model: compiled.
        x, y: structures of arrays, (samples, ...); the samples in the order in which they were given.
        validation: the same for validation; `None` if there is none.
        shuffled: whether the samples came in an order that is not the data's own, as from a data set.
        answering: what gives the model's answers to a batch faster than `answers_of`; `None` if there is nothing.
    """

    model: keras.Model
    x: Any
    y: Any
    validation: tuple[Any, Any] | None = None
    shuffled: bool = False
    answering: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, model: keras.Model, x: Any, y: Any = None, validation_data: Any = None) -> "Program":
        """Gather the data.

        Raises:
            RuntimeError: if the model is not compiled.
            TypeError, ValueError: for what is no model, and data that are none or do not belong together.
        """
        if not isinstance(model, keras.Model):
            raise TypeError(f"the check-up takes a keras.Model, not a {type(model).__name__}.")
        if not optimizers_of(model):
            raise RuntimeError(
                "the check-up needs a compiled model: call model.compile(optimizer=..., loss=...) first."
            )
        x, y, drawn = gathered(x, y)
        validation = None
        if validation_data is not None:
            given = validation_data if isinstance(validation_data, tuple | list) else (validation_data, None)
            validation = gathered(*given[:2])[:2]
        found = cls(model, x, y, validation, drawn)
        counts = {len(leaf) for leaf in [*found.inputs, *found.targets]}
        if len(counts) > 1:
            raise ValueError(
                f"the check-up takes as many targets as inputs: x has {len(found.inputs[0])} samples, y has "
                f"{len(found.targets[0])}."
            )
        if not found.inputs or not found.count:
            raise ValueError("the check-up needs a sample or more: x is empty.")
        return found

    @property
    def inputs(self) -> list[np.ndarray]:
        return [np.asarray(leaf) for leaf in keras.tree.flatten(self.x) if leaf is not None]

    @property
    def targets(self) -> list[np.ndarray]:
        return [np.asarray(leaf) for leaf in keras.tree.flatten(self.y) if leaf is not None]

    @property
    def count(self) -> int:
        return len(self.inputs[0])

    @functools.cached_property
    def some(self) -> np.ndarray:
        """Indices of as many samples as are looked at, evenly spread, in their order."""
        most = min(MOST, max(ONE_PASS, HELD // self._numbers))
        return np.unique(np.linspace(0, self.count - 1, min(self.count, most)).astype(int))

    @property
    def _numbers(self) -> int:
        """How many the inputs of one sample hold."""
        return max(1, sum(int(np.prod(a.shape[1:])) for a in self.inputs))

    @functools.cached_property
    def mixed(self) -> np.ndarray:
        """The same in an order drawn at random, always the same."""
        return np.random.default_rng(0).permutation(self.some)

    @functools.cached_property
    def fixed(self) -> int | None:
        """How many samples a batch must have, where the model says so: of a stateful one."""
        tensors = keras.tree.flatten(getattr(self.model, "inputs", None) or [])
        return next((tensor.shape[0] for tensor in tensors if tensor.shape and tensor.shape[0]), None)

    @functools.cached_property
    def one_pass(self) -> int:
        """How many samples one pass takes: fewer of large ones."""
        return min(ONE_PASS, max(LEAST, NUMBERS // self._numbers))

    @functools.cached_property
    def probe_batch(self) -> tuple[Any, Any]:
        """The samples of one pass."""
        return self.batch(self.one_pass)

    def batch(self, size: int, start: int = 0) -> tuple[Any, Any]:
        """Return a batch of mixed samples, beginning anew where they end; of the size that the model asks for."""
        size = self.fixed or min(size, self.count)
        index = np.take(self.mixed, np.arange(start, start + size), mode="wrap")
        return taken(self.x, index), taken(self.y, index)

    @functools.cached_property
    def finite(self) -> bool:
        """Whether all numbers of the data are finite."""
        return all(np.isfinite(a).all() for a in [*self.inputs, *self.targets] if a.dtype.kind == "f")

    @functools.cached_property
    def probed(self) -> Probe:
        """One pass of the training step over one batch; raises what the program raises.

        A model that waits for its first batch is built by it.
        """
        built(self.model, self.batch(min(2, self.count))[0])
        x, y = self.probe_batch
        return Prober(self.model)(x, y)

    @functools.cached_property
    def answers(self) -> Any:
        """What the model gives to the samples of the probe, as in inference; `None` where it cannot be called."""
        try:
            return self.answers_to(self.probe_batch[0])
        except Exception:  # of the person's own code: its training step, or `predict`, will tell
            return None

    def answers_to(self, x: Any) -> Any:
        """Return what the model gives to x, as `answers_of` does."""
        return answers_of(self.model, x) if self.answering is None else self.answering(x)

    @functools.cached_property
    def tasks(self) -> list[Task]:
        """What is asked of each output that has targets."""
        if self.answers is None:
            return []
        last = None
        with contextlib.suppress(Exception):  # of a program that raises; then what its last layer says has to do
            p = self.probed
            last = p.layers[-1], p.activations[-1], float(p.activation_rms[-1])
        return tasks_of(self.model, self.y, self.answers, last)


def answers_of(model: keras.Model, x: Any) -> Any:
    """Return a structure of arrays: what the model gives to x, as in inference; `None` of one without a `call`."""
    if type(model).call is keras.Model.call:
        return None
    x, assigned = keras.tree.map_structure(keras.ops.convert_to_tensor, x), Assigned()
    try:
        with assigned.watched(lambda variable: keras.ops.copy(variable.value)):  # the draws of a latent space
            given = model(x, training=False)
    finally:
        assigned.restore()
    return keras.tree.map_structure(lambda a: np.asarray(keras.ops.convert_to_numpy(a), np.float32), given)


def taken(structure: Any, index: np.ndarray | slice) -> Any:
    """Return the samples of a structure of arrays at `index`."""
    return keras.tree.map_structure(lambda a: None if a is None else a[index], structure)


def gathered(x: Any, y: Any) -> tuple[Any, Any, bool]:
    """Return a data set, or structures of arrays, as structures of arrays, and whether it was a data set."""
    if y is None and not isinstance(x, np.ndarray | list | dict) and hasattr(x, "__iter__") and not hasattr(x, "shape"):
        return *_drawn(iter(x)), True
    if isinstance(x, keras.utils.PyDataset):
        return *_drawn(x[i] for i in range(x.num_batches or 1)), True
    return _arrays(x), _arrays(y), False


def _drawn(batches: Any) -> tuple[Any, Any]:
    parts, count = [], 0
    for batch in batches:
        pair = batch if isinstance(batch, tuple | list) and len(batch) > 1 else (batch, None)
        parts.append(tuple(_arrays(part) for part in pair[:2]))
        count += len(keras.tree.flatten(parts[-1][0])[0])
        if count >= DRAWN:
            break
    if not parts:
        raise ValueError("the check-up needs a sample or more: the data set is empty.")
    join = functools.partial(keras.tree.map_structure, lambda *leaves: np.concatenate(leaves))
    x = join(*[part[0] for part in parts])
    return x, None if parts[0][1] is None else join(*[part[1] for part in parts])


def _arrays(structure: Any) -> Any:
    if structure is None:
        return None
    if isinstance(structure, list) and structure and not hasattr(structure[0], "shape"):
        structure = np.asarray(structure)  # of numbers; a list of arrays is one of inputs

    def array(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, np.ndarray):
            return leaf
        if hasattr(leaf, "to_numpy"):  # of pandas
            return leaf.to_numpy()
        return keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else np.asarray(leaf)

    found = keras.tree.map_structure(array, structure)
    for leaf in keras.tree.flatten(found):
        if leaf is not None and not np.asarray(leaf).ndim:
            kind = type(structure).__name__
            raise TypeError(f"the check-up takes arrays or a data set, but was given {kind}.")
    return found
