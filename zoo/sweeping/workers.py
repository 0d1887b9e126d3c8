"""Worker processes that import TensorFlow once and do one job of a sweep after the other.

Each slot has a process of its own, so that one that dies takes nobody with it: its job goes on in a new one, from the
last epoch that was finished.
"""

import contextlib
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from zoo.archive.summary import Summary
from zoo.errors import tell
from zoo.interrupts import hear, held_back, told_to_end

TRIES = 3  # of a job whose process dies without having finished an epoch
GROWTH = 300 * 2**20  # bytes by which a worker may outgrow its first job before a new one takes its place
ROOM = 64 * 2**20  # bytes by which a worker grows before it looks for garbage
GRACE = 20.0  # seconds for runs to be recorded as KILLED when the sweep is interrupted
PAUSE = 0.01  # seconds until an interrupt that was dropped is raised again
WATCH = 1.0  # seconds between two looks at whether the sweep is still there, or was told to end
_after_collection = 0  # bytes that a worker held
_resting = threading.Event()  # in a worker: between two jobs, where an interrupt would cut a result in two


class Workers:
    """Slots for jobs, each with a process.

    Args:
        n_jobs: slots; -1 for as many as there are cores.
        left: jobs that there will be, if known: more slots are of no use.
    """

    def __init__(self, n_jobs: int, left: int | None = None):
        from loky import cpu_count

        cores = cpu_count()
        self.slots = n_jobs if n_jobs > 0 else cores
        threads = str(max(1, cores // self.slots))
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        self.environment = {name: os.environ.get(name, threads) for name in (*names, "TF_NUM_INTEROP_THREADS")}
        self.environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # several processes may share one
        self.free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        if left is not None:
            self.slots = max(1, min(self.slots, left))
        self.workers = [_Worker(self.environment, warm=left != 0) for _ in range(self.slots)]
        for worker in self.workers:
            self.free.put(worker)
        self.stopping = threading.Event()

    def run(self, packs: list[list[tuple]], sweep: Path) -> list[JobReturn]:
        """Do the jobs, those of a pack together.

        Args:
            packs: of each job the arguments of `execute`.
            sweep: the sweep's folder.

        Returns:
            What each job returned, in the order of their numbers.
        """
        with ThreadPoolExecutor(self.slots) as threads:
            futures: list[Future] = [threads.submit(self._do_pack, pack, sweep) for pack in packs]
            try:
                left = set(futures)
                while left and not any(future.done() and future.exception() for future in futures):
                    # Not for ever: a signal that another thread was given is heard when this one wakes.
                    left = wait(left, timeout=WATCH, return_when=FIRST_EXCEPTION).not_done
                numbered = {number: result for future in futures for number, result in future.result().items()}
                return [numbered[number] for number in sorted(numbered)]
            except BaseException:
                self.stop()
                for future in futures:
                    future.cancel()
                raise

    def stop(self) -> None:
        """End what runs, in order if it can be done within the grace."""
        self.stopping.set()
        for worker in self.workers:
            worker.interrupt()
        end = time.monotonic() + GRACE
        while time.monotonic() < end and any(worker.busy for worker in self.workers):
            time.sleep(0.05)
        for worker in self.workers:
            worker.close(kill=True)

    def close(self) -> None:
        """Let the processes go, which have nothing to do any more."""
        for worker in self.workers:
            worker.close()

    def _do_pack(self, pack: list[tuple], sweep: Path) -> dict[int, JobReturn]:
        """Do the jobs of a pack, those that the end of their process leaves one by one; return results by number."""
        left = [job for job in pack if not Summary.read(sweep / str(job[0])).finished]
        results: dict[int, JobReturn] = {}
        if len(left) > 1:
            worker = self.free.get()
            try:
                results = {job[0]: result for job, result in zip(left, worker.do_pack(left), strict=True)}
            except BaseException:  # they go on from their own last epochs
                if self.stopping.is_set():
                    results = {job[0]: returned(math.nan) for job in left}
            finally:
                self.free.put(worker)
        return results | {job[0]: self._do(job, sweep / str(job[0])) for job in pack if job[0] not in results}

    def _do(self, job: tuple, folder: Path) -> JobReturn:
        if Summary.read(folder).finished:
            return returned(math.nan)  # only a search, which never comes upon a finished run, asks for its value
        worker = self.free.get()
        try:
            return self._try(worker, job, folder)
        finally:
            self.free.put(worker)

    def _try(self, worker: "_Worker", job: tuple, folder: Path) -> JobReturn:
        from loky.process_executor import BrokenProcessPool

        deaths, epoch = 0, _stamp(folder)
        while not self.stopping.is_set():
            try:
                result = worker.do(job)
                if result.status == JobStatus.FAILED:  # so that not even its record could be written
                    tell(result._return_value)
                    return returned(math.nan)
                return result
            except BrokenProcessPool:
                if self.stopping.is_set():
                    break
                if _stamp(folder) != epoch:
                    deaths, epoch = 0, _stamp(folder)
                deaths += 1
                if deaths == TRIES:
                    from zoo.running.record import abandon

                    abandon(folder, list(job[1]), f"its process was killed {TRIES} times: is there memory enough?")
                    return returned(math.nan)
            except BaseException:  # recorded by the job itself, if it could be
                return returned(math.nan)
        return returned(math.nan)


class _Worker:
    """One process at a time."""

    def __init__(self, environment: dict[str, str], warm: bool):
        self.environment = environment
        self.executor: Any = None  # loky's: its `shutdown` can kill
        self.busy = False
        self.first_memory = None
        if warm:
            self._submit(_import)

    def _start(self) -> Executor:
        from loky import ProcessPoolExecutor

        if self.executor is None:
            self.executor = ProcessPoolExecutor(
                1, env=self.environment, initializer=_begin, initargs=(os.getpid(), os.getcwd())
            )
            self.first_memory = None
        return self.executor

    def _submit(self, function: Callable, *args) -> Future:
        with held_back():  # a Ctrl-C is for all processes of a terminal; one that is only starting cannot yet handle it
            return self._start().submit(function, *args)

    def do(self, job: tuple) -> JobReturn:
        return self._done(execute, *job)

    def do_pack(self, jobs: list[tuple]) -> list[JobReturn]:
        return self._done(execute_pack, jobs)

    def _done(self, function: Callable, *args) -> Any:
        self.busy = True
        try:
            result, memory = self._submit(function, *args).result()
        except BaseException:
            self.close(kill=True)
            raise
        finally:
            self.busy = False
        self.first_memory = self.first_memory or memory
        if memory > self.first_memory + GROWTH:
            self.close()
        return result

    def interrupt(self) -> None:
        for pid in list(getattr(self.executor, "_processes", None) or ()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def close(self, kill: bool = False) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=kill, kill_workers=kill)
            self.executor = None


def _stamp(folder: Path) -> int | None:
    """When the last finished epoch of a run was."""
    from zoo.archive.lock import STATE

    try:
        return (folder / STATE / "checkpoint.npz").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def returned(value: float) -> JobReturn:
    """Return what Hydra expects of a job that has ended."""
    return JobReturn(_return_value=value, status=JobStatus.COMPLETED)


# In the worker.


def _begin(parent: int, cwd: str) -> None:
    """Set up a new process: the first interrupt ends its job, and so does the end of the sweep's own process.

    Between two jobs nothing is raised: half of a result in the pipe would be waited for without end.
    """

    from zoo.running.reuse import expect_many

    begun, heard, dropping = False, False, False

    def interrupted(*_) -> None:
        nonlocal heard
        told_to_end.set()  # before all is set up nothing is raised, nor between two jobs: the next job asks
        if heard or not begun or _resting.is_set():
            return
        heard = True
        raise KeyboardInterrupt

    def unheard(unraisable) -> None:
        nonlocal dropping
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        dropping = True
        threading.Timer(PAUSE, again).start()  # raised within a destructor, where Python drops it
        dropping = False

    def again() -> None:
        nonlocal heard
        while dropping:  # raised here, it would be dropped once more
            time.sleep(PAUSE)
        time.sleep(PAUSE)
        heard = False
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    sys.unraisablehook = unheard
    os.chdir(cwd)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os.kill(os.getpid(), signal.SIGINT)
        _resting.wait(GRACE)
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()
    expect_many()
    hear()
    begun = True


def _import() -> None:
    """Import what every job needs, while the sweep is being prepared."""
    import gc

    from zoo.startup import import_keras, quiet
    from zoo.tracking.store import import_mlflow

    with quiet():
        import_mlflow()
    import_keras()
    gc.freeze()  # no collection need go through what is there for good


def execute(number: int, overrides: list[str], config_loader, config: DictConfig, task_function) -> tuple:
    """Do one job as Hydra does it; return what it returned, and this process' memory in bytes."""
    with _at_work():
        return _execute(number, overrides, config_loader, config, task_function), _memory_after()


def execute_pack(jobs: list[tuple]) -> tuple:
    """Do jobs, each the arguments of `execute`, as one; return what each returned, and this process' memory in bytes.

    Hydra begins and ends each before any is trained: what it does around a job, it does around the word that it came.
    """
    from zoo.running.pack import run_pack
    from zoo.running.run import held

    with _at_work():
        results, asked = [], []
        for job in jobs:
            with held() as runs:
                results.append(_execute(*job))
            asked += runs
        insist = jobs[0][3].hydra.launcher.pack != "auto"
        for result, value in zip(results, run_pack(asked, insist=insist), strict=True):
            result.return_value = value
        return results, _memory_after()


@contextlib.contextmanager
def _at_work() -> Iterator[None]:
    """Within it an interrupt ends what is done."""
    _resting.clear()
    try:
        yield
    finally:
        _resting.set()


def _execute(number: int, overrides: list[str], config_loader, config: DictConfig, task_function) -> JobReturn:
    from hydra import version
    from hydra.core.utils import run_job, setup_globals
    from omegaconf import open_dict

    import zoo.config  # noqa: F401  it registers the schema and the resolvers
    from zoo.sweeping.hydra_private import context, job_config

    if told_to_end.is_set():  # while it imported, or did the job before
        raise KeyboardInterrupt
    version.setbase("1.3")
    setup_globals()
    job = job_config(config_loader, config, overrides)
    with open_dict(job):
        job.hydra.job.id = f"{job.hydra.job.name}_{number}"
        job.hydra.job.num = number
    return run_job(
        hydra_context=context(config_loader, job),
        task_function=task_function,
        config=job,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _memory_after() -> int:
    """Return the bytes of memory that this process holds after its work, without garbage."""
    import gc

    global _after_collection
    if _memory() > _after_collection + ROOM:
        gc.collect()
        _after_collection = _memory()
    return _memory()


def _memory() -> int:
    """Return the bytes of memory that this process holds; its peak where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
