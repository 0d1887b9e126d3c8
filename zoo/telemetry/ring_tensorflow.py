"""The ring buffer of gradient norms inside TensorFlow's compiled training step."""

import numpy as np
import tensorflow as tf

from zoo.telemetry.ring import LARGEST, SMALLEST, Ring, replaced

SMALL = 2**16  # entries; larger tensors take longer to convert to float64 than to guard


class TensorFlowRing(Ring):
    """Rows in a variable that the step assigns."""

    end_of_data = (StopIteration, tf.errors.OutOfRangeError)

    def _allocate(self) -> None:
        with tf.init_scope():  # the step may be being traced
            self.buffer = tf.Variable(tf.zeros((self.window, self.columns)), trainable=False, name="gradient_norms")
            self.count = tf.Variable(0, dtype=tf.int64, trainable=False, name="gradient_norms_count")

    def train_function(self):
        if self.model.distribute_strategy.num_replicas_in_sync > 1:
            raise RuntimeError("GradientNorms sees one replica: use keras.distribution instead of tf.distribute.")
        self.model.make_train_function(force=True)
        plain = self.model.train_function

        def traced(iterator):
            self._loss = None
            self._original, self._original_scale_loss = self.optimizer.apply, self.optimizer.scale_loss
            changes = [(self.optimizer, "apply", self._apply), (self.optimizer, "scale_loss", self._scale_loss)]
            if self.clips:
                changes.append((self.inner, "_clip_gradients", self._clip))
            with replaced(*changes):
                return plain(iterator)

        return traced

    def _count(self) -> int:
        return int(self.count.numpy())

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        return self.buffer.numpy()[numbers]

    def _apply(self, grads, trainable_variables=None):
        self.start()
        grads = list(grads)
        variables = self.optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)
        self._slot = self.count % self.window
        row, scale = self._norms(grads, variables), self._scale()
        loss = np.float32(np.nan) if self._loss is None else tf.cast(self._loss, tf.float32)
        parts = [row if scale is None else row / scale, tf.reshape(loss, (1,))]
        if self.clips:
            parts.append(tf.fill((2,), np.float32(np.nan)))
        if self.updates:
            before = [tf.identity(v.value) for v in self.variables]
            parts.append(norms(before))
            parts.append(tf.zeros(len(self.variables)))
        self.buffer.scatter_nd_update([[self._slot]], [tf.concat(parts, 0)])

        self._original(grads, trainable_variables)

        if self.updates:
            change = norms([v.value - b for v, b in zip(self.variables, before, strict=True)])
            self._write(self.columns - len(self.variables), change)
        with tf.control_dependencies([row]):  # the call that finds the data at its end makes no row
            self.count.assign_add(1)

    def _scale_loss(self, loss):
        self._loss = loss
        return self._original_scale_loss(loss)

    def _clip(self, grads):
        clipped = type(self.inner)._clip_gradients(self.inner, grads)
        before, after = (tf.norm(norms(list(g))) for g in (grads, clipped))
        self._write(len(self.variables) + 1, tf.stack([before, after]))
        return clipped

    def _write(self, column: int, values) -> None:
        rows = tf.fill(tf.shape(values), self._slot)
        columns = tf.range(column, column + values.shape[0], dtype=tf.int64)
        self.buffer.scatter_nd_update(tf.stack([rows, columns], axis=1), values)

    def _norms(self, grads: list, variables: list) -> tf.Tensor:
        """(variables,) float32; 0 where a variable has no gradient in this step."""
        known, columns = self.recorded(grads, variables)
        row = norms(known) if known else tf.zeros(0)
        if self.complete(columns):
            return row
        return tf.scatter_nd(np.array(columns, np.int32)[:, None], row, [len(self.variables)])

    def _scale(self):
        if self.inner is not self.optimizer:
            return self.optimizer.dynamic_scale.value if self.optimizer.built else self.optimizer.initial_scale
        return self.optimizer.loss_scale_factor


def norms(tensors: list) -> tf.Tensor:
    """L2 norm of each tensor that is not `None`: (n,) float32, right over the whole range of float32."""
    tensors = [_dense(t) for t in tensors if t is not None]
    small = [i for i, t in enumerate(tensors) if (t.shape.num_elements() or SMALL + 1) <= SMALL]
    large = sorted(set(range(len(tensors))) - set(small))
    rows = []
    if small:
        rows.append(_doubled([tensors[i] for i in small]))
    if large:
        rows.append(_guarded([tensors[i] for i in large]))
    row = tf.concat(rows, 0)
    return tf.gather(row, np.argsort(small + large)) if small and large else row


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
