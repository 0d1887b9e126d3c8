"""The embedded database: made whole or not at all, by one process, and told in one line where it is broken."""

import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from urllib.parse import quote

from zoo.archive.lock import NO_LOCKS, in_use
from zoo.errors import UserError

TABLES = {"experiments", "runs", "params", "tags", "metrics", "latest_metrics"}
PATIENCE = 300.0  # seconds for another process to make it: on a busy machine that takes several


def ensure(path: Path) -> bool:
    """Make MLflow's database in `path` if it is not there; return whether it was made.

    MLflow makes its tables one after the other, and what is cut off in between it neither uses nor mends. So they are
    made beside the place, by whoever has the lock, and moved there when all of them are whole.

    Raises:
        UserError: if something else lies there, a database that is not whole, or if the disk locks no files.
    """
    from filelock import FileLock

    if _usable(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE, fallback_to_soft=False):
            if _usable(path):
                return False
            _make(path)
            return True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise UserError(
            f"{path.parent} is on a disk that locks no files, which an SQLite database needs: give a folder on another "
            "as GRADIENT_ZOO_HOME, the address of a server as tracking.uri, or tracking=none."
        ) from error


def _usable(path: Path) -> bool:
    """Whether a database lies there; not so if there is nothing, or nothing in it."""
    if not path.is_file() or not path.stat().st_size:
        return False
    if reason := _fault(path):
        raise UserError(
            f"{path} cannot be used: {reason}; move it away, then `python -m zoo.tracking restore` makes it anew from "
            "the runs that lie on disk."
        )
    return True


def _fault(path: Path) -> str | None:
    """Return why a file is no database of MLflow's, `None` if it is one."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as file:
            names = {name for (name,) in file.execute("select name from sqlite_master where type = 'table'")}
            if not names:
                return "it holds no tables"
            if not names & TABLES:
                return "it is not MLflow's"
            if not names >= TABLES or any(name.startswith("_alembic_tmp_") for name in names):
                return "its creation was cut off"
            if not file.execute("select 1 from alembic_version").fetchall():
                return "its creation was cut off"
            for name in TABLES:
                file.execute(f"select 1 from {name} limit 1").fetchall()
    except sqlite3.OperationalError as error:  # locked, or not to be opened: whoever connects tells
        return str(error) if "malformed" in str(error) else None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def _make(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    beside = f".{path.name}.new"
    for left in path.parent.glob(f"{beside}*"):  # by a process that was killed
        left.unlink()
    new = path.with_name(f"{beside}-{os.getpid()}")
    try:
        store = SqlAlchemyStore(f"sqlite:///{new.as_posix()}", (path.parent / "artifacts").as_uri())
        store.engine.dispose()  # SQLite's locks are lost if a file is open under two names
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def tell_of_runs(mlruns: Path) -> None:
    """Say that recorded runs are not in a database that was just made: the one before was emptied, or is gone."""
    configs = (path for pattern in ("runs/*", "sweeps/*/*") for path in mlruns.glob(f"{pattern}/config.yaml"))
    # A run that has just begun elsewhere records itself in the new database.
    found = sum(1 for path in configs if not in_use(path.parent))
    if found:
        runs = f"{found} run{'s' * (found > 1)}"
        print(
            f"{mlruns / 'mlflow.db'} is new, and {runs} on disk may not be in it: `python -m zoo.tracking restore` "
            "brings in what was recorded",
            file=sys.stderr,
        )
