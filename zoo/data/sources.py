"""Where data comes from. Each function is one file in `conf/data`; `options` are those of `zoo.data.prepare`."""

import functools
import os
import socket
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.prepare import Dataset, Source, prepare
from zoo.errors import UserError

KEYS = ("x_train", "y_train", "x_test", "y_test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")  # what TensorFlow decodes
TABLES = (".csv", ".tsv", ".txt", ".parquet")
TABLE = "say data=table data.path=FILE data.target=COLUMN"
TIMEOUT = 10  # seconds that a download may stand still

DIGITS = tuple("0123456789")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def digits(**options) -> Dataset:
    """The 1,797 handwritten digits of scikit-learn: (8, 8, 1), 10 classes, values 0 to 16; 20 % are the test part.

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI; its test part.
    """
    return prepare(Source("digits", _digits(), maximum=16, class_names=DIGITS), **options)


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Read once for a process: it is text, and takes as long as an epoch. Nobody writes into it."""
    from sklearn.datasets import load_digits

    raw: Any = load_digits()  # a Bunch; it has no types
    images, labels = raw.images.astype(np.uint8), raw.target
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def mnist(path: str | None = None, **options) -> Dataset:
    """Handwritten digits, 60,000 + 10,000 of (28, 28, 1), 10 classes (LeCun et al. 1998).

    `path`: an .npz file in place of Keras' cache or download, see `npz`; likewise in the three functions below.
    """
    return _from_keras("mnist", "mnist.npz", path, DIGITS, options)


def fashion_mnist(path: str | None = None, **options) -> Dataset:
    """Clothes, 60,000 + 10,000 of (28, 28, 1), 10 classes (Xiao et al. 2017)."""
    return _from_keras(
        "fashion_mnist", "the folder fashion-mnist with its four *-ubyte.gz files", path, FASHION, options
    )


def cifar10(path: str | None = None, **options) -> Dataset:
    """Photographs, 50,000 + 10,000 of (32, 32, 3), 10 classes (Krizhevsky 2009)."""
    file = "cifar-10-python.tar.gz, renamed to cifar-10-batches-py-target_archive,"
    return _from_keras("cifar10", file, path, CIFAR10, options)


def cifar100(path: str | None = None, **options) -> Dataset:
    """Photographs, 50,000 + 10,000 of (32, 32, 3), 100 classes (Krizhevsky 2009)."""
    file = "cifar-100-python.tar.gz, renamed to cifar-100-python-target_archive,"
    return _from_keras("cifar100", file, path, None, options)


def npz(path: str | None = None, task: str = "auto", **options) -> Dataset:
    """A person's own arrays: an .npz file with x_train, y_train, x_test and y_test, or with x and y alone.

    x is (n, features), (n, h, w) or (n, h, w, c); y is (n,) labels 0, 1, ..., (n, classes) one-hot rows, or numbers.
    With x and y alone 20 % are the test part, the same ones whatever the seed. Pickled (object) arrays are refused:
    opening them can run a stranger's code.

    Args:
        path: of the file.
        task: "categorical", "binary" (labels 0 and 1, one output), "regression", or "auto": regression if y is of a
            floating type and not one-hot, else categorical. (`train.py` takes "auto" as categorical if the loss is a
            cross-entropy.)
        options: of `zoo.data.prepare`.
    """
    if path is None:
        raise UserError("data=npz needs data.path=FILE.npz with x_train, y_train, x_test and y_test, or x and y.")
    train, test = _read_npz(path)
    return prepare(Source(str(path), train, test, task=task), **options)


def image_folder(path: str | None = None, image_size: int | tuple[int, int] = 64, **options) -> Dataset:
    """Image files in one folder a class, read from disk as training goes: it may be larger than memory.

    Either `path/train/CLASS/*` and `path/test/CLASS/*` (and, if there is one, `path/validation/CLASS/*`), or
    `path/CLASS/*`, of which 20 % are the test part, the same ones whatever the seed. JPEG, PNG, BMP and GIF; other
    files are passed over. Always three channels.

    Args:
        path: of the folder.
        image_size: side, or (height, width), that images are resized to, in pixels.
        options: of `zoo.data.prepare`.
    """
    if path is None:
        raise UserError("data=image_folder needs data.path=FOLDER with one folder of images a class.")
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(f"data.image_size={image_size}: give pixels, as 64 or [64,48] (height, width).")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"data.path={path}: there is no folder {root.absolute()}.")
    if not (root / "train").is_dir():
        names, train = _list_images(root)
        return prepare(Source(str(path), train, class_names=names, image_size=size), **options)
    if not (root / "test").is_dir():
        raise UserError(
            f"data.path={path}: there is train but no test: add test, or give the folder of classes itself."
        )
    names, train = _list_images(root / "train")
    _, test = _list_images(root / "test", names)
    _, validation = _list_images(root / "validation", names) if (root / "validation").is_dir() else (None, None)
    return prepare(Source(str(path), train, test, validation, class_names=names, image_size=size), **options)


def random_binary(seed: int = 0, **options) -> Dataset:
    """1,000 x 32 normal numbers with labels 0 and 1 by toss: nothing to learn but by heart. `seed` draws it too."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((1000, 32), np.float32), rng.integers(0, 2, 1000)
    return prepare(Source("random_binary", (x, y), task="binary"), seed=seed, **options)


def random_regression(seed: int = 0, **options) -> Dataset:
    """100 x 10 normal numbers with one normal target: nothing to learn but by heart. `seed` draws it too."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((100, 10), np.float32), rng.standard_normal(100, np.float32)
    return prepare(Source("random_regression", (x, y), task="regression"), seed=seed, **options)


def uniform_binary(seed: int = 0, **options) -> Dataset:
    """1,000 x 32 numbers from U(0, 1) with labels by toss, all of them to train on; as many to validate and to test.

    The first article's own data (docs/articles.md). `seed` draws it too.
    """
    return _uniform("uniform_binary", 1000, 32, lambda rng, n: rng.integers(0, 2, n), "binary", seed, options)


def uniform_regression(seed: int = 0, **options) -> Dataset:
    """100 x 10 numbers from U(0, 1) with a target from U(0, 1), all to train on; as many to validate and to test.

    Two articles' own data (docs/articles.md). `seed` draws it too.
    """

    def targets(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random(n, np.float32)

    return _uniform("uniform_regression", 100, 10, targets, "regression", seed, options)


def _uniform(name: str, count: int, features: int, targets: Callable, task: str, seed: int, options: dict) -> Dataset:
    rng = np.random.default_rng(seed)
    parts = [(rng.random((count, features), np.float32), targets(rng, count)) for _ in range(3)]
    train, validation, test = parts
    return prepare(Source(name, train, test, validation, task=task), seed=seed, **options)


def diabetes(**options) -> Dataset:
    """442 patients of scikit-learn: 10 measurements, and how far their diabetes went within a year; 20 % are the test.

    Source: Efron et al. 2004, "Least angle regression", Annals of Statistics 32. Targets have mean 0 and deviation 1.
    """
    from sklearn.datasets import load_diabetes

    raw: Any = load_diabetes()
    y = (raw.target - raw.target.mean()) / raw.target.std()
    return prepare(Source("diabetes", (raw.data, y), task="regression"), **options)


def _from_keras(name: str, file: str, path: str | None, class_names, options: dict) -> Dataset:
    if path is None:
        train, test = _download(name, file)
    else:
        train, test = _read_npz(path)
        if test is None:
            raise UserError(f"data.path={path}: data={name} needs {', '.join(KEYS)}; for x and y alone say data=npz.")
    return prepare(Source(name if path is None else str(path), train, test, class_names=class_names), **options)


def _download(name: str, file: str) -> tuple:
    """Let Keras load its data set from its cache or the network, without waiting for a network that is not there."""
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # Keras gives its download none
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception
        cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
        reason = " ".join(str(error).split())
        raise UserError(
            f"data={name} is not in Keras' cache and cannot be downloaded ({reason}): "
            f"from that address put {file} into {cache}, or say data.path=FILE.npz with {', '.join(KEYS)}."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _read_npz(path: str) -> tuple:
    """Return (train, test) of an .npz file; test is `None` if it holds x and y alone."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"data.path={path}: there is no file {file.absolute()}.")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if {"x", "y"} <= set(arrays):
                return (arrays["x"], arrays["y"]), None
            missing = [key for key in KEYS if key not in arrays]
            if missing:
                raise UserError(
                    f"data.path={path}: {', '.join(missing)} missing (it holds {', '.join(arrays) or 'nothing'}): "
                    f"save it with np.savez(FILE, {', '.join(f'{key}=...' for key in KEYS)})."
                )
            return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        if str(error).startswith("Object arrays"):
            raise UserError(f"data.path={path}: holds object arrays: save plain ones, such as np.stack(x).") from error
        if file.suffix.lower() in TABLES:
            raise UserError(f"data.path={path}: no .npz file but a table: {TABLE}.") from error
        reason = "" if "pickle" in str(error) else f" ({error})"  # how NumPy would read anything else is no safe advice
        raise UserError(f"data.path={path}: not a readable .npz file{reason}: save it again with np.savez.") from error


def _list_images(folder: Path, names: tuple[str, ...] | None = None) -> tuple[tuple[str, ...], tuple]:
    """Return the class names and ((n,) paths, (n,) labels) of a folder of class folders."""
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise UserError(f"{folder}: no class folders: make one a class and put its images there.")
    names = names or tuple(found)
    paths, labels = [], []
    for name in found:
        if name not in names:
            raise UserError(
                f"{folder / name}: no such class in train ({', '.join(names)}): add it there, or remove it."
            )
        files = [
            os.path.join(parent, file)
            for parent, _, inside in os.walk(folder / name)
            for file in inside
            if file.lower().endswith(SUFFIXES) and not file.startswith(".")
        ]
        if not files:
            raise UserError(f"{folder / name}: no {', '.join(SUFFIXES)} file: add images, or remove the folder.")
        paths += sorted(files)
        labels += [names.index(name)] * len(files)
    return names, (np.array(paths), np.array(labels))
