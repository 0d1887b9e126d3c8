"""The trained model of a run, written to files that Keras alone reads, wherever that can be."""

import dataclasses
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from omegaconf import DictConfig

from zoo.archive.files import sync
from zoo.archive.models import BEST, LAST, BestModels
from zoo.archive.summary import Summary
from zoo.callbacks import BestModel
from zoo.config import models_kept, objectives
from zoo.errors import disk_full

if TYPE_CHECKING:
    from zoo.data import Dataset

OURS = "zoo>"  # what Keras puts before the names of classes that are defined here


def keep_models(
    cfg: DictConfig,
    summary: Summary,
    sweep: Path | None,
    model: Any,
    data: "Dataset",
    callbacks: Sequence[keras.callbacks.Callback],
) -> Summary:
    """Write the run's model, and the best one if that was asked for, before its summary says that it is finished.

    Where they lie follows from `tracking.models`: in the run's folder, or of a sweep that keeps the best alone in the
    sweep's, as long as it goes on.

    Args:
        cfg: of the run.
        summary: of the run, not written yet.
        sweep: the folder of the run's sweep; `None` for a run of its own.
        model: as it is after the last epoch.
        data: that it was trained on.
        callbacks: of its training.

    Returns:
        The summary with the models' signature; as it was where `tracking.models` keeps none.
    """
    kept, place, best = models_kept(cfg), summary.folder, None
    if kept == 0:
        return summary
    outputs = getattr(model, "output_shape", None)
    after = outputs[1:] if isinstance(outputs, tuple) else (data.classes,)
    signature = {"inputs": [-1, *data.input_shape], "outputs": [-1, *(size or -1 for size in after)]}
    summary = dataclasses.replace(summary, signature=signature)
    if sweep is not None and kept is not None:
        objective = objectives(cfg)[0]
        best = BestModels(sweep, objective, kept)
        place = best.place(summary.folder.name, summary.measured(objective))
        if place is None:
            return summary
    try:
        write_model(model, place / LAST)
        _write_best(model, callbacks, place / BEST)
    except Exception as error:  # a person's own class may refuse in any way
        if disk_full(error):
            raise
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        print(f"the model of {summary.name} cannot be saved ({type(error).__name__}: {reason})", file=sys.stderr)
        return summary
    if best is not None:
        best.drop_others()
    return summary


def _write_best(model: Any, callbacks: Sequence[keras.callbacks.Callback], path: Path) -> None:
    """Write the model as it was after its best epoch, if a callback has kept that."""
    weights = next((c.best_weights for c in callbacks if isinstance(c, BestModel)), None)
    if weights is None:
        return
    last = model.get_weights()
    model.set_weights(weights)
    try:
        write_model(model, path)
    finally:
        model.set_weights(last)


def write_model(model: Any, path: Path) -> None:
    """Put a model in the place of what `path` holds, as a whole.

    Keras' own classes are all that the file names, so that it loads without this package: the loss and the optimizer
    are left out where one of them is ours, and so is an orthogonal penalty on convolutions. A layer of ours stays.

    Raises:
        OSError: if it cannot be written. Others, as `model.save` raises them, for a model that cannot be saved.
    """
    new = path.with_name(f".{path.name}.new.keras")  # Keras goes by how it ends
    try:
        model.save(new)
        with zipfile.ZipFile(new) as file:
            ours = OURS.encode() in file.read("config.json")
        if ours:
            portable(model).save(new)
        sync(new)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def portable(model: Any) -> Any:
    """Return a copy of a model without what of it is ours, but for layers."""
    config: Any = keras.saving.serialize_keras_object(model)
    if OURS in str(config.get("compile_config")):
        del config["compile_config"]
    for options in _options(config):
        regularizer = options.get("kernel_regularizer")
        if isinstance(regularizer, dict) and regularizer.get("registered_name") == "zoo>OrthogonalRegularizer":
            theirs = {**regularizer, "module": "keras.regularizers", "registered_name": None}
            options["kernel_regularizer"] = theirs if "units" in options else None  # theirs takes matrices alone
    copy: Any = keras.saving.deserialize_keras_object(config)
    copy.set_weights(model.get_weights())
    if copy.compiled:
        copy.optimizer.build(copy.trainable_variables)
        for variable, value in zip(copy.optimizer.variables, model.optimizer.variables, strict=True):
            variable.assign(value)
    return copy


def _options(node: Any) -> Iterator[dict]:
    """Yield every dictionary in a model's config."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from _options(part)
