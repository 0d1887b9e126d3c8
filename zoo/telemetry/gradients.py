"""The callback that records the training step's own gradients.

Keras hands a callback no gradients. This one lays itself around `optimizer.apply`, which every trainer calls, while a
training step runs: the norms are computed in the compiled step from the very gradients that the optimizer gets, and one
row a step goes to a ring buffer, which is read back once a window or epoch. There is no second backward pass.
"""

import contextlib
import dataclasses
import enum
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from zoo.telemetry.backends import of_backend
from zoo.telemetry.backends.recorder import Ring
from zoo.telemetry.columns import Columns
from zoo.telemetry.copies import Copied
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.recording import Numbers, Recording

WINDOW = 1024


class State(enum.Enum):
    """Which calls of the watched train function are the training's."""

    OFF = enum.auto()  # none: it is not the model's
    BETWEEN = enum.auto()  # none until the next step begins
    NEXT = enum.auto()
    ALL = enum.auto()


@dataclasses.dataclass(eq=False)
class Tracking:
    """A model's train function with a ring in it; kept after a training, for the next may go on with it.

    Attributes:
        ring: of the model.
        plain: the model's own train function.
        session: the `History` of the `fit` that is recorded, by which another is told from it.
        traced: `plain` with the ring in it.
        tracked: `traced` as its callback watches it; it stands in the place of `plain` while the state is not OFF.
        state: see there.
    """

    ring: Ring
    plain: Callable | None
    session: object
    traced: Callable
    tracked: Callable | None = None
    state: State = State.OFF

    def on(self) -> None:
        """Put `tracked` in the place of `plain`."""
        self.ring.model.train_function = self.tracked
        self.state = State.BETWEEN

    def off(self) -> None:
        """Put `plain` back, unless the model was compiled anew meanwhile."""
        self.state = State.OFF
        if self.ring.model.train_function is self.tracked:
            self.ring.model.train_function = self.plain


class GradientNorms(Copied, keras.callbacks.Callback):
    """Records the gradient norm of every variable and layer at every optimizer step, on TensorFlow, JAX or torch.

    Norms are taken before clipping and after unscaling (loss scaling). With gradient accumulation a step is one batch.
    A step that holds NaN or infinity is recorded as such. Model and optimizer are touched only while a step runs:
    checkpoints written in between are those of an untracked model.

    One callback goes on with one history over any number of `fit` calls, also if the model is compiled anew or other
    layers are frozen: the columns are of all variables that were trained at some time, 0 where one was frozen. With
    another model a new history begins. The callback can be pickled and copied, with what it has recorded.

    A train step that applies several optimizers (a GAN's) is one row, in which each fills the columns of its
    variables; one that is applied more than once in a step begins a new row each time. Clip norms are then the root of
    the sum of squares over those that clip.

    Args:
        updates: also record the norm of each variable and of its change in the step (`history.update_ratios`);
            costs a copy of the weights a step.
        path: file that the rows are written to as training goes on, never more than 1,024 steps late, for
            `GradientHistory.recover` should the process be killed; beside it a JSON file says what they are. `None`
            for memory, and beyond 16 MB a temporary file. A second model's rows, and those of a copy, go to a file of
            their own beside it: rows.f32, rows.2.f32.

    Example:
        norms = GradientNorms()
        model.fit(x, y, callbacks=[norms])
        norms.history.norms  # (steps, layers)

        with norms.watch(model):  # for loops of your own over `train_on_batch`
            model.train_on_batch(x, y)

    Raises:
        RuntimeError: where the gradients of a step cannot be seen: no optimizer, or one that the train step does not
            apply; `tf.distribute`; on JAX a step that flax.nnx compiles, or that updates within `jax.lax.cond`.
    """

    left_out: ClassVar[dict[str, object]] = {"_tracking": None}

    def __init__(self, *, updates: bool = False, path: str | Path | None = None):
        super().__init__()
        self.updates, self.path = updates, None if path is None else Path(path)
        self._recordings: list[Recording] = []  # the last is the current model's
        self._numbers = Numbers()
        self._tracking: Tracking | None = None
        self._receives = False  # what another program computes

    @property
    def history(self) -> GradientHistory:
        """Everything recorded so far of the current model, up to the last finished step.

        A callback that recorded nothing itself, and of which exactly one copy did, has that copy's.
        """
        if not self._recordings:
            nothing = "GradientNorms has no history yet: give it to model.fit(callbacks=[...]) first."
            return self.the_copy(nothing, "history").history
        self._read()
        return self._recordings[-1].history()

    @property
    def previous(self) -> list[GradientHistory]:
        """The histories of the models before the current one, in order."""
        return [recording.history() for recording in self._recordings[:-1]]

    def recorded(self) -> int:
        """Return how many steps were recorded, of all models."""
        return sum(map(len, self._recordings))

    def resume(self, epochs: int) -> None:
        """Go on after the first `epochs` epochs that `path` holds, of a training that was cut off.

        Raises:
            FileNotFoundError: if `path` holds none.
        """
        if self.path is None:
            raise FileNotFoundError("GradientNorms has no path: there is nothing to go on with.")
        self._recordings[:] = [Recording.resumed(self.path, epochs)]

    def take_over(self, other: "GradientNorms") -> None:
        """Take from `other` the training step that it had compiled, of a model that is trained again from the start.

        What `other` recorded stays its own; this one begins a history. Where it was not used, nothing is taken.
        """
        if other._tracking is not None:
            other._detach()
            self._take(other._tracking)
            other._tracking = None

    def receive(self, model: keras.Model, columns: Columns, order: Collection[keras.layers.Layer]) -> None:
        """Record the steps of a program that trains `model` beside others, which gives their rows to `append`.

        From now on this callback watches no training step of its own.

        Args:
            model: with the state that its training begins with.
            columns: of the rows, which are of the model's trainable variables.
            order: its layers, in the order of their calls.
        """
        self._detach()
        self._tracking, self._receives = None, True
        recording = self._recording_of(model)
        recording.begin(model, list(model.trainable_variables), columns)
        recording.order(order)

    def append(self, rows: np.ndarray) -> None:
        """Add (steps, columns) float32 rows of the model that was named to `receive`."""
        self._recordings[-1].append(rows)
        self._recordings[-1].describe()

    def __getstate__(self) -> dict:
        self._read()
        return super().__getstate__()

    @contextlib.contextmanager
    def watch(self, model: keras.Model) -> Iterator["GradientNorms"]:
        """Record each step that `model` is trained by inside the `with` block, whoever calls it."""
        self.set_model(model)
        self._attach().state = State.ALL  # the block's end takes the callback off, so that no step need ask for it
        try:
            yield self
        finally:
            self._detach()

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not self._receives:
            self._attach()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if self._tracking is not None and self._tracking.state is not State.OFF:
            self._tracking.state = State.NEXT

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._read()
        recording = self._recordings[-1]
        recording.epoch_ends.append(len(recording))
        recording.describe()
        ring = self._tracking and self._tracking.ring
        if ring is not None and ring.model.trainable_variables and not ring.rows:
            raise RuntimeError(
                "GradientNorms saw no gradient in an epoch: the model's train step does not apply model.optimizer, nor "
                "another optimizer among the model's attributes."
            )

    def on_train_end(self, logs: dict | None = None) -> None:
        self._detach()

    def _attach(self) -> Tracking:
        model: Any = self.model  # on JAX, to ask for it costs a copy of the state: once is enough
        session = getattr(model, "history", None)  # each `fit` makes a new one
        if getattr(model, "optimizer", None) is None:
            raise RuntimeError("GradientNorms needs a compiled model: call model.compile(optimizer=...) first.")
        other = getattr(model.train_function, "recorder", None)
        if other is not None and other is not self and other._records(session):
            raise RuntimeError("GradientNorms already records this training: give it one GradientNorms, not two.")
        self._detach()  # from a training that was broken off between two steps
        tracking = self._tracking
        if tracking is None or tracking.plain is None or model.train_function is not tracking.plain:
            recording = self._recording_of(model)
            ring = tracking and tracking.ring
            if ring is None or not ring.fits(model):
                ring = of_backend("recorder").Recorder(model, window=WINDOW, updates=self.updates, recording=recording)
            ring.steps_per_call = max(ring.steps_per_call, model.steps_per_execution)
            tracking = self._take(Tracking(ring, model.train_function, session, ring.train_function()))
        elif not any(recording is tracking.ring.recording for recording in self._recordings):
            tracking.ring.record(self._recording_of(model))
        # Else the same compiled model is trained again: its traced step still fits.
        tracking.session = session
        tracking.on()
        return tracking

    def _records(self, session: object) -> bool:
        tracking = self._tracking
        return tracking is not None and tracking.state is not State.OFF and tracking.session is session

    def _recording_of(self, model: keras.Model) -> Recording:
        """Return the recording that `model` goes on with, now the last one."""
        found = next((recording for recording in self._recordings if recording.of(model)), None)
        if found is None:
            path = self.path
            if path is not None and (self._recordings or self.is_copy):
                path = self._numbers.next(path)
            found = Recording(path)
        else:
            self._recordings.remove(found)
        self._recordings.append(found)
        found.take(model)
        return found

    def _take(self, tracking: Tracking) -> Tracking:
        """Watch by it from now on."""
        tracking.tracked = self._tracked(tracking)
        self._tracking = tracking
        return tracking

    def _tracked(self, tracking: Tracking) -> Callable:
        """Return the train function with the ring in it as this callback watches it."""
        ring, traced = tracking.ring, tracking.traced

        def tracked(*args):
            other = tracking.state is State.NEXT and ring.model.history is not tracking.session
            if other or tracking.state in (State.OFF, State.BETWEEN):
                # A training that raised between two steps left this function behind; this call is not ours.
                self._detach()
                ring.model.make_train_function(force=ring.model.train_function is tracked)
                return ring.model.train_function(*args)
            if tracking.state is State.NEXT:
                tracking.state = State.BETWEEN
            if ring.full:
                self._read()
            ring.pending += ring.steps_per_call
            try:
                return traced(*args)
            except ring.end_of_data:
                raise
            except BaseException:
                self._detach()
                raise

        tracked.recorder = self
        return tracked

    def _detach(self) -> None:
        if self._tracking is not None and self._tracking.state is not State.OFF:
            self._read()
            self._tracking.off()

    def _read(self) -> None:
        if self._tracking is not None:
            self._tracking.ring.read()
            self._tracking.ring.recording.describe()
