"""What is kept of a run: its folder, and its run in the tracking store."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from zoo.archive.lock import STATE, Lock
from zoo.archive.sweep import SweepFolder
from zoo.config import CONF, home
from zoo.errors import UserError, disk_full, explain

PATIENCE = 60.0  # seconds that a process which was told to end may take to let go of a run's folder


class Record:
    """What is kept of a run: the run folder, and its run in the tracking store if tracking is on.

    Nothing is written before `begin`: a mistake in data or model leaves no half-written run, but a job of a sweep that
    fails is recorded all the same.

    Args:
        cfg: of the run.
        folder: of the run.
        sweep: the folder of the sweep that it belongs to; `None` for a run of its own.
        overrides: what the command line set.
        choices: which file of each group was chosen.
    """

    def __init__(self, cfg: DictConfig, folder: Path, sweep: Path | None, overrides: list[str], choices: dict):
        self.cfg, self.folder, self.sweep, self.overrides = cfg, folder, sweep, overrides
        self.choices = choices
        hidden = ("model=", "data=", "hydra", "tracking", "verbose", "resume")
        self.name = " ".join(
            [f"{choices['model']} on {choices['data']}", *(o for o in overrides if not o.startswith(hidden))]
        )
        self.run = None
        self.began = False
        self.lock = None

    @property
    def state(self) -> Path:
        """The folder for what a run needs until it is finished."""
        return self.folder / STATE

    def finished(self) -> dict | None:
        """Return the summary if this run of a sweep was finished before; else make sure that nobody else works on it.

        Raises:
            UserError: if another process does.
        """
        if self.sweep is None:
            return None
        self.lock = Lock(self.folder)
        if not self.lock.acquire(PATIENCE):
            raise UserError(f"{self.folder} is in use by another process; wait for it, or start with resume=false.")
        try:
            summary = json.loads((self.folder / "summary.json").read_text())
        except FileNotFoundError:
            return None
        if summary["status"] != "FINISHED":
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

    def begin(self, parameters: int | None = None) -> None:
        """Write the config and open the run in the store, or the one that was cut off."""
        if self.cfg.tracking.enabled and self.sweep is None:
            # A sweep has asked already, and goes on without a store that is lost since.
            from zoo.tracking.store import connected, resolved_uri

            connected(home(), self.cfg.tracking.experiment, resolved_uri(home(), self.cfg.tracking.uri))
        self.state.mkdir(parents=True, exist_ok=True)
        if self.lock is None:
            self.lock = Lock(self.folder)
            self.lock.acquire()
        if self.cfg.tracking.enabled:
            self._open(parameters)
        self.began = True
        OmegaConf.save(self.cfg, self.folder / "config.yaml", resolve=True)

    def _open(self, parameters: int | None) -> None:
        from zoo.tracking import Run, flatten
        from zoo.tracking.store import resolved_uri

        experiment, uri = self.cfg.tracking.experiment, resolved_uri(home(), self.cfg.tracking.uri)
        # In a sweep the last lines tell.
        tell = _tell if self.sweep is None else _ignore
        self.run = Run.resume(self.folder, home(), tell)
        if self.run is None:
            self.run = self._new_run(experiment, uri, tell)
        config = OmegaConf.to_container(self.cfg, resolve=True)
        self.run.log_params(flatten(config) | ({"parameters": parameters} if parameters is not None else {}))

    def _new_run(self, experiment: str, uri: str, tell: Callable[[str], None]):
        from zoo.tracking import Run, origin

        tags = {
            "kind": "run",
            "sweep": self.sweep and self.sweep.name,
            "experiment": self.choices.get("experiment"),
            "remedy": self.choices.get("remedy"),
            "model": self.choices.get("model"),
            "data": self.choices.get("data"),
            "folder": self.folder,
            "overrides": " ".join(self.overrides),
            **origin(Path(CONF)),
        }
        name, parent = self.name, None
        if self.sweep is not None:
            known = SweepFolder(self.sweep).read()
            parent = known.get("run_id")
            # What differs comes first: MLflow's column is narrow.
            keys = known.get("varying", ())
            if differing := [o for o in self.overrides if o.partition("=")[0] in keys]:
                name = f"{' '.join(differing)} · {self.choices['model']} on {self.choices['data']}"
        return Run.begin(
            self.folder, home(), experiment=experiment, uri=uri, name=name, tags=tags, parent=parent, tell=tell
        )

    def profiles(self, **profiles) -> None:
        """Record (layers,) profiles with step = depth: MLflow lays those of several runs over each other."""
        if self.run is not None:
            self.run.log_points(
                [
                    (f"profile/{name}", value, depth)
                    for name, profile in profiles.items()
                    if profile is not None
                    for depth, value in enumerate(profile, start=1)
                ]
            )

    def finish(self, summary: dict) -> None:
        """Write the summary and close the run."""
        verdict = summary["verdict"]
        if self.run is not None:
            if summary["stopped"]:
                self.run.set_tags({"stopped": summary["stopped"]})
            self.run.log_metrics(
                {name: v for name, v in summary["metrics"].items() if name.startswith("test_")}
                | {"seconds": summary["seconds"]},
                step=summary["epochs"],
            )
            if verdict:
                self.run.set_tags(
                    {
                        "verdict": verdict["name"],
                        "verdict.confidence": f"{verdict['confidence']:.2f}",
                        "verdict.layer": verdict["layer"],
                        "verdict.sentence": verdict["sentence"],
                        "mlflow.note.content": f"**{verdict['name']}**: {verdict['sentence']}",
                    }
                )
        self.end("FINISHED", summary)

    def fail(self, error: Exception) -> None:
        """Record the reason for which the run failed, unless nothing was begun and a person stands by to read it."""
        if not self.began and self.sweep is None:
            self.drop()
            return
        reason = explain(error) or f"{type(error).__name__}: {error}"
        if disk_full(error):
            # Cut off, not at fault: it goes on from its last epoch once there is space. Nor is there any to say so.
            with contextlib.suppress(Exception):
                self.end("KILLED", {"reason": reason})
            return
        if not self.began:
            self.begin()
        if self.run is not None:
            self.run.set_tags({"reason": reason})
        self.end("FAILED", {"reason": reason})

    def end(self, status: str, summary: dict) -> None:
        """Write `summary.json`, send the folder to the store and end the run there with `status`."""
        if not self.began:
            self.drop()
            return
        summary = {"name": self.name, **summary, "status": status, "overrides": self.overrides}
        summary["choices"] = {group: choice for group, choice in self.choices.items() if "hydra" not in group}
        if status == "FINISHED" and self.cfg.pictures:
            self._write(summary)  # the pictures are drawn from it
            self._draw()
        sent = True
        try:
            if self.run is not None:
                summary["run_id"] = self.run.run_id
            self._write(summary)
            if self.run is not None:
                self.run.log_files(sorted(path.name for path in self.folder.iterdir() if path.is_file()))
                sent = self.run.end(status)
            if sent and status != "KILLED":  # that one may go on from its state
                shutil.rmtree(self.state, ignore_errors=True)
        finally:
            if self.lock is not None:
                self.lock.release()

    def _write(self, summary: dict) -> None:
        new = self.state / "summary.new"
        new.write_text(json.dumps(summary, indent=1, default=str) + "\n")
        os.replace(new, self.folder / "summary.json")

    def _draw(self) -> None:
        from zoo.report.pictures import draw_run

        try:
            draw_run(self.folder)
        except Exception as error:  # a picture is not worth a training
            print(f"pictures of {self.folder} could not be drawn: {type(error).__name__}: {error}", file=sys.stderr)

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
    from zoo.tracking import Run

    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder)
    if not lock.acquire(PATIENCE):
        return
    summary = {"name": " ".join(overrides), "status": "FAILED", "reason": reason, "overrides": overrides}
    run = Run.resume(folder, home(), _ignore)
    if run is not None:
        summary["run_id"] = run.run_id
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    sent = True
    if run is not None:
        run.set_tags({"reason": reason})
        run.log_files(sorted(path.name for path in folder.iterdir() if path.is_file()))
        sent = run.end("FAILED")
    if sent:
        shutil.rmtree(folder / STATE, ignore_errors=True)
    lock.release()
