"""What must and must not be said, a row each: trainings as a user writes them, judged without being told a baseline."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from autodiff import BACKEND
from keras import layers, ops
from test_sound_models import (
    BATCH,
    LOGITS,
    RNG,
    SICK,
    accuracy,
    cancer,
    convolution,
    diabetes,
    digits,
    fresh,
    functional,
    mlp,
    r2,
    relu,
    rows_transformer,
    sequential,
    standard,
    train,
)

from zoo import GradientNorms, diagnose, probe
from zoo.models import resnet
from zoo.telemetry.probe import Probes

SENTENCES: dict[str, str] = {}  # every sentence of this file; the last test reads them


def judged(history=None, probes=()):
    verdict = diagnose(history, probes)
    SENTENCES[verdict.sentence] = verdict.name
    return verdict


@dataclasses.dataclass(frozen=True)
class Said:
    """A training, what is said of it, and what was said before its first step."""

    model: keras.Model
    history: object
    probes: list
    verdict: object
    first: object


def trained(make, x, y, optimizer="adam", loss=LOGITS, **fit) -> Said:
    model = fresh(make)
    history, probes = train(model, x, y, keras.optimizers.get(optimizer), loss, **fit)
    return Said(model, history, probes, judged(history, probes), judged(probes=probes[:1]))


def deep(depth, activation, *, factor=1.0, initializer="glorot_uniform", bias=0.0, width=64, inputs=64, head=10):
    """Layers h1, h2, ... of one kind, whose kernels are `factor` times what the initializer makes, and logits."""

    def layer(i):
        made = keras.initializers.get(initializer)

        def kernel(shape, dtype=None):
            return factor * made.clone()(shape, dtype=dtype)

        return layers.Dense(width, activation, kernel_initializer=kernel, bias_initializer=constant(bias), name=f"h{i}")

    return sequential((inputs,), *[layer(i) for i in range(1, depth + 1)], layers.Dense(head, name="out"))


def normal(stddev):
    return keras.initializers.RandomNormal(stddev=stddev, seed=None)


def constant(value):
    return keras.initializers.Constant(value)


def adam(rate):
    return {"class_name": "Adam", "config": {"learning_rate": rate}}


def sgd(rate):
    return {"class_name": "SGD", "config": {"learning_rate": rate}}


def advice(verdict) -> str:
    return " | ".join(map(str, [*verdict.remedies, *getattr(verdict, "cures", [])]))


# Too few steps.


def normalized():
    parts = [p for _ in range(3) for p in (layers.Dense(64), layers.BatchNormalization(), layers.ReLU())]
    return sequential((64,), *parts, layers.Dense(10))


def convolutions():
    return sequential(
        (64,),
        layers.Reshape((8, 8, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(32, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    )


def residual():
    def call(x):
        x = layers.ReLU()(convolution(layers.Reshape((8, 8, 1))(x), 16))
        for _ in range(2):
            x = layers.ReLU()(layers.Add()([x, convolution(layers.ReLU()(convolution(x, 16)), 16)]))
        return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))

    return functional(call, (64,))


SOUND = {
    "relu": lambda: mlp(layers.Dense(10)),
    "tanh": lambda: deep(3, "tanh"),
    "normalized": normalized,
    "ten layers": lambda: deep(10, "relu", initializer="he_normal"),
}
MORE = SOUND | {
    "linear": lambda: sequential((64,), layers.Dense(10)),
    "selu": lambda: deep(6, "selu", initializer="lecun_normal"),
    "dropout": lambda: sequential((64,), relu(), layers.Dropout(0.5), layers.Dense(10)),
    "convolutions": convolutions,
    "residual": residual,
    "gru": lambda: sequential((64,), layers.Reshape((8, 8)), layers.GRU(32), layers.Dense(10)),
}
NEEDED = r"(\d+)(?: \w+)? (?:steps|are needed)"  # the number of steps that a sentence names


def recorded(make, steps, *callbacks):
    """Train by so many steps, in as many `fit` as there are numbers; yield the model after each."""
    x, y = digits()
    model, done = fresh(make), 0
    model.compile(keras.optimizers.SGD(1e-3), LOGITS, **({"jit_compile": False} if BACKEND == "tensorflow" else {}))
    for until in steps:
        rows = slice(BATCH * done, BATCH * until)
        model.fit(x[rows], y[rows], batch_size=BATCH, verbose=0, callbacks=list(callbacks))
        done = until
        yield model


@pytest.mark.parametrize("name", SOUND)
def test_few_steps(name):
    x, y = digits()
    norms, probes, numbers = GradientNorms(), Probes(x[:64], y[:64]), (1, 5, 9, 24)
    for steps, model in zip(numbers, recorded(SOUND[name], numbers, norms, probes), strict=True):
        assert len(norms.history) == steps
        verdict, first = judged(norms.history, probes.results), judged(probes=probes.results[:1])
        assert first.name not in SICK, first.sentence
        assert verdict.name not in SICK, f"after {steps}: {verdict.sentence}"
        learned = accuracy(model, x, y)
        assert learned < 0.3, f"{learned:.2f} after {steps}"
        if learned < 0.2:
            assert verdict.name == "undecided", f"after {steps}: {verdict.sentence}"
            assert any(int(n) > steps for n in re.findall(NEEDED, verdict.sentence)), verdict.sentence
        assert not re.search(r"\b1 steps", verdict.sentence)


@pytest.mark.parametrize("name", MORE)
def test_few_steps_without_probes(name):
    norms = GradientNorms()
    list(recorded(MORE[name], [9], norms))
    for steps in (1, 2, 5, 9):
        verdict = judged(norms.history.rows(slice(0, steps)))
        assert verdict.name != "stalled", f"after {steps}: {verdict.sentence}"


def test_nine_steps_of_chance():
    x, y = digits()
    said = trained(lambda: mlp(layers.Dense(10)), x, y, sgd(1e-4), steps_per_epoch=9)
    learned = accuracy(said.model, x, y)
    assert learned < 0.17, f"{learned:.2f}"
    assert said.verdict.name != "healthy", said.verdict.sentence


# Not learned, whatever the loss does.


def times(factor):
    return lambda: (factor * digits()[0], digits()[1])


def of_rows():
    return digits((8, 8))[0], digits()[1]


FAR = {
    "12 sigmoids of small weights": (lambda: deep(12, "sigmoid", initializer=normal(0.01)), adam(1e-3), digits),
    "25 ELUs of large weights": (lambda: deep(25, "elu", factor=4.0), adam(1e-5), digits),
    "20 tanhs of weights 5 times too large": (lambda: deep(20, "tanh", factor=5.0), sgd(1e-3), digits),
    "tanhs of inputs times 500": (lambda: deep(4, "tanh"), sgd(1e-4), times(500)),
    "sigmoids of inputs times 500": (lambda: deep(4, "sigmoid"), sgd(1e-2), times(500)),
    "pre-LN at 1e-7": (lambda: rows_transformer(1), adam(1e-7), of_rows),
    "post-LN at 0.1": (lambda: rows_transformer(2, post=True), adam(0.1), of_rows),
}


def some_slow(names, slow):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in names]


@pytest.mark.parametrize("name", some_slow(FAR, ("25 ELUs of large weights", "pre-LN at 1e-7", "post-LN at 0.1")))
def test_far_from_learned(name):
    make, optimizer, data = FAR[name]
    x, y = data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits="LN" not in name)
    said = trained(make, x, y, optimizer, loss, epochs=2)
    learned = accuracy(said.model, x, y)
    assert learned < 0.2, f"{learned:.2f}"
    assert said.verdict.name != "healthy", f"{learned:.2f}: {said.verdict.sentence}"


def test_biases_below_zero():
    x, y = digits()
    said = trained(lambda: deep(8, "relu", initializer="he_normal", bias=-3.0), x, y, epochs=2)
    assert all(p.dead[p.has_kernel][:-1].min() == 1 for p in said.probes)
    assert said.first.name == said.verdict.name == "dead", f"{said.first.sentence} {said.verdict.sentence}"
    assert said.verdict.layer == "h1"


class Experts(layers.Layer):
    """Sends each sample to one expert; the last is chosen by none."""

    def __init__(self):
        super().__init__()
        self.router = layers.Dense(4, name="router", bias_initializer=lambda s, dtype: ops.array([0.0, 0, 0, -99]))
        self.experts = [relu(name=f"expert{i}") for i in range(4)]

    def build(self, shape):
        for part in (self.router, *self.experts):
            part.build(shape)

    def call(self, x):
        gates = ops.softmax(self.router(x))
        chosen = ops.one_hot(ops.argmax(gates, axis=-1), 4, dtype=x.dtype) * gates
        return sum(expert(x) * chosen[:, i : i + 1] for i, expert in enumerate(self.experts))


def test_an_expert_without_samples():
    x, y = digits()
    model = fresh(lambda: sequential((64,), relu(), Experts(), layers.Dense(10)))
    model.compile("adam", LOGITS, **({"jit_compile": False} if BACKEND == "tensorflow" else {}))
    first = probe(model, x[:64], y[:64])
    assert first.gradient_norm[first.layers.index("expert3")] == 0
    verdict = judged(probes=[first])
    assert verdict.name not in SICK, verdict.sentence


# Along time.


def adding(steps, samples=320):
    """The sum of the two numbers that are marked (Hochreiter & Schmidhuber 1997)."""
    rng = RNG()
    x = np.stack([rng.uniform(size=(samples, steps)), np.zeros((samples, steps))], -1).astype("float32")
    for row in x:
        row[[rng.integers(0, steps // 2), rng.integers(steps // 2, steps)], 1] = 1
    return x, np.sum(x[..., 0] * x[..., 1], axis=1, keepdims=True)


def recalling(steps, samples=320):
    """Symbols, and the first of them."""
    x = RNG().integers(0, 8, (samples, steps))
    return x, x[:, 0]


def recurrent(kernel, *, activation="tanh", units=16, inputs=2, head=1):
    cell = layers.SimpleRNN(units, activation, recurrent_initializer=kernel, name="rnn")
    first = [layers.Embedding(8, 16)] if inputs is None else []
    shape = (None,) if inputs is None else (None, inputs)
    return sequential(shape, *first, cell, layers.Dense(head, name="out"), dtype=None if inputs else "int32")


FORGETFUL = {
    "adding": (lambda: recurrent(normal(0.02)), lambda: adding(200), "mse"),
    "recalling": (lambda: recurrent(normal(0.05), inputs=None, head=8), lambda: recalling(100), LOGITS),
}


@pytest.mark.parametrize("name", FORGETFUL)
def test_forgotten_along_time(name):
    make, data, loss = FORGETFUL[name]
    said = trained(make, *data(), adam(1e-3), loss, epochs=2, batch_size=16)
    (time,) = said.probes[0].times
    assert time.arriving < 1e-6 and time.slope > 0.1
    assert said.first.name in ("vanishing", "undecided"), said.first.sentence
    assert (said.verdict.name, said.verdict.layer) == ("vanishing", "rnn"), said.verdict.sentence
    assert "along time" in said.verdict.sentence
    assert "optimizer=adam" not in advice(said.verdict)


def five_times_orthogonal(shape, dtype=None):
    return 5 * keras.initializers.Orthogonal(seed=1)(shape, dtype=dtype)


@pytest.mark.parametrize("activation, steps", [("tanh", 40), ("relu", 16)])
def test_exploding_along_time(activation, steps):
    make = lambda: recurrent(five_times_orthogonal, activation=activation)  # noqa: E731
    said = trained(make, *adding(steps), adam(1e-5), "mse", epochs=2, batch_size=16)
    for found in said.probes:
        (time,) = found.times
        assert time.slope < -0.05 and time.delta_norm[0] > 1e3 * time.delta_norm[-1]
    assert said.first.name in ("exploding", "undecided"), said.first.sentence
    assert (said.verdict.name, said.verdict.layer) == ("exploding", "rnn"), said.verdict.sentence


# Sound, though it looks otherwise.


def test_an_easy_first_batch():
    x, y = diabetes()
    y = standard(y)
    order = np.argsort(np.abs(y[:, 0]))
    order = np.concatenate([order[:32], RNG().permutation(order[32:])])
    make = lambda: sequential((10,), relu(), layers.Dense(1, kernel_initializer="zeros"))  # noqa: E731
    said = trained(make, x[order], y[order], sgd(1e-2), "mse", shuffle=False, epochs=3)
    assert said.history.losses[0] < 0.05 * np.median(said.history.losses)
    assert r2(said.model, x, y) > 0.2
    for verdict in (said.verdict, judged(said.history), judged(said.history.rows(slice(0, 9)), said.probes[:1])):
        assert verdict.name not in SICK, verdict.sentence


@pytest.mark.parametrize("data, rate, share", [("digits", 1e-3, 0.9), ("cancer", 3e-3, 0.4)])
def test_twenty_layers_on_their_way(data, rate, share):
    """24 steps, after which the loss is a tenth lower, or down to well below half."""
    x, y = {"digits": digits, "cancer": cancer}[data]()
    loss = LOGITS if data == "digits" else keras.losses.BinaryCrossentropy(from_logits=True)
    head, inputs = (10, 64) if data == "digits" else (1, 30)
    make = lambda: deep(20, "relu", initializer="he_normal", inputs=inputs, head=head)  # noqa: E731
    said = trained(make, x, y, adam(rate), loss, steps_per_epoch=24, batch_size=32 if head > 1 else 23)
    losses = said.history.losses
    assert len(losses) == 24
    assert losses[-3:].mean() < share * losses[:3].mean(), f"{losses[:3].mean():.3f} to {losses[-3:].mean():.3f}"
    for verdict in (said.first, said.verdict, judged(said.history)):
        assert verdict.name not in SICK, verdict.sentence


@pytest.mark.slow
def test_two_steps_of_a_resnet():
    x, y = digits((8, 8, 1))
    said = trained(lambda: resnet((8, 8, 1), 10, depth=20), x, y, steps_per_epoch=2, batch_size=64)
    for verdict in (said.first, said.verdict, judged(said.history)):
        assert verdict.name not in SICK, verdict.sentence


# The data.


def with_value(value):
    x = digits()[0].copy()
    x[5, 3] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_an_input_that_is_no_number(value):
    said = trained(lambda: mlp(layers.Dense(10)), with_value(value), digits()[1])
    for verdict in (said.first, said.verdict):
        told = f"{verdict.cause} {verdict.sentence}"
        assert verdict.name != "healthy"
        assert "input" in verdict.sentence, told
        if value != 1e38:
            assert "finite" in verdict.sentence, told
        assert "weights" not in told and "learning rate" not in told


def test_the_same_input_for_every_sample():
    x, y = digits()
    said = trained(lambda: mlp(layers.Dense(10)), np.repeat(x[:1], len(x), axis=0), y, epochs=2)
    for verdict in (said.first, said.verdict):
        assert re.search(r"input is the same for (every|all \d+) sample", verdict.sentence), verdict.sentence
        assert "learning rate" not in verdict.sentence


CONSTANT = {
    "class": (10, LOGITS, lambda: np.full(1280, 3)),
    "number": (1, "mse", lambda: np.ones((1280, 1), "float32")),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_the_same_target_for_every_sample(name):
    units, loss, targets = CONSTANT[name]
    said = trained(lambda: mlp(layers.Dense(units)), digits()[0], targets(), adam(3e-3), loss, epochs=2)
    assert re.search("target|label", said.verdict.sentence), said.verdict.sentence
    assert "learning rate" not in f"{said.verdict.cause} {said.verdict.sentence}"


# Advice, and the place.


def test_advice_is_not_what_already_is():
    x, y = digits()
    said = trained(lambda: mlp(layers.Dense(10)), x, y, adam(1e-7), epochs=4)
    assert accuracy(said.model, x, y) < 0.2
    assert said.verdict.name == "stalled", said.verdict.sentence
    assert "optimizer=adam" not in advice(said.verdict) and "Adam" not in advice(said.verdict)
    assert advice(said.verdict)


def one_layer_below_zero():
    model = deep(6, "relu", initializer="he_normal")
    model.get_layer("h3").bias.assign(np.full(64, -100.0))
    return model


PLACES = {
    "8 sigmoids": lambda: deep(8, "sigmoid"),
    "20 sigmoids": lambda: deep(20, "sigmoid"),
    "small weights, relu": lambda: deep(6, "relu", factor=0.05),
    "small weights, tanh": lambda: deep(6, "tanh", factor=0.05),
    "large weights, relu": lambda: deep(8, "relu", initializer="he_normal", factor=4.0),
    "large weights, elu": lambda: deep(8, "elu", factor=5.0),
    "30 relus of Glorot": lambda: deep(30, "relu"),
    "saturated tanhs": lambda: deep(6, "tanh", bias=8.0),
    "saturated sigmoids": lambda: deep(6, "sigmoid", factor=30.0),
    "biases below zero": lambda: deep(8, "relu", initializer="he_normal", bias=-3.0),
    "one layer below zero": one_layer_below_zero,
    "20 tanhs of large weights": lambda: deep(20, "tanh", factor=5.0),
}


@pytest.mark.parametrize("name", some_slow(PLACES, ("20 sigmoids", "30 relus of Glorot", "20 tanhs of large weights")))
def test_one_run_one_layer(name):
    said = trained(PLACES[name], *digits(), adam(1e-4))
    assert said.first.name in SICK, said.first.sentence
    if said.first.name == said.verdict.name:
        assert said.first.layer == said.verdict.layer, f"{said.first.sentence} {said.verdict.sentence}"


def test_every_sentence():
    """Of those that the tests before it, in this process, made."""
    wrong = []
    for sentence in SENTENCES:
        ratios = [float(n) for n in re.findall(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:-fold| times)", sentence)]
        shares = [float(n) for n in re.findall(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?) ?%", sentence)]
        if (
            re.search(r"\b(nan|inf|None|NaN|1 steps)\b", sentence)
            or any(n > 1e12 for n in ratios)
            or any(not 0 <= share <= 1000 for share in shares)
        ):
            wrong.append(sentence)
    assert not wrong, "\n".join(wrong)
