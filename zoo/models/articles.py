"""Small networks that articles on vanishing gradients print and that no family here contains: see docs/articles.md.

Their other networks are `zoo.models.mlp` of one or two hidden layers, with `residual=1` where a skip was meant.
"""

import keras

from zoo.models.blocks import Blocks


def two_branches(input_shape: tuple[int, ...], classes: int, *, width: int = 64, **choices) -> keras.Model:
    """Build two hidden layers side by side, added: (batch, n) -> (batch, classes) logits.

    Printed as a residual connection, but both layers read the input, so no signal skips a layer.
    Parameters: `2 (n + 1) w + (w + 1) classes`.

    Args:
        input_shape: of one sample; flattened.
        classes: units of the output layer.
        width: units of each branch.
        choices: see `zoo.models.blocks.Blocks`.
    """
    b = Blocks(**choices)
    inputs = keras.Input(input_shape, name="input")
    x = keras.layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    branches = [b.finish(b.dense(x, width, name=f"dense_{i}"), name=f"dense_{i}") for i in (1, 2)]
    x = keras.layers.Add(name="add")(branches)
    return keras.Model(inputs, b.logits(x, classes), name="two_branches")


def activated_output(input_shape: tuple[int, ...], classes: int, *, width: int = 10, **choices) -> keras.Model:
    """Build one layer whose activation is the output: (batch, n) -> (batch, width), whatever `classes` is.

    Printed as a network with an activation function: with ReLU no output is ever negative, and every output is compared
    with the one target. Parameters: `(n + 1) w`.

    Args:
        input_shape: of one sample; flattened.
        classes: targets of the data; not used.
        width: units.
        choices: see `zoo.models.blocks.Blocks`.
    """
    b = Blocks(**choices)
    inputs = keras.Input(input_shape, name="input")
    x = keras.layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    return keras.Model(inputs, b.finish(b.dense(x, width, name="dense_1"), name="dense_1"), name="activated_output")
