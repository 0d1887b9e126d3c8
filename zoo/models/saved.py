"""A model that was saved before, as a model of the zoo: to be diagnosed or trained on."""

from pathlib import Path
from typing import cast

import keras

from zoo.errors import UserError


def saved(path: str) -> keras.Model:
    """Load a model from a `.keras` file, without its optimizer; its outputs must be logits.

    Keras' safe mode is on: a file that would run code of its own (a Lambda layer) is refused.

    Raises:
        UserError: if the file is not there, is not a Keras file, or is refused by the safe mode.
    """
    if not Path(path).is_file():
        raise UserError(f"model.path={path}: there is no such file; give model.path=FILE.keras.")
    try:
        return cast(keras.Model, keras.models.load_model(path, compile=False, safe_mode=True))
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.path={path}: Keras cannot load it ({reason}).") from error
