"""The table of a sweep."""

import dataclasses
import statistics
from pathlib import Path

import pytest

from zoo.archive.differences import gathered, setting_of
from zoo.archive.summary import Status, Summary
from zoo.report import text as report
from zoo.report.text import redraws
from zoo.telemetry.findings import Verdict
from zoo.telemetry.language import columns_of, wrapped


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def run(accuracy: float, validation: float, *overrides: str, verdict: str = "healthy") -> Summary:
    return Summary(
        Path(),
        "mlp on digits",
        Status.FINISHED,
        overrides,
        verdict=Verdict(verdict),
        metrics={"accuracy": 1 - accuracy, "val_accuracy": validation, "test_accuracy": accuracy},
        arriving=[1.0, 0.5],
        seconds=2.0,
    )


def cells(table: str) -> list[list[str]]:
    return [[c.strip() for c in line.split("│")] for line in table.splitlines() if "│" in line]


def test_runs_that_differ_in_seed_and_fold_share_a_row():
    tests, validations = (0.90, 0.94, 0.92, 0.96), (0.91, 0.92, 0.93, 0.98)
    runs = [
        run(t, v, "optimizer.learning_rate=0.1", f"seed={i // 2}", f"data.fold={i % 2}")
        for i, (t, v) in enumerate(zip(tests, validations, strict=True))
    ]
    table = report.sweep_table(runs, "x", ["optimizer.learning_rate", "seed", "data.fold"])

    (row,) = cells(table)
    assert row[:3] == ["0.1", "4", "4 healthy"]
    trainings = [1 - test for test in tests]
    for cell, values in zip(row[3:6], (trainings, validations, tests), strict=True):
        # To two digits of the deviation.
        assert 0.01 < statistics.stdev(values) < 0.1
        assert cell == f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
    assert row[6] == "8.0"


def test_groups_come_in_the_order_of_validation_not_of_test():
    runs = [
        run(0.99, 0.5, "activation=relu", "seed=0"),
        run(0.10, 0.9, "activation=tanh", "seed=0", verdict="stalled"),
        run(0.99, 0.5, "activation=relu", "seed=1", verdict="unstable"),
        run(0.10, 0.9, "activation=tanh", "seed=1", verdict="stalled"),
    ]
    rows = cells(report.sweep_table(runs, "x", ["activation", "seed"]))

    assert [row[0] for row in rows] == ["tanh", "relu"]
    assert [row[2] for row in rows] == ["2 stalled", "1 healthy, 1 unstable"]


@pytest.mark.parametrize("lost", ["FAILED", "KILLED"])
def test_a_run_that_failed_is_counted_and_not_averaged(lost):
    runs = [run(0.8, 0.8, "seed=0"), Summary(Path(), "b", Status(lost), ["seed=1"])]

    (row,) = cells(report.sweep_table(runs, "x", ["seed"]))
    assert row == ["2", f"1 healthy, 1 {lost}", "0.2", "0.8", "0.8", "2.0"]


def test_groups_keep_what_agrees_together_in_the_order_of_its_first_run():
    runs = [run(0.1, 0.1, "a=1", "seed=0"), run(0.2, 0.2, "a=2", "seed=0"), run(0.3, 0.3, "a=1", "seed=1")]

    assert gathered(runs, lambda one: setting_of(one, ["a"])) == [[runs[0], runs[2]], [runs[1]]]


def test_without_repeats_every_run_has_its_row_best_first():
    runs = [run(0.5, 0.9, "a=1"), run(0.7, 0.1, "a=2")]

    rows = cells(report.sweep_table(runs, "x", ["a"]))
    assert [(row[0], *row[2:4]) for row in rows] == [("2", "0.3", "0.7"), ("1", "0.5", "0.5")]


def test_where_it_is_narrow_heads_are_broken_and_not_what_is_told(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs = [run(0.5, 0.9, "activation=sigmoid"), run(0.7, 0.1, "activation=relu")]
    table = report.sweep_table(runs, "x", ["activation"])
    assert max(map(len, table.splitlines())) <= 80
    assert [row[0] for row in cells(table)] == ["relu", "sigmoid"]
    assert [row[4] for row in cells(table)] == ["1e+00 → 5e-01"] * 2


def test_a_head_is_told_whole_however_it_is_broken():
    runs = [run(0.5, 0.9, f"model._target_={name}", "a b..c=1") for name in ("mine.net", "x")]
    table = report.sweep_table(runs, "x", ["model._target_", "a b..c"])
    heads = [[part.strip() for part in line.split("┃")] for line in table.splitlines() if "┃" in line]
    assert ["".join(parts) for parts in zip(*heads, strict=True)][:2] == ["model._target_", "a b..c"]


def test_a_metric_that_was_not_recorded_leaves_its_cell_empty():
    runs = [run(0.5, 0.5, "a=1"), run(0.5, 0.5, "a=2")]
    tested = [dataclasses.replace(one, metrics={"test_accuracy": 0.5}) for one in runs]
    assert [row[2:4] for row in cells(report.sweep_table(tested, "x", ["a"]))] == [["", "0.5"]] * 2


def test_a_list_is_written_as_it_is():
    runs = [run(0.5, 0.9, "callbacks=[probe]"), run(0.7, 0.1, "callbacks=[bold]")]
    rows = cells(report.sweep_table(runs, "a [red] title", ["callbacks"]))
    assert [row[0] for row in rows] == ["[bold]", "[probe]"]
    assert "a [red] title" in report.sweep_table(runs, "a [red] title", ["callbacks"])


@pytest.mark.parametrize(
    "seconds, told",
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7169, "1 h 59 min"),
        (7190, "2 h 0 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_no_unit_is_full(seconds, told):
    assert report.duration(seconds) == told


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize(
    "line",
    [
        "verdict   vanishing: the gradient falls from 1e-3 at dense_5 to 1e-9 at dense_1; it breaks at dense_3",
        "判断      消失：梯度从 dense_5 的 1e-3 降到 dense_1 的 1e-9；它在 dense_3 处断裂，因为 sigmoid 饱和（0.95）",
    ],
)
def test_a_line_is_broken_where_words_end_and_goes_on_indented(line, columns):
    first, *rest = wrapped(line, columns).splitlines()
    assert rest and all(piece.startswith(" " * 10) for piece in rest)
    assert all(columns_of(piece) <= columns for piece in [first, *rest])
    assert "".join([first, *rest]).replace(" ", "") == line.replace(" ", "")


def test_a_path_stays_whole():
    path = "/a/" + "very_long/" * 20
    assert wrapped(f"files     {path}", 80).splitlines()[-1].strip().endswith(path)


@pytest.mark.parametrize("name, value", [("NO_COLOR", "1"), ("TERM", "dumb"), (None, None)])
def test_nothing_is_drawn_anew_where_plain_text_is_asked_for(name, value, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    if name:
        monkeypatch.setenv(name, value)
    assert redraws() is (name is None)
