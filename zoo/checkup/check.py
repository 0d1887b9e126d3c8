"""The check-up before the first step."""

import dataclasses
import functools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from zoo.checkup import axes, data, frozen, inputs, learning, loss, network, optimizer, outputs, targets
from zoo.checkup.program import Program
from zoo.checkup.reference import told_by
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.training import UNTOLD
from zoo.checkup.trials import Trials, tried
from zoo.telemetry.findings import Cure, Finding, Verdict
from zoo.telemetry.language import say
from zoo.telemetry.verdict import diagnose

SECONDS = 3.0  # that trials of other rates may take
LONG = 10.0  # seconds for one pass, from which on none are made: to compile their step takes as long
ENOUGH = 200  # samples, to say that
RAISES = "a program that raises"
WORTH = 0.15  # confidence below which a finding is not told at all


@dataclasses.dataclass(frozen=True)
class Checkup:
    """What was found before the first step.

    Attributes:
        findings: most certain first; faults, then notes.
        told: how much of the targets plain methods tell from the inputs (`zoo.checkup.reference`), 0 to 1, on samples
            held out; NaN where it cannot be had.
        seconds: that it took.
        samples: that were looked at.
        left: what was not looked at, and why; "" if nothing.
    """

    findings: list[Finding]
    told: float = np.nan
    seconds: float = 0.0
    samples: int = 0
    left: str = ""

    @property
    def faults(self) -> list[Finding]:
        """The findings that are certain enough to be told as faults."""
        return [finding for finding in self.findings if finding.fault]

    def __str__(self) -> str:
        """The findings, a line or three each."""
        return "\n".join([self.head, *map(str, self.findings), *([self.left] if self.left else [])])

    def _repr_html_(self) -> str:
        """What a notebook shows: the same, with all that each finding may be cured by."""
        from zoo.telemetry.page.notebook import findings_shown

        return findings_shown(self.head, self.findings, self.left)

    @property
    def head(self) -> str:
        """How much was looked at, and how much was found."""
        faults, notes = len(self.faults), len(self.findings) - len(self.faults)
        head = say(
            "{faults} and {notes}",
            faults=say("{count} fault" if faults == 1 else "{count} faults", count=faults),
            notes=say("{count} note" if notes == 1 else "{count} notes", count=notes),
        )
        if not self.findings:
            head = say("nothing found")
        return say(
            "check-up of {samples:,} samples in {seconds:.1f} s: {head}.",
            samples=self.samples,
            seconds=self.seconds,
            head=head,
        )


@dataclasses.dataclass
class Examination:
    """A check-up whose findings can still be judged by what training comes to.

    Attributes:
        program: what was checked.
        suspicions: all that was found.
        told: as in `Checkup`, for the first output.
        trials: what was tried; `None` if the program raises.
        seconds: that it took.
        error: what the program raised at its first pass; `None` if it passed.
    """

    program: Program
    suspicions: list[Suspicion]
    told: float
    trials: Trials | None
    seconds: float
    error: Exception | None = None

    def checkup(self) -> Checkup:
        """Return the findings with the confidence that they have before the first step."""
        found = ranked([suspicion.finding for suspicion in self.suspicions])
        left = (
            ""
            if self.trials is None or not self.trials.left
            else say("not all rates were tried: {left}", left=self.trials.left)
        )
        return Checkup(found, self.told, self.seconds, len(self.program.some), left)


def check(model: keras.Model, x: Any, y: Any = None, *, validation_data: Any = None) -> Checkup:
    """Say what is wrong with a program before its first step. It trains nothing: the model is as before.

    Args:
        model: compiled, with the loss and the optimizer that it is to be trained with.
        x: (samples, ...) inputs, or a structure of them; or a data set that yields batches of inputs and targets.
        y: targets, or a structure of them; `None` for a data set.
        validation_data: (x, y), as `fit` takes it.

    Raises:
        RuntimeError: if the model is not compiled.
        TypeError: if `model` is no model, or the data are none.
        ValueError: for no samples, or more or fewer targets than inputs.
    """
    return examine(model, x, y, validation_data).checkup()


def examine(model: keras.Model, x: Any, y: Any = None, validation_data: Any = None) -> Examination:
    """Look at everything; arguments and errors as of `check`."""
    return examined(Program.of(model, x, y, validation_data))


def examined(program: Program, *, thorough: bool = True) -> Examination:
    """Look at everything that a program is made of.

    Args:
        program: to look at.
        thorough: with what takes seconds: what plain methods tell, and trials of other rates.
    """
    begun, told, error = time.monotonic(), np.nan, None
    try:
        _ = program.probed
    except Exception as raised:  # whatever the person's own code or its shapes raise
        error = raised
    passed = time.monotonic() - begun
    suspicions: list[Suspicion] = [] if error is None else [_raised(error)]
    look = functools.partial(guarded, sound=error is None)
    for module in (data, inputs, axes, targets, outputs, loss, frozen, network, optimizer):
        suspicions += look(functools.partial(module.findings, program))
    if error is not None:
        return Examination(program, suspicions, told, None, time.monotonic() - begun, error)
    suspicions += look(lambda: _profile(program))
    if not thorough:
        return Examination(program, suspicions, told, None, time.monotonic() - begun)
    if program.tasks:
        told = told_by(program, program.tasks[0])
        suspicions += look(lambda: _untold(program, told))
    try:
        trials = tried(program, SECONDS) if passed < LONG else Trials(np.nan, {}, left=say("the model is large."))
    except Exception:  # of a program whose steps raise: its own `fit` will tell
        if RAISE:
            raise
        trials = Trials(np.nan, {}, left=say("a step raised."))
    suspicions += look(lambda: learning.findings(trials))
    return Examination(program, suspicions, told, trials, time.monotonic() - begun)


def guarded(rule: Callable[[], Iterator[Suspicion]], *, sound: bool = True) -> list[Suspicion]:
    """Return what a rule finds; of one that cannot look at this program, what it found until then.

    Args:
        rule: yields what it finds.
        sound: whether the program passed its first step: what rules raise of one that did not is no wonder.
    """
    found: list[Suspicion] = []
    try:
        for suspicion in rule():
            found.append(suspicion)
    except Exception:  # of programs that nobody has seen; a check-up must not end a person's training
        if RAISE and sound:
            raise
    return found


RAISE = False  # for tests


def ranked(findings: list[Finding]) -> list[Finding]:
    """Return the findings that are worth a word, most certain first, of each title once."""
    once: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda f: -f.confidence):
        if finding.confidence >= WORTH:
            once.setdefault(finding.title, finding)
    return list(once.values())


def _raised(error: Exception) -> Suspicion:
    # Keras prints its messages bold, and lists the arguments behind them.
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("Arguments received by")[0]
    text = " ".join(text.split())
    told = text[:300] + ("..." if len(text) > 300 else "")
    return suspect(
        "code",
        RAISES,
        say("the first training step raises {kind}: {told}", kind=type(error).__name__, told=told),
        0.95,
        0.97,
        0.3,
    )


def _untold(program: Program, told: float) -> Iterator[Suspicion]:
    task = program.tasks[0]
    if np.isnan(told) or told > UNTOLD or program.count < ENOUGH or not program.finite:
        return
    yield suspect(
        "data",
        "targets that the inputs do not tell",
        say(
            "neither trees nor a linear model tell anything of the targets of {at} on samples held out: look whether "
            "x and y are in the same order, and whether x can tell y at all.",
            at=task.at,
        ),
        0.4,
        0.7,
        0.1,
        cures=(Cure("order", "x and y from one table, shuffled together", "each row of x belongs to its row of y."),),
        told=told,
    )
    yield suspect(
        "inputs",
        "inputs that tell nothing as they are coded",
        say(
            "neither trees nor a linear model tell anything of the targets of {at} from the inputs as they are: look "
            "at how they are read, cut and coded.",
            at=task.at,
        ),
        0.3,
        0.6,
        0.1,
        cures=(Cure("inputs", "what the targets depend on, as features of their own", "no net reads what is lost."),),
        told=told,
    )


def _profile(program: Program) -> Iterator[Suspicion]:
    """What the verdict foretells from the first pass: layers that no gradient reaches, dead or saturated ones."""
    verdict = diagnose(probes=[program.probed])
    if verdict.sick:
        yield from symptom(verdict, before=verdict.confidence * 0.5)


def symptom(verdict: Verdict, before: float) -> Iterator[Suspicion]:
    """Yield the cause of a sick verdict, as one finding among others."""
    if verdict.cause:
        yield suspect(
            verdict.cause,
            f"{verdict.name} gradients" if verdict.name in ("vanishing", "exploding") else verdict.name,
            verdict.sentence,
            before,
            0.82 * verdict.confidence,
            0.2,
            layer=verdict.layer,
            cures=tuple(verdict.cures[:3]),
            **{name: value for name, value in verdict.evidence.items() if np.isfinite(value)},
        )
