"""The probe's pass in torch."""

import contextlib
from typing import Any

import keras
import numpy as np
import torch

from zoo.telemetry.calls import Recorder
from zoo.telemetry.dry_step import Assigned, without_update
from zoo.telemetry.jacobian import singular_values
from zoo.telemetry.keras_private import raw_value
from zoo.telemetry.layers import all_layers
from zoo.telemetry.plan import Plan
from zoo.telemetry.probe_table import SCALE
from zoo.telemetry.reading import Outline


class Pass:
    """The training step over a batch, without its update; it leaves the model's state as it was."""

    def __init__(self, model: keras.Model):
        self.model = model

    def begin_anew(self) -> None:
        """Run as one that was just made does: it does so already."""

    def share(self, other: "Pass") -> None:
        """Nothing is shared here."""

    def __call__(self, x, y) -> tuple[Outline, dict]:
        """Return an outline and its tensors."""
        model = self.model
        buffers = [buffer for layer in [model, *all_layers(model)] for buffer in layer.buffers()]  # of torch modules
        before, mode = [buffer.detach().clone() for buffer in buffers], model.training
        parameters = [raw_value(v) for v in model.trainable_variables]
        gradients = [parameter.grad for parameter in parameters]
        assigned = Assigned()
        model.train()
        try:
            with same_draws(), assigned.watched(lambda variable: raw_value(variable).detach().clone()):
                return self._run(x, y)
        finally:
            model.train(mode)
            assigned.restore()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)

    def _run(self, x, y) -> tuple[Outline, dict]:
        variables = self.model.trainable_variables
        self._losses, self._events, self._gradients = [], [], [None] * len(variables)
        self._parameters = [raw_value(v) for v in variables]
        self._place = {id(v): i for i, v in enumerate(variables)}
        self._recorder = recorder = Recorder(zero=self._zero)
        with (
            _backward(self._backward),
            recorder.watching(self.model),
            without_update(self.model, "apply", self._apply),
        ):
            self.model.train_step(keras.utils.pack_x_y_sample_weight(x, y))
        plan = Plan.of(self.model, recorder, lambda t: True)
        samples = len(keras.tree.flatten(x)[0])
        with torch.no_grad():
            made = Outline.of(plan, self._losses, self._events, self._gradients, samples, _on_host())
        del self._recorder, self._events, self._losses, self._gradients, self._parameters  # they hold every activation
        return made

    def _zero(self, key, shape, dtype):
        zero: Any = keras.ops.zeros(shape, dtype)
        self._recorder.zeros[key] = zero.requires_grad_()
        return zero

    def _backward(self, loss, options: dict) -> None:
        """Do what `loss.backward()` does, and ask for the deltas in the same pass."""
        wanted = {key: t for key, t in self._recorder.differentiable().items() if t.requires_grad}
        leaves = [i for i, p in enumerate(self._parameters) if p.requires_grad]
        scale = torch.full_like(loss, SCALE)
        found = torch.autograd.grad(
            loss, [*(self._parameters[i] for i in leaves), *wanted.values()], scale, allow_unused=True, **options
        )
        self._losses.append(loss.detach().float().sum())
        deltas = {key: d for key, d in zip(wanted, found[len(leaves) :], strict=True) if d is not None}
        trained = set()
        for i, gradient in zip(leaves, found[: len(leaves)], strict=True):
            if gradient is not None:
                parameter, gradient = self._parameters[i], gradient / SCALE
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
                trained.add(i)
        self._events.append((trained, deltas))

    def _apply(self, grads, trainable_variables=None):
        variables = self.model.trainable_variables if trainable_variables is None else list(trainable_variables)
        used = set()
        for gradient, variable in zip(grads, variables, strict=True):
            if id(variable) in self._place:
                used.add(self._place[id(variable)])
                if gradient is not None:
                    self._gradients[self._place[id(variable)]] = gradient.detach().clone()
        if self._events:  # what went backward through other parts of the model trains these alone
            trained, deltas = self._events[-1]
            self._events[-1] = trained & used, deltas

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        with torch.no_grad():
            return singular_values(self.model, x, _slope)


@contextlib.contextmanager
def _backward(method):
    """Within it, `method` takes the place of `loss.backward()`."""
    original = torch.Tensor.backward

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        if gradient is not None or inputs is not None:
            return original(self, gradient, retain_graph, create_graph, inputs)
        return method(self, {"retain_graph": retain_graph, "create_graph": create_graph})

    torch.Tensor.backward = backward
    try:
        yield
    finally:
        torch.Tensor.backward = original


def same_draws():
    """Keras draws dropout from torch's global generator: within this, it is not advanced."""
    device = _device()
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)


def _device() -> torch.device:
    """Where Keras puts its tensors."""
    zero: Any = keras.ops.zeros(())
    return zero.device


def _on_host() -> bool:
    return _device().type == "cpu"


@torch.enable_grad()
def _slope(function, z):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(function(z).sum(), z)[0]
