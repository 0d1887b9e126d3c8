"""Mean-field theory against published numbers, closed forms, adaptive quadrature, Keras' tapes and random networks."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfcx

from zoo.telemetry.theory import (
    ACTIVATIONS,
    INITIALIZERS,
    activation_functions,
    critical_sigma_w2,
    mean_field,
    mean_square,
    predict_mlp,
    sigma_w2_of,
)

PARAMETERS = [(name, {}) for name in ACTIVATIONS] + [
    ("leaky_relu", {"negative_slope": 0.3}),
    ("prelu", {"alpha": 0.25}),
    ("elu", {"alpha": 0.7}),
]


def test_import_is_light():
    code = "import sys, zoo.telemetry.theory; print([m for m in ('keras', 'tensorflow', 'mlflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# --- phi and phi' are Keras' own --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS)
def test_activation_and_derivative_equal_keras(name, parameters):
    keras = pytest.importorskip("keras")
    tf = pytest.importorskip("tensorflow")
    # 0 is left out: at a kink the derivative is a convention, and no integral sees it.
    x = np.concatenate([np.linspace(-8, 8, 400), [-30.0, 30.0, -1e-6, 1e-6]])
    assert 0 not in x
    if name == "prelu":
        alpha = keras.initializers.Constant(parameters.get("alpha", 0.0))
        function = keras.layers.PReLU(alpha_initializer=alpha, dtype="float64")
    else:
        function = lambda x: getattr(keras.activations, name)(x, **parameters)  # noqa: E731
    variable = tf.constant(x[:, None], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        y = function(variable)
    phi, slope = activation_functions(name, **parameters)
    # TensorFlow keeps a slope as float32 and takes gelu's tail from erf, so it is exact to no more than this.
    np.testing.assert_allclose(phi(x), y.numpy()[:, 0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(slope(x), tape.gradient(y, variable).numpy()[:, 0], rtol=1e-6, atol=1e-8)


def test_no_activation_is_linear_as_in_keras():
    assert mean_field(None, 0.5) == mean_field("linear", 0.5)


# --- Gaussian integrals -----------------------------------------------------------------------------------------------


def adaptive(f, q: float) -> float:
    """E[f(sqrt(q) z)^2] by SciPy's adaptive quadrature, cut where f or the Gaussian bends."""
    scale = math.sqrt(q)
    cuts = sorted({min(c / max(scale, 1), 13) for c in (0.5, 1, 2, 5, 10, 20, 40)} | {0, 0.3, 1, 2, 4, 13})

    def integrand(z):
        return float(f(np.array([scale * z]))[0]) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    return sum(quad(integrand, *sorted((s * a, s * b)), epsabs=0)[0] for a, b in pairwise(cuts) for s in (1, -1))


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")  # it asks for more than rounding allows
@pytest.mark.parametrize(("name", "parameters"), PARAMETERS)
@pytest.mark.parametrize("q", [1e-6, 0.3, 7.0, 1e4])
def test_integrals_equal_adaptive_quadrature(name, parameters, q):
    phi, slope = activation_functions(name, **parameters)
    assert mean_square(phi, q) == pytest.approx(adaptive(phi, q), rel=1e-8)
    assert mean_square(slope, q) == pytest.approx(adaptive(slope, q), rel=1e-8)


@pytest.mark.parametrize("q", [1e-12, 1e-3, 1.0, 50.0, 1e12])
def test_integrals_equal_closed_forms(q):
    relu, step = activation_functions("relu")
    assert mean_square(relu, q) == pytest.approx(q / 2, rel=1e-12)
    assert mean_square(step, q) == pytest.approx(0.5, rel=1e-12)
    leaky, _ = activation_functions("leaky_relu", negative_slope=0.3)
    assert mean_square(leaky, q) == pytest.approx(q * 1.09 / 2, rel=1e-12)
    assert mean_square(activation_functions("linear")[0], q) == pytest.approx(q, rel=1e-12)
    # E[elu'^2] = 1/2 + E[exp(2 x); x < 0]
    assert mean_square(activation_functions("elu")[1], q) == pytest.approx(0.5 + erfcx(math.sqrt(2 * q)) / 2, rel=1e-10)


# --- Fixed points and chi ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma_w2", "q_star", "chi"),
    [
        (1.0, 0.1936, 0.7590),
        (1.3, 0.3153, 0.8802),
        (1.5, 0.4180, 0.9386),
        (critical_sigma_w2("tanh", 0.05), 0.5700, 1.0),
        (2.0, 0.7218, 1.0477),
        (2.5, 1.0640, 1.1335),
        (4.0, 2.1955, 1.3424),
    ],
)
def test_tanh_table_at_sigma_b2_005(sigma_w2, q_star, chi):
    m = mean_field("tanh", sigma_w2, 0.05)
    assert (m.q_star, m.chi) == pytest.approx((q_star, chi), abs=5.1e-5)
    assert 1 / m.depth_scale == pytest.approx(abs(math.log(chi)), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "sigma_w2", "sigma_b2", "chi"),
    [("sigmoid", 1, 0, 0.0557), ("sigmoid", 1, 1, 0.0420), ("tanh", 1 / 3, 0, 1 / 3), ("relu", 1, 0, 0.5)],
)
def test_published_chi(name, sigma_w2, sigma_b2, chi):
    assert mean_field(name, sigma_w2, sigma_b2).chi == pytest.approx(chi, abs=5e-5)


def test_selu_keeps_unit_variance_with_lecun_weights():  # Klambauer et al. 2017: what its two constants are made for
    assert mean_field("selu", sigma_w2_of("lecun_normal", 50, 50)).q_star == pytest.approx(1, abs=1e-9)
    assert mean_field("selu", 1.0, q0=0.1).q_star == pytest.approx(1, abs=1e-9)
    assert mean_field("selu", 1.0, q0=30.0).q_star == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS)
@pytest.mark.parametrize(("sigma_w2", "sigma_b2"), [(0.3, 0.0), (0.95, 0.05), (1.8, 0.3), (3.0, 0.01)])
@pytest.mark.parametrize("q0", [0.02, 1.0, 40.0])
def test_fixed_point_is_where_iterating_the_map_ends(name, parameters, sigma_w2, sigma_b2, q0):
    phi, slope = activation_functions(name, **parameters)
    q = q0
    for _ in range(3000):
        q = sigma_w2 * mean_square(phi, q) + sigma_b2
        if q > 1e12:
            q = math.inf
            break
    m = mean_field(name, sigma_w2, sigma_b2, q0=q0, **parameters)
    assert m.q_star == pytest.approx(q, rel=1e-6, abs=1e-12)
    assert m.chi == pytest.approx(sigma_w2 * mean_square(slope, q), rel=1e-6)


def test_special_fixed_points():
    critical = mean_field("relu", 2.0, 0.0, q0=0.37)  # every q is a fixed point: the first one stays
    assert (critical.q_star, critical.depth_scale) == (0.37, math.inf)
    assert critical.chi == pytest.approx(1, abs=1e-12)
    fading = mean_field("relu", 1.0, 0.0)
    assert (fading.q_star, fading.depth_scale) == (0.0, pytest.approx(1 / math.log(2)))
    drifting = mean_field("relu", 2.0, 0.05)
    assert (drifting.q_star, drifting.chi) == (math.inf, pytest.approx(1))
    assert mean_field("relu", 1.9999, 0.05).q_star == pytest.approx(1000, rel=1e-9)
    assert mean_field("tanh", 2.0, q0=1e-20).q_star == pytest.approx(mean_field("tanh", 2.0).q_star)
    assert mean_field("gelu", 3.0, 0.0).chi == pytest.approx(1.5)  # grows to where it is a ReLU
    assert mean_field("tanh", 1.0, 0.0) == mean_field("tanh", 1.0, 0.0, q0=5.0)
    assert (mean_field("tanh", 1.0).q_star, mean_field("tanh", 1.0).depth_scale) == (0.0, math.inf)
    assert (mean_field("tanh", 0.0, 0.3).q_star, mean_field("tanh", 0.0, 0.3).depth_scale) == (pytest.approx(0.3), 0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_field("maxout", 1.0),
        lambda: mean_field("tanh", -1.0),
        lambda: mean_field("tanh", 1.0, math.nan),
        lambda: mean_field("tanh", 1.0, q0=0.0),
        lambda: sigma_w2_of("identity", 4, 4),
        lambda: sigma_w2_of("random_uniform", 4, 4, minval=0.0),
        lambda: predict_mlp("tanh", [10], 1.0),
        lambda: predict_mlp("tanh", [10, 10, 10], [1.0, 1.0, 1.0]),
    ],
)
def test_mistakes_are_named_in_one_line(call):
    with pytest.raises(ValueError) as mistake:
        call()
    assert "\n" not in str(mistake.value)


# --- The critical line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma_b2", "sigma_w2"),
    [(0.0, 1.0), (0.0025, 1.2601), (0.01, 1.4242), (0.05, 1.7610), (0.1, 1.9861), (0.2, 2.2852)],
)
def test_tanh_critical_line(sigma_b2, sigma_w2):
    assert critical_sigma_w2("tanh", sigma_b2) == pytest.approx(sigma_w2, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "sigma_b2", "sigma_w2"),
    [
        ("gelu", 0.17292239, 1.98305826),  # Roberts, Yaida & Hanin 2022, section 5.3.4
        ("swish", 0.55514317, 1.98800468),
        ("relu", 0.0, 2.0),
        ("prelu", 0.0, 2.0),
        ("linear", 0.0, 1.0),
        ("elu", 0.0, 1.0),
        ("softsign", 0.0, 1.0),
        ("softplus", 0.0, 2.0),
    ],
)
def test_other_critical_points(name, sigma_b2, sigma_w2):
    assert critical_sigma_w2(name, sigma_b2) == pytest.approx(sigma_w2, abs=5e-6)


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS)
@pytest.mark.parametrize("sigma_b2", [0.0, 0.05, 1.0])
def test_chi_passes_1_on_the_critical_line(name, parameters, sigma_b2):
    critical = critical_sigma_w2(name, sigma_b2, **parameters)
    assert mean_field(name, critical * 0.999, sigma_b2, **parameters).chi < 1
    assert mean_field(name, critical * 1.001, sigma_b2, **parameters).chi > 1


# --- Initializers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [(name, {}) for name in sorted(INITIALIZERS)]
    + [
        ("random_normal", {"stddev": 0.2}),
        ("truncated_normal", {"stddev": 0.2}),
        ("random_uniform", {"minval": -0.3, "maxval": 0.3}),
        ("orthogonal", {"gain": 1.5}),
        ("variance_scaling", {"scale": 1 / 3, "mode": "fan_out", "distribution": "uniform"}),
        ("variance_scaling", {"scale": 2.0, "mode": "fan_avg", "distribution": "untruncated_normal"}),
    ],
)
def test_sigma_w2_equals_what_keras_draws(name, parameters, shape):
    keras = pytest.importorskip("keras")
    initializer = keras.initializers.get(
        {"class_name": name, "config": parameters | {"seed": 1} if name != "zeros" else {}}
    )
    drawn = shape[0] * np.mean(np.asarray(initializer(shape)) ** 2)
    # 150,000 draws: the mean square of a normal has a standard error of 0.4 %.
    assert sigma_w2_of(name, *shape, **parameters) == pytest.approx(drawn, rel=0.015)
    assert sigma_w2_of(type(initializer).__name__, *shape, **parameters, seed=1) == sigma_w2_of(
        name, *shape, **parameters
    )


def test_sigma_w2_in_square_layers():
    assert [sigma_w2_of(f"{n}_{d}", 64, 64) for n in ("glorot", "lecun", "he") for d in ("uniform", "normal")] == [
        1, 1, 1, 1, 2, 2,
    ]  # fmt: skip
    assert sigma_w2_of("random_normal", 100, 7, stddev=0.1) == pytest.approx(1.0)


# --- Profiles, against forward and backward passes written by hand ----------------------------------------------------


def gaussian(rng, n0, n1):
    return rng.standard_normal((n0, n1), dtype=np.float32) * np.float32(n0**-0.5)


def uniform(rng, n0, n1):
    return (2 * rng.random((n0, n1), dtype=np.float32) - 1) * np.float32((3 / n0) ** 0.5)


def pass_through(activation, weights, sigma_w2, sigma_b2, input_rms, samples, rng, **parameters) -> np.ndarray:
    """(5, layers) mean squares over units and samples of z, phi(z), delta, gradient of phi(z), and |delta|^2 |h|^2.

    `weights` have variance 1 / fan-in.
    """
    phi, slope = activation_functions(activation, **parameters)
    sigmas = np.broadcast_to(np.sqrt(sigma_w2), len(weights)).astype(np.float32)
    h = rng.standard_normal((samples, len(weights[0])), dtype=np.float32)
    h *= input_rms / np.sqrt(np.mean(h**2, axis=1, keepdims=True))
    hs, zs = [h], []
    for w, sigma in zip(weights, sigmas, strict=True):
        bias = np.float32(sigma_b2**0.5) * rng.standard_normal(w.shape[1], dtype=np.float32)
        zs.append(sigma * (hs[-1] @ w) + bias)
        hs.append(phi(zs[-1]).astype(np.float32))
    back = rng.standard_normal(hs[-1].shape, dtype=np.float32)  # as from a random readout
    rows = []
    for i in reversed(range(len(weights))):
        delta = back * slope(zs[i]).astype(np.float32)
        of_weights = np.mean(np.sum(delta**2, axis=1) * np.sum(hs[i] ** 2, axis=1))
        rows.append([*(np.mean(a**2) for a in (zs[i], hs[i + 1], delta, back)), of_weights])
        back = sigmas[i] * (delta @ weights[i].T)
    return np.array(rows[::-1], dtype=float).T


def measure(networks, widths, *, seeds, draw=gaussian, input_rms=1.0, samples=32) -> list[np.ndarray]:
    """Mean of `pass_through` over seeds, gradients relative to the last layer. Networks share a seed's weights."""
    totals = np.zeros((len(networks), 5, len(widths) - 1))
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        weights = [draw(rng, *fans) for fans in pairwise(widths)]
        for total, (name, sigma_w2, sigma_b2, parameters) in zip(totals, networks, strict=True):
            total += pass_through(name, weights, sigma_w2, sigma_b2, input_rms, samples, rng, **parameters)
    totals[:, 2:] /= totals[:, 2:, -1:]
    totals[:, :2] /= seeds
    return list(totals)


def worst_errors(prediction, measured) -> np.ndarray:
    """Largest relative error over the layers, each as an rms: z, phi(z), delta, gradient of phi(z), weight gradient."""
    p = prediction
    predicted = [np.sqrt(p.q), p.activation_rms, p.delta_rms, p.activation_delta_rms, p.weight_gradient]
    return np.max(np.abs(np.array(predicted) / np.sqrt(measured) - 1), axis=1)


# 24 seeds, because a finite ReLU network strays: ln q has a standard deviation of sqrt(5 depth / width), 0.22 here.
NETWORKS = [
    ("tanh", 1.0, 0.05, {}),
    ("tanh", 1.7610, 0.05, {}),
    ("tanh", 2.5, 0.05, {}),
    ("relu", 2.0, 0.0, {}),
    ("relu", 1.0, 0.05, {}),
    ("leaky_relu", 1.9, 0.0, {"negative_slope": 0.3}),
    ("prelu", 1.9, 0.0, {"alpha": 0.25}),
    ("sigmoid", 1.0, 0.0, {}),
    ("sigmoid", 1.0, 1.0, {}),
    ("sigmoid", 20.0, 0.0, {}),
    ("gelu", 1.0, 0.05, {}),
    ("swish", 1.0, 0.05, {}),
    ("selu", 1.0, 0.0, {}),
    ("elu", 1.5, 0.0, {}),
    ("softplus", 1.0, 0.0, {}),
    ("softsign", 1.5, 0.05, {}),
    ("linear", 1.0, 0.0, {}),
]
# He's weights under gelu and swish shrink small signals faster than large ones: width 1000 is 1 % from the limit after
# 5 layers but 2 to 4 % after 10 (and four times that at width 250: the theory is a limit).
SHALLOW = [("gelu", 2.0, 0.0, {}), ("swish", 2.0, 0.0, {}), ("swish", 2.0, 0.05, {})]


@pytest.mark.parametrize(("networks", "depth"), [(NETWORKS, 10), (SHALLOW, 5)])
def test_profile_of_a_wide_mlp_within_3_percent(networks, depth):
    widths = [1000] * (depth + 1)
    for network, measured in zip(networks, measure(networks, widths, seeds=24), strict=True):
        name, sigma_w2, sigma_b2, parameters = network
        errors = worst_errors(predict_mlp(name, widths, sigma_w2, sigma_b2, **parameters), measured)
        assert np.all(errors < 0.03), (network, errors)


def test_profile_follows_changing_widths_and_real_initializers():
    widths = [300, 1200, 600, 1500, 800, 800]
    sigma_w2 = [sigma_w2_of("glorot_uniform", i, o) for i, o in pairwise(widths)]
    assert sigma_w2[0] == pytest.approx(600 / 1500)
    networks = [("tanh", sigma_w2, 0.0, {}), ("relu", sigma_w2, 0.0, {})]
    for (name, *_), measured in zip(
        networks, measure(networks, widths, seeds=12, draw=uniform, input_rms=0.7), strict=True
    ):
        errors = worst_errors(predict_mlp(name, widths, sigma_w2, input_rms=0.7), measured)
        assert np.all(errors < 0.03), (name, errors)


def test_profile_of_a_keras_mlp():
    keras = pytest.importorskip("keras")
    tf = pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(3)
    h = x = tf.random.normal((100, 400), seed=3)
    z = []
    with tf.GradientTape() as tape:
        tape.watch(x)
        for _ in range(6):
            z.append(keras.layers.Dense(700)(h))  # glorot_uniform and zero biases by default
            h = keras.activations.tanh(z[-1])
        logits = keras.layers.Dense(10)(h)
        loss = keras.losses.sparse_categorical_crossentropy(tf.range(100) % 10, logits, from_logits=True)
    delta = np.array([np.sqrt(np.mean(g.numpy() ** 2)) for g in tape.gradient(loss, z)])
    widths = [400] + [700] * 6
    prediction = predict_mlp("tanh", widths, [sigma_w2_of("glorot_uniform", i, o) for i, o in pairwise(widths)])
    np.testing.assert_allclose([np.sqrt(np.mean(a.numpy() ** 2)) for a in z], np.sqrt(prediction.q), rtol=0.03)
    np.testing.assert_allclose(delta / delta[-1], prediction.delta_rms, rtol=0.03)


def test_relu_with_glorot_weights_hides_its_vanishing_gradient_from_weight_gradients():
    p = predict_mlp("relu", [64] * 21, sigma_w2_of("glorot_uniform", 64, 64))
    np.testing.assert_allclose(p.delta_rms**2, 0.5 ** np.arange(19, -1, -1), rtol=1e-9)
    np.testing.assert_allclose(p.activation_rms**2, 0.5 ** np.arange(1, 21), rtol=1e-9)
    np.testing.assert_allclose(p.weight_gradient, 1, rtol=1e-9)


def test_extreme_networks_are_predicted_without_warnings():
    growing = predict_mlp("relu", [10] * 2001, 8.0)
    assert np.all(np.diff(growing.q[:400]) > 0)
    assert growing.delta_rms[0] == np.inf
    assert np.all(predict_mlp("tanh", [10] * 4, 0.0).delta_rms == [0, 0, 1])
