"""The articles' examples: every experiment runs, their formulas are ours, scikit-learn's models are reached."""

import importlib
import itertools
import json
import math
import re
import sys
from pathlib import Path

import hydra
import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge, SGDRegressor

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo.config import CONF, check
from zoo.models import mlp
from zoo.models.articles import PrintedBatchNormalization, activated_output, printed_residual, two_branches
from zoo.models.blocks import Blocks
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

    model = printed_residual((5,), 2, depth=2, width=6, activation="tanh", initializer="glorot_uniform")
    f, last = model.get_layer("f_2").get_layer("dense_2"), model.get_layer("logits")
    h = np.tanh(dense(model.get_layer("dense_1"), x))
    printed = np.tanh(dense(f, np.tanh(dense(f, h)) + h))
    np.testing.assert_allclose(model(x), dense(last, printed), rtol=1e-4, atol=1e-5)
    assert model.count_params() == 6 * 6 + 7 * 6 + 7 * 2
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


def test_batch_normalization_as_printed_mixes_the_features(tmp_path):
    x = RNG.normal(loc=[0, 5, -3], scale=[1, 2, 9], size=(64, 3)).astype("float32")
    model = build_model(compose("normalization=printed_batch", "model.depth=1", "model.width=3"), (3,), 2)
    layer = model.get_layer("dense_1_norm")
    assert isinstance(layer, PrintedBatchNormalization)
    gamma, beta = RNG.normal(size=(2, 3)).astype("float32")
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)

    mu, sigma = np.mean(x, axis=(0, 1)), np.std(x, axis=(0, 1))
    printed = (x - mu) / (sigma + 1e-5) * gamma + beta
    for training in (True, False):
        np.testing.assert_allclose(layer(x, training=training), printed, rtol=1e-4, atol=1e-5)
    assert np.abs(printed - batch_normalization(x, gamma, beta, 0, 1e-5)).max() > 0.5
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(x), model(x), rtol=1e-5)


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


@pytest.mark.parametrize("more", [[], ["normalization=batch", "activation=prelu"]])
def test_l2_penalty_is_lambda_over_two_times_the_squares_of_all_parameters(more):
    """000, section 3.1, and 004, section 4.6, where it is called batch regularization."""
    cfg = compose("experiment=l2_net", *more)
    _, model = made(cfg, steps=1)
    for variable in model.trainable_variables:
        variable.assign(RNG.normal(size=variable.shape))

    squares = sum((v.numpy() ** 2).sum() for v in model.trainable_variables)
    assert float(sum(model.losses)) == pytest.approx(0.01 / 2 * squares, rel=1e-5)
    cfg = compose("experiment=l2_net", "regularizer.biases=false")
    _, model = made(cfg, steps=1)
    kernels = sum((v.numpy() ** 2).sum() for v in model.trainable_variables if "kernel" in v.path)
    for variable in model.trainable_variables:
        if "bias" in variable.path:
            variable.assign(RNG.normal(size=variable.shape))
    assert float(sum(model.losses)) == pytest.approx(0.01 / 2 * kernels, rel=1e-5)


def test_the_gradient_divided_by_its_norm_is_the_formula():
    """004, section 3.5: one norm of the whole gradient."""
    cfg = compose("experiment=gradient_clipping", "clipping=whole_gradient", "optimizer=sgd", "steps_per_execution=1")
    data, model = made(cfg, steps=1)
    x, y = data.train
    before = [w.numpy().copy() for w in model.trainable_variables]

    model.train_on_batch(x, y)

    moved = [old - w.numpy() for w, old in zip(model.trainable_variables, before, strict=True)]
    length = np.sqrt(sum((m**2).sum() for m in moved))
    assert length == pytest.approx(float(cfg.optimizer.learning_rate), rel=1e-4)


def test_gradient_descent_is_theta_less_the_rate_times_the_gradient():
    """002, section 3.1: a linear model without bias, from theta = 0, one target, mean squared error."""
    cfg = compose("experiment=gradient_descent", "steps_per_execution=1")
    data, model = made(cfg, steps=1)
    x, y = data.train
    (kernel,) = model.trainable_variables
    assert kernel.shape == (10, 1) and not kernel.numpy().any()
    theta = np.zeros((10, 1))
    for _ in range(3):
        model.train_on_batch(x[:32], y[:32])
        theta -= cfg.optimizer.learning_rate * 2 / 32 * x[:32].T @ (x[:32] @ theta - y[:32])
    np.testing.assert_allclose(kernel.numpy(), theta, rtol=1e-4, atol=1e-6)


def test_shrinking_splits_has_what_enters_the_printed_splits():
    from sklearn.model_selection import train_test_split

    data = make_data(compose("experiment=gradient_descent"))
    rest, entering = np.arange(len(data.train[1]) + len(data.validation[1])), []
    for _ in range(15):
        entering.append(len(rest))
        rest, _ = train_test_split(rest, test_size=0.2, random_state=42)
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        jobs = grid(hydra.compose("config", ["experiment=shrinking_splits"], return_hydra_config=True))
    limits = [int(word.partition("=")[2]) for words in jobs for word in words if word.startswith("data.limit=")]
    assert list(dict.fromkeys(limits)) == [entering[n - 1] for n in (1, 5, 9, 13, 15)]


def test_the_weights_that_reach_a_unit_are_kept_short():
    """003, section 2.2: a constraint in place of a penalty."""
    cfg = compose("experiment=overfitting", "remedy=overfitting/max_norm", "steps_per_execution=1")
    data, model = made(cfg, steps=1)
    x, y = (part[:32] for part in data.train)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(10 * layer.kernel)
    model.train_on_batch(x, y)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            assert np.linalg.norm(layer.kernel.numpy(), axis=0).max() < 1 + 1e-4
    conv = Blocks(constraint=lambda axis: keras.constraints.MaxNorm(0.5, axis)).conv(
        keras.Input((8, 8, 3)), 4, 3, name="conv"
    )
    kernel = RNG.normal(size=(3, 3, 3, 4))
    kept = keras.ops.convert_to_numpy(conv._keras_history.operation.kernel_constraint(kernel))
    np.testing.assert_allclose(np.sqrt((kept**2).sum((0, 1, 2))), 0.5, rtol=1e-4)


def test_splitting_again_and_again_leaves_one_sample_of_a_hundred_after_sixteen_times():
    from sklearn.model_selection import train_test_split

    rest, left = np.arange(100), []
    while len(rest) > 1:
        rest, _ = train_test_split(rest, test_size=0.2, random_state=42)
        left.append(len(rest))
    assert (len(left), left[:4]) == (16, [80, 64, 51, 40])
    with pytest.raises(ValueError, match="n_samples=1"):
        train_test_split(rest, test_size=0.2, random_state=42)

    needed = 1  # for 92 times: the fewest of which a split leaves at least as many as the next one needs
    for _ in range(92):
        needed = next(n for n in itertools.count(5 * needed // 4) if n - math.ceil(n / 5) >= needed)
    assert 2.0e9 < needed < 2.5e9


# Article 004's scikit-learn models.


def test_ridge_coefficients_are_reached():
    cfg = compose("experiment=ridge")
    data, model = made(cfg, steps=3000)
    x, y = data.train
    assert cfg.regularizer.l2 == pytest.approx(1.0 / len(x))

    # Full-batch steps: the same rows again and again, unshuffled.
    model.fit(np.tile(x, (3000, 1)), np.tile(y, (3000, 1)), batch_size=len(x), shuffle=False, verbose=0)

    ridge = Ridge(alpha=1.0).fit(x, y[:, 0])
    layer = model.get_layer("logits")
    np.testing.assert_allclose(layer.kernel.numpy()[:, 0], ridge.coef_, atol=1e-5)
    np.testing.assert_allclose(layer.bias.numpy(), ridge.intercept_, atol=1e-5)


def test_sgd_regressor_with_inverse_scaling_takes_the_same_steps():
    cfg = compose("experiment=inverse_scaling")
    data, model = made(cfg, steps=3 * 100)
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
    sys.path[:0] = [str(ROOT / "benchmarks")]
    try:
        yield importlib.import_module("articles")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def tables(benchmark):
    return importlib.import_module("article_tables")


def commands(page: Path) -> list[str]:
    found = re.findall(r"`python\s+train\.py\s([^`]*)`", page.read_text())
    return [re.sub(r"\s+", " ", command).strip() for command in found]


def test_every_article_experiment_stands_on_both_pages(tables):
    # Those of gradient descent are swept by others, and cures have a table of their own.
    elsewhere = {"vanishing", "edge_of_chaos", *tables.SETTINGS}
    for page in PAGES:
        named = {name for command in commands(page) for name in re.findall(r"experiment=(\w+)", command)}
        assert set(EXPERIMENTS) - elsewhere <= named <= set(EXPERIMENTS)


def test_both_pages_have_the_same_commands():
    english, chinese = (commands(page) for page in PAGES)
    assert sorted(english) == sorted(chinese) and len(english) > 50


def test_both_pages_say_the_same_in_numbers():
    rows, findings = [], []
    for page in PAGES:
        lines = page.read_text().splitlines()
        rows.append([sorted(re.findall(NUMBER, line)) for line in lines if line.startswith("|")])
        bullets = re.findall(r"^- .*(?:\n  .*)*", page.read_text(), re.MULTILINE)
        findings.append([sorted(re.findall(NUMBER, bullet)) for bullet in bullets])
    assert rows[0] == rows[1]
    assert findings[0] == findings[1] and len(findings[0]) > 5


def test_the_tables_are_what_was_measured(benchmark):
    kept = benchmark.read_kept()
    for language, page in benchmark.PAGES.items():
        assert benchmark.filled(page.read_text(), kept, language) == page.read_text()


def test_no_table_is_older_than_its_configs(benchmark):
    kept = benchmark.read_kept()

    assert benchmark.stale(kept) == []
    measured = {(row["experiment"], row["words"], repeat) for row in kept["rows"] for repeat in row["runs"]}
    assert {(*setting, repeat) for setting, repeat in benchmark.jobs()} == measured


def test_a_value_that_changed_makes_its_rows_stale(benchmark):
    kept = benchmark.read_kept()
    changed = json.loads(json.dumps(kept))
    row = next(row for row in changed["rows"] if row["experiment"] == "ridge")
    row["values"]["regularizer.l2"] = 0.5
    assert benchmark.stale(changed) == [("ridge", "")]
    changed = json.loads(json.dumps(kept))
    changed["base"]["batch_size"] = 64
    assert len(benchmark.stale(changed)) == len(kept["rows"])


@pytest.mark.parametrize(
    ("experiment", "words"),
    [("simple_net", ""), ("ridge", ""), ("gradient_clipping", "clipping=whole_gradient"), ("repeated_splits", "")],
)
def test_what_is_measured_today_is_what_the_table_says(experiment, words, benchmark):
    kept = benchmark.read_kept()
    row = next(row for row in kept["rows"] if (row["experiment"], row["words"]) == (experiment, words))
    found = benchmark.measure((experiment, words), "seed=0")["metrics"]
    for metric in ("train_accuracy", "train_rmse", "test_rmse", "start"):
        if metric in found:
            values = [run["metrics"][metric] for run in row["runs"].values()]
            away = abs(found[metric] - np.mean(values))
            assert away <= 3 * np.std(values, ddof=1) + 1e-6, metric


def test_every_cure_composes_over_its_setting(tables):
    for words, _, settings, *_ in tables.CURES:
        check(compose(f"experiment={settings[0]}", *words.split()))


def rows_of(*columns: list[float]) -> list[dict]:
    return [
        {"runs": {f"seed={n}": {"metrics": {"test_accuracy": v}} for n, v in enumerate(column)}} for column in columns
    ]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([0.91, 0.92, 0.90, 0.93, 0.92], "better"),
        ([0.61, 0.62, 0.60, 0.63, 0.62], "worse"),
        ([0.85, 0.79, 0.82, 0.76, 0.84], "no difference seen"),
        ([float("nan")] * 5, "worse"),
    ],
)
def test_a_row_is_better_only_where_the_paired_interval_leaves_out_zero(values, word, tables):
    first, row = rows_of([0.80, 0.82, 0.79, 0.81, 0.80], values)
    told = tables.compared(row, first, "test_accuracy", "en")
    assert told.startswith(word)
    if np.isfinite(values).all():
        differences = np.array(values) - [0.80, 0.82, 0.79, 0.81, 0.80]
        half = 2.7764 * differences.std(ddof=1) / np.sqrt(5)  # t of 4 degrees of freedom, 97.5 %
        assert ("no difference" not in told) == (abs(differences.mean()) > half)


def test_a_cell_says_cured_only_if_every_seed_trained(tables):
    def cell(*values):
        return [{"accuracy": v} for v in values]

    assert tables.accuracy(cell(0.92, 0.96)) == "**0.940 ± 0.028**"
    assert tables.accuracy(cell(0.98, 0.89)) == "0.935 ± 0.064"


def test_a_gradient_that_is_not_a_number_does_not_arrive(tables):
    nan = float("nan")
    assert tables.arrives([{"start": v} for v in (0.5, 2.0, 1e-9)])
    assert not tables.arrives([{"start": v} for v in (1e-9, 1e-8, 1.0)])
    assert not tables.arrives([{"start": v} for v in (1.0, nan, nan)])


def test_a_page_without_its_markers_is_refused(benchmark):
    with pytest.raises(ValueError, match="lacks"):
        benchmark.filled("no markers", benchmark.read_kept(), "en")


def test_one_real_run_gives_its_numbers(benchmark):
    found = benchmark.measure(("sigmoid_30", "model.depth=2"), "seed=1", "epochs=1")["metrics"]
    assert 0 < found["start"] < 1 and found["gradient"] > 0 and 0 <= found["test_accuracy"] <= 1
