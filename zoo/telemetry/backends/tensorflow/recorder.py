"""The ring buffer of gradient norms inside TensorFlow's compiled training step."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.telemetry.backends.recorder import LARGEST, SMALL, SMALLEST, StatefulRing, Tap, by_size
from zoo.telemetry.keras_private import clipped, trained_by
from zoo.telemetry.layers import replaced


class Recorder(StatefulRing):
    """Rows in a variable that the step assigns."""

    end_of_data = (StopIteration, tf.errors.OutOfRangeError)

    def _allocate(self) -> None:
        with tf.init_scope():  # the step may be being traced
            self.buffer = tf.Variable(
                tf.zeros((self.window, len(self.columns))), trainable=False, name="gradient_norms"
            )
            self.count: Any = tf.Variable(tf.zeros((), tf.int64), trainable=False, name="gradient_norms_count")

    def train_function(self):
        if self.model.distribute_strategy.num_replicas_in_sync > 1:
            raise RuntimeError("GradientNorms sees one replica: use keras.distribution instead of tf.distribute.")
        step = functools.partial(self._train_step, self.model.train_step)
        with replaced((self.model, "train_step", step)):
            self.model.make_train_function(force=True)
        plain: Any = self.model.train_function

        def traced(iterator):
            with self.watching():
                return plain(iterator)

        return traced

    def _count(self) -> int:
        return int(self.count.numpy())

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        return self.buffer.numpy()[numbers]

    def _apply(self, tap: Tap, grads, trainable_variables=None):
        self.start()
        grads = list(grads)
        variables = trained_by(tap.optimizer) if trainable_variables is None else list(trainable_variables)
        if self.several:
            return self._apply_one_of_several(tap, grads, variables, trainable_variables)
        self._slot = self.count % self.window
        row, scale = self._norms(grads, variables), tap.scale()
        loss = np.float32(np.nan) if self._loss is None else tf.cast(self._loss, tf.float32)
        parts = [row if scale is None else row / scale, tf.reshape(loss, (1,))]
        if self.clips:
            parts.append(tf.fill((2,), np.float32(np.nan)))
        if self.updates:
            before = [tf.identity(v.value) for v in self.variables]
            parts.append(norms(before))
            parts.append(tf.zeros(len(self.variables)))
        self.buffer.scatter_nd_update([[self._slot]], [tf.concat(parts, 0)])

        tap.apply(grads, trainable_variables)

        if self.updates:
            change = norms([v.value - b for v, b in zip(self.variables, before, strict=True)])
            self._write(_numbers(self.columns.update_norms), change)
        with tf.control_dependencies([row]):  # the call that finds the data at its end makes no row
            self.count.assign_add(1)

    def _apply_one_of_several(self, tap: Tap, grads: list, variables: list, trainable_variables) -> None:
        known, columns = self.recorded(grads, variables)
        self._enter(tap, columns)
        own = [self.variables[i] for i in columns]
        if own:
            row, scale = norms(known), tap.scale()
            self._write(columns, row if scale is None else row / scale)
        if self._loss is not None:
            self._write([self.columns.loss], self._loss)
        if self.updates and own:
            before = [tf.identity(v.value) for v in own]
            self._write([self.columns.weight_norms.start + i for i in columns], norms(before))

        tap.apply(grads, trainable_variables)

        if self.updates and own:
            change = norms([v.value - b for v, b in zip(own, before, strict=True)])
            self._write([self.columns.update_norms.start + i for i in columns], change)

    def _train_step(self, step, data):
        self._data = [part for part in tf.nest.flatten(data, expand_composites=True) if tf.is_tensor(part)]
        return super()._train_step(step, data)

    def _clip(self, tap: Tap, grads):
        used = clipped(tap.inner, grads)
        before, after = (tf.norm(norms(list(g))) for g in (grads, used))
        pair, columns = tf.stack([before, after]), _numbers(self.columns.clip_norms)
        if self.several:
            others = tf.gather(tf.gather(self.buffer, self._open_slot()), columns)
            pair = tf.norm(tf.stack([pair, tf.where(tf.math.is_nan(others), 0.0, others)]), axis=0)
        self._write(columns, pair)
        return used

    def _open_slot(self) -> tf.Tensor:
        # Several optimizers may lie in graphs of their own, of which none may use what another computed.
        return self.count % self.window if self.several or not self.variables else self._slot

    def _blank(self) -> None:
        self.buffer.scatter_nd_update([[self._open_slot()]], self.columns.blank()[None])

    def _write(self, columns: list[int], values) -> None:
        values = tf.reshape(tf.cast(values, tf.float32), (len(columns),))
        rows = tf.fill(tf.shape(values), self._open_slot())
        self.buffer.scatter_nd_update(tf.stack([rows, tf.constant(columns, tf.int64)], axis=1), values)

    def _close(self) -> None:
        with tf.control_dependencies(self._data):  # the call that finds the data at its end makes no row
            self.count.assign_add(1)

    def _norms(self, grads: list, variables: list) -> tf.Tensor:
        """(variables,) float32; 0 where a variable has no gradient in this step."""
        known, columns = self.recorded(grads, variables)
        row = norms(known) if known else tf.zeros(0)
        if self.complete(columns):
            return row
        return tf.scatter_nd(np.array(columns, np.int32)[:, None], row, [len(self.variables)])


def _numbers(columns: slice) -> list[int]:
    return list(range(columns.start, columns.stop))


def norms(tensors: list) -> tf.Tensor:
    """L2 norm of each tensor that is not `None`: (n,) float32, right over the whole range of float32."""
    tensors = [_dense(t) for t in tensors if t is not None]
    sizes = [t.shape.num_elements() or SMALL + 1 for t in tensors]  # what is not known may be large
    return by_size(tensors, sizes, _doubled, _guarded, lambda rows: tf.concat(rows, 0), tf.gather)


def _doubled(tensors: list) -> tf.Tensor:
    """In float64 no square of a float32 leaves the range, so that no branch need slow the step down."""
    squares = tf.stack([tf.nn.l2_loss(tf.cast(t, tf.float64)) for t in tensors])
    return tf.cast(tf.sqrt(2.0 * squares), tf.float32)


def _guarded(tensors: list) -> tf.Tensor:
    """Squares of float32, and where those have left its range each tensor again, over its largest entry."""
    halves = tf.stack([tf.nn.l2_loss(t) for t in tensors])
    inputs = [halves, *tensors]
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in inputs]
    # `tf.cond` would be lowered to switches, which make TensorFlow run the whole step in a slower way.
    (row,) = tf.raw_ops.StatelessIf(
        cond=tf.reduce_all((halves > SMALLEST) & (halves < LARGEST)),
        input=inputs,
        Tout=[tf.float32],
        then_branch=_usual.get_concrete_function(*specs),
        else_branch=_careful.get_concrete_function(*specs),
    )
    return tf.ensure_shape(row, [len(tensors)])


def _dense(tensor) -> tf.Tensor:
    tensor = tf.convert_to_tensor(tensor)  # sums the repeated rows of an embedding's gradient
    return tf.cast(tensor, tf.float32)


@tf.function(autograph=False)
def _usual(halves, *tensors):
    return tf.sqrt(2.0 * halves)


@tf.function(autograph=False)
def _careful(halves, *tensors):
    return tf.stack([_careful_norm(t) for t in tensors])


def _careful_norm(tensor: tf.Tensor) -> tf.Tensor:
    largest = tf.reduce_max(tf.abs(tensor))
    usable = tf.math.is_finite(largest) & (largest > 0)
    divisor = tf.where(usable, largest, 1.0)
    return divisor * tf.sqrt(2.0 * tf.nn.l2_loss(tensor / divisor))
