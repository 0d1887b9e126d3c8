"""Every kind of model: trained as if unseen, and measured as derivatives taken by hand say."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from autodiff import BACKEND, apply, norm, value_and_gradients
from keras import layers, ops
from kinds import (
    CLASSES,
    KINDS,
    LOSSES,
    SAMPLES,
    SEQUENCE,
    TOKENS,
    Kind,
    cross_entropy,
    functional,
    numbers,
    sequential,
    tanh,
    values,
)

from zoo import GradientNorms, probe
from zoo.telemetry.probe import Probes

BATCH = SAMPLES // 2


def first_batch(structure):
    return keras.tree.map_structure(lambda a: a[:BATCH], structure)


def tensors(structure):
    return keras.tree.map_structure(ops.convert_to_tensor, structure)


@contextlib.contextmanager
def same_draws():
    """Within it, torch's own generator, from which Keras draws dropout there, is not advanced."""
    if BACKEND != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=[]):
        yield


def variables_of(model) -> list[keras.Variable]:
    """Return the model's variables, and the states of recurrent layers, which are not among them."""
    states = [keras.tree.flatten(getattr(layer, "states", None)) for layer in model._flatten_layers()]
    return [*model.variables, *(v for found in states for v in found if isinstance(v, keras.Variable))]


@contextlib.contextmanager
def state_kept(model):
    """After it, every variable has the value that it had before."""
    before = [(v, ops.copy(v.value)) for v in variables_of(model)]
    with same_draws():
        yield
    for variable, value in before:
        variable.assign(value)


class Zeros:
    """Zeros added to what layers give (or, of those in `before`, to what their activation is given), one a call."""

    def __init__(self, model, names: list[str], before: list[str]):
        self.layers = {name: next(a for a in model._flatten_layers() if a.name == name) for name in names}
        self.before = before
        self.shapes: list[tuple[str, tuple]] = []  # in order of the calls
        self.zeros: list[keras.Variable] = []

    def look(self, loss) -> None:
        """Find out of which shape they are."""
        with self.added(lambda name, tensor: self.shapes.append((name, tensor.shape)) or tensor):
            loss() if BACKEND != "jax" else without_computing(loss)
        self.zeros = [keras.Variable(np.zeros(shape, "float32")) for _, shape in self.shapes]

    @contextlib.contextmanager
    def added(self, add=None):
        left = iter(self.zeros)
        add = add or (lambda name, tensor: tensor + ops.cast(next(left), tensor.dtype))

        def shifted(name, call):
            def shift(*args, **kwargs):
                first, *rest = keras.tree.flatten(outputs := call(*args, **kwargs))
                return keras.tree.pack_sequence_as(outputs, [add(name, first), *rest])

            return shift

        with pytest.MonkeyPatch.context() as patch:
            for name, layer in self.layers.items():
                if name in self.before:
                    patch.setattr(layer, "activation", lambda z, n=name, f=layer.activation: f(add(n, z)))
                else:
                    patch.setattr(layer, "call", shifted(name, layer.call))
            yield


def without_computing(loss) -> None:
    import jax

    def function():
        with keras.StatelessScope():
            return loss()

    jax.eval_shape(function)


def by_hand(kind: Kind, model: keras.Model, *, update=False):
    """Take each loss's gradients, and with `update` the step between them, as the kind's train step does.

    Returns:
        The sum of the losses, the norm of each variable's gradient, and each layer's delta norm.
    """
    x, y = tensors(first_batch((kind.x, kind.y)))
    value = kind.value or (lambda model, x, y: LOSSES[kind.loss][1](y, model(x, training=True)))
    names = [n for n in kind.layers.split() if n not in (kind.unmeasured + " " + kind.within).split()]
    total, norms, deltas = 0.0, {}, {}
    with state_kept(model):
        if not all(layer.built for layer in model._flatten_layers(include_self=False)):
            with state_kept(model):
                model(x)
        parts = [(lambda x, y: value(model, x, y), model.trainable_variables, None)]
        parts = model.parts() if hasattr(model, "parts") else parts
        for loss, variables, optimizer in parts:
            zeros, of_batch = Zeros(model, names, kind.before.split()), functools.partial(loss, x, y)
            with state_kept(model):
                zeros.look(of_batch)
            asked = [*variables, *zeros.zeros]
            with zeros.added():
                found, grads = value_and_gradients(of_batch, asked, compiled=True) if asked else (of_batch(), [])
            if BACKEND == "jax" and len(parts) > 1:
                of_batch()  # draws; to differentiate left no trace
            total += float(found)
            norms |= {id(v): norm(g) for v, g in zip(variables, grads, strict=False)}
            each = [(name, norm(g)) for (name, _), g in zip(zeros.shapes, grads[len(variables) :], strict=True)]
            for name, layer in zeros.layers.items():
                if {id(v) for v in variables} & {id(v) for v in layer.trainable_variables}:
                    deltas[name] = np.sqrt(BATCH) * np.linalg.norm([delta for n, delta in each if n == name])
            if update and optimizer is not None:
                apply(optimizer, grads[: len(variables)], variables)
    return total, [norms[id(v)] for v in model.trainable_variables], deltas


def fitted(kind: Kind, *callbacks) -> tuple[keras.Model, dict]:
    model = kind.made()
    history = model.fit(kind.x, kind.y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model, history.history


def check_same(expected, actual):
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(actual, expected)
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


class ByHand(keras.callbacks.Callback):
    """What is to be measured, from where torch's generator is then: `fit` draws from it at its own times."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.step = kind, None

    def on_train_begin(self, logs=None):
        self.probe = by_hand(self.kind, self.model)
        if BACKEND != "torch" and not hasattr(self.model, "parts"):
            self.step = self.probe

    def on_train_batch_begin(self, batch, logs=None):
        self.step = self.step or by_hand(self.kind, self.model, update=True)


@pytest.mark.parametrize("name", KINDS)
def test_kind(name):
    kind = KINDS[name]
    if BACKEND == "jax" and name == "experts, dispatched":
        pytest.skip("JAX compiles no shapes that depend on values")
    norms, probes, hand = GradientNorms(), Probes(*first_batch((kind.x, kind.y))), ByHand(kind)
    plain, history = fitted(kind)
    if BACKEND == "torch":
        model, watched = fitted(kind, norms, probes, hand)
    else:  # JAX has the variables elsewhere meanwhile
        hand.set_model(kind.made())
        hand.on_train_begin()
        hand.on_train_batch_begin(0)
        model, watched = fitted(kind, norms, probes)
    loss, _, deltas = hand.probe
    _, step_norms, _ = hand.step

    for key, losses in history.items():
        check_same(losses, watched[key])
    for expected, actual in zip(plain.get_weights(), model.get_weights(), strict=True):
        check_same(expected, actual)

    first, names = probes.results[0], kind.layers.split()
    assert first.layers == names and len(probes.results) == 3
    assert norms.history.layers == names and len(norms.history) == 4
    close = {"rtol": kind.rtol, "atol": kind.noise * max(step_norms, default=0)}
    np.testing.assert_allclose(norms.history.variable_norms[0], step_norms, **close)
    assert [n for n, m in zip(names, first.measured, strict=True) if not m] == kind.unmeasured.split()
    assert [n for n, b in zip(names, first.preactivation, strict=True) if b] == kind.before.split()
    close["atol"] = kind.noise * max(deltas.values(), default=0)
    measured = dict(zip(names, first.delta_norm, strict=True))
    assert deltas.keys() == set(names) - {*kind.unmeasured.split(), *kind.within.split()}
    np.testing.assert_allclose([measured[name] for name in deltas], list(deltas.values()), **close)
    assert np.isnan([measured[name] for name in kind.unmeasured.split()]).all()
    np.testing.assert_allclose(first.loss, loss if names else np.nan, rtol=kind.rtol)
    if deltas and {names[0], names[-1]} <= deltas.keys():
        np.testing.assert_allclose(first.arriving, deltas[names[0]] / deltas[names[-1]], rtol=2 * kind.rtol)
    assert ((first.delta_norm > 0) == (first.gradient_norm > 0))[first.measured].all()


def probed(model, x, y):
    """Return a probe of a model that is compiled here."""
    model.compile("sgd", LOSSES["logits"][0])
    return probe(model, x[:BATCH], y[:BATCH])


LAYERS = {
    "SimpleRNN": lambda: layers.SimpleRNN(4),
    "LSTM": lambda: layers.LSTM(4),
    "GRU": lambda: layers.GRU(4, return_sequences=True),
    "backwards": lambda: layers.LSTM(4, go_backwards=True, return_sequences=True),
    "stacked": lambda: layers.RNN([layers.LSTMCell(4), layers.SimpleRNNCell(3), layers.GRUCell(4)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_cells_along_time(name):
    keras.utils.set_random_seed(1)
    layer, last, y = LAYERS[name](), layers.Dense(CLASSES), numbers()
    model, x = sequential(layer, layers.Flatten(), last, shape=SEQUENCE), values(*SEQUENCE)
    times = probed(model, x, y)
    cells = getattr(layer.cell, "cells", [layer.cell])
    steps = range(SEQUENCE[0])[:: -1 if layer.go_backwards else 1]
    zeros = [[keras.Variable(np.zeros((BATCH, cell.units), "float32")) for _ in steps] for cell in cells]
    x, y = tensors(first_batch((x, y)))
    outputs = {}

    def loss():
        states = [cell.get_initial_state(batch_size=BATCH) for cell in cells]
        for number, step in enumerate(steps):
            out = x[:, step]
            for k, cell in enumerate(cells):
                out, state = cell(out, states[k])
                out = out + zeros[k][number]
                states[k] = [out, *state[1:]]
                outputs[k, number] = out
        walked = [outputs[len(cells) - 1, number] for number in range(len(steps))]
        return cross_entropy(y, last(ops.concatenate(walked, axis=-1) if layer.return_sequences else walked[-1]))

    _, grads = value_and_gradients(loss, [zero for of_cell in zeros for zero in of_cell])
    loss()  # without a trace
    names = [layer.name] if len(cells) == 1 else [f"{layer.name}/{cell.name}" for cell in cells]
    assert [time.layer for time in times.times] == names == times.layers[:-1]
    for k, time in enumerate(times.times):
        rms = [norm(outputs[k, number]) / np.sqrt(BATCH * cells[k].units) for number in range(len(steps))]
        deltas = [np.sqrt(BATCH) * norm(g) for g in grads[k * len(steps) : (k + 1) * len(steps)]]
        np.testing.assert_allclose(time.activation_rms, rms, rtol=1e-4)
        np.testing.assert_allclose(time.delta_norm, deltas, rtol=1e-4)
        if len(cells) > 1:
            np.testing.assert_allclose(times.delta_norm[k], np.linalg.norm(deltas), rtol=1e-4)


def padded_attention():
    def call(tokens):
        x = layers.Embedding(5, 6, mask_zero=True, name="first")(tokens)
        return layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 3)(x, x)))

    return functional(call, (4,))


@pytest.mark.parametrize(
    "name", ["self attention", "causal attention", "cross attention", "grouped queries", "padded attention"]
)
def test_attention(name):
    padded = name.startswith("padded")
    kind = Kind(padded_attention, x=TOKENS) if padded else KINDS[name]
    model = kind.made()
    (shown,) = probe(model, *first_batch((kind.x, kind.y))).attentions
    weights = {v.path: keras.ops.convert_to_numpy(v.value) for v in model.variables}

    def of(layer, kind="kernel"):
        return next(value for path, value in weights.items() if path.endswith(f"{layer}/{kind}"))

    x, *memory = kind.x if isinstance(kind.x, list) else [kind.x]
    first = of("first", "embeddings")[x] if padded else x @ of("first") + of("first", "bias")
    second = memory[0] @ of("second") + of("second", "bias") if memory else first
    query, key = (
        np.einsum("btf,fhd->bhtd", inputs, of(layer)) + of(layer, "bias")[:, None]
        for inputs, layer in ((first, "query"), (second, "key"))
    )
    key = np.repeat(key, query.shape[1] // key.shape[1], axis=1)
    logits = np.einsum("bhtd,bhsd->bhts", query, key)[:BATCH] / np.sqrt(query.shape[-1])
    visible = np.ones_like(logits, bool)
    if "causal" in name:
        visible &= np.tri(4, dtype=bool)
    if padded:
        seen = x[:BATCH] != 0
        visible &= (seen[:, :, None] & seen[:, None, :])[:, None]
    power = np.exp(logits) * visible
    with np.errstate(all="ignore"):
        share = power / power.sum(-1, keepdims=True)
        entropy = -np.nansum(share * np.log(share), -1) / np.log(visible.sum(-1))
    np.testing.assert_allclose(shown.entropy, entropy[visible.sum(-1) > 1].mean(), rtol=1e-4)
    np.testing.assert_allclose(shown.logit_rms, np.sqrt(np.mean(logits[visible] ** 2)), rtol=1e-4)


def test_residual_branches():
    def call(x):
        x = layers.Add(name="sum")([x, tanh(name="b")(tanh(name="a")(x))])
        return layers.Dense(CLASSES)(x + layers.Dense(6, name="c")(layers.LayerNormalization()(x)))

    keras.utils.set_random_seed(1)
    model = functional(call)
    shown = probed(model, values(6), numbers()).residuals
    total = model.get_layer("sum").output
    c = model.get_layer("c").output
    parts = keras.Model(model.input, [model.get_layer("b").output, total, c, total + c])(values(6)[:BATCH])
    b, total, c, second = map(norm, parts)
    assert len(shown) == 2 and shown[0].layer == "sum"
    np.testing.assert_allclose([residual.share for residual in shown], [b / total, c / second], rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["dropout", "seeded dropout and noise", "stateful", "spectral normalization", "batch normalization", "vae"]
)
def test_a_probe_leaves_states_and_draws_as_they_are(name):
    kind = KINDS[name]
    model, batch = kind.made(), first_batch((kind.x, kind.y))
    model.train_on_batch(*batch)
    before = [ops.convert_to_numpy(v.value) for v in variables_of(model)]
    drawn = generator_state()
    first, second = probe(model, *batch), probe(model, *batch)
    np.testing.assert_array_equal(generator_state(), drawn)
    for variable, value in zip(variables_of(model), before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), value, err_msg=variable.path)
    np.testing.assert_array_equal(first.delta_norm, second.delta_norm)


def generator_state() -> np.ndarray:
    """Return the state of torch's own generator, of none elsewhere."""
    if BACKEND != "torch":
        return np.zeros(0)
    import torch

    return torch.get_rng_state().numpy()
