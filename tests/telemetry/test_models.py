"""`GradientNorms` and the probe on every kind of model and data, against derivatives taken by hand."""

import contextlib

import keras
import numpy as np
import pytest
from autodiff import BACKEND, norm, value_and_gradients

from zoo import GradientNorms, diagnose, probe
from zoo.telemetry.probe import Prober

BATCH, CLASSES = 6, 4
SEQUENCE = (5, 7)  # steps, features


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(5)


def samples(*shape, n=BATCH):
    return np.random.default_rng(0).normal(size=(n, *shape)).astype("float32")


def classes(n=BATCH):
    return np.random.default_rng(1).integers(0, CLASSES, n)


def sequential():
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((7,)), layers.Dense(8, activation="relu"), layers.Dropout(0.3), layers.Dense(CLASSES)]
    )


def shared():
    x = keras.Input((7,))
    dense = keras.layers.Dense(7, activation="tanh", name="twice")
    return keras.Model(x, keras.layers.Dense(CLASSES)(dense(dense(x))))


def nested():
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.BatchNormalization()])
    outer = keras.Sequential([keras.Input((8,)), inner, keras.layers.Activation("tanh"), keras.layers.Dense(8)])
    x = keras.Input((7,))
    return keras.Model(x, keras.layers.Dense(CLASSES)(outer(keras.layers.Dense(8, activation="relu")(x))))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Layers in a list, a weight of its own, a penalty on an activation; no weights before its first batch."""

    def __init__(self):
        super().__init__()
        self.hidden = [keras.layers.Dense(8, activation="tanh") for _ in range(2)]
        self.last = keras.layers.Dense(CLASSES)

    def build(self, shape):
        self.scale = self.add_weight(shape=(8,), initializer="ones", name="scale")
        super().build(shape)

    def call(self, x, training=False):
        for layer in self.hidden:
            x = layer(x) * self.scale
        self.add_loss(0.01 * keras.ops.mean(x**2))
        return self.last(x)


def recurrent():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SEQUENCE),
            layers.LSTM(6, return_sequences=True),
            layers.Bidirectional(layers.GRU(4)),
            layers.Dense(CLASSES),
        ]
    )


def transformer(dropout=0.1):
    """Two pre-norm blocks over token numbers (Vaswani et al. 2017; pre-norm: Xiong et al. 2020)."""
    layers = keras.layers
    tokens = keras.Input((8,), dtype="int32")
    positions = keras.ops.zeros_like(tokens) + keras.ops.arange(8)  # arange alone would be embedded here and now
    x = layers.Embedding(11, 12)(tokens) + layers.Embedding(8, 12)(positions)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(3, 4)(y, y, use_causal_mask=True)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(12)(layers.Dense(24, activation="gelu")(y))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(tokens, layers.Dense(CLASSES)(layers.Dropout(dropout)(x)))


MODELS = {
    "sequential": (sequential, lambda: samples(7)),
    "shared": (shared, lambda: samples(7)),
    "nested": (nested, lambda: samples(7)),
    "subclassed": (Subclassed, lambda: samples(7)),
    "recurrent": (recurrent, lambda: samples(*SEQUENCE)),
    "transformer": (transformer, lambda: np.random.default_rng(0).integers(0, 11, (BATCH, 8))),
}


def compiled(model, loss=None, optimizer=None, **options):
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(0.05), loss, **options)
    return model


def same_dropout():
    """Within it, torch's own generator, from which Keras draws dropout there, is not advanced."""
    if BACKEND != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.random.fork_rng(devices=[])


def by_hand(model, x, y, loss) -> tuple[float, list[float]]:
    """Return loss and gradient norms of one training step that is not made; the model's state stays as it is."""
    state = [v for v in model.variables if not v.trainable]
    before = [keras.ops.copy(v.value) for v in state]
    # Keras' own step hands tensors on, and so must this one: a loss treats arrays differently on torch.
    x, y = keras.tree.map_structure(keras.ops.convert_to_tensor, (x, y))
    with same_dropout():
        value, grads = value_and_gradients(
            lambda: loss(y, model(x, training=True)) + sum(model.losses), model.trainable_variables
        )
    for variable, old in zip(state, before, strict=True):
        variable.assign(old)
    return float(value), [norm(g) for g in grads]


def check_step_and_probe(model, x, y, *, steps=1):
    """Compare the first of `steps` steps, and a probe before it, with the derivatives taken by hand.

    Returns:
        The probes before the first and after the last step, and the history.
    """
    loss, expected = by_hand(model, x, y, model.loss)
    atol = 1e-6 * max(expected)  # of biases before a normalization the gradient is zero, give or take rounding
    measure, norms = Prober(model), GradientNorms()
    before = measure(x, y)
    with norms.watch(model):  # `fit` draws from torch's generator, which would change the dropout
        for _ in range(steps):
            model.train_on_batch(x, y)
    history = norms.history
    assert len(history) == steps
    np.testing.assert_allclose(history.losses[0], loss, rtol=1e-5)
    np.testing.assert_allclose(history.variable_norms[0], expected, rtol=1e-5, atol=atol)
    np.testing.assert_allclose(before.loss, loss, rtol=1e-5)
    assert before.layers == history.layers
    np.testing.assert_allclose(before.gradient_norm, history.norms[0], rtol=1e-5, atol=atol)
    return before, measure(x, y), history


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model(name):
    make, data = MODELS[name]
    model, x, y = compiled(make()), data(), classes()
    model(x)
    measured, _, history = check_step_and_probe(model, x, y)
    own = [layer == model.name for layer in history.layers]  # weights of the model itself: it has no output to probe
    assert np.isfinite(measured.delta_norm[~np.array(own)]).all()
    assert np.isnan(measured.delta_norm[own]).all()
    assert sum(own) == (name == "subclassed")


def test_a_model_gets_its_weights_with_its_first_batch():
    x, y = samples(7), classes()
    model, norms = compiled(Subclassed()), GradientNorms()
    model.fit(x, y, batch_size=BATCH, verbose=0, epochs=2, callbacks=[norms])
    assert norms.history.norms.shape == (2, 4) and (norms.history.norms > 0).all()
    assert len(probe(compiled(Subclassed()), x, y).layers) == 4
    model = compiled(Subclassed())
    with norms.watch(model):
        model.train_on_batch(x, y)
    assert norms.history.norms.shape == (1, 4) and (norms.history.norms > 0).all()


def test_several_inputs_and_outputs():
    first, second = keras.Input((7,), name="first"), keras.Input((3,), name="second")
    body = keras.layers.Dense(8, activation="tanh")(keras.layers.Concatenate()([first, second]))
    outputs = {
        "class": keras.layers.Dense(CLASSES, name="class")(body),
        "size": keras.layers.Dense(1, name="size")(body),
    }
    model = keras.Model({"first": first, "second": second}, outputs)
    of_class, of_size = keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.losses.MeanSquaredError()
    compiled(model, {"class": of_class, "size": of_size}, loss_weights={"class": 1.0, "size": 0.5})
    x = {"first": samples(7), "second": samples(3)}
    y = {"class": classes(), "size": samples(1)}
    both = lambda y, p: of_class(y["class"], p["class"]) + 0.5 * of_size(y["size"], p["size"])  # noqa: E731
    loss, expected = by_hand(model, x, y, both)
    measured, norms = probe(model, x, y), GradientNorms()
    model.fit(x, y, batch_size=BATCH, verbose=0, shuffle=False, callbacks=[norms])
    np.testing.assert_allclose(norms.history.variable_norms, [expected], rtol=1e-5)
    np.testing.assert_allclose([measured.loss, norms.history.losses[0]], loss, rtol=1e-5)
    np.testing.assert_allclose(measured.gradient_norm, norms.history.norms[0], rtol=1e-5)


def batches(x, y):
    return [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)]


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.batches = batches(x, y)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def from_tf_data(x, y):
    tf = pytest.importorskip("tensorflow")
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)}


def from_torch(x, y):
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return {"x": torch.utils.data.DataLoader(dataset, batch_size=BATCH)}


SOURCES = {
    "arrays": lambda x, y: {"x": x, "y": y, "batch_size": BATCH, "shuffle": False},
    "tf.data": from_tf_data,
    "PyDataset": lambda x, y: {"x": Batches(x, y), "shuffle": False},
    "generator": lambda x, y: {"x": (batch for _ in range(2) for batch in batches(x, y)), "steps_per_epoch": 3},
    "generator that ends": lambda x, y: {"x": (batch for batch in batches(x, y)), "epochs": 1},
    "DataLoader": from_torch,
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_data(source):
    x, y = samples(7, n=3 * BATCH), classes(3 * BATCH)
    arguments = {"epochs": 2, **SOURCES[source](x, y)}
    steps = 3 * arguments["epochs"]
    model, twin = compiled(sequential_without_dropout()), compiled(sequential_without_dropout())
    twin.set_weights(model.get_weights())
    expected = []
    for step in range(steps):
        xb, yb = batches(x, y)[step % 3]
        expected.append(by_hand(twin, xb, yb, twin.loss)[1])
        twin.train_on_batch(xb, yb)
    norms = GradientNorms()
    model.fit(**arguments, verbose=0, callbacks=[norms])
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-5)
    assert norms.history.epoch_ends.tolist() == [3, 6][: arguments["epochs"]]


def sequential_without_dropout():
    return keras.Sequential([keras.Input((7,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(CLASSES)])


def test_weighted_samples_and_classes():
    x, y, weights = samples(7), classes(), np.linspace(0, 2, BATCH).astype("float32")
    model, norms = compiled(sequential_without_dropout()), GradientNorms()
    _, expected = by_hand(model, x, y, lambda y, p: model.loss(y, p, sample_weight=weights))
    model.fit(x, y, batch_size=BATCH, sample_weight=weights, verbose=0, shuffle=False, callbacks=[norms])
    np.testing.assert_allclose(norms.history.variable_norms, [expected], rtol=1e-5)


def test_an_optimizer_of_ones_own():
    @keras.saving.register_keras_serializable("tests")
    class Signs(keras.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * keras.ops.sign(gradient))

    x, y = samples(7), classes()
    model, norms = sequential_without_dropout(), GradientNorms(updates=True)
    model.compile(Signs(0.001), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    _, expected = by_hand(model, x, y, model.loss)
    model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[norms])
    np.testing.assert_allclose(norms.history.variable_norms, [expected], rtol=1e-5)
    sizes = [np.sqrt(np.prod(v.shape)) for v in model.trainable_variables]
    np.testing.assert_allclose(norms.history.update_norms[0], 0.001 * np.array(sizes), rtol=1e-2)


def test_two_records_of_one_training_are_refused():
    x, y = samples(7), classes()
    with pytest.raises(RuntimeError, match="one GradientNorms"):
        compiled(sequential()).fit(x, y, verbose=0, callbacks=[GradientNorms(), GradientNorms(updates=True)])


def test_a_train_step_that_leaves_the_optimizer_out_is_refused():
    class Idle(keras.Model):
        def train_step(self, *arguments):
            if BACKEND == "jax":
                return {"loss": 0.0}, arguments[0]
            return {"loss": 0.0}

    base = sequential()
    with pytest.raises(RuntimeError, match="does not apply"):
        compiled(Idle(base.inputs, base.outputs)).fit(samples(7), classes(), verbose=0, callbacks=[GradientNorms()])


# At 32 x 32 the last maps are single pixels: too few for batch normalization, and quick where there is none.
SIDES = {"MobileNetV3Small": 64, "EfficientNetB0": 64, "ConvNeXtTiny": 32}


def application(name, side):
    make = getattr(keras.applications, name)
    options = {"weights": None, "classes": CLASSES, "classifier_activation": None}
    return lambda: make(input_shape=(side, side, 3), **options), lambda: 64 * samples(side, side, 3) + 128, 0.001


PUBLIC = {
    **{
        name: application(name, side)
        for name, side in SIDES.items()
        if name == "MobileNetV3Small" or BACKEND != "jax"  # XLA compiles the larger ones for minutes
    },
    "transformer": (*MODELS["transformer"], 0.01),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_public_models_are_measured_right_and_healthy(name):
    make, data, rate = PUBLIC[name]
    model, x, y = compiled(make(), optimizer=keras.optimizers.Adam(rate)), data(), classes()
    before, after, history = check_step_and_probe(model, x, y, steps=10)
    assert len(history.layers) > (10 if name == "transformer" else 50)
    kernels = before.has_kernel
    assert np.isfinite(before.delta_norm[kernels]).all() and (before.delta_norm[kernels] > 0).all()
    verdict = diagnose(history, [before, after])
    assert verdict.name in ("healthy", "undecided"), verdict.sentence  # ten steps may be too few to tell
    # One batch, seen again and again, is soon known by heart; dropped paths make single losses leap.
    assert np.median(history.losses[-5:]) < 0.5 * history.losses[0]


@pytest.mark.skipif(BACKEND == "torch", reason="nothing is compiled there")
def test_a_pass_is_traced_once_however_many_probes_there_are():
    """On TensorFlow after some probes that run operation by operation, which is sooner done than to trace."""

    class Counting(keras.layers.Dense):
        passes = 0

        def call(self, x):
            Counting.passes += 1
            return super().call(x)

    x, y = samples(7), classes()
    model = keras.Sequential([keras.Input((7,)), Counting(8, activation="relu"), keras.layers.Dense(CLASSES)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    measure = Prober(model)
    first = measure(x, y)
    eagerly = [measure(x, y) for _ in range(5 if BACKEND == "tensorflow" else 0)]
    model.fit(x, y, verbose=0)  # makes the optimizer's slots and the metrics
    passes = Counting.passes
    second = measure(x, y)
    assert Counting.passes == passes > 0
    assert second.loss < first.loss
    for p in eagerly:
        np.testing.assert_allclose(p.delta_norm, first.delta_norm, rtol=1e-5)
