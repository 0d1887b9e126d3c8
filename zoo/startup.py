"""Import Keras without TensorFlow's start-up notes, and set what holds for a whole process."""

import contextlib
import gc
import logging
import os
import random
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

RECURSION = 20_000  # calls within each other


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what native code writes to stderr off the terminal; show it if the block raises."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except Exception:
            notes.seek(0)
            with contextlib.suppress(OSError):  # nobody may be there to read it
                sys.stderr.flush()
                os.write(kept, notes.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Let the garbage collector rest while large packages are imported, and never walk through them: all of it stays.

    40 % of `import keras` are collections that find nothing.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()


def import_keras() -> None:
    """Import Keras with its backend."""
    if "keras" not in sys.modules:
        with importing(), quiet():
            import keras  # noqa: F401


def start(*, seed: int, precision: str, deterministic: bool, again: bool = False) -> None:
    """Import Keras, forget earlier models, seed Python, NumPy and the backend, and set the precision.

    Args:
        seed: of all of them.
        precision: Keras' name of it.
        deterministic: whether TensorFlow shall compute everything in one order.
        again: what was compiled before stays, for it is used again: of TensorFlow's generators, which it does not draw
            from, the seed stays too, as to set one drops all that is compiled.
    """
    import_keras()
    # Keras walks a network from output to input by recursion: some 500 layers are too many for Python's default.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    with quiet():
        import keras

        backend = keras.config.backend()
        # A job of a sweep may have a model of its own, whose step must be traced anew: no news to the user.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        _seed(seed, backend)
        if not again:
            _forget(seed, backend)
        keras.config.set_dtype_policy(precision)
        if deterministic and backend == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()


def _forget(seed: int, backend: str) -> None:
    """Let Keras number layers from the beginning, and TensorFlow drop what it compiled and draw from this seed."""
    import keras

    keras.utils.clear_session(free_memory=False)  # a worker collects garbage between its jobs
    if backend == "tensorflow":
        drop_kernels(seed)


def drop_kernels(seed: int) -> None:
    """Let TensorFlow's own generators draw from this seed; it drops the kernels of every operation that ran."""
    import tensorflow as tf

    tf.random.set_seed(seed)


def _seed(seed: int, backend: str) -> None:
    """As `keras.utils.set_random_seed`, which on every backend imports TensorFlow to seed it too.

    Keras' own generators take their seeds from Python's.
    """
    random.seed(seed)
    np.random.seed(seed)
    if backend == "torch":
        import torch

        torch.manual_seed(seed)
