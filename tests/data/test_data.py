"""The data: parts that do not overlap, scaling by the training part alone, augmentation, errors in one line."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

import zoo.data
from zoo.data import Source, prepare
from zoo.data.stream import TrainingStream, crop_flip, plan
from zoo.errors import UserError

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data"
RNG = np.random.default_rng(7)


def numbered(n=300, classes=3, **options):
    """A source whose samples carry their own number, in classes of uneven size."""
    y = np.sort(RNG.choice(classes, n, p=np.arange(1, classes + 1) / sum(range(1, classes + 1))))
    return Source("numbered", (np.arange(n, dtype=np.float32)[:, None], y), **options)


def ids(part):
    return part[0][:, 0].astype(int)


def refuses(words, function, *args, **kwargs):
    """Assert that the call raises a `UserError` of one line that holds all `words`."""
    with pytest.raises(UserError) as raised:
        function(*args, **kwargs)
    text = str(raised.value)
    assert "\n" not in text
    for word in words if isinstance(words, tuple) else (words,):
        assert word in text, text


def test_import_is_light():
    code = "import sys, zoo.data; assert not {'tensorflow', 'keras', 'sklearn', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Parts


def test_digits_are_scikit_learns_all_of_them_once():
    data = zoo.data.digits()
    assert (data.input_shape, data.classes, data.task, data.train_size) == ((8, 8, 1), 10, "categorical", 1293)
    assert data.class_names == tuple("0123456789")
    parts = [data.train, data.validation, data.test]
    assert [len(y) for _, y in parts] == [1293, 144, 360]
    x = np.concatenate([x for x, _ in parts])
    y = np.concatenate([y for _, y in parts])
    assert x.dtype == np.float32 and y.dtype == np.int32
    raw = load_digits()
    ours, theirs = np.column_stack([x.reshape(-1, 64) * 16, y]), np.column_stack([raw.data, raw.target])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_parts_cover_the_data_and_do_not_overlap():
    data = prepare(numbered(), scaling="none")
    together = np.concatenate([ids(part) for part in (data.train, data.validation, data.test)])
    assert sorted(together) == list(range(300))


@pytest.mark.parametrize("options", [{}, {"limit": 90}, {"folds": 4, "fold": 2}, {"test": 50}, {"validation": 50}])
def test_rows_tell_where_a_training_sample_stands_in_the_source(options):
    source = numbered()
    x, y = source.train
    given = {part: (x[: options.pop(part)], y[:50]) for part in ("test", "validation") if part in options}
    source = Source("numbered", source.train, **given)
    data = prepare(source, scaling="none", seed=3, **options)
    assert np.array_equal(data.rows, ids(data.train)) and len(data.rows) == data.train_size


@pytest.mark.parametrize("validation", [0.1, 0.25, 0.5])
def test_each_part_keeps_the_class_shares(validation):
    source = numbered(1000, 5)
    data = prepare(source, validation=validation, scaling="none")
    whole = np.bincount(source.train[1])
    assert np.abs(np.bincount(data.test[1]) - 0.2 * whole).max() <= 1
    assert np.abs(np.bincount(data.validation[1]) - validation * 0.8 * whole).max() <= 2
    assert data.train_size == len(data.train[1]) == 800 - len(data.validation[1])


def test_seed_reproduces_and_changes_the_split_but_not_the_test_part():
    source = numbered()
    one, same, other = (prepare(source, scaling="none", seed=seed) for seed in (1, 1, 2))
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(one, part)[0], getattr(same, part)[0])
    assert set(ids(one.validation)) != set(ids(other.validation))
    assert np.array_equal(one.test[0], other.test[0])


def test_a_given_test_part_is_left_as_it_is():
    source = numbered()
    test = (source.train[0][:50] + 1000, source.train[1][:50])
    data = prepare(Source("given", source.train, test), scaling="none", limit=100)
    assert np.array_equal(data.test[0], test[0]) and np.array_equal(data.test[1], test[1])
    assert data.train_size == 90


def test_folds_partition_the_training_part_by_class():
    given = numbered(500, 4)  # in the order of its classes
    source = Source("numbered", given.train, test=given.train)
    folds = [prepare(source, scaling="none", folds=5, fold=k, seed=3) for k in range(5)]
    train_part = set(range(500))
    assert sorted(np.concatenate([ids(f.validation) for f in folds])) == sorted(train_part)
    shares = np.bincount(source.train[1][sorted(train_part)]) / 5
    for f in folds:
        assert set(ids(f.train)) == train_part - set(ids(f.validation))
        assert np.abs(np.bincount(f.validation[1]) - shares).max() < 1
        assert len(set(f.validation[1][:20])) == 4  # mixed, so that a probe sees every class


def test_regression_splits_and_folds_without_classes():
    x = np.arange(100.0)[:, None]
    source = Source("line", (x, RNG.normal(size=(100, 2))), task="auto")
    data = prepare(source, scaling="none")
    assert (data.task, data.classes, data.train[1].shape, data.train[1].dtype) == ("regression", 2, (72, 2), np.float32)
    folds = [ids(prepare(source, scaling="none", folds=4, fold=k).validation) for k in range(4)]
    assert sorted(np.concatenate(folds)) == sorted(set(range(100)) - set(ids(data.test)))


def test_limit_keeps_class_shares_and_is_part_of_a_larger_limit():
    source = numbered(1000, 4)
    small, large = (prepare(source, scaling="none", limit=limit, seed=5) for limit in (100, 200))
    chosen = [set(ids(d.train)) | set(ids(d.validation)) for d in (small, large)]
    assert [len(c) for c in chosen] == [100, 200] and chosen[0] < chosen[1]
    counts = np.bincount(source.train[1][sorted(chosen[0])])
    assert np.abs(counts - 100 * np.bincount(source.train[1]) / 1000).max() <= 1.5
    assert np.array_equal(small.test[0], large.test[0])
    assert prepare(source, limit=10**6, scaling="none").train_size == 720


def test_random_sets_follow_the_seed():
    for make, shape, size in (
        (zoo.data.random_binary, (32,), 1000),
        (zoo.data.random_regression, (10,), 100),
    ):
        one, same, other = (make(seed=seed, scaling="none") for seed in (1, 1, 2))
        assert one.input_shape == shape and one.classes == 1
        assert sum(len(y) for _, y in (one.train, one.validation, one.test)) == size
        assert one.train[1].shape == (one.train_size, 1) and one.train[1].dtype == np.float32
        assert np.array_equal(one.train[0], same.train[0]) and not np.array_equal(one.train[0], other.train[0])
    assert set(np.unique(zoo.data.random_binary(scaling="none").train[1])) == {0, 1}


# Scaling


def test_standardization_of_vectors_is_scikit_learns_on_the_training_part():
    n = 500
    x = RNG.normal(size=(n, 4)) * [1, 1e-3, 50, 0] + [0, 1e5, -7, 0.1]  # a large offset and a constant among them
    source = Source("vectors", (x, np.arange(n) % 2))
    raw, scaled = prepare(source, scaling="none"), prepare(source, scaling="standardize")
    exact = Source("vectors", (np.arange(n)[:, None], np.arange(n) % 2))
    rows = {part: ids(getattr(prepare(exact, scaling="none"), part)) for part in ("train", "validation", "test")}
    scaler = StandardScaler().fit(x[rows["train"]])
    for part, index in rows.items():
        np.testing.assert_allclose(getattr(scaled, part)[0], scaler.transform(x[index]), rtol=1e-5, atol=1e-6)
    assert raw.train[0].dtype == scaled.train[0].dtype == np.float32


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_standardization_of_images_is_per_channel(kind):
    x = (RNG.random((250, 5, 4, 3)) * [255, 100, 10]).astype(kind)
    source = Source("images", (x, np.arange(250) % 2))
    raw, data = prepare(source, scaling="none"), prepare(source, scaling="standardize")
    scaler = StandardScaler().fit(raw.train[0].reshape(-1, 3).astype(np.float64))
    for part in ("train", "validation", "test"):
        expected = scaler.transform(getattr(raw, part)[0].reshape(-1, 3))
        np.testing.assert_allclose(getattr(data, part)[0].reshape(-1, 3), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "maximum"), [(np.uint8, 255), (np.uint16, 65535), (bool, 1), (np.float64, 1)])
def test_unit_divides_by_the_range_of_the_type(kind, maximum):
    x = (RNG.random((60, 3)) * maximum).round(0 if maximum > 1 else 3).astype(kind)
    test = (x[:9], np.arange(9) % 2)
    data = prepare(Source("s", (x, np.arange(60) % 2), test))
    np.testing.assert_allclose(data.test[0], x[:9].astype(np.float64) / maximum, rtol=1e-6)


def test_gray_images_get_a_channel_and_label_columns_are_flattened():
    x = RNG.integers(0, 256, (50, 6, 7), np.uint8)
    data = prepare(Source("s", (x, (np.arange(50) % 2)[:, None].astype(np.float32))))
    assert data.input_shape == (6, 7, 1) and data.train[1].shape == (36,) and data.train[1].dtype == np.int32


# Augmentation


def test_crop_flip_equals_numpy_for_every_offset():
    top, left, flip = (a.ravel() for a in np.meshgrid(np.arange(9), np.arange(9), [False, True]))
    images = RNG.normal(size=(len(top), 6, 5, 2)).astype(np.float32)
    ours = crop_flip(images, top.astype(np.int32), left.astype(np.int32), flip).numpy()
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    for i, image in enumerate(padded):
        crop = image[top[i] : top[i] + 6, left[i] : left[i] + 5]
        assert np.array_equal(ours[i], crop[:, ::-1] if flip[i] else crop)


def epochs(dataset, count):
    """Return (x, y) of each of `count` iterations."""
    passes = [list(dataset.as_numpy_iterator()) for _ in range(count)]
    return [tuple(np.concatenate([batch[k] for batch in batches]) for k in (0, 1)) for batches in passes]


def trained(data, epoch=0):
    """Return (x, y) of one epoch as training sees it."""
    return epochs(data.stream(epoch=epoch).take(data.steps), 1)[0]


def test_augmented_stream_holds_a_fresh_crop_of_every_image_each_epoch():
    images = RNG.normal(size=(50, 8, 8, 1)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded[..., 0], (8, 8), axis=(1, 2)).reshape(50, 81, 64)
    dataset = TrainingStream(images, np.arange(50), 8, augment=True, seed=1)(endless=False)
    assert len(dataset) == 7
    drawn = []
    for x, y in epochs(dataset, 2):
        assert sorted(y) == list(range(50))
        flat, mirrored = x.reshape(50, 64), x[:, :, ::-1].reshape(50, 64)
        straight = (windows[y] == flat[:, None]).all(-1)
        flipped = (windows[y] == mirrored[:, None]).all(-1)
        assert (straight | flipped).any(1).all()
        assert 5 < flipped.any(1).sum() < 45
        offsets = (straight | flipped).argmax(1)
        assert len(set(offsets)) > 20
        drawn.append((list(y), list(offsets)))
    assert drawn[0][0] != drawn[1][0] and drawn[0][1] != drawn[1][1]


@pytest.mark.parametrize("augment", [False, True])
def test_the_stream_of_an_epoch_follows_from_the_seed_and_its_number(augment):
    images = RNG.normal(size=(40, 8, 8, 3)).astype(np.float32)

    def seen(seed, epoch, **options):
        dataset = TrainingStream(images, np.arange(40), 16, augment=augment, seed=seed, **options)(epoch=epoch)
        return list(dataset.take(9).as_numpy_iterator())

    whole, again = seen(3, 0), seen(3, 0)
    assert [len(y) for _, y in whole] == [16, 16, 8] * 3
    later = seen(3, 2)
    ending = TrainingStream(images, np.arange(40), 16, augment=augment, seed=3)(epoch=1, endless=False)
    ending = [batch for _ in range(2) for batch in ending.as_numpy_iterator()]
    for ours, others in ((whole, again), (whole[6:], later[:3]), (whole[3:], ending)):
        for one, other in zip(ours, others, strict=True):
            assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    for others in (seen(4, 0), later):
        assert not np.array_equal(whole[0][1], others[0][1]) and not np.array_equal(whole[0][0], others[0][0])


def test_augmentation_touches_training_alone():
    plain, augmented = zoo.data.digits(seed=2), zoo.data.digits(seed=2, augmentation="crop_flip", batch_size=100)
    for part in ("validation", "test"):
        assert np.array_equal(getattr(plain, part)[0], getattr(augmented, part)[0])
    assert np.array_equal(plain.train[0], augmented.train[0])
    x, y = trained(augmented)
    assert np.bincount(y).tolist() == np.bincount(plain.train[1]).tolist()
    assert augmented.steps == 13 and x.dtype == np.float32 and 0 <= x.min() < x.max() <= 1


# The order of training


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own():
    orders = np.array([plan(0, epoch, 200, 32)[0] for epoch in range(200)])
    assert np.array_equal(np.sort(orders), np.tile(np.arange(200), (200, 1)))
    # Of uniform permutations: a sample's mean place over 200 epochs has a deviation of 57.7 / sqrt(200) = 4.1, and the
    # correlation of an order with the next, with that of the next seed and of neighbours in one order 1 / sqrt(199).
    assert 3 < (orders.mean(0) - 99.5).std() < 5
    others = np.array([plan(1, epoch, 200, 32)[0] for epoch in range(200)])
    for a, b in ((orders[:-1], orders[1:]), (orders, others), (orders[:, :-1], orders[:, 1:])):
        correlations = [np.corrcoef(one, other)[0, 1] for one, other in zip(a, b, strict=True)]
        assert abs(np.mean(correlations)) < 0.02 and 0.06 < np.std(correlations) < 0.085


def test_without_shuffling_every_epoch_has_the_order_of_the_data():
    data = zoo.data.uniform_regression(seed=3, batch_size=30, shuffle=False)
    for epoch in (0, 7):
        seen = list(data.stream(epoch=epoch).take(data.steps).as_numpy_iterator())
        assert np.array_equal(np.concatenate([x for x, _ in seen]), data.train[0])
        assert np.array_equal(data.batch_indices(epoch, 1), np.arange(30, 60))
    assert np.array_equal(data.rows, np.arange(100))
    digits = zoo.data.digits(shuffle=False, limit=300)
    assert (np.diff(digits.rows) > 0).all()


@pytest.mark.parametrize(("make", "shape"), [("uniform_binary", (1000, 32)), ("uniform_regression", (100, 10))])
def test_an_articles_own_data_are_uniform_and_all_of_them_to_train_on(make, shape):
    data = getattr(zoo.data, make)(seed=1)
    assert data.train[0].shape == data.validation[0].shape == data.test[0].shape == shape
    assert 0 <= data.train[0].min() < 0.01 and 0.99 < data.train[0].max() < 1
    assert not np.array_equal(data.train[0], data.test[0])
    again, other = getattr(zoo.data, make)(seed=1), getattr(zoo.data, make)(seed=2)
    assert np.array_equal(again.train[0], data.train[0]) and not np.array_equal(other.train[0], data.train[0])


def test_label_noise_draws_that_share_of_the_training_labels_anew():
    clean, noisy = zoo.data.digits(limit=500, seed=1), zoo.data.digits(limit=500, seed=1, label_noise=0.4)
    assert np.array_equal(clean.train[0], noisy.train[0])
    share = np.mean(clean.train[1] != noisy.train[1])  # one in ten draws is the label that was there
    assert 0.30 < share < 0.42
    assert np.array_equal(clean.validation[1], noisy.validation[1]) and np.array_equal(clean.test[1], noisy.test[1])
    tosses = zoo.data.uniform_binary(label_noise=1.0)
    assert 0.4 < tosses.train[1].mean() < 0.6 and tosses.train[1].shape == (1000, 1)


@pytest.mark.parametrize(("noise", "told"), [(1.5, "between 0 and 1"), ("much", "between 0 and 1")])
def test_label_noise_is_a_share(noise, told):
    with pytest.raises(UserError, match=told):
        zoo.data.digits(label_noise=noise)
    with pytest.raises(UserError, match="have no labels"):
        zoo.data.diabetes(label_noise=0.1)


@pytest.mark.parametrize("options", [{}, {"augmentation": "crop_flip"}])
def test_batch_indices_tell_which_samples_a_step_sees(options):
    data = zoo.data.digits(limit=200, batch_size=48, seed=5, **options)
    batches = list(data.stream(epoch=2).take(2 * data.steps).as_numpy_iterator())
    for i, (x, y) in enumerate(batches):
        indices = data.batch_indices(2 + i // data.steps, i % data.steps)
        assert np.array_equal(y, data.train[1][indices])
        assert options or np.array_equal(x, data.train[0][indices])
    assert [len(y) for _, y in batches] == [48, 48, 48, 36] * 2
    for step in (-1, 4):
        with pytest.raises(IndexError, match="an epoch has 4"):
            data.batch_indices(0, step)


ORDER = """
import json, sys
import keras
import zoo.data

data = zoo.data.digits(limit=100, batch_size=20, seed=2)
first = {data.train[0][i].tobytes(): i for i in range(data.train_size)}
for per_call in map(int, sys.argv[1:]):
    # Not built before `fit`. A batch is caught on its way into the step.
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
                  steps_per_execution=per_call, run_eagerly=True, jit_compile=False)
    seen, step = [], model.train_step

    def caught(*inputs, step=step, seen=seen):
        seen.append(keras.ops.convert_to_numpy(inputs[-1][0]))
        return step(*inputs)

    model.train_step = caught
    try:
        model.fit(**data.fit_arguments(epoch=1, steps_per_execution=per_call), epochs=3, verbose=0)
    except zoo.errors.UserError as error:
        print(json.dumps(str(error)))
        continue
    rows = [[first[sample.tobytes()] for sample in batch] for batch in seen]
    print(json.dumps(rows == [data.batch_indices(e, s).tolist() for e in (1, 2) for s in range(data.steps)]))
"""


@pytest.mark.parametrize(("backend", "per_call"), [("tensorflow", "152"), ("torch", "1"), ("jax", "152")])
def test_fit_sees_the_samples_that_batch_indices_tell(backend, per_call):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run([sys.executable, "-c", ORDER, *per_call], cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    if backend == "jax":
        assert "steps_per_execution=2: on jax it must divide an epoch's 5 steps" in answers.pop()
    assert answers == [True] * len(answers) and len(answers) == {"tensorflow": 3, "torch": 1, "jax": 2}[backend]


@pytest.mark.parametrize(("augmentation", "per_call"), [("none", 1), ("none", 3), ("crop_flip", 1)])
def test_a_training_cut_off_and_taken_up_again_goes_on_as_if_it_had_not_been(augmentation, per_call, tmp_path):
    import keras

    data = zoo.data.digits(limit=120, batch_size=16, seed=4, augmentation=augmentation)

    def model():
        keras.utils.set_random_seed(1)
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
        made = keras.Sequential(layers)
        made.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=per_call)
        return made

    def fit(model, **epochs):
        arguments = data.fit_arguments(epochs.pop("epoch", 0), steps_per_execution=per_call)
        return model.fit(**arguments, **epochs, verbose=0).history["loss"]

    whole = model()
    losses = fit(whole, epochs=4)
    half = model()
    first = fit(half, epochs=2)
    half.save(tmp_path / "half.keras")
    resumed = keras.saving.load_model(tmp_path / "half.keras")
    assert first + fit(resumed, epoch=2, epochs=4) == losses
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_steps_that_do_not_divide_an_epoch_end_with_it():
    import keras

    data = zoo.data.digits(limit=120, batch_size=16)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=4)
    model.fit(**data.fit_arguments(steps_per_execution=4), epochs=3, verbose=0)
    assert data.steps == 7 and int(model.optimizer.iterations.numpy()) == 21


# Fitting


@pytest.mark.parametrize(
    ("make", "options", "loss"),
    [
        (zoo.data.digits, {"limit": 100}, "sparse_categorical_crossentropy"),
        (zoo.data.digits, {"limit": 100, "augmentation": "crop_flip"}, "sparse_categorical_crossentropy"),
        (zoo.data.random_binary, {"limit": 100}, "binary_crossentropy"),
        (zoo.data.random_regression, {}, "mse"),
    ],
)
def test_keras_fits_and_tests_reproducibly(make, options, loss):
    import keras

    def losses():
        data = make(**options, scaling="standardize", batch_size=16, seed=1)
        keras.utils.set_random_seed(1)
        last = {"categorical": "softmax", "binary": "sigmoid", "regression": None}[data.task]
        layers = [keras.Input(data.input_shape), keras.layers.Flatten(), keras.layers.Dense(data.classes, last)]
        model = keras.Sequential(layers)
        model.compile("sgd", loss)
        with data.reading():
            fitted = model.fit(**data.fit_arguments(), epochs=2, verbose=0)
            return [
                *fitted.history["loss"],
                *fitted.history["val_loss"],
                model.evaluate(**data.test_arguments(), verbose=0),
            ]

    first = losses()
    assert np.isfinite(first).all() and first == losses()


def test_fixed_batch_is_the_beginning_of_validation():
    data = zoo.data.digits(augmentation="crop_flip")
    x, y = data.fixed_batch(20)
    assert np.array_equal(x, data.validation[0][:20]) and np.array_equal(y, data.validation[1][:20])


# .npz files


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def four(n=40, **changes):
    x, y = RNG.integers(0, 256, (n, 6, 6), np.uint8), np.arange(n) % 4
    return {"x_train": x, "y_train": y, "x_test": x[:8], "y_test": y[:8]} | changes


def test_npz_with_four_keys(tmp_path):
    arrays = four()
    data = zoo.data.npz(save(tmp_path / "a.npz", **arrays))
    assert (data.task, data.classes, data.input_shape, data.train_size) == ("categorical", 4, (6, 6, 1), 36)
    np.testing.assert_allclose(data.test[0][..., 0], arrays["x_test"] / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "task", "expected", "classes"),
    [
        (np.arange(40) % 2, "auto", "categorical", 2),
        (np.arange(40) % 2, "binary", "binary", 1),
        (np.arange(40) % 2 > 0, "auto", "categorical", 2),
        (np.arange(40) % 2 * 1.0, "auto", "regression", 1),
        (np.arange(40) % 2 * 1.0, "categorical", "categorical", 2),
        (np.eye(4)[np.arange(40) % 4], "auto", "categorical", 4),
        (np.eye(4, dtype=bool)[np.arange(40) % 4], "categorical", "categorical", 4),
        (np.eye(2, dtype=int)[np.arange(40) % 2], "binary", "binary", 1),
        (np.eye(4)[np.arange(40) % 4], "regression", "regression", 4),
    ],
)
def test_npz_with_x_and_y_takes_the_task_from_the_type_or_the_option(tmp_path, y, task, expected, classes):
    data = zoo.data.npz(save(tmp_path / "a.npz", x=RNG.random((40, 3)), y=y), task=task)
    assert (data.task, data.classes) == (expected, classes)
    assert [len(p[1]) for p in (data.train, data.validation, data.test)] == [28, 4, 8]


@pytest.mark.parametrize("make", [zoo.data.mnist, zoo.data.fashion_mnist, zoo.data.cifar10, zoo.data.cifar100])
def test_known_sets_take_a_file(tmp_path, make):
    assert make(save(tmp_path / "a.npz", **four())).classes == 4
    refuses(("data=npz",), make, save(tmp_path / "b.npz", x=np.zeros((4, 2)), y=np.arange(4)))


def test_npz_errors(tmp_path):
    refuses("data.path=FILE.npz", zoo.data.npz)
    refuses(("nowhere.npz", "no file"), zoo.data.npz, tmp_path / "nowhere.npz")
    arrays = four()
    del arrays["y_test"]
    refuses(("y_test missing", "np.savez"), zoo.data.npz, save(tmp_path / "a.npz", **arrays))
    odd = np.array([[1], [2, 3]], object)
    refuses(("object arrays",), zoo.data.npz, save(tmp_path / "o.npz", x=odd, y=np.arange(2)))
    for name, content in (("text.npz", b"not a zip"), ("empty.npz", b""), ("half.npz", None)):
        path = tmp_path / name
        whole = Path(save(tmp_path / "whole.npz", **four())).read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
        refuses((name, "not a readable .npz"), zoo.data.npz, path)
    np.save(tmp_path / "plain.npy", np.zeros(3))
    refuses("not a readable .npz", zoo.data.npz, tmp_path / "plain.npy")
    middle = bytearray(whole)
    middle[len(whole) // 4] ^= 255  # a flipped bit: the archive's checksum tells
    (tmp_path / "bit.npz").write_bytes(middle)
    refuses("not a readable .npz", zoo.data.npz, tmp_path / "bit.npz")


# Errors in arrays and options

X, Y = np.random.default_rng(0).random((40, 3)), np.arange(40) % 4
HOLED = X.copy()
HOLED[3, 1] = np.nan


@pytest.mark.parametrize(
    ("x", "y", "task", "words"),
    [
        (X, Y[:-1], "auto", ("x is (40, 3), y is (39,)", "as many labels")),
        (X[:0], Y[:0], "auto", ("no samples",)),
        (HOLED, Y, "auto", ("train part: x holds NaN", "row 3")),
        (X * np.inf, Y, "auto", ("x holds NaN or infinity",)),
        (X * 1e300, Y, "auto", ("x reaches", "float32 cannot square", "row 0")),
        (X[:, 0], Y, "auto", ("x is (40,)", "(n, features)")),
        (X.astype(str), Y, "auto", ("x is of type <U", "numbers")),
        (X, Y.astype(str), "auto", ("y is of type <U", "0, 1, ...")),
        (X, Y - 1, "auto", ("label -1",)),
        (X, Y + 1, "auto", ("none is 0",)),
        (X, Y * 2, "auto", ("go up to 6 and none is 1",)),
        (X, Y + 10**10, "auto", ("label 100000000",)),
        (X, Y + 0.5, "categorical", ("y holds 0.5", "whole")),
        (X, Y * np.nan, "categorical", ("y holds NaN",)),
        (X, Y * np.nan, "auto", ("y holds NaN",)),
        (X, 2 * np.eye(4, dtype=int)[Y], "auto", ("y is (40, 4)", "not one-hot", "argmax")),
        (X, np.full((40, 4), 0.25), "categorical", ("y is (40, 4)", "not one-hot", "argmax")),
        (X, np.eye(4, dtype=int)[Y, None], "auto", ("y is (40, 1, 4)", "one label a sample")),
        (X, Y * 0, "auto", ("all training samples are of class 0",)),
        (X, Y, "binary", ("4 classes", "data.task=categorical")),
        (X, Y, "ranking", ("data.task=ranking", "categorical")),
        (X * 255, Y, "auto", ("data.scaling=unit", "standardize")),
        ((X * 255).astype(int), Y, "auto", ("int64", "uint8")),
        (X, np.r_[Y[:-1], 4], "auto", ("class 4 has 1", "give more")),
        (X[:8], Y[:8], "auto", ("test part", "each needs 4")),
    ],
)
def test_arrays_that_cannot_be_used_are_named(x, y, task, words):
    refuses(words, prepare, Source("mine.npz", (x, y), task=task))


def test_parts_that_do_not_fit_each_other_are_named():
    refuses("x (2,)", prepare, Source("s", (X, Y), (X[:, :2], Y)))
    refuses(("test part", "class 4"), prepare, Source("s", (X, Y), (X, Y + 1)))
    refuses(("test part", "NaN"), prepare, Source("s", (X, Y), (HOLED, Y)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation": 0}, "data.validation=0"),
        ({"validation": 1.0}, "data.validation=1.0"),
        ({"validation": "much"}, "data.validation=much"),
        ({"folds": 1}, "data.folds=1"),
        ({"folds": -2}, "data.folds=-2"),
        ({"folds": 5, "fold": 5}, ("data.fold=5", "0 to 4")),
        ({"folds": 5, "fold": -1}, "data.fold=-1"),
        ({"folds": 9}, ("data.folds=9 needs 9 samples of each class", "has 8")),
        ({"limit": 0}, "data.limit=0"),
        ({"limit": 5}, "data.limit"),
        ({"limit": 1.5}, "data.limit=1.5"),
        ({"validation": 0.05}, ("data.validation=0.05", "into 30 and 2")),
        ({"scaling": "minmax"}, ("data.scaling=minmax", "standardize")),
        ({"augmentation": "mixup"}, ("data.augmentation=mixup", "crop_flip")),
        ({"augmentation": "crop_flip"}, ("needs images", "vectors")),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_options_that_cannot_be_used_are_named(options, words):
    refuses(words, prepare, Source("s", (X, Y)), **options)


# Image folders


def write_images(folder, per_class=10, classes=("bee", "ant", "cat"), size=(6, 8)):
    """Write random PNG files, and what is to be passed over; return {relative path: array}."""
    images = {}
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            images[f"{name}/{i}.png"] = image = RNG.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(image).save(folder / name / f"{i}.png")
    (folder / classes[0] / "Thumbs.db").write_bytes(b"x")
    (folder / ".cache").mkdir()
    return images


def rows(x, y):
    """The samples as a set, exact to the byte."""
    return {(np.round(image).astype(np.uint8).tobytes(), int(label)) for image, label in zip(x, y, strict=True)}


def test_image_folder_streams_every_file_once_with_its_label(tmp_path):
    images = write_images(tmp_path)
    data = zoo.data.image_folder(tmp_path, (6, 8), scaling="none", batch_size=4)
    assert (data.input_shape, data.classes, data.class_names) == ((6, 8, 3), 3, ("ant", "bee", "cat"))
    assert data.train_size == 21 and [len(p) for p in (data.train, data.validation, data.test)] == [6, 1, 2]
    expected = {(v.tobytes(), ("ant", "bee", "cat").index(k[:3])) for k, v in images.items()}
    parts = [rows(*epochs(part, 1)[0]) for part in (data.train, data.validation, data.test)]
    assert parts[0] | parts[1] | parts[2] == expected and sum(map(len, parts)) == 30
    first, second = trained(data, 0), trained(data, 1)
    assert rows(*first) == rows(*second) == parts[0] and not np.array_equal(first[0], second[0])
    order = np.concatenate([data.batch_indices(1, step) for step in range(data.steps)])
    assert np.array_equal(second[0], epochs(data.train, 1)[0][0][order])
    in_order = epochs(data.train, 1)[0][0]
    for i, path in enumerate(data.files[: data.train_size]):
        assert np.array_equal(in_order[i], images[os.path.relpath(path, tmp_path)])
    x, y = data.fixed_batch(3)
    assert np.array_equal(x, epochs(data.validation, 1)[0][0][:3]) and y.shape == (3,)


def test_image_folder_follows_the_seed(tmp_path):
    write_images(tmp_path)

    def two(seed):
        data = zoo.data.image_folder(tmp_path, (6, 8), augmentation="crop_flip", batch_size=4, seed=seed)
        return [trained(data, epoch)[0] for epoch in (0, 1)]

    one, same, other = two(1), two(1), two(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_image_folder_scaling(tmp_path):
    write_images(tmp_path)
    raw, unit, standard = (
        zoo.data.image_folder(tmp_path, (6, 8), scaling=scaling) for scaling in ("none", "unit", "standardize")
    )
    scaler = StandardScaler().fit(epochs(raw.train, 1)[0][0].reshape(-1, 3).astype(np.float64))
    for part in ("validation", "test"):
        pixels = epochs(getattr(raw, part), 1)[0][0]
        np.testing.assert_allclose(epochs(getattr(unit, part), 1)[0][0], pixels / 255, rtol=1e-6)
        expected = scaler.transform(pixels.reshape(-1, 3)).reshape(pixels.shape)
        np.testing.assert_allclose(epochs(getattr(standard, part), 1)[0][0], expected, rtol=1e-4, atol=1e-5)


def test_image_folder_with_given_parts_and_resizing(tmp_path):
    for part, n in (("train", 6), ("validation", 3), ("test", 2)):
        images = write_images(tmp_path / part, n)
    data = zoo.data.image_folder(tmp_path, (3, 4), scaling="none", limit=12)
    assert data.train_size == 12
    [(x, y)] = epochs(data.validation, 1)
    assert len(y) == 9 and sorted(y[:3]) == [0, 1, 2]  # mixed, so that a probe sees every class
    [(x, y)] = epochs(data.test, 1)
    for i, name in enumerate(sorted(images)):
        means = images[name].reshape(3, 2, 4, 2, 3).mean((1, 3))  # halved: each pixel the mean of four
        np.testing.assert_allclose(x[i], means, rtol=1e-5)
    assert zoo.data.image_folder(tmp_path, 5).input_shape == (5, 5, 3)
    refuses("data.folds=3", zoo.data.image_folder, tmp_path, folds=3)


def test_gray_and_transparent_images_become_three_channels(tmp_path):
    write_images(tmp_path)
    Image.new("L", (8, 6), 40).save(tmp_path / "ant" / "gray.png")
    Image.new("RGBA", (8, 6), (1, 2, 3, 4)).save(tmp_path / "bee" / "clear.png")
    Image.new("RGB", (8, 6), (9, 9, 9)).save(tmp_path / "cat" / "PHOTO.JPG")
    data = zoo.data.image_folder(tmp_path, (6, 8))
    assert sum(len(epochs(part, 1)[0][1]) for part in (data.train, data.validation, data.test)) == 33


def test_unreadable_images_are_named(tmp_path):
    import keras

    images = write_images(tmp_path)
    bad = [tmp_path / "ant" / "3.png", tmp_path / "cat" / "5.png"]
    bad[0].write_bytes(bad[0].read_bytes()[:60])
    bad[1].write_text("<html>not found</html>")
    data = zoo.data.image_folder(tmp_path, (6, 8))
    model = keras.Sequential([keras.Input((6, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", "mse")

    def train_and_test():
        with data.reading():
            model.fit(**data.fit_arguments(), verbose=0)
            model.evaluate(**data.test_arguments(), verbose=0)

    assert len(images) == 30
    refuses(("2 of 30", str(bad[0]), str(bad[1]), "replace or delete"), train_and_test)
    for part in ("train", "test"):
        write_images(tmp_path / "given" / part)
    (tmp_path / "given" / "train" / "bee" / "0.png").write_bytes(b"")
    refuses("bee/0.png", zoo.data.image_folder, tmp_path / "given", (6, 8), scaling="standardize", validation=0.1)


def test_other_errors_pass_through_reading(tmp_path):
    import tensorflow as tf

    write_images(tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError), zoo.data.image_folder(tmp_path, 4).reading():
        tf.debugging.assert_equal(1, 2)


def test_image_folder_errors(tmp_path):
    refuses("data.path=FOLDER", zoo.data.image_folder)
    refuses("no folder", zoo.data.image_folder, tmp_path / "nowhere")
    refuses("no class folders", zoo.data.image_folder, tmp_path)
    refuses(("data.image_size", "pixels"), zoo.data.image_folder, tmp_path, image_size=0)
    refuses(("data.image_size", "pixels"), zoo.data.image_folder, tmp_path, image_size=(3, 4, 5))
    write_images(tmp_path / "train")
    refuses("no test", zoo.data.image_folder, tmp_path)
    write_images(tmp_path / "test", classes=("bee", "dog"))
    refuses(("dog", "no such class in train"), zoo.data.image_folder, tmp_path)
    (tmp_path / "train" / "empty").mkdir()
    refuses(("train/empty", "add images"), zoo.data.image_folder, tmp_path)


# Downloads


DOWNLOAD = """
import os, sys, time
import zoo.data.sources
from zoo.errors import UserError
zoo.data.sources.TIMEOUT = 1
import keras
for word in sys.argv[1:]:
    name, os.environ["https_proxy"] = word.split("=")
    began = time.monotonic()
    try:
        getattr(zoo.data, name)()
    except UserError as error:
        print(round(time.monotonic() - began), error)
"""


def test_without_cache_and_network_one_line_says_what_to_do(tmp_path):
    files = {
        "mnist": "put mnist.npz into",
        "fashion_mnist": "put the folder fashion-mnist with its four *-ubyte.gz files into",
        "cifar10": "put cifar-10-python.tar.gz, renamed to cifar-10-batches-py-target_archive, into",
        "cifar100": "put cifar-100-python.tar.gz, renamed to cifar-100-python-target_archive, into",
    }
    hidden = ("https_proxy", "http_proxy", "no_proxy", "all_proxy")
    env = {key: value for key, value in os.environ.items() if key.lower() not in hidden}
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and never answers
        ports = dict.fromkeys(files, 9) | {"mnist": silent.getsockname()[1]}  # port 9: nobody takes the call
        words = [f"{name}=http://127.0.0.1:{port}" for name, port in ports.items()]
        ran = subprocess.run(
            [sys.executable, "-c", DOWNLOAD, *words],
            cwd=ROOT,
            env=env | {"KERAS_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in ran.stdout.splitlines() if "data=" in line]
    assert len(lines) == 4
    for line, (name, words) in zip(lines, files.items(), strict=True):
        assert f"data={name} is not in Keras' cache" in line and f"{words} {tmp_path}/datasets" in line
        assert "data.path=FILE.npz" in line and int(line.split()[0]) <= 5


# Configs


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf" / "data").glob("*.yaml")))
def test_each_config_makes_its_data_and_chooses_its_loss(name, tmp_path):
    import hydra
    from hydra.utils import instantiate

    from zoo.config import CONF

    write_images(tmp_path / "images")
    path = tmp_path / "images" if name == "image_folder" else save(tmp_path / "a.npz", **four())
    words = []
    if name == "table":
        path, words = tmp_path / "a.csv", ["data.target=kind"]
        path.write_text("size,kind\n" + "".join(f"{i / 10},{'ab'[i % 2]}\n" for i in range(60)))
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        takes_path = "path" in hydra.compose("config", [f"data={name}"]).data
        given = ("diabetes", "digits", "random_binary", "random_regression", "uniform_binary", "uniform_regression")
        assert takes_path is (name not in given)
        cfg = hydra.compose("config", [f"data={name}", *([f"data.path={path}"] if takes_path else []), *words])
    data = instantiate(cfg.data, seed=3, batch_size=7)
    assert isinstance(data, zoo.data.Dataset) and data.batch_size == 7
    losses = {"categorical": "SparseCategorical", "binary": "BinaryCross", "regression": "MeanSquared"}
    assert losses[data.task] in cfg.loss._target_


# Real images


needs_real = pytest.mark.skipif(not (REAL / "mnist.npz").is_file(), reason=f"no real images in {REAL}")


@needs_real
def test_real_mnist():
    path = str(REAL / "mnist.npz")
    data = zoo.data.mnist(path)
    assert (data.input_shape, data.classes) == ((28, 28, 1), 10)
    assert [len(p[1]) for p in (data.train, data.validation, data.test)] == [54000, 6000, 10000]
    with np.load(path) as raw:
        assert np.array_equal(data.test[0][..., 0], (raw["x_test"] / 255).astype(np.float32))
        assert np.abs(np.bincount(data.validation[1]) - 0.1 * np.bincount(raw["y_train"])).max() <= 1


@needs_real
@pytest.mark.slow
def test_real_cifar10(tmp_path):
    subprocess.run([sys.executable, REAL / "unpack.py", tmp_path], check=True, capture_output=True)
    data = zoo.data.cifar10(str(tmp_path / "cifar10.npz"), scaling="standardize", augmentation="crop_flip", limit=5000)
    assert (data.input_shape, data.classes, data.train_size) == ((32, 32, 3), 10, 4500)
    assert data.class_names[3] == "cat"
    x, y = trained(data)
    assert np.bincount(y).tolist() == [450] * 10
    [(x, y)] = epochs(zoo.data.stream.stream(*data.test, 1000), 1)
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05


def test_parts_are_evaluated_as_keras_evaluates_their_arrays():
    import keras

    data = zoo.data.digits(batch_size=50)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(data.input_shape), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = model.fit(**data.fit_arguments(), epochs=1, verbose=0).history
    for found, (x, y) in (
        ([history["val_loss"][-1], history["val_accuracy"][-1]], data.validation),
        (model.evaluate(**data.test_arguments(), verbose=0), data.test),
    ):
        assert found == model.evaluate(x, y, batch_size=50, verbose=0)


def test_a_stream_that_takes_over_what_another_made_has_its_own_batches():
    images = RNG.normal(size=(40, 8, 8, 1)).astype(np.float32)
    before = TrainingStream(images, np.arange(40), 16, augment=True, seed=1)
    made = before(epoch=3)
    list(made.take(5))
    after = TrainingStream(images + 1, np.arange(40) + 7, 16, augment=True, seed=2)
    after.take_over(before)
    again = after(epoch=1)
    assert again is made and after(epoch=1) is not made
    alone = TrainingStream(images + 1, np.arange(40) + 7, 16, augment=True, seed=2)(epoch=1)
    for one, other in zip(again.take(9).as_numpy_iterator(), alone.take(9).as_numpy_iterator(), strict=True):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
