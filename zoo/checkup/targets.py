"""Whether the targets are coded as loss and last layer take them: class numbers, shares, numbers of a fit scale."""

from collections.abc import Iterator

import numpy as np

from zoo.checkup.outputs import STANDARD, entropy
from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.task import Task
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say

LARGE_TARGETS = 20.0  # rms: by so much the last layer has to grow at small steps
SMALL_TARGETS = 1e-2


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about how targets are coded."""
    for task in program.tasks:
        for rule in (_labels, _units, _scale):
            yield from rule(task)


def _labels(task: Task) -> Iterator[Suspicion]:
    """Class numbers that the loss cannot take."""
    if task.loss is None or task.targets.dtype.kind not in "biuf":
        return
    y = task.targets.reshape(-1).astype(np.float64)
    y = y[np.isfinite(y) & (y != task.loss.ignored)]
    if not y.size:
        return
    values = np.unique(y[:20_000])
    if task.loss.takes == "sparse":
        if (values != np.round(values)).any():
            yield suspect(
                "labels",
                "class numbers that are no whole numbers",
                say(
                    "{loss} takes whole class numbers, but y holds {count} values such as {one}: cut down to whole "
                    "ones they are other classes.",
                    loss=task.loss.name,
                    count=len(values),
                    one=w.number(float(values[values != np.round(values)][0])),
                ),
                0.97,
                0.98,
                0.9,
                cures=(Cure("labels", 'y.astype("int32"), not scaled', "a class number is a name, not an amount."),),
                values=len(values),
            )
        elif values.max() >= task.units or values.min() < 0:
            one = values.min() == 1 and values.max() == task.units
            told = say(
                "labels begin at 1" if one else "labels go from {low:.0f} to {high:.0f}",
                low=values.min(),
                high=values.max(),
            )
            more = say("a last layer of {units:.0f} units, or labels from 0 on", units=values.max() + 1)
            yield suspect(
                "labels",
                "labels beyond the output's units",
                say(
                    "{told}, but {layer} has {units} units, for the classes 0 to {last}.",
                    told=told,
                    layer=task.layer,
                    units=task.units,
                    last=task.units - 1,
                ),
                0.97,
                0.98,
                0.9,
                layer=task.layer,
                cures=(Cure("labels", "y - 1" if one else more, "each class number is that of a unit."),),
                largest=values.max(),
                smallest=values.min(),
            )
    elif task.loss.takes == "binary" and (values.min() < 0 or values.max() > 1):
        two = len(values) == 2
        if task.units == 1 and not two:
            yield from _too_few(task, len(values))
        told = say("from {low} to {high}", low=w.number(float(values.min())), high=w.number(float(values.max())))
        yield suspect(
            "labels" if two or len(values) <= 20 else "loss",
            "targets that are no probabilities",
            say(
                "{loss} takes targets in [0, 1], but y goes {told}: its loss has no bottom there.",
                loss=task.loss.name,
                told=told,
            ),
            0.96,
            0.98,
            0.8 if two else 0.9,
            cures=(
                Cure("labels", "(y == y.max()).astype('float32')", "two classes are 0 and 1.")
                if two
                else Cure("mean squared error", 'loss="mse"', "numbers are compared by their distance.")
                if task.kind == "numbers"
                else entropy(task),
            ),
            largest=values.max(),
            smallest=values.min(),
        )


def _too_few(task: Task, classes: int) -> Iterator[Suspicion]:
    yield suspect(
        "output",
        "one unit for several classes",
        say(
            "y has {classes} classes, but {layer} has one unit, which tells two apart.",
            classes=classes,
            layer=task.layer,
        ),
        0.9,
        0.97,
        0.6,
        layer=task.layer,
        cures=(
            Cure("softmax", f'keras.layers.Dense({classes}, activation="softmax")', "each class has a unit."),
            Cure("loss", 'loss="sparse_categorical_crossentropy"', "it takes class numbers."),
        ),
        classes=classes,
    )


def _units(task: Task) -> Iterator[Suspicion]:
    """One unit, and a bounded one, for what has more than two values of a class."""
    if task.units != 1 or task.loss is None or task.loss.takes in ("sparse", "categorical"):
        return
    y = task.targets.reshape(-1)
    if y.dtype.kind not in "biuf" or (task.loss.takes == "binary" and (np.min(y) < 0 or np.max(y) > 1)):
        return
    values = np.unique(y[:20_000])
    whole = (values == np.round(values)).all()
    if whole and 2 < len(values) <= 20 and task.activation in ("sigmoid", "softmax"):
        yield from _too_few(task, len(values))


def _scale(task: Task) -> Iterator[Suspicion]:
    if task.kind != "numbers" or task.loss is None or task.loss.takes != "distance":
        return
    y = np.asarray(task.targets, np.float64)
    y = y[np.isfinite(y)]
    if not y.size or not y.std() > 0:
        return
    rms, deviation, mean = float(np.sqrt(np.mean(y**2))), float(y.std()), float(abs(y.mean()))
    span = say("targets go from {low} to {high}", low=w.number(float(y.min())), high=w.number(float(y.max())))
    if rms > LARGE_TARGETS:
        told, sure = (
            say("{span}: the last layer begins near 0 and has {rms} times to grow.", span=span, rms=w.number(rms)),
            min(1.0, rms / 1e3),
        )
        yield suspect(
            "targets",
            "targets of a large scale",
            told,
            0.45,
            0.7 + 0.2 * sure,
            0.3,
            cures=(STANDARD,),
            rms=rms,
            deviation=deviation,
            mean=mean,
        )
    elif deviation < SMALL_TARGETS or mean > 20 * deviation:
        yield suspect(
            "targets",
            "targets that hardly differ beside their size",
            say(
                "{span}, with deviation {deviation} around {mean}: the loss is nearly all had by their mean.",
                span=span,
                deviation=w.number(deviation),
                mean=w.number(float(y.mean())),
            ),
            0.4,
            0.75,
            0.3,
            cures=(STANDARD,),
            rms=rms,
            deviation=deviation,
            mean=mean,
        )
