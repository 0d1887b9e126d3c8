"""Mean-field theory of wide random networks: what depth does to variances and gradients before any training.

Weights are independent, of mean 0 and variance `sigma_w2 / fan_in`; biases have mean 0 and variance `sigma_b2`; phi is
the activation and z ~ N(0, 1). As layers grow wide, pre-activations become Gaussian with a variance q that follows

    q_l = sigma_w2 E[phi(sqrt(q_{l-1}) z)^2] + sigma_b2          (Poole et al. 2016, arXiv:1606.05340, eq. 3)

and the squared back-propagated gradient is multiplied, a layer back, by

    chi = sigma_w2 E[phi'(sqrt(q) z)^2]                          (Schoenholz et al. 2017, arXiv:1611.01232)

chi < 1 is the ordered phase (gradients vanish), chi > 1 the chaotic one (they explode), chi = 1 the critical line.
Normalization layers, shortcuts and dropout change these maps and are not covered. NumPy and SciPy only: cheap
to import.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, ndtr

ROUNDING = 1e-12  # a relative difference below this may be noise of the quadrature
UNBOUND, FADED = 1e30, 1e-12  # variances that the map is not followed beyond: from there on it does as it did
NO_SIGNAL = 1e-290  # a variance from 0 that is no more than `mean_square` makes of its smallest q

# --- Activations: Keras 3's own definitions, defaults and argument names. Each entry returns (phi, phi'). -------------


def _leaky_relu(negative_slope: float = 0.2):  # keras.activations.leaky_relu; the layer keras.layers.LeakyReLU has 0.3
    return lambda x: np.where(x > 0, x, negative_slope * x), lambda x: np.where(x > 0, 1.0, negative_slope)


def _elu(alpha: float = 1.0, scale: float = 1.0):
    return (
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: scale * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0))),
    )


def _gelu():
    return lambda x: x * ndtr(x), lambda x: ndtr(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _silu():
    return lambda x: x * expit(x), lambda x: expit(x) * (1 + x * expit(-x))


ACTIVATIONS: dict[str, Callable[..., tuple[Callable, Callable]]] = {
    "linear": lambda: (lambda x: x, np.ones_like),
    "sigmoid": lambda: (expit, lambda x: expit(x) * expit(-x)),
    "tanh": lambda: (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "softsign": lambda: (lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "relu": lambda: _leaky_relu(0.0),
    "leaky_relu": _leaky_relu,
    "prelu": lambda alpha=0.0: _leaky_relu(alpha),  # at its initial slope; He et al. 2015 start at 0.25
    "elu": lambda alpha=1.0: _elu(alpha),
    "selu": lambda: _elu(1.6732632423543772, 1.0507009873554805),  # Klambauer et al. 2017, eq. 14
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
    "softplus": lambda: (lambda x: np.logaddexp(0, x), expit),
}


def activation_functions(activation: str | None, **parameters) -> tuple[Callable, Callable]:
    """Return phi and its derivative, both from an array to an array of the same shape.

    Args:
        activation: Keras name (a key of `ACTIVATIONS`); `None` is linear, as in Keras.
        parameters: Keras' own: `negative_slope` of leaky_relu, `alpha` of elu, `alpha` (the initial one) of prelu.

    Raises:
        ValueError: unknown activation.
    """
    name = activation or "linear"
    if name not in ACTIVATIONS:
        raise ValueError(
            f"no mean-field theory for activation {name!r}; choose one of {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name](**parameters)


# --- Gaussian integrals -----------------------------------------------------------------------------------------------


def _gauss_panels(limit: float = 12.0, panels: int = 34, order: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of E[f(z)], z ~ N(0, 1): Gauss-Legendre panels that halve towards 0, on each side of it.

    Gauss-Hermite fails at a kink, and where q is large and phi bends within |z| ~ 1 / sqrt(q). The split at 0 takes
    care of the first, the shrinking panels of the second, down to |z| = limit / 2^panels.
    """
    x, w = np.polynomial.legendre.leggauss(order)
    edges = np.append(limit * 0.5 ** np.arange(panels), 0.0)
    middle, half = (edges[:-1] + edges[1:]) / 2, (edges[:-1] - edges[1:]) / 2
    z = (middle[:, None] + half[:, None] * x).ravel()
    w = (half[:, None] * w).ravel() * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return np.concatenate([-z, z]), np.concatenate([w, w])


_Z, _W = _gauss_panels()


def mean_square(f: Callable, q: float) -> float:
    """Return E[f(sqrt(q) z)^2]; q is held within [1e-300, 1e300], so that 0 and inf give the limits."""
    return float(_W @ f(math.sqrt(min(max(q, 1e-300), 1e300)) * _Z) ** 2)


# --- The variance map, its fixed point and chi ------------------------------------------------------------------------


def _check(sigma_w2: float, sigma_b2: float) -> None:
    if not (0 <= sigma_w2 < math.inf and 0 <= sigma_b2 < math.inf):
        raise ValueError(f"variances must be finite and not negative; got sigma_w2={sigma_w2}, sigma_b2={sigma_b2}")


@dataclass(frozen=True)
class MeanField:
    """The state that a deep, wide random network settles in.

    Attributes:
        q_star: pre-activation variance that the map leads to from `q0`. 0 where the signal dies out, inf where it grows
            without bound. Where every q is a fixed point (ReLU at (2, 0), linear at (1, 0)) it is `q0` itself: the
            network keeps what it is given.
        chi: factor of the squared gradient, one layer back, at `q_star`; at 0 and inf its limit there.
        depth_scale: 1 / |ln chi|, in layers: a squared gradient changes by a factor e over so many; inf at chi = 1.
            Networks train up to a few depth scales (Schoenholz et al. 2017).
    """

    q_star: float
    chi: float
    depth_scale: float


def mean_field(
    activation: str | None, sigma_w2: float, sigma_b2: float = 0.0, *, q0: float = 1.0, **parameters
) -> MeanField:
    """Find where the variance map leads from `q0`, and how the gradient scales there.

    Args:
        activation: Keras name; see `activation_functions`, also for `parameters`.
        sigma_w2: weight variance times fan-in; see `sigma_w2_of`.
        sigma_b2: bias variance.
        q0: the first layer's pre-activation variance, positive. It matters only where the map has several fixed points:
            ReLU at (2, 0); gelu and swish, whose small signals die while large ones grow at sigma_w2 between 2 and 4.

    Raises:
        ValueError: unknown activation, negative variance, `q0` not positive.

    Example:
        mean_field("tanh", 1.0, 0.05)   # MeanField(q_star=0.1936, chi=0.7590, depth_scale=3.63)
    """
    _check(sigma_w2, sigma_b2)
    if not 0 < q0 < math.inf:
        raise ValueError(f"q0, a variance, must be positive and finite; got {q0}")
    phi, slope = activation_functions(activation, **parameters)
    q_star = _fixed_point(lambda q: sigma_w2 * mean_square(phi, q) + sigma_b2, q0)
    chi = sigma_w2 * mean_square(slope, q_star)
    log_chi = abs(math.log(chi)) if chi > 0 else math.inf
    return MeanField(q_star, chi, 1 / log_chi if log_chi > ROUNDING else math.inf)


def _fixed_point(v: Callable[[float], float], q0: float) -> float:
    """The fixed point that q = v(q), iterated from `q0`, tends to.

    v increases, so the iteration is monotone and stops at the first fixed point on its way. Walking there in steps of a
    factor 2^(1/4) and refining by bisection takes milliseconds also near criticality, where iterating never ends.
    """
    direction = v(q0) / q0 - 1
    if abs(direction) <= ROUNDING:
        return q0
    up = direction > 0
    start = q = q0
    while q < UNBOUND if up else q > FADED:
        q *= 2**0.25 if up else 2**-0.25
        change = v(q) / q - 1
        if abs(change) <= ROUNDING:
            continue
        if (change > 0) != up:
            return _root(lambda q: v(q) - q, *sorted((start, q)))
        start = q
    if up:
        return math.inf
    return _root(lambda q: v(q) - q, 0.0, start) if v(0.0) > NO_SIGNAL else 0.0


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    return brentq(f, low, high, rtol=1e-14, xtol=1e-300)  # pyright: ignore[reportArgumentType, reportReturnType]


def critical_sigma_w2(activation: str | None, sigma_b2: float = 0.0, *, q0: float = 1.0, **parameters) -> float:
    """Return the critical line: the smallest `sigma_w2` at which `mean_field(...)` has a chi of 1 or more.

    For sigmoid, tanh, softsign, elu and selu chi passes 1 smoothly, at a stable and finite q*. Otherwise:
        relu, leaky_relu, prelu, linear: chi does not depend on q, and the line is 2 / (1 + slope^2) everywhere.
            On it q keeps its value if sigma_b2 = 0 (ReLU's critical point, (2, 0)), else it grows linearly with depth.
        softplus: 2; q* grows without bound on the way there.
        gelu, swish: below sigma_b2 = 0.173 (gelu) or 0.555 (swish) no critical state is stable (Roberts, Yaida & Hanin
            2022, section 5.3.4); chi jumps past 1 where a signal of variance `q0` no longer dies but grows.

    Raises:
        ValueError: as `mean_field`.
    """

    def reached(sigma_w2: float) -> bool:
        return mean_field(activation, sigma_w2, sigma_b2, q0=q0, **parameters).chi >= 1 - ROUNDING / 10

    # Bisection on yes or no: chi may jump over 1 (gelu), or stay near it ever after (elu), which misleads root finders.
    low, high = 0.0, 1.0
    while not reached(high):
        low, high = high, 2 * high
    while high - low > ROUNDING * high:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


# --- From initializers and shapes to predictions ----------------------------------------------------------------------


def _variance_scaling(fan_in, fan_out, scale=1.0, mode="fan_in", distribution="truncated_normal"):
    # The draw's distribution does not matter: Keras widens the truncated normal so that its variance is as asked.
    return scale / {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]


def _normal(mean: float, variance: float) -> float:
    if mean:
        raise ValueError(f"mean-field theory needs weights of mean 0, not {mean}; use an initializer centred on 0")
    return variance


# Var W of Keras 3's initializers, as functions of fan-in, fan-out and Keras' own arguments and defaults.
INITIALIZERS: dict[str, Callable[..., float]] = {
    "variance_scaling": _variance_scaling,
    "glorot_uniform": lambda i, o: _variance_scaling(i, o, 1.0, "fan_avg"),
    "glorot_normal": lambda i, o: _variance_scaling(i, o, 1.0, "fan_avg"),
    "he_uniform": lambda i, o: _variance_scaling(i, o, 2.0),
    "he_normal": lambda i, o: _variance_scaling(i, o, 2.0),
    "lecun_uniform": lambda i, o: _variance_scaling(i, o, 1.0),
    "lecun_normal": lambda i, o: _variance_scaling(i, o, 1.0),
    "random_normal": lambda i, o, mean=0.0, stddev=0.05: _normal(mean, stddev**2),
    # Redrawn beyond two standard deviations, and here Keras does not widen: the variance is 0.774 stddev^2.
    "truncated_normal": lambda i, o, mean=0.0, stddev=0.05: _normal(mean, (0.87962566103423978 * stddev) ** 2),
    "random_uniform": lambda i, o, minval=-0.05, maxval=0.05: _normal(minval + maxval, (maxval - minval) ** 2 / 12),
    "orthogonal": lambda i, o, gain=1.0: gain**2 / max(i, o),
    "zeros": lambda i, o: 0.0,
}


def sigma_w2_of(initializer: str, fan_in: int, fan_out: int, **parameters) -> float:
    """Return `fan_in` Var W of a Keras initializer: 1 for lecun_*, 2 for he_*, 1 for glorot_* where the fans are equal.

    Args:
        initializer: Keras name (`"he_normal"`) or class name (`"HeNormal"`).
        fan_in: inputs of a unit; of a convolution, kernel height x width x input channels.
        fan_out: units; of a convolution, kernel height x width x filters.
        parameters: the initializer's own, as in its Keras config (`stddev=0.01`); `seed` changes nothing.

    Raises:
        ValueError: an initializer whose weights are not random and independent, or not of mean 0.
    """
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", initializer).lower()
    if name not in INITIALIZERS:
        raise ValueError(
            f"no mean-field theory for initializer {initializer!r}; choose one of {', '.join(sorted(INITIALIZERS))}"
        )
    parameters.pop("seed", None)
    return fan_in * INITIALIZERS[name](fan_in, fan_out, **parameters)


@dataclass(frozen=True, eq=False)
class Profile:
    """What theory predicts for the hidden layers of an MLP; each array is (layers,), in forward order.

    A layer is z = W h + b, h' = phi(z). Root mean squares are over units; gradients are per sample and relative to the
    last hidden layer, because the loss sets their scale.

    Attributes:
        q: variance of z.
        activation_rms: of phi(z).
        delta_rms: of the gradient with respect to z; 1 at the last layer.
        activation_delta_rms: of the gradient with respect to phi(z); 1 at the last layer.
        weight_gradient: L2 norm of the gradient of W, |delta_l| |h_{l-1}|; 1 at the last layer.
    """

    q: np.ndarray
    activation_rms: np.ndarray
    delta_rms: np.ndarray
    activation_delta_rms: np.ndarray
    weight_gradient: np.ndarray


def predict_mlp(
    activation: str | None,
    widths: Sequence[int],
    sigma_w2: float | Sequence[float],
    sigma_b2: float = 0.0,
    *,
    input_rms: float = 1.0,
    **parameters,
) -> Profile:
    """Predict activations and back-propagated gradients of an MLP at initialization, layer by layer.

    Each layer is taken at its own q, not at the fixed point. With n_l units and D_l the mean square of the gradient at
    z_l: D_l = E[phi'(sqrt(q_l) z)^2] sigma_w2_{l+1} (n_{l+1} / n_l) D_{l+1} (Schoenholz et al. 2017).

    Args:
        activation: Keras name; see `activation_functions`, also for `parameters`.
        widths: number of inputs, then units of each hidden layer; `[n] * (depth + 1)` is a square MLP.
        sigma_w2: fan-in times weight variance, one number or one for each hidden layer:
            `[sigma_w2_of("glorot_uniform", i, o) for i, o in itertools.pairwise(widths)]`.
        sigma_b2: bias variance.
        input_rms: root mean square of the entries of an input.

    Raises:
        ValueError: unknown activation, negative variance, no hidden layer, or not one `sigma_w2` for each.
    """
    depth = len(widths) - 1
    if depth < 1 or np.shape(sigma_w2) not in ((), (depth,)):
        raise ValueError(
            f"widths {list(widths)} must be inputs, then hidden layers, with one sigma_w2 in all or for each"
        )
    sigmas = [float(s) for s in np.broadcast_to(sigma_w2, depth)]
    for sigma in sigmas:
        _check(sigma, sigma_b2)
    phi, slope = activation_functions(activation, **parameters)

    q, squares = [], [input_rms**2]  # mean squares of h_0 (the inputs), h_1, ...
    for sigma in sigmas:
        q.append(sigma * squares[-1] + sigma_b2)
        squares.append(mean_square(phi, q[-1]))

    slopes = np.array([mean_square(slope, x) for x in q])
    # back[l]: mean square of the gradient at phi(z_l) over that at z_{l+1}; then products from the last layer back.
    back = np.array([s * n1 / n0 for s, (n0, n1) in zip(sigmas[1:], pairwise(widths[1:]), strict=True)])
    with np.errstate(over="ignore"):  # beyond 1e308 the prediction is inf
        delta = np.append(np.cumprod((slopes[:-1] * back)[::-1])[::-1], 1.0)
        after = np.append(np.cumprod((slopes[1:] * back)[::-1])[::-1], 1.0)
        h2 = np.array(squares)
        weight = delta * h2[:-1] * np.array(widths[1:], float) * np.array(widths[:-1], float)
    return Profile(np.array(q), np.sqrt(h2[1:]), np.sqrt(delta), np.sqrt(after), np.sqrt(weight / weight[-1]))
