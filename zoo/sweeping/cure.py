"""`cure=true`: of each run whose verdict is sick, remedies are tried by successive halving, and the best is proved.

What is tried, in which order and for how many epochs, follows from what the runs before came to: the same command after
an interrupt finds its runs done, and comes to the same decisions.
"""

import dataclasses
import json
import math
import shutil
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from zoo.archive.differences import LABELS
from zoo.archive.files import replace_file
from zoo.archive.run import read_columns
from zoo.archive.summary import Summary, less_is_better
from zoo.archive.sweep import SOUND
from zoo.config import check
from zoo.sweeping import hydra_private
from zoo.sweeping.identity import effective
from zoo.sweeping.words import Words, key_of, merged
from zoo.telemetry.breaking import sound_epoch
from zoo.telemetry.findings import Verdict
from zoo.telemetry.language import named, say

FILE = "cure.json"
# Remedies of `conf/remedy` that fit what ails, beside those that the verdict names.
FITTING = {
    "vanishing": ("activation", "batch_norm", "residual_batch_norm", "initializer"),
    "exploding": ("initializer", "batch_norm", "clipping", "lower_rate"),
    "dead": ("batch_norm", "lower_rate", "activation"),
    "saturated": ("batch_norm", "activation", "lower_rate"),
    "stalled": ("adam", "higher_rate", "momentum"),
    "unstable": ("lower_rate", "clipping", "schedule", "batch_norm"),
}
OTHERS = ("adam", "higher_rate", "lower_rate", "batch_norm", "activation")  # where no gradient is to blame
SINGLE = 6  # changes that are tried one by one
RUNGS = (0.25, 0.5, 1.0)  # of the epochs
LAST = 3  # candidates that are trained to the end
SEEDS = 3
ENOUGH = 0.05  # of what is gained: a change that brings no more is not kept
TOGETHER = 3  # candidates of several changes
GENTLER = ("rate", "clipping", "warm_up")  # ways to go on from the last sound epoch, of `conf/gentler`
PRUNING = 8  # runs, at most, that show that each change is needed
# Runs of each rung, of what shows that each change is needed, and of further seeds.
COUNTS = (SINGLE + TOGETHER, (SINGLE + TOGETHER + len(GENTLER) + 1) // 2 + 1, LAST + 1)
MOST = len(GENTLER) + sum(COUNTS) + PRUNING + 2 * (SEEDS - 1)


def longest(epochs: int) -> int:
    """Return the epochs of all runs after one that is sick, at most."""
    rungs = sum(count * max(1, round(rung * epochs)) for count, rung in zip(COUNTS, RUNGS, strict=True))
    return rungs + (len(GENTLER) + PRUNING + 2 * (SEEDS - 1)) * epochs


@dataclasses.dataclass(frozen=True)
class Cured:
    """What became of one run.

    Attributes:
        words: of its command line.
        before: what it came to.
        after: what the cured one came to; `None` where nothing cured it, or it was not sick.
        changes: the smallest set that suffices, each as words of the command line.
        without: by changes, the metric of a run that lacks one of them.
        metric: what is measured by.
        values: of each seed, "before" and "after".
        proved: whether the cure is proved.
        reason: why it is not; "" if it is.
    """

    words: Words
    before: Summary
    after: Summary | None = None
    changes: tuple[Words, ...] = ()
    without: dict[str, float] = dataclasses.field(default_factory=dict)
    metric: str = ""
    values: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    proved: bool = False
    reason: str = ""

    @property
    def command(self) -> Words:
        """The words that train the cured network."""
        return merged(self.words, *self.changes)


@dataclasses.dataclass
class _Case:
    """One sick run, and what has been tried of it."""

    words: Words
    before: Summary
    epochs: int
    seed: int
    alive: list[tuple[Words, ...]]
    seen: dict[tuple[tuple[Words, ...], int], Summary] = dataclasses.field(default_factory=dict)

    @property
    def metric(self) -> str:
        return metric_of(self.before)

    def score(self, changes: tuple[Words, ...], epochs: int) -> float:
        """Return how good it came out, more is better; minus infinity where it failed."""
        return score(self.seen.get((changes, epochs)), self.metric)


def cure(
    jobs: Sequence[Words],
    epochs: Sequence[int],
    seeds: Sequence[int],
    run: Callable[[list[Words]], list[Summary]],
    composes: Callable[[Words, Words], bool],
) -> list[Cured]:
    """Run each job, and cure those that are sick.

    Args:
        jobs: the words of each.
        epochs: of each.
        seeds: of each.
        run: does runs of these words, several at once, and returns what they came to.
        composes: whether the second words make another sound config than the first.
    """
    first = run([tuple(words) for words in jobs])
    done: dict[int, Cured] = {}
    cases: dict[int, _Case] = {}
    for number, (words, before) in enumerate(zip(jobs, first, strict=True)):
        if before.verdict is not None and before.verdict.sick and before.finished:
            tries = [*gentler(before), *candidates(before.verdict, tuple(words), composes)]
            cases[number] = _Case(tuple(words), before, epochs[number], seeds[number], tries)
        else:
            done[number] = Cured(tuple(words), before, metric=metric_of(before))
    _halve(list(cases.values()), run)
    best = {number: _best(case) for number, case in cases.items()}
    chosen = {n: changes for n, changes in best.items() if changes is not None}
    minimal = _pruned({n: (cases[n], _parted(cases[n], changes)) for n, changes in chosen.items()}, run)
    values = _repeated({n: (cases[n], minimal[n][0]) for n in chosen}, run)
    for number, case in cases.items():
        if number not in chosen:
            done[number] = _uncured(case)
        else:
            done[number] = _judged(case, *minimal[number], values[number])
    return [done[number] for number in range(len(jobs))]


def candidates(verdict: Verdict, words: Words, composes: Callable[[Words, Words], bool]) -> list[tuple[Words, ...]]:
    """Return the changes to try, the most promising first: one by one, and the first of them together."""
    named = list(verdict.remedies)
    for finding in verdict.findings:
        if finding.fault:
            named += [cure.override for cure in finding.cures if cure.override]
    named += [f"remedy={name}" for name in FITTING.get(verdict.name, OTHERS)]
    single: list[Words] = []
    for told in dict.fromkeys(named):
        change = tuple(told.split())
        others = [merged(words, known) for known in single]
        whole = merged(words, change)
        if composes(words, whole) and all(composes(other, whole) for other in others):
            single.append(change)
    several = [single[:2], [*single[:1], *single[2:3]], single[:3]]  # TOGETHER of them
    found: list[tuple[Words, ...]] = [(change,) for change in single[:SINGLE]]
    for changes in several:
        together = tuple(_compatible(changes))
        if len(together) > 1 and together not in found:
            found.append(together)
    return found


def gentler(before: Summary) -> list[tuple[Words, ...]]:
    """Return the ways to go on from a run's last sound epoch, if it broke after one."""
    path = before.folder / "history.csv"
    epoch = sound_epoch(read_columns(path)["loss"]) if path.is_file() else None
    return [((f"gentler={way}", f"gentler.epoch={epoch}"),) for way in GENTLER] if epoch else []


def goes_on(changes: tuple[Words, ...]) -> bool:
    """Whether a candidate goes on from a sound epoch: most of its epochs are done."""
    return any(word.startswith("gentler=") for change in changes for word in change)


def _compatible(changes: Iterable[Words]) -> list[Words]:
    """Leave out a change that would undo one before it."""
    kept: list[Words] = []
    keys: set[str] = set()
    for change in changes:
        own = {key_of(word) for word in change}
        if not own & keys:
            kept.append(change)
            keys |= own
    return kept


def metric_of(summary: Summary) -> str:
    """Return the metric that a run is measured by: of validation, where it has one."""
    for name in ("val_accuracy", "val_loss", "loss"):
        if name in summary.metrics:
            return name
    return ""


def score(summary: Summary | None, metric: str) -> float:
    """Return a run's metric, more is better; minus infinity where it has none."""
    value = summary.metrics.get(metric, math.nan) if summary is not None and summary.finished else math.nan
    if math.isnan(value):
        return -math.inf
    return -value if less_is_better(metric) else value


NO_PICTURES = ("pictures=false",)  # of what is only tried


def _run(wanted: list[tuple[_Case, tuple[Words, ...], int]], run: Callable[[list[Words]], list[Summary]]) -> None:
    """Do what was not done yet, all cases' at once; of those that end early no pictures are drawn."""
    left = [(case, changes, epochs) for case, changes, epochs in wanted if (changes, epochs) not in case.seen]
    jobs = [
        merged(case.words, *changes, (f"epochs={epochs}",), NO_PICTURES if epochs < case.epochs else ())
        for case, changes, epochs in left
    ]
    for (case, changes, epochs), summary in zip(left, run(jobs) if jobs else [], strict=True):
        case.seen[changes, epochs] = summary


def _halve(cases: list[_Case], run: Callable[[list[Words]], list[Summary]]) -> None:
    for number, rung in enumerate(RUNGS):
        wanted = [(case, changes, _length(case, changes, rung)) for case in cases for changes in case.alive]
        _run(wanted, run)
        for case in cases:
            ranked = sorted(
                case.alive, key=lambda changes, case=case: -case.score(changes, _length(case, changes, rung))
            )
            keep = len(ranked) if number == len(RUNGS) - 1 else -(-len(ranked) // 2) if not number else LAST
            case.alive = ranked[:keep]
            alone = [changes for changes in ranked if len(changes) == 1 and changes not in case.alive]
            case.alive += alone[:1] if not any(len(changes) == 1 for changes in case.alive) else []


def _length(case: _Case, changes: tuple[Words, ...], rung: float) -> int:
    return case.epochs if goes_on(changes) else max(1, round(rung * case.epochs))


def _best(case: _Case) -> tuple[Words, ...] | None:
    """Return the fewest changes that come near the best; `None` where none is better than the run was."""
    before = score(case.before, case.metric)
    found = {changes: case.score(changes, case.epochs) for changes in case.alive}
    top = max(found.values(), default=-math.inf)
    if not top > before:
        return None
    near = [changes for changes, value in found.items() if value >= top - _slack(top, before)]
    return min(near, key=lambda changes: (len(changes), -found[changes]))


def _slack(value: float, before: float) -> float:
    return ENOUGH * (value - before) if math.isfinite(before) and math.isfinite(value) else 0.0


Minimal = tuple[tuple[Words, ...], dict[str, float], bool]


def _pruned(
    chosen: dict[int, tuple[_Case, tuple[Words, ...]]], run: Callable[[list[Words]], list[Summary]]
) -> dict[int, Minimal]:
    """Leave out each change once; what is not missed is not kept.

    Returns:
        Of each: the changes that are needed, the metric without one of them, and whether each was left out.
    """
    found: dict[int, Minimal] = {}
    left = dict(chosen)
    spent = dict.fromkeys(chosen, 0)
    while left:
        wanted = {}
        for number, (case, changes) in left.items():
            lacking = [_less(changes, one) for one in changes if len(changes) > 1]
            new = [less for less in lacking if (less, case.epochs) not in case.seen][: PRUNING - spent[number]]
            spent[number] += len(new)
            wanted[number] = new
        _run([(left[number][0], less, left[number][0].epochs) for number, new in wanted.items() for less in new], run)
        following = {}
        for number, (case, changes) in left.items():
            before = score(case.before, case.metric)
            best = case.score(changes, case.epochs)
            tried = [one for one in changes if (_less(changes, one), case.epochs) in case.seen and len(changes) > 1]
            without = {one: case.score(_less(changes, one), case.epochs) for one in tried}
            spared = [one for one, value in without.items() if value >= best - _slack(best, before)]
            if spared:
                following[number] = case, _less(changes, spared[-1])
            else:
                sign = -1 if less_is_better(case.metric) else 1
                told = {" ".join(one): sign * value for one, value in without.items()}
                found[number] = changes, told, len(changes) == 1 or len(tried) == len(changes)
        left = following
    return found


def _parted(case: _Case, changes: tuple[Words, ...]) -> tuple[Words, ...]:
    """Return the same with each word as a change of its own: not each may be needed."""
    words = tuple(
        part for change in changes for part in ([change] if goes_on((change,)) else [(word,) for word in change])
    )
    case.seen[words, case.epochs] = case.seen[changes, case.epochs]
    return words


def _less(changes: tuple[Words, ...], one: Words) -> tuple[Words, ...]:
    return tuple(change for change in changes if change != one)


def _repeated(
    chosen: dict[int, tuple[_Case, tuple[Words, ...]]], run: Callable[[list[Words]], list[Summary]]
) -> dict[int, dict[str, list[float]]]:
    """Train both with further seeds; return the metric of each seed."""
    jobs, whose = [], []
    for number, (case, changes) in chosen.items():
        for seed in range(case.seed + 1, case.seed + SEEDS):
            for name, these in (("before", ()), ("after", changes)):
                jobs.append(merged(case.words, *these, (f"seed={seed}",), NO_PICTURES))
                whose.append((number, name))
    found: dict[int, dict[str, list[float]]] = {}
    for number, (case, changes) in chosen.items():
        after = case.seen[changes, case.epochs]
        found[number] = {"before": [_value(case.before, case.metric)], "after": [_value(after, case.metric)]}
    for (number, name), summary in zip(whose, run(jobs) if jobs else [], strict=True):
        found[number][name].append(_value(summary, chosen[number][0].metric))
    return found


def _value(summary: Summary, metric: str) -> float:
    return float(summary.metrics.get(metric, math.nan))


def _uncured(case: _Case) -> Cured:
    count = len({changes for changes, _ in case.seen})
    told = say("none of {count} changes came out better than the run as it was", count=count)
    return Cured(case.words, case.before, metric=case.metric, reason=told)


def _judged(
    case: _Case,
    changes: tuple[Words, ...],
    without: dict[str, float],
    minimal: bool,
    values: dict[str, list[float]],
) -> Cured:
    after = case.seen[changes, case.epochs]
    sign = -1 if less_is_better(case.metric) else 1
    reasons = []
    if after.verdict is None or after.verdict.name != "healthy":
        reasons.append(say("the verdict with the changes is {verdict}", verdict=named(after.word)))
    a, b = ([v for v in values[name] if math.isfinite(v)] for name in ("after", "before"))
    if len(a) < SEEDS:
        reasons.append(say("{count} of {all} seeds came to an end", count=len(a), all=SEEDS))
    elif len(b):
        deviation = max(statistics.stdev(v) if len(v) > 1 else 0.0 for v in (a, b))
        gain = sign * (statistics.mean(a) - statistics.mean(b))
        if not gain > deviation:
            reasons.append(
                say(
                    "{metric} is better by {gain:.3g}, and seeds differ by {deviation:.3g}",
                    metric=case.metric,
                    gain=gain,
                    deviation=deviation,
                )
            )
    why = say("; ").join(reasons)
    return Cured(case.words, case.before, after, changes, without, case.metric, values, not reasons, why)


def _finite(value: float) -> float | None:
    """JSON knows no other numbers."""
    return value if math.isfinite(value) else None


def read_cured(folder: Path) -> list[dict]:
    """Return what `cure_all` wrote; nothing if it did not come so far."""
    try:
        return json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def cure_all(config: DictConfig, folder: Path, run: Callable[[list[Words]], list[Summary]]) -> list[Cured]:
    """Do the runs that a command asks for and cure the sick ones; write what came of it to `cure.json`.

    Args:
        config: composed, with Hydra's part.
        folder: of the sweep.
        run: as `cure` takes it.
    """
    jobs = [tuple(word for word in job if key_of(word) != "cure") for job in hydra_private.grid(config)]
    composed = [hydra_private.composed(config, list(words)) for words in jobs]
    contents: dict[Words, str | None] = {}

    def content(words: Words) -> str | None:
        if words not in contents:
            contents[words] = _content(config, words)
        return contents[words]

    def differ(words: Words, others: Words) -> bool:
        made = content(others)
        return made is not None and made != content(words)

    found = cure(jobs, [job.epochs for job in composed], [job.seed for job in composed], run, differ)
    shutil.rmtree(folder / SOUND, ignore_errors=True)
    replace_file(folder / FILE, json.dumps([_told(one) for one in found], indent=1) + "\n")
    return found


def _content(config: DictConfig, words: Words) -> str | None:
    """Return what a run of these words is made of; `None` where it is none."""
    try:
        job = hydra_private.composed(config, list(words))
        check(job)
        content = effective(job)
    except Exception:  # whatever Hydra and OmegaConf say of words that do not fit this model
        return None
    return json.dumps({key: value for key, value in content.items() if key not in LABELS}, sort_keys=True, default=str)


def _told(one: Cured) -> dict:
    return {
        "words": list(one.words),
        "before": one.before.folder.name,
        "after": one.after.folder.name if one.after else None,
        "changes": [" ".join(words) for words in one.changes],
        "without": {change: _finite(value) for change, value in one.without.items()},
        "metric": one.metric,
        "values": {name: [_finite(value) for value in values] for name, values in one.values.items()},
        "proved": one.proved,
        "reason": one.reason,
        "command": list(one.command),
    }
