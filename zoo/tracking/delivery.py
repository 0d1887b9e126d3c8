"""From a run's journal to the store: in order, in a thread of its own, and once however often it is tried."""

import collections
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.errors import explain
from zoo.tracking.datasets import dataset_input
from zoo.tracking.journal import Journal
from zoo.tracking.models import log_model
from zoo.tracking.reasons import LOST, StoreError, reason_of
from zoo.tracking.store import Store

REST = 1.0  # seconds between two deliveries: epochs may be short, and a request costs more than what it carries
SHARE = 0.05  # of the time that deliveries may take: one that took long is followed by a long rest
LONGEST = 10.0  # seconds of such a rest
LONGEST_REST = 60.0  # between two tries at a store that does not answer
MOST = {"points": 800, "params": 100, "tags": 100}  # that go in one request: of all together MLflow takes 1,000
NAME, TAG, PARAM = 250, 5000, 6000  # letters that it takes
# What the store says of an entry that it will never take.
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")


def deliver(journal: Journal, store: Store, folder: Path, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    """Send everything that the store does not have yet.

    An entry that was sent before, but not noted as such, does no harm: the store knows it by its time.

    Args:
        journal: of the run.
        store: that the journal is for.
        folder: of the run.
        stopped: asked between two requests whether to leave the rest.

    Returns:
        What the store refused for good.

    Raises:
        StoreError: where the store does not answer; the journal knows how far it got.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    refused, lost_at, singly = [], None, 0
    while journal.pending and not stopped():
        entries = list(_together(journal))[: 1 if singly else None]
        try:
            if not _send(entries, journal, store, folder, stopped):
                break
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason, left = reason_of(error), (journal.delivered, len(entries[0].get("names", ())))
            if reason == LOST and lost_at != left:  # that happens to a connection: once more, unless nothing gets on
                lost_at = left
                continue
            if not _for_good(error):
                raise StoreError(store.uri, reason) from error
            if len({entry["op"] for entry in entries}) > 1:  # which of them it will not take is not said
                singly = len(entries)
                continue
            refused.append(reason)
        singly = max(0, singly - len(entries))
        journal.advance(len(entries))
    return refused


def _for_good(error: Exception) -> bool:
    """Whether MLflow itself says that it will never take an entry; what stands before it, a proxy, may not."""
    return getattr(error, "error_code", None) in REFUSALS and not str(error).startswith("API request to")


def _together(journal: Journal) -> Iterator[dict]:
    """Yield the first pending entry, and the entries after it that go into the same request."""
    counts: collections.Counter[str] = collections.Counter()
    for i, entry in enumerate(list(journal.pending)):
        op = entry["op"]
        counts[op] += len(entry.get("points", entry.get("values", ())))
        if i and (op not in MOST or counts[op] > MOST[op]):
            return
        yield entry
        if op not in MOST:
            return


def _send(entries: list[dict], journal: Journal, store: Store, folder: Path, stopped: Callable[[], bool]) -> bool:
    """Send entries that belong together; return whether all of it was sent."""
    from mlflow.entities import Metric, Param, RunTag

    client, entry = store.client, entries[0]
    run_id = journal.run_id or ""  # without one the store refused the run, and refuses the rest
    match entry["op"]:
        case "create":
            # The answer to an earlier request may have been lost.
            known = entry.get("run_id") or (store.find(entry["tags"]["journal"]) if journal.asked else None)
            journal.asked = True
            journal.run_id = known or store.create(shortened(entry["name"]), _cut(entry["tags"], TAG), entry["time"])
            if entry.get("again"):
                store.delete_replaced(folder, but=journal.run_id)
        case "points" | "params" | "tags":  # each request costs more than what it carries
            metrics = [
                Metric(name, value, entry["time"], step)
                for entry in entries
                for name, value, step in entry.get("points", ())
            ]
            params = [Param(*pair) for pair in _values(entries, "params", PARAM).items()]
            tags = [RunTag(*pair) for pair in _values(entries, "tags", TAG).items()]
            groups = {"points": metrics, "params": params, "tags": tags}
            for k in range(max(-(-len(group) // MOST[op]) for op, group in groups.items())):
                parts = (group[k * MOST[op] : (k + 1) * MOST[op]] for op, group in groups.items())
                client.log_batch(run_id, *parts)
        case "files":
            # Those that are sent are taken off: a server that loses some answers gets all of them all the same.
            while entry["names"]:
                if stopped():
                    return False
                if (path := folder / entry["names"][0]).is_file():
                    client.log_artifact(run_id, str(path))
                del entry["names"][0]
        case "data":
            client.log_inputs(run_id, [dataset_input(entry)])
        case "model":
            if (path := folder / entry["name"]).is_file():
                log_model(store, run_id, path)
        case "resume":
            client.update_run(run_id, "RUNNING")
        case "end":
            client.set_terminated(run_id, entry["status"], entry["time"])
            if not store.embedded and journal.key:
                store.delete_others(journal.key, run_id)
    return True


def _values(entries: list[dict], op: str, letters: int) -> dict[str, str]:
    """Return the values of all entries of a kind; of one name the last."""
    return _cut({key: text for entry in entries if entry["op"] == op for key, text in entry["values"].items()}, letters)


def shortened(name: str) -> str:
    """Return a run's name as MLflow takes it: one that is too long loses its middle."""
    half = (NAME - 3) // 2
    return name if len(name) <= NAME else f"{name[:half]} … {name[-half:]}"


def _cut(texts: dict[str, str], letters: int) -> dict[str, str]:
    return {key: text[:letters] for key, text in texts.items()}


class Delivery:
    """Sends what a journal gets to the store for as long as a run goes on.

    Args:
        journal: of the run.
        connect: returns the store, or raises.
        folder: of the run.
        tell: gets one sentence, once, if the store does not take what it is sent.
    """

    def __init__(self, journal: Journal, connect: Callable[[], Store], folder: Path, tell: Callable[[str], None]):
        self._journal, self._connect, self._folder, self._tell = journal, connect, folder, tell
        self._told = False
        self._more, self._tried, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._left = threading.Event()
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that the journal has more."""
        self._more.set()

    def wait_begun(self, patience: float) -> None:
        """Wait until the store has the run, or has once failed to answer."""
        end = time.monotonic() + patience
        while self._journal.run_id is None and time.monotonic() < end and not self._tried.wait(0.02):
            pass

    def close(self, patience: float) -> bool:
        """Send the rest for `patience` seconds at most; return whether the store has everything."""
        self._closing.set()
        self._more.set()
        self._thread.join(patience)
        self._left.set()  # a request that is under way still comes to its end, if the process lives so long
        if self._journal.pending:
            self._say(self._failure or f"the tracking store takes more than {patience:.0f} s for the rest.")
        return not self._journal.pending

    def _work(self) -> None:
        rest, failed_at = REST, -1
        while not self._left.is_set():
            self._more.wait()
            self._more.clear()
            closing = self._closing.is_set()
            try:
                store, began = self._connect(), time.monotonic()
                refused = deliver(self._journal, store, self._folder, self._left.is_set)
                rest, self._failure = min(max(REST, (time.monotonic() - began) / SHARE), LONGEST), None
                if refused:
                    self._say(f"the tracking store refused an entry: {refused[0]}.", lost=True)
            except Exception as error:
                self._failure = _told(error)
                if failed_at == self._journal.delivered:  # once is no news: a connection may be cut off
                    self._say(self._failure)
                failed_at = self._journal.delivered
                self._more.set()
                rest = min(2 * rest, LONGEST_REST)
            self._tried.set()
            if closing and not self._journal.pending:
                return
            if closing:
                self._left.wait(0.2)
            else:
                self._closing.wait(rest)

    def _say(self, sentence: str, lost: bool = False) -> None:
        if not self._told:
            self._told = True
            cure = "" if lost else " Send what is missing with `python -m zoo.tracking resend`."
            self._tell(" ".join(f"{sentence}{cure}".split()))


def _told(error: Exception) -> str:
    """Return the sentence for a store that does not take what it is sent, without the cures of a command's start."""
    if isinstance(error, StoreError):
        return str(StoreError(error.uri, error.reason))
    return explain(error) or f"the tracking store cannot be used ({type(error).__name__}: {error})."
