"""Who works on a run's or sweep's folder."""

from pathlib import Path

STATE = ".state"  # in a run's folder: what lets it be resumed and resent, and is no result


class Lock:
    """Held on a run's folder by the process that works on it; the system takes it off a process that dies."""

    def __init__(self, folder: Path):
        from filelock import FileLock  # not before the config is checked

        (folder / STATE).mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / STATE / "lock")

    def acquire(self, patience: float = 0.0) -> bool:
        """Return whether the folder is ours, after `patience` seconds at most."""
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=patience)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let go."""
        self._lock.release()


def in_use(folder: Path) -> bool:
    """Whether a process works on a run's or sweep's folder now."""
    if not (folder / STATE / "lock").is_file():
        return False
    lock = Lock(folder)
    if free := lock.acquire():
        lock.release()
    return not free
