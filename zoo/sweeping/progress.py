"""How far a sweep is: a line for each run that ends, and on a terminal one below them that is kept up to date."""

import sys
import threading
import time
from pathlib import Path

from zoo.archive.lock import STATE
from zoo.archive.summary import FILE, Summary
from zoo.archive.sweep import SweepFolder
from zoo.report import text as report
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
        self.live = shown and sys.stdout.isatty()
        self._open = [n for n in range(total) if not (self.folder.job(n) / FILE).is_file()]
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

    def _look(self, tell) -> None:
        """Tell of each run that has ended since the last look."""
        for number in list(self._open):
            if not (self.folder.job(number) / FILE).is_file():
                continue
            self._open.remove(number)
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
        """Seconds that the rest will take, if it takes as long as what was done."""
        new = self.done - self.before
        return (time.perf_counter() - self.began) / max(new, 1) * (self.total - self.done)

    def line(self) -> str:
        """Return `12/48 done, 2 running, 1 failed, ETA 3 min, best test_accuracy 0.95: model.depth=5`."""
        running = sum((self.folder.job(number) / STATE / "lock").is_file() for number in self._open)
        done = f"{self.done}" if self.most else f"{self.done}/{self.total}"
        parts = [say("{count} done", count=done), say("{count} running", count=running)]
        parts += [say("{count} failed", count=self.failed)] if self.failed else []
        if self.done > self.before and not self.most:
            parts.append(say("ETA {duration}", duration=report.duration(self._left())))
        if self.best is not None:
            name, value = self.best.metric
            differing = report.differing(self.best, self.keys)
            parts.append(say("best {name} {value:.4g}: {differing}", name=name, value=value, differing=differing))
        return say(", ").join(parts)
