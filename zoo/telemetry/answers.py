"""What a model's answers are worth: beside the best constant answer, which does not look at the input."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from zoo.telemetry.layers import compiled_loss

QUANTILES = (0.05, 0.1, 0.25, 0.75, 0.9, 0.95)  # what losses that weigh both sides differently are least at
SMALLEST = 1e-7  # probability; Keras' losses look no further


@dataclasses.dataclass(frozen=True)
class Answers:
    """How good the answers to one batch are. NaN where it cannot be known.

    Attributes:
        baseline: the loss of the best constant answer, with the penalties and added losses of the moment: of a
            classifier the entropy of the batch's labels, in nats; of the mean squared error the targets' variance.
        accuracy: share of right answers, for labels.
        majority: the share that the best constant answer gets right, which is that of the commonest label.
        r2: 1 - squared error over the targets' variance around each feature's mean, for numbers.
        labels: how many labels `accuracy` is of.
        penalties: what regularizers and added losses add to the batch's loss at the moment.
    """

    baseline: float = np.nan
    accuracy: float = np.nan
    majority: float = np.nan
    r2: float = np.nan
    labels: int = 0
    penalties: float = 0.0


def answers_of(model: keras.Model, x, y, given, losses: np.ndarray) -> Answers:
    """Judge the answers that `model` gave to a batch.

    Args:
        model: compiled.
        x, y: the batch; y may be `None`: then an answer of the shape of x is taken for one to x itself.
        given: a structure of arrays, what the model returned to its training step.
        losses: those that the step takes gradients of, penalties included. Where they are several, nothing is an
            answer: a GAN makes up its pictures.
    """
    if len(losses) != 1:
        return Answers()
    given = keras.tree.map_structure(lambda a: np.asarray(a, np.float32), given)
    outputs = keras.tree.flatten(given)
    if y is None:
        inputs = [_float(a) for a in keras.tree.flatten(x)]
        pairs = [(a, p) for p in outputs for a in inputs if a is not None and a.shape == p.shape]
        return dataclasses.replace(_scores(pairs[-1:]), baseline=np.nan)
    targets = [_float(a) for a in keras.tree.flatten(y)]
    if len(targets) != len(outputs) or any(a is None for a in targets):
        return Answers()
    pairs = list(zip(targets, outputs, strict=True))
    least, penalties = _least(model, y, given, pairs, float(losses[0]))
    return dataclasses.replace(_scores(pairs), baseline=least + penalties, penalties=penalties)


def _least(model: keras.Model, y, given, pairs: list, loss: float) -> tuple[float, float]:
    """Try constants under the model's own loss; return the lowest that any of them costs, and the penalties."""
    plain = type(model).compute_loss is keras.Model.compute_loss
    compiled = compiled_loss(model)
    known = all(_shares(*pair) is not None or _same_shape(*pair) is not None for pair in pairs)
    if compiled is None or not plain or not known or not all(np.isfinite(target).all() for target, _ in pairs):
        return np.nan, 0.0

    def cost(answers: list) -> float:
        tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, keras.tree.pack_sequence_as(given, answers))
        with keras.StatelessScope():  # where there are several losses, each has a metric
            return float(compiled(y, tensors))

    try:
        penalties = loss - cost([answer for _, answer in pairs]) if model.losses else 0.0
        chosen = [next(iter(_constants(*pair))) for pair in pairs]
        least = cost(chosen)
        for i, pair in enumerate(pairs):
            for constant in _constants(*pair):
                tried = cost([*chosen[:i], constant, *chosen[i + 1 :]])
                if not tried >= least and np.isfinite(tried):
                    chosen[i], least = constant, tried
    except Exception:  # a loss of one's own may raise anything where constants are no answers to it
        return np.nan, 0.0
    # What is left of a rounding is no penalty.
    return least, penalties if abs(penalties) > 1e-5 * abs(loss) else 0.0


def _constants(target: np.ndarray, answer: np.ndarray) -> Iterator[np.ndarray]:
    """Yield constant answers, of the shape of `answer`: those of which one is best for a loss in use."""
    over = tuple(range(answer.ndim - 1)) or (0,)
    shares = _shares(target, answer)
    if shares is not None:
        means = [shares]
    else:
        same = _same_shape(target, answer)
        means = [same.mean(0), np.median(same, axis=0), same.mean(over), np.median(same, axis=over)]
        means += [(means[0] + means[1]) / 2, *np.quantile(same, QUANTILES, axis=0)]
    found = [*means, answer.mean(over)]
    # What comes out of a softmax can be no other constant than shares of 1.
    if not (answer.ndim > 1 and np.all(answer >= 0) and np.allclose(answer.sum(-1), 1, atol=1e-3)):
        inside = [np.clip(m, SMALLEST, 1 - SMALLEST) for m in found if np.all((m >= 0) & (m <= 1))]
        found += [np.log(p) for p in inside] + [np.log(p / (1 - p)) for p in inside]
        found += [np.full(answer.shape[-1:], value) for value in (-1.0, 0.0, 1.0)]
    for constant in found:
        yield np.broadcast_to(constant, answer.shape).astype(np.float32)


def _scores(pairs: list) -> Answers:
    """Return accuracy of the first answer to labels and R2 of the first answer to numbers."""
    found: dict[str, float | int] = {}
    for target, answer in pairs:
        right = _right(target, answer)
        if right is not None and "accuracy" not in found:
            hits, majority, labels = right
            found |= {"accuracy": hits, "majority": majority, "labels": labels}
        elif right is None and "r2" not in found and (same := _same_shape(target, answer)) is not None:
            variance = np.square(same - same.mean(0), dtype=np.float64).sum()
            with np.errstate(all="ignore"):
                error = np.square(same - answer, dtype=np.float64).sum()
            if variance > 0 and np.isfinite(variance):
                found["r2"] = float(1 - error / variance) if np.isfinite(error) else -np.inf
    return Answers(**found)


def _right(target: np.ndarray, answer: np.ndarray) -> tuple[float, float, int] | None:
    """Return accuracy, what the best constant gets, and the number of labels; `None` for what are no labels."""
    if not np.isfinite(target).all() or not target.size:
        return None
    shares = _shares(target, answer)
    if shares is not None:
        numbers = target.reshape(-1) if target.size * answer.shape[-1] == answer.size else target.argmax(-1).reshape(-1)
        said = np.where(np.isfinite(answer).all(-1), answer.argmax(-1), -1).reshape(-1)
        return float(np.mean(said == numbers)), float(shares.max()), len(numbers)
    same = _same_shape(target, answer)
    if same is None or not np.isin(same, (0, 1)).all():
        return None
    # Of probabilities, and of numbers near 0 and 1, those above 1/2 say 1; of logits, those above 0.
    limits = (0.5,) if np.all((answer >= 0) & (answer <= 1)) else (0.0, 0.5)
    share = same.mean(0)
    right = max(float(np.mean((answer > limit) == same)) for limit in limits)
    return right, float(np.maximum(share, 1 - share).mean()), same.size


def _shares(target: np.ndarray, answer: np.ndarray) -> np.ndarray | None:
    """Return the share of each class, (classes,), for class numbers or one-hot rows; `None` for other targets."""
    if answer.ndim < 2 or (classes := answer.shape[-1]) < 2 or not target.size or not np.isfinite(target).all():
        return None
    if target.shape == answer.shape:
        one_hot = np.isin(target, (0, 1)).all() and (target.sum(-1) == 1).all()
        return target.reshape(-1, classes).mean(0) if one_hot else None
    if target.shape not in (answer.shape[:-1], (*answer.shape[:-1], 1)):
        return None
    whole = (target == np.round(target)).all() and target.min() >= 0 and target.max() < classes
    return np.bincount(target.reshape(-1).astype(int), minlength=classes) / target.size if whole else None


def _same_shape(target: np.ndarray, answer: np.ndarray) -> np.ndarray | None:
    """Return numbers in the shape of the answer to them: (n,) belongs to (n, 1). `None` if they do not belong."""
    if target.shape == answer.shape:
        return target
    return target.reshape(answer.shape) if answer.shape == (*target.shape, 1) else None


def _float(tensor) -> np.ndarray | None:
    try:
        return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)
    except (TypeError, ValueError):  # strings
        return None
