"""The Hydra callback: checks configs first, prepares the store once, tells how far a sweep is, compares at the end.

A sweep's runs may be made in other processes or on other machines; what this callback knows of them it reads from their
run folders.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from zoo import report
from zoo.config import check, home
from zoo.errors import tell


class Sweep(Callback):
    """Lays a frame around the jobs of one `-m` command."""

    def __init__(self):
        self.began = time.perf_counter()
        self.total = 0
        self.record = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a config with a mistake before a run folder is made."""
        with _leaving():
            check(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a sweep with a mistake in any job; make the store and the sweep's own run before any job starts."""
        with _leaving():
            jobs = expand(config)
            for overrides in jobs:
                check(_compose(config, overrides))
            self.total, self.varying = len(jobs), report.varying(jobs)
            self.folder = Path(config.hydra.sweep.dir)
            self.name = self.folder.name
            self.overrides = list(config.hydra.overrides.task)
            self._open(config)
        if config.verbose:
            print(f"sweep {self.name}: {self.total} runs", flush=True)

    def _open(self, config: DictConfig) -> None:
        if not config.tracking.enabled:
            return
        from zoo.tracking import Store

        store = Store(home(), config.tracking.experiment, config.tracking.uri)
        tags = {"kind": "sweep", "sweep": self.name, "folder": self.folder, "overrides": " ".join(self.overrides)}
        self.record = store.start(" ".join(self.overrides)[:250] or self.name, tags)

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Say how far the sweep is."""
        if not self.total or not config.verbose:
            return
        folder = Path(config.hydra.runtime.output_dir)
        done = config.hydra.job.num + 1
        seconds = time.perf_counter() - self.began
        print(report.progress_line(done, self.total, report.read_summary(folder), self.varying, seconds), flush=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the comparison, close the sweep's run, and exit with 1 if a job failed."""
        runs = read_summaries(self.folder)
        failed = [r for r in runs if r["status"] != "FINISHED"]
        missing = self.total - len(runs)
        if config.verbose or failed:
            print(report.sweep_table(runs, f"sweep {self.name}", self.varying))
        for r in failed:
            print(f"{r['status']} {r['name']}: {r.get('reason', 'no reason was recorded')}", file=sys.stderr)
        if missing:
            print(f"{missing} of {self.total} runs left no record", file=sys.stderr)
        written = self._compare(config, runs) if config.pictures else []
        if config.verbose and written:
            print(f"compare   {written[0]}")
        if self.record is not None:
            self._close(runs, written, failed=len(failed) + missing)
        if failed or missing:
            raise SystemExit(1)

    def _compare(self, config: DictConfig, runs: list[dict]) -> list[Path]:
        from zoo.comparison import write_comparison

        finished = [r for r in runs if r["status"] == "FINISHED"]
        if not finished:
            return []
        experiment = self.record.store.experiment_id if self.record else None
        return write_comparison(runs, self.varying, self.folder, f"sweep {self.name}", experiment_id=experiment)

    def _close(self, runs: list[dict], written: list[Path], failed: int) -> None:
        """Let the sweep's own run say what came out, and end it."""
        finished = sorted((r for r in runs if r["status"] == "FINISHED"), key=report.sort_value)
        self.record.log_metrics({"runs": len(runs), "failed": failed})
        if finished:
            name, value = report.chosen_metric(finished[0])
            verdicts = [r["verdict"]["name"] for r in finished if r["verdict"]]
            counts = ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts)))
            self.record.log_metrics({f"best_{name}": value})
            best = finished[0]["name"]
            note = f"{len(runs)} runs: {counts}. Best: {best}, {name} {value:.4g}."
            self.record.set_tags({"verdicts": counts, "best": best, "mlflow.note.content": note})
        for path in written:
            self.record.client.log_artifact(self.record.run_id, str(path))
        self.record.end("FAILED" if failed else "FINISHED")


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """End the command on an exception, of which Hydra would make a warning and go on."""
    try:
        yield
    except Exception as error:
        tell(error)
        raise SystemExit(1) from None


def expand(config: DictConfig) -> list[list[str]]:
    """Return the overrides of each job that Hydra's basic sweeper makes of a `-m` command."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    params = [f"{key}={value}" for key, value in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items()]
    overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
    return BasicSweeper.split_arguments(overrides, None)[0]


def _compose(config: DictConfig, overrides: list[str]) -> DictConfig:
    job = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    with open_dict(job):
        del job["hydra"]
    return job


def read_summaries(folder: Path) -> list[dict]:
    """Return the summaries of all runs of a sweep, in the order of their numbers."""
    jobs = [p for p in folder.iterdir() if p.is_dir() and p.name.isdigit()] if folder.is_dir() else []
    return [report.read_summary(p) for p in sorted(jobs, key=lambda p: int(p.name))]
