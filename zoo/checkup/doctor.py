"""Check-up, probes, gradient norms and verdict in one callback."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.checkup import course
from zoo.checkup.check import RAISES, Checkup, Examination, examine, guarded, ranked, symptom
from zoo.checkup.training import Training, numbers_of
from zoo.telemetry.findings import Finding, Verdict
from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.language import say
from zoo.telemetry.probe import Probes
from zoo.telemetry.verdict import diagnose


class Doctor(keras.callbacks.Callback):
    """Says what keeps a model from learning: give it to `fit`, then read `verdict`.

    ```python
    doctor = Doctor(x, y)
    model.fit(x, y, epochs=3, callbacks=[doctor])
    print(doctor.verdict)
    ```

    Before the first step it does what `zoo.check` does; the model is trained as it would be without it.

    Args:
        x, y: the training data, as `zoo.check` takes them.
        validation_data: (x, y), as `fit` takes it.

    Attributes:
        norms: the gradient norms of every layer at every step.
        probes: the probes before the first step and after each epoch, on samples of x and y.
    """

    def __init__(self, x: Any, y: Any = None, *, validation_data: Any = None):
        super().__init__()
        self.x, self.y, self.validation_data = x, y, validation_data
        self.norms = GradientNorms()
        self.probes: Probes | None = None
        self._examination: Examination | None = None
        self._logs: list[dict[str, float]] = []
        self._judged: tuple[int, Verdict] | None = None

    @property
    def checkup(self) -> Checkup:
        """What was found before the first step.

        Raises:
            RuntimeError: before a training has begun.
        """
        return self._examined().checkup()

    @property
    def verdict(self) -> Verdict:
        """What the training amounts to, with all findings.

        Raises:
            RuntimeError: before a training has begun.
        """
        examination = self._examined()
        if self._judged is None or self._judged[0] != len(self._logs):
            self._judged = len(self._logs), judged(examination, self._training())
        return self._judged[1]

    def to_html(self, path: str | Path) -> Path:
        """Write a page with verdict, findings, gradients and probes, which opens without a network; return its path.

        Raises:
            RuntimeError: before a training has begun.
        """
        from zoo.telemetry.page.file import write_page
        from zoo.telemetry.page.told import Probed, Told
        from zoo.telemetry.probes_file import arrays_of

        program, history = self._examined().program, self.norms.history
        results = self.probes.results if self.probes is not None else []
        facts = [
            (say("parameters"), f"{program.model.count_params():,}"),
            (say("epochs"), f"{len(self._logs):,}"),
            (say("steps"), f"{len(history):,}"),
        ]
        names = dict.fromkeys(name for logs in self._logs for name in logs)
        epochs = {name: np.array([logs.get(name, np.nan) for logs in self._logs]) for name in names}
        told = Told(
            program.model.name,
            facts,
            verdict=self.verdict,
            steps=history.told if len(history) else None,
            probed=Probed.of_arrays(arrays_of(results), history.epoch_ends) if results else None,
            epochs=epochs,
        )
        return write_page(path, told)

    def _examined(self) -> Examination:
        if self._examination is None:
            raise RuntimeError("Doctor has seen no training yet: give it to model.fit(callbacks=[...]) first.")
        return self._examination

    def _training(self) -> Training:
        examination = self._examined()
        results = self.probes.results if self.probes is not None else []
        verdict, told = diagnose(self.norms.history, results), examination.told
        if examination.error is not None:
            return Training(examination.program, verdict, results, self.norms.history, self._logs, told, np.nan, np.nan)
        return Training.of(examination.program, verdict, results, self.norms.history, self._logs, told)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.norms.set_model(model)
        if self.probes is not None:
            self.probes.set_model(model)

    def set_params(self, params: dict) -> None:
        super().set_params(params)
        self.norms.set_params(params)

    def on_train_begin(self, logs: dict | None = None) -> None:
        assert self.model is not None  # Keras sets it first
        if self._examination is None or self._examination.program.model is not self.model:
            self._logs = []
            self._examination = examine(self.model, self.x, self.y, self.validation_data)
            self.probes = None
            if self._examination.error is None:
                self.probes = Probes(*self._examination.program.probe_batch)
                self.probes.set_model(self.model)
                self.probes.resume([self._examination.program.probed])  # the one before the first step is made
        if self.probes is not None:
            self.probes.on_train_begin(logs)
        self.norms.on_train_begin(logs)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.norms.on_train_batch_begin(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.norms.on_epoch_end(epoch, logs)
        if self.probes is not None:
            self.probes.on_epoch_end(epoch, logs)
        self._logs.append(numbers_of(logs))

    def on_train_end(self, logs: dict | None = None) -> None:
        self.norms.on_train_end(logs)


def judged(examination: Examination, training: Training) -> Verdict:
    """Return the verdict on the gradients with all findings, and the cause among them."""
    verdict, outcome = training.verdict, training.outcome
    # What raises in a first pass of its own, as for want of an inference, may train all the same.
    suspicions = [s for s in examination.suspicions if s.finding.title != RAISES or not training.steps]
    suspicions += guarded(lambda: course.findings(training))
    if verdict.sick:
        # What the first pass foretold is told anew by what training came to.
        suspicions = [s for s in suspicions if s.finding.title not in FORETOLD]
        suspicions += symptom(verdict, before=0.9 * verdict.confidence)
    found = ranked([suspicion.after(outcome) for suspicion in suspicions])
    if verdict.sick and outcome != "learned" and not any(f.fault for f in found):
        found = ranked([suspicion.after("failed") for suspicion in suspicions])
    if outcome == "failed" and training.probes and not any(f.fault for f in found):
        found = ranked([*found, course.unexplained(training)])
    faults = [finding for finding in found if finding.fault]
    if not faults:
        return dataclasses.replace(verdict, findings=found, cause=verdict.cause if verdict.sick else "")
    return _with(verdict, faults[0], found)


FORETOLD = ("vanishing gradients", "exploding gradients", "dead", "saturated", "unstable", "stalled")


def _with(verdict: Verdict, first: Finding, found: list[Finding]) -> Verdict:
    return dataclasses.replace(
        verdict,
        name=verdict.name if verdict.sick else "faulty",
        cause=first.cause,
        layer=first.layer or verdict.layer,
        confidence=first.confidence,
        sentence=first.sentence,
        evidence=first.evidence,
        cures=first.cures or verdict.cures,
        remedies=[cure.override for cure in first.cures if cure.override] or verdict.remedies,
        findings=found,
    )
