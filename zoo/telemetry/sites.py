"""Where a model is measured: the calls of its layers in one pass, and which activation follows which layer."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import keras

from zoo.telemetry.layers import layers_in_order, owners

ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)


@dataclasses.dataclass(eq=False)
class Call:
    """One call of one layer during a pass."""

    layer: keras.layers.Layer
    inputs: list
    outputs: list


@contextlib.contextmanager
def recorded_calls(model: keras.Model, shift: Callable | None = None) -> Iterator[list[Call]]:
    """Collect every layer's calls while the block runs the model.

    Args:
        model: whose layers, nested ones too, are watched; but not the cells of recurrent layers, which run in loops.
        shift: gets the number of the call and its first output, and returns what is to take that output's place.
    """
    calls: list[Call] = []
    layers = [layer for layer in layers_in_order(model) if layer is not model]
    cells = {id(cell) for layer in layers if isinstance(layer, keras.layers.RNN) for cell in _within(layer)}
    patched = [layer for layer in layers if id(layer) not in cells]

    def watching(layer):
        original = layer.call

        def call(*args, **kwargs):
            outputs = original(*args, **kwargs)
            flat = keras.tree.flatten(outputs)
            first = next((i for i, t in enumerate(flat) if keras.ops.is_tensor(t)), None)
            if shift is not None and first is not None:
                flat[first] = shift(len(calls), flat[first])
                outputs = keras.tree.pack_sequence_as(outputs, flat)
            inputs = [t for t in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(t)]
            calls.append(Call(layer, inputs, [t for t in flat if keras.ops.is_tensor(t)]))
            return outputs

        return call

    own = [layer.__dict__.get("call") for layer in patched]
    for layer in patched:
        layer.__dict__["call"] = watching(layer)
    try:
        yield calls
    finally:
        for layer, call in zip(patched, own, strict=True):
            if call is None:
                del layer.__dict__["call"]
            else:
                layer.__dict__["call"] = call


def _within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [inner for inner in layer._flatten_layers(recursive=True) if inner is not layer]


@dataclasses.dataclass
class Site:
    """Where one layer is measured: its own outputs and the activations that follow them (one of each a call)."""

    name: str
    variables: list[int]
    has_kernel: bool
    activation: str = ""
    calls: list[Call] = dataclasses.field(default_factory=list)
    after: list[Call] = dataclasses.field(default_factory=list)


def sites(model: keras.Model, calls: list[Call]) -> list[Site]:
    """Match the layers that own trainable variables with their calls and with the activations that follow."""
    variables = model.trainable_variables
    names, index = owners(model, variables)
    found = [Site(name, [k for k, i in enumerate(index) if i == j], False) for j, name in enumerate(names)]
    by_variable = {id(v): found[i] for v, i in zip(variables, index, strict=True)}
    site_of = {}
    for call in calls:
        recurrent = isinstance(call.layer, keras.layers.RNN)
        own = call.layer.trainable_variables if recurrent else call.layer._trainable_variables
        own = [v for v in own if id(v) in by_variable]
        if own and id(call.layer) not in site_of:
            site = by_variable[id(own[0])]
            site.has_kernel = any(len(v.shape) > 1 for v in own) and not isinstance(call.layer, ACTIVATION_LAYERS)
            site_of[id(call.layer)] = site
    kernels = {key for key, site in site_of.items() if site.has_kernel}
    consumers: dict[int, list[Call]] = {}
    for call in calls:
        for tensor in call.inputs:
            consumers.setdefault(id(tensor), []).append(call)
    for call in calls:
        site = site_of.get(id(call.layer))
        if site is not None and call.outputs:
            after = call if _activation(call.layer) else _following(call, consumers, kernels)
            site.activation = site.activation or _activation((after or call).layer)
            site.calls.append(call)
            site.after.append(after or call)
    return found


def _activation(layer: keras.layers.Layer) -> str:
    """Return the name of the function that `layer` applies, "" if it applies none."""
    if isinstance(layer, ACTIVATION_LAYERS[1:]):
        return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}[type(layer).__name__]
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", "")
    return "" if name == "linear" and not isinstance(layer, keras.layers.Activation) else name


def _following(call: Call, consumers: dict[int, list[Call]], kernels: set[int]) -> Call | None:
    """Return the first activation that the call's output reaches before another layer with a kernel."""
    seen, queue = set(), [call]
    while queue:
        for tensor in queue.pop(0).outputs:
            for consumer in consumers.get(id(tensor), []):
                if id(consumer) in seen or id(consumer.layer) in kernels:
                    continue
                if _activation(consumer.layer):
                    return consumer
                seen.add(id(consumer))
                queue.append(consumer)
    return None
