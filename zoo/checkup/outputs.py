"""Whether last layer, loss and targets fit each other."""

from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.task import Task
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say

# What an activation can give at all.
RANGES = {
    "softmax": (0.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, np.inf),
    "exponential": (0.0, np.inf),
}
REACHED = 1e-3  # of a range: how far beyond its ends targets may lie by rounding
OUT_OF_REACH = 0.05  # share of the targets
WITHOUT = 0.02  # share of the targets that may be of no class


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about outputs, losses and targets."""
    for task in program.tasks:
        for rule in (_one_softmax, _fits, _range, _probabilities, _distance):
            yield from rule(task)
    yield from _axis(program)


def _softmax(task: Task) -> Cure:
    return Cure(
        "softmax",
        f'keras.layers.Dense({max(task.classes, task.units)}, activation="softmax")',
        "one class holds at a time.",
    )


SIGMOID = Cure("sigmoid", 'activation="sigmoid" in the last layer', "each unit says yes or no by itself.")
BINARY = Cure("binary cross-entropy", 'loss="binary_crossentropy"', "it is the likelihood of yes and no.")
LINEAR = Cure("linear output", "no activation in the last layer", "it reaches every number.")
STANDARD = Cure(
    "targets", "(y - y.mean()) / y.std(), and the answers scaled back", "the output begins with deviation near 1."
)


def entropy(task: Task) -> Cure:
    """Return the change to the cross-entropy that takes targets as they are coded."""
    name = "categorical_crossentropy" if task.kind == "one-hot" else "sparse_categorical_crossentropy"
    return Cure(
        "categorical crossentropy" if task.kind == "one-hot" else "sparse categorical crossentropy",
        f'loss="{name}"',
        "it is the likelihood of one class among others.",
    )


def _axis(program: Program) -> Iterator[Suspicion]:
    """Shares that add up to 1 over samples, steps or pixels, and not over classes."""
    if len(program.tasks) != 1 or program.answers is None:
        return
    task, answers = program.tasks[0], np.asarray(keras.tree.flatten(program.answers)[0], np.float64)
    if task.units < 2 or not np.isfinite(answers).all() or answers.min() < 0 or answers.max() > 1:
        return
    adds_up = [bool(np.allclose(answers.sum(axis), 1, atol=1e-3)) for axis in range(answers.ndim)]
    if any(adds_up[:-1]) and not adds_up[-1]:
        axis = adds_up.index(True)
        over = say("the samples of a batch" if axis == 0 else "axis {axis} of the answers", axis=axis)
        yield suspect(
            "output",
            "softmax over the wrong axis",
            say(
                "the answers of {layer} add up to 1 over {over}, and not over its {units} units: nothing says which "
                "class of a sample it is.",
                layer=task.layer,
                over=over,
                units=task.units,
            ),
            0.9,
            0.97,
            0.6,
            layer=task.layer,
            cures=(Cure("softmax", "keras.ops.softmax(x, axis=-1)", "the classes of one sample compete."),),
            axis=axis,
        )


def _one_softmax(task: Task) -> Iterator[Suspicion]:
    if task.units != 1:
        return
    if task.activation == "softmax":
        yield suspect(
            "output",
            "softmax over one unit",
            say(
                "{layer} is a softmax over one unit, which is 1 whatever the input: nothing can be learned.",
                layer=task.layer,
            ),
            0.98,
            0.99,
            0.9,
            layer=task.layer,
            cures=(SIGMOID,),
        )
    elif task.loss and task.loss.takes == "categorical":
        yield suspect(
            "loss",
            "categorical cross-entropy of one unit",
            say(
                "{loss} compares classes, but {layer} has one unit: its share is always 1, and the loss 0.",
                loss=task.loss.name,
                layer=task.layer,
            ),
            0.97,
            0.98,
            0.9,
            layer=task.layer,
            cures=(BINARY, _softmax(task)),
        )


def _fits(task: Task) -> Iterator[Suspicion]:
    """Activation and loss that are made for other targets."""
    if task.loss is None or task.units < 2:
        return
    if task.kind == "several labels" and task.activation == "softmax":
        several = float(np.mean(task.targets.reshape(-1, task.units).sum(1) > 1)) if task.targets.size else 0.0
        yield suspect(
            "output",
            "softmax where several labels hold at once",
            say(
                "{several} of the samples have several labels, but the softmax of {layer} shares 1 among all.",
                several=w.share(several),
                layer=task.layer,
            ),
            0.85,
            0.95,
            0.55,
            layer=task.layer,
            cures=(SIGMOID, BINARY),
            several=several,
        )
    if task.kind == "several labels" and task.loss.takes == "categorical":
        yield suspect(
            "loss",
            "a loss of one class for several labels",
            say("{loss} is made for one class a sample, but several labels hold at once.", loss=task.loss.name),
            0.6,
            0.85,
            0.4,
            cures=(BINARY,),
        )
    if task.kind == "one-hot" and task.activation == "softmax":
        without = float(np.mean(task.targets.reshape(-1, task.targets.shape[-1]).sum(-1) == 0))
        if without > WITHOUT:
            yield suspect(
                "labels",
                "targets without a class",
                say(
                    "{without} of the targets of {at} are of no class, all zeros: the softmax of {layer} has to give "
                    "1 to some, and they cost nothing, whatever it says.",
                    without=w.share(without),
                    at=task.at,
                    layer=task.layer,
                ),
                0.5,
                0.92,
                0.35,
                layer=task.layer,
                cures=(Cure("labels", "a class of its own for what has none", "each target adds up to 1."),),
                without=without,
            )
    one = task.kind in ("one-hot", "class numbers")
    if one and task.loss.takes == "binary" and task.units > 2:
        yield suspect(
            "loss",
            "binary cross-entropy for one class among several",
            say(
                "{loss} judges each of {units} units by itself, of which one is right: saying no to all is {share} "
                "right.",
                loss=task.loss.name,
                units=task.units,
                share=w.share(1 - 1 / task.units),
            ),
            0.4 if task.activation != "softmax" else 0.5,
            0.85,
            0.2,
            cures=(entropy(task), _softmax(task)),
            units=task.units,
        )
    if one and task.activation == "sigmoid" and task.loss.takes in ("categorical", "sparse"):
        yield suspect(
            "output",
            "sigmoids for one class among several",
            say(
                "the sigmoids of {layer} do not compete, but {loss} takes shares that add up to 1.",
                layer=task.layer,
                loss=task.loss.name,
            ),
            0.5,
            0.85,
            0.3,
            layer=task.layer,
            cures=(_softmax(task),),
        )


def _range(task: Task) -> Iterator[Suspicion]:
    """Numbers that the last activation cannot give."""
    if task.activation not in RANGES or task.kind == "none" or task.targets.dtype.kind not in "biuf":
        return
    low, high = RANGES[task.activation]
    y = np.asarray(task.targets, np.float64)
    y = y[np.isfinite(y)]
    distance = task.loss is None or task.loss.takes in ("distance", "other")
    if not distance or not y.size or (task.loss is not None and "Hinge" in task.loss.name):
        return
    beyond = float(np.mean((y < low - REACHED) | (y > high + REACHED)))
    if beyond:
        told = say("from {low} to {high}", low=w.number(float(y.min())), high=w.number(float(y.max())))
        yield suspect(
            "output",
            "an output that cannot reach the targets",
            say(
                "{beyond} of the targets, which go {told}, lie beyond what the {activation} of {layer} can give.",
                beyond=w.share(beyond),
                told=told,
                activation=task.activation,
                layer=task.layer,
            ),
            0.95 if beyond > OUT_OF_REACH else 0.5,
            0.97 if beyond > OUT_OF_REACH else 0.75,
            0.55 if beyond > 0.2 else 0.4,
            layer=task.layer,
            cures=(LINEAR, STANDARD),
            beyond=beyond,
        )
    elif task.activation == "relu" and task.kind == "numbers":
        yield suspect(
            "output",
            "ReLU on the output",
            say(
                "{layer} ends in a ReLU: where it is 0 it has no gradient, and a unit that is 0 everywhere stays so.",
                layer=task.layer,
            ),
            0.3,
            0.8,
            0.2,
            layer=task.layer,
            cures=(LINEAR,),
        )
    elif task.activation == "softmax" and task.kind == "numbers" and task.units > 1:
        yield suspect(
            "output",
            "softmax for numbers",
            say(
                "the softmax of {layer} shares 1 among {units} units, but the targets are numbers.",
                layer=task.layer,
                units=task.units,
            ),
            0.5,
            0.85,
            0.3,
            layer=task.layer,
            cures=(LINEAR,),
        )


def _probabilities(task: Task) -> Iterator[Suspicion]:
    """Logits where the loss takes probabilities, or the reverse."""
    if task.loss is None or task.loss.own or task.loss.takes not in ("sparse", "categorical", "binary"):
        return
    if task.activation is None:
        return
    right = "sigmoid" if task.loss.takes == "binary" else "softmax"
    if task.loss.logits:
        if task.activation in ("softmax", "sigmoid"):
            # Keras finds the logits behind a softmax or sigmoid on TensorFlow, and takes them.
            found = keras.config.backend() == "tensorflow"
            yield suspect(
                "loss",
                "probabilities given to a loss of logits",
                say(
                    "{layer} ends in a {activation}, and {loss} (from_logits=True) applies another: the answers can "
                    "hardly differ.",
                    layer=task.layer,
                    activation=task.activation,
                    loss=task.loss.name,
                ),
                0.3 if found else 0.8,
                0.5 if found else 0.95,
                0.2 if found else 0.5,
                layer=task.layer,
                cures=(Cure("the loss", "from_logits=False", "a softmax is applied once."),),
            )
        return
    if task.activation in ("softmax", "sigmoid", "hard_sigmoid"):
        return
    what = say("a {activation}" if task.activation else "no activation", activation=task.activation)
    name = task.loss.name
    learned = 0.55
    yield suspect(
        "output",
        "a last layer that gives no probabilities",
        say(
            "{name} takes probabilities, but {layer} has {what}: what it gives is cut off at 0 and 1, and has no "
            "gradient there.",
            name=name,
            layer=task.layer,
            what=what,
        ),
        0.9,
        0.96,
        learned,
        layer=task.layer,
        cures=(_softmax(task) if right == "softmax" else SIGMOID,),
    )
    if not task.activation:
        yield suspect(
            "loss",
            "logits given to a loss of probabilities",
            say("{name} is not told that it is given logits by {layer}.", name=name, layer=task.layer),
            0.85,
            0.94,
            0.5,
            layer=task.layer,
            cures=(
                Cure(
                    "the loss",
                    f"keras.losses.{name}(from_logits=True)",
                    say("it applies the {right} itself.", right=right),
                ),
            ),
        )


def _distance(task: Task) -> Iterator[Suspicion]:
    """Distances between classes, and classes for numbers."""
    if task.loss is None:
        return
    if task.loss.takes == "distance" and task.kind in ("one-hot", "several labels", "binary"):
        ends = {"one-hot": "softmax", "several labels": "sigmoid", "binary": "sigmoid"}[task.kind]
        yield suspect(
            "loss",
            "a distance for classes",
            say(
                "{loss} measures distances, but the targets of {at} are classes: where a {ends} is surely wrong its "
                "gradient vanishes.",
                loss=task.loss.name,
                at=task.at,
                ends=ends,
            ),
            0.35,
            0.75,
            0.15,
            cures=(BINARY if task.kind != "one-hot" else entropy(task),),
        )
    if task.loss.takes in ("sparse", "categorical") and task.kind == "numbers" and task.units > 1:
        y = np.asarray(task.targets, np.float64)
        shares = y.ndim == 2 and (y >= 0).all() and np.allclose(y.sum(-1), 1, atol=1e-2)
        if not shares and task.loss.takes == "categorical":
            yield suspect(
                "loss",
                "a loss of classes for numbers",
                say(
                    "{loss} takes shares of classes, but the targets of {at} are numbers that do not add up to 1.",
                    loss=task.loss.name,
                    at=task.at,
                ),
                0.85,
                0.95,
                0.6,
                cures=(Cure("mean squared error", 'loss="mse"', "numbers are compared by their distance."),),
            )
