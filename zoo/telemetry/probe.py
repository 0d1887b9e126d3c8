"""Activations and back-propagated gradients of every layer, on one fixed batch.

Weight-gradient norms alone hide one kind of vanishing: with ReLU and Glorot weights in square layers the
back-propagated gradient halves at every layer while weight gradients stay flat, because activations shrink the other
way. The probe measures both, in one forward and one backward pass.
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from zoo.telemetry.measures import MEASURES


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """What one batch showed. Arrays are (layers,) float32 unless said.

    A layer's activation is the output of the activation that follows it (through normalization, dropout or addition),
    or its own output where none does. Delta is the gradient of a sample's loss with respect to the layer's own output.

    Attributes:
        layers: names, as in `GradientHistory.layers`.
        has_kernel: bool; false for normalization and the like, which hold no weights between units.
        activations: name of each layer's activation function, "" where it has none.
        loss: of the batch.
        activation_mean, activation_std, activation_rms: over units and samples.
        variation: how much the activation tells samples apart: root mean square over units of the deviation over
            samples, divided by activation_rms. 0: the layer says the same whatever the input.
        output_rms: of the layer's own output (the pre-activation, where the activation is a layer of its own).
        delta_rms: over units and samples.
        delta_norm: L2 norm over a sample's units, root mean square over samples. Unlike the rms it can be compared
            between layers of different size.
        gradient_norm: L2 norm of the loss gradient over the layer's trainable variables.
        dead: share of units (channels) whose activation is zero on the whole batch.
        saturated: share of activation values where the slope is below 5 % of its largest (sigmoid, tanh, softsign).
        jacobian: mean singular value of the layer's Jacobian, activation included (Glorot & Bengio 2010, sec. 4.2.1),
            NaN for layers that are not dense; empty unless asked for.
    """

    layers: list[str]
    has_kernel: np.ndarray
    activations: list[str]
    loss: float
    activation_mean: np.ndarray
    activation_std: np.ndarray
    activation_rms: np.ndarray
    variation: np.ndarray
    output_rms: np.ndarray
    delta_rms: np.ndarray
    delta_norm: np.ndarray
    gradient_norm: np.ndarray
    dead: np.ndarray
    saturated: np.ndarray
    jacobian: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def arriving(self) -> float:
        """The share of the output layer's delta norm that reaches the first layer."""
        return float(self.delta_norm[0] / self.delta_norm[-1]) if self.delta_norm[-1] else 0.0


def probe(model: keras.Model, x, y, *, jacobian: bool = False) -> Probe:
    """Measure every layer of a compiled model on the batch (x, y), as in training; the model stays as it is.

    Args:
        model: compiled, with a loss that is a mean over the batch.
        x: (batch, ...) inputs, or a structure of them.
        y: targets.
        jacobian: also measure the mean singular value of dense layers' Jacobians, on up to 16 samples.

    Raises:
        RuntimeError: if the model is not compiled.
    """
    return Prober(model)(x, y, jacobian=jacobian)


class Prober:
    """`probe` for many batches of one model: the pass is compiled once (not on torch)."""

    def __init__(self, model: keras.Model):
        if getattr(model, "optimizer", None) is None:
            raise RuntimeError("the probe needs a compiled model: call model.compile(optimizer=..., loss=...) first.")
        self.model = model
        self._pass = _pass_of_backend()(model)

    def __call__(self, x, y, *, jacobian: bool = False) -> Probe:
        """Measure on the batch (x, y)."""
        x, y = keras.tree.map_structure(lambda a: a if a is None else keras.ops.convert_to_tensor(a), (x, y))
        if not self.model.built:
            self.model(x)
        loss, table, (names, has_kernel, activations) = self._pass(x, y)
        singular = self._pass.jacobians(x)[: len(names)] if jacobian else np.zeros(0, np.float32)
        return Probe(
            names,
            np.array(has_kernel),
            activations,
            float(loss),
            **dict(zip(MEASURES, table, strict=True)),
            jacobian=singular,
        )


def _pass_of_backend() -> type:
    backend = keras.config.backend()
    if backend == "tensorflow":
        from zoo.telemetry.pass_tensorflow import Pass
    elif backend == "jax":
        from zoo.telemetry.pass_jax import Pass
    elif backend == "torch":
        from zoo.telemetry.pass_torch import Pass
    else:
        raise RuntimeError(f"the probe cannot differentiate on the {backend} backend.")
    return Pass


class Probes(keras.callbacks.Callback):
    """Probes before the first step and at each epoch's end, on one batch.

    Args:
        x, y: the batch.
    """

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y
        self.results: list[Probe] = []
        self._prober = None

    def start(self, model: keras.Model) -> None:
        """Probe before the first step, if that has not been done."""
        if self._prober is None or self._prober.model is not model:
            self._prober = Prober(model)
        if not self.results:
            self.results.append(self._prober(self.x, self.y))

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start(self.model)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.results.append(self._prober(self.x, self.y))


def save_probes(path: str | Path, probes: list[Probe]) -> None:
    """Write probes to one `.npz` without pickles: names once, each measure as (probes, layers)."""
    first = probes[0]
    np.savez_compressed(
        path,
        layers=np.array(first.layers),
        has_kernel=first.has_kernel,
        activations=np.array(first.activations),
        loss=np.array([p.loss for p in probes], np.float32),
        **{name: np.stack([getattr(p, name) for p in probes]) for name in MEASURES},
    )


def load_probes(path: str | Path) -> list[Probe]:
    """Read what `save_probes` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    layers, activations = arrays["layers"].tolist(), arrays["activations"].tolist()
    return [
        Probe(layers, arrays["has_kernel"], activations, float(loss), **{name: arrays[name][i] for name in MEASURES})
        for i, loss in enumerate(arrays["loss"])
    ]
