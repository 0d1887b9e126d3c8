"""Optimizers that Keras lacks."""

import functools
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class EMAMomentum(keras.optimizers.Optimizer):
    """Momentum as an exponential moving average: v = gamma v + (1 - gamma) g; w -= rate v.

    Its steps are 1 - gamma times those of the usual v = gamma v + g at the same rate.

    Args:
        learning_rate: number or schedule.
        gamma: share of the old average that is kept, in [0, 1).
        options: of every Keras optimizer (clipping, weight decay, accumulation).
    """

    def __init__(self, learning_rate=0.01, gamma: float = 0.9, name: str = "ema_momentum", **options):
        super().__init__(learning_rate=learning_rate, name=name, **options)
        self.gamma = gamma

    def build(self, variables) -> None:
        if self.built:
            return
        super().build(variables)
        self._averages = self.add_optimizer_variables(variables, "average")

    def update_step(self, gradient, variable, learning_rate) -> None:
        rate = ops.cast(learning_rate, variable.dtype)
        fresh: Any = ops.cast(gradient, variable.dtype)
        average = self._averages[self._get_variable_index(variable)]
        self.assign(average, self.gamma * average + (1.0 - self.gamma) * fresh)
        self.assign_sub(variable, rate * average)

    def get_config(self) -> dict:
        return {**super().get_config(), "gamma": self.gamma}


@functools.cache
def normalized(optimizer: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Return `optimizer` with each variable's gradient divided by its own L2 norm: g / (|g| + 1e-12).

    The class is registered with Keras as `zoo>Normalized...`, so that saved models load where `zoo.optimizers` has
    been asked for it.
    """

    class Normalized(optimizer):
        # The place where Keras clips: after unscaling and accumulation, before weight decay and the update.
        def _clip_gradients(self, grads):
            return [g if g is None else g / (ops.norm(ops.reshape(g, (-1,))) + 1e-12) for g in grads]

    Normalized.__name__ = Normalized.__qualname__ = f"Normalized{optimizer.__name__}"
    return keras.saving.register_keras_serializable("zoo")(Normalized)
