"""Training a plan, and measuring what comes of it."""

import dataclasses
import functools
import time
import warnings
from typing import Any

import keras
import numpy as np

from zoo.checkup.check import Examination, examined
from zoo.checkup.doctor import judged
from zoo.checkup.program import Program, answers_of, taken
from zoo.checkup.training import Training, numbers_of, skill_of
from zoo.repairing.continuing import Snapshots, gentler_optimizer, put
from zoo.repairing.copying import has_train_step_alone
from zoo.repairing.plan import Plan, coded, compiled_as, prepared, realized, scaled_back
from zoo.repairing.subject import Subject
from zoo.telemetry.findings import Verdict
from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probe import Probe, Probes, probe
from zoo.telemetry.verdict import diagnose

SIZE = 32  # of a batch, Keras' default
QUIET: dict[str, Any] = {"verbose": 0}
ONE_PASS = 512  # samples that are measured at once


class Deadline(keras.callbacks.Callback):
    """Ends a training after the batch at which its time is over, or whose loss is no number."""

    def __init__(self, ends: float):
        super().__init__()
        self.ends, self.reached, self.broke = ends, False, False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        assert self.model is not None  # Keras sets it first
        self.broke = not np.isfinite((logs or {}).get("loss", 0.0))
        self.reached = time.monotonic() > self.ends
        if self.reached or self.broke:
            self.model.stop_training = True


@dataclasses.dataclass
class Try:
    """One training of a plan.

    Attributes:
        keys: of the changes that the plan is made of.
        plan: that is trained.
        seed: of its draws.
        model: as trained so far; `None` before, and where it raised.
        epochs: trained so far.
        skill: how much it tells of the samples held out: accuracy beyond the commonest class', R2; of several outputs,
            and of what has no such measure, the share of the first loss on them that is gone. -1 at least; minus
            infinity where it raised.
        losses: (epochs,) in training.
        seconds: that it took.
        error: what it raised.
        place: among the plans, the most promising first.
        cut: whether the time was over before it had its epochs.
    """

    keys: tuple[str, ...]
    plan: Plan
    seed: int = 0
    model: keras.Model | None = None
    epochs: int = 0
    skill: float = -np.inf
    losses: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    error: Exception | None = None
    place: int = 0
    cut: bool = False


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a training amounts to.

    Attributes:
        verdict: with all findings.
        loss: of the last epoch, in training.
        skill: as `Try` has it.
        history: the gradient norms of every layer at every step.
        probes: before the first step and after each epoch.
        epochs: that were trained.
        seconds: that they took.
    """

    verdict: Verdict
    loss: float
    skill: float
    history: GradientHistory
    probes: list[Probe]
    epochs: int
    seconds: float


class Bench:
    """Where plans are trained: from the same weights, on the same samples in the same order.

    Args:
        subject: the program.
        size: of batches.
        samples: that tries train on, at most; the last trainings take all.
    """

    def __init__(self, subject: Subject, size: int, samples: int | None = None):
        self.subject, self.size, self.samples = subject, size, samples
        self.kept: Snapshots | None = None  # of the program as it is, where it broke on the way

    def advance(self, one: Try, epochs: int, ends: float, *, callbacks: list | None = None, whole: bool = False) -> Try:
        """Train a try until it has so many epochs, and measure it; what it raises is kept in it."""
        begun = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is only tried
                self._advance(one, epochs, ends, callbacks or [], whole=whole)
        except Exception as error:  # a change that this program does not bear is none that cures it
            one.error, one.skill = error, -np.inf
        one.seconds += time.monotonic() - begun
        return one

    def _advance(self, one: Try, epochs: int, ends: float, callbacks: list, *, whole: bool) -> None:
        model: keras.Model = one.model if one.model is not None else realized(self.subject, one.plan, one.seed)
        one.model = model
        program = self.subject.program
        x, y = prepared(self.subject, one.plan, program.x, program.y, training=True)
        if self.samples is not None and not whole:
            x, y = taken(x, slice(self.samples)), taken(y, slice(self.samples))
        gentler = one.plan.gentler
        if gentler is not None and one.epochs < gentler.epoch:
            if self.kept is not None and not one.seed and not callbacks:
                put(model, self.kept.values)
                one.epochs = gentler.epoch
            else:
                self._fit(one, x, y, gentler.epoch, ends, callbacks)
            optimizer = gentler_optimizer(model.optimizer, model, gentler)
            compiled_as(model, self.subject, one.plan, optimizer)
        self._fit(one, x, y, epochs, ends, callbacks)
        one.skill = self.measured(one)

    def _fit(self, one: Try, x: Any, y: Any, epochs: int, ends: float, callbacks: list) -> None:
        model, size = one.model, self.subject.program.fixed or one.plan.fitted.get("batch_size", self.size)
        assert model is not None
        if one.epochs >= epochs or (one.losses and not np.isfinite(one.losses[-1])):
            return
        x, y = self._whole(x, y)
        deadline = Deadline(ends)
        keras.utils.set_random_seed(1 + one.seed + 1000 * one.epochs)
        history = model.fit(
            x,
            y,
            batch_size=size,
            epochs=epochs,
            initial_epoch=one.epochs,
            verbose=0,
            callbacks=[*callbacks, deadline],
        )
        one.losses += [float(v) for v in history.history.get("loss", [])]
        one.epochs = epochs if not deadline.reached else one.epochs + len(history.history.get("loss", []))
        one.cut = deadline.reached

    def _whole(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return samples without those behind the last whole batch, where the model asks for batches of one size."""
        size = self.subject.program.fixed or 1
        whole = slice(len(keras.tree.flatten(x)[0]) // size * size)
        return taken(x, whole), taken(y, whole)

    def measured(self, one: Try) -> float:
        """Return how much a trained model tells of the samples held out."""
        model, subject = one.model, self.subject
        assert model is not None
        finished = scaled_back(subject, model) if one.plan.scaled else model
        x, y = self._whole(*prepared(subject, one.plan, *subject.held, training=False))
        task = subject.task
        if task is not None and subject.aim is not None:
            kind = subject.aim.kind
            if kind in ("binary", "several labels") and len(subject.aim.classes) == 2:
                y = coded(subject, y)  # whatever the program calls the two, which of them holds is the question
            if one.plan.settings and kind == "binary" and finished.output_shape[-1] == 2:
                kind = "class numbers"
            skill = skill_of(dataclasses.replace(task, kind=kind), _answers(finished, x, subject.program.fixed), y)
            return skill if np.isfinite(skill) else -1.0
        return max(-1.0, 1 - self._loss(finished, x, y) / self.at_first)

    @property
    def by_loss(self) -> bool:
        """Whether skill is the share of the first loss that is gone, for want of another measure."""
        return self.subject.aim is None

    @functools.cached_property
    def at_first(self) -> float:
        """The loss on the samples held out before the first step of the program as it is."""
        loss = self._loss(realized(self.subject, Plan(), 0), *self._whole(*self.subject.held))
        return loss if np.isfinite(loss) and loss > 0 else 1.0

    def _loss(self, model: keras.Model, x: Any, y: Any) -> float:
        if has_train_step_alone(model):
            return probe(model, x, y).loss
        size = self.subject.program.fixed or self.size
        logs = model.evaluate(x, y, batch_size=size, return_dict=True, **QUIET)
        return float(logs.get("loss", next(iter(logs.values()))))

    def profiled(
        self, one: Try, epochs: int, ends: float, examination: Examination, kept: Snapshots | None = None
    ) -> tuple[Try, Profile]:
        """Train a try from its beginning with norms and probes, and judge it.

        Args:
            examination: of the program as it came, for what plain methods tell of the data.
            kept: is given the last sound epoch.
        """
        one = dataclasses.replace(one, model=None, epochs=0, losses=[], skill=-np.inf, seconds=0.0, error=None)
        one.model = realized(self.subject, one.plan, one.seed)
        x, y = prepared(self.subject, one.plan, self.subject.program.x, self.subject.program.y, training=True)
        held = prepared(self.subject, one.plan, *self.subject.held, training=True)
        program = Program(one.model, x, y, held)
        looked = examined(program, thorough=False)
        looked.told = examination.told
        norms, logs = GradientNorms(), _Logs()
        probes = Probes(*program.probe_batch) if looked.error is None else None
        watching = [norms, logs, *([probes] if probes else []), *([kept] if kept else [])]
        self.advance(one, epochs, ends, callbacks=watching, whole=True)
        results = probes.results if probes else []
        try:
            history = norms.history
        except RuntimeError:  # `fit` raised before the training began
            history = _nothing()
        verdict = diagnose(history, results)
        if looked.error is None and one.error is None:
            training = Training.of(program, verdict, results, history, logs.seen, looked.told)
        else:
            training = Training(program, verdict, results, history, logs.seen, looked.told, np.nan, np.nan)
        training = dataclasses.replace(training, cut=one.cut)
        loss = one.losses[-1] if one.losses else np.nan
        found = judged(looked, training)
        return one, Profile(found, loss, one.skill, history, results, one.epochs, one.seconds)


def _nothing() -> GradientHistory:
    """Return the history of a training that took no step."""
    none: np.ndarray = np.zeros(0, np.int64)
    return GradientHistory([], [], none, none, np.zeros((0, 0), np.float32), np.zeros(0, np.float32))


class _Logs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seen.append(numbers_of(logs))


def _answers(model: keras.Model, x: Any, fixed: int | None) -> Any:
    count, size = len(keras.tree.flatten(x)[0]), fixed or ONE_PASS
    parts = [answers_of(model, taken(x, slice(i, i + size))) for i in range(0, count, size)]
    return keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts)
