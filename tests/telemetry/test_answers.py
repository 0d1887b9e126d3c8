"""What the probe works out from the labels: the best constant answer's loss, accuracy, the majority's share, R2."""

import keras
import numpy as np
import pytest
import sklearn.metrics
from keras import layers

from zoo import diagnose, probe
from zoo.telemetry import answers, setting
from zoo.telemetry.probe import Prober
from zoo.telemetry.probes_file import load_probes, save_probes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
CLASSES = RNG.choice(3, 64, p=(0.5, 0.3, 0.2))
SHARES = np.bincount(CLASSES) / 64
ENTROPY = -np.sum(SHARES * np.log(SHARES))
NUMBERS = (RNG.exponential(size=64) + 0.1).astype("float32")
YES = (CLASSES == 0).astype("float32")
MANY = RNG.integers(0, 2, (64, 4)).astype("float32")


def entropy_of(p):
    return float(np.mean(-p * np.log(p) - (1 - p) * np.log(1 - p)))


def least(cost, low=0.0, high=6.0):
    """The lowest that a constant costs, by trying many."""
    return min(float(np.mean(cost(c))) for c in np.linspace(low, high, 6001))


def huber(c):
    away = np.abs(NUMBERS - c)
    return np.where(away <= 1, away**2 / 2, away - 0.5)


KINDS = {
    "logits": (3, None, CLASSES, keras.losses.SparseCategoricalCrossentropy(from_logits=True), ENTROPY, 1e-5),
    "softmax": (3, "softmax", CLASSES, "sparse_categorical_crossentropy", ENTROPY, 1e-5),
    "one-hot": (3, "softmax", np.eye(3, dtype="float32")[CLASSES], "categorical_crossentropy", ENTROPY, 1e-5),
    "column": (3, "softmax", CLASSES[:, None], "sparse_categorical_crossentropy", ENTROPY, 1e-5),
    "sigmoid": (1, "sigmoid", YES, "binary_crossentropy", entropy_of(YES.mean()), 1e-5),
    "binary logits": (
        1,
        None,
        YES[:, None],
        keras.losses.BinaryCrossentropy(from_logits=True),
        entropy_of(YES.mean()),
        1e-5,
    ),
    "several labels": (4, "sigmoid", MANY, "binary_crossentropy", entropy_of(MANY.mean(0)), 1e-5),
    "mse": (1, None, NUMBERS, "mse", np.var(NUMBERS), 1e-5),
    "mae": (1, None, NUMBERS, "mae", np.mean(np.abs(NUMBERS - np.median(NUMBERS))), 1e-5),
    "huber": (1, None, NUMBERS, "huber", least(huber), 0.02),
    "poisson": (1, "softplus", NUMBERS, "poisson", least(lambda c: c - NUMBERS * np.log(c), 0.05), 0.02),
    "pixels": (6, None, X, "mse", np.mean(np.var(X, axis=0)), 1e-5),
}


def made(units, activation, loss, **options):
    keras.utils.set_random_seed(1)
    penalty = options.pop("penalty", None)
    parts = [layers.Dense(8, "tanh", kernel_regularizer=penalty), layers.Dense(units, activation)]
    model = keras.Sequential([keras.Input((6,)), *parts])
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


@pytest.mark.parametrize("name", KINDS)
def test_the_best_constant_answer(name):
    units, activation, y, loss, expected, rtol = KINDS[name]
    model = made(units, activation, loss)
    p = probe(model, X, y)
    assert p.baseline == pytest.approx(expected, rel=rtol)
    given = keras.ops.convert_to_numpy(model(X))
    if units == 3:
        numbers = y.argmax(-1) if y.shape == (64, 3) else y.reshape(-1)
        assert p.accuracy == sklearn.metrics.accuracy_score(numbers, given.argmax(-1))
        assert p.majority == pytest.approx(SHARES.max())
    elif set(np.unique(y)) == {0, 1}:
        y = y.reshape(given.shape)
        right = [np.mean((given > limit) == y) for limit in ((0.5,) if activation else (0.0, 0.5))]
        assert p.accuracy == pytest.approx(max(right))
    else:
        expected = sklearn.metrics.r2_score(y.reshape(64, -1), given, multioutput="variance_weighted")
        assert p.r2 == pytest.approx(expected, rel=1e-4)


def test_penalties_and_weights_of_losses_are_part_of_it():
    plain = probe(made(3, None, KINDS["logits"][3]), X, CLASSES)
    model = made(3, None, KINDS["logits"][3], penalty=keras.regularizers.L2(0.1), loss_weights=2.0)
    penalty = 0.1 * float(np.sum(np.square(model.layers[0].kernel.numpy() if hasattr(model.layers[0].kernel, "numpy")
                                           else np.asarray(model.layers[0].kernel.value))))  # fmt: skip
    p = probe(model, X, CLASSES)
    assert p.baseline == pytest.approx(2 * plain.baseline + penalty, rel=1e-4)
    assert p.answers.penalties == pytest.approx(penalty, rel=1e-4)


def test_two_heads_together():
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, "tanh")(inputs)
    model = keras.Model(inputs, {"a": layers.Dense(3, name="a")(hidden), "b": layers.Dense(1, name="b")(hidden)})
    losses = {"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "b": "mse"}
    model.compile("sgd", losses, loss_weights={"a": 1.0, "b": 10.0})
    p = probe(model, X, {"a": CLASSES, "b": NUMBERS})
    assert p.baseline == pytest.approx(ENTROPY + 10 * np.var(NUMBERS), rel=1e-4)
    assert 0 <= p.accuracy <= 1 and p.r2 < 1


def test_what_cannot_be_known_is_nan():
    model = made(1, None, lambda y, p: keras.ops.mean(keras.ops.abs(y - p)))
    assert np.isfinite(probe(model, X, NUMBERS[:, None]).baseline)  # one's own loss takes constants too
    y = NUMBERS.copy()
    y[3] = np.nan
    p = probe(made(1, None, "mse"), X, y)
    assert np.isnan(p.baseline) and p.batch.targets_not_finite == pytest.approx(1 / 64)


def test_extreme_logits_are_no_penalty():
    model = made(3, "softmax", "sparse_categorical_crossentropy")
    assert probe(model, 1e4 * X, CLASSES).baseline == pytest.approx(ENTROPY, rel=1e-4)


def test_all_of_it_is_kept_in_the_file(tmp_path):
    first = probe(made(3, "softmax", "sparse_categorical_crossentropy"), X, CLASSES)
    save_probes(tmp_path / "probes.npz", [first, first])
    (again, _) = load_probes(tmp_path / "probes.npz")
    assert (again.accuracy, again.majority, again.baseline) == (first.accuracy, first.majority, first.baseline)
    assert again.batch == first.batch and again.setting == first.setting
    assert again.setting.optimizer == "sgd" and again.setting.rate == pytest.approx(0.1)
    assert diagnose(probes=[again]).sentence == diagnose(probes=[first]).sentence


def test_a_loss_of_ones_own_that_refuses_constants_is_left_in_peace():
    seen = []

    class Refused(Exception):
        pass

    def loss(y, p):
        seen.append(p)
        if len(seen) > 1:  # the training step's own call goes through
            raise Refused("these are no answers of mine")
        return keras.ops.mean(keras.ops.square(y - p))

    p = probe(made(1, None, loss), X, NUMBERS[:, None])
    assert len(seen) > 1 and np.isnan(p.baseline) and np.isfinite(p.loss)


@pytest.mark.parametrize("name", KINDS)
def test_later_probes_know_the_same_with_less_work(name, monkeypatch):
    units, activation, y, loss, _, _ = KINDS[name]
    model = made(units, activation, loss)
    prober, tried = Prober(model), []
    compiled = answers.compiled_loss(model)

    def counted(y, given):
        tried.append(given)
        return compiled(y, given)

    monkeypatch.setattr(answers, "compiled_loss", lambda model: counted)
    prober(X, y)
    first = len(tried)
    model.fit(X, y, epochs=3, verbose=0)
    tried.clear()
    again = prober(X, y)
    assert len(tried) <= 4 and len(tried) < first
    assert again.baseline == pytest.approx(probe(model, X, y).baseline, rel=1e-6)


def test_later_probes_see_what_changed():
    weight = keras.Variable(1.0, trainable=False)
    model = made(3, "softmax", lambda y, p: weight * keras.losses.sparse_categorical_crossentropy(y, p))
    prober = Prober(model)
    assert prober(X, CLASSES).baseline == pytest.approx(ENTROPY, rel=1e-5)
    weight.assign(2.0)  # as it is annealed
    assert prober(X, CLASSES).baseline == pytest.approx(2 * ENTROPY, rel=1e-5)
    others = RNG.permutation(np.repeat([0, 1], 32))
    assert prober(X, others).baseline == pytest.approx(2 * np.log(2), rel=1e-5)
    model.optimizer.learning_rate = 0.03
    model.layers[0].kernel.assign(np.zeros((6, 8)))
    later = prober(X, CLASSES).setting
    assert later.rate == pytest.approx(0.03) and later.zeros == [model.layers[0].name]
    model.layers[0].kernel.assign(np.ones((6, 8)))
    assert not prober(X, CLASSES).setting.zeros
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    last = prober(X, CLASSES)
    assert last.setting.optimizer == "adam" and last.baseline == pytest.approx(ENTROPY, rel=1e-5)


def test_later_probes_look_at_no_weights_of_layers_that_tell_samples_apart(monkeypatch):
    model, seen = made(3, "softmax", "sparse_categorical_crossentropy"), []
    monkeypatch.setattr(setting, "_largest", lambda variable: seen.append(variable) or 0.5)
    prober = Prober(model)
    prober(X, CLASSES)
    assert seen
    seen.clear()
    assert prober(X, CLASSES).setting == prober(X, CLASSES).setting
    assert not seen
