"""What servers do wrong: each costs one line or sentence in our words, and no run is lost, or there twice."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from processes import begun, mounted, wait_for
from proxy import Proxy

from zoo.errors import explain
from zoo.models.saved import saved
from zoo.tracking.reasons import StoreError, reason_of

SMALL = ("epochs=3", "model.width=4", "model.depth=1", "verbose=0", "pictures=false")


def resend(train) -> subprocess.CompletedProcess:
    return train.module("zoo.tracking", "resend")


def runs(train, server) -> list:
    return [run for run in server.runs() if run.data.tags["folder"].startswith(str(train.home))]


@pytest.mark.slow
def test_a_server_whose_answers_are_lost_has_the_run_once_and_whole(train, shared_server, proxy):
    proxy.lost = lambda number: number % 2 == 1

    train(*SMALL, f"tracking.uri={proxy.address}")

    proxy.lost = lambda number: False
    assert resend(train).returncode == 0  # on a busy machine something may be left
    (run,) = runs(train, shared_server)
    shared_server.assert_complete(run, epochs=3)
    assert not list(train.home.rglob("journal.jsonl"))


@pytest.mark.slow
def test_a_run_that_the_server_made_late_is_deleted(train, shared_server, tmp_path):
    from zoo.tracking.delivery import deliver
    from zoo.tracking.journal import Journal
    from zoo.tracking.store import Store

    store = Store(tmp_path, "gradient-zoo", shared_server.address)
    journal = Journal(tmp_path)
    tags = {"journal": tmp_path.name, "kind": "run", "folder": str(train.home)}
    journal.append("create", name="run", tags=tags, time=1)
    deliver(journal, store, tmp_path)
    store.create("ghost", tags, 1)  # what was asked for first, and took too long
    assert len(runs(train, shared_server)) == 2

    journal.append("end", status="FINISHED", time=2)
    deliver(journal, store, tmp_path)

    assert [run.info.run_id for run in runs(train, shared_server)] == [journal.run_id]


@pytest.mark.slow
def test_a_slow_server_holds_the_end_of_a_run_up_no_longer_than_its_patience(train, shared_server, proxy):
    proxy.delay = 2.0
    process = begun(train, *SMALL, f"tracking.uri={proxy.address}")
    wait_for(lambda: list(train.home.glob("mlruns/runs/*/summary.json")) or process.poll() is not None)
    began = time.monotonic()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert time.monotonic() - began < 30  # 15 s, and what a busy machine adds
    assert output.count("\n") == 1 and "takes more than 15 s" in output

    proxy.delay = 0.0
    assert resend(train).returncode == 0
    (run,) = runs(train, shared_server)
    shared_server.assert_complete(run, epochs=3)


@pytest.mark.slow
def test_a_server_that_hangs_and_wakes_in_the_middle_of_a_resend(train, shared_server):
    process = begun(
        train, *SMALL, "epochs=200", f"tracking.uri={shared_server.address}", MLFLOW_HTTP_REQUEST_TIMEOUT="2"
    )
    wait_for(lambda: list(train.home.glob("mlruns/runs/*/history.csv")) or process.poll() is not None)
    shared_server.signal(signal.SIGSTOP)
    try:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and output.count("\n") == 1, output
        assert "no answer within 2 s" in output
        refused = resend(train)
        assert refused.returncode == 1
        assert refused.stderr.startswith(
            f"error: the tracking store {shared_server.address} cannot be used (no answer within"
        )
        assert refused.stderr.count("\n") == 1
        waiting = subprocess.Popen(
            [sys.executable, "-m", "zoo.tracking", "resend"], env={**os.environ, "GRADIENT_ZOO_HOME": str(train.home)}
        )
        time.sleep(1)
    finally:
        shared_server.signal(signal.SIGCONT)
    assert waiting.wait(120) == 0
    (run,) = runs(train, shared_server)
    shared_server.assert_complete(run, epochs=200)


@pytest.mark.parametrize(
    "answer, told",
    [
        ((500, b"<html>Internal Server Error</html>"), "it answers with an error: 500"),
        ((503, b"<html>later</html>"), "it answers with an error: 503"),
        ((200, b"<html>Welcome to nginx!</html>"), "what answers there is no MLflow server"),
        ((404, b"<html>Not found</html>"), "what answers there is no MLflow server"),
        ((403, b"<html>Forbidden</html>"), "it refuses the user name or password"),
        ((403, b"Invalid Host header - possible DNS rebinding attack detected"), "start it with --allowed-hosts"),
    ],
)
def test_what_is_no_mlflow_server_is_told_in_one_line(answer, told, train):
    proxy = Proxy("127.0.0.1:1")
    proxy.answer = answer
    done = train(*SMALL, f"tracking.uri={proxy.address}", code=1)
    proxy.close()
    assert done.stderr.startswith(f"error: the tracking store {proxy.address} cannot be used (") and told in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(proxy.asked) == 1  # once is enough
    assert not train.folders()


@pytest.mark.parametrize(
    "address, told",
    [("http://127.0.0.1:1", "nothing answers there"), ("http://no-such-host.invalid:5000", "there is no such host")],
)
def test_a_server_that_is_not_there_is_told_at_once(address, told, train):
    done = train(*SMALL, f"tracking.uri={address}", code=1, no_proxy="*")
    assert done.stderr == (
        f"error: the tracking store {address} cannot be used ({told}); start it, give another tracking.uri, or leave "
        "it out with tracking=none.\n"
    )
    assert not train.folders()


def test_a_server_that_never_answers_is_waited_for_once(train):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        done = train(*SMALL, f"tracking.uri={address}", code=1, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
    assert time.monotonic() - began < 20
    assert done.stderr.startswith(f"error: the tracking store {address} cannot be used (no answer within 2 s);")
    assert done.stderr.count("\n") == 1


def test_a_database_that_cannot_be_opened_is_told_at_once(train):
    began = time.monotonic()
    done = train(*SMALL, "tracking.uri=sqlite:////proc/none/store.db", code=1)
    assert time.monotonic() - began < 60  # MLflow would try for 100 s
    assert "(unable to open database file);" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "text, told",
    [
        ("INTERNAL_ERROR: (sqlite3.OperationalError) database is locked\n[SQL: select 1]", "database is locked"),
        ("BAD_REQUEST: " + "word " * 100, ("word " * 30).strip() + " ..."),
        ("no way to http://me:password@host", "no way to http://me:***@host"),
    ],
)
def test_a_reason_is_a_few_words(text, told):
    assert reason_of(Exception(text)) == told


def test_an_error_of_a_store_survives_its_way_between_processes():
    import pickle

    error = StoreError("http://host", "nothing answers there", "; start it.")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "the tracking store http://host cannot be used (nothing answers there); start it."
    assert explain(copy) == str(error)


@pytest.fixture
def read_only_home(train):
    with mounted(train.home, "ro") as home:
        yield home


@pytest.mark.parametrize("words", [(), ("-m", "seed=0,1"), ("tracking=none",), ("-m", "seed=0,1", "tracking=none")])
def test_a_home_on_a_read_only_disk_is_told_in_one_line(words, read_only_home, train):
    done = train(*words, *SMALL, code=1)
    assert done.stderr.startswith(f"error: {read_only_home}") and "mounted read-only" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("-m", "seed=0,1")])
def test_a_home_that_is_a_file_is_told_in_one_line(words, train):
    train.home.write_text("")
    done = train(*words, *SMALL, code=1)
    assert done.stderr.startswith(f"error: {train.home} is a file, where a folder must be")
    assert done.stderr.count("\n") == 1


def test_only_our_own_folder_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIENT_ZOO_HOME", str(tmp_path))
    ours = explain(PermissionError(13, "Permission denied", str(tmp_path / "mlruns" / "runs")))
    assert ours is not None and "no permission" in ours and "GRADIENT_ZOO_HOME" in ours
    assert explain(PermissionError(13, "Permission denied", str(tmp_path / "data.npz"))) is None


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    import keras

    def keep(name: str, shape: tuple, *layers) -> str:
        path = str(tmp_path_factory.getbasetemp() / f"{name}.keras")
        keras.Sequential([keras.Input(shape), *layers]).save(path)
        return path

    return keep


def test_a_saved_model_that_does_not_fit_the_data_is_told_in_one_line(kept, train):
    import keras

    flat = kept("flat", (64,), keras.layers.Dense(10))
    done = train("model=saved", f"model.path={flat}", "preflight=true", code=1)
    assert done.stderr.startswith(f"error: model.path={flat}: it takes samples of shape 64, and this data has 8x8x1")
    few = kept("few", (8, 8), keras.layers.Flatten(), keras.layers.Dense(3))
    done = train("model=saved", f"model.path={few}", "preflight=true", code=1)
    assert done.stderr.startswith(f"error: model.path={few}: it gives 3 outputs, and this data asks for 10")
    assert done.stderr.count("\n") == 1
    saved(few, (8, 8, 1), 3)  # Keras itself leaves out an axis of 1


def test_a_lambda_layer_is_told_with_what_to_do(kept, train):
    import keras

    path = kept(
        "lambda", (8, 8, 1), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(10)
    )
    done = train("model=saved", f"model.path={path}", code=1)
    assert done.stderr.startswith(f"error: model.path={path}: it holds a Lambda layer")
    assert "model._target_=MODULE.FUNCTION" in done.stderr and done.stderr.count("\n") == 1
