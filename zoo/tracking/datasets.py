"""Which data a run was trained on, as MLflow shows it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def dataset_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a journal says of a run's data.

    Args:
        data: as the run's `data.json` has it.
    """
    path = Path(data["name"]).expanduser()
    file = path.exists() or len(path.parts) > 1  # else the name of a data set that is known
    source = {"uri": str(path.absolute())} if file else {"name": data["name"]}
    shapes = {"input_shape": data["input_shape"], "outputs": data["classes"], "task": data["task"]}
    return {
        "name": path.name if file else data["name"],
        "digest": data["digest"],
        "source_type": "local" if file else "gradient-zoo",
        "source": json.dumps(source),
        "profile": json.dumps({**shapes, "samples": data["samples"]}),
    }


def dataset_input(entry: Mapping[str, Any]) -> Any:
    """Return MLflow's entity of what `dataset_of` said."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    names = ("name", "digest", "source_type", "source")
    dataset = Dataset(*(entry[name] for name in names), profile=entry["profile"])
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
