"""A training cut off after an epoch and restored, against one that was not; on the backend of KERAS_BACKEND."""

import keras
import numpy as np

from zoo import GradientNorms
from zoo.running.checkpoint import Checkpoint
from zoo.telemetry.probe import Probes

EPOCHS, CUT = 6, 3


def network() -> keras.Model:
    layers = keras.layers
    hidden = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(6, "tanh")]
    model = keras.Sequential([keras.Input((5,)), *hidden, layers.Dense(3)])
    optimizer = keras.optimizers.Adam(0.05, global_clipnorm=1.0)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def training(path, epochs: int):
    """Train up to `epochs`, from the checkpoint in `path` if there is one; return the model and what was recorded."""
    keras.utils.set_random_seed(len(list(path.iterdir())))  # a process that goes on begins with another random state
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)).astype("float32"), rng.integers(0, 3, 40)
    model, norms, probes = network(), GradientNorms(path=path / "gradients.f32", updates=True), Probes(x[:8], y[:8])
    remembering = [
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.1),
        keras.callbacks.EarlyStopping("loss", patience=EPOCHS, restore_best_weights=True),
    ]
    checkpoint = Checkpoint(path / "checkpoint.npz", remembering, probes)
    done, over = checkpoint.restore(model)
    assert not over
    if done:
        norms.resume(done)
    callbacks = [norms, probes, *remembering, checkpoint]
    model.fit(x, y, batch_size=8, epochs=epochs, initial_epoch=done, verbose=0, shuffle=False, callbacks=callbacks)
    return model, norms.history, probes.results


def test_a_training_that_was_cut_off_takes_the_same_steps(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    expected, history, probes = training(whole, EPOCHS)
    training(parts, CUT)

    model, resumed, resumed_probes = training(parts, EPOCHS)

    for variable, other in zip(expected.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(other, variable)
    np.testing.assert_array_equal(resumed.variable_norms, history.variable_norms)
    np.testing.assert_array_equal(resumed.losses, history.losses)
    np.testing.assert_array_equal(resumed.update_norms, history.update_norms)
    assert list(resumed.epoch_ends) == list(history.epoch_ends) == [5 * (e + 1) for e in range(EPOCHS)]
    assert [p.loss for p in resumed_probes] == [p.loss for p in probes]
    assert float(model.optimizer.learning_rate) == float(expected.optimizer.learning_rate) < 0.05


def test_what_stands_in_a_checkpoint_is_whole(tmp_path):
    training(tmp_path, 1)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.new.npz").write_bytes(before[: len(before) // 2])  # as a full disk or kill -9 leaves it
    model, history, _ = training(tmp_path, 2)
    assert len(history) == 10
    assert int(model.optimizer.iterations) == 10
