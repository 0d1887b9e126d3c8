"""The ring buffer of gradient norms inside torch's training step."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import _foreach_norm, _foreach_sub  # pyright: ignore[reportPrivateImportUsage]

from zoo.telemetry.backends.recorder import LARGEST, SMALLEST, StatefulRing, Tap
from zoo.telemetry.keras_private import clipped, trained_by
from zoo.telemetry.layers import replaced

PIECE = 2**16  # entries that float32 sums without losing the sixth digit


class Recorder(StatefulRing):
    """Rows in a tensor beside the weights; on an accelerator no step waits for them."""

    def _allocate(self) -> None:
        device = self.variables[0].value.device if self.variables else "cpu"
        self.buffer = torch.zeros((self.window, len(self.columns)), device=device)
        self._empty = torch.from_numpy(self.columns.blank()).to(device)
        self.count = 0

    def train_function(self):
        self.model.make_train_function(force=True)
        plain: Any = self.model.train_function

        def watched(data):
            changes = []
            if self.several or not self.model.trainable_variables:
                step = functools.partial(self._train_step, self.model.train_step)
                changes.append((self.model, "train_step", step))
            with replaced(*changes), self.watching():
                return plain(data)

        def traced(data):
            if self._order is not None or not self.model.jit_compile:
                return watched(data)
            with torch.compiler.set_stance("force_eager"):  # else what notes the order is compiled into the step
                return watched(data)

        return traced

    def _count(self) -> int:
        return self.count

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        return self.buffer[torch.from_numpy(numbers).to(self.buffer.device)].cpu().numpy()

    # Where `jit_compile` has torch compile the step, this stays outside: a counter in Python would be compiled anew
    # for each step.
    @torch.compiler.disable(recursive=False)
    @torch.no_grad()
    def _apply(self, tap: Tap, grads, trainable_variables=None):
        self.start()
        grads = list(grads)
        variables = trained_by(tap.optimizer) if trainable_variables is None else list(trainable_variables)
        known, columns = self.recorded(grads, variables)
        if self.several:
            self._enter(tap, columns)
        else:
            self._blank()
        if known:
            row, scale = norms(known, self.buffer.device), tap.scale()
            self._write(columns, row if scale is None else row / scale)
        if self._loss is not None:
            self._write([self.columns.loss], self._loss)
        # With several optimizers the others' variables are theirs to tell of.
        places = columns if self.several else range(len(self.variables))
        own = [self.variables[i] for i in places] if self.updates else []
        if own:
            before = [v.value.clone() for v in own]
            self._write([self.columns.weight_norms.start + i for i in places], norms(before, self.buffer.device))

        tap.apply(grads, trainable_variables)

        if own:
            change = _foreach_sub([v.value for v in own], before)
            self._write([self.columns.update_norms.start + i for i in places], norms(change, self.buffer.device))
        if not self.several:
            self._close()

    def _known_loss(self, loss):
        return loss.detach()

    def _clip(self, tap: Tap, grads):
        used = clipped(tap.inner, grads)
        device = self._row.device
        for column, tensors in enumerate((grads, used), start=self.columns.clip_norms.start):
            total = norms(norms(tensors, device)[None], device)
            if self.several:
                total = torch.hypot(total, self._row[column].nan_to_num(0.0))
            self._row[column] = total[0]
        return used

    def _blank(self) -> None:
        self._row = self.buffer[self.count % self.window]
        self._row.copy_(self._empty)

    def _write(self, columns: list[int], values) -> None:
        first = columns[0]
        if columns == list(range(first, first + len(columns))):
            self._row[first : first + len(columns)] = values
        else:
            self._row[torch.tensor(columns, device=self._row.device)] = values

    def _close(self) -> None:
        self.count += 1


def norms(tensors: Iterable[torch.Tensor], device) -> torch.Tensor:
    """L2 norm of each tensor: (n,) float32 on `device`, right over the whole range of float32."""
    tensors = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    kinds = {t.device.type for t in tensors}
    if kinds == {"cpu"}:
        return _on_cpu(tensors).to(device)
    if "mps" in kinds:  # has no float64
        return torch.stack([_over_maximum(t).to(device) for t in tensors])
    # Without a look at the values, for which the host would have to wait.
    return torch.stack([norm.to(device) for norm in _foreach_norm(tensors, 2, torch.float64)]).float()


def _on_cpu(tensors: list) -> torch.Tensor:
    """In float32, which is some times faster, and again in float64 where a square may have left float32's range."""
    tensors = [t.float() for t in tensors]
    pieces = [t.reshape(-1).split(PIECE) if t.numel() > PIECE else (t,) for t in tensors]
    parts = torch.stack(_foreach_norm([piece for split in pieces for piece in split]))
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
