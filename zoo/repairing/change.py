"""One change that may cure."""

import dataclasses
from collections.abc import Callable, Iterator

from zoo.repairing.plan import Plan


@dataclasses.dataclass(frozen=True)
class Change:
    """One change that may cure.

    Attributes:
        name: of the change, in a few words.
        cause: which of `zoo.telemetry.findings.CAUSES` it removes.
        reason: why it may help, in a sentence.
        made: returns a plan that has it too.
        slot: what it sets: of two with one slot the later would undo the former.
        by_hand: Keras or NumPy code for what no layer can do; "" otherwise.
    """

    name: str
    cause: str
    reason: str
    made: Callable[[Plan], Plan]
    slot: str = ""
    by_hand: str = ""


Keyed = Iterator[tuple[str, Change]]  # changes with the keys by which tables name them
