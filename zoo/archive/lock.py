"""Who works on a run's or sweep's folder."""

import errno
from pathlib import Path

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what disks answer that lock no files: some network ones
STATE = ".state"  # in a run's folder: what lets it be resumed and resent, and is no result


class Lock:
    """Held on a run's folder by the process that works on it; the system takes it off a process that dies.

    On a disk that locks no files, a file that names process and machine stands for it: one that was left by a process
    of this machine that is gone counts for nothing.
    """

    def __init__(self, folder: Path):
        from filelock import BaseFileLock, FileLock  # not before the config is checked

        (folder / STATE).mkdir(parents=True, exist_ok=True)
        self._path = folder / STATE / "lock"
        self._lock: BaseFileLock = FileLock(self._path, fallback_to_soft=False)

    def acquire(self, patience: float = 0.0) -> bool:
        """Return whether the folder is ours, after `patience` seconds at most."""
        from filelock import SoftFileLock, Timeout

        try:
            try:
                self._lock.acquire(timeout=patience)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                self._lock = SoftFileLock(self._path.with_name("holder"))
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
