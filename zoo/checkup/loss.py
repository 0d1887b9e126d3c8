"""What a loss does, found by trying it: on perfect answers, on wrong ones, at the ends of its range."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.checkup.task import Task
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.keras_private import compiled_loss, compiled_with
from zoo.telemetry.language import say

FLOOR = 0.3  # of what the best constant answer costs: what perfect answers may cost
DROWNED = 0.005  # of the loss: an output that costs less is not heard
KERAS = Cure("the loss", "one of keras.losses", "theirs hold at the ends of their range.")


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about losses and metrics."""
    yield from _drowned(program)
    yield from _measured(program)
    yield from _given(program)


def _given(program: Program) -> Iterator[Suspicion]:
    """Try the loss, of models with one output and a loss of their `compile`."""
    model, tasks = program.model, program.tasks
    compiled = compiled_loss(model)
    plain = type(model).compute_loss is keras.Model.compute_loss
    if compiled is None or not plain or len(tasks) != 1 or tasks[0].loss is None or not program.finite:
        return
    task, (_, y) = tasks[0], program.probe_batch
    answer = np.asarray(keras.tree.flatten(program.answers)[0], np.float32)

    def cost(answers: np.ndarray, y=y) -> float:
        tensor = keras.ops.convert_to_tensor(answers.astype(np.float32))
        with keras.StatelessScope(), np.errstate(all="ignore"):
            return float(compiled(y, keras.tree.pack_sequence_as(program.answers, [tensor])))

    try:
        yield from _tried(program, task, answer, cost)
    except Exception:  # a loss of one's own may raise anything where what is tried is no answer to it
        return


def _drowned(program: Program) -> Iterator[Suspicion]:
    """An output whose loss is nothing beside that of the others."""
    tasks = program.tasks
    weights = compiled_with(program.model).get("loss_weights")
    if not weights or len(tasks) < 2 or any(task.loss is None for task in tasks):
        return
    each = [weights.get(task.output, 1) for task in tasks] if isinstance(weights, dict) else list(weights)
    given = program.model.loss
    losses = [given.get(task.output) for task in tasks] if isinstance(given, dict) else given
    losses = losses if isinstance(losses, list | tuple) else [losses] * len(tasks)
    y = keras.tree.flatten(program.probe_batch[1])
    if not len(each) == len(losses) == len(y) == len(tasks):
        return
    costs = []
    for loss, weight, target, answer in zip(losses, each, y, keras.tree.flatten(program.answers), strict=True):
        function: Any = keras.losses.get(loss)
        of_samples = np.asarray(keras.ops.convert_to_numpy(function(np.asarray(target), answer)))
        costs.append(abs(float(weight) * float(of_samples.mean())))
    least = int(np.argmin(costs))
    share = costs[least] / (sum(costs) or 1.0)
    if np.isfinite(costs).all() and share < DROWNED:
        yield suspect(
            "loss",
            "an output that the loss hardly weighs",
            say(
                "{at} makes {share} of the loss, of weight {weight:g}: steps serve the others.",
                at=tasks[least].at,
                share=w.share(share),
                weight=each[least],
            ),
            0.4,
            0.75,
            0.2,
            layer=tasks[least].layer,
            cures=(Cure("loss weights", "loss_weights by which all outputs cost about the same", "each counts."),),
            share=share,
        )


def _measured(program: Program) -> Iterator[Suspicion]:
    """Accuracy, where there is nothing to be right or wrong about."""
    metrics = compiled_with(program.model).get("metrics")
    named = [
        metric for metric in keras.tree.flatten(metrics) if isinstance(metric, str) and metric in ("accuracy", "acc")
    ]
    if named and len(program.tasks) == 1 and program.tasks[0].kind == "numbers":
        yield suspect(
            "metric",
            "accuracy of numbers",
            say(
                "the targets of {at} are numbers, which are hardly ever met exactly: accuracy stays near 0 however "
                "well they are told.",
                at=program.tasks[0].at,
            ),
            0.45,
            0.5,
            0.4,
            cures=(
                Cure("metric", 'metrics=["mae"], or keras.metrics.R2Score()', "they tell how far off answers are."),
            ),
        )


def _tried(program: Program, task: Task, answer: np.ndarray, cost) -> Iterator[Suspicion]:
    assert task.loss is not None
    constant, loss = program.probed.baseline - program.probed.answers.penalties, task.loss
    y = np.asarray(keras.tree.flatten(program.probe_batch[1])[0])
    if spread := list(_broadcast(task, y, answer, cost)):
        yield from spread
        return
    if not loss.own or (perfect := _perfect(task, y, answer)) is None:
        return
    best = cost(perfect)
    if not np.isfinite(best):
        yield suspect(
            "loss",
            "a loss that is no number at perfect answers",
            say(
                "{loss} is not a finite number where the answers are exactly right, as a logarithm of 0: one sure "
                "answer makes every weight NaN.",
                loss=loss.name,
            ),
            0.7,
            0.95,
            0.35,
            cures=(KERAS, Cure("clip", "p = keras.ops.clip(p, 1e-7, 1 - 1e-7)", "no logarithm is of 0.")),
        )
        return
    # Of softer answers, for what is made for no sure ones.
    soft = _softened(task, perfect)
    best = min(best, cost(soft)) if soft is not None else best
    start = cost(answer)
    if not np.isfinite(constant) or not constant > 0:
        if task.kind != "numbers":
            others = [start, constant]
        else:
            others = [cost(perfect + 2 * perfect.std())] if perfect.std() > 0 else []
        lowest = min((other for other in others if not np.isnan(other)), default=np.nan)
        if np.isfinite(lowest) and lowest < best:
            yield _rewards(task, best, lowest)
        return
    if best >= constant:
        yield _rewards(task, best, constant)
    elif best > FLOOR * constant:
        logits = task.activation in ("softmax", "sigmoid")
        why = say(", as where a softmax is applied twice") if logits else ""
        yield suspect(
            "loss",
            "a loss that perfect answers do not bring down",
            say(
                "perfect answers cost {best} under {loss}, and the best constant answer {constant}: little can be "
                "learned by it{why}.",
                best=w.number(best),
                loss=loss.name,
                constant=w.number(constant),
                why=why,
            ),
            0.75,
            0.95,
            0.45,
            cures=(
                Cure(
                    "the loss",
                    "from_logits=False",
                    say("the {activation} is applied already.", activation=task.activation),
                )
                if logits
                else KERAS,
            ),
            perfect=best,
            constant=constant,
        )


def _rewards(task: Task, best: float, other: float) -> Suspicion:
    assert task.loss is not None
    return suspect(
        "loss",
        "a loss that rewards wrong answers",
        say(
            "perfect answers cost {best} under {loss}, others {other}: what it brings down is not the error. Look at "
            "its sign, and at the order of its arguments (y_true, y_pred).",
            best=w.number(best),
            loss=task.loss.name,
            other=w.number(other),
        ),
        0.9,
        0.97,
        0.5,
        cures=(KERAS,),
        perfect=best,
        other=other,
    )


def _perfect(task: Task, y: np.ndarray, answer: np.ndarray) -> np.ndarray | None:
    """Return the answers that are exactly right, in the shape of `answer`; `None` where that cannot be told."""
    if y.shape == answer.shape:
        right = y.astype(np.float32)
    elif answer.shape == (*y.shape, 1):
        right = y.astype(np.float32)[..., None]
    elif task.kind == "class numbers" and task.units > 1 and y.size * task.units == answer.size:
        whole = y.reshape(-1).astype(int)
        if whole.min() < 0 or whole.max() >= task.units or (whole != y.reshape(-1)).any():
            return None
        right = np.eye(task.units, dtype=np.float32)[whole].reshape(answer.shape)
    else:
        return None
    probabilities = task.activation in ("softmax", "sigmoid", "hard_sigmoid")
    if (
        task.classified
        and not probabilities
        and task.activation != "relu"
        and task.loss
        and task.loss.takes != "distance"
    ):
        return None  # logits may be of any size
    return right


def _softened(task: Task, perfect: np.ndarray) -> np.ndarray | None:
    if not task.classified or task.activation not in ("softmax", "sigmoid"):
        return None
    return np.clip(perfect, 1e-3, 1 - 1e-3)


def _broadcast(task: Task, y: np.ndarray, answer: np.ndarray, cost) -> Iterator[Suspicion]:
    """(n,) against (n, 1) makes (n, n): every answer is compared with every target."""
    if not (y.ndim == 1 and answer.shape == (len(y), 1)) or len(y) < 3:
        return
    low, high = float(y.min()), float(y.max())
    if not high > low:
        return
    moved = (0.2 + 0.6 * (y - low) / (high - low)).astype(np.float32)[:, None]  # probabilities, and all but right
    flat, column = cost(moved), cost(moved, y=y[:, None])
    if np.isfinite(flat) and np.isfinite(column) and abs(flat - column) > 1e-3 * max(abs(flat), abs(column)):
        assert task.loss is not None
        yield suspect(
            "loss",
            "shapes that spread in the loss",
            say(
                "y is ({count},) and the answers are ({count}, 1): {loss} compares every answer with every target, "
                "and gives {flat} where pairs cost {column}.",
                count=len(y),
                loss=task.loss.name,
                flat=w.number(flat),
                column=w.number(column),
            ),
            0.9,
            0.97,
            0.5,
            cures=(Cure("targets", "y.reshape(-1, 1)", "each answer is compared with its own target."),),
            spread=flat,
            pairs=column,
        )
