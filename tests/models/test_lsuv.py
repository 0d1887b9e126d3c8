"""LSUV equals a NumPy version written from algorithm 1 of Mishkin & Matas 2016, and works on any model."""

import keras
import numpy as np

from zoo.models import lsuv, mlp, resnet

RNG = np.random.default_rng(0)


def in_numpy(kernels, biases, x, tolerance=0.1, trials=10):
    """Algorithm 1 on a stack of dense layers with tanh between them."""
    scaled = []
    for w, b in zip(kernels, biases, strict=True):
        for _ in range(trials):
            variance = np.var(x @ w + b)
            if abs(variance - 1) < tolerance:
                break
            w = w / np.sqrt(variance)
        scaled.append(w)
        x = np.tanh(x @ w + b)
    return scaled


def test_equals_numpy_with_biases_that_need_several_trials():
    model = mlp((20,), 7, depth=4, width=30, activation="tanh", initializer="orthogonal", bias_initializer="ones")
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for layer in dense:
        layer.bias.assign(RNG.normal(0, 0.6, layer.bias.shape))
    x = RNG.normal(0, 3, (64, 20)).astype("float32")
    kernels, biases = zip(*(layer.get_weights() for layer in dense), strict=True)
    expected = in_numpy(kernels, biases, x)
    once = in_numpy(kernels, biases, x, trials=1)

    lsuv(model, x)

    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(expected, once, strict=True))
    for layer, kernel in zip(dense, expected, strict=True):
        np.testing.assert_allclose(layer.get_weights()[0], kernel, rtol=1e-4, atol=1e-5)


def test_every_layer_of_a_residual_network_has_unit_variance():
    model = resnet((8, 8, 3), 10, depth=8, normalization=None, initializer="orthogonal")
    x = RNG.normal(5, 2, (32, 8, 8, 3)).astype("float32")

    assert lsuv(model, x) is model

    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    outputs = keras.Model(model.input, [layer.output for layer in layers]).predict(x, verbose=0)
    assert len(outputs) == 8
    np.testing.assert_allclose([np.var(y) for y in outputs], 1, atol=0.1)


def test_variance_is_taken_before_the_activation_of_the_layer_itself():
    layers = [keras.layers.Dense(40, "relu", kernel_initializer="orthogonal") for _ in range(3)]
    model = keras.Sequential([keras.Input((40,)), *layers])
    x = RNG.normal(0, 5, (200, 40)).astype("float32")

    lsuv(model, x)

    h = x
    for layer in layers:
        assert abs(np.var(h @ layer.get_weights()[0]) - 1) < 0.1
        h = np.array(layer(h))
        assert h.min() == 0  # the activation is back


def test_layer_used_twice_is_scaled_at_its_first_use_and_nested_models_are_reached():
    shared = keras.layers.Dense(10, kernel_initializer="orthogonal")
    inner = keras.Sequential([keras.Input((10,)), keras.layers.Dense(10, kernel_initializer="orthogonal")])
    x = inputs = keras.Input((10,))
    model = keras.Model(inputs, inner(shared(shared(x))))
    batch = RNG.normal(0, 4, (100, 10)).astype("float32")

    lsuv(model, batch)

    first = batch @ shared.get_weights()[0]
    assert abs(np.var(first) - 1) < 0.1
    assert abs(np.var(np.array(model(batch))) - 1) < 0.1


def test_zero_weights_stay_zero():
    model = mlp((5,), 3, depth=2, initializer="zeros")

    lsuv(model, RNG.normal(size=(8, 5)))

    assert not any(np.any(w) for w in model.get_weights())
