"""What training came to, beside what the data tell, and what that says of the program."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.checkup.data import sorted_share
from zoo.checkup.program import Program, answers_of, taken
from zoo.checkup.suspicion import Outcome, Suspicion, suspect
from zoo.checkup.task import Task
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure, Verdict
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.layers import all_layers
from zoo.telemetry.probe import Probe

LEARNED = 0.7  # of what plain methods tell: who learned as much is well
FAILED = 0.5  # of it: who learned less is not
TELLING = 0.15  # what plain methods have to tell, to be measured by
NOTHING = 0.1  # skill that is none: so much is had by chance
ENOUGH = 150  # steps in which a loss comes below the best constant's, if anything is told
AT_CONSTANT = 0.93  # of the best constant's loss: by so much learning by heart brings it down
SURELY = 0.8  # skill beyond which a program is well, whatever others tell
FALLING = 0.02  # of the best constant's loss, an epoch: a loss that still falls
LAGGING = 0.35  # skill that inference has less than training, on the same samples
APART = 0.5  # skill that validation has less than training
FEW_STEPS = 300
PASSES = 4  # whose samples tell the skill


@dataclasses.dataclass(frozen=True)
class Training:
    """What a training came to.

    Attributes:
        program: that was trained.
        verdict: on its gradients.
        probes: before the first step and after each epoch.
        history: of the steps.
        logs: of each epoch, as Keras gives them to callbacks.
        told: how much of the targets plain methods tell.
        skill: how much the model tells of them now, in inference, on training samples; NaN where it cannot be told.
        validated: the same on the validation samples; NaN without them.
    """

    program: Program
    verdict: Verdict
    probes: list[Probe]
    history: GradientHistory
    logs: list[dict[str, float]]
    told: float
    skill: float
    validated: float

    @classmethod
    def of(cls, program: Program, verdict: Verdict, probes, history, logs, told: float) -> "Training":
        """Look at a model after some training."""
        task = program.tasks[0] if program.tasks else None
        skill = validated = np.nan
        if task is not None:
            x, y = program.batch(PASSES * program.one_pass)
            skill = skill_of(task, _answers(program, x), y)
            if program.validation is not None:
                most = PASSES * program.one_pass
                xv, yv = (keras.tree.map_structure(lambda a: a[:most], part) for part in program.validation)
                if yv is not None and not program.fixed:
                    validated = skill_of(task, _answers(program, xv), yv)
        return cls(program, verdict, probes, history, logs, told, skill, validated)

    @property
    def outcome(self) -> Outcome:
        """Whether it learned what the data tell."""
        if not self.logs or not len(self.history):
            return "unknown"
        if not np.isfinite(self.skill):
            return "failed" if self.verdict.sick else "learned" if self.verdict.name == "healthy" else "unknown"
        if self.skill >= SURELY or (self.told > TELLING and self.skill >= LEARNED * self.told):
            return "learned"
        if np.isfinite(self.told) and self.told > TELLING:
            return "failed" if self.skill < FAILED * self.told else "partly"
        if self.verdict.sick or (self.told <= TELLING and self.skill < NOTHING and self._at_constant):
            return "failed"
        return "partly" if self.verdict.name == "healthy" else "unknown"

    @property
    def _at_constant(self) -> bool:
        """Whether the loss has not come below what the best constant answer costs, in steps enough for that."""
        baseline = self.probes[-1].baseline if self.probes else np.nan
        return len(self.history) >= ENOUGH and self.logs[-1].get("loss", np.nan) > AT_CONSTANT * baseline > 0

    @property
    def steps(self) -> int:
        return len(self.history)


def _answers(program: Program, x: Any) -> Any:
    """Return what the model gives to x, a pass at a time."""
    count = len(keras.tree.flatten(x)[0])
    if program.fixed or count <= program.one_pass:
        return answers_of(program.model, x)
    starts = range(0, count, program.one_pass)
    parts = [answers_of(program.model, taken(x, slice(start, start + program.one_pass))) for start in starts]
    return None if parts[0] is None else keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts)


def skill_of(task: Task, answers: Any, y: Any) -> float:
    """Return how much the answers tell: accuracy beyond the commonest class', or R2; at least -1."""
    answer = np.asarray(keras.tree.flatten(answers)[0], np.float64)
    target = np.asarray(next(leaf for leaf in keras.tree.flatten(y) if leaf is not None), np.float64)
    if not np.isfinite(answer).all():
        return -1.0
    target = np.nan_to_num(target)
    n = len(answer)
    if task.kind in ("one-hot", "class numbers") and answer.ndim == 2:
        labels = target.argmax(1) if task.kind == "one-hot" else target.reshape(-1)
        said = answer.argmax(1) if answer.shape[1] > 1 else np.round(answer.reshape(-1))
        commonest = np.max(np.unique(labels, return_counts=True)[1]) / n
        return _beyond(float(np.mean(said == labels)), float(commonest))
    if task.kind in ("binary", "several labels") and answer.size == target.size:
        true = target.reshape(n, -1) > 0.5
        flat = answer.reshape(n, -1)
        limits = (0.5,) if flat.min() >= 0 and flat.max() <= 1 else (0.0, 0.5)
        share = true.mean(0)
        right = max(float(np.mean((flat > limit) == true)) for limit in limits)
        return _beyond(right, float(np.maximum(share, 1 - share).mean()))
    if answer.size != target.size:
        return np.nan
    true, said = target.reshape(n, -1), answer.reshape(n, -1)
    variance = float(np.square(true - true.mean(0)).sum())
    return max(-1.0, 1 - float(np.square(true - said).sum()) / variance) if variance > 0 else np.nan


def _beyond(right: float, commonest: float) -> float:
    return max(-1.0, (right - commonest) / (1 - commonest)) if commonest < 1 else np.nan


def findings(training: Training) -> Iterator[Suspicion]:
    """Yield what only training shows."""
    if not training.logs or not len(training.history):
        return
    yield from _lagging(training)
    yield from _validation(training)
    yield from _steps(training)
    yield from _rate_fell(training)
    yield from _clipped(training)
    yield from _batches(training)


def _in_training(training: Training) -> float:
    """Return the skill on the probe's batch as in training, with its dropout and its batch's own statistics."""
    last = training.probes[-1] if training.probes else None
    if last is None:
        return np.nan
    return _beyond(last.accuracy, last.majority) if np.isfinite(last.accuracy) else max(-1.0, last.r2)


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
            f"on the same samples the model tells {w.share(max(trained, 0))} of the targets in training and "
            f"{w.share(max(training.skill, 0))} in inference: after {w.steps(training.steps)} the moving averages of "
            f"{layer.name} still hold {w.share(left)} of where they began.",
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
    told = f"it tells {shares[0]} of the training targets and {shares[1]} of the validation's"
    if not worse and "val_loss" in last and np.isfinite(baseline) and baseline > 0:
        first = training.logs[0].get("val_loss", np.nan)
        worse = training.skill > APART and last["val_loss"] > max(1.2 * baseline, 3 * last["loss"])
        worse = worse and min(first, last["val_loss"]) > 0.9 * baseline
        told = (
            f"the validation loss is {w.number(last['val_loss'])}, more than the best constant answer costs, "
            f"{w.number(baseline)}, while the training loss is {w.number(last['loss'])}"
        )
    if not worse:
        return
    labels = training.program.tasks[0].labels if training.program.tasks else np.zeros(0)
    if len(labels) >= 20 and not training.program.shuffled and sorted_share(labels) > 0.9:
        yield suspect(
            "data",
            "a validation split of sorted rows",
            f"{told}: the rows are sorted by class, and validation_split takes the last ones, of classes that training "
            "hardly saw.",
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
            f"{told}, though plain methods tell {w.share(training.told)} on samples held out: the validation samples "
            "are drawn, prepared or labelled in another way.",
            0.7,
            0.8,
            0.65,
            cures=(Cure("validation", "a split of shuffled rows, prepared alike", "both are samples of one thing."),),
        )
    else:
        yield suspect(
            "data",
            "training samples learned by heart",
            f"{told}, and plain methods tell {w.share(max(0.0, np.nan_to_num(training.told)))} on samples held out: "
            "what it learned holds for no others.",
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
            yield _too_few(training, "the loss has hardly begun to fall", 0.5, 0.7)
        return
    fall = (losses[-2] - losses[-1]) / scale
    steady = all(a >= b - 0.02 * scale for a, b in itertools.pairwise(losses))
    relative = (losses[-2] - losses[-1]) / max(abs(losses[-1]), 1e-12)
    if steady and (fall > FALLING or relative > 0.01 or training.steps < 60):
        told = f"the loss still falls, from {w.number(losses[-2])} to {w.number(losses[-1])} in the last epoch"
        yield _too_few(training, told, 0.45, 0.8 if training.steps < FEW_STEPS else 0.7)


def _too_few(training: Training, told: str, before: float, failed: float) -> Suspicion:
    return suspect(
        "steps",
        "too few steps",
        f"{told}, after {w.steps(training.steps)} in all.",
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
            f"the rate went from {w.number(max(rates))} to {w.number(rates[-1])} in {len(rates) - 1} epochs.",
            0.4,
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
            f"the rate went from {w.number(rates[0])} to {w.number(rates[-1])} in {len(rates) - 1} epochs.",
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
            f"clipping leaves {w.share(kept)} of the gradient in the median step.",
            0.4,
            0.88,
            0.2,
            cures=(Cure("clipping", "clipnorm=1.0, or none", "only what is far too large is cut."),),
            kept=kept,
        )


def _batches(training: Training) -> Iterator[Suspicion]:
    an_epoch = training.steps / len(training.logs)
    if an_epoch <= 2 and training.program.count >= 128:
        yield suspect(
            "batch",
            "batches as large as the data",
            f"an epoch of {training.program.count:,} samples is {w.steps(round(an_epoch))}: few steps for so much "
            "computing.",
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
            f"a step is made from {training.program.count / an_epoch:.2g} samples: its gradient is mostly noise.",
            0.3,
            0.65,
            0.15,
            cures=(Cure("batch size", "batch_size=32", "the noise of single samples averages out."),),
            samples=training.program.count / an_epoch,
        )
