"""What ran: the optimizer and the layers, in so far as cures depend on it."""

import dataclasses
import json
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    import keras  # histories are read without it

FAR = 1.0  # from 0, of a bias: as far as inputs of deviation 1 reach
OPTIONS = ("momentum", "epsilon", "clipnorm", "clipvalue", "global_clipnorm", "weight_decay")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What ran.

    Attributes:
        optimizer: class name in lower case, "adam"; of several optimizers, the first.
        rate: its learning rate at the time.
        options: those of its numbers that are set and not 0: momentum, epsilon, clipnorm ...
        kinds: class name of each layer that trains, by the names of `Probe.layers`.
        initializers: class name of each layer's initializer: of recurrent layers that of the recurrent weights.
        normalized: whether some layer normalizes.
        residual: whether some branch is added to what it came from.
        biased: whether some bias, or offset of a normalization, is far from 0.
        zeros: names of the layers whose kernel is all zeros.

    From a model's second probe on only the rate is read anew, and the kernels of layers that look like zeros: what else
    changes between the steps no rule asks for.
    """

    optimizer: str = ""
    rate: float = float("nan")
    options: dict[str, float] = dataclasses.field(default_factory=dict)
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)
    initializers: dict[str, str] = dataclasses.field(default_factory=dict)
    normalized: bool = False
    residual: bool = False
    biased: bool = False
    zeros: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, model: "keras.Model", layers: dict[str, "keras.layers.Layer | None"], residual: bool = False) -> Self:
        """Describe a compiled model.

        Args:
            layers: those that train, by name.
            residual: whether the probe saw a branch that is added.
        """
        import keras

        from zoo.telemetry.layers import all_layers

        optimizer = _optimizer_of(model)
        numbers = {name: _number(getattr(optimizer, name, None)) for name in OPTIONS}
        known = {name: layer for name, layer in layers.items() if layer is not None}
        inner = all_layers(model)
        return cls(
            type(optimizer).__name__.lower(),
            _number(getattr(optimizer, "learning_rate", None)),
            {name: value for name, value in numbers.items() if value and np.isfinite(value)},
            {name: type(layer).__name__ for name, layer in known.items()},
            {name: found for name, layer in known.items() if (found := _initializer(layer))},
            any("Normalization" in type(layer).__name__ for layer in inner),
            residual or any(isinstance(layer, keras.layers.Add) for layer in inner),
            any(_largest(v) > FAR for v in model.trainable_variables if v.name in ("bias", "beta")),
            [name for name, layer in known.items() if _all_zeros(layer)],
        )

    def later(self, model: "keras.Model", suspects: dict[str, "keras.layers.Layer | None"]) -> Self:
        """Describe the same model some steps later.

        Args:
            suspects: the layers whose kernels may be zeros by now, by name; others are not looked at.
        """
        rate = _number(getattr(_optimizer_of(model), "learning_rate", None))
        zeros = [name for name, layer in suspects.items() if _all_zeros(layer)]
        return dataclasses.replace(self, rate=rate, zeros=zeros)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def _optimizer_of(model: "keras.Model"):
    from zoo.telemetry.layers import optimizers_of

    optimizer = optimizers_of(model)[0]
    return getattr(optimizer, "inner_optimizer", optimizer)


def _largest(variable) -> float:
    import keras

    return float(np.max(np.abs(np.asarray(keras.ops.convert_to_numpy(variable))), initial=0.0))


def _all_zeros(layer) -> bool:
    kernel = getattr(layer, "kernel", None) if getattr(layer, "built", False) else None
    # The first part of it nearly always says that it is not, without the rest being moved from a device.
    return kernel is not None and _largest(kernel[:1]) == 0 and _largest(kernel) == 0


def _number(value) -> float:
    import keras

    if value is None or isinstance(value, bool):
        return float("nan")
    try:
        return float(np.asarray(keras.ops.convert_to_numpy(value)))
    except (TypeError, ValueError):
        return float("nan")


def _initializer(layer: "keras.layers.Layer") -> str:
    from zoo.telemetry.layers import cells_of

    for thing in [*cells_of(layer), layer]:
        for name in ("recurrent_initializer", "kernel_initializer", "depthwise_initializer", "embeddings_initializer"):
            found = getattr(thing, name, None)
            if found is not None:
                return type(found).__name__
    return ""
