"""What the probe says of one layer, from tensors that a pass has brought together; the same on every backend."""

import functools
import math
import operator

import keras
import numpy as np
from keras import ops

from zoo.telemetry.sites import Call, Site, recorded_calls, sites

MEASURES = (
    "activation_mean",
    "activation_std",
    "activation_rms",
    "variation",
    "output_rms",
    "delta_rms",
    "delta_norm",
    "gradient_norm",
    "dead",
    "saturated",
)
# An output beyond these bounds is where the derivative is below 5 % of its largest.
SATURATION = {
    "sigmoid": (0.5 - 0.95**0.5 / 2, 0.5 + 0.95**0.5 / 2),
    "tanh": (-(0.95**0.5), 0.95**0.5),
    "softsign": (-(1 - 0.05**0.5), 1 - 0.05**0.5),
}
JACOBIAN_SAMPLES = 16
SMALL = 2**17  # entries; to bring larger tensors together costs more at each probe than it saves at the first


def legend(found: list[Site]) -> tuple[list[str], list[bool], list[str]]:
    """Return the names of the layers, whether each has a kernel, and its activation's name."""
    return [s.name for s in found], [s.has_kernel for s in found], [s.activation for s in found]


# What the probe multiplies the loss by: it keeps the deltas of half precision in its range. The optimizer's own loss
# scale may be one that overflows, on its way to a lower one.
SCALE = 1024.0


def table(found: list[Site], tensors: list[tuple], deltas: list, gradients: list, scale, samples):
    """Return the measures of all layers: (measures, layers) float32.

    Small layers of the same shapes are measured together: a deep network has few kinds, and ops for each kind take much
    less to trace and to compile than ops for each layer.

    Args:
        found: the layers.
        tensors: for each layer its own outputs and the activations that follow, one a call.
        deltas: gradients of the scaled loss with respect to the outputs, in their order.
        gradients: of the scaled loss with respect to the model's trainable variables.
        scale: what the loss was multiplied by.
        samples: in the batch.
    """
    samples, deltas = ops.cast(samples, "float32"), iter(deltas)
    layers = [
        (outputs, after, [next(deltas) for _ in outputs], [gradients[k] for k in site.variables])
        for site, (outputs, after) in zip(found, tensors, strict=True)
    ]
    kinds: dict[tuple, list[int]] = {}
    for number, (site, layer) in enumerate(zip(found, layers, strict=True)):
        kinds.setdefault(_kind(number, site, layer), []).append(number)
    columns = []
    for numbers in kinds.values():
        # A list of one stacked tensor for each call or variable that layers of this kind have.
        outputs, after, delta, weights = (
            [_stacked(same) for same in zip(*group, strict=True)]
            for group in zip(*(layers[n] for n in numbers), strict=True)
        )
        delta, weights = [samples * (d / scale) for d in delta], [w / scale for w in weights]
        columns.append(_measure(found[numbers[0]].activation, outputs, after, delta, weights, samples))
    order = np.argsort([number for numbers in kinds.values() for number in numbers])
    return ops.take(ops.concatenate(columns, axis=1), order, axis=1)


def _kind(number: int, site: Site, layer: tuple[list, ...]) -> tuple:
    """Return what layers must have in common to be measured together; large ones, and unknown sizes, stay alone."""
    shapes = tuple(tuple(tuple(t.shape) for t in tensors) for tensors in layer)
    small = all(None not in shape and math.prod(shape) <= SMALL for tensors in shapes for shape in tensors)
    return site.activation, shapes, None if small else number


def _stacked(tensors: tuple):
    """(...) each -> (layers, ...) float32."""
    return ops.stack([ops.cast(t, "float32") for t in tensors])


def _measure(activation: str, outputs: list, after: list, deltas: list, weights: list, samples):
    """Return (measures, layers) of some layers of one kind, in the order of `MEASURES`.

    Each list holds (layers, ...) tensors, one for each call of a shared layer; its calls count together.
    """
    if not outputs:
        gradient = _norm(weights)
        nothing = ops.full_like(gradient, np.nan)
        return ops.stack([nothing] * 7 + [gradient] + [nothing] * 2)
    mean = _over(after, lambda v: v)
    square = _over(after, ops.square)
    dead = _over([ops.all(ops.equal(_units(v), 0.0), axis=1) for v in after], lambda d: ops.cast(d, "float32"))
    saturated = ops.zeros_like(mean)
    if activation in SATURATION:
        low, high = SATURATION[activation]
        saturated = _over(after, lambda v: ops.cast(ops.logical_or(v < low, v > high), "float32"))
    std = ops.sqrt(ops.maximum(square - mean**2, 0.0))
    delta_norm = _norm(deltas)
    size = samples * sum(float(np.prod(d.shape[2:])) for d in deltas)
    spread = _over(after, lambda v: ops.var(v, axis=1))
    variation = ops.sqrt(ops.where(square > 0, spread / ops.where(square > 0, square, 1.0), 0.0))
    return ops.stack(
        [
            mean,
            std,
            ops.sqrt(square),
            variation,
            ops.sqrt(_over(outputs, ops.square)),
            delta_norm / ops.sqrt(size),
            delta_norm / ops.sqrt(samples),
            _norm(weights),
            dead,
            saturated,
        ]
    )


def _over(tensors: list, function):
    """(layers,) means of `function` over each layer's entries, and over the tensors."""
    means = [ops.mean(_entries(function(t)), axis=1) for t in tensors]
    return means[0] if len(means) == 1 else ops.mean(ops.stack(means), axis=0)


def _norm(tensors: list):
    """(layers,) L2 norms of all entries together; divided by the largest, so that no square leaves float32."""
    tensors = [_entries(t) for t in tensors]
    largest = functools.reduce(ops.maximum, [ops.max(ops.abs(t), axis=1) for t in tensors])
    divisor = ops.where(largest > 0, largest, 1.0)
    squares = [ops.sum(ops.square(t / ops.expand_dims(divisor, 1)), axis=1) for t in tensors]
    return divisor * ops.sqrt(functools.reduce(operator.add, squares))


def _entries(values):
    """(layers, ...) -> (layers, entries)."""
    return ops.reshape(values, (values.shape[0], -1))


def _units(values):
    """(layers, batch, ..., units) -> (layers, batch * ..., units)."""
    return ops.reshape(values, (values.shape[0], -1, values.shape[-1]))


def singular_values(model: keras.Model, x, slope) -> np.ndarray:
    """Return (layers,) mean singular values of dense layers' Jacobians, on up to 16 samples; NaN for other layers.

    Args:
        model: whose layers.
        x: (batch, ...) inputs.
        slope: gets an elementwise function and its input z, and returns the function's derivative at z.
    """
    with recorded_calls(model) as calls:
        model(keras.tree.map_structure(lambda a: a[:JACOBIAN_SAMPLES], x), training=False)
    return np.array([_mean_singular_value(site, slope) for site in sites(model, calls)], np.float32)


def _mean_singular_value(site: Site, slope) -> float:
    if not site.calls or not isinstance(site.calls[0].layer, keras.layers.Dense):
        return np.nan
    dense, after = site.calls[0].layer, site.after[0].layer
    x = ops.cast(site.calls[0].inputs[0], "float32")
    z = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), ops.cast(dense.kernel, "float32"))
    z = z + ops.cast(dense.bias, "float32") if dense.use_bias else z
    derivative = slope(dense.activation if after is dense else lambda z: after(dense.activation(z)), z)
    jacobian = ops.expand_dims(derivative, 1) * ops.expand_dims(ops.cast(dense.kernel, "float32"), 0)
    values = ops.svd(jacobian, compute_uv=False)
    return float(ops.convert_to_numpy(ops.mean(values)))


def usable(calls: list[Call], reaches) -> list[Call]:
    """Return the calls of which `reaches` holds for every output: not those within loops, which keep their values."""
    return [call for call in calls if all(reaches(t) for t in call.outputs)]
