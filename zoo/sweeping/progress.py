"""How far a sweep is: a line for each run that ends, and on a terminal one below them that is kept up to date."""

import collections
import math
import sys
import threading
import time
from pathlib import Path

from zoo.archive.lock import STATE, in_use
from zoo.archive.summary import FILE, Summary
from zoo.archive.sweep import SweepFolder
from zoo.report import text as report
from zoo.sweeping.remaining import Countdown, remaining
from zoo.telemetry.language import say

INTERVAL = 0.25  # seconds between two looks


class Progress:
    """Watches a sweep's folder in a thread of its own, whoever makes the runs, and wherever.

    Args:
        folder: of the sweep.
        total: how many runs there will be.
        keys: what differs between them.
        done: how many were finished before.
        shown: whether to print anything.
        most: whether `total` is how many there may be at most.
    """

    def __init__(self, folder: Path, total: int, keys: list[str], done: int, shown: bool, most: bool = False):
        self.folder, self.total, self.keys, self.done, self.before = SweepFolder(folder), total, keys, done, done
        self.failed, self.most = 0, most
        self.best: Summary | None = None
        self.shown = shown
        self.live = shown and report.redraws()
        self._open = [n for n in range(total) if not (self.folder.job(n) / FILE).is_file()]
        self._left_over = {n for n in self._open if self._lock(n).is_file()}  # by processes that were killed
        self._began: dict[int, float] = {}  # when each job was first seen to run
        self._durations: list[float] = []
        self._at_once: collections.deque[tuple[float, int]] = collections.deque()
        self._countdown = Countdown()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self.began = time.perf_counter()
        if self.shown:
            self._thread.start()

    def stop(self) -> None:
        """Look a last time, and end."""
        if self._stopped.is_set() or not self.shown:
            return
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        if not self.live:
            while not self._stopped.wait(INTERVAL):
                self._look(print)
            self._look(print)
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(highlight=False, markup=False)
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while not self._stopped.wait(INTERVAL):
                self._look(console.print)
                live.update(self.line())
            self._look(console.print)

    def _lock(self, number: int) -> Path:
        return self.folder.job(number) / STATE / "lock"

    def _runs(self, number: int) -> bool:
        """Whether a job that has not ended runs."""
        if not self._lock(number).is_file():
            return False
        if number in self._left_over:
            if not in_use(self.folder.job(number)):
                return False
            self._left_over.remove(number)
        return True

    def _look(self, tell) -> None:
        """Tell of each run that has ended since the last look."""
        now = time.perf_counter()
        for number in list(self._open):
            if not (self.folder.job(number) / FILE).is_file():
                if number not in self._began and self._runs(number):
                    self._began[number] = now
                continue
            self._open.remove(number)
            self._durations.append(now - self._began.pop(number, now))
            summary = Summary.read(self.folder.job(number))
            self.done += 1
            if not summary.finished:
                self.failed += 1
            elif self.best is None or summary.metric.rank < self.best.metric.rank:
                self.best = summary
            left = None if self.most else self._left()
            tell(report.progress_line(self.done, self.total, summary, self.keys, left))
            sys.stdout.flush()

    def _left(self) -> float:
        """Seconds that the rest will take."""
        now = time.perf_counter()
        running = [now - began for began in self._began.values()]
        # Between two jobs of a slot fewer run than there are slots, for as long as a job takes at most.
        self._at_once.append((now, len(running)))
        while now - self._at_once[0][0] > sum(self._durations) / len(self._durations) + INTERVAL:
            self._at_once.popleft()
        slots = max(1, *(count for _, count in self._at_once))
        waiting = max(0, self.total - self.done - len(running))
        return self._countdown.shown(*remaining(self._durations, running, waiting, slots))

    def line(self) -> str:
        """Return `12/48 done, 2 running, 1 failed, 5.3 a minute, ETA 3 min, best test_accuracy 0.95: model.depth=5`."""
        done = f"{self.done}" if self.most else f"{self.done}/{self.total}"
        parts = [say("{count} done", count=done), say("{count} running", count=len(self._began))]
        parts += [say("{count} failed", count=self.failed)] if self.failed else []
        if self.done > self.before:
            pace = 60 * (self.done - self.before) / (time.perf_counter() - self.began)
            parts.append(say("{pace} a minute", pace=_short(pace)))
            if not self.most:
                parts.append(say("ETA {duration}", duration=report.duration(self._left())))
        if self.best is not None:
            name, value = self.best.metric
            differing = report.differing(self.best, self.keys)
            parts.append(say("best {name} {value:.4g}: {differing}", name=name, value=value, differing=differing))
        return say(", ").join(parts)


def _short(pace: float) -> str:
    """Two digits of it: 123.4 -> '123', 0.04321 -> '0.043'."""
    return f"{pace:.0f}" if pace >= 10 else f"{pace:.{1 - math.floor(math.log10(pace))}f}"
