"""What the tests share: the command line as a user has it, and a store of its own for each test that runs it."""

import os
import subprocess
import sys
from pathlib import Path

import browser as webdriver
import pytest

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Command:
    """`python train.py` with its store under `home`."""

    def __init__(self, home: Path):
        self.home = home
        self.uri = f"sqlite:///{home}/mlruns/mlflow.db"

    def __call__(self, *words: str, cwd: Path = ROOT, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *words],
            cwd=cwd,
            env={**os.environ, "GRADIENT_ZOO_HOME": str(self.home), **env},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

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
def browser():
    if webdriver.MISSING:
        pytest.skip(webdriver.MISSING)
    with webdriver.chromium() as made:
        yield made
