"""The page of a training: what is thinned is told honestly, in two languages, and nothing that a person says runs."""

import base64
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from zoo import use_language
from zoo.telemetry.findings import Cure, Finding, Verdict
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.language import Said, say, translated
from zoo.telemetry.page.bilingual import both
from zoo.telemetry.page.file import page_text, write_page
from zoo.telemetry.page.marks import marks, spikes
from zoo.telemetry.page.thinning import NOT_FINITE, ZERO, packed, share_of, thinned, thinned_layers
from zoo.telemetry.page.told import Along, Probed, Told

EVIL = "<script>window.evil=1</script><img src=x onerror=window.evil=2>\"' {{data}} </script><!--"


def history_of(steps: int, layers: int = 3, epochs: int = 2, **more) -> GradientHistory:
    """Layers of a kernel and a bias each."""
    rng = np.random.default_rng(0)
    names = more.pop("names", [f"dense_{i}" for i in range(layers)])
    norms = more.pop("norms", (10 ** rng.normal(-3, 1, (steps, 2 * layers))).astype(np.float32))
    return GradientHistory(
        names,
        [f"{name}/{kind}" for name in names for kind in ("kernel", "bias")],
        np.repeat(np.arange(layers), 2),
        np.arange(steps),
        norms,
        more.pop("losses", np.geomspace(2, 0.1, steps).astype(np.float32)),
        epoch_ends=np.linspace(0, steps, epochs + 1)[1:].astype(np.int64),
        **more,
    )


def probed_of(layers: int = 3, probes: int = 3, along: int = 0, **more) -> Probed:
    rng = np.random.default_rng(1)
    values = {name: 10 ** rng.uniform(-6, 1, (probes, layers)) for name in ("gradient", "delta", "activation")}
    shares = {name: np.zeros((probes, layers)) for name in ("dead", "saturated")}
    cells = [Along(f"lstm_{i}", rng.uniform(1, 2, (probes, 7)), rng.uniform(1, 2, (probes, 7))) for i in range(along)]
    names = more.pop("names", [f"dense_{i}" for i in range(layers)])
    return Probed(names, 10 * np.arange(probes), **(values | shares | more), along=cells)


def verdict_of(text: str = "of the first layer", **more) -> Verdict:
    cure = Cure("batch normalization", "keras.layers.BatchNormalization()", text, "normalization=batch")
    finding = Finding("rate", "a learning rate of 0", text, 0.9, cures=[cure])
    content = {"layer": "dense_0", "confidence": 0.95, "sentence": text, "evidence": {"loss_over_constant": 0.5}}
    return Verdict("vanishing", **content, cures=[cure], remedies=["normalization=batch"], findings=[finding], **more)


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def levels(packed: dict) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(packed["levels"]), "<u2").astype(float)
    values = 10 ** (packed["low"] + codes * (packed["high"] - packed["low"]) / 65532)
    return np.where(codes == NOT_FINITE, np.nan, np.where(codes == ZERO, 0.0, values))


# --- Thinning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 5, 600, 601, 1999])
def test_a_column_holds_least_middle_and_largest_of_its_steps(steps):
    values = np.random.default_rng(steps).normal(size=(4, steps)).astype(np.float32)
    share = share_of(steps, 4)
    found = thinned(values, share)
    columns = [values[:, start : start + share] for start in range(0, steps, share)]
    assert len(columns) <= 600
    np.testing.assert_array_equal(found.least, np.stack([c.min(axis=1) for c in columns], axis=1))
    np.testing.assert_array_equal(found.largest, np.stack([c.max(axis=1) for c in columns], axis=1))
    middle = [np.sort(c, axis=1)[:, (c.shape[1] - 1) // 2] for c in columns]
    np.testing.assert_array_equal(found.middle, np.stack(middle, axis=1))
    assert not found.nonfinite.any()


def test_what_is_not_finite_is_told_beside_what_is():
    values = np.array([[1, np.nan, 3, np.inf, 2, -np.inf, np.nan, np.nan, np.inf]], np.float32)
    found = thinned(values, 3)
    np.testing.assert_array_equal(found.least, [[1, 2, np.nan]])
    np.testing.assert_array_equal(found.middle, [[1, 2, np.nan]])
    np.testing.assert_array_equal(found.largest, [[3, 2, np.nan]])
    assert found.nonfinite.all()


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_layers_are_thinned_as_their_norms_are(scale):
    history = history_of(500, norms=np.random.default_rng(2).uniform(1, 9, (500, 6)).astype(np.float32) * scale)
    shown = np.array([0, 2])
    found, total = thinned_layers(history.variable_norms, history.owners, 3, 7, shown=shown)
    expected = thinned(history.norms[:, shown].T, 7)
    for name in ("least", "middle", "largest"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5)
    np.testing.assert_allclose(total, history.global_norm, rtol=1e-5)


def test_a_layers_variables_need_not_stand_together():
    norms = np.array([[3, 1, 4]], np.float32)
    found, total = thinned_layers(norms, np.array([0, 1, 0]), 2, 1, shown=np.arange(2))
    np.testing.assert_allclose(found.middle[:, 0], [5, 1])
    np.testing.assert_allclose(total, [26**0.5])


def test_ratios_of_updates_are_thinned_as_they_are():
    rng = np.random.default_rng(3)
    weights, updates = rng.uniform(1, 2, (300, 6)), rng.uniform(0.01, 0.02, (300, 6))
    history = history_of(300, weight_norms=weights.astype(np.float32), update_norms=updates.astype(np.float32))
    found, _ = thinned_layers(updates, history.owners, 3, 5, shown=np.arange(3), over=weights)
    np.testing.assert_allclose(found.middle, thinned(history.update_ratios.T, 5).middle, rtol=1e-5)


def test_packed_values_have_four_digits_and_keep_what_has_no_logarithm():
    values = np.array([1e-12, 3.3e-7, 1.0, 0.0, np.nan, np.inf], np.float32)
    found = levels(packed(values))
    np.testing.assert_allclose(found[:3], values[:3], rtol=3e-4)
    assert found[3] == 0 and np.isnan(found[4:]).all()


def test_a_long_training_is_a_small_page_that_is_quickly_written(tmp_path):
    history = history_of(20_000, layers=110)
    began = time.perf_counter()
    path = history.to_html(tmp_path / "run.html")
    assert time.perf_counter() - began < 1  # measured by benchmarks/pages.py; here only that nothing went wrong
    assert path.stat().st_size < 2e6


# --- Marks --------------------------------------------------------------------------------------------------------


def test_marks_are_where_numbers_end_and_where_they_leap():
    norms, losses = np.ones(400, np.float32), np.ones(400, np.float32)
    norms[123], losses[200], norms[300:] = 50, 20, np.nan
    found = [(mark.step, mark.kind) for mark in marks(losses, norms, None)]
    assert found == [(123, "gradient spike"), (200, "loss spike"), (300, "gradient not finite")]


def test_the_first_clipped_step_is_marked():
    clip_norms = np.array([[1, 1], [2, 0.5], [3, 0.5]], np.float32)
    mark = marks(np.ones(3), np.ones(3), clip_norms)[0]
    assert (mark.step, mark.kind, mark.value) == (1, "clipping", 0.25)


@pytest.mark.parametrize("values", [np.geomspace(1, 1e-9, 999), np.zeros(999), np.full(999, np.nan), np.ones(3)])
def test_a_steady_course_has_no_spikes(values):
    assert not len(spikes(values))


def test_a_loss_that_no_step_tells_is_no_fault():
    assert marks(np.full(50, np.nan, np.float32), np.ones(50, np.float32), None) == []


# --- Two languages ------------------------------------------------------------------------------------------------


def test_what_was_said_is_said_again_with_what_it_holds():
    text = say("try {change}", change=say("the model is large."))
    assert translated(text, "zh").startswith("试试") and "large" not in translated(text, "zh")
    assert translated(translated(text, "zh"), "en") == text == "try the model is large."
    assert translated("loss", "zh") == "损失函数" and translated("not in the table", "zh") == "not in the table"
    assert isinstance(text, Said)


def test_both_languages_are_on_the_page_and_one_is_shown():
    assert both("copy") == '<span lang="en">copy</span><span lang="zh">复制</span>'
    sentence = say("the loss is {loss}", loss="<1>")
    page = page_text(Told("a", verdict=verdict_of(sentence)))
    assert page.count("the loss is &lt;1&gt;") and page.count("损失为 &lt;1&gt;")
    assert '<html lang="en">' in page
    use_language("zh")
    try:
        assert '<html lang="zh">' in page_text(Told("a"))
    finally:
        use_language("en")


# --- The file -----------------------------------------------------------------------------------------------------


def test_nothing_that_a_person_says_is_markup():
    probed = probed_of(names=[EVIL, "b", "c"])
    told = Told(
        EVIL, [(EVIL, EVIL)], verdict_of(EVIL), history_of(5, names=[EVIL, "b", "c"]).told, probed,
        epochs={"loss": np.ones(2), EVIL: np.ones(2)}, failed=[EVIL], differs=[(EVIL, EVIL, EVIL)], command=EVIL,
    )  # fmt: skip
    page = page_text(told)
    assert page.count("<script") == 2 and "<img" not in page and "<!--" not in page
    assert data_of(page)["name"] == EVIL


def test_nothing_is_asked_of_anywhere_else():
    page = page_text(Told("a", steps=history_of(5).told, probed=probed_of()))
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)""", page.partition("<script>")[0])
    assert "default-src 'none'" in page and "http" not in page.partition("<script>")[0].replace("http-equiv", "")


def test_the_data_are_what_was_recorded():
    history, probed = history_of(50), probed_of(dead=np.full((3, 3), 0.25))
    data = data_of(page_text(Told("a", steps=history.told, probed=probed, theory={"delta": np.array([1.0, np.nan])})))
    np.testing.assert_allclose(levels(data["steps"]["gradient"]["middle"]).reshape(3, 50).T, history.norms, rtol=3e-4)
    np.testing.assert_allclose(levels(data["probes"]["delta"]).reshape(3, 3), probed.delta, rtol=3e-4)
    assert set(base64.b64decode(data["probes"]["dead"]["percent"])) == {25}
    assert data["theory"] == {"delta": [1.0, None]} and data["steps"]["ends"] == [25, 50]


def test_a_sentence_stands_where_a_map_would_show_nothing():
    page = page_text(Told("a", probed=probed_of()))
    assert "No unit is dead and no value saturated, at any probe." in page and 'data-name="dead"' not in page
    page = page_text(Told("a", probed=probed_of(dead=np.full((3, 3), 0.25))))
    assert 'data-name="dead"' in page and "No value is saturated at any probe." in page


def test_a_page_of_nothing_is_a_page(tmp_path):
    assert "nothing here" in write_page(tmp_path / "run.html", Told("nothing here")).read_text()
    assert history_of(0).to_html(tmp_path / "none.html").is_file()


def test_notebooks_show_verdict_history_and_findings_without_scripts():
    shown = [verdict_of(EVIL)._repr_html_(), history_of(9, names=[EVIL, "b", "c"])._repr_html_()]
    for markup in shown:
        assert "<script" not in markup and "<img" not in markup and "lang=" not in markup and "<button" not in markup
    assert "vanishing" in shown[0] and "normalization=batch" in shown[0] and "0.5" in shown[0]
    assert shown[1].count('<th scope="row">') == 3


def test_a_notebook_shows_the_ends_of_a_deep_model():
    rows = re.findall(r'<th scope="row">(.*?)</th>', history_of(5, layers=110)._repr_html_())
    assert len(rows) == 41 and rows[0] == "dense_0" and rows[20] == "… 70" and rows[-1] == "dense_109"


# --- In a browser -------------------------------------------------------------------------------------------------


def told_of(**more) -> Told:
    history = history_of(1300, losses=np.where(np.arange(1300) == 1111, np.nan, 1).astype(np.float32))
    epochs = {"loss": np.array([1, 0.5]), "val_loss": np.array([1, 0.6]), "accuracy": np.array([0.5, 0.9])}
    content = {"steps": history.told, "probed": probed_of(along=1), "epochs": epochs, "command": "python train.py"}
    return Told(**({"name": "one", "verdict": verdict_of()} | content | more))


@pytest.fixture
def opened(browser, tmp_path):
    browser.look(1280)
    browser.log("browser")
    browser.open(write_page(tmp_path / "run.html", told_of(samples=lambda step: [step, 7])).as_uri())
    yield browser
    assert [entry for entry in browser.log("browser") if entry["level"] != "INFO"] == []


def where(browser) -> str:
    return browser("return document.getElementById('where').textContent")


def curves(browser) -> list[str]:
    return browser("return [...document.querySelectorAll('.chart path.curve')].map((path) => path.getAttribute('d'))")


def test_a_page_opens_where_numbers_end_and_tells_the_samples(opened):
    assert where(opened).startswith("steps 1,110 to 1,112, middle (least – largest), epoch 2 · dense_0 · loss")
    assert "step 1,111: the loss is not finite; its samples: 1111, 7" in where(opened)


def test_one_cursor_moves_every_panel_by_keys_and_by_pointer(opened):
    before, lines = where(opened), curves(opened)
    opened("document.getElementById('map').focus()")
    opened.type("#map", "\ue011")  # Home
    assert where(opened).startswith("steps 0 to 2") and curves(opened) != lines
    opened.type("#map", "\ue014\ue015")  # right, down
    assert where(opened).startswith("steps 3 to 5") and "· dense_1 ·" in where(opened)
    assert opened("return document.getElementById('cursor').value") == "1"
    opened.type("#cursor", "\ue014")
    assert where(opened).startswith("steps 6 to 8")
    opened.click("#map svg")  # in its middle
    assert "· dense_1 ·" in where(opened) and re.match(r"steps 6\d\d to", where(opened))
    opened.click("#marks button.lost")
    assert where(opened).split(" · ")[0] == before.split(" · ")[0]


def test_languages_are_switched_and_everything_is_drawn_anew(opened):
    opened.click("#language")
    text = opened.text()
    assert "各层随步数" in text and "layers by steps" not in text and "第 1,110 至 1,112 步" in text
    opened.click("#language")
    assert "layers by steps" in opened.text() and "各层随步数" not in opened.text()


def test_what_a_cure_says_is_copied_by_a_click(opened):
    opened("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    opened.click("#verdict button.copy", 1)
    assert opened.wait("return window.copied") == "python train.py normalization=batch"
    assert opened.wait("return document.getElementById('said').textContent") == "copied"


def test_a_second_run_is_laid_over_and_taken_off(opened, tmp_path):
    alone = len(curves(opened))
    second = write_page(tmp_path / "second.html", told_of(name="the second"))
    field = opened.elements("#file")[0]
    opened.post(f"/element/{next(iter(field.values()))}/value", {"text": str(second)})
    opened.wait("return !document.getElementById('other').hidden")
    assert "laid over: the second · vanishing 0.95" in opened.text() and len(curves(opened)) > alone
    opened.click("#alone")
    assert len(curves(opened)) == alone


def test_another_file_is_refused(opened, tmp_path):
    (tmp_path / "other.html").write_text("<p>another page</p>")
    field = opened.elements("#file")[0]
    opened.post(f"/element/{next(iter(field.values()))}/value", {"text": str(tmp_path / "other.html")})
    opened.wait("return document.getElementById('other').textContent === 'this file is no page of a run.'")


def test_a_run_of_the_same_sweep_is_chosen_from_a_list(browser, tmp_path):
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        told = told_of(name=f"run of the sweep, {number}", siblings=(2, number))
        write_page(tmp_path / str(number) / "run.html", told)
    browser.open((tmp_path / "0" / "run.html").as_uri())
    browser("const s = document.getElementById('sibling'); s.value = '1'; s.dispatchEvent(new Event('change'))")
    browser.wait("return document.getElementById('other').textContent.includes('run of the sweep, 1')")


def test_the_numbers_at_the_cursor_are_a_table(opened):
    opened.click("summary")
    rows = opened.wait("return [...document.querySelectorAll('#numbers tbody tr')].map((row) => row.innerText)")
    assert len(rows) == 3 and rows[0].startswith("dense_0") and rows[0].count("%") == 2
    labels = opened("return [...document.querySelectorAll('.chart svg')].map((svg) => svg.getAttribute('aria-label'))")
    assert all(labels) and any("dense_2" in label for label in labels)


def test_nothing_that_a_person_says_runs(browser, tmp_path):
    told = Told(EVIL, verdict=verdict_of(EVIL), steps=history_of(5, names=[EVIL, "b", "c"]).told, command=EVIL)
    browser.open(write_page(tmp_path / "run.html", told).as_uri())
    assert browser("return [typeof window.evil, document.title, document.images.length]") == ["undefined", EVIL, 0]
    assert EVIL in browser.text()


LONG = "stage1_block10_a_layer_with_a_name_that_no_card_holds" * 2


@pytest.mark.parametrize("width", [400, 1280, 2000])
@pytest.mark.parametrize("media", ["light", "dark", "print"])
def test_nothing_leaves_its_card_and_all_of_it_can_be_read(browser, tmp_path, width, media):
    names = [LONG, *(f"dense_{i}" for i in range(1, 60))]
    probed = probed_of(60, along=2, names=names, dead=np.full((3, 60), 0.5))
    steps = history_of(700, 60, names=names).told
    told = told_of(name=LONG, steps=steps, probed=probed, command=LONG, siblings=(12, 3))
    path = write_page(tmp_path / "run.html", told)
    browser.look(width, dark=media == "dark", media="print" if media == "print" else "screen")
    browser.open(path.as_uri())
    browser("for (const part of document.querySelectorAll('details')) part.open = true")
    assert browser.overflows() == [] and browser.small_texts() == []
    assert browser("return document.documentElement.scrollWidth <= innerWidth")
    browser.look(1280)


def test_importing_a_page_is_cheap():
    script = "import sys, zoo.telemetry.page.file; print(sorted({'matplotlib', 'keras', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
