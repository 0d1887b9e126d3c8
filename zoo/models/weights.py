"""Weights to start from: a saved file, or those that keras.applications publishes."""

import os
import re
import warnings
import zipfile
from pathlib import Path

import h5py
import keras

from zoo.errors import UserError

# The networks here that keras.applications has, in the same order of weights.
IMAGENET = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
}


def load_weights(model: keras.Model, weights: str | Path | None) -> keras.Model:
    """Start `model` from `weights`, in place; a model with another class count keeps all of them but the head.

    Args:
        model: of this package; its head is the layer `logits`.
        weights: a `.weights.h5` or `.keras` file; `"imagenet"` for the weights of keras.applications, which Keras
            downloads once (they expect pixels as that family's `keras.applications.*.preprocess_input` makes them);
            `None` changes nothing.

    Returns:
        `model`.

    Raises:
        UserError: no such file, weights of another network, or no way to download them.
    """
    if weights == "imagenet":
        copy_weights(_imagenet(model.name), model)
    elif weights is not None:
        _load_file(model, Path(weights))
    return model


def copy_weights(source: keras.Model, model: keras.Model) -> None:
    """Copy each layer's weights from `source`, an equal network but for its class count, which is the last layer's."""
    theirs = [layer for layer in source.layers if layer.weights]
    ours = [layer for layer in model.layers if layer.weights]
    if source.output_shape[-1] != model.output_shape[-1]:
        theirs, ours = theirs[:-1], ours[:-1]
    if len(theirs) != len(ours):
        raise UserError(_misfit("imagenet", model, f"{len(theirs)} layers with weights against {len(ours)}"))
    for a, b in zip(theirs, ours, strict=True):
        if [w.shape for w in a.weights] != [w.shape for w in b.weights]:
            shapes = f"{a.name} has {_shapes(a)}, here {b.name} has {_shapes(b)}"
            raise UserError(_misfit("imagenet", model, shapes))
    for a, b in zip(theirs, ours, strict=True):
        b.set_weights(a.get_weights())


def _imagenet(name: str) -> keras.Model:
    if name not in IMAGENET:
        raise UserError(f"weights=imagenet: keras.applications has none for {name}; it has {', '.join(IMAGENET)}")
    try:
        return getattr(keras.applications, IMAGENET[name])(weights="imagenet", classifier_activation=None)
    except Exception as error:
        # Keras' get_file raises a bare Exception with the address in its text.
        address = re.search(r"https?://\S+?\.h5", str(error))
        if not address:
            raise
        file = Path(address.group()).name
        raise UserError(
            f"weights=imagenet: {file} could not be downloaded; connect once, or fetch {address.group()} elsewhere "
            f"and put it into {os.environ.get('KERAS_HOME', '~/.keras')}/models"
        ) from error


def _load_file(model: keras.Model, file: Path) -> None:
    if not file.name.endswith((".weights.h5", ".keras")):
        raise UserError(f"weights={file}: give a .weights.h5 or .keras file, or imagenet")
    if not file.is_file():
        raise UserError(f"weights={file}: no such file, seen from {Path.cwd()}")
    try:
        saved = _count(file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"weights={file}: not a file of Keras weights; save one with model.save") from error
    # Keras reads the layers it knows and is silent about further ones in the file.
    if saved != len(model.weights):
        raise UserError(_misfit(file, model, f"{saved} weights against {len(model.weights)}"))
    try:
        _load_strictly(model, file)
    except ValueError:
        body = keras.Model(model.input, model.get_layer("logits").input)
        try:
            _load_strictly(body, file)
        except ValueError as error:
            raise UserError(_misfit(file, model, str(error).splitlines()[0])) from error


def _load_strictly(model: keras.Model, file: Path) -> None:
    with warnings.catch_warnings():
        # Of the file's further contents: the optimizer's state, and lists that hold the layers a second time.
        warnings.filterwarnings("ignore", message="Skipping (variable loading for optimizer|nested container)")
        model.load_weights(file)


def _count(file: Path) -> int:
    """Return how many weights the file holds: arrays of layers, without the optimizer's and the dropout seeds."""
    paths = []

    def read(stream):
        with h5py.File(stream, "r") as h5:
            if not isinstance(layers := h5["layers"], h5py.Group):
                raise KeyError("layers")
            layers.visititems(lambda path, item: paths.append(path) if isinstance(item, h5py.Dataset) else None)

    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as stream:
            read(stream)
    else:
        read(file)
    return sum("seed_generator" not in path for path in paths)


def _shapes(layer: keras.Layer) -> str:
    return ", ".join(str(tuple(w.shape)) for w in layer.weights)


def _misfit(weights, model: keras.Model, why: str) -> str:
    return f"weights={weights} do not fit {model.name} ({why}): choose the model they are from; only classes may differ"
