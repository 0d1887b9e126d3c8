"""Another instance of a model of a person's own class, of which Keras knows no more than its `__init__`."""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import keras


def has_train_step_alone(model: keras.Model) -> bool:
    """Whether a model is none that can be called: its train step calls the layers that it was given."""
    return type(model).call is keras.Model.call


def another(model: keras.Model, changed: Mapping[str, Any] | None = None) -> keras.Model:
    """Return another instance of a class of one's own: from its config, else from what its `__init__` was given.

    Few classes have a `get_config()`, but most keep what they are given under its own name: `self.encoder = encoder`.

    Args:
        model: the instance.
        changed: arguments of `__init__` that are to be others.

    Raises:
        TypeError: if it can be made in neither way.
    """
    changed = changed or {}
    try:
        return type(model).from_config({**model.get_config(), **changed})
    except Exception as error:
        with contextlib.suppress(Exception):
            known: dict[int, Any] = {}
            # A TypeError, if it needs more than it keeps.
            return type(model)(**{name: _part(held, known) for name, held in given_to(model).items()} | dict(changed))
        with contextlib.suppress(TypeError):  # some take arguments that they need not have
            return type(model)()
        raise TypeError(
            f"{type(model).__name__} cannot be copied, and so nothing can be tried: give it a get_config() that "
            "returns the arguments of its __init__."
        ) from error


def given_to(model: keras.Model) -> dict[str, Any]:
    """Return what the `__init__` of a class of one's own was given, as far as the model keeps it under its name."""
    given = {}
    for parameter in list(inspect.signature(type(model).__init__).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        for name in (parameter.name, f"_{parameter.name}"):
            if name in vars(model):
                given[parameter.name] = vars(model)[name]
                break
    return given


def _part(held: Any, known: dict[int, Any]) -> Any:
    """Copy what has a state, each once; what has none is shared."""
    if isinstance(held, (list, tuple)):
        parts = [_part(one, known) for one in held]
        return tuple(parts) if isinstance(held, tuple) else parts
    if isinstance(held, dict):
        return {name: _part(one, known) for name, one in held.items()}
    if not isinstance(held, (keras.layers.Layer, keras.metrics.Metric)):
        return held
    if id(held) not in known:
        whole = isinstance(held, keras.Model)
        known[id(held)] = another(held) if whole else type(held).from_config(held.get_config())
    return known[id(held)]
