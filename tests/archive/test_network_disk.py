"""A home on a disk that locks no files and maps none, as some network ones are."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from processes import begun, wait_for

SMALL = ("epochs=1", "model.depth=1", "model.width=8", "verbose=0", "pictures=false")
FAULTS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("such a disk is made by a C compiler, on Linux: there is none")
    made = tmp_path_factory.mktemp("library") / "network_disk.so"
    source = Path(__file__).with_name("network_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.fixture
def disk(library, train):
    """What makes `train.home` such a disk, for a number that the system answers when a lock is asked for."""
    return lambda fault=errno.ENOLCK: {
        "LD_PRELOAD": str(library),
        "NETWORK_DISK": str(train.home),
        "NO_LOCKS": str(fault),
    }


@pytest.mark.parametrize("fault", FAULTS, ids=errno.errorcode.get)
def test_the_embedded_database_is_refused_in_one_line(fault, train, disk):
    done = train.fresh(*SMALL, code=1, **disk(fault))
    assert done.stderr.count("\n") == 1
    assert (
        "locks no files, which an SQLite database needs: give a folder on another as GRADIENT_ZOO_HOME" in done.stderr
    )
    assert not train.folders()


def test_without_a_store_a_run_is_recorded_whole(train, disk):
    done = train.fresh(*SMALL, "tracking=none", "verbose=1", **disk())
    assert done.stderr == "" and "verdict" in done.stdout
    assert (train.folders()[0] / "gradients.npz").is_file()


def test_a_sweep_is_held_by_one_process_and_goes_on_after_a_kill(train, disk):
    words = ("-m", "seed=0,1", "tracking=none", *SMALL)
    first = begun(train, *words, **disk())
    wait_for(lambda: list(train.home.glob("mlruns/sweeps/*/*/.state/holder")))
    second = train.fresh(*words, code=1, **disk())
    assert "is running already" in second.stderr
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    train.fresh(*words, **disk())
    [sweep] = train.folders("sweeps")
    assert all('"FINISHED"' in (sweep / job / "summary.json").read_text() for job in "01")


def test_rows_are_read_where_files_cannot_be_mapped(disk, train):
    train.home.mkdir()
    code = (
        "import numpy as np; from zoo.telemetry.steps_file import Rows; from pathlib import Path; import sys\n"
        "rows = Rows(3, Path(sys.argv[1])); rows.append(np.arange(6.0).reshape(2, 3)); first = rows.array()\n"
        "rows.append(np.full((1, 3), 9.0)); print(first.tolist(), rows.array().tolist(), type(first).__name__)"
    )
    command = [sys.executable, "-c", code, train.home / "rows"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **disk()}, capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == "[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [9.0, 9.0, 9.0]] ndarray\n"
    )
