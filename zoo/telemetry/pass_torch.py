"""The probe's forward and backward pass in torch."""

import keras
import numpy as np
import torch

from zoo.telemetry import measures
from zoo.telemetry.layers import layers_in_order
from zoo.telemetry.sites import recorded_calls, sites


class Pass:
    """A pass over a batch that leaves the model's state (moving statistics, gradients, dropout) as it was."""

    def __init__(self, model: keras.Model):
        self.model = model

    def __call__(self, x, y) -> tuple:
        """Return loss, (measures, layers) table and (names, has_kernel, activations)."""
        model = self.model
        state = [v.value for v in model.variables if not v.trainable]
        state += [buffer for layer in layers_in_order(model) for buffer in layer.buffers()]  # of torch modules
        before, mode = [tensor.detach().clone() for tensor in state], model.training
        model.train()
        try:
            with _same_dropout(), recorded_calls(model) as calls:
                outputs = model(x, training=True)
            loss = model._compute_loss(x=x, y=y, y_pred=outputs, training=True)
            scaled = loss * measures.SCALE
            found = sites(model, measures.usable(calls, lambda t: True))
            targets = [call.outputs[0] for site in found for call in site.calls]
            gradients = _gradients(scaled, [*targets, *(v.value for v in model.trainable_variables)])
        finally:
            model.train(mode)
            with torch.no_grad():
                for tensor, value in zip(state, before, strict=True):
                    tensor.copy_(value)
        with torch.no_grad():
            table = measures.table(
                found,
                [([c.outputs[0] for c in site.calls], [c.outputs[0] for c in site.after]) for site in found],
                gradients[: len(targets)],
                gradients[len(targets) :],
                measures.SCALE,
                len(keras.tree.flatten(x)[0]),
            )
        return loss.item(), table.cpu().numpy(), measures.legend(found)

    def jacobians(self, x) -> np.ndarray:
        """Return (layers,) mean singular values of dense layers' Jacobians; NaN for other layers."""
        with torch.no_grad():
            return measures.singular_values(self.model, x, _slope)


def _same_dropout():
    """Keras draws dropout from torch's global generator: within this, it is not advanced."""
    device = keras.ops.zeros(()).device
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)


def _gradients(loss, tensors: list) -> list:
    """0 for what the loss does not depend on."""
    wanted = [t for t in tensors if t.requires_grad]
    found = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
    gradients = [next(found) if t.requires_grad else None for t in tensors]
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)]


@torch.enable_grad()
def _slope(function, z):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(function(z).sum(), z)[0]
