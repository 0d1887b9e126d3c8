"""Verdicts on real trainings of the real digits, each made to suffer from one thing, judged after one epoch."""

import functools

import keras
import numpy as np
import pytest
import sklearn.datasets

from zoo import GradientNorms, diagnose, probe
from zoo.losses import constant_loss
from zoo.models import mlp
from zoo.telemetry.probe import Probes

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@functools.cache
def digits():
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return x[:1280].astype("float32") / 16, y[:1280]


def trained(model, optimizer, epochs=1):
    x, y = digits()
    model.compile(optimizer, LOSS, jit_compile=False)
    norms, probes = GradientNorms(), Probes(x[:64], y[:64])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, callbacks=[norms, probes])
    baseline = constant_loss(LOSS, y, "categorical")
    return diagnose(norms.history, probes.results, baseline=baseline), norms, probes


def net(depth, edit=None, **choices):
    keras.utils.set_random_seed(5)
    model = mlp((64,), 10, depth=depth, width=64, **choices)
    if edit:
        layer, variable, value = edit
        variable = getattr(model.get_layer(layer), variable)
        variable.assign(np.full(variable.shape, value) if np.isscalar(value) else value(variable.numpy()))
    return model


def sgd(rate=0.05):
    return keras.optimizers.SGD(rate)


def times(factor):
    return lambda value: factor * value


def normal(variance):
    return lambda: keras.initializers.VarianceScaling(variance)


def constant(value):
    return lambda: keras.initializers.Constant(value)


SICK = {
    "thirty sigmoid layers": (
        "vanishing",
        {"depth": 30, "activation": "sigmoid", "initializer": "glorot_uniform"},
        sgd,
    ),
    "flat weight gradients": ("vanishing", {"depth": 30, "initializer": "glorot_uniform"}, sgd),
    "small weights": ("vanishing", {"depth": 8, "initializer": normal(0.01)}, sgd),
    "large weights": ("exploding", {"depth": 20, "initializer": normal(18.0)}, sgd),
    "one layer below zero": ("dead", {"depth": 6, "edit": ("dense_3", "bias", -100.0)}, sgd),
    "saturated tanh": ("saturated", {"depth": 6, "activation": "tanh", "bias_initializer": constant(8.0)}, sgd),
    "a far too small rate": ("stalled", {"depth": 4}, lambda: sgd(1e-6)),
    "a far too large rate": ("unstable", {"depth": 4}, lambda: sgd(30.0)),
}
HEALTHY = {
    "plain": ({"depth": 5}, lambda: keras.optimizers.Adam(0.001)),
    "deep": ({"depth": 10}, lambda: keras.optimizers.Adam(0.001)),
    "faint but trained": ({"depth": 12, "initializer": "glorot_uniform"}, lambda: keras.optimizers.Adam(0.003)),
    "half of a layer dead": (
        {"depth": 5, "edit": ("dense_2", "bias", lambda b: np.where(np.arange(64) % 2, -50.0, 0.0))},
        lambda: keras.optimizers.Adam(0.001),
    ),
    "residual": (
        {"depth": 40, "residual": 2, "normalization": "batch"},
        lambda: keras.optimizers.Adam(0.001),
    ),
}


@pytest.mark.parametrize("name", SICK)
def test_sick(name):
    expected, options, optimizer = SICK[name]
    verdict, _, _ = trained(net(**options), optimizer())
    assert verdict.name == expected, verdict.sentence
    assert verdict.remedies and verdict.sentence and verdict.cause
    assert verdict.confidence >= 0.6
    if "edit" in options:
        fault = int(options["edit"][0].removeprefix("dense_"))
        assert abs(int(verdict.layer.removeprefix("dense_")) - fault) <= 1


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy(name):
    options, optimizer = HEALTHY[name]
    verdict, _, _ = trained(net(**options), optimizer())
    assert verdict.name == "healthy", verdict.sentence
    assert verdict.layer is None and not verdict.remedies


def test_the_scale_of_the_loss_changes_nothing():
    class Scaled(keras.losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return 1e-6 * super().call(y_true, y_pred)

    x, y = digits()
    for depth, activation, expected in ((5, "relu", "healthy"), (30, "sigmoid", "vanishing")):
        model = net(depth, activation=activation)
        model.compile(keras.optimizers.RMSprop(0.001, epsilon=1e-14), Scaled(from_logits=True), jit_compile=False)
        norms, probes = GradientNorms(), Probes(x[:64], y[:64])
        model.fit(x, y, batch_size=32, verbose=0, callbacks=[norms, probes])
        baseline = 1e-6 * constant_loss(LOSS, y, "categorical")
        assert diagnose(norms.history, probes.results, baseline=baseline).name == expected


def test_the_trap_is_called_out_at_step_0():
    x, y = digits()
    model = net(20, initializer="glorot_uniform")
    model.compile(sgd(), LOSS, jit_compile=False)
    p = probe(model, x[:64], y[:64])
    verdict = diagnose(probes=[p])
    assert verdict.name == "vanishing" and verdict.since == 0
    assert "relu" in verdict.sentence
    sound = net(20)
    sound.compile(sgd(), LOSS, jit_compile=False)
    foretold = diagnose(probes=[probe(sound, x[:64], y[:64])])
    assert foretold.name == "undecided" and "nothing stands in the way" in foretold.sentence


def test_an_overflow_that_loss_scaling_skipped_is_no_verdict():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = net(4)
    finally:
        keras.config.set_dtype_policy(previous)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.001), initial_scale=2.0**24)
    verdict, norms, _ = trained(model, optimizer)
    assert norms.history.nonfinite.max() > 0
    assert verdict.name == "healthy", verdict.sentence


def test_a_linear_model_may_begin_at_zero_and_come_to_rest():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(72, 10)), rng.normal(size=(72, 1))  # nothing that x tells
    keras.utils.set_random_seed(0)
    model = mlp((10,), 1, depth=0, initializer="zeros", regularizer=lambda: keras.regularizers.L2(1 / 72))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    norms, probes = GradientNorms(), Probes(x[:64], y[:64])
    model.fit(x, y, batch_size=72, epochs=300, verbose=0, callbacks=[norms, probes])

    assert diagnose(probes=probes.results[:1]).name == "undecided"
    found = diagnose(norms.history, probes.results)
    assert not found.sick and norms.history.global_norm[-1] < 1e-4 * norms.history.global_norm[0]


def test_nothing_to_judge():
    with pytest.raises(ValueError, match="history"):
        diagnose()


def test_an_output_that_is_too_small_for_float32_does_not_begin_at_zero():
    """Behind twenty linear layers of small weights the squares of its activations are 0 in float32."""
    model = net(20, activation="linear", initializer=lambda: keras.initializers.RandomNormal(stddev=0.01))
    verdict, _, probes = trained(model, sgd())
    first, last = probes.results[0].activation_rms[-2:]
    assert 0 < first < 1e-15 and last == 0
    assert diagnose(probes=probes.results[:1]).name == verdict.name == "vanishing"
