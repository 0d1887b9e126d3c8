"""Jobs of a sweep on many machines, by Ray."""

import logging
import math
import os
import re
import socket
from pathlib import Path

from hydra.core.utils import JobReturn

from zoo.archive.summary import Summary
from zoo.errors import UserError, masked
from zoo.running.record import abandon
from zoo.sweeping.workers import execute, returned
from zoo.tracking.address import PASSWORD, TOKEN, USER


def run_on_ray(jobs: list[tuple], address: str | None, options: dict, sweep: Path) -> list[JobReturn]:
    """Do the jobs, each the arguments of `zoo.sweeping.workers.execute`; return what each returned, in order.

    The sweep's folder must be one that all machines see under the same path.

    Args:
        jobs: what `execute` takes.
        address: of the cluster; `None` starts one on this machine.
        options: of `ray.remote`.
        sweep: the sweep's folder.

    Raises:
        UserError: if Ray is not installed or there is no cluster at the address.
    """
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise UserError("hydra/launcher=ray needs Ray: pip install 'gradient-zoo[ray]'.") from error
    if address and (place := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address)):
        try:  # Ray itself would ask for minutes
            socket.create_connection((place[1], int(place[2])), timeout=10).close()
        except OSError as error:
            raise UserError(f"hydra.launcher.address={address}: no Ray cluster answers there ({error}).") from error
    # What the jobs share with the command: where it was given, and where its runs are recorded.
    names = ("GRADIENT_ZOO_HOME", "GRADIENT_ZOO_LANGUAGE", "KERAS_BACKEND", "MLFLOW_TRACKING_URI")
    environment = {name: masked(os.environ[name]) for name in names if name in os.environ}
    # Not with the environment, which Ray's own pages show.
    secrets = {name: os.environ[name] for name in (USER, PASSWORD, TOKEN) if name in os.environ}
    try:
        ray.init(
            address,
            runtime_env={"env_vars": environment},
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=None if address else False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"hydra.launcher.address={address}: no Ray cluster answers there ({error}).") from error
    remote = ray.remote(**options)(_job)
    folder, done = os.getcwd(), {}
    waiting = {}
    for job in jobs:
        if Summary.read(sweep / str(job[0])).finished:
            done[job[0]] = returned(math.nan)
        else:
            waiting[remote.remote(folder, job, secrets)] = job
    try:
        while waiting:
            (task,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(task)
            try:
                done[job[0]] = ray.get(task)
            except RayError as error:
                reason = str(error).strip().split("\n")[0]
                abandon(sweep / str(job[0]), job[1], f"Ray gave up on its process: {reason}")
                done[job[0]] = returned(math.nan)
    finally:
        ray.shutdown()
    return [done[job[0]] for job in jobs]


def _job(folder: str, job: tuple, secrets: dict[str, str]) -> JobReturn:
    from zoo.running.reuse import expect_many

    expect_many()
    os.environ.update(secrets)
    os.chdir(folder)
    return execute(*job)[0]
