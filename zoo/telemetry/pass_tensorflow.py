"""The probe's forward and backward pass in TensorFlow."""

import keras
import numpy as np
import tensorflow as tf

from zoo.telemetry import measures
from zoo.telemetry.sites import recorded_calls, sites


class Pass:
    """One compiled pass over a batch that leaves the model's state (moving statistics, dropout seeds) as it was."""

    def __init__(self, model: keras.Model):
        self.model = model
        self._compiled = tf.function(self._run, autograph=False, reduce_retracing=True)

    def __call__(self, x, y) -> tuple:
        """Return loss, (measures, layers) table and (names, has_kernel, activations)."""
        loss, table = self._compiled(x, y)
        return loss.numpy(), table.numpy(), self._legend

    def _run(self, x, y):
        state = [v for v in self.model.variables if not v.trainable]
        before = [tf.identity(v.value) for v in state]
        with tf.GradientTape() as tape:
            with recorded_calls(self.model) as calls:
                outputs = self.model(x, training=True)
            loss = self.model._compute_loss(x=x, y=y, y_pred=outputs, training=True)
            scaled = loss * measures.SCALE
        graph = getattr(loss, "graph", None)
        found = sites(self.model, measures.usable(calls, lambda t: getattr(t, "graph", None) is graph))
        targets = [call.outputs[0] for site in found for call in site.calls]
        gradients = tape.gradient(scaled, [*targets, *self.model.trainable_variables], unconnected_gradients="zero")
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        table = measures.table(
            found,
            [([c.outputs[0] for c in site.calls], [c.outputs[0] for c in site.after]) for site in found],
            gradients[: len(targets)],
            gradients[len(targets) :],
            measures.SCALE,
            tf.shape(keras.tree.flatten(x)[0])[0],
        )
        for variable, value in zip(state, before, strict=True):
            variable.assign(value)
        self._legend = measures.legend(found)
        return tf.cast(loss, tf.float32), table

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        return measures.singular_values(self.model, x, _slope)


def _slope(function, z):
    with tf.GradientTape() as tape:
        tape.watch(z)
        h = function(z)
    return tape.gradient(h, z)
