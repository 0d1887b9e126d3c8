"""What a store missed, of runs that have ended, and of runs whose process is gone without a word."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo.archive.lock import STATE, Lock
from zoo.archive.summary import Status, Summary
from zoo.errors import UserError
from zoo.tracking.delivery import deliver
from zoo.tracking.journal import Journal
from zoo.tracking.log import now
from zoo.tracking.store import connected


def resend(home: Path, folders: Sequence[Path] = ()) -> tuple[int, int]:
    """Deliver every journal that no process works on; one without an end gets it: KILLED.

    Args:
        home: whose `mlruns/` is looked through.
        folders: run or sweep folders instead.

    Returns:
        How many runs had something to send, and how many of them were marked as KILLED.

    Raises:
        UserError: where a store cannot be reached, or a folder does not exist.
    """
    sent = killed = 0
    for folder in list(_with_journal(home, folders)):
        lock = Lock(folder)
        if not lock.acquire():
            continue
        try:
            journal = Journal(folder, keep=True)
            if not journal.entries:
                continue
            created = journal.entries[0]
            if journal.entries[-1]["op"] != "end":
                # Its process may have been killed after the summary was written.
                status = Summary.read(folder).status
                _recover(folder)
                journal.append("files", names=sorted(path.name for path in folder.iterdir() if path.is_file()))
                journal.append("end", status=status, time=now())
                killed += status == Status.KILLED
            if journal.pending:
                deliver(journal, connected(home, created["experiment"], created["uri"]), folder)
                sent += 1
            journal.close()
            if Summary.read(folder).status != Status.KILLED:  # that one may go on from its state
                shutil.rmtree(folder / STATE, ignore_errors=True)
        finally:
            lock.release()
    return sent, killed


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
    except FileNotFoundError:  # killed before the first of them
        return
    if len(history):
        history.save(folder / "gradients.npz")
