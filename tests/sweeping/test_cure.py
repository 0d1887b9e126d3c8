"""`cure=true`: sick runs are cured by runs of their own, under one parent, and the proof is told."""

import json
import os
import signal

import pytest
from processes import begun, wait_for

from zoo.archive.run import read_columns
from zoo.sweeping.cure import MOST, longest
from zoo.sweeping.words import asked_for, merged
from zoo.telemetry.history import GradientHistory

NET = ("model.depth=2", "model.width=16", "epochs=4", "optimizer=sgd", "data.limit=600")
SICK = (*NET, "optimizer.learning_rate=1e-06", "cure=true")


def outcome(train) -> list[dict]:
    (folder,) = train.folders("sweeps")
    return json.loads((folder / "cure.json").read_text())


def test_a_sick_run_is_cured_with_proof_under_one_parent(train):
    done = train(*SICK)
    (found,) = outcome(train)

    assert found["proved"] and found["reason"] == ""
    assert f"at most {MOST} more, of {longest(4)} epochs together" in done.stdout
    assert "before    stalled" in done.stdout and "after     healthy" in done.stdout
    for change in found["changes"]:
        assert change in done.stdout
    before, after = (sum(found["values"][name]) / 3 for name in ("before", "after"))
    assert len(found["values"]["after"]) == 3 and after > before + 0.1
    for lacks in found["without"].values():
        assert lacks < found["values"]["after"][0]
    assert f"train it  python train.py {' '.join(found['command'])}" in done.stdout

    (parent,) = train.recorded("sweep")
    runs = train.recorded()
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *runs]} == {"FINISHED"}
    assert 4 < len(runs) <= 1 + MOST
    assert "cure.json" in {file.path for file in train.client.list_artifacts(parent.info.run_id)}
    assert "cured by" in parent.data.tags["mlflow.note.content"]
    (folder,) = train.folders("sweeps")
    assert all((folder / found[name] / "profile.png").is_file() for name in ("before", "after"))

    done = train(*found["command"], "tracking=none", "pictures=false")
    assert "verdict   healthy" in done.stdout


def test_a_run_that_broke_goes_on_from_its_last_sound_epoch(train):
    # After six of ten epochs the rate leaps to 3.
    leap = ("optimizer.learning_rate=0.1", "schedule=step", "schedule.at=[0.6]", "schedule.factor=30")
    words = (*NET, *leap, "epochs=10", "pictures=false")
    train(*words, "cure=true")
    (found,) = outcome(train)
    (folder,) = train.folders("sweeps")

    assert found["changes"] == ["gentler=rate gentler.epoch=6"] and found["proved"]
    assert not (folder / "sound").exists()
    broken, gentle = ((folder / found[name] / "history.csv").read_text().splitlines() for name in ("before", "after"))
    assert gentle[:7] == broken[:7] and len(gentle) == 11
    rates = read_columns(folder / found["after"] / "history.csv")["learning_rate"]
    assert rates.tolist() == pytest.approx([0.1] * 6 + [0.3] * 4)
    history = GradientHistory.load(folder / found["after"] / "gradients.npz")
    assert len(history.epoch_ends) == 10
    # The store has those epochs too that another run trained.
    run = next(run for run in train.recorded() if run.data.tags["folder"] == str(folder / found["after"]))
    points = train.client.get_metric_history(run.info.run_id, "loss")
    assert sorted(point.step for point in points) == list(range(1, 11))

    # Its command trains the same from the first epoch on.
    train(*found["command"], "tracking=none")
    (alone,) = train.folders()
    assert (alone / "history.csv").read_text().splitlines() == gentle


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_and_each_sick_run_is_cured(train):
    adam = (word for word in NET if word != "optimizer=sgd")
    words = ("-m", *adam, "optimizer.learning_rate=0.01,1e-07", "cure=true", "pictures=false")
    process = begun(train, *words)
    wait_for(lambda: len(list(train.home.glob("mlruns/sweeps/*/[0-9]*/summary.json"))) >= 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in train.home.glob("mlruns/sweeps/*/[0-9]*/summary.json")}

    done = train(*words)

    assert "of them finished before" in done.stdout
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    healthy, sick = outcome(train)
    assert not healthy["changes"] and not healthy["reason"] and healthy["after"] is None
    assert sick["changes"] and sick["after"]
    assert "nothing to cure" in done.stdout and "1 were not sick" in done.stdout
    assert {run.info.status for run in train.recorded()} == {"FINISHED"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["preflight=true"], "preflight=true trains nothing that could be cured"),
        (["hydra/sweeper=basic"], "cure=true stands alone on the command line"),
        (["model.depth=-1"], "model.depth=-1"),
        (["gentler=rate"], "gentler.epoch=None: say after which of the 20 epochs it goes on gently"),
    ],
)
def test_a_mistake_is_one_line(train, words, told):
    done = train("cure=true", *words, code=1)

    assert told in done.stderr and "Traceback" not in done.stderr
    assert not train.folders("sweeps") and not train.folders()


def test_words_of_the_command_line():
    assert asked_for(["epochs=3"]) == ["epochs=3"]
    assert asked_for(["epochs=3", "cure=true"])[0] == "-m"
    assert asked_for(["-m", "seed=0,1", "cure=true"])[:3] == ["-m", "seed=0,1", "cure=true"]
    assert merged(("activation=tanh", "seed=1"), ("activation=relu", "initializer=he_normal")) == (
        "seed=1",
        "activation=relu",
        "initializer=he_normal",
    )
