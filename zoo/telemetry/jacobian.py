"""Singular values of dense layers' Jacobians, activation included (Glorot & Bengio 2010, sec. 4.2.1)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.telemetry.calls import Call, Recorder
from zoo.telemetry.plan import Plan, Site

SAMPLES = 16


def singular_values(model: keras.Model, x, slope) -> np.ndarray:
    """Return (layers,) mean singular values of dense layers' Jacobians, on up to 16 samples; NaN for other layers.

    Args:
        model: whose layers.
        x: (batch, ...) inputs.
        slope: gets an elementwise function and its input z, and returns the function's derivative at z.
    """
    recorder = Recorder()
    with recorder.watching(model):
        model(keras.tree.map_structure(lambda a: a[:SAMPLES], x), training=False)
    plan = Plan.of(model, recorder, lambda tensor: True)
    return np.array([_mean_singular_value(site, plan, recorder.calls, slope) for site in plan.sites], np.float32)


def _mean_singular_value(site: Site, plan: Plan, calls: list[Call], slope) -> float:
    if not isinstance(site.layer, keras.layers.Dense) or not site.points:
        return np.nan
    dense = site.layer
    call = next(call for call in calls if call.layer is dense)
    following = plan.tensors[site.points[0].after]
    after = next(c.layer for c in calls if c.outputs and c.outputs[0] is following)
    x: Any = ops.cast(call.inputs[0], "float32")
    z: Any = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), ops.cast(dense.kernel, "float32"))
    z = z + ops.cast(dense.bias, "float32") if dense.use_bias else z
    derivative = slope(dense.activation if after is dense else lambda z: after(dense.activation(z)), z)
    jacobian = ops.multiply(ops.expand_dims(derivative, 1), ops.expand_dims(ops.cast(dense.kernel, "float32"), 0))
    values = ops.svd(jacobian, compute_uv=False)
    return float(np.asarray(ops.convert_to_numpy(ops.mean(values))))
