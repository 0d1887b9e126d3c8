"""What is wrong with the rows: values that are no numbers, labels, order, repeats, the validation part."""

from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say

CONTRADICTED = 0.05  # share of labels that other samples with the same input deny
RARE = 0.05  # share of a class that accuracy hardly sees


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about the samples."""
    yield from _not_finite(program)
    yield from _rows(program)
    yield from _contradicted(program)
    yield from _validation(program)


def _not_finite(program: Program) -> Iterator[Suspicion]:
    for arrays, what in ((program.inputs, "input"), (program.targets, "target")):
        for a in arrays:
            bad = ~np.isfinite(a) if a.dtype.kind == "f" else np.zeros(1, bool)
            if not bad.any():
                continue
            rows = np.flatnonzero(bad.reshape(len(a), -1).any(1))
            columns = np.flatnonzero(bad.reshape(-1, a.shape[-1]).any(0)) if a.ndim > 1 else np.zeros(1, int)
            one = len(columns) == 1 and a.ndim > 1
            where = say("column {column}", column=columns[0]) if one else say("{count} columns", count=len(columns))
            yield suspect(
                "data",
                f"{what}s that are no numbers",
                say(
                    "{rows:,} of {all:,} {what} rows hold NaN or infinity, the first is row {first}, in {where}: one "
                    "such batch makes every weight NaN.",
                    rows=len(rows),
                    all=len(a),
                    what=say(what),
                    first=rows[0],
                    where=where,
                ),
                0.99,
                0.99,
                0.9,
                cures=(
                    Cure("data", "x = x[np.isfinite(x).all(axis=1)], or np.nan_to_num(x)", "mend what is no number."),
                ),
                share=len(rows) / len(a),
                first_row=rows[0],
            )


def _rows(program: Program) -> Iterator[Suspicion]:
    """Look at what samples have to do with each other: order, repeats, shares of classes."""
    for task in program.tasks:
        if program.count >= 20 and (task.targets == task.targets[:1]).all():
            what = "labels" if task.classified else "targets"
            yield suspect(
                "labels" if task.classified else "targets",
                f"{what} that are all the same",
                say(
                    "the {what} of {at} are the same in all {count:,} samples: there is nothing to learn.",
                    what=say(what),
                    at=task.at,
                    count=program.count,
                ),
                0.9,
                0.95,
                0.8,
                cures=(Cure(what, "a y that differs between samples", "look at how y was read, coded and sliced."),),
            )
            continue
        if len(task.labels) < 20:
            continue
        shares = np.bincount(task.labels) / len(task.labels)
        rare = shares[shares > 0]
        if task.classified and rare.min() < RARE / max(1, len(rare) / 10) and rare.max() > 0.5:
            yield suspect(
                "labels",
                "a class that is rare",
                say(
                    "the commonest class of {at} holds {commonest} of the samples, the rarest {rarest}: that accuracy "
                    "is had without learning.",
                    at=task.at,
                    commonest=w.share(float(rare.max())),
                    rarest=w.share(float(rare.min())),
                ),
                0.3,
                0.45,
                0.2,
                cures=(
                    Cure(
                        "classes",
                        "class_weight in fit, and a metric such as keras.metrics.AUC()",
                        "rare classes count.",
                    ),
                ),
                commonest=rare.max(),
                rarest=rare.min(),
            )
        if not program.shuffled and sorted_share(task.labels) > 0.95 and len(task.labels) >= 50:
            yield suspect(
                "data",
                "rows sorted by class",
                say(
                    "the rows of {at} are sorted by class: validation_split takes the last ones, which may be of a "
                    "class that training never sees, and without shuffling each batch knows one class.",
                    at=task.at,
                ),
                0.45,
                0.5,
                0.3,
                cures=(
                    Cure(
                        "order",
                        "order = np.random.permutation(len(x)); x, y = x[order], y[order]",
                        "shuffle before a split.",
                    ),
                ),
            )


def _contradicted(program: Program) -> Iterator[Suspicion]:
    """Samples that are the same, with targets that are not."""
    if len(program.inputs) != 1 or not program.tasks or not len(program.tasks[0].labels):
        return
    index, labels = program.some, program.tasks[0].labels
    a = np.ascontiguousarray(program.inputs[0][index].reshape(len(index), -1))
    if a.dtype.kind not in "biuf" or not a.shape[1]:
        return
    rows: dict[bytes, list[int]] = {}
    for row, label in zip(a, labels[index], strict=True):
        rows.setdefault(row.tobytes(), []).append(int(label))
    told = sum(max(map(given.count, set(given))) for given in rows.values()) / len(index)  # by who knows each row
    repeated = 1 - len(rows) / len(index)
    if 1 - told > CONTRADICTED and len(rows) > 1 and len(index) >= 50:
        yield suspect(
            "labels",
            "samples that contradict each other",
            say(
                "{repeated} of the samples repeat another, and their labels differ: whoever knows each input by heart "
                "is right in {told}.",
                repeated=w.share(repeated),
                told=w.share(told),
            ),
            0.6 if told < 0.6 else 0.3,
            0.85 if told < 0.6 else 0.75 if told < 0.8 else 0.5,
            0.2,
            cures=(Cure("labels", "one label for each input", "of one input there is one answer."),),
            repeated=repeated,
            told=told,
        )


def sorted_share(labels: np.ndarray) -> float:
    """Return the share of neighbours that are of one class, beyond what chance gives; 1 for rows sorted by class."""
    if len(labels) < 2:
        return 0.0
    same = float(np.mean(labels[1:] == labels[:-1]))
    chance = float(np.square(np.bincount(labels) / len(labels)).sum())
    return (same - chance) / (1 - chance) if chance < 1 else 0.0


def _validation(program: Program) -> Iterator[Suspicion]:
    """Look whether the validation data are drawn as the training data are."""
    if program.validation is None:
        return
    for a, b in zip(program.inputs, [np.asarray(v) for v in keras.tree.flatten(program.validation[0])], strict=False):
        if a.dtype.kind not in "iuf" or a.ndim < 2 or a.shape[1:] != b.shape[1:] or len(b) < 20:
            continue
        with np.errstate(all="ignore"):
            first, other = (v.reshape(len(v), -1).astype(np.float64) for v in (a[program.some], b))
            spread = max(float(np.nanstd(first)), 1e-12)
            ratio = float(np.nanstd(other)) / spread
            shift = abs(float(np.nanmean(other) - np.nanmean(first))) / spread
        if not 1 / 5 < ratio < 5 or shift > 2:
            yield suspect(
                "data",
                "validation data of another scale",
                say(
                    "validation inputs have {ratio} times the deviation of the training inputs, and their mean lies "
                    "{shift} deviations away: they were not prepared in the same way.",
                    ratio=w.number(ratio),
                    shift=w.number(shift),
                ),
                0.85,
                0.9,
                0.6,
                cures=(Cure("validation", "the same preparation for both", "a model answers what it was trained on."),),
                ratio=ratio,
                shift=shift,
            )
