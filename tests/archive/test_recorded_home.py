"""What an earlier version left on disk is read, shown and gone on with.

`recorded_home.tar.xz` is a home as version 0.1.0 left it at commit 64a82c6: one run, and a sweep of two seeds that was
killed after the first epochs of its second run. Its own place is written `/recorded` in it.
"""

import json
import sqlite3
import tarfile
from pathlib import Path

import hydra
import pytest

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo import GradientHistory
from zoo.archive.run import read_run
from zoo.archive.summary import Status, Summary
from zoo.archive.sweep import SweepFolder
from zoo.config import CONF
from zoo.report.pictures import draw_run
from zoo.sweeping.identity import identity_of

PLACES = {"runs": "artifact_uri", "tags": "value", "experiments": "artifact_location"}


@pytest.fixture
def home(train) -> Path:
    """The recorded home, moved to where this test's runs are."""
    train.home.mkdir(parents=True)
    with tarfile.open(Path(__file__).parent / "recorded_home.tar.xz") as packed:
        packed.extractall(train.home, filter="data")
    with sqlite3.connect(train.home / "mlruns" / "mlflow.db") as store:
        for table, column in PLACES.items():
            store.execute(f"update {table} set {column} = replace({column}, '/recorded', ?)", [str(train.home)])
    store.close()
    for journal in train.home.rglob("journal.jsonl"):
        journal.write_text(journal.read_text().replace("/recorded", str(train.home)))
    return train.home


def test_its_runs_are_read_and_drawn(home):
    (alone,), (sweep,) = (list((home / "mlruns" / kind).iterdir()) for kind in ("runs", "sweeps"))
    assert Summary.read(alone).word == "undecided" and Summary.read(alone).metric.name == "test_accuracy"
    assert [(run.status, run.word) for run in SweepFolder(sweep).summaries()] == [
        (Status.FINISHED, "healthy"),
        (Status.KILLED, "KILLED"),
    ]
    run = read_run(sweep / "0")
    assert len(run.history) == run.summary.steps == 30 * 41 and run.layers == ["dense_1", "dense_2", "logits"]
    assert len(draw_run(sweep / "0")) == 4


def test_it_is_compared(home, train, tmp_path):
    done = train.module("zoo.report", "", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "1 healthy" in done.stdout and "1 undecided" in done.stdout
    assert "vanishing" not in done.stdout and (tmp_path / "out" / "comparison.html").is_file()


@pytest.mark.slow
def test_its_sweep_goes_on(home, train):
    (sweep,) = (home / "mlruns" / "sweeps").iterdir()
    content = SweepFolder(sweep).read()
    words, seeds = content["overrides"][:-1], ("0", "1")
    # As it is today, whatever keys a config has been given since.
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        jobs = [hydra.compose("config", [*words, f"seed={seed}"]) for seed in seeds]
    SweepFolder(sweep).write(**content | {"identity": identity_of(jobs)})
    epochs = len((sweep / "1" / "history.csv").read_text().splitlines()) - 1
    assert 0 < epochs < 30
    first = json.loads((sweep / "0" / "summary.json").read_text())

    train("-m", *content["overrides"], "resume.any_code=true")

    assert [path.name for path in (home / "mlruns" / "sweeps").iterdir()] == [sweep.name]
    assert json.loads((sweep / "0" / "summary.json").read_text()) == first
    summary = Summary.read(sweep / "1")
    assert (summary.status, summary.epochs) == (Status.FINISHED, 30)
    assert len(GradientHistory.load(sweep / "1" / "gradients.npz")) == 30 * 41
    runs = {run.data.params["seed"]: run for run in train.recorded() if run.data.tags.get("sweep") == sweep.name}
    assert {seed: run.info.status for seed, run in runs.items()} == dict.fromkeys(seeds, "FINISHED")
    steps = [point.step for point in train.client.get_metric_history(runs["1"].info.run_id, "loss")]
    assert sorted(steps) == list(range(1, 31))
    assert not (sweep / "1" / ".state").exists()
