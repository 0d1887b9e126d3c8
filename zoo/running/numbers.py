"""Numbers that differ between runs of one program: variables of its compiled step, not constants in it.

They stand in the model's layers and optimizer as Python's numbers, as Keras has them and as everything else reads them.
While a step is traced, variables stand in their places. A step so compiled serves any run that differs in these alone,
and a run of its own is compiled in the same way, so that it comes to the same, bit for bit.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.models.blocks import OrthogonalRegularizer
from zoo.telemetry.keras_private import flat_layers, source_of_rate
from zoo.telemetry.layers import replaced

DROPOUTS = (keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D)
REGULARIZERS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2, OrthogonalRegularizer)
OF_REGULARIZERS = ("l1", "l2", "factor")
OF_OPTIMIZERS = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm")
STEPS = ("train_step", "test_step")
NAME = "numbers_that_vary"  # the attribute of a model

Value = float | list[float]


class Number(keras.Variable):
    """A number other than 0 and 1, which is all that Keras asks of these in Python, before it computes with them."""

    def get_shape(self) -> Any:
        """As TensorFlow asks of a share to drop."""
        return self.value.shape

    def __bool__(self) -> bool:
        return True

    def __gt__(self, other: Any) -> Any:
        return True

    def __eq__(self, other: object) -> Any:
        return self is other

    def __ne__(self, other: object) -> Any:
        return self is not other

    __hash__ = object.__hash__


class Numbers:
    """The numbers of a compiled model that vary.

    Attributes:
        variables: one each, in order.
        kinds: where each stands; a model with the same kinds can take these values.
    """

    def __init__(self, model: Any):
        self._places = list(_places(model))
        self.kinds = [(type(owner).__name__, name, np.shape(vars(owner)[name])) for owner, name in self._places]
        self._groups = [[Number(v, dtype="float32", trainable=False) for v in _listed(v)] for v in self.values]
        self.variables = [variable for group in self._groups for variable in group]

    @property
    def values(self) -> list[Value]:
        """Of each place."""
        return [vars(owner)[name] for owner, name in self._places]

    def set(self, values: Sequence[Value]) -> None:
        """Let each place have another value, past Keras' attribute tracking, as nothing of these is tracked."""
        for (owner, name), value in zip(self._places, values, strict=True):
            vars(owner)[name] = value
        self._follow()

    def _follow(self) -> None:
        """Let the variables be what stands in the places."""
        values = [number for value in self.values for number in _listed(value)]
        for variable, value in zip(self.variables, values, strict=True):
            if variable.numpy() != np.float32(value):
                variable.assign(value)

    @contextlib.contextmanager
    def varying(self) -> Iterator[None]:
        """Within it, variables stand in the places."""
        with tf.init_scope():  # a person may have set a number, and compiled the model anew
            self._follow()
        given = zip(self._places, self._groups, self.values, strict=True)
        with replaced(*((*place, group if isinstance(v, list) else group[0]) for place, group, v in given)):
            yield


def vary(model: Any) -> None:
    """Compile the steps of a compiled model so that its numbers vary; a model with steps of its own stays as it is."""
    numbers = Numbers(model)
    if not numbers.variables or any(getattr(type(model), name) is not getattr(keras.Model, name) for name in STEPS):
        return
    steps = {name: functools.partial(_varying, numbers, getattr(model, name)) for name in STEPS}
    vars(model).update({NAME: numbers, **steps})


def numbers_of(model: Any) -> Numbers | None:
    """Return the numbers of a model that vary; `None` where none does."""
    return vars(model).get(NAME)


def _varying(numbers: Numbers, step: Callable, data: Any) -> Any:
    """Stand in the place of `model.train_step` or `model.test_step`."""
    with numbers.varying():
        return step(data)


def _places(model: Any) -> Iterator[tuple[Any, str]]:
    """Yield owner and name of each number that is not 0, of those that Keras and the zoo know how to compute with."""
    seen: set[int] = set()
    for layer in flat_layers(model):
        if type(layer) in DROPOUTS and 0 < layer.rate < 1:
            yield layer, "rate"
        for part in list(vars(layer).values()):
            if type(part) in REGULARIZERS and id(part) not in seen:
                seen.add(id(part))
                yield from ((part, name) for name in OF_REGULARIZERS if vars(part).get(name))
    optimizer = model.optimizer
    yield from ((optimizer, name) for name in OF_OPTIMIZERS if vars(optimizer).get(name))
    rate = source_of_rate(optimizer)
    while isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        if not type(rate).__module__.startswith(("keras.", "zoo.")):
            return
        yield from ((rate, name) for name, value in vars(rate).items() if _is_number(value))
        rate = vars(rate).get("schedule")


def _is_number(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_number, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listed(value: Value) -> list[float]:
    return value if isinstance(value, list) else [value]
