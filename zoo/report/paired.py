"""Whether the best setting of a comparison is better than each other one, by their runs of the same seed and fold.

By the validation part, which a choice may be made by. The intervals are Student's for paired differences, each for
itself: of twenty settings that are the same, one is likely to be called another. Folds of one data set share samples,
so that over folds alone an interval is narrower than its 95 % ask for; over seeds it is not.
"""

import dataclasses
import html
import math
from collections.abc import Sequence

import numpy as np

from zoo.archive.defaults import with_values
from zoo.archive.differences import REPEATS, gathered, setting_of
from zoo.archive.summary import Metric, Summary, less_is_better
from zoo.report.text import differing, drawn_table, short, sweep_table, validation_of
from zoo.telemetry.language import say

CONFIDENCE = 0.95
POWER = 0.8
MOST = 1000  # repeats, beyond which it is only said that more are needed
ROUNDING = 1e-6  # of a metric's size: float32's, in which the differences of one and the same number differ
BETTER, WORSE, UNSEEN, LOST = "better", "worse", "no difference seen", "not finite"


@dataclasses.dataclass(frozen=True)
class Paired:
    """The best setting against another one.

    Attributes:
        other: a run of the other setting, for its values.
        count: repeats that both have.
        mean: difference of the metric, the best's less the other's.
        low, high: its interval; NaN where all differences are the same number, which leaves nothing to estimate.
        deviation: of the differences.
        word: BETTER, WORSE, UNSEEN, or LOST where a metric is not finite.
    """

    other: Summary
    count: int
    mean: float
    low: float
    high: float
    deviation: float
    word: str

    @property
    def difference(self) -> str:
        """The mean difference: "+0.012"."""
        return f"{self.mean:+.{self._digits}f}" if self.word != LOST else ""

    @property
    def interval(self) -> str:
        """The interval: "+0.004 to +0.020"."""
        if self.word == LOST:
            return ""
        if math.isnan(self.low):
            return say("the same in all {count}", count=self.count)
        return say("{low} to {high}", low=f"{self.low:+.{self._digits}f}", high=f"{self.high:+.{self._digits}f}")

    @property
    def told(self) -> str:
        """The word, as it is said."""
        words = {BETTER: say("better"), WORSE: say("worse"), UNSEEN: say("no difference seen")}
        return words.get(self.word) or say("not finite")

    @property
    def _digits(self) -> int:
        size = (self.high - self.low) / 2 if self.high > self.low else abs(self.mean)
        return min(6, max(0, 1 - math.floor(math.log10(size)))) if size > 0 else 0


@dataclasses.dataclass(frozen=True)
class Best:
    """The best setting of a comparison.

    Attributes:
        run: one of its runs, for its values.
        metric: of the validation part, that it is the best by.
        against: each other setting that shares two repeats or more with it, the next best first.
        second: the next best one of all, where it is among them.
    """

    run: Summary
    metric: str
    against: list[Paired]
    second: Paired | None


def best_of(runs: Sequence[Summary], keys: Sequence[str]) -> Best | None:
    """Return the best setting against each other one; `None` where no two repeats can be paired.

    Args:
        runs: of the comparison.
        keys: that differ between them, seeds and folds among them.
    """
    repeats = [key for key in REPEATS if key in keys]
    finished = [run for run in runs if run.finished]
    if not repeats or not finished:
        return None
    metric = validation_of(finished[0].metric.name)
    measured = [run for run in finished if metric in run.metrics]
    groups = gathered(measured, lambda run: setting_of(run, keys))
    groups.sort(key=lambda group: Metric(metric, float(np.mean([run.metrics[metric] for run in group]))).rank)
    if len(groups) < 2:
        return None
    found = [_paired(groups[0], other, metric, repeats) for other in groups[1:]]
    against = [one for one in found if one is not None]
    return Best(groups[0][0], metric, against, found[0]) if against else None


def _paired(best: list[Summary], other: list[Summary], metric: str, repeats: Sequence[str]) -> Paired | None:
    values = [_of_repeats(group, metric, repeats) for group in (best, other)]
    shared = [repeat for repeat in values[0] if repeat in values[1]]
    if len(shared) < 2:
        return None
    a, b = (np.array([each[repeat] for repeat in shared]) for each in values)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Paired(other[0], len(shared), math.nan, math.nan, math.nan, math.nan, LOST)
    mean, deviation, low, high = difference_of(a, b)
    sign = -1 if less_is_better(metric) else 1
    if math.isnan(low):
        # Student's t has no answer; the sign of so many differences has: 1 in 2^(n - 1) is by chance.
        certain = mean != 0 and 0.5 ** (len(a) - 1) <= 1 - CONFIDENCE
        word = UNSEEN if not certain else BETTER if sign * mean > 0 else WORSE
    else:
        word = UNSEEN if low <= 0 <= high else BETTER if sign * mean > 0 else WORSE
    return Paired(other[0], len(a), mean, low, high, deviation, word)


def _of_repeats(group: list[Summary], metric: str, repeats: Sequence[str]) -> dict[tuple[str, ...], float]:
    """Return the metric of each seed and fold; the mean where one was done more than once."""
    by_repeat = gathered(group, lambda run: tuple(run.chosen.get(key, "") for key in repeats))
    return {
        tuple(same[0].chosen.get(key, "") for key in repeats): float(np.mean([run.metrics[metric] for run in same]))
        for same in by_repeat
    }


def difference_of(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean and deviation of the paired differences, and the interval of their mean by Student's t.

    Where all differences are the same number but for rounding, the deviation is 0 and the interval NaN.
    """
    from scipy import stats

    differences = a - b
    mean = float(differences.mean())
    rounding = ROUNDING * float(max(np.abs(a).max(), np.abs(b).max()))
    if np.ptp(differences) <= rounding:
        return (mean if abs(mean) > rounding else 0.0), 0.0, math.nan, math.nan
    deviation = float(differences.std(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(a) - 1)) * deviation / math.sqrt(len(a))
    return mean, deviation, mean - half, mean + half


def power_of(count: int, effect: float) -> float:
    """Return how likely a paired t test of so many differences sees their mean.

    Args:
        count: of the differences.
        effect: their mean over their deviation.
    """
    from scipy import stats

    limit = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    shift = abs(effect) * math.sqrt(count)
    # Beyond this SciPy's series give NaN, and there is nothing left to compute.
    return 1.0 if shift > limit + 20 else float(stats.nct.sf(limit, count - 1, shift))


def repeats_needed(mean: float, deviation: float) -> int | None:
    """Return the fewest repeats with which a paired t test would see a difference; `None` for more than `MOST`.

    With the power 1 - beta = P(T > t) of the noncentral t distribution with n - 1 degrees of freedom and noncentrality
    sqrt(n) mean / deviation, where t is the two-sided critical value (J. Cohen, Statistical Power Analysis for the
    Behavioral Sciences, 2nd edition, 1988, chapter 2). The other tail, of a difference that is seen the wrong way
    round, is left out.

    Args:
        mean, deviation: of the paired differences.
    """
    if mean == 0:
        return None
    if deviation == 0:
        return 1 + math.ceil(-math.log2(1 - CONFIDENCE))  # by their sign, as `_paired` has it
    low, high = 2, MOST
    if power_of(high, mean / deviation) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle, mean / deviation) >= POWER else (middle + 1, high)
    return low


def needed_line(best: Best, keys: Sequence[str]) -> str | None:
    """Return how many seeds would tell the best two apart; `None` where they are, or cannot be compared."""
    if best.second is None or best.second.word != UNSEEN:
        return None
    many = repeats_needed(best.second.mean, best.second.deviation)
    count = say("more than {most:,}", most=MOST) if many is None else f"{many}"
    repeats = say("seeds") if "seed" in keys else say("folds")
    return say(
        "{count} {repeats} would tell the best two apart, if they differ as they do here (power {power:g}, level 0.05)",
        count=count,
        repeats=repeats,
        power=POWER,
    )


def compared_text(runs: Sequence[Summary], title: str, keys: list[str]) -> str:
    """Return the table of a comparison's runs and, where some were repeated, whether the best setting is better."""
    runs = with_values(runs, keys)
    return "\n".join(filter(None, [sweep_table(runs, title, keys), paired_block(runs, keys)]))


def paired_block(runs: Sequence[Summary], keys: list[str]) -> str | None:
    """Return what a terminal shows of it; `None` where there is nothing to compare."""
    best = best_of(runs, keys)
    if best is None:
        return None
    shown = [key for key in keys if key not in REPEATS]
    title = say(
        "the best by {metric}, {best}, less each other one, over the repeats that both have",
        metric=best.metric,
        best=differing(best.run, shown),
    )
    header = [*shown, say("runs"), say("difference"), say("95 % interval"), say("the best is")]
    rows = [
        [
            *(short(one.other.chosen.get(key, "")) for key in shown),
            str(one.count),
            one.difference,
            one.interval,
            one.told,
        ]
        for one in best.against
    ]
    table = drawn_table(title, header, rows, words={header[-1], *shown})
    line = needed_line(best, keys)
    return f"{table}\n{line}" if line else table


def paired_section(runs: Sequence[Summary], keys: list[str]) -> str:
    """Return what a sweep's page shows of it: where no setting was repeated, that nothing is known of it."""
    best = best_of(runs, keys)
    if best is None:
        if sum(run.finished for run in runs) < 2:
            return ""
        told = "That is not known: it takes two settings, each validated with the same two seeds or folds."
        return f'<section id="paired"><h2>Is the best better?</h2><p>{told}</p></section>'
    shown = [key for key in keys if key not in REPEATS]
    told = f"{best.metric} of {differing(best.run, shown)} less that of each other setting, over the repeats of both."
    heads = "".join(f"<th>{html.escape(key)}</th>" for key in shown)
    heads += "".join(f'<th class="number">{name}</th>' for name in ("runs", "difference", "95 % interval"))
    lines = [
        f'<section id="paired"><h2>Is the best better?</h2><p>{html.escape(told)}</p>',
        f'<div class="wide"><table><thead><tr>{heads}<th>the best is</th></tr></thead><tbody>',
    ]
    for one in best.against:
        cells = "".join(f"<td>{html.escape(one.other.chosen.get(key, ''))}</td>" for key in shown)
        cells += "".join(f'<td class="number">{told}</td>' for told in (one.count, one.difference, one.interval))
        lines.append(f"<tr>{cells}<td>{one.told}</td></tr>")
    lines.append("</tbody></table></div>")
    if line := needed_line(best, keys):
        lines.append(f"<p>{line}.</p>")
    return "\n".join([*lines, "</section>"])
