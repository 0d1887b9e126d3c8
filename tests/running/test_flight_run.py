"""What a run leaves of a crash: real processes, and the sample named by its place in the user's own file."""

import csv
import json
import re

import keras
import numpy as np
import pytest

import zoo.data
from zoo import GradientHistory

POISONED = 123
SEED = 1  # the poisoned sample comes neither in the first steps nor in the last
SMALL = ("data=npz", "data.scaling=none", "model.depth=1", "model.width=8", "epochs=2", "batch_size=16", f"seed={SEED}")
EXPONENTIAL = "activation.activation=exponential"  # of the poisoned sample it is infinite


@pytest.fixture
def path(tmp_path):
    """An .npz file of which one training sample is in range, as the check of data wants it, but overflows within."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 6)).astype(np.float32), np.arange(400) % 4
    x[POISONED] = 1e6
    path = tmp_path / "poisoned.npz"
    np.savez(path, x_train=x, y_train=y, x_test=rng.normal(size=(40, 6)).astype(np.float32), y_test=y[:40])
    return path


def steps_of_the_poisoned(path):
    """Return the places in the training part, and {step: its batch}, by which the poisoned sample is known."""
    data = zoo.data.npz(str(path), scaling="none", batch_size=16, seed=SEED)
    (place,) = np.flatnonzero(np.abs(data.train[0]).max(axis=1) > 100)
    batches = {e * data.steps + s: data.batch_indices(e, s) for e in range(2) for s in range(data.steps)}
    first, second = (step for step, batch in batches.items() if place in batch)
    assert 3 < first < data.steps - 3
    return place, {first: batches[first], second: batches[second]}


def read(folder):
    with open(folder / "flight.csv", newline="") as file:
        return json.loads((folder / "flight.json").read_text()), list(csv.DictReader(file))


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("words", [[], ["callbacks=[gradient_norms]", "steps_per_execution=4", "optimizer=sgd"]])
def test_a_poisoned_sample_is_named(words, path, train):
    done = train(*SMALL, EXPONENTIAL, f"data.path={path}", "schedule=cosine", *words)
    (folder,) = train.folders()
    flight, steps = read(folder)
    place, batches = steps_of_the_poisoned(path)
    failed = min(batches)

    assert (flight["step"], flight["epoch"], flight["batch"]) == (failed, 0, failed)
    assert flight["indices"] == batches[failed].tolist() and POISONED in flight["rows"]
    assert flight["suspects"] == [{"index": place, "row": POISONED, "step": failed, "largest": 1e6}]
    history = GradientHistory.load(folder / "gradients.npz")
    assert flight["variables"] and set(flight["variables"]) <= set(history.variables)
    assert flight["global_norm"] in ("nan", "inf")
    assert flight["global_norm_before"] == pytest.approx(history.global_norm[failed - 1])
    rate = {"optimizer=sgd": 0.01}.get(words[-1] if words else "", 0.001)
    schedule = keras.optimizers.schedules.CosineDecay(rate, 2 * 23)
    assert flight["learning_rate"] == pytest.approx(float(schedule(failed)))

    assert [int(row["step"]) for row in steps] == list(range(failed + 1))
    layers = [f"gradient_norm/{layer}" for layer in history.layers]
    assert list(steps[0]) == ["step", "loss", "gradient_norm", *layers]
    norms = [[float(row[layer]) for layer in layers] for row in steps]
    np.testing.assert_allclose(norms, history.norms[: failed + 1], rtol=1e-6)

    unbroken = re.sub(r"\n {10}", " ", done.stdout)
    told = [line for line in unbroken.splitlines() if line.startswith(("failed", "samples", "flight"))]
    assert told[0].startswith(f"failed    step {failed}, epoch 1: ") and flight["first"].removeprefix("l") in told[0]
    assert f"{place} (row {POISONED} of the source) in step {failed} stands out by a value of 1.0e+06" in told[1]
    assert str(folder / "flight.json") in told[2]
    (run,) = train.recorded()
    assert {"flight.json", "flight.csv"} <= {a.path for a in train.client.list_artifacts(run.info.run_id)}

    summary = summary_of(folder)
    assert (summary["status"], run.info.status) == ("FINISHED", "FINISHED")
    assert (summary["stopped"], run.data.tags["stopped"]) == ("not finite", "not finite")
    assert (summary["epochs"], summary["steps"]) == (1, 23) and len(history) == 23
    assert summary["verdict"]["name"] == run.data.tags["verdict"] != "healthy"
    assert np.isfinite(summary["metrics"]["test_accuracy"])
    assert re.search(r"parameters, 1 epoch, .* s, stopped as its loss was not finite$", done.stdout, re.MULTILINE)


CALLBACK = """
import keras

class Fails(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == {batch}:
            raise RuntimeError("in the middle")
"""


@pytest.mark.parametrize("poisoned", [True, False])
def test_a_run_that_raises_keeps_its_history_and_its_flight(poisoned, path, train, tmp_path):
    place, batches = steps_of_the_poisoned(path)
    failed = min(batches)
    stop = failed + 2 if poisoned else failed - 1
    (tmp_path / "mine.py").write_text(CALLBACK.format(batch=stop))
    words = (EXPONENTIAL, f"data.path={path}", "+callbacks.mine._target_=mine.Fails", "tracking=none", "verbose=0")
    done = train(*SMALL, *words, cwd=tmp_path, code=1)
    assert done.stderr.splitlines()[-1] == "RuntimeError: in the middle"
    (folder,) = train.folders()
    history = GradientHistory.load(folder / "gradients.npz")
    assert len(history) == stop + 1
    assert (folder / "probes.npz").is_file()
    if poisoned:
        flight, steps = read(folder)
        assert flight["step"] == failed and place in flight["indices"] and len(steps) == failed + 1
        assert flight["learning_rate"] == pytest.approx(0.001)
    else:
        assert not list(folder.glob("flight*"))


def test_a_run_that_ends_with_the_first_nan_names_it(path, train):
    words = ("+callbacks.nan._target_=keras.callbacks.TerminateOnNaN", "tracking=none", EXPONENTIAL)
    done = train(*SMALL, f"data.path={path}", *words)
    (folder,) = train.folders()
    flight, _ = read(folder)
    assert flight["step"] == min(steps_of_the_poisoned(path)[1])
    assert "failed " in done.stdout


KILLED = """
import os
import signal

import keras

class KilledOnce(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        if not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_job_that_is_killed_after_its_loss_was_not_finite_trains_no_further(path, train, tmp_path):
    (tmp_path / "mine.py").write_text(KILLED)
    words = ("epochs=5", EXPONENTIAL, f"data.path={path}", "+callbacks.mine._target_=mine.KilledOnce", "tracking=none")
    train("-m", *SMALL, *words, cwd=tmp_path)
    assert (tmp_path / "killed").exists()
    (sweep,) = train.folders("sweeps")
    summary = summary_of(sweep / "0")
    assert (summary["status"], summary["stopped"]) == ("FINISHED", "not finite")
    assert (summary["epochs"], summary["steps"]) == (1, 23)
    assert read(sweep / "0")[0]["step"] == min(steps_of_the_poisoned(path)[1])


def test_overflow_that_loss_scaling_skips_is_told_and_no_crash(train, tmp_path):
    rng = np.random.default_rng(0)
    x, y = 300 * rng.normal(size=(400, 6)).astype(np.float32), np.arange(400) % 4
    np.savez(tmp_path / "large.npz", x_train=x, y_train=y, x_test=x[:40], y_test=y[:40])
    done = train(*SMALL, f"data.path={tmp_path / 'large.npz'}", "precision=mixed_float16", "tracking=none")
    (folder,) = train.folders()
    history = GradientHistory.load(folder / "gradients.npz")
    skipped = np.count_nonzero(~np.isfinite(history.global_norm))
    assert 0 < skipped < 20 and np.isfinite(history.losses).all()
    assert summary_of(folder)["epochs"] == 2 and not summary_of(folder)["stopped"]
    assert f"overflow  in {skipped} of 46 steps, which loss scaling or clipping made good" in done.stdout
    assert "failed" not in done.stdout and not list(folder.glob("flight*"))
