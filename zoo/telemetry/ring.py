"""The ring buffer of gradient norms: what does not depend on the backend."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np

from zoo.telemetry.history import GradientHistory
from zoo.telemetry.layers import owners
from zoo.telemetry.rows import Rows

# Squares outside these bounds may have left float32: such rows are computed again, each gradient over its maximum.
SMALLEST, LARGEST = 1e-30, 1e30


class Ring:
    """One row a step: each variable's gradient norm, the loss, the clip norms, and if asked weight and update norms.

    The last `window` rows lie on the device, outside model and optimizer, so that they get into no checkpoint. The
    children, one for each backend, compute them within the training step and hold them.
    """

    end_of_data: tuple[type[BaseException], ...] = (StopIteration,)

    def __init__(self, model: keras.Model, *, window: int, updates: bool, keep: Callable[[int], Rows] = Rows):
        self.model, self.optimizer, self._keep = model, model.optimizer, keep
        self.window, self.updates = window, updates
        # `LossScaleOptimizer` hands unscaled gradients to the optimizer inside it, where clipping happens.
        self.inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        self.clips = _clips(self.inner)
        self.variables: list[keras.Variable] = []
        self.kept: Rows | None = None
        self.rows = 0
        self.pending = 0
        self.steps_per_call = 1
        if all(layer.built for layer in model._flatten_layers()):
            self.start()

    def start(self) -> None:
        """Take the model's trainable variables as the columns. A model may get its weights with its first batch."""
        if self.variables:
            return
        self.variables = list(self.model.trainable_variables)
        self.layers, index = owners(self.model, self.variables)
        self.owners = np.array(index, np.int64)
        n = len(self.variables)
        self.columns = n + 1 + 2 * self.clips + 2 * n * self.updates
        self._place = {id(v): i for i, v in enumerate(self.variables)}
        self.kept = self._keep(self.columns)
        self._allocate()

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
        return same and self.model is model and self.optimizer is model.optimizer

    @property
    def full(self) -> bool:
        """Whether the next call of the train function might overwrite rows that were not read."""
        return self.pending + self.steps_per_call > self.window

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
        if not self.variables or not self.pending:
            return
        count = self._count()
        new = count - self.rows
        if new > self.window:
            raise RuntimeError(f"GradientNorms lost {new - self.window} steps: more than {self.window} in one call.")
        if new:
            self.kept.append(self._rows(np.arange(self.rows, count) % self.window))
            # A train step of one's own may apply the optimizer more than once.
            calls = max(1, self.pending // self.steps_per_call)
            self.steps_per_call = max(self.steps_per_call, -(-new // calls))
        self.rows, self.pending = count, 0

    def history(self, epoch_ends: np.ndarray) -> GradientHistory:
        """Everything read so far."""
        self.start()
        return GradientHistory.of_rows(self.kept.array(), **self.header(), epoch_ends=epoch_ends)

    def header(self) -> dict:
        """Return what the columns are: the arguments of `GradientHistory.of_rows`, of JSON's types."""
        return {
            "layers": self.layers,
            "variables": [v.path for v in self.variables],
            "owners": self.owners.tolist(),
            "clips": self.clips,
            "updates": self.updates,
        }


@contextlib.contextmanager
def replaced(*attributes: tuple[object, str, object]) -> Iterator[None]:
    """Within it, each (object, name, value) holds: in the instance's own dictionary, past Keras' attribute tracking."""
    before = [vars(thing).get(name) for thing, name, _ in attributes]
    for thing, name, value in attributes:
        vars(thing)[name] = value
    try:
        yield
    finally:
        for (thing, name, _), value in zip(attributes, before, strict=True):
            if value is None:
                vars(thing).pop(name, None)
            else:
                vars(thing)[name] = value


def _clips(optimizer) -> bool:
    own = type(optimizer)._clip_gradients is not keras.optimizers.Optimizer._clip_gradients
    return own or any(getattr(optimizer, name) is not None for name in ("clipnorm", "clipvalue", "global_clipnorm"))
