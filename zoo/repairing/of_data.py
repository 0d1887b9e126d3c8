"""Changes to inputs, targets and labels: a layer in front or behind, or a line of code."""

import dataclasses

import numpy as np

from zoo.repairing.change import Change, Keyed
from zoo.repairing.plan import sound_rows, unused
from zoo.repairing.subject import Subject

MOST_SOUND = 0.5  # of the rows: where fewer are sound, leaving the others out leaves too little
BLANK = 0.02  # of one-hot rows that are zeros


def changes(subject: Subject) -> Keyed:
    """Yield what would change something of these data."""
    program, aim = subject.program, subject.aim
    if not program.finite:
        few = sound_rows(program.x, program.y).mean() > MOST_SOUND
        code = "keep = np.isfinite(x).all(axis=1)  # and of y\nx, y = x[keep], y[keep]"
        yield (
            "numbers",
            Change(
                "rows of numbers" if few else "zeros for what is no number",
                "data",
                "one value that is no number makes all weights such.",
                lambda plan: dataclasses.replace(plan, holes="left out" if few else "filled"),
                by_hand=code if few else "x = np.nan_to_num(x, posinf=0.0, neginf=0.0)",
            ),
        )
    floats = [a for a in program.inputs if a.dtype.kind in "fiu"]
    if len(floats) == len(program.inputs) and not subject.normalizes_inputs:
        yield (
            "standardize",
            Change(
                "standardized inputs",
                "inputs",
                "inputs of mean 0 and deviation 1 suit the weights that layers begin with.",
                lambda plan: dataclasses.replace(plan, standardized=True),
            ),
        )
    if aim is None:
        return
    if aim.kind == "numbers":
        y = program.targets[0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            unlike = not (0.3 < np.nanstd(y) < 3 and abs(np.nanmean(y)) < 3 * np.nanstd(y))
        if unlike and subject.editable:
            yield (
                "scaled targets",
                Change(
                    "scaled targets",
                    "targets",
                    "answers near 0 of deviation 1 are reached in few steps; a layer behind scales them back.",
                    lambda plan: dataclasses.replace(plan, scaled=True),
                    by_hand="offset, scale = y.mean(axis=0), y.std(axis=0)\n"
                    "# fit without the layer Rescaling on (y - offset) / scale; behind it comes when all is trained",
                ),
            )
    blank = aim.kind == "one-hot" and float(np.mean(program.targets[0].sum(-1) == 0)) > BLANK
    if blank and unused(subject) >= 0:
        yield (
            "labels",
            Change(
                "a class for what has none",
                "labels",
                "of a row of zeros every answer costs nothing.",
                lambda plan: dataclasses.replace(plan, labels="own class"),
                by_hand=f"y[..., {unused(subject)}] += y.sum(axis=-1) == 0",
            ),
        )
    wrong = len(aim.classes) and not np.array_equal(aim.classes, np.arange(len(aim.classes)))
    if wrong and aim.kind == "class numbers":
        yield (
            "labels",
            Change(
                "class numbers from 0",
                "labels",
                "a class is the number of its unit: 0, 1, 2 ...",
                lambda plan: dataclasses.replace(plan, labels="from zero"),
                by_hand="classes, y = np.unique(y, return_inverse=True)",
            ),
        )
    elif wrong and aim.kind in ("binary", "several labels"):
        yield (
            "labels",
            Change(
                "labels of 0 and 1",
                "labels",
                "a probability lies between 0 and 1.",
                lambda plan: dataclasses.replace(plan, labels="zeros and ones"),
                by_hand='y = (y == y.max()).astype("float32")',
            ),
        )
