"""`preflight=true` with -m: one table of what is foretold, and nothing is left."""

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from processes import begun, wait_for

from zoo import use_language
from zoo.archive.summary import Status, Summary
from zoo.report.foretold import foretold_table
from zoo.telemetry.findings import Finding, Verdict

SMALL = ("model.width=8", "preflight=true")


@pytest.fixture
def temporary(tmp_path, train) -> dict[str, str]:
    """The environment of a command whose temporary files are seen."""
    place = tmp_path / "temporary"
    place.mkdir()
    return {"TMPDIR": str(place)}


def assert_nothing_left(train, temporary: dict[str, str]) -> None:
    left = [path.name for path in Path(temporary["TMPDIR"]).iterdir() if path.name.startswith("gradient-zoo")]
    assert not left and not train.home.exists()


def cells(text: str) -> list[list[str]]:
    return [[c.strip() for c in line.split("│")] for line in text.splitlines() if "│" in line]


@pytest.mark.parametrize("launcher", ["joblib", "basic"])
def test_what_is_foretold_is_one_table_and_nothing_is_left(launcher, train, temporary):
    words = ("-m", "model.depth=2,20", "activation=sigmoid", *SMALL, f"hydra/launcher={launcher}")
    done = train(*words, **temporary, COLUMNS="120")

    lines = done.stdout.splitlines()
    assert lines[0] == "preflight of 2 runs, none of which is trained"
    assert [line[:5] for line in lines[1:3]] == ["1/2  ", "2/2  "] and "  vanishing  loss " in "".join(lines[1:3])
    assert "built" not in done.stdout
    header = [name.strip() for name in next(line for line in lines if "┃" in line).split("┃")]
    assert header == ["model.depth", "parameters", "loss", "reaches first layer", "foretold"]
    shallow, deep = cells(done.stdout)
    assert (shallow[0], deep[0]) == ("2", "20")  # as the command has them
    assert (shallow[1], deep[1]) == ("682", f"{64 * 8 + 8 + 19 * 72 + 90:,}")
    assert 2 < float(shallow[2]) < 4 and float(deep[3]) < 1e-6 < float(shallow[3])
    assert (shallow[4], deep[4]) == ("undecided", "vanishing 0.83")
    assert_nothing_left(train, temporary)


def test_a_network_that_cannot_be_built_is_a_row_with_its_reason(train, temporary, tmp_path):
    (tmp_path / "mine.py").write_text("def net(input_shape, classes):\n    raise RuntimeError('my own fault')\n")
    words = ("-m", "model._target_=mine.net,zoo.models.mlp", "model.depth=1", *SMALL)
    done = train(*words, cwd=tmp_path, code=1, **temporary, COLUMNS="140")

    failed, built = cells(done.stdout)
    assert failed == ["mine.net", "", "", "", "FAILED: RuntimeError: my own fault"]
    assert built[0] == "zoo.models.mlp" and built[-1] == "undecided"
    assert done.stderr.splitlines()[-1].endswith("RuntimeError: my own fault")
    assert_nothing_left(train, temporary)


def test_more_is_told_of_each_job_that_is_asked_for(train, temporary, tmp_path):
    known = tmp_path / "elsewhere"
    done = train("-m", "model.depth=1", *SMALL, "verbose=2", f"hydra.sweep.dir={known}", **temporary)
    assert "step 0    undecided" in done.stdout and "built     mlp on digits" in done.stdout
    assert not known.exists()
    silent = train("-m", "model.depth=1", *SMALL, "verbose=0", "callbacks=[]", **temporary)
    assert silent.stdout.startswith("preflight of 1 run  ") and cells(silent.stdout) == [["610", "", "", "-"]]
    assert_nothing_left(train, temporary)


def test_a_command_is_a_preflight_or_none(train):
    done = train("-m", "preflight=true,false", code=1)
    assert done.stderr == "error: preflight=true is for all jobs of a command or for none: say it once.\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_cut_off_it_leaves_nothing(number, train, temporary):
    process = begun(train, "-m", "seed=range(20)", "model.depth=20", *SMALL, **temporary)
    assert process.stdout is not None
    assert any(line.startswith("1/20") for line in process.stdout)
    assert list(Path(temporary["TMPDIR"]).glob("gradient-zoo*"))

    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does on Ctrl-C
    else:
        process.send_signal(number)
    output, _ = process.communicate()

    assert "Traceback" not in output
    assert process.returncode == (-number if number == signal.SIGKILL else 1)
    wait_for(lambda: not list(Path(temporary["TMPDIR"]).glob("gradient-zoo*")))
    assert_nothing_left(train, temporary)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
def test_other_launchers_do_the_same(train, temporary):
    words = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
    done = train("-m", "seed=0,1", "model.depth=1", *SMALL, *words, **temporary)
    assert [row[0] for row in cells(done.stdout)] == ["0", "1"]
    assert_nothing_left(train, temporary)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not installed")
def test_a_search_is_foretold_too(train, temporary):
    words = ("hydra/sweeper=optuna", "model.depth=range(1,4)", "hydra.sweeper.n_trials=2")
    done = train("-m", *words, *SMALL, **temporary)
    assert len(cells(done.stdout)) == 2 and "┃" in done.stdout
    assert_nothing_left(train, temporary)


def test_faults_that_the_verdict_does_not_tell_have_a_column(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    fault = Finding("rate", "a learning rate that is too high", "It is.", 0.9)
    note = Finding("steps", "too few steps", "They are.", 0.3)
    verdict = Verdict("undecided", findings=[fault, note])

    def run(key: str, status: Status = Status.FINISHED, **content) -> Summary:
        return Summary(Path(), key, status, [f"optimizer.learning_rate={key}"], **content)

    runs = [
        run("3", verdict=verdict, metrics={"loss": 2.5}, parameters=1234, arriving=[0.1]),
        run("0.1", metrics={"loss": np.nan}, parameters=1234),
        run("-1", Status.FAILED, reason="it is below 0"),
    ]
    table = foretold_table(runs, "x", ["optimizer.learning_rate"])

    assert "found" in table
    assert cells(table) == [
        ["3", "1,234", "2.5", "1e-01", "undecided", "a learning rate that is too high"],
        ["0.1", "1,234", "", "", "-", ""],
        ["-1", "", "", "", "FAILED: it is below 0", ""],
    ]
    assert "found" not in foretold_table(runs[1:], "x", [])
    use_language("zh")
    try:
        assert cells(foretold_table(runs, "x", []))[0][3:] == ["undecided（尚不能判断）", "学习率过高"]
    finally:
        use_language("en")
