"""What is done to a compiled model before its first step."""

import keras
import numpy as np

from zoo.make import complete
from zoo.models import mlp


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
