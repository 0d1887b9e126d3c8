"""Weights to start from: what is kept, what is refused, and how a refusal reads."""

import keras
import numpy as np
import pytest

from zoo.errors import UserError
from zoo.models import load_weights, mlp, resnet
from zoo.models.weights import copy_weights


def tiny(classes=10, **choices):
    return resnet((8, 8, 3), classes, depth=8, **choices)


def saved(model, path):
    (model.save if path.suffix == ".keras" else model.save_weights)(path)
    return path


@pytest.fixture(params=["a.weights.h5", "a.keras"])
def file(request, tmp_path):
    source = tiny(dropout=0.1)  # whose seeds stand in the file too
    source.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    source.fit(x, np.ones((4, 10)), verbose=0)  # moving statistics and an optimizer with state
    return source, saved(source, tmp_path / request.param)


def test_file_gives_every_weight(file):
    source, path = file
    model = load_weights(tiny(), path)

    for a, b in zip(source.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("error::UserWarning")
def test_another_class_count_keeps_all_but_the_head(file):
    source, path = file
    fresh = tiny(classes=4)
    head = fresh.get_layer("logits").get_weights()
    model = load_weights(fresh, str(path))

    for a, b in zip(source.get_weights()[:-2], model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(head, model.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("extension", [".weights.h5", ".keras"])
def test_weights_of_another_network_are_refused(extension, tmp_path):
    deeper = saved(mlp((4,), 3, depth=4, width=5), tmp_path / f"deeper{extension}")
    wider = saved(mlp((4,), 3, depth=3, width=6), tmp_path / f"wider{extension}")

    with pytest.raises(UserError, match=r"deeper.* do not fit mlp \(10 weights against 8\): choose the model"):
        load_weights(mlp((4,), 3, depth=3, width=5), deeper)
    with pytest.raises(UserError, match=r"wider.* do not fit mlp \(.*\): choose the model"):
        load_weights(mlp((4,), 3, depth=3, width=5), wider)


def test_file_that_is_missing_or_is_something_else_is_named(tmp_path):
    model = mlp((4,), 3, depth=0)
    (tmp_path / "b.weights.h5").write_text("not this")
    (tmp_path / "b.keras").write_text("nor this")

    with pytest.raises(UserError, match=r"weights=.*a\.keras: no such file"):
        load_weights(model, tmp_path / "a.keras")
    for name in ("b.weights.h5", "b.keras"):
        with pytest.raises(UserError, match=f"{name}: not a file of Keras weights"):
            load_weights(model, tmp_path / name)
    with pytest.raises(UserError, match=r"imagnet: give a \.weights\.h5 or \.keras file, or imagenet"):
        load_weights(model, "imagnet")


def test_none_changes_nothing():
    model = mlp((4,), 3, depth=1)
    before = model.get_weights()

    assert load_weights(model, None) is model
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("classes", [7, 4])
def test_published_network_gives_its_weights_and_to_another_class_count_all_but_the_head(classes):
    theirs = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=7)
    ours = resnet((32, 32, 3), classes, depth=50)
    head = ours.get_layer("logits").get_weights()

    copy_weights(theirs, ours)

    kept = None if classes == 7 else -2
    for a, b in zip(theirs.get_weights()[:kept], ours.get_weights()[:kept], strict=True):
        np.testing.assert_array_equal(a, b)
    if classes != 7:
        np.testing.assert_array_equal(ours.get_layer("logits").get_weights()[0], head[0])


def test_published_weights_do_not_fit_other_choices_or_channels():
    theirs = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=7)

    with pytest.raises(UserError, match=r"weights=imagenet do not fit resnet50 \(107 layers with weights against 54\)"):
        copy_weights(theirs, resnet((32, 32, 3), 7, depth=50, normalization=None, initializer="zeros"))
    with pytest.raises(UserError, match=r"conv1_conv has \(7, 7, 3, 64\), \(64,\), here stem_conv has \(7, 7, 1, 64\)"):
        copy_weights(theirs, resnet((32, 32, 1), 7, depth=50, initializer="zeros"))


def test_network_that_has_no_published_weights_names_those_that_have():
    with pytest.raises(UserError, match=r"keras\.applications has none for resnet8; it has vgg16, .*densenet201"):
        load_weights(tiny(), "imagenet")


def test_no_network_gives_one_line_with_the_file_and_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: nothing answers

    with pytest.raises(UserError) as error:
        load_weights(resnet((32, 32, 3), 10, depth=50, initializer="zeros"), "imagenet")

    text = str(error.value)
    assert (
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5 could not be downloaded; connect once, or fetch https" in text
    )
    assert text.endswith(f"put it into {tmp_path}/models")
    assert "\n" not in text
