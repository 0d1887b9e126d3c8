"""Multilayer perceptron: the plain deep network on which vanishing gradients were first seen."""

from typing import Any

import keras

from zoo.models.blocks import Blocks

DEFAULTS: dict[str, Any] = {"activation": "relu", "initializer": "he_normal"}


def mlp(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 5,
    width: int = 64,
    residual: int = 0,
    use_bias: bool = True,
    **choices,
) -> keras.Model:
    """Build `depth` hidden layers of `width` units and a linear output: (batch, *input_shape) -> (batch, classes).

    Parameters: `(n + 1) w` for n inputs, `(w + 1) w` in each further hidden layer, `(w + 1) classes` in the output.

    Args:
        input_shape: of one sample; flattened.
        classes: units of the output layer (logits).
        depth: hidden layers; 0 is a linear model.
        width: units of each hidden layer.
        residual: every `residual` layers an identity shortcut is added (He et al. 2015, eq. 1); 0 adds none.
            The first layer changes the width, so shortcuts begin after it.
        use_bias: whether layers have biases.
        choices: see `zoo.models.blocks.Blocks`; by default ReLU and He's initializer (He et al. 2015, eq. 10).
    """
    b = Blocks(**DEFAULTS | choices)
    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    shortcut = None
    for i in range(1, depth + 1):
        x = b.finish(b.dense(x, width, name=f"dense_{i}", use_bias=use_bias), name=f"dense_{i}")
        if residual and (i - 1) % residual == 0:
            if shortcut is not None:
                x = keras.layers.Add(name=f"add_{i}")([shortcut, x])
            shortcut = x
    return keras.Model(inputs, b.logits(x, classes, use_bias=use_bias), name="mlp")
