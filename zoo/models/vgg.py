"""VGG: 3x3 convolutions, deeper than anything before.

Simonyan & Zisserman 2015, Very deep convolutional networks for large-scale image recognition, table 1.
"""

from typing import Any

import keras

from zoo.errors import UserError
from zoo.models.blocks import Blocks, check_images

# Table 1, columns A, B, D, E: units of each 3x3 convolution, "M" a 2x2 max pooling.
LAYERS = {
    11: [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    13: [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    16: [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    19: [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}

# Section 3.1 starts the deep nets from a trained shallow one, and notes that Glorot & Bengio's initializer will do.
DEFAULTS: dict[str, Any] = {"activation": "relu", "initializer": "glorot_uniform"}
SMALL_DEFAULTS: dict[str, Any] = {"activation": "relu", "initializer": "he_normal", "normalization": "batch"}
BATCH_NORM: dict[str, Any] = {"epsilon": 1.001e-5, "momentum": 0.9}


def vgg(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int = 16,
    small: bool = False,
    head_dropout: float = 0.5,
    **choices,
) -> keras.Model:
    """Build VGG: (batch, height, width, channels) -> logits (batch, classes).

    Parameters of depth 11, 13, 16, 19 at 224x224x3 and 1000 classes: 132,863,336, 133,047,848, 138,357,544,
    143,667,240, the last two in the order of keras.applications; `small` at 32x32x3 and 10 classes: 9,231,114,
    9,416,010, 14,728,266, 20,040,522 trainable.

    Args:
        input_shape: (height, width, channels), 32x32 or more.
        classes: units of the output layer.
        depth: layers with weights: 11, 13, 16 or 19.
        small: for 32x32, as pytorch-cifar has it: batch normalization and one dense layer, the output.
        head_dropout: rate after each hidden dense layer (section 3.1); `dropout` is for the convolutions.
        choices: see `zoo.models.blocks.Blocks`.

    Raises:
        UserError: no such depth, or the images are too small.
    """
    if depth not in LAYERS:
        raise UserError(f"vgg of depth {depth}: choose 11, 13, 16 or 19")
    name = f"vgg{depth}_small" if small else f"vgg{depth}"
    check_images(name, input_shape, [(2, 2)] * LAYERS[depth].count("M"))
    b = Blocks(**(SMALL_DEFAULTS if small else DEFAULTS) | choices)

    x = inputs = keras.Input(input_shape, name="input")
    block, layer = 1, 1
    for units in LAYERS[depth]:
        if units == "M":
            x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
            block, layer = block + 1, 1
        else:
            conv = f"block{block}_conv{layer}"
            x = b.finish(b.conv(x, units, 3, name=conv), name=conv, **BATCH_NORM)
            layer += 1
    if small:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = keras.layers.Flatten(name="flatten")(x)
        for fc in ("fc1", "fc2"):
            x = b.finish(b.dense(x, 4096, name=fc), name=fc, rate=head_dropout, **BATCH_NORM)
    return keras.Model(inputs, b.logits(x, classes), name=name)
