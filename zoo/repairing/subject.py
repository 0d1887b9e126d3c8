"""The program that is to be repaired: what is asked of it, and which of its layers can be changed."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from zoo.checkup.frozen import never_trained
from zoo.checkup.program import Program, taken
from zoo.checkup.task import Kind, Task
from zoo.telemetry.layers import all_layers

HELD_OUT = 0.2  # of the samples, where there are no others to measure by
AFFINE = ("Dense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
RECURRENT = ("SimpleRNN", "LSTM", "GRU")
WRAPPING = (keras.layers.Wrapper, keras.layers.Bidirectional)
NORMALIZING = ("Normalization", "BatchNormalization", "LayerNormalization", "Rescaling", "GroupNormalization")
MOST_CLASSES = 20  # values that numbers may have and still be classes
MOST_HELD = 2_000  # samples that are held out


@dataclasses.dataclass(frozen=True)
class Aim:
    """What is asked of the only output, from its targets, its units and its loss.

    Attributes:
        kind: of the targets, as `zoo.checkup.task.Task` has it; but numbers under no distance may be classes.
        classes: their values in ascending order, of class numbers and of what has two values; empty of others.
        units: that an output needs: of class numbers one for each number up to the largest.
    """

    kind: Kind
    classes: np.ndarray
    units: int

    @classmethod
    def of(cls, task: Task) -> "Aim":
        """Tell it from a task."""
        values: np.ndarray = np.zeros(0)
        kind, y = task.kind, np.asarray(task.targets)
        one_each = y.size == len(y)
        if one_each and y.dtype.kind in "biuf" and np.isfinite(y).all():
            values = np.unique(y.astype(np.float64))
        two = len(values) == 2
        whole = len(values) and np.array_equal(values, np.round(values))
        squeezed = task.activation in ("sigmoid", "softmax") and task.loss is not None and task.loss.takes != "distance"
        if kind == "numbers" and one_each and 2 <= len(values) <= MOST_CLASSES and squeezed and (whole or two):
            kind = "binary" if two else "class numbers"
        if kind == "numbers" and not one_each and squeezed and len(values := _levels(y)) == 2:
            return cls("several labels", values, y.shape[-1])  # masks of 0 and 255
        if kind == "class numbers" and two and task.units == 1:
            kind = "binary"
        if kind == "class numbers":
            largest = int(values.max()) if whole and values.min() >= 0 and values.max() < 2 * len(values) + 20 else 0
            return cls(kind, values, max(largest + 1, len(values), task.units))
        if kind in ("one-hot", "several labels"):
            return cls(kind, values[:0], y.shape[-1] if y.ndim > 1 else 1)
        return cls(kind, values if kind == "binary" else values[:0], 1 if one_each else y.shape[-1])


def _levels(y: np.ndarray) -> np.ndarray:
    """Return the values that targets have, or more than two of them."""
    some = np.unique(y[:MOST_CLASSES])
    return some if len(some) > 2 or np.isin(y, some).all() else np.unique(y)


@dataclasses.dataclass
class Subject:
    """A program, the samples to measure it by, and what can be changed.

    Attributes:
        program: with the samples that it trains on.
        held: x and y that it does not train on.
        split: whether they were taken from x and y, for want of others.
    """

    program: Program
    held: tuple[Any, Any]
    split: bool

    @classmethod
    def of(cls, model: keras.Model, x: Any, y: Any, validation_data: Any) -> "Subject":
        """Gather the data, and hold some out where there are none to validate with; raises what `Program.of` raises."""
        whole = Program.of(model, x, y, validation_data)
        for a in whole.targets:
            if a.dtype.kind not in "biuf":
                raise ValueError(
                    f"y holds {a.dtype}, and a loss takes numbers: of names, np.unique(y, return_inverse=True)[1] are."
                )
        if whole.validation is not None and whole.validation[1] is not None:
            return cls(dataclasses.replace(whole, validation=None), whole.validation, False)
        order = np.random.default_rng(0).permutation(whole.count)
        count = min(MOST_HELD, max(1, round(HELD_OUT * whole.count)))
        if whole.fixed:
            count = max(1, count // whole.fixed) * whole.fixed
        if count >= whole.count:
            raise ValueError(f"{whole.count} samples are too few to train on some and measure by others.")
        held, rest = np.sort(order[:count]), np.sort(order[count:])
        kept = dataclasses.replace(whole, x=taken(whole.x, rest), y=taken(whole.y, rest))
        return cls(kept, (taken(whole.x, held), taken(whole.y, held)), True)

    @property
    def model(self) -> keras.Model:
        return self.program.model

    @functools.cached_property
    def task(self) -> Task | None:
        """What is asked of the only output; `None` of several, and where it cannot be told."""
        tasks = self.program.tasks
        return tasks[0] if len(tasks) == 1 and len(self.program.targets) == 1 else None

    @functools.cached_property
    def aim(self) -> Aim | None:
        task = self.task
        if task is None or task.kind == "none":
            return None
        if (task.loss is None or task.loss.own) and np.ptp(np.nan_to_num(task.targets)) == 0:
            return None  # what a loss of one's own does not look at
        if task.kind == "numbers" and task.loss is not None and task.loss.takes == "sparse" and task.targets.ndim > 1:
            return None  # a class for each step or pixel, as in language models: the loss tells how many are told
        return Aim.of(task)

    @property
    def editable(self) -> bool:
        """Whether the layers can be changed."""
        return rebuilt(self.model)

    @functools.cached_property
    def named(self) -> dict[str, keras.layers.Layer]:
        """The layers within the model by name."""
        return {layer.name: layer for layer in all_layers(self.model)}

    @functools.cached_property
    def affine(self) -> list[keras.layers.Layer]:
        """Dense and convolutional layers, the first first."""
        return [layer for layer in self._ordered if type(layer).__name__ in AFFINE]

    @functools.cached_property
    def recurrent(self) -> list[keras.layers.Layer]:
        return [layer for layer in self._ordered if type(layer).__name__ in RECURRENT]

    @functools.cached_property
    def hidden(self) -> list[keras.layers.Layer]:
        """Of the dense and convolutional ones those behind which others follow."""
        return [layer for layer in self.affine if layer is not self.last]

    @functools.cached_property
    def last(self) -> keras.layers.Layer | None:
        """The layer whose units are the output's."""
        return self.affine[-1] if self.affine else None

    @functools.cached_property
    def _ordered(self) -> list[keras.layers.Layer]:
        try:
            called = [self.named[name] for name in self.program.probed.layers if name in self.named]
        except Exception:  # of a program that raises: the order in which layers stand has to do
            called = []
        behind = [layer for layer in _listed(self.model) if layer.weights and layer not in called]
        return [*called, *behind] if called else behind

    @functools.cached_property
    def normalizes_inputs(self) -> bool:
        """Whether one of the first layers brings the inputs to scale, or looks them up."""
        first = _listed(self.model)[:3]
        return any(type(layer).__name__ in (*NORMALIZING, "Embedding", "TextVectorization") for layer in first)

    @functools.cached_property
    def trained(self) -> bool:
        """Whether the model was trained before: else each seed draws its weights anew."""
        layers = [layer for layer in _listed(self.model) if layer.weights]
        finite = all(np.isfinite(np.asarray(keras.ops.convert_to_numpy(v))).all() for v in self.model.weights)
        return bool(layers) and finite and not never_trained(layers)


def rebuilt(layer: Any) -> bool:
    """Whether a model can be made anew layer by layer: chains and graphs of layers, not a class of one's own."""
    graph = type(layer).__name__ == "Functional" and type(layer).__module__.startswith("keras.")
    return isinstance(layer, keras.Sequential) or type(layer) is keras.Model or graph


def _listed(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model as they stand, those of models within in their place."""
    found = []
    for layer in getattr(model, "layers", []):
        found += _listed(layer) if isinstance(layer, keras.Model) else [layer]
    return found
