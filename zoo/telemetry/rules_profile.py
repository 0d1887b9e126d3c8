"""The rules of the verdict on the profile: broken from the start, or by training, along the depth or along time."""

import numpy as np

from zoo.telemetry import wording as w
from zoo.telemetry.case import (
    CLEAR,
    LASTING,
    PASSING,
    SEEN,
    Case,
    broken,
    overshoots,
    softened,
    told_of,
)
from zoo.telemetry.evidence import CERTAIN, ENOUGH, RISEN, SKILLED, TINY
from zoo.telemetry.faults import FAILING, Fault, fault_of, forgets
from zoo.telemetry.findings import Verdict
from zoo.telemetry.language import say
from zoo.telemetry.rules import HUGE

# Chosen, with the rules, on the tuning half of benchmarks/verdicts.py, but for what names its own reason.
HEALED = 5.0  # how much more arrives, or varies, after an epoch than before it
ALMOST = 0.1  # of what has to arrive: a profile that healed so far goes on healing
MOVES = 0.1  # change of the layers' activations in an epoch, as a logarithm, that long steps make
INACTIVE = 0.1  # deviation of a latent unit between samples (Burda et al. 2015, section 5: a variance below 0.01)
SHRUNK = 0.5  # of that deviation before training: what began small has not shrunk
RESTLESS = 0.15  # deviation of the late losses over their median
ABOVE = 1.1  # times the best constant's loss: surely above it, where the loss swings
HIGH = 1.5  # times what a rise is measured by: a late loss that is not where it began


def broken_from_the_start(case: Case) -> Verdict | None:
    """A profile that was broken before the first step, and has not healed."""
    fault = case.first
    if fault is None or recovers(case) or comes_down(case):
        return None
    return softened(case, broken(case, fault, case.places[0], since=0, lasting=case.lasting))


def comes_down(case: Case) -> bool:
    """Whether a loss that was far above falls, near to what it has to be; fast, or with answers better than chance."""
    loss = case.loss
    falls = (loss.plunges or loss.falls) and loss.skill > CERTAIN
    return (falls or loss.fell_in_an_epoch > HUGE) and not loss.share > HUGE


def recovers(case: Case) -> bool:
    """Whether a profile that was broken before the last epoch healed in it by much, while the loss kept still."""
    if len(case.places) < 2 or case.loss.rise > RISEN:
        return False
    before, now = case.places[-2], case.places[-1]
    was, fault = fault_of(before, FAILING), case.now
    if was is None or (fault is not None and fault.name != was.name):
        return False
    arriving = now.reaching.min() / max(before.reaching.min(), TINY)
    variation = np.nanmin(now.variation) / max(np.nanmin(before.variation), TINY)
    heals = (arriving > HEALED and now.reaching.min() > ALMOST * FAILING.faint) or (
        variation > HEALED and np.nanmin(now.variation) > FAILING.blind
    )
    return bool(heals) and min(arriving, variation) > 1 / HEALED


def says_nothing(case: Case) -> Verdict | None:
    """A latent space that has shrunk to a point while the answers are no better than the constant one."""
    if len(case.places) < 2 or case.steps < ENOUGH or not case.probes[-1].r2 < SKILLED:
        return None
    start, now = case.places[0], case.places[-1]
    deviation, before = (np.nan_to_num(place.activation_rms * place.variation) for place in (now, start))
    linear = np.array([not name for name in now.activations])
    linear[-1] = False
    shrunk = linear & (deviation < INACTIVE) & (deviation < SHRUNK * before)
    if not shrunk.any():
        return None
    layer = now.first(shrunk)
    cause = say("what it says of the input has shrunk to nothing, as when a posterior collapses")
    fault = Fault("dead", layer, cause, "latent", float(deviation[now.layers.index(layer)]))
    return softened(case, broken(case, fault, now, since=case.epoch_end, lasting=case.lasting))


def rose(case: Case) -> Verdict | None:
    """A loss that leaps although the profile was sound: the steps are too long."""
    loss, now = case.loss, case.now
    if now is not None and now.name in ("dead", "saturated") and (step := loss.jumped_at) is not None:
        return softened(case, broken(case, now, case.places[-1], since=step, lasting=case.lasting))
    late = loss.last_quarter
    restless = loss.by_step and case.steps >= ENOUGH and loss.share > ABOVE and not loss.falls
    restless = restless and np.std(late) > RESTLESS * loss.late and len(case.places) > 1
    # Single batches differ by nature, of squared errors by much: it is the steps only where they move the layers.
    restless = restless and case.places[-1].moved(case.places[-2]) > MOVES
    leapt = loss.late > HUGE * max(loss.start, np.nan_to_num(loss.best_constant))
    # Single batches may cost much, as where rare classes weigh more; without a probe nothing tells that from a leap.
    leaps = loss.rise > RISEN and case.places
    high = loss.late > (HIGH if case.places else RISEN) * loss.before and not loss.same_on_the_probe
    if not (leaps or high or leapt or restless):
        return None
    if comes_down(case) or (loss.plunges and not case.lasting):
        return None
    if loss.rise > HIGH:
        measure = w.constant() if loss.best_constant >= loss.start else say("what it began with")
        told = say("the loss rose to {rise}", rise=w.of(loss.rise, measure))
    else:
        told = say(
            "the loss swings by {swing} around {late}",
            swing=w.share(float(np.std(late)) / loss.late),
            late=w.number(loss.late),
        )
    if np.isfinite(loss.share):
        told = say("{told} and is {share}", told=told, share=w.of(loss.share, w.constant()))
    confidence = (CLEAR if case.lasting else SEEN) if case.places else PASSING
    return softened(case, overshoots(case, told, since=int(np.nanargmax(loss.values)), confidence=confidence))


def broken_since(case: Case) -> Verdict | None:
    """A profile that training broke: units that died or saturated, or steps that were too long."""
    loss, now = case.loss, case.now
    if now is None or case.first is not None or case.steps < ENOUGH or loss.plunges or (loss.falls and loss.share < 1):
        return None
    if now.name in ("dead", "saturated"):
        lasting = len(case.places) > LASTING + 1
        return softened(case, broken(case, now, case.places[-1], since=case.epoch_end, lasting=lasting))
    if now.name == "exploding":
        return None  # what the weights did not bring from the start came with the steps: it would show in the loss
    told = say(
        "after {steps} {broken}, at {layer}, and {told}",
        steps=w.steps(case.steps),
        broken=told_of(now),
        layer=now.layer,
        told=case.told,
    )
    return softened(case, overshoots(case, told, since=case.epoch_end, confidence=SEEN))


def forgets_in_time(case: Case) -> Verdict | None:
    """A recurrent layer without gates that has learned nothing, and whose first steps get no gradient."""
    if not case.places or case.steps < ENOUGH or case.loss.falls:
        return None
    for place, since in ((case.places[0], 0), (case.places[-1], case.epoch_end)):
        if (fault := forgets(place, steep=False)) is not None:
            return softened(case, broken(case, fault, place, since=since, lasting=case.lasting))
    return None
