"""Small networks that articles on vanishing gradients print and that no family here contains: see docs/articles.md.

Their other networks are `zoo.models.mlp` of one or two hidden layers, with `residual=1` where a skip was meant.
"""

from typing import Any

import keras
from keras import ops

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


def printed_residual(
    input_shape: tuple[int, ...], classes: int, *, depth: int = 30, width: int = 64, **choices
) -> keras.Model:
    """Build F(F(x) + x) again and again: (batch, n) -> (batch, classes) logits.

    Printed as a residual connection. F is a layer with its activation, the same both times, so that what was added is
    squashed again: no signal passes a block as it is.
    Parameters: `(n + 1) w + (depth - 1) (w + 1) w + (w + 1) classes`.

    Args:
        input_shape: of one sample; flattened.
        classes: units of the output layer.
        depth: hidden layers, of which the first only brings the input to its width.
        width: units of each.
        choices: see `zoo.models.blocks.Blocks`.
    """
    b = Blocks(**choices)
    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    x = b.finish(b.dense(x, width, name="dense_1"), name="dense_1")
    for i in range(2, depth + 1):
        h = keras.Input((width,))
        f = keras.Model(h, b.finish(b.dense(h, width, name=f"dense_{i}"), name=f"dense_{i}"), name=f"f_{i}")
        x = f(keras.layers.Add(name=f"add_{i}")([f(x), x]))
    return keras.Model(inputs, b.logits(x, classes), name="printed_residual")


@keras.saving.register_keras_serializable("zoo")
class PrintedBatchNormalization(keras.layers.Layer):
    """(x - mean) / (deviation + 1e-5) * gamma + beta, as it is printed: over axes 0 and 1 of what it gets.

    Of (batch, features) that is one mean of all features together; and of one batch, in inference too. Trained are
    gamma and beta, one for each feature.
    """

    def __init__(self, epsilon: float = 1e-5, gamma_regularizer=None, beta_regularizer=None, **options):
        super().__init__(**options)
        self.epsilon = epsilon
        self.gamma_regularizer = keras.regularizers.get(gamma_regularizer)
        self.beta_regularizer = keras.regularizers.get(beta_regularizer)

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", regularizer=self.gamma_regularizer)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", regularizer=self.beta_regularizer)

    def call(self, inputs):
        mean = ops.mean(inputs, axis=(0, 1), keepdims=True)
        deviation: Any = ops.std(inputs, axis=(0, 1), keepdims=True)
        return (inputs - mean) / (deviation + self.epsilon) * self.gamma + self.beta

    def get_config(self):
        regularizers = {
            "gamma_regularizer": keras.regularizers.serialize(self.gamma_regularizer),
            "beta_regularizer": keras.regularizers.serialize(self.beta_regularizer),
        }
        return {**super().get_config(), "epsilon": self.epsilon, **regularizers}
