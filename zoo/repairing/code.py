"""A model and its compilation as Keras code, to be compared line by line and pasted."""

import difflib
import inspect
import re
from typing import Any

import keras
import numpy as np

from zoo.checkup.optimizer import config_of
from zoo.repairing.plan import layer_config
from zoo.repairing.subject import WRAPPING
from zoo.telemetry.keras_private import called_with, compiled_with, made_by

MOST_NUMBERS = 6  # of a list that are written out
UNTOLD = ("name", "dtype", "seed")
# Which one gives by their place.
BY_PLACE = ("units", "input_dim", "output_dim", "filters", "kernel_size", "pool_size", "rate", "activation")


def difference(before: keras.Model, after: keras.Model) -> str:
    """Return what must be changed in the code of one model to make the other: lines with - and +, and those around."""
    lines = list(difflib.unified_diff(listing(before), listing(after), lineterm="", n=1))[2:]
    return "\n".join("..." if line.startswith("@@") else line for line in lines)


def listing(model: keras.Model) -> list[str]:
    """Return the lines of code that make a model and compile it."""
    if isinstance(model, keras.Sequential):
        given = model.inputs[0]
        dtype = "" if given.dtype == keras.config.floatx() else f', dtype="{given.dtype}"'
        lines = ["model = keras.Sequential([", f"    keras.Input({_value(tuple(given.shape[1:]))}{dtype}),"]
        lines += [f"    {called(layer)}," for layer in model.layers] + ["])"]
    elif getattr(model, "operations", None):
        lines = _graph(model)
    else:
        lines = [f"model = {type(model).__name__}(...)"]
    return [*lines, *_compilation(model)]


def _graph(model: Any) -> list[str]:
    lines, names = [], {}

    def of(tensors: Any) -> str:
        found = [names.get(id(made_by(tensor)), "?") for tensor in keras.tree.flatten(tensors)]
        return found[0] if len(found) == 1 else f"[{', '.join(found)}]"

    for operation in model.operations:
        name = names[id(operation)] = operation.name.replace("/", "_")
        if isinstance(operation, keras.layers.InputLayer):
            lines.append(f"{name} = keras.Input({_value(tuple(operation.batch_shape[1:]))})")
        else:
            lines.append(f"{name} = {called(operation)}({of(called_with(operation))})")
    return [*lines, f"model = keras.Model({of(model.inputs)}, {of(model.outputs)})"]


def _compilation(model: keras.Model) -> list[str]:
    given, optimizer = compiled_with(model), model.optimizer
    config = dict(config_of(optimizer))
    told = [_value(config.pop("learning_rate"))] if "learning_rate" in config else []
    told += _differing(type(optimizer), config)
    lines = ["model.compile(", f"    optimizer=keras.optimizers.{type(optimizer).__name__}({', '.join(told)}),"]
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if given.get(name) is not None:
            lines.append(f"    {name}={_value(given[name])},")
    return [*lines, ")"]


def called(layer: Any) -> str:
    """Return the call that makes a layer, without the arguments that are as they are by default."""
    kind = type(layer)
    if isinstance(layer, keras.Sequential):
        return f"keras.Sequential([{', '.join(called(inner) for inner in layer.layers)}])"
    if isinstance(layer, keras.Model):
        return layer.name
    try:
        config = layer_config(layer)
    except Exception:  # of a layer of one's own
        return f"{kind.__name__}(...)"
    told: list[str] = []
    if isinstance(layer, WRAPPING):
        told = [called(getattr(layer, "forward_layer", None) or layer.layer)]
        config = {name: value for name, value in config.items() if name not in ("layer", "backward_layer")}
    for name in inspect.signature(kind.__init__).parameters:
        if name in ("self", "layer"):
            continue
        if name not in BY_PLACE or name not in config or _default(kind, name, config[name]):
            break
        told.append(_value(config.pop(name)))
    where = "keras.layers." if kind.__module__.startswith("keras.") else ""
    if where and not hasattr(keras.layers, kind.__name__):  # an operation of `keras.ops`
        return f"keras.ops.{re.sub('(?<!^)(?=[A-Z])', '_', kind.__name__).lower()}"
    return f"{where}{kind.__name__}({', '.join([*told, *_differing(kind, config)])})"


def _differing(kind: type, config: dict[str, Any]) -> list[str]:
    """Return the arguments that are not as they are by default."""
    given = inspect.signature(kind.__init__).parameters
    return [
        f"{name}={_value(value)}"
        for name, value in config.items()
        if name not in UNTOLD and value is not None and (name in given or name == "trainable")
        if not _default(kind, name, value)
    ]


def _default(kind: type, name: str, value: Any) -> bool:
    """Whether an argument is as it is by default."""
    if name == "trainable":
        return value is True
    default = inspect.signature(kind.__init__).parameters[name].default
    if default is inspect.Parameter.empty:
        return False
    if name.endswith("_initializer"):
        default = keras.saving.serialize_keras_object(keras.initializers.get(default))
    elif name == "data_format" and default is None:
        default = keras.config.image_data_format()
    elif name == "activation" and value == "linear":
        return default in (None, "linear")
    elif isinstance(value, list | tuple) and isinstance(default, list | tuple | int):
        return tuple(value) == ((default,) * len(value) if isinstance(default, int) else tuple(default))
    return _value(value) == _value(default)


def _value(value: Any) -> str:
    """Return a value as one writes it."""
    if isinstance(value, keras.losses.Loss | keras.metrics.Metric):
        where = "losses" if isinstance(value, keras.losses.Loss) else "metrics"
        kind = type(value)
        where = f"keras.{where}." if kind.__module__.startswith("keras.") else ""
        return f"{where}{kind.__name__}({', '.join(_differing(kind, value.get_config()))})"
    if isinstance(value, dict) and "class_name" in value:
        module, config = value.get("module") or "", value.get("config")
        if not isinstance(config, dict):
            return str(config)  # a function's name
        told = ", ".join(f"{k}={_value(v)}" for k, v in config.items() if v is not None and k not in UNTOLD)
        return f"{module}.{value['class_name']}({told})" if module else f"{value['class_name']}({told})"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        if len(value) > MOST_NUMBERS and all(isinstance(v, int | float) for v in value):
            return f"<{len(value)} numbers>"
        inner = ", ".join(_value(v) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):  # one of one's own that has no config
        return f"{type(value).__name__}(...)"
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)
