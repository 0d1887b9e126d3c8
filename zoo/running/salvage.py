"""What is kept of a training however it ends; of a crash `flight.json` and `flight.csv`: where, on what, after what."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.data import Dataset
from zoo.telemetry.flight import Flight, flight, last_steps, stand_out
from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.keras_private import source_of_rate
from zoo.telemetry.probe import Probes
from zoo.telemetry.probes_file import save_probes

MOST_SUSPECTS = 10


def save_telemetry(
    folder: Path, norms: GradientNorms | None, probes: Probes | None, data: Dataset, model: keras.Model
) -> dict | None:
    """Write `gradients.npz` and `probes.npz` as far as the training got, and where it failed, if it did.

    Returns:
        As `save_flight`.
    """
    if probes and probes.results:
        save_probes(folder / "probes.npz", probes.results)
    if norms is None:
        return None
    try:
        history = norms.history
    except RuntimeError:  # the training did not begin
        return None
    history.save(folder / "gradients.npz")
    return save_flight(folder, history, data, model)


def save_flight(folder: Path, history: GradientHistory, data: Dataset, model: keras.Model) -> dict | None:
    """Write where a training failed, if it did.

    `flight.csv` holds loss, global norm and the norm of each layer of the failing step and the 200 before it.

    Args:
        folder: the run folder.
        history: what was recorded, as far as the training got.
        data: that was trained on.
        model: that was trained.

    Returns:
        What `flight.json` holds; `None`, and no files, if all was finite. It is a `Flight`, and
            learning_rate: of that step.
            indices: the samples of that step, as they count in the training part, in their order in the batch; none
                where steps are not batches.
            rows: the same samples, as they count in the source (in `x_train`, or `x`); of image files the paths.
            suspects: those of the samples since just before the rise that stand out: index, row, step, and the largest
                absolute value in x or, for regression, y. Of arrays alone.
    """
    scaled = hasattr(model.optimizer, "inner_optimizer")
    found = flight(history, loss_scaling=scaled)
    if found is None:
        return None
    # Not so where a train step of one's own applies the optimizer more than once.
    a_step_a_batch = found.step - found.batch == found.epoch * data.steps and found.batch < data.steps
    indices = data.batch_indices(found.epoch, found.batch) if a_step_a_batch else np.zeros(0, int)
    content = dataclasses.asdict(found) | {
        "learning_rate": _learning_rate(model, history, found, scaled),
        "indices": indices.tolist(),
        "rows": (data.files if len(data.files) else data.rows)[indices].tolist(),
        "suspects": _suspects(data, found) if len(indices) and isinstance(data.train, tuple) else [],
    }
    content: dict[str, Any] = _strict(content)
    (folder / "flight.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    last_steps(history, found.step).to_csv(folder / "flight.csv")
    return content


def _suspects(data: Dataset, found: Flight) -> list[dict]:
    suspects = []
    # A rise that begins with a step begins with the update before it.
    for back in range(found.step - found.rises_from + 2):
        epoch, batch = divmod(found.epoch * data.steps + found.batch - back, data.steps)
        if epoch < 0:
            break
        indices = data.batch_indices(epoch, batch)
        for values in data.train:
            if values.dtype.kind == "f":
                suspects += [
                    {"index": i, "row": int(data.rows[i]), "step": found.step - back, "largest": largest}
                    for i, largest in stand_out(values, indices).items()
                ]
    return suspects[:MOST_SUSPECTS]


def _learning_rate(model: keras.Model, history: GradientHistory, found: Flight, scaled: bool) -> float:
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    schedule = source_of_rate(optimizer)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        before = history.global_norm[: np.searchsorted(history.steps, found.step)]
        # Loss scaling does not count the steps that it skips.
        return float(schedule(np.count_nonzero(np.isfinite(before)) if scaled else len(before)))
    # A callback may have changed it since.
    rates = dict(zip(model.history.epoch, model.history.history.get("learning_rate", ()), strict=False))
    return float(rates.get(found.epoch, optimizer.learning_rate))


def _strict(value) -> Any:
    """Write NaN and infinity, which JSON has no number for, as words."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
