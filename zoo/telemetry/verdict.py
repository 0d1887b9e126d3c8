"""What a run's gradients amount to: name, place, evidence, cause, remedies.

The rules ask two questions. Does the loss move (from each step's loss, or each epoch's)? And what do the activations
and the back-propagated gradient do along the depth (from the probes)? A network whose loss falls is healthy, however
odd its numbers look; one whose loss does not is named by what breaks the profile, and only a sound profile leaves the
learning rate to blame. Every threshold is a ratio between layers, or to the loss of the best constant prediction: none
depends on the scale of the loss.
"""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from zoo.telemetry.evidence import CREPT, HEALED, HUGE, NEAR, RISEN, Depth, Loss
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probe import Probe

LASTING = 2  # epochs of the same evidence before a verdict is certain enough to stop for: some trainings recover
RATE, WEIGHTS = "the learning rate", "the weights are too large"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with a training, where, and on what evidence.

    Attributes:
        name: healthy, vanishing, exploding, dead, saturated, stalled, unstable, or undecided where there is nothing to
            judge by.
        layer: the layer where it breaks; `None` where no layer is to blame.
        since: the optimizer step at which the evidence begins; 0 is before the first step.
        confidence: in [0, 1]; from 0.9 on the verdict is certain enough to stop for.
        cause: what brings it about, in a few words.
        evidence: the numbers that it rests on.
        sentence: all of it for a reader.
        remedies: overrides of the command line to try, the most promising first.
    """

    name: str
    layer: str | None
    since: int
    confidence: float
    cause: str
    evidence: dict[str, float]
    sentence: str
    remedies: list[str] = dataclasses.field(default_factory=list)


def diagnose(
    history: GradientHistory | None = None,
    probes: Sequence[Probe] = (),
    losses: Sequence[float] = (),
    baseline: float | None = None,
) -> Verdict:
    """Judge a training, or from a single probe what training has to expect.

    Args:
        history: what `GradientNorms` recorded so far.
        probes: one before the first step, then one after each epoch, as far as there are any.
        losses: training loss of each epoch; used where the history holds no losses of its steps.
        baseline: loss of the best constant prediction (of a classifier: the entropy of the labels in nats); sharpens
            the question whether the loss moves.

    Raises:
        ValueError: with neither history nor probes.
        TypeError: for a callback in the place of what it recorded, or a probe that is not in a list.
    """
    if isinstance(history, keras.callbacks.Callback) or isinstance(probes, keras.callbacks.Callback):
        raise TypeError("diagnose takes what callbacks recorded: diagnose(norms.history, probes.results).")
    if isinstance(probes, Probe):
        raise TypeError("diagnose takes a list of probes: diagnose(probes=[probe]).")
    if history is None and not probes:
        raise ValueError("diagnose needs a history of GradientNorms, a probe, or both.")
    loss = Loss.of(history, probes, losses, baseline)
    places = [place for place in map(Depth, probes) if place.layers]
    if not places and not np.isfinite(loss.values).any() and not (history is not None and len(history)):
        return _undecided(probes)
    if places and places[0].layers != places[-1].layers:  # others were frozen or set free since
        places = [place for place in places if place.layers == places[-1].layers]
    broken = _not_finite(history, loss, places)
    if broken is not None:
        return broken
    if loss.steps == 0 or not np.isfinite(loss.values).any():
        return _foretell(places[0], loss) if places else _undecided(probes)
    now = _fault(places[-1], FAILING) if places else None
    sound = now is None
    plunging = loss.plunging and (sound or now[0] == "exploding")
    # With a broken profile a falling loss may be no more than the output's biases (or a penalty) on their way.
    moving = sound and (loss.falling or loss.barely_learned or _creeping(loss, places))
    if loss.learned or plunging or moving or _recovering(loss, places):
        return _healthy(loss)
    verdict = _why(history, loss, places)
    # What comes down from somewhere, or still changes along the depth, may recover: wait and see.
    if loss.drop > 0.1 * abs(loss.late) or (len(places) > 1 and _changing(places[-2], places[-1])):
        verdict = dataclasses.replace(verdict, confidence=min(verdict.confidence, 0.6))
    return verdict


def _undecided(probes: Sequence[Probe]) -> Verdict:
    """Say what is missing."""
    missing = next(
        (p.missing for p in probes if p.missing), "no step with a loss was recorded, and no layer was probed."
    )
    return Verdict("undecided", None, 0, 0.0, "", {}, f"nothing to judge by: {missing}")


def _changing(before: Depth, now: Depth) -> bool:
    """Whether an epoch changed what arrives, or how activations vary, by more than a fifth somewhere in the middle."""
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = [np.abs(np.log(getattr(now, n) / getattr(before, n))) for n in ("arriving", "variation")]
    return bool(np.nanmedian(np.concatenate(changes)) > np.log(1.2))


def _creeping(loss: Loss, places: list[Depth]) -> bool:
    """Whether the loss of the probe's batch, which has no sampling noise, fell in the last epoch."""
    if len(places) < 2 or loss.swings > RISEN or loss.late > NEAR * loss.reference:
        return False
    return places[-2].probe.loss - places[-1].probe.loss > CREPT * loss.reference


def _recovering(loss: Loss, places: list[Depth]) -> bool:
    """Whether a profile that was broken before the last epoch healed in it by much, while the loss kept still."""
    if len(places) < 2 or loss.swings > RISEN or loss.late > NEAR * loss.reference:
        return False
    before, now = places[-2], places[-1]
    if _fault(before, FAILING) is None or _fault(now, FAILING) not in (None, _fault(before, FAILING)):
        return False
    arriving = now.arriving.min() / max(before.arriving.min(), 1e-300)
    variation = now.variation.min() / max(before.variation.min(), 1e-300)
    return max(arriving, variation) > HEALED and min(arriving, variation) > 1 / HEALED


def _healthy(loss: Loss) -> Verdict:
    share = loss.late / loss.reference if loss.reference else np.nan
    evidence = {"loss_over_reference": share}
    sentence = f"the loss moves: it is {loss.late:.3g}, {share:.0%} of what knowing nothing costs."
    return Verdict("healthy", None, 0, 0.95 if loss.learned else 0.7, "", evidence, sentence)


def _foretell(place: Depth, loss: Loss) -> Verdict:
    """Judge step 0 alone: can a gradient reach every layer?"""
    fault = _fault(place, FORETOLD)
    if fault is None:
        weakest = float(place.arriving.min())
        sentence = f"before the first step, at least {weakest:.2g} of the output's gradient reaches every layer."
        return Verdict("healthy", None, 0, 0.6, "", {"weakest_arriving": weakest}, sentence)
    return _verdict(fault, place, since=0, lasting=False)


def _why(history, loss: Loss, places: list[Depth]) -> Verdict:
    """Name what keeps the loss where it is."""
    if places and (fault := _fault(places[0], FAILING)):
        return _verdict(fault, places[0], since=0, lasting=len(places) > LASTING)
    share = loss.late / loss.reference if loss.reference else np.nan
    evidence = {"loss_over_reference": share, "largest_rise": loss.swings}
    now = _fault(places[-1], FAILING) if places else None
    since = loss.risen_at
    if now and now[0] in ("dead", "saturated") and loss.jumped:
        return _verdict(
            now, places[-1], since=since, lasting=len(places) > LASTING
        )  # one step too long, in a training on its way
    if loss.swings > RISEN or loss.late > 1.5 * loss.reference:
        return _rate_too_large(loss, evidence, since=int(np.nanargmax(loss.values)), lasting=len(places) > LASTING)
    since = int(history.epoch_ends[0]) if history is not None and len(history.epoch_ends) else loss.steps
    if now:
        return _verdict(now, places[-1], since=since, lasting=len(places) > LASTING + 1)
    sentence = (
        f"gradients arrive everywhere, but after {loss.steps} steps the loss is still {loss.late:.3g}, {share:.0%} of "
        "what knowing nothing costs: the rate is too small for these gradients."
    )
    return Verdict("stalled", None, 0, 0.8, RATE, evidence, sentence, REMEDIES["stalled"])


def _not_finite(history, loss: Loss, places: list[Depth]) -> Verdict | None:
    """Judge a training whose loss, gradients or activations left the finite numbers."""
    norms = history.global_norm if history is not None and len(history) else np.zeros(0)
    ends = (
        loss.values[-1:],
        norms[-1:],
        *(p.delta_norm for p in places[-1:]),
        *(p.activation_rms for p in places[-1:]),
    )
    if all(np.isfinite(values).all() for values in ends):
        return None  # an overflow on the way, which loss scaling skipped, does no harm
    bad = np.flatnonzero(~np.isfinite(norms) if len(norms) else ~np.isfinite(loss.values))
    step = int(bad[0]) if len(bad) else loss.steps
    if places and (fault := _fault(places[0], FAILING)) and fault[0] != "vanishing":
        return _verdict(fault, places[0], since=0, lasting=True)
    if places and places[0].probe.loss > HUGE * loss.reference:
        return _verdict(("exploding", places[0].grows_at(), WEIGHTS), places[0], since=0, lasting=True)
    evidence = {"first_nonfinite_step": step}
    return _rate_too_large(loss, evidence, since=step, lasting=True)


def _rate_too_large(loss: Loss, evidence: dict, *, since: int, lasting: bool) -> Verdict:
    told = (
        f"stopped being a number at step {evidence['first_nonfinite_step']}"
        if "first_nonfinite_step" in evidence
        else f"rose to {loss.swings:.3g} times where it began"
    )
    sentence = f"the profile was sound before the first step, but the loss {told}: the learning rate is too large."
    return Verdict("unstable", None, since, 0.9 if lasting else 0.7, RATE, evidence, sentence, REMEDIES["unstable"])


@dataclasses.dataclass(frozen=True)
class Limits:
    """From where on a profile counts as broken."""

    faint: float
    blind: float
    grown: float
    dead: float
    saturated: float


FORETOLD = Limits(faint=1e-2, blind=1e-3, grown=1e3, dead=0.95, saturated=0.6)
FAILING = Limits(faint=5e-3, blind=1e-4, grown=30.0, dead=0.95, saturated=0.4)


def _fault(place: Depth, limits: Limits) -> tuple[str, str, str] | None:
    """Return what breaks the profile: (name, layer, cause), or `None` for a sound one."""
    hidden = place.hidden
    if not place.finite:
        return "exploding", place.first(~np.isfinite(place.delta_norm)), WEIGHTS
    saturated = place.saturated[hidden] >= limits.saturated
    if saturated.any():
        name = place.activations[int(np.argmax(saturated))]
        return "saturated", place.first(saturated), f"{name} is at the ends of its range"
    silent = place.output_rms[hidden] < 1e-6 * max(place.output_rms[0], 1e-30)
    dead = (place.dead[hidden] >= limits.dead) & ~silent
    if dead.any() and not (silent.any() and np.argmax(silent) < np.argmax(dead)):
        return "dead", place.first(dead), "its pre-activations are negative for every sample"
    if place.growth > limits.grown:
        return "exploding", place.grows_at(), "the weights are too large"
    faint = place.arriving[hidden] < limits.faint
    if faint.any():
        layer = place.last(faint)
        return "vanishing", layer, _why_faint(place, layer)
    blind = place.variation < limits.blind
    if blind.any():
        return "vanishing", place.first(blind), "its activation is the same for every sample"
    return None


def _why_faint(place: Depth, layer: str) -> str:
    index = place.layers.index(layer)
    activation = place.activations[index]
    if place.output_rms[index] < 1e-3 * max(place.output_rms[0], 1e-30):
        return "the weights are too small: activations shrink with the gradient"
    if activation == "sigmoid":
        return "the slope of the sigmoid is 1/4 at most"
    if activation in ("relu", "leaky_relu", "prelu", "elu"):
        return f"the weights are too small for {activation}"
    return "each layer passes on less than it gets"


def _verdict(fault: tuple[str, str, str], place: Depth, *, since: int, lasting: bool) -> Verdict:
    name, layer, cause = fault
    index = place.layers.index(layer) if layer in place.layers else 0
    evidence = {
        "weakest_arriving": float(np.nanmin(place.arriving)),
        "growth": place.growth,
        "decades_a_layer": place.slope,
        "variation": float(place.variation[index]),
        "dead": float(place.dead[index]),
        "saturated": float(place.saturated[index]),
    }
    weakest = evidence["weakest_arriving"]
    what = {
        "vanishing": f"{f'{weakest:.1e}' if weakest else 'nothing'} of the output's gradient reaches the weakest layer",
        "exploding": f"along the depth the signal grows {evidence['growth']:.2g}-fold",
        "dead": f"{evidence['dead']:.0%} of {layer}'s units are zero for every sample",
        "saturated": f"{evidence['saturated']:.0%} of {layer}'s activations are saturated",
    }[name]
    sentence = f"{what}; it breaks at {layer}, because {cause}."
    confidence = 0.95 if lasting else 0.75
    return Verdict(name, layer, since, confidence, cause, evidence, sentence, REMEDIES[name])


REMEDIES = {
    "vanishing": [
        "activation=relu initializer=he_normal",
        "normalization=batch",
        "remedy=residual",
        "initializer=orthogonal",
    ],
    "exploding": ["initializer=he_normal", "normalization=batch", "clipping=global_norm"],
    "dead": ["initializer=he_normal", "activation=leaky_relu", "normalization=batch"],
    "saturated": ["initializer=glorot_uniform", "normalization=batch", "activation=relu initializer=he_normal"],
    "stalled": ["optimizer=adam optimizer.learning_rate=0.001", "optimizer.learning_rate=0.01"],
    "unstable": ["optimizer.learning_rate=0.0001", "schedule.warmup=0.1", "clipping=global_norm"],
}
