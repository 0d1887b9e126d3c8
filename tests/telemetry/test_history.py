"""What becomes of a history: tables and event files, read back by others' readers."""

import csv

import numpy as np
import pytest

from zoo import GradientHistory

STEPS, OWNERS = 300, np.array([0, 0, 1])


@pytest.fixture
def history() -> GradientHistory:
    rng = np.random.default_rng(0)
    norms = rng.lognormal(0, 20, (STEPS, 3)).astype("float32")
    norms[7, 2] = np.nan
    norms[9, 0] = np.inf
    return GradientHistory(
        layers=["dense, the first", "größte"],
        variables=["a/kernel", "a/bias", "b/kernel"],
        owners=OWNERS,
        steps=np.arange(STEPS),
        variable_norms=norms,
        losses=rng.random(STEPS, np.float32),
        clip_norms=rng.random((STEPS, 2), np.float32),
        weight_norms=rng.random((STEPS, 3), np.float32),
        update_norms=rng.random((STEPS, 3), np.float32),
    )


COLUMNS = [
    "loss",
    "gradient_norm",
    "gradient_norm/dense, the first",
    "gradient_norm/größte",
    "clipped_norm",
    "update_ratio/dense, the first",
    "update_ratio/größte",
]


def test_the_frame_holds_a_row_a_step(history):
    frame = history.to_frame()
    assert frame.columns.tolist() == COLUMNS
    assert frame.index.name == "step" and frame.index.tolist() == list(range(STEPS))
    np.testing.assert_array_equal(frame["gradient_norm/größte"], history.variable_norms[:, 2])
    np.testing.assert_array_equal(frame["gradient_norm/dense, the first"], history.norms[:, 0])
    np.testing.assert_array_equal(frame["update_ratio/größte"], history.update_norms[:, 2] / history.weight_norms[:, 2])


def test_what_was_not_recorded_has_no_column(history):
    plain = GradientHistory(
        history.layers, history.variables, history.owners, history.steps, history.variable_norms, history.losses
    )
    assert plain.to_frame().columns.tolist() == COLUMNS[:4]


def test_the_csv_gives_back_every_bit(history, tmp_path):
    history.to_csv(tmp_path / "norms.csv")
    with open(tmp_path / "norms.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["step", *COLUMNS]
    frame = history.to_frame()
    np.testing.assert_array_equal(np.array(rows, dtype="float32")[:, 1:], frame.to_numpy())
    assert [int(row[0]) for row in rows] == list(range(STEPS))


def test_tensorflow_reads_the_event_file(history, tmp_path):
    tf = pytest.importorskip("tensorflow")
    path = history.to_tensorboard(tmp_path / "logs" / "run")
    assert path.parent == tmp_path / "logs" / "run" and "tfevents" in path.name
    first, *events = tf.compat.v1.train.summary_iterator(str(path))  # checks each record's two checksums
    assert first.file_version == "brain.Event:2"
    assert [event.step for event in events] == list(range(STEPS))
    assert all([value.tag for value in event.summary.value] == COLUMNS for event in events)
    read = np.array([[value.simple_value for value in event.summary.value] for event in events], "float32")
    np.testing.assert_array_equal(read, history.to_frame().to_numpy())


def test_two_event_files_of_one_folder_stay_apart(history, tmp_path):
    assert history.to_tensorboard(tmp_path) != history.to_tensorboard(tmp_path)
