"""LSUV: weights scaled by data, so that every layer's output has unit variance before the first step.

Mishkin & Matas 2016, All you need is a good init, algorithm 1.
"""

import functools
import math
from typing import Any

import keras
import numpy as np

SCALED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
)


def lsuv(model: keras.Model, x, *, tolerance: float = 0.1, trials: int = 10) -> keras.Model:
    """Divide each dense and convolutional kernel by its output's standard deviation, layer after layer; in place.

    One pass through the network: a layer is scaled before its output goes on, so each sees scaled layers before it. The
    variance is over the whole output (batch, space and units), before an activation that the layer itself may carry.
    Give the kernels an orthogonal initializer first, as the paper does.

    Args:
        model: any built model, in inference mode (no dropout, batch normalization's moving statistics).
        x: one batch of inputs, (batch, ...); some hundred samples give a steady variance.
        tolerance: a layer is done when |variance - 1| is below it.
        trials: divisions at most a layer; a bias makes more than one necessary.

    Returns:
        `model`. A layer whose output does not vary (zero weights) is left as it is.
    """
    layers = [layer for layer in _within(model) if isinstance(layer, SCALED)]
    done = set()

    def scale_then_call(layer, *args, **kwargs):
        call = functools.partial(type(layer).call, layer, *args, **kwargs)
        if layer not in done:  # a layer used twice is scaled at its first use
            done.add(layer)
            activation, layer.activation = layer.activation, None
            try:
                for _ in range(trials):
                    variance = float(np.var(np.asarray(keras.ops.convert_to_numpy(call())), dtype="float64"))
                    if abs(variance - 1) < tolerance or variance == 0:
                        break
                    layer.kernel.assign(layer.kernel / math.sqrt(variance))
            finally:
                layer.activation = activation
        return call()

    try:
        for layer in layers:
            layer.call = functools.partial(scale_then_call, layer)
        model(x, training=False)
    finally:
        for layer in layers:
            del layer.call
    return model


def _within(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers in the model, in nested models and in what layers hold as attributes, as a wrapper does."""
    found, seen, waiting = [], set(), [model]
    while waiting:
        thing: Any = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, keras.layers.Layer):
            found.append(thing)
            waiting += [*(thing.layers if isinstance(thing, keras.Model) else []), *vars(thing).values()]
        elif isinstance(thing, dict | list | tuple):
            waiting += thing.values() if isinstance(thing, dict) else thing
    return found
