"""The comparison of many runs: what the page holds, that it cannot be broken from within a run, and what it does."""

import base64
import dataclasses
import hashlib
import html.parser
import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.archive.summary import Status, Summary
from zoo.report.comparison import write_comparison
from zoo.report.entries import Entry, entry_of, grid_of, heat_colours, label, read_profiles
from zoo.report.pictures.style import save
from zoo.report.slide import comparison_figure
from zoo.report.text import with_deviation
from zoo.telemetry.findings import Verdict
from zoo.telemetry.history import GradientHistory

MEASURES = ("gradient_norm", "delta_norm", "activation_rms")
EVIL = "<script>window.evil=1</script><img src=x onerror=window.evil=2>\"' {{data}} $x$ </script>"


def write_run(folder: Path, number: int, overrides: dict, accuracy: float | None = 0.5, **more) -> Summary:
    """Make a run folder with probes of 3 epochs; return its summary as the sweep reads it."""
    path = folder / str(number)
    path.mkdir(parents=True, exist_ok=True)
    layers = more.pop("layers", 4)
    rng = np.random.default_rng(number)
    probes = more.pop("probes", None)
    if probes is None:
        probes = {name: 10 ** rng.uniform(-6, 2, (4, layers)) for name in MEASURES}
    if probes:
        np.savez_compressed(
            path / "probes.npz",
            layers=np.array([f"dense_{i}" for i in range(layers)]),
            has_kernel=more.pop("has_kernel", np.ones(layers, bool)),
            **{name: value.astype(np.float32) for name, value in probes.items()},
        )
    words = [f"{key}={value}" for key, value in overrides.items()]
    summary = {"name": " ".join(["mlp on digits", *words]), "status": "FINISHED", "overrides": words, **more}
    if accuracy is not None:
        summary = {
            "metrics": {"test_accuracy": accuracy, "test_loss": 1.0},
            "verdict": {"name": "healthy", "sentence": "all is well.", "remedies": []},
            "seconds": 10.0 + number,
            "parameters": 1000 * (number + 1),
            "run_id": f"{number:032x}",
            "arriving": [1.0, 10.0**-number],
        } | summary
    (path / "summary.json").write_text(json.dumps(summary))
    return Summary.read(path)


@pytest.fixture
def runs(tmp_path) -> list[Summary]:
    """Two activations by three depths by two seeds; one run failed, one was killed before it wrote anything."""
    product = itertools.product(("relu", "tanh"), ("5", "20", "110"), ("0", "1"))
    made = [
        write_run(tmp_path, i, {"activation": a, "model.depth": d, "seed": s}, 0.1 + i / 20)
        for i, (a, d, s) in enumerate(product)
    ]
    made[3] = write_run(
        tmp_path, 3, {"activation": "relu", "model.depth": "20", "seed": "1"}, None,
        status="FAILED", reason="OSError: <no> space", probes={},
    )  # fmt: skip
    (tmp_path / "3" / "probes.npz").write_bytes(b"half a file")
    vanishing = Verdict("vanishing", sentence='of "the" <first> layer', remedies=["activation=elu"])
    made[5] = dataclasses.replace(made[5], verdict=vanishing)
    return made


KEYS = ["activation", "model.depth", "seed"]


class Page(html.parser.HTMLParser):
    """Every element with its attributes and text, the table's rows, and the script elements."""

    VOID = ("meta", "link", "input", "br", "img")

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.texts = [], [], {}
        self.rows: list[tuple[dict, list[tuple[dict, str]]]] = []
        self.heads: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "tr":
            self.rows.append((attributes, []))
        if tag in ("td", "th") and self.rows:
            self.rows[-1][1].append((attributes, ""))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "script" in self.open:
            kind = next(a for t, a in reversed(self.tags) if t == "script")
            self.texts[kind.get("id", "script")] = self.texts.get(kind.get("id", "script"), "") + text
        if self.rows and self.open and ("td" in self.open or "th" in self.open):
            attributes, so_far = self.rows[-1][1][-1]
            self.rows[-1][1][-1] = (attributes, so_far + text)

    @property
    def data(self) -> dict:
        return json.loads(self.texts["data"])

    def table(self) -> list[dict[str, tuple[str, dict]]]:
        """The runs' rows: for each head the cell's text and attributes."""
        start = next(
            i for i, (_, cells) in enumerate(self.rows) if any(text.startswith("profile") for _, text in cells)
        )
        heads = ["profile" if text.startswith("profile") else text for _, text in self.rows[start][1]]
        found = []
        for row, cells in self.rows[start + 1 :]:
            assert len(cells) == len(heads)
            found.append({head: (text, a) for head, (a, text) in zip(heads, cells, strict=True)} | {"row": ("", row)})
        return found


def page_of(runs, keys, folder, title="sweep", **options) -> Page:
    return Page(write_comparison(runs, keys, folder, title, **options)[0].read_text(encoding="utf-8"))


# --- The page -----------------------------------------------------------------------------------------------------


def test_a_row_a_run_with_what_differs_best_first(runs, tmp_path):
    table = page_of(runs, KEYS, tmp_path).table()
    assert len(table) == 12
    finished = sorted((r for r in runs if r.finished), key=lambda r: -r.metrics["test_accuracy"])
    for row, run in zip(table, [*finished, runs[3]], strict=True):
        assert [f"{key}={row[key][0]}" for key in KEYS] == run.overrides
    best = table[0]
    assert best["accuracy"][0] == "0.65" and float(best["accuracy"][1]["data-v"]) == 0.65
    assert best["seconds"][0] == "21.0" and best["parameters"][0] == "12,000"
    assert best["verdict"][0] == "healthy" and best["verdict"][1]["title"] == "all is well."
    assert best["reaches first layer"][0] == "1e+00 → 1e-11"
    vanishing = next(row for row in table if row["verdict"][0] == "vanishing")
    assert vanishing["verdict"][1]["title"] == 'of "the" <first> layer\ntry activation=elu'
    failed = table[-1]
    assert failed["verdict"][0] == "FAILED" and failed["verdict"][1]["title"] == "OSError: <no> space"
    assert failed["accuracy"] == ("", {"class": "number", "data-v": ""}) and failed["profile"][0] == "–"


def test_mean_and_deviation_over_repeats(runs, tmp_path):
    table = page_of(runs, KEYS, tmp_path).table()
    told = {
        (r["activation"][0], r["model.depth"][0]): r["mean ± deviation"] for r in table if r["verdict"][0] != "FAILED"
    }
    for (activation, depth), (text, attributes) in told.items():
        values = [
            r.metrics["test_accuracy"]
            for r in runs
            if r.finished and r.overrides[:2] == [f"activation={activation}", f"model.depth={depth}"]
        ]
        if len(values) == 1:
            assert text == ""
            continue
        assert text == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} of 2"
        assert float(attributes["data-v"]) == pytest.approx(np.mean(values))
    assert sum(text == "" for text, _ in told.values()) == 1


def test_no_column_of_means_without_repeats(runs, tmp_path):
    assert "mean ± deviation" not in page_of(runs[::2], KEYS[:2], tmp_path).table()[0]


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [
        (0.91528, 0.0098, "0.9153 ± 0.0098"),
        (0.5, 0.123, "0.50 ± 0.12"),
        (1234.5, 67.0, "1234 ± 67"),
        (0.1, 0.0, "0.1 ± 0"),
        (float("nan"), float("nan"), "nan ± nan"),
    ],
)
def test_with_deviation(mean, deviation, text):
    assert with_deviation(mean, deviation) == text


def test_embedded_data_are_the_runs(runs, tmp_path):
    data = page_of(runs, KEYS, tmp_path).data
    assert sorted(run["folder"] for run in data["runs"]) == sorted(str(run.folder) for run in runs)
    assert data["layers"] == [[f"dense_{i}" for i in range(4)], []]
    for run in data["runs"]:
        if run["verdict"] == "FAILED":
            assert run["profiles"] == {}
            continue
        assert data["layers"][run["layers"]] == ["dense_0", "dense_1", "dense_2", "dense_3"]
        with np.load(Path(run["folder"]) / "probes.npz") as file:
            for name in MEASURES:
                np.testing.assert_allclose(run["profiles"][name], np.log10(file[name][[0, -1]]), atol=6e-4)
        summary = next(r for r in runs if str(r.folder) == run["folder"])
        assert run["metric"] == f"accuracy {summary.metrics['test_accuracy']:.4g}"
        assert run["label"] == " ".join(o.replace("model.", "") for o in summary.overrides)


def test_zero_and_nonfinite_norms_are_told_apart(tmp_path):
    values = np.array([[1.0, 1.0, 1.0], [0.0, np.nan, np.inf]])
    run = write_run(tmp_path, 0, {"a": 1}, layers=3, probes=dict.fromkeys(MEASURES, values))
    page = page_of([run], [], tmp_path)
    assert page.data["runs"][0]["profiles"]["gradient_norm"] == [[0, 0, 0], ["0", None, None]]
    lost = [attributes["d"] for tag, attributes in page.tags if tag == "path" and attributes["class"] == "lost"]
    assert [path.count("M") for path in lost] == [2, 1]


def test_normalization_layers_are_left_out(tmp_path):
    run = write_run(tmp_path, 0, {"a": 1}, has_kernel=np.array([True, False, True, False]))
    layers, profiles = read_profiles(run.folder)
    assert layers == ["dense_0", "dense_2"] and profiles["delta_norm"].shape == (2, 2)


def test_runs_without_probes_show_their_gradients(tmp_path):
    run = write_run(tmp_path, 0, {"a": 1}, probes={})
    norms = np.array([[1, 2], [3, 4], [5, 6], [7, 8], [90, 100]], np.float32)
    history = GradientHistory(
        ["a", "b"], ["a/kernel", "b/kernel"], np.arange(2), np.arange(5), norms, np.ones(5), epoch_ends=np.array([2, 5])
    )
    history.save(run.folder / "gradients.npz")
    layers, profiles = read_profiles(run.folder)
    assert layers == ["a", "b"]
    np.testing.assert_array_equal(profiles["gradient_norm"], [[1, 2], [7, 8]])
    assert page_of([run], [], tmp_path).data["runs"][0]["profiles"]["gradient_norm"][0] == [0, 0.301]


def test_nothing_leaves_the_page(runs, tmp_path):
    page = page_of(runs, KEYS, tmp_path, experiment_id="7")
    for tag, attributes in page.tags:
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    script = base64.b64encode(hashlib.sha256(page.texts["script"].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{script}'" in policy


def test_links_lead_to_each_run_in_mlflow(runs, tmp_path):
    def links(**options) -> list[str]:
        tags = page_of(runs, KEYS, tmp_path, **options).tags
        return sorted(a["href"] for tag, a in tags if tag == "a" and "/runs/" in a["href"])

    ids = [run.run_id for run in runs if run.run_id]
    assert links(experiment_id="7") == [f"http://127.0.0.1:5000/#/experiments/7/runs/{i}" for i in ids]
    assert links(experiment_id="7", mlflow="https://host:1/")[0] == f"https://host:1/#/experiments/7/runs/{ids[0]}"
    assert links() == []


def test_each_row_opens_its_runs_page(runs, tmp_path):
    for number in (2, 5):
        (tmp_path / str(number) / "run.html").touch()
    page = page_of(runs, KEYS, tmp_path)
    assert sorted(a["href"] for tag, a in page.tags if tag == "a") == ["2/run.html", "5/run.html"]


def test_what_a_run_was_silent_about_is_told_where_another_differs(tmp_path):
    one = write_run(tmp_path, 0, {"activation": "tanh", "seed": 1})
    two = write_run(tmp_path, 1, {"model.depth": 7})
    (two.folder / "config.yaml").write_text("seed: 5\nmodel: {depth: 7}\n")
    table = page_of([one, two], ["activation", "model.depth", "seed"], tmp_path).table()
    told = {tuple(row[key][0] for key in ("activation", "model.depth", "seed")) for row in table}
    assert told == {("tanh", "5", "1"), ("relu", "7", "5")}, "as it was made, else by default"


def test_a_small_drawing_says_where_it_is_cut(tmp_path):
    values = np.array([[1.0, 1.0, 1.0], [1e-20, 1.0, 1e9]])
    run = write_run(tmp_path, 0, {"a": 1}, layers=3, probes=dict.fromkeys(MEASURES, values))
    page = page_of([run], [], tmp_path)
    cut = [attributes["d"] for tag, attributes in page.tags if tag == "path" and attributes["class"] == "cut"]
    assert len(cut) == 2 and any("profile, 1e-12 to 1e6" in text for _, cells in page.rows for _, text in cells)


def test_a_colour_is_a_runs_and_no_verdicts(runs, tmp_path):
    page = write_comparison(runs, KEYS, tmp_path, "sweep")[0].read_text()
    assert 'data-sign="✓"' in page and "--series-2" in page and "#009e73" not in page.lower()


def test_the_small_drawing_leads_to_the_picture_of_the_run(runs, tmp_path):
    (tmp_path / "2" / "profile.png").touch()
    tags = page_of(runs, KEYS, tmp_path).tags
    assert [a["href"] for tag, a in tags if tag == "a"] == ["2/profile.png"]


def test_text_from_runs_stays_text(tmp_path):
    verdict = {"name": EVIL, "sentence": EVIL, "remedies": [EVIL]}
    evil = [
        write_run(tmp_path, i, {"a": f"{EVIL}{i}", "b": i}, verdict=verdict, name=EVIL, run_id=EVIL) for i in range(2)
    ]
    failed = write_run(tmp_path, 3, {"a": EVIL, "b": 3}, None, status="FAILED", reason=EVIL)
    page = page_of([*evil, failed], ["a", "b"], tmp_path, title=EVIL, experiment_id="1")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2 and "img" not in tags
    assert page.table()[0]["a"][0] == f"{EVIL}0"
    assert page.table()[0]["verdict"] == (EVIL, page.table()[0]["verdict"][1])
    assert page.data["runs"][0]["label"] == f"a={EVIL}0 b=0"


@pytest.mark.parametrize("count", [0, 1])
def test_few_or_no_runs(tmp_path, count):
    made = [write_run(tmp_path, 0, {}, None, status="KILLED", probes={})][:count]
    page, picture = write_comparison(made, [], tmp_path, "empty")
    assert len(Page(page.read_text()).data["runs"]) == count
    assert picture.stat().st_size > 1000


def test_runs_of_several_kinds(tmp_path):
    """As a query over the store may find them: regression beside classification, keys that a run does not have."""
    one = write_run(tmp_path, 0, {"a": 1})
    two = write_run(tmp_path, 1, {"b": 2}, metrics={"test_rmse": 0.25, "test_loss": 1.0}, verdict=None)
    table = page_of([one, two], ["a", "b"], tmp_path).table()
    cells = {row["a"][0]: row for row in table}
    assert cells["1"]["accuracy"][0] == "0.5" and cells["–"]["accuracy"][0] == "0.25 (test_rmse)"
    assert cells["–"]["verdict"][0] == "-"


# --- The heat map -------------------------------------------------------------------------------------------------


def rows_of(runs, keys) -> list[Entry]:
    return [entry_of(run, keys) for run in runs]


def test_heat_map_when_two_keys_vary_besides_the_seed(runs, tmp_path):
    grid = grid_of(rows_of(runs, KEYS), KEYS)
    assert grid.keys == ("activation", "model.depth")
    assert grid.down == ["relu", "tanh"] and grid.across == ["5", "20", "110"], "numbers in the order of their size"
    expected = [[0.125, 0.2, 0.325], [0.425, 0.525, 0.625]]  # without the failed run
    np.testing.assert_allclose(grid.means(), expected)
    page = page_of(runs, KEYS, tmp_path)
    cells = [a for tag, a in page.tags if tag == "button" and "data-runs" in a]
    assert len(cells) == 6
    order = [r["folder"] for r in page.data["runs"]]
    chosen = [order[int(i)] for i in cells[1]["data-runs"].split()]
    assert sorted(chosen) == sorted(str(r.folder) for r in runs[2:4])
    assert "FAILED: OSError: <no> space" in cells[1]["title"]


def test_no_heat_map_otherwise(runs, tmp_path):
    for keys in (["activation"], ["activation", "seed"], [], ["activation", "model.depth", "batch_size"]):
        assert grid_of(rows_of(runs, keys), keys) is None
        assert 'id="map"' not in write_comparison(runs, keys, tmp_path, "sweep")[0].read_text()


def test_heat_map_is_bright_where_the_metric_is_good():
    def brightness(colour: str) -> float:
        return sum(w * int(colour[i : i + 2], 16) for w, i in ((0.21, 1), (0.72, 3), (0.07, 5)))

    for metric, order in (("test_accuracy", [0.1, 0.5, 0.9]), ("test_loss", [0.9, 0.5, 0.1])):
        colours = heat_colours(np.array([[*order, np.nan]]), metric)[0]
        shades = [brightness(ground) for ground, _ in colours[:3]]
        assert shades == sorted(shades) and shades[0] < 60 < 200 < shades[2]
        for ground, ink in colours:
            assert abs(brightness(ground) - brightness(ink)) > 80, "the number can be read"


# --- The picture --------------------------------------------------------------------------------------------------


def test_picture_overlays_settings(runs):
    figure = comparison_figure(rows_of(runs, KEYS), KEYS, "sweep")
    start, end = figure.axes
    curves = [line for line in end.lines if len(line.get_xdata()) == 4]
    assert len(curves) == 6
    curves, profiles = curves[-1:], []
    for run in runs[:2]:
        with np.load(run.folder / "probes.npz") as file:
            profiles.append(file["gradient_norm"][-1])
    np.testing.assert_allclose(curves[0].get_ydata(), np.sqrt(profiles[0] * profiles[1]), rtol=1e-5)
    band = end.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(band[:, 1].max(), np.maximum(*profiles).max(), rtol=1e-5)
    told = [text.get_text() for text in figure.texts]
    names = [text for text in told if text.startswith("activation=")]
    settings = [f"activation={a} depth={d}" for a in ("tanh", "relu") for d in (110, 20, 5)]
    assert names == settings, "named, the best mean first"
    assert "healthy · accuracy 0.125 ± 0.035" in told
    assert start.get_ylim() == end.get_ylim()


def test_picture_marks_what_a_log_scale_cannot_hold(tmp_path):
    values = np.array([[1.0, 1.0, 1.0], [0.0, np.nan, 2.0]])
    run = write_run(tmp_path, 0, {"a": 1}, layers=3, probes=dict.fromkeys(MEASURES, values))
    lines = comparison_figure(rows_of([run], ["a"]), ["a"], "sweep").axes[1].lines
    marks = {line.get_marker(): line.get_xdata().tolist() for line in lines if line.get_marker() in ("x", "v")}
    assert marks == {"x": [2], "v": [1]}


def test_picture_of_many_runs(tmp_path):
    many = [write_run(tmp_path, i, {"a": i}, 1 - i / 100) for i in range(20)]
    rows = sorted(rows_of(many, ["a"]), key=lambda row: -row.value)
    figure = comparison_figure(rows, ["a"], "sweep")
    told = [text.get_text() for text in figure.texts]
    assert any("the best and the worst 6 of 20" in text for text in told)
    assert [t for t in told if t[:2] == "a="] == [f"a={i}" for i in (0, 1, 2, 3, 4, 5, 14, 15, 16, 17, 18, 19)]
    many = [write_run(tmp_path, i, {"a": i % 4, "b": i // 4}, 1 - i / 100) for i in range(20)]
    figure = comparison_figure(rows_of(many, ["a", "b"]), ["a", "b"], "sweep")
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {f"{1 - i / 100:.3g}" for i in range(20)} <= shown


@pytest.mark.parametrize("count", [1, 6, 12])
def test_nothing_is_cut_off_in_the_picture(tmp_path, count):
    words = {"activation": "a_very_long_name_of_a_function", "initializer": "another_one"}
    made = [write_run(tmp_path, i, words | {"model.depth": i}, layers=30) for i in range(count)]
    figure = comparison_figure(rows_of(made, [*words, "model.depth"]), [*words, "model.depth"], "title " * 40)
    save(figure, tmp_path / "picture.png")
    for text in figure.texts:
        box = text.get_window_extent()
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1), text.get_text()
    for one, other in itertools.combinations(figure.texts, 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent()), (one.get_text(), other.get_text())


def test_label():
    row = Entry(Summary(Path(), "mlp", Status.KILLED), ["5", "", "0"], None, ())
    assert label(row, ["model.depth", "a.rate", "seed"], repeats=True) == "depth=5 seed=0"
    assert label(row, ["model.depth", "a.rate", "seed"], repeats=False) == "depth=5"
    assert label(row, ["a.depth", "b.depth", "seed"], repeats=True) == "a.depth=5 seed=0"
    assert label(Entry(Summary(Path(), "mlp", Status.KILLED), [], None, ()), [], repeats=True) == "mlp"


def test_importing_is_cheap():
    script = (
        "import sys, zoo.report.pictures, zoo.report.comparison; "
        "print(sorted({'matplotlib', 'keras', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_two_hundred_runs(tmp_path):
    made = [
        write_run(tmp_path, i, {"model.width": i % 20, "activation": f"f{i // 20}"}, i / 200, layers=190)
        for i in range(200)
    ]
    began = time.perf_counter()
    page, picture = write_comparison(made, ["model.width", "activation"], tmp_path, "sweep", experiment_id="1")
    assert time.perf_counter() - began < 10
    assert page.stat().st_size + picture.stat().st_size < 5e6
    assert len(Page(page.read_text()).table()) == 200
    with Image.open(picture) as image:
        assert image.size == (1466, 825)


# --- In a browser -------------------------------------------------------------------------------------------------


def column(browser, name: str) -> list[str]:
    """What stands in a column of the rows that are shown, from above."""
    return browser(
        """const head = [...document.querySelectorAll('#runs th')].find((th) => th.textContent === arguments[0]);
        return [...document.querySelectorAll('#runs tbody tr')].filter((row) => row.offsetParent !== null)
          .map((row) => row.cells[head.cellIndex].textContent)""",
        name,
    )


def curves(browser) -> list[str]:
    return browser("return [...document.querySelectorAll('#chart path.curve')].map((path) => path.getAttribute('d'))")


def legend(browser) -> list[str]:
    return browser("return [...document.querySelectorAll('#legend span')].map((span) => span.textContent)")


@pytest.fixture
def opened(browser, runs, tmp_path):
    browser.log("performance")
    browser.log("browser")
    page = write_comparison(runs, KEYS, tmp_path, "sweep", experiment_id="1")[0]
    browser.open(page.as_uri())
    yield browser
    assert [entry for entry in browser.log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked, "the log shows requests"
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert {url for url in asked if url.startswith("file:")} == {page.as_uri()}


def test_browser_sorts(opened):
    def press(name: str) -> list[str]:
        heads = opened("return [...document.querySelectorAll('#runs th')].map((th) => th.textContent)")
        buttons = [head for head in heads if head and head != "profile"]
        opened.click("#runs th button", buttons.index(name))
        return column(opened, name)

    best = column(opened, "accuracy")
    assert best[:2] == ["0.65", "0.6"] and best[-1] == ""
    assert press("accuracy") == [*reversed(best[:-1]), ""], "what is missing stays last"
    assert press("accuracy") == best
    assert press("model.depth") == ["5"] * 4 + ["20"] * 4 + ["110"] * 4, "by value, not by letter"
    assert press("model.depth") == ["110"] * 4 + ["20"] * 4 + ["5"] * 4
    assert press("seed")[:6] == ["0"] * 6 and column(opened, "accuracy")[-1] != ""
    assert press("accuracy")[-1] == "", "from any order"
    verdicts = press("verdict")
    assert verdicts == sorted(verdicts, key=str.lower) and set(verdicts) == {"healthy", "vanishing", "FAILED"}
    arrives = [float(text.split()[-1]) for text in press("reaches first layer") if text]
    assert arrives == sorted(arrives)
    assert opened("return document.querySelectorAll('#runs th[aria-sort]').length") == 1


def test_browser_filters(opened):
    opened.type("#filter", "tanh 110")
    assert column(opened, "activation") == ["tanh", "tanh"] and set(column(opened, "model.depth")) == {"110"}
    assert opened("return document.getElementById('count').textContent") == "2 of 12 runs"
    opened("const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    assert len(column(opened, "activation")) == 12
    names = opened("return [...document.querySelectorAll('.chip')].map((chip) => chip.dataset.verdict)")
    opened.click(".chip", names.index("healthy"))
    assert sorted(column(opened, "verdict")) == ["FAILED", "vanishing"]
    opened.click(".chip", names.index("healthy"))
    assert len(column(opened, "verdict")) == 12


def test_browser_overlays_two_runs(opened, runs):
    opened.click("#none")
    assert curves(opened) == [] and legend(opened) == []
    boxes = "#runs tbody input"
    opened.click(boxes, 0)
    one = curves(opened)
    opened.click(boxes, 2)
    two = curves(opened)
    assert len(one) == 1 and len(two) == 2 and two[0] != two[1]
    assert legend(opened) == [
        "activation=tanh depth=110 seed=1 · healthy · accuracy 0.65",
        "activation=tanh depth=20 seed=1 · healthy · accuracy 0.55",
    ]
    # The curves lie where the probes' numbers are, on one scale.
    drawn = [np.array(re.findall(r"[\d.]+", path), float).reshape(-1, 2) for path in two]
    norms = []
    for run in (runs[11], runs[9]):
        with np.load(run.folder / "probes.npz") as file:
            norms.append(np.log10(file["gradient_norm"][-1]))
    y, levels = np.concatenate([d[:, 1] for d in drawn]), np.concatenate(norms)
    slope, offset = np.polyfit(levels, y, 1)
    assert slope < 0, "larger is higher"
    np.testing.assert_allclose(slope * levels + offset, y, atol=0.2)
    np.testing.assert_allclose(drawn[0][:, 0], drawn[1][:, 0])
    opened("const m = document.getElementById('measure'); m.value = 'delta_norm'; m.dispatchEvent(new Event('change'))")
    assert len(curves(opened)) == 2 and curves(opened) != two
    assert opened(f"return document.querySelectorAll('{boxes}')[11].disabled"), "a run without profile cannot be chosen"


def test_browser_heat_map_chooses_runs(opened):
    opened.click("#none")
    opened.click("#map td button", 5)
    assert len(curves(opened)) == 2 and all("activation=tanh depth=110" in text for text in legend(opened))
    opened.click("#map td button", 5)
    assert curves(opened) == []


def test_browser_shows_the_layer_under_the_pointer(opened):
    opened.click("#none")
    opened.click("#runs tbody input", 0)
    shown = opened(
        """const mark = document.querySelector('#chart circle'), area = mark.getBoundingClientRect();
        mark.ownerSVGElement.dispatchEvent(new MouseEvent('mousemove',
          {clientX: area.x + area.width / 2, clientY: area.y + area.height / 2}));
        const tip = document.getElementById('tip');
        return [getComputedStyle(tip).display, tip.textContent]"""
    )
    assert shown[0] == "block" and re.fullmatch(r"dense_0: \S+ +· +activation=tanh depth=110 seed=1", shown[1])


def test_browser_runs_nothing_that_a_run_says(browser, tmp_path):
    verdict = {"name": EVIL, "sentence": EVIL, "remedies": [EVIL]}
    made = [write_run(tmp_path, i, {"a": EVIL, "b": i}, verdict=verdict, name=EVIL, run_id=EVIL) for i in range(2)]
    browser.open(write_comparison(made, ["a", "b"], tmp_path, EVIL, experiment_id="1")[0].as_uri())
    assert browser("return [typeof window.evil, document.title, document.images.length]") == ["undefined", EVIL, 0]
    assert legend(browser)[0].startswith(f"a={EVIL} b=0")
    assert len(curves(browser)) == 2


@pytest.mark.parametrize("width", [400, 1280, 2000])
@pytest.mark.parametrize("count", [12, 200])
def test_browser_nothing_leaves_its_card_and_all_of_it_can_be_read(browser, tmp_path, width, count):
    made = [
        write_run(tmp_path, i, {"activation": f"f{i % 4}", "model.depth": i // 4, "seed": i % 2}, i / count)
        for i in range(count)
    ]
    page = write_comparison(made, KEYS, tmp_path, "sweep", experiment_id="1")[0]
    for dark in (False, True):
        browser.look(width, dark=dark)
        browser.open(page.as_uri())
        assert browser.overflows() == [] and browser.small_texts() == []
        assert browser("return document.documentElement.scrollWidth <= innerWidth")
        hidden = browser("const t = document.querySelector('#table .wide'); return t.scrollWidth - t.clientWidth")
        assert width < 1280 or hidden <= 0, "what is wider than a telephone shows the whole table"
    browser.look(1280)
