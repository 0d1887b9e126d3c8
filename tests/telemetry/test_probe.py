"""The probe against a gradient tape written by hand."""

import concurrent.futures
import copy
import dataclasses
import pickle

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from zoo import GradientHistory, GradientNorms, diagnose, probe
from zoo.models import densenet, mlp, resnet
from zoo.telemetry.probe import Prober, Probes
from zoo.telemetry.probe_table import MEASURES
from zoo.telemetry.probes_file import load_probes, save_probes

BATCH, CLASSES = 16, 4
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(3)


def batch(*shape):
    rng = np.random.default_rng(0)
    return rng.normal(size=(BATCH, *shape)).astype("float32"), rng.integers(0, CLASSES, BATCH)


def compiled(model, **options):
    model.compile(keras.optimizers.SGD(0.1), LOSS, jit_compile=False, **options)
    return model


def rms(array) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype="float64"))))


def test_a_plain_network_against_backpropagation_by_hand():
    x, y = batch(6)
    model = compiled(mlp((6,), CLASSES, depth=3, width=8, activation="tanh"))
    kernels = [(layer.kernel.numpy(), layer.bias.numpy()) for layer in model.layers if hasattr(layer, "kernel")]
    h, hs, zs = x, [], []
    for i, (w, b) in enumerate(kernels):
        zs.append(h @ w + b)
        h = np.tanh(zs[-1]) if i < 3 else zs[-1]
        hs.append(h)
    softmax = np.exp(h) / np.exp(h).sum(1, keepdims=True)
    delta = softmax - np.eye(CLASSES)[y]
    deltas = [delta]
    for i in (3, 2, 1):
        deltas.insert(0, (deltas[0] @ kernels[i][0].T) * (1 - np.tanh(zs[i - 1]) ** 2))
    p = probe(model, x, y)
    assert p.layers == ["dense_1", "dense_2", "dense_3", "logits"]
    assert p.activations == ["tanh", "tanh", "tanh", ""]
    np.testing.assert_allclose(p.loss, -np.mean(np.log(softmax[np.arange(BATCH), y])), rtol=1e-5)
    np.testing.assert_allclose(p.activation_rms, [rms(h) for h in hs], rtol=1e-5)
    np.testing.assert_allclose(p.activation_mean, [h.mean() for h in hs], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(p.activation_std, [h.std() for h in hs], rtol=1e-5)
    np.testing.assert_allclose(p.output_rms, [rms(z) for z in zs], rtol=1e-5)
    np.testing.assert_allclose(p.variation, [np.sqrt(h.var(0).mean()) / rms(h) for h in hs], rtol=1e-5)
    np.testing.assert_allclose(p.delta_rms, [rms(d) for d in deltas], rtol=1e-5)
    norms = [np.sqrt(np.mean(np.sum(d**2, axis=1))) for d in deltas]
    np.testing.assert_allclose(p.delta_norm, norms, rtol=1e-5)
    inputs = [x, *hs[:3]]
    weights = [
        np.sqrt(np.sum((i.T @ d / BATCH) ** 2) + np.sum(d.mean(0) ** 2)) for i, d in zip(inputs, deltas, strict=True)
    ]
    np.testing.assert_allclose(p.gradient_norm, weights, rtol=1e-5)
    np.testing.assert_allclose(p.arriving, norms[0] / norms[-1], rtol=1e-5)


@pytest.mark.parametrize("activation, inside", [("sigmoid", (0.0127, 0.9873)), ("tanh", (-0.9747, 0.9747))])
def test_saturated_share(activation, inside):
    x, y = batch(6)
    model = compiled(mlp((6,), CLASSES, depth=1, width=50, activation=activation))
    model.layers[1].kernel.assign(3 * model.layers[1].kernel)
    h = keras.Model(model.inputs, model.layers[2].output)(x).numpy()
    p = probe(model, x, y)
    expected = np.mean((h < inside[0]) | (h > inside[1]))
    assert 0.05 < expected < 0.95
    np.testing.assert_allclose(p.saturated[0], expected, atol=2e-3)


@pytest.mark.parametrize("shape", [(6,), (6, 6, 3)])
def test_dead_share_counts_units_and_channels(shape):
    x, y = batch(*shape)
    inputs = keras.Input(shape)
    layer = keras.layers.Dense(10) if len(shape) == 1 else keras.layers.Conv2D(10, 3)
    h = keras.layers.ReLU()(keras.layers.BatchNormalization()(layer(inputs)))
    h = h if len(shape) == 1 else keras.layers.GlobalAveragePooling2D()(h)
    model = compiled(keras.Model(inputs, keras.layers.Dense(CLASSES)(h)))
    model.layers[2].beta.assign([-100.0] * 3 + [0.0] * 7)
    p = probe(model, x, y)
    np.testing.assert_allclose(p.dead, [0.3, 0.3, 0.0])  # convolution and normalization share their activation
    assert p.has_kernel.tolist() == [True, False, True]


MODELS = {
    "sequential": lambda: keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(CLASSES),
        ]
    ),
    "residual mlp": lambda: mlp((6,), CLASSES, depth=5, width=8, residual=2, normalization="batch", dropout=0.2),
    "nested": lambda: _nested(),
    "shared": lambda: _shared(),
    "subclassed": lambda: Subclassed(),
}


def _nested():
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.Activation("tanh")], name="inner")
    x = keras.Input((6,))
    return keras.Model(x, keras.layers.Dense(CLASSES)(inner(keras.layers.Dense(8, activation="relu")(x))))


def _shared():
    x = keras.Input((6,))
    dense = keras.layers.Dense(6, activation="tanh")
    return keras.Model(x, keras.layers.Dense(CLASSES)(dense(dense(x))))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(CLASSES)

    def call(self, x, training=False):
        return self.last(self.drop(keras.ops.relu(self.first(x)), training=training))


@pytest.mark.parametrize("name", MODELS)
def test_delta_of_every_kind_of_model(name):
    """Delta of the last layer is known in closed form; of the others, by differentiating through a perturbation."""
    x, y = batch(6)
    model = compiled(MODELS[name]())
    model(x)
    p = probe(model, x, y)
    assert np.isfinite(p.delta_norm).all() and (p.delta_norm > 0).all()
    if name in ("nested", "shared"):  # no dropout, no moving statistics: the pass can be repeated by hand
        with tf.GradientTape() as tape:
            logits = model(x)
            loss = LOSS(y, logits)
        expected = BATCH * tape.gradient(loss, logits).numpy()
        np.testing.assert_allclose(p.delta_rms[-1], rms(expected), rtol=1e-5)
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        np.testing.assert_allclose(
            p.gradient_norm[0] ** 2, sum(np.sum(g.numpy() ** 2) for g in gradients[:2]), rtol=1e-4
        )


@pytest.mark.parametrize(
    "model",
    [lambda: resnet((8, 8, 3), CLASSES, depth=8), lambda: densenet((8, 8, 3), CLASSES, depth=7, growth=4)],
    ids=["resnet", "densenet"],
)
def test_residual_and_dense_connections(model):
    x, y = batch(8, 8, 3)
    model = compiled(model())
    p = probe(model, x, y)
    assert np.isfinite(p.delta_norm).all() and (p.delta_norm > 0).all()
    assert all(a == "relu" for a, kernel in zip(p.activations[:-2], p.has_kernel[:-2], strict=True) if kernel and a)


def test_a_probe_leaves_model_and_training_as_they_are():
    x, y = batch(6)
    histories = []
    for probed in (False, True):
        keras.utils.set_random_seed(3)
        model = compiled(mlp((6,), CLASSES, depth=2, width=8, normalization="batch", dropout=0.3))
        before = [v.numpy() for v in model.variables]
        calls = [vars(layer).get("call") for layer in model.layers]
        probes = Probes(x, y)
        if probed:
            prober = Prober(model)
            prober(x, y), prober(x, y, jacobian=True)
            assert [vars(layer).get("call") for layer in model.layers] == calls
            for variable, value in zip(model.variables, before, strict=True):
                np.testing.assert_array_equal(variable.numpy(), value)
        norms = GradientNorms()
        model.fit(x, y, epochs=3, batch_size=4, verbose=0, callbacks=[norms, probes] if probed else [norms])
        histories.append(norms.history.variable_norms)
        assert len(probes.results) == 4 * probed
    np.testing.assert_array_equal(*histories)


def test_the_trap_weight_gradients_are_flat_while_delta_halves_at_every_layer():
    """Square ReLU layers with Glorot weights (sigma_w2 = 1): the squared delta halves, the weight gradient is flat."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 256)).astype("float32"), rng.integers(0, CLASSES, 64)
    p = probe(compiled(mlp((256,), CLASSES, depth=20, width=256, initializer="glorot_uniform")), x, y)
    halving = (p.delta_rms[1:18] / p.delta_rms[2:19]) ** 2
    np.testing.assert_allclose(np.exp(np.log(halving).mean()), 0.5, rtol=0.15)
    assert p.delta_norm[0] / p.delta_norm[19] < 3e-3
    assert p.gradient_norm[:10].max() / p.gradient_norm[:10].min() < 3


@pytest.mark.parametrize("scale, mode, expected", [(1 / 3, "fan_in", 0.49), (1.0, "fan_avg", 0.80)])
def test_singular_values_of_glorots_two_initializations(scale, mode, expected):
    """Glorot & Bengio 2010, sec. 4.2.1: .5 standard and .8 normalized, tanh, five layers of 1000."""
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    x, y = x[:8].astype("float32") / 16, y[:8] % CLASSES
    make = lambda: keras.initializers.VarianceScaling(scale, mode, "uniform")  # noqa: E731
    model = compiled(mlp((64,), CLASSES, depth=5, width=1000, activation="tanh", initializer=make))
    singular = probe(model, x, y, jacobian=True).jacobian
    np.testing.assert_allclose(np.mean(singular[1:5]), expected, atol=0.03)


def test_save_and_load(tmp_path):
    x, y = batch(6)
    model = compiled(mlp((6,), CLASSES, depth=2, width=8))
    probes = Probes(x, y)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[probes])
    save_probes(tmp_path / "probes.npz", probes.results)
    loaded = load_probes(tmp_path / "probes.npz")
    assert len(loaded) == 3
    for a, b in zip(probes.results, loaded, strict=True):
        assert a.layers == b.layers and a.activations == b.activations and a.loss == pytest.approx(b.loss)
        for name in MEASURES:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_model_that_is_not_compiled():
    with pytest.raises(RuntimeError, match="compile"):
        probe(mlp((6,), CLASSES), *batch(6))


def softmax_classifier(*hidden):
    return keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(CLASSES, "softmax", name="classes")])


def test_an_output_with_a_softmax_of_its_own_is_measured_before_it():
    """What the loss looks through: delta is that of the logits, (softmax - one-hot), not 0."""
    x, y = batch(6)
    model = softmax_classifier(keras.layers.Dense(8, "tanh"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    p = probe(model, x, y)
    delta = model(x).numpy() - np.eye(CLASSES)[y]
    assert p.preactivation.tolist() == [False, True] and p.measured.all()
    np.testing.assert_allclose(p.delta_norm[-1], np.sqrt(np.mean(np.sum(delta**2, axis=1))), rtol=1e-5)
    assert 0.1 < p.arriving < 10
    assert diagnose(probes=[p]).name == "undecided"  # nothing is wrong, and nothing learned yet


def test_thirty_sigmoid_layers_in_a_model_in_a_model_are_those_of_a_flat_one():
    x, y = batch(6)
    probes = []
    for wrap in (lambda layers: layers, lambda layers: [keras.Sequential([keras.Sequential(layers)])]):
        keras.utils.set_random_seed(3)
        hidden = [keras.layers.Dense(6, "sigmoid", name=f"d{i:02}") for i in range(30)]
        model = softmax_classifier(*wrap(hidden))
        model.compile("sgd", "sparse_categorical_crossentropy")
        norms = GradientNorms()
        probes.append(probe(model, x, y))
        model.fit(x, y, verbose=0, callbacks=[norms])
        assert norms.history.layers == probes[-1].layers == [*(f"d{i:02}" for i in range(30)), "classes"]
    flat, nested = probes
    np.testing.assert_allclose(nested.delta_norm, flat.delta_norm, rtol=1e-5)
    assert nested.arriving < 1e-12
    assert diagnose(probes=[nested]).name == "vanishing"


def test_probes_go_on_over_fits_and_begin_anew_with_another_model():
    x, y = batch(6)
    probes = Probes(x, y)
    first, second = (compiled(mlp((6,), CLASSES, depth=d, width=8)) for d in (1, 2))
    first.fit(x, y, verbose=0, callbacks=[probes])
    first.compile(keras.optimizers.Adam(0.01), LOSS)
    first.fit(x, y, verbose=0, epochs=2, callbacks=[probes])
    assert len(probes.results) == 4 and probes.previous == []
    second.fit(x, y, verbose=0, callbacks=[probes])
    assert [len(p.layers) for p in probes.results] == [3, 3]
    assert [[len(p.layers) for p in results] for results in probes.previous] == [[2] * 4]


def test_what_is_compiled_or_frozen_anew_is_probed_as_it_is_now():
    x, y = batch(6)
    model = compiled(mlp((6,), CLASSES, depth=2, width=8))
    prober = Prober(model)
    whole = [prober(x, y) for _ in range(6)][-1]  # by now the pass is traced
    model.layers[1].trainable = False
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"))
    part = prober(x, y)
    assert part.layers == whole.layers[1:]
    np.testing.assert_allclose(part.loss, BATCH * whole.loss, rtol=1e-5)
    model.trainable = False
    model.compile("sgd", LOSS)
    frozen = prober(x, y)
    assert frozen.layers == [] and frozen.delta_norm.shape == (0,) and "nothing to train" in frozen.missing
    verdict = diagnose(probes=[frozen])
    assert verdict.name == "undecided" and "nothing to train" in verdict.sentence


@pytest.mark.parametrize("used", [False, True])
def test_probes_are_pickled_and_copied_and_their_copies_found(used):
    x, y = batch(6)
    model, probes = compiled(mlp((6,), CLASSES, depth=1, width=8)), Probes(x, y)
    if used:
        model.fit(x, y, verbose=0, callbacks=[probes])
    again = pickle.loads(pickle.dumps(probes))
    assert [p.loss for p in again.results] == [p.loss for p in probes.results]
    twin = copy.deepcopy(probes)
    model.fit(x, y, verbose=0, callbacks=[twin])
    assert len(twin.results) == 2
    if not used:  # as a tuner does: it trains with the copy, and drops it
        losses = [p.loss for p in twin.results]
        del twin
        assert [p.loss for p in probes.results] == losses


def test_weights_that_are_the_models_own_and_a_history_without_losses_are_undecided():
    class Linear(keras.Model):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], CLASSES), initializer="glorot_uniform", name="kernel")

        def call(self, x):
            return keras.ops.matmul(x, self.kernel)

    x, y = batch(6)
    p = probe(compiled(Linear()), x, y)
    assert p.layers and not p.measured.any() and (p.gradient_norm > 0).all()
    assert "own weights" in p.missing
    assert diagnose(probes=[p]).name == "undecided"
    nothing = np.zeros((0, 1), np.float32)
    empty = GradientHistory(["a"], ["a/kernel"], np.zeros(1, int), np.zeros(0, int), nothing, nothing[:, 0])
    assert diagnose(empty).name == "undecided"


def test_save_and_load_recurrent_attention_and_residual_parts(tmp_path):
    inputs = keras.Input((5, 6))
    h = keras.layers.LSTM(6, return_sequences=True, name="memory")(inputs)
    h = keras.layers.Add(name="stream")([h, keras.layers.MultiHeadAttention(2, 3, name="attention")(h, h)])
    model = compiled(keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling1D()(h))))
    x, y = batch(5, 6)
    probes = Probes(x, y)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[probes])
    save_probes(tmp_path / "probes.npz", probes.results)
    for a, b in zip(probes.results, load_probes(tmp_path / "probes.npz"), strict=True):
        assert (a.times[0].layer, a.attentions[0].layer, a.residuals[0].layer) == ("memory", "attention", "stream")
        np.testing.assert_array_equal(a.times[0].delta_norm, b.times[0].delta_norm)
        assert a.times[0].delta_norm.shape == a.times[0].activation_rms.shape == (5,)
        np.testing.assert_allclose(dataclasses.astuple(a.attentions[0])[1:], dataclasses.astuple(b.attentions[0])[1:])
        np.testing.assert_allclose(a.residuals[0].share, b.residuals[0].share)
        np.testing.assert_array_equal(a.measured, b.measured)


def test_what_an_accelerator_measures_is_what_the_host_measures(monkeypatch):
    """Where tensors do not lie in the processor's memory, `keras.ops` measures them instead of NumPy."""
    inputs = keras.Input((5, 6))
    h = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True))(inputs)
    h = h + keras.layers.MultiHeadAttention(2, 3)(h, h, use_causal_mask=True)
    h = keras.layers.ReLU()(keras.layers.Dense(7)(keras.layers.GlobalAveragePooling1D()(h)))
    model = compiled(keras.Model(inputs, keras.layers.Dense(CLASSES)(h)))
    x, y = batch(5, 6)
    host = probe(model, x, y)
    monkeypatch.setattr("zoo.telemetry.backends.tensorflow.passes._on_host", lambda: False)
    prober = Prober(model)
    for _ in range(6):  # operation by operation, then traced
        there = prober(x, y)
        for name in MEASURES:
            np.testing.assert_allclose(getattr(there, name), getattr(host, name), rtol=1e-5, atol=1e-7, err_msg=name)
        for a, b in zip(there.times, host.times, strict=True):
            np.testing.assert_allclose(a.delta_norm, b.delta_norm, rtol=1e-5)
            np.testing.assert_allclose(a.activation_rms, b.activation_rms, rtol=1e-5)
        np.testing.assert_allclose(there.attentions[0].entropy, host.attentions[0].entropy, rtol=1e-5)
        np.testing.assert_allclose(there.attentions[0].logit_rms, host.attentions[0].logit_rms, rtol=1e-5)
        np.testing.assert_allclose(there.residuals[0].share, host.residuals[0].share, rtol=1e-5)


WRONG = {
    "a data set": (
        lambda m, x, y: probe(m, tf.data.Dataset.from_tensor_slices((x, y)).batch(4)),
        "next(iter(dataset))",
    ),
    "no targets": (lambda m, x, y: probe(m, x), "targets too"),
    "fewer targets": (lambda m, x, y: probe(m, x, y[:-1]), "x has 16 samples, y has 15"),
    "no samples": (lambda m, x, y: probe(m, x[:0], y[:0]), "empty"),
    "no model": (lambda m, x, y: probe("model", x, y), "not a str"),
    "a callback to judge": (lambda m, x, y: diagnose(GradientNorms()), "norms.history"),
    "callbacks to judge": (lambda m, x, y: diagnose(None, Probes(x, y)), "probes.results"),
    "one probe to judge": (lambda m, x, y: diagnose(probes=probe(m, x, y)), r"probes=\[probe\]"),
}


@pytest.mark.parametrize("slip", WRONG)
def test_slips_are_told_in_one_sentence(slip):
    x, y = batch(6)
    call, said = WRONG[slip]
    with pytest.raises((TypeError, ValueError), match=said.replace("(", r"\(").replace(")", r"\)")) as error:
        call(compiled(mlp((6,), CLASSES, depth=1, width=8)), x, y)
    assert "\n" not in str(error.value)


def test_lists_of_numbers_are_a_batch():
    x, y = batch(6)
    model = compiled(mlp((6,), CLASSES, depth=1, width=8))
    assert probe(model, x.tolist(), y.tolist()).loss == pytest.approx(probe(model, x, y).loss)


def test_what_does_not_depend_on_samples_has_no_variation():
    class Positions(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = keras.layers.Embedding(5, 6, name="positions")

        def call(self, x):
            return x + self.table(keras.ops.expand_dims(keras.ops.arange(5), 0))

    inputs = keras.Input((5, 6))
    h = keras.layers.Flatten()(keras.layers.Dense(6, "tanh", name="mixed")(Positions()(inputs)))
    model = compiled(keras.Model(inputs, keras.layers.Dense(CLASSES)(h)))
    x, y = batch(5, 6)
    p = probe(model, x, y)
    assert p.layers[0] == "positions" and np.isnan(p.variation[0]) and (p.variation[1:] > 0).all()
    one = probe(model, x[:1], y[:1])
    assert np.isnan(one.variation).all()
    assert diagnose(probes=[p]).name == diagnose(probes=[one]).name == "undecided"


def test_quantized_layers_are_measured_in_their_place():
    """Keras calls another method of them; what they train are their adapters."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu", name="first"), layers.Dense(CLASSES)])
    model.layers[0].enable_lora(2)
    model.layers[0].quantize("int8")
    x, y = batch(6)
    p, norms = probe(compiled(model), x, y), GradientNorms()
    model.fit(x, y, verbose=0, callbacks=[norms])
    assert p.layers == norms.history.layers == ["first", model.layers[1].name]
    assert p.measured.all() and (p.delta_norm > 0).all()


def test_a_cell_whose_output_is_not_its_state():
    class Cell(keras.layers.Layer):
        def __init__(self, units):
            super().__init__()
            self.units, self.state_size, self.output_size = units, [units, units], 2 * units

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

        def call(self, x, states):
            h = keras.ops.tanh(keras.ops.matmul(x, self.kernel) + states[0])
            return keras.ops.concatenate([h, 0.5 * states[1] + h], -1), [h, 0.5 * states[1] + h]

    x, y = batch(5, 6)
    model = compiled(keras.Sequential([keras.Input((5, 6)), keras.layers.RNN(Cell(3)), keras.layers.Dense(CLASSES)]))
    p = probe(model, x, y)
    assert p.measured.all() and p.times[0].delta_norm.shape == (5,)


def test_threads_that_probe_at_once_leave_the_process_as_it_was():
    x, y = batch(6)
    tape, assign = tf.GradientTape.gradient, keras.Variable.assign
    probers = [Prober(compiled(mlp((6,), CLASSES, depth=2, width=8, dropout=0.2))) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda prober: [prober(x, y).loss for _ in range(4)], probers))
    assert all(len(set(losses)) == 1 for losses in found)
    assert tf.GradientTape.gradient is tape and keras.Variable.assign is assign


def test_a_probe_that_raises_changes_nothing_either():
    x, y = batch(6)
    model = compiled(mlp((6,), CLASSES, depth=2, width=8, normalization="batch", dropout=0.3))
    before = [v.numpy() for v in model.variables]
    with pytest.raises(ValueError, match=r"rank|shape"):
        probe(model, x, np.stack([y, y], axis=1))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
