"""The training step of many models of one program as one compiled function, on TensorFlow.

Each variable of the program is a stack here, one entry a member. Forward and backward pass are Keras' own, vectorized
over the stacks; each member has its own batch. The optimizer is Keras' own too: it is applied once, to one variable
(members, parameters), which it takes entry by entry, so that each entry is updated as in a training of its own.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.running.numbers import Number, numbers_of
from zoo.telemetry.backends.recorder import Tap
from zoo.telemetry.columns import Columns
from zoo.telemetry.keras_private import clipped, clipping, loss_tracker, source_of_rate
from zoo.telemetry.layers import replaced

NAME = "pack"
STEPS_A_CALL = 256  # after so many the process hears whether it was told to end


class NotPacked(Exception):
    """A program cannot be packed; the text says why."""


class PackedStep:
    """Trains and validates `size` models of one program at once.

    Args:
        model: of the program, compiled, with all variables made; it lends its layers, its state is neither read nor
            written but by `read` and `write`.
        size: members.
        updates: whether rows have the norms of weights and updates.

    Attributes:
        columns: of the rows.
    Raises:
        NotPacked: for an optimizer whose state is of another kind than its variables.
    """

    def __init__(self, model: Any, size: int, *, updates: bool):
        self.model, self.size, self.updates = model, size, updates
        self.trainable: list[keras.Variable] = list(model.trainable_variables)
        self.metrics: list[keras.Variable] = list(model.metrics_variables)
        counted = {id(v) for v in self.metrics}
        self.others = [v for v in model.non_trainable_variables if id(v) not in counted]
        self._numbers = numbers_of(model)
        self.others += self._numbers.variables if self._numbers else []
        self.shapes = [tuple(v.shape) for v in self.trainable]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.clips = Tap(model.optimizer).clips
        self.columns = Columns(len(self.trainable), self.clips, updates)
        self._weights = keras.Variable(np.zeros((size, sum(self.sizes)), np.float32), name=NAME)
        self._rates = _stacked(np.zeros((), np.float32), size, (1,))
        self._others = [_stacked(v.numpy(), size) for v in self.others]
        model.reset_metrics()
        self._fresh = [_repeated(v.numpy(), size) for v in self.metrics]
        self._metrics = [tf.Variable(tf.constant(values), trainable=False) for values in self._fresh]
        self.optimizer = self._stacked_optimizer()
        self._slots, self._common = self._matched()
        self._whole = tf.function(self._steps, autograph=False)
        self._last = tf.function(self._one_step, autograph=False)
        self._validation = tf.function(self._validate, autograph=False)
        self._results = tf.function(self._counted, autograph=False)

    # Values to and from the models.

    def read(self, variables: Sequence[keras.Variable], members: Sequence[Sequence[np.ndarray]]) -> None:
        """Begin with these values.

        Args:
            variables: all of the model and of its optimizer, in some order.
            members: for each member the values of these variables. Places without a member repeat the first one.

        Raises:
            NotPacked: if the members are not at the same step.
        """
        place = {id(v): i for i, v in enumerate(variables)}
        members = [*members, *[members[0]] * (self.size - len(members))]

        def stack(variable: keras.Variable) -> np.ndarray:
            return np.stack([values[place[id(variable)]] for values in members])

        self._weights.assign(self._flat([stack(v) for v in self.trainable]))
        for stacked, variable in zip(self._others, self.others, strict=True):
            stacked.assign(stack(variable))
        for slot, of_each in self._slots:
            slot.assign(self._flat([stack(v) for v in of_each]))
        for common, variable in self._common:
            values = stack(variable)
            if (values != values[0]).any():
                raise NotPacked("they are not at the same step")
            common.assign(values[0])
        rate = source_of_rate(self.model.optimizer)
        if isinstance(rate, keras.Variable):
            self._rates.assign(stack(rate)[:, None])

    def write(self, variables: Sequence[keras.Variable], members: Sequence[list[np.ndarray]]) -> None:
        """Put the values that training came to where `read` had them from."""
        found: dict[int, np.ndarray] = {}
        for flat, of_each in [(self._weights, self.trainable), *self._slots]:
            for variable, values in zip(of_each, self._parts(flat.numpy()), strict=True):
                found[id(variable)] = values
        for stacked, variable in zip(self._others, self.others, strict=True):
            found[id(variable)] = stacked.numpy()
        for common, variable in self._common:
            found[id(variable)] = _repeated(common.numpy(), self.size)
        for i, variable in enumerate(variables):
            if id(variable) in found:
                for k, values in enumerate(members):
                    values[i] = found[id(variable)][k]

    def metrics_of_each(self) -> list[dict[str, float]]:
        """Return what the metrics of each place count since `train` or `validate` began, sorted by name."""
        found = {name: values.numpy() for name, values in self._results().items()}
        return [{name: float(found[name][k]) for name in sorted(found)} for k in range(self.size)]

    def _counted(self) -> dict[str, tf.Tensor]:
        def result(metrics):
            with keras.StatelessScope(state_mapping=list(zip(self.metrics, metrics, strict=True))):
                return self.model.get_metrics_result()

        return tf.vectorized_map(result, self._state())

    # Training and validation.

    def trace(self, x: tf.Tensor, y: tf.Tensor, valid_x: tf.Tensor, valid_y: tf.Tensor, batch_size: int) -> None:
        """Compile what `train` and `validate` of such data run, before anything depends on it.

        Raises:
            NotPacked: for a model of which a weight has no gradient.
        """
        whole, rest = divmod(int(tf.shape(x)[1]), batch_size)
        if whole:
            batches = tf.TensorSpec((self.size, whole, batch_size), tf.int32)
            step = tf.TensorSpec((), tf.int32)
            self._whole.get_concrete_function(x, y, batches, step, step)
        if rest:
            self._last.get_concrete_function(x, y, tf.TensorSpec((self.size, rest), tf.int32))
        self._validation.get_concrete_function(valid_x, valid_y, batch_size)
        self._results.get_concrete_function()

    def train(self, x: tf.Tensor, y: tf.Tensor, order: np.ndarray, batch_size: int) -> np.ndarray:
        """Train an epoch.

        Args:
            x, y: (members, samples, ...) of each member's training part.
            order: (members, samples) in which each sees its samples.
            batch_size: of each; the last batch is smaller where they do not divide.

        Returns:
            (members, steps, columns) float32.
        """
        self._reset_metrics()
        whole, rest = divmod(order.shape[1], batch_size)
        batches = tf.constant(order[:, : whole * batch_size].reshape(self.size, whole, batch_size), tf.int32)
        rows = []
        for first in range(0, whole, STEPS_A_CALL):
            last = min(first + STEPS_A_CALL, whole)
            rows.append(self._whole(x, y, batches, tf.constant(first), tf.constant(last)).numpy())
        if rest:
            rows.append(self._last(x, y, tf.constant(order[:, -rest:], tf.int32)).numpy()[None])
        return np.concatenate(rows).swapaxes(0, 1)

    def validate(self, x: tf.Tensor, y: tf.Tensor, batch_size: int) -> None:
        """Let the metrics count over (members, samples, ...) of each member's validation part."""
        self._reset_metrics()
        self._validation(x, y, batch_size)

    def _varying(self) -> contextlib.AbstractContextManager:
        """Within it what is traced takes each member's own numbers."""
        return self._numbers.varying() if self._numbers else contextlib.nullcontext()

    def _steps(self, x, y, batches, first, last) -> tf.Tensor:
        def body(step, rows):
            return step + 1, rows.write(step - first, self._one_step(x, y, batches[:, step]))

        shape = (self.size, len(self.columns))
        rows = tf.TensorArray(tf.float32, last - first, element_shape=shape)
        _, rows = tf.while_loop(lambda step, rows: step < last, body, (first, rows), parallel_iterations=1)
        return rows.stack()

    def _one_step(self, x, y, indices) -> tf.Tensor:
        """Take a step on the samples of (members, batch) `indices`; return (members, columns) of it."""
        x, y = tf.gather(x, indices, batch_dims=1), tf.gather(y, indices, batch_dims=1)
        before = self._weights.value
        weights = self._parts(before)
        with self._varying():
            given = (weights, self._values(self._others), self._state(), x, y)
            values = tf.vectorized_map(self._differentiate, given)
        losses, grads, used, others, metrics = values
        for variable, value in zip([*self._others, *self._metrics], [*others, *metrics], strict=True):
            variable.assign(value)
        norms = _norms(grads)
        row = [norms, losses[:, None]]
        if self.clips:
            row += [_whole(norms), _whole(_norms(used))]
        if self.updates:
            row += [_norms(weights), _norms(self._parts(self._update(before, used) - before))]
        else:
            self._update(before, used)
        return tf.concat(row, 1)

    def _update(self, before, grads: list) -> tf.Tensor:
        """Apply the optimizer; return (members, parameters) after it."""
        changes = [clipping(self.optimizer, lambda grads: grads)]  # each member's are clipped already
        with self._varying():
            if isinstance(decay := self.model.optimizer.weight_decay, Number):
                changes.append((self.optimizer, "weight_decay", self._of_each(lambda: decay.value)))
            with replaced(*changes):
                self.optimizer.apply([self._flat(grads, tf)], [self._weights])
        return self._weights.value

    def _of_each(self, computed: Callable[[], Any]) -> tf.Tensor:
        """Return (members, 1), which meets (members, parameters) as a number meets a variable."""

        def of_one(values):
            with keras.StatelessScope(state_mapping=list(zip(self.others, values, strict=True))):
                return tf.reshape(tf.convert_to_tensor(computed()), (1,))

        return tf.vectorized_map(of_one, self._values(self._others))

    def _differentiate(self, given):
        """Return of one member its loss, gradients, the gradients as they are used, and its other state after it."""
        weights, others, metrics, x, y = given
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss, scope = self._forward(weights, others, metrics, x, y, training=True)
        grads = tape.gradient(loss, weights)
        if any(g is None for g in grads):
            raise NotPacked("some of its weights have no gradient")
        grads = [tf.convert_to_tensor(g) for g in grads]
        with keras.StatelessScope(state_mapping=list(zip(self.others, others, strict=True))):
            used = clipped(self.model.optimizer, grads) if self.clips else grads
        after = [[scope.get_current_value(v) for v in group] for group in (self.others, self.metrics)]
        return tf.cast(loss, tf.float32), grads, used, *after

    def _forward(self, weights, others, metrics, x, y, training: bool):
        """Do what Keras' train and test step do before and after the gradient; return the loss and the state."""
        known = zip([*self.trainable, *self.others, *self.metrics], [*weights, *others, *metrics], strict=True)
        with keras.StatelessScope(state_mapping=list(known)) as scope:
            answers = self.model(x, training=training)
            loss = self.model.compute_loss(x=x, y=y, y_pred=answers, training=training)
            loss_tracker(self.model).update_state(loss, sample_weight=tf.shape(x)[0])
            self.model.compute_metrics(x, y, answers)
        return loss, scope

    def _validate(self, x, y, batch_size: int) -> None:
        weights, others = self._parts(self._weights.value), self._values(self._others)
        samples = x.shape[1]
        whole = samples // batch_size

        def after(metrics, start, count):
            def counted(given):
                weights, others, metrics, x, y = given
                _, scope = self._forward(weights, others, metrics, x, y, training=False)
                return [scope.get_current_value(v) for v in self.metrics]

            part = [tf.gather(array, start + tf.range(count), axis=1) for array in (x, y)]
            with self._varying():
                return tf.vectorized_map(counted, (weights, others, metrics, *part))

        metrics = self._state()
        if whole:
            _, metrics = tf.while_loop(
                lambda k, metrics: k < whole,
                lambda k, metrics: (k + 1, after(metrics, k * batch_size, batch_size)),
                (tf.constant(0), metrics),
                parallel_iterations=1,
            )
        if samples % batch_size:
            metrics = after(metrics, whole * batch_size, samples % batch_size)
        for variable, value in zip(self._metrics, metrics, strict=True):
            variable.assign(value)

    # Stacks.

    def _stacked_optimizer(self) -> Any:
        """Return an optimizer of the same kind and numbers over the stacked weights, with each member's own rate."""
        optimizer: Any = self.model.optimizer
        rate = source_of_rate(optimizer)
        scheduled = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
        config = optimizer.get_config() | {"clipnorm": None, "clipvalue": None, "global_clipnorm": None}
        scheduled_rate = functools.partial(self._of_each, lambda: rate(made.iterations))
        config["learning_rate"] = scheduled_rate if scheduled else (lambda: self._rates.value())
        made = type(optimizer).from_config(config)
        made.build([self._weights])
        return made

    def _matched(self) -> tuple[list, list]:
        """Find the model's optimizer's variables in the stacked one's: those of each weight, and those of all."""
        named: dict[str, keras.Variable] = {}
        own: Any = self.model.optimizer
        for variable in own.variables:
            if variable.name in named:
                raise NotPacked("two variables of its optimizer have one name")
            named[variable.name] = variable
        slots, shared = [], []
        for variable in self.optimizer.variables:
            kind = variable.name.removeprefix(f"{NAME}_")
            if kind == variable.name:
                shared.append(variable)
                continue
            try:
                slots.append((variable, [named.pop(f"{v.path.replace('/', '_')}_{kind}") for v in self.trainable]))
            except KeyError as error:
                raise NotPacked(f"its optimizer has no {error.args[0]}") from None
        rate = source_of_rate(own)
        left = [variable for variable in named.values() if variable is not rate]  # in order, as `shared` are
        if [tuple(v.shape) for v in left] != [()] * len(shared):
            raise NotPacked(f"its optimizer has {', '.join(v.name for v in left)}")
        return slots, list(zip(shared, left, strict=True))

    def _flat(self, stacks: Sequence[Any], library: Any = np) -> Any:
        """(members, ...) of each weight -> (members, parameters)."""
        parts = [library.reshape(stack, (self.size, -1)) for stack in stacks]
        return tf.concat(parts, 1) if library is tf else np.concatenate(parts, 1)

    def _parts(self, flat: Any) -> list:
        """(members, parameters) -> (members, ...) of each weight."""
        library: Any = np if isinstance(flat, np.ndarray) else tf
        places = np.cumsum(self.sizes)[:-1] if library is np else self.sizes
        parts = library.split(flat, places, axis=1)
        return [library.reshape(part, (self.size, *shape)) for part, shape in zip(parts, self.shapes, strict=True)]

    def _state(self) -> list[tf.Tensor]:
        return self._values(self._metrics)

    def _values(self, variables: list[tf.Variable]) -> list[tf.Tensor]:
        return [variable.read_value() for variable in variables]

    def _reset_metrics(self) -> None:
        for variable, values in zip(self._metrics, self._fresh, strict=True):
            variable.assign(values)


def _repeated(value: np.ndarray, size: int) -> np.ndarray:
    return np.repeat(np.asarray(value)[None], size, 0)


def _stacked(value: np.ndarray, size: int, shape: tuple[int, ...] = ()) -> tf.Variable:
    stack = np.reshape(_repeated(value, size), (size, *np.shape(value), *shape))
    return tf.Variable(tf.constant(stack), trainable=False)


def _norms(stacks: list) -> tf.Tensor:
    """L2 norm of each tensor of each member: of (members, ...) stacks (members, stacks) float32.

    In float64, where no square of a float32 leaves the range, as in `zoo.telemetry.backends.tensorflow.recorder`.
    """
    doubled = [tf.cast(tf.reshape(stack, (stack.shape[0], -1)), tf.float64) for stack in stacks]
    return tf.cast(tf.sqrt(tf.stack([tf.reduce_sum(tf.square(d), 1) for d in doubled], 1)), tf.float32)


def _whole(norms: tf.Tensor) -> tf.Tensor:
    """(members, stacks) norms -> (members, 1), that of all together."""
    return tf.norm(norms, axis=1, keepdims=True)
