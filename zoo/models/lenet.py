"""LeNet-5: the first convolutional network in wide use.

LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document recognition, section II.B.
"""

from typing import Any

import keras

from zoo.errors import UserError
from zoo.models.blocks import Blocks, check_images

# Tanh is the paper's (appendix A); the initializer is that of LeCun et al. 1998, Efficient BackProp, eq. 16.
DEFAULTS: dict[str, Any] = {"activation": "tanh", "initializer": "lecun_normal"}

POOLING = {"average": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}


def lenet(input_shape: tuple[int, int, int], classes: int, *, pooling: str = "average", **choices) -> keras.Model:
    """Build LeNet-5: (batch, height, width, channels) -> logits (batch, classes).

    Parameters at 28x28x1 and 10 classes: 61,706.

    As read today: C3 sees all six maps of S2, subsampling has no weights, tanh is unscaled and the output is linear.
    The paper's input is 32x32: images smaller than that are padded by 2 (28x28 digits), others are not.

    Args:
        input_shape: (height, width, channels), 12x12 or more.
        classes: units of the output layer.
        pooling: `"average"` as published, or `"max"`.
        choices: see `zoo.models.blocks.Blocks`.

    Raises:
        UserError: no such pooling, or the images are too small.
    """
    if pooling not in POOLING:
        raise UserError(f"pooling={pooling}: choose {' or '.join(POOLING)}")
    padded = min(input_shape[:2]) < 32
    check_images("lenet", input_shape, [(1, 1) if padded else (5, 1), (2, 2), (5, 1), (2, 2)])
    b = Blocks(**DEFAULTS | choices)
    pool = POOLING[pooling]

    x = inputs = keras.Input(input_shape, name="input")
    x = b.conv(x, 6, 5, padding="same" if padded else "valid", name="c1")  # 28x28x6
    x = b.finish(x, name="c1")
    x = pool(2, name="s2")(x)  # 14x14x6
    x = b.finish(b.conv(x, 16, 5, padding="valid", name="c3"), name="c3")  # 10x10x16
    x = pool(2, name="s4")(x)  # 5x5x16
    x = keras.layers.Flatten(name="flatten")(x)
    x = b.finish(b.dense(x, 120, name="c5"), name="c5")
    x = b.finish(b.dense(x, 84, name="f6"), name="f6")
    return keras.Model(inputs, b.logits(x, classes), name="lenet")
