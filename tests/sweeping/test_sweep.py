"""Sweeps as a user has them."""

import json
import re

import pytest

SMALL = ("epochs=1", "model.width=8", "pictures=false")


@pytest.fixture(scope="module")
def two_jobs(shared_train):
    done = shared_train("-m", "model.depth=1,2", *SMALL)
    (folder,) = shared_train.folders("sweeps")
    return shared_train, done, folder


def test_runs_are_nested_under_one_parent(two_jobs):
    train, _, folder = two_jobs
    (parent,) = train.recorded("sweep")
    runs = train.recorded()
    assert parent.info.status == "FINISHED"
    assert sorted(r.data.params["model.depth"] for r in runs) == ["1", "2"]
    assert {r.data.tags["mlflow.parentRunId"] for r in runs} == {parent.info.run_id}
    assert {r.data.tags["sweep"] for r in runs} == {folder.name} == {parent.data.tags["sweep"]}


def test_a_line_a_job_and_a_table_of_what_differs_best_first(two_jobs):
    _, done, folder = two_jobs
    lines = done.stdout.splitlines()
    assert lines[0] == f"sweep {folder.name}: 2 runs"
    pattern = r"%d/2  model\.depth=([12])  \w+  test_accuracy 0\.\d+  \d+ s  ETA \d+ s$"
    ended = [re.match(pattern % number, line) for number, line in enumerate(lines[1:3], start=1)]
    assert sorted(line[1] for line in ended) == ["1", "2"]  # whichever ends first
    assert ended[1][0].endswith("ETA 0 s")
    heads = [[part.strip() for part in line.split("┃")] for line in lines if "┃" in line]  # they may be broken
    columns = ["".join(parts) for parts in zip(*heads, strict=True)]
    assert columns[:4] == ["model.depth", "verdict", "accuracy", "test_accuracy"] and "epochs" not in columns
    accuracies = [float(line.split("│")[3]) for line in lines if "│" in line]
    assert len(accuracies) == 2 and accuracies == sorted(accuracies, reverse=True)
    recorded = [json.loads((folder / str(i) / "summary.json").read_text()) for i in range(2)]
    assert {f"{r['metrics']['test_accuracy']:.4g}" for r in recorded} == {f"{a:.4g}" for a in accuracies}


def test_each_run_has_its_page_and_pictures_once_they_are_asked_for(train):
    train("-m", "model.depth=1,2", *SMALL[:2], "tracking=none")
    (folder,) = train.folders("sweeps")
    kept = [{path.name for path in (folder / number).iterdir()} for number in "01"]
    assert all("run.html" in names and not any(name.endswith(".png") for name in names) for names in kept)

    done = train.module("zoo.report", str(folder))
    assert done.returncode == 0, done.stderr
    assert all((folder / number / "profile.png").is_file() for number in "01")


def test_a_failing_job_is_recorded_the_rest_goes_on_and_the_exit_code_tells(train, tmp_path):
    (tmp_path / "mine.py").write_text("def net(input_shape, classes):\n    raise RuntimeError('my own fault')\n")
    words = ("-m", "model._target_=mine.net,zoo.models.mlp", "model.depth=1", *SMALL)
    done = train(*words, cwd=tmp_path, code=1)
    failed, finished = sorted(train.recorded(), key=lambda run: run.info.status)  # they began at one moment
    assert (failed.info.status, finished.info.status) == ("FAILED", "FINISHED")
    assert failed.data.tags["reason"] == "RuntimeError: my own fault"
    assert train.recorded("sweep")[0].info.status == "FAILED"
    assert "1/2  model._target_=mine.net  FAILED: RuntimeError: my own fault" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("FAILED mlp on digits")
    assert done.stderr.splitlines()[-1].endswith("RuntimeError: my own fault")


def test_without_tracking_a_sweep_still_compares(train):
    done = train("-m", "model.depth=0,1", "tracking=none", *SMALL)
    assert not (train.home / "mlruns" / "mlflow.db").exists()
    assert done.stdout.count("│") == 2 * 5  # two rows of six columns
