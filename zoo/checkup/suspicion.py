"""What may be wrong, before it is known what training comes to."""

import dataclasses
from typing import Literal

from zoo.telemetry.findings import CAUSES, Cure, Finding

Outcome = Literal["unknown", "failed", "partly", "learned"]


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """A finding, and what it is worth once training has shown what it comes to.

    Attributes:
        finding: with the confidence that it has before the first step.
        failed: its confidence where training came to less than half of what the data tell.
        learned: its confidence where training learned most of what they tell: what did no harm is a note.
    """

    finding: Finding
    failed: float
    learned: float

    def after(self, outcome: Outcome) -> Finding:
        """Return the finding with the confidence that the outcome gives it."""
        before = self.finding.confidence
        confidence = {"failed": self.failed, "learned": self.learned, "partly": before, "unknown": before}[outcome]
        return dataclasses.replace(self.finding, confidence=confidence)


def suspect(
    cause: str,
    title: str,
    sentence: str,
    before: float,
    failed: float,
    learned: float,
    *,
    layer: str | None = None,
    cures: tuple[Cure, ...] = (),
    **evidence: float,
) -> Suspicion:
    """Return a suspicion; `before`, `failed` and `learned` are its confidences by what training has come to."""
    assert cause in CAUSES
    numbers = {name: float(value) for name, value in evidence.items()}
    return Suspicion(Finding(cause, title, sentence, before, numbers, layer, list(cures)), failed, learned)
