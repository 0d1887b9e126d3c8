"""The pictures of a run: what is in them, that they can be read, and what they cost."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.text import Text
from PIL import Image

from zoo.archive.run import RunFolder, kernel_layers, read_run, theory_of
from zoo.archive.summary import Status, Summary
from zoo.report.pictures import FIGURES, draw_run
from zoo.report.pictures.activations import activations_figure
from zoo.report.pictures.frame import fitting, short
from zoo.report.pictures.gradients import bins, gradients_figure
from zoo.report.pictures.profile import profile_figure
from zoo.report.pictures.scales import extremes, log_ticks, written
from zoo.report.pictures.style import BLUE, ORANGE, save
from zoo.report.pictures.training import training_figure
from zoo.telemetry.findings import Verdict
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.theory import predict_mlp

MEASURES = ("activation_rms", "delta_norm", "gradient_norm", "dead", "saturated")


def history_of(norms: np.ndarray, layers=None, epochs: int = 2, **more) -> GradientHistory:
    """A history of layers with one kernel each."""
    steps, count = norms.shape
    layers = layers or [f"dense_{i}" for i in range(1, count + 1)]
    return GradientHistory(
        layers,
        [f"{name}/kernel" for name in layers],
        np.arange(count),
        np.arange(steps),
        norms.astype(np.float32),
        more.pop("losses", np.linspace(2, 1, steps).astype(np.float32)),
        epoch_ends=np.linspace(0, steps, epochs + 1)[1:].astype(np.int64),
        **more,
    )


def probes_of(layers: list[str], values: np.ndarray, kernel=None) -> dict:
    """`values` (probes, layers) for every measure but the shares."""
    measures = {name: values.astype(np.float32) for name in MEASURES}
    shares = np.clip(values, 0, 1).astype(np.float32)
    kernel = np.ones(len(layers), bool) if kernel is None else kernel
    return {"layers": np.array(layers), "has_kernel": kernel, **measures, "dead": shares, "saturated": shares}


def config_of(**more) -> dict:
    return {
        "optimizer": {"learning_rate": 0.1},
        "schedule": {"warmup": 0.0},
        "clipping": {},
        "normalization": {},
        "dropout": {"rate": 0.0},
        "activation": {"_target_": "keras.layers.Activation", "activation": "tanh"},
        "initializer": {
            "kernel": {"_target_": "keras.initializers.GlorotUniform"},
            "bias": {"_target_": "keras.initializers.Zeros"},
        },
        "model": {"_target_": "zoo.models.mlp", "depth": 3, "width": 8, "residual": 0, "weights": None},
        **more,
    }


NOTHING = Summary(Path(), "mlp", Status.FINISHED)


def run_of(norms: np.ndarray, epochs: int = 2, layers=None, **more) -> RunFolder:
    history = history_of(norms, layers, epochs)
    values = np.abs(np.linspace(1, 0.01, history.norms.shape[1]))[None] * np.ones((epochs + 1, 1))
    columns = {name: np.linspace(1, 0.5, epochs) for name in ("loss", "val_loss", "accuracy", "val_accuracy")}
    verdict = Verdict("vanishing", sentence="a long sentence that says what is wrong, " * 6)
    return RunFolder(
        config_of(),
        Summary(Path(), "mlp on digits model.depth=20 " + "word=1 " * 40, Status.FINISHED, verdict=verdict),
        history,
        more.get("probes", probes_of(history.layers, values)),
        {"epoch": np.arange(epochs), **columns},
    )


# --- A real run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_train):
    shared_train(
        "model.depth=4", "model.width=16", "activation=tanh", "initializer=glorot_uniform", "normalization=none",
        "optimizer.learning_rate=0.002", "clipping=global_norm", "clipping.global_clipnorm=0.5",
        "epochs=2", "data.limit=200", "tracking=none", "verbose=0",
    )  # fmt: skip
    return shared_train.folders()[0]


def test_draws_all_pictures_of_a_real_run(real):
    for name in FIGURES:
        (real / f"{name}.png").unlink(missing_ok=True)
    assert [path.name for path in draw_run(real)] == [f"{name}.png" for name in FIGURES]
    for name in FIGURES:
        with Image.open(real / f"{name}.png") as picture:
            assert picture.width == 990
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50, f"{name} is empty"


def test_pictures_show_the_recorded_numbers(real):
    run = read_run(real)
    history = GradientHistory.load(real / "gradients.npz")
    with np.load(real / "probes.npz") as file:
        probes = dict(file)
    lines = {line.get_label(): line for line in profile_figure(run).axes[0].lines}
    np.testing.assert_allclose(lines["step 0"].get_ydata(), history.norms[0])
    last = history.norms[history.epoch(-1)]
    np.testing.assert_allclose(lines["end"].get_ydata(), np.median(last, axis=0))
    for ax, name in zip(profile_figure(run).axes[1:], ("delta_norm", "activation_rms"), strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        np.testing.assert_allclose(lines["step 0"].get_ydata(), probes[name][0])
        np.testing.assert_allclose(lines["end"].get_ydata(), probes[name][-1])
        assert len(lines["theory at step 0"].get_ydata()) == 4

    loss, accuracy, rate, norm = training_figure(run).axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), history.losses)
    columns = np.genfromtxt(real / "history.csv", delimiter=",", names=True)
    lines = {line.get_label(): line for line in loss.lines}
    np.testing.assert_allclose(lines["validation"].get_ydata(), columns["val_loss"])
    np.testing.assert_allclose(lines["validation"].get_xdata(), history.epoch_ends)
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), columns["accuracy"])
    lines = {line.get_label(): line for line in norm.lines}
    np.testing.assert_allclose(lines["before clipping"].get_ydata(), history.global_norm)
    np.testing.assert_allclose(lines["after clipping"].get_ydata(), history.clip_norms[:, 1])
    np.testing.assert_allclose(lines["threshold 0.5"].get_ydata(), 0.5)
    np.testing.assert_allclose(rate.lines[0].get_xdata(), history.epoch_ends)
    np.testing.assert_allclose(rate.lines[0].get_ydata(), 0.002)

    shares = [probes[name] for name in ("dead", "saturated") if probes[name].max() >= 0.005]
    for ax, share in zip(activations_figure(run).axes[:-1], shares, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), 100 * share.T, rtol=1e-6)


@pytest.mark.parametrize("schedule", [{"warmup": 0.1}, {"_target_": "keras.optimizers.schedules.CosineDecay"}])
def test_the_learning_rate_is_drawn_as_recorded(schedule):
    run = run_of(np.ones((4, 2)))
    np.testing.assert_allclose(run.rates, [0.1, 0.1])
    run.config |= {"rate_factor": 0.5}
    np.testing.assert_allclose(run.rates, [0.05, 0.05])
    run.config |= {"schedule": schedule}
    assert run.rates is None, "a rate that changed and was not recorded is not known"
    titles = [ax.get_title(loc="left") for ax in training_figure(run).axes]
    assert len(titles) == 3 and not any("rate" in title for title in titles)
    run.epochs |= {"learning_rate": np.array([0.3, 0.2])}
    np.testing.assert_allclose(training_figure(run).axes[2].lines[0].get_ydata(), [0.3, 0.2])


@pytest.mark.parametrize(
    ("missing", "drawn"),
    [
        ("probes.npz", ["gradients", "profile", "training"]),
        ("gradients.npz", ["profile", "training", "activations"]),
        ("history.csv", list(FIGURES)),
        ("config.yaml", list(FIGURES)),
        ("summary.json", list(FIGURES)),
    ],
)
def test_draws_what_the_files_allow(real, tmp_path, missing, drawn):
    for path in real.iterdir():
        if path.name != missing and path.suffix != ".png":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert [path.stem for path in draw_run(tmp_path)] == drawn


def test_an_empty_folder_has_no_pictures(tmp_path):
    assert draw_run(tmp_path) == []


def test_pictures_do_not_depend_on_the_callers_style(real):
    import matplotlib

    before = gradients_figure(read_run(real)).axes[0].xaxis.label.get_fontsize()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}):
        assert gradients_figure(read_run(real)).axes[0].xaxis.label.get_fontsize() == before
        assert matplotlib.rcParams["font.size"] == 30


# --- All layers, all steps ----------------------------------------------------------------------------------------


def test_bins_gather_steps():
    norms = np.array([[1.0, 0.0], [100.0, 0.0], [np.nan, 10.0], [1e4, np.inf], [0.0, np.nan], [1e-6, np.nan]])
    levels, nonfinite = bins(norms, 3)
    np.testing.assert_allclose(levels, [[1, 4, -6], [-np.inf, 1, np.nan]])
    np.testing.assert_array_equal(nonfinite, [[False, True, False], [False, True, True]])


@pytest.mark.parametrize("steps", [1, 2, 7, 360, 361, 1000])
def test_bins_keep_every_step(steps):
    norms = np.random.default_rng(0).uniform(0.1, 10, (steps, 3)).astype(np.float32)
    levels, nonfinite = bins(norms, 360)
    assert levels.shape == (3, min(steps, 360))
    assert not nonfinite.any()
    parts = np.array_split(np.arange(steps), levels.shape[1])
    if steps <= 360:
        np.testing.assert_allclose(levels, np.log10(norms.T), rtol=1e-5)
    assert max(map(len, parts)) <= -(-steps // 360)
    norms[steps // 2, 1] = np.inf
    assert np.count_nonzero(bins(norms, 360)[1]) == 1


def test_nonfinite_and_zero_are_told_apart_from_every_norm():
    norms = np.full((10, 4), 1e-3)
    norms[:, 1] = np.geomspace(1e-8, 1e3, 10)
    norms[4:, 2] = np.nan
    norms[:, 3] = 0
    figure = gradients_figure(run_of(norms))
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (4, 10, 4)
    see_through = image[..., 3] == 0
    np.testing.assert_array_equal(see_through, ~np.isfinite(norms.T))
    grey = (np.ptp(image[..., :3], axis=-1) == 0) & ~see_through
    np.testing.assert_array_equal(grey, norms.T == 0)
    assert figure.axes[0].patch.get_hatch(), "what is see-through must be hatched"
    notes = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert notes == ["not finite, first at step 4", "exactly zero"]
    # Brighter is larger, which every kind of colour vision sees.
    brightness = image[1, :, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()


def test_a_sound_history_has_no_marks():
    ax = gradients_figure(run_of(np.ones((5, 3)))).axes[0]
    assert ax.patch.get_hatch() is None
    assert ax.get_legend() is None


def test_normalization_layers_are_left_out():
    history = GradientHistory(
        ["conv", "norm", "prelu", "logits"],
        ["conv/kernel", "norm/gamma", "norm/beta", "prelu/alpha", "logits/kernel", "logits/bias"],
        np.array([0, 1, 1, 2, 3, 3]),
        np.arange(2),
        np.ones((2, 6), np.float32),
        np.ones(2, np.float32),
    )
    assert kernel_layers(history).tolist() == [0, 3]
    assert kernel_layers(np.array([False, True])).tolist() == [1]
    assert kernel_layers(np.array([False, False])).tolist() == [0, 1]
    assert RunFolder({}, NOTHING, history).layers == ["conv", "logits"]


# --- Can it be read? ----------------------------------------------------------------------------------------------


def texts_of(figure) -> list:
    """Every text that a drawn figure shows."""
    hidden = []
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low <= tick.get_loc() <= high:
                hidden += [tick.label1, tick.label2]
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in found if not any(text is other for other in hidden)]


@pytest.mark.parametrize("count", [1, 5, 20, 52, 110, 190])
@pytest.mark.parametrize("long", [False, True])
def test_every_text_fits(count, long, tmp_path):
    names = [f"stage{i % 3}_block{i}_a_name_beyond_all_measure_conv{i}" if long else f"dense_{i}" for i in range(count)]
    steps, epochs = (240, 12) if long else (180, 180)
    run = run_of(np.geomspace(1e-9, 1e2, steps * count).reshape(steps, count), epochs, layers=names)
    for name, draw in FIGURES.items():
        figure = draw(run)
        save(figure, tmp_path / "picture.png")
        assert figure.get_figheight() < 12
        texts = texts_of(figure)
        boxes = [text.get_window_extent() for text in texts]
        for text, box in zip(texts, boxes, strict=True):
            assert figure.bbox.contains(box.x0, box.y0), f"{name}: {text.get_text()} is cut off"
            assert figure.bbox.contains(box.x1, box.y1), f"{name}: {text.get_text()} is cut off"
        for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
            assert not a.padded(-0.5).overlaps(b.padded(-0.5)), f"{name}: {one.get_text()} on {other.get_text()}"
        if name != "training":
            shown = {short(name, 26) for name in names} & {text.get_text() for text in texts}
            assert {short(names[0], 26), short(names[-1], 26)} <= shown
            assert len(shown) == count if count <= 20 else len(shown) >= 20


@pytest.mark.parametrize("count", [*range(1, 60), 110, 190, 1000])
def test_names_that_fit_are_evenly_spaced(count):
    shown = fitting(count, 7.5)
    assert shown[0] == 0 and shown[-1] == count - 1
    gaps = np.diff(shown) * 7.5 / count
    assert len(np.unique(np.diff(shown)[:-1])) <= 1, "all but the last gap"
    assert (gaps >= 0.15).all() and (count <= 50 or gaps.max() < 0.6)


def test_names_are_not_markup(tmp_path):
    run = run_of(np.ones((3, 2)), layers=["a$x^2$", "b_{3}"])
    run.summary = dataclasses.replace(run.summary, name="lr=$\\frac$ _x^")
    for draw in FIGURES.values():
        save(draw(run), tmp_path / "picture.png")


def test_short():
    assert short("abcdef", 6) == "abcdef"
    assert short("abcdefghij", 5) == "ab…ij"
    for most in range(3, 12):
        assert len(short("abcdefghijklmnop", most)) == most


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e-45, 1e38])
@pytest.mark.parametrize("layers", [1, 5])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.filterwarnings("error")
def test_draws_the_worst_runs(value, layers, epochs, tmp_path):
    norms = np.full((2 * epochs, layers), value)
    names = [f"dense_{i}" for i in range(layers)]
    run = run_of(norms, epochs, probes=probes_of(names, np.full((epochs + 1, layers), value)))
    run.config["model"] |= {"depth": layers - 1}
    run.epochs |= {name: np.full(epochs, value) for name in ("loss", "val_loss", "accuracy")}
    run.history.losses[:] = value
    for draw in FIGURES.values():
        figure = draw(run)
        save(figure, tmp_path / "picture.png")
        assert len(figure.axes) >= 2 or any("No unit is dead" in text.get_text() for text in figure.texts)


def test_what_a_log_scale_cannot_hold_is_marked():
    norms = np.ones((4, 3))
    norms[0, 0] = 0.0
    norms[2:, 1] = np.nan
    ax = profile_figure(run_of(norms)).axes[0]
    marks = {line.get_marker(): line for line in ax.lines if line.get_marker() in ("x", "v")}
    assert marks["v"].get_xdata().tolist() == [1] and marks["v"].get_color() == BLUE
    assert marks["x"].get_xdata().tolist() == [2] and marks["x"].get_color() == ORANGE
    notes = [text.get_text() for text in ax.texts]
    assert notes == ["× not finite   ▾ zero"]


def test_a_sentence_stands_in_the_place_of_a_map_of_nothing():
    layers = ["dense_1", "logits"]
    nothing, half = np.zeros((3, 2), np.float32), np.full((3, 2), 0.5, np.float32)
    probes = probes_of(layers, half) | {"dead": nothing, "saturated": nothing}
    figure = activations_figure(run_of(np.ones((4, 2)), probes=probes))
    assert figure.axes == [] and figure.get_figheight() < 2
    figure = activations_figure(run_of(np.ones((4, 2)), probes=probes | {"dead": half}))
    assert next(ax.get_title(loc="left") for ax in figure.axes if ax.images) == "dead units: at most 50 %"
    assert any(text.get_text() == "No value is saturated at any probe." for text in figure.texts)


def test_steps_are_counted_alike_in_all_pictures():
    run = run_of(np.ones((40, 3)))
    heat, lines = gradients_figure(run).axes[0], training_figure(run).axes
    assert heat.images[0].get_extent()[:2] == [0, 40], "a step is done at its right edge"
    assert all(ax.get_xlim()[0] == 0 and 40 < ax.get_xlim()[1] < 41 for ax in lines)


def test_theory_is_seen_above_what_keeps_to_it():
    config = {"_target_": "zoo.models.mlp", "depth": 3, "width": 8, "residual": 0, "weights": None}
    run = run_of(np.ones((4, 4)))
    run.config |= {"model": config}
    for ax in profile_figure(run).axes:
        lines = {line.get_label(): line for line in ax.lines}
        assert lines["theory at step 0"].get_zorder() > max(lines["step 0"].get_zorder(), lines["end"].get_zorder())


@pytest.mark.parametrize("decades", [1, 40])
def test_markers_stay_within_the_frame(decades):
    norms = np.geomspace(1, 10.0**-decades, 5)[None] * np.ones((4, 1))
    ax = profile_figure(run_of(norms.astype(np.float32))).axes[0]
    low, high = np.log10(ax.get_ylim())
    edge = 2.5 / 72 / 1.55 * (high - low)  # half a marker, in decades
    assert high - edge >= 0 and low + edge <= -decades + 1e-6


def test_one_dot_is_no_course():
    run = run_of(np.ones((4, 2)), epochs=1)
    run.epochs = {"epoch": np.arange(1), "loss": np.array([-1.0]), "error": np.array([3.0])}
    run.history.losses[:] = -1
    for ax in training_figure(run).axes[:2]:
        low, high = ax.get_ylim()
        assert high - low >= 0.05


def test_nothing_dead_is_claimed_where_activations_are_not_finite():
    values = np.full((3, 2), 0.5)
    values[2] = np.nan
    probes = probes_of(["dense_1", "logits"], values)
    probes["dead"] = np.zeros((3, 2), np.float32)  # as the probe counts it: NaN is not 0
    ax = activations_figure(run_of(np.ones((4, 2)), probes=probes)).axes[0]
    np.testing.assert_array_equal(np.ma.getmaskarray(ax.images[0].get_array()), [[False, False, True]] * 2)
    assert ax.patch.get_hatch()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["not finite"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [1, 2, 5, 10]),
        (-3, 0, [1e-3, 1e-2, 0.1, 1]),
        (-10, 2, [1e-9, 1e-6, 1e-3, 1]),
        (-54, 0, [1e-40, 1e-20, 1]),
        (0.1, 0.9, [2, 5]),
    ],
)
def test_log_ticks(low, high, ticks):
    np.testing.assert_allclose(log_ticks(low, high, 6), ticks)


def test_powers_are_written_without_markup():
    assert written([0.1, 1.0, 100.0]) == ["0.1", "1", "100"]
    assert written([1e-40, 1e-20, 1.0]) == ["10⁻⁴⁰", "10⁻²⁰", "10⁰"]
    assert written([2e-7, 5e-7]) == ["2e-07", "5e-07"]


@pytest.mark.parametrize("count", [1, 3599, 3600, 3601, 64_000])
def test_a_line_of_many_steps_keeps_its_lowest_and_highest_values(count):
    y = np.random.default_rng(0).normal(size=count)
    kept = extremes(y, 900)
    if count <= 3600:
        assert len(kept) == count
        return
    assert len(kept) <= 1800 and (np.diff(kept) > 0).all()
    width = -(-count // 900)
    for start in range(0, count, width):
        column = y[start : start + width]
        of_it = y[kept[(kept >= start) & (kept < start + width)]]
        assert of_it.min() == column.min() and of_it.max() == column.max()


def test_a_line_of_many_steps_keeps_its_gaps():
    y = np.sin(np.arange(64_000.0))
    y[10_000:30_000] = np.nan
    y[50_000] = np.nan
    shown = y[extremes(y, 900)]
    unknown = np.isnan(shown)
    assert 0.25 < unknown.sum() / 900 < 0.35, "one a column of nothing else"
    assert np.count_nonzero(np.diff(unknown.astype(int)) == 1) == 1, "a single NaN among 71 steps hides no neighbour"


def test_a_run_of_many_steps_looks_as_it_does_step_by_step(tmp_path):
    """The drawn loss, pixel by pixel, against a line through all 64,000 steps."""
    rng = np.random.default_rng(0)
    run = run_of(rng.lognormal(size=(64_000, 2)))
    run.history.losses[:] = np.geomspace(10, 0.01, 64_000) * rng.lognormal(0, 0.3, 64_000)
    pictures = []
    for every in (False, True):
        figure = training_figure(run)
        line = figure.axes[0].lines[0]
        assert len(line.get_ydata()) <= 1800
        if every:
            line.set_data(np.arange(64_000) + 0.5, run.history.losses)
        save(figure, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as picture:
            pictures.append(np.asarray(picture.convert("L"), np.float64))
    ink = np.mean(np.abs(255 - pictures[1]))
    assert np.mean(np.abs(pictures[0] - pictures[1])) < 0.02 * ink


def test_the_legend_names_every_line():
    """Also of lines that only a lower panel has, and of what is nowhere finite."""
    norms = np.zeros((4, 4))  # theory takes its scale from them
    norms[1:] = np.nan
    values = np.ones((3, 4))
    values[1:] = np.nan
    run = run_of(norms, layers=["dense_1", "dense_2", "dense_3", "logits"])
    run.probes = probes_of(run.history.layers, values)
    run.probes["delta_norm"][:] = 0
    axes = profile_figure(run).axes
    assert not any(line.get_label() == "theory at step 0" for ax in axes[:2] for line in ax.lines)
    assert any(line.get_label() == "theory at step 0" for line in axes[2].lines)
    told = {text.get_text() for text in axes[0].get_legend().get_texts()}
    assert told == {"theory at step 0", "step 0", "end"}


@pytest.mark.parametrize(
    ("epochs", "told"), [(1, [1]), (12, range(1, 13)), (13, range(2, 13, 2)), (180, range(20, 181, 20))]
)
def test_epochs_are_numbered_in_round_steps(epochs, told):
    run = run_of(np.ones((2 * epochs, 2)), epochs)
    ax = gradients_figure(run).axes[0]
    places = {text.get_text(): text.get_position()[0] for text in ax.texts if text.get_text().isdigit()}
    assert list(places) == [str(number) for number in told]
    assert [places[str(number)] for number in told] == [2 * number for number in told]


# --- Theory and learning rates ------------------------------------------------------------------------------------


def test_theory_continues_from_the_first_layer():
    """Whatever the inputs were, the first layer's activation fixes all that follows."""
    config = config_of(model={"_target_": "zoo.models.mlp", "depth": 6, "width": 50, "residual": 0, "weights": None})
    truth = predict_mlp("tanh", [784] + [50] * 6, [1.7] + [1.0] * 5, input_rms=0.4)
    found = theory_of(config, np.append(truth.activation_rms, 1.0))
    np.testing.assert_allclose(found.activation_rms, truth.activation_rms, rtol=1e-4)
    np.testing.assert_allclose(found.delta_rms, truth.delta_rms, rtol=1e-4)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_theorys_line_meets_a_random_network(activation):
    """Against NumPy: eight layers of 400 units, Glorot weights, zero biases, the gradient of one sample at a time."""
    rng = np.random.default_rng(0)
    width, depth, samples = 400, 8, 64
    phi, slope = {
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    }[activation]
    h, zs, hs, ws = rng.normal(size=(samples, width)), [], [], []
    for _ in range(depth):
        ws.append(rng.uniform(-1, 1, (width, width)) * np.sqrt(3 / width))
        hs.append(h)
        zs.append(h @ ws[-1])
        h = phi(zs[-1])
    delta = rng.normal(size=(samples, width)) * slope(zs[-1])
    deltas = [delta]
    for w, z in zip(ws[:0:-1], zs[-2::-1], strict=True):
        deltas.insert(0, (deltas[0] @ w.T) * slope(z))

    def size(a):
        return np.sqrt(np.mean(np.sum(np.square(a), axis=1)))

    rms = np.array([np.sqrt(np.mean(phi(z) ** 2)) for z in zs] + [1.0])
    layer_norm = np.array(
        [
            np.sqrt(np.mean(np.sum(d**2, 1) * (np.sum(x**2, 1) + 1)))  # kernel d x^T and bias d
            for d, x in zip(deltas, hs, strict=True)
        ]
        + [1.0]
    )
    delta_norm = np.array([size(d) for d in deltas] + [1.0])
    config = config_of(
        activation={"_target_": "keras.layers.Activation", "activation": activation},
        model={"_target_": "zoo.models.mlp", "depth": depth, "width": width, "residual": 0, "weights": None},
    )
    layers = [f"dense_{i}" for i in range(1, depth + 1)] + ["logits"]
    probes = probes_of(layers, np.stack([rms, rms]))
    probes |= {"delta_norm": np.stack([delta_norm] * 2)}
    run = RunFolder(config, NOTHING, history_of(np.stack([layer_norm] * 2), layers), probes)
    for ax, measured in zip(profile_figure(run).axes, (layer_norm, delta_norm, rms), strict=True):
        line = next(line for line in ax.lines if line.get_label() == "theory at step 0").get_ydata()
        known = ~np.isnan(line)
        assert np.count_nonzero(known) >= depth - 1
        np.testing.assert_allclose(line[known], measured[:depth][known], rtol=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"normalization": {"_target_": "zoo.models.blocks.batch_normalization"}},
        {"dropout": {"rate": 0.1}},
        {"model": {"_target_": "zoo.models.mlp", "depth": 3, "width": 8, "residual": 2}},
        {"model": {"_target_": "zoo.models.mlp", "depth": 3, "width": 8, "weights": "file.keras"}},
        {"model": {"_target_": "zoo.models.resnet", "depth": 20}},
        {"activation": {"_target_": "my.Activation"}},
        {"initializer": {"kernel": {"_target_": "my.Initializer"}, "bias": None}},
        {
            "initializer": {
                "kernel": {"_target_": "keras.initializers.Orthogonal"},
                "bias": None,
                "after_build": {"a": 1},
            }
        },
    ],
)
def test_no_theory_where_it_does_not_hold(change):
    measured = np.full(4, 0.5)
    assert theory_of(config_of(), measured) is not None
    assert theory_of(config_of(**change), measured) is None


def test_no_theory_without_a_first_activation():
    for value in (0.0, np.nan, np.inf):
        assert theory_of(config_of(), np.array([value, 1, 1, 1])) is None
    assert theory_of(config_of(), np.ones(9)) is None


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "swish", "softplus", "sigmoid"])
def test_theory_knows_the_zoos_activations_and_initializers(root, name):
    node = yaml.safe_load((root / "conf" / "activation" / f"{name}.yaml").read_text())
    for initializer in ("he_normal", "glorot_uniform", "orthogonal", "lecun_normal", "random_normal"):
        made = yaml.safe_load((root / "conf" / "initializer" / f"{initializer}.yaml").read_text())
        assert theory_of(config_of(activation=node, initializer=made), np.full(4, 0.6)) is not None, initializer


# --- Size ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "layers"), [(2000, 5), (2000, 190), (64_000, 110)])
def test_pictures_of_long_and_of_deep_runs(tmp_path, steps, layers):
    run = run_of(np.random.default_rng(0).lognormal(size=(steps, layers)), epochs=20)
    run.history.save(tmp_path / "gradients.npz")
    np.savez_compressed(tmp_path / "probes.npz", **run.probes)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(run.config))
    dataclasses.replace(run.summary, folder=tmp_path).write()
    rows = zip(*run.epochs.values(), strict=True)
    (tmp_path / "history.csv").write_text(
        "\n".join([",".join(run.epochs), *(",".join(map(str, row)) for row in rows)]) + "\n"
    )
    assert len(draw_run(tmp_path)) == 4
    # However long a run was, a picture holds no more than can be seen.
    assert sum(path.stat().st_size for path in tmp_path.glob("*.png")) < 2_000_000
