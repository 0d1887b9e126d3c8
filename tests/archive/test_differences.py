"""What recorded runs differ in: different settings never share a row, repeats of one setting do."""

import dataclasses
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from zoo.archive.differences import told_apart
from zoo.archive.summary import Status, Summary
from zoo.config import CONF
from zoo.report import text as report
from zoo.report.entries import entry_of, settings
from zoo.telemetry.findings import Verdict
from zoo.tracking.store import flatten, parameters_of


def recorded(*words: str, accuracy: float = 0.5, choices: bool = True, **changes: object) -> tuple[Summary, dict]:
    """Return the summary and the parameters that `python train.py WORDS` records; `changes` are of other defaults."""
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        cfg = hydra.compose("config", [*words], return_hydra_config=True)
    chosen = {g: c for g, c in cfg.hydra.runtime.choices.items() if "hydra" not in g}
    summary = Summary(
        Path("nowhere"),
        "mlp on digits",
        Status.FINISHED,
        list(words),
        chosen if choices else {},
        verdict=Verdict("healthy"),
        metrics={"accuracy": accuracy, "val_accuracy": accuracy, "test_accuracy": accuracy},
        seconds=1.0,
    )
    config = {key: value for key, value in OmegaConf.to_container(cfg).items() if key != "hydra"}
    params = flatten(config) | {"parameters": 21450} | changes
    return summary, {key: str(value) for key, value in params.items()}


def compared(*runs: tuple[Summary, dict]) -> tuple[list[Summary], list[str], list[list[str]]]:
    """Return what `told_apart` does, and the cells of the table without its head."""
    summaries, keys = told_apart(*zip(*runs, strict=True))
    table = report.sweep_table(summaries, "x", keys)
    return summaries, keys, [[c.strip() for c in line.split("│")] for line in table.splitlines() if "│" in line]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_a_key_that_only_some_runs_set_tells_settings_apart():
    runs, keys, rows = compared(
        recorded("seed=0", accuracy=0.9), recorded("seed=1", "activation=sigmoid", "initializer=zeros", accuracy=0.1)
    )
    assert keys == ["seed", "activation", "initializer"]
    assert rows == [
        ["relu", "he_normal", "1", "1 healthy", "0.9", "0.9", "0.9", "1.0"],
        ["sigmoid", "zeros", "1", "1 healthy", "0.1", "0.1", "0.1", "1.0"],
    ]
    assert [len(group) for group in settings(entry_of(run, keys) for run in runs)] == [1, 1]


def test_seeds_and_folds_are_repeats_whether_they_were_set_or_not():
    words = [["data.folds=2"], ["seed=1", "data.folds=2"], ["data.fold=1", "data.folds=2"], ["seed=1"]]
    runs, keys, rows = compared(*(recorded(*w, accuracy=0.9 - i / 10) for i, w in enumerate(words)))
    assert set(keys) == {"seed", "data.fold", "data.folds"}
    assert [row[:3] for row in rows] == [["2", "3", "3 healthy"], ["0", "1", "1 healthy"]]
    assert [len(group) for group in settings(entry_of(run, keys) for run in runs)] == [3, 1]


@pytest.mark.parametrize(
    "words",
    [
        ["activation=relu"],
        ["optimizer.learning_rate=1e-3"],
        ["data.augmentation=none", "epochs=20"],
        ["callbacks=[probe,gradient_norms]"],
        ["verbose=0", "pictures=false", "tracking=none", "resume=false", "objective=val_accuracy"],
    ],
)
def test_to_say_what_holds_anyway_makes_no_other_setting(words):
    runs, keys, rows = compared(recorded("seed=3"), recorded("seed=4", *words))
    assert keys == ["seed"] and [row[:2] for row in rows] == [["2", "2 healthy"]]
    assert len(settings(entry_of(run, keys) for run in runs)) == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["model.depth=2"], {"model.depth": ("5", "2")}),
        (["optimizer=sgd"], {"optimizer": ("adam", "sgd")}),
        (
            ["optimizer=sgd", "optimizer.learning_rate=1"],
            {"optimizer": ("adam", "sgd"), "optimizer.learning_rate": ...},
        ),
        (["data.limit=500"], {"data.limit": ("null", "500")}),
        (["model=lenet"], {"model": ("mlp", "lenet")}),
        (["experiment=sigmoid_30"], {"experiment": ("", "sigmoid_30")}),
        (
            ["callbacks=[gradient_norms,probe,early_stopping]"],
            {"callbacks": ("[gradient_norms,probe]", "[early_stopping,gradient_norms,probe]")},
        ),
    ],
)
def test_keys_are_those_that_a_person_would_set(words, shown):
    runs, keys, _ = compared(recorded(), recorded(*words))
    assert keys == list(shown)
    for key, values in shown.items():
        assert values is ... or tuple(run.chosen[key] for run in runs) == values


def test_a_default_that_has_changed_since_tells_runs_apart():
    _, keys, rows = compared(recorded("seed=0"), recorded("seed=1", **{"optimizer.learning_rate": 0.5}))
    assert keys == ["seed", "optimizer.learning_rate"]
    assert sorted(row[:2] for row in rows) == [["0.001", "1"], ["0.5", "1"]]


def test_runs_recorded_without_their_choices_are_told_apart_too():
    old = [recorded("seed=0", choices=False), recorded("seed=1", "activation=sigmoid", choices=False)]
    assert compared(*old)[1] == ["seed", "activation"]
    assert compared(old[0], recorded("seed=1"))[1] == ["seed"]
    assert compared(recorded("remedy=none", choices=False), recorded("seed=1", choices=False))[1]


def test_runs_of_several_kinds_have_metrics_of_their_own():
    regression, params = recorded("data=random_regression", "seed=1")
    regression = dataclasses.replace(regression, metrics={"rmse": 0.125, "val_rmse": 0.25, "test_rmse": 0.75})
    rows = compared((regression, params), recorded(), recorded("seed=2"))[2]
    assert [row[0] for row in rows] == ["random_regression", "digits"]
    assert rows[0][3:6] == ["0.125", "0.25", "0.75"]
    assert rows[1][3:6] == ["0.5 ± 0", "0.5 ± 0", "0.5 ± 0 (accuracy)"]


def test_the_command_puts_two_settings_of_three_runs_into_two_rows(train, tmp_path):
    words = ("epochs=1", "model.width=8", "verbose=0", "pictures=false")
    train(*words, "seed=0")
    train(*words, "seed=1", "activation=sigmoid", "initializer=zeros")
    train(*words, "seed=1")
    done = train.module("zoo.report", "", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")] for line in done.stdout.splitlines() if "│" in line]
    assert sorted(row[:3] for row in rows) == [["relu", "he_normal", "2"], ["sigmoid", "zeros", "1"]]
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert page.count("<small>of 2</small>") == 2 and "<small>of 3</small>" not in page


def test_runs_recorded_by_an_earlier_version_stand_beside_those_of_this_one():
    def as_now(*words: str) -> tuple[Summary, dict]:
        summary, _ = recorded(*words)
        with hydra.initialize_config_dir(CONF, version_base="1.3"):
            config = OmegaConf.to_container(hydra.compose("config", [*words]))
        return summary, parameters_of(config, summary.choices) | {"parameters": "21450"}

    assert compared(recorded("seed=0"), as_now("seed=1"))[1] == ["seed"]
    assert compared(as_now("seed=0"), as_now("seed=1", "model.depth=2"))[1] == ["seed", "model.depth"]
    _, keys, rows = compared(recorded("seed=0"), as_now("seed=0", "optimizer.learning_rate=0.5", "optimizer=sgd"))
    assert sorted(keys) == ["optimizer", "optimizer.learning_rate"]
    assert len(rows) == 2
