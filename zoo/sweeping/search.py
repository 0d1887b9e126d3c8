"""A search: trials are asked of a study, done as runs of the sweep's folder, and told to it.

The study is the only memory: whichever process looks at it does what is left. A trial that runs is claimed by a lock in
the sweep's folder, which the system takes off a process that dies; what runs and is not claimed is done by the next one
that asks, with the values it has, in the folder of its number, from the last epoch that was finished.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from zoo.archive.lock import STATE, Lock
from zoo.archive.study import Search, imported
from zoo.archive.summary import FILE, Status, Summary
from zoo.config import home
from zoo.errors import UserError
from zoo.report.text import short
from zoo.sweeping import hydra_private
from zoo.sweeping.words import Words
from zoo.sweeping.workers import Workers
from zoo.telemetry.language import label, say

if TYPE_CHECKING:
    import optuna

PATIENCE = 600.0  # seconds for another command to ask
WATCH = 0.5  # seconds between two looks at trials of another command, and at whether this one was told to end
PRUNED = ("hopeless", "pruned", "not finite")  # why a run ended early: worse than all that did not, says the study
Dimensions = dict[str, Any]  # of each key that is searched Optuna's distribution


def dimensions(config: DictConfig) -> Dimensions:
    """Return what a `-m` command searches: the ranges are those of Hydra's own syntax.

    `interval(a, b)` is a number between, `range(a, b)` one of Python's range, `choice(...)` or `a,b` one of those;
    `tag(log, ...)` chooses on a logarithmic scale.

    Raises:
        UserError: if there is nothing to search, or a range is empty.
    """
    distributions = imported().distributions
    found: Dimensions = {}
    for override in hydra_private.words(config):
        value: Any = override.value()
        key = override.get_key_element()
        log = "log" in getattr(value, "tags", ())
        try:
            if override.is_interval_sweep():
                low, high = value.start, value.end
                whole = isinstance(low, int) and isinstance(high, int)  # of int(interval(1, 9))
                found[key] = (distributions.IntDistribution if whole else distributions.FloatDistribution)(
                    low, high, log=log
                )
            elif override.is_range_sweep():
                numbers = sorted(value.range())
                low, high, step = numbers[0], numbers[-1], abs(value.step)
                if isinstance(low, int):
                    found[key] = distributions.IntDistribution(low, high, log=log, step=1 if log else step)
                else:
                    found[key] = distributions.FloatDistribution(low, high, log=log, step=None if log else step)
            elif override.is_sweep_override():
                found[key] = distributions.CategoricalDistribution(list(override.sweep_string_iterator()))
        except (IndexError, ValueError) as error:
            raise UserError(f"{override.input_line}: {error or 'the range is empty'}.") from error
    if not found:
        raise UserError("a search needs something to choose: optimizer.learning_rate='tag(log, interval(1e-4, 1e-1))'.")
    return found


def ends(config: DictConfig) -> list[list[str]]:
    """Return the overrides of two jobs that a search may come to: with the first of each range, and with the last."""
    chosen: list[list[str]] = [[], []]
    found = dimensions(config)
    for override in hydra_private.words(config):
        key = override.get_key_element()
        if key in found:
            at = found[key]
            pair = at.choices[:: max(1, len(at.choices) - 1)] if hasattr(at, "choices") else (at.low, at.high)
            for words, value in zip(chosen, (pair[0], pair[-1]), strict=True):
                words.append(f"{key}={value}")
        else:
            for words in chosen:
                words.append(override.input_line or "")
    return chosen


class Trials:
    """What a command does of a search.

    Args:
        config: composed, with Hydra's part.
        folder: of the sweep.
        count: how many trials there are to be in all.
        launch: does jobs of these words, of which the first has this number, and returns when they have ended.
    """

    def __init__(self, config: DictConfig, folder: Path, count: int, launch: Callable[[list[Words], int], None]):
        self.folder, self.count, self.launch = folder, count, launch
        search = Search.of(folder)
        assert search is not None, "the sweep's folder says what is searched before the sweep begins"
        self.search, self.preflight = search, bool(config.preflight)
        self.dimensions = dimensions(config)
        self.fixed = tuple(
            override.input_line or ""
            for override in hydra_private.words(config)
            if override.get_key_element() not in self.dimensions
        )
        self.claims: dict[int, Lock] = {}
        self.asking = threading.Lock()
        self.stopping = threading.Event()
        with self._alone():
            self.study = search.study(folder, make=True)

    def do(self, at_once: int) -> None:
        """Do trials until there are as many as asked for, so many at once."""
        while True:
            asked = [trial for _ in range(at_once) if (trial := self._next()) is not None]
            if not asked:
                if not self._others_run():
                    return
                time.sleep(WATCH)
                continue
            for group in _in_a_row(asked):
                self.launch([self._words(trial) for trial in group], group[0].number)
            told = [self._told(trial) for trial in asked]
            if not all(told):
                return

    def do_each(self, workers: Workers) -> None:
        """Do trials until there are as many as asked for: whenever a worker is free, the next one.

        Args:
            workers: that `launch` gives its jobs to, from several threads at once.
        """

        def serve() -> None:
            while not self.stopping.is_set():
                trial = self._next()
                if trial is None:
                    if not self._others_run():
                        return
                    self.stopping.wait(WATCH)
                    continue
                self.launch([self._words(trial)], trial.number)
                if self.stopping.is_set() or not self._told(trial):
                    return

        with ThreadPoolExecutor(workers.slots) as threads:
            futures = [threads.submit(serve) for _ in range(workers.slots)]
            try:
                left = set(futures)
                while left and not any(future.done() and future.exception() for future in futures):
                    # Not for ever: a signal that another thread was given is heard when this one wakes.
                    left = wait(left, timeout=WATCH, return_when=FIRST_EXCEPTION).not_done
                for future in futures:
                    future.result()
            except BaseException:
                self.stopping.set()
                workers.stop()
                raise
        workers.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and commands from asking meanwhile."""
        with self.asking:
            lock = Lock(self.folder / STATE / "asking")
            if not lock.acquire(PATIENCE):
                raise UserError(f"{self.folder} is held by another process, which does not answer.")
            try:
                yield
            finally:
                lock.release()

    def _next(self) -> "optuna.Trial | None":
        """Return a trial to do: one that nobody does any more, or a new one; `None` if there is none."""
        optuna = imported()
        with self._alone():
            known = self.study.get_trials(deepcopy=False)
            for one in known:
                if one.state == optuna.trial.TrialState.RUNNING and self._claim(one.number):
                    self.study.sampler = self.search.sampler_for(one.number)
                    trial = self.search.trial(self.study, one.number)
                    break
            else:
                if len(known) >= self.count:
                    return None
                self.study.sampler = self.search.sampler_for(len(known))
                trial = self.study.ask()
                self._claim(trial.number)
            for key, distribution in self.dimensions.items():
                _suggest(trial, key, distribution)
            return trial

    def _claim(self, number: int) -> bool:
        """Whether a trial is ours from now on."""
        if number in self.claims:
            return False
        lock = Lock(self.folder / STATE / "trials" / str(number))
        if not lock.acquire():
            return False
        if self.study.get_trials(deepcopy=False)[number].state.is_finished():  # told since it was asked who does it
            lock.release()
            return False
        self.claims[number] = lock
        return True

    def _others_run(self) -> bool:
        """Whether a trial runs that another command does: if that is killed, it is left to this one."""
        running = (imported().trial.TrialState.RUNNING,)
        return any(one.number not in self.claims for one in self.study.get_trials(deepcopy=False, states=running))

    def _words(self, trial: "optuna.Trial") -> Words:
        return (*self.fixed, *(f"{key}={trial.params[key]}" for key in self.dimensions))

    def _told(self, trial: "optuna.Trial") -> bool:
        """Tell the study what a trial came to; return whether it came to anything: one that was cut off goes on."""
        state = imported().trial.TrialState
        folder = self.folder / str(trial.number)
        summary = Summary.read(folder)
        if summary.status == Status.KILLED and (folder / FILE).is_file():
            self.claims.pop(trial.number).release()
            return False
        names = ["loss"] * len(self.search.objectives) if self.preflight else self.search.objectives
        values = [summary.measured(name) for name in names]
        if not summary.finished:
            self.study.tell(trial.number, state=state.FAIL)
        elif summary.stopped in PRUNED:
            self.study.tell(trial.number, state=state.PRUNED)
        elif any(value != value for value in values):
            self.study.tell(trial.number, state=state.FAIL)
        else:
            self.study.tell(trial.number, values)
        self.claims.pop(trial.number).release()
        return True


def _suggest(trial: "optuna.Trial", key: str, at: Any) -> None:
    """Let a trial have a value of this key; one that it has stays."""
    if hasattr(at, "choices"):
        trial.suggest_categorical(key, at.choices)
    elif isinstance(at, imported().distributions.IntDistribution):
        trial.suggest_int(key, at.low, at.high, step=at.step, log=at.log)
    else:
        trial.suggest_float(key, at.low, at.high, step=at.step, log=at.log)


def _in_a_row(trials: "list[optuna.Trial]") -> "list[list[optuna.Trial]]":
    """Part trials where their numbers do not follow each other: a launcher numbers jobs itself."""
    groups: list[list[Any]] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        if groups and groups[-1][-1].number + 1 == trial.number:
            groups[-1].append(trial)
        else:
            groups.append([trial])
    return groups


@contextmanager
def beginning() -> Iterator[None]:
    """Let one command at a time look for the folder of its search: of two at once, the second one finds the first's."""
    lock = Lock(home() / "mlruns" / "searches")
    lock.acquire(PATIENCE)
    try:
        yield
    finally:
        lock.release()


def result_of(folder: Path) -> str | None:
    """Return what a search came to, for the terminal; `None` where it has no trial that is complete."""
    state = imported().trial.TrialState
    search = Search.of(folder)
    assert search is not None
    study = search.study(folder)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    counts = {
        "trials": len(states),
        "complete": states.count(state.COMPLETE),
        "pruned": states.count(state.PRUNED),
        "failed": states.count(state.FAIL),
    }
    lines = [label("search") + say("{trials} trials: {complete} complete, {pruned} pruned, {failed} failed", **counts)]
    for trial in study.best_trials if counts["complete"] else ():
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(search.objectives, trial.values, strict=True))
        chosen = " ".join(f"{key}={short(str(value))}" for key, value in trial.params.items())
        lines.append(f"{label('best')}{values}: {chosen} ({say('trial {number}', number=trial.number)})")
    return "\n".join(lines)
