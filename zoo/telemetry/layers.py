"""Which layer owns which variable, and the order of the layers: that of their calls in the forward pass."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras

from zoo.telemetry.keras_private import flat_layers, own_trainable_variables


def all_layers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return every layer within `model`, nested ones too, each once; the order means nothing."""
    return [layer for layer in flat_layers(model) if layer is not model]


def operations_of(layer: keras.layers.Layer) -> list[keras.Operation]:
    """Return what a functional model computes between its layers (`keras.ops`); nothing of another layer."""
    if not isinstance(layer, keras.Function):
        return []
    return [operation for operation in layer.operations if not isinstance(operation, keras.layers.Layer)]


def optimizers_of(model: keras.Model) -> list[keras.Optimizer]:
    """Return `model.optimizer` and the others among the model's attributes, also in lists and dictionaries."""
    found: dict[int, keras.Optimizer] = {}

    def look(value, depth: int) -> None:
        if isinstance(value, keras.Optimizer):
            found.setdefault(id(value), value)
        elif depth and isinstance(value, dict | list | tuple):
            for item in value.values() if isinstance(value, dict) else value:
                look(item, depth - 1)

    look([getattr(model, "optimizer", None), *vars(model).values()], 3)
    inner = {id(getattr(optimizer, "inner_optimizer", None)) for optimizer in found.values()}
    return [optimizer for key, optimizer in found.items() if key not in inner]


def inner_of(optimizer: Any) -> Any:
    """Return the optimizer that takes the steps: of one that scales the loss, the one within."""
    return getattr(optimizer, "inner_optimizer", optimizer)


_MISSING = object()


@contextlib.contextmanager
def replaced(*attributes: tuple[object, str, object]) -> Iterator[None]:
    """Within it, each (object, name, value) holds: in the instance's own dictionary, past Keras' attribute tracking."""
    before = [vars(thing).get(name, _MISSING) for thing, name, _ in attributes]
    for thing, name, value in attributes:
        vars(thing)[name] = value
    try:
        yield
    finally:
        for (thing, name, _), value in zip(attributes, before, strict=True):
            if value is _MISSING:
                vars(thing).pop(name, None)
            else:
                vars(thing)[name] = value


def watched_calls(things: Sequence[keras.Operation], watch: Callable) -> contextlib.AbstractContextManager:
    """Within it, `watch(thing, call)` stands in the place of each layer's or operation's `call`."""
    # Keras calls another method of a quantized layer.
    names = ["quantized_call" if getattr(thing, "quantization_mode", None) else "call" for thing in things]
    watched = [watch(thing, getattr(thing, name)) for thing, name in zip(things, names, strict=True)]
    return replaced(*zip(things, names, watched, strict=True))


@contextlib.contextmanager
def call_order(model: keras.Model) -> Iterator[Collection[keras.layers.Layer]]:
    """Collect the layers within `model` in the order in which they are first called while the block runs."""
    order: dict[int, keras.layers.Layer] = {}

    def watch(layer, call):
        def noted(*args, **kwargs):
            order.setdefault(id(layer), layer)
            return call(*args, **kwargs)

        return noted

    with watched_calls(all_layers(model), watch):
        yield order.values()


def cells_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the cells of a recurrent layer, from its input to its output; none of another layer."""
    if not isinstance(layer, keras.layers.RNN):
        return []
    return list(layer.cell.cells) if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]


def owners(
    model: keras.Model, variables: list[keras.Variable], order: Collection[keras.layers.Layer]
) -> tuple[list[str], list[int], list[keras.layers.Layer | None]]:
    """Find the layers that own `variables`.

    A variable that several layers hold is the innermost one's (what a wrapper holds is its layer's), else that of the
    layer that is called first (tied weights). A recurrent layer owns what its one cell trains; of stacked cells each
    is a layer.

    Args:
        model: whose layers.
        variables: those in question.
        order: the layers in the order of their calls (`call_order`); those that were not called come after them, then
            the model itself.

    Returns:
        The names of the owning layers, in order and without repeats of a name (a nested layer whose name is taken gets
        its model's name in front); for each variable the index of its layer; and the layers (`None` for a variable
        that no layer owns).
    """
    layers = _in_order(model, order)
    holders = _holders(layers, {id(v) for v in variables})
    place = {id(layer): k for k, layer in enumerate(layers)}
    found = {i: place[id(holders[id(v)])] for i, v in enumerate(variables) if id(v) in holders}
    names: list[str] = []
    owning: list[keras.layers.Layer | None] = []
    index = [-1] * len(variables)
    stacked = {id(cell): rnn for rnn in layers for cell in cells_of(rnn)}
    for k in sorted(set(found.values())):
        own = [i for i in found if found[i] == k]
        names.append(_unused(layers[k], variables[own[0]], stacked.get(id(layers[k])), names))
        owning.append(layers[k])
        for i in own:
            index[i] = len(names) - 1
    for i, variable in enumerate(variables):  # one that a custom optimizer or train step trains
        if index[i] < 0:
            index[i] = len(names)
            names.append(variable.path)
            owning.append(None)
    return names, index, owning


def _in_order(model: keras.Model, order: Collection[keras.layers.Layer]) -> list[keras.layers.Layer]:
    called = {id(layer) for layer in order}
    return [*order, *(layer for layer in all_layers(model) if id(layer) not in called), model]


def _holders(layers: list[keras.layers.Layer], wanted: set[int]) -> dict[int, keras.layers.Layer]:
    """Return the owner of each wanted variable, by its id."""
    single = {id(cells[0]): rnn for rnn in layers if len(cells := cells_of(rnn)) == 1}
    within: dict[int, set[int]] = {}
    holders: dict[int, keras.layers.Layer] = {}
    for layer in layers:
        for variable in own_trainable_variables(layer):
            if id(variable) not in wanted:
                continue
            first = holders.setdefault(id(variable), layer)
            if first is not layer:
                if id(first) not in within:
                    within[id(first)] = {id(inner) for inner in all_layers(first)}
                if id(layer) in within[id(first)]:
                    holders[id(variable)] = layer
    return {key: single.get(id(layer), layer) for key, layer in holders.items()}


def _unused(layer: keras.layers.Layer, variable: keras.Variable, rnn: keras.layers.Layer | None, taken: list) -> str:
    name = f"{rnn.name}/{layer.name}" if rnn is not None else layer.name
    if name in taken:
        path = variable.path.rpartition("/")[0]
        # The path of what a cell trains ends with the cell's name.
        name = (path.rpartition("/")[0] if cells_of(layer) else path) or name
    candidate, n = name, 2
    while candidate in taken:
        candidate, n = f"{name}_{n}", n + 1
    return candidate
