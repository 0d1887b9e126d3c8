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


def _norm(gradient) -> Any:
    # Flat: of an embedding, whose gradient is rows, a row that occurs twice counts as their sum.
    return None if gradient is None else ops.norm(ops.reshape(gradient, (-1,)))


def _whole_norm(gradients) -> Any:
    return ops.norm(ops.stack([_norm(g) for g in gradients if g is not None]))


@functools.cache
def normalized(optimizer: type[keras.optimizers.Optimizer], *, whole: bool = False) -> type[keras.optimizers.Optimizer]:
    """Return `optimizer` with each variable's gradient divided by its own L2 norm: g / (|g| + 1e-12).

    With `whole` all are divided by one number, the norm of all of them together.

    The class is registered with Keras as `zoo>Normalized...`, so that saved models load where `zoo.optimizers` has
    been asked for it.
    """

    class Normalized(optimizer):
        # The place where Keras clips: after unscaling and accumulation, before weight decay and the update.
        def _clip_gradients(self, grads):
            norms = [_whole_norm(grads)] * len(grads) if whole else [_norm(g) for g in grads]
            return [g if g is None else g / (norm + 1e-12) for g, norm in zip(grads, norms, strict=True)]

    Normalized.__name__ = Normalized.__qualname__ = f"{'Whole' if whole else ''}Normalized{optimizer.__name__}"
    return keras.saving.register_keras_serializable("zoo")(Normalized)


@functools.cache
def clipped_from(
    optimizer: type[keras.optimizers.Optimizer], first: int, norm: float
) -> type[keras.optimizers.Optimizer]:
    """Return `optimizer` which, from step `first` on, shortens all gradients together to at most `norm`.

    What clipping it has besides comes before. The class is registered with Keras as `normalized`'s is.
    """

    class Clipped(optimizer):
        def _clip_gradients(self, grads):
            grads = super()._clip_gradients(grads)
            whole: Any = ops.maximum(_whole_norm(grads), norm)
            step: Any = self.iterations
            share = ops.where(step < first, 1.0, norm / whole)
            return [g if g is None else ops.multiply(g, ops.cast(share, g.dtype)) for g in grads]

    Clipped.__name__ = Clipped.__qualname__ = f"Clipped{optimizer.__name__}From{first}To{norm:g}"
    return keras.saving.register_keras_serializable("zoo")(Clipped)
