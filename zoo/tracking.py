"""MLflow: where runs are recorded, and what of a run is. Knows plain data, not Keras and not Hydra."""

import contextlib
import importlib.metadata
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from zoo.errors import UserError

PATIENCE = 1.0  # seconds that a metric may wait to be sent
PACKAGES = ("tensorflow", "keras", "hydra-core", "omegaconf", "mlflow", "numpy")


class Store:
    """A tracking store: the embedded database under `home`, or the server that `uri` or MLFLOW_TRACKING_URI names.

    Args:
        home: the folder that holds, or will hold, `mlruns/`.
        experiment: name of the MLflow experiment, made if it is not there.
        uri: of a server or database; `None` for MLFLOW_TRACKING_URI or, without it, the embedded database.

    Raises:
        UserError: where the store cannot be reached.
    """

    def __init__(self, home: Path, experiment: str, uri: str | None = None):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri(home)
        local = self.uri == embedded_uri(home)
        if local:
            (home / "mlruns").mkdir(parents=True, exist_ok=True)
        # MLflow tries for minutes otherwise before it says that a server is not there.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        try:
            with quiet_store():
                self.client = MlflowClient(self.uri)
                self.experiment_id = self._experiment(experiment, home / "mlruns" / "artifacts" if local else None)
        except MlflowException as error:
            reason = str(error).split("\n")[0][:200]
            raise UserError(
                f"the tracking store {self.uri} cannot be used ({reason}); start it, give another tracking.uri, "
                "or leave it out with tracking=none."
            ) from error

    def _experiment(self, name: str, artifacts: Path | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                raise UserError(
                    f"the MLflow experiment {name} is deleted; restore it or give another tracking.experiment."
                )
            return found.experiment_id
        try:
            return self.client.create_experiment(name, artifacts.as_uri() if artifacts else None)
        except MlflowException:
            # Another job made it in the meantime.
            return self.client.get_experiment_by_name(name).experiment_id

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> "Run":
        """Begin a run; `parent` is the run id of the sweep that it belongs to."""
        tags = {key: str(value) for key, value in tags.items() if value is not None}
        if parent:
            tags["mlflow.parentRunId"] = parent
        run = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        return Run(self, run.info.run_id)

    def finished(self, query: str) -> list:
        """Return the finished runs (not the sweeps) that MLflow's filter `query` finds, oldest first."""
        whole = " and ".join(q for q in (query, "tags.kind = 'run'", "attributes.status = 'FINISHED'") if q)
        found, token = [], None
        while True:
            page = self.client.search_runs([self.experiment_id], whole, order_by=["start_time"], page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def folder_of(self, run, download: Path) -> Path:
        """Return the run folder: where it was written, or, on another machine, its artifacts under `download`."""
        folder = Path(run.data.tags["folder"])
        if (folder / "summary.json").is_file():
            return folder
        target = download / run.info.run_id
        target.mkdir(parents=True, exist_ok=True)
        self.client.download_artifacts(run.info.run_id, "", str(target))
        return target

    def parent_of(self, sweep: str) -> str | None:
        """Return the run id of the sweep of that name, `None` where there is none."""
        found = self.client.search_runs(
            [self.experiment_id], f"tags.sweep = '{sweep}' and tags.kind = 'sweep'", max_results=1
        )
        return found[0].info.run_id if found else None


class Run:
    """One run in a store. Values that MLflow cannot hold (too long) are cut, never refused.

    Metrics of epochs shorter than a second wait for one another: a request costs more than what it carries.
    """

    def __init__(self, store: Store, run_id: str):
        self.store, self.client, self.run_id = store, store.client, run_id
        self._waiting: list = []
        self._sent = time.monotonic()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record parameters, once."""
        from mlflow.entities import Param

        entities = [Param(key, str(value)[:6000]) for key, value in params.items()]
        for start in range(0, len(entities), 100):  # as many as MLflow takes in one request
            self.client.log_batch(self.run_id, params=entities[start : start + 100])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record all metrics of one epoch at once."""
        self.log_points([(key, value, step) for key, value in metrics.items()])

    def log_points(self, points: list[tuple[str, float, int]]) -> None:
        """Record (name, value, step) points."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(key, float(value), now, int(step)) for key, value, step in points]
        if time.monotonic() - self._sent > PATIENCE:
            self.send()

    def send(self) -> None:
        """Send the metrics that wait."""
        for start in range(0, len(self._waiting), 1000):  # as many as MLflow takes in one request
            self.client.log_batch(self.run_id, metrics=self._waiting[start : start + 1000])
        self._waiting, self._sent = [], time.monotonic()

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags; a tag whose value is `None` is left out."""
        from mlflow.entities import RunTag

        entities = [RunTag(key, str(value)[:5000]) for key, value in tags.items() if value is not None]
        self.client.log_batch(self.run_id, tags=entities)

    def finish(self, folder: Path, status: str) -> None:
        """Record the run folder and end the run as FINISHED, FAILED or KILLED."""
        self.client.log_artifacts(self.run_id, str(folder))
        self.end(status)

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self.send()
        self.client.set_terminated(self.run_id, status)


def embedded_uri(home: Path) -> str:
    """Return the address of the embedded database."""
    return f"sqlite:///{(home / 'mlruns' / 'mlflow.db').as_posix()}"


def flatten(config: Mapping, prefix: str = "") -> dict[str, object]:
    """{'model': {'depth': 5}} -> {'model.depth': 5}; lists stay values."""
    flat = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def origin(code: Path) -> dict[str, str]:
    """Return the tags that say what code made a run: git commit (with + if changed since) and package versions."""
    tags = {f"version.{name}": importlib.metadata.version(name) for name in PACKAGES}
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = ["git", "-C", str(code)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
        tags["mlflow.source.git.commit"] = commit
        tags["git"] = commit[:10] + ("+" if changed.stdout.strip() else "")
    return tags


@contextlib.contextmanager
def quiet_store() -> Iterator[None]:
    """Keep the database's migration notes off the terminal."""
    import logging

    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow", "mlflow.store.db.utils")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
