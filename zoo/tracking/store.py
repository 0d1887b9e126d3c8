"""The tracking store: MLflow's database or server, and what it is told of a run."""

import contextlib
import functools
import importlib.metadata
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from zoo.archive.defaults import written
from zoo.errors import UserError
from zoo.startup import importing
from zoo.tracking import embedded
from zoo.tracking.address import DATABASES, connection, kind_of, without_password
from zoo.tracking.reasons import StoreError, reason_of

RENAMED = {"optimizer.learning_rate": "learning_rate"}  # parameters, whose group goes without saying
PACKAGES = ("tensorflow", "keras", "hydra-core", "omegaconf", "mlflow", "numpy")


class Store:
    """A tracking store: the embedded database under `home`, or the server that `uri` or MLFLOW_TRACKING_URI names.

    Args:
        home: the folder that holds, or will hold, `mlruns/`.
        experiment: name of the MLflow experiment, made if it is not there.
        uri: of a server or database; `None` for MLFLOW_TRACKING_URI or, without it, the embedded database.

    Attributes:
        uri: its address, without a password.
        embedded: whether it is the embedded database.
        made: whether that was not there before, and nobody was told.

    Raises:
        UserError: where the store cannot be reached, or there is none of that kind.
    """

    def __init__(self, home: Path, experiment: str, uri: str | None = None):
        import_mlflow()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        # What a database refuses is told in one sentence, by whoever was refused.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        self.home, self.uri = home, resolved_uri(home, uri)
        self.embedded, self.made = self.uri == embedded_uri(home), False
        # MLflow would wait for minutes. Nor may it ask again by itself: an answer that is lost is no run that is not
        # there; `delivery` looks for it first.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        address = connection(self.uri)
        try:
            with quiet_store():
                if self.embedded:
                    self.made = embedded.ensure(home / "mlruns" / "mlflow.db")
                else:
                    _try_database(address)
                self.client = MlflowClient(address)
                artifacts = home / "mlruns" / "artifacts" if self.embedded else None
                self.experiment_id = self._experiment(experiment, artifacts)
        except (MlflowException, SQLAlchemyError) as error:
            raise StoreError(
                self.uri,
                reason_of(error),
                "; start it, give another tracking.uri, or leave it out with tracking=none.",
            ) from error

    def tell_if_new(self) -> None:
        """Say of a database that was just made that recorded runs are not in it: once, as this process adds to it."""
        if self.made:
            self.made = False
            embedded.tell_of_runs(self.home / "mlruns")

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

    def delete_others(self, key: str, run_id: str) -> None:
        """Delete the runs that were made for the journal with that key, but for the one that has what it holds.

        A server that is slow to create a run may have done it after it was asked once more.
        """
        for run in self.client.search_runs([self.experiment_id], f"tags.journal = '{key}'"):
            if run.info.run_id != run_id:
                self.client.delete_run(run.info.run_id)

    def delete_replaced(self, folder: Path, but: str) -> None:
        """Delete what was recorded of a folder whose run is done again, for what it came to was lost; failures stay."""
        for run in self.recorded_of(folder):
            if run.info.run_id != but and run.data.tags["kind"] == "run" and run.info.status != "FAILED":
                self.client.delete_run(run.info.run_id)

    def recorded_of(self, folder: Path) -> list:
        """Return the runs that were recorded of a folder, a run's or a sweep's."""
        quote = '"' if "'" in str(folder) else "'"  # within either kind MLflow has no way to write it
        return list(self.client.search_runs([self.experiment_id], f"tags.folder = {quote}{folder}{quote}"))

    def end_running(self, folder: Path, status: str) -> None:
        """Give a folder's runs that are still RUNNING, though no process is left that would end them, their end."""
        for run in self.recorded_of(folder):
            if run.info.status == "RUNNING" and run.data.tags["kind"] == "run":
                self.client.set_terminated(run.info.run_id, status)

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
        with importing(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="IProgress not found")  # in a notebook: no bar of tqdm's is shown
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
    """Return the address of the store that is meant: of `uri`, of MLFLOW_TRACKING_URI, or of the embedded database.

    Its password, if it has one, is *** there, and from now on in MLFLOW_TRACKING_PASSWORD.
    """
    return without_password(uri or os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri(home))


def _try_database(address: str) -> None:
    """Connect to a database once: MLflow would try for 100 seconds, whatever is wrong.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: if it cannot be used.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    kind = kind_of(address)
    if kind not in DATABASES:
        return
    url = make_url(address)
    options = {}
    if kind == "sqlite" and url.database:
        with contextlib.suppress(OSError):  # then it is the database that says so
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    elif kind in ("postgresql", "mysql"):
        options = {"connect_timeout": int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])}
    engine = create_engine(url, connect_args=options)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


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


def parameters_of(config: Mapping, choices: Mapping[str, object]) -> dict[str, str]:
    """Return a run's parameters as a person says them: what was chosen of each group, and every number.

    {"model": "mlp", "model.depth": "5", "optimizer": "adam", "learning_rate": "0.001", "callbacks": "[probe]", ...}

    Args:
        config: of the run, resolved.
        choices: which file of each group was chosen; of another group the name of what it makes stands for it.
    """
    named = {name: str(choices.get(name) or _made(node)) for name, node in config.items() if isinstance(node, Mapping)}
    named = {name: choice for name, choice in named.items() if name not in ("tracking", "resume")}
    named["callbacks"] = f"[{','.join(sorted(config.get('callbacks', ())))}]"
    values = {
        RENAMED.get(key, key): written(value)
        for key, value in flatten(config).items()
        if not key.rpartition(".")[2].startswith("_") and not isinstance(value, Mapping)
    }
    return {**named, **values}


def _made(node: Mapping) -> str:
    """Return the last part of a node's `_target_`; "none" of an empty one."""
    return str(node.get("_target_", "none")).rpartition(".")[2]


@functools.cache
def origin(code: Path) -> dict[str, str]:
    """Return the tags that say what code made a run: git commit (with + if changed since) and package versions.

    Once for a process, whose code is what it has imported: to ask Git costs two processes.
    """
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
