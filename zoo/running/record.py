"""What is kept of a run: its folder, and its run in the tracking store."""

import contextlib
import dataclasses
import functools
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from zoo.archive.files import replace_file
from zoo.archive.lock import STATE, Lock
from zoo.archive.models import files_of, models_in
from zoo.archive.summary import Status, Summary, can_go_on
from zoo.archive.sweep import SweepFolder
from zoo.config import CONF, check, home, resolved
from zoo.errors import UserError, disk_full, explain

if TYPE_CHECKING:
    from zoo.archive.run import RunFolder
    from zoo.tracking import RunLog
    from zoo.tracking.metrics import Point

PATIENCE = 60.0  # seconds that a process which was told to end may take to let go of a run's folder


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run is called and where it lies.

    Attributes:
        folder: of the run.
        sweep: the folder of the sweep that it belongs to; `None` for a run of its own.
        overrides: what the command line set.
        choices: which file of each group was chosen.
        again: whether it goes on from what an earlier process may have left in its folder.
        curing: whether a sick run of its sweep is to be cured.
    """

    folder: Path
    sweep: Path | None = None
    overrides: Sequence[str] = ()
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    again: bool = False
    curing: bool = False

    @classmethod
    def alone(cls, cfg: DictConfig) -> "Job":
        """A run without Hydra: in a folder of its own, called by the functions that make its model and its data."""
        folder = home() / "mlruns" / "runs" / time.strftime(f"%Y-%m-%d_%H-%M-%S-{time.time_ns() // 1000 % 10**6:06d}")
        return cls(folder, choices={name: cfg[name]._target_.rpartition(".")[2] for name in ("model", "data")})

    @classmethod
    def of(cls, hydra: Any) -> "Job":
        """As Hydra has it, whose part of the config `hydra` is."""
        sweep = Path(hydra.sweep.dir) if hydra.mode.name == "MULTIRUN" else None
        folder = Path(hydra.runtime.output_dir)
        words, choices = list(hydra.overrides.task), dict(hydra.runtime.choices)
        curing = sweep is not None and choices.get("hydra/sweeper") == "cure"
        return cls(folder, sweep, words, choices, again=sweep is not None, curing=curing)

    @classmethod
    def left_in(cls, folder: Path) -> tuple["Job", DictConfig]:
        """The run of its own that was cut off in `folder`, to go on with, and its config.

        Raises:
            UserError: if there is none that can go on.
        """
        said, state = f"resume={folder}", folder / STATE
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{said}: there is no run; give the folder of one, such as {home()}/mlruns/runs/DATE.")
        if Summary.read(folder).finished:
            raise UserError(f"{said}: that run is finished.")
        if not (state / "checkpoint.npz").is_file():
            raise UserError(f"{said}: that run was cut off before its first epoch ended; start it anew.")
        if not (state / "job.json").is_file():
            raise UserError(f"{said}: that run is part of a sweep; give the sweep's own command again.")
        try:
            known = json.loads((state / "job.json").read_text(encoding="utf-8"))
            cfg = OmegaConf.create((folder / "config.yaml").read_text(encoding="utf-8"))
            # What an earlier version did not have: it did nothing.
            lacking = {"gentler": {}, "constraint": {}, "language": "en", "cure": False, "class_weight": None}
            cfg = OmegaConf.merge(lacking, cfg)
            assert isinstance(cfg, DictConfig)
            if "decay_steps" in cfg.schedule and cfg.schedule.decay_steps is None:
                cfg.schedule.decay_steps = "${steps}"  # they were not known yet when it was written
            check(cfg)
            return cls(folder.resolve(), None, known["overrides"], known["choices"], again=True), cfg
        except Exception as error:  # what damaged files make is beyond listing
            raise UserError(f"{said}: its config.yaml or {STATE}/job.json is damaged; start it anew.") from error


class Record:
    """What is kept of a run: the run folder, and its run in the tracking store if tracking is on.

    Nothing is written before `begin`: a mistake in data or model leaves no half-written run, but a job of a sweep that
    fails is recorded all the same.

    Args:
        cfg: of the run.
        job: what it is called and where it lies.
    """

    def __init__(self, cfg: DictConfig, job: Job):
        self.cfg, self.folder, self.sweep, self.again = cfg, job.folder, job.sweep, job.again
        self.overrides, self.choices, self.curing = job.overrides, job.choices, job.curing
        hidden = ("model=", "data=", "hydra", "tracking", "verbose", "resume", "language")
        given = [override for override in job.overrides if not override.startswith(hidden)]
        self.name = " ".join([f"{job.choices['model']} on {job.choices['data']}", *given])
        self.log: RunLog | None = None
        self.began = False
        self.concluded = False  # what is finished stays so, whatever befalls its pictures and its way to the store
        self.lock: Lock | None = None

    @property
    def state(self) -> Path:
        """The folder for what a run needs until it is finished."""
        return self.folder / STATE

    def finished(self) -> Summary | None:
        """Return the summary if this run was finished before; else make sure that nobody else works on it.

        Raises:
            UserError: if another process does.
        """
        if not self.again:
            return None
        self.lock = Lock(self.folder)
        if not self.lock.acquire(PATIENCE):
            raise UserError(f"{self.folder} is in use by another process; wait for it, or start with resume=false.")
        summary = Summary.read(self.folder)
        if not summary.finished:
            return None
        self.lock.release()
        if self.state.is_dir():
            self._settle()
        return summary

    def _settle(self) -> None:
        """Bring to its end a run whose process was killed after it had written its summary."""
        if (self.state / "journal.jsonl").is_file():
            from zoo.tracking import resend

            with contextlib.suppress(Exception):  # the sweep's last lines tell what the store does not have
                resend(home(), [self.folder])
        else:
            shutil.rmtree(self.state, ignore_errors=True)

    def begin(
        self,
        parameters: int | None = None,
        epoch: int = 0,
        anew: bool = False,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the config and open the run in the store, or the one that was cut off.

        Args:
            parameters: of the model.
            epoch: how many are done.
            anew: whether what was left of an earlier try cannot be used: what the store has of it goes.
            data: what its `data.json` says.
        """
        if self.cfg.tracking.enabled and self.sweep is None:
            # A sweep has asked already, and goes on without a store that is lost since.
            from zoo.tracking.store import connected, resolved_uri

            uri = resolved_uri(home(), self.cfg.tracking.uri)
            connected(home(), self.cfg.tracking.experiment, uri).tell_if_new()
        self.state.mkdir(parents=True, exist_ok=True)
        if self.lock is None:
            self.lock = Lock(self.folder)
            self.lock.acquire()
        if self.cfg.tracking.enabled:
            self._open(parameters, epoch, anew)
            if self.log is not None and data is not None:
                self.log.log_data(data)
        self.began = True
        replace_file(self.folder / "config.yaml", OmegaConf.to_yaml(self.cfg, resolve=True))
        if data is not None:
            replace_file(self.folder / "data.json", json.dumps(data) + "\n")
        if self.sweep is None:
            said = {"overrides": list(self.overrides), "choices": self._chosen}
            replace_file(self.state / "job.json", json.dumps(said, default=str))

    def _open(self, parameters: int | None, epoch: int, anew: bool) -> None:
        from zoo.tracking import RunLog, parameters_of
        from zoo.tracking.store import resolved_uri

        experiment, uri = self.cfg.tracking.experiment, resolved_uri(home(), self.cfg.tracking.uri)
        # In a sweep the last lines tell.
        tell = _tell if self.sweep is None else _ignore
        if not anew:
            self.log = RunLog.resume(self.folder, home(), tell)
        if self.log is None:
            self.log = self._new_run(experiment, uri, tell)
            self.log.resumed = epoch > 0  # from where another run of a cure was sound
        params = parameters_of(resolved(self.cfg), self._chosen)
        self.log.log_params(params | ({"parameters": parameters} if parameters is not None else {}))

    def _new_run(self, experiment: str, uri: str, tell: Callable[[str], None]):
        from zoo.tracking import RunLog, outcome

        tags = {
            "kind": "run",
            "sweep": self.sweep and self.sweep.name,
            "experiment": self.choices.get("experiment"),
            "remedy": self.choices.get("remedy"),
            "model": self.choices.get("model"),
            "data": self.choices.get("data"),
            "folder": self.folder,
            "overrides": " ".join(self.overrides),
            **self.origin,
        }
        name, parent = outcome.name_of(self.overrides, self.choices), None
        if self.sweep is not None:
            known = SweepFolder(self.sweep).read()
            parent = known.get("run_id")
            name = outcome.name_in_sweep(self.overrides, known.get("varying", ()), self.choices) or name
        return RunLog.begin(
            self.folder,
            home(),
            experiment=experiment,
            uri=uri,
            name=name,
            tags=tags,
            parent=parent,
            again=self.again and (self.folder / "config.yaml").is_file(),
            tell=tell,
        )

    @property
    def _chosen(self) -> dict[str, Any]:
        return {group: choice for group, choice in self.choices.items() if "hydra" not in group}

    def summary(self, status: Status, **content) -> Summary:
        """Return the run's summary, with what is known of it here."""
        given = (self.folder, self.name, status, list(self.overrides), self._chosen)
        return Summary(*given, origin=self.origin if self.began else {}, **content)

    @functools.cached_property
    def origin(self) -> dict[str, str]:
        """What code the run is made by."""
        from zoo.tracking.store import origin

        return origin(Path(CONF))

    def finish(self, run: "RunFolder", samples: Callable[[int], Sequence[int]], profiles: "Sequence[Point]") -> None:
        """Write the summary; then page, pictures and store, which can be made good if it is cut off.

        Args:
            run: what its folder holds, and its summary.
            samples: the indices of the samples in a step's batch, none where they are not known.
            profiles: of its layers, as `zoo.tracking.metrics.profiles` gives them.
        """
        from zoo.report.run_page import page_if_possible  # imports NumPy

        summary = run.summary
        summary.write()
        self.concluded = True
        page_if_possible(run, samples)
        if self.log is not None:
            from zoo.tracking import outcome

            self.log.set_tags(outcome.of_run(summary))
            self.log.log_points([*outcome.points_at_end(summary), *profiles])
            if self.log.resumed:  # of what another process logged, a damaged journal may have lost some
                from zoo.archive.run import read_run  # imports NumPy
                from zoo.tracking.metrics import points_of

                self.log.log_points(points_of(read_run(self.folder)))
        if self.cfg.pictures and self.sweep is None:  # those of a sweep's runs are drawn when they are looked at
            from zoo.report.pictures import draw_if_possible

            draw_if_possible(self.folder)
        self._end(summary)

    def foretell(self, **content) -> None:
        """Leave nothing of a preflight but, for the table of its sweep, what is known before the first step."""
        if self.sweep is None:
            self.drop()
        else:
            self._end(self.summary(Status.FINISHED, **content))

    def fail(self, error: Exception) -> None:
        """Record the reason for which the run failed, unless nothing was begun and a person stands by to read it."""
        if self.concluded:
            self._let_go()
            return
        if not self.began and self.sweep is None:
            self.drop()
            return
        reason = explain(error) or f"{type(error).__name__}: {error}"
        if disk_full(error):
            # Cut off, not at fault: it goes on from its last epoch once there is space. Nor is there any to say so.
            with contextlib.suppress(Exception):
                self.end(Status.KILLED, reason)
            return
        if self.cfg.preflight:
            self._end(self.summary(Status.FAILED, reason=reason))
            return
        if not self.began:
            self.begin()
        if self.log is not None:
            self.log.set_tags({"reason": reason})
        self.end(Status.FAILED, reason)

    def end(self, status: Status, reason: str) -> None:
        """Record that the run did not finish."""
        if self.concluded:
            self._let_go()
        elif self.began:
            self._end(self._paged(self.summary(status, reason=reason)))
        else:
            self.drop()

    def _paged(self, summary: Summary) -> Summary:
        """Write the page of a run that did not finish, as far as it got; return the summary."""
        if (self.folder / "gradients.npz").is_file():
            from zoo.report.run_page import page_of_folder

            summary.write()
            page_of_folder(self.folder)
        return summary

    def _end(self, summary: Summary) -> None:
        """Write the summary, send the folder to the store and end the run there."""
        try:
            if _deliver(summary, self.log) and not can_go_on(summary):
                shutil.rmtree(self.state, ignore_errors=True)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def drop(self) -> None:
        """Leave nothing of a run that was not begun; what an earlier try of it was cut off with stays."""
        if not any(path.name != "lock" for path in self.state.glob("*")):
            shutil.rmtree(self.state, ignore_errors=True)
        if self.lock is not None:
            self.lock.release()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _ignore(sentence: str) -> None:
    pass


def abandon(folder: Path, overrides: list[str], reason: str) -> None:
    """Record as FAILED a run whose own process could not: it was killed."""
    from zoo.tracking import RunLog

    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder)
    if not lock.acquire(PATIENCE):
        return
    log = RunLog.resume(folder, home(), _ignore)
    if log is not None:
        log.set_tags({"reason": reason})
    if _deliver(Summary(folder, " ".join(overrides), Status.FAILED, overrides, reason=reason), log):
        shutil.rmtree(folder / STATE, ignore_errors=True)
    lock.release()


def _deliver(summary: Summary, log: "RunLog | None") -> bool:
    """Write the summary, and end the run in the store with all files; return whether the store has all of it."""
    if log is None:
        summary.write()
        return True
    from zoo.report.pictures import FIGURES

    dataclasses.replace(summary, run_id=log.run_id).write()
    # Pictures may come later: where the run is not sent by then, they go with it.
    pictures = {f"{name}.png" for name in FIGURES}
    log.log_files(sorted({*files_of(summary.folder)} | pictures))
    log.log_models(models_in(summary.folder))
    return log.end(summary.status)
