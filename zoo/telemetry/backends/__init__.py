"""What each backend of Keras does in its own way: recording within the training step, and the probe's passes.

One folder a backend, of which only the one that Keras runs on is imported.
"""

import importlib
from types import ModuleType

import keras

BACKENDS = ("tensorflow", "jax", "torch")


def of_backend(module: str) -> ModuleType:
    """Return `module` ("recorder" or "passes") of the backend that Keras runs on.

    Raises:
        RuntimeError: where it is none of those that let themselves be differentiated.
    """
    backend = keras.config.backend()
    if backend not in BACKENDS:
        raise RuntimeError(f"gradients cannot be seen on the {backend} backend: choose one of {', '.join(BACKENDS)}.")
    return importlib.import_module(f"{__name__}.{backend}.{module}")
