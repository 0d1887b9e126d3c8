"""The batch that a probe is given, and what a person may give in its place."""

import dataclasses

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Batch:
    """What is odd about a batch, whatever the model.

    Attributes:
        samples: how many.
        inputs_not_finite, targets_not_finite: share of the values that are no finite numbers.
        largest_input: largest magnitude of those that are.
        same_input, same_target: whether all samples are alike.
    """

    samples: int = 0
    inputs_not_finite: float = 0.0
    targets_not_finite: float = 0.0
    largest_input: float = 0.0
    same_input: bool = False
    same_target: bool = False

    @classmethod
    def of(cls, x, y) -> "Batch":
        """Look at a batch of tensors, as `tensors_of_batch` returns it."""
        inputs, targets = _numbers(x), _numbers(y)
        finite = [np.abs(a[np.isfinite(a)]) for a in inputs]
        samples = len(inputs[0]) if inputs else 0
        return cls(
            samples,
            _not_finite(inputs),
            _not_finite(targets),
            max((float(a.max()) for a in finite if a.size), default=0.0),
            samples > 1 and all((a == a[:1]).all() for a in inputs),
            samples > 1 and bool(targets) and all((a == a[:1]).all() for a in targets),
        )


def _numbers(structure) -> list[np.ndarray]:
    leaves = [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]
    arrays = [np.asarray(keras.ops.convert_to_numpy(leaf)) for leaf in leaves]
    # Half precision of JAX is no kind that NumPy knows by itself.
    arrays = [a if a.dtype.kind in "biuf" else a.astype(np.float32) for a in arrays if a.dtype.kind not in "OSU"]
    return [a for a in arrays if a.ndim]


def _not_finite(arrays: list[np.ndarray]) -> float:
    size = sum(a.size for a in arrays)
    return float(sum(np.count_nonzero(~np.isfinite(a)) for a in arrays) / size) if size else 0.0


def tensors_of_batch(model: keras.Model, x, y) -> tuple:
    """Return a batch as the backend's tensors.

    Args:
        model: that it is for.
        x, y: arrays, tensors, lists of numbers, or structures of them; y may be `None`.

    Raises:
        TypeError: if they are anything else.
        ValueError: for an empty batch, for more or fewer targets than inputs, or without those that the loss needs.
    """
    x, y = _tensors(x, "x"), _tensors(y, "y")
    _check(model, x, y)
    return x, y


def _tensors(structure, name: str):
    """Return a batch as tensors."""
    if any(isinstance(leaf, int | float) for leaf in keras.tree.flatten(structure)):
        structure = np.asarray(structure)
    try:
        return keras.tree.map_structure(lambda a: a if a is None else keras.ops.convert_to_tensor(a), structure)
    except (TypeError, ValueError):
        kind = type(structure).__name__
        raise TypeError(
            f"the probe takes one batch as arrays, but {name} is of type {kind}: of a data set, take its first batch, "
            "probe(model, *next(iter(dataset)))."
        ) from None


def _check(model: keras.Model, x, y) -> None:
    parts = [[leaf for leaf in keras.tree.flatten(part) if leaf is not None and len(leaf.shape)] for part in (x, y)]
    if any(len(leaf) == 0 for part in parts for leaf in part):
        raise ValueError("the probe needs a sample or more: the batch is empty.")
    count = [len(part[0]) for part in parts if part]
    if len(set(count)) > 1:
        raise ValueError(f"the probe takes as many targets as inputs: x has {count[0]} samples, y has {count[1]}.")
    own = type(model)
    plain = own.train_step is keras.Model.train_step and own.compute_loss is keras.Model.compute_loss
    if y is None and plain and getattr(model, "loss", None) is not None:
        raise ValueError("the probe needs the targets too, probe(model, x, y): the model is compiled with a loss.")
