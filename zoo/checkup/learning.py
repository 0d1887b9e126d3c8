"""What trials of some dozens of steps prove: a rate that is too high or too low, inputs that are out of scale."""

from collections.abc import Iterator

import numpy as np

from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.trials import STEPS, Trial, Trials
from zoo.telemetry import wording as w
from zoo.telemetry.cures import of_rate
from zoo.telemetry.findings import Cure

POOR = 0.9  # share of the best constant's loss: above it nothing was learned
BETTER = 0.75  # times as much: what proves another setting
DIVERGED = 2.0  # share beyond which steps lead away from what a constant answer has
MOST_TOLD = 1e3
GOOD = 0.85  # share that the better setting has to reach


def findings(trials: Trials) -> Iterator[Suspicion]:
    """Yield what the trials prove."""
    own = trials.own
    if own is None:
        return
    lower, higher = trials.best((0.1, 0.01)), trials.best((10.0, 100.0))
    scaled = trials.standard is not None and _better(trials.standard, own)
    if scaled and trials.standard is not None:
        yield suspect(
            "inputs",
            "inputs that learn once they are standardized",
            f"in {STEPS} steps the loss comes to {_told(own)}; with inputs of mean 0 and deviation 1 to "
            f"{w.share(trials.standard.share)}.",
            0.5,
            0.93,
            0.25,
            cures=(
                Cure(
                    "inputs",
                    "a keras.layers.Normalization() that is adapted to x in front",
                    "it is what the trial did.",
                ),
            ),
            own=own.share,
            standardized=trials.standard.share,
        )
    if lower is not None and _better(lower, own):
        # A rate is beyond doubt too high where a tenth of it learns and it does not, and no scale is to blame.
        sure = own.share > 1.0 and lower.share < 0.6
        diverges = own.share > DIVERGED and lower.share < 0.6
        yield suspect(
            "rate",
            "a learning rate that is too high",
            f"in {STEPS} steps at the rate {w.number(trials.rate)} the loss comes to {_told(own)}, at "
            f"{w.number(trials.rate * lower.factor)} to {w.share(lower.share)}.",
            0.75 if diverges and not scaled else 0.5,
            0.88 if scaled else 0.95 if sure else 0.9,
            0.2,
            cures=(of_rate(trials.rate * lower.factor, "the steps overshoot."),),
            rate=trials.rate,
            own=own.share,
            lower=lower.share,
        )
    elif higher is not None and _better(higher, own, good=0.95):
        yield suspect(
            "rate",
            "a learning rate that is too low",
            f"in {STEPS} steps at the rate {w.number(trials.rate)} the loss comes to {_told(own)}, at "
            f"{w.number(trials.rate * higher.factor)} to {w.share(higher.share)}.",
            0.4,
            0.85,
            0.2,
            cures=(of_rate(trials.rate * higher.factor, "the steps are short."),),
            rate=trials.rate,
            own=own.share,
            higher=higher.share,
        )


def _better(other: Trial, own: Trial, good: float = GOOD) -> bool:
    if not own.share > POOR or own.baseline != own.baseline:
        return False
    return 0 <= other.share < min(good, BETTER * own.share)


def _told(trial: Trial) -> str:
    if not np.isfinite(trial.share):
        return "no finite number"
    if trial.share > MOST_TOLD:
        return f"over {MOST_TOLD:.0f} times what the best constant answer costs"
    return w.of(trial.share, "what the best constant answer costs")
