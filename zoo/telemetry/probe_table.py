"""What the probe says of one layer, from the tensors of a pass.

The functions are given `xp`: NumPy where the tensors lie in the processor's own memory, `keras.ops` on an accelerator,
where moving them would take longer than to measure them.
"""

import functools
import math
import operator

import numpy as np

from zoo.telemetry.plan import Plan, Point, Site

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
# What the probe multiplies the loss by: it keeps the deltas of half precision in its range. The optimizer's own loss
# scale may be one that overflows, on its way to a lower one.
SCALE = 1024.0
ROUNDING, HALF_ROUNDING = 1e-5, 5e-3  # of a sum, relative to its rms


def measure(plan: Plan, tensors: list, events: list[tuple], gradients: list, samples: int, xp) -> dict:
    """Return the measures of all layers.

    Args:
        plan: what is measured.
        tensors: those of the plan.
        events: for each gradient that the step took, the indices of the variables that it trains by it, and the deltas
            by their keys, of the loss times `SCALE`.
        gradients: what the optimizer got, one for each of the model's trainable variables, `None` where it got none.
        samples: in the batch.
        xp: NumPy or `keras.ops`.

    Returns:
        "measured": (layers,) 1 where a delta could be had, else 0; "table": (measures, layers); "loops" and
        "attentions": for each of the plan's, its two arrays; "residuals": the share of each, NaN where there is no sum.
    """
    columns = [_column(site, tensors, events, gradients, samples, xp) for site in plan.sites]
    measured = [bool(_points(site, tensors)) and _is_trained(site, events) for site in plan.sites]
    return {
        "measured": xp.array(measured, "float32"),
        "table": xp.transpose(xp.stack([xp.stack(column) for column in columns])) if columns else [],
        "loops": [_along_time(loop, tensors, events, samples, xp) for loop in plan.loops],
        "attentions": [_attention(attention, tensors, xp) for attention in plan.attentions],
        "residuals": [_share(residual, tensors, xp) for residual in plan.residuals],
    }


def _points(site: Site, tensors: list) -> list[Point]:
    """Return the layer's calls, without those on no sample, such as of an expert that none was sent to."""
    return [point for point in site.points if 0 not in tensors[point.outputs[0]].shape]


def _is_trained(site: Site, events: list[tuple]) -> bool:
    """Whether a gradient by the layer's variables was taken."""
    return any(trained & set(site.variables) for trained, _ in events)


def _column(site: Site, tensors: list, events: list[tuple], gradients: list, samples: int, xp) -> list:
    """Return the measures of one layer, in the order of `MEASURES`; its calls count together."""
    known = [_single(xp, gradients[k]) for k in site.variables if gradients[k] is not None]
    gradient = _norm(xp, known) if known else xp.zeros((), "float32")
    nothing = xp.full((), np.nan, "float32")
    points = _points(site, tensors)
    if not points:
        return [nothing] * 7 + [gradient] + [nothing] * 2
    deltas = [_delta(key, site.variables, events, xp) for point in points for key in point.keys]
    deltas = [d for d in deltas if d is not None]
    if deltas:  # a call that no loss depends on does not count beside one that does
        reached = {key for trained, found in events if trained & set(site.variables) for key in found}
        points = [point for point in points if reached & set(point.keys)]
    after = [_single(xp, tensors[point.after]) for point in points]
    mean, square, spread, dead = (_mean(list(parts)) for parts in zip(*(_spread(xp, v) for v in after), strict=True))
    if samples == 1 or any(v.shape[0] != samples for v in after):
        spread = nothing  # of what has no samples to tell apart, such as the embedding of positions
    saturated = xp.zeros((), "float32")
    if site.activation in SATURATION:
        low, high = SATURATION[site.activation]
        saturated = _mean([xp.mean(_single(xp, xp.logical_or(v < low, v > high))) for v in after])
    own = [tensors[point.outputs[0]] for point in points]
    delta_rms = delta_norm = nothing
    if _is_trained(site, events):
        size = samples * sum(math.prod(tensors[place].shape[1:]) for point in points for place in point.outputs)
        total = _norm(xp, deltas) if deltas else xp.zeros((), "float32")
        delta_rms, delta_norm = samples * total / math.sqrt(size), samples * total / math.sqrt(samples)
    return [
        mean,
        xp.sqrt(xp.maximum(square - xp.square(mean), 0.0)),
        xp.sqrt(square),
        xp.sqrt(xp.where(square > 0, spread / xp.where(square > 0, square, 1.0), 0.0)),
        xp.sqrt(_mean([_mean_square(xp, _single(xp, t)) for t in own])),
        delta_rms,
        delta_norm,
        gradient,
        dead,
        saturated,
    ]


def _delta(key: tuple, variables: list[int], events: list[tuple], xp):
    """Return the gradient at `key` of what trains `variables`; `None` if nothing of it depends on that tensor."""
    found = [deltas[key] for trained, deltas in events if key in deltas and trained & set(variables)]
    return functools.reduce(operator.add, [_single(xp, d) / SCALE for d in found]) if found else None


def _spread(xp, values) -> tuple:
    """Return mean, mean square, variance over samples (mean over units), and the share of units that are always 0."""
    units = values.shape[-1] if len(values.shape) > 1 else 1
    center = xp.mean(values, axis=0)
    spread = _mean_square(xp, values - center)
    active = xp.reshape(values != 0, (-1, units)) if len(values.shape) else values
    dead = xp.mean(_single(xp, xp.logical_not(xp.any(active, axis=0))))
    return xp.mean(center), spread + _mean_square(xp, center), spread, dead


def _along_time(loop: tuple, tensors: list, events: list[tuple], samples: int, xp) -> tuple:
    """Return (steps,) rms of a cell's output and (steps,) norm of delta, in the order in which the layer walks."""
    _, variables, states, key, backwards = loop
    states = _single(xp, tensors[states])
    others = tuple(i for i in range(len(states.shape)) if i != 1)
    rms = xp.sqrt(xp.mean(xp.square(states), axis=others))
    delta = _delta(key, variables, events, xp)
    if delta is None:
        return rms, xp.zeros_like(rms)
    largest = xp.max(xp.abs(delta))
    divisor = xp.where(largest > 0, largest, 1.0)
    norm = samples * divisor * xp.sqrt(xp.sum(xp.square(delta / divisor), axis=others) / samples)
    return rms, xp.flip(norm, axis=0) if backwards else norm


def _attention(attention: tuple, tensors: list, xp) -> tuple:
    """Return the entropy over the largest possible, and the rms of the logits, over what each query may see."""
    _, query, key, mask, causal = attention
    query, key = (xp.transpose(_single(xp, tensors[i]), (0, 2, 1, 3)) for i in (query, key))
    if query.shape[1] != key.shape[1]:  # grouped queries
        key = xp.repeat(key, query.shape[1] // key.shape[1], axis=1)
    logits = xp.matmul(query, xp.transpose(key, (0, 1, 3, 2))) / math.sqrt(query.shape[-1])
    visible = xp.ones_like(logits)
    if mask is not None:
        mask = _single(xp, tensors[mask])
        visible = visible * (xp.expand_dims(mask, 1) if len(mask.shape) == 3 else mask)
    if causal:
        visible = visible * _single(xp, xp.tril(xp.ones(tuple(logits.shape[-2:]), "float32")))
    several = xp.sum(visible, axis=-1) > 1  # where there is but one to look at, there is no choice
    shifted = xp.where(
        visible > 0, logits - xp.max(xp.where(visible > 0, logits, -1e30), axis=-1, keepdims=True), -1e30
    )
    weights = xp.exp(shifted)
    weights = weights / xp.maximum(xp.sum(weights, axis=-1, keepdims=True), 1e-30)
    entropy = -xp.sum(xp.where(weights > 0, weights * xp.log(xp.maximum(weights, 1e-30)), 0.0), axis=-1)
    share = xp.where(several, entropy / xp.log(xp.maximum(xp.sum(visible, axis=-1), 2.0)), 0.0)
    several = _single(xp, several)
    mean_square = xp.sum(xp.square(logits) * visible) / xp.maximum(xp.sum(visible), 1.0)
    return xp.sum(share) / xp.maximum(xp.sum(several), 1.0), xp.sqrt(mean_square)


def _share(residual: tuple, tensors: list, xp):
    """Return the branch's rms over the sum's; NaN where the sum is not one of the branch and one of the streams."""
    _, branch, total, streams = residual
    kind = tensors[total].dtype
    branch, total = _single(xp, tensors[branch]), _single(xp, tensors[total])
    size = _rms(xp, total)
    share = _rms(xp, branch) / size
    if not streams:
        return share
    rounding = HALF_ROUNDING if "16" in str(kind) else ROUNDING
    away = [_rms(xp, total - branch - _single(xp, tensors[stream])) for stream in streams]
    found = functools.reduce(xp.minimum, away) < rounding * size
    return xp.where(xp.logical_and(found, _rms(xp, total - branch) > rounding * size), share, np.nan)


def _single(xp, tensor):
    return tensor.astype(np.float32) if xp is np else xp.cast(tensor, "float32")


def _mean(values: list):
    return functools.reduce(operator.add, values) / len(values)


def _rms(xp, values):
    return xp.sqrt(_mean_square(xp, values))


def _mean_square(xp, values):
    flat = xp.reshape(values, (-1,))
    if xp is np:  # without a copy of the size of the values
        total = np.dot(flat, flat)
        if np.isfinite(total) and total > 1e-30:
            return np.float32(total / max(flat.size, 1))
    return xp.mean(xp.square(flat))


def _norm(xp, tensors: list):
    """L2 norm of all entries together; divided by the largest, so that no square leaves float32."""
    largest = functools.reduce(xp.maximum, [xp.max(xp.abs(t)) for t in tensors])
    divisor = xp.where(largest > 0, largest, 1.0)
    squares = [xp.sum(xp.square(t / divisor)) for t in tensors]
    return divisor * xp.sqrt(functools.reduce(operator.add, squares))
