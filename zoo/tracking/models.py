"""A run's model in the store: what `mlflow.keras.log_model` makes of it, made from its file, without Keras.

Who sends it may be another process than the one that trained, long after; to import Keras would take it seconds.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from zoo.archive.summary import Summary
from zoo.tracking.store import Store

FLAVOR = "mlflow.keras"  # loads it
PACKAGES = ("mlflow", "keras", "numpy")


def log_model(store: Store, run_id: str, path: Path) -> None:
    """Have the store hold a model of a run, once however often it is asked to.

    Args:
        store: that has the run.
        run_id: of the run.
        path: of the `.keras` file in the run's folder, whose summary tells what the model takes and gives.

    Raises:
        mlflow.exceptions.MlflowException, OSError: where the store does not take it; then the next call goes on.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.exceptions import MlflowException

    client, name = store.client, path.stem
    try:
        found = client.search_logged_models(
            [store.experiment_id], f"source_run_id = '{run_id}' and name = '{name}'", max_results=1
        )
    except MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND":
            raise
        client.log_artifact(run_id, str(path))  # a server of before MLflow 3: it holds models as a run's files
        return
    if found and found[0].status == LoggedModelStatus.READY:
        return
    params = client.get_run(run_id).data.params
    model = found[0] if found else client.create_logged_model(store.experiment_id, name, run_id, params=params)
    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder), path, model, run_id)
        client.log_model_artifacts(model.model_id, folder)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=Summary.read(path.parent).epochs)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def write_package(folder: Path, path: Path, logged: Any, run_id: str) -> None:
    """Write what MLflow calls a model into an empty folder, laid out as `mlflow.keras.save_model` does.

    Args:
        folder: to write to.
        path: of the `.keras` file.
        logged: MLflow's entity of the model.
        run_id: of its run.
    """
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = None
    if shapes := Summary.read(path.parent).signature:
        float32 = np.dtype("float32")
        inputs, outputs = (Schema([TensorSpec(float32, tuple(shapes[part]))]) for part in ("inputs", "outputs"))
        signature = ModelSignature(inputs, outputs)
    with zipfile.ZipFile(path) as file:
        version = json.loads(file.read("metadata.json"))["keras_version"]
    model = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        run_id=run_id,
        signature=signature,
    )
    model.add_flavor("keras", data="data", keras_version=version, keras_backend=_backend(), save_exported_model=False)
    pyfunc.add_to_model(model, loader_module=FLAVOR, python_env="python_env.yaml")
    model.model_size_bytes = path.stat().st_size
    (folder / "data").mkdir()
    shutil.copyfile(path, folder / "data" / "model.keras")
    (folder / "data" / "keras_module.txt").write_text("keras")
    packages = (*PACKAGES, _backend())
    needed = [f"{package}=={importlib.metadata.version(package)}" for package in packages]
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment))
    model.save(str(folder / "MLmodel"))


def _backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")
