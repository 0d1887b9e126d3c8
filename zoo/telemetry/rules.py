"""The rules of the verdict on data and loss: what was recorded, what is odd about it, what was learned."""

import dataclasses

import numpy as np

from zoo.telemetry import wording as w
from zoo.telemetry.case import (
    CLEAR,
    LASTED,
    PASSING,
    SEEN,
    Case,
    broken,
    overshoots,
    undecided,
)
from zoo.telemetry.evidence import CREPT, ENOUGH, LEARNED, STILL, Contest
from zoo.telemetry.faults import FORETOLD, Fault, fault_of
from zoo.telemetry.findings import Cure, Verdict
from zoo.telemetry.language import say

# Chosen, with the rules, on the tuning half of benchmarks/verdicts.py, but for what names its own reason.
HUGE = 10.0  # first loss over the best constant's, of a training that stopped being a number
OVERFLOW = 1e18  # an input beyond it leaves float32, which ends at 3e38, when it is squared (as in `zoo.data.check`)
FROZEN = 1e-3  # change of the layers' activations in an epoch, as a logarithm: the rate has fallen to nothing
HARDLY = 0.05  # change of the loss in a whole training, over the best constant's: nothing to speak of
CONTEST_FAINT = 0.05  # of the gradient that a network began with, where its opponent has won
FEW_SAMPLES = 4  # so few may be alike by chance
TOLD = 0.005  # R2 that two digits do not round to 0


def nothing_recorded(case: Case) -> Verdict | None:
    """Neither a loss nor a layer: say what is missing."""
    recorded = case.history is not None and len(case.history)
    if case.places or recorded or np.isfinite(case.loss.values).any():
        return None
    missing = next((p.missing for p in case.probes if p.missing), "")
    missing = missing or say("no step was recorded, and no layer was probed.")
    return undecided(say("nothing to judge by: {missing}", missing=missing), case)


def input_not_finite(case: Case) -> Verdict | None:
    """What is no number spreads to every layer: neither weights nor rate are to blame."""
    for p in case.probes[:1]:
        for share, what in ((p.batch.inputs_not_finite, "input"), (p.batch.targets_not_finite, "target")):
            if share:
                told = say(
                    "{share} of the probe's {what} values are not finite numbers", share=w.share(share), what=say(what)
                )
                return bad_data(case, what, say("{told}, and they spread to the loss: mend the data.", told=told))
        if p.batch.largest_input > OVERFLOW:
            told = say("the input reaches {largest:.1e}, which float32 cannot square", largest=p.batch.largest_input)
            return bad_data(case, "input", say("{told}: mend or scale the data.", told=told))
    return None


def bad_data(case: Case, what: str, sentence: str) -> Verdict:
    """Return the verdict on data that are no numbers."""
    cure = Cure(
        "data",
        "np.isfinite(x).all(), and mend what is not",
        say("a {what} that is no number makes every weight none.", what=say(what)),
    )
    return Verdict("unstable", None, 0, LASTED, "data", case.evidence(), sentence, cures=[cure])


def left_the_numbers(case: Case) -> Verdict | None:
    """Judge a training whose loss, gradients or activations left the finite numbers."""
    norms = case.history.global_norm if case.history is not None and len(case.history) else np.zeros(0)
    values = case.loss.values
    ends = (values[-1:], norms[-1:], *((p.delta_norm, p.activation_rms) for p in case.places[-1:]))
    if all(np.isfinite(part).all() for end in ends for part in np.atleast_2d(end)):
        return None  # an overflow on the way, which loss scaling skipped, does no harm
    if case.first is not None and case.first.name != "vanishing":
        return broken(case, case.first, case.places[0], since=0, lasting=True)
    if case.places and case.places[0].probe.loss > HUGE * case.loss.best_constant:
        fault = Fault(
            "exploding", case.places[0].grows_at(), say("the weights are too large"), amount=case.places[0].growth
        )
        return broken(case, fault, case.places[0], since=0, lasting=True)
    bad = np.flatnonzero(~np.isfinite(norms) if len(norms) else ~np.isfinite(values))
    step = int(bad[0]) if len(bad) else case.steps
    told = say(
        "the gradient is not a finite number from step {step} on"
        if len(norms)
        else "the loss is not a finite number from step {step} on",
        step=step,
    )
    if step == 0 and case.places:
        sentence = say(
            "{told}, though it was one on the probe's batch with the same weights: look at the first batch.", told=told
        )
        return dataclasses.replace(bad_data(case, "input", sentence), confidence=PASSING)
    doubt = "" if case.places else say(", or the weights or the data are; a probe would tell")
    confidence = CLEAR if case.places else PASSING
    found = overshoots(case, told, since=step, confidence=confidence, doubt=doubt)
    return dataclasses.replace(found, evidence=found.evidence | {"first_nonfinite_step": step})


def before_training(case: Case) -> Verdict | None:
    """Judge step 0 alone: can a gradient reach every layer?"""
    if case.steps and np.isfinite(case.loss.values).any():
        return None
    if not case.places:
        missing = next((p.missing for p in case.probes if p.missing), "")
        missing = missing or say("no loss of a step was recorded.")
        return undecided(say("nothing to judge by: {missing}", missing=missing), case)
    if (same := same_data(case)) is not None and same.cause == "inputs":
        return same
    place = case.places[0]
    fault = fault_of(place, FORETOLD)
    if fault is not None:
        return broken(case, fault, place, since=0, lasting=False)
    evidence = {"weakest_arriving": float(place.reaching.min())}
    sentence = say(
        "nothing stands in the way before the first step: {arriving} times the output's gradient reaches the first "
        "layer. Whether it learns shows after {enough} steps or more.",
        arriving=w.part(evidence["weakest_arriving"]),
        enough=ENOUGH,
    )
    if place.starts_at_zero:
        sentence = say(
            "the output layer starts at zero, so that nothing passes it before its first step; nothing else stands in "
            "the way. Whether it learns shows after {enough} steps or more.",
            enough=ENOUGH,
        )
    return Verdict("undecided", evidence=evidence, sentence=sentence)


def never_used(case: Case) -> Verdict | None:
    """A layer that got no gradient in any step while one of its kind did: an expert that is never chosen."""
    history = case.history
    if history is None or len(history) < ENOUGH or not case.probes:
        return None
    trained = set(case.probes[-1].layers)
    never = [name for name, column in zip(history.layers, history.norms.T, strict=True) if not column.any()]
    stems = {name: name.rstrip("0123456789") for name in history.layers}
    for name in never:
        siblings = [n for n in history.layers if stems[n] == stems[name] and n not in never]
        index = history.layers.index(name)
        if name in trained and siblings and history.norms[:, :index].any():
            fault = Fault("dead", name, "it is never used", "use", 1.0)
            sentence = say(
                "{name} got no gradient in any of {steps}, while {sibling} did: it is never used.",
                name=name,
                steps=w.steps(len(history)),
                sibling=siblings[0],
            )
            evidence = case.evidence()
            return Verdict("dead", name, 0, CLEAR, evidence=evidence, sentence=sentence, **case.cures("dead", fault))
    return None


def contest(case: Case) -> Verdict | None:
    """Of two networks that train through each other no loss says what was learned: only whether one has won."""
    contest = Contest.of(case.probes)
    if contest is None or case.steps < ENOUGH:
        return None
    losses = w.listed(w.number(loss) for loss in contest.losses[:, 1])
    if contest.winner is None:
        if case.places[-1].moved(case.places[0]) < STILL:
            return None
        sentence = say(
            "the networks train through each other and neither has won: their losses are {losses}.", losses=losses
        )
        return Verdict("healthy", None, 0, PASSING, "", case.evidence(), sentence)
    begun, ended = contest.deltas[contest.loser]
    layer, winner = contest.last[contest.loser], contest.last[contest.winner]
    faint = float(ended / begun) if begun > 0 else 0.0
    told = say(
        "the network of {winner} has won over that of {layer}: their losses are {losses}",
        winner=winner,
        layer=layer,
        losses=losses,
    )
    cause = say("its opponent makes no mistakes that it could learn from")
    name = "vanishing" if faint < CONTEST_FAINT else "unstable"
    sentence = say(
        "{told}, and {faint} of the gradient that it began with reaches {layer}, because {cause}.",
        told=told,
        faint=w.part(faint),
        layer=layer,
        cause=cause,
    )
    fault = Fault("vanishing", layer, cause, "contest", faint)
    cures = case.cures("vanishing", fault)
    return Verdict(name, layer, case.epoch_end, SEEN, evidence=case.evidence(), sentence=sentence, **cures)


def has_no_bottom(case: Case) -> Verdict | None:
    """A loss below zero where the best constant answer costs more than that: the labels do not fit it."""
    if not case.probes or not case.loss.share < -HUGE:
        return None  # a little below zero lie the losses of counts that fit
    answers = case.probes[-1].answers
    if np.isnan(answers.accuracy) and np.isnan(answers.r2):
        return None  # far below zero lie those of densities
    sentence = say(
        "the loss is {late} where the best constant answer costs {constant}: what falls below zero has no bottom, as "
        "when labels are beyond what the loss is made for.",
        late=w.number(case.loss.late),
        constant=w.number(case.loss.best_constant),
    )
    return undecided(sentence, case, "labels")


def learned(case: Case) -> Verdict | None:
    """The loss is surely below what the best constant answer costs, or the answers are better than that one."""
    sound = case.first is None and case.now is None
    last = case.probes[-1] if len(case.probes) > 1 else None
    # A loss falls a little where only the shares of the classes are learned: then the answers are no better.
    worse = last is not None and last.accuracy < last.majority
    if not (case.loss.learned or (sound and case.loss.barely_learned and not worse)):
        return None
    beside = ""
    if last is not None and np.isfinite(last.accuracy):
        right, commonest = w.share(last.accuracy), w.share(last.majority)
        beside = say(
            ", and {right} of the probe's answers are right, where the commonest label is {commonest}",
            right=right,
            commonest=commonest,
        )
    elif last is not None and last.r2 > TOLD:
        beside = say(", and R2 on the probe's batch is {r2:.2f}", r2=last.r2)
    confidence = LASTED if case.loss.learned else PASSING
    sentence = say("it learns: {told}{beside}.", told=case.told, beside=beside)
    return Verdict("healthy", None, 0, confidence, "", case.evidence(), sentence)


def same_data(case: Case) -> Verdict | None:
    """A batch that nobody could learn from."""
    batch = case.probes[0].batch if case.probes else None
    if batch is None or batch.samples < FEW_SAMPLES or (case.first is not None and case.first.along == "rows"):
        return None  # of one row of an embedding the cause is known
    if batch.same_input:
        sentence = say(
            "the input is the same for all {samples} samples of the probe: nothing can tell them apart. Give it a "
            "batch with others, if there are any.",
            samples=batch.samples,
        )
        return undecided(sentence, case, "inputs")
    if batch.same_target:
        sentence = say(
            "all {samples} targets of the probe are the same: no answer beats the constant one. Give it a batch with "
            "others, if there are any.",
            samples=batch.samples,
        )
        return undecided(sentence, case, "labels")
    return None


def too_few_steps(case: Case) -> Verdict | None:
    """Nothing is wrong, and nothing can be told yet."""
    if case.steps >= ENOUGH or not case.loss.by_step:
        return None
    sentence = say(
        "{steps} is too few to tell: {told}; at least {enough} steps are needed."
        if case.steps == 1
        else "{steps} are too few to tell: {told}; at least {enough} steps are needed.",
        steps=w.steps(case.steps),
        told=case.told,
        enough=ENOUGH,
    )
    return undecided(sentence, case)


def stands_still(case: Case) -> Verdict | None:
    """Gradients arrive, and nothing changes: not the loss, not the activations of any layer."""
    if len(case.places) < 2:
        return None
    first, before, now = case.places[0], case.places[-2], case.places[-1]
    epochs = len(case.places) - 1
    moved = now.moved(first)
    frozen = epochs > 1 and now.moved(before) < FROZEN
    # What only wanders goes as far as the root of the time.
    crept = now.moved(before) < STILL and moved < STILL * epochs**0.5 and case.loss.moved < max(HARDLY, CREPT * epochs)
    rates = [p.setting.rate for p in case.probes[-2:] if p.setting is not None]
    warms = len(rates) == 2 and rates[1] > rates[0]
    if not (frozen or (crept and not case.loss.creeps)) or warms or case.arrived:
        return None
    since = say("in the last epoch" if frozen and not crept else "in {steps}", steps=w.steps(case.steps))
    changed = now.moved(before) if frozen and not crept else moved
    sentence = say(
        "gradients arrive everywhere, but {since} the layers' activations have changed by {changed} of their size, "
        "and {told}: the learning rate is too small for these gradients.",
        since=since,
        changed=w.share(changed),
        told=case.told,
    )
    confidence = CLEAR if case.lasting else SEEN
    return Verdict("stalled", None, 0, confidence, evidence=case.evidence(), sentence=sentence, **case.cures("stalled"))


def falls_only(case: Case) -> Verdict | None:
    """A loss that comes down, from wherever it began: say from where on that tells something."""
    if not (case.loss.falls or case.loss.fell):
        return None
    late = w.number(case.loss.judged)
    if late == w.number(case.loss.start):
        fell = say("the loss has hardly moved from {late} in {steps}", late=late, steps=w.steps(case.steps))
    elif case.loss.judged < case.loss.start:
        fell = say(
            "the loss fell from {start} to {late} in {steps}",
            start=w.number(case.loss.start),
            late=late,
            steps=w.steps(case.steps),
        )
    else:
        fell = say("the loss falls, and is {late} after {steps}", late=late, steps=w.steps(case.steps))
    if case.loss.share < 1:
        sentence = say(
            "{fell}, only just below what the best constant answer costs, {constant}: that may be chance.",
            fell=fell,
            constant=w.number(case.loss.best_constant),
        )
    elif np.isfinite(case.loss.best_constant):
        sentence = say(
            "{fell}, but that is still {share}: it has learned something once it is below."
            if case.loss.share >= 1
            else "{fell}, but that is still not well below what the best constant answer costs: it has learned "
            "something once it is below.",
            fell=fell,
            share=w.of(case.loss.share, w.constant()),
        )
    else:
        sentence = say(
            "{fell}, but what the best constant answer costs is not known: give diagnose a probe with targets, or a "
            "baseline.",
            fell=fell,
        )
    return undecided(sentence, case)


def mistaken(case: Case) -> Verdict | None:
    """A loss that says something was learned, and answers that say the opposite: output and loss do not fit."""
    if not (case.loss.mistaken and case.loss.share < LEARNED):
        return None
    last = case.probes[-1]
    sentence = say(
        "{told}, but {accuracy} of the probe's answers are right where the commonest label is {majority}: look "
        "whether the output fits the loss, and the labels the output.",
        told=case.told,
        accuracy=w.share(last.accuracy),
        majority=w.share(last.majority),
    )
    return undecided(sentence, case, "output")


def nothing_learned_yet(case: Case) -> Verdict:
    """What is left when no rule says more."""
    if np.isfinite(case.loss.share):
        sentence = say(
            "after {steps} {told}, and no layer is to blame: look whether x tells y at all.",
            steps=w.steps(case.steps),
            told=case.told,
        )
    else:
        sentence = say(
            "after {steps} {told}; what the best constant answer costs is not known: give a probe or a baseline.",
            steps=w.steps(case.steps),
            told=case.told,
        )
    return undecided(sentence, case)
