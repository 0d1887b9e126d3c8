"""What is wrong with the inputs: scale, offset, coding, and what a model's own augmentation leaves of them."""

from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.task import Task
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say
from zoo.telemetry.layers import all_layers

LARGE = 10.0  # rms of inputs; standardized ones have 1, pixels in [0, 1] about 0.3
SMALL = 1e-2  # the same
OFFSET = 10.0  # mean of a column over its deviation
UNEVEN = 1e3  # deviation of a column over that of another
MOST_CODES = 50  # different whole numbers of a column that may be names of something
CODED = 0.25  # of the targets' variance: what a column tells as codes, beyond what it tells as an amount
LEFT = 0.15  # correlation of augmented pictures with what they were made from


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about the inputs."""
    for a in program.inputs:
        if a.dtype.kind == "f" or (a.dtype.kind in "iu" and not _looks_up(program.model)):
            yield from _scale(program, a[program.some])
    yield from _codes(program)
    yield from _augmented(program)


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
            say("the input is the same in all {count:,} samples: nothing can tell them apart.", count=len(flat)),
            0.9,
            0.95,
            0.3,
            cures=(Cure("inputs", "an x that differs between samples", "of one input there is one answer."),),
        )
        return
    if within or not told.any():
        return
    numbers = {"rms": rms, "smallest": np.nanmin(flat), "largest": np.nanmax(flat)}
    cure = (
        Cure(
            "inputs",
            "a keras.layers.Normalization() that is adapted to x in front, or (x - x.mean(0)) / x.std(0)",
            "weights are drawn for inputs of deviation 1.",
        ),
    )
    span = say("from {low} to {high}", low=w.number(float(np.nanmin(flat))), high=w.number(float(np.nanmax(flat))))
    if rms > LARGE:
        yield suspect(
            "inputs",
            "inputs of a large scale",
            say(
                "inputs reach {span}, rms {rms}: activations and gradients begin that many times too large.",
                span=span,
                rms=w.number(rms),
            ),
            0.5,
            0.85 if rms > 3 * LARGE else 0.7,
            0.3,
            cures=cure,
            **numbers,
        )
    elif rms < SMALL and np.nanmax(np.abs(flat)) < 10 * SMALL:  # of few that are not 0, as one-hot ones, each is large
        yield suspect(
            "inputs",
            "inputs of a small scale",
            say(
                "inputs reach {span}, rms {rms}: the first layer hardly tells them apart.", span=span, rms=w.number(rms)
            ),
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
                say(
                    "column {column} has deviation {largest}, another {smallest}: the small ones count for nothing.",
                    column=int(np.argmax(deviation)),
                    largest=w.number(float(sizes.max())),
                    smallest=w.number(float(sizes.min())),
                ),
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
            say(
                "inputs lie {offset} deviations from 0: what differs between samples is small beside what does not.",
                offset=w.number(float(np.median(far))),
            ),
            0.4,
            0.75,
            0.25,
            cures=cure,
            offset=np.median(far),
        )


def _codes(program: Program) -> Iterator[Suspicion]:
    """Columns of whole numbers that tell more as names than as amounts."""
    if len(program.inputs) != 1 or not program.tasks or _looks_up(program.model) or not program.finite:
        return
    a, aim = program.inputs[0][program.some], _aim(program.tasks[0], program.some)
    if a.ndim != 2 or a.dtype.kind not in "iuf" or aim is None or not aim.std():
        return
    for column in range(min(a.shape[1], 64)):
        values, codes = np.unique(a[:, column], return_inverse=True)
        whole = len(values) and (values == np.round(values)).all()
        if not whole or not 4 <= len(values) <= min(MOST_CODES, len(a) // 20):
            continue
        means = np.bincount(codes, weights=aim) / np.bincount(codes)
        # The share that means of groups explain, less what chance gives so many of them.
        as_codes = float(np.var(means[codes]) / aim.var()) - len(values) / len(a)
        as_amount = float(np.corrcoef(a[:, column].astype(np.float64), aim)[0, 1] ** 2)
        if as_codes - as_amount > CODED:
            yield suspect(
                "inputs",
                "codes taken for numbers",
                say(
                    "column {column} of x has {count} whole numbers, which tell {as_codes} of the targets' variance "
                    "as names and {as_amount} as an amount: the network has to take them apart.",
                    column=column,
                    count=len(values),
                    as_codes=w.share(as_codes),
                    as_amount=w.share(as_amount),
                ),
                0.35,
                0.7,
                0.2,
                cures=(
                    Cure("codes", "keras.utils.to_categorical(x[:, column]), or an Embedding", "codes have no order."),
                ),
                column=column,
                as_codes=as_codes,
                as_amount=as_amount,
            )
            return


def _aim(task: Task, index: np.ndarray) -> np.ndarray | None:
    """Return one number a sample to be told: the target, or whether the sample is of the commonest class."""
    if len(task.labels):
        labels = task.labels[index]
        return (labels == np.bincount(labels).argmax()).astype(np.float64)
    y = task.targets
    return y.reshape(-1)[index].astype(np.float64) if y.size == len(y) and y.dtype.kind in "iuf" else None


def _augmented(program: Program) -> Iterator[Suspicion]:
    """Random layers in front of a model that leave nothing of its pictures."""
    layers = [layer for layer in all_layers(program.model) if _random(layer)]
    if not layers or len(program.inputs) != 1 or program.inputs[0].ndim != 4:
        return
    pictures = keras.ops.convert_to_tensor(keras.tree.flatten(program.batch(64)[0])[0])
    before = np.asarray(keras.ops.convert_to_numpy(pictures), np.float64)
    with keras.StatelessScope():  # what they draw is put back
        for layer in layers:
            pictures = layer(pictures, training=True)
    after = np.asarray(keras.ops.convert_to_numpy(pictures), np.float64)
    if before.shape != after.shape:
        return
    a, b = (v.reshape(len(v), -1) - v.reshape(len(v), -1).mean(1, keepdims=True) for v in (before, after))
    norms = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    alike = float(np.mean(np.where(norms > 0, (a * b).sum(1) / np.maximum(norms, 1e-12), 0)))
    if alike < LEFT:
        yield suspect(
            "data",
            "augmentation that leaves nothing",
            say(
                "{layer} and what follows it change pictures until {alike} of them is left (correlation with what "
                "they were made from): training sees other pictures than inference.",
                layer=layers[0].name,
                alike=w.share(max(alike, 0)),
            ),
            0.45,
            0.85,
            0.2,
            layer=layers[0].name,
            cures=(
                Cure("augmentation", "smaller factors, such as keras.layers.RandomRotation(0.05)", "classes stay."),
            ),
            alike=alike,
        )


def _random(layer: keras.layers.Layer) -> bool:
    return type(layer).__name__.startswith("Random") and type(layer).__module__.startswith("keras.")
