"""What a run came to: what is written is read again, by this version and of earlier ones, and nothing half."""

import json

import pytest

from zoo.archive.summary import Metric, Status, Summary
from zoo.errors import UserError
from zoo.telemetry.findings import Cure, Verdict

CURES = [Cure("batch normalization", "keras.layers.BatchNormalization()", "it keeps the scale", "normalization=batch")]


def whole(folder) -> Summary:
    verdict = Verdict("vanishing", "dense_2", 7, 0.96, "sigmoid", {"share": 1e-9}, "it is so.", ["a=b"], CURES)
    return Summary(
        folder, "mlp on digits", Status.FINISHED, ["model.depth=5", "seed=1"], {"model": "mlp", "remedy": None},
        run_id="ab", verdict=verdict, metrics={"val_loss": 0.5, "test_accuracy": 0.25, "test_loss": 2.0},
        seconds=1.5, epochs=2, steps=80, parameters=1000, arriving=[1.0, 0.5],
    )  # fmt: skip


def test_what_is_written_is_read_again(tmp_path):
    whole(tmp_path).write()
    assert Summary.read(tmp_path) == whole(tmp_path)
    assert "folder" not in json.loads((tmp_path / "summary.json").read_text())


def test_a_run_that_failed_says_why_and_no_more(tmp_path):
    Summary(tmp_path, "mlp", Status.FAILED, ["a=1"], {"model": "mlp"}, reason="no memory").write()
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "name": "mlp", "status": "FAILED", "overrides": ["a=1"], "choices": {"model": "mlp"}, "reason": "no memory",
    }  # fmt: skip
    assert not Summary.read(tmp_path).finished


def test_a_run_without_a_summary_was_cut_off(tmp_path):
    (tmp_path / "3").mkdir()
    assert Summary.read(tmp_path / "3") == Summary(tmp_path / "3", "3", Status.KILLED)


def test_what_earlier_and_later_versions_wrote_is_read(tmp_path):
    """The first version wrote neither choices nor flights, and its verdicts had neither confidence nor cures."""
    early = {
        "name": "mlp on digits", "status": "FINISHED", "overrides": [], "seconds": 3.0, "run_id": "ab",
        "verdict": {"name": "healthy", "sentence": "all is well.", "layer": None, "remedies": []},
        "metrics": {"test_accuracy": 0.9, "test_loss": 0.1},
    }  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(early | {"of_the_future": 1}))
    read = Summary.read(tmp_path)
    assert (read.word, read.verdict.confidence, read.verdict.cures) == ("healthy", 0.0, [])
    assert read.metric == Metric("test_accuracy", 0.9) and read.choices == {} and read.stopped is None


@pytest.mark.parametrize(
    "text", ['{"name": "mlp", "status": "FINI', "", "\x00\x00", "[]", "{}", '{"status": "DONE"}', '"FINISHED"']
)
def test_a_broken_file_is_named_with_what_to_do(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError) as told:
        Summary.read(tmp_path)
    assert str(tmp_path / "summary.json") in str(told.value) and "delete" in str(told.value)


def test_a_broken_file_stops_the_report_with_one_line(tmp_path):
    """A sweep reads its runs' summaries as this does."""
    from zoo.archive.sweep import SweepFolder

    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"0/summary\.json is broken"):
        SweepFolder(tmp_path).summaries()


def test_the_best_comes_first_and_what_is_no_number_last():
    nan = float("nan")
    assert Metric("test_accuracy", 0.9).rank < Metric("test_accuracy", 0.2).rank
    assert Metric("test_rmse", 0.1).rank < Metric("test_rmse", 0.2).rank < Metric("test_rmse", nan).rank
    assert Metric("test_accuracy", 0.0).rank < Metric("test_accuracy", nan).rank
