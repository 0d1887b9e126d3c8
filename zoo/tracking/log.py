"""A run as the rest of the program sees it: it logs, and never waits or fails for its tracking store."""

import contextlib
import functools
import getpass
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.tracking.datasets import dataset_of
from zoo.tracking.delivery import Delivery
from zoo.tracking.journal import Journal
from zoo.tracking.store import connected, embedded_uri

PATIENCE = 15.0  # seconds that a server may take for the rest when a run ends
PATIENCE_EMBEDDED = 60.0  # the database answers when others have written


class RunLog:
    """One run: what is logged goes to the journal in its folder, and from there to the store.

    Values that MLflow cannot hold (too long) are cut, never refused. What a resumed run logs again is left out.

    Args:
        folder: of the run; whoever makes the `RunLog` holds its lock.
        home: as for `Store`.
        created: the entry that created the run.
        tell: gets one sentence, once, if the store does not answer.

    Attributes:
        resumed: whether it goes on with what another process began.
    """

    def __init__(self, folder: Path, home: Path, journal: Journal, created: Mapping, tell: Callable[[str], None]):
        self.folder, self._journal, self.resumed = folder, journal, bool(journal.entries)
        self._embedded = created["uri"] == embedded_uri(home)
        self._logged = journal.logged
        connect = functools.partial(connected, home, created["experiment"], created["uri"])
        self._delivery = Delivery(journal, connect, folder, tell)
        self._delivery.wake()

    @classmethod
    def begin(
        cls,
        folder: Path,
        home: Path,
        *,
        experiment: str,
        uri: str,
        name: str,
        tags: Mapping[str, object],
        parent: str | None = None,
        again: bool = False,
        tell: Callable[[str], None] = print,
    ) -> "RunLog":
        """Begin a run; `parent` is the run id of the sweep that it belongs to, `uri` as `resolved_uri` gives it.

        With `again` it takes the place of what was recorded of the same folder, unless that FAILED.
        """
        journal = Journal(folder)
        texts = {key: str(value) for key, value in tags.items() if value is not None}
        texts = source_tags() | texts
        texts |= {"journal": uuid.uuid4().hex} | ({"mlflow.parentRunId": parent} if parent else {})
        created = {"experiment": experiment, "uri": uri, "name": name, "tags": texts, "time": now()}
        created |= {"again": True} if again else {}
        journal.append("create", **created)
        if journal.run_id is not None:  # of a journal that was lost
            journal.advance(1)
            journal.append("resume")
        return cls(folder, home, journal, created, tell)

    @classmethod
    def resume(cls, folder: Path, home: Path, tell: Callable[[str], None] = print) -> "RunLog | None":
        """Go on with the run whose journal lies in `folder`; `None` where there is none."""
        journal = Journal(folder, keep=True)
        if not journal.entries:
            journal.close()
            return None
        journal.append("resume")
        return cls(folder, home, journal, journal.entries[0], tell)

    @property
    def run_id(self) -> str | None:
        """The run's id in the store; `None` if the store has not answered yet."""
        self._delivery.wait_begun(self._patience)
        return self._journal.run_id

    @property
    def _patience(self) -> float:
        return PATIENCE_EMBEDDED if self._embedded else PATIENCE

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record parameters, once: a store does not change them."""
        if not any(entry["op"] == "params" for entry in self._journal.entries):
            self._log("params", values={key: str(value) for key, value in params.items()})

    def log_data(self, data: Mapping[str, Any]) -> None:
        """Record which data the run was trained on, once; `data` as the run's `data.json` has it."""
        if not any(entry["op"] == "data" for entry in self._journal.entries):
            self._log("data", **dataset_of(data))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record all metrics of one epoch at once."""
        self.log_points([(name, value, step) for name, value in metrics.items()])

    def log_points(self, points: Sequence[tuple[str, float, int]]) -> None:
        """Record (name, value, step) points."""
        new = [(name, float(value), int(step)) for name, value, step in points if (name, int(step)) not in self._logged]
        if new:
            if self.resumed:
                self._logged |= {(name, step) for name, _, step in new}
            self._log("points", points=new, time=now())

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags; a tag whose value is `None` is left out."""
        self._log("tags", values={key: str(value) for key, value in tags.items() if value is not None})

    def log_files(self, names: list[str]) -> None:
        """Record files of the folder as artifacts, as they are when they are sent."""
        self._log("files", names=names)

    def log_models(self, names: list[str]) -> None:
        """Record models that lie in the folder, as they are when they are sent."""
        for name in names:
            self._log("model", name=name)

    def sync(self) -> None:
        """Have the disk hold what was logged so far."""
        self._journal.sync()

    def end(self, status: str) -> bool:
        """End the run as FINISHED, FAILED or KILLED; return whether the store has all of it."""
        self._log("end", status=status, time=now())
        self._journal.sync()
        return self._delivery.close(self._patience) and self._close()

    def _close(self) -> bool:
        self._journal.close()
        return True

    def _log(self, op: str, **content) -> None:
        self._journal.append(op, **content)
        self._delivery.wake()


def source_tags() -> dict[str, str]:
    """Return what MLflow shows as a run's source and user."""
    tags = {"mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(Exception):  # a user without a name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def now() -> int:
    """Return milliseconds since 1970."""
    return int(time.time() * 1000)
