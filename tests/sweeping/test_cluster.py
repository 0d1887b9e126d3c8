"""Sweeps on several machines: a Ray cluster of two nodes, Slurm's launcher with submitit's local executor, a search."""

import importlib.util
import re

import pytest
from processes import Server

SMALL = ("epochs=1", "model.width=8", "pictures=false")

pytestmark = pytest.mark.slow


def needs(module: str):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@needs("ray")
def test_a_sweep_on_a_ray_cluster_of_two_nodes_with_a_server(train, tmp_path):
    from ray.cluster_utils import Cluster

    server = Server(tmp_path)
    server.start()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        words = ("-m", "seed=0,1,2", *SMALL, f"tracking.uri={server.address}", "hydra/launcher=ray")
        done = train(*words, f"hydra.launcher.address={cluster.address}")
        runs = server.runs()
        again = train(*words, f"hydra.launcher.address={cluster.address}")
    finally:
        cluster.shutdown()
        server.stop()

    assert sorted(r.data.params["seed"] for r in runs) == ["0", "1", "2"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert len(re.findall(r"^\d/3  seed=\d", done.stdout, re.MULTILINE)) == 3
    assert "3 of them finished before" in again.stdout


@needs("ray")
def test_a_ray_cluster_that_is_not_there_is_told_in_one_line(train):
    done = train("-m", "seed=0,1", *SMALL, "hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:1", code=1)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "hydra.launcher.address=127.0.0.1:1" in lines[0]
    assert "Traceback" not in done.stderr


@needs("submitit")
def test_a_sweep_through_submitit(train):
    done = train("-m", "seed=0,1", *SMALL, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
    assert "2/2" in done.stdout
    assert [r.info.status for r in train.recorded()] == ["FINISHED", "FINISHED"]


@needs("submitit")
def test_slurm_asks_for_what_it_is_told(train):
    done = train("--cfg", "hydra", "hydra/launcher=slurm", "hydra.launcher.timeout_min=30")
    assert "SlurmLauncher" in done.stdout
    assert "timeout_min: 30" in done.stdout and "array_parallelism: 64" in done.stdout


@needs("optuna")
def test_a_search_by_the_validation_metric(train):
    words = ("hydra/sweeper=optuna", "optimizer.learning_rate=interval(0.0001,0.1)", "hydra.sweeper.n_trials=3")
    done = train("-m", *words, "objective=val_accuracy", *SMALL)
    runs = train.recorded()
    assert len({r.data.params["learning_rate"] for r in runs}) == 3
    assert len(re.findall(r"^\d/3  optimizer\.learning_rate=0\.0*[1-9]\d{0,3} ", done.stdout, re.MULTILINE)) == 3
    best = max(r.data.metrics["val_accuracy"] for r in runs)
    assert f"best      val_accuracy {best:.4g}: optimizer.learning_rate=" in done.stdout
