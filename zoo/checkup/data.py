"""What is wrong with the data, whatever the model."""

from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.layers import all_layers

LARGE = 10.0  # rms of inputs; standardized ones have 1, pixels in [0, 1] about 0.3
SMALL = 1e-2  # the same
OFFSET = 10.0  # mean of a column over its deviation
UNEVEN = 1e3  # deviation of a column over that of another
RARE = 0.05  # share of a class that accuracy hardly sees
STANDARD = "a keras.layers.Normalization() that is adapted to x in front, or (x - x.mean(0)) / x.std(0)"


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about inputs and targets."""
    yield from _not_finite(program)
    for a in program.inputs:
        if a.dtype.kind == "f" or (a.dtype.kind in "iu" and not _looks_up(program.model)):
            yield from _scale(program, a[program.some])
    yield from _rows(program)
    yield from _validation(program)


def _not_finite(program: Program) -> Iterator[Suspicion]:
    for arrays, what in ((program.inputs, "input"), (program.targets, "target")):
        for a in arrays:
            bad = ~np.isfinite(a) if a.dtype.kind == "f" else np.zeros(1, bool)
            if not bad.any():
                continue
            rows = np.flatnonzero(bad.reshape(len(a), -1).any(1))
            columns = np.flatnonzero(bad.reshape(-1, a.shape[-1]).any(0)) if a.ndim > 1 else np.zeros(1, int)
            where = f"column {columns[0]}" if len(columns) == 1 and a.ndim > 1 else f"{len(columns)} columns"
            yield suspect(
                "data",
                f"{what}s that are no numbers",
                f"{len(rows):,} of {len(a):,} {what} rows hold NaN or infinity, the first is row {rows[0]}, in "
                f"{where}: one such batch makes every weight NaN.",
                0.99,
                0.99,
                0.9,
                cures=(
                    Cure("data", "x = x[np.isfinite(x).all(axis=1)], or np.nan_to_num(x)", "mend what is no number."),
                ),
                share=len(rows) / len(a),
                first_row=rows[0],
            )


def _looks_up(model: keras.Model) -> bool:
    """Whether the model has an embedding, to which inputs of whole numbers go."""
    return any(isinstance(layer, keras.layers.Embedding) for layer in all_layers(model))


def _scaled_within(model: keras.Model) -> bool:
    """Whether the model brings its inputs to scale itself, in one of its first layers."""
    kinds = ("Normalization", "Rescaling", "BatchNormalization", "LayerNormalization")
    return any(type(layer).__name__ in kinds for layer in all_layers(model)[:8])


def _scale(program: Program, a: np.ndarray) -> Iterator[Suspicion]:
    flat = a.reshape(len(a), -1).astype(np.float64)
    flat = flat[:: max(1, flat.size // 4_000_000)]
    flat = np.where(np.isfinite(flat), flat, np.nan)
    if np.isnan(flat).all():
        return
    within = _scaled_within(program.model)
    with np.errstate(all="ignore"):
        deviation, mean = np.nanstd(flat, axis=0), np.nanmean(flat, axis=0)
        rms = float(np.sqrt(np.nanmean(flat**2)))
    told = deviation > 1e-12 * np.abs(mean).max()
    if len(flat) > 1 and not told.any():
        yield suspect(
            "inputs",
            "inputs that are all the same",
            f"the input is the same in all {len(flat):,} samples: nothing can tell them apart.",
            0.9,
            0.95,
            0.3,
            cures=(Cure("inputs", "an x that differs between samples", "of one input there is one answer."),),
        )
        return
    if within or not told.any():
        return
    numbers = {"rms": rms, "smallest": np.nanmin(flat), "largest": np.nanmax(flat)}
    cure = (Cure("inputs", STANDARD, "weights are drawn for inputs of deviation 1."),)
    span = f"from {w.number(float(np.nanmin(flat)))} to {w.number(float(np.nanmax(flat)))}"
    if rms > LARGE:
        yield suspect(
            "inputs",
            "inputs of a large scale",
            f"inputs reach {span}, rms {w.number(rms)}: activations and gradients begin that many times too large.",
            0.5,
            0.85 if rms > 3 * LARGE else 0.7,
            0.3,
            cures=cure,
            **numbers,
        )
    elif rms < SMALL:
        yield suspect(
            "inputs",
            "inputs of a small scale",
            f"inputs reach {span}, rms {w.number(rms)}: the first layer hardly tells them apart.",
            0.5,
            0.85,
            0.3,
            cures=cure,
            **numbers,
        )
    if a.ndim == 2 and flat.shape[1] > 1:
        sizes = deviation[told]
        if sizes.max() > UNEVEN * sizes.min() and rms > 1:
            yield suspect(
                "inputs",
                "columns of very different scale",
                f"column {int(np.argmax(deviation))} has deviation {w.number(float(sizes.max()))}, another "
                f"{w.number(float(sizes.min()))}: the small ones count for nothing.",
                0.5,
                0.85,
                0.3,
                cures=cure,
                ratio=sizes.max() / sizes.min(),
            )
    far = np.abs(mean[told]) / deviation[told]
    if a.ndim == 2 and np.median(far) > OFFSET:
        yield suspect(
            "inputs",
            "inputs far from zero",
            f"inputs lie {w.number(float(np.median(far)))} deviations from 0: what differs between samples is small "
            "beside what does not.",
            0.4,
            0.75,
            0.25,
            cures=cure,
            offset=np.median(far),
        )


def _rows(program: Program) -> Iterator[Suspicion]:
    """Look at what samples have to do with each other: order, repeats, shares of classes."""
    for task in program.tasks:
        if len(task.labels) < 20:
            continue
        shares = np.bincount(task.labels) / len(task.labels)
        if np.count_nonzero(shares) == 1:
            yield suspect(
                "labels",
                "labels that are all the same",
                f"all {len(task.labels):,} labels of {task.at} are the same: there is nothing to learn.",
                0.9,
                0.95,
                0.7,
                cures=(Cure("labels", "a y with all classes", "look at how y was read and sliced."),),
            )
            return
        rare = shares[shares > 0]
        if task.classified and rare.min() < RARE / max(1, len(rare) / 10) and rare.max() > 0.5:
            yield suspect(
                "labels",
                "a class that is rare",
                f"the commonest class of {task.at} holds {w.share(float(rare.max()))} of the samples, the rarest "
                f"{w.share(float(rare.min()))}: that accuracy is had without learning.",
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
                f"the rows of {task.at} are sorted by class: validation_split takes the last ones, which may be of a "
                "class that training never sees, and without shuffling each batch knows one class.",
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
                f"validation inputs have {w.number(ratio)} times the deviation of the training inputs, and their mean "
                f"lies {w.number(shift)} deviations away: they were not prepared in the same way.",
                0.85,
                0.9,
                0.6,
                cures=(Cure("validation", "the same preparation for both", "a model answers what it was trained on."),),
                ratio=ratio,
                shift=shift,
            )
