"""The time that a sweep still takes, over events of folders on a clock that the test turns."""

import itertools
import os
import pty
import random
import re
import statistics
import subprocess
import sys

import pytest
from conftest import ROOT

from zoo.sweeping.remaining import Countdown, remaining

SMALL = ("epochs=1", "model.width=8", "pictures=false")


def shown(durations: list[float], slots: int, step: float = 0.25) -> list[tuple[float, float]]:
    """What is shown at each look at a sweep of these jobs, on so many slots: (seconds, seconds that are truly left)."""
    countdown, found, now = Countdown(), [], 0.0
    begun: list[float] = []
    free = [0.0] * slots
    for duration in durations:  # when each begins and ends, whoever looks
        free.sort()
        begun.append(free[0])
        free[0] += duration
    end = max(free)
    while now < end:
        ended = [d for d, b in zip(durations, begun, strict=True) if b + d <= now]
        running = [now - b for d, b in zip(durations, begun, strict=True) if b <= now < b + d]
        waiting = [b for b in begun if b > now]
        if ended:
            found.append((countdown.shown(*remaining(ended, running, len(waiting), slots)), end - now))
        now += step
    return found


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_jobs_of_one_length_are_counted_down_exactly(slots):
    for told, left in shown([10.0] * 20, slots):
        assert told == pytest.approx(left)


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_it_never_rises_while_jobs_differ_as_they_did(slots, spread):
    rises = 0
    for seed in range(10):
        rng = random.Random(seed)
        found = [told for told, _ in shown([max(1, rng.gauss(20, 20 * spread)) for _ in range(60)], slots, step=1.0)]
        rises += sum(later > told for told, later in itertools.pairwise(found))
    assert rises <= 1  # in ten sweeps: what is beyond three deviations may happen by chance


def test_long_jobs_are_counted_down_while_they_run():
    """With what running jobs have behind them unknown, each second of a job made the rest seem longer."""
    found = shown([300.0] * 4, 2, step=1.0)
    assert all(later[0] < told[0] for told, later in itertools.pairwise(found))


def test_it_is_about_right():
    rng = random.Random(0)
    found = shown([rng.uniform(10, 30) for _ in range(100)], 4, step=1.0)
    middle = [told / left for told, left in found if 60 < left < 300]
    assert 0.85 < statistics.mean(middle) < 1.1


def test_it_rises_once_jobs_really_slow_down():
    found = shown([10.0] * 20 + [60.0] * 20, 2, step=1.0)
    rises = [left for (told, left), (later, _) in itertools.pairwise(found) if later > told]
    assert 1 <= len(rises) <= 3 and max(rises) < 600  # the slow ones take 600 seconds


def test_a_job_longer_than_the_others_is_as_good_as_done():
    assert remaining([10.0, 10.0], [25.0], 0, 2)[0] == 0
    # And says of the others that they may take 15: from 0 to 15 to 30, and beside it from 11 to 26.
    assert remaining([10.0, 10.0], [25.0, 4.0], 3, 2)[0] == pytest.approx(30.0)


def test_a_sweep_on_a_terminal_counts_jobs_a_minute_and_down(train):
    """With a terminal of its own the last line is kept up to date."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "train.py",
            "-m",
            "seed=range(0,6)",
            "hydra.launcher.n_jobs=2",
            "hydra.launcher.pack=1",
            "tracking=none",
            *SMALL,
        ],
        cwd=ROOT,
        env={**os.environ, "GRADIENT_ZOO_HOME": str(train.home), "COLUMNS": "160", "TERM": "xterm"},
        stdout=follower,
        stderr=follower,
        stdin=subprocess.DEVNULL,
    )
    os.close(follower)
    output = b""
    while True:
        try:
            output += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert process.wait() == 0, output.decode()
    lines = re.findall(r"(\d)/6 done, (\d) running(?:, (\S+) a minute, ETA (?:(\d+) min )?(\d+) s)?", output.decode())
    # Never more than the slots; whether one is seen to run alone is for the clock to say.
    assert {"2"} <= {line[1] for line in lines} <= {"0", "1", "2"}
    told = [60 * int(minutes or 0) + int(seconds) for _, _, pace, minutes, seconds in lines if pace]
    assert told and all(later <= one for one, later in itertools.pairwise(told)), told
    assert all(float(pace) > 0 for _, _, pace, _, _ in lines if pace)
