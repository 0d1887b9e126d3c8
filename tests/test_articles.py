"""The articles' examples: every experiment runs, their formulas are ours, scikit-learn's models are reached."""

import importlib.util
import re
from pathlib import Path

import hydra
import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge, SGDRegressor

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo.config import CONF, check
from zoo.models import mlp
from zoo.models.articles import activated_output, two_branches
from zoo.running.make import build_model, compile_model, initialize_on_data, make_data
from zoo.sweeping.hydra_private import grid

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = sorted(path.stem for path in Path(CONF, "experiment").glob("*.yaml"))
PAGES = [ROOT / "docs" / "articles.md", ROOT / "docs" / "articles.zh.md"]
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
RNG = np.random.default_rng(0)


def compose(*words, hydra_too=False):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", list(words), return_hydra_config=hydra_too)


def made(cfg, steps: int):
    """The data and the compiled network of a config, for a training of that many steps."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(cfg.seed)
    data = make_data(cfg)
    model = build_model(cfg, data.input_shape, data.classes)
    cfg.epochs = 1
    compile_model(cfg, model, data.task, steps)
    initialize_on_data(cfg, model, data.fixed_batch(cfg.batch_size)[0])
    return data, model


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """A stand-in for CIFAR-10, so that no test needs the network."""
    path = tmp_path_factory.mktemp("data") / "photographs.npz"
    x, y = RNG.integers(0, 256, (200, 32, 32, 3), np.uint8), np.arange(200) % 10
    np.savez(path, x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    return path


# Every experiment.


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_runs_a_step(name, photographs):
    words = [f"experiment={name}", "steps_per_execution=1"]
    if "override /data: cifar10" in Path(CONF, "experiment", f"{name}.yaml").read_text():
        words += [f"data.path={photographs}", "model=lenet"]
    cfg = compose(*words)
    data, model = made(cfg, steps=10)
    x, y = (part[: cfg.batch_size] for part in data.train)
    before = [w.numpy().copy() for w in model.trainable_variables]

    loss = model.train_on_batch(x, y)[0]

    assert np.isfinite(loss)
    assert any((w.numpy() != old).any() for w, old in zip(model.trainable_variables, before, strict=True))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_job_of_an_experiment_is_sound(name):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        cfg = hydra.compose("config", [f"experiment={name}"], return_hydra_config=True)
        jobs = grid(cfg) if cfg.hydra.sweeper.params else [[]]
        if len(jobs) > 4:  # opposite corners are enough
            jobs = [jobs[0], jobs[-1]]
        for words in jobs:
            check(hydra.compose("config", [f"experiment={name}", *words]))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_header_gives_the_command_and_m_where_there_is_something_to_sweep(name):
    header = " ".join(re.findall(r"^# (.*)", Path(CONF, "experiment", f"{name}.yaml").read_text(), re.M))
    command = re.search(rf"python train\.py (-m )?experiment={name}(?=\s|$)", header)

    assert command, header
    assert bool(compose(f"experiment={name}", hydra_too=True).hydra.sweeper.params) == bool(command[1])


# The printed networks.


def relu(x):
    return np.maximum(x, 0)


def dense(layer, x):
    return x @ layer.kernel.numpy() + layer.bias.numpy()


def test_two_branches_is_two_layers_of_the_input_added():
    model = two_branches((32,), 1)
    x = RNG.normal(size=(7, 32)).astype("float32")
    first, second, last = (model.get_layer(name) for name in ("dense_1", "dense_2", "logits"))

    expected = dense(last, relu(dense(first, x)) + relu(dense(second, x)))
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    assert model.count_params() == 2 * 33 * 64 + 65


def test_activated_output_compares_each_unit_with_the_one_target():
    model = activated_output((10,), 1)
    x, y = RNG.normal(size=(7, 10)).astype("float32"), RNG.normal(size=(7, 1)).astype("float32")
    model.compile(loss="mse")

    outputs = relu(dense(model.get_layer("dense_1"), x))
    np.testing.assert_allclose(model(x), outputs, rtol=1e-4, atol=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(np.mean((outputs - y) ** 2), rel=1e-5)


# Article 002's formulas in NumPy.


def test_residual_connection_as_meant_and_as_printed():
    """H(l) = F(H(l-1)) + H(l-1). The printed code returns F(F(x) + x): another function, with W and b unused."""
    model = mlp((5,), 2, depth=2, width=6, residual=1, activation="tanh", initializer="glorot_uniform")
    x = RNG.normal(size=(4, 5)).astype("float32")
    first, second, last = (model.get_layer(name) for name in ("dense_1", "dense_2", "logits"))
    h = np.tanh(dense(first, x))

    meant = np.tanh(dense(second, h)) + h
    np.testing.assert_allclose(model(x), dense(last, meant), rtol=1e-4, atol=1e-5)
    printed = np.tanh(np.tanh(h) + h)
    assert np.abs(printed - meant).max() > 0.1
    assert np.abs(printed).max() < 1 < np.abs(meant).max()  # what a skip is for: the sum is not squashed


def batch_normalization(x, gamma, beta, axis, epsilon):
    return (x - x.mean(axis)) / np.sqrt(x.var(axis) + epsilon) * gamma + beta


def test_batch_normalization_is_the_formula_over_the_batch_alone():
    x = RNG.normal(loc=[0, 5, -3], scale=[1, 2, 9], size=(64, 3)).astype("float32")
    gamma, beta = RNG.normal(size=(2, 3)).astype("float32")
    cfg = compose("normalization=batch", "model.depth=1", "model.width=3")
    layer = build_model(cfg, (3,), 2).get_layer("dense_1_norm")
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)

    ours = layer(x, training=True)
    np.testing.assert_allclose(ours, batch_normalization(x, gamma, beta, 0, layer.epsilon), rtol=1e-3, atol=1e-4)
    printed = batch_normalization(x, gamma, beta, None, 1e-10)  # one mean over axes (0, 1): over the features as well
    assert np.abs(printed - ours).max() > 0.5


def rates(*words, steps=100) -> np.ndarray:
    """The rate of each step that a config asks for."""
    cfg = compose("data=random_regression", "model=linear", "optimizer=sgd", "optimizer.learning_rate=0.1", *words)
    _, model = made(cfg, steps)
    optimizer, found = model.optimizer, []
    for step in range(steps):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return np.array(found)


T = np.arange(100)
COSINE = (1 + np.cos(np.pi * T / 100)) / 2


@pytest.mark.parametrize(
    ("words", "formula"),
    [
        (["schedule=exponential", "schedule.decay_rate=0.97"], 0.1 * 0.97**T),  # 002, section 3.5
        (["schedule=linear"], 0.1 * (1 - T / 100)),  # 002, section 3.5; 004, section 3.2
        (["schedule=cosine"], 0.1 * COSINE),  # 002, section 3.5, with the factor 1/2 that it lacks
        (["schedule=cosine", "rate_factor=2"], 0.1 * (1 + np.cos(np.pi * T / 100))),  # as printed
        (["schedule=inverse_time", "schedule.decay_rate=0.3"], 0.1 / (1 + 0.3 * T)),  # 000, section 4.1
    ],
)
def test_decays_are_the_formulas(words, formula):
    np.testing.assert_allclose(rates(*words), formula, rtol=1e-5, atol=1e-8)


def test_l2_penalty_is_lambda_over_two_times_the_squared_weights():
    """000, section 3.1, where it is called batch regularization."""
    cfg = compose("experiment=l2_net")
    _, model = made(cfg, steps=1)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]

    assert float(sum(model.losses)) == pytest.approx(0.01 / 2 * sum((k**2).sum() for k in kernels), rel=1e-5)


def test_splitting_again_and_again_leaves_one_sample_of_a_hundred_after_sixteen_times():
    from sklearn.model_selection import train_test_split

    rest, left = np.arange(100), []
    while len(rest) > 1:
        rest, _ = train_test_split(rest, test_size=0.2, random_state=42)
        left.append(len(rest))
    assert (len(left), left[:4]) == (16, [80, 64, 51, 40])
    with pytest.raises(ValueError, match="n_samples=1"):
        train_test_split(rest, test_size=0.2, random_state=42)


# Article 004's scikit-learn models.


def test_ridge_coefficients_are_reached():
    cfg = compose("experiment=ridge")
    data, model = made(cfg, steps=300)
    x, y = data.train
    assert cfg.regularizer.l2 == pytest.approx(1.0 / len(x))

    # Full-batch steps: the same rows again and again, unshuffled.
    model.fit(np.tile(x, (300, 1)), np.tile(y, (300, 1)), batch_size=len(x), shuffle=False, verbose=0)

    ridge = Ridge(alpha=1.0).fit(x, y[:, 0])
    layer = model.get_layer("logits")
    np.testing.assert_allclose(layer.kernel.numpy()[:, 0], ridge.coef_, atol=1e-5)
    np.testing.assert_allclose(layer.bias.numpy(), ridge.intercept_, atol=1e-5)


def test_sgd_regressor_with_inverse_scaling_takes_the_same_steps():
    cfg = compose("experiment=inverse_scaling")
    data, model = made(cfg, steps=3 * 72)
    x, y = data.train

    model.fit(x, y, batch_size=1, epochs=3, shuffle=False, verbose=0)

    theirs = SGDRegressor(learning_rate="invscaling", eta0=0.01, max_iter=3, tol=None, shuffle=False).fit(x, y[:, 0])
    layer = model.get_layer("logits")
    np.testing.assert_allclose(layer.kernel.numpy()[:, 0], theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(layer.bias.numpy(), theirs.intercept_, atol=1e-5)


def test_sgd_regressor_has_no_eta_min():
    with pytest.raises(TypeError, match="eta_min"):
        SGDRegressor(learning_rate="invscaling", eta0=0.01, eta_min=0.0001)


# The pages and what writes their tables.


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("articles_benchmark", ROOT / "benchmarks" / "articles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(page: Path) -> list[str]:
    return re.findall(r"`python train\.py ([^`]*)`", page.read_text())


def test_every_article_experiment_stands_on_both_pages(benchmark):
    elsewhere = {"vanishing", "edge_of_chaos", *benchmark.SETTINGS}  # the last in the tables that the benchmark writes
    for page in PAGES:
        named = {name for command in commands(page) for name in re.findall(r"experiment=(\w+)", command)}
        assert set(EXPERIMENTS) - elsewhere <= named <= set(EXPERIMENTS)


def test_both_pages_say_the_same_in_numbers():
    rows, findings = [], []
    for page in PAGES:
        lines = page.read_text().splitlines()
        rows.append([sorted(re.findall(NUMBER, line)) for line in lines if line.startswith("|")])
        bullets = re.findall(r"^- .*(?:\n  .*)*", page.read_text(), re.MULTILINE)
        findings.append([sorted(re.findall(NUMBER, bullet)) for bullet in bullets])
    assert rows[0] == rows[1]
    assert findings[0] == findings[1] and len(findings[0]) > 5


def test_every_cure_composes_over_its_setting(benchmark):
    for words, _, settings, *_ in benchmark.CURES:
        check(compose(f"experiment={settings[0]}", *words.split()))


def test_a_cell_says_cured_only_if_every_seed_trained(benchmark):
    def cell(*values):
        return [{"accuracy": v} for v in values]

    assert benchmark.accuracy(cell(0.92, 0.96)) == "**0.940 ± 0.028**"
    assert benchmark.accuracy(cell(0.98, 0.89)) == "0.935 ± 0.064"


def test_a_gradient_that_is_not_a_number_does_not_arrive(benchmark):
    nan = float("nan")
    assert benchmark.arrives([{"start": v} for v in (0.5, 2.0, 1e-9)])
    assert not benchmark.arrives([{"start": v} for v in (1e-9, 1e-8, 1.0)])
    assert not benchmark.arrives([{"start": v} for v in (1.0, nan, nan)])


def test_tables_replace_what_stands_between_the_markers(benchmark):
    page = f"above\n{benchmark.BEGIN}\nold\n{benchmark.END}\nbelow\n"
    assert benchmark.insert(page, "new") == f"above\n{benchmark.BEGIN}\n\nnew\n\n{benchmark.END}\nbelow\n"
    with pytest.raises(ValueError, match="lacks"):
        benchmark.insert("no markers", "new")


def test_one_real_run_gives_its_numbers(benchmark):
    row = benchmark.measure("sigmoid_30", "model.depth=2", 1, "epochs=1")
    assert 0 < row["start"] < 1 and row["gradient"] > 0 and 0 <= row["accuracy"] <= 1
