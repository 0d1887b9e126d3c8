"""Layers that no step changes, and whether they ever were trained."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say
from zoo.telemetry.layers import all_layers

SAMPLE = 10_000  # weights of a layer that are compared with freshly drawn ones
ENOUGH = 50  # fewer tell nothing
DRAWN = 1_000_000  # as many are drawn anew at most, where their scale depends on the shape
ASKED = 8  # layers, from the first on: training changes all of them
ALL_SHAPES = (keras.initializers.RandomNormal, keras.initializers.RandomUniform, keras.initializers.TruncatedNormal)
UNLIKE = 1.95  # Kolmogorov-Smirnov statistic times sqrt(n m / (n + m)), which chance exceeds once in 1,000


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about frozen layers."""
    model = program.model
    if not all(layer.built for layer in all_layers(model)):
        return
    train = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    if not train:
        yield suspect(
            "frozen",
            "nothing trains",
            say("the model has no trainable weights: no step can change it."),
            0.99,
            0.99,
            0.99,
            cures=(
                Cure(
                    "unfreeze",
                    "model.trainable = True, then model.compile(...) again",
                    "frozen weights stay as they are.",
                ),
            ),
        )
        return
    frozen = [layer for layer in all_layers(model) if not layer.trainable and layer.weights and not _holds(layer)]
    weights = sum(int(np.prod(v.shape)) for layer in frozen for v in layer.weights if "seed" not in v.name)
    share = weights / (weights + train)
    last = next((layer for layer in reversed(model.layers) if layer.weights), None)
    kinds = ("Normalization", "TextVectorization", "StringLookup", "IntegerLookup")
    frozen = [layer for layer in frozen if type(layer).__name__ not in kinds]
    if last is not None and last in frozen:
        yield suspect(
            "frozen",
            "a last layer that is frozen",
            say(
                "the last layer, {layer}, is frozen: its answers are those of the weights that it was made with.",
                layer=last.name,
            ),
            0.8,
            0.9,
            0.5,
            layer=last.name,
            cures=(Cure("unfreeze", f'model.get_layer("{last.name}").trainable = True', "then compile again."),),
        )
    elif frozen and share > 0.1:
        fresh = never_trained(frozen)
        told = say(
            "and never were trained: their weights are as they are drawn"
            if fresh
            else "right only for what was trained before"
        )
        yield suspect(
            "frozen",
            "layers that are frozen",
            say(
                "{count} layers with {share} of the weights are frozen, {layer} first, {told}.",
                count=len(frozen),
                share=w.share(share),
                layer=frozen[0].name,
                told=told,
            ),
            0.6 if fresh else 0.3,
            0.9 if fresh else 0.65,
            0.15 if fresh else 0.1,
            layer=frozen[0].name,
            cures=(Cure("unfreeze", f'model.get_layer("{frozen[0].name}").trainable = True', "then compile again."),),
            share=share,
        )


def _holds(layer: keras.layers.Layer) -> bool:
    return any(inner is not layer for inner in all_layers(layer))


def never_trained(layers: list[keras.layers.Layer]) -> bool:
    """Return whether these layers are as their initializers drew them; False where there is no telling.

    Training moves biases away from 0, where they begin, and means and variances of normalization away from 0 and 1. Of
    weights that are drawn at random, others are drawn by the same initializer, and the two samples compared
    (Kolmogorov & Smirnov).
    """
    told = [answer for layer in layers[:ASKED] for answer in _as_begun(layer)]
    return bool(told) and all(told)


def _as_begun(layer: keras.layers.Layer) -> Iterator[bool]:
    """Yield, of each weight of which it can be told, whether it is as it was at first."""
    for weight in layer.weights:
        initializer = getattr(layer, f"{weight.name}_initializer", None)
        shape = tuple(weight.shape)
        if weight.name in ("bias", "beta", "moving_mean"):
            if isinstance(initializer, keras.initializers.Zeros):
                yield not np.any(_values(weight))
        elif callable(initializer) and hasattr(initializer, "seed") and int(np.prod(shape)) >= ENOUGH:
            if isinstance(initializer, ALL_SHAPES):
                shape = (min(int(np.prod(shape)), SAMPLE),)
            elif int(np.prod(shape)) > DRAWN:
                continue
            yield _alike(_values(weight), _values(initializer(shape)))


def _values(weight: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two samples can be of one distribution."""
    a, b = (np.sort(values.ravel()[:: max(1, values.size // SAMPLE)]) for values in (a, b))
    both = np.concatenate([a, b])
    apart = np.abs(np.searchsorted(a, both, "right") / a.size - np.searchsorted(b, both, "right") / b.size).max()
    return bool(apart * np.sqrt(a.size * b.size / (a.size + b.size)) <= UNLIKE)
