"""AlexNet: the network that made deep learning win, in one tower.

Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural networks, section 3.
"""

import functools
from typing import Any

import keras

from zoo.models.blocks import Blocks, check_images

# Section 5: weights N(0, 0.01^2); biases 1 in the second, fourth and fifth convolution and the hidden dense layers.
DEFAULTS: dict[str, Any] = {
    "activation": "relu",
    "initializer": functools.partial(keras.initializers.RandomNormal, stddev=0.01),
}
SMALL_DEFAULTS: dict[str, Any] = {"activation": "relu", "initializer": "he_normal"}


def alexnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    small: bool = False,
    response_normalization: bool = True,
    head_dropout: float | None = None,
    **choices,
) -> keras.Model:
    """Build AlexNet: (batch, height, width, channels) -> logits (batch, classes).

    Parameters at 227x227x3 and 1000 classes: 62,378,344; `small` at 28x28x3 and 10 classes: 1,387,786 (at 32x32x3:
    1,756,426). The paper's two groups, made for two GPUs, are one tower here: in groups it has 60,965,224.

    Args:
        input_shape: (height, width, channels); 67x67 or more, any size if `small`.
        classes: units of the output layer.
        small: for 32x32: the "small AlexNet" of Zhang et al. 2017, Understanding deep learning requires rethinking
            generalization, appendix A: twice 5x5 convolution, 3x3 max pooling and response normalization, then dense
            layers of 384 and 192.
        response_normalization: local response normalization (section 3.3) where the paper has it; any choice of
            `normalization` takes its place.
        head_dropout: rate after each hidden dense layer; `None` is the paper's, 0.5 (section 4.2) and 0 if `small`.
            The choice `dropout` is for the convolutions.
        choices: see `zoo.models.blocks.Blocks`.

    Raises:
        UserError: the images are too small.
    """
    b = Blocks(**(SMALL_DEFAULTS if small else DEFAULTS) | choices)
    if head_dropout is None:
        head_dropout = 0.0 if small else 0.5

    def respond(x, name):
        return LocalResponseNormalization(name=name)(x) if response_normalization and b.normalization is None else x

    def hidden(x, units, bias, name):
        return b.finish(b.dense(x, units, bias=bias, name=name), name=name, rate=head_dropout)

    if small:
        check_images("alexnet_small", input_shape)
        x = inputs = keras.Input(input_shape, name="input")
        for i in (1, 2):
            x = b.finish(b.conv(x, 64, 5, name=f"conv{i}"), name=f"conv{i}")
            x = keras.layers.MaxPooling2D(3, 2, padding="same", name=f"pool{i}")(x)  # 16x16x64, 8x8x64
            x = respond(x, name=f"response{i}")
        x = keras.layers.Flatten(name="flatten")(x)
        x = hidden(x, 384, "zeros", name="fc3")
        x = hidden(x, 192, "zeros", name="fc4")
        return keras.Model(inputs, b.logits(x, classes), name="alexnet_small")

    check_images("alexnet", input_shape, [(11, 4), (3, 2), (3, 2), (3, 2)])
    x = inputs = keras.Input(input_shape, name="input")
    x = b.finish(b.conv(x, 96, 11, strides=4, padding="valid", name="conv1"), name="conv1")  # 55x55x96
    x = respond(x, name="response1")
    x = keras.layers.MaxPooling2D(3, 2, name="pool1")(x)  # 27x27x96
    x = b.finish(b.conv(x, 256, 5, bias="ones", name="conv2"), name="conv2")
    x = respond(x, name="response2")
    x = keras.layers.MaxPooling2D(3, 2, name="pool2")(x)  # 13x13x256
    x = b.finish(b.conv(x, 384, 3, name="conv3"), name="conv3")
    x = b.finish(b.conv(x, 384, 3, bias="ones", name="conv4"), name="conv4")
    x = b.finish(b.conv(x, 256, 3, bias="ones", name="conv5"), name="conv5")
    x = keras.layers.MaxPooling2D(3, 2, name="pool5")(x)  # 6x6x256
    x = keras.layers.Flatten(name="flatten")(x)
    x = hidden(x, 4096, "ones", name="fc6")
    x = hidden(x, 4096, "ones", name="fc7")
    return keras.Model(inputs, b.logits(x, classes), name="alexnet")


@keras.saving.register_keras_serializable("zoo")
class LocalResponseNormalization(keras.layers.Layer):
    """b_i = a_i / (2 + 1e-4 sum_j a_j^2)^0.75 over the five channels j around i (section 3.3); shapes do not change."""

    def call(self, a):
        """(batch, height, width, channels) -> the same."""
        channels = a.shape[-1]
        squares: Any = keras.ops.pad(keras.ops.square(a), [[0, 0], [0, 0], [0, 0], [2, 2]])
        energy = sum(squares[..., j : j + channels] for j in range(5))
        return a * (2.0 + 1e-4 * energy) ** -0.75
