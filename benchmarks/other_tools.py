"""AUTOTRAINER's, SageMaker Debugger's and TheDeepChecker's published rules, each turned into one of our labels.

A tool gives the label of the first of its rules that fires, the most specific rule first (a dead layer also has no
gradient: "dead" is asked before "vanishing"), and healthy if none does. Where a published rule leaves something open we
took what serves the tool best on the half of the runs that is open for tuning. Gradients are those of a fixed batch
in inference mode; `verdict_record._extras` measures what telemetry lacks.
"""

import dataclasses

import numpy as np

from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probe import Probe

CONVERGED = 0.6  # of the constant predictor's loss, as in verdicts.py


@dataclasses.dataclass(frozen=True)
class View:
    """What a tool may see: a run up to some step.

    Attributes:
        history, probes: as the callbacks recorded them.
        losses, accuracy: one an epoch; accuracy is empty for regression.
        baseline: loss of the best constant prediction.
        chance: accuracy of a guess.
        clip: the run's `global_clipnorm`.
        extras: of the last check: arrays a kernel or an activation, see `verdict_record._extras`.
    """

    history: GradientHistory
    probes: list[Probe]
    losses: list[float]
    accuracy: list[float]
    baseline: float
    chance: float
    clip: float | None
    extras: dict[str, np.ndarray]


def autotrainer(view: View) -> str:
    """Zhang et al. 2021, AUTOTRAINER (ICSE), thresholds as published.

    Its verdicts are for runs that did not converge: here, whose loss is above 0.6 of the constant predictor's. The
    accuracy before the first epoch, which "slow" needs after one epoch, is taken to be that of a guess.
    """
    e = view.extras
    if view.losses[-1] <= CONVERGED * view.baseline:
        return "healthy"
    if not np.isfinite(view.losses).all() or not np.isfinite(view.history.norms).all():
        return "exploding"
    norms = e["gradient_norm"]
    total = np.sqrt(np.sum(norms**2))
    if view.clip and total > view.clip:
        norms = norms * view.clip / total
    first, last = norms[0], norms[-1]
    if "relu" in e["functions"] and np.average(e["zero_gradients"], weights=e["entries"]) > 0.7:
        return "dead"
    if first > 70 * last:
        return "exploding"
    if first < 1e-3 * last and first < 1e-4:
        return "vanishing"
    if view.accuracy:
        gains = np.diff([view.chance, *view.accuracy])
        if np.mean(gains < -0.03) >= 0.2:
            return "unstable"
        if gains.max() < 0.01:
            return "stalled"
    return "healthy"


def sagemaker(view: View) -> str:
    """Rauschmayr et al. 2021, Amazon SageMaker Debugger (MLSys), built-in rules with their defaults.

    The loss rule compares means over ten steps, for on single batches noise alone would fire it, and is asked only of
    runs that did not converge, as AUTOTRAINER is. The rule for poor initialization (variance of the weights over ten
    times that of another layer) names none of our labels and is left out: called exploding, it cost the tool
    five of its right answers on 88 runs.
    """
    e, history = view.extras, view.history
    if not np.isfinite(history.norms).all() or not np.isfinite(e["mean_gradient"]).all():
        return "exploding"
    relu, tanh, sigmoid = (e["functions"] == name for name in ("relu", "tanh", "sigmoid"))
    if np.any(e["inactive"][relu] > 0.5):
        return "dead"
    if np.any(e["beyond_tanh"][tanh] > 0.5) or np.any(e["beyond_sigmoid"][sigmoid] > 0.5):
        return "saturated"
    ratios = history.update_ratios[-1]
    if ratios.max() > 10:
        return "unstable"
    if e["mean_gradient"].min() < 1e-7:
        return "vanishing"
    losses = history.losses
    falling = losses[-10:].mean() <= 0.999 * losses[-20:-10].mean() or view.losses[-1] <= CONVERGED * view.baseline
    if ratios.min() < 1e-8 or not falling:
        return "stalled"
    return "healthy"


def deepchecker(view: View) -> str:
    """Ben Braiek & Khomh 2023, TheDeepChecker (TOSEM), thresholds as published.

    Growth and decay must last five iterations in a row. The update ratio is too large where any layer's is, on
    average over the last five, and too small where the median over layers is.
    """
    e, history = view.extras, view.history
    mean = e["mean_gradient"]
    if not np.isfinite(history.norms).all() or not np.isfinite(mean).all() or mean.max() > 1e6:
        return "exploding"
    if np.any(e["percentile_95"][e["functions"] == "relu"] > 0.5):
        return "dead"
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = history.norms[1:] / history.norms[:-1]
    update = np.log10(np.maximum(history.update_ratios[-5:], 1e-30))
    if _lasting(rates > 2):
        return "exploding"
    if np.any(update.mean(axis=0) > -1):
        return "unstable"
    if mean.min() < 1e-6 or _lasting(rates < 0.5):
        return "vanishing"
    if np.median(update) < -4:
        return "stalled"
    return "healthy"


def _lasting(fires: np.ndarray, length: int = 5) -> bool:
    """Whether any column of (steps, layers) is true for `length` steps in a row."""
    if len(fires) < length:
        return False
    return bool(np.any(np.lib.stride_tricks.sliding_window_view(fires, length, axis=0).all(axis=-1)))


TOOLS = {"AUTOTRAINER": autotrainer, "SageMaker Debugger": sagemaker, "TheDeepChecker": deepchecker}
