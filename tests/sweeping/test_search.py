"""A search: it goes on where it was cut off, ends with as many trials as were asked for, and prunes. All of it real."""

import json
import os
import signal
import sqlite3
import statistics
import subprocess
import time
from pathlib import Path

import pytest
from processes import begun, wait_for

optuna = pytest.importorskip("optuna", minversion="4")

from zoo.archive.study import Search  # noqa: E402  Optuna is an extra

pytestmark = pytest.mark.slow
SEARCH = ("-m", "hydra/sweeper=optuna", "optimizer.learning_rate=tag(log, interval(1e-3, 1e-1))")
SMALL = ("model.width=8", "model.depth=1", "pictures=false", "callbacks=[]", "tracking=none")
STATES = optuna.trial.TrialState


def study_of(train) -> tuple[Path, optuna.Study]:
    (folder,) = train.folders("sweeps")
    return folder, Search.of(folder).study(folder)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def summary(folder: Path, number: int) -> dict:
    return json.loads((folder / str(number) / "summary.json").read_text())


def asked(train) -> int:
    """How many trials there are, as the database of a search that runs says."""
    found = list(train.home.glob("mlruns/sweeps/*/search.db"))
    if not found:
        return 0
    try:
        with sqlite3.connect(f"file:{found[0]}?mode=ro", uri=True, timeout=30) as database:
            return database.execute("select count(*) from trials").fetchone()[0]
    except sqlite3.OperationalError:  # it is just being made
        return 0


def killed_when(train, count: int, *words: str) -> None:
    """Begin a search, and kill all of its processes once there are so many trials, in the midst of one."""
    process = begun(train, *words)
    wait_for(lambda: asked(train) >= count or process.poll() is not None, seconds=300)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    for pid in descendants(process.pid):  # workers have sessions of their own
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def descendants(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [child for one in map(int, found) for child in (*descendants(one), one)]


def test_killed_twice_it_ends_as_one_that_was_not(train, tmp_path):
    words = (*SEARCH, *SMALL, "epochs=3", "deterministic=true", "hydra.launcher.n_jobs=1")
    killed_when(train, 2, *words, "hydra.sweeper.n_trials=4")
    killed_when(train, 3, *words, "hydra.sweeper.n_trials=4")
    done = train(*words, "hydra.sweeper.n_trials=4")

    folder, study = study_of(train)
    assert states(study) == ["COMPLETE"] * 4
    values = [trial.params["optimizer.learning_rate"] for trial in study.trials]
    assert len({*values}) == 4
    assert sorted(path.name for path in folder.glob("[0-9]*")) == ["0", "1", "2", "3"]
    for trial in study.trials:
        found = summary(folder, trial.number)
        assert f"optimizer.learning_rate={trial.params['optimizer.learning_rate']}" in found["overrides"]
        assert found["metrics"]["val_loss"] == trial.value
        rows = (folder / str(trial.number) / "history.csv").read_text().splitlines()
        assert len(rows) == 1 + 3  # each epoch once
    assert "of them finished before" in done.stdout
    assert f"best      val_loss {study.best_value:.4g}: " in done.stdout

    other = type(train)(tmp_path / "undisturbed")
    other(*words, "hydra.sweeper.n_trials=4")
    _, same = study_of(other)
    assert [(trial.params, trial.values) for trial in same.trials] == [(t.params, t.values) for t in study.trials]

    # With more trials asked for it is still the same search; with other ranges it is another one.
    train(*words, "hydra.sweeper.n_trials=5")
    assert states(study_of(train)[1]) == ["COMPLETE"] * 5


def test_two_commands_do_one_search(train):
    words = (*SEARCH, *SMALL, "epochs=2", "hydra.sweeper.n_trials=6", "hydra.launcher.n_jobs=1")
    both = [begun(train, *words) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    folder, study = study_of(train)
    assert states(study) == ["COMPLETE"] * 6
    assert len({trial.params["optimizer.learning_rate"] for trial in study.trials}) == 6
    assert sorted(int(path.name) for path in folder.glob("[0-9]*")) == list(range(6))
    assert sum("this command helps it" in output for output in outputs) == 1
    assert all("search    6 trials: 6 complete, 0 pruned, 0 failed" in output for output in outputs)


def test_a_trial_whose_command_was_killed_is_done_by_the_other(train):
    words = (*SEARCH, *SMALL, "epochs=2", "hydra.sweeper.n_trials=5", "hydra.launcher.n_jobs=1")
    first = begun(train, *words)
    wait_for(lambda: asked(train) >= 1)
    second = begun(train, *words)
    wait_for(lambda: asked(train) >= 2)
    children = descendants(first.pid)
    for pid in (first.pid, *children):
        os.kill(pid, signal.SIGKILL)
    first.communicate()
    output, _ = second.communicate()

    assert second.returncode == 0, output
    assert states(study_of(train)[1]) == ["COMPLETE"] * 5


def test_a_trial_that_fails_is_told_and_the_others_go_on(train, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras\n"
        "def net(input_shape, classes, width=8):\n"
        "    if width == 3:\n"
        "        raise RuntimeError('my own fault')\n"
        "    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])\n"
    )
    model = ("model._target_=mine.net", "model.width=choice(3, 4)", "callbacks=[]", "tracking=none", "epochs=1")
    words = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=5", *model)
    done = train(*words, "pictures=false", cwd=tmp_path, code=1)

    _, study = study_of(train)
    widths = [trial.params["model.width"] for trial in study.trials]
    assert {*widths} == {"3", "4"}
    assert states(study) == ["FAIL" if width == "3" else "COMPLETE" for width in widths]
    assert f"5 trials: {widths.count('4')} complete, 0 pruned, {widths.count('3')} failed" in done.stdout
    again = train(*words, "pictures=false", cwd=tmp_path, code=1)
    assert states(study_of(train)[1]) == states(study) and "5 of them finished before" in again.stdout


def test_a_trial_is_pruned_once_it_is_worse_than_the_median(train):
    words = ("-m", "hydra/sweeper=optuna", "optimizer.learning_rate=tag(log, interval(1e-6, 3e-2))", *SMALL, "epochs=4")
    sweeper = ("hydra.sweeper.n_trials=10", "hydra.sweeper.pruner=median", "hydra.sweeper.sampler=random")
    done = train(*words, *sweeper, "hydra.launcher.n_jobs=1")
    folder, study = study_of(train)

    complete: list[list[float]] = []
    for trial in study.trials:
        found = summary(folder, trial.number)
        rows = (folder / str(trial.number) / "history.csv").read_text().splitlines()
        column = rows[0].split(",").index("val_loss")
        losses = [float(row.split(",")[column]) for row in rows[1:]]
        assert list(trial.intermediate_values.values()) == pytest.approx(losses)
        worse = [
            len(complete) >= 5 and min(losses[: e + 1]) > statistics.median(other[e] for other in complete)
            for e in range(len(losses))
        ]
        assert (trial.state == STATES.PRUNED) == any(worse) == (found["stopped"] == "pruned")
        assert not any(worse[:-1])
        if trial.state == STATES.COMPLETE:
            assert found["epochs"] == 4
            complete.append(losses)
    assert len(complete) < 10, done.stdout


def test_a_hopeless_trial_is_pruned(train):
    words = ("model.depth=20", "activation=sigmoid", "model.width=8", "initializer=glorot_uniform", "pictures=false")
    callbacks = "callbacks=[gradient_norms,probe,stop_when_hopeless]"
    done = train(*SEARCH, *words, callbacks, "epochs=6", "hydra.sweeper.n_trials=2", "tracking=none")

    folder, study = study_of(train)
    stopped = [summary(folder, trial.number)["stopped"] for trial in study.trials]
    assert states(study) == ["PRUNED" if one == "hopeless" else "COMPLETE" for one in stopped], done.stdout
    assert "hopeless" in stopped


def test_several_objectives(train):
    words = ("-m", "hydra/sweeper=optuna", "model.width=range(4,40,4)", "objective=[val_accuracy,parameters]")
    small = [word for word in SMALL if not word.startswith("model.width")]
    done = train(*words, *small, "epochs=2", "hydra.sweeper.n_trials=4")

    folder, study = study_of(train)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    for trial in study.trials:
        found = summary(folder, trial.number)
        assert trial.values == [found["metrics"]["val_accuracy"], found["parameters"]]
        assert trial.params["model.width"] % 4 == 0
    assert done.stdout.count("best      val_accuracy ") == len(study.best_trials)


@pytest.mark.parametrize("launcher", ["basic", "ray"])
def test_another_launcher_does_as_many_trials(launcher, train):
    if launcher == "ray":
        pytest.importorskip("ray")
    train(*SEARCH, *SMALL, "epochs=1", "hydra.sweeper.n_trials=2", f"hydra/launcher={launcher}")
    folder, study = study_of(train)
    assert states(study) == ["COMPLETE"] * 2
    assert [summary(folder, t.number)["metrics"]["val_loss"] for t in study.trials] == [t.value for t in study.trials]


def test_the_report_of_a_sweeps_folder_has_importances_and_slices(train):
    words = ("-m", "hydra/sweeper=optuna", "optimizer.learning_rate=tag(log, interval(1e-3, 1e-1))")
    train(*words, "model.width=range(4,40,4)", *SMALL[1:], "epochs=1", "hydra.sweeper.n_trials=6")
    folder, _ = study_of(train)
    done = train.module("zoo.report", str(folder))

    assert done.returncode == 0, done.stderr
    for name in ("importances.png", "slices.png", "comparison.html", "comparison.png"):
        assert (folder / name).stat().st_size > 1000 and str(folder / name) in done.stdout
    assert done.stdout.count("│") >= 6


@pytest.mark.parametrize(
    "words, told",
    [
        (("epochs=1",), "a search needs something to choose"),
        (("model.depth=range(5,5)",), "model.depth=range(5,5)"),
        (("model.depth=range(1,3)", "hydra.sweeper.sampler=best"), "sampler=best: choose one of tpe, random."),
        (("model.depth=range(1,3)", "hydra.sweeper.pruner=x"), "hydra.sweeper.pruner=x: choose one of none, median"),
        (("model.depth=range(1,3)", "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0: it must be"),
        (("dropout.rate=interval(0,2)",), "dropout.rate=2.0: it must be a number"),
        (("model.depth=range(1,3)", "objective=mine"), "objective=mine: choose one of loss"),
        (("model.depth=range(1,3)", "objective=mine", "+callbacks.own={_target_: own.Own}"), "mine: say whether to"),
        (("model.depth=range(1,3)", "objective=[loss,val_loss]", "hydra.sweeper.pruner=median"), "by one objective"),
        (("model.depth=range(1,3)", "hydra.sweeper.storage=postgresql://me:secret@h/d"), "leave the password out"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(words, told, train):
    done = train("-m", "hydra/sweeper=optuna", *words, code=1)
    assert done.stderr.startswith("error: ") and told in done.stderr and done.stderr.count("\n") == 1
    assert "secret" not in done.stderr and not (train.home / "mlruns" / "sweeps").exists()
