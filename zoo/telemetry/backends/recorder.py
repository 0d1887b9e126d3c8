"""The ring buffer of gradient norms: what does not depend on the backend."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from zoo.telemetry.columns import Columns
from zoo.telemetry.keras_private import clipping, clips_its_own_way
from zoo.telemetry.layers import all_layers, call_order, optimizers_of, replaced
from zoo.telemetry.recording import Recording

# Squares outside these bounds may have left float32: such rows are computed again, each gradient over its maximum.
SMALLEST, LARGEST = 1e-30, 1e30
SMALL = 2**16  # entries; larger tensors take longer to convert to float64 than to guard


def by_size(
    tensors: list, sizes: Sequence[int], small: Callable, large: Callable, concat: Callable, take: Callable
) -> Any:
    """Return the norm of each tensor, (n,), by what is fastest for its size, in the order of the tensors.

    Args:
        tensors: whose norms are asked for.
        sizes: entries of each.
        small, large: give the norms of tensors of at most `SMALL` entries, and of larger ones.
        concat, take: of the backend: several rows as one, and a row in another order.
    """
    places: tuple[list[int], list[int]] = ([], [])
    for i, size in enumerate(sizes):
        places[size > SMALL].append(i)
    rows = [norms([tensors[i] for i in part]) for norms, part in zip((small, large), places, strict=True) if part]
    return rows[0] if len(rows) == 1 else take(concat(rows), np.argsort([*places[0], *places[1]]))


@dataclasses.dataclass(eq=False)
class Tap:
    """An optimizer that is watched, and its own methods while the ring's stand in their places."""

    optimizer: keras.optimizers.Optimizer
    apply: Callable[..., Any] = dataclasses.field(init=False)
    scale_loss: Callable[..., Any] = dataclasses.field(init=False)

    @property
    def inner(self) -> keras.optimizers.Optimizer:
        """The one that clips: `LossScaleOptimizer` hands unscaled gradients to the optimizer inside it."""
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    @property
    def clips(self) -> bool:
        """Whether it clips gradients."""
        return clips_its_own_way(self.inner) or any(
            getattr(self.inner, name) is not None for name in ("clipnorm", "clipvalue", "global_clipnorm")
        )

    def scale(self):
        """Return what the gradients were multiplied by, `None` if by nothing."""
        if self.inner is self.optimizer:
            return self.optimizer.loss_scale_factor
        return self.optimizer.dynamic_scale.value if self.optimizer.built else self.optimizer.initial_scale


class Ring:
    """One row an optimizer step: each variable's gradient norm, the loss, and what else `Columns` has.

    The last `window` rows lie on the device, outside model and optimizer, so that they get into no checkpoint. The
    children, one for each backend, compute them within the training step and hold them.

    With several optimizers a row is one train step, in which each fills the columns of its variables; one that comes
    to columns which are filled, or comes again, begins the next row.
    """

    end_of_data: tuple[type[BaseException], ...] = (StopIteration,)

    def __init__(self, model: keras.Model, *, window: int, updates: bool, recording: Recording):
        self.model: Any = model  # its annotations know of no train function
        self.window, self.updates, self.recording = window, updates, recording
        self.taps = [Tap(optimizer) for optimizer in optimizers_of(model)]
        self.several = len(self.taps) > 1
        self.clips = any(tap.clips for tap in self.taps)
        self.started = False
        self.variables: list[keras.Variable] = []
        self.rows = 0
        self.pending = 0
        self.steps_per_call = 1
        self._counted = False
        self._order: Collection[keras.layers.Layer] | None = None
        if all(layer.built for layer in (model, *all_layers(model))):
            self.start()

    def start(self) -> None:
        """Take the model's trainable variables as the columns. A model may get its weights with its first batch."""
        if self.started:
            return
        self.started = True
        self.variables = list(self.model.trainable_variables)
        self.columns = Columns(len(self.variables), self.clips, self.updates)
        self._place = {id(v): i for i, v in enumerate(self.variables)}
        self.recording.begin(self.model, self.variables, self.columns)
        self._allocate()

    def record(self, recording: Recording) -> None:
        """Write what comes into another recording; that of before has what was read so far."""
        self.recording = recording
        if self.started:
            recording.begin(self.model, self.variables, self.columns)
            if self._order is not None:  # no layer is called again by a step that was traced
                recording.order(self._order)
            self.rows, self.pending = self._count(), 0

    def _allocate(self) -> None:
        """Make room for (window, columns) numbers on the device."""
        raise NotImplementedError

    def train_function(self) -> Callable:
        """Make the model's train function anew, with the ring inside it."""
        raise NotImplementedError

    def _count(self) -> int:
        """How many rows were written since the ring was made."""
        raise NotImplementedError

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        """(k,) places in the buffer -> (k, columns)."""
        raise NotImplementedError

    def fits(self, model: keras.Model) -> bool:
        """Whether this ring was made for `model` as it is compiled now."""
        same = [id(v) for v in self.variables] == [id(v) for v in model.trainable_variables]
        same = same and [id(tap.optimizer) for tap in self.taps] == [id(o) for o in optimizers_of(model)]
        return self.started and same and self.model is model

    @property
    def full(self) -> bool:
        """Whether to read before the next call: it might overwrite rows, or how many rows a call makes is unknown."""
        return self.pending + self.steps_per_call > self.window or (self.pending > 0 and not self._counted)

    def recorded(self, grads: list, variables: list) -> tuple[list, list[int]]:
        """Return the gradients that there are, of variables that have a column, and those columns."""
        pairs = zip(grads, variables, strict=True)
        found = [(g, self._place[id(v)]) for g, v in pairs if g is not None and id(v) in self._place]
        return [g for g, _ in found], [place for _, place in found]

    def complete(self, columns: list[int]) -> bool:
        """Whether `columns` are those of all variables, in order."""
        return columns == list(range(len(self.variables)))

    def read(self) -> None:
        """Take the rows written since the last call off the device."""
        if not self.started or not self.pending:
            return
        count = self._count()
        new = count - self.rows
        if new > self.window:
            raise RuntimeError(f"GradientNorms lost {new - self.window} steps: more than {self.window} in one call.")
        if new:
            self.recording.append(self._rows(np.arange(self.rows, count) % self.window))
            # A train step of one's own may apply the optimizer more than once.
            calls = max(1, self.pending // self.steps_per_call)
            self.steps_per_call = max(self.steps_per_call, -(-new // calls))
        self.rows, self.pending, self._counted = count, 0, True

    @contextlib.contextmanager
    def noting_order(self) -> Iterator[None]:
        """Around the first call of the train function, which calls the layers, note their order."""
        if self._order is not None:
            yield
            return
        with call_order(self.model) as order:
            yield
        self._order = order
        if self.started:
            self.recording.order(order)


class StatefulRing(Ring):
    """What TensorFlow and torch share: optimizers are told to `apply`, and a row is written where it lies.

    Children write into the row that is open.
    """

    def _blank(self) -> None:
        """Clear the next row."""
        raise NotImplementedError

    def _write(self, columns: list[int], values) -> None:
        """Put (n,) `values` into `columns` of the row."""
        raise NotImplementedError

    def _close(self) -> None:
        """Count the row."""
        raise NotImplementedError

    def _apply(self, tap: Tap, grads, trainable_variables=None) -> None:
        """Stand in the place of `optimizer.apply`."""
        raise NotImplementedError

    def _clip(self, tap: Tap, grads: list) -> list:
        """Stand in the place of the optimizer's clipping."""
        raise NotImplementedError

    def _known_loss(self, loss):
        """Return what may be kept of a loss until the step ends."""
        return loss

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, the ring sees what the optimizers apply."""
        self._loss = None
        changes = []
        for tap in self.taps:
            tap.apply, tap.scale_loss = tap.optimizer.apply, tap.optimizer.scale_loss
            changes.append((tap.optimizer, "apply", functools.partial(self._apply, tap)))
            changes.append((tap.optimizer, "scale_loss", functools.partial(self._scale_loss, tap)))
            if tap.clips:
                changes.append(clipping(tap.inner, functools.partial(self._clip, tap)))
        with replaced(*changes), self.noting_order():
            yield

    def _scale_loss(self, tap: Tap, loss):
        self._loss = self._known_loss(loss)
        return tap.scale_loss(loss)

    def _train_step(self, step: Callable, data):
        """Stand in the place of `model.train_step`: where several optimizers fill a row, it ends with the step."""
        self._loss, self._blanked = None, False
        self._applied: list[Tap] = []
        self._filled: set[int] = set()
        if self.several and self.started:
            self._blank()  # here, for the first optimizer may be applied under a condition
            self._blanked = True
        logs = step(data)
        if self._applied:
            self._close()
        elif self._loss is not None and not self.model.trainable_variables:
            # Keras applies no optimizer then, but there is a loss.
            self.start()
            self._blank()
            self._write([self.columns.loss], self._loss)
            self._close()
        return logs

    def _enter(self, tap: Tap, columns: list[int]) -> None:
        """Begin a new row if `tap` cannot add to the one that there is."""
        if tap in self._applied or not self._filled.isdisjoint(columns):
            self._close()
            self._applied, self._filled, self._blanked = [], set(), False
        if not self._blanked:
            self._blank()
            self._blanked = True
        self._applied.append(tap)
        self._filled.update(columns)
