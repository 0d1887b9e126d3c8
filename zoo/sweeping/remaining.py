"""How long the rest of a sweep will take: from the jobs that ended, and what those that run have behind them."""

import heapq
import math
from collections.abc import Sequence

import numpy as np

LEAST = 0.2  # of the mean: what jobs differ in at least, as far as a few of them can tell
SURE = 3.0  # deviations, beyond which an estimate is no longer explained by what jobs differ in


def remaining(durations: Sequence[float], running: Sequence[float], waiting: int, slots: int) -> tuple[float, float]:
    """Return how many seconds the rest takes if each job takes the mean, and the deviation of that.

    Args:
        durations: seconds of each job that ended, at least one.
        running: seconds that each running job has behind it; one that took longer than the mean is as good as done.
        waiting: jobs that have not begun.
        slots: jobs that run at once.
    """
    # The first to end are the short ones: those that run longer already count as long as they are.
    known = [*durations, *(spent for spent in running if spent > np.mean(durations))]
    mean = float(np.mean(known))
    # Before each slot has done a job or two, nothing is known of how they differ: by as much as the mean, it may be.
    deviation = max(float(np.std(known, ddof=1)), LEAST * mean) if len(durations) > 2 * slots else mean
    free = [max(0.0, mean - spent) for spent in running]
    free += [0.0] * (slots - len(free))
    heapq.heapify(free)
    for _ in range(waiting):  # each to the slot that is free first
        heapq.heapreplace(free, free[0] + mean)
    left = len(running) + waiting
    # Of a sum of `left` jobs, whose mean is known from so many.
    spread = deviation * math.sqrt(left + left**2 / len(known)) / max(1, min(slots, left))
    return max(free, default=0.0), spread


class Countdown:
    """What is shown of one estimate after the other: it never rises, unless jobs take longer than they did.

    They do where an estimate exceeds what is shown by more than the jobs' differences explained when that was one. An
    estimate falls with the clock by itself, as running jobs have more and more behind them. Where it rises, what is
    shown stands still until it has fallen again: to count on regardless would come to the lowest of all estimates, and
    end long before the sweep.
    """

    def __init__(self):
        self._shown, self._spread = math.inf, 0.0

    def shown(self, estimate: float, spread: float) -> float:
        """Return the seconds to show.

        Args:
            estimate, spread: as `remaining` gives them.
        """
        if estimate <= self._shown or estimate > self._shown + SURE * self._spread:
            self._shown, self._spread = estimate, spread
        return self._shown
