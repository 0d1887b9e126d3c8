"""A run of its own that is cut off and goes on; what is finished when it is cut off stays so."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from processes import begun, wait_for

from zoo import GradientHistory

LONG = (
    "epochs=30",
    "model.width=16",
    "dropout.rate=0.2",
    "schedule=cosine",
    "deterministic=true",
    "pictures=false",
    "verbose=0",
    "seed=3",
)


@pytest.fixture(scope="module")
def undisturbed(shared_train):
    shared_train(*LONG)
    (folder,) = shared_train.folders()
    return folder


def cut_off(train, number: signal.Signals, **env: str):
    """Begin the run and send it a signal after its first epoch; return its folder and what it printed."""
    process = begun(train, *LONG, **env)
    wait_for(lambda: list(train.home.glob("mlruns/runs/*/.state/checkpoint.npz")) or process.poll() is not None)
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode
    (folder,) = train.folders()
    return folder, output


@pytest.mark.parametrize("number", [signal.SIGHUP, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_it_goes_on_as_if_nothing_had_been(number, train, undisturbed):
    folder, output = cut_off(train, number)
    if number == signal.SIGHUP:  # a terminal that is closed
        assert output.startswith(f"cut off; it goes on with: python train.py resume={folder}\n")
        assert json.loads((folder / "summary.json").read_text())["status"] == "KILLED"

    train(f"resume={folder}", "verbose=0")

    assert len(train.folders()) == 1
    histories = [GradientHistory.load(path / "gradients.npz") for path in (undisturbed, folder)]
    np.testing.assert_array_equal(histories[1].variable_norms, histories[0].variable_norms)
    assert (folder / "history.csv").read_text() == (undisturbed / "history.csv").read_text()
    metrics = [json.loads((path / "summary.json").read_text())["metrics"] for path in (undisturbed, folder)]
    assert metrics[0] == metrics[1]
    (run,) = train.recorded()
    assert run.info.status == "FINISHED" and "seed=3" in run.info.run_name
    assert [p.step for p in train.client.get_metric_history(run.info.run_id, "loss")] == list(range(1, 31))
    assert not (folder / ".state").exists()
    done = train(f"resume={folder}", code=1)
    assert done.stderr == f"error: resume={folder}: that run is finished.\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["resume=nowhere"], "error: resume=nowhere: there is no run; give the folder of one"),
        (
            ["resume=nowhere", "epochs=3"],
            "error: resume=nowhere goes on with the run as it was begun: leave out epochs=3.",
        ),
        (["resume=3"], "error: resume=3: it must be true, false or the folder of a run."),
        (["-m", "resume=nowhere", "seed=1,2"], "error: resume=nowhere goes on with one run: leave out -m."),
    ],
)
def test_what_cannot_go_on_is_told(words, told, train):
    done = train(*words, code=1)
    assert done.stderr.startswith(told) and done.stderr.count("\n") == 1
    assert not train.folders() and not train.folders("sweeps")


@pytest.mark.parametrize("name", [".state/job.json", "config.yaml"])
def test_what_it_goes_on_from_is_damaged(name, train):
    folder = train.home / "mlruns" / "runs" / "a"
    (folder / ".state").mkdir(parents=True)
    for file in ("config.yaml", ".state/job.json", ".state/checkpoint.npz"):
        (folder / file).write_text("{}")
    (folder / name).write_bytes(b"\xff{")
    done = train(f"resume={folder}", code=1)
    assert done.stderr == f"error: resume={folder}: its config.yaml or .state/job.json is damaged; start it anew.\n"


# `train.py`, which is interrupted where the pictures are drawn, or where what is finished goes to the store.
INTERRUPTED = """
import os, runpy, sys, time
import zoo.report.pictures as pictures
from zoo.tracking.log import RunLog

def cut(*arguments):
    os.kill(os.getpid(), int(number))
    time.sleep(30)

number, where, *words = sys.argv[1:]
setattr(*((pictures, "draw_run") if where == "drawing" else (RunLog, "end")), cut)
sys.argv = ["train.py", *words]
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["drawing", "sending"])
def test_what_is_finished_when_it_is_interrupted_stays_finished(where, number, train, tmp_path):
    words = ("epochs=1", "model.width=8", "verbose=0")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(int(number)), where, *words],
        cwd=ROOT,
        env={**os.environ, "GRADIENT_ZOO_HOME": str(train.home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr == "interrupted\n"
    (folder,) = train.folders()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "FINISHED" and summary["verdict"]["name"] and summary["metrics"]["test_accuracy"]

    assert train.module("zoo.tracking", "resend").stdout == "1 run sent to the store\n"

    (run,) = train.recorded()
    assert run.info.status == "FINISHED" and run.data.tags["verdict"] == summary["verdict"]["name"]
    assert run.data.metrics["test_accuracy"] == pytest.approx(summary["metrics"]["test_accuracy"])
    assert "profile.png" not in {path.name for path in folder.iterdir()} or where == "sending"
    train.module("zoo.report", "", "--out", str(tmp_path / "out"))
    assert (folder / "profile.png").is_file()


@pytest.mark.slow
def test_a_home_that_is_deleted_in_mid_run_is_told_in_one_line(train):
    process = begun(train, *LONG)
    wait_for(lambda: list(train.home.glob("mlruns/runs/*/.state/checkpoint.npz")) or process.poll() is not None)
    (folder,) = train.folders()
    shutil.rmtree(train.home, ignore_errors=True)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert re.fullmatch(rf"error: {folder}(/\.state)? is gone: it was deleted while a run went on in it\.\n", output)
