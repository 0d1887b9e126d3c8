"""A person's own labels: whatever type they were saved as, each task and loss trains on them or says what to do."""

import copy
import functools
import itertools

import hydra
import keras
import numpy as np
import pytest

from zoo.config import CONF, check
from zoo.errors import explain
from zoo.losses import constant_loss
from zoo.running.make import build_model, compile_model, make_data

CLASS = np.arange(60) % 2
X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
X[:, 0] = CLASS
LABELS = {
    "int": CLASS,
    "bool": CLASS > 0,
    "uint8": CLASS.astype(np.uint8),
    "column": CLASS[:, None],
    "one-hot int": np.eye(2, dtype=int)[CLASS],
    "one-hot bool": np.eye(2, dtype=bool)[CLASS],
    "one-hot float": np.eye(2, dtype=np.float32)[CLASS],
    "float": CLASS.astype(np.float32),
    "float column": CLASS[:, None].astype(np.float64),
}
NUMBERS = {"fractions": CLASS + 0.25, "two targets": np.c_[CLASS + 0.25, X[:, 1]]}
TASKS = ("auto", "categorical", "binary", "regression")
LOSSES = ("crossentropy", "binary", "mse")


@functools.cache
def compose(*words: str):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", words)


def composed(path, *words: str):
    """Return the config of a command over the arrays in `path`, checked as the command is before anything is loaded."""
    cfg = copy.deepcopy(compose("data=npz", "model=linear", *words))
    cfg.data.path = str(path)
    check(cfg)
    return cfg


def saved(tmp_path, y: np.ndarray):
    np.savez(tmp_path / "mine.npz", x=X, y=y)
    return tmp_path / "mine.npz"


def refusal(function) -> str:
    """Return the line that the command would print of what `function` raises."""
    with pytest.raises(Exception) as raised:  # Hydra wraps what its targets raise
        function()
    line = explain(raised.value)
    assert line is not None, raised.value
    assert "\n" not in line
    return line


def expected(kind: str, task: str, loss: str) -> str:
    """Return the task that is trained, or words of the refusal."""
    if task == "regression":
        return "regression" if loss == "mse" else "say loss=mse, or data.task=categorical."
    if task == "binary" and loss == "crossentropy":
        return "say loss=binary, or data.task=categorical."
    if task == "auto" and loss == "mse" and (kind in NUMBERS or kind.startswith("float")):
        return "regression"
    if kind in NUMBERS:
        return "for regression: data=npz data.task=regression loss=mse"
    return "categorical" if task == "auto" else task


@pytest.mark.parametrize("kind", [*LABELS, *NUMBERS])
@pytest.mark.parametrize(("task", "loss"), list(itertools.product(TASKS, LOSSES)))
def test_every_kind_of_label_trains_or_is_refused_in_one_line(task, loss, kind, tmp_path):
    path, told = saved(tmp_path, (LABELS | NUMBERS)[kind]), expected(kind, task, loss)
    words = (f"data.task={task}", f"loss={loss}")
    if told not in ("categorical", "binary", "regression"):
        text = refusal(lambda: make_data(composed(path, *words)))
        assert told in text
        assert text.startswith((f"{path}, train part: y ", f"loss={loss}, data.task={task}: "))
        return

    cfg = composed(path, *words)
    data = make_data(cfg)
    assert data.task == told
    if told != "regression":  # the labels are those that were meant
        x, y = data.train
        np.testing.assert_array_equal(y.ravel(), x[:, 0] > 0)
    model = build_model(cfg, data.input_shape, data.classes)
    compile_model(cfg, model, data.task, data.steps)
    model.run_eagerly = True
    x, y = data.train
    assert np.isfinite(list(model.train_on_batch(x, y, return_dict=True).values())).all()
    baseline = constant_loss(model.loss, y, data.task)
    assert baseline is None or np.isfinite(baseline)


@pytest.mark.parametrize("loss", ["binary", "mse"])
def test_accuracy_of_one_output_counts_what_the_loss_makes_of_it(loss, tmp_path):
    """A perfect model of the labels 0 and 1 has an accuracy of 1: a logit parts them at 0, a number at 1/2."""
    cfg = composed(saved(tmp_path, CLASS), "data.task=binary", f"loss={loss}", "data.scaling=none")
    data = make_data(cfg)
    model = build_model(cfg, data.input_shape, data.classes)
    compile_model(cfg, model, data.task, data.steps)
    kernel, bias = (1, 0) if loss == "mse" else (10, -5)
    model.set_weights([np.array([[kernel], [0], [0]], np.float32), np.array([bias], np.float32)])
    assert model.evaluate(**data.test_arguments(), verbose=0, return_dict=True)["accuracy"] == 1


@pytest.mark.parametrize("loss", ["SparseCategoricalCrossentropy", "BinaryCrossentropy", "CategoricalCrossentropy"])
def test_what_knowing_nothing_costs_is_not_told_of_numbers_by_a_loss_of_classes(loss):
    assert constant_loss(getattr(keras.losses, loss)(), np.array([[0.5], [2.0]]), "regression") is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data=random_regression", "loss=crossentropy"], "loss=crossentropy, regression data: "),
        (["data=random_regression", "loss=binary"], "loss=binary, regression data: "),
        (["data=random_binary", "loss=crossentropy"], "loss=crossentropy, binary data: "),
    ],
)
def test_a_loss_that_does_not_go_with_known_data_is_refused(words, told):
    text = refusal(lambda: make_data(compose(*words)))
    assert text.startswith(told) and "say loss=" in text and "data.task" not in text


def test_the_command_trains_on_one_hot_rows_and_on_labels_saved_as_floats(train, tmp_path):
    for kind in ("one-hot float", "float"):
        path = saved(tmp_path, LABELS[kind])
        done = train("data=npz", f"data.path={path}", "epochs=5", "verbose=2", "pictures=false", "tracking=none")
        assert "accuracy" in done.stdout
    assert len(train.folders()) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            [],
            "error: {path}, train part: y holds 0.25, not a whole label: number the classes 0, 1, ... (for regression:",
        ),
        (["data.task=regression"], "error: loss=crossentropy, data.task=regression: it compares classes, not numbers:"),
    ],
)
def test_the_command_refuses_numbers_for_a_loss_of_classes_and_keeps_nothing(train, tmp_path, words, told):
    path = saved(tmp_path, NUMBERS["fractions"])
    done = train("data=npz", f"data.path={path}", *words, code=1)
    assert done.stderr.startswith(told.format(path=path)) and done.stderr.count("\n") == 1
    assert done.stdout == "" and train.folders() == []
    assert not (train.home / "mlruns" / "mlflow.db").exists()
