"""The embedded database: whole or not there, however many make it at once, and whatever kills them."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from processes import begun

from zoo.errors import UserError
from zoo.tracking import embedded
from zoo.tracking.delivery import deliver
from zoo.tracking.journal import Journal
from zoo.tracking.store import Store

SMALL = ("epochs=1", "model.depth=1", "model.width=8", "verbose=0", "pictures=false")
ENSURE = "import sys; from pathlib import Path; from zoo.tracking import embedded; embedded.ensure(Path(sys.argv[1]))"


def tables(path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as file:
        return file.execute("select count(*) from sqlite_master where type = 'table'").fetchone()[0]


def test_a_process_that_is_killed_while_it_makes_it_leaves_nothing_that_hinders(tmp_path):
    path = tmp_path / "mlruns" / "mlflow.db"
    new = lambda: list(path.parent.glob(".mlflow.db.new*"))  # noqa: E731
    for delay in (0.0, 0.1, 0.3):
        process = subprocess.Popen([sys.executable, "-c", ENSURE, path], cwd=ROOT)
        while not new() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not path.exists():
            assert new()  # it was killed in the middle
    embedded.ensure(path)
    assert tables(path) > 20 and not new()
    embedded.ensure(path)  # what is there stays


@pytest.mark.slow
def test_sixteen_commands_at_once_on_a_fresh_home_are_all_recorded(train):
    processes = [begun(train, *SMALL, f"seed={seed}") for seed in range(16)]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 16, told
    assert told == [""] * 16
    runs = train.recorded()
    assert sorted(int(run.data.params["seed"]) for run in runs) == list(range(16))
    assert {run.info.status for run in runs} == {"FINISHED"}


def cut(path):
    embedded.ensure(path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("create table _alembic_tmp_latest_metrics (x)")


def without_version(path):
    embedded.ensure(path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("delete from alembic_version")
        file.commit()


def of_another_program(path):
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("create table songs (title)")


def garbage(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(5000))


def half(path):
    embedded.ensure(path)
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "its creation was cut off"),
        (without_version, "its creation was cut off"),
        (of_another_program, "it is not MLflow's"),
        (garbage, "file is not a database"),
        (half, "database disk image is malformed"),
    ],
)
def test_what_cannot_be_used_is_told_and_left_as_it_is(spoil, reason, tmp_path):
    path = tmp_path / "mlruns" / "mlflow.db"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(UserError) as raised:
        embedded.ensure(path)
    assert str(raised.value).startswith(f"{path} cannot be used: {reason}; move it away, then `python -m zoo.tracking")
    assert path.read_bytes() == before


def test_the_command_tells_it_in_one_line(train):
    garbage(train.home / "mlruns" / "mlflow.db")
    done = train(*SMALL, code=1)
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "cannot be used" in done.stderr
    assert not train.folders()


def test_an_empty_file_is_made_anew_and_the_runs_on_disk_are_not_forgotten(train):
    train(*SMALL)
    (train.home / "mlruns" / "mlflow.db").write_bytes(b"")
    done = train(*SMALL, "seed=1")
    assert "is new, and 1 run on disk may not be in it: `python -m zoo.tracking restore`" in done.stderr
    assert len(train.recorded()) == 1
    assert train.module("zoo.tracking", "restore").stdout == "1 run brought in that the store did not have\n"
    assert sorted(run.data.params["seed"] for run in train.recorded()) == ["0", "1"]


def test_what_the_store_refuses_takes_nothing_with_it(tmp_path):
    store, journal = Store(tmp_path, "refusing"), Journal(tmp_path / "run")
    journal.append("create", name="run", tags={"journal": "key", "kind": "run"}, time=1)
    journal.append("params", values={f"param.{k}": str(k) for k in range(150)})
    journal.append("points", points=[("loss", 1.0, 1)], time=1)
    journal.append("points", points=[("no name?", 1.0, 1)], time=1)
    journal.append("points", points=[("accuracy", 0.5, 1)], time=1)
    journal.append("tags", values={"verdict": "healthy"})
    journal.append("end", status="FINISHED", time=2)
    refused = deliver(journal, store, tmp_path / "run")
    assert len(refused) == 1 and not journal.pending
    run = store.client.get_run(journal.run_id or "")
    assert run.info.status == "FINISHED" and run.data.tags["verdict"] == "healthy"
    assert run.data.metrics == {"loss": 1.0, "accuracy": 0.5} and len(run.data.params) == 150
