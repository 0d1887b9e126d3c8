"""The other backends, in processes of their own; `make test-jax` and `make test-torch` run tests on each."""

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OTHERS = ["jax", "torch"]
BRIEFLY = "--xla_backend_optimization_level=0"  # what runs a few times need not be optimized for long


def python(backend: str, *arguments: str, **environment: str) -> str:
    """Run Python with KERAS_BACKEND; return what it printed."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_a_sweep_in_worker_processes(backend, train):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    words = ("-m", "seed=0,1", "epochs=2", "model.depth=2", "pictures=false")
    train.fresh(*words, KERAS_BACKEND=backend)
    again = train.fresh(*words, KERAS_BACKEND=backend)
    assert "2 of them finished before" in again.stdout
    assert [r.info.status for r in train.recorded()] == ["FINISHED", "FINISHED"]
    for run in train.recorded():
        assert run.data.tags["verdict"] == "healthy"
        assert len(train.client.get_metric_history(run.info.run_id, "loss")) == 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What `agreement.py` records of a network, by backend."""
    folder = tmp_path_factory.mktemp("agreement")

    def get(backend: str, *networks: str) -> dict[str, np.ndarray]:
        path = folder / "_".join([backend, *networks])
        python(backend, str(HERE / "agreement.py"), f"{path}.npz", *networks, XLA_FLAGS=BRIEFLY)
        with np.load(f"{path}.npz") as file:
            return dict(file)

    return functools.cache(get)


REST = ("lenet", "alexnet", "vgg", "resnet", "densenet", "transformer", "recurrent")


# What cannot change by less: a float32 weight by its last digit, a share by one value (of 864 x 8 in LeNet's first).
STEPS = {"update_ratios": 2.0**-23, "saturated": 1.0 / (864 * 8)}


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize(
    "networks", [("mlp",), pytest.param(REST, marks=pytest.mark.slow, id="the rest of the zoo")], ids="_".join
)
def test_history_probes_and_verdict_are_those_of_tensorflow(networks, backend, recorded):
    expected, actual = recorded("tensorflow", *networks), recorded(backend, *networks)
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        if name.endswith("/names"):
            assert actual[name].tolist() == array.tolist()
            continue
        assert array.size and np.isfinite(array).all(), name
        # Noise around zero is measured by the largest of its kind.
        atol = max(1e-5 * np.abs(array).max(), STEPS.get(name.partition("/")[2], 0))
        np.testing.assert_allclose(actual[name], array, rtol=1e-4, atol=atol, err_msg=name)


# Ends the process where TensorFlow is imported by anything but the input pipeline.
GUARD = """
import sys, traceback, runpy
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            stack = traceback.extract_stack()
            files = [f.filename.replace("\\\\", "/") for f in stack]
            asks = any("torch/_dynamo" in f for f in files)  # whether it is installed, no more
            if not asks and not any(f.endswith("zoo/data/stream.py") for f in files):
                raise SystemExit("TensorFlow was imported:\\n" + "".join(traceback.format_list(stack)))
sys.meta_path.insert(0, Guard())
"""
TRAIN = """
sys.argv = ["train.py", "tracking=none", "epochs=1", "model.depth=2"]
runpy.run_path("train.py", None, "__main__")
"""


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.slow), "torch"])
def test_train_imports_tensorflow_for_its_input_pipeline_alone(backend, tmp_path):
    printed = python(backend, "-c", GUARD + TRAIN, GRADIENT_ZOO_HOME=str(tmp_path))
    assert "verdict" in printed and "accuracy" in printed


def test_importing_the_package_is_light():
    code = "import time; t = time.process_time(); import zoo, sys; print(time.process_time() - t, *sys.modules)"
    seconds, *modules = python("tensorflow", "-c", code).split()
    assert float(seconds) < 0.1
    assert not {"tensorflow", "keras", "numpy", "hydra", "mlflow", "jax", "torch"} & set(modules)
