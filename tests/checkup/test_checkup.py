"""The check-up on programs that are sound, and on programs with one thing changed that keeps them from learning."""

import html

import keras
import numpy as np
import pytest
import sklearn.datasets

from zoo import Doctor, check
from zoo.checkup import check as checking
from zoo.telemetry.findings import CAUSES
from zoo.testing import assert_trainable

BACKEND = keras.config.backend()
CROSSENTROPY = "sparse_categorical_crossentropy"


@pytest.fixture(autouse=True)
def raise_what_rules_raise(monkeypatch):
    monkeypatch.setattr(checking, "RAISE", True)


def digits():
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return x[:640].astype("float32") / 16, y[:640]


def net(*parts, units=10, activation="softmax", loss=CROSSENTROPY, optimizer="adam", width=32):
    """A small classifier of the digits; `parts` take the place of its hidden layer."""
    keras.utils.set_random_seed(1)
    hidden = parts or (keras.layers.Dense(width, "relu"),)
    model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(units, activation)])
    model.compile(optimizer, loss, **({"jit_compile": False} if BACKEND == "tensorflow" else {}))
    return model


def dense(**options):
    return keras.layers.Dense(32, "relu", **options)


def frozen():
    model = net()
    model.trainable = False
    return model


def plain_logarithm(y, p):
    """Of exactly right answers it is 0 times minus infinity."""
    one = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y, (-1,)), "int32"), 10)
    return -keras.ops.mean(keras.ops.sum(one * keras.ops.log(p) + (1 - one) * keras.ops.log(1 - p), axis=-1))


def with_holes(x, y):
    x = x.copy()
    x[7, 3] = np.nan
    return x, y


def numbers(x, y):
    return x, (100 * x.sum(1)).astype("float32")


# What is changed in a sound program, and which cause a fault is then found of before the first step.
FAULTS = {
    "softmax over one unit": (lambda: net(units=1, loss="binary_crossentropy"), lambda x, y: (x, y > 4), "output"),
    "no softmax": (lambda: net(activation=None), None, "output"),
    "labels from one on": (net, lambda x, y: (x, y + 1), "labels"),
    "labels scaled": (net, lambda x, y: (x, (y / 255).astype("float32")), "labels"),
    "several labels": (
        lambda: net(loss="categorical_crossentropy"),
        lambda x, y: (x, np.stack([y % (k + 2) == 0 for k in range(10)], 1).astype("float32")),
        "output",
    ),
    "sigmoid for numbers": (lambda: net(units=1, activation="sigmoid", loss="mse"), numbers, "output"),
    "cross-entropy for numbers": (
        lambda: net(units=1, activation="sigmoid", loss="binary_crossentropy"),
        numbers,
        "loss",
    ),
    "a logarithm of zero": (lambda: net(loss=plain_logarithm), None, "loss"),
    "holes in the data": (net, with_holes, "data"),
    "inputs all alike": (net, lambda x, y: (np.ones_like(x), y), "inputs"),
    "one label": (net, lambda x, y: (x, np.zeros_like(y)), "labels"),
    "nothing trains": (frozen, None, "frozen"),
    "one class contradicts": (net, lambda x, y: (np.repeat(x[:64], 10, 0), np.tile(np.arange(10), 64)), "labels"),
    "softmax over samples": (lambda: with_last(keras.layers.Softmax(axis=0)), None, "output"),
    "an error with the wrong sign": (
        lambda: net(units=1, activation=None, loss=lambda y, p: -keras.ops.square(keras.ops.reshape(y, (-1, 1)) - p)),
        lambda x, y: (x, x.sum(1) / 10),
        "loss",
    ),
    "fresh layers that are frozen": (lambda: net(dense(trainable=False)), None, "frozen"),
    "weights of zero": (lambda: net(dense(kernel_initializer="zeros")), None, "initializer"),
    "a rate of zero": (lambda: net(optimizer=keras.optimizers.Adam(0.0)), None, "rate"),
    "Adadelta as Keras has it": (lambda: net(optimizer="adadelta"), None, "optimizer"),
    "dropout of the answers": (
        lambda: with_last(keras.layers.Dropout(0.5)),
        None,
        "regularization",
    ),
}


def with_last(layer):
    model = keras.Sequential([*net().layers, layer])
    model.compile("adam", CROSSENTROPY)
    return model


class Warm(keras.optimizers.schedules.LearningRateSchedule):
    """Grows for 40 steps, then falls; it has no config."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return 0.003 * keras.ops.minimum(step / 40 + 0.01, 40 / (step + 1))


def gated():
    keras.utils.set_random_seed(1)
    x = keras.Input((64,))
    h = keras.layers.Dense(32, "relu")(x)
    scores = keras.layers.Dense(1)(h)
    h = keras.layers.Multiply()([h, keras.layers.Dense(32, "sigmoid")(h), keras.layers.Activation("sigmoid")(scores)])
    model = keras.Model(x, keras.layers.Dense(10, "softmax")(h))
    model.compile("adam", CROSSENTROPY)
    return model


def twins():
    """Probabilities that the model itself makes, behind its last layer: how near two halves of a picture are."""
    keras.utils.set_random_seed(1)
    x = keras.Input((64,))
    each = keras.layers.Dense(16, "relu")
    a, b = each(x[:, :32]), each(x[:, 32:])
    model = keras.Model(x, keras.ops.exp(-keras.ops.sum(keras.ops.square(a - b), axis=1, keepdims=True)))
    model.compile("adam", "binary_crossentropy")
    return model


def ignoring(x, y):
    return x, np.where(np.arange(len(y)) % 9 == 0, -1, y)


def sparse_inputs(x, y):
    wide = np.zeros((len(x), 12_000), np.float32)
    wide[np.arange(len(x)), y * 1000 + np.arange(len(x)) % 7] = 1
    return wide, y


def wide():
    model = keras.Sequential([keras.Input((12_000,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(10, "softmax")])
    model.compile("adam", CROSSENTROPY)
    return model


# Sound programs with something in them that looks like a fault.
SOUND = {
    "zeros before a tanh": (lambda: net(keras.layers.Dense(32, "tanh", kernel_initializer="zeros")), None),
    "labels that the loss ignores": (
        lambda: net(loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)),
        ignoring,
    ),
    "a warm-up of one's own": (lambda: net(optimizer=keras.optimizers.Adam(Warm())), None),
    "few samples and a schedule": (
        lambda: net(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 1000))),
        lambda x, y: (x[:80], y[:80]),
    ),
    "gates and scores": (gated, None),
    "probabilities of its own making": (twins, lambda x, y: (x, (y > 4).astype("float32"))),
    "one-hot inputs of many columns": (wide, sparse_inputs),
    "many small dropouts": (lambda: net(*[keras.layers.Dropout(0.2) for _ in range(12)], dense()), None),
}


def series(n=300, steps=24):
    rng = np.random.default_rng(0)
    x = np.sin(np.linspace(0, 6, steps)[None, :, None] * rng.uniform(0.5, 3, (n, 1, 3)) + rng.uniform(0, 6, (n, 1, 3)))
    return x.astype("float32"), (x[:, -1, 0] > 0).astype("float32")


def recurrent(shape):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(shape), keras.layers.LSTM(8), keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    return model


def test_steps_and_features_that_are_swapped_are_told_apart():
    x, y = series()
    titles = lambda model, x: [finding.title for finding in check(model, x, y).findings]  # noqa: E731
    assert "steps and features swapped" in titles(recurrent((3, 24)), np.swapaxes(x, 1, 2))
    assert "steps and features swapped" not in titles(recurrent((24, 3)), x)


@pytest.mark.parametrize("name", SOUND)
def test_what_looks_like_a_fault_and_is_none(name):
    make, change = SOUND[name]
    x, y = digits() if change is None else change(*digits())
    found = check(make(), x, y)
    assert not found.faults, found


def test_validation_inputs_may_come_without_targets():
    x, y = digits()
    doctor = Doctor(x, y, validation_data=x[:50])
    net().fit(x, y, epochs=12, verbose=0, callbacks=[doctor])
    assert doctor.verdict.name == "healthy"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_before_the_first_step(name):
    make, change, cause = FAULTS[name]
    x, y = digits() if change is None else change(*digits())

    found = check(make(), x, y)

    assert cause in [finding.cause for finding in found.faults], found
    for finding in found.findings:
        assert finding.cause in CAUSES and 0 < finding.confidence <= 1
        assert all(np.isfinite(value) for value in finding.evidence.values())


def test_a_sound_program_has_no_fault_and_learns():
    x, y = digits()
    model, doctor = net(optimizer=keras.optimizers.Adam(0.01)), Doctor(x, y)
    assert_trainable(model, x, y)

    model.fit(x, y, epochs=3, verbose=0, callbacks=[doctor])

    assert doctor.verdict.name == "healthy" and doctor.verdict.cause == ""
    assert not any(finding.fault for finding in doctor.verdict.findings), doctor.verdict.findings


def test_what_is_not_trainable_is_told_by_an_assertion():
    with pytest.raises(AssertionError, match="no trainable weights"):
        assert_trainable(frozen(), *digits())


def test_a_rate_that_is_too_high_is_proved_by_a_lower_one_and_a_page_tells_it(tmp_path):
    x, y = digits()
    model, doctor = net(dense(), dense(), optimizer=keras.optimizers.SGD(20.0)), Doctor(x, y)

    model.fit(x, y, epochs=2, verbose=0, callbacks=[doctor])

    first = doctor.verdict.findings[0]
    page = doctor.to_html(tmp_path / "run.html").read_text(encoding="utf-8")
    assert html.escape(doctor.verdict.sentence) in page and '"probes":{"layers":["dense' in page
    assert '"loss":[' in page and "<script" not in doctor.checkup._repr_html_() + doctor.verdict._repr_html_()
    assert (doctor.verdict.cause, first.cause) == ("rate", "rate")
    assert first.evidence["lower"] < 0.8 < first.evidence["own"] or not np.isfinite(first.evidence["own"])


@pytest.mark.parametrize("looked", [check, lambda model, x, y: Doctor(x, y)])
def test_training_is_bit_for_bit_what_it_is_without(looked):
    x, y = digits()
    parts = [keras.layers.Dense(32, "relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    trained = []
    for with_it in (False, True):
        keras.utils.set_random_seed(1)
        model = net(*[type(part).from_config(part.get_config()) for part in parts])
        found = looked(model, x, y) if with_it else None
        callbacks = [found] if isinstance(found, Doctor) else []
        losses = model.fit(x, y, epochs=2, verbose=0, shuffle=False, callbacks=callbacks).history["loss"]
        trained.append([losses, *map(keras.ops.convert_to_numpy, model.weights)])
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batch_normalization_that_lags_behind_is_told_from_what_was_learned():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 64).astype("float32")
    x = (50 + 5 * rng.normal(size=(128, 64)) + 3 * y[:, None]).astype("float32")
    model = net(
        keras.layers.Dense(16), keras.layers.BatchNormalization(momentum=0.999), keras.layers.ReLU(),
        units=1, activation="sigmoid", loss="binary_crossentropy", optimizer=keras.optimizers.Adam(0.01),
    )  # fmt: skip
    doctor = Doctor(x, y)

    model.fit(x, y, epochs=10, verbose=0, callbacks=[doctor])

    assert doctor.verdict.cause == "normalization", doctor.verdict


def test_a_split_of_sorted_rows_is_told():
    x, y = digits()
    order = np.argsort(y, kind="stable")
    doctor = Doctor(x[order], y[order])

    net(optimizer=keras.optimizers.Adam(0.01)).fit(
        x[order], y[order], validation_split=0.2, epochs=4, verbose=0, callbacks=[doctor]
    )

    assert doctor.verdict.cause == "data" and "sorted" in doctor.verdict.sentence


def test_a_data_set_is_looked_at_as_arrays_are():
    x, y = digits()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(x) // 32

        def __getitem__(self, i):
            return x[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32] + 1

    found = check(net(), Batches())

    assert found.samples == len(x) and found.faults[0].cause == "labels"


def test_what_the_program_itself_raises_is_a_finding():
    found = check(net(), digits()[0][:, :50], digits()[1])

    (first,) = found.faults
    assert first.cause == "code" and "50" in first.sentence
    assert "\x1b" not in first.sentence and "Arguments received" not in first.sentence


class ForTrainingAlone(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(10, "softmax")

    def call(self, x, training=False):
        if not training:
            raise NotImplementedError("not written yet")
        return self.last(x)


def test_a_training_that_the_first_pass_of_inference_would_end_goes_on():
    x, y = digits()
    keras.utils.set_random_seed(1)
    model = ForTrainingAlone()
    model.compile("adam", CROSSENTROPY)
    doctor = Doctor(x, y)

    losses = model.fit(x, y, epochs=2, verbose=0, callbacks=[doctor]).history["loss"]

    assert losses[1] < losses[0] and len(doctor.norms.history) == 40
    assert doctor.verdict.name in ("healthy", "undecided")
    assert not any(finding.fault for finding in doctor.verdict.findings)


def test_metrics_of_each_class_are_no_hindrance():
    x, y = digits()
    model = net()
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None)])
    doctor = Doctor(x, keras.utils.to_categorical(y))

    scores = model.fit(x, keras.utils.to_categorical(y), epochs=10, verbose=0, callbacks=[doctor]).history["f1_score"]

    assert np.shape(scores) == (10, 10) and doctor.verdict.name == "healthy"


def test_mistakes_are_told():
    x, y = digits()
    with pytest.raises(TypeError, match=r"takes a keras\.Model, not a str"):
        check("net", x, y)
    with pytest.raises(RuntimeError, match="compile"):
        check(keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)]), x, y)
    with pytest.raises(ValueError, match="as many targets as inputs"):
        check(net(), x, y[:-1])
    with pytest.raises(ValueError, match="empty"):
        check(net(), x[:0], y[:0])
    with pytest.raises(RuntimeError, match="seen no training"):
        _ = Doctor(x, y).verdict
