"""DenseNet: every layer sees all earlier ones.

Huang, Liu, van der Maaten & Weinberger 2017, Densely connected convolutional networks, section 3 and table 1.
"""

from typing import Any

import keras

from zoo.errors import UserError
from zoo.models.blocks import Blocks, check_images

# Table 1: layers in each of the four dense blocks.
IMAGENET = {121: [6, 12, 24, 16], 169: [6, 12, 32, 32], 201: [6, 12, 48, 32]}

# Section 4.2: weights as in He et al. 2015 (rectifiers), eq. 10.
DEFAULTS: dict[str, Any] = {"activation": "relu", "initializer": "he_normal", "normalization": "batch"}


def densenet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int = 40,
    growth: int | None = None,
    bc: bool | None = None,
    **choices,
) -> keras.Model:
    """Build a densely connected network: (batch, height, width, channels) -> logits (batch, classes).

    Trainable parameters, CIFAR (32x32x3, 10 classes): depth 40, growth 12: 1,019,722; BC, depth 100, growth 12:
    769,162; BC, depth 190, growth 40: 25,624,430. ImageNet (1000 classes), depth 121, 169, 201, in the order of
    keras.applications: 7,978,856, 14,149,480, 20,013,928.

    Args:
        input_shape: (height, width, channels); 4x4 or more, 29x29 for the ImageNet networks.
        classes: units of the output layer.
        depth: 121, 169, 201 are the ImageNet networks; any other 3n + 4 (6n + 4 if `bc`) is CIFAR's, of three blocks.
        growth: channels that each layer adds, the paper's k; `None` is 12 for CIFAR, 32 for ImageNet.
        bc: bottleneck layers (a 1x1 convolution before each 3x3) and compression (a transition halves the channels);
            `None` is false for CIFAR, true for ImageNet.
        choices: see `zoo.models.blocks.Blocks`. Dropout follows each convolution but the first (section 4.2, rate 0.2
            without augmentation). Without normalization the convolutions have biases.

    Raises:
        UserError: no such depth, or the images are too small.
    """
    imagenet = depth in IMAGENET
    growth = growth or (32 if imagenet else 12)
    bc = imagenet if bc is None else bc
    per_layer = 6 if bc else 3
    if not imagenet and (depth < 4 + per_layer or depth % per_layer != 4 % per_layer):
        raise UserError(f"densenet of depth {depth}: choose {', '.join(map(str, IMAGENET))}, or {per_layer}n + 4")
    name = f"densenet{'_bc' if bc and not imagenet else ''}{depth}"
    windows = [(1, 2), (1, 2), *[(2, 2)] * 3] if imagenet else [(2, 2)] * 2
    check_images(name, input_shape, windows)
    b = Blocks(**DEFAULTS | choices)
    batch_norm = {"epsilon": 1.001e-5, "momentum": 0.99 if imagenet else 0.9}

    def activate(x, name):
        x = b.normalize(x, name=f"{name}_norm", **batch_norm)
        return b.activate(x, name=f"{name}_activation")

    def conv(x, channels, kernel, name):
        x = b.conv(activate(x, name), channels, kernel, use_bias=b.normalization is None, name=f"{name}_conv")
        return b.drop(x, name=f"{name}_dropout")

    x = inputs = keras.Input(input_shape, name="input")
    use_bias = b.normalization is None
    if imagenet:
        x = keras.layers.ZeroPadding2D(3, name="stem_pad")(x)
        x = b.conv(x, 64, 7, strides=2, padding="valid", use_bias=use_bias, name="stem_conv")  # 112x112x64
        x = activate(x, name="stem")
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)  # 56x56x64
        blocks = IMAGENET[depth]
    else:
        x = b.conv(x, 2 * growth if bc else 16, 3, use_bias=use_bias, name="stem_conv")
        blocks = [(depth - 4) // per_layer] * 3

    for block, layers in enumerate(blocks, 1):
        for i in range(1, layers + 1):
            layer = f"block{block}_layer{i}"
            y = conv(x, 4 * growth, 1, name=f"{layer}_bottleneck") if bc else x
            y = conv(y, growth, 3, name=layer)
            x = keras.layers.Concatenate(name=f"{layer}_concat")([x, y])
        if block < len(blocks):
            x = conv(x, x.shape[-1] // 2 if bc else x.shape[-1], 1, name=f"transition{block}")
            x = keras.layers.AveragePooling2D(2, name=f"transition{block}_pool")(x)

    x = activate(x, name="top")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, b.logits(x, classes), name=name)
