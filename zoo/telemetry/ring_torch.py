"""The ring buffer of gradient norms inside torch's training step."""

import numpy as np
import torch

from zoo.telemetry.ring import LARGEST, SMALLEST, Ring, replaced

PIECE = 2**16  # entries that float32 sums without losing the sixth digit


class TorchRing(Ring):
    """Rows in a tensor beside the weights; on an accelerator no step waits for them."""

    def _allocate(self) -> None:
        device = self.variables[0].value.device if self.variables else "cpu"
        self.buffer = torch.zeros((self.window, self.columns), device=device)
        self.count = 0

    def train_function(self):
        self.model.make_train_function(force=True)
        plain = self.model.train_function

        def traced(data):
            self.start()
            self._loss = None
            self._original, self._original_scale_loss = self.optimizer.apply, self.optimizer.scale_loss
            changes = [(self.optimizer, "apply", self._apply), (self.optimizer, "scale_loss", self._scale_loss)]
            if self.clips:
                changes.append((self.inner, "_clip_gradients", self._clip))
            with replaced(*changes):
                return plain(data)

        return traced

    def _count(self) -> int:
        return self.count

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        return self.buffer[torch.from_numpy(numbers).to(self.buffer.device)].cpu().numpy()

    # Where `jit_compile` has torch compile the step, this stays outside: a counter in Python would be compiled anew
    # for each step.
    @torch.compiler.disable(recursive=False)
    @torch.no_grad()
    def _apply(self, grads, trainable_variables=None):
        grads = list(grads)
        variables = self.optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)
        self._row = row = self.buffer[self.count % self.window]
        n = len(self.variables)
        row.fill_(torch.nan)
        known, columns = self.recorded(grads, variables)
        row[:n] = 0.0
        if known:
            row[slice(n) if self.complete(columns) else columns] = norms(known, row.device)
        scale = self._scale()
        if scale is not None:
            row[:n] /= scale
        if self._loss is not None:
            row[n] = self._loss
        if self.updates:
            before = [v.value.clone() for v in self.variables]
            row[-2 * n : -n] = norms(before, row.device)

        self._original(grads, trainable_variables)

        if self.updates:
            row[-n:] = norms(torch._foreach_sub([v.value for v in self.variables], before), row.device)
        self.count += 1

    def _scale_loss(self, loss):
        self._loss = loss.detach()
        return self._original_scale_loss(loss)

    def _clip(self, grads):
        clipped = type(self.inner)._clip_gradients(self.inner, grads)
        n = len(self.variables)
        for column, tensors in ((n + 1, grads), (n + 2, clipped)):
            self._row[column] = norms(norms(tensors, self._row.device)[None], self._row.device)[0]
        return clipped

    def _scale(self):
        if self.inner is not self.optimizer:
            return self.optimizer.dynamic_scale.value if self.optimizer.built else self.optimizer.initial_scale
        return self.optimizer.loss_scale_factor


def norms(tensors: list, device) -> torch.Tensor:
    """L2 norm of each tensor: (n,) float32 on `device`, right over the whole range of float32."""
    tensors = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    kinds = {t.device.type for t in tensors}
    if kinds == {"cpu"}:
        return _on_cpu(tensors).to(device)
    if "mps" in kinds:  # has no float64
        return torch.stack([_over_maximum(t).to(device) for t in tensors])
    # Without a look at the values, for which the host would have to wait.
    return torch.stack([norm.to(device) for norm in torch._foreach_norm(tensors, 2, torch.float64)]).float()


def _on_cpu(tensors: list) -> torch.Tensor:
    """In float32, which is some times faster, and again in float64 where a square may have left float32's range."""
    tensors = [t.float() for t in tensors]
    pieces = [t.reshape(-1).split(PIECE) if t.numel() > PIECE else (t,) for t in tensors]
    parts = torch.stack(torch._foreach_norm([piece for split in pieces for piece in split]))
    if len(parts) > len(tensors):
        parts = torch.stack([torch.linalg.vector_norm(p) for p in parts.split([len(split) for split in pieces])])
    for i in ((parts < SMALLEST**0.5) | ~(parts < LARGEST**0.5)).nonzero().ravel().tolist():
        parts[i] = torch.linalg.vector_norm(tensors[i], dtype=torch.float64)
    return parts


def _over_maximum(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.float()
    largest = tensor.abs().max()
    divisor = torch.where(largest.isfinite() & (largest > 0), largest, torch.ones_like(largest))
    return divisor * torch.linalg.vector_norm(tensor / divisor)
