"""The check-up of runs of the command line: what is told before and after training, recorded, and shown on the page."""

import json

import numpy as np
import pytest

SMALL = ("model.depth=1", "model.width=16", "pictures=false")
DROPPED = ("dropout=dropout", "dropout.rate=0.95")


def found(stdout: str) -> list[str]:
    return [line.partition(":")[0].split(maxsplit=1)[1] for line in stdout.splitlines() if line.startswith("found ")]


def test_a_preflight_tries_other_rates(train):
    done = train("preflight=true", "optimizer.learning_rate=3")
    assert found(done.stdout) == ["rate, a learning rate that is too high"]
    assert not train.folders()
    assert not found(train("preflight=true", *SMALL).stdout)


@pytest.fixture(scope="module")
def dropped(shared_train):
    done = shared_train(*SMALL, *DROPPED, "epochs=8")
    return done, shared_train.folders()[-1], shared_train


def test_what_was_found_is_told_and_recorded(dropped):
    done, folder, _ = dropped
    assert found(done.stdout)[0] == "regularization, dropout that leaves little"
    verdict = json.loads((folder / "summary.json").read_text())["verdict"]
    assert verdict["findings"][0]["title"] == "dropout that leaves little"
    assert verdict["findings"][0]["confidence"] > 0.5


def test_the_command_and_the_page_show_the_same(dropped, tmp_path):
    _, folder, train = dropped
    done = train.module("zoo.check", str(folder), "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["findings"][0]["title"] == "dropout that leaves little"
    assert train.module("zoo.report", "tags.kind = 'run'", "--out", str(tmp_path)).returncode == 0
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "dense_1_dropout drops 95 % of what it gets" in page


def test_a_fault_without_a_sick_gradient_is_the_verdict(train, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 8)).astype("float32"), rng.integers(0, 2, 600)
    x = np.repeat(x, 10, 0)  # each with both labels
    np.savez(tmp_path / "x.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    words = ("data=npz", f"data.path={tmp_path / 'x.npz'}", "data.task=categorical", "epochs=20", *SMALL)
    done = train(*words)
    titles = [f["title"] for f in json.loads((train.folders()[0] / "summary.json").read_text())["verdict"]["findings"]]
    assert "samples that contradict each other" in titles, done.stdout


def test_a_sound_run_has_no_fault(train):
    done = train(*SMALL, "epochs=10")
    assert not found(done.stdout) and "verdict   healthy" in done.stdout
