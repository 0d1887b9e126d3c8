"""What a program of `programs.py` is, the data that several are given, and the kinds of causes.

A program is a small Keras program that was reported not to learn, rebuilt in our own words and code on data that
scikit-learn has or that are generated alike, beside its repair. Sizes of nets, losses and optimizers are the report's;
epochs are cut to where the fault still shows. Its label is what the published repair changes; training both confirms
it.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

Built = tuple[keras.Model, object, object, dict, Callable[[keras.Model], float]]


@dataclasses.dataclass(frozen=True)
class Program:
    """A reported program and its repair.

    Attributes:
        name: of the report, and what it is about.
        source: address of the report.
        causes: what the published repair changes, as `zoo.telemetry.findings.CAUSES` names it, the true cause first.
        repair: the same in words.
        low: at or below it stays the score as reported.
        high: at least that the score reaches as repaired.
        build: of `True` the repaired program, of `False` the reported one: a compiled model, inputs, targets, the
            arguments of `fit`, and the report's own measure (accuracy, R2), a function of the trained model.
    """

    name: str
    source: str
    causes: tuple[str, ...]
    repair: str
    low: float
    high: float
    build: Callable[[bool], Built]


def program(found: list[Program], source: str, causes: str, low: float, high: float, repair: str) -> Callable:
    """Add the decorated function to `found`; arguments as `Program` has them, causes parted by blanks."""

    def added(build: Callable[[bool], Built]) -> Callable[[bool], Built]:
        found.append(Program(build.__name__, source, tuple(causes.split()), repair, low, high, build))
        return build

    return added


def digits(*, scaled: bool = True, flat: bool = True, size: int = 8, only: int = 10) -> tuple[np.ndarray, ...]:
    """Return scikit-learn's digits as x, y, x of test, y of test, shuffled; pixels in [0, 1], or [0, 255] unscaled.

    Args:
        size: of the pictures' side, a multiple of 8; each pixel is repeated.
        only: as many classes.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    keep = data.target < only
    x, y = data.images[keep].astype("float32") / 16, data.target[keep].astype("int32")
    order = np.random.default_rng(0).permutation(len(x))
    x = np.kron(x[order], np.ones((1, size // 8, size // 8), "float32")) * (1 if scaled else 255)
    x, y = (x.reshape(len(x), -1) if flat else x[..., None]), y[order]
    cut = len(x) * 4 // 5
    return x[:cut], y[:cut], x[cut:], y[cut:]


def one_hot(y: np.ndarray, classes: int | None = None) -> np.ndarray:
    return keras.utils.to_categorical(y, classes)


def standard(x: np.ndarray) -> np.ndarray:
    """Return columns of mean 0 and deviation 1."""
    return ((x - x.mean(0)) / (x.std(0) + 1e-9)).astype("float32")


def accuracy(x: np.ndarray, y: np.ndarray) -> Callable[[keras.Model], float]:
    """Share of samples whose largest output is that of the class number."""
    return lambda m: float(np.mean(m.predict(x, verbose=0, batch_size=500).argmax(-1).ravel() == np.ravel(y)))


def accuracy_of_two(x: np.ndarray, y: np.ndarray, at: float = 0.5) -> Callable[[keras.Model], float]:
    """Share of samples whose one output is on the right side of `at`."""
    return lambda m: float(np.mean((m.predict(x, verbose=0, batch_size=500)[:, 0] > at) == (np.ravel(y) > 0.5)))


def r2(x: np.ndarray, y: np.ndarray) -> Callable[[keras.Model], float]:
    """1 - squared error over the targets' variance; minus infinity where an answer is no finite number."""

    def score(model: keras.Model) -> float:
        said, true = np.ravel(model.predict(x, verbose=0, batch_size=500)).astype(float), np.ravel(y).astype(float)
        return float(1 - np.mean((said - true) ** 2) / np.var(true)) if np.isfinite(said).all() else -np.inf

    return score
