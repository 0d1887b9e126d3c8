"""What is asked of each output: its targets, its loss, its last activation."""

import dataclasses
from typing import Any, Literal

import keras
import numpy as np

from zoo.telemetry.keras_private import made_by
from zoo.telemetry.language import say

Kind = Literal["one-hot", "class numbers", "binary", "several labels", "numbers", "none"]
# Losses by what they take: probabilities (or logits) of classes, or distances between numbers.
SPARSE = ("SparseCategoricalCrossentropy",)
CATEGORICAL = ("CategoricalCrossentropy", "CategoricalFocalCrossentropy", "KLDivergence")
BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")
SQUARED = ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh")
MOST_CLASSES = 1000
MOSTLY = 0.2  # share of samples, steps or pixels that have a class: of the others none is told
SAME = 0.1  # by which what a layer gives may differ between training and inference
FEW_VALUES = 20  # different ones that numbers may have and still be classes, under a loss of classes


@dataclasses.dataclass(frozen=True)
class Loss:
    """The loss of one output.

    Attributes:
        name: class name of a loss of Keras, or the name of a person's own function.
        own: whether it is none of Keras'.
        logits: whether it takes logits; `None` where it does not say.
        ignored: the class number that it leaves out; `None` for none.
    """

    name: str
    own: bool
    logits: bool | None
    ignored: int | None = None

    @property
    def takes(self) -> str:
        """What kind of targets: "sparse", "categorical", "binary", "distance" or "other"."""
        for takes, names in (("sparse", SPARSE), ("categorical", CATEGORICAL), ("binary", BINARY)):
            if self.name in names:
                return takes
        return "distance" if self.name in SQUARED else "other"

    @classmethod
    def of(cls, identifier: Any) -> "Loss":
        """Describe what was given to `compile`."""
        found = keras.losses.get(identifier)
        if isinstance(found, keras.losses.Loss):
            own = type(found).__module__.split(".")[0] != "keras"
            return cls(
                type(found).__name__, own, getattr(found, "from_logits", None), getattr(found, "ignore_class", None)
            )
        name = getattr(found, "__name__", type(found).__name__)
        own = not getattr(found, "__module__", "").startswith("keras.")
        known = {_snake(kind): kind for kind in (*SPARSE, *CATEGORICAL, *BINARY, *SQUARED)} | {"huber": "Huber"}
        known |= {"kl_divergence": "KLDivergence", "log_cosh": "LogCosh"}
        return cls(name if own else known.get(name, name), own, None if own else False)


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)[1:]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is asked of one output.

    Attributes:
        output: its name; "" of the only one.
        layer: name of the layer that it comes from.
        activation: name of the last activation, "" for none, `None` where it cannot be told.
        units: of the output's last axis.
        loss: `None` where the model has a step or loss of its own.
        targets: (n, ...) as given.
        kind: of targets.
        classes: how many there are; 0 of numbers.
        labels: (n,) the number of each sample's class; empty where there is not one a sample.
    """

    output: str
    layer: str
    activation: str | None
    units: int
    loss: Loss | None
    targets: np.ndarray
    kind: Kind
    classes: int
    labels: np.ndarray

    @property
    def at(self) -> str:
        """The output for a sentence."""
        return say("output {name}", name=self.output) if self.output else say("the output")

    @property
    def classified(self) -> bool:
        return self.kind not in ("numbers", "none")


def kind_of(targets: np.ndarray, units: int, loss: Loss | None) -> tuple[Kind, int, np.ndarray]:
    """Return what the targets are, the number of classes, and each sample's class, (n,), if it has one."""
    nobody: np.ndarray = np.zeros(0, int)
    if targets.dtype.kind not in "biuf" or not targets.size:
        return "none", 0, nobody
    finite = np.nan_to_num(np.asarray(targets, np.float64))
    if finite.ndim == 2 and finite.shape[1] > 1:
        if not np.isin(finite, (0, 1)).all():
            return "numbers", 0, nobody
        if (finite.sum(1) <= 1).all() and (finite.sum(1) == 1).mean() > MOSTLY:
            return "one-hot", finite.shape[1], finite.argmax(1)
        return "several labels", finite.shape[1], nobody
    spread = finite.ndim > 2 and finite.shape[-1] == units > 1 and np.isin(finite, (0, 1)).all()
    if spread and (finite.sum(-1) <= 1).all() and (finite.sum(-1) == 1).mean() > MOSTLY:
        return "one-hot", units, nobody  # a class for each step or pixel
    if finite.size != len(finite):
        return ("several labels" if np.isin(finite, (0, 1)).all() else "numbers"), 0, nobody
    values, numbers = np.unique(finite.reshape(-1), return_inverse=True)
    of_classes = loss is not None and loss.takes in ("sparse", "categorical", "binary")
    if np.isin(values, (0, 1)).all() and not (loss is not None and loss.takes in ("sparse", "categorical")):
        return "binary", 2, numbers
    whole = (values == np.round(values)).all()
    few = len(values) <= (MOST_CLASSES if whole else FEW_VALUES)
    if few and (of_classes or (units > 1 and whole)) and len(values) < max(len(finite) / 2, 3):
        return "class numbers", len(values), numbers
    return "numbers", 0, nobody


def tasks_of(model: keras.Model, y: Any, answers: Any, called_last: tuple[str, str, float] | None) -> list[Task]:
    """Describe what is asked of each output.

    Args:
        y: a structure of arrays.
        answers: a structure of arrays, what the model gives to some samples.
        called_last: of the layer that a probe saw last: its name, its activation's, the rms of what it gave.
    """
    outputs, targets = keras.tree.flatten(answers), keras.tree.flatten(y)
    losses = _losses(model, len(outputs))
    names = list(getattr(model, "output_names", [])) if len(outputs) > 1 else [""]
    names = names if len(names) == len(outputs) else [str(i) for i in range(len(outputs))]
    found = []
    for i, answer in enumerate(outputs):
        if i >= len(targets) or targets[i] is None:
            continue
        target = np.asarray(targets[i])
        # A model may make something else of what its last layer gives.
        gives = called_last is not None and np.isclose(called_last[2], np.sqrt(np.mean(answer**2)), rtol=SAME)
        layer, activation = _last(model, i, called_last[:2] if called_last and gives and len(outputs) == 1 else None)
        units = answer.shape[-1] if answer.ndim > 1 else 1
        found.append(Task(names[i], layer, activation, units, losses[i], target, *kind_of(target, units, losses[i])))
    return found


def _losses(model: keras.Model, count: int) -> list[Loss | None]:
    plain = type(model).train_step is keras.Model.train_step and type(model).compute_loss is keras.Model.compute_loss
    given = getattr(model, "loss", None)
    if given is None or not plain:
        return [None] * count
    if isinstance(given, dict):
        given = [given.get(name) for name in getattr(model, "output_names", given)]
    each = list(given) if isinstance(given, list | tuple) else [given] * count
    return [Loss.of(one) if one is not None else None for one in each] if len(each) == count else [None] * count


PASSING = (keras.layers.Dropout, keras.layers.Reshape, keras.layers.Flatten)


def _last(model: keras.Model, index: int, called_last: tuple[str, str] | None) -> tuple[str, str | None]:
    """Return the name of the layer that an output comes from and of the activation that was applied last."""
    layer = _layer_of(model, index)
    while layer is not None:
        if isinstance(layer, keras.Model):
            layer = _layer_of(layer, 0)
        elif isinstance(layer, PASSING):
            layer = _before(layer)
        elif isinstance(layer, keras.layers.TimeDistributed):
            layer = layer.layer
        else:
            break
    if layer is not None:
        if isinstance(layer, keras.layers.Softmax):
            return layer.name, "softmax"
        if isinstance(layer, keras.layers.ReLU):
            return layer.name, "relu"
        named = getattr(getattr(layer, "activation", None), "__name__", None)
        if named is not None:
            return layer.name, "" if named == "linear" else named
    if called_last is not None:
        return called_last
    return (layer.name if layer is not None else ""), None


def _layer_of(model: keras.Model, index: int) -> Any:
    if isinstance(model, keras.Sequential):
        return model.layers[-1] if model.layers else None
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    return made_by(outputs[index]) if index < len(outputs) else None


def _before(layer: keras.layers.Layer) -> Any:
    try:
        return made_by(keras.tree.flatten(layer.input)[0])
    except (AttributeError, ValueError, IndexError):
        return None
