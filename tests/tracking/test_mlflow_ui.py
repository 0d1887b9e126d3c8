"""MLflow's own pages over a real sweep: what `docs/tutorial.md` says to click is there, and shows what was recorded."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import browser as webdriver
import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(webdriver.MISSING is not None, reason=str(webdriver.MISSING)),
]


@pytest.fixture(scope="module")
def sweep(shared_train):
    """Two runs under one parent: a net that gradients reach, and one that they do not."""
    shared_train("-m", "activation=relu,sigmoid", "model.depth=10", "epochs=2", "model.width=32")
    assert len(shared_train.recorded()) == 2
    return shared_train


@pytest.fixture(scope="module")
def address(sweep, tmp_path_factory):
    """MLflow's server over the embedded store, as `make ui` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log.txt"
    command = ["mlflow", "ui", "--backend-store-uri", sweep.uri, "--host", "127.0.0.1", "--port", str(port)]
    with open(log, "w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)  # the server has workers of its own
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture
def page(browser, address):
    """The list of runs as a person gets to it who opens the server's address for the first time."""
    browser.open("about:blank")
    browser.open(address)
    browser("localStorage.clear(); sessionStorage.clear()")
    browser.open(address + "/")
    browser.click("//label[normalize-space(.)='Model training'] | //*[text()='Model training']")
    browser.click("//a[normalize-space(.)='gradient-zoo']")
    browser.wait("return document.querySelectorAll('[role=row] a[href*=\"/runs/\"]').length === 1")
    return browser


def close_assistant(page) -> None:
    """MLflow's chat opens beside the first page that is visited, over a third of the window."""
    if page.elements("//button[@aria-label='Close']"):
        page.click("//button[@aria-label='Close']")


def open_sweep(page) -> None:
    """Press the + before the sweep's name: its runs appear below it."""
    close_assistant(page)
    page.click("//*[@role='row'][.//a[contains(@href, '/runs/')]]//button[not(@aria-label)]")
    page.wait("return document.querySelectorAll('[role=row] a[href*=\"/runs/\"]').length === 3")


def compare(page, runs) -> None:
    """Tick the runs and press Compare."""
    open_sweep(page)
    for run in runs:
        page.click(f"//*[@role='row'][.//a[contains(@href, '{run.info.run_id}')]]//input[contains(@aria-label, 'row')]")
    page.click("//button[normalize-space(.)='Compare']")
    page.wait("return document.body.innerText.includes('Comparing 2 Runs')")


def test_the_list_of_runs_shows_the_verdicts(page, sweep):
    page.click("//button[normalize-space(.)='Columns']")
    page.type("//input[@placeholder='Search columns']", "verdict")
    page.click("//*[@data-testid='column-selector-tree']//*[normalize-space(text())='verdict']")
    page.click("//button[normalize-space(.)='Columns']")
    open_sweep(page)
    heads = page("return [...document.querySelectorAll('[role=columnheader]')].map((head) => head.innerText.trim())")
    assert "verdict" in heads
    shown = page.wait(
        """const rows = [...document.querySelectorAll('[role=row]')], shown = {};
        for (const link of document.querySelectorAll('[role=row] a[href*="/runs/"]')) {
          const place = link.closest('[role=row]').getAttribute('row-index');
          for (const row of rows.filter((row) => row.getAttribute('row-index') === place))
            for (const cell of row.querySelectorAll('[col-id="tags.`verdict`"]'))
              shown[link.href.split('/runs/')[1]] = cell.innerText.trim();
        }
        return Object.keys(shown).length === 3 && shown"""
    )
    recorded = {run.info.run_id: run.data.tags["verdict"] for run in sweep.recorded()}
    assert recorded == {run_id: shown[run_id] for run_id in recorded}
    assert sorted(recorded.values()) == ["healthy", "vanishing"]


def test_the_search_box_finds_runs_by_verdict(page, sweep):
    close_assistant(page)
    page.type("//input[@data-testid='search-box']", "tags.verdict = 'vanishing'\ue007")  # Enter
    page.wait("return document.body.innerText.includes('2 matching runs')")  # the run, and the sweep that it is in
    page.click("//*[@role='row'][.//a[contains(@href, '/runs/')]]//button[not(@aria-label)]")
    page.wait("return document.querySelectorAll('[role=row] a[href*=\"/runs/\"]').length === 2")
    links = page("return [...document.querySelectorAll('[role=row] a[href*=\"/runs/\"]')].map((link) => link.href)")
    (found,) = [run for run in sweep.recorded() if run.data.tags["verdict"] == "vanishing"]
    assert links[1].endswith(found.info.run_id)


def test_comparing_runs_lays_their_profiles_over_each_other(page, sweep):
    runs = sweep.recorded()
    compare(page, runs)
    page.wait(  # the list holds only what is in view
        """const links = [...document.querySelectorAll('a[href*="#/metric"]')];
        links.at(-1)?.scrollIntoView();
        return links.some((link) => link.innerText.trim() === 'profile/gradient_norm')"""
    )
    page.click("//a[normalize-space(.)='profile/gradient_norm']")
    page.click("//*[normalize-space(text())='Y-axis Log Scale:']/following::button[@role='switch'][1]")
    drawn = page.wait(
        """const plot = document.querySelector('.js-plotly-plot');
        const lines = plot && plot.querySelectorAll('.scatterlayer .trace .js-line');
        return plot && plot._fullLayout.yaxis.type === 'log' && new Set([...lines].map((line) =>
          line.getAttribute('d'))).size === 2 && plot.data.map((line) => [line.name, line.x, line.y])"""
    )
    for run in runs:
        points = sweep.client.get_metric_history(run.info.run_id, "profile/gradient_norm")
        depths, norms = zip(*sorted((point.step, point.value) for point in points), strict=True)
        assert depths == tuple(range(1, 12)), "step is depth: ten hidden layers and the output's"
        lines = [(x, y) for name, x, y in drawn if name.startswith(run.info.run_name)]
        assert lines
        for x, y in lines:
            assert x == list(depths)
            np.testing.assert_allclose(y, norms)


def test_comparing_runs_shows_what_differs_and_their_pages_side_by_side(page, sweep):
    compare(page, sweep.recorded())
    page.click("//button[@aria-label='Parameters - Show diff only']")
    page.wait("return !document.body.innerText.includes('batch_size')")
    assert "activation.activation" in page.text()
    page.click("//*[normalize-space(text())='run.html']")
    page.wait("return document.querySelectorAll('iframe').length === 2")


def test_a_run_tells_its_verdict_and_shows_its_page(page, sweep):
    (run,) = [run for run in sweep.recorded() if run.data.tags["verdict"] == "vanishing"]
    open_sweep(page)
    page.click(f"//a[contains(@href, '{run.info.run_id}')]")
    told = page.wait("return document.body.innerText.includes('About this run') && document.body.innerText")
    assert f"vanishing: {run.data.tags['verdict.sentence']}" in told
    page.click("//*[@role='tab'][normalize-space(.)='Artifacts']")
    page.click("//*[normalize-space(text())='run.html']")
    frame = page.wait("return document.querySelector('iframe')")
    page.post("/frame", {"id": frame})
    assert run.data.tags["verdict.sentence"] in page.wait("return document.body.innerText")
    assert page.wait("return document.querySelectorAll('svg').length") >= 3


def test_the_sweeps_own_run_tells_what_came_out_and_shows_the_comparison(page, sweep):
    (parent,) = sweep.recorded("sweep")
    close_assistant(page)
    page.click(f"//a[contains(@href, '{parent.info.run_id}')]")
    told = page.wait("return document.body.innerText.includes('About this run') && document.body.innerText")
    assert "2 runs: 1 healthy, 1 vanishing." in told
    page.click("//*[@role='tab'][normalize-space(.)='Artifacts']")
    page.click("//*[normalize-space(text())='comparison.html']")
    frame = page.wait("return document.querySelector('iframe')")
    page.post("/frame", {"id": frame})
    assert len(page.wait("return [...document.querySelectorAll('#chart path.curve')]")) == 2
    page.post("/frame", {"id": None})
