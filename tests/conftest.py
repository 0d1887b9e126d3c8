"""What the tests share: the command line as a user has it, and a store of its own for each test that runs it."""

import os
import subprocess
import sys
from pathlib import Path

import browser as webdriver
import prepared
import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAIN = str(ROOT / "train.py")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As many tests run at once as there are cores: threads beyond that wait for each other, BLAS's by spinning.
for name in ("OMP", "OPENBLAS", "MKL", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
    os.environ.setdefault(f"{name}_THREADS" if name.startswith("TF") else f"{name}_NUM_THREADS", "1")
# Ten more processes beside each server, none of which records a run: a start takes four times as long with them.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")


class Command:
    """`python train.py` with its store under `home`: called, forked from a process that has imported TensorFlow."""

    def __init__(self, home: Path):
        self.home = home
        self.uri = f"sqlite:///{home}/mlruns/mlflow.db"

    def __call__(self, *words: str, cwd: Path = ROOT, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        return _checked(prepared.run([TRAIN, *words], cwd, self._environment(env)), code)

    def module(self, name: str, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
        """`python -m NAME`, such as `zoo.report`, over the same store, whatever its exit code."""
        return prepared.run(["-m", name, *words], cwd, self._environment({}))

    def fresh(self, *words: str, cwd: Path = ROOT, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        """In a process that has imported nothing: for what a start costs and says, and for another backend."""
        command = [sys.executable, TRAIN, *words]
        return _checked(
            subprocess.run(command, cwd=cwd, env=self._environment(env), capture_output=True, text=True), code
        )

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "GRADIENT_ZOO_HOME": str(self.home), **more}

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def recorded(self, kind: str = "run") -> list:
        """Every recorded run of a kind ("run" or "sweep"), oldest first."""
        experiment = self.client.get_experiment_by_name("gradient-zoo")
        found = self.client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'", order_by=["start_time"])
        return list(found)

    def folders(self, where: str = "runs") -> list[Path]:
        """The run folders, oldest first."""
        return sorted((self.home / "mlruns" / where).glob("*"))


def _checked(done: subprocess.CompletedProcess, code: int) -> subprocess.CompletedProcess:
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def train(tmp_path) -> Command:
    return Command(tmp_path / "home")


@pytest.fixture(scope="module")
def shared_train(tmp_path_factory) -> Command:
    return Command(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """`mlflow server`, for the tests of a file."""
    from processes import Server

    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(shared_server):
    """What stands before it."""
    from proxy import Proxy

    proxy = Proxy(shared_server.address)
    yield proxy
    proxy.close()


@pytest.fixture
def shapes_alone():
    """Networks that are built in the test have weights with a shape and no values: that takes a third of the time."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)  # or the next scope that ends would give all of them their values


@pytest.fixture(scope="module")
def browser():
    if webdriver.MISSING:
        pytest.skip(webdriver.MISSING)
    with webdriver.chromium() as made:
        yield made
