"""A tracking server that refuses, hangs or dies: the training goes on, and the server gets what it missed, once."""

import os
import signal
import subprocess
import time

import prepared
import pytest
from conftest import ROOT
from processes import Server, begun, wait_for

KILLED_BEFORE_ITS_PAGE = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import train
import zoo.report.run_page
zoo.report.run_page.page_if_possible = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
train.main()
"""
LONG = ("epochs=40", "model.width=8", "pictures=false", "verbose=0")


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def resend(train, *words: str) -> subprocess.CompletedProcess:
    return train.module("zoo.tracking", "resend", *words)


@pytest.mark.slow
def test_a_server_that_dies_in_mid_run_gets_what_it_missed_once(train, server):
    process = begun(train, *LONG, f"tracking.uri={server.address}")
    wait_for(lambda: list(train.home.glob("mlruns/runs/*/history.csv")) or process.poll())
    time.sleep(1)
    server.stop()
    output, _ = process.communicate()

    assert process.returncode == 0
    assert output.count("python -m zoo.tracking resend") == 1 and output.count("\n") == 1
    (folder,) = train.folders()
    assert (folder / "summary.json").is_file() and (folder / "gradients.npz").is_file()
    refused = resend(train)  # still down
    assert refused.returncode == 1 and refused.stderr.startswith(f"error: the tracking store {server.address}")

    server.start()
    done = resend(train)

    assert done.stdout.startswith("1 run"), done.stderr
    (run,) = server.runs()
    server.assert_complete(run, epochs=40)
    assert resend(train).stdout.startswith("0 runs")


@pytest.mark.slow
def test_a_server_that_hangs_holds_no_training_up(train, server):
    process = begun(train, *LONG, f"tracking.uri={server.address}", MLFLOW_HTTP_REQUEST_TIMEOUT="2")
    wait_for(lambda: list(train.home.glob("mlruns/runs/*/history.csv")) or process.poll())
    server.signal(signal.SIGSTOP)
    output, _ = process.communicate(timeout=120)
    server.signal(signal.SIGCONT)

    assert process.returncode == 0 and output.count("\n") == 1
    assert resend(train).returncode == 0
    (run,) = server.runs()
    server.assert_complete(run, epochs=40)


@pytest.mark.slow
def test_a_run_whose_process_was_killed_does_not_stay_running(train):
    process = begun(train, "epochs=400", "verbose=0")
    (csv,) = wait_for(lambda: list(train.home.glob("mlruns/runs/*/history.csv")))
    wait_for(lambda: csv.read_text().count("\n") > 3)
    process.kill()
    process.wait()
    assert train.recorded()[0].info.status == "RUNNING"

    done = resend(train)

    assert done.stdout.startswith("1 run")
    (run,) = train.recorded()
    assert run.info.status == "KILLED"
    from zoo import GradientHistory

    (folder,) = train.folders()
    history = GradientHistory.load(folder / "gradients.npz")
    assert len(history) >= 3 * 41 and len(history.epoch_ends) >= 3
    assert "gradients.npz" in {a.path for a in train.client.list_artifacts(run.info.run_id)}


def test_a_run_that_was_killed_after_it_had_written_its_summary_tells_all_it_came_to(train, tmp_path):
    words = ("epochs=2", "model.width=8", "pictures=false", "verbose=0")
    killed = tmp_path / "killed.py"
    killed.write_text(KILLED_BEFORE_ITS_PAGE)

    gone = prepared.run([str(killed), *words], ROOT, {**os.environ, "GRADIENT_ZOO_HOME": str(train.home)})

    assert gone.returncode == -signal.SIGKILL, gone.stderr
    assert train.recorded()[0].info.status == "RUNNING"
    train(*words)  # as it ought to be told
    resend(train)
    one, other = train.recorded()
    assert one.info.status == other.info.status == "FINISHED"
    same = one.data.metrics.keys() - {"seconds"}
    assert one.data.metrics.keys() == other.data.metrics.keys() and "test_accuracy" in same
    assert {name: one.data.metrics[name] for name in same} == {name: other.data.metrics[name] for name in same}
    assert one.data.tags["verdict.sentence"] == other.data.tags["verdict.sentence"]
    for name in ("loss", "test_accuracy", "gradient_norm/1_dense_1", "profile/gradient_norm"):
        found = [train.client.get_metric_history(run.info.run_id, name) for run in (one, other)]
        assert [p.step for p in found[0]] == [p.step for p in found[1]]
    files = [{a.path for a in train.client.list_artifacts(run.info.run_id)} for run in (one, other)]
    assert files[1] - files[0] == {"run.html"}


@pytest.mark.slow
def test_six_jobs_at_once_on_a_fresh_store(train):
    seeds = ",".join(map(str, range(6)))
    train("-m", f"seed={seeds}", "hydra.launcher.n_jobs=6", "epochs=2", "model.width=8", "pictures=false")
    runs = train.recorded()
    assert sorted(int(r.data.params["seed"]) for r in runs) == list(range(6))
    for run in runs:
        assert run.info.status == "FINISHED"
        for name in ("loss", "val_loss", "gradient_norm", "gradient_norm/1_dense_1"):
            assert [p.step for p in train.client.get_metric_history(run.info.run_id, name)] == [1, 2]


def test_a_folder_that_is_not_there_is_told_in_one_line(train):
    done = resend(train, "nowhere")
    assert done.returncode == 1
    assert done.stderr == "error: nowhere: there is no such folder of a run or sweep.\n"
