"""The private names of Keras mean what `keras_private` says, compared with public means; no other file uses any."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
from autodiff import BACKEND, apply, norm

import zoo
from zoo.telemetry import keras_private as private
from zoo.telemetry.layers import replaced

RNG = np.random.default_rng(0)
# What begins with an underscore elsewhere in zoo and is not of Keras.
OF_OTHERS = {"_target_", "_exit", "_return_value", "_foreach_norm", "_foreach_sub", "_trial_id"}


def array(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


def variables() -> list[keras.Variable]:
    return [keras.Variable(array(3, 2)), keras.Variable(array(2))]


def gradients() -> list:
    return [keras.ops.convert_to_tensor(array(*shape)) for shape in ((3, 2), (2,))]


def numbers(tensors: list) -> np.ndarray:
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(t)) for t in tensors])


def ids(things) -> list[int]:
    return [id(thing) for thing in things]


def test_flat_layers_are_those_of_nested_models_and_wrappers_each_once():
    shared, wrapped = keras.layers.Dense(4), keras.layers.Dense(4)
    inner = keras.Sequential([keras.Input((5, 4)), shared, shared])
    model = keras.Sequential([keras.Input((5, 4)), inner, keras.layers.TimeDistributed(wrapped)])
    found = private.flat_layers(model)
    assert len(found) == len(set(ids(found)))  # Keras' own, such as those of inputs, are among them
    assert set(ids([model, *model.layers, *inner.layers, wrapped])) <= set(ids(found))


def test_own_trainable_variables_are_without_inner_layers_and_with_frozen_ones():
    dense, normalization = keras.layers.Dense(3), keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((2,)), dense, normalization])
    assert ids(private.own_trainable_variables(dense)) == ids([dense.kernel, dense.bias])
    assert ids(private.own_trainable_variables(normalization)) == ids([normalization.gamma, normalization.beta])
    assert private.own_trainable_variables(model) == []
    dense.trainable = False
    assert ids(private.own_trainable_variables(dense)) == ids([dense.kernel, dense.bias])


def test_a_raw_value_is_not_cast():
    kinds = []

    class Layer(keras.layers.Layer):
        def build(self, shape):
            self.weight = self.add_weight(shape=shape[-1:], initializer="ones")

        def call(self, x):
            kinds[:] = [
                keras.backend.standardize_dtype(t.dtype) for t in (self.weight.value, private.raw_value(self.weight))
            ]
            return x * self.weight

    layer = Layer(dtype="mixed_bfloat16")
    layer(array(2, 3))
    assert kinds == ["bfloat16", "float32"]
    np.testing.assert_array_equal(numbers([private.raw_value(layer.weight)]), layer.weight.numpy())


def test_the_compiled_loss_is_the_weighted_sum_of_the_losses():
    x = keras.Input((2,))
    model = keras.Model(x, [keras.layers.Dense(1)(x), keras.layers.Dense(1)(x)])
    assert private.compiled_loss(model) is None
    model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 10.0])
    (a, b), (p, q) = [array(4, 1), array(4, 1)], [array(4, 1), array(4, 1)]
    found = private.compiled_loss(model)([a, b], [keras.ops.convert_to_tensor(t) for t in (p, q)])
    np.testing.assert_allclose(float(found), np.mean((a - p) ** 2) + 10 * np.mean(np.abs(b - q)), rtol=1e-5)


def test_what_was_given_to_compile_is_as_it_was_given():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert private.compiled_with(model) == {}
    given = {"loss": lambda y, p: p - y, "metrics": ["mae"], "loss_weights": [2.0]}
    model.compile("sgd", **given)
    assert given.items() <= private.compiled_with(model).items()


@pytest.mark.skipif(BACKEND != "jax", reason="on JAX alone the step's state is handed in")
def test_the_shardings_are_of_the_state_and_asked_for_when_the_step_is_made():
    asked = []

    def shardings():
        asked.append(private.state_shardings(model))
        return asked[-1]

    with keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:1]).scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
        model.compile("adam", "mse", metrics=["mae"])
        with replaced(private.sharded(model, shardings)):
            model.fit(array(4, 2), array(4, 1), verbose=0)
    groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    assert asked
    assert [len(part) for part in asked[-1]] == [*map(len, groups), len(model.metrics_variables)]
    assert asked[-1][0] == [v.value.sharding for v in model.trainable_variables]


def test_attention_gets_query_and_key_by_heads_and_gives_what_the_layer_projects():
    layer, x, given = keras.layers.MultiHeadAttention(2, 4), array(3, 5, 8), []
    expected = numbers([layer(x, x)])
    original = private.attention_of(layer)

    def attention(query, key, value, *args, **kwargs):
        given[:] = [tuple(t.shape) for t in (query, key, value)]
        return original(query, key, value, *args, **kwargs)

    with replaced(private.attending(layer, attention)):
        np.testing.assert_allclose(numbers([layer(x, x)]), expected, rtol=1e-5)
    assert given == [(3, 5, 2, 4)] * 3
    assert private.attention_of(keras.layers.Dense(2)) is None


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_optimizer_trains_what_it_was_built_for_in_that_order(wrapped):
    optimizer, trained = keras.optimizers.Adam(), variables()
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer
    optimizer.build(trained)
    assert ids(private.trained_by(optimizer)) == ids(trained)


@pytest.mark.parametrize("option", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_clipped_gradients_are_those_of_the_documented_options(option):
    grads, optimizer = gradients(), keras.optimizers.SGD(**{option: 0.1})
    arrays = [keras.ops.convert_to_numpy(g) for g in grads]
    total = norm(numbers(grads))
    expected = {
        "clipnorm": [0.1 * a / norm(a) for a in arrays],
        "global_clipnorm": [0.1 * a / total for a in arrays],
        "clipvalue": [np.clip(a, -0.1, 0.1) for a in arrays],
    }[option]
    with replaced(private.clipping(optimizer, lambda grads: [])):  # does not reach the class' own
        np.testing.assert_allclose(numbers(private.clipped(optimizer, grads)), numbers(expected), rtol=1e-5)


def test_what_stands_in_the_place_of_clipping_gets_the_gradients_and_gives_those_that_are_used():
    optimizer, trained, grads, given = keras.optimizers.SGD(0.5, clipnorm=1.0), variables(), gradients(), []

    def clip(grads):
        given.append(numbers(grads))
        return [3 * g for g in grads]

    before = numbers([v.value for v in trained])
    with replaced(private.clipping(optimizer, clip)):
        apply(optimizer, grads, trained)
    np.testing.assert_array_equal(given, [numbers(grads)])
    np.testing.assert_allclose(numbers([v.value for v in trained]), before - 1.5 * given[0], rtol=1e-5, atol=1e-6)


def test_a_class_that_clips_in_a_way_of_its_own_is_told_from_keras():
    class Own(keras.optimizers.SGD):
        def _clip_gradients(self, grads):
            return grads

    assert private.clips_its_own_way(Own())
    assert not any(map(private.clips_its_own_way, [keras.optimizers.SGD(clipnorm=1.0), keras.optimizers.Adam()]))


def test_batches_are_counted_where_iterations_counts_updates():
    optimizer, trained = keras.optimizers.SGD(gradient_accumulation_steps=3), variables()
    for _ in range(4):
        apply(optimizer, gradients(), trained)
    assert (int(private.batches_applied(optimizer).value), int(optimizer.iterations)) == (4, 1)


def test_accumulated_gradients_are_the_sums_since_the_last_update():
    optimizer, trained = keras.optimizers.SGD(gradient_accumulation_steps=3), variables()
    batches = [gradients() for _ in range(5)]
    for grads in batches:
        apply(optimizer, grads, trained)
    sums = private.accumulated_gradients(optimizer, trained[::-1])[::-1]
    expected = sum(numbers(grads) for grads in batches[3:])
    np.testing.assert_allclose(numbers([s.value for s in sums]), expected, rtol=1e-5)


def test_the_source_of_the_rate_is_the_schedule_or_holds_the_number():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert private.source_of_rate(keras.optimizers.SGD(schedule)) is schedule
    np.testing.assert_allclose(float(private.source_of_rate(keras.optimizers.SGD(0.25))), 0.25)


def test_a_callback_without_model_has_all_else():
    callback, model = keras.callbacks.ModelCheckpoint("weights.keras"), keras.Sequential([keras.layers.Dense(1)])
    callback.set_model(model)
    state = private.without_model(vars(callback))
    assert any(value is model for value in vars(callback).values())
    assert not any(value is model for value in state.values())
    assert set(state) == set(vars(callback)) and state["filepath"] == callback.filepath


def test_no_other_file_uses_a_private_name_of_keras():
    folder = Path(zoo.__file__).parent
    trees = {path.relative_to(folder).as_posix(): ast.parse(path.read_text()) for path in folder.rglob("*.py")}
    here = trees.pop("telemetry/keras_private.py")
    del trees["optimizers.py"]  # a class made from Keras' optimizer has to name the parts that it is made from
    own = {name for tree in trees.values() for name in _given(tree)}
    del trees["sweeping/hydra_private.py"]  # it has those of Hydra
    names = _used(here) - own
    assert {"_flatten_layers", "_clip_gradients", "_compile_loss"} <= names
    for path, tree in trees.items():
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert set(filter(_is_private, attributes)) <= own | OF_OTHERS, path
        assert _used(tree).isdisjoint(names), path


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name.isidentifier()


def _used(tree: ast.AST) -> set[str]:
    """Private names that stand there as attributes or, for `getattr` and `replaced`, as strings."""
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {name for name in found if _is_private(name)}


def _given(tree: ast.AST) -> set[str]:
    """Names that a class gives itself, and so are not Keras': methods, annotations, what is assigned to `self`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id == "self" else set()
    return found


def test_where_a_tensor_comes_from_and_what_the_loss_was():
    x = keras.Input((3,))
    layer = keras.layers.Dense(2)
    model = keras.Model(x, layer(x))
    model.compile("sgd", "mse")

    loss = model.train_on_batch(np.ones((4, 3)), np.zeros((4, 2)))

    assert private.made_by(model.output) is layer and private.made_by(np.ones(3)) is None
    assert private.called_with(layer) == [model.input]
    outer = keras.Input((3,))
    keras.Model(outer, model(outer))
    assert private.called_with(model) == [outer]  # and its own input is what is within
    assert float(private.loss_tracker(model).result()) == float(loss)
