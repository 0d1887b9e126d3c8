"""Losses and what knowing nothing costs."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

# Losses whose outputs are the numbers themselves: of a label 0 or 1, those above 1/2 say 1. Of logits, those above 0.
DISTANCES = (
    keras.losses.MeanSquaredError,
    keras.losses.MeanAbsoluteError,
    keras.losses.Huber,
    keras.losses.LogCosh,
)


@keras.saving.register_keras_serializable("zoo")
class OneHot(keras.losses.Loss):
    """Apply `loss` to one-hot labels: (batch,) class numbers against (batch, classes) outputs.

    Args:
        loss: a Keras loss that compares outputs with targets of their own shape, such as the mean squared error.
    """

    def __init__(self, loss: keras.losses.Loss, name: str = "one_hot"):
        super().__init__(name=name, reduction=loss.reduction)
        self.loss = loss

    def call(self, y_true, y_pred):
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        return self.loss.call(ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype), y_pred)

    def get_config(self) -> dict:
        return {"loss": keras.saving.serialize_keras_object(self.loss), "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "OneHot":
        return cls(keras.saving.deserialize_keras_object(config["loss"]), config["name"])


def threshold(loss: keras.losses.Loss) -> float:
    """Return the output above which a model of one output, trained with `loss` on labels 0 and 1, says 1."""
    probability = not getattr(loss, "from_logits", True)
    return 0.5 if probability or isinstance(loss, DISTANCES) else 0.0


def constant_loss(
    loss: keras.losses.Loss, y: np.ndarray, task: str, weights: Mapping[int, float] | None = None
) -> float | None:
    """Return the loss of the best prediction that does not look at the input; `None` for a loss not known here.

    From labels and a formula alone, before any model has answered. The probe (`zoo.telemetry.answers`) tries constants
    under a compiled model's loss instead: of any loss, but of one batch.

    Args:
        loss: as given to `compile`.
        y: (n,) class numbers, (n, 1) zeros and ones, or (n, k) numbers.
        task: "categorical", "binary" or "regression".
        weights: in the loss of each class 0, 1, ..., if it has some.
    """
    weight = 1.0
    if task in ("categorical", "binary"):
        shares = np.bincount(np.asarray(y).ravel().astype(int)) / len(y)
        if weights is not None:
            shares = shares * np.array([weights[label] for label in range(len(shares))])
            weight = float(shares.sum())
            shares = shares / weight if weight else shares
        shares = shares[shares > 0]
    else:
        return _variance(y) if isinstance(loss, keras.losses.MeanSquaredError) else None
    if isinstance(loss, (keras.losses.SparseCategoricalCrossentropy, keras.losses.BinaryCrossentropy)):
        return weight * float(-np.sum(shares * np.log(shares)))
    if isinstance(loss, OneHot) and isinstance(loss.loss, keras.losses.MeanSquaredError):
        return weight * float(np.mean(shares * (1 - shares)))
    if not isinstance(loss, keras.losses.MeanSquaredError):
        return None
    return _variance(y) if weights is None or len(shares) < 2 else weight * float(np.prod(shares))


def _variance(y: np.ndarray) -> float:
    return float(np.mean(np.var(y, axis=0)))
