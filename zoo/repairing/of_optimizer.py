"""Changes to the optimizer, its rate and clipping, and to epochs and batches."""

from collections.abc import Callable

import keras
import numpy as np

from zoo.checkup.optimizer import config_of, inner_config, rate_at
from zoo.repairing.change import Change, Keyed
from zoo.repairing.subject import Subject
from zoo.telemetry.cures import ADAPTIVE, USUAL
from zoo.telemetry.keras_private import source_of_rate
from zoo.telemetry.layers import inner_of

LONGER = 4  # times as many epochs
BATCH = 32  # Keras' default


def changes(subject: Subject) -> Keyed:
    """Yield what would change something of the optimizer."""
    optimizer = getattr(subject.model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return
    inner = inner_of(optimizer)
    kind = type(inner).__name__.lower()
    rate = max((rate_at(inner, step) for step in (0, 1, 100)), default=np.nan)
    usual = USUAL.get(kind, 1e-3)
    if kind not in ADAPTIVE or not np.isclose(rate, 1e-3) or getattr(inner, "weight_decay", None) or _clips(inner):
        yield (
            "adam",
            Change(
                "Adam",
                "optimizer",
                "its step does not depend on the size of the gradient.",
                lambda plan: plan.compiling(optimizer=lambda: keras.optimizers.Adam(1e-3)),
                slot="optimizer",
            ),
        )
    if not np.isfinite(rate):
        return
    steps = (
        ("lower rate", rate / 10, "the steps overshoot."),
        ("much lower rate", rate / 100, "the steps overshoot."),
        ("higher rate", rate * 10, "the steps are small."),
        ("much higher rate", rate * 100, "the steps are small."),
    )
    if not any(np.isclose(usual, value) for _, value, _ in steps):
        steps = (*steps, ("usual rate", usual, "it is the usual one."))
    for key, value, reason in steps:
        if value > 0 and not np.isclose(value, rate):
            yield (
                key,
                Change(
                    f"a rate of {value:.2g}",
                    "rate",
                    reason,
                    lambda plan, value=value: plan.compiling(optimizer=_at(optimizer, value)),
                    slot="optimizer",
                ),
            )
    if callable(source_of_rate(inner)):
        yield (
            "constant rate",
            Change(
                f"a constant rate of {rate:.2g}",
                "schedule",
                "the rate neither falls nor rises.",
                lambda plan: plan.compiling(optimizer=_at(optimizer, rate)),
                slot="optimizer",
            ),
        )
    if _clips(inner):
        yield (
            "no clipping",
            Change(
                "no clipping",
                "optimizer",
                "steps are as long as the gradient makes them.",
                lambda plan: plan.compiling(optimizer=_with(optimizer, **dict.fromkeys(CLIPPING))),
                slot="optimizer",
            ),
        )
    else:
        yield (
            "clipping",
            Change(
                "clipping at norm 1",
                "optimizer",
                "no step is longer than a gradient of norm 1 makes it.",
                lambda plan: plan.compiling(optimizer=_with(optimizer, global_clipnorm=1.0)),
                slot="optimizer",
            ),
        )


CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def _clips(optimizer: keras.optimizers.Optimizer) -> bool:
    return any(getattr(optimizer, name, None) for name in CLIPPING)


def _at(optimizer: keras.optimizers.Optimizer, rate: float) -> Callable[[], keras.optimizers.Optimizer]:
    return _with(optimizer, learning_rate=rate)


def _with(optimizer: keras.optimizers.Optimizer, **changes) -> Callable[[], keras.optimizers.Optimizer]:
    """Return what makes such an optimizer with other arguments."""

    def make() -> keras.optimizers.Optimizer:
        config = config_of(optimizer)
        inner_config(config).update(changes)
        return type(optimizer).from_config(config)

    return make


def of_training(epochs: int, size: int) -> Keyed:
    """Yield longer trainings and batches of another size."""
    yield (
        "more epochs",
        Change(
            f"{LONGER * epochs} epochs",
            "steps",
            "it has not come to an end.",
            lambda plan: plan.fitting(epochs=LONGER * epochs),
            slot="epochs",
        ),
    )
    if not BATCH / 2 <= size <= 4 * BATCH:
        yield (
            "small batches",
            Change(
                f"batches of {BATCH}",
                "batch",
                "enough steps in an epoch, each of enough samples.",
                lambda plan: plan.fitting(batch_size=BATCH),
                slot="batch",
            ),
        )
