"""Runs of one program that are trained as one: beside each other, by one compiled function.

Each is prepared, judged and recorded by itself, as any run, and has its own history, probes, checkpoints and end; only
its steps and its validation are taken together with those of the others (`zoo.running.packed_step`). Between them the
members take turns: all share one Keras model, into which the one whose turn it is lays its values.
"""

import collections
import contextlib
import dataclasses
import functools
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from zoo.archive.summary import Status
from zoo.config import objectives
from zoo.interrupts import told_to_end
from zoo.running import make, packable, reuse, run
from zoo.running.record import Job, Record
from zoo.startup import import_keras
from zoo.telemetry.language import use_language

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from zoo.running.numbers import Numbers
    from zoo.running.packed_step import PackedStep

SHARE = 0.25  # of the memory that is free: what the stacked data of a pack may take


@dataclasses.dataclass(eq=False)
class Member:
    """A run of a pack.

    Attributes:
        training: once it is prepared.
        values: of the variables of the shared model, while another has its turn; `None` before it was prepared.
        kept: what else of this run is global, meanwhile.
        callbacks: once its training has begun.
        epoch: how many are done.
        logs: of the last one.
        over: whether its training has ended.
        ended: whether the whole run has.
        seconds: that it took, of those of the pack its share.
        value: as `run.run_job` returns it.
    """

    cfg: DictConfig
    record: Record
    training: "run.Training | None" = None
    values: list[np.ndarray] | None = None
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)
    callbacks: Any = None
    epoch: int = 0
    logs: dict[str, float] = dataclasses.field(default_factory=dict)
    over: bool = False
    ended: bool = False
    seconds: float = 0.0
    value: float = math.nan

    @property
    def made(self) -> "run.Training":
        """What it is made of."""
        assert self.training is not None, "it is prepared"
        return self.training


def run_pack(jobs: Sequence[tuple[DictConfig, Job]], *, insist: bool = False) -> list[float]:
    """Do the runs of one program, as many at once as memory allows; an error of one is recorded as its own alone.

    Args:
        jobs: config and job of each.
        insist: pack them also where that is not known to be faster.

    Returns:
        Of each what `run.run_job` returns of it.
    """
    import_keras()
    import keras

    if (backend := keras.config.backend()) != "tensorflow":
        _tell([(job.folder, cfg) for cfg, job in jobs], f"Keras runs on {backend}")
        return [run.value_of(cfg, job) for cfg, job in jobs]
    members = [Member(cfg, Record(cfg, job)) for cfg, job in jobs]
    waiting = list(members)
    try:
        while waiting:
            Pack(waiting, insist).run()
    except BaseException:
        for member in members:
            _cut_off(member)
        raise
    return [member.value for member in members]


def _tell(runs: Sequence[tuple[Path, DictConfig]], reason: str) -> None:
    if runs[0][1].verbose:
        numbers = ", ".join(folder.name for folder, _ in runs)
        print(f"not packed: {numbers}: {reason}", file=sys.stderr, flush=True)


def _cut_off(member: Member) -> None:
    """Record that a run was ended with the process, beside that in whose turn it was."""
    with contextlib.suppress(Exception):
        if not member.ended:
            if member.callbacks is not None and member.training is not None and not member.over:
                with contextlib.suppress(KeyboardInterrupt), run.kept(member.record, member.training):
                    raise KeyboardInterrupt
            member.record.end(Status.KILLED, reason="interrupted")


class Pack:
    """The first runs of a list, as many as memory allows, which are taken off it."""

    def __init__(self, waiting: list[Member], insist: bool):
        self.waiting, self.insist = waiting, insist
        self.model: Any = None
        self.variables: list[keras.Variable] = []
        self.numbers: Numbers | None = None
        self._layers: list[Any] = []
        self._laying: Any = None
        self._taking: Any = None
        self._order_of_calls: Any = None
        self.program = reuse.program_of(waiting[0].cfg)
        self.probes: Any = None  # of the first member: what they compile serves all
        self.alone: Any = None  # the gradient norms of the last that was not packed: its step is compiled

    def run(self) -> None:
        """Do the runs."""
        members: list[Member] = []
        while self.waiting and (not members or _has_room(members)):
            member = self.waiting.pop(0)
            self._turn(member, self._prepare)
            members.append(member)
        members = [member for member in members if not member.ended]
        beside = self._beside(members)
        if beside:
            self._train(beside)
        for member in members:
            if not member.ended:
                self._turn(member, self._by_itself)
        if self.model is not None:
            reuse.keep(self.program, self._data, self.model, self.alone, self.probes)

    # Turns.

    def _turn(self, member: Member, step: Callable[[Member], None]) -> None:
        """Do a step of one member, with all that is global its own; an error ends this member."""
        began = time.perf_counter()
        try:
            with run.recorded(member.record), self._its_own(member):
                step(member)
        except BaseException as error:
            member.ended = True
            if not isinstance(error, Exception):
                raise
        finally:
            member.seconds += time.perf_counter() - began

    @contextlib.contextmanager
    def _its_own(self, member: Member) -> Iterator[None]:
        """Within it the random state, the language, and the values of the shared model are the member's."""
        use_language(member.cfg.language)
        shares = member.values is not None
        if member.kept:
            random.setstate(member.kept["python"])
            np.random.set_state(member.kept["numpy"])
        if member.values is not None:
            self._lay(member.values)
            for layer, initializers in zip(self._layers, member.kept["initializers"], strict=True):
                vars(layer).update(initializers)
            if self.numbers is not None:
                self.numbers.set(member.kept["numbers"])
            vars(self.model)["stop_training"] = member.kept["stop_training"]
            vars(self.model)["history"] = member.kept["history"]
        try:
            yield
        finally:
            member.kept |= {"python": random.getstate(), "numpy": np.random.get_state()}
            if not member.ended and (shares or (member.training and member.training.model is self.model)):
                self._put_aside(member)

    def _lay(self, values: list[np.ndarray]) -> None:
        """Give the shared model these values: all in one call, for each by itself takes as long as a probe."""
        import tensorflow as tf

        from zoo.telemetry.keras_private import raw_value

        if self._laying is None:
            variables = [raw_value(variable) for variable in self.variables]

            def lay(values: list[tf.Tensor]) -> None:
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)

            self._laying = tf.function(lay, autograph=False)
        self._laying([np.asarray(value) for value in values])  # numbers too are no constants of it

    def _take(self) -> list[np.ndarray]:
        """Return the values of the shared model: all by one call, as `_lay` gives them."""
        import tensorflow as tf

        from zoo.telemetry.keras_private import raw_value

        if self._taking is None:
            variables = [raw_value(variable) for variable in self.variables]

            def take() -> list[tf.Tensor]:
                return [tf.identity(variable) for variable in variables]

            self._taking = tf.function(take, autograph=False)
        return [value.numpy().copy() for value in self._taking()]  # what the next steps change is not these

    def _put_aside(self, member: Member) -> None:
        member.values = self._take()
        member.kept |= {
            "initializers": [
                {name: thing for name, thing in vars(layer).items() if name.endswith("_initializer")}
                for layer in self._layers
            ],
            "numbers": self.numbers and self.numbers.values,
            "stop_training": self.model.stop_training,
            "history": getattr(self.model, "history", None),
        }

    # Before the training.

    def _prepare(self, member: Member) -> None:
        from zoo.running.checkpoint import variables_of
        from zoo.running.numbers import numbers_of
        from zoo.telemetry.keras_private import flat_layers

        finished = member.record.finished()
        if finished is not None:
            member.value, member.ended = finished.measured(objectives(member.cfg)[0]), True
            return
        if self.model is not None:
            reuse.keep(self.program, self._data, self.model, None, None)
        run.begin_process(member.cfg, again=reuse.forget_but(self.program))
        member.training = run.prepare(member.cfg, member.record)
        run.foretell(member.cfg, member.record, member.training)
        member.epoch = member.training.epoch
        if self.model is None:
            self.model, self._data = member.training.model, member.training.data
            self.numbers, self._layers = numbers_of(self.model), flat_layers(self.model)
            self.variables = [*variables_of(self.model), *(self.numbers.variables if self.numbers else ())]
            self.probes = member.training.probes
        if member.training.model is self.model and member.training.probes is not None:
            member.training.probes.share(self.probes)

    def _beside(self, members: list[Member]) -> list[Member]:
        """Return those that are packed, and say of the others why not."""
        ready = [m for m in members if m.values is not None and not m.made.over and m.made.epoch < m.cfg.epochs]
        if len(members) < 2 or not ready:
            return []
        macs = make.multiply_adds(self.model) * self._data.batch_size
        if macs > packable.SMALL and not self.insist:
            self._tell(members, f"a step of {macs:.1e} multiply-adds is no faster so")
            return []
        (epoch, _), *_ = collections.Counter(m.epoch for m in ready).most_common(1)
        beside = [m for m in ready if m.epoch == epoch]
        if others := [m for m in members if m not in beside]:
            self._tell(others, "they go on from other epochs, or their data are of other shapes")
        if len(beside) < 2:
            return []
        fault = self._trace(beside)
        if fault is not None:
            self._tell(beside, fault)
            return []
        return beside

    def _tell(self, members: list[Member], reason: str) -> None:
        _tell([(member.record.folder, member.cfg) for member in members], reason)

    def _trace(self, members: list[Member]) -> str | None:
        """Compile the step of so many members; return what keeps it from being compiled."""
        from zoo.running.packed_step import NotPacked

        updates = any(m.made.norms.updates for m in members if m.made.norms is not None)
        batch = self._data.batch_size
        try:
            self.step = _packed_step(self.model, self.program, len(members), updates)
            self.train_data = self._stacked(members, "train")
            self.validation_data = self._stacked(members, "validation")
            self.step.trace(*self.train_data, *self.validation_data, batch)
        except NotPacked as error:
            return str(error)
        except Exception as error:
            return f"TensorFlow cannot do it ({type(error).__name__})"
        return None

    def _stacked(self, members: list[Member], part: str) -> "tuple[tf.Tensor, tf.Tensor]":
        """Return x and y, (size, samples, ...) each; places without a member have the first one's."""
        import tensorflow as tf

        parts = [getattr(member.made.data, part) for member in members]
        parts += [parts[0]] * (self.step.size - len(parts))
        return tf.constant(np.stack([x for x, _ in parts])), tf.constant(np.stack([y for _, y in parts]))

    # The training.

    def _train(self, members: list[Member]) -> None:
        places = {member: k for k, member in enumerate(members)}
        for member in members:
            self._turn(member, self._begin)
        while living := [member for member in members if not (member.over or member.ended)]:
            if told_to_end.is_set():
                raise KeyboardInterrupt
            began = time.perf_counter()
            rows, logs = self._epoch(members)
            share = (time.perf_counter() - began) / len(living)
            for member in living:
                member.seconds += share
                k = places[member]
                self._turn(member, functools.partial(self._end_epoch, rows=rows[k], logs=logs[k]))
            if over := [member for member in living if member.over and not member.ended]:
                self._test(over)

    def _begin(self, member: Member) -> None:
        import keras

        from zoo.telemetry.layers import call_order

        made, cfg = member.made, member.cfg
        callbacks = run.begin(member.record, made)
        if made.norms is not None:
            if self._order_of_calls is None:
                with call_order(self.model) as self._order_of_calls:
                    self.model(made.data.fixed_batch(1)[0], training=False)
            made.norms.receive(self.model, self.step.columns, self._order_of_calls)
        verbose = run.verbosity(cfg, member.record)
        member.callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self.model,
            verbose=verbose,
            epochs=cfg.epochs,
            steps=made.data.steps,
        )
        self.model.stop_training = False
        with self._kept_if_cut(member):
            member.callbacks.on_train_begin()
            member.callbacks.on_epoch_begin(member.epoch)

    def _epoch(self, members: list[Member]) -> tuple[np.ndarray, list[dict[str, float]]]:
        """Train an epoch and validate; return of each member the rows of its steps and its logs."""
        values = [member.values or [] for member in members]
        self.step.read(self.variables, values)
        orders = [self._order(member) for member in members]
        orders += [orders[0]] * (self.step.size - len(orders))
        rows = self.step.train(*self.train_data, np.stack(orders), self._data.batch_size)
        trained = self.step.metrics_of_each()
        self.step.validate(*self.validation_data, self._data.batch_size)
        validated = self.step.metrics_of_each()
        self.step.write(self.variables, values)
        return rows, [
            logs | {f"val_{name}": value for name, value in after.items()}
            for logs, after in zip(trained, validated, strict=True)
        ]

    def _order(self, member: Member) -> np.ndarray:
        from zoo.data import stream

        data = member.made.data
        return stream.order(data.seed, member.epoch, data.train_size, data.batch_size, data.shuffle)

    def _end_epoch(self, member: Member, rows: np.ndarray, logs: dict[str, float]) -> None:
        member.logs = logs
        with self._kept_if_cut(member):
            if member.made.norms is not None:
                member.made.norms.append(rows)
            member.callbacks.on_epoch_end(member.epoch, logs)
            member.epoch += 1
            member.over = self.model.stop_training or member.epoch >= member.cfg.epochs
            if member.over:
                member.callbacks.on_train_end(logs=logs)
            else:
                member.callbacks.on_epoch_begin(member.epoch)

    @contextlib.contextmanager
    def _kept_if_cut(self, member: Member) -> Iterator[None]:
        """Keep what was recorded of a training that an error or an interrupt ends within it."""
        try:
            yield
        except BaseException:
            with run.kept(member.record, member.made):
                raise

    # After the training.

    def _test(self, members: list[Member]) -> None:
        """Test those whose training is over, all at once, and bring each to its end."""
        began = time.perf_counter()
        self.step.read(self.variables, [member.values or [] for member in members])
        self.step.validate(*self._stacked(members, "test"), self._data.batch_size)
        tested = self.step.metrics_of_each()
        share = (time.perf_counter() - began) / len(members)
        for member, metrics in zip(members, tested, strict=False):
            member.seconds += share
            member.made.tested = metrics
            self._turn(member, self._conclude)

    def _conclude(self, member: Member) -> None:
        with run.kept(member.record, member.made):
            pass
        self._judge(member)

    def _judge(self, member: Member) -> None:
        made = member.made
        made.began = time.perf_counter() - member.seconds  # what the others took is not its own
        summary = run.judge(member.cfg, member.record, made)
        run.conclude(member.cfg, member.record, made, summary)
        member.value, member.ended = summary.measured(objectives(member.cfg)[0]), True

    def _by_itself(self, member: Member) -> None:
        """Train one that is not packed, as a run alone is."""
        norms = member.made.norms
        if norms is not None and member.values is not None:
            if self.alone is not None:
                norms.take_over(self.alone)
            self.alone = norms
        run.fit(member.cfg, member.record, member.made)
        self._judge(member)


def _has_room(members: list[Member]) -> bool:
    """Whether one more run like these can be packed with them."""
    data = next((member.made.data for member in members if member.training is not None), None)
    if data is None or not isinstance(data.train, tuple):
        return True
    each = sum(array.nbytes for part in (data.train, data.validation, data.test) for array in part)
    return (len(members) + 1) * each < SHARE * _free_memory()


def _free_memory() -> int:
    """Return the bytes of memory that no process needs; where the system does not say, half of all."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


_last: "tuple[str | None, Any, bool, PackedStep] | None" = None


def _packed_step(model: Any, program: str | None, size: int, updates: bool) -> "PackedStep":
    """Return the step that the pack before had, if it is of this model and has room; else a new one."""
    from zoo.running.packed_step import PackedStep

    global _last
    if _last is not None:
        known, of_model, with_updates, step = _last
        if (known, with_updates) == (program, updates) and of_model is model and size <= step.size <= 2 * size:
            return step
    step = PackedStep(model, size, updates=updates)
    _last = program, model, updates, step
    return step
