"""The Hydra callback: checks configs first, prepares the store once, tells how far a sweep is, compares at the end.

A sweep's runs may be made in other processes or on other machines; what this callback knows of them it reads from their
run folders. The same command again finds its folder again: runs that are FINISHED stay, those cut off go on.
"""

import atexit
import contextlib
import dataclasses
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from zoo.archive.lock import STATE, Lock
from zoo.archive.models import BestModels, models_in
from zoo.archive.summary import FILE, Status, Summary
from zoo.archive.sweep import SweepFolder, find
from zoo.config import check, home, models_kept, objectives
from zoo.errors import UserError, disk_full, tell
from zoo.interrupts import hear_hangup_alone, interrupted_by
from zoo.report.cured import cured_block
from zoo.report.foretold import foretold_table
from zoo.report.paired import compared_text
from zoo.report.text import models_told
from zoo.sweeping.alone import check_alone, hide_password, tell_what_is_missing
from zoo.sweeping.cure import FILE as FILE_OF_CURES
from zoo.sweeping.cure import read_cured
from zoo.sweeping.folders import leave_nothing, make_folder
from zoo.sweeping.hydra_private import composed_once
from zoo.sweeping.plan import Plan
from zoo.sweeping.preflight import Foretelling, passing_folder
from zoo.sweeping.progress import Progress
from zoo.sweeping.search import beginning, result_of
from zoo.telemetry.language import label, say, use_language

if TYPE_CHECKING:
    from zoo.tracking import RunLog


class Sweep(Callback):
    """Lays a frame around the jobs of one `-m` command."""

    def __init__(self):
        self.log: RunLog | None = None
        self.unwind = contextlib.ExitStack()
        self.leads = True  # not so of a command that helps another one with its search

    def __reduce__(self):
        return Sweep, ()  # a launcher may send it to the processes of the jobs, where it has nothing to do

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a config with a mistake before a run folder is made."""
        with _leaving():
            check_alone(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a sweep with a mistake in any job; make the store and the sweep's own run before any job starts."""
        with _leaving():
            check(config)
            use_language(config.language)
            interrupted_by(signal.SIGINT, signal.SIGTERM)  # as by Ctrl-C: what runs is ended in order
            hear_hangup_alone()
            hide_password(config)  # before the words of the command are taken down
            self.plan = Plan.of(config)
            if config.preflight:
                self._pass(config)
                return
            with beginning() if self.plan.search else contextlib.nullcontext():
                self._settle(config)
                if self.leads:
                    self._open_or_leave_nothing(config)
        tell_what_is_missing(config)
        self.unwind.enter_context(composed_once())
        done = self._clear(config)
        if config.verbose:
            before = say(", {done} of them finished before", done=done) if done else ""
            print(say("sweep {name}: {told}{before}", name=self.name, told=self.plan.told, before=before), flush=True)
        self.progress = Progress(
            self.folder, self.plan.total, self.plan.varying, done, shown=bool(config.verbose), most=self.plan.open
        )
        self.progress.start()
        atexit.register(self._interrupted)

    def _pass(self, config: DictConfig) -> None:
        """Begin a sweep that trains nothing, and of which nothing is kept."""
        atexit.register(self.unwind.close)
        self.folder = self.unwind.enter_context(passing_folder(config))
        _lay(config, self.folder)
        SweepFolder(self.folder).write(**dataclasses.asdict(self.plan))
        self.unwind.enter_context(composed_once())
        if config.verbose:
            print(say("preflight of {runs}, none of which is trained", runs=self.plan.told), flush=True)
        self.progress = Foretelling(self.folder, self.plan.total, self.plan.varying, 0, shown=bool(config.verbose))
        self.progress.start()
        self.unwind.callback(self.progress.stop)  # before what it watches is gone

    def _settle(self, config: DictConfig) -> None:
        """Find the folder: a new one, or the one that the same sweep left."""
        identity, code = self.plan.identity, self.plan.code
        self.folder = Path(config.hydra.sweep.dir)
        chosen = any("hydra.sweep.dir" in word for word in config.hydra.overrides.hydra)
        resume = config.resume
        any_code = isinstance(resume, DictConfig) and resume.any_code
        known = None
        if resume and identity and not chosen:
            known = find(self.folder.parent, identity, None if any_code else code)
        if known is not None:
            self.folder = known
            _lay(config, known)
        elif chosen and (content := SweepFolder(self.folder).read()):
            same = content.get("identity") == identity and (any_code or content.get("code") == code)
            if not (resume and same and identity):
                raise UserError(
                    f"hydra.sweep.dir={self.folder}: another sweep lies there (or one of other code: resume.any_code="
                    "true takes it); give another folder, or delete it."
                )
        self.name = self.folder.name
        make_folder("hydra.sweep.dir", self.folder)
        self.lock = Lock(self.folder)
        self.leads = self.lock.acquire()
        if self.leads:
            return
        if self.plan.search is None:
            raise UserError(
                f"this very sweep is running already, in {self.folder}; wait for it, or start another one with "
                "resume=false."
            )
        print(say("this search is running already, in {folder}: this command helps it", folder=self.folder), flush=True)

    def _open_or_leave_nothing(self, config: DictConfig) -> None:
        try:
            self._open(config)
        except BaseException:
            self.lock.release()
            leave_nothing(self.folder)
            raise

    def _open(self, config: DictConfig) -> None:
        """Make the sweep's own run in the store, and write what the sweep is."""
        content = dataclasses.asdict(self.plan)
        if config.tracking.enabled:
            from zoo.tracking import RunLog, resend
            from zoo.tracking.store import connected, resolved_uri

            experiment, uri = config.tracking.experiment, resolved_uri(home(), config.tracking.uri)
            connected(home(), experiment, uri).tell_if_new()
            with contextlib.suppress(Exception):  # another store, which is not there today, may wait
                resend(home())
            tags = {
                "kind": "sweep",
                "sweep": self.name,
                "folder": self.folder,
                "overrides": " ".join(self.plan.overrides),
            }
            self.log = RunLog.resume(self.folder, home()) or RunLog.begin(
                self.folder,
                home(),
                experiment=experiment,
                uri=uri,
                name=" ".join(self.plan.overrides) or self.name,
                tags=tags,
            )
            content |= {"run_id": self.log.run_id, "experiment_id": connected(home(), experiment, uri).experiment_id}
        SweepFolder(self.folder).write(**content)

    def _clear(self, config: DictConfig) -> int:
        """Forget what runs said that shall be tried again; return how many need not be."""
        done = 0
        for folder in SweepFolder(self.folder).jobs():
            try:
                finished = Summary.read(folder).finished
            except UserError as error:  # damaged: what it says is lost, and the run is not
                print(f"{error} This one is done again.", file=sys.stderr)
                finished = False
            # A trial that failed stays what the study knows it as. What another command does is that one's.
            if finished or (self.plan.search and Summary.read(folder).status == Status.FAILED):
                done += 1
            elif self.leads:
                (folder / FILE).unlink(missing_ok=True)
        if self.leads and done and (kept := models_kept(config)):
            BestModels(self.folder, objectives(config)[0], kept).gather()
        return done

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the comparison, close the sweep's run, and exit with 1 if a job failed."""
        if config.preflight:
            self._foretold()
            return
        atexit.unregister(self._interrupted)
        self.unwind.close()
        self.progress.stop()
        if not self.leads and self.lock.acquire():  # the command that it helped is gone
            self.leads = True
            self._open(config)
        runs = SweepFolder(self.folder).summaries()
        failed = [run for run in runs if not run.finished]
        missing = 0 if self.plan.open else self.plan.total - len(runs)
        cured = read_cured(self.folder) if self.plan.open else []
        written = []
        with _as_far_as_the_disk_goes():
            if self.leads:
                written = self._show(config, runs, cured)
        if cured:
            written = [*written, self.folder / FILE_OF_CURES]
        with _as_far_as_the_disk_goes():
            if self.log is not None:
                self._close(self.log, runs, written, failed=len(failed) + missing, cured=cured)
        models: list[Path] = []
        with _as_far_as_the_disk_goes():
            if self.leads:
                models = self._settle_models(config)
        self.lock.release()
        if self.plan.open:
            print(cured_block(cured, runs))
        elif (config.verbose or failed) and runs:
            print(compared_text(runs, say("sweep {name}", name=self.name), self.plan.varying))
        self._tell_of(failed, missing)
        if config.verbose and written and not cured:
            print(f"{label('compare')}{written[0]}")
        if config.verbose and models:
            print(models_told(models))
        if self.plan.search and (told := result_of(self.folder)):
            print(told)
        if unsent := [run for run in runs if (run.folder / STATE / "journal.jsonl").is_file()]:
            print(
                f"{len(unsent)} runs are not in the tracking store as they are here; send them with "
                "`python -m zoo.tracking resend`",
                file=sys.stderr,
            )
        if (failed or missing) and shutil.disk_usage(self.folder).free < 2**20:
            print(
                f"there is no space left on the disk of {self.folder}: free some, then the same command goes on",
                file=sys.stderr,
            )
        if self.plan.open:  # what was only tried may fail
            missing = not cured
            failed = [run for run in failed if run.folder.name in {one["before"] for one in cured}]
        if failed or missing:
            raise SystemExit(1)

    def _foretold(self) -> None:
        """Print what is foretold of each job, and exit with 1 if one could not be built."""
        self.progress.stop()
        runs = SweepFolder(self.folder).summaries()
        self.unwind.close()
        failed, missing = [run for run in runs if not run.finished], self.plan.total - len(runs)
        if runs:
            print(foretold_table(runs, say("preflight of {runs}", runs=self.plan.told), self.plan.varying))
        self._tell_of(failed, missing)
        if failed or missing:
            raise SystemExit(1)

    def _tell_of(self, failed: list[Summary], missing: int) -> None:
        for run in failed:
            print(f"{run.status} {run.name}: {run.reason or 'it was cut off, and could not say why'}", file=sys.stderr)
        if missing:
            print(f"{missing} of {self.plan.total} runs left no record", file=sys.stderr)

    def _interrupted(self) -> None:
        """Say how things stand if the command ends before the sweep does."""
        self.progress.stop()
        done = sum(run.finished for run in SweepFolder(self.folder).summaries())
        with _as_far_as_the_disk_goes():
            if self.log is not None:
                self._end_what_was_killed()
                self.log.end("KILLED")
        self.lock.release()
        with contextlib.suppress(OSError):  # the terminal may be gone
            total = "" if self.plan.open else f" of {self.plan.total}"
            print(f"{done}{total} runs are finished; the same command goes on from here", file=sys.stderr)

    def _end_what_was_killed(self) -> None:
        """Mark the runs whose process could not do it itself: it was just opening its run, or had no time left."""
        from zoo.tracking import resend

        with contextlib.suppress(Exception):  # a store that is not there gets it by the next resend
            resend(home(), [self.folder])

    def _show(self, config: DictConfig, runs: list[Summary], cured: list[dict]) -> list[Path]:
        """Write the pages that are missing, the pictures of what was cured, and the comparison; return its files."""
        from zoo.report.comparison import write_comparison
        from zoo.report.pictures import draw_missing
        from zoo.report.run_page import write_missing

        finished = [run.folder for run in runs if run.finished]
        write_missing(finished)
        if not config.pictures or not finished:
            return []
        shown = {one[name] for one in cured for name in ("before", "after")}
        draw_missing(folder for folder in finished if folder.name in shown)
        if self.plan.open:
            return []
        experiment = SweepFolder(self.folder).read().get("experiment_id")
        return write_comparison(runs, self.plan.varying, self.folder, f"sweep {self.name}", experiment_id=experiment)

    def _settle_models(self, config: DictConfig) -> list[Path]:
        """Put the models of the best runs where they stay, and into the store; return the folders that have some."""
        kept = models_kept(config)
        if kept is None:  # each run has recorded its own
            return [folder for folder in SweepFolder(self.folder).jobs() if models_in(folder)]
        folders = BestModels(self.folder, objectives(config)[0], kept).settle() if kept else []
        if self.log is not None and folders:
            from zoo.tracking.resend import send_models
            from zoo.tracking.store import resolved_uri

            with contextlib.suppress(Exception):  # the last lines tell what the store does not have
                uri = resolved_uri(home(), config.tracking.uri)
                send_models(home(), folders, config.tracking.experiment, uri)
        return folders

    def _close(self, log: "RunLog", runs: list[Summary], written: list[Path], failed: int, cured: list[dict]) -> None:
        """Let the sweep's own run say what came out, and end it."""
        from zoo.tracking import outcome

        metrics, tags = outcome.of_sweep(runs, failed)
        tags |= outcome.of_cures(cured)
        log.log_metrics(metrics)
        log.set_tags(tags)
        log.log_files([path.name for path in written])
        log.end("FAILED" if failed else "FINISHED")


def _lay(config: DictConfig, folder: Path) -> None:
    """Let a sweep lie in this folder, and not in the one that its config names."""
    with open_dict(config):
        config.hydra.sweep.dir = str(folder)
    # Each job's config is composed anew, from these.
    config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """End the command on an exception, of which Hydra would make a warning and go on."""
    try:
        yield
    except Exception as error:
        tell(error)
        raise SystemExit(1) from None


@contextlib.contextmanager
def _as_far_as_the_disk_goes() -> Iterator[None]:
    """Let what cannot be written for want of space be missing."""
    try:
        yield
    except Exception as error:
        if not disk_full(error):
            raise
