"""What a verdict is made from: everything that is known of a training, in one place for all rules."""

import dataclasses
import functools
from typing import Any

import numpy as np

from zoo.telemetry import wording as w
from zoo.telemetry.causes import cause_of
from zoo.telemetry.cures import cures_for
from zoo.telemetry.evidence import FELL, Depth, Loss
from zoo.telemetry.faults import FAILING, Fault, fault_of
from zoo.telemetry.findings import Verdict
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.language import say
from zoo.telemetry.probe import Probe

LASTING = 2  # epochs of the same evidence before a verdict is certain enough to stop for: some trainings recover
NAMES = ("healthy", "vanishing", "exploding", "dead", "saturated", "stalled", "unstable", "undecided")
# How often words on such evidence were right on the labelled runs: the lower end of the 95 % interval (Wilson 1927) of
# what `benchmarks/verdicts.py` counts, on both halves; step 0 apart.
LASTED, CLEAR, SEEN, PASSING, FORETOLD_SO = 0.99, 0.96, 0.94, 0.91, 0.83
RESTS = 1.2  # times as much arrives, or varies, as an epoch ago: less has ceased to change (tuning half)
ARRIVED = 0.01  # of the first steps' gradient: with less a training has come to rest


@dataclasses.dataclass(frozen=True)
class Case:
    """All that is judged.

    Attributes:
        history, probes: as given.
        loss: over time.
        places: the probes along the depth, those that have layers to judge.
    """

    history: GradientHistory | None
    probes: list[Probe]
    loss: Loss
    places: list[Depth]

    @classmethod
    def of(cls, history, probes, losses, baseline) -> "Case":
        places = [place for place in map(Depth, probes) if place.layers]
        if places:  # of others that were frozen or set free since, only the last
            places = [place for place in places if place.layers == places[-1].layers]
        return cls(history, list(probes), Loss.of(history, probes, losses, baseline), places)

    @property
    def steps(self) -> int:
        return self.loss.steps

    @property
    def lasting(self) -> bool:
        return len(self.places) > LASTING

    @functools.cached_property
    def first(self) -> Fault | None:
        """What broke the profile before the first step."""
        return fault_of(self.places[0], FAILING) if self.places else None

    @functools.cached_property
    def now(self) -> Fault | None:
        """What breaks the profile at the end."""
        return fault_of(self.places[-1], FAILING) if self.places else None

    @property
    def arrived(self) -> bool:
        """Whether nearly nothing is left of the gradient that the training began with: it is where it wanted to go."""
        norms = self.history.global_norm if self.history is not None else np.zeros(0)
        norms = norms[np.isfinite(norms)]
        few = max(1, len(norms) // 10)
        return len(norms) > few and bool(np.median(norms[-few:]) < ARRIVED * np.median(norms[:few]))

    @property
    def told(self) -> str:
        """What the loss has come to."""
        loss = say("the loss is {loss}", loss=w.number(self.loss.judged))
        if np.isfinite(self.loss.best_constant) and not self.loss.share >= 0:
            return say(
                "{loss}, and what the best constant answer costs is {constant}",
                loss=loss,
                constant=w.number(self.loss.best_constant),
            )
        if not np.isfinite(self.loss.share):
            return loss
        return say("{loss}, {share}", loss=loss, share=w.of(self.loss.share, w.constant()))

    @property
    def epoch_end(self) -> int:
        """The step at which the first probe after training was made."""
        if self.history is None or not len(self.history.epoch_ends):
            return self.steps
        return int(self.history.epoch_ends[0])

    def evidence(self) -> dict[str, float]:
        found = {"loss_over_constant": self.loss.share, "largest_rise": self.loss.rise}
        if self.probes:
            last = self.probes[-1]
            found |= {"accuracy": last.accuracy, "majority": last.majority, "r2": last.r2}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def cures(self, name: str, fault: Fault | None = None, *, began: bool = False) -> dict[str, Any]:
        """Return `cause`, `cures` and `remedies` of a verdict."""
        settings = [p.setting for p in self.probes if p.setting is not None]
        if self.history is not None and self.history.setting is not None:
            settings = settings or [self.history.setting]
        known = {"began": began, "rate": max((s.rate for s in settings), default=np.nan)}
        known["clipped"] = self.history.left_by_clipping if self.history is not None else 1.0
        if self.probes:
            known["largest_input"] = self.probes[0].batch.largest_input
        activations = self.places[0].activations[self.places[0].hidden] if self.places else []
        cures = cures_for(name, fault, settings[0] if settings else None, activations, **known)
        cause = cause_of(name, fault, settings[0] if settings else None, activations, **known)
        return {"cause": cause, "cures": cures, "remedies": [cure.override for cure in cures if cure.override]}


def undecided(sentence: str, case: Case, cause: str = "") -> Verdict:
    """Return the verdict that says what is missing."""
    return Verdict("undecided", cause=cause, evidence=case.evidence(), sentence=sentence)


def broken(case: Case, fault: Fault, place: Depth, *, since: int, lasting: bool) -> Verdict:
    """Return the verdict on a broken profile."""
    index = place.layers.index(fault.layer) if fault.layer in place.layers else 0
    evidence = {
        "weakest_arriving": float(np.nanmin(place.reaching)) if not np.isnan(place.reaching).all() else np.nan,
        "growth": place.growth,
        "decades_a_layer": place.slope,
        "variation": float(place.variation[index]),
        "dead": float(place.dead[index]),
        "saturated": float(place.saturated[index]),
    }
    evidence = case.evidence() | {name: value for name, value in evidence.items() if np.isfinite(value)}
    if fault.along == "loss":
        where = say("behind the last layer")
    else:
        where = say("along time, in {layer}" if fault.along == "time" else "at {layer}", layer=fault.layer)
    sentence = say(
        "before the first step {told}; it breaks {where}, because {because}."
        if since == 0 and case.steps
        else "{told}; it breaks {where}, because {because}.",
        told=told_of(fault),
        where=where,
        because=fault.because,
    )
    confidence = LASTED if lasting else SEEN if case.steps else FORETOLD_SO
    cures = case.cures(fault.name, fault, began=since > 0)
    return Verdict(fault.name, fault.layer, since, confidence, evidence=evidence, sentence=sentence, **cures)


def overshoots(case: Case, told: str, *, since: int, confidence: float, doubt: str = "") -> Verdict:
    """Return the verdict on a rate that is too large.

    Args:
        told: what was seen, in words.
        doubt: ends the sentence, where it may be something else.
    """
    sentence = say(
        "the profile was sound before the first step, but {told}: the learning rate is too large{doubt}."
        if case.places
        else "{told}: the learning rate is too large{doubt}.",
        told=told,
        doubt=doubt,
    )
    cures = case.cures("unstable", began=True)
    return Verdict("unstable", None, since, confidence, evidence=case.evidence(), sentence=sentence, **cures)


def softened(case: Case, verdict: Verdict) -> Verdict:
    """What comes down from somewhere, or still changes along the depth, may recover: wait and see."""
    falls = case.loss.drop > FELL * abs(case.loss.late)
    changes = len(case.places) > 1 and case.places[-1].changed(case.places[-2]) > np.log(RESTS)
    return dataclasses.replace(verdict, confidence=min(verdict.confidence, PASSING)) if falls or changes else verdict


def told_of(fault: Fault) -> str:
    """What a reader can see of it, in numbers."""
    if fault.along == "time":
        if fault.name == "vanishing":
            return say("{amount} of the gradient reaches the first time step", amount=w.part(fault.amount))
        return say("on its way back to the first time step the gradient grows {amount}", amount=w.fold(fault.amount))
    if fault.along == "loss":
        return say("every activation is finite, but the loss has no finite gradient there")
    if fault.along == "latent":
        return say(
            "{layer} differs between samples by {amount}, where the prior's deviation is 1",
            layer=fault.layer,
            amount=w.part(fault.amount),
        )
    if fault.along == "samples":
        return say("activations differ between samples by {amount} of their size", amount=w.part(fault.amount))
    if fault.name == "vanishing":
        return say("{amount} of the output's gradient reaches the weakest layer", amount=w.part(fault.amount))
    if fault.name == "exploding":
        grown = w.fold(fault.amount) if np.isfinite(fault.amount) else say("beyond the finite numbers")
        return say("along the depth the signal grows {grown}", grown=grown)
    if fault.along == "rows":
        return say("the rows of {layer} are never used but for one", layer=fault.layer)
    if fault.name == "dead":
        return say(
            "{amount} of {layer}'s units are zero for every sample", amount=w.share(fault.amount), layer=fault.layer
        )
    return say("{amount} of {layer}'s activations are saturated", amount=w.share(fault.amount), layer=fault.layer)
