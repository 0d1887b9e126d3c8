"""What is done to a model before its first step."""

import hydra
import keras
import numpy as np
import pytest

from zoo.config import CONF
from zoo.models import mlp
from zoo.running.make import build, complete, multiply_adds, steps_a_call


class Counting(keras.Model):
    """Counts how often its training step is traced."""

    traces = 0

    def train_step(self, data):
        self.traces += 1
        return super().train_step(data)


def compiled() -> keras.Model:
    base = mlp((6,), 3, depth=2, width=4)
    model = Counting(base.inputs, base.outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def test_a_step_is_traced_once_and_trains_as_ever():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6)).astype("float32"), rng.integers(0, 3, 16)
    plain, model = compiled(), compiled()
    model.set_weights(plain.get_weights())

    complete(model, x[:2], y[:2])

    assert model.optimizer.built and int(model.optimizer.iterations) == 0
    expected = plain.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history == expected
    assert model.traces == 1 < plain.traces
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_model_whose_outputs_are_not_known_is_left_alone():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    model = Subclassed()
    model.compile("sgd", "mse")
    complete(model, np.zeros((2, 3)), np.zeros((2, 3)))
    assert not model.optimizer.built


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("mlp", (8, 8, 1), 64 * 64 * 5 + 64 * 10),
        # LeCun et al. 1998, fig. 2, with C3 connected to all six maps of S2
        ("lenet", (28, 28, 1), 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10),
        # He et al. 2016, sec. 4.2: stages of 6 convolutions; the first of the second and third halve the image
        (
            "resnet20",
            (32, 32, 3),
            9 * (3 * 16 * 32**2 + 6 * 16 * 16 * 32**2)
            + 9 * (16 * 32 * 16**2 + 5 * 32 * 32 * 16**2)
            + 9 * (32 * 64 * 8**2 + 5 * 64 * 64 * 8**2)
            + 64 * 10,
        ),
    ],
)
def test_multiply_adds_of_known_networks(name, shape, expected):
    assert multiply_adds(build(name, shape, 10)) == expected


def test_multiply_adds_of_what_shapes_do_not_tell_are_infinite():
    tokens = keras.Input((None,))
    recurrent = keras.Model(tokens, keras.layers.LSTM(4)(keras.layers.Embedding(9, 3)(tokens)))
    assert multiply_adds(recurrent) == np.inf

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Subclassed()
    model(np.zeros((2, 3), "float32"))
    assert multiply_adds(model) == np.inf


@pytest.mark.parametrize(
    ("words", "steps_an_epoch", "expected"),
    [
        ([], 41, 41),
        ([], 1688, 8),
        ([], 103, 1),
        (["steps_per_execution=7"], 41, 7),
        (["model.width=4096"], 41, 1),
        (["+callbacks.mine._target_=keras.callbacks.ModelCheckpoint"], 41, 1),
    ],
)
def test_small_steps_share_a_call(words, steps_an_epoch, expected):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        cfg = hydra.compose("config", words)
    model = mlp((8, 8, 1), 10, depth=2, width=cfg.model.width)
    assert steps_a_call(cfg, model, steps_an_epoch) == expected
