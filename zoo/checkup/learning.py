"""What trials of some dozens of steps prove: a rate that is too high or too low, inputs that are out of scale."""

from collections.abc import Iterator

import numpy as np

from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.trials import STEPS, Trial, Trials
from zoo.telemetry import wording as w
from zoo.telemetry.cures import of_rate
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say

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
            say(
                "in {steps} steps the loss comes to {told}; with inputs of mean 0 and deviation 1 to {share}.",
                steps=STEPS,
                told=_told(own),
                share=w.share(trials.standard.share),
            ),
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
            say(
                "in {steps} steps at the rate {rate} the loss comes to {told}, at {other} to {share}.",
                steps=STEPS,
                rate=w.number(trials.rate),
                told=_told(own),
                other=w.number(trials.rate * lower.factor),
                share=w.share(lower.share),
            ),
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
            say(
                "in {steps} steps at the rate {rate} the loss comes to {told}, at {other} to {share}.",
                steps=STEPS,
                rate=w.number(trials.rate),
                told=_told(own),
                other=w.number(trials.rate * higher.factor),
                share=w.share(higher.share),
            ),
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
        return say("no finite number")
    if trial.share > MOST_TOLD:
        return say("over {most:.0f} times what the best constant answer costs", most=MOST_TOLD)
    return w.of(trial.share, w.constant())
