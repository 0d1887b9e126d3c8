"""The batch that a probe is given, and what a person may give in its place."""

import keras
import numpy as np


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
