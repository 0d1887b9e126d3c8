"""Every private name of Keras that is used here, in one place, each with what Keras 3 means by it.

Where Keras has a public name for the same, that is used instead. `tests/telemetry/test_keras_private.py` compares each
with public means, so that a Keras that changes one is found there first.
"""

from collections.abc import Callable
from typing import Any

import keras

Change = tuple[object, str, object]  # as `layers.replaced` takes it


def flat_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """`_flatten_layers`: the layer itself and those within it, nested ones too, each once; there since Keras 3.0."""
    return layer._flatten_layers(recursive=True)


def own_trainable_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """`_trainable_variables`: what the layer itself trains, or would if it were not frozen, without layers in it."""
    return list(layer._trainable_variables)


def raw_value(variable: keras.Variable) -> Any:
    """`_value`: the backend's own variable, which no mixed precision casts on the way."""
    return variable._value


def compiled_loss(model: keras.Model) -> Callable | None:
    """`_compile_loss`: what `compile` made of losses and their weights, a function of targets and answers."""
    return getattr(model, "_compile_loss", None)


def compiled_with(model: keras.Model) -> dict[str, Any]:
    """`_compile_config`: what `compile` was given, by the names of its arguments, as it was given; `{}` before it."""
    found = getattr(model, "_compile_config", None)
    return dict(found.config) if found is not None else {}


def made_by(tensor: Any) -> Any:
    """`_keras_history`: the layer or operation that a symbolic tensor comes from; `None` of another tensor."""
    return getattr(getattr(tensor, "_keras_history", None), "operation", None)


def called_with(operation: Any) -> Any:
    """`_inbound_nodes`: the tensors of an operation's first call in a graph; of a model `input` is what is within."""
    return operation._inbound_nodes[0].input_tensors


def loss_tracker(model: Any) -> keras.metrics.Metric:
    """`_loss_tracker`: the mean of the losses since metrics were reset."""
    return model._loss_tracker


def state_shardings(model: Any) -> tuple:
    """`_get_state_sharding_spec`: on JAX, where each part of the train step's state lies; a tuple as the state is."""
    return type(model)._get_state_sharding_spec(model)


def sharded(model: keras.Model, shardings: Callable[[], tuple]) -> Change:
    """The change by which `shardings` stands in the place of `_get_state_sharding_spec`."""
    return model, "_get_state_sharding_spec", shardings


def attention_of(layer: Any) -> Callable | None:
    """`_compute_attention`: an attention layer's part from projected query, key and value on; `None` of others."""
    return getattr(layer, "_compute_attention", None)


def attending(layer: keras.layers.Layer, attention: Callable) -> Change:
    """The change by which `attention` stands in the place of `_compute_attention`."""
    return layer, "_compute_attention", attention


def trained_by(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """`_trainable_variables`: those that a built optimizer trains, in the order in which it takes gradients."""
    return optimizer._trainable_variables


def clips_its_own_way(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether its class has a `_clip_gradients` of its own."""
    return type(optimizer)._clip_gradients is not keras.optimizers.Optimizer._clip_gradients


def clipped(optimizer: keras.optimizers.Optimizer, grads: list) -> list:
    """`_clip_gradients`: the gradients as they are used; the class' own method, also while `clipping` is in its place.

    There may be `None`s among those that go in.
    """
    return type(optimizer)._clip_gradients(optimizer, grads)


def clipping(optimizer: keras.optimizers.Optimizer, clip: Callable[[list], list]) -> Change:
    """The change by which `clip` stands in the place of `_clip_gradients`."""
    return optimizer, "_clip_gradients", clip


def batches_applied(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """`_iterations`: how often gradients came, where the public `iterations` counts updates after accumulation."""
    return optimizer._iterations


def accumulated_gradients(optimizer: Any, variables: list[keras.Variable]) -> list[keras.Variable]:
    """`_accumulated_gradients` by `_get_variable_index`: sums of each variable's gradients since the last update."""
    return [optimizer._accumulated_gradients[optimizer._get_variable_index(v)] for v in variables]


def source_of_rate(optimizer: Any) -> Any:
    """`_learning_rate`: the schedule, or else the variable, that the public `learning_rate` is the present value of."""
    return optimizer._learning_rate


def without_model(state: dict[str, Any]) -> dict[str, Any]:
    """`_model`: what `set_model` gave a callback; `None` in the returned attributes of one."""
    return state | {"_model": None}
