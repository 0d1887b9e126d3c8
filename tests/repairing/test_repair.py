"""Programs that do not learn are changed until they do; those that do are left alone."""

import dataclasses
import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import sklearn.datasets
from keras import layers

from zoo import repair
from zoo.checkup.check import examined
from zoo.checkup.training import LEARNED
from zoo.repairing import continuing
from zoo.repairing.changes import called_for, possible
from zoo.repairing.code import difference, listing
from zoo.repairing.continuing import Snapshots
from zoo.repairing.plan import Plan, in_units, realized
from zoo.repairing.repair import _Repair
from zoo.repairing.subject import Subject
from zoo.repairing.tries import Bench, Try
from zoo.telemetry.breaking import sound_epoch

ENDLESS = 1e9  # seconds: none of these programs takes as long, so that no result depends on how fast a machine is


@functools.cache
def digits():
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return (x / 16).astype("float32")[:800], y[:800]


def net(*hidden, last=("softmax", 10), loss="sparse_categorical_crossentropy", optimizer="adam", features=64):
    keras.utils.set_random_seed(1)
    parts = hidden or (layers.Dense(32, "relu"),)
    model = keras.Sequential([keras.Input((features,)), *parts, layers.Dense(last[1], last[0])])
    model.compile(optimizer, loss)
    return model


def numbers(scale=1.0, offset=0.0):
    x = np.random.default_rng(0).normal(size=(800, 4)).astype("float32")
    return x, (offset + scale * (x[:, 0] * x[:, 1] + x[:, 2])).astype("float32")


def test_a_cure_is_proved_and_can_be_used(tmp_path):
    x, y = digits()
    model = net(*(layers.Dense(32, "sigmoid") for _ in range(5)), optimizer=keras.optimizers.SGD(0.01))
    before = [np.array(v) for v in model.weights]

    found = repair(model, x, y, epochs=6, budget=ENDLESS)

    assert found.cured, found
    assert found.before.verdict.name != "healthy" and found.after.verdict.name == "healthy"
    assert len(found.skills["before"]) == len(found.skills["after"]) == 3
    assert min(found.skills["after"]) > max(found.skills["before"]) + 0.3
    # Each change is needed.
    assert set(found.without) == {change.name for change in found.changes} or len(found.changes) == 1
    assert all(skill < found.after.skill for skill in found.without.values())
    stays_as_it_was(model, before, found)
    tells_its_changes_as_code(found)
    needs_no_gradient_zoo(found, x[:50], tmp_path)


def stays_as_it_was(model, before, found):
    assert found.model is not model
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert model.optimizer.iterations == 0 and float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert [layer.activation.__name__ for layer in model.layers] == ["sigmoid"] * 5 + ["softmax"]


def tells_its_changes_as_code(found):
    told = str(found)
    assert told.startswith("cured in") and f"Before {found.before.verdict.name}: " in told and "of 3 seeds" in told
    assert all(change.name in told and change.reason in told for change in found.changes)
    assert any(line.startswith("+") for line in found.code.splitlines())


def needs_no_gradient_zoo(found, x, folder):
    found.model.save(folder / "repaired.keras")
    np.save(folder / "x.npy", x)
    # -I leaves out the working directory; what is installed in a way that is editable would still be found.
    code = (
        "import sys; sys.modules['zoo'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('repaired.keras')\n"
        "np.save('said.npy', model.predict(np.load('x.npy'), verbose=0))\n"
        "model.fit(np.load('x.npy'), np.zeros(50), verbose=0)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, check=True, capture_output=True)
    said = np.asarray(found.model.predict(x, verbose=0))
    np.testing.assert_allclose(np.load(folder / "said.npy"), said, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", (0, 1))
def test_what_learns_is_not_changed(seed):
    x, y = digits()
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    found = repair(model, x, y, epochs=10, budget=ENDLESS)

    assert not found.changes and not found.cured and not found.code
    assert found.after is found.before and found.before.verdict.name == "healthy"
    assert found.model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.9
    assert str(found).startswith("nothing to cure")


def test_what_learns_and_is_only_not_done_is_not_changed():
    x, y = digits()
    found = repair(
        net(layers.Dense(32, "relu"), optimizer=keras.optimizers.Adam(1.6e-3)), x, y, epochs=3, budget=ENDLESS
    )

    assert not found.changes and found.before.verdict.name == "healthy", found
    told = examined(Subject.of(net(), x, y, None).program).told
    assert 0.4 <= found.before.skill < LEARNED * told


def test_what_learned_once_and_not_again_is_no_cure():
    x, y = digits()
    repairing = _Repair(Subject.of(net(), x, y, None), 2, 32, ENDLESS, verbose=False)
    looked = examined(repairing.subject.program)
    first, before = repairing.bench.profiled(Try((), Plan()), 2, ENDLESS, looked)
    known = possible(repairing.subject, 2, 32)
    edge = Try(("lower rate",), Plan().compiling(optimizer=lambda: keras.optimizers.SGD(1e6)), skill=0.9, epochs=2)
    again = []

    assert repairing._proved(edge, first, before, known, {}, True, looked, again) is None

    assert [one.keys for one in again] == [edge.keys] and again[0].skill < 0.5
    tries = [Try((key,), Plan(), skill=skill, epochs=2) for key, skill in (("a", 0.6), ("b", 0.8), ("c", -1.0))]
    tries += [edge, Try(("d",), Plan(), skill=0.9, epochs=1)]
    hopeless = dataclasses.replace(before, skill=0.0)
    assert [one.keys for one in repairing._others(edge, tries, hopeless)] == [("b",), ("a",)]


@pytest.mark.parametrize(("last", "loss"), (((None, 10), "sparse"), ((None, 1), "binary")))
def test_logits_for_a_loss_of_logits_are_as_they_should_be(last, loss):
    x, y = digits()
    losses = {"sparse": keras.losses.SparseCategoricalCrossentropy, "binary": keras.losses.BinaryCrossentropy}
    model = net(last=last, loss=losses[loss](from_logits=True))

    known = possible(Subject.of(model, x, y if loss == "sparse" else y % 2, None), 3, 32)

    assert not {"output", "loss"} & set(known)


def test_units_that_lack_are_added_to_logits_as_logits():
    x, y = digits()
    model = net(last=(None, 4), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    change = possible(Subject.of(model, x, y, None), 3, 32)["output"]

    assert change.name == "10 units"
    assert change.made(Plan()).settings == {model.layers[-1].name: {"units": 10}}


def trained(model, x, y, key, epochs):
    """The program with one change that its findings call for, trained, in the units of its targets; and its skill."""
    subject = Subject.of(model, x, y, None)
    known = possible(subject, epochs, 32)
    assert key in called_for(examined(subject.program, thorough=False).checkup().findings, known)
    one = Bench(subject, 32).advance(Try((key,), known[key].made(Plan())), epochs, ENDLESS)
    return in_units(subject, one.plan, one.model), one.skill, known[key]


def test_answers_are_in_the_units_of_the_targets():
    x, y = numbers(scale=3000, offset=50_000)
    model, skill, change = trained(net(last=(None, 1), loss="mse", features=4), x, y, "scaled targets", 30)

    said = model.predict(x, verbose=0)[:, 0]
    assert skill > 0.8 and 1 - np.square(said - y).sum() / np.square(y - y.mean()).sum() > 0.8
    assert isinstance(model.layers[-1], layers.Rescaling) and "(y - offset) / scale" in change.by_hand


def test_rows_with_holes_are_left_out_and_columns_of_holes_filled():
    x, y = digits()
    x = x.copy()
    x[::40, 3] = np.nan
    _, skill, change = trained(net(), x, y, "numbers", 10)
    assert skill > 0.7 and "np.isfinite" in change.by_hand

    x[:, 3] = np.nan
    _, skill, change = trained(net(), x, y, "numbers", 10)
    assert skill > 0.7 and "np.nan_to_num" in change.by_hand


def test_class_numbers_from_one_get_units_enough_or_begin_at_zero():
    x, y = digits()
    model, skill, _ = trained(net(), x, y + 1, "output", 10)
    assert skill > 0.7 and np.mean(model.predict(x, verbose=0).argmax(1) == y + 1) > 0.7

    model, skill, change = trained(net(), x, y + 1, "labels", 10)
    assert skill > 0.7 and np.mean(model.predict(x, verbose=0).argmax(1) == y) > 0.7
    assert change.by_hand == "classes, y = np.unique(y, return_inverse=True)"


@pytest.mark.parametrize("weight", [1e-9, [1e-9], 1e6])
def test_a_weight_that_makes_the_loss_tiny_or_huge_is_left_out(weight):
    x, y = digits()
    model = net(optimizer=keras.optimizers.SGD(0.1))
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", loss_weights=weight)
    subject = Subject.of(model, x, y, None)
    change = possible(subject, 5, 32)["loss weights"]
    bench = Bench(subject, 32)
    before, after = (bench.advance(Try((), plan), 5, ENDLESS) for plan in (Plan(), change.made(Plan())))

    assert before.skill < 0.2 and after.skill > 0.6
    model.compile("sgd", "sparse_categorical_crossentropy", loss_weights=0.5)
    assert "loss weights" not in possible(Subject.of(model, x, y, None), 5, 32)


def test_masks_of_255_are_taken_as_zeros_and_ones():
    x = np.random.default_rng(0).normal(size=(300, 8, 8, 1)).astype("float32")
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(8, 3, padding="same", activation="relu"), layers.Conv2D(1, 1, activation="sigmoid")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    model, skill, _ = trained(model, x, 255.0 * (x > 0.3), "labels", 10)

    assert skill > 0.7 and model.predict(x[:8], verbose=0).min() >= 0


def test_a_training_that_broke_goes_on_from_its_last_sound_epoch():
    x, y = digits()
    steps = 20  # of the 640 that are not held out
    leap = keras.optimizers.schedules.PiecewiseConstantDecay([6 * steps, 6 * steps + 20], [0.1, 3e3, 0.1])
    subject = Subject.of(net(optimizer=keras.optimizers.SGD(leap)), x, y, None)
    bench, kept = Bench(subject, 32), Snapshots()
    first, before = bench.profiled(Try((), Plan()), 9, ENDLESS, examined(subject.program), kept)
    assert sound_epoch(first.losses) == kept.epoch == 6

    bench.kept = kept
    ways = dict(continuing.changes(subject, kept, steps))
    tries = {key: bench.advance(Try((key,), change.made(Plan())), 9, ENDLESS) for key, change in ways.items()}

    assert set(tries) == {"gentler rate", "gentler clipping", "gentler warm-up"}
    assert max(one.skill for one in tries.values()) > before.skill + 0.5
    assert all(len(one.losses) == 3 for one in tries.values())  # the first six are not trained again
    assert float(tries["gentler rate"].model.optimizer.learning_rate) == pytest.approx(0.01)
    # With another seed all nine are, the last three gently.
    again = bench.advance(Try(("gentler rate",), ways["gentler rate"].made(Plan()), seed=1), 9, ENDLESS)
    assert len(again.losses) == 9 and max(again.losses[6:]) < again.losses[0]
    assert "model.fit(x, y, epochs=6)" in ways["gentler rate"].by_hand


def test_what_nothing_cures_is_said():
    x, _ = digits()
    y = np.random.default_rng(0).integers(0, 10, len(x))
    found = repair(net(), x, y, epochs=3, budget=ENDLESS)

    assert not found.cured and not found.changes
    assert "nothing cures" in found.reason and "came nearest" in found.reason
    assert str(found).startswith("not cured")


class Own(keras.Model):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.inside = layers.Dense(width, "relu")
        self.last = layers.Dense(10, "softmax")

    def call(self, x):
        return self.last(self.inside(x))

    def get_config(self):
        return {"width": self.width}


class Coder(keras.Model):
    """As keras.io's autoencoders of several parts are: no `call`, no `get_config()`, a train step of its own."""

    def __init__(self, encoder, decoder, weight=0.5, **options):
        super().__init__(**options)
        self.encoder, self.decoder, self.weight = encoder, decoder, weight
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            code = self.encoder(data, training=True)
            errors = keras.ops.square(data - self.decoder(code, training=True))
            loss = keras.ops.mean(errors) + 1e-3 * self.weight * keras.ops.mean(keras.ops.square(code))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="the train step is TensorFlow's")
def test_a_class_that_keeps_what_it_is_given_is_copied_and_cured():
    x, _ = digits()
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([keras.Input((64,)), layers.Dense(32, "relu"), layers.Dense(8)])
    model = Coder(encoder, keras.Sequential([keras.Input((8,)), layers.Dense(64)]))
    model.compile(keras.optimizers.SGD(1e-6))
    before = [np.array(v) for v in model.weights]

    found = repair(model, x, epochs=4, budget=ENDLESS)

    assert type(found.model) is Coder and found.model.encoder is not encoder
    assert found.before.verdict.name == "stalled" and found.after.verdict.name == "healthy", found
    assert found.after.loss < found.before.loss / 2
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(weight, old)


class Weighed(layers.Layer):
    """As keras.io's VAEs add a term to the loss; its config names neither it nor what Keras knows by itself."""

    def __init__(self, weight, sharpness=0.5, **options):
        super().__init__(**options)
        self.weight, self.sharpness = weight, sharpness

    def call(self, x):
        self.add_loss(self.weight * keras.ops.mean(keras.ops.square(x)))
        return x


def coder():
    part = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    model = Coder(part, keras.models.clone_model(part), weight=20.0)
    model.compile("adam")
    return model


def weighed():
    given = keras.Input((64,))
    decoder = keras.Sequential([keras.Input((8,)), layers.Dense(64)], name="decoder")
    model = keras.Model(given, decoder(Weighed(20.0, name="code")(layers.Dense(8)(given))))
    model.compile("adam", "mse")
    return model


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="the train step is TensorFlow's")
@pytest.mark.parametrize("make", (coder, weighed))
def test_what_weighs_a_term_of_the_loss_is_made_smaller(make):
    model, (x, _) = make(), digits()
    subject = Subject.of(model, x, None if make is coder else x, None)
    known = possible(subject, 3, 32)

    heavy = {key: realized(subject, known[key].made(Plan()), 0) for key in ("smaller weight", "much smaller weight")}

    of = (lambda m: m.weight) if make is coder else (lambda m: m.get_layer("code").weight)
    assert [of(m) for m in (model, *heavy.values())] == [20.0, 2.0, pytest.approx(0.2)]
    kind = "Coder" if make is coder else "Weighed"
    assert known["smaller weight"].by_hand == f"{kind}(..., weight=2)  # was 20"
    if make is weighed:
        told = difference(model, heavy["smaller weight"])
        assert "\n-code = Weighed(weight=20)(dense" in told and "\n+code = Weighed(weight=2)(dense" in told
        assert any(line.endswith("([keras.layers.Dense(64)])(code)") for line in listing(model))


class Uncopied(Own):
    def __init__(self, make):
        super().__init__(make())

    def get_config(self):
        raise NotImplementedError


@pytest.mark.slow
def test_of_a_class_of_ones_own_the_rest_is_changed():
    x, y = digits()
    model = Own(32)
    model.compile(keras.optimizers.SGD(1e-5), "sparse_categorical_crossentropy")
    found = repair(model, x, y, epochs=6, budget=ENDLESS)

    assert found.cured, found
    assert {change.cause for change in found.changes} <= {"rate", "optimizer", "steps", "inputs"}
    assert any(isinstance(layer, Own) for layer in [found.model, *found.model.layers])


def test_mistakes_are_told():
    x, y = digits()
    with pytest.raises(RuntimeError, match="compile"):
        repair(keras.Sequential([keras.Input((64,)), layers.Dense(10)]), x, y)
    with pytest.raises(ValueError, match="epochs must be 1 or more, not 0"):
        repair(net(), x, y, epochs=0)
    with pytest.raises(ValueError, match="budget must be some seconds"):
        repair(net(), x, y, budget=0)
    with pytest.raises(ValueError, match="as many targets as inputs"):
        repair(net(), x, y[:-1])
    uncopied = Uncopied(lambda: 8)
    uncopied.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"Uncopied cannot be copied.*get_config"):
        repair(uncopied, x, y)
