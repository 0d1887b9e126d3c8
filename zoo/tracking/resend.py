"""What a store missed, of runs that have ended, and of runs whose process is gone without a word."""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.archive.lock import STATE, Lock
from zoo.archive.models import files_of, models_in
from zoo.archive.summary import Status, Summary, can_go_on
from zoo.errors import UserError
from zoo.tracking import outcome
from zoo.tracking.delivery import deliver
from zoo.tracking.journal import Journal
from zoo.tracking.log import now
from zoo.tracking.store import connected


@dataclasses.dataclass
class Sent:
    """What came of it.

    Attributes:
        runs: how many had something to send.
        killed: how many of them were marked as KILLED.
        problems: one line for each thing that stood in the way; all other runs were sent.
    """

    runs: int = 0
    killed: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)


def resend(home: Path, folders: Sequence[Path] = ()) -> Sent:
    """Deliver every journal that no process works on; one without an end gets it: KILLED.

    Args:
        home: whose `mlruns/` is looked through.
        folders: run or sweep folders instead.

    Raises:
        UserError: if a folder does not exist.
    """
    sent = Sent()
    for folder in list(_with_journal(home, folders)):
        lock = Lock(folder)
        if not lock.acquire():
            continue
        try:
            _resend(home, folder, sent)
        except UserError as error:  # one broken file, or one store that does not answer, is no reason to leave the rest
            if str(error) not in sent.problems:
                sent.problems.append(str(error))
        finally:
            lock.release()
    return sent


def _resend(home: Path, folder: Path, sent: Sent) -> None:
    journal = Journal(folder, keep=True)
    try:
        if not journal.entries:
            if journal.damaged:
                raise UserError(
                    f"{journal.path} is broken: delete it, then `python -m zoo.tracking restore` sends the folder."
                )
            return
        created = journal.entries[0]
        if journal.entries[-1]["op"] != "end" and "run_id" not in created:
            # Its process may have been killed after the summary was written.
            summary = Summary.read(folder)
            _recover(folder)
            if summary.finished:
                _log_outcome(journal, summary)
            journal.append("files", names=files_of(folder))
            for name in models_in(folder):
                journal.append("model", name=name)
            journal.append("end", status=summary.status, time=now())
            sent.killed += summary.status == Status.KILLED
        if journal.pending:
            deliver(journal, connected(home, created["experiment"], created["uri"]), folder)
            sent.runs += 1
    finally:
        journal.close()
    if not can_go_on(Summary.read(folder)):
        shutil.rmtree(folder / STATE, ignore_errors=True)


def _log_outcome(journal: Journal, summary: Summary) -> None:
    """Log what a run that had written its summary came to, as far as it had not logged that yet."""
    from zoo.archive.run import read_run  # imports NumPy
    from zoo.tracking.metrics import points_of

    logged, points = journal.logged, outcome.points_at_end(summary)
    with contextlib.suppress(Exception):  # of files that are damaged: the summary tells what came out
        points += points_of(read_run(summary.folder))
    journal.append("tags", values=outcome.of_run(summary))
    journal.append("points", points=[p for p in points if (p[0], p[2]) not in logged], time=now())


def send_models(home: Path, folders: Sequence[Path], experiment: str, uri: str) -> Sent:
    """Deliver the models that lie in the folders of runs which have ended, once however often it is asked for.

    Args:
        home: as for `Store`.
        folders: of runs that were recorded.
        experiment, uri: where, as `RunLog.begin` was given them.
    """
    for folder in folders:
        lock = Lock(folder)
        if not lock.acquire():
            continue
        try:
            _note_models(home, folder, experiment, uri)
        finally:
            lock.release()
    return resend(home, folders) if folders else Sent()


def _note_models(home: Path, folder: Path, experiment: str, uri: str) -> None:
    """Write the models into the run's journal: the one that the store does not have all of yet, or a new one."""
    summary, journal = Summary.read(folder), Journal(folder, keep=True)
    try:
        ended = next((entry["time"] for entry in reversed(journal.entries) if entry["op"] == "end"), None)
        if not journal.entries:
            run_id = summary.run_id
            if run_id is None:  # it was sent after its summary was written
                found = [run for run in connected(home, experiment, uri).recorded_of(folder) if _is_run(run)]
                if not found:
                    shutil.rmtree(folder / STATE, ignore_errors=True)
                    return
                run_id = found[0].info.run_id
            about = {"name": summary.name, "tags": {}, "time": now()}
            journal.append("create", experiment=experiment, uri=uri, run_id=run_id, **about)
        for name in models_in(folder):
            journal.append("model", name=name)
        if ended is not None:
            journal.append("end", status=summary.status, time=ended)
        journal.sync()
    finally:
        journal.close()


def _is_run(run: Any) -> bool:
    return run.data.tags.get("kind") == "run"


def _with_journal(home: Path, folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder of a run or sweep.")
        yield from (path.parent.parent for path in sorted(folder.rglob(f"{STATE}/journal.jsonl")))
    if not folders:
        for pattern in ("runs/*", "sweeps/*", "sweeps/*/*"):
            yield from (
                path.parent.parent for path in sorted((home / "mlruns").glob(f"{pattern}/{STATE}/journal.jsonl"))
            )


def _recover(folder: Path) -> None:
    """Save the gradients that were recorded before the process was killed."""
    rows = folder / STATE / "gradients.f32"
    if not rows.is_file() or (folder / "gradients.npz").exists():
        return
    from zoo.telemetry.history import GradientHistory

    try:
        history = GradientHistory.recover(rows)
    except (FileNotFoundError, ValueError, KeyError):  # killed before the first of them, or what describes them is lost
        return
    if len(history):
        history.save(folder / "gradients.npz")
