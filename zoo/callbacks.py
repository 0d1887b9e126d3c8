"""Keras callbacks that configs name."""

import sys

import keras

from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.probe import Probes
from zoo.telemetry.verdict import diagnose


class StopWhenHopeless(keras.callbacks.Callback):
    """Stops a training whose verdict is certain and not healthy, at the end of an epoch.

    Args:
        norms, probes: the callbacks whose records are judged; they must come before this one.
        baseline: loss of the best constant prediction, if known.
        confidence: from where on a verdict counts as certain.
    """

    def __init__(self, norms: GradientNorms, probes: Probes, baseline: float | None = None, confidence: float = 0.95):
        super().__init__()
        self.norms, self.probes, self.baseline, self.confidence = norms, probes, baseline, confidence
        self.verdict = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        verdict = diagnose(self.norms.history, self.probes.results, baseline=self.baseline)
        if verdict.name != "healthy" and verdict.confidence >= self.confidence:
            self.verdict = verdict
            self.model.stop_training = True  # pyright: ignore[reportOptionalMemberAccess]  Keras has set it


class BestModel(keras.callbacks.EarlyStopping):
    """Remembers the weights of the epoch in which a metric was best, and leaves the training alone.

    Keras' `EarlyStopping` compares and remembers; `zoo.running.kept` writes them to `best.keras`.

    Args:
        objective: a metric of each epoch.
    """

    def __init__(self, objective: str = "val_loss"):
        mode = "max" if objective.endswith("accuracy") else "min" if objective.endswith(("loss", "rmse")) else "auto"
        super().__init__(monitor=objective, mode=mode, patience=sys.maxsize, restore_best_weights=True)

    def on_train_end(self, logs: dict | None = None) -> None:
        pass  # the model stays as it is after the last epoch
