"""The layers that every family is built from, with the study's choices applied.

A family's function says what its paper's table says (`b.conv(x, 64, 3)`, `b.activate(x)`), and `Blocks` turns the six
choices (activation, initializer, normalization, regularizer, dropout, constraint) into Keras layers. Each layer gets an
initializer and a regularizer of its own: with a shared one, layers of equal shape would begin with equal weights.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import keras

from zoo.errors import UserError

Choice = str | Callable | None


class Blocks:
    """Turns the six choices of the study into layers.

    Args:
        activation: Keras name (`"relu"`) or a function `name=... -> keras.Layer`; `None` is linear.
        initializer: of kernels. Keras name, or a function of no arguments that returns a `keras.Initializer`.
        bias_initializer: likewise, of biases. `None` leaves each its published value: 0, but for some of AlexNet's.
        normalization: `None`, `"batch"`, `"layer"`, `"group"`, or a function `name=... -> keras.Layer`.
        regularizer: of kernels. `None`, a Keras name, or a function of no arguments that returns a `keras.Regularizer`.
        bias_regularizer: likewise, of biases, and of what normalization and PReLU train.
        constraint: of kernels, after each step. `None`, a Keras name, or a function `axis=... -> keras.Constraint`, of
            which the axes are those over which one unit's weights lie.
        dropout: the share of units dropped after an activation, in [0, 1); whole channels after a convolution.

    Example:
        b = Blocks(activation="tanh")
        x = inputs = keras.Input((8,))
        x = b.activate(b.dense(x, 16, name="dense_1"), name="tanh_1")
    """

    def __init__(
        self,
        activation: Choice = "relu",
        initializer: Choice = "glorot_uniform",
        bias_initializer: Choice = None,
        normalization: Choice = None,
        regularizer: Choice = None,
        dropout: float = 0.0,
        bias_regularizer: Choice = None,
        constraint: Choice = None,
    ):
        if isinstance(normalization, str):
            if normalization not in NORMALIZATIONS:
                raise UserError(f"normalization={normalization}: choose {', '.join(NORMALIZATIONS)}, or none")
            normalization = NORMALIZATIONS[normalization]
        self.activation = activation
        self.initializer = initializer
        self.bias_initializer = bias_initializer
        self.normalization: Callable | None = normalization or None
        self.regularizer = regularizer or None
        self.bias_regularizer = bias_regularizer or None
        self.constraint = constraint or None
        self.dropout = dropout

    def _weights(self, use_bias: bool, bias: str, axis: int | list[int] = 0) -> dict:
        constraint = self.constraint
        return {
            "use_bias": use_bias,
            "kernel_initializer": _make(keras.initializers.get, self.initializer),
            "bias_initializer": _make(keras.initializers.get, self.bias_initializer or bias),
            "kernel_regularizer": _make(keras.regularizers.get, self.regularizer),
            "bias_regularizer": _make(keras.regularizers.get, self.bias_regularizer),
            "kernel_constraint": constraint(axis=axis) if callable(constraint) else keras.constraints.get(constraint),
        }

    def dense(self, x, units: int, *, name: str, use_bias: bool = True, bias: str = "zeros"):
        """Fully connected layer without activation: (batch, n) -> (batch, units).

        `bias` is the published initializer, used unless one is chosen.
        """
        return keras.layers.Dense(units, name=name, **self._weights(use_bias, bias))(x)

    def conv(
        self,
        x,
        filters: int,
        kernel: int,
        *,
        name: str,
        strides: int = 1,
        padding: str = "same",
        use_bias: bool = True,
        bias: str = "zeros",
    ):
        """Square convolution without activation: (batch, h, w, c) -> (batch, h', w', filters)."""
        return keras.layers.Conv2D(
            filters, kernel, strides=strides, padding=padding, name=name, **self._weights(use_bias, bias, [0, 1, 2])
        )(x)

    def logits(self, x, classes: int, *, name: str = "logits", use_bias: bool = True):
        """The output layer, always in float32 so that the loss is too: (batch, n) -> (batch, classes)."""
        return keras.layers.Dense(classes, name=name, dtype="float32", **self._weights(use_bias, "zeros"))(x)

    def normalize(self, x, *, name: str, **options):
        """Normalize `x` as chosen, or return it as it is.

        `options` are the family's epsilon and momentum for batch normalization; the choice's own win over them.
        """
        if self.normalization is None:
            return x
        kind, given = _parts(self.normalization)
        if kind in (batch_normalization, keras.layers.BatchNormalization):
            options = {key: value for key, value in options.items() if key not in given}
        elif kind is keras.layers.GroupNormalization:
            # Wu & He 2018 use 32 groups; a channel count that 32 does not divide takes the largest common divisor.
            options = {"groups": math.gcd(given.get("groups", 32), x.shape[-1])}
        else:
            options = {}
        if self.bias_regularizer:
            for scale in ("gamma", "beta"):
                options[f"{scale}_regularizer"] = _make(keras.regularizers.get, self.bias_regularizer)
        return self.normalization(name=name, **options)(x)

    def activate(self, x, *, name: str):
        """Apply the chosen activation."""
        if self.activation is None or isinstance(self.activation, str):
            return keras.layers.Activation(self.activation, name=name)(x)
        kind, given = _parts(self.activation)
        options: dict[str, Any] = {}
        if kind is keras.layers.PReLU and len(x.shape) == 4 and "shared_axes" not in given:
            options = {"shared_axes": [1, 2]}  # one slope a channel (He et al. 2015, section 2.1)
        if kind is keras.layers.PReLU and self.bias_regularizer:
            options["alpha_regularizer"] = _make(keras.regularizers.get, self.bias_regularizer)
        return self.activation(name=name, **options)(x)

    def drop(self, x, *, name: str, rate: float | None = None):
        """Drop units (2-D input) or whole channels (4-D input, Tompson et al. 2015); nothing at rate 0."""
        rate = self.dropout if rate is None else rate
        if not rate:
            return x
        layer = keras.layers.SpatialDropout2D if len(x.shape) == 4 else keras.layers.Dropout
        return layer(rate, name=name)(x)

    def finish(self, x, *, name: str, rate: float | None = None, **options):
        """Normalize, activate and drop: what follows a layer in most families; layers `{name}_norm`, ..."""
        x = self.normalize(x, name=f"{name}_norm", **options)
        x = self.activate(x, name=f"{name}_activation")
        return self.drop(x, name=f"{name}_dropout", rate=rate)


def _make(get: Callable, choice: Choice):
    """Return a new instance of `choice`: a Keras identifier, or a function of no arguments that makes one."""
    if choice is None or isinstance(choice, str):
        return get(choice)
    return choice()


def _parts(choice: Callable) -> tuple[Callable, dict]:
    """Return what `choice` calls and with which keywords: a choice from YAML is a `functools.partial`."""
    if isinstance(choice, functools.partial):
        return choice.func, choice.keywords
    return choice, {}


def batch_normalization(**options) -> keras.layers.BatchNormalization:
    """Return `keras.layers.BatchNormalization(**options)`; on TensorFlow its training step uses the fused kernel.

    Keras 3 computes the moments and the scaling op by op. TensorFlow's one kernel gives the same numbers, forward and
    backward, and a ResNet-20 step on two CPU cores takes 89 ms instead of 114. Only `call` is replaced, and only on
    this instance: the saved model is plain Keras and loads anywhere.
    """
    layer = keras.layers.BatchNormalization(**options)
    if keras.config.backend() == "tensorflow":
        layer.call = functools.partial(_fused_call, layer)
    return layer


def _fused_call(layer: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    import tensorflow as tf

    fused = (
        training
        and layer.trainable
        and mask is None
        and len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and layer.epsilon >= 1.001e-5  # TensorFlow silently raises a smaller one to this
        and not layer.synchronized
        and not layer.renorm
        and inputs.dtype in (tf.float32, tf.float16, tf.bfloat16)
    )
    if not fused:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs, layer.gamma, layer.beta, epsilon=layer.epsilon)[:3]
    n = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
    variance = variance * (n - 1) / n  # the kernel returns the unbiased estimate, Keras keeps the biased one
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        assert moving is not None  # a layer that is called is built
        moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
    return y


NORMALIZATIONS: dict[str, Callable] = {
    "batch": batch_normalization,
    "layer": keras.layers.LayerNormalization,
    "group": keras.layers.GroupNormalization,
}


@keras.saving.register_keras_serializable("zoo")
class OrthogonalRegularizer(keras.regularizers.OrthogonalRegularizer):
    """Keras' orthogonal regularizer for kernels of any rank: a convolution's (k, k, in, out) is read as (k k in, out).

    The penalty is `factor` times the mean absolute cosine between the filters (`mode="columns"`); a single filter has
    no other to be orthogonal to, and costs nothing.
    """

    def __init__(self, factor: float = 0.01, mode: str = "columns"):
        super().__init__(factor=factor, mode=mode)

    def __call__(self, kernel: Any):
        kernel = keras.ops.reshape(kernel, (-1, kernel.shape[-1]))
        if kernel.shape[1 if self.mode == "columns" else 0] == 1:
            return keras.ops.zeros((), kernel.dtype)
        return super().__call__(kernel)


def smallest_side(windows: Iterable[tuple[int, int]]) -> int:
    """Return the smallest image side that leaves one pixel after each (window, stride), in forward order.

    From side' = (side - window) // stride + 1, solved backwards. A window counts after its padding: 1 for "same".
    """
    side = 1
    for window, stride in reversed(list(windows)):
        side = (side - 1) * stride + window
    return side


def check_images(name: str, input_shape: tuple[int, ...], windows: Iterable[tuple[int, int]] = ()) -> None:
    """Raise `UserError` unless `input_shape` is (height, width, channels) and large enough for `windows`."""
    if len(input_shape) != 3:
        raise UserError(f"{name} takes images (height, width, channels), not {tuple(input_shape)}: choose model=mlp")
    height, width, _ = input_shape
    smallest = smallest_side(windows)
    if min(height, width) < smallest:
        raise UserError(
            f"{name} takes images of {smallest}x{smallest} pixels or more, not {height}x{width}: "
            "choose larger images or a network that shrinks them less"
        )
