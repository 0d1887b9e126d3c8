"""`python train.py` as a user has it: real processes, real data, a real store."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from zoo import GradientHistory

SMALL = ("epochs=1", "model.depth=1", "model.width=8", "verbose=0", "pictures=false")


@pytest.fixture(scope="module")
def default_run(shared_train):
    done = shared_train.fresh()
    (folder,) = shared_train.folders()
    return shared_train, done, folder, json.loads((folder / "summary.json").read_text())


def test_the_default_run_learns_the_digits(default_run):
    _, _, _, summary = default_run
    assert summary["metrics"]["test_accuracy"] >= 0.95
    assert summary["status"] == "FINISHED"
    assert summary["verdict"]["name"] == "healthy"


def test_the_run_folder_is_complete_and_the_same_in_the_store(default_run):
    train, _, folder, summary = default_run
    names = {
        "config.yaml",
        "history.csv",
        "gradients.npz",
        "probes.npz",
        "summary.json",
        "gradients.png",
        "profile.png",
        "run.html",
    }
    assert names <= {p.name for p in folder.iterdir()}
    (run,) = train.recorded()
    assert run.info.run_id == summary["run_id"]
    assert names <= {a.path for a in train.client.list_artifacts(run.info.run_id)}
    history = GradientHistory.load(folder / "gradients.npz")
    assert len(history) == summary["steps"] == 20 * -(-1293 // 32)
    assert np.isfinite(history.norms).all()


def test_the_store_tells_everything_about_the_run(default_run, root):
    train, _, folder, summary = default_run
    (run,) = train.recorded()
    data = run.data
    assert run.info.status == "FINISHED"
    assert data.params["model.depth"] == "5"
    assert data.params["learning_rate"] == "0.001"
    named = {"model": "mlp", "data": "digits", "optimizer": "adam", "callbacks": "[gradient_norms,probe]"}
    assert named.items() <= data.params.items()
    assert not [name for name in data.params if name.rpartition(".")[2].startswith("_")]
    (trained_on,) = run.inputs.dataset_inputs
    assert (trained_on.dataset.name, len(trained_on.dataset.digest)) == ("digits", 8)
    assert data.tags["mlflow.source.name"] == "train.py"
    assert data.params["seed"] == "0"
    assert data.params["parameters"] == str(summary["parameters"])
    assert data.tags["verdict"] == "healthy"
    assert data.tags["version.keras"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()
    assert data.tags.get("mlflow.source.git.commit", "") == commit
    layers = sorted(name for name in data.metrics if name.startswith("gradient_norm/"))
    expected = GradientHistory.load(folder / "gradients.npz")
    assert [name.split("_", 2)[2] for name in layers] == expected.layers
    points = train.client.get_metric_history(run.info.run_id, layers[0])
    assert [p.step for p in points] == list(range(1, 21))
    means = [expected.norms[expected.epoch(i), 0].mean() for i in range(20)]
    np.testing.assert_allclose([p.value for p in points], means, rtol=1e-5)
    profile = train.client.get_metric_history(run.info.run_id, "profile/gradient_norm")
    assert [p.step for p in profile] == [1, 2, 3, 4, 5, 6]
    last = np.median(expected.norms[expected.epoch(-1)], axis=0)
    np.testing.assert_allclose([p.value for p in profile], last, rtol=1e-5)
    for name in ("loss", "val_loss", "accuracy", "learning_rate", "gradient_norm", "test_accuracy", "seconds"):
        assert name in data.metrics


def test_the_closing_block_tells_the_result(default_run):
    train, done, folder, summary = default_run
    assert f"accuracy {summary['metrics']['test_accuracy']:.4g}" in done.stdout
    assert "verdict   healthy" in done.stdout
    for layer in ("dense_1", "dense_5", "logits"):
        assert re.search(rf"^{layer} +[█▏▎▍▌▋▊▉]+ +\d\.\d\de[-+]\d\d$", done.stdout, re.MULTILINE)
    assert str(folder) in done.stdout
    assert f"mlflow ui --backend-store-uri {train.uri} " in done.stdout


def test_no_chatter(default_run):
    _, done, _, _ = default_run
    assert done.stderr == ""
    for chatter in ("oneDNN", "cuda", "absl", "alembic", "INFO"):
        assert chatter not in done.stdout


def test_silent_on_request(train):
    done = train(*SMALL)
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize(
    "words, verdict",
    [
        (["experiment=vanishing"], "vanishing"),
        (["model.depth=10", "activation=relu", "initializer=he_normal", "epochs=5"], "healthy"),
    ],
)
def test_known_verdicts(words, verdict, train):
    train(*words, "verbose=0")
    (run,) = train.recorded()
    assert run.data.tags["verdict"] == verdict


def test_the_same_seed_gives_the_same_history_bit_for_bit_however_many_steps_share_a_call(train):
    for per_call in ("null", "1"):
        words = ["epochs=2", "dropout.rate=0.2", "normalization=batch", "verbose=0"]
        train("deterministic=true", f"steps_per_execution={per_call}", *words)
    first, second = (GradientHistory.load(folder / "gradients.npz") for folder in train.folders())
    np.testing.assert_array_equal(first.variable_norms, second.variable_norms)
    assert (train.folders()[0] / "history.csv").read_text() == (train.folders()[1] / "history.csv").read_text()


def test_another_working_directory_uses_the_same_store_and_sees_its_own_modules(train, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras\n"
        "def net(input_shape, classes, units=4):\n"
        "    x = keras.Input(input_shape)\n"
        "    return keras.Model(x, keras.layers.Dense(classes)(keras.layers.Flatten()(x)))\n"
    )
    train(*SMALL)
    done = train("model._target_=mine.net", "+model.units=5", "epochs=1", "verbose=0", cwd=tmp_path)
    assert len(train.recorded()) == 2
    assert done.stderr == "model: mine.net has no depth, width, residual, use_bias: left out\n"


BAD = {
    "epochs=abc": "epochs=abc: it must be a whole number.",
    "batch_size=0": "batch_size=0: it must be a whole number, 1 or more.",
    "optimizer.learning_rate=-1": "optimizer.learning_rate=-1: it must be a number, 0 or more.",
    "optimizer.learning_rate=high": "optimizer.learning_rate=high: it must be a number, 0 or more.",
    "dropout.rate=1.5": "dropout.rate=1.5: it must be a number, 0 or more and below 1.",
    "deterministic=maybe": "deterministic=maybe: it must be true or false.",
    "precision=float8": "precision=float8: choose one of float32, mixed_float16, mixed_bfloat16.",
    "epoch=3": "there is no epoch in this configuration",
    "optimizer.lerning_rate=1": "there is no optimizer.lerning_rate in this configuration",
    "activation=rellu": "activation=rellu: no such choice; did you mean activation=relu?",
    "modle=mlp": "there is no modle in this configuration; did you mean model?",
    "model.dept=5": "there is no model.dept in this configuration; did you mean model.depth?",
    "callbacks=[gradient_norms,prob]": "callbacks=prob: no such choice; did you mean callbacks=probe?",
    "epochs=1.5": "epochs=1.5: it must be a whole number",
    "epochs=null": "epochs=null: it must be a whole number",
    "pictures=5": "pictures=5: it must be true or false.",
    "learning_rate=0.1": "there is no learning_rate in this configuration; did you mean optimizer.learning_rate?",
    "optimizer.lr=0.1": "there is no optimizer.lr in this configuration; did you mean optimizer.learning_rate?",
    "+x=1": "there is no x in this configuration",
    "+model.more=1": "there is no model.more in this configuration",
    "~model": "there is no model, and a run needs it",
    "~callbacks": "~callbacks: it is not there, or cannot be taken away",
    "optimizer.learning_rate=null": "optimizer.learning_rate=null: it must be a number, 0 or more.",
    "regularizer=l2 regularizer.l2=-1": "regularizer.l2=-1: it must be a number, 0 or more.",
    "model.width=1000000000": "model.width=1000000000: it must be a whole number, 1 or more and at most 100000.",
    "model.depth=1000000000": "model.depth=1000000000: it must be a whole number, 0 or more and at most 10000.",
    "data=npz": "data=npz needs data.path=FILE.npz",
    "data=npz data.path=/nowhere.npz": "data.path=/nowhere.npz: there is no file",
    "data=image_folder data.path=/nowhere": "data.path=/nowhere: there is no folder",
    "model.weights=/nowhere.keras": "model.weights=/nowhere.keras: there is no such file",
    "objective=lose": "objective=lose: choose one of loss,",
    "steps=5": "steps=5: it follows from",
    "model=lenet data=digits": "model=lenet takes images of 12x12 pixels or more, data=digits has 8x8",
    "data.limit=1": "data.limit=1: it must be a whole number, 2 or more, or null.",
    "data.fold=3": "data.fold=3: there are no folds",
    "tracking.uri=nothing://x": "tracking.uri=nothing://x: there is no such kind of store",
    "data.fold=7 data.folds=5": "data.fold=7: with data.folds=5 it must be one of 0 to 4.",
}


@pytest.mark.parametrize("words", BAD)
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=1,2")])
def test_a_mistake_costs_one_line_and_a_moment(words, sweep, train):
    began = time.perf_counter()
    done = train.fresh(*sweep, *words.split(), code=1)
    seconds = time.perf_counter() - began
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {BAD[words]}")
    assert done.stderr.count("\n") == 1
    assert not train.home.exists()
    assert seconds < 10, "Keras was imported"  # under 1 s on an idle machine


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_left(train):
    for words in (["hydra.run.dir=/proc/x"], ["-m", "seed=1,2", "hydra.sweep.dir=/proc/x"]):
        done = train.fresh(*words, code=1)
        key = words[-1].partition("=")[0]
        assert done.stderr.startswith(f"error: {key}=/proc/x: it cannot be written")
        assert done.stderr.count("\n") == 1
        assert not train.home.exists()


def test_what_callbacks_leave_out_is_told(train):
    done = train("callbacks=[probe]", "epochs=1", "model.depth=1", "tracking=none", "pictures=false")
    assert done.stderr == "callbacks: without gradient_norms no gradient is recorded, and there is no verdict\n"
    done = train("callbacks=[]", "epochs=1", "model.depth=1", "tracking=none", "pictures=false")
    assert done.stderr == ""


def test_a_column_that_is_not_there_is_told_before_the_table_is_read(train, tmp_path):
    (tmp_path / "mine.csv").write_text("length,width,kind\n1,2,a\n")
    done = train.fresh("data=table", "data.path=mine.csv", "data.target=kinds", cwd=tmp_path, code=1)
    assert done.stderr == "error: data.target=kinds: mine.csv has no such column; did you mean kind?\n"


def test_an_experiment_that_sweeps_is_not_done_as_one_run(train):
    done = train.fresh("experiment=activations", code=1)
    assert done.stderr.startswith(
        "error: experiment=activations tries activation=sigmoid,tanh,relu: say python train.py -m"
    )
    train("experiment=activations", "activation=tanh", "preflight=true", "verbose=0")
    assert not train.folders()


def test_what_is_found_out_after_the_start_leaves_nothing_either(train):
    for word in ("+optimizer.more=1", "activation.activation=more", "steps_per_execution=1000", "data.limit=1"):
        done = train(word, code=1)
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert not (train.home / "mlruns").exists()


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["epochs=abc"]])
def test_nothing_heavy_is_imported_to_answer_quickly(words, train):
    done = train.fresh(*words, code="abc" in words[0], PYTHONPROFILEIMPORTTIME="1")
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "hydra" in imported
    assert not imported & {"keras", "tensorflow", "numpy", "mlflow", "sklearn", "matplotlib", "rich"}


def test_help_lists_the_groups_their_choices_and_examples(train):
    text = train.fresh("--help", COLUMNS="80").stdout
    for word in ("activation:", "initializer:", "model:", "relu", "he_normal", "resnet20", "python train.py -m"):
        assert word in text
    assert "_target_" not in text and "_partial_" not in text and "${" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_help_tells_of_a_choice_that_is_named_beside_it(train):
    text = train.fresh("model=resnet56", "--help", "remedy=residual").stdout
    assert "model=resnet56\n  ResNet-56 for 32x32 (He et al. 2015" in text
    assert re.search(r"model.depth=56 +layers with weights", text) and "model.width" not in text
    assert re.search(r"\nremedy=residual\n(  .*\n)+  model.residual=2", text)


def test_an_error_in_a_persons_own_code_shows_that_code_first(train, tmp_path):
    (tmp_path / "mine.py").write_text("def net(input_shape, classes):\n    return 1 / 0\n")
    done = train("model._target_=mine.net", "epochs=1", "verbose=0", cwd=tmp_path, code=1)
    lines = done.stderr.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert "mine.py" in lines[2]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert not list(train.folders())


def test_a_model_function_that_is_not_there(train):
    done = train("model._target_=nowhere.net", code=1)
    assert done.stderr == (
        "error: model._target_=nowhere.net: no such function; is its folder the working directory?\n"
    )


def test_a_run_that_fails_in_training_is_recorded_with_its_reason(train, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras\n"
        "class Fails(keras.callbacks.Callback):\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        raise RuntimeError('in the middle')\n"
    )
    done = train(*SMALL, "+callbacks.mine._target_=mine.Fails", cwd=tmp_path, code=1)
    assert done.stderr.splitlines()[-1] == "RuntimeError: in the middle"
    (run,) = train.recorded()
    assert run.info.status == "FAILED"
    assert run.data.tags["reason"] == "RuntimeError: in the middle"
    (folder,) = train.folders()
    assert json.loads((folder / "summary.json").read_text())["status"] == "FAILED"
    page = (folder / "run.html").read_text()
    assert "RuntimeError: in the middle" in page and "run.html" in {
        file.path for file in train.client.list_artifacts(run.info.run_id)
    }


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def server(train):
    """MLflow's server over the store of `train`, as `make ui` starts it."""
    train(*SMALL)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", train.uri, "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1)
            break
        except OSError:
            time.sleep(0.5)
    yield address
    subprocess.run(["pkill", "-TERM", "-s", str(process.pid)])
    process.wait()


def test_runs_while_the_ui_is_up_and_to_a_server(train, server):
    train(*SMALL)
    assert len(train.recorded()) == 2
    train(*SMALL, f"tracking.uri={server}", "seed=1")
    train(*SMALL, "seed=2", MLFLOW_TRACKING_URI=server)
    runs = train.recorded()
    assert [r.data.params["seed"] for r in runs] == ["0", "0", "1", "2"]
    assert all(r.info.status == "FINISHED" for r in runs)


def test_a_server_that_is_not_there_is_told_in_one_line_and_nothing_is_left(train):
    address = f"http://127.0.0.1:{free_port()}"
    done = train(*SMALL, f"tracking.uri={address}", code=1)
    assert done.stderr.startswith(f"error: the tracking store {address} cannot be used")
    assert done.stderr.count("\n") == 1
    assert not list(train.folders())


def test_a_saved_model_is_diagnosed(train, tmp_path):
    from zoo.models import mlp

    mlp((8, 8, 1), 10, depth=30, activation="sigmoid", initializer="glorot_uniform").save(tmp_path / "sick.keras")
    done = train("model=saved", f"model.path={tmp_path / 'sick.keras'}", "preflight=true")
    assert done.stdout.startswith("step 0    vanishing: ")
    assert not list(train.folders())  # a pre-flight leaves nothing


@pytest.mark.parametrize("content, told", [(None, "there is no such file"), ("text", "Keras cannot load it")])
def test_a_saved_model_that_cannot_be_loaded(content, told, train, tmp_path):
    path = tmp_path / "model.keras"
    if content:
        path.write_text(content)
    done = train("model=saved", f"model.path={path}", code=1)
    assert done.stderr.startswith(f"error: model.path={path}: {told}")
    assert done.stderr.count("\n") == 1


def test_recorded_runs_are_compared_by_a_query(train, tmp_path):
    train("-m", "model.depth=0,1", "activation=relu,tanh", "epochs=1", "verbose=0")
    words = ["params.`model.depth` = '1'", "--out", str(tmp_path / "out")]
    done = train.module("zoo.report", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("│") == 2 * 5  # two runs, which differ in the activation
    assert (tmp_path / "out" / "comparison.html").is_file()
    for query in ("tags.verdict = 'nonsense'", "tags.verdict = '"):
        wrong = train.module("zoo.report", query)
        assert wrong.returncode == 1
        assert wrong.stderr.startswith("error: ") and wrong.stderr.count("\n") == 1
