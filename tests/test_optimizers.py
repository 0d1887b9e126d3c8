"""The optimizers that Keras lacks, against their formulas in NumPy."""

import keras
import numpy as np
import pytest

from zoo.optimizers import EMAMomentum, clipped_from, normalized

RNG = np.random.default_rng(0)
START = [RNG.normal(size=(3, 2)).astype("float32"), RNG.normal(size=(2,)).astype("float32")]
GRADIENTS = [[10 ** RNG.uniform(-6, 3) * RNG.normal(size=w.shape).astype("float32") for w in START] for _ in range(6)]


def steps(optimizer) -> list[np.ndarray]:
    variables = [keras.Variable(w) for w in START]
    for grads in GRADIENTS:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], variables)
    return [keras.ops.convert_to_numpy(v) for v in variables]


def test_ema_momentum():
    weights, averages = [w.copy() for w in START], [np.zeros_like(w) for w in START]
    for grads in GRADIENTS:
        for w, v, g in zip(weights, averages, grads, strict=True):
            v[:] = 0.8 * v + 0.2 * g
            w -= 0.1 * v
    for got, expected in zip(steps(EMAMomentum(0.1, gamma=0.8)), weights, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_normalized_steps_have_the_length_of_the_rate():
    weights = [w.copy() for w in START]
    for grads in GRADIENTS:
        for w, g in zip(weights, grads, strict=True):
            w -= 0.1 * g / np.linalg.norm(g)
    for got, expected in zip(steps(normalized(keras.optimizers.SGD)(0.1)), weights, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_the_whole_gradient_divided_by_its_norm():
    weights = [w.copy() for w in START]
    for grads in GRADIENTS:
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in grads))
        for w, g in zip(weights, grads, strict=True):
            w -= 0.1 * g / norm
    for got, expected in zip(steps(normalized(keras.optimizers.SGD, whole=True)(0.1)), weights, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_normalized_leaves_a_zero_gradient_zero():
    variable = keras.Variable(np.ones(3, "float32"))
    normalized(keras.optimizers.SGD)(0.1).apply([keras.ops.zeros(3)], [variable])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), 1)


def test_clipped_from_shortens_the_whole_gradient_from_a_step_on():
    weights = [w.copy() for w in START]
    for step, grads in enumerate(GRADIENTS):
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in grads))
        for w, g in zip(weights, grads, strict=True):
            w -= 0.1 * g * (1 if step < 3 else min(1, 0.5 / norm))
    got = steps(clipped_from(keras.optimizers.SGD, 3, 0.5)(0.1))
    for one, expected in zip(got, weights, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5)


def test_clipped_from_takes_rows_of_an_embedding():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 2), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile(clipped_from(keras.optimizers.SGD, 0, 1e-3)(1.0), "mse")
    before = model.get_weights()
    model.fit(np.ones((4, 3)), 100 * np.ones((4, 1)), epochs=1, verbose=0)
    moved = np.sqrt(sum(np.sum(np.square(a - b)) for a, b in zip(model.get_weights(), before, strict=True)))
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-2)


@pytest.mark.parametrize(
    "optimizer",
    [
        EMAMomentum(0.1, gamma=0.8),
        normalized(keras.optimizers.Adam)(0.1),
        clipped_from(keras.optimizers.Adam, 1, 1.0)(0.1),
    ],
)
def test_saved_models_keep_the_optimizer(optimizer, tmp_path):
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile(optimizer, "mse", jit_compile=False)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert type(loaded) is type(optimizer)
    for a, b in zip(loaded.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
