"""From a verdict to a cure that is proved."""

import dataclasses
import time
from typing import Any

import keras
import numpy as np

from zoo.checkup.check import Examination, examined
from zoo.checkup.training import NOTHING
from zoo.repairing import continuing
from zoo.repairing.change import Change
from zoo.repairing.changes import called_for, possible
from zoo.repairing.code import difference
from zoo.repairing.continuing import Snapshots
from zoo.repairing.plan import Plan, in_units
from zoo.repairing.search import WELL, Search, candidates, learned
from zoo.repairing.subject import Subject
from zoo.repairing.tries import SIZE, Bench, Profile, Try
from zoo.telemetry import wording as w
from zoo.telemetry.breaking import sound_epoch

SEEDS = (0, 1, 2)
FIRST = 0.4  # of the time that is left after the check-up: the program as it is
SEARCHING = 0.5  # of the time that is left after the first training; pruning and proof have the rest
GROWING = 0.3  # of what is left then, to add to the best of them
GONE = 0.4  # skill of a healthy program; of the first loss, where no skill can be measured
PROOF = 1.3  # times what its trainings took before, that is kept for the proof
SUBSET = 1 / 8  # of the budget, that one training to the end may take; else tries are on fewer samples
FEWEST = 512  # samples of a try


@dataclasses.dataclass(frozen=True)
class Repaired:
    """What `repair` came to.

    Attributes:
        model: trained, in the units of the targets; the model that was given is as it was.
        before, after: what the trainings amount to without and with the changes; the same where there are none.
        skills: (seeds,) of both, "before" and "after": how much each seed's training tells of the samples held out.
        tried: how many trainings were made.
        seconds: that it took.
        changes: the smallest set that suffices, in the order in which they are made; empty where none is needed, or
            none cures.
        without: skill of the first seed without one of the changes, by the changes' names.
        cured: whether the cure is proved.
        reason: why it is not, in a sentence; "" if it is.
        nearest: names of the changes that came nearest, where nothing cures.
        code: the changes as Keras code.
    """

    model: keras.Model
    before: Profile
    after: Profile
    skills: dict[str, list[float]]
    tried: int
    seconds: float
    changes: list[Change] = dataclasses.field(default_factory=list)
    without: dict[str, float] = dataclasses.field(default_factory=dict)
    cured: bool = False
    reason: str = ""
    nearest: list[str] = dataclasses.field(default_factory=list)
    code: str = ""

    def __str__(self) -> str:
        """What was changed and why, as code, and the proof in numbers."""
        was = f"{self.before.verdict.name}: {self.before.verdict.told}"
        if not self.changes and "after" in self.skills:
            head = "nothing to cure" if self.before.verdict.name == "healthy" else "nothing was tried"
            return f"{head}: {was}\n{self.reason}".rstrip()
        head = "cured" if self.cured else "changed, but not proved a cure," if self.changes else "not cured"
        lines = [f"{head} in {self.seconds:.0f} s, after {self.tried} trainings. Before {was}"]
        lines += [f"  {change.name}: {change.reason}" for change in self.changes]
        lines += [self.code] if self.changes else []
        lines += [f"  {name}: {_told(self.skills[name])}" for name in ("before", "after") if self.skills.get(name)]
        lines += [f"  without {name}: {value:.3f}" for name, value in self.without.items()]
        lines += [self.reason] if self.reason else []
        return "\n".join(lines)


def _told(skills: list[float]) -> str:
    if not np.isfinite(skills).any():
        return "it raises"
    seeds = f"{len(skills)} seeds" if len(skills) > 1 else "1 seed"
    return f"{np.mean(skills):.3f} of {seeds} ({', '.join(f'{s:.3f}' for s in skills)})"


def repair(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    epochs: int = 10,
    batch_size: int | None = None,
    budget: float = 60.0,
    verbose: bool = False,
) -> Repaired:
    """Find the smallest change that lets a program learn, and prove it.

    The program is trained as it is; then with the changes that its findings call for, with those that help others, and
    with all together, by successive halving. Of the best, each change is left out once; what is left is trained with
    three seeds beside the program as it was. The model that is given stays as it is.

    Args:
        model: compiled, with the loss and the optimizer that it is to be trained with.
        x, y: the training data, as `zoo.check` takes them.
        validation_data: (x, y) to measure by; a fifth of x and y if it is not given.
        epochs: of a training.
        batch_size: as `fit` takes it.
        budget: seconds, at most; what cannot be tried in them is not.
        verbose: whether each try is printed.

    Raises:
        RuntimeError: if the model is not compiled.
        TypeError: if it cannot be copied, or `model` is no model, or the data are none.
        ValueError: for no samples, more or fewer targets than inputs, no epochs, or no time.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be 1 or more, not {epochs}.")
    if not budget > 0:
        raise ValueError(f"budget must be some seconds, more than 0, not {budget}.")
    return _Repair(Subject.of(model, x, y, validation_data), epochs, batch_size or SIZE, budget, verbose).result()


class _Repair:
    def __init__(self, subject: Subject, epochs: int, size: int, budget: float, verbose: bool):
        self.subject, self.epochs, self.size, self.budget, self.verbose = subject, epochs, size, budget, verbose
        self.begun = time.monotonic()
        self.ends = self.begun + budget
        self.bench = Bench(subject, size)
        self.tried = 1  # as it is

    def told(self, line: str) -> None:
        self.tried += 1
        if self.verbose:
            print(f"{time.monotonic() - self.begun:6.1f} s  {line}", flush=True)

    def result(self) -> Repaired:
        looked = examined(self.subject.program)
        kept = Snapshots()
        until = time.monotonic() + FIRST * (self.ends - time.monotonic())
        first, before = self.bench.profiled(Try((), Plan()), self.epochs, until, looked, kept)
        known = possible(self.subject, self.epochs, self.size)
        if not first.cut and self._well(before, looked.told):
            learned = f"It has learned all the same: its skill is {before.skill:.2f}. "
            return self._unchanged(first, before, learned if before.verdict.sick else "")
        if first.cut and before.verdict.name in ("healthy", "undecided"):
            # It may come to what it should in the epochs that are left to it; of what is sick they would be wasted.
            until = time.monotonic() + (self.ends - time.monotonic()) / 2
            self.bench.advance(first, self.epochs, until, whole=True)
            before = dataclasses.replace(before, skill=first.skill, epochs=first.epochs, seconds=first.seconds)
            if first.cut or self._enough(first.skill, looked.told):
                return self._unchanged(first, before, f"There was time for {first.epochs} of {self.epochs} epochs. ")
        self._shorten(before, first)
        called = called_for(before.verdict.findings or looked.checkup().findings, known)
        if sound_epoch(first.losses) == kept.epoch:
            self.bench.kept = kept
            steps = -(-self.subject.program.count // self.size)
            gentler = dict(continuing.changes(self.subject, kept, steps))
            known, called = known | gentler, [*gentler, *called]
        search = Search(
            self.bench,
            known,
            self.epochs,
            before.skill,
            lambda skill: self._enough(skill, looked.told),
            self.told,
        )
        plans, tries, best = candidates(called, known, own=self._own), [], None
        # Where the first of them bring nothing there is time for others.
        while plans and (not tries or time.monotonic() + before.seconds < self.ends):
            trained, found = search.halved(plans, time.monotonic() + SEARCHING * (self.ends - time.monotonic()))
            tries += trained
            if found is not None and found.skill > max(before.skill, NOTHING):
                best = found
                break
            asked = {one.keys for one in trained}
            plans = [(keys, plan) for keys, plan in plans if keys not in asked]
        if best is None:
            return self._uncured(first, before, tries, known)
        best = search.grown(best, time.monotonic() + GROWING * (self.ends - time.monotonic()))
        proof = PROOF * (len(SEEDS) * best.seconds + (len(SEEDS) - 1) * before.seconds)
        until = max(self.ends - proof, time.monotonic() + (self.ends - time.monotonic()) / 2)
        best, without, minimal = search.pruned(best, until)
        # What learns at the edge of what is stable may not do so again.
        again: list[Try] = []
        for one in [best, *self._others(best, tries, before)]:
            if again and time.monotonic() + one.seconds > self.ends:
                break
            left_out = (without, minimal) if one is best else ({}, len(one.keys) == 1)
            repaired = self._proved(one, first, before, known, *left_out, looked, again)
            if repaired is not None:
                return repaired
        return self._uncured(first, before, again, known)

    def _others(self, best: Try, tries: list[Try], before: Profile) -> list[Try]:
        """Return the plans beside the best one that came to their end and told something, the most telling first."""
        ended = [one for one in tries if one.epochs >= one.plan.fitted.get("epochs", self.epochs)]
        near = [one for one in ended if one.keys != best.keys and one.skill > max(before.skill, NOTHING)]
        return sorted(near, key=lambda one: -one.skill)

    @property
    def _own(self) -> bool:
        task = self.subject.task
        return task is None or task.loss is None or task.loss.own

    def _well(self, before: Profile, told: float) -> bool:
        """Whether the program needs no cure: what a healthy one lacks are epochs, and what learns has learned."""
        if before.verdict.sick:
            return not self.bench.by_loss and before.skill >= WELL
        return self._enough(before.skill, told) or (before.verdict.name == "healthy" and before.skill >= GONE)

    def _enough(self, skill: float, told: float) -> bool:
        """Whether so much skill is all that can be asked for."""
        return skill >= GONE if self.bench.by_loss else learned(skill, told)

    def _shorten(self, before: Profile, first: Try) -> None:
        """Let tries train on fewer samples where a training to the end takes too long."""
        count = self.subject.program.count
        passes = max(len(first.losses), 1)
        whole = before.seconds / passes * self.epochs
        if whole > SUBSET * self.budget and first.losses:
            self.bench.samples = max(FEWEST, int(count * SUBSET * self.budget / whole))

    def _unchanged(self, first: Try, before: Profile, told: str = "") -> Repaired:
        assert first.model is not None
        split = "It was trained on four fifths of the samples, shuffled, and measured by the others."
        skills = {"before": [before.skill], "after": [before.skill]}
        reason = f"{told}{split if self.subject.split else ''}".rstrip()
        return self._repaired(first.model, before, before, skills, reason=reason)

    def _uncured(self, first: Try, before: Profile, tries: list[Try], known: dict[str, Change]) -> Repaired:
        near = max(tries, key=lambda one: one.skill, default=None)
        names = [known[key].name for key in near.keys] if near is not None and near.skill > before.skill else []
        told = f"nothing cures within {self.budget:.0f} s: {self.tried} trainings were made"
        if near is not None and names:
            told += f"; {' and '.join(names)} came nearest, with {near.skill:.3f}"
        told += f" beside {before.skill:.3f}" if names and np.isfinite(before.skill) else ""
        return self._repaired(
            self._model(first), before, before, {"before": [before.skill]}, reason=told + ".", nearest=names
        )

    def _repaired(
        self, model: keras.Model, before: Profile, after: Profile, skills: dict[str, list[float]], **rest: Any
    ) -> Repaired:
        return Repaired(model, before, after, skills, self.tried, time.monotonic() - self.begun, **rest)

    def _model(self, one: Try) -> keras.Model:
        return one.model if one.model is not None else self.subject.model

    def _proved(
        self,
        best: Try,
        first: Try,
        before: Profile,
        known: dict[str, Change],
        without: dict[str, float],
        minimal: bool,
        looked: Examination,
        again: list[Try],
    ) -> Repaired | None:
        """Train a try once more, beside the program as it was; `None` where it is not well then, which `again` gets."""
        epochs = best.plan.fitted.get("epochs", self.epochs)
        last, after = self.bench.profiled(best, epochs, self.ends, looked)
        if after.verdict.name != "healthy" and not self._enough(after.skill, looked.told):
            again.append(dataclasses.replace(last, skill=after.skill))
            return None
        skills = {"before": [before.skill], "after": [after.skill]}
        for seed in SEEDS[1:]:
            for name, one in (("before", Try((), Plan(), seed)), ("after", Try(best.keys, best.plan, seed))):
                if time.monotonic() + after.seconds < self.ends:
                    wanted = epochs if name == "after" else self.epochs
                    self.bench.advance(one, wanted, self.ends, whole=True)
                    self.told(f"{name}, seed {seed}: {one.skill:.3f}")
                    skills[name] += [] if one.cut else [one.skill]
        changes = [known[key] for key in best.keys]
        reasons = self._reasons(after, skills, minimal)
        if first.cut:
            reasons.append(f"as it is, there was time for {first.epochs} of its {self.epochs} epochs")
        assert last.model is not None
        finished = in_units(self.subject, last.plan, last.model)
        code = [change.by_hand for change in changes if change.by_hand]
        code.append(difference(self.subject.model, finished))
        if last.plan.fitted:
            code.append(f"model.fit(x, y, {', '.join(f'{name}={value}' for name, value in last.plan.fitted.items())})")
        return self._repaired(
            finished,
            before,
            after,
            skills,
            changes=changes,
            without={known[key].name: skill for key, skill in without.items()},
            cured=not reasons,
            reason="not proved: " + "; ".join(reasons) + "." if reasons else "",
            nearest=[change.name for change in changes] if reasons else [],
            code="\n".join(line for line in code if line),
        )

    def _reasons(self, after: Profile, skills: dict[str, list[float]], minimal: bool) -> list[str]:
        """Return why the cure is not proved."""
        found = []
        if after.verdict.name != "healthy":
            found.append(f"the verdict on the changed program is {after.verdict.name}")
        a, b = (np.maximum(np.asarray(skills[name]), -1.0) for name in ("after", "before"))
        if min(len(a), len(b)) < len(SEEDS):
            found.append(f"there was time for {len(a)} of {len(SEEDS)} seeds")
        deviation = max(float(a.std(ddof=1)) if len(a) > 1 else 0.0, float(b.std(ddof=1)) if len(b) > 1 else 0.0)
        if not a.mean() - b.mean() > deviation:
            found.append(
                f"it is better by {a.mean() - b.mean():.3f}, and seeds differ by {w.number(deviation)} (one deviation)"
            )
        if not minimal:
            found.append("there was no time to leave out each change")
        return found
