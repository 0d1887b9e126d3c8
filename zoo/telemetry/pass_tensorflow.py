"""The probe's forward and backward pass in TensorFlow."""

import keras
import numpy as np
import tensorflow as tf

from zoo.telemetry.probe import JACOBIAN_SAMPLES, SATURATION, Site, recorded_calls, sites


class Pass:
    """One compiled pass over a batch that leaves the model's state (moving statistics, dropout seeds) as it was."""

    def __init__(self, model: keras.Model):
        self.model = model
        self._compiled = tf.function(self._run, autograph=False, reduce_retracing=True)

    def __call__(self, x, y) -> tuple:
        """Return loss, (measures, layers) table and (names, has_kernel, activations)."""
        x, y = keras.tree.map_structure(tf.convert_to_tensor, (x, y))
        loss, table = self._compiled(x, y)
        return loss.numpy(), table.numpy(), self._legend

    def _run(self, x, y):
        state = [v for v in self.model.variables if not v.trainable]
        before = [tf.identity(v.value) for v in state]
        with tf.GradientTape() as tape:
            with recorded_calls(self.model) as calls:
                outputs = self.model(x, training=True)
            loss = self.model.compute_loss(x=x, y=y, y_pred=outputs, training=True)
            scaled = self.model.optimizer.scale_loss(loss)
        found = sites(self.model, calls)
        targets = [call.outputs[0] for site in found for call in site.calls]
        variables = self.model.trainable_variables
        gradients = tape.gradient(scaled, [*targets, *variables], unconnected_gradients="zero")
        scale = tf.cast(scaled / loss, tf.float32) if scaled is not loss else 1.0
        gradients = [tf.cast(tf.convert_to_tensor(g), tf.float32) / scale for g in gradients]
        deltas, weights = iter(gradients[: len(targets)]), gradients[len(targets) :]
        samples = tf.cast(tf.shape(keras.tree.flatten(x)[0])[0], tf.float32)
        rows = [
            _measure(site, [samples * next(deltas) for _ in site.calls], [weights[k] for k in site.variables], samples)
            for site in found
        ]
        for variable, value in zip(state, before, strict=True):
            variable.assign(value)
        self._legend = (
            [site.name for site in found],
            [site.has_kernel for site in found],
            [site.activation for site in found],
        )
        return tf.cast(loss, tf.float32), tf.transpose(tf.stack(rows))

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        x = keras.tree.map_structure(lambda a: tf.convert_to_tensor(a[:JACOBIAN_SAMPLES]), x)
        with recorded_calls(self.model) as calls:
            self.model(x, training=False)
        return np.array([_mean_singular_value(site) for site in sites(self.model, calls)], np.float32)


def _measure(site: Site, deltas: list, weights: list, samples) -> tf.Tensor:
    """Return one layer's measures, in the order of `MEASURES`. Several calls of a shared layer count together."""
    if not site.calls:
        nothing = tf.constant(np.nan, tf.float32)
        return tf.stack([nothing] * 7 + [_norm(weights)] + [nothing] * 2)
    values = [tf.cast(call.outputs[0], tf.float32) for call in site.after]
    mean = _over(values, lambda v: v)
    square = _over(values, tf.square)
    dead = tf.reduce_mean(
        tf.stack([tf.reduce_mean(tf.cast(tf.reduce_all(tf.equal(_units(v), 0.0), 0), tf.float32)) for v in values])
    )
    low, high = SATURATION.get(site.activation, (-np.inf, np.inf))
    saturated = _over(values, lambda v: tf.cast((v < low) | (v > high), tf.float32))
    std = tf.sqrt(tf.maximum(square - mean**2, 0.0))
    delta_norm = _norm(deltas) / tf.sqrt(samples)
    size = tf.cast(tf.add_n([tf.size(d) for d in deltas]), tf.float32)
    delta_rms = _norm(deltas) / tf.sqrt(size)
    spread = tf.reduce_mean(tf.stack([tf.reduce_mean(tf.math.reduce_variance(v, 0)) for v in values]))
    variation = tf.sqrt(tf.math.divide_no_nan(spread, square))
    output_rms = tf.sqrt(_over([tf.cast(call.outputs[0], tf.float32) for call in site.calls], tf.square))
    return tf.stack(
        [mean, std, tf.sqrt(square), variation, output_rms, delta_rms, delta_norm, _norm(weights), dead, saturated]
    )


def _over(values: list, function) -> tf.Tensor:
    return tf.reduce_mean(tf.stack([tf.reduce_mean(function(v)) for v in values]))


def _norm(tensors: list) -> tf.Tensor:
    """L2 norm of all entries together; divided by the largest first, so that no square leaves float32."""
    largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(t)) for t in tensors]))
    divisor = tf.where(largest > 0, largest, 1.0)
    return divisor * tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(t / divisor)) for t in tensors]))


def _units(values: tf.Tensor) -> tf.Tensor:
    """(batch, ..., units) -> (batch * ..., units)."""
    return tf.reshape(values, (-1, values.shape[-1]))


def _mean_singular_value(site: Site) -> float:
    if not site.calls or not isinstance(site.calls[0].layer, keras.layers.Dense):
        return np.nan
    dense, after = site.calls[0].layer, site.after[0].layer
    z = tf.matmul(_units(tf.cast(site.calls[0].inputs[0], tf.float32)), dense.kernel)
    z = z + dense.bias if dense.use_bias else z
    with tf.GradientTape() as tape:
        tape.watch(z)
        h = dense.activation(z)
        h = h if after is dense else after(h)
    slope = tape.gradient(h, z)
    jacobian = slope[:, None, :] * dense.kernel[None]
    return float(tf.reduce_mean(tf.linalg.svd(jacobian, compute_uv=False)))
