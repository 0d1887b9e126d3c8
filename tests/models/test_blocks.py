"""The building blocks: fused batch normalization, and the choices that Keras alone does not fit to every layer."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import UserError
from zoo.models.blocks import Blocks, OrthogonalRegularizer, batch_normalization, smallest_side

RNG = np.random.default_rng(0)


def pair(shape, dtype="float32", **options):
    """Keras' batch normalization and ours, built for `shape` with equal weights that are neither 0 nor 1."""
    layers = [make(dtype=dtype, **options) for make in (keras.layers.BatchNormalization, batch_normalization)]
    for layer in layers:
        layer.build(shape)
    weights = [RNG.uniform(0.5, 2, w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def step(layer, x, dy):
    """Output, gradients (of gamma, beta, x) and moving statistics of one training call."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    gradients = tape.gradient(y, [*(w.value for w in layer.trainable_weights), x], dy)
    return [y, *gradients, *(w.value for w in layer.non_trainable_weights)]


@pytest.mark.parametrize("shape", [(8, 5, 4, 3), (1, 1, 1, 3), (2, 1, 1, 3)])
@pytest.mark.parametrize("options", [{"epsilon": 1.001e-5}, {"momentum": 0.9, "epsilon": 1e-3}])
def test_fused_batch_normalization_equals_keras(shape, options):
    keras_layer, ours = pair(shape, **options)
    x = RNG.normal(3, 2, shape).astype("float32")
    dy = RNG.normal(size=shape).astype("float32")

    for a, b in zip(step(keras_layer, x, dy), step(ours, x, dy), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((8, 3), {}),
        ((8, 6, 3), {}),
        ((4, 3, 5, 5), {"axis": 1}),
        ((4, 5, 5, 3), {"scale": False}),
        ((4, 5, 5, 3), {"center": False}),
        ((4, 5, 5, 3), {"epsilon": 1e-7}),
        ((4, 5, 5, 3), {"renorm": True}),
    ],
)
def test_what_the_kernel_cannot_do_is_left_to_keras(shape, options):
    keras_layer, ours = pair(shape, **options)
    x, dy = RNG.normal(3, 0.01, shape).astype("float32"), RNG.normal(size=shape).astype("float32")

    for a, b in zip(step(keras_layer, x, dy), step(ours, x, dy), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("frozen", [False, True])
def test_inference_and_frozen_layers_use_the_moving_statistics(frozen):
    keras_layer, ours = pair((4, 5, 5, 3))
    x = RNG.normal(size=(4, 5, 5, 3)).astype("float32")
    for layer in (keras_layer, ours):
        layer.trainable = not frozen

    np.testing.assert_array_equal(ours(x, training=frozen), keras_layer(x, training=frozen))
    np.testing.assert_array_equal(ours.moving_mean, keras_layer.moving_mean)


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)])
def test_half_precision_equals_keras_and_keeps_its_type(policy, tolerance):
    keras_layer, ours = pair((8, 5, 5, 3), dtype=policy)
    x = RNG.normal(1, 2, (8, 5, 5, 3)).astype("float32")
    a, b = keras_layer(x, training=True), ours(x, training=True)

    assert a.dtype == b.dtype == policy.removeprefix("mixed_")
    np.testing.assert_allclose(tf.cast(b, "float32"), tf.cast(a, "float32"), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.moving_variance, keras_layer.moving_variance, rtol=1e-3)


def test_training_step_uses_the_fused_kernel():
    x = keras.Input((4, 4, 3))
    model = keras.Model(x, Blocks(normalization="batch").normalize(x, name="norm"))
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((2, 4, 4, 3))).graph
    operations = {operation.type for operation in graph.get_operations()}

    assert "FusedBatchNormV3" in operations
    assert "Rsqrt" not in operations


def test_saved_network_with_batch_normalization_needs_nothing_but_keras(tmp_path):
    x = keras.Input((4, 4, 3))
    b = Blocks(activation=keras.layers.PReLU, normalization="batch")
    model = keras.Model(x, b.finish(b.conv(x, 5, 3, name="conv"), name="conv"))
    images = RNG.normal(size=(2, 4, 4, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", images)
    program = (
        "import keras, numpy as np, sys; keras.saving.load_model('model.keras', compile=False)"
        ".predict(np.load('x.npy'), verbose=0).tofile('y'); assert 'zoo' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)

    y = np.fromfile(tmp_path / "y", "float32").reshape(2, 4, 4, 5)
    np.testing.assert_allclose(y, model.predict(images, verbose=0), rtol=1e-5, atol=1e-6)


def test_family_options_reach_batch_normalization_and_yield_to_the_choice():
    x = keras.Input((4, 4, 3))

    def layer_of(choice):
        y = Blocks(normalization=choice).normalize(x, name="norm", epsilon=0.25, momentum=0.5)
        return keras.Model(x, y).get_layer("norm")

    assert (layer_of("batch").epsilon, layer_of("batch").momentum) == (0.25, 0.5)
    chosen = layer_of(functools.partial(batch_normalization, momentum=0.75))
    assert (chosen.epsilon, chosen.momentum) == (0.25, 0.75)
    assert layer_of("layer").epsilon == keras.layers.LayerNormalization().epsilon


@pytest.mark.parametrize(("channels", "chosen", "groups"), [(64, None, 32), (16, None, 16), (24, None, 8), (24, 4, 4)])
def test_group_count_divides_the_channels(channels, chosen, groups):
    choice = functools.partial(keras.layers.GroupNormalization, groups=chosen) if chosen else "group"
    x = keras.Input((4, 4, channels))
    model = keras.Model(x, Blocks(normalization=choice).normalize(x, name="norm"))

    assert model.get_layer("norm").groups == groups


@pytest.mark.parametrize(("shape", "slopes"), [((6, 5, 3), (1, 1, 3)), ((7,), (7,))])
def test_prelu_learns_one_slope_a_channel_or_unit(shape, slopes):
    x = keras.Input(shape)
    model = keras.Model(x, Blocks(activation=keras.layers.PReLU).activate(x, name="prelu"))

    assert model.weights[0].shape == slopes


@pytest.mark.parametrize("shape", [(7, 4), (3, 3, 2, 5)])
def test_orthogonal_penalty_is_the_mean_cosine_between_filters(shape):
    kernel = RNG.normal(size=shape).astype("float32")
    filters = kernel.reshape(-1, shape[-1])
    cosines = [
        abs(filters[:, i] @ filters[:, j]) / np.linalg.norm(filters[:, i]) / np.linalg.norm(filters[:, j])
        for i in range(shape[-1])
        for j in range(i)
    ]

    assert float(OrthogonalRegularizer(0.1)(kernel)) == pytest.approx(0.1 * np.mean(cosines), rel=1e-5)


def test_a_single_filter_has_no_orthogonal_penalty():
    assert float(OrthogonalRegularizer()(RNG.normal(size=(3, 3, 2, 1)).astype("float32"))) == 0


@pytest.mark.parametrize("windows", [[(2, 2)] * 5, [(11, 4), (3, 2), (3, 2), (3, 2)], [(1, 1), (2, 2), (5, 1), (2, 2)]])
def test_smallest_side_leaves_a_pixel_and_one_less_does_not(windows):
    def left(side):
        for window, stride in windows:
            side = (side - window) // stride + 1 if side >= window else 0
        return side

    smallest = smallest_side(windows)
    assert left(smallest) == 1
    assert left(smallest - 1) == 0


def test_dropout_takes_whole_channels_after_a_convolution_and_units_after_a_dense_layer():
    b = Blocks(dropout=0.5)
    image, vector = np.ones((4, 6, 6, 8), "float32"), np.ones((4, 8), "float32")
    x, v = keras.Input(image.shape[1:]), keras.Input(vector.shape[1:])
    y = np.array(keras.Model(x, b.drop(x, name="drop"))(image, training=True))
    w = np.array(keras.Model(v, b.drop(v, name="drop"))(vector, training=True))

    assert set(np.unique(y)) == set(np.unique(w)) == {0, 2}
    np.testing.assert_array_equal(y.min((1, 2)), y.max((1, 2)))


def test_equal_layers_start_with_different_weights():
    b = Blocks(initializer=functools.partial(keras.initializers.RandomNormal, stddev=1.0))
    x = keras.Input((4,))
    model = keras.Model(x, b.dense(b.dense(x, 4, name="a"), 4, name="b"))

    assert np.abs(model.get_layer("a").kernel - model.get_layer("b").kernel).min() > 0


def test_unknown_normalization_names_the_choices():
    with pytest.raises(UserError, match="normalization=bach: choose batch, layer, group, or none"):
        Blocks(normalization="bach")
