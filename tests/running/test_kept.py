"""The trained model that a run leaves: loaded by Keras alone, recorded once, tested on other data, gone on from."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import keras
import mlflow
import numpy as np
import pandas
import pytest
from processes import wait_for

from zoo.archive.models import BestModels, models_in
from zoo.archive.summary import Status, Summary
from zoo.running.kept import write_model
from zoo.tracking.models import log_model
from zoo.tracking.store import Store

SMALL = ("model.depth=1", "model.width=8", "verbose=0", "pictures=false")
# Keras and nothing of ours: what a person has who is handed the file.
WITHOUT_ZOO = """
import sys
sys.modules["zoo"] = None
import keras, numpy
model = keras.models.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))
"""


def frame(count: int, seed: int) -> pandas.DataFrame:
    """Rows whose class follows from two columns of very different scales."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)) * [1, 50, 3] + [0, 200, -5]
    named = np.where(x[:, 0] + (x[:, 1] - 200) / 50 > 0, "yes", "no")
    return pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "buys": named})


@pytest.fixture(scope="module")
def of_table(shared_train, tmp_path_factory):
    """A run on a CSV file, and the folder of the file."""
    place = tmp_path_factory.mktemp("data")
    frame(400, 0).to_csv(place / "mine.csv", index=False)
    words = ("data=table", f"data.path={place}/mine.csv", "data.target=buys", "epochs=4", "class_weight=balanced")
    shared_train(*words, *SMALL, "callbacks=[gradient_norms,probe,best_model,tensorboard]")
    (folder,) = shared_train.folders()
    return folder, place


def logged(train) -> list:
    experiment = train.client.get_experiment_by_name("gradient-zoo").experiment_id
    return list(train.client.search_logged_models([experiment]))


def test_keras_alone_loads_the_model(of_table, tmp_path):
    folder, _ = of_table
    assert models_in(folder) == ["model.keras", "best.keras"]
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    files = [folder / "model.keras", tmp_path / "x.npy", tmp_path / "y.npy"]
    subprocess.run([sys.executable, "-c", WITHOUT_ZOO, *map(str, files)], check=True, cwd=tmp_path)
    model = keras.models.load_model(files[0])
    np.testing.assert_allclose(np.load(files[2]), model.predict(x, verbose=0), rtol=1e-5)


def test_the_store_has_each_model_once_with_its_signature(of_table, shared_train, monkeypatch):
    folder, _ = of_table
    models = {model.name: model for model in logged(shared_train)}
    assert sorted(models) == ["best", "model"] and len(logged(shared_train)) == 2
    (run,) = shared_train.recorded()
    assert {output.model_id for output in run.outputs.model_outputs} == {m.model_id for m in models.values()}
    assert not [file.path for file in shared_train.client.list_artifacts(run.info.run_id) if "keras" in file.path]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared_train.uri)
    found = mlflow.models.get_model_info(f"models:/{models['model'].model_id}").signature
    assert [field.shape for field in (*found.inputs.inputs, *found.outputs.inputs)] == [(-1, 3), (-1, 2)]
    x = np.ones((2, 3), np.float32)
    of_mlflow = mlflow.keras.load_model(f"runs:/{run.info.run_id}/model")
    ours = keras.models.load_model(folder / "model.keras")
    np.testing.assert_array_equal(of_mlflow.predict(x, verbose=0), ours.predict(x, verbose=0))


def test_the_model_comes_back_with_a_lost_database(of_table, shared_train, train):
    shutil.copytree(shared_train.home, train.home)
    (train.home / "mlruns" / "mlflow.db").unlink()
    assert train.module("zoo.tracking", "restore").returncode == 0
    assert sorted(model.name for model in logged(train)) == ["best", "model"]
    (run,) = train.recorded()
    assert run.inputs.dataset_inputs[0].dataset.name == "mine.csv"


def test_it_is_tested_on_the_runs_data_and_on_others(of_table, shared_train):
    folder, place = of_table
    own = shared_train.module("zoo.evaluate", str(folder))
    assert own.returncode == 0, own.stderr
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    told = f"accuracy {metrics['test_accuracy']:.4g}  loss {metrics['test_loss']:.4g}"
    assert f"test      {told}\n" in own.stdout and "80 samples" in own.stdout

    more = frame(300, 1)
    more = more[more["buys"] == "yes"][["c", "buys", "b", "a"]]  # in another order, and of one class alone
    more.to_csv(place / "new.csv", index=False)
    done = shared_train.module("zoo.evaluate", str(folder), f"data.path={place}/new.csv")
    assert done.returncode == 0, done.stderr
    known = json.loads((folder / "data.json").read_text())
    x = ((more[["a", "b", "c"]].to_numpy() - known["shift"]) / known["scale"]).astype(np.float32)
    answers = keras.models.load_model(folder / "model.keras").predict(x, verbose=0).argmax(1)
    accuracy = np.mean(np.array(known["class_names"])[answers] == "yes")
    assert f"test      accuracy {accuracy:.4g}" in done.stdout and f"{len(more)} samples" in done.stdout


def test_wrong_words_of_a_test_are_told_in_a_line(of_table, shared_train, tmp_path):
    folder, place = of_table
    frame(50, 2).drop(columns="b").to_csv(place / "less.csv", index=False)
    frame(50, 2).replace("yes", "maybe").to_csv(place / "other.csv", index=False)
    for words, told in {
        (str(tmp_path),): "there is no run",
        (str(folder), "epochs=3"): "epochs=3: a test takes data=NAME",
        (str(folder), "data=digits"): "the run was trained on",
        (str(folder), f"data.path={place}/none.csv"): "there is no file",
        (str(folder), f"data.path={place}/less.csv"): "the column b",
        (str(folder), f"data.path={place}/other.csv"): "the run was trained on no class maybe, but on no, yes",
    }.items():
        done = shared_train.module("zoo.evaluate", *words)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, (words, done.stderr)
        assert done.stderr.startswith("error: ") and told in done.stderr, done.stderr


def test_a_run_goes_on_from_the_folder_of_another(of_table, train):
    folder, place = of_table
    data = ("data=table", f"data.path={place}/mine.csv", "data.target=buys")
    words = ("model=saved", f"model.path={folder}", "epochs=1", "optimizer.learning_rate=0", *SMALL[2:])
    train(*words, *data, "tracking=none")
    (after,) = train.folders()
    before, now = (keras.models.load_model(run / "model.keras").get_weights() for run in (folder, after))
    for one, other in zip(before, now, strict=True):
        np.testing.assert_array_equal(one, other)
    done = train("model=saved", f"model.path={place}", *data, code=1)
    assert done.stderr == f"error: model.path={place}: that folder has no model.keras: its run kept no model.\n"


def test_event_files_hold_epochs_and_steps(of_table):
    folder, _ = of_table
    assert len(list((folder / "tensorboard").glob("events.*"))) == 2


def test_what_is_not_installed_is_told_before_anything_is_trained(train):
    done = train("callbacks=[gradient_norms,wandb]", code=1)
    assert done.stderr == "error: callbacks: wandb is not installed: pip install wandb.\n" and not train.folders()


@pytest.mark.parametrize("kept, count", [("best", 1), ("all", 4)])
def test_a_sweep_keeps_the_models_that_it_is_told_to(train, kept, count):
    words = ("optimizer.learning_rate=1e-5,1e-3", "seed=0,1", "epochs=2", f"tracking.models={kept}")
    train("-m", *words, *SMALL[:2], *SMALL[3:], "data.limit=300")
    (sweep,) = train.folders("sweeps")
    runs = sorted((Summary.read(folder) for folder in sweep.glob("[0-9]")), key=lambda run: run.measured("val_loss"))
    assert {run.folder for run in runs if models_in(run.folder)} == {run.folder for run in runs[:count]}
    assert not (sweep / "models").exists()
    assert {model.source_run_id for model in logged(train)} == {run.run_id for run in runs[:count]}
    assert len(logged(train)) == count and all(not (run.folder / ".state").exists() for run in runs)
    for run in runs[:count]:
        model = keras.models.load_model(run.folder / "model.keras")
        assert model.count_params() == run.parameters


def test_the_best_of_a_sweep_are_kept_whatever_comes_first(tmp_path):
    values = {"0": 0.5, "1": 0.7, "2": 0.1, "3": float("nan"), "4": 0.3}
    best = BestModels(tmp_path, "val_loss", 2)
    for number, value in values.items():
        (tmp_path / number).mkdir()
        place = best.place(number, value)
        if place is not None:
            (place / "model.keras").touch()
        Summary(tmp_path / number, number, Status.FINISHED, metrics={"val_loss": value}).write()
        best.drop_others()
    assert sorted(path.name for path in best.folder.iterdir()) == ["2", "4"]
    assert [folder.name for folder in best.settle()] == ["2", "4"] and not best.folder.exists()
    best.gather()  # the sweep goes on
    assert best.place("5", 0.4) is None and best.place("6", 0.2) is not None
    assert [folder.name for folder in best.settle()] == ["2", "4"]


def test_what_a_model_is_compiled_with_of_ours_is_left_out(tmp_path):
    from zoo.losses import OneHot
    from zoo.models.blocks import OrthogonalRegularizer
    from zoo.optimizers import EMAMomentum

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, kernel_regularizer=OrthogonalRegularizer())(inputs)
    x = keras.layers.Dense(3, kernel_regularizer=OrthogonalRegularizer(0.1))(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)
    x, y = np.ones((4, 8, 8, 1), np.float32), np.zeros(4, int)
    np.save(tmp_path / "x.npy", x)
    for loss, optimizer in ((OneHot(keras.losses.MeanSquaredError()), "sgd"), ("mse", EMAMomentum())):
        model.compile(loss=loss, optimizer=optimizer)
        model.fit(x, y[:, None], verbose=0)
        write_model(model, tmp_path / "model.keras")
        files = [tmp_path / "model.keras", tmp_path / "x.npy", tmp_path / "y.npy"]
        subprocess.run([sys.executable, "-c", WITHOUT_ZOO, *map(str, files)], check=True, cwd=tmp_path)
        np.testing.assert_allclose(np.load(files[2]), model.predict(x, verbose=0), rtol=1e-5)
    assert [path.name for path in tmp_path.glob("*model*")] == ["model.keras"]


def test_a_model_that_was_half_sent_is_sent_once(of_table, shared_train):
    folder, _ = of_table
    store = Store(shared_train.home, "gradient-zoo", shared_train.uri)
    run_id = store.create("again", {}, 0)
    begun = store.client.create_logged_model(store.experiment_id, "model", run_id)
    for _ in range(2):
        log_model(store, run_id, folder / "model.keras")
    of_run = [model for model in logged(shared_train) if model.source_run_id == run_id]
    assert [(model.model_id, str(model.status)) for model in of_run] == [(begun.model_id, "READY")]
    store.client.delete_run(run_id)


@pytest.mark.slow
def test_a_registered_model_is_served_without_this_package(of_table, shared_train, tmp_path, monkeypatch):
    """Where none finds `zoo`: the server that `mlflow models serve` starts has this path too."""
    (run,) = shared_train.recorded()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared_train.uri)
    mlflow.register_model(f"runs:/{run.info.run_id}/model", "mine")
    (tmp_path / "zoo.py").write_text("raise ModuleNotFoundError('zoo')\n")  # before the one that is installed
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [
        "models",
        "serve",
        "-m",
        "models:/mine/1",
        "--env-manager",
        "local",
        "--port",
        address.rpartition(":")[2],
    ]
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # it starts `python` by its name
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "MLFLOW_TRACKING_URI": shared_train.uri, "PATH": path}
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command], env=env, cwd=tmp_path, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        assert server.poll() is None
        try:
            return urllib.request.urlopen(f"{address}/ping", timeout=1).status == 200
        except OSError:
            return False

    try:
        wait_for(answers, 240)
        body = json.dumps({"inputs": [[0.5, -1.0, 0.25]]}).encode()
        asked = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        told = json.loads(urllib.request.urlopen(asked, timeout=60).read())["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    folder, _ = of_table
    expected = keras.models.load_model(folder / "model.keras").predict(np.array([[0.5, -1.0, 0.25]]), verbose=0)
    np.testing.assert_allclose(told, expected, rtol=1e-4)
