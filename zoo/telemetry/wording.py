"""Numbers as sentences tell them: never beyond what a reader can use, and never one that is none."""

import functools
import math
from collections.abc import Iterable

from zoo.telemetry.language import say

BEYOND = 1e12  # no reader makes anything of more
HALF_A_PERCENT = 0.005  # rounds to 1 %, less to 0 %
TENFOLD = 9.995  # from here on three digits show no decimals that count
SMALL = 0.01  # two digits after the point do not hold what is below


def steps(count: int) -> str:
    """1 -> "1 step", 24 -> "24 steps"."""
    return say("{count} step" if count == 1 else "{count:,} steps", count=count)


def listed(texts: Iterable[str]) -> str:
    """["a", "b"] -> "a and b", which can be said again in another language."""
    return functools.reduce(lambda before, last: say("{before} and {last}", before=before, last=last), texts)


def number(value: float) -> str:
    """Three digits; what is no finite number is said to be that."""
    return f"{value:.3g}" if math.isfinite(value) else say("not a finite number")


def share(value: float) -> str:
    """0.183 -> "18 %", 0.001 -> "under 1 %", 25.0 -> "25 times"."""
    if _unknown(value):
        return say("beyond measure")
    if value > TENFOLD:
        return say("{value:.3g} times", value=value)
    return f"{value:.0%}".replace("%", " %") if value >= HALF_A_PERCENT else say("under 1 %")


def of(value: float, whole: str) -> str:
    """Return a share with what it is of: "18 % of WHOLE", "25 times WHOLE"."""
    if _unknown(value):
        return say("beyond measure {whole}", whole=whole)
    return say("{share} {whole}" if value > TENFOLD else "{share} of {whole}", share=share(value), whole=whole)


def constant() -> str:
    """Return what a loss is compared with, as the whole of `of`."""
    return say("what the best constant answer costs")


def _unknown(value: float) -> bool:
    return not math.isfinite(value) or value > BEYOND


def part(value: float) -> str:
    """Return a share of what arrives, often a small one: 0.00034 -> "3.4e-04", 0.61 -> "0.61", 0 -> "nothing"."""
    if value < SMALL:
        return f"{value:.1e}" if value > 0 else say("nothing")
    return f"{value:.2g}" if value < BEYOND else say("beyond measure")


def fold(value: float) -> str:
    """70.2 -> "70-fold"; beyond 1e12 no digits."""
    return say("{value:.2g}-fold" if value <= BEYOND else "more than 1e12-fold", value=value)
