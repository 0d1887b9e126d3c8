"""Recurrent layers along time: the state after each step, and the gradient that comes back to it.

The steps run within a loop of the backend, from which no tensor gets out but the layer's outputs, and into which none
gets but its inputs. So a zero is handed in beside the inputs of each step and added to the cell's output, which is also
the state it hands on: the loss's gradient with respect to that zero is the one that comes back to the state, from the
output and from all later steps.
"""

import contextlib
import dataclasses
import functools
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from zoo.telemetry.layers import cells_of, replaced


@dataclasses.dataclass(eq=False)
class Loop:
    """One run of one cell over time.

    Attributes:
        layer: the recurrent layer.
        cell: of it.
        key: of the zero that was added.
        states: (batch, steps, ...) outputs of the cell, in the order in which the layer walks.
        backwards: whether the layer walks from the end of the input to its beginning; the zero is in the input's order.
        call: of the layer, that it is part of.
    """

    layer: keras.layers.RNN
    cell: keras.layers.Layer
    key: tuple
    states: object
    backwards: bool
    call: object


@dataclasses.dataclass(frozen=True, eq=False)
class TimeProfile:
    """What one recurrent cell shows against the time step, in the order in which its layer walks.

    Attributes:
        layer: name, as in `Probe.layers`.
        activation_rms: (steps,) of the cell's output, over units and samples.
        delta_norm: (steps,) gradient of a sample's loss with respect to that output, through the output itself and all
            later steps: L2 norm over units, root mean square over samples.
    """

    layer: str
    activation_rms: np.ndarray
    delta_norm: np.ndarray

    @property
    def slope(self) -> float:
        """Decades by which delta changes from one step to the next, toward the last; NaN where it is 0 but once.

        Positive: the gradient vanishes on its way back in time; negative: it explodes.
        """
        usable = np.flatnonzero((self.delta_norm > 0) & np.isfinite(self.delta_norm))
        if len(usable) < 2:
            return np.nan
        return float(np.polyfit(usable, np.log10(self.delta_norm[usable].astype(np.float64)), 1)[0])

    @property
    def arriving(self) -> float:
        """The share of the largest step's delta that reaches the first step."""
        largest = float(np.max(self.delta_norm))
        return float(self.delta_norm[0]) / largest if largest > 0 else 0.0


class _Step(NamedTuple):
    """What a cell gets at a step; it has the inputs' shape, by which Keras counts the steps."""

    inputs: Any
    zeros: tuple

    @property
    def shape(self):
        return self.inputs.shape


@contextlib.contextmanager
def watched_loop(layer: keras.layers.RNN, recorder):
    """Within it, each run of `layer` over time leaves its `Loop`s with `recorder`."""
    cells = cells_of(layer)
    if not all(isinstance(cell, keras.layers.Layer) for cell in cells):
        yield  # what is no layer cannot be handed more than its call takes
        return

    def inner_loop(sequences, initial_state, mask, training=False):
        steps, batch = sequences.shape[1], _shape(sequences)[0]
        dtype = keras.backend.standardize_dtype(sequences.dtype)
        number = len(recorder.loops)
        keys = [("time", number + i) for i in range(len(cells))]
        given = initial_state if len(cells) > 1 else [initial_state]
        shapes = [_output_shape(*pair, sequences) for pair in zip(cells, given, strict=True)]
        zeros = [recorder.zero(k, (batch, steps, *s), dtype) for k, s in zip(keys, shapes, strict=True)]
        states: list[Any] = [None] * len(cells)
        own = [cell.call for cell in cells]

        def whole(inputs, state, *args, **options):
            shifted = [_shifted(*pair, states, i) for i, pair in enumerate(zip(own, inputs.zeros, strict=True))]
            with replaced(*((cell, "call", call) for cell, call in zip(cells, shifted, strict=True))):
                call = shifted[0] if len(cells) == 1 else functools.partial(type(layer.cell).call, layer.cell)
                new = call(inputs.inputs, state, *args, **options)[1]
            return _side_by_side(states), new

        with replaced((layer.cell, "call", whole), (layer, "return_sequences", True)), _unchecked(layer.cell):
            last, outputs, final = keras.layers.RNN.inner_loop(
                layer, _Step(sequences, tuple(zeros)), initial_state, mask, training=training
            )
        parts = _apart(outputs, shapes)
        for cell, key, part in zip(cells, keys, parts, strict=True):
            recorder.loops.append(Loop(layer, cell, key, part, layer.go_backwards, recorder.current))
        return _apart(last, shapes)[-1], parts[-1], final

    with replaced((layer, "inner_loop", inner_loop)):
        yield


@contextlib.contextmanager
def _unchecked(cell: keras.layers.Layer):
    """Within it, the cell does not check its inputs, of which it would find one too many."""
    spec, cell.input_spec = cell.input_spec, None
    try:
        yield
    finally:
        cell.input_spec = spec


def _output_shape(cell, states, sequences) -> tuple:
    """(...) of a cell's output for one sample: what it says, else that of its first state, as Keras asks of cells."""
    size = getattr(cell, "output_size", None)
    if isinstance(size, int) and len(sequences.shape) == 3:
        return (size,)
    return tuple(keras.tree.flatten(states)[0].shape[1:])


def _shifted(original, zero, states: list, place: int):
    def call(inputs, state, *args, **kwargs):
        output, new = original(inputs, state, *args, **kwargs)
        moved = output + ops.cast(zero, output.dtype)
        states[place] = moved
        # The state that is the output goes on to the next step with the zero in it.
        return moved, keras.tree.map_structure(lambda s: moved if s is output else s, new)

    return call


def _side_by_side(outputs: list):
    """(batch, ...) each -> (batch, all entries): a loop gives back one tensor a step."""
    if len(outputs) == 1:
        return outputs[0]
    return ops.concatenate([ops.reshape(t, (_shape(t)[0], -1)) for t in outputs], axis=-1)


def _apart(tensor, shapes: list[tuple]) -> list:
    if len(shapes) == 1:
        return [tensor]
    sizes = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1].tolist()
    parts: Any = ops.split(tensor, sizes, axis=-1)
    lead = _shape(tensor)[:-1]
    return [ops.reshape(part, (*lead, *s)) for part, s in zip(parts, shapes, strict=True)]


def _shape(tensor) -> tuple:
    shape: Any = ops.shape(tensor)  # Keras' own annotation has it that there may be none
    return tuple(shape)
