"""Which changes cure: many plans for few epochs, the better half of them for more (successive halving).

Jamieson & Talwalkar 2016. Then every change is left out once: what is not needed is not kept.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from zoo.checkup.training import LEARNED, NOTHING, SURELY
from zoo.repairing.change import Change
from zoo.repairing.changes import FITTING, GENERAL, SOUND
from zoo.repairing.plan import Plan
from zoo.repairing.tries import Bench, Try

FIRST = 8  # changes that are tried one by one
ENOUGH = 0.05  # of the skill that is gained: a change that brings no more is not kept
GENTLER = "gentler "
LONGER = "more epochs"  # the dearest change: behind the others
RUNGS = (0.25, 0.5, 1.0)  # of the epochs
WELL = 0.95  # skill from which on no more is asked for
GROWTH = ("adam", "higher rate", LONGER, "batch normalization", "standardize", "initializer", "wider")
LAST = 3  # plans that are trained to the end


def planned(keys: tuple[str, ...], known: dict[str, Change]) -> tuple[tuple[str, ...], Plan]:
    """Return the plan of some changes, but for those that would undo one before them, and their keys."""
    plan, taken, slots = Plan(), [], set()
    for key in keys:
        change = known[key]
        if change.slot and change.slot in slots:
            continue
        slots.add(change.slot)
        plan = change.made(plan)
        taken.append(key)
    return tuple(taken), plan


def candidates(called: list[str], known: dict[str, Change], *, own: bool) -> list[tuple[tuple[str, ...], Plan]]:
    """Return the plans to try, the most promising first.

    Args:
        called: keys of what the findings call for, most certain first.
        known: all changes by key.
        own: whether the loss is the person's own: it and the output that it takes stay, if nothing speaks against them.
    """
    known = {key: change for key, change in known.items() if not own or key not in ("output", "loss") or key in called}
    gentler = [key for key in called if key.startswith(GENTLER)]  # goes on with the weights of the layers as they are
    longer = [key for key in called if key == LONGER]
    called = [key for key in called if key != LONGER and key not in gentler]
    fitting, sound = (tuple(key for key in keys if key in known) for keys in (FITTING, SOUND))
    without_rate = tuple(key for key in sound if key != "adam")
    deep = (*sound, *(("batch normalization",) if "batch normalization" in known else ()))
    wanted: list[tuple[str, ...]] = [(key,) for key in (*gentler, *called[:3])]
    wanted += [fitting, *(tuple(called[:n]) for n in (2, 3, 4)), tuple(called), sound, deep, without_rate]
    wanted += [(key,) for key in called[3:FIRST]]
    wanted += [(*keys, *longer) for keys in ((), fitting, sound) if longer]
    wanted += [(key,) for key in GENERAL if key in known and key not in called[:FIRST]]
    if {"adam", "batch normalization"} <= set(known):
        wanted.append(("adam", "batch normalization"))
    wanted += [(*called[:1], key) for key in GENERAL if key in known and key not in called[:4]]
    found: dict[frozenset[str], tuple[tuple[str, ...], Plan]] = {}
    for keys in wanted:
        kept, plan = planned(keys, known)
        if kept:
            found.setdefault(frozenset(kept), (kept, plan))
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class Search:
    """Trains plans of one program, and tells which changes are needed.

    Attributes:
        bench: where they are trained.
        known: all changes by key.
        epochs: of a training to the end.
        before: skill of the program as it is.
        enough: whether so much skill is all that can be asked for; what only helps in general is not tried then.
        told: is given a line for each training.
    """

    bench: Bench
    known: dict[str, Change]
    epochs: int
    before: float
    enough: Callable[[float], bool]
    told: Callable[[str], None]

    def halved(self, plans: list[tuple[tuple[str, ...], Plan]], ends: float) -> tuple[list[Try], Try | None]:
        """Train the plans, the most promising first, by successive halving until the time is over.

        Returns:
            All that was trained; of those that came furthest the one of the fewest changes that comes near the best.
        """
        alive, general = [Try(keys, plan, place=place) for place, (keys, plan) in enumerate(plans)], set(GENERAL)
        tries: list[Try] = []
        for number, rung in enumerate(RUNGS):
            trained = []
            # Of the first rung's time, half: what is left out are the least promising.
            until = ends if number else time.monotonic() + (ends - time.monotonic()) / 2
            for one in alive:
                if trained and time.monotonic() > until:
                    break
                if not number and len(one.keys) <= 2 and set(one.keys[-1:]) <= general and self.enough(_top(trained)):
                    continue
                share = 1.0 if one.plan.gentler else rung  # what goes on from a sound epoch has most of it behind it
                wanted = max(1, round(share * self._epochs(one.plan)))
                if one.epochs < wanted:
                    self.bench.advance(one, wanted, ends)
                    self.told(f"{' + '.join(one.keys)}: {one.skill:.3f} after {one.epochs} epochs")
                trained.append(one)
                if len(one.keys) == 1 and one.skill >= WELL:
                    alive = trained = [one]  # one change suffices, and nothing can do with fewer
                    break
            tries += trained if not number else []
            if number == len(RUNGS) - 1:
                alive = trained or alive
            # What is no more than chance tells nothing: such plans stay in their order, the most promising first.
            trained.sort(key=lambda one: -max(one.skill, NOTHING) if one.error is None else np.inf)
            if number < len(RUNGS) - 1:
                alive = trained[: -(-len(trained) // 2) if not number else LAST]
                # The best of one change alone goes on too: it may suffice.
                alive += [one for one in trained if len(one.keys) == 1 and one not in alive][:1]
            for one in trained:
                one.model = one.model if one in alive else None
        alive = [one for one in alive if one.error is None and np.isfinite(one.skill)]
        top = _top(alive)
        near = [one for one in alive if one.skill >= top - slack(top, self.before)]
        return tries, min(near, key=lambda one: (len(one.keys), one.place), default=None)

    def grown(self, best: Try, ends: float) -> Try:
        """Add to the best plan, one by one, what may bring more: a better rate, more epochs, what helps in general."""
        for key in GROWTH:
            if best.plan.gentler or best.skill >= WELL or time.monotonic() > ends:
                break
            keys, plan = planned((*best.keys, *([key] if key in self.known else [])), self.known)
            if keys == best.keys:
                continue
            wanted = self._epochs(plan)
            if time.monotonic() + best.seconds * wanted / max(best.epochs, 1) > ends:
                continue
            one = self.bench.advance(Try(keys, plan, best.seed), wanted, ends)
            self.told(f"with {key}: {one.skill:.3f}")
            if one.error is None and one.skill > best.skill + slack(one.skill, self.before):
                best = one
        return best

    def pruned(self, best: Try, ends: float) -> tuple[Try, dict[str, float], bool]:
        """Leave out each change that brings next to nothing of the skill that was gained, the least certain first.

        Returns:
            The try of what is left, the skill without each of its changes, and whether all were left out in time.
        """
        without: dict[str, float] = {}
        least = best.skill - slack(best.skill, self.before)
        while left := [key for key in reversed(best.keys) if key not in without]:
            if len(best.keys) == 1:
                break
            if time.monotonic() > ends:
                return best, without, False
            key = left[0]
            keys, plan = planned(tuple(k for k in best.keys if k != key), self.known)
            one = self.bench.advance(Try(keys, plan, best.seed), self._epochs(plan), ends)
            self.told(f"without {key}: {one.skill:.3f}")
            if one.error is None and one.skill >= least:
                best, without = one, {}  # of a smaller set each is asked anew
            else:
                without[key] = one.skill
        return best, without, True

    def _epochs(self, plan: Plan) -> int:
        return plan.fitted.get("epochs", self.epochs)


def _top(tries: list[Try]) -> float:
    return max((one.skill for one in tries), default=-np.inf)


def slack(skill: float, before: float) -> float:
    """Return the skill that a change must bring to be kept."""
    return ENOUGH * max(0.0, skill - max(before, -1.0)) if np.isfinite(skill) else 0.0


def learned(skill: float, told: float) -> bool:
    """Return whether so much skill is all that can be asked for, by what plain methods tell."""
    return skill >= SURELY or (np.isfinite(told) and told > 0 and skill >= LEARNED * told)
