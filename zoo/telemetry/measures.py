"""What the probe says of one layer, from tensors that a pass has brought together; the same on every backend."""

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


def legend(found: list[Site]) -> tuple[list[str], list[bool], list[str]]:
    """Return the names of the layers, whether each has a kernel, and its activation's name."""
    return [s.name for s in found], [s.has_kernel for s in found], [s.activation for s in found]


# What the probe multiplies the loss by: it keeps the deltas of half precision in its range. The optimizer's own loss
# scale may be one that overflows, on its way to a lower one.
SCALE = 1024.0


def table(found: list[Site], tensors: list[tuple], deltas: list, gradients: list, scale, samples):
    """Return the measures of all layers: (measures, layers) float32.

    Args:
        found: the layers.
        tensors: for each layer its own outputs and the activations that follow, one a call.
        deltas: gradients of the scaled loss with respect to the outputs, in their order.
        gradients: of the scaled loss with respect to the model's trainable variables.
        scale: what the loss was multiplied by.
        samples: in the batch.
    """
    samples = ops.cast(samples, "float32")
    deltas = iter([samples * _unscaled(d, scale) for d in deltas])
    gradients = [_unscaled(g, scale) for g in gradients]
    rows = [
        _measure(
            site.activation,
            outputs,
            after,
            [next(deltas) for _ in outputs],
            [gradients[k] for k in site.variables],
            samples,
        )
        for site, (outputs, after) in zip(found, tensors, strict=True)
    ]
    return ops.transpose(ops.stack(rows))


def _unscaled(gradient, scale):
    return ops.cast(gradient, "float32") / scale


def _measure(activation: str, outputs: list, after: list, deltas: list, weights: list, samples):
    """Return one layer's measures, in the order of `MEASURES`. Several calls of a shared layer count together."""
    if not outputs:
        nothing = ops.convert_to_tensor(np.float32(np.nan))
        return ops.stack([nothing] * 7 + [_norm(weights)] + [nothing] * 2)
    outputs, after = ([ops.cast(t, "float32") for t in tensors] for tensors in (outputs, after))
    mean = _over(after, lambda v: v)
    square = _over(after, ops.square)
    dead = _over([ops.all(ops.equal(_units(v), 0.0), axis=0) for v in after], lambda d: ops.cast(d, "float32"))
    low, high = SATURATION.get(activation, (-np.inf, np.inf))
    saturated = _over(after, lambda v: ops.cast(ops.logical_or(v < low, v > high), "float32"))
    std = ops.sqrt(ops.maximum(square - mean**2, 0.0))
    delta_norm = _norm(deltas) / ops.sqrt(samples)
    size = samples * sum(float(np.prod(d.shape[1:])) for d in deltas)
    spread = _over(after, lambda v: ops.var(v, axis=0))
    variation = ops.sqrt(ops.where(square > 0, spread / ops.where(square > 0, square, 1.0), 0.0))
    return ops.stack(
        [
            mean,
            std,
            ops.sqrt(square),
            variation,
            ops.sqrt(_over(outputs, ops.square)),
            _norm(deltas) / ops.sqrt(size),
            delta_norm,
            _norm(weights),
            dead,
            saturated,
        ]
    )


def _over(tensors: list, function):
    """Mean of `function` over each tensor's entries, and over the tensors."""
    return ops.mean(ops.stack([ops.mean(function(t)) for t in tensors]))


def _norm(tensors: list):
    """L2 norm of all entries together; divided by the largest first, so that no square leaves float32."""
    largest = ops.max(ops.stack([ops.max(ops.abs(t)) for t in tensors]))
    divisor = ops.where(largest > 0, largest, 1.0)
    return divisor * ops.sqrt(sum(ops.sum(ops.square(t / divisor)) for t in tensors))


def _units(values):
    """(batch, ..., units) -> (batch * ..., units)."""
    return ops.reshape(values, (-1, values.shape[-1]))


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
    z = ops.matmul(_units(ops.cast(site.calls[0].inputs[0], "float32")), ops.cast(dense.kernel, "float32"))
    z = z + ops.cast(dense.bias, "float32") if dense.use_bias else z
    derivative = slope(dense.activation if after is dense else lambda z: after(dense.activation(z)), z)
    jacobian = ops.expand_dims(derivative, 1) * ops.expand_dims(ops.cast(dense.kernel, "float32"), 0)
    values = ops.svd(jacobian, compute_uv=False)
    return float(ops.convert_to_numpy(ops.mean(values)))


def usable(calls: list[Call], reaches) -> list[Call]:
    """Return the calls of which `reaches` holds for every output: not those within loops, which keep their values."""
    return [call for call in calls if all(reaches(t) for t in call.outputs)]
