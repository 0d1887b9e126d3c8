"""Processes that the tests begin beside themselves: the command line, and a tracking server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT


def begun(train, *words: str, **env: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=ROOT,
        env={**os.environ, "GRADIENT_ZOO_HOME": str(train.home), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_hears,
    )


def _hears() -> None:
    """Hear the signals of a terminal: whoever began the tests, with `nohup` or in a shell's background, may not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A disk in memory at `folder`, with `mount -o OPTIONS`; where that is not allowed the test is skipped."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def wait_for(condition, seconds: float = 120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


class Server:
    """`mlflow server` over a database of its own, which can be killed and started again on the same port."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{s.getsockname()[1]}"

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--artifacts-destination", self.folder]
        port = self.address.rpartition(":")[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *map(str, store), "--port", port, "--workers", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.address}/health", timeout=1).status == 200
        except OSError:
            return False

    def signal(self, number: int) -> None:
        subprocess.run(["pkill", f"-{number}", "-s", str(self.process.pid)])

    def stop(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def runs(self) -> list:
        from mlflow import MlflowClient

        self.client = MlflowClient(self.address)
        experiment = self.client.get_experiment_by_name("gradient-zoo")
        return list(self.client.search_runs([experiment.experiment_id], "tags.kind = 'run'"))

    def assert_complete(self, run, epochs: int) -> None:
        assert run.info.status == "FINISHED"
        for name in ("loss", "gradient_norm"):
            steps = [p.step for p in self.client.get_metric_history(run.info.run_id, name)]
            assert sorted(steps) == list(range(1, epochs + 1))
        assert run.data.tags["verdict"]
        names = {a.path for a in self.client.list_artifacts(run.info.run_id)}
        assert {"summary.json", "gradients.npz", "history.csv", "config.yaml"} <= names
