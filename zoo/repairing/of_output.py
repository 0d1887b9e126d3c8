"""Changes to the last layer and the loss, so that they fit what is asked."""

import dataclasses

import keras
import numpy as np

from zoo.repairing.change import Change, Keyed
from zoo.repairing.plan import Plan
from zoo.repairing.subject import Subject
from zoo.telemetry.keras_private import compiled_with

ACTIVATIONS = {
    "one-hot": "softmax",
    "class numbers": "softmax",
    "binary": "sigmoid",
    "several labels": "sigmoid",
    "numbers": "linear",
}
LOSSES = {
    "one-hot": "categorical_crossentropy",
    "class numbers": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
    "several labels": "binary_crossentropy",
    "numbers": "mean_squared_error",
}


USUAL = (1e-3, 1e3)  # a largest weight of the losses beyond it makes all steps of most optimizers as small, or large


def changes(subject: Subject) -> Keyed:
    """Yield what would change something of the last layer and the loss."""
    yield from _weights(subject)
    aim, task, last = subject.aim, subject.task, subject.last
    if aim is None or task is None or last is None or aim.kind == "none":
        return
    kind, units = aim.kind, aim.units
    if kind == "binary" and task.units == 2:
        kind, units = "class numbers", 2
    activation = ACTIVATIONS[kind]
    size = "units" if hasattr(last, "units") else "filters"
    if getattr(last, size) != task.units:
        return  # the output is put together from several layers
    fits = task.activation in (activation, "" if activation == "linear" else activation)
    logits = task.loss is not None and task.loss.logits and kind != "numbers"
    fits = fits or (bool(logits) and task.activation in ("", None))
    if kind == "numbers" and task.activation not in ("", None) and not fits:
        low, high = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf)}.get(task.activation, (0, 0))
        y = subject.program.targets[0]
        with np.errstate(invalid="ignore"):
            fits = bool(np.nanmin(y) >= low and np.nanmax(y) <= high) and task.activation != "relu"
    wider = getattr(last, size) < units
    if (not fits or wider) and subject.editable:
        ends = [layer for layer in subject.model.layers if isinstance(layer, keras.layers.Softmax)]
        ends += [n for n in subject.model.layers if n.name == task.layer and isinstance(n, keras.layers.ReLU)]

        def made(plan: Plan) -> Plan:
            plan = plan.setting(last.name, **({size: units} if wider else {}))
            if fits:
                return plan
            if task.layer != last.name and task.layer in subject.named and not ends:
                plan = plan.setting(task.layer, activation=activation)
            else:
                plan = plan.setting(last.name, activation=activation)
            return dataclasses.replace(plan, left_out=plan.left_out | {layer.name for layer in ends})

        told = {
            "softmax": "of several classes one holds: units share 1.",
            "sigmoid": "each unit is a probability of its own.",
            "linear": "numbers may lie anywhere.",
        }[activation]
        kept = "" if task.activation in ("", None) and fits else f"{activation} "
        words = f"{units} {kept}units" if wider else f"{activation} on the output"
        yield "output", Change(words, "output", told, made, slot="output")
    name = LOSSES[kind]
    loss = task.loss
    has = loss is not None and not loss.own and not (loss.logits and task.activation not in ("", None))
    if not has or loss is None or not _takes(loss.takes, kind, subject.program.targets[0]):
        yield (
            "loss",
            Change(
                name.replace("_", " "),
                "loss",
                f"it is the loss of {'numbers' if kind == 'numbers' else 'probabilities'}.",
                lambda plan: plan.compiling(loss=name),
                slot="loss",
            ),
        )


def _weights(subject: Subject) -> Keyed:
    """Yield the weights of the losses that are as large beside each other, and of a usual size."""
    weights = compiled_with(subject.model).get("loss_weights")
    known = [abs(float(w)) for w in keras.tree.flatten(weights) if isinstance(w, int | float) and w]
    if not known or USUAL[0] < max(known) < USUAL[1]:
        return
    several = keras.tree.map_structure(lambda w: None if w is None else w / max(known), weights)
    yield (
        "loss weights",
        Change(
            "no loss weights" if len(known) == 1 else "loss weights of at most 1",
            "loss",
            f"with a weight of {max(known):.2g} gradients are far from what optimizers are made for.",
            lambda plan: plan.compiling(loss_weights=None if len(known) == 1 else several),
            slot="loss weights",
        ),
    )


def _takes(takes: str, kind: str, y: np.ndarray) -> bool:
    """Whether a loss that takes such targets suits the kind."""
    if kind == "numbers":
        with np.errstate(invalid="ignore"):
            shares = bool(np.nanmin(y) >= 0 and np.nanmax(y) <= 1)
        return takes == "distance" or (takes == "binary" and shares)
    return takes == {"one-hot": "categorical", "class numbers": "sparse"}.get(kind, "binary")
