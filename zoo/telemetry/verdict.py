"""What a run's gradients amount to: name, place, evidence, cause, cures.

The rules (`RULES`, in the order in which they are asked) go from what is beyond doubt to what is left. Healthy is who
learned something that the best constant answer does not know; sick is whose profile is broken, along the depth or along
time, or whose loss leaps or stands still; who is neither yet is undecided, with what is missing. Every threshold is a
ratio: between layers, or to the loss of the best constant answer. None depends on the scale of the loss.
"""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from zoo.telemetry import wording as w
from zoo.telemetry.cures import Cure, cures_for
from zoo.telemetry.evidence import CERTAIN, CREPT, ENOUGH, RISEN, SKILLED, STILL, Contest, Depth, Loss
from zoo.telemetry.faults import FAILING, FORETOLD, Fault, fault_of, forgets
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probe import Probe

LASTING = 2  # epochs of the same evidence before a verdict is certain enough to stop for: some trainings recover
HUGE = 10.0  # first loss over the best constant's, of a training that stopped being a number
HEALED = 5.0  # how much more arrives, or varies, after an epoch than before it
OVERFLOW = 1e18  # an input beyond it leaves float32 when it is squared
MOVES = 0.1  # change of the layers' activations in an epoch, as a logarithm, that long steps make
FROZEN = 1e-3  # change of the layers' activations in an epoch, as a logarithm: the rate has fallen to nothing
INACTIVE = 0.1  # deviation of a latent unit between samples (Burda et al. 2015, section 5: a variance below 0.01)
CONTEST_FAINT = 0.05  # of the gradient that a network began with, where its opponent has won
RESTLESS = 0.15  # deviation of the late losses over the best constant's
NAMES = ("healthy", "vanishing", "exploding", "dead", "saturated", "stalled", "unstable", "undecided")
# How often words on such evidence were right on the labelled runs: the lower end of the 95 % interval (Wilson 1927) of
# what `benchmarks/verdicts.py` counts, on both halves; step 0 apart.
LASTED, CLEAR, SEEN, PASSING, FORETOLD_SO = 0.99, 0.96, 0.94, 0.91, 0.83
RATE = "the learning rate"
CONSTANT = "what the best constant answer costs"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with a training, where, and on what evidence.

    Attributes:
        name: one of `NAMES`; undecided where the evidence is too little to say healthy or sick.
        layer: the layer where it breaks; `None` where no layer is to blame.
        since: the optimizer step at which the evidence begins; 0 is before the first step.
        confidence: in [0, 1]: how often a word on such evidence is right (`benchmarks/verdicts.py`); from 0.95 on the
            verdict is certain enough to stop for. 0 where it is undecided.
        cause: what brings it about, in a few words.
        evidence: the numbers that it rests on.
        sentence: all of it for a reader; of an undecided one, what is missing.
        remedies: overrides of the command line to try, the most promising first.
        cures: the same, and more, as changes to one's own code.
    """

    name: str
    layer: str | None
    since: int
    confidence: float
    cause: str
    evidence: dict[str, float]
    sentence: str
    remedies: list[str] = dataclasses.field(default_factory=list)
    cures: list[Cure] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        """The word, the sentence, and below them what to try."""
        sure = f" (confidence {self.confidence:.2f})" if self.confidence else ""
        tries = [f"  try {cure.name}: {cure.change}. {cure.reason[:1].upper()}{cure.reason[1:]}" for cure in self.cures]
        return "\n".join([f"{self.name}: {self.sentence}{sure}", *tries])


def diagnose(
    history: GradientHistory | None = None,
    probes: Sequence[Probe] = (),
    losses: Sequence[float] = (),
    baseline: float | None = None,
) -> Verdict:
    """Judge a training, or from a single probe what training has to expect.

    Args:
        history: what `GradientNorms` recorded so far.
        probes: one before the first step, then one after each epoch, as far as there are any. They know from the labels
            what the best constant answer to their batch costs, and how many answers are right.
        losses: training loss of each epoch; used where the history holds no losses of its steps.
        baseline: loss of the best constant answer to the whole training set (of a classifier: the entropy of the
            labels in nats), in place of the probes' own; `None` if it is not known.

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
    case = _Case.of(history, probes, losses, baseline)
    return next(verdict for rule in RULES if (verdict := rule(case)) is not None)


@dataclasses.dataclass(frozen=True)
class _Case:
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
    def of(cls, history, probes, losses, baseline) -> "_Case":
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

    @property
    def first(self) -> Fault | None:
        """What broke the profile before the first step."""
        return fault_of(self.places[0], FAILING) if self.places else None

    @property
    def now(self) -> Fault | None:
        """What breaks the profile at the end."""
        return fault_of(self.places[-1], FAILING) if self.places else None

    @property
    def told(self) -> str:
        """What the loss has come to."""
        if np.isfinite(self.loss.share):
            return f"the loss is {w.number(self.loss.late)}, {w.of(self.loss.share, CONSTANT)}"
        return f"the loss is {w.number(self.loss.late)}"

    @property
    def epoch_end(self) -> int:
        """The step at which the first probe after training was made."""
        ends = self.history.epoch_ends if self.history is not None else ()
        return int(ends[0]) if len(ends) else self.steps

    def evidence(self) -> dict[str, float]:
        found = {"loss_over_constant": self.loss.share, "largest_rise": self.loss.rise}
        if self.probes:
            last = self.probes[-1]
            found |= {"accuracy": last.accuracy, "majority": last.majority, "r2": last.r2}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def cures(self, name: str, fault: Fault | None = None, *, began: bool = False) -> dict[str, list]:
        """Return `cures` and `remedies` of a verdict."""
        settings = [p.setting for p in self.probes if p.setting is not None]
        if self.history is not None and self.history.setting is not None:
            settings = settings or [self.history.setting]
        known = {"began": began, "rate": max((s.rate for s in settings), default=np.nan), "clipped": self._clipped()}
        if self.probes:
            known["largest_input"] = self.probes[0].batch.largest_input
        activations = self.places[0].activations[self.places[0].hidden] if self.places else []
        cures = cures_for(name, fault, settings[0] if settings else None, activations, **known)
        return {"cures": cures, "remedies": [cure.override for cure in cures if cure.override]}

    def _clipped(self) -> float:
        """Return the share of each step's gradient that clipping left, in the median."""
        if self.history is None or self.history.clip_norms is None:
            return 1.0
        before, after = self.history.clip_norms.T
        known = np.isfinite(before) & np.isfinite(after) & (before > 0)
        return float(np.median(after[known] / before[known])) if known.any() else 1.0


def _undecided(sentence: str, case: _Case, cause: str = "") -> Verdict:
    return Verdict("undecided", None, 0, 0.0, cause, case.evidence(), sentence)


def _nothing_recorded(case: _Case) -> Verdict | None:
    recorded = case.history is not None and len(case.history)
    if case.places or recorded or np.isfinite(case.loss.values).any():
        return None
    missing = next((p.missing for p in case.probes if p.missing), "no step was recorded, and no layer was probed.")
    return _undecided(f"nothing to judge by: {missing}", case)


def _input_not_finite(case: _Case) -> Verdict | None:
    """What is no number spreads to every layer: neither weights nor rate are to blame."""
    for p in case.probes[:1]:
        for share, what in ((p.batch.inputs_not_finite, "input"), (p.batch.targets_not_finite, "target")):
            if share:
                told = f"{w.share(share)} of the probe's {what} values are not finite numbers"
                return _bad_data(case, f"non-finite {what}", f"{told}, and they spread to the loss: mend the data.")
        if p.batch.largest_input > OVERFLOW:
            told = f"the input reaches {p.batch.largest_input:.1e}, which float32 cannot square"
            return _bad_data(case, "non-finite input", f"{told}: mend or scale the data.")
    return None


def _bad_data(case: _Case, cause: str, sentence: str) -> Verdict:
    what = cause.split()[-1]
    cure = Cure(
        "data", "np.isfinite(x).all(), and mend what is not", f"a {what} that is no number makes every weight none."
    )
    return Verdict("unstable", None, 0, LASTED, cause, case.evidence(), sentence, cures=[cure])


def _left_the_numbers(case: _Case) -> Verdict | None:
    """Judge a training whose loss, gradients or activations left the finite numbers."""
    norms = case.history.global_norm if case.history is not None and len(case.history) else np.zeros(0)
    values = case.loss.values
    ends = (values[-1:], norms[-1:], *((p.delta_norm, p.activation_rms) for p in case.places[-1:]))
    if all(np.isfinite(part).all() for end in ends for part in np.atleast_2d(end)):
        return None  # an overflow on the way, which loss scaling skipped, does no harm
    if case.first is not None and case.first.name != "vanishing":
        return _broken(case, case.first, case.places[0], since=0, lasting=True)
    if case.places and case.places[0].probe.loss > HUGE * case.loss.best_constant:
        fault = Fault("exploding", case.places[0].grows_at(), "the weights are too large", amount=case.places[0].growth)
        return _broken(case, fault, case.places[0], since=0, lasting=True)
    bad = np.flatnonzero(~np.isfinite(norms) if len(norms) else ~np.isfinite(values))
    step = int(bad[0]) if len(bad) else case.steps
    told = f"{'the loss' if not len(norms) else 'the gradient'} is not a finite number from step {step} on"
    evidence = case.evidence() | {"first_nonfinite_step": step}
    if step == 0 and case.places:
        sentence = f"{told}, though it was one on the probe's batch with the same weights: look at the first batch."
        return dataclasses.replace(_bad_data(case, "non-finite input", sentence), confidence=PASSING)
    if case.places:
        sentence = f"the profile was sound before the first step, but {told}: the learning rate is too large."
    else:
        sentence = f"{told}: the learning rate is too large, or the weights or the data are; a probe would tell."
    known = {"confidence": CLEAR if case.places else PASSING, "cause": RATE, "evidence": evidence, "sentence": sentence}
    return Verdict("unstable", None, step, **known, **case.cures("unstable", began=True))


def _before_training(case: _Case) -> Verdict | None:
    """Judge step 0 alone: can a gradient reach every layer?"""
    if case.steps and np.isfinite(case.loss.values).any():
        return None
    if not case.places:
        missing = next((p.missing for p in case.probes if p.missing), "no loss of a step was recorded.")
        return _undecided(f"nothing to judge by: {missing}", case)
    if (same := _same_data(case)) is not None and same.cause == "constant input":
        return same
    place = case.places[0]
    fault = fault_of(place, FORETOLD)
    if fault is not None:
        return _broken(case, fault, place, since=0, lasting=False)
    evidence = {"weakest_arriving": float(place.reaching.min())}
    sentence = (
        f"nothing stands in the way before the first step: {w.part(evidence['weakest_arriving'])} times the output's "
        f"gradient reaches the first layer. Whether it learns shows after {ENOUGH} steps or more."
    )
    if place.starts_at_zero:
        sentence = (
            "the output layer starts at zero, so that nothing passes it before its first step; nothing else stands in "
            f"the way. Whether it learns shows after {ENOUGH} steps or more."
        )
    return Verdict("undecided", None, 0, 0.0, "", evidence, sentence)


def _never_used(case: _Case) -> Verdict | None:
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
            sentence = (
                f"{name} got no gradient in any of {w.steps(len(history))}, while {siblings[0]} did: it is never used."
            )
            return Verdict("dead", name, 0, CLEAR, fault.cause, case.evidence(), sentence, **case.cures("dead", fault))
    return None


def _contest(case: _Case) -> Verdict | None:
    """Of two networks that train through each other no loss says what was learned: only whether one has won."""
    contest = Contest.of(case.probes)
    if contest is None or case.steps < ENOUGH:
        return None
    losses = " and ".join(w.number(loss) for loss in contest.losses[:, 1])
    if contest.winner is None:
        if case.places[-1].moved(case.places[0]) < STILL:
            return None
        sentence = f"the networks train through each other and neither has won: their losses are {losses}."
        return Verdict("healthy", None, 0, PASSING, "", case.evidence(), sentence)
    begun, ended = contest.deltas[contest.loser]
    layer, winner = contest.last[contest.loser], contest.last[contest.winner]
    faint = float(ended / begun) if begun > 0 else 0.0
    told = f"the network of {winner} has won over that of {layer}: their losses are {losses}"
    cause = "its opponent makes no mistakes that it could learn from"
    name = "vanishing" if faint < CONTEST_FAINT else "unstable"
    sentence = f"{told}, and {w.part(faint)} of the gradient that it began with reaches {layer}, because {cause}."
    fault = Fault("vanishing", layer, cause, "contest", faint)
    cures = case.cures("vanishing", fault)
    return Verdict(name, layer, case.epoch_end, SEEN, cause, case.evidence(), sentence, **cures)


def _has_no_bottom(case: _Case) -> Verdict | None:
    """A loss below zero where the best constant answer costs more than that: the labels do not fit it."""
    if not case.loss.share < -HUGE:
        return None  # a little below zero lie the losses of counts and of densities that fit
    sentence = (
        f"the loss is {w.number(case.loss.late)} where the best constant answer costs "
        f"{w.number(case.loss.best_constant)}: what falls below zero has no bottom, as when labels are beyond what the "
        "loss is made for."
    )
    return _undecided(sentence, case, "labels that do not fit the loss")


def _learned(case: _Case) -> Verdict | None:
    sound = case.first is None and case.now is None
    if not (case.loss.learned or (sound and case.loss.barely_learned)):
        return None
    last = case.probes[-1] if len(case.probes) > 1 else None
    told = ""
    if last is not None and np.isfinite(last.accuracy):
        right, commonest = w.share(last.accuracy), w.share(last.majority)
        told = f", and {right} of the probe's answers are right, where the commonest label is {commonest}"
    elif last is not None and last.r2 > 0:
        told = f", and R2 on the probe's batch is {last.r2:.2f}"
    confidence = LASTED if case.loss.learned else PASSING
    return Verdict("healthy", None, 0, confidence, "", case.evidence(), f"it learns: {case.told}{told}.")


def _same_data(case: _Case) -> Verdict | None:
    batch = case.probes[0].batch if case.probes else None
    if batch is None or batch.samples < 4 or (case.first is not None and case.first.along == "rows"):
        return None  # of one row of an embedding the cause is known
    if batch.same_input:
        sentence = (
            f"the input is the same for all {batch.samples} samples of the probe: nothing can tell them apart. Give it "
            "a batch with others, if there are any."
        )
        return _undecided(sentence, case, "constant input")
    if batch.same_target:
        sentence = (
            f"all {batch.samples} targets of the probe are the same: no answer beats the constant one. Give it a batch "
            "with others, if there are any."
        )
        return _undecided(sentence, case, "constant target")
    return None


def _broken_from_the_start(case: _Case) -> Verdict | None:
    fault = case.first
    if fault is None or _recovers(case) or _comes_down(case):
        return None
    return _softened(case, _broken(case, fault, case.places[0], since=0, lasting=case.lasting))


def _comes_down(case: _Case) -> bool:
    """Whether a loss that was far above falls, near to what it has to be; fast, or with answers better than chance."""
    loss = case.loss
    falls = (loss.plunges or loss.falls) and loss.skill > CERTAIN
    return (falls or loss.fell_in_an_epoch > HUGE) and not loss.share > HUGE


def _recovers(case: _Case) -> bool:
    """Whether a profile that was broken before the last epoch healed in it by much, while the loss kept still."""
    if len(case.places) < 2 or case.loss.rise > RISEN:
        return False
    before, now = case.places[-2], case.places[-1]
    was, fault = fault_of(before, FAILING), case.now
    if was is None or (fault is not None and fault.name != was.name):
        return False
    arriving = now.reaching.min() / max(before.reaching.min(), 1e-300)
    variation = np.nanmin(now.variation) / max(np.nanmin(before.variation), 1e-300)
    heals = (arriving > HEALED and now.reaching.min() > FAILING.faint / 10) or (
        variation > HEALED and np.nanmin(now.variation) > FAILING.blind
    )
    return bool(heals) and min(arriving, variation) > 1 / HEALED


def _rose(case: _Case) -> Verdict | None:
    """A loss that leaps although the profile was sound: the steps are too long."""
    loss, now = case.loss, case.now
    if now is not None and now.name in ("dead", "saturated") and loss.jumped:
        return _softened(case, _broken(case, now, case.places[-1], since=loss.risen_at, lasting=case.lasting))
    late = loss.values[-max(5, len(loss.values) // 4) :]
    restless = loss.by_step and case.steps >= ENOUGH and loss.share > 1.1 and not loss.falls
    restless = restless and np.std(late) > RESTLESS * loss.best_constant and len(case.places) > 1
    # Single batches differ by nature, of squared errors by much: it is the steps only where they move the layers.
    restless = restless and case.places[-1].moved(case.places[-2]) > MOVES
    leapt = loss.late > HUGE * max(loss.start, np.nan_to_num(loss.best_constant))
    if not (loss.rise > RISEN or loss.late > 1.5 * loss.before or leapt or restless):
        return None
    if _comes_down(case) or (loss.plunges and not case.lasting):
        return None
    if loss.rise > 1.5:
        measure = CONSTANT if loss.best_constant >= loss.start else "what it began with"
        told = f"the loss rose to {w.of(loss.rise, measure)}"
    else:
        told = f"the loss swings by {w.share(float(np.std(late)) / loss.late)} around {w.number(loss.late)}"
    if np.isfinite(loss.share):
        told += f" and is {w.of(loss.share, CONSTANT)}"
    sound = "the profile was sound before the first step, but " if case.places else ""
    sentence = f"{sound}{told}: the learning rate is too large."
    known = {"cause": RATE, "evidence": case.evidence(), "sentence": sentence}
    confidence = (CLEAR if case.lasting else SEEN) if case.places else PASSING
    since = int(np.nanargmax(loss.values))
    verdict = Verdict("unstable", None, since, confidence, **known, **case.cures("unstable", began=True))
    return _softened(case, verdict)


def _broken_since(case: _Case) -> Verdict | None:
    """A profile that training broke: units that died or saturated, or steps that were too long."""
    loss, now = case.loss, case.now
    if now is None or case.first is not None or case.steps < ENOUGH or loss.plunges or (loss.falls and loss.share < 1):
        return None
    if now.name in ("dead", "saturated"):
        lasting = len(case.places) > LASTING + 1
        return _softened(case, _broken(case, now, case.places[-1], since=case.epoch_end, lasting=lasting))
    if now.name == "exploding":
        return None  # what the weights did not bring from the start came with the steps: it would show in the loss
    sentence = (
        f"the profile was sound before the first step, but after {w.steps(case.steps)} {_what(now)}, at {now.layer}, "
        f"and {case.told}: the learning rate is too large."
    )
    known = {"cause": RATE, "evidence": case.evidence(), "sentence": sentence}
    verdict = Verdict("unstable", None, case.epoch_end, SEEN, **known, **case.cures("unstable", began=True))
    return _softened(case, verdict)


def _forgets(case: _Case) -> Verdict | None:
    """A recurrent layer without gates that has learned nothing, and whose first steps get no gradient."""
    if not case.places or case.steps < ENOUGH or case.loss.falls:
        return None
    for place, since in ((case.places[0], 0), (case.places[-1], case.epoch_end)):
        if (fault := forgets(place, steep=False)) is not None:
            return _softened(case, _broken(case, fault, place, since=since, lasting=case.lasting))
    return None


def _says_nothing(case: _Case) -> Verdict | None:
    """A latent space that has shrunk to a point while the answers are no better than the constant one."""
    if len(case.places) < 2 or case.steps < ENOUGH or not case.probes[-1].r2 < SKILLED:
        return None
    start, now = case.places[0], case.places[-1]
    deviation, before = (np.nan_to_num(place.activation_rms * place.variation) for place in (now, start))
    linear = np.array([not name for name in now.activations])
    linear[-1] = False
    shrunk = linear & (deviation < INACTIVE) & (deviation < before / 2)
    if not shrunk.any():
        return None
    layer = now.first(shrunk)
    cause = "what it says of the input has shrunk to nothing, as when a posterior collapses"
    fault = Fault("dead", layer, cause, "latent", float(deviation[now.layers.index(layer)]))
    return _softened(case, _broken(case, fault, now, since=case.epoch_end, lasting=case.lasting))


def _too_few_steps(case: _Case) -> Verdict | None:
    if case.steps >= ENOUGH or not case.loss.by_step:
        return None
    are = "is" if case.steps == 1 else "are"
    sentence = f"{w.steps(case.steps)} {are} too few to tell: {case.told}; at least {ENOUGH} steps are needed."
    return _undecided(sentence, case)


def _stands_still(case: _Case) -> Verdict | None:
    """Gradients arrive, and nothing changes: not the loss, not the activations of any layer."""
    if len(case.places) < 2:
        return None
    first, before, now = case.places[0], case.places[-2], case.places[-1]
    epochs = len(case.places) - 1
    moved = now.moved(first)
    frozen = epochs > 1 and now.moved(before) < FROZEN
    crept = now.moved(before) < STILL and moved < STILL * epochs**0.5 and case.loss.moved < max(0.05, CREPT * epochs)
    if not (frozen or crept):
        return None
    since = "in the last epoch" if frozen and not crept else f"in {w.steps(case.steps)}"
    changed = now.moved(before) if frozen and not crept else moved
    sentence = (
        f"gradients arrive everywhere, but {since} the layers' activations have changed by {w.share(changed)} of their "
        f"size, and {case.told}: the learning rate is too small for these gradients."
    )
    known = {"cause": RATE, "evidence": case.evidence(), "sentence": sentence}
    return Verdict("stalled", None, 0, CLEAR if case.lasting else SEEN, **known, **case.cures("stalled"))


def _falls_only(case: _Case) -> Verdict | None:
    if not (case.loss.falls or case.loss.fell):
        return None
    late = w.number(case.loss.late)
    if case.loss.late < case.loss.start:
        fell = f"the loss fell from {w.number(case.loss.start)} to {late} in {w.steps(case.steps)}"
    else:
        fell = f"the loss falls, and is {late} after {w.steps(case.steps)}"
    if np.isfinite(case.loss.share):
        sentence = (
            f"{fell}, but that is still {w.of(case.loss.share, CONSTANT)}: it has learned something once it is below."
        )
    else:
        sentence = f"{fell}, but {CONSTANT} is not known: give diagnose a probe with targets, or a baseline."
    return _undecided(sentence, case)


def _nothing_learned_yet(case: _Case) -> Verdict:
    if np.isfinite(case.loss.share):
        sentence = f"after {w.steps(case.steps)} {case.told}, and no layer is to blame: look whether x tells y at all."
    else:
        sentence = f"after {w.steps(case.steps)} {case.told}; {CONSTANT} is not known: give a probe or a baseline."
    return _undecided(sentence, case)


RULES = (
    _nothing_recorded,
    _input_not_finite,
    _left_the_numbers,
    _before_training,
    _never_used,
    _has_no_bottom,
    _learned,
    _same_data,
    _contest,
    _says_nothing,
    _broken_from_the_start,
    _rose,
    _broken_since,
    _forgets,
    _too_few_steps,
    _stands_still,
    _falls_only,
    _nothing_learned_yet,
)


def _softened(case: _Case, verdict: Verdict) -> Verdict:
    """What comes down from somewhere, or still changes along the depth, may recover: wait and see."""
    falls = case.loss.drop > 0.1 * abs(case.loss.late)
    changes = len(case.places) > 1 and case.places[-1].changed(case.places[-2]) > np.log(1.2)
    return dataclasses.replace(verdict, confidence=min(verdict.confidence, PASSING)) if falls or changes else verdict


def _broken(case: _Case, fault: Fault, place: Depth, *, since: int, lasting: bool) -> Verdict:
    index = place.layers.index(fault.layer) if fault.layer in place.layers else 0
    evidence = {
        "weakest_arriving": float(np.nanmin(place.reaching)),
        "growth": place.growth,
        "decades_a_layer": place.slope,
        "variation": float(place.variation[index]),
        "dead": float(place.dead[index]),
        "saturated": float(place.saturated[index]),
    }
    evidence = case.evidence() | {name: value for name, value in evidence.items() if np.isfinite(value)}
    where = {"time": f"along time, in {fault.layer}", "loss": "behind the last layer"}.get(
        fault.along, f"at {fault.layer}"
    )
    sentence = f"{_what(fault)}; it breaks {where}, because {fault.cause}."
    confidence = LASTED if lasting else SEEN if case.steps else FORETOLD_SO
    cures = case.cures(fault.name, fault, began=since > 0)
    return Verdict(fault.name, fault.layer, since, confidence, fault.cause, evidence, sentence, **cures)


def _what(fault: Fault) -> str:
    """What a reader can see of it, in numbers."""
    if fault.along == "time":
        if fault.name == "vanishing":
            return f"{w.part(fault.amount)} of the gradient reaches the first time step"
        return f"on its way back to the first time step the gradient grows {w.fold(fault.amount)}"
    if fault.along == "loss":
        return "every activation is finite, but the loss has no finite gradient there"
    if fault.along == "latent":
        return f"{fault.layer} differs between samples by {w.part(fault.amount)}, where the prior's deviation is 1"
    if fault.along == "samples":
        return f"activations differ between samples by {w.part(fault.amount)} of their size"
    if fault.name == "vanishing":
        return f"{w.part(fault.amount)} of the output's gradient reaches the weakest layer"
    if fault.name == "exploding":
        grown = w.fold(fault.amount) if np.isfinite(fault.amount) else "beyond the finite numbers"
        return f"along the depth the signal grows {grown}"
    if fault.along == "rows":
        return f"the rows of {fault.layer} are never used but for one"
    if fault.name == "dead":
        return f"{w.share(fault.amount)} of {fault.layer}'s units are zero for every sample"
    return f"{w.share(fault.amount)} of {fault.layer}'s activations are saturated"
