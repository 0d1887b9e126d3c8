"""One run in a process that is not its own, as a test and a notebook call it: without Hydra's state."""

import json

import hydra
import numpy as np
import pytest

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo import GradientHistory
from zoo.archive.summary import Status, Summary
from zoo.config import CONF
from zoo.errors import UserError
from zoo.interrupts import told_to_end
from zoo.running.record import Job
from zoo.running.run import Result, run

SMALL = ("epochs=2", "model.depth=2", "model.width=8", "verbose=0", "tracking=none", "pictures=false")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIENT_ZOO_HOME", str(tmp_path))
    return tmp_path


def composed(*words: str):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", [*SMALL, *words])


def test_a_composed_config_is_run_in_a_folder_of_its_own(home):
    done = run(composed("model.width=6", "objective=val_accuracy"))

    (folder,) = home.glob("mlruns/runs/*")
    summary = done.summary
    assert summary.folder == folder and summary == Summary.read(folder)
    assert (summary.status, summary.name) == (Status.FINISHED, "mlp on digits")
    assert done.value == summary.metrics["val_accuracy"]
    history = GradientHistory.load(folder / "gradients.npz")
    np.testing.assert_array_equal(history.norms, done.norms.history.norms)
    assert len(history) == summary.steps == 2 * 41 and len(done.probes.results) == 3
    assert summary.parameters == done.model.count_params() == 64 * 6 + 6 + 6 * 6 + 6 + 6 * 10 + 10
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "data.json", "history.csv", "gradients.npz", "probes.npz", "model.keras", "summary.json",
        "run.html",
    }  # fmt: skip


def test_a_job_says_where_and_what_for(home, tmp_path):
    job = Job(tmp_path / "here", overrides=["activation=tanh"], choices={"model": "mlp", "data": "digits"})
    summary = run(composed("activation=tanh", "callbacks=[]"), job).summary
    assert summary.name == "mlp on digits activation=tanh"
    assert (summary.verdict, summary.steps, summary.arriving) == (None, None, None)
    written = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert written["overrides"] == ["activation=tanh"] and written["verdict"] is None


def test_a_preflight_trains_nothing_and_leaves_nothing(home, capsys):
    done = run(composed("preflight=true"))
    assert isinstance(done, Result) and done.summary is None and np.isfinite(done.value)
    assert "step 0    undecided" in capsys.readouterr().out
    assert not list(home.glob("mlruns/runs/*"))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("data.limit=0",), "data.limit"),
        (("optimizer.learning_rate=-1",), "learning_rate"),
        (("data=npz", "data.path=nowhere.npz"), "nowhere.npz"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(home, words, names):
    with pytest.raises(UserError, match=names):
        run(composed(*words))
    assert not list(home.glob("mlruns/runs/*"))


def test_a_run_that_fails_says_why_and_keeps_its_gradients(home, monkeypatch):
    (home / "own_callbacks.py").write_text("import keras\n\n\nclass Own(keras.callbacks.Callback):\n    pass\n")
    monkeypatch.syspath_prepend(home)
    words = ("objective=nothing", "+callbacks.own={_target_: own_callbacks.Own}")  # which might record it
    with pytest.raises(UserError, match=r"objective=nothing: the metrics of this run are"):
        run(composed(*words))
    (folder,) = home.glob("mlruns/runs/*")
    summary = Summary.read(folder)
    assert (summary.status, summary.metrics) == (Status.FAILED, {}) and "objective=nothing" in summary.reason
    assert (folder / "gradients.npz").is_file()


def test_an_interrupt_that_was_lost_ends_the_run_before_its_next_epoch(home, request):
    request.addfinalizer(told_to_end.clear)
    told_to_end.set()  # as a handler does, whose KeyboardInterrupt Python then drops
    with pytest.raises(KeyboardInterrupt):
        run(composed("epochs=50"))
    (folder,) = home.glob("mlruns/runs/*")
    assert Summary.read(folder).status is Status.KILLED
    assert len((folder / "history.csv").read_text().splitlines()) < 3
