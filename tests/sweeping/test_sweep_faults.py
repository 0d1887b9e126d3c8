"""What may befall a sweep: processes killed, interrupts, servers that fail. All of it real."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from processes import begun, mounted, wait_for

from zoo import GradientHistory
from zoo.archive.summary import Status
from zoo.running.record import Job, Record

SWEEP = ("-m", "seed=0,1,2,3", "epochs=8", "model.width=8", "dropout.rate=0.2", "deterministic=true", "pictures=false")


def workers_of(process: subprocess.Popen) -> list[int]:
    """The processes that do the jobs."""
    found = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "loky"], capture_output=True, text=True).stdout
    # The resource tracker is a child too, and does no job.
    return [int(pid) for pid in found.split() if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]


def checkpoints(train) -> list[Path]:
    return list(train.home.glob("mlruns/sweeps/*/*/.state/checkpoint.npz"))


def stamps(train) -> dict[Path, int]:
    """When each checkpoint was written, as far as they are not being replaced or cleared away at this moment."""
    found = {}
    for path in checkpoints(train):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found


def results(folder: Path) -> dict[int, tuple]:
    """What a sweep's runs came to: history and metrics of each."""
    found = {}
    for job in sorted(folder.glob("[0-9]*")):
        history = GradientHistory.load(job / "gradients.npz")
        summary = json.loads((job / "summary.json").read_text())
        assert summary["status"] == "FINISHED"
        found[int(job.name)] = (history, summary["metrics"], (job / "history.csv").read_text())
    return found


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for number, (history, metrics, epochs) in expected.items():
        other, other_metrics, other_epochs = found[number]
        np.testing.assert_array_equal(other.variable_norms, history.variable_norms)
        np.testing.assert_array_equal(other.losses, history.losses)
        np.testing.assert_array_equal(other.epoch_ends, history.epoch_ends)
        assert (other_metrics, other_epochs) == (metrics, epochs)


def assert_recorded_once(train, epochs: int = 8) -> None:
    """Each seed is FINISHED once in the store, with each epoch's metrics once."""
    runs = train.recorded()
    assert sorted(r.data.params["seed"] for r in runs) == ["0", "1", "2", "3"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    for run in runs:
        steps = [p.step for p in train.client.get_metric_history(run.info.run_id, "loss")]
        assert sorted(steps) == list(range(1, epochs + 1))
        assert len(train.client.get_metric_history(run.info.run_id, "test_accuracy")) == 1
        assert "summary.json" in {a.path for a in train.client.list_artifacts(run.info.run_id)}


@pytest.fixture(scope="module")
def undisturbed(shared_train):
    shared_train(*SWEEP)
    (folder,) = shared_train.folders("sweeps")
    return results(folder)


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_as_one_that_was_not(train, undisturbed):
    rng = random.Random(0)
    for kill in range(4):
        process = begun(train, *SWEEP)
        before = stamps(train)
        wait_for(lambda p=process, b=before: stamps(train) != b or p.poll() is not None)
        time.sleep(rng.uniform(0, 1))
        victims = workers_of(process) if kill % 2 else [process.pid]  # now a worker, now all
        for pid in victims[:1]:
            os.kill(pid, signal.SIGKILL)
        if kill % 2:
            time.sleep(1)
            process.kill()
        process.wait()

    done = train(*SWEEP)

    (folder,) = train.folders("sweeps")
    assert "4 runs" in done.stdout
    assert_same(results(folder), undisturbed)
    assert_recorded_once(train)
    assert [r.info.status for r in train.recorded("sweep")] == ["FINISHED"]
    assert not list(folder.glob("[0-9]*/.state"))


@pytest.mark.parametrize("left", [["journal.jsonl", "checkpoint.npz"], []])
def test_a_run_interrupted_before_it_goes_on_keeps_what_it_would_go_on_from(left, tmp_path):
    state = tmp_path / "0" / ".state"
    state.mkdir(parents=True)
    for name in left:
        (state / name).write_text("")
    record = Record(None, Job(tmp_path / "0", tmp_path, choices={"model": "mlp", "data": "digits"}))
    assert record.finished() is None
    record.end(Status.KILLED, "interrupted")
    assert sorted(path.name for path in state.glob("[jc]*")) == sorted(left)
    assert (tmp_path / "0").exists() == bool(left)


@pytest.mark.slow
def test_the_run_of_a_killed_worker_goes_on_within_the_same_sweep(train, undisturbed):
    process = begun(train, *SWEEP)
    wait_for(lambda: checkpoints(train) or process.poll() is not None)
    os.kill(workers_of(process)[0], signal.SIGKILL)

    output, _ = process.communicate()

    assert process.returncode == 0, output
    (folder,) = train.folders("sweeps")
    assert_same(results(folder), undisturbed)
    assert_recorded_once(train)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_runs_that_are_trained_as_one_go_on_each_from_its_own_last_epoch(number, train):
    words = [*SWEEP, "deterministic=false", "hydra.launcher.n_jobs=1", "epochs=12"]
    process = begun(train, *words)
    wait_for(lambda: checkpoints(train) or process.poll() is not None)
    if number == signal.SIGKILL:
        os.kill(workers_of(process)[0], number)
    else:
        process.send_signal(number)

    output, _ = process.communicate()

    if number == signal.SIGINT:
        (folder,) = train.folders("sweeps")
        assert {json.loads((folder / str(k) / "summary.json").read_text())["status"] for k in range(4)} == {"KILLED"}
        output = train(*words).stdout
    else:
        assert process.returncode == 0, output
    (folder,) = train.folders("sweeps")
    found = [json.loads((folder / str(k) / "summary.json").read_text()) for k in range(4)]
    assert {run["status"] for run in found} == {"FINISHED"} and {run["epochs"] for run in found} == {12}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_ends_what_runs_as_killed_and_the_same_command_goes_on(number, train, undisturbed):
    process = begun(train, *SWEEP)
    wait_for(lambda: checkpoints(train) or process.poll() is not None)
    os.killpg(process.pid, number)  # as a terminal does on Ctrl-C, or when it is closed: to all of them
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "the same command goes on from here" in output and "Traceback" not in output
    assert {r.info.status for r in train.recorded() + train.recorded("sweep")} <= {"KILLED", "FINISHED"}

    train(*SWEEP)

    (folder,) = train.folders("sweeps")
    assert_same(results(folder), undisturbed)
    assert_recorded_once(train)


UNHEARD = """
import os, signal, time
from zoo.sweeping.workers import _begin

class Interrupts:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)  # Python calls the handler here, and drops what it raises

_begin(os.getppid(), os.getcwd())
try:
    Interrupts()
    time.sleep(30)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGINT)  # the first ends the job; a second one is not to disturb its record
    print("heard")
"""


def test_an_interrupt_within_a_destructor_ends_the_job_all_the_same():
    done = subprocess.run([sys.executable, "-c", UNHEARD], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("heard\n", "")


RESTING = """
import os, signal
from zoo.sweeping import workers

workers._begin(os.getppid(), os.getcwd())
workers._resting.set()
os.kill(os.getpid(), signal.SIGINT)
print("nothing raised")
try:
    workers.execute(0, [], None, None, None)
except KeyboardInterrupt:
    print("heard")
"""


def test_an_interrupt_between_two_jobs_waits_for_the_next_and_cuts_no_result_in_two():
    done = subprocess.run([sys.executable, "-c", RESTING], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("nothing raised\nheard\n", "")


@pytest.fixture
def small_disk(train):
    """A disk of its own, of 16 MB, where `train` keeps everything."""
    with mounted(train.home, "size=16m") as home:
        yield home


@pytest.mark.slow
def test_a_disk_that_fills_up_and_is_cleared_again(small_disk, train, undisturbed):
    process = begun(train, *SWEEP)
    wait_for(lambda: checkpoints(train) or process.poll() is not None)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    output, _ = process.communicate()

    assert process.returncode == 1
    assert "no space left on the disk" in output and "Traceback" not in output
    filler.unlink()
    train(*SWEEP)
    (folder,) = train.folders("sweeps")
    assert_same(results(folder), undisturbed)
    assert_recorded_once(train)
    assert not list(folder.glob("[0-9]*/.state"))
