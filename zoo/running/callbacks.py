"""Keras callbacks that every run has."""

import math
from typing import Any

import keras

from zoo.interrupts import told_to_end
from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.keras_private import source_of_rate
from zoo.telemetry.layers import inner_of
from zoo.tracking import RunLog
from zoo.tracking.metrics import of_epoch


class LearningRate(keras.callbacks.Callback):
    """Adds each epoch's last learning rate to its logs, for the callbacks after it."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            optimizer = inner_of(_model(self).optimizer)
            rate: Any = source_of_rate(optimizer)
            # What the optimizer gives as its own is that of the step to come.
            if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
                rate = rate(optimizer.iterations - 1)
            logs["learning_rate"] = float(rate)


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
            metrics |= of_epoch(self.norms.history, -1)
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


class EndWhenTold(keras.callbacks.Callback):
    """Ends a training before its next epoch if the process was told to end and the interrupt was lost.

    Python drops what is raised where nothing can be, as in a callback of the garbage collector: JAX has one.
    """

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if told_to_end.is_set():
            raise KeyboardInterrupt


def _model(callback: keras.callbacks.Callback) -> Any:
    """The model that Keras has set."""
    return callback.model
