"""The tracking store: MLflow's database or server, and what it is told of a run."""

import contextlib
import functools
import importlib.metadata
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from zoo.errors import UserError
from zoo.startup import importing

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
        import_mlflow()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        # What a database refuses is told in one sentence, by whoever was refused.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        self.uri = resolved_uri(home, uri)
        local = self.uri == embedded_uri(home)
        if local:
            (home / "mlruns").mkdir(parents=True, exist_ok=True)
        # MLflow tries for minutes otherwise before it says that a server is not there.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
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
            if (found := self.client.get_experiment_by_name(name)) is None:
                raise
            return found.experiment_id  # another job made it in the meantime

    def create(self, name: str, tags: Mapping[str, str], start_time: int) -> str:
        """Begin a run; return its id."""
        return self.client.create_run(self.experiment_id, start_time, dict(tags), name).info.run_id

    def find(self, key: str) -> str | None:
        """Return the id of the run whose journal has that key; `None` where there is none."""
        found = self.client.search_runs([self.experiment_id], f"tags.journal = '{key}'", max_results=1)
        return found[0].info.run_id if found else None

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


def import_mlflow() -> None:
    """Import MLflow, with what it imports only once it is used."""
    if "mlflow" not in sys.modules:
        with importing():
            import mlflow.artifacts
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


@functools.cache
def connected(home: Path, experiment: str, uri: str) -> Store:
    """Return the store, the same one to all jobs of a process.

    Raises:
        UserError: where it cannot be reached; the next call tries again.
    """
    return Store(home, experiment, uri)


def resolved_uri(home: Path, uri: str | None) -> str:
    """Return the address of the store that is meant: of `uri`, of MLFLOW_TRACKING_URI, or of the embedded database."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri(home)


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
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
