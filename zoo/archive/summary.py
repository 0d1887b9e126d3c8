"""What a run came to."""

import json
import math
from pathlib import Path

REPEATS = ("seed", "data.fold")  # runs that differ in nothing else are repeats of one setting


def read_summary(folder: Path) -> dict:
    """Return what a run left in `summary.json`; a run without one was cut off."""
    try:
        return {"folder": str(folder), **json.loads((folder / "summary.json").read_text())}
    except FileNotFoundError:
        return {"folder": str(folder), "status": "KILLED", "name": folder.name, "overrides": []}


def overridden(summary: dict) -> dict[str, str]:
    """Return what the command line set: {"model.depth": "5"}."""
    return dict(o.split("=", 1) for o in summary["overrides"] if "=" in o)


def chosen_metric(summary: dict) -> tuple[str, float]:
    """Return the name and value of the test metric that stands for a run: accuracy, or the error of a regression."""
    metrics = summary["metrics"]
    for name in ("test_accuracy", "test_rmse"):
        if name in metrics:
            return name, metrics[name]
    return "test_loss", metrics["test_loss"]


def sort_value(summary: dict) -> float:
    """Return what sorts runs best first; a NaN comes last."""
    name, value = chosen_metric(summary)
    if math.isnan(value):
        return math.inf
    return -value if name == "test_accuracy" else value
