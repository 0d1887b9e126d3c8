"""Activations and back-propagated gradients of every layer, on one fixed batch.

Weight-gradient norms alone hide one kind of vanishing: with ReLU and Glorot weights in square layers the
back-propagated gradient halves at every layer while weight gradients stay flat, because activations shrink the other
way. The probe measures both, in one forward and one backward pass.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from zoo.telemetry.layers import layers_in_order, owners

# An output beyond these bounds is where the derivative is below 5 % of its largest.
SATURATION = {
    "sigmoid": (0.5 - 0.95**0.5 / 2, 0.5 + 0.95**0.5 / 2),
    "tanh": (-(0.95**0.5), 0.95**0.5),
    "softsign": (-(1 - 0.05**0.5), 1 - 0.05**0.5),
}
ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)
JACOBIAN_SAMPLES = 16


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


MEASURES = (
    "activation_mean",
    "activation_std",
    "activation_rms",
    "variation",
    "output_rms",
    "delta_rms",
    "delta_norm",
    "gradient_norm",
    "dead",
    "saturated",
)


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
    """`probe` for many batches of one model: the pass is compiled once."""

    def __init__(self, model: keras.Model):
        if getattr(model, "optimizer", None) is None:
            raise RuntimeError("the probe needs a compiled model: call model.compile(optimizer=..., loss=...) first.")
        from zoo.telemetry.pass_tensorflow import Pass

        self.model = model
        self._pass = Pass(model)

    def __call__(self, x, y, *, jacobian: bool = False) -> Probe:
        """Measure on the batch (x, y)."""
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


@dataclasses.dataclass
class Call:
    """One call of one layer during a pass."""

    layer: keras.layers.Layer
    inputs: list
    outputs: list


@contextlib.contextmanager
def recorded_calls(model: keras.Model) -> Iterator[list[Call]]:
    """Collect every layer's calls while the block runs the model."""
    calls: list[Call] = []
    patched = [layer for layer in layers_in_order(model) if layer is not model]

    def watching(layer):
        original = layer.call

        def call(*args, **kwargs):
            outputs = original(*args, **kwargs)
            tensors = [t for t in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(t)]
            calls.append(Call(layer, tensors, [t for t in keras.tree.flatten(outputs) if keras.ops.is_tensor(t)]))
            return outputs

        return call

    own = [layer.__dict__.get("call") for layer in patched]
    for layer in patched:
        layer.__dict__["call"] = watching(layer)
    try:
        yield calls
    finally:
        for layer, call in zip(patched, own, strict=True):
            if call is None:
                del layer.__dict__["call"]
            else:
                layer.__dict__["call"] = call


@dataclasses.dataclass
class Site:
    """Where one layer is measured: its own outputs and the activations that follow them (one of each a call)."""

    name: str
    variables: list[int]
    has_kernel: bool
    activation: str = ""
    calls: list[Call] = dataclasses.field(default_factory=list)
    after: list[Call] = dataclasses.field(default_factory=list)


def sites(model: keras.Model, calls: list[Call]) -> list[Site]:
    """Match the layers that own trainable variables with their calls and with the activations that follow."""
    variables = model.trainable_variables
    names, index = owners(model, variables)
    found = [Site(name, [k for k, i in enumerate(index) if i == j], False) for j, name in enumerate(names)]
    by_variable = {id(v): found[i] for v, i in zip(variables, index, strict=True)}
    site_of = {}
    for call in calls:
        own = [v for v in call.layer._trainable_variables if id(v) in by_variable]
        if own and id(call.layer) not in site_of:
            site = by_variable[id(own[0])]
            site.has_kernel = any(len(v.shape) > 1 for v in own) and not isinstance(call.layer, ACTIVATION_LAYERS)
            site_of[id(call.layer)] = site
    kernels = {key for key, site in site_of.items() if site.has_kernel}
    consumers: dict[int, list[Call]] = {}
    for call in calls:
        for tensor in call.inputs:
            consumers.setdefault(id(tensor), []).append(call)
    for call in calls:
        site = site_of.get(id(call.layer))
        if site is not None and call.outputs:
            after = call if _activation(call.layer) else _following(call, consumers, kernels)
            site.activation = site.activation or _activation((after or call).layer)
            site.calls.append(call)
            site.after.append(after or call)
    return found


def _activation(layer: keras.layers.Layer) -> str:
    """Return the name of the function that `layer` applies, "" if it applies none."""
    if isinstance(layer, ACTIVATION_LAYERS[1:]):
        return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu"}[type(layer).__name__]
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", "")
    return "" if name == "linear" and not isinstance(layer, keras.layers.Activation) else name


def _following(call: Call, consumers: dict[int, list[Call]], kernels: set[int]) -> Call | None:
    """Return the first activation that the call's output reaches before another layer with a kernel."""
    seen, queue = set(), [call]
    while queue:
        for tensor in queue.pop(0).outputs:
            for consumer in consumers.get(id(tensor), []):
                if id(consumer) in seen or id(consumer.layer) in kernels:
                    continue
                if _activation(consumer.layer):
                    return consumer
                seen.add(id(consumer))
                queue.append(consumer)
    return None
