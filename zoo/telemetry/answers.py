"""What a model's answers are worth: beside the best constant answer, which does not look at the input.

That constant is found by trying, under the compiled loss, whatever it is; `zoo.losses.constant_loss` works it out from
the labels of a whole training set for the losses that have a formula.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np

from zoo.telemetry.keras_private import compiled_loss

QUANTILES = (0.05, 0.1, 0.25, 0.75, 0.9, 0.95)  # what losses that weigh both sides differently are least at
SMALLEST = 1e-7  # probability; Keras' losses look no further
NEAR_ONE = 1e-3  # how far from 1 a softmax may add up, in half precision
ROUNDING = 1e-5  # of the loss: some roundings of float32, which is exact to 1e-7

Pair = tuple[np.ndarray, np.ndarray]  # targets and the answers to them
Cost = Callable[[list], float]  # of one answer for each output


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


class Judge:
    """Judges the answers of one compiled model, batch by batch; what targets cost at best it works out once."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._known: _Least | None = None

    def __call__(self, x, y, given, losses: np.ndarray) -> Answers:
        """Judge the answers to a batch.

        Args:
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
            return _scores(pairs[-1:])
        targets = [a for a in map(_float, keras.tree.flatten(y)) if a is not None]
        if len(targets) != len(outputs) or len(targets) != len(keras.tree.flatten(y)):
            return Answers()
        pairs = list(zip(targets, outputs, strict=True))
        least, penalties = self._least(y, given, pairs, float(losses[0]))
        return dataclasses.replace(_scores(pairs), baseline=least + penalties, penalties=penalties)

    def _least(self, y, given, pairs: list[Pair], loss: float) -> tuple[float, float]:
        """Return the lowest that any constant answer costs under the model's own loss, and the penalties."""
        plain = type(self._model).compute_loss is keras.Model.compute_loss
        compiled = compiled_loss(self._model)
        known = all(_shares(*pair) is not None or _same_shape(*pair) is not None for pair in pairs)
        if compiled is None or not plain or not known or not all(np.isfinite(target).all() for target, _ in pairs):
            return np.nan, 0.0

        def cost(answers: list) -> float:
            tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, keras.tree.pack_sequence_as(given, answers))
            with keras.StatelessScope():  # where there are several losses, each has a metric
                return float(compiled(y, tensors))

        try:
            penalties = loss - cost([answer for _, answer in pairs]) if self._model.losses else 0.0
            if self._known is None or not self._known.holds(pairs, cost):
                first = [next(iter(_of_targets(*pair))) for pair in pairs]
                chosen, least = _tried(first, cost(first), [_of_targets(*pair) for pair in pairs], cost)
                self._known = _Least(pairs, chosen, least)
            _, least = _tried(self._known.chosen, self._known.cost, [_of_answers(answer) for _, answer in pairs], cost)
        except Exception:  # a loss of one's own may raise anything where constants are no answers to it
            return np.nan, 0.0
        # What is left of a rounding is no penalty.
        return least, penalties if abs(penalties) > ROUNDING * abs(loss) else 0.0


@dataclasses.dataclass(frozen=True)
class _Least:
    """The best of the constants that targets suggest, one for each answer, and what they cost together."""

    pairs: list[Pair]
    chosen: list[np.ndarray]
    cost: float

    def holds(self, pairs: list[Pair], cost: Cost) -> bool:
        """Whether it is of the same targets, of answers of the same kind, and costs the same under the loss of now."""
        # The weight of a loss may be a variable that changes as training goes on.
        return (
            len(pairs) == len(self.pairs)
            and all(
                a.shape == b.shape and _adds_up(a) == _adds_up(b) and np.array_equal(target, of)
                for (target, a), (of, b) in zip(pairs, self.pairs, strict=True)
            )
            and np.array_equal(cost(self.chosen), self.cost, equal_nan=True)
        )


def _tried(
    chosen: list[np.ndarray], least: float, constants: list[Iterable[np.ndarray]], cost: Cost
) -> tuple[list[np.ndarray], float]:
    """Try each answer's constants in the place of the chosen one; return the best, and what they cost together."""
    for i, found in enumerate(constants):
        for constant in found:
            tried = cost([*chosen[:i], constant, *chosen[i + 1 :]])
            if not tried >= least and np.isfinite(tried):
                chosen, least = [*chosen[:i], constant, *chosen[i + 1 :]], tried
    return chosen, least


def _of_targets(target: np.ndarray, answer: np.ndarray) -> Iterator[np.ndarray]:
    """Yield constant answers, of the shape of `answer`: those of which one is best for a loss in use."""
    over = tuple(range(answer.ndim - 1)) or (0,)
    means = _shares(target, answer)
    if means is not None:
        found = [means]
    else:
        same = _same_shape(target, answer)
        assert same is not None  # other targets are not judged
        found = [same.mean(0), np.median(same, axis=0), same.mean(over), np.median(same, axis=over)]
        found += [(found[0] + found[1]) / 2, *np.quantile(same, QUANTILES, axis=0)]
    if not _adds_up(answer):
        found += _before_softmax(found)
        found += [np.full(answer.shape[-1:], value) for value in (-1.0, 0.0, 1.0)]
    for constant in found:
        yield np.broadcast_to(constant, answer.shape).astype(np.float32)


def _of_answers(answer: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the constants that the answers suggest themselves, for losses that know best what they are made for."""
    mean = answer.mean(tuple(range(answer.ndim - 1)) or (0,))
    for constant in [mean, *([] if _adds_up(answer) else _before_softmax([mean]))]:
        yield np.broadcast_to(constant, answer.shape).astype(np.float32)


def _before_softmax(found: list[np.ndarray]) -> list[np.ndarray]:
    """Return those that are probabilities as the softmax and the sigmoid take them."""
    inside = [np.clip(m, SMALLEST, 1 - SMALLEST) for m in found if np.all((m >= 0) & (m <= 1))]
    return [np.log(p) for p in inside] + [np.log(p / (1 - p)) for p in inside]


def _adds_up(answer: np.ndarray) -> bool:
    """Whether it comes out of a softmax: then it can be no other constant than shares of 1."""
    return bool(answer.ndim > 1 and np.all(answer >= 0) and np.allclose(answer.sum(-1), 1, atol=NEAR_ONE))


def _scores(pairs: list[Pair]) -> Answers:
    """Return accuracy of the first answer to labels and R2 of the first answer to numbers."""
    accuracy, majority, labels, r2 = np.nan, np.nan, 0, np.nan
    for target, answer in pairs:
        right = _right(target, answer)
        if right is not None and not labels:
            accuracy, majority, labels = right
        elif right is None and np.isnan(r2) and (same := _same_shape(target, answer)) is not None:
            variance = np.square(same - same.mean(0), dtype=np.float64).sum()
            with np.errstate(all="ignore"):
                error = np.square(same - answer, dtype=np.float64).sum()
            if variance > 0 and np.isfinite(variance):
                r2 = float(1 - error / variance) if np.isfinite(error) else -np.inf
    return Answers(accuracy=accuracy, majority=majority, r2=r2, labels=labels)


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
