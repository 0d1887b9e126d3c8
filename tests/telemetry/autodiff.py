"""Each backend's own derivatives, written by hand: what the telemetry is compared with."""

import keras
import numpy as np

BACKEND = keras.config.backend()


def value_and_gradients(loss, variables: list[keras.Variable], *, compiled: bool = False) -> tuple:
    """Return the value of `loss()` and its gradients with respect to Keras variables, as the backend's tensors.

    On JAX it is `compiled` as a whole where that is asked for, and for a large model.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        grads = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
        grads = [tf.convert_to_tensor(g) for g in grads]
    elif BACKEND == "jax":
        import jax

        def function(values):
            with keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True):
                return loss()

        function = jax.value_and_grad(function)
        if compiled or len(variables) > 100:  # a large model takes minutes operation by operation
            function = jax.jit(function)
        value, grads = function([v.value for v in variables])
    else:
        import torch

        value = loss()
        grads = list(torch.autograd.grad(value, [v.value for v in variables], materialize_grads=True))
        value = value.detach()
    return value, grads


def apply(optimizer: keras.Optimizer, grads: list, variables: list[keras.Variable]) -> None:
    """Update `variables` outside of any training loop of Keras'."""
    if BACKEND != "torch":
        optimizer.apply(grads, variables)
        return
    import torch

    with torch.no_grad():
        optimizer.apply(grads, variables)


def norm(tensor) -> float:
    """L2 norm, summed in float64."""
    return float(np.sqrt(np.sum(np.square(keras.ops.convert_to_numpy(tensor), dtype="float64"))))


def weighted(factor: float) -> type[keras.Model]:
    """Return a model whose own train step trains on `factor` times the loss."""

    class Weighted(keras.Model):
        if BACKEND == "tensorflow":

            def train_step(self, batch):
                import tensorflow as tf

                x, y = batch
                with tf.GradientTape() as tape:
                    loss = factor * self.compute_loss(x, y, self(x, training=True))
                grads = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
                return {"loss": loss}

        elif BACKEND == "jax":

            def train_step(self, state, batch):
                import jax

                trainable, others, of_optimizer, metrics = state
                x, y = batch

                def function(trainable):
                    outputs, others_after = self.stateless_call(trainable, others, x, training=True)
                    return factor * self.compute_loss(x, y, outputs), others_after

                (loss, others), grads = jax.value_and_grad(function, has_aux=True)(trainable)
                trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, grads, trainable)
                return {"loss": loss}, (trainable, others, of_optimizer, metrics)

        else:

            def train_step(self, batch):
                import torch

                x, y = batch
                loss = factor * self.compute_loss(x, y, self(x, training=True))
                self.zero_grad()
                loss.backward()
                with torch.no_grad():
                    self.optimizer.apply([v.value.grad for v in self.trainable_variables], self.trainable_variables)
                return {"loss": loss}

    return Weighted
