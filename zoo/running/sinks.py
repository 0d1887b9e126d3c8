"""What a run's history goes to beside its folder and MLflow: TensorBoard, Weights & Biases, Trackio."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.errors import UserError
from zoo.telemetry.gradients import GradientNorms
from zoo.telemetry.tensorboard import write_scalars
from zoo.tracking.metrics import of_epoch


class TensorBoard(keras.callbacks.Callback):
    """Writes event files at the training's end: each epoch's metrics, and the gradient norms of each step.

    Args:
        folder: of the run; they lie in `tensorboard/` within it.
        norms: the callback that records gradients, if there is one.
    """

    def __init__(self, folder: Path, norms: GradientNorms | None = None):
        super().__init__()
        self.folder, self.norms = folder / "tensorboard", norms
        self.epochs: list[dict[str, float]] = []  # plain: a training that was cut off goes on with it

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs = [*self.epochs[:epoch], {name: float(value) for name, value in (logs or {}).items()}]

    def on_train_end(self, logs: dict | None = None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.epochs:
            names = self.epochs[0]
            series = {f"epoch/{name}": np.array([e.get(name, np.nan) for e in self.epochs]) for name in names}
            write_scalars(self.folder, np.arange(1, len(self.epochs) + 1), series)
        if self.norms is not None and len(self.norms.history):
            self.norms.history.to_tensorboard(self.folder)


class Board(keras.callbacks.Callback):
    """Sends each epoch's metrics and mean gradient norms to Weights & Biases, or to what has its interface.

    Args:
        package: "wandb" or "trackio".
        project: to which the run belongs.
        folder: of the run, by which it is called.
        norms: the callback that records gradients, if there is one.
        parameters: of the run.
    """

    def __init__(
        self,
        package: str,
        project: str,
        folder: Path,
        norms: GradientNorms | None = None,
        parameters: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.package, self.project, self.folder = package, project, folder
        self.norms, self.parameters = norms, parameters

    @property
    def _board(self) -> Any:
        return importlib.import_module(self.package)

    def on_train_begin(self, logs: dict | None = None) -> None:
        name = "-".join(self.folder.parts[-2:])
        # One that was cut off goes on in the same run.
        known = {"id": name, "dir": str(self.folder)} if self.package == "wandb" else {}
        try:
            self._board.init(project=self.project, name=name, config=self.parameters, resume="allow", **known)
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise UserError(f"callbacks: {self.package} does not begin a run ({reason}).") from error

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        if self.norms is not None:
            metrics |= of_epoch(self.norms.history, -1)
        self._board.log(metrics, step=epoch + 1)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._board.finish()
