"""From the last sound epoch on: where a training breaks on the way, it goes on from before, more gently.

As large trainings do after a spike (Chowdhery et al. 2022, PaLM, section 5.1; Zhang et al. 2022, OPT, section 2.5).
"""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
from keras.optimizers import Optimizer

from zoo.checkup.optimizer import config_of, inner_config, rate_at
from zoo.repairing.change import Change, Keyed
from zoo.repairing.plan import Gentler
from zoo.repairing.subject import Subject
from zoo.telemetry.layers import inner_of

AHEAD = 100  # epochs over which a rate that rose anew falls


class Snapshots(keras.callbacks.Callback):
    """Keeps the weights, and what the optimizer remembers, of the epoch of the lowest loss."""

    def __init__(self):
        super().__init__()
        self.epoch, self.loss, self.values = 0, np.inf, []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert self.model is not None  # Keras sets it first
        loss = float((logs or {}).get("loss", np.nan))
        if loss < self.loss:
            self.epoch, self.loss, self.values = epoch + 1, loss, state_of(self.model)


def state_of(model: keras.Model) -> list[np.ndarray]:
    """Return what a training goes on from: weights, and what the optimizer remembers."""
    return [np.array(keras.ops.convert_to_numpy(v)) for v in (*model.weights, *model.optimizer.variables)]


def put(model: keras.Model, values: list[np.ndarray]) -> None:
    """Put a model's training back to where it was."""
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip((*model.weights, *model.optimizer.variables), values, strict=True):
        variable.assign(value)


def changes(subject: Subject, kept: Snapshots, steps: int) -> Keyed:
    """Yield gentler ways to go on.

    Args:
        subject: the program.
        kept: the last sound epoch.
        steps: of an epoch.
    """
    optimizer = subject.model.optimizer
    rate = rate_at(inner_of(optimizer), 0)
    ways = (
        ("rate", f"from epoch {kept.epoch} on a rate of {rate / 10:.2g}", "the steps overshoot.", "rate"),
        ("clipping", f"from epoch {kept.epoch} on clipping at norm 1", "no step is as long as that one.", "optimizer"),
        ("warm-up", f"from epoch {kept.epoch} on a rate that rises anew", "the first steps are small.", "schedule"),
    )
    for kind, name, reason, cause in ways:
        gentler = Gentler(kept.epoch, kind, rate, steps)
        yield (
            f"gentler {kind}",
            Change(
                name,
                cause,
                reason,
                lambda plan, gentler=gentler: dataclasses.replace(plan, gentler=gentler),
                slot="optimizer",
                by_hand="\n".join(_lines(gentler)),
            ),
        )


def _lines(gentler: Gentler) -> Iterator[str]:
    yield f"model.fit(x, y, epochs={gentler.epoch})  # as it is; then"
    if gentler.kind == "rate":
        yield f"model.optimizer.learning_rate = {gentler.rate / 10:.2g}"
    elif gentler.kind == "clipping":
        yield "# with an optimizer that clips, global_clipnorm=1.0, and has the other's variables"
    else:
        yield "# with an optimizer whose rate rises anew, and that has the other's variables:"
        yield f"# keras.optimizers.schedules.CosineDecay(0.0, {AHEAD * gentler.steps}, warmup_steps={gentler.steps},"
        yield f"#     warmup_target={gentler.rate / 3:.2g})"
    yield f"model.fit(x, y, initial_epoch={gentler.epoch}, epochs=...)"


def gentler_optimizer(old: Optimizer, model: keras.Model, gentler: Gentler) -> Optimizer:
    """Return an optimizer that goes on more gently, with what the old one remembers."""
    config = config_of(old)
    inner = inner_config(config)
    if gentler.kind == "rate":
        inner["learning_rate"] = gentler.rate / 10
    elif gentler.kind == "clipping":
        inner.update(clipnorm=None, clipvalue=None, global_clipnorm=1.0)
    else:
        inner["learning_rate"] = keras.optimizers.schedules.CosineDecay(
            0.0, AHEAD * gentler.steps, warmup_target=gentler.rate / 3, warmup_steps=gentler.steps
        )
    new = type(old).from_config(config)
    new.build(model.trainable_variables)
    known = {variable.path.partition("/")[2]: variable for variable in old.variables}
    for variable in new.variables:
        name = variable.path.partition("/")[2]
        # A schedule counts its steps from here.
        if name in known and "learning_rate" not in name and (gentler.kind != "warm-up" or "iteration" not in name):
            variable.assign(known[name])
    return new
