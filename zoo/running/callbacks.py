"""Keras callbacks that every run has."""

import math
from typing import Any

import keras
import numpy as np

from zoo.telemetry.gradients import GradientNorms
from zoo.tracking import RunLog


class LearningRate(keras.callbacks.Callback):
    """Adds each epoch's last learning rate to its logs, for the callbacks after it."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(_model(self).optimizer.learning_rate)


class RecordEpochs(keras.callbacks.Callback):
    """Send each epoch's logs and gradient norms (means over the epoch's steps) to the tracking store.

    Layers are numbered, so that their names sort in depth order: `gradient_norm/03_dense_3`.
    """

    def __init__(self, log: RunLog, norms: GradientNorms | None):
        super().__init__()
        self.log, self.norms = log, norms

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        metrics = dict(logs or {})
        if self.norms is not None:
            history = self.norms.history
            last = history.rows(history.epoch(-1))
            means = last.norms.mean(axis=0, dtype=np.float64)
            metrics["gradient_norm"] = last.global_norm.mean(dtype=np.float64)
            metrics |= {
                f"gradient_norm/{name}": value for name, value in zip(numbered(history.layers), means, strict=True)
            }
            if history.clip_norms is not None:
                metrics["clipped_fraction"] = history.clipped_fraction
        self.log.log_metrics(metrics, step=epoch + 1)


class StopWhenNotFinite(keras.callbacks.Callback):
    """Stops a training at the end of the first epoch whose loss is NaN or infinite.

    Not in the middle of it, as `keras.callbacks.TerminateOnNaN` does. That asks for the loss after each call, so that a
    device waits, and comes too late by as many steps as share a call. The steps after the one that failed are evidence
    (`Flight.finite_after`), and histories, probes and checkpoints count in whole epochs.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # It is a mean over the epoch's steps: one of them that was not finite shows in it.
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            _model(self).stop_training = True


def numbered(layers: list[str]) -> list[str]:
    """['dense', 'logits'] -> ['1_dense', '2_logits'], with as many digits as the largest number has."""
    digits = len(str(len(layers)))
    return [f"{i:0{digits}d}_{name}" for i, name in enumerate(layers, start=1)]


def _model(callback: keras.callbacks.Callback) -> Any:
    """The model that Keras has set."""
    return callback.model
