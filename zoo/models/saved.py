"""A model that was saved before, as a model of the zoo: to be diagnosed or trained on."""

import re
from pathlib import Path
from typing import Any, cast

import keras

from zoo.errors import UserError
from zoo.keys import model_file


def saved(path: str, input_shape: tuple[int, ...] | None = None, classes: int | None = None) -> keras.Model:
    """Load a model from a `.keras` file, or from a run's folder, without its optimizer; its outputs must be logits.

    Keras' safe mode is on: a file that would run code of its own (a Lambda layer) is refused.

    Args:
        path: of the file, or the folder of a run that kept its model.
        input_shape: of one sample of the data.
        classes: outputs that the data asks for.

    Raises:
        UserError: if the file is not there, is not a Keras file, is refused by the safe mode, or does not fit the data.
    """
    file = model_file(path)
    if not file.is_file():
        raise UserError(f"model.path={path}: there is no such file; give model.path=FILE.keras or RUN_FOLDER.")
    model = loaded(file, called=f"model.path={path}")
    _check_fit(path, model, input_shape, classes)
    return model


def loaded(path: str | Path, *, compiled: bool = False, called: str = "") -> keras.Model:
    """Load a `.keras` file, in Keras' safe mode.

    Args:
        path: of the file, which is there.
        compiled: with loss and optimizer, if it was saved with them.
        called: what a message calls it; the path itself if nothing is given.

    Raises:
        UserError: if it is not a Keras file, or is refused by the safe mode.
    """
    try:
        return cast(keras.Model, keras.models.load_model(path, compile=compiled, safe_mode=True))
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{called or path}: {_refusal(str(error))}") from error


def _refusal(text: str) -> str:
    """Return the cause, and what helps: Keras puts it behind the whole config of the layer."""
    build = "build the model by a function of your own: model._target_=MODULE.FUNCTION."
    if "Lambda" in text and "arbitrary code" in text:
        return f"it holds a Lambda layer, which Keras does not load from a file that may not be trusted; {build}"
    if unknown := re.search(r"Could not locate class '(\w+)'", text):
        return f"it holds {unknown[1]}, a class that Keras does not know; {build}"
    reason = " ".join(text.rpartition("Exception encountered:")[2].split())
    return f"Keras cannot load it ({reason[:200].rstrip('. ')})."


def _check_fit(path: str, model: keras.Model, input_shape: tuple[int, ...] | None, classes: int | None) -> None:
    takes: Any = getattr(model, "input_shape", None)
    gives: Any = getattr(model, "output_shape", None)
    if isinstance(takes, list | dict) or isinstance(gives, list | dict):
        raise UserError(f"model.path={path}: it has several inputs or outputs; the data has one of each.")
    if takes and input_shape and not _fits(takes[1:], tuple(input_shape)):
        raise UserError(
            f"model.path={path}: it takes samples of shape {_told(takes[1:])}, and this data has {_told(input_shape)}: "
            "give the data that it was made for."
        )
    if gives and classes and (len(gives) != 2 or gives[1] not in (None, classes)):
        raise UserError(
            f"model.path={path}: it gives {_told(gives[1:])} outputs, and this data asks for {classes}: "
            "save it with another last layer, or give the data that it was made for."
        )


def _fits(takes: tuple, given: tuple) -> bool:
    """Whether Keras takes samples of a shape; it leaves out, or puts in, a last axis of 1."""
    if abs(len(takes) - len(given)) == 1:
        longer, shorter = (takes, given) if len(takes) > len(given) else (given, takes)
        return longer[-1] in (1, None) and _fits(longer[:-1], shorter)
    return len(takes) == len(given) and all(a in (None, b) or b is None for a, b in zip(takes, given, strict=True))


def _told(shape: tuple) -> str:
    return "x".join("any" if size is None else str(size) for size in shape) or "()"
