"""Whether the axes of the inputs are what the layers take them for: channels first, steps and features swapped."""

from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say
from zoo.telemetry.layers import all_layers

LONG = 8  # steps, to tell whether they are alike
SMOOTH = 0.75  # correlation of neighbouring steps


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about the axes of the inputs."""
    first = next((layer for layer in all_layers(program.model) if type(layer).__name__ in ("Conv2D", "Conv1D")), None)
    a = program.inputs[0]
    if first is not None and a.ndim == 4 and type(first).__name__ == "Conv2D" and first.data_format == "channels_last":
        channels, height, width = a.shape[1:]
        if channels in (1, 3, 4) and height == width and height > 4 * channels:
            yield suspect(
                "inputs",
                "channels first",
                say(
                    "x is (n, {channels}, {height}, {width}), but {layer} takes the last axis for the channels: it "
                    "sees pictures of {channels} by {height} with {width} channels.",
                    channels=channels,
                    height=height,
                    width=width,
                    layer=first.name,
                ),
                0.75,
                0.9,
                0.4,
                layer=first.name,
                cures=(Cure("axes", "np.moveaxis(x, 1, -1)", "Keras' layers take channels last."),),
            )
    recurrent = next((layer for layer in all_layers(program.model) if isinstance(layer, keras.layers.RNN)), None)
    if recurrent is not None and a.ndim == 3 and a.dtype.kind == "f" and min(a.shape[1:]) > 1 and a.shape[2] >= LONG:
        along = [_smoothness(a[program.some[:500]], axis) for axis in (1, 2)]
        if along[1] > SMOOTH and along[0] < SMOOTH / 3:
            yield suspect(
                "inputs",
                "steps and features swapped",
                say(
                    "x is (n, {steps}, {features}), for {layer} {steps} steps; but neighbours along the last axis are "
                    "alike (correlation {last_axis:.2f}), as steps are, and along the steps they are not "
                    "({steps_axis:.2f}).",
                    steps=a.shape[1],
                    features=a.shape[2],
                    layer=recurrent.name,
                    last_axis=along[1],
                    steps_axis=along[0],
                ),
                0.45,
                0.8,
                0.2,
                layer=recurrent.name,
                cures=(Cure("axes", "np.swapaxes(x, 1, 2)", "the second axis is the steps'."),),
                along_steps=along[0],
                along_features=along[1],
            )
    if recurrent is not None and a.ndim == 3 and a.dtype.kind == "f" and a.shape[1] == 1 and a.shape[2] >= 4:
        yield suspect(
            "inputs",
            "a series of one step",
            say(
                "x is (n, 1, {features}): {layer} gets {features} features in a single step, and has nothing to "
                "remember.",
                features=a.shape[2],
                layer=recurrent.name,
            ),
            0.4,
            0.75,
            0.2,
            layer=recurrent.name,
            cures=(Cure("axes", "x.reshape(len(x), steps, 1)", "each value is a step."),),
        )


def _smoothness(a: np.ndarray, axis: int) -> float:
    """Return the correlation of neighbours along an axis of (samples, steps, features)."""
    b = np.moveaxis(np.nan_to_num(a.astype(np.float64)), axis, -1)
    b = b - b.mean(-1, keepdims=True)
    size = float((b**2).sum())
    return float((b[..., 1:] * b[..., :-1]).sum()) / size if size > 0 else 0.0
