"""What a forward pass called: each layer's inputs and outputs, in order, where a gradient can be asked for."""

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any

import keras

from zoo.telemetry.keras_private import attending, attention_of
from zoo.telemetry.layers import all_layers, cells_of, operations_of, replaced, watched_calls
from zoo.telemetry.recurrent import Loop, watched_loop

LOOKED_THROUGH = ("softmax", "sigmoid")


@dataclasses.dataclass(eq=False)
class Call:
    """One call of one layer (or operation of a functional model) during a pass.

    Attributes:
        layer: what was called.
        number: of the call, in order of its end.
        inputs, outputs: tensors.
        within: the call that made this one, if a layer made it.
        begun, ended: when, by a clock that moves with each beginning and end of a call.
        before, before_key: what the layer's own softmax or sigmoid was applied to, and that tensor's key.
    """

    layer: keras.layers.Layer
    number: int
    inputs: list
    outputs: list
    within: "Call | None" = None
    begun: int = 0
    ended: int = 0
    before: Any = None
    before_key: tuple = ()


class Recorder:
    """Collects what happens within a model while it runs.

    Args:
        shift: gets the key of a tensor and the tensor, and returns what is to take its place.
        zero: gets the key, shape and dtype of a zero tensor that the loss is to be differentiated by; makes it.

    Attributes:
        calls: each call, in order of its end.
        loops: the recurrent layers' runs over time.
        attentions: (layer, query, key, mask, causal) of each attention.
        zeros: those that were added to the states of recurrent cells, by their keys.
        outcomes: by their ids, the tensors that were returned to the training step itself.
        answers: what the model itself returned to it, a structure; `None` if only parts of it were called.
    """

    def __init__(self, shift: Callable | None = None, zero: Callable | None = None):
        self.shift, self.zero = shift or (lambda key, tensor: tensor), zero
        self._order: dict[int, keras.layers.Layer] = {}
        self.calls: list[Call] = []
        self.loops: list[Loop] = []
        self.attentions: list[tuple] = []
        self.zeros: dict[tuple, Any] = {}
        self.outcomes: dict[int, Any] = {}
        self.answers = None
        self._stack: list[Call] = []
        self._clock = 0

    @contextlib.contextmanager
    def watching(self, model: keras.Model) -> Iterator["Recorder"]:
        """Record while the block runs `model`, which is as it was after it."""
        layers = all_layers(model)
        # A cell's own layers run within a loop, out of reach.
        cells = {id(inner): inner for rnn in layers for cell in cells_of(rnn) for inner in [cell, *all_layers(cell)]}
        seen = [layer for layer in layers if id(layer) not in cells]
        operations = [operation for inner in [model, *layers] for operation in operations_of(inner)]
        with contextlib.ExitStack() as inside:
            inside.enter_context(watched_calls(list(cells.values()), self._noted))
            inside.enter_context(watched_calls([*seen, *operations], self._watched))
            inside.enter_context(watched_calls([model], self._outermost))
            for layer in seen:
                if cells_of(layer) and self.zero is not None:
                    inside.enter_context(watched_loop(layer, self))
                attention = attention_of(layer)
                if attention is not None:
                    inside.enter_context(replaced(attending(layer, self._attended(layer, attention))))
            yield self

    def mark(self) -> tuple[int, int, int]:
        """Return a place in the record."""
        return len(self.calls), len(self.loops), len(self.attentions)

    def forget(self, mark: tuple[int, int, int]) -> None:
        """Drop what was recorded since `mark`."""
        for record, size in zip((self.calls, self.loops, self.attentions), mark, strict=True):
            del record[size:]

    def tensors_since(self, mark: tuple[int, int, int]) -> dict[int, object]:
        """Return every tensor that was recorded since `mark`, by its id."""
        calls, loops, attentions = mark
        found = [t for c in self.calls[calls:] for t in [*c.inputs, *c.outputs, c.before]]
        found += [loop.states for loop in self.loops[loops:]]
        found += [t for attention in self.attentions[attentions:] for t in attention[1:4]]
        found += self.outcomes.values()
        return {id(t): t for t in found if t is not None}

    def substitute(self, mark: tuple[int, int, int], others: dict[int, object]) -> None:
        """Let other tensors, by the ids of those in their places, stand for what was recorded since `mark`."""
        calls, loops, attentions = mark

        def other(tensor):
            return others.get(id(tensor), tensor)

        for call in self.calls[calls:]:
            call.inputs, call.outputs = list(map(other, call.inputs)), list(map(other, call.outputs))
            call.before = other(call.before)
        for loop in self.loops[loops:]:
            loop.states = other(loop.states)
        for i, (layer, *tensors, causal) in enumerate(self.attentions[attentions:], attentions):
            self.attentions[i] = (layer, *map(other, tensors), causal)
        self.outcomes = {id(t): t for t in map(other, self.outcomes.values())}
        self.answers = keras.tree.map_structure(other, self.answers)

    def differentiable(self) -> dict[tuple, Any]:
        """Return each tensor that a delta may be asked for, by its key."""
        layers = [call for call in self.calls if _is_layer(call)]
        found = {("output", call.number, i): t for call in layers for i, t in enumerate(call.outputs)}
        found |= {call.before_key: call.before for call in self.calls if call.before is not None}
        found |= self.zeros
        return {key: tensor for key, tensor in found.items() if is_floating(tensor)}

    @property
    def order(self) -> Collection[keras.layers.Layer]:
        """The layers, in the order of their first calls."""
        return self._order.values()

    @property
    def current(self) -> Call | None:
        """The call that is going on, the innermost of a layer."""
        return self._stack[-1] if self._stack else None

    def _note(self, layer) -> None:
        if isinstance(layer, keras.layers.Layer):
            self._order.setdefault(id(layer), layer)

    def _noted(self, layer, call: Callable) -> Callable:
        def noted(*args, **kwargs):
            self._note(layer)
            return call(*args, **kwargs)

        return noted

    def _outermost(self, model, call: Callable) -> Callable:
        def called(*args, **kwargs):
            self._stack.append(Call(model, -1, [], [], self.current))
            try:
                outputs = call(*args, **kwargs)
            finally:
                self._stack.pop()
            if not self._stack:
                self.answers = outputs
            self._keep(outputs)
            return outputs

        return called

    def _keep(self, outputs) -> None:
        if not self._stack:
            self.outcomes |= {id(t): t for t in tensors_of(outputs)}

    def _watched(self, layer, call: Callable) -> Callable:
        def watched(*args, **kwargs):
            self._note(layer)
            made = Call(layer, -1, tensors_of((args, kwargs)), [], self.current)
            self._stack.append(made)
            self._clock += 1
            made.begun = self._clock
            try:
                with self._before_activation(made):
                    outputs = call(*args, **kwargs)
            finally:
                self._stack.pop()
            self._clock += 1
            made.ended = self._clock
            made.number = len(self.calls)
            made.outputs = tensors_of(outputs)
            if _is_layer(made) and made.outputs:
                made.outputs = [self.shift(("output", made.number, i), t) for i, t in enumerate(made.outputs)]
                left = iter(made.outputs)
                flat = [next(left) if keras.ops.is_tensor(t) else t for t in keras.tree.flatten(outputs)]
                outputs = keras.tree.pack_sequence_as(outputs, flat)
            self.calls.append(made)
            self._keep(outputs)
            return outputs

        return watched

    def _before_activation(self, call: Call):
        function = vars(call.layer).get("activation")
        if getattr(function, "__name__", "") not in LOOKED_THROUGH or cells_of(call.layer):
            return contextlib.nullcontext()
        key = ("before", len(self._stack), len(self.calls))

        def activation(z, *args, **kwargs):
            call.before = self.shift(key, z)
            call.before_key = key
            return function(call.before, *args, **kwargs)

        return replaced((call.layer, "activation", activation))

    def _attended(self, layer, original: Callable) -> Callable:
        places = inspect.signature(original)

        def attended(query, key, value, *args, **kwargs):
            given = places.bind(query, key, value, *args, **kwargs).arguments
            causal = bool(kwargs.get("use_causal_mask", False))
            self.attentions.append((layer, query, key, given.get("attention_mask"), causal))
            return original(query, key, value, *args, **kwargs)

        return attended


def _is_layer(call: Call) -> bool:
    return isinstance(call.layer, keras.layers.Layer)


def is_floating(tensor) -> bool:
    """Whether a gradient can be taken of the tensor."""
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def tensors_of(structure) -> list:
    """Return the tensors in a structure of whatever a layer takes or gives."""
    return [t for t in keras.tree.flatten(structure) if keras.ops.is_tensor(t)]
