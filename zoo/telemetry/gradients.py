"""The callback that records the training step's own gradients.

Keras hands a callback no gradients. This one lays itself around `optimizer.apply`, which every trainer calls, while a
training step runs: the norms are computed in the compiled step from the very gradients that the optimizer gets, and one
row a step goes to a ring buffer, which is read back once a window or epoch. There is no second backward pass.
"""

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from zoo.telemetry.history import GradientHistory, header_path
from zoo.telemetry.rows import Rows

WINDOW = 1024


class GradientNorms(keras.callbacks.Callback):
    """Records the gradient norm of every variable and layer at every optimizer step, on TensorFlow, JAX or torch.

    Norms are taken before clipping and after unscaling (loss scaling). With gradient accumulation a step is one batch.
    A step that holds NaN or infinity is recorded as such. Model and optimizer are touched only while a step runs:
    checkpoints written in between are those of an untracked model.

    Args:
        updates: also record the norm of each variable and of its change in the step (`history.update_ratios`);
            costs a copy of the weights a step.
        path: file that the rows are written to as training goes on, never more than 1,024 steps late, for
            `GradientHistory.recover` should the process be killed; beside it a JSON file says what they are. `None`
            for memory, and beyond 16 MB a temporary file.

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

    def __init__(self, *, updates: bool = False, path: str | Path | None = None):
        super().__init__()
        self.updates, self.path = updates, path and Path(path)
        self._epoch_ends: list[int] = []
        self._header = None
        self._ring = None
        self._watched = None
        self._plain = self._tracked = None
        self._armed = False
        self._attached = False

    @property
    def history(self) -> GradientHistory:
        """Everything recorded so far, up to the last finished step."""
        if self._ring is None:
            raise RuntimeError("GradientNorms has no history yet: give it to model.fit(callbacks=[...]) first.")
        self._read()
        return self._ring.history(np.array(self._epoch_ends, np.int64))

    def resume(self, epochs: int) -> None:
        """Go on after the first `epochs` epochs that `path` holds, of a training that was cut off.

        Raises:
            FileNotFoundError: if `path` holds none.
        """
        header = json.loads(header_path(self.path).read_text())
        self._epoch_ends = header["epoch_ends"][:epochs]

    @contextlib.contextmanager
    def watch(self, model: keras.Model) -> Iterator["GradientNorms"]:
        """Record each step that `model` is trained by inside the `with` block, whoever calls it."""
        self.set_model(model)
        self._attach()
        self._armed = None  # the block's end takes the callback off, so that no step need ask for it
        try:
            yield self
        finally:
            self._detach()

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._attach()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._armed = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._read()
        self._epoch_ends.append(len(self._ring.kept) if self._ring.kept is not None else 0)
        self._describe()
        if self._ring.variables and not self._ring.rows:
            raise RuntimeError(
                "GradientNorms saw no gradient in an epoch: the model's train step does not apply model.optimizer."
            )

    def on_train_end(self, logs: dict | None = None) -> None:
        self._detach()

    def _attach(self) -> None:
        model = self.model  # on JAX, to ask for it costs a copy of the state: once is enough
        self._session = getattr(model, "history", None)  # each `fit` makes a new one
        if getattr(model, "optimizer", None) is None:
            raise RuntimeError("GradientNorms needs a compiled model: call model.compile(optimizer=...) first.")
        other = getattr(model.train_function, "recorder", None)
        if other is not None and other is not self and other._attached and other._session is self._session:
            raise RuntimeError("GradientNorms already records this training: give it one GradientNorms, not two.")
        self._watched = model
        if not self._attached and self._plain is not None and model.train_function is self._plain:
            # The same compiled model is trained again: its traced step still fits.
            model.train_function = self._tracked
            self._attached = True
            return
        if self._ring is None or not self._ring.fits(model):
            if self._ring is not None:
                self._epoch_ends = []
            keep = functools.partial(Rows, path=self.path, size=self._epoch_ends[-1] if self._epoch_ends else 0)
            self._header = None
            self._ring = _ring_of_backend()(model, window=WINDOW, updates=self.updates, keep=keep)
        self._ring.steps_per_call = model.steps_per_execution
        self._plain = model.train_function
        traced, ring = self._ring.train_function(), self._ring

        def tracked(*args):
            if self._armed is False or (self._armed and model.history is not self._session):
                # A training that raised between two steps left this function behind; this call is not ours.
                self._detach()
                model.make_train_function()
                return model.train_function(*args)
            if self._armed:
                self._armed = False
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
        self._tracked = model.train_function = tracked
        self._attached = True

    def _detach(self) -> None:
        if self._attached:
            self._read()
            self._attached = self._armed = False
            if self._watched.train_function is self._tracked:
                self._watched.train_function = self._plain

    def _read(self) -> None:
        self._ring.read()
        if self._header is None:
            self._describe()

    def _describe(self) -> None:
        """Write what the rows are, and where epochs end."""
        if self.path is None or self._ring.kept is None:
            return
        self._header = self._header or self._ring.header()
        whole = header_path(self.path).with_suffix(".tmp")
        whole.write_text(json.dumps(self._header | {"epoch_ends": self._epoch_ends}))
        os.replace(whole, header_path(self.path))


def _ring_of_backend() -> type:
    backend = keras.config.backend()
    if backend == "tensorflow":
        from zoo.telemetry.ring_tensorflow import TensorFlowRing as Ring
    elif backend == "jax":
        from zoo.telemetry.ring_jax import JaxRing as Ring
    elif backend == "torch":
        from zoo.telemetry.ring_torch import TorchRing as Ring
    else:
        raise RuntimeError(f"GradientNorms cannot see the gradients of the {backend} backend.")
    return Ring
