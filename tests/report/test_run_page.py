"""run.html: what is told of a run from its folder, whether it finished or not, and what it costs."""

import dataclasses
import json
import time

import numpy as np
import pytest
import yaml

from zoo.archive.run import RunFolder, theory_of_run
from zoo.archive.summary import Status, Summary
from zoo.archive.sweep import SweepFolder
from zoo.report.run_page import FILE, page_if_possible, page_of_folder, told_of, write_run_page
from zoo.telemetry.findings import Verdict
from zoo.telemetry.history import GradientHistory

FLIGHT = {
    "variables": ["dense/kernel"], "first": "loss", "step": 7, "epoch": 0, "rises_from": 5, "grown": None,
    "finite_after": 0, "indices": [4, 9], "suspects": [],
}  # fmt: skip


def run_in(folder, layers: int = 4, steps: int = 20, **more) -> RunFolder:
    names = [f"dense_{i}" for i in range(layers)]
    norms = np.geomspace(1, 1e-3, layers * steps).reshape(steps, layers).astype(np.float32)
    ends = np.array([steps // 2, steps])
    paths = [f"{name}/kernel" for name in names]
    losses = np.linspace(2, 1, steps).astype(np.float32)
    history = GradientHistory(names, paths, np.arange(layers), np.arange(steps), norms, losses, epoch_ends=ends)
    values = np.ones((3, layers), np.float32)
    probes = dict.fromkeys(("gradient_norm", "delta_norm", "activation_rms"), values)
    probes |= {"dead": 0 * values, "saturated": 0 * values, "layers": np.array(names)}
    probes["has_kernel"] = np.ones(layers, bool)
    content = {
        "overrides": ["model.depth=3", "tag=a b"],
        "choices": {"model": "mlp", "activation": "tanh"},
        "verdict": Verdict("healthy", confidence=0.9, sentence="it learns."),
        "metrics": {"test_accuracy": 0.9, "loss": 1.0},
        "seconds": 75.0, "epochs": 2, "steps": steps, "parameters": 1000,
    }  # fmt: skip
    summary = Summary(folder, "mlp on digits", Status.FINISHED, **(content | more))
    config = {"model": {"depth": 3, "width": 64}, "optimizer": {"learning_rate": 0.1}, "schedule": {"warmup": 0.0}}
    epochs = {"epoch": np.arange(2), "loss": np.array([2, 1]), "accuracy": np.array([0.5, 0.9])}
    return RunFolder(config, summary, history, probes, epochs)


def test_a_run_is_told_with_its_facts_its_setting_and_its_command(tmp_path):
    told = told_of(run_in(tmp_path))
    facts = {"parameters": "1,000", "epochs": "2", "steps": "20", "time": "1 min 15 s", "test_accuracy": "0.9"}
    assert dict(told.facts) == facts
    assert told.command == "python train.py model.depth=3 'tag=a b'"
    assert ("activation", "tanh", "relu") in told.differs and ("model.depth", "3", "5") in told.differs
    np.testing.assert_allclose(told.epochs["learning_rate"], [0.1, 0.1])
    assert told.failed == [] and told.siblings is None and list(told.samples(3)) == []


def test_where_it_failed_and_with_what_samples(tmp_path):
    told = told_of(run_in(tmp_path, flight=FLIGHT))
    assert told.failed[0].startswith("step 7, epoch 1: the loss") and "4, 9" in told.failed[1]
    assert list(told.samples(7)) == [4, 9] and list(told.samples(6)) == []
    assert told_of(run_in(tmp_path, flight=FLIGHT), lambda step: [step]).samples(6) == [6]


def test_a_run_that_did_not_finish_says_why(tmp_path):
    run = run_in(tmp_path)
    run.summary = Summary(tmp_path, "mlp on digits", Status.KILLED, reason="interrupted")
    page = write_run_page(run).read_text()
    assert "interrupted" in page and "KILLED" in page


def test_a_run_of_a_sweep_knows_how_many_others_there_are(tmp_path):
    SweepFolder(tmp_path).write(total=12)
    (tmp_path / "3").mkdir()
    assert told_of(run_in(tmp_path / "3")).siblings == (12, 3)


def test_a_page_is_made_again_from_the_folder(tmp_path):
    run = run_in(tmp_path)
    run.summary.write()
    run.history.save(tmp_path / "gradients.npz")
    np.savez(tmp_path / "probes.npz", **run.probes)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(run.config))
    (tmp_path / "history.csv").write_text("epoch,loss,accuracy\n0,2,0.5\n1,1,0.9\n")
    first = write_run_page(run).read_text()
    page_of_folder(tmp_path)
    assert (tmp_path / FILE).read_text() == first


def test_a_page_that_cannot_be_written_costs_no_run(tmp_path, capsys):
    run = run_in(tmp_path)
    page_if_possible(dataclasses.replace(run, probes={"has_kernel": np.ones(4)}))
    assert "could not be written: KeyError" in capsys.readouterr().err
    (tmp_path / "summary.json").write_text(json.dumps({"name": "a", "status": "FINISHED"}))
    (tmp_path / "gradients.npz").write_bytes(b"half a file")
    page_of_folder(tmp_path)
    assert "could not be written" in capsys.readouterr().err


def test_theory_is_in_the_units_of_what_was_measured(tmp_path):
    run = run_in(tmp_path)
    assert theory_of_run(run) == {}, "nothing is known of the activation"
    run.config |= {
        "normalization": {}, "dropout": {"rate": 0.0},
        "activation": {"_target_": "keras.layers.Activation", "activation": "tanh"},
        "initializer": {"kernel": {"_target_": "keras.initializers.GlorotUniform"}, "bias": None},
        "model": {"_target_": "zoo.models.mlp", "depth": 3, "width": 64, "residual": 0, "weights": None},
    }  # fmt: skip
    run.probes["activation_rms"] = np.full((3, 4), 0.5, np.float32)
    lines = theory_of_run(run)
    assert set(lines) == {"gradient", "delta", "activation"}
    assert lines["delta"][-1] == pytest.approx(run.probes["delta_norm"][0, 2])
    assert lines["gradient"][-1] == pytest.approx(run.history.norms[0, 2]) and np.isnan(lines["gradient"][0])


def test_a_sweeps_page_costs_next_to_nothing(tmp_path):
    write_run_page(run := run_in(tmp_path))
    began = time.perf_counter()
    for _ in range(5):
        write_run_page(run)
    assert (time.perf_counter() - began) / 5 < 0.2
