"""What training came to, beside what the data tell."""

import dataclasses
from typing import Any

import keras
import numpy as np

from zoo.checkup.program import Program, taken
from zoo.checkup.suspicion import Outcome
from zoo.checkup.task import Task
from zoo.telemetry.findings import Verdict
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probe import Probe

LEARNED = 0.7  # of what plain methods tell: who learned as much is well
FAILED = 0.5  # of it: who learned less is not
TELLING = 0.15  # what plain methods have to tell, to be measured by
UNTOLD = 0.06  # share of the targets that plain methods tell: no more is had by chance
NOTHING = 0.1  # skill that is none: so much is had by chance
ENOUGH = 150  # steps in which a loss comes below the best constant's, if anything is told
AT_CONSTANT = 0.93  # of the best constant's loss: by so much learning by heart brings it down
SURELY = 0.8  # skill beyond which a program is well, whatever others tell
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
        cut: whether it was ended before its time: then neither its steps nor those of an epoch are the person's choice.
    """

    program: Program
    verdict: Verdict
    probes: list[Probe]
    history: GradientHistory
    logs: list[dict[str, float]]
    told: float
    skill: float
    validated: float
    cut: bool = False

    @classmethod
    def of(cls, program: Program, verdict: Verdict, probes, history, logs, told: float) -> "Training":
        """Look at a model after some training."""
        task = program.tasks[0] if program.tasks else None
        skill = validated = np.nan
        if task is not None:
            x, y = program.batch(PASSES * program.one_pass)
            skill = _skill(program, task, x, y)
            if program.validation is not None:
                some = slice(PASSES * program.one_pass)
                xv, yv = program.validation
                if yv is not None and not program.fixed:
                    xv, yv = taken(xv, some), taken(yv, some)
                    validated = _skill(program, task, xv, yv)
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
        if self.cut and not self.verdict.sick:
            return "unknown"
        if np.isfinite(self.told) and self.told > TELLING:
            return "failed" if self.skill < FAILED * self.told else "partly"
        if self.verdict.sick or (self.skill < NOTHING and self._at_constant):
            return "failed"
        return "partly" if self.verdict.name == "healthy" else "unknown"

    @property
    def _at_constant(self) -> bool:
        """Whether the loss has not come below what the best constant answer costs, in steps enough for that."""
        baseline = self.probes[-1].baseline if self.probes else np.nan
        enough = ENOUGH if np.isfinite(self.told) else 2 * ENOUGH
        return len(self.history) >= enough and self.logs[-1].get("loss", np.nan) > AT_CONSTANT * baseline > 0

    @property
    def steps(self) -> int:
        return len(self.history)


def numbers_of(logs: dict[str, Any] | None) -> dict[str, float]:
    """Return what Keras gives to a callback, but for metrics that give more than one number, as one for each class."""
    return {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}


def _skill(program: Program, task: Task, x: Any, y: Any) -> float:
    try:
        return skill_of(task, _answers(program, x), y)
    except Exception:  # of a model whose inference raises: what was trained is not lost for it
        return np.nan


def _answers(program: Program, x: Any) -> Any:
    """Return what the model gives to x, a pass at a time."""
    count = len(keras.tree.flatten(x)[0])
    if program.fixed or count <= program.one_pass:
        return program.answers_to(x)
    starts = range(0, count, program.one_pass)
    parts = [program.answers_to(taken(x, slice(start, start + program.one_pass))) for start in starts]
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
        return beyond(float(np.mean(said == labels)), float(commonest))
    if task.kind in ("binary", "several labels") and answer.size == target.size:
        true = target.reshape(n, -1) > 0.5
        flat = answer.reshape(n, -1)
        limits = (0.5,) if flat.min() >= 0 and flat.max() <= 1 else (0.0, 0.5)
        share = true.mean(0)
        right = max(float(np.mean((flat > limit) == true)) for limit in limits)
        return beyond(right, float(np.maximum(share, 1 - share).mean()))
    if answer.size != target.size:
        return np.nan
    true, said = target.reshape(n, -1), answer.reshape(n, -1)
    variance = float(np.square(true - true.mean(0)).sum())
    return max(-1.0, 1 - float(np.square(true - said).sum()) / variance) if variance > 0 else np.nan


def beyond(right: float, commonest: float) -> float:
    """Return an accuracy as a skill: what it has beyond the commonest class'."""
    return max(-1.0, (right - commonest) / (1 - commonest)) if commonest < 1 else np.nan
