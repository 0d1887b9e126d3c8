"""`GradientNorms` against derivatives taken by hand over the same batches, on the backend of KERAS_BACKEND."""

import keras
import numpy as np
import pytest
from autodiff import BACKEND, apply, norm, value_and_gradients, weighted

from zoo import GradientHistory, GradientNorms
from zoo.models import mlp

SAMPLES, BATCH, FEATURES, CLASSES = 44, 8, 6, 3  # the last batch is a part of one: 5.5 batches
STEPS = 6


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(7)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, FEATURES)).astype("float32"), rng.integers(0, CLASSES, SAMPLES)


def network(**choices) -> keras.Model:
    return mlp((FEATURES,), CLASSES, depth=3, width=5, activation="tanh", **choices)


def compiled(model=None, optimizer=None, **options) -> keras.Model:
    model = model or network()
    model.compile(
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **{"jit_compile": False if BACKEND == "tensorflow" else "auto", **options},
    )
    return model


def own_norms(model: keras.Model, x, y, optimizer, *, epochs=1, scale=None) -> tuple[np.ndarray, np.ndarray]:
    """Train a copy of `model` by hand: (steps, variables) norms of the gradients, (steps,) losses."""
    copy = keras.models.clone_model(model)
    for layer, twin in zip(model.layers, copy.layers, strict=True):
        twin.trainable = layer.trainable
    copy.set_weights(model.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = type(optimizer).from_config(optimizer.get_config())
    rows, losses = [], []
    for _ in range(epochs):
        for start in range(0, len(x), BATCH):
            xb, yb = x[start : start + BATCH], y[start : start + BATCH]
            value, grads = value_and_gradients(
                lambda xb=xb, yb=yb: (loss(yb, copy(xb, training=True)) + sum(copy.losses)) * (scale or 1.0),
                copy.trainable_variables,
            )
            grads = [keras.ops.cast(g, "float32") / (scale or 1.0) for g in grads]
            losses.append(float(value) / (scale or 1.0))
            rows.append([norm(g) for g in grads])
            apply(optimizer, grads, copy.trainable_variables)
    return np.array(rows), np.array(losses)


def fit(model, data, norms, **options):
    x, y = data
    return model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[norms], **options)


TORCH_RUNS_SINGLE_STEPS = pytest.mark.skipif(BACKEND == "torch", reason="Keras runs one step a call on torch")
TORCH_COMPILES_FOR_A_MINUTE = pytest.mark.skipif(BACKEND == "torch", reason="see test_a_step_that_torch_compiles")

CASES = {
    "plain": ({}, {}),
    "global_clipnorm": ({"optimizer": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.05)}, {}),
    "clipnorm": ({"optimizer": lambda: keras.optimizers.Adam(0.01, clipnorm=0.05)}, {}),
    "clipvalue": ({"optimizer": lambda: keras.optimizers.Adam(0.01, clipvalue=0.01)}, {}),
    "steps_per_execution": ({"steps_per_execution": 8}, {}),
    "xla": ({"jit_compile": True}, {}),
    "xla_clip": ({"jit_compile": True, "optimizer": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.05)}, {}),
    "eager": ({"run_eagerly": True}, {}),
    "accumulation": ({"optimizer": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)}, {"epochs": 2}),
    "accumulation_clip": (
        {"optimizer": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=3, global_clipnorm=0.05)},
        {"epochs": 2},
    ),
    "loss_scale": (
        {"optimizer": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01, global_clipnorm=0.05))},
        {},
    ),
    "loss_scale_accumulation": (
        {
            "optimizer": lambda: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
            )
        },
        {"epochs": 2},
    ),
    "fixed_loss_scale": ({"optimizer": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=64.0)}, {}),
    "epochs": ({}, {"epochs": 3}),
}


MARKS = {
    "steps_per_execution": TORCH_RUNS_SINGLE_STEPS,
    "xla": TORCH_COMPILES_FOR_A_MINUTE,
    "xla_clip": TORCH_COMPILES_FOR_A_MINUTE,
}


@pytest.mark.parametrize(
    "case, updates",
    [pytest.param(case, True, marks=MARKS.get(case, ())) for case in CASES]
    + [pytest.param(case, False, marks=MARKS.get(case, ())) for case in ("plain", "clipvalue", "xla_clip")],
)
def test_norms_are_the_training_steps_own(case, updates, data):
    options, fit_options = CASES[case]
    options = {k: v() if k == "optimizer" else v for k, v in options.items()}
    model = compiled(**options)
    scale = model.optimizer.loss_scale_factor
    plain = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if scale:
        config = model.optimizer.get_config()
        plain = type(model.optimizer).from_config({**config, "loss_scale_factor": None})
    expected, losses = own_norms(model, *data, plain, epochs=fit_options.get("epochs", 1), scale=scale)
    norms = GradientNorms(updates=updates)
    fit(model, data, norms, **fit_options)
    assert norms.history.variable_norms.shape == expected.shape
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(norms.history.losses, losses, rtol=1e-5)
    assert norms.history.steps.tolist() == list(range(len(expected)))
    assert norms.history.layers == ["dense_1", "dense_2", "dense_3", "logits"]
    by_layer = np.sqrt(expected[:, ::2] ** 2 + expected[:, 1::2] ** 2)
    np.testing.assert_allclose(norms.history.norms, by_layer, rtol=1e-5)
    np.testing.assert_allclose(norms.history.global_norm, np.sqrt((expected**2).sum(1)), rtol=1e-5)


def test_clip_norms_and_fraction(data):
    model = compiled(optimizer=keras.optimizers.SGD(0.1, global_clipnorm=1.0))
    norms = GradientNorms()
    fit(model, data, norms, epochs=2)
    history = norms.history
    before, after = history.clip_norms.T
    np.testing.assert_allclose(before, history.global_norm, rtol=1e-5)
    np.testing.assert_allclose(after, np.minimum(before, 1.0), rtol=1e-5)
    assert history.clipped_fraction == np.mean(before > 1 + 1e-6)
    assert 0 < history.clipped_fraction < 1  # the threshold stands inside the range, so that both kinds are seen


def test_clip_norms_of_an_embedding_are_those_of_the_update():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Embedding(5, 3), keras.layers.Flatten()])
    model.compile(keras.optimizers.SGD(0.1, global_clipnorm=0.5), "mse")
    norms = GradientNorms(updates=True)
    model.fit(np.array([[1, 1, 2, 1]]), np.ones((1, 12)), verbose=0, callbacks=[norms])
    history, applied = norms.history, norms.history.update_norms[0, 0] / 0.1
    np.testing.assert_allclose(history.clip_norms[0], [history.norms[0, 0], applied], rtol=1e-4)
    if BACKEND != "tensorflow":  # there Keras clips before the repeated rows are summed: to something else
        np.testing.assert_allclose(history.clip_norms[0, 1], 0.5, rtol=1e-5)


def test_clip_norms_with_accumulation_belong_to_updates(data):
    model = compiled(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=3, clipvalue=0.01))
    norms = GradientNorms()
    fit(model, data, norms, epochs=2)
    updates = ~np.isnan(norms.history.clip_norms[:, 1])
    assert updates.tolist() == [False, False, True] * (2 * STEPS // 3)


def test_updates_are_those_of_plain_sgd(data):
    model = compiled(optimizer=keras.optimizers.SGD(0.1))
    start = [np.linalg.norm(w) for w in model.get_weights()]
    norms = GradientNorms(updates=True)
    fit(model, data, norms)
    history = norms.history
    np.testing.assert_allclose(history.update_norms, 0.1 * history.variable_norms, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(history.weight_norms[0], start, rtol=1e-5)
    ratio = np.linalg.norm(history.update_norms[0, :2]) / np.linalg.norm(history.weight_norms[0, :2])
    np.testing.assert_allclose(history.update_ratios[0, 0], ratio, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=TORCH_COMPILES_FOR_A_MINUTE)])
def test_mixed_precision_with_loss_scaling(data, jit_compile):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(jit_compile=jit_compile)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        expected, _ = own_norms(model, *data, keras.optimizers.SGD(0.1, momentum=0.9), scale=2.0**15)
        norms = GradientNorms()
        fit(model, data, norms)
    finally:
        keras.config.set_dtype_policy(previous)
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-2)


def test_an_overflow_that_loss_scaling_skips_is_recorded(data):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 2.0**30))
        norms = GradientNorms()
        fit(model, data, norms)
    finally:
        keras.config.set_dtype_policy(previous)
    assert len(norms.history) == STEPS
    assert norms.history.nonfinite.max() > 0
    assert model.optimizer.iterations.numpy() < STEPS


def test_two_fits_make_one_history(data):
    model = compiled()
    expected, _ = own_norms(model, *data, model.optimizer, epochs=3)
    norms = GradientNorms()
    fit(model, data, norms)
    fit(model, data, norms, epochs=2)
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-5, atol=1e-8)
    assert norms.history.epoch_ends.tolist() == [STEPS, 2 * STEPS, 3 * STEPS]


def test_compiling_again_between_fits_is_seen(data):
    model = compiled()
    norms = GradientNorms()
    fit(model, data, norms)
    compiled(model, optimizer=keras.optimizers.SGD(0.5))
    expected, _ = own_norms(model, *data, model.optimizer)
    fit(model, data, norms)
    np.testing.assert_allclose(norms.history.variable_norms[-STEPS:], expected, rtol=1e-5, atol=1e-8)


def test_a_frozen_layer_has_no_column(data):
    model = network()
    model.get_layer("dense_2").trainable = False
    compiled(model)
    expected, _ = own_norms(model, *data, model.optimizer)
    norms = GradientNorms()
    fit(model, data, norms)
    assert norms.history.layers == ["dense_1", "dense_3", "logits"]
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-5, atol=1e-8)


def test_a_train_step_of_ones_own(data):
    base = network()
    model = compiled(weighted(2.0)(base.inputs, base.outputs), optimizer=keras.optimizers.SGD(0.1))
    expected, _ = own_norms(base, *data, keras.optimizers.SGD(0.2))
    norms = GradientNorms()
    fit(model, data, norms)
    np.testing.assert_allclose(norms.history.variable_norms, 2 * expected, rtol=1e-5, atol=1e-8)
    assert np.isnan(norms.history.losses).all()  # this step scales no loss


@pytest.mark.skipif(BACKEND == "jax", reason="an optimizer on JAX updates all of its variables at once")
def test_a_train_step_that_trains_in_turns(data):
    class Turns(keras.Model):
        def train_step(self, batch):
            x, y = batch
            for half in (self.trainable_variables[:4], self.trainable_variables[4:]):
                loss, grads = value_and_gradients(lambda: self.compute_loss(x, y, self(x, training=True)), half)
                apply(self.optimizer, grads, half)
            return {"loss": loss}

    base = network()
    model = compiled(Turns(base.inputs, base.outputs), optimizer=keras.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    norms = GradientNorms()
    fit(model, data, norms, epochs=2)
    first, second = norms.history.variable_norms[::2], norms.history.variable_norms[1::2]
    assert first.shape == second.shape == (2 * STEPS, 8)
    assert (first[:, :4] > 0).all() and (first[:, 4:] == 0).all()
    assert (second[:, :4] == 0).all() and (second[:, 4:] > 0).all()


def test_train_on_batch_inside_watch(data):
    x, y = data
    model = compiled()
    expected, _ = own_norms(model, *data, model.optimizer)
    norms = GradientNorms()
    with norms.watch(model):
        for start in range(0, SAMPLES, BATCH):
            model.train_on_batch(x[start : start + BATCH], y[start : start + BATCH])
    model.train_on_batch(x[:BATCH], y[:BATCH])
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-5, atol=1e-8)


def test_embedding_rows_that_repeat_are_summed():
    model = keras.Sequential([keras.layers.Embedding(5, 3), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = np.array([[1, 1, 2, 1]]), np.array([[1.0]])
    model.build(x.shape)
    _, grads = value_and_gradients(lambda: keras.losses.MeanSquaredError()(y, model(x)), model.trainable_variables)
    norms = GradientNorms()
    model.fit(x, y, verbose=0, callbacks=[norms])
    np.testing.assert_allclose(norms.history.variable_norms[0], [norm(g) for g in grads], rtol=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1.0, 1e22, 1e30])
@pytest.mark.parametrize("features", [4, 90_000])
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=TORCH_COMPILES_FOR_A_MINUTE)])
def test_gradients_whose_squares_leave_float32(size, features, jit_compile):
    x = keras.Input((features,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(0.0), loss=lambda y, p: size * p, jit_compile=jit_compile)
    norms = GradientNorms()
    model.fit(np.ones((1, features)), np.ones((1, 1)), verbose=0, callbacks=[norms])
    np.testing.assert_allclose(norms.history.variable_norms, [[features**0.5 * size, size]], rtol=1e-5)
    np.testing.assert_allclose(norms.history.norms, [[(features + 1) ** 0.5 * size]], rtol=1e-5)


def test_nonfinite_gradients_are_kept_and_counted(data):
    x, y = data
    x = x.copy()
    x[2 * BATCH] = np.nan  # the third batch
    model = compiled()
    norms = GradientNorms()
    fit(model, (x, y), norms)
    assert len(norms.history) == STEPS
    assert np.isfinite(norms.history.norms[:2]).all()
    assert np.isnan(norms.history.norms[2:]).all()
    assert norms.history.nonfinite.tolist() == [STEPS - 2] * 4


def test_more_steps_than_the_window_holds(data, monkeypatch):
    monkeypatch.setattr("zoo.telemetry.gradients.WINDOW", 4)
    model = compiled(steps_per_execution=1 if BACKEND == "torch" else 2)
    expected, _ = own_norms(model, *data, model.optimizer, epochs=3)
    norms = GradientNorms()
    fit(model, data, norms, epochs=3)
    np.testing.assert_allclose(norms.history.variable_norms, expected, rtol=1e-5, atol=1e-8)


class Failure(Exception):
    pass


class FailsAt(keras.callbacks.Callback):
    def __init__(self, hook):
        super().__init__()

        def fail(*args, **kwargs):
            raise Failure

        setattr(self, hook, fail)


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end", None])
def test_after_training_or_an_exception_model_and_optimizer_are_as_they_were(hook, data, tmp_path):
    x, y = data
    model = compiled()
    model.optimizer.build(model.trainable_variables)
    attributes = set(vars(model.optimizer))
    variables = [v.path for v in model.optimizer.variables]
    norms = GradientNorms()
    callbacks = [norms, FailsAt(hook)] if hook else [norms]
    try:
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)
    except Failure:
        assert hook
    recorded = len(norms.history)
    assert recorded == {"on_train_batch_begin": 0, "on_train_batch_end": 1}.get(hook, STEPS)
    assert set(vars(model.optimizer)) == attributes
    assert [v.path for v in model.optimizer.variables] == variables
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    twin.jit_compile = model.jit_compile
    for m in (model, twin):  # trained on without the callback, both go the same way, and nothing is recorded
        m.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(norms.history) == recorded
    assert model.train_function.__qualname__.startswith(("TensorFlowTrainer", "JAXTrainer", "TorchTrainer"))


def test_checkpoints_written_during_training_load_without_the_callback(data, tmp_path):
    x, y = data
    model = compiled(optimizer=keras.optimizers.Adam(0.01))
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    fit_callbacks = [
        GradientNorms(),
        saver,
        keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
    ]
    model.fit(x, y, batch_size=BATCH, verbose=0, epochs=2, callbacks=fit_callbacks)
    loaded = keras.models.load_model(tmp_path / "2.keras")
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert loaded.optimizer.iterations.numpy() == 2 * STEPS
    restored = compiled(optimizer=keras.optimizers.Adam(0.01))
    restored.fit(
        x, y, batch_size=BATCH, verbose=0, epochs=2, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    )
    for a, b in zip(model.optimizer.variables, restored.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_save_and_load(data, tmp_path):
    norms = GradientNorms(updates=True)
    fit(compiled(), data, norms, epochs=2)
    norms.history.save(tmp_path / "gradients.npz")
    loaded = GradientHistory.load(tmp_path / "gradients.npz")
    np.testing.assert_array_equal(loaded.norms, norms.history.norms)
    np.testing.assert_array_equal(loaded.update_ratios, norms.history.update_ratios)
    assert loaded.layers == norms.history.layers and loaded.variables == norms.history.variables
    assert loaded.clip_norms is None
    assert loaded.epoch(-1) == slice(STEPS, 2 * STEPS)


def test_without_an_optimizer_it_says_so():
    norms = GradientNorms()
    norms.set_model(network())
    with pytest.raises(RuntimeError, match="compile"):
        norms.on_train_begin()
    with pytest.raises(RuntimeError, match="fit"):
        _ = norms.history
