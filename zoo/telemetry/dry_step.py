"""The model's own training step without its update, and without a trace in the model."""

import contextlib
from collections.abc import Callable, Iterator

import keras

from zoo.telemetry.layers import all_layers, optimizers_of, replaced


@contextlib.contextmanager
def without_update(model: keras.Model, method: str, apply: Callable) -> Iterator[None]:
    """Within it, the model's optimizers hand their gradients to `apply` instead of using them, and scale no loss.

    Args:
        model: compiled, or with optimizers of its own.
        method: that applies gradients: "apply" or "stateless_apply".
        apply: takes its place.
    """
    changes = [(model, "compute_metrics", lambda *args, **kwargs: {})]
    for optimizer in optimizers_of(model):
        changes += [(optimizer, method, apply), (optimizer, "scale_loss", lambda loss: loss)]
    with replaced(*changes):
        yield


class Assigned:
    """The variables that a pass assigns, with the values that they had before it.

    Dropout's seeds, moving statistics, states of recurrent layers and spectrally normalized kernels are written in the
    forward pass, and not all of them are among the model's variables.
    """

    def __init__(self):
        self.before: dict[int, tuple[keras.Variable, object]] = {}

    @contextlib.contextmanager
    def watched(self, keep: Callable) -> Iterator[None]:
        """Note each variable that is assigned in the block; `keep(variable)` returns a copy of its value."""
        kind = keras.Variable
        original = kind.assign

        def assign(variable, value):
            if id(variable) not in self.before:
                self.before[id(variable)] = variable, keep(variable)
            return original(variable, value)

        kind.assign = assign
        try:
            yield
        finally:
            kind.assign = original

    def restore(self) -> None:
        """Give each its value back."""
        for variable, value in self.before.values():
            variable.assign(value)


def built(model: keras.Model, x) -> None:
    """Let a model that gets its weights with its first batch have them, without the draws that a call makes."""
    own_step = type(model).train_step is not keras.Model.train_step
    if own_step and all(layer.built for layer in all_layers(model)):
        return  # nor need it have a `call`: a GAN's parts are called by its step
    if not model.built:
        with keras.StatelessScope():
            model(x)
