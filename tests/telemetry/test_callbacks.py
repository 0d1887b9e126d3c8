"""`GradientNorms` over any sequence of models, compilations, fits, optimizers and copies, on each backend."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from autodiff import BACKEND, apply, value_and_gradients

from zoo import GradientHistory, GradientNorms

FEATURES, BATCH, SAMPLES = 4, 8, 24
STEPS = 3


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(3)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, FEATURES)).astype("float32"), rng.normal(size=(SAMPLES, 1)).astype("float32")


def dense(units: int, name: str) -> keras.layers.Layer:
    return keras.layers.Dense(units, "tanh", name=name)


def network() -> keras.Model:
    return keras.Sequential([keras.Input((FEATURES,)), dense(3, "a"), dense(3, "b"), keras.layers.Dense(1, name="c")])


def compiled(model=None, **options) -> keras.Model:
    model = model or network()
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", "jit_compile": False, **options})
    return model


def fit(model, norms, **options):
    return model.fit(*data(), batch_size=BATCH, shuffle=False, verbose=0, callbacks=[norms], **options)


def same(one: GradientHistory, other: GradientHistory) -> None:
    assert one.layers == other.layers and one.variables == other.variables
    for name in ("variable_norms", "losses", "owners", "epoch_ends", "clip_norms", "update_norms"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


# Layers stand in the order of their calls.


class Backwards(keras.Model):
    """Calls its layers in another order than it makes them."""

    def __init__(self):
        super().__init__()
        self.last, self.first = keras.layers.Dense(1, name="last"), dense(3, "first")
        self.middle = keras.Sequential([dense(3, "middle_1"), keras.Sequential([dense(3, "middle_2")])])

    def call(self, x):
        return self.last(self.middle(self.first(x)))


def nested() -> keras.Model:
    def body(inner, name):
        x = keras.Input((FEATURES,))
        return keras.Model(x, dense(FEATURES, f"{name}_out")(inner(dense(FEATURES, f"{name}_in")(x))), name=name)

    x = keras.Input((FEATURES,))
    inner = body(body(body(dense(FEATURES, "core"), "c"), "b"), "a")
    return keras.Model(x, keras.layers.Dense(1, name="head")(inner(x)))


def deep(wrap: bool) -> keras.Model:
    layers = [keras.layers.Dense(FEATURES, "sigmoid", name=f"d{i}") for i in range(30)]
    return keras.Sequential([keras.Input((FEATURES,)), *([keras.Sequential(layers)] if wrap else layers)])


NESTED = ["a_in", "b_in", "c_in", "core", "c_out", "b_out", "a_out", "head"]
ORDERS = {
    "flat": (lambda: deep(False), [f"d{i}" for i in range(30)]),
    "sequential in sequential": (lambda: deep(True), [f"d{i}" for i in range(30)]),
    "functional": (nested, NESTED),
    "subclassed": (Backwards, ["first", "middle_1", "middle_2", "last"]),
    "not built": (
        lambda: keras.Sequential([dense(3, "x"), keras.Sequential([dense(2, "y")]), dense(1, "z")]),
        [*"xyz"],
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_layers_are_in_the_order_of_their_calls(name):
    make, order = ORDERS[name]
    model, norms = compiled(make()), GradientNorms()
    fit(model, norms)
    history = norms.history
    assert history.layers == order
    assert history.variables == [v.path for v in model.trainable_variables]
    assert [history.layers[i] for i in history.owners] == [v.path.split("/")[-2] for v in model.trainable_variables]
    assert (history.norms > 0).all()


# Nothing to train.


def test_a_model_without_anything_to_train(tmp_path):
    model, norms = network(), GradientNorms(updates=True)
    model.trainable = False
    compiled(model, optimizer=keras.optimizers.SGD(0.1, clipnorm=1.0))
    fitted = fit(model, norms, epochs=2)
    history = norms.history
    assert history.layers == [] and history.norms.shape == history.update_ratios.shape == (2 * STEPS, 0)
    np.testing.assert_allclose(history.losses.reshape(2, STEPS).mean(1), fitted.history["loss"], rtol=1e-5)
    assert history.clipped_fraction == 0.0 and (history.global_norm == 0).all()
    history.to_csv(tmp_path / "none.csv")
    history.save(tmp_path / "none.npz")
    assert set(history.series()) == {"loss", "gradient_norm", "clipped_norm"}
    assert history.epoch_ends.tolist() == [STEPS, 2 * STEPS]


def test_a_history_of_no_steps(tmp_path):
    history = GradientHistory.of_rows(
        np.zeros((0, 7), np.float32),
        layers=["a"],
        variables=["a/k"],
        owners=[0],
        clips=True,
        updates=True,
        epoch_ends=[],
    )
    assert history.norms.shape == history.update_ratios.shape == (0, 1) and history.global_norm.shape == (0,)
    assert history.clipped_fraction == 0.0 and history.nonfinite.tolist() == [0]
    history.to_csv(tmp_path / "empty.csv")
    assert all(len(column) == 0 for column in history.series().values())


# Several optimizers.


class Pair(keras.Model):
    """A generator that is to fool a discriminator, as in keras.io's example, with `critics` updates of the latter."""

    critics, main = 1, False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.discriminator = keras.Sequential([keras.Input((FEATURES,)), dense(3, "d1"), dense(1, "d2")])
        self.generator = keras.Sequential([keras.Input((FEATURES,)), dense(3, "g1"), dense(FEATURES, "g2")])

    def compile(self, d_optimizer, g_optimizer, **kwargs):
        if self.main:
            super().compile(optimizer=g_optimizer, **kwargs)
            self.others = {"d": d_optimizer}
        else:
            super().compile(**kwargs)
            self.optimizers = [d_optimizer, g_optimizer]
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def call(self, x):
        return self.discriminator(self.generator(x))

    def d_loss(self, x):
        real, fake = self.discriminator(x), self.discriminator(self.generator(x))
        return keras.ops.mean(keras.ops.square(real - 1.0)) + keras.ops.mean(keras.ops.square(fake))

    def g_loss(self, x):
        return keras.ops.mean(keras.ops.square(self(x) - 1.0))

    def train_step(self, *arguments):
        if BACKEND == "jax":
            return self.jax_step(*arguments)
        x, _ = arguments[0]
        for _ in range(self.critics):
            d_loss, grads = value_and_gradients(lambda: self.d_loss(x), self.discriminator.trainable_variables)
            apply(self.d_optimizer, grads, self.discriminator.trainable_variables)
        g_loss, grads = value_and_gradients(lambda: self.g_loss(x), self.generator.trainable_variables)
        apply(self.g_optimizer, grads, self.generator.trainable_variables)
        return {"d_loss": d_loss, "g_loss": g_loss}

    def jax_step(self, state, batch):
        import jax

        trainable, *others = state
        x, _ = batch
        trainable = list(trainable)
        parts = {"d": (self.discriminator, self.d_loss, self.d_optimizer)}
        parts["g"] = (self.generator, self.g_loss, self.g_optimizer)
        logs = {}
        for part in ["d"] * self.critics + ["g"]:
            net, loss, optimizer = parts[part]
            own = [id(v) for v in net.trainable_variables]
            places = [i for i, v in enumerate(self.trainable_variables) if id(v) in own]

            def value(values, places=places, loss=loss):
                all_values = list(trainable)
                for i, v in zip(places, values, strict=True):
                    all_values[i] = v
                with keras.StatelessScope(list(zip(self.trainable_variables, all_values, strict=True))):
                    return loss(x)

            logs[f"{part}_loss"], grads = jax.value_and_grad(value)([trainable[i] for i in places])
            # Of the other optimizers Keras carries no state; plain SGD has none but its count of iterations.
            of_optimizer = others[1] if optimizer is self.optimizer else [v.value for v in optimizer.variables]
            new, of_optimizer = optimizer.stateless_apply(of_optimizer, grads, [trainable[i] for i in places])
            if optimizer is self.optimizer:
                others[1] = of_optimizer
            for i, v in zip(places, new, strict=True):
                trainable[i] = v
        return logs, (trainable, *others)


def pair(critics=1, main=False, clipnorm=None, **options) -> Pair:
    kind = type("Pair", (Pair,), {"critics": critics, "main": main})
    model = kind()
    optimizers = [keras.optimizers.SGD(0.1, clipnorm=clipnorm), keras.optimizers.SGD(0.2, clipnorm=clipnorm)]
    for optimizer, net in zip(optimizers, (model.discriminator, model.generator), strict=True):
        optimizer.build(net.trainable_variables)
    model.compile(*optimizers, jit_compile=False, **options)
    return model


def by_hand(model: Pair) -> dict[str, list[np.ndarray]]:
    """Train a twin; return each update's norms of the discriminator and of the generator, in order."""
    twin, (x, _) = pair(model.critics), data()
    twin.set_weights(model.get_weights())
    rows = {"d": [], "g": []}
    for start in range(0, SAMPLES, BATCH):
        batch = x[start : start + BATCH]
        for part in ["d"] * model.critics + ["g"]:
            net = twin.discriminator if part == "d" else twin.generator
            loss = twin.d_loss if part == "d" else twin.g_loss
            optimizer = twin.d_optimizer if part == "d" else twin.g_optimizer
            _, grads = value_and_gradients(lambda loss=loss, batch=batch: loss(batch), net.trainable_variables)
            rows[part].append([float(np.linalg.norm(keras.ops.convert_to_numpy(g))) for g in grads])
            apply(optimizer, grads, net.trainable_variables)
    return {part: np.array(values) for part, values in rows.items()}


@pytest.mark.parametrize("main", [False, True])
@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 2}, {"run_eagerly": True}, {"jit_compile": True}])
def test_the_optimizers_of_a_gan_share_a_row(main, options):
    if BACKEND != "tensorflow" and options:
        pytest.skip("one way to compile is enough here")
    model, norms = pair(main=main), GradientNorms(updates=True)
    if options:
        model.compile(model.d_optimizer, model.g_optimizer, **{"jit_compile": False, **options})
    expected = by_hand(model)
    fit(model, norms)
    history = norms.history
    np.testing.assert_allclose(history.variable_norms, np.hstack([expected["d"], expected["g"]]), rtol=1e-4)
    assert sorted(history.layers) == ["d1", "d2", "g1", "g2"]
    moved = history.update_norms / history.variable_norms
    np.testing.assert_allclose(moved, np.tile([0.1] * 4 + [0.2] * 4, (STEPS, 1)), rtol=1e-2)
    assert (history.weight_norms[1:] > 0).all() and history.clip_norms is None
    assert history.epoch_ends.tolist() == [STEPS]
    fit(model, norms, epochs=2)
    assert norms.history.epoch_ends.tolist() == [STEPS, 2 * STEPS, 3 * STEPS]


@pytest.mark.parametrize("clipnorm", [None, 0.05])
def test_a_critic_that_is_updated_several_times_a_step(clipnorm, monkeypatch):
    monkeypatch.setattr("zoo.telemetry.gradients.WINDOW", 4)  # of the nine rows, and known after the first step
    model, norms = pair(critics=3, clipnorm=clipnorm), GradientNorms()
    if clipnorm is None:
        expected = by_hand(model)
    fit(model, norms)
    history = norms.history
    assert len(history) == 3 * STEPS
    generator = history.variable_norms[:, 4:]
    assert (generator[2::3] > 0).all() and not generator[0::3].any() and not generator[1::3].any()
    if clipnorm is None:
        np.testing.assert_allclose(history.variable_norms[:, :4], expected["d"], rtol=1e-4)
        np.testing.assert_allclose(generator[2::3], expected["g"], rtol=1e-4)
    else:
        norms, after = history.variable_norms, history.clip_norms[:, 1]
        np.testing.assert_allclose(history.clip_norms[:, 0], history.global_norm, rtol=1e-4)
        np.testing.assert_allclose(after, np.sqrt((np.minimum(norms, 0.05) ** 2).sum(1)), rtol=1e-4)


# Any sequence of compile, fit and models.


def test_clipping_in_one_of_two_phases():
    norms, model = GradientNorms(), compiled()
    fit(model, norms)
    fit(compiled(model, optimizer=keras.optimizers.Adam(0.01, global_clipnorm=0.01)), norms, epochs=2)
    fit(compiled(model, optimizer=keras.optimizers.RMSprop(0.01)), norms)
    history = norms.history
    assert len(history) == 4 * STEPS and history.epoch_ends.tolist() == [3, 6, 9, 12]
    assert np.isfinite(history.clip_norms[:, 0]).tolist() == [False] * 3 + [True] * 6 + [False] * 3
    np.testing.assert_allclose(history.clip_norms[3:9, 0], history.global_norm[3:9], rtol=1e-5)
    assert (history.norms > 0).all()


@pytest.mark.parametrize("on_disk", [False, True])
def test_layers_that_are_frozen_in_one_of_two_phases(on_disk, tmp_path):
    path = tmp_path / "rows.f32" if on_disk else None
    norms, model = GradientNorms(path=path, updates=True), network()
    model.get_layer("a").trainable = model.get_layer("b").trainable = False
    fit(compiled(model), norms)
    first = norms.history
    assert first.layers == ["c"]
    if path:
        same(GradientHistory.recover(path), first)
    model.get_layer("a").trainable = True
    fit(compiled(model, optimizer=keras.optimizers.SGD(0.1, clipnorm=0.1)), norms)
    model.get_layer("a").trainable, model.get_layer("b").trainable = False, True
    fit(compiled(model), norms)
    history = norms.history
    assert history.layers == ["a", "b", "c"]
    assert history.variables == [v.path for v in model.variables]
    frozen = history.norms == 0
    assert frozen[:, 0].tolist() == [True] * 3 + [False] * 3 + [True] * 3
    assert frozen[:, 1].tolist() == [True] * 6 + [False] * 3
    assert not frozen[:, 2].any() and np.isfinite(history.losses).all()
    np.testing.assert_array_equal(history.variable_norms[:3, -2:], first.variable_norms)
    np.testing.assert_array_equal(history.update_ratios[:3, 2], first.update_ratios[:, 0])
    assert (history.update_ratios[:, :2] == 0).tolist() == frozen[:, :2].tolist()
    if path:
        same(GradientHistory.recover(path), history)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.f32", "rows.json"]


def test_a_rewriting_that_is_cut_off_loses_nothing(tmp_path):
    path = tmp_path / "rows.f32"
    norms = GradientNorms(path=path)
    fit(compiled(), norms)
    header = json.loads((tmp_path / "rows.json").read_text())
    (tmp_path / "rows.f32.new").write_bytes(b"1234")  # it was being written
    same(GradientHistory.recover(path), norms.history)
    path.rename(tmp_path / "rows.f32.new")
    path.write_bytes(b"12345678")  # with other columns: what the header says is whole, but not yet in its place
    (tmp_path / "rows.json").write_text(json.dumps(header | {"rows": "rows.f32.new"}))
    same(GradientHistory.recover(path), norms.history)
    again = GradientNorms(path=path)
    again.resume(1)
    same(again.history, norms.history)
    fit(compiled(), again)
    assert len(again.history) == 2 * STEPS and not (tmp_path / "rows.f32.new").exists()
    same(GradientHistory.recover(path), again.history)


@pytest.mark.parametrize("on_disk", [False, True])
def test_two_models_in_turn(on_disk, tmp_path):
    path = tmp_path / "rows.f32" if on_disk else None
    norms, one, other = GradientNorms(path=path), compiled(), compiled(Backwards())
    fit(one, norms)
    first = norms.history
    fit(other, norms, epochs=2)
    second = norms.history
    assert second.layers == ["first", "middle_1", "middle_2", "last"] and len(second) == 2 * STEPS
    (before,) = norms.previous
    same(before, first)
    if path:
        same(GradientHistory.recover(path), first)
        same(GradientHistory.recover(tmp_path / "rows.2.f32"), second)
    fit(one, norms)  # its history goes on
    assert len(norms.history) == 2 * STEPS and norms.history.layers == ["a", "b", "c"]
    same(norms.previous[0], second)


# Pickles and copies.


def pickled(norms):
    return pickle.loads(pickle.dumps(norms))


def cloudpickled(norms):
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(norms))


@pytest.mark.parametrize("way", [pickled, cloudpickled, copy.deepcopy, copy.copy])
def test_copied_used_or_not(way, tmp_path):
    unused, norms = way(GradientNorms(updates=True)), GradientNorms(updates=True, path=tmp_path / "rows.f32")
    fit(compiled(), unused)
    assert len(unused.history) == STEPS and unused.updates
    model = compiled()
    fit(model, norms)
    twin = way(norms)
    same(twin.history, norms.history)
    assert norms.copies == []  # it has recorded nothing of its own
    fit(model, twin)
    fit(model, norms, epochs=2)
    assert [len(twin.history), len(twin.previous[0]), len(norms.history)] == [STEPS, STEPS, 3 * STEPS]
    same(GradientHistory.recover(tmp_path / "rows.f32"), norms.history)
    same(GradientHistory.recover(tmp_path / "rows.2.f32"), twin.history)


def test_a_copy_made_in_the_middle_of_a_training_has_the_rows_so_far():
    norms, copies = GradientNorms(), []
    copying = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: copies.append(copy.deepcopy(norms)))
    compiled().fit(*data(), batch_size=BATCH, verbose=0, callbacks=[norms, copying])
    assert [len(c.history) for c in copies] == [1, 2, 3]
    np.testing.assert_array_equal(copies[1].history.norms, norms.history.norms[:2])


def test_what_a_copy_recorded_is_found_again(tmp_path):
    norms = GradientNorms(path=tmp_path / "rows.f32")
    with pytest.raises(RuntimeError, match=r"no history yet.*callbacks=\[\.\.\.\]"):
        _ = norms.history
    copy.deepcopy(norms)
    with pytest.raises(RuntimeError, match="no copy recorded anything"):
        _ = norms.history
    fit(compiled(), copy.deepcopy(copy.deepcopy(norms)))  # as scikit-learn's clones do, and nobody keeps it
    assert len(norms.copies) == 1 and len(norms.history) == STEPS
    fit(compiled(), copy.deepcopy(norms), epochs=2)
    with pytest.raises(RuntimeError, match=r"2 copies.*copies\[i\]\.history"):
        _ = norms.history
    assert [len(c.history) for c in norms.copies] == [STEPS, 2 * STEPS]
    for number, twin in enumerate(norms.copies, start=2):
        same(GradientHistory.recover(tmp_path / f"rows.{number}.f32"), twin.history)
    assert not (tmp_path / "rows.f32").exists()
    fit(compiled(), norms)
    assert len(norms.history) == STEPS and len(norms.copies) == 2


def test_a_dropped_copy_keeps_no_model_alive():
    import gc
    import weakref

    norms, model = GradientNorms(), compiled()
    fit(model, copy.deepcopy(norms))
    gone = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert gone() is None and len(norms.history) == STEPS


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")
def test_keras_tuner(tmp_path, monkeypatch):
    tuner_module = pytest.importorskip("keras_tuner")

    def build(choices):
        units = choices.Int("units", 2, 9)
        return compiled(keras.Sequential([keras.Input((FEATURES,)), dense(units, "a"), keras.layers.Dense(1)]))

    norms = GradientNorms()
    tuner = tuner_module.RandomSearch(build, objective="loss", max_trials=2, directory=tmp_path, seed=0)
    # On TensorFlow this imports TensorBoard, which need not be there.
    monkeypatch.setattr(tuner, "_configure_tensorboard_dir", lambda *arguments: None)
    tuner.search(*data(), batch_size=BATCH, epochs=2, verbose=0, callbacks=[norms])
    assert [twin.history.norms.shape for twin in norms.copies] == [(2 * STEPS, 2)] * 2


def test_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = data()
    norms = GradientNorms()

    def build(X, y):
        return compiled(keras.Sequential([keras.Input((FEATURES,)), dense(3, "a"), keras.layers.Dense(2)]))

    y = (y[:, 0] > 0).astype(int)
    options = {"callbacks": [norms], "batch_size": BATCH, "verbose": 0}
    estimator = keras.wrappers.SKLearnClassifier(build, fit_kwargs=options)
    copy.deepcopy(estimator).fit(x, y)
    assert len(norms.history) == STEPS and len(norms.copies) == 1
    estimator.fit(x, y)
    assert norms.history.norms.shape == (STEPS, 2) and norms.previous == []
    # Keras' own `__sklearn_clone__` drops `fit_kwargs`: each fold trains with the callback itself.
    selection.cross_validate(keras.wrappers.SKLearnClassifier(build), x, y, cv=3, params=options)
    assert [len(history) for history in [*norms.previous, norms.history]] == [STEPS, 2, 2, 2]


def test_beside_backup_and_restore(tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def train(norms, *more):
        keras.utils.set_random_seed(1)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model = compiled()
        model.fit(*data(), batch_size=BATCH, shuffle=False, verbose=0, epochs=3, callbacks=[norms, backup, *more])

    norms = GradientNorms()
    with pytest.raises(KeyboardInterrupt):
        train(norms, Fails())
    train(norms)  # the second epoch's end was backed up
    (before,) = norms.previous
    assert len(before) == 2 * STEPS and len(norms.history) == STEPS
    whole = GradientNorms()
    keras.utils.set_random_seed(1)
    fit(compiled(), whole, epochs=3)
    recorded = np.concatenate([before.norms, norms.history.norms])
    np.testing.assert_allclose(recorded, whole.history.norms, rtol=1e-5)


def test_a_training_that_was_broken_off_between_steps_goes_on_with_and_without_the_callback():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    y = np.arange(64) % 3
    model, norms = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]), GradientNorms()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[norms, Interrupt()])
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[norms])
    model.fit(x, y, batch_size=8, verbose=0)
    model.train_on_batch(x[:8], y[:8])
    assert len(norms.history) == 3 + 8
