"""The probe's forward and backward pass in JAX."""

import jax
import keras
import numpy as np
from jax import numpy as jnp

from zoo.telemetry import measures
from zoo.telemetry.ring_jax import trace_of
from zoo.telemetry.sites import recorded_calls, sites


class Pass:
    """One compiled pass over a batch; it is stateless, so the model's state (moving statistics, seeds) stays."""

    def __init__(self, model: keras.Model):
        self.model = model
        self._compiled = jax.jit(self._run)

    def __call__(self, x, y) -> tuple:
        """Return loss, (measures, layers) table and (names, has_kernel, activations)."""
        model = self.model
        model.jax_state_sync()
        groups = (model.trainable_variables, model.non_trainable_variables)
        loss, table = self._compiled([[v.value for v in group] for group in groups], x, y)
        return np.asarray(loss), np.asarray(table), self._legend

    def _run(self, state, x, y):
        trainable, others = state
        # Keras asks for these too, but the loss does not depend on them. As arguments they would have the pass compiled
        # anew after the first step, which makes the optimizer's slots and the metrics.
        of_metrics, of_optimizer = (
            [v.value for v in group] for group in (self.model.metrics_variables, self.model.optimizer.variables)
        )

        def forward(zeros, trainable):
            def shift(number, output):
                return output + zeros[number] if number in zeros else output

            with recorded_calls(self.model, shift) as calls:
                _, (loss, *_) = self.model.compute_loss_and_updates(
                    trainable, others, of_metrics, x, y, None, training=True, optimizer_variables=of_optimizer
                )
            return loss * measures.SCALE, loss, calls

        reached, numbers, shapes = set(), [], []

        def look(trainable):
            _, loss, calls = forward({}, trainable)
            known = measures.usable(calls, lambda t: trace_of(t) in (None, trace_of(loss)))
            reached.update(calls.index(call) for call in known)
            for site in sites(self.model, known):
                numbers.extend(calls.index(call) for call in site.calls)
                shapes.extend((call.outputs[0].shape, call.outputs[0].dtype) for call in site.calls)

        def differentiated(zeros, trainable):
            scaled, loss, calls = forward(zeros, trainable)
            found = sites(self.model, [call for number, call in enumerate(calls) if number in reached])
            tensors = [([c.outputs[0] for c in site.calls], [c.outputs[0] for c in site.after]) for site in found]
            self._found = found
            return scaled, (loss, tensors)

        # JAX differentiates with respect to what a function is given, not to what it computes on its way: so a zero is
        # added to every output whose gradient is wanted. A first look, without computing, tells which ones.
        jax.eval_shape(look, trainable)
        zeros = {number: jnp.zeros(*shape) for number, shape in zip(numbers, shapes, strict=True)}
        passed = jax.value_and_grad(differentiated, argnums=(0, 1), has_aux=True)(zeros, trainable)
        (_, (loss, tensors)), (deltas, gradients) = passed
        found, self._found = self._found, None
        self._legend = measures.legend(found)
        table = measures.table(
            found,
            tensors,
            [deltas[number] for number in numbers],
            gradients,
            measures.SCALE,
            keras.tree.flatten(x)[0].shape[0],
        )
        return jnp.asarray(loss, jnp.float32), table

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        return measures.singular_values(self.model, x, _slope)


def _slope(function, z):
    return jax.grad(lambda z: jnp.sum(function(z)))(z)
