"""Whether the best setting of a sweep is better than the others, against SciPy and against simulated experiments."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from zoo import use_language
from zoo.archive.summary import Status, Summary
from zoo.report.comparison import write_comparison
from zoo.report.paired import MOST, POWER, best_of, paired_block, power_of, repeats_needed

KEYS = ["model.depth", "seed"]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def run(depth: int, seed: int, value: float, metric: str = "accuracy", **more) -> Summary:
    metrics = {f"val_{metric}": value, f"test_{metric}": 1 - value}  # which must not matter
    overrides = [f"model.depth={depth}", f"seed={seed}", *(f"data.{key}={one}" for key, one in more.items())]
    return Summary(Path("x"), "mlp", Status.FINISHED, overrides, metrics=metrics)


def runs_of(values: dict[int, list[float]], metric: str = "accuracy") -> list[Summary]:
    return [run(depth, seed, value, metric) for depth, of in values.items() for seed, value in enumerate(of)]


def cells(text: str) -> list[list[str]]:
    return [[c.strip() for c in line.split("│")] for line in text.splitlines() if "│" in line]


def test_the_difference_is_that_of_scipy_and_by_validation():
    rng = np.random.default_rng(1)
    seeds = rng.normal(0, 0.05, 8)  # what runs of one seed have in common
    values = {d: (m + seeds + rng.normal(0, 0.01, 8)).tolist() for d, m in ((1, 0.57), (2, 0.6), (3, 0.598))}
    best = best_of(runs_of(values), KEYS)

    assert best.metric == "val_accuracy" and best.run.chosen["model.depth"] == "2"
    assert [one.other.chosen["model.depth"] for one in best.against] == ["3", "1"]
    for one in best.against:
        a, b = values[2], values[int(one.other.chosen["model.depth"])]
        reference = stats.ttest_rel(a, b)
        interval = reference.confidence_interval(0.95)
        assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
        assert one.mean == pytest.approx(np.mean(a) - np.mean(b)) and one.count == 8
        assert (one.word == "better") == (reference.pvalue < 0.05)
    assert [one.word for one in best.against] == ["no difference seen", "better"]
    assert stats.ttest_ind(values[2], values[1]).pvalue > 0.05  # not in pairs, the seeds' own spread hides it


def test_less_of_a_loss_is_better():
    best = best_of(runs_of({1: [1.0, 1.1, 0.9, 1.0], 2: [0.5, 0.61, 0.4, 0.5]}, "loss"), KEYS)

    assert best.run.chosen["model.depth"] == "2"
    assert best.against[0].word == "better" and best.against[0].mean < 0


def test_only_what_both_have_is_compared():
    runs = [*runs_of({1: [0.5, 0.6, 0.7], 2: [0.1, 0.1, 0.3]}), run(1, 7, 0.1), run(2, 8, 0.9), run(3, 0, 0.2)]
    failed = Summary(Path("x"), "mlp", Status.FAILED, ["model.depth=2", "seed=7"])
    again = run(2, 2, 0.5)  # of seed 2 there are two, which count as one
    (one,) = best_of([*runs, failed, again], KEYS).against

    assert one.count == 3 and one.other.chosen["model.depth"] == "2"
    assert one.mean == pytest.approx(np.mean([0.4, 0.5, 0.3]))


def test_seeds_and_folds_make_a_repeat_together():
    runs = [run(d, s, 0.1 * d + 0.01 * s * f, fold=f) for d in (1, 2) for s in (0, 1) for f in (0, 1, 2)]

    assert best_of(runs, ["model.depth", "seed", "data.fold"]).against[0].count == 6


@pytest.mark.parametrize(
    "runs, keys",
    [
        ([], KEYS),
        (runs_of({1: [0.1, 0.2]}), KEYS),
        (runs_of({1: [0.1], 2: [0.2]}), KEYS),
        (runs_of({1: [0.1, 0.2], 2: [0.2, 0.3]}), KEYS[:1]),
        ([run(1, 0, 0.1), run(1, 1, 0.2), run(2, 2, 0.3), run(2, 3, 0.4)], KEYS),
    ],
)
def test_nothing_is_told_where_nothing_can_be_paired(runs, keys):
    assert paired_block(runs, keys) is None


def test_the_same_difference_in_all_needs_six_to_be_more_than_chance():
    def block(difference: float, count: int) -> tuple[list[str], str]:
        base = np.linspace(0.3, 0.5, count)
        text = paired_block(runs_of({1: base.astype("f4"), 2: (base + difference).astype("f4")}), KEYS)
        return cells(text)[0][1:], text

    assert block(0.02, 5)[0] == ["5", "+0.020", "the same in all 5", "no difference seen"]
    assert "\n6 seeds would tell" in block(0.02, 5)[1]
    assert block(0.02, 6)[0] == ["6", "+0.020", "the same in all 6", "better"]
    assert block(0.0, 9)[0] == ["9", "+0", "the same in all 9", "no difference seen"]
    assert "\nmore than 1,000 seeds would tell" in block(0.0, 9)[1]


def test_a_run_whose_loss_is_not_finite_has_no_difference():
    best = best_of(runs_of({1: [1.0, 1.1, 0.9], 2: [0.5, math.nan, 0.5]}, "loss"), KEYS)

    assert best.run.chosen["model.depth"] == "1"
    assert cells(paired_block(runs_of({1: [1.0, 1.1], 2: [0.5, math.nan]}, "loss"), KEYS))[0][1:] == [
        "2", "", "", "not finite",
    ]  # fmt: skip


@pytest.mark.parametrize("count, effect", [(5, 1.5), (12, 0.9), (34, 0.5), (10, 0.2)])
def test_the_power_is_that_of_simulated_experiments(count, effect):
    tries = 40_000
    differences = np.random.default_rng(0).normal(effect, 1, (tries, count))
    found = stats.ttest_1samp(differences, 0, axis=1)
    seen = np.mean((found.pvalue < 0.05) & (found.statistic > 0))

    assert power_of(count, effect) == pytest.approx(seen, abs=4 * math.sqrt(0.25 / tries))


@pytest.mark.parametrize("effect", [5.0, 1.0, 0.5, 0.2, -0.2])
def test_the_repeats_that_are_needed_are_the_fewest(effect):
    needed = repeats_needed(effect, 1.0)

    assert power_of(needed, effect) >= POWER
    assert needed == 2 or power_of(needed - 1, effect) < POWER
    # What books print for a two-sided level of 0.05 and this power: 34 pairs for half a deviation, 10 for one.
    assert {0.5: 34, 1.0: 10}.get(effect, needed) == needed


def test_many_repeats_are_told_in_words():
    assert repeats_needed(0.09, 1.0) < MOST
    assert repeats_needed(0.08, 1.0) is None and repeats_needed(0.0, 1.0) is None
    assert repeats_needed(1e6, 1e-6) == 2


def test_what_is_not_told_apart_ends_in_how_many_seeds_would_do_it():
    values = {1: [0.50, 0.61, 0.70], 2: [0.52, 0.60, 0.73], 3: [0.1, 0.21, 0.32]}
    text = paired_block(runs_of(values), KEYS)
    differences = np.subtract(values[2], values[1])

    last = text.splitlines()[-1]
    assert last == (
        f"{repeats_needed(differences.mean(), differences.std(ddof=1))} seeds would tell the best two apart, "
        "if they differ as they do here (power 0.8, level 0.05)"
    )
    assert "the best by val_accuracy, model.depth=2, less each other one" in text
    told = [row[-1] for row in cells(text)]
    assert told == ["no difference seen", "better"]
    apart = {2: values[2], 3: values[3]}
    assert "would tell" not in paired_block(runs_of(apart), KEYS)


def test_in_chinese():
    values = {1: [0.50, 0.61, 0.70], 2: [0.52, 0.60, 0.73]}
    use_language("zh")
    try:
        text = paired_block(runs_of(values), KEYS)
    finally:
        use_language("en")
    assert "看不出差别" in text and "需要的种子数：" in text and not re.search("[a-z]+ [a-z]+ [a-z]+", text)


def test_the_page_has_it_too(tmp_path):
    runs = [
        dataclasses.replace(one, folder=tmp_path / str(i))
        for i, one in enumerate(runs_of({1: [0.5, 0.6, 0.7], 2: [0.1, 0.22, 0.3]}))
    ]
    page = write_comparison(runs, KEYS, tmp_path, "a sweep")[0].read_text(encoding="utf-8")

    (one,) = best_of(runs, KEYS).against
    row = re.search(r'<section id="paired">.*?<tbody>\n?<tr>(.*?)</tr>', page, re.DOTALL)[1]
    assert re.findall(r"<td[^>]*>(.*?)</td>", row) == ["2", "3", one.difference, one.interval, "better"]
    write_comparison(runs, KEYS[:1], tmp_path, "a sweep")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "That is not known: it takes two settings, each validated with the same two seeds or folds." in page
    write_comparison(runs[:1], KEYS[:1], tmp_path, "a sweep")
    assert 'id="paired"' not in (tmp_path / "comparison.html").read_text(encoding="utf-8")
