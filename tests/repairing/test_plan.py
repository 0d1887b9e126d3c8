"""A plan's program is the person's own but for what the plan says."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo.repairing.changes import possible
from zoo.repairing.code import called, listing
from zoo.repairing.plan import Plan, realized
from zoo.repairing.search import candidates, planned
from zoo.repairing.subject import Subject


def chain():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "tanh", kernel_regularizer="l2", name="first"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(8, name="second"),
            layers.Activation("sigmoid", name="acts"),
            layers.Dense(3, "softmax", name="last"),
        ]
    )


def graph():
    given = keras.Input((6,), name="given")
    shared = layers.Dense(8, "relu", name="shared")
    one, two = shared(given), shared(keras.ops.flip(given, axis=1))
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(8, "elu", name="inside")], name="inner")
    x = layers.Add()([inner(one), two])
    return keras.Model(given, layers.Dense(3, "softmax", name="last")(x))


def applications():
    return keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=3)


def subject_of(model, compiled=True):
    if compiled:
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, *model.input_shape[1:])).astype("float32")
    return Subject.of(model, x, rng.integers(0, 3, 60), None)


@pytest.mark.parametrize("make", [chain, graph, applications])
def test_without_changes_it_is_the_same_program(make):
    keras.utils.set_random_seed(0)
    model = make()
    subject = subject_of(model)

    copy = realized(subject, Plan(), 0)

    x = subject.held[0]
    np.testing.assert_allclose(copy.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert type(copy.optimizer) is type(model.optimizer) and copy.optimizer is not model.optimizer
    assert copy.loss == model.loss
    assert not {id(v) for v in copy.weights} & {id(v) for v in model.weights}


def test_another_seed_draws_weights_anew_where_nothing_was_trained():
    model = chain()
    subject = subject_of(model)
    other = realized(subject, Plan(), 1)
    assert not np.allclose(other.get_weights()[0], model.get_weights()[0])

    model.fit(*subject.program.batch(48), epochs=30, verbose=0)
    trained = realized(subject_of(model, compiled=False), Plan(), 1)
    np.testing.assert_array_equal(trained.get_weights()[0], model.get_weights()[0])


def test_each_change_changes_what_it_says():
    subject = subject_of(chain())
    known = possible(subject, epochs=5, size=1)

    def made(key):
        return realized(subject, known[key].made(Plan()), 0)

    assert [layer.name for layer in made("batch normalization").layers] == [
        *["first", "first_normalized", "first_activation", "drop", "second", "second_normalized", "acts", "last"]
    ]
    acts = made("relu")
    assert acts.get_layer("first").activation is keras.activations.relu
    assert acts.get_layer("acts").activation is keras.activations.relu
    assert acts.get_layer("second").activation is keras.activations.linear
    assert made("less dropout").get_layer("drop").rate == 0.2
    assert made("no penalties").get_layer("first").kernel_regularizer is None
    assert made("wider").get_layer("second").units == 32 and made("wider").get_layer("last").units == 3
    assert isinstance(made("adam").optimizer, keras.optimizers.Adam)
    lower = made("lower rate").optimizer
    assert float(lower.learning_rate) == pytest.approx(0.01) and lower.momentum == 0.9
    front = made("standardize")
    x = subject.program.x
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(front.layers[0](x)), (x - x.mean(0)) / x.std(0), rtol=1e-3, atol=1e-4
    )
    assert known["small batches"].made(Plan()).fitted == {"batch_size": 32}
    assert known["more epochs"].made(Plan()).fitted == {"epochs": 20}


def test_nothing_that_is_so_already_is_a_change():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(32, "relu"), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    known = possible(Subject.of(model, rng.normal(size=(60, 6)), rng.integers(0, 3, 60), None), epochs=5, size=32)
    assert not {
        "relu",
        "adam",
        "output",
        "loss",
        "labels",
        "less dropout",
        "no penalties",
        "unfreeze",
        "numbers",
    } & set(known)


def test_of_two_changes_of_one_thing_the_first_is_made():
    known = possible(subject_of(chain()), epochs=5, size=32)
    keys, plan = planned(("lower rate", "adam", "relu"), known)
    assert keys == ("lower rate", "relu")
    assert float(plan.compiled["optimizer"]().learning_rate) == pytest.approx(0.01)


def test_what_the_findings_call_for_is_tried_first_and_nothing_twice():
    known = possible(subject_of(chain()), epochs=5, size=32)
    plans = candidates(["relu", "no penalties", "more epochs"], known, own=False)
    assert [keys for keys, _ in plans[:2]] == [("relu",), ("no penalties",)]
    assert len({frozenset(keys) for keys, _ in plans}) == len(plans)
    assert ("relu", "no penalties") in [keys for keys, _ in plans]


def test_code_is_told_without_what_is_so_by_default():
    assert called(layers.Dense(3)) == "keras.layers.Dense(3)"
    assert called(layers.Dense(3, "relu", kernel_initializer="he_normal")) == (
        'keras.layers.Dense(3, "relu", kernel_initializer=keras.initializers.HeNormal())'
    )
    assert called(layers.Conv2D(8, 3, padding="same")) == 'keras.layers.Conv2D(8, (3, 3), padding="same")'
    assert called(layers.Dropout(0.2)) == "keras.layers.Dropout(0.2)"
    assert called(layers.BatchNormalization(trainable=False)) == "keras.layers.BatchNormalization(trainable=False)"


@pytest.mark.parametrize("make", [chain, graph])
def test_the_listing_makes_the_model_again(make):
    model = make()
    subject_of(model)
    code = "\n".join(listing(model)).replace("keras.ops.flip(", "keras.ops.flip(axis=1, x=")
    code = code.replace("= inner(", "= keras.Sequential([keras.layers.Dense(8, 'elu')])(")

    scope = {"keras": keras}
    exec(code, scope)

    again = scope["model"]
    assert [v.shape for v in again.weights] == [v.shape for v in model.weights]
    assert again.optimizer.get_config()["momentum"] == pytest.approx(0.9) and again.loss == model.loss
