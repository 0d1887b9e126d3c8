"""ResNet: shortcuts that let the gradient pass, and the plain networks that show why they are needed.

He, Zhang, Ren & Sun 2015, Deep residual learning for image recognition, table 1 (ImageNet) and section 4.2 (CIFAR);
pre-activation: He et al. 2016, Identity mappings in deep residual networks.
"""

from typing import Any

import keras

from zoo.errors import UserError
from zoo.models.blocks import Blocks, check_images

# Table 1: residual blocks in each of the four stages.
IMAGENET = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}

# Section 3.4: batch normalization after each convolution, weights as in He et al. 2015 (rectifiers), eq. 10.
DEFAULTS: dict[str, Any] = {"activation": "relu", "initializer": "he_normal", "normalization": "batch"}


def resnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int = 20,
    shortcut: str | None = None,
    preactivation: bool = False,
    **choices,
) -> keras.Model:
    """Build a residual or plain network: (batch, height, width, channels) -> logits (batch, classes).

    Trainable parameters, CIFAR (32x32x3, 10 classes), depth 20, 32, 44, 56, 110:
        shortcut "A", or plain: 269,722, 464,154, 658,586, 853,018, 1,727,962
        shortcut "B": 272,474, 466,906, 661,338, 855,770, 1,730,714
    ImageNet (1000 classes), depth 18, 34: 11,689,512, 21,797,672, as torchvision's;
        50, 101, 152: 25,583,592, 44,601,832, 60,268,520, in the order of keras.applications (and, as there, with
        biases in the convolutions and the stride in a block's first one).

    Args:
        input_shape: (height, width, channels), of any size.
        classes: units of the output layer.
        depth: 18, 34 (two 3x3 convolutions a block), 50, 101, 152 (bottlenecks) are the ImageNet networks; any other
            6n + 2 is CIFAR's, of three stages with n blocks each.
        shortcut: where a block changes the shape, `"A"` takes every second pixel and fills new channels with zeros,
            `"B"` is a 1x1 convolution; `"plain"` has no shortcuts anywhere. `None` is the published one: A for CIFAR,
            B for ImageNet.
        preactivation: normalize and activate before each convolution instead of after it.
        choices: see `zoo.models.blocks.Blocks`. Dropout goes between the convolutions of a block (Zagoruyko &
            Komodakis 2016, Wide residual networks). Without normalization the convolutions have biases.

    Raises:
        UserError: no such depth or shortcut, or not images.
    """
    if depth not in IMAGENET and (depth < 8 or depth % 6 != 2):
        raise UserError(f"resnet of depth {depth}: choose {', '.join(map(str, IMAGENET))}, or 6n + 2 (20, 32, 44, ...)")
    if shortcut not in (None, "A", "B", "plain"):
        raise UserError(f"shortcut={shortcut}: choose A, B or plain")
    imagenet, bottleneck = depth in IMAGENET, depth in (50, 101, 152)
    shortcut = shortcut or ("B" if imagenet else "A")
    name = f"plain{depth}" if shortcut == "plain" else f"resnet{depth}"
    check_images(name, input_shape)
    b = Blocks(**DEFAULTS | choices)
    use_bias = bottleneck or b.normalization is None
    # Keras' own momentum where keras.applications is matched; 0.9 follows a short CIFAR run sooner.
    batch_norm = {"epsilon": 1.001e-5, "momentum": 0.99 if imagenet else 0.9}

    def activate(x, name):
        x = b.normalize(x, name=f"{name}_norm", **batch_norm)
        return b.activate(x, name=f"{name}_activation")

    def skip(x, channels, strides, name):
        """Bring the shortcut to the shape of the block's output."""
        if x.shape[-1] == channels and strides == 1:
            return x
        if shortcut == "B":
            x = b.conv(x, channels, 1, strides=strides, use_bias=use_bias, name=f"{name}_shortcut")
            return x if preactivation else b.normalize(x, name=f"{name}_shortcut_norm", **batch_norm)
        if strides > 1:
            x = keras.layers.AveragePooling2D(1, strides, name=f"{name}_shortcut_stride")(x)
        # Read as channels first, the channels stand where the columns are padded.
        zeros = ((0, 0), (0, channels - x.shape[-1]))
        return keras.layers.ZeroPadding2D(zeros, data_format="channels_first", name=f"{name}_shortcut_zeros")(x)

    def block(x, convolutions, name, first):
        """A residual block of (channels, kernel, strides), ..."""
        channels, strides = convolutions[-1][0], convolutions[0][2]
        same = x.shape[-1] == channels and strides == 1
        before = activate(x, name=f"{name}_pre") if preactivation else x
        if shortcut != "plain":
            # He et al. 2016, appendix: the first block, and those that change the shape, share the activation.
            carried = skip(x if same and not first else before, channels, strides, name)
        x = before
        for i, (channels, kernel, strides) in enumerate(convolutions, 1):
            x = b.conv(x, channels, kernel, strides=strides, use_bias=use_bias, name=f"{name}_conv{i}")
            if i < len(convolutions):
                x = b.drop(activate(x, name=f"{name}_conv{i}"), name=f"{name}_conv{i}_dropout")
            elif not preactivation:
                x = b.normalize(x, name=f"{name}_conv{i}_norm", **batch_norm)
        if shortcut != "plain":
            x = keras.layers.Add(name=f"{name}_add")([carried, x])
        return x if preactivation else b.activate(x, name=f"{name}_activation")

    x = inputs = keras.Input(input_shape, name="input")
    if imagenet:
        x = keras.layers.ZeroPadding2D(3, name="stem_pad")(x)
        x = b.conv(x, 64, 7, strides=2, padding="valid", use_bias=use_bias, name="stem_conv")  # 112x112x64
        if not preactivation:
            x = activate(x, name="stem")
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)  # 56x56x64
        stages = zip([64, 128, 256, 512], IMAGENET[depth], strict=True)
    else:
        x = b.conv(x, 16, 3, use_bias=use_bias, name="stem_conv")  # 32x32x16
        if not preactivation:
            x = activate(x, name="stem")
        stages = [(16, depth // 6), (32, depth // 6), (64, depth // 6)]

    for stage, (channels, blocks) in enumerate(stages, 1):
        for i in range(1, blocks + 1):
            strides = 2 if stage > 1 and i == 1 else 1
            if bottleneck:
                convolutions = [(channels, 1, strides), (channels, 3, 1), (4 * channels, 1, 1)]
            else:
                convolutions = [(channels, 3, strides), (channels, 3, 1)]
            x = block(x, convolutions, name=f"stage{stage}_block{i}", first=stage == i == 1)

    if preactivation:
        x = activate(x, name="top")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, b.logits(x, classes), name=name)
