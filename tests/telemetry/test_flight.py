"""The flight recorder names the step, the variable and the sample that failed first, and nothing that did not fail."""

import csv
import dataclasses

import keras
import numpy as np
import pytest

from zoo import GradientHistory, GradientNorms
from zoo.telemetry.flight import BEFORE, flight, last_steps, stand_out

NAN, INF = np.nan, np.inf
VARIABLES = ["first/kernel", "first/bias", "second/kernel", "last/kernel"]


def history(norms, losses=None, epoch_ends=()):
    """A history of (steps,) norms that all four variables share, or of (steps, 4)."""
    norms = np.asarray(norms, np.float32)
    norms = np.repeat(norms[:, None], 4, 1) if norms.ndim == 1 else norms
    return GradientHistory(
        layers=["first", "second", "last"],
        variables=VARIABLES,
        owners=np.array([0, 0, 1, 2]),
        steps=np.arange(len(norms)),
        variable_norms=norms,
        losses=np.ones(len(norms), np.float32) if losses is None else np.asarray(losses, np.float32),
        epoch_ends=np.array(epoch_ends, np.int64),
    )


def test_a_sound_training_has_no_flight():
    assert flight(history(np.ones(50))) is None
    assert flight(history(np.ones(0))) is None
    assert flight(history(np.ones(50), losses=np.full(50, NAN))) is None  # a train step that passes no loss


def test_the_first_step_and_the_variable_next_to_the_output_are_named():
    norms = np.ones((30, 4))
    norms[17] = [NAN, 1, INF, 1]
    norms[18:] = NAN
    losses = np.r_[np.ones(18), np.full(12, NAN)]
    found = flight(history(norms, losses, epoch_ends=[7, 14]))
    assert (found.step, found.epoch, found.batch) == (17, 2, 3)
    assert found.first == "second/kernel" and found.variables == ["second/kernel", "first/kernel"]
    assert (found.loss, found.loss_before, found.global_norm_before) == (1, 1, 2)
    assert np.isnan(found.global_norm)
    assert (found.rises_from, found.grown, found.finite_after) == (17, None, 0)


def test_a_loss_that_fails_comes_before_its_gradients():
    norms, losses = np.ones(20), np.ones(20)
    norms[12:] = losses[12:] = NAN
    found = flight(history(norms, losses, epoch_ends=[12, 20]))
    assert (found.step, found.epoch, found.batch, found.first) == (12, 1, 0, "loss")
    assert found.variables == ["last/kernel", "second/kernel", "first/kernel", "first/bias"]


def test_a_training_that_fails_at_once_has_nothing_before_it():
    found = flight(history([NAN, NAN, NAN], [NAN, NAN, NAN]))
    assert (found.step, found.first, found.loss_before, found.global_norm_before) == (0, "loss", None, None)


def test_a_train_step_without_a_loss_is_judged_by_its_gradients():
    found = flight(history([1, 1, INF, NAN], np.full(4, NAN)))
    assert (found.step, found.first) == (2, "last/kernel")


@pytest.mark.parametrize(
    ("norms", "rises_from"),
    [
        ([1, 1.5, 1, 10, 1e4, 1e9, NAN], 3),
        ([2, 1e30, NAN], 1),
        ([*np.ones(50), 500, 500, 400, 600, NAN], 50),
        ([1, 30, 1, 1, 1, NAN], 5),
    ],
)
def test_a_rise_is_followed_back_to_where_it_began(norms, rises_from):
    norms = np.repeat(np.array(norms)[:, None], 4, 1)
    norms[rises_from:, 2] *= 7
    found = flight(history(norms))
    assert found.step == len(norms) - 1 and found.rises_from == rises_from
    assert found.grown == ("second/kernel" if rises_from < found.step else None)


def test_what_loss_scaling_skips_is_no_crash_unless_it_lasts():
    overflows = np.ones(100)
    overflows[[0, 1, 2, 40, 99]] = INF
    assert flight(history(overflows), loss_scaling=True) is None
    overflows[60:] = INF
    assert flight(history(overflows), loss_scaling=True).step == 60
    assert flight(history(overflows)).step == 0


def test_under_loss_scaling_a_loss_that_is_not_finite_counts_though_training_goes_on():
    norms, losses = np.ones(100), np.ones(100)
    norms[[5, 30]] = INF
    losses[30] = norms[30] = NAN
    found = flight(history(norms, losses), loss_scaling=True)
    assert (found.step, found.first, found.finite_after) == (30, "loss", 69)


def test_under_loss_scaling_what_lasts_comes_before_what_did_not():
    norms, losses = np.ones(100), np.ones(100)
    norms[30] = losses[30] = NAN
    norms[90:], losses[93:] = INF, NAN
    assert flight(history(norms, losses), loss_scaling=True).step == 93
    assert flight(history(norms, losses)).step == 30


def test_what_clipping_makes_finite_is_no_crash():
    norms = np.ones(50)
    norms[[10, 40]] = INF, NAN
    clipped = dataclasses.replace(history(norms), clip_norms=np.column_stack([norms, np.where(norms > 1, 1, norms)]))
    assert flight(clipped).step == 40


@pytest.mark.parametrize("step", [50, 250])
def test_last_steps_end_with_the_one_in_question(step, tmp_path):
    whole = history(np.arange(1, 301), losses=np.arange(300))
    part = last_steps(whole, step)
    first = max(0, step - BEFORE)
    assert part.steps.tolist() == list(range(first, step + 1))
    part.to_csv(tmp_path / "flight.csv")
    with open(tmp_path / "flight.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[:3] == ["step", "loss", "gradient_norm"]
    assert header[3:] == [f"gradient_norm/{layer}" for layer in whole.layers]
    expected = np.column_stack([whole.steps, whole.losses, whole.global_norm, whole.norms])[first : step + 1]
    np.testing.assert_allclose(np.array(rows, float), expected, rtol=1e-6)


def test_samples_stand_out_by_their_largest_value():
    values = np.random.default_rng(0).normal(size=(500, 4, 3)).astype(np.float32)
    values[7, 2, 1], values[8, 0, 0], values[9], values[10] = -1e38, NAN, 0, 50
    assert list(stand_out(values, np.array([3, 7, 10, 9, 8]))) == [8, 7]
    assert stand_out(values, np.array([7])) == {7: np.float32(1e38)}
    assert stand_out(values, np.arange(11, 60)) == {}
    assert stand_out(np.zeros((20, 3)), np.arange(20)) == {}


# Trainings


def train(x, optimizer="sgd", callbacks=(), regression=False):
    keras.utils.set_random_seed(0)
    hidden = [] if regression else [keras.layers.Dense(8, "softplus") for _ in range(2)]
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1 if regression else 2, name="output")])
    model.compile(optimizer, "mse" if regression else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    norms, y = GradientNorms(), np.arange(len(x)) % 2
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[norms, *callbacks])
    return norms.history


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(80, 4)).astype(np.float32)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("value", [NAN, 3e38])
def test_the_step_of_a_poisoned_sample_is_named(x, optimizer, value):
    x[53] = value
    found = flight(train(x, optimizer))
    assert (found.step, found.epoch, found.batch) == (6, 0, 6)
    assert found.variables and (found.rises_from, found.finite_after) == (6, 0)
    assert list(stand_out(x, np.arange(48, 56))) == [53]


def test_a_rate_that_is_too_large_shows_as_a_rise(x):
    recorded = train(x, keras.optimizers.SGD(100.0), regression=True)
    found = flight(recorded)
    before = recorded.global_norm[: found.step]
    assert 0 < found.rises_from < 3 < found.step and np.isfinite(before).all()
    assert before[-1] > 1e3 * before[0] and "output" in found.grown


def test_training_may_end_with_the_step_that_fails(x):
    x[53] = NAN
    recorded = train(x, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert len(recorded) == 7 and flight(recorded).step == 6


def test_float16_overflow_is_skipped_and_a_failing_loss_told(x):
    def train_in_half(x):
        keras.config.set_dtype_policy("mixed_float16")
        try:
            return train(x, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**24))
        finally:
            keras.config.set_dtype_policy("float32")

    recorded = train_in_half(x)
    assert 3 < np.count_nonzero(~np.isfinite(recorded.global_norm)) < 20 and np.isfinite(recorded.losses).all()
    assert flight(recorded, loss_scaling=True) is None

    x[53] = NAN
    found = flight(train_in_half(x), loss_scaling=True)
    assert (found.step, found.first) == (6, "loss") and found.finite_after > 0
