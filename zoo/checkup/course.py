"""What only the course of a training shows: averages that lag, a validation part apart, steps, schedules, penalties."""

import itertools
from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.data import sorted_share
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.training import UNTOLD, Training, beyond
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure, Finding
from zoo.telemetry.language import say
from zoo.telemetry.layers import all_layers

FALLING = 0.02  # of the best constant's loss, an epoch: a loss that still falls
LAGGING = 0.35  # skill that inference has less than training, on the same samples
APART = 0.5  # skill that validation has less than training
FAINT = 0.1  # of a layer's size: samples that differ by less are hardly told apart
FEW_STEPS = 300
SILENT = 0.03  # of what a layer gave before the first step
ALL = 0.98  # share of units


def findings(training: Training) -> Iterator[Suspicion]:
    """Yield what only training shows."""
    if not training.logs or not len(training.history):
        return
    yield from _lagging(training)
    yield from _validation(training)
    yield from _rate_fell(training)
    yield from _clipped(training)
    yield from _silenced(training)
    if not training.cut:
        yield from _steps(training)
        yield from _batches(training)


def unexplained(training: Training) -> Finding:
    """Return what can be said of a training that failed without a fault that is known."""
    last, told = training.probes[-1], ""
    if np.isfinite(training.told) and training.told > UNTOLD:
        told = say(", where plain methods tell {plain} on samples held out", plain=w.share(training.told))
    skill = say(
        "the model tells {skill} of the targets after {steps}{told}",
        skill=w.share(max(training.skill, 0)),
        steps=w.steps(training.steps),
        told=told,
    )
    hidden = [i for i in range(len(last.layers) - 1) if np.isfinite(last.variation[i])]
    if hidden and last.variation[hidden[-1]] < FAINT:
        apart, layer = float(last.variation[hidden[-1]]), last.layers[hidden[-1]]
        return suspect(
            "initializer",
            "layers that hardly tell samples apart",
            say(
                "{skill}: what {layer} gives differs between samples by {apart} of its size.",
                skill=skill,
                layer=layer,
                apart=w.share(apart),
            ),
            0.6,
            0.6,
            0.2,
            layer=layer,
            cures=(
                Cure("he normal", 'kernel_initializer="he_normal"', "its variance keeps what tells samples apart."),
                Cure("normalization", "keras.layers.BatchNormalization() behind each layer", "it spreads samples."),
            ),
            variation=apart,
        ).finding
    return suspect(
        "code",
        "less learned than there is",
        say("{skill}, and nothing else was found: look at what lies between the data and the loss.", skill=skill),
        0.55,
        0.55,
        0.2,
        cures=(Cure("fit a few", "model.fit(x[:20], y[:20], epochs=200)", "what cannot learn 20 samples is broken."),),
        skill=training.skill,
        told=training.told,
    ).finding


def _in_training(training: Training) -> float:
    """Return the skill on the probe's batch as in training, with its dropout and its batch's own statistics."""
    last = training.probes[-1] if training.probes else None
    if last is None:
        return np.nan
    return beyond(last.accuracy, last.majority) if np.isfinite(last.accuracy) else max(-1.0, last.r2)


def _lagging(training: Training) -> Iterator[Suspicion]:
    normalized = [
        layer for layer in all_layers(training.program.model) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    trained = _in_training(training)
    if normalized and trained - training.skill > LAGGING and trained > 0.3:
        layer = normalized[0]
        # What a moving average still holds of where it began.
        left = float(layer.momentum**training.steps)
        yield suspect(
            "normalization",
            "batch normalization whose averages lag behind",
            say(
                "on the same samples the model tells {trained} of the targets in training and {skill} in inference: "
                "after {steps} the moving averages of {layer} still hold {left} of where they began.",
                trained=w.share(max(trained, 0)),
                skill=w.share(max(training.skill, 0)),
                steps=w.steps(training.steps),
                layer=layer.name,
                left=w.share(left),
            ),
            0.9,
            0.96,
            0.7,
            layer=layer.name,
            cures=(
                Cure(
                    "momentum",
                    "keras.layers.BatchNormalization(momentum=0.9)",
                    "its averages follow in some dozens of steps.",
                ),
                Cure("steps", "more epochs", "the averages catch up."),
            ),
            training=trained,
            inference=training.skill,
            left=left,
        )


def _validation(training: Training) -> Iterator[Suspicion]:
    last = training.logs[-1]
    baseline = training.probes[-1].baseline if training.probes else np.nan
    gap = training.skill - training.validated
    worse = np.isfinite(gap) and gap > APART and training.skill > APART
    shares = [w.share(max(skill, 0)) for skill in (training.skill, training.validated)]
    told = say(
        "it tells {trained} of the training targets and {validated} of the validation's",
        trained=shares[0],
        validated=shares[1],
    )
    if not worse and "val_loss" in last and np.isfinite(baseline) and baseline > 0:
        first = training.logs[0].get("val_loss", np.nan)
        worse = training.skill > APART and last["val_loss"] > max(1.2 * baseline, 3 * last["loss"])
        worse = worse and min(first, last["val_loss"]) > 0.9 * baseline
        told = say(
            "the validation loss is {validation}, more than the best constant answer costs, {baseline}, while the "
            "training loss is {training}",
            validation=w.number(last["val_loss"]),
            baseline=w.number(baseline),
            training=w.number(last["loss"]),
        )
    if not worse:
        return
    labels = training.program.tasks[0].labels if training.program.tasks else np.zeros(0)
    if len(labels) >= 20 and not training.program.shuffled and sorted_share(labels) > 0.9:
        yield suspect(
            "data",
            "a validation split of sorted rows",
            say(
                "{told}: the rows are sorted by class, and validation_split takes the last ones, of classes that "
                "training hardly saw.",
                told=told,
            ),
            0.95,
            0.97,
            0.95,
            cures=(
                Cure(
                    "order",
                    "order = np.random.permutation(len(x)); x, y = x[order], y[order]",
                    "shuffle before the split.",
                ),
            ),
        )
    elif training.told > APART:
        yield suspect(
            "data",
            "validation unlike training",
            say(
                "{told}, though plain methods tell {plain} on samples held out: the validation samples are drawn, "
                "prepared or labelled in another way.",
                told=told,
                plain=w.share(training.told),
            ),
            0.7,
            0.8,
            0.65,
            cures=(Cure("validation", "a split of shuffled rows, prepared alike", "both are samples of one thing."),),
        )
    else:
        yield suspect(
            "data",
            "training samples learned by heart",
            say(
                "{told}, and plain methods tell {plain} on samples held out: what it learned holds for no others.",
                told=told,
                plain=w.share(max(0.0, np.nan_to_num(training.told))),
            ),
            0.45,
            0.5,
            0.45,
            cures=(
                Cure("labels", "labels that belong to their samples, and more samples", "nothing else generalizes."),
            ),
        )


def _steps(training: Training) -> Iterator[Suspicion]:
    losses = [log["loss"] for log in training.logs if "loss" in log]
    baseline = training.probes[-1].baseline if training.probes else np.nan
    scale = baseline if np.isfinite(baseline) and baseline > 0 else abs(losses[0]) if losses else np.nan
    if len(losses) < 2 or not np.isfinite(losses).all() or not scale > 0:
        if training.steps < 60 and training.verdict.name == "undecided":
            yield _too_few(training, say("the loss has hardly begun to fall"), 0.5, 0.7)
        return
    fall = (losses[-2] - losses[-1]) / scale
    steady = all(a >= b - 0.02 * scale for a, b in itertools.pairwise(losses))
    relative = (losses[-2] - losses[-1]) / max(abs(losses[-1]), 1e-12)
    if steady and (fall > FALLING or relative > 0.01 or training.steps < 60):
        told = say(
            "the loss still falls, from {before} to {after} in the last epoch",
            before=w.number(losses[-2]),
            after=w.number(losses[-1]),
        )
        # Where nothing is to be learned, more steps are not the first thing to try.
        failed = 0.6 if training.told <= UNTOLD else 0.8 if training.steps < FEW_STEPS else 0.7
        yield _too_few(training, told, 0.45, failed)


def _too_few(training: Training, told: str, before: float, failed: float) -> Suspicion:
    return suspect(
        "steps",
        "too few steps",
        say("{told}, after {steps} in all.", told=told, steps=w.steps(training.steps)),
        before,
        failed,
        0.0,
        cures=(Cure("epochs", f"epochs={10 * len(training.logs)}", "it has not come to an end."),),
        steps=training.steps,
    )


def _rate_fell(training: Training) -> Iterator[Suspicion]:
    rates = [p.setting.rate for p in training.probes if p.setting is not None and np.isfinite(p.setting.rate)]
    if len(rates) > 2 and rates[-1] < 0.02 * max(rates):
        yield suspect(
            "schedule",
            "a rate that fell too soon",
            say(
                "the rate went from {first} to {last} in {epochs} epochs.",
                first=w.number(max(rates)),
                last=w.number(rates[-1]),
                epochs=len(rates) - 1,
            ),
            0.6,
            0.9,
            0.2,
            cures=(Cure("schedule", "a slower decay", "the rate falls as training ends."),),
            highest=max(rates),
            last=rates[-1],
        )
    elif len(rates) > 2 and rates[-1] > 20 * rates[0] > 0:
        yield suspect(
            "schedule",
            "a rate that grew",
            say(
                "the rate went from {first} to {last} in {epochs} epochs.",
                first=w.number(rates[0]),
                last=w.number(rates[-1]),
                epochs=len(rates) - 1,
            ),
            0.4,
            0.85,
            0.2,
            cures=(Cure("schedule", "a schedule that falls", "the rate falls as training ends."),),
            first=rates[0],
            last=rates[-1],
        )


def _clipped(training: Training) -> Iterator[Suspicion]:
    kept = training.history.left_by_clipping
    if kept < 0.02:
        yield suspect(
            "optimizer",
            "clipping that cuts every step",
            say("clipping leaves {kept} of the gradient in the median step.", kept=w.share(kept)),
            0.4,
            0.88,
            0.2,
            cures=(Cure("clipping", "clipnorm=1.0, or none", "only what is far too large is cut."),),
            kept=kept,
        )


def _silenced(training: Training) -> Iterator[Suspicion]:
    """A layer under a penalty, whose answers went to nothing in training."""
    if len(training.probes) < 2:
        return
    first, last = training.probes[0], training.probes[-1]
    fined = {layer.name for layer in all_layers(training.program.model) if _penalties_of(layer)}
    for i, name in enumerate(last.layers):
        left = last.output_rms[i] / first.output_rms[i] if i < len(first.layers) and first.output_rms[i] > 0 else np.nan
        dead = last.dead[i] > ALL and first.dead[i] < ALL
        if name in fined and (left < SILENT or dead):
            yield suspect(
                "regularization",
                "a penalty that silences its layer",
                say(
                    "{name} is under a penalty, and gives 0 for every sample: what is cheapest is to say nothing."
                    if dead
                    else "{name} is under a penalty, and gives {left} of what it began with: what is cheapest is to "
                    "say nothing.",
                    name=name,
                    left=w.share(float(left)),
                ),
                0.4,
                0.93,
                0.15,
                layer=name,
                cures=(Cure("penalty", "a factor a hundred times smaller, or none", "the error weighs more."),),
                left=left,
                dead=last.dead[i],
            )
            return


def _penalties_of(layer: keras.layers.Layer) -> bool:
    names = ("activity_regularizer", "kernel_regularizer")
    return any(getattr(layer, name, None) is not None for name in names) or isinstance(
        layer, keras.layers.ActivityRegularization
    )


def _batches(training: Training) -> Iterator[Suspicion]:
    if training.program.shuffled:
        return  # of a data set it is not known how many samples an epoch has
    an_epoch = training.steps / len(training.logs)
    if an_epoch <= 2 and training.program.count >= 128:
        yield suspect(
            "batch",
            "batches as large as the data",
            say(
                "an epoch of {count:,} samples is {steps}: few steps for so much computing.",
                count=training.program.count,
                steps=w.steps(round(an_epoch)),
            ),
            0.35,
            0.82,
            0.15,
            cures=(Cure("batch size", "batch_size=32", "more steps of the same data."),),
            steps=an_epoch,
        )
    elif training.program.count / an_epoch < 2.5 and training.program.count > 50:
        yield suspect(
            "batch",
            "batches of one or two samples",
            say(
                "a step is made from {samples:.2g} samples: its gradient is mostly noise.",
                samples=training.program.count / an_epoch,
            ),
            0.3,
            0.65,
            0.15,
            cures=(Cure("batch size", "batch_size=32", "the noise of single samples averages out."),),
            samples=training.program.count / an_epoch,
        )
