"""From a run folder back to the store: of a database that was lost, and of entries that a broken journal lost."""

import contextlib
import dataclasses
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.archive.lock import STATE, Lock
from zoo.archive.models import files_of, models_in
from zoo.archive.run import RunFolder, data_of, read_run
from zoo.archive.summary import Status, Summary
from zoo.archive.sweep import SweepFolder
from zoo.errors import UserError
from zoo.tracking import outcome
from zoo.tracking.datasets import dataset_of
from zoo.tracking.delivery import deliver
from zoo.tracking.journal import Journal
from zoo.tracking.log import source_tags
from zoo.tracking.metrics import points_of
from zoo.tracking.store import Store, connected, parameters_of, resolved_uri


def restore(home: Path, folders: Sequence[Path] = ()) -> tuple[int, list[str]]:
    """Bring in again what the store does not have of the runs and sweeps that were recorded.

    Args:
        home: whose `mlruns/` is looked through.
        folders: run or sweep folders instead.

    Returns:
        How many runs were brought in, and one line for each thing that stood in the way.

    Raises:
        UserError: if a folder does not exist.
    """
    restored, problems = 0, []
    for sweep, runs in _found(home, folders):
        parent = None
        for folder in runs:
            try:
                with _held(folder) as free:
                    if not free:
                        continue
                    run = read_run(folder)
                    store = _store(home, run.config)
                    if store is None:
                        continue
                    if _has(store, run.summary.run_id, folder):
                        if not (folder / STATE / "journal.jsonl").is_file():
                            store.end_running(folder, run.summary.status)
                        continue
                    if sweep is not None and parent is None:
                        parent = _parent(store, sweep)
                    _bring_in(store, folder, run, parent)
                    restored += 1
            except (UserError, OSError, ValueError, KeyError) as error:
                line = str(error) if isinstance(error, UserError) else f"{folder} cannot be read ({error})."
                problems += [line] if line not in problems else []
    return restored, problems


def _found(home: Path, folders: Sequence[Path]) -> Iterator[tuple[Path | None, list[Path]]]:
    """Yield each sweep, `None` for the runs of their own, and its runs."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder of a run or sweep.")
    given = [folder.resolve() for folder in folders]
    mlruns = home / "mlruns"
    wanted = lambda run: not given or any(folder in (run, *run.parents) for folder in given)  # noqa: E731
    yield None, [p.parent for p in sorted(mlruns.glob("runs/*/config.yaml")) if wanted(p.parent)]
    for sweep in sorted(mlruns.glob("sweeps/*/")):
        runs = [p.parent for p in sweep.glob("*/config.yaml") if p.parent.name.isdigit() and wanted(p.parent)]
        yield sweep, sorted(runs, key=lambda run: int(run.name))


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    lock = Lock(folder)
    free = lock.acquire()
    try:
        yield free
    finally:
        if free:
            if not any(path.name != "lock" for path in (folder / STATE).iterdir()):
                shutil.rmtree(folder / STATE)
            lock.release()


def _store(home: Path, config: dict) -> Store | None:
    """Return the store that a run is recorded in; `None` if it was not to be recorded."""
    tracking = config.get("tracking", {})
    if not tracking.get("enabled"):
        return None
    return connected(home, tracking["experiment"], resolved_uri(home, tracking.get("uri")))


def _has(store: Store, run_id: str | None, folder: Path) -> bool:
    from mlflow.exceptions import MlflowException

    if run_id is not None:
        try:
            return store.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise UserError(f"the tracking store {store.uri} does not answer.") from error
    return bool(store.recorded_of(folder))


def _parent(store: Store, sweep: Path) -> str | None:
    """Return the id of a sweep's own run, which is brought in if it is not there."""
    folder = SweepFolder(sweep)
    content = folder.read()
    if not content:
        return None
    if _has(store, content.get("run_id"), sweep):
        return content.get("run_id")
    words = " ".join(content.get("overrides", ()))
    runs = []
    for job in folder.jobs():
        with contextlib.suppress(UserError):  # told by the run itself
            runs.append(Summary.read(job))
    status = Status.FINISHED if runs and all(run.finished for run in runs) else Status.FAILED
    found, told = outcome.of_sweep(runs, failed=sum(not run.finished for run in runs))
    entries: list[dict[str, Any]] = [
        {"op": "points", "points": [(name, float(value), 0) for name, value in found.items()]},
        {"op": "files", "names": [name for name in ("comparison.html", "comparison.png") if (sweep / name).is_file()]},
    ]
    tags = {"kind": "sweep", "sweep": sweep.name, "folder": str(sweep), "overrides": words, **told}
    with _held(sweep) as free:
        if not free:
            raise UserError(f"{sweep} is in use by another process.")
        run_id = _send(store, sweep, words or sweep.name, tags, entries, status)
    folder.write(**content | {"run_id": run_id, "experiment_id": store.experiment_id})
    return run_id


def _bring_in(store: Store, folder: Path, run: RunFolder, parent: str | None) -> None:
    summary, config = run.summary, run.config
    words = " ".join(summary.overrides)
    tags = {
        "kind": "run",
        "folder": str(folder),
        "overrides": words,
        **summary.origin,
        **{
            key: str(summary.choices[key])
            for key in ("model", "data", "experiment", "remedy")
            if summary.choices.get(key)
        },
        **({"sweep": folder.parent.name} if parent else {}),
        **({"mlflow.parentRunId": parent} if parent else {}),
        **outcome.of_run(summary),
    }
    points = [*points_of(run), *outcome.points_at_end(summary)]
    params: dict[str, object] = {**parameters_of(config, summary.choices)}
    params |= {"parameters": summary.parameters} if summary.parameters is not None else {}
    data = data_of(folder)
    entries = [
        {"op": "params", "values": {key: str(value) for key, value in params.items()}},
        *([{"op": "data", **dataset_of(data)}] if data else []),
        {"op": "points", "points": points},
        {"op": "files", "names": files_of(folder)},
        *({"op": "model", "name": name} for name in models_in(folder)),
    ]
    varying = SweepFolder(folder.parent).read().get("varying", ()) if parent else ()
    name = outcome.name_in_sweep(summary.overrides, varying, summary.choices)
    name = name or outcome.name_of(summary.overrides, summary.choices)
    run_id = _send(store, folder, name, tags, entries, summary.status)
    if (folder / "summary.json").is_file():
        dataclasses.replace(summary, run_id=run_id).write()


def _send(store: Store, folder: Path, name: str, tags: dict, entries: list[dict], status: Status) -> str:
    """Write a journal and deliver it, so that what is cut off goes on with `resend`; return the run's id."""
    began, ended = (_time_of(folder / name) for name in ("config.yaml", "summary.json"))
    (folder / STATE / "delivered.json").unlink(missing_ok=True)
    (folder / STATE / "journal.jsonl").unlink(missing_ok=True)
    journal = Journal(folder)
    try:
        about = {
            "experiment": store.client.get_experiment(store.experiment_id).name,
            "uri": store.uri,
            "name": name,
        }
        journal.append("create", **about, tags=source_tags() | tags | {"journal": uuid.uuid4().hex}, time=began)
        for entry in entries:
            journal.append(**{"time": ended, **entry})
        journal.append("end", status=status, time=ended)
        deliver(journal, store, folder)
    finally:
        journal.close()
    assert journal.run_id is not None, "it was delivered"
    if status != Status.KILLED:
        for left in ("journal.jsonl", "delivered.json"):
            (folder / STATE / left).unlink(missing_ok=True)
    return journal.run_id


def _time_of(path: Path) -> int:
    """Return when a file was written, in milliseconds since 1970."""
    return int(1000 * (path.stat().st_mtime if path.is_file() else time.time()))
