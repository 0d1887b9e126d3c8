"""Rows that grow: in memory, in a file, and what is left of them when a process is killed."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from zoo import GradientHistory
from zoo.telemetry import steps_file
from zoo.telemetry.steps_file import Rows


@pytest.mark.parametrize("most", [0, 100, 10**9])  # bytes in memory: none, a few rows, all
def test_rows_are_what_was_appended(most, monkeypatch):
    monkeypatch.setattr(steps_file, "MOST_BYTES", most)
    kept, blocks = Rows(3), [np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32) for n in (1, 5, 2, 40)]
    for i, block in enumerate(blocks, start=1):
        kept.append(block)
        np.testing.assert_array_equal(kept.array(), np.concatenate(blocks[:i]))
    assert len(kept) == 48
    with pytest.raises(ValueError, match="read-only"):
        kept.array()[0] = 0


def test_an_array_stays_what_it_was_when_more_rows_come(tmp_path):
    kept = Rows(2, tmp_path / "rows.f32")
    kept.append(np.ones((3, 2), np.float32))
    before = kept.array()
    kept.append(np.zeros((3, 2), np.float32))
    assert before.shape == (3, 2) and (before == 1).all()


def test_a_file_goes_on_after_the_rows_that_are_kept(tmp_path):
    first = Rows(2, tmp_path / "rows.f32")
    first.append(np.arange(10, dtype=np.float32).reshape(5, 2))
    again = Rows(2, tmp_path / "rows.f32", size=3)
    again.append(np.full((1, 2), 7, np.float32))
    np.testing.assert_array_equal(again.array(), [[0, 1], [2, 3], [4, 5], [7, 7]])


@pytest.mark.parametrize("held", [None, 0, 1, 23])  # bytes
def test_rows_that_a_file_does_not_hold_are_not_made_up(tmp_path, held):
    path = tmp_path / "rows.f32"
    if held is not None:
        path.write_bytes(bytes(held))
    with pytest.raises(ValueError, match=r"rows\.f32 is damaged: it holds [0-2] of the 3 rows"):
        Rows(2, path, size=3)
    assert (path.stat().st_size if path.exists() else None) == held


def test_a_file_that_takes_a_part_gets_the_rest(tmp_path, monkeypatch):
    class Slow(io.FileIO):
        def write(self, data):
            return super().write(data[:7])

    monkeypatch.setattr("builtins.open", lambda path, *_, **__: Slow(path, "r+b"))
    kept, block = Rows(2, tmp_path / "rows.f32"), np.arange(10, dtype=np.float32).reshape(5, 2)
    kept.append(block[:0])
    kept.append(block)
    np.testing.assert_array_equal(kept.array(), block)


def test_a_long_training_takes_little_memory():
    script = """
import numpy as np
from zoo.telemetry.steps_file import Rows
def memory(): return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) * 1024
kept, block = Rows(221), np.ones((1000, 221), np.float32)  # 110 layers with weights and biases, and the loss
before = memory()
for _ in range(100): kept.append(block)
assert kept.array().shape == (100_000, 221)
print(memory() - before)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64e6  # of 88 MB of numbers


def test_what_a_killed_training_recorded_is_recovered(tmp_path):
    script = f"""
import os, keras, numpy as np
from zoo import GradientNorms
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
model.compile("sgd", "mse")
class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), 9)
norms = GradientNorms(path={str(tmp_path / "rows.f32")!r})
model.fit(np.ones((12, 4)), np.ones((12, 1)), batch_size=4, epochs=5, verbose=0, callbacks=[norms, Kill()])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    history = GradientHistory.recover(tmp_path / "rows.f32")
    assert history.epoch_ends.tolist() == [3, 6] and len(history) == 6
    assert history.norms.shape == (6, 2) and (history.norms > 0).all() and (history.losses > 0).all()
    size = (tmp_path / "rows.f32").stat().st_size
    for less, rows, ends in [(1, 5, [3]), (size // 6 * 3 + 2, 2, []), (size, 0, [])]:
        os.truncate(tmp_path / "rows.f32", size - less)
        left = GradientHistory.recover(tmp_path / "rows.f32")
        assert (len(left), left.epoch_ends.tolist()) == (rows, ends)
        np.testing.assert_array_equal(left.losses, history.losses[:rows])


def test_nothing_to_recover(tmp_path):
    with pytest.raises(FileNotFoundError):
        GradientHistory.recover(tmp_path / "rows.f32")
