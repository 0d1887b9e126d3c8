"""From a run's journal to the store: in order, in a thread of its own, and once however often it is tried."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.errors import explain
from zoo.tracking.journal import Journal
from zoo.tracking.store import Store

REST = 1.0  # seconds between two deliveries: epochs may be short, and a request costs more than what it carries
LONGEST_REST = 60.0  # between two tries at a store that does not answer
POINTS, PARAMS = 1000, 100  # as many as MLflow takes in one request
# What the store says of an entry that it will never take.
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "PERMISSION_DENIED")


def deliver(journal: Journal, store: Store, folder: Path) -> list[str]:
    """Send everything that the store does not have yet.

    An entry that was sent before, but not noted as such, does no harm: the store knows it by its time.

    Returns:
        What the store refused for good, in its own words.

    Raises:
        Exception: what MLflow raises where the store does not answer; the journal knows how far it got.
    """
    from mlflow.exceptions import MlflowException

    refused = []
    while journal.pending:
        entries = list(_together(journal))
        try:
            _send(entries, journal, store, folder)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            refused.append(str(error).split("\n")[0])
        journal.advance(len(entries))
    return refused


def _together(journal: Journal) -> Iterator[dict]:
    """Yield the first pending entry, and the entries after it that go into the same request."""
    points = 0
    for i, entry in enumerate(list(journal.pending)):
        points += len(entry.get("points", ()))
        if i and (entry["op"] != "points" or points > POINTS):
            return
        yield entry
        if entry["op"] != "points":
            return


def _send(entries: list[dict], journal: Journal, store: Store, folder: Path) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client, entry = store.client, entries[0]
    run_id = journal.run_id or ""  # without one the store refused the run, and refuses the rest
    match entry["op"]:
        case "create":
            # The answer to an earlier request may have been lost.
            known = store.find(entry["tags"]["journal"]) if journal.asked else None
            journal.asked = True
            journal.run_id = known or store.create(entry["name"], entry["tags"], entry["time"])
        case "points":
            metrics = [
                Metric(name, value, entry["time"], step) for entry in entries for name, value, step in entry["points"]
            ]
            for start in range(0, len(metrics), POINTS):
                client.log_batch(run_id, metrics=metrics[start : start + POINTS])
        case "params":
            params = [Param(key, value) for key, value in entry["values"].items()]
            for start in range(0, len(params), PARAMS):
                client.log_batch(run_id, params=params[start : start + PARAMS])
        case "tags":
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in entry["values"].items()])
        case "files":
            for name in entry["names"]:
                if (folder / name).is_file():
                    client.log_artifact(run_id, str(folder / name))
        case "resume":
            client.update_run(run_id, "RUNNING")
        case "end":
            client.set_terminated(run_id, entry["status"], entry["time"])


class Delivery:
    """Sends what a journal gets to the store for as long as a run goes on.

    Args:
        journal: of the run.
        connect: returns the store, or raises.
        folder: of the run.
        tell: gets one sentence, once, if the store does not answer or refuses something.
    """

    def __init__(self, journal: Journal, connect: Callable[[], Store], folder: Path, tell: Callable[[str], None]):
        self._journal, self._connect, self._folder, self._tell = journal, connect, folder, tell
        self._told = False
        self._more, self._tried, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that the journal has more."""
        self._more.set()

    def wait_begun(self, patience: float) -> None:
        """Wait until the store has the run, or has once failed to answer."""
        self._tried.wait(patience)

    def close(self, patience: float) -> bool:
        """Send the rest; return whether the store has everything, after `patience` seconds of no answer at most."""
        self._deadline = time.monotonic() + patience
        self._closing.set()
        self._more.set()
        self._thread.join()
        return not self._journal.pending

    def _work(self) -> None:
        rest = REST
        while True:
            self._more.wait()
            self._more.clear()
            closing = self._closing.is_set()
            try:
                refused = deliver(self._journal, self._connect(), self._folder)
                rest = REST
                if refused:
                    self._say(f"the tracking store refused an entry: {refused[0]}")
            except Exception as error:
                self._say(
                    f"{explain(error) or error} Training goes on; send what is missing with "
                    "`python -m zoo.tracking resend`."
                )
                self._tried.set()
                if closing and time.monotonic() > self._deadline:
                    return
                self._more.set()
                rest = min(2 * rest, LONGEST_REST) if not closing else 0.2
            self._tried.set()
            if closing and not self._journal.pending:
                return
            if closing:
                time.sleep(rest if self._journal.pending else 0)
            else:
                self._closing.wait(rest)

    def _say(self, sentence: str) -> None:
        if not self._told:
            self._told = True
            self._tell(" ".join(sentence.split()))
