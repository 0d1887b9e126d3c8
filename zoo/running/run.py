"""One run in five steps: prepare, foretell, fit, judge, conclude."""

import contextlib
import dataclasses
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from zoo.archive.run import read_columns
from zoo.archive.summary import COSTS, Status, Summary, can_go_on
from zoo.config import CHECKOUT, check, home, objectives, resolved
from zoo.errors import UserError
from zoo.interrupts import interrupted_by, told_to_end
from zoo.places import COMMAND
from zoo.report import text as report
from zoo.report.text import redraws
from zoo.running import make, reuse
from zoo.running.record import Job, Record
from zoo.startup import start
from zoo.telemetry.findings import Verdict
from zoo.telemetry.language import label, use_language

if TYPE_CHECKING:  # they import Keras
    import keras

    from zoo.checkup.check import Examination
    from zoo.data import Dataset
    from zoo.running.checkpoint import Checkpoint
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.history import GradientHistory
    from zoo.telemetry.probe import Probes

PROBE_SAMPLES = 64


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run came to, and what it was made of.

    Attributes:
        summary: as `summary.json` has it; `None` of a preflight.
        value: `cfg.objective` after the last epoch, the first of several; of a preflight the loss before step 0.
        model: trained; `None` where the run was finished before.
        norms, probes: the callbacks that recorded it, if they were chosen.
    """

    summary: Summary | None
    value: float
    model: "keras.Model | None" = None
    norms: "GradientNorms | None" = None
    probes: "Probes | None" = None


_held: list[tuple[DictConfig, Job]] | None = None


@contextlib.contextmanager
def held() -> Iterator[list[tuple[DictConfig, Job]]]:
    """Within it `run_job` does nothing but add what it was asked for to the list, of runs that are done together."""
    global _held
    _held = []
    try:
        yield _held
    finally:
        _held = None


def run_job(cfg: DictConfig, job: Job) -> float:
    """Do what Hydra asks one process for: one run of its own, or of a sweep what is left to do of it.

    Returns:
        The metric `cfg.objective` after the last epoch; NaN for a job of a sweep that failed (its reason is recorded).

    Raises:
        UserError: if `cfg.resume` names a folder of no run that can go on, or other words stand beside it.
    """
    if threading.current_thread() is threading.main_thread():
        interrupted_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a run that is told to end is recorded as KILLED
    if os.getcwd() not in sys.path:  # a person's own functions lie where the command is given
        sys.path.append(os.getcwd())
    if isinstance(cfg.resume, str):
        cfg, job = resumed(cfg, job)
    if _held is not None:
        _held.append((cfg, job))
        return math.nan
    return value_of(cfg, job)


def value_of(cfg: DictConfig, job: Job) -> float:
    """Do a run; return what `run_job` does."""
    try:
        return run(cfg, job).value
    except Exception:
        if job.sweep is None:
            raise
        return math.nan


def resumed(given: DictConfig, job: Job) -> tuple[DictConfig, Job]:
    """Return the config and the job of the run in `given.resume`; how much is told and drawn may be chosen anew."""
    if job.folder.is_dir() and not any(job.folder.iterdir()):
        job.folder.rmdir()  # Hydra made it for a new run
    free = ("resume", "verbose", "pictures", "language")
    others = [word for word in job.overrides if word.partition("=")[0] not in free]
    if others:
        raise UserError(f"resume={given.resume} goes on with the run as it was begun: leave out {' '.join(others)}.")
    job, cfg = Job.left_in(Path(given.resume))
    cfg.verbose, cfg.pictures, cfg.language = given.verbose, given.pictures, given.language
    return cfg, job


def run(cfg: DictConfig, job: Job | None = None) -> Result:
    """Do everything that one composed config asks for.

    Args:
        cfg: as `hydra.compose("config", ["model=lenet", ...])` makes it.
        job: what Hydra knows of the run; `None` for a run of its own in a new folder.

    Raises:
        UserError: for a mistake in the config, the data or the model. No folder is left of a run that did not begin.
    """
    if job is None:
        from zoo.tracking.address import hide

        check(cfg)
        hide(cfg)
        job = Job.alone(cfg)
    use_language(cfg.language)
    record = Record(cfg, job)
    if finished := record.finished():
        return Result(finished, finished.measured(objectives(cfg)[0]))
    with recorded(record):
        return _run(cfg, record)


@contextlib.contextmanager
def recorded(record: Record) -> Iterator[None]:
    """Within it, what ends a run before its time is recorded as its reason, and raised."""
    try:
        yield
    except BaseException as error:
        if told_to_end.is_set() or not isinstance(error, Exception):
            record.end(Status.KILLED, reason="interrupted")
            if record.sweep is None and record.began and can_go_on(Summary.read(record.folder)):
                print(f"cut off; it goes on with: {COMMAND} resume={record.folder}", file=sys.stderr)
            if isinstance(error, Exception):
                raise KeyboardInterrupt from error
            raise
        record.fail(error)
        if isinstance(error.__cause__, UserError):  # Hydra wraps what its targets raise
            raise error.__cause__ from None
        raise


def _run(cfg: DictConfig, record: Record) -> Result:
    program = reuse.program_of(cfg)
    begin_process(cfg, again=reuse.forget_but(program))
    training = prepare(cfg, record)
    foretold = foretell(cfg, record, training)
    if cfg.preflight:
        return _preflight(cfg, record, training, foretold)
    fit(cfg, record, training)
    summary = judge(cfg, record, training)
    summary = conclude(cfg, record, training, summary)
    reuse.keep(program, training.data, training.model, training.norms, training.probes)
    value = summary.measured(objectives(cfg)[0])
    return Result(summary, value, training.model, training.norms, training.probes)


def begin_process(cfg: DictConfig, again: bool) -> None:
    """Set what holds for the whole process; `again` as `zoo.startup.start` has it."""
    start(seed=cfg.seed, precision=cfg.precision, deterministic=cfg.deterministic, again=again)


@dataclasses.dataclass
class Training:
    """What a run is made of, and what came of it so far.

    Attributes:
        baseline: loss of the best constant answer, where the training part lies in memory.
        callbacks: the chosen ones.
        norms, probes: those of them that record gradients and that probe.
        epoch: how many epochs were done before, by a process that was cut off.
        over: whether a callback had stopped the training there.
        examination: of the program before its first step, where its data lie in memory and it is probed.
        class_weight: of each class in the training's loss, if it has some.
        tested: the metrics of the test part.
        flight: where it stopped being numbers, if it did.
    """

    began: float
    data: "Dataset"
    model: "keras.Model"
    parameters: int
    baseline: float | None
    callbacks: list["keras.callbacks.Callback"]
    norms: "GradientNorms | None"
    probes: "Probes | None"
    checkpoint: "Checkpoint"
    epoch: int
    over: bool
    examination: "Examination | None" = None
    class_weight: dict[int, float] | None = None
    tested: dict[str, float] = dataclasses.field(default_factory=dict)
    flight: dict[str, Any] | None = None


def prepare(cfg: DictConfig, record: Record) -> Training:
    """Make the data, the compiled model and the callbacks; put them where a run that was cut off left them."""
    from zoo.losses import constant_loss
    from zoo.running import sound
    from zoo.running.checkpoint import Checkpoint
    from zoo.running.checkup import examination_of
    from zoo.running.pruning import pruning_of
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.history import header_path
    from zoo.telemetry.probe import Probes

    began = time.perf_counter()
    data = make.make_data(cfg)
    if reuse.forget_other_shapes(data):
        begin_process(cfg, again=False)
    model = make.build_model(cfg, data.input_shape, data.classes)
    make.compile_model(cfg, model, data.task, data.steps)
    make.initialize_on_data(cfg, model, data.fixed_batch(cfg.batch_size)[0])
    weights, baseline = make.class_weights(cfg, data), None
    if isinstance(data.train, tuple):
        baseline = constant_loss(model.loss, data.train[1], data.task, weights)
    callbacks = make.make_callbacks(cfg, data.fixed_batch(PROBE_SAMPLES), baseline, record.folder)
    norms, probes = _only(callbacks, GradientNorms), _only(callbacks, Probes)
    callbacks += pruning_of(record.folder, record.sweep)
    kept = reuse.taken_up(data, model, norms, probes)
    if kept is None:
        make.complete(model, *data.fixed_batch(2))
    model = reuse.begun(model if kept is None else kept)
    others = [c for c in callbacks if c not in (norms, probes)]
    rows, epochs = record.state / "gradients.f32", record.folder / "history.csv"
    path = record.state / "checkpoint.npz"
    checkpoint = Checkpoint(path, others, probes, files=[rows, epochs], whole=[header_path(rows)])
    examination = examination_of(model, data, probes, thorough=cfg.preflight)  # of the weights that it begins with
    if cfg.gentler and record.curing and record.sweep and not path.is_file():
        sound.put(cfg, record.sweep, checkpoint)
    epoch, over = checkpoint.restore(model) if record.again and not cfg.preflight else (0, False)
    if checkpoint.told:
        print(checkpoint.told, file=sys.stderr)
    return Training(
        began,
        data,
        model,
        model.count_params(),
        baseline,
        callbacks,
        norms,
        probes,
        checkpoint,
        epoch,
        over,
        examination,
        class_weight=weights,
    )


def foretell(cfg: DictConfig, record: Record, training: Training) -> Verdict | None:
    """Probe before the first step, and tell what the probe foretells; `None` where no probe was chosen."""
    from zoo.telemetry.verdict import diagnose

    if training.probes is None:
        return None
    training.probes.start(training.model)
    foretold = _fitting(cfg, diagnose(probes=training.probes.results, baseline=training.baseline))
    if training.examination is not None:
        foretold = dataclasses.replace(foretold, findings=training.examination.checkup().findings)
    if cfg.verbose and record.sweep is None and not cfg.preflight:
        print("\n".join(_told(foretold)), flush=True)
    return foretold


def _told(foretold: Verdict, notes: bool = False) -> list[str]:
    return report.folded([f"{label('step 0')}{foretold.headline}", *report.found(foretold, notes=notes)])


def _preflight(cfg: DictConfig, record: Record, training: Training, foretold: Verdict | None) -> Result:
    parameters, seconds = training.parameters, time.perf_counter() - training.began
    if foretold is None or training.probes is None:
        record.foretell(parameters=parameters, seconds=seconds, metrics={"loss": math.nan})
        return Result(None, math.nan, training.model)
    first = training.probes.results[0]
    if record.sweep is None or cfg.verbose == 2:  # the table of a sweep tells enough, unless more is asked for
        block = report.preflight_block(record.name, parameters, foretold, first)
        print("\n".join([*_told(foretold, notes=True), block]), flush=True)
    record.foretell(
        parameters=parameters,
        seconds=seconds,
        verdict=foretold,
        metrics={"loss": first.loss},
        arriving=None if math.isnan(first.arriving) else [first.arriving],
    )
    return Result(None, first.loss, training.model, probes=training.probes)


def fit(cfg: DictConfig, record: Record, training: Training) -> None:
    """Open the run's record, train, and test; whatever happens, what was recorded of the gradients is kept."""
    callbacks = begin(record, training)
    model, data = training.model, training.data
    with kept(record, training), data.reading():
        model.fit(
            **data.fit_arguments(training.epoch, model.steps_per_execution, training.class_weight),
            epochs=training.epoch if training.over else cfg.epochs,
            verbose=verbosity(cfg, record),
            callbacks=callbacks,
        )
        training.tested = model.evaluate(**data.test_arguments(), verbose=0, return_dict=True)


def begin(record: Record, training: Training) -> list["keras.callbacks.Callback"]:
    """Open the run's record; return the callbacks that its training has."""
    record.begin(
        parameters=training.parameters,
        epoch=training.epoch,
        anew=training.checkpoint.told is not None,
        data=training.data.told,
    )
    if training.norms:
        training.norms.path = record.state / "gradients.f32"
        if training.epoch:
            training.norms.resume(training.epoch)
    return training.callbacks + _recording(record, training)


@contextlib.contextmanager
def kept(record: Record, training: Training) -> Iterator[None]:
    """After it, whatever happened within, what was recorded of the gradients is written to the run's folder."""
    from zoo.running.salvage import save_telemetry

    files = (record.folder, training.norms, training.probes, training.data, training.model)
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            save_telemetry(*files)
        raise
    training.flight = save_telemetry(*files)


def verbosity(cfg: DictConfig, record: Record) -> int:
    """Return how much Keras tells: in a sweep the line that ends each job is enough, unless verbose=2 asks for more."""
    if record.sweep is not None and cfg.verbose != 2:
        return 0
    return 2 if cfg.verbose == 1 and not redraws() else cfg.verbose  # a bar that is drawn anew is full of control codes


def _recording(record: Record, training: Training) -> list["keras.callbacks.Callback"]:
    """Return the callbacks that every run has after those that were chosen."""
    import keras

    from zoo.running.callbacks import EndWhenTold, LearningRate, RecordEpochs, StopWhenNotFinite
    from zoo.running.sound import Sound

    history = keras.callbacks.CSVLogger(record.folder / "history.csv", append=training.epoch > 0)
    callbacks = [EndWhenTold(), LearningRate(), history]
    callbacks.append(StopWhenNotFinite())  # before the checkpoint, which keeps that it is over
    if record.log is not None:
        callbacks.append(RecordEpochs(record.log, training.norms))
    if record.sweep is not None or record.cfg.resume is not False:
        callbacks.append(training.checkpoint)
        if record.curing and record.sweep and not record.cfg.gentler:
            callbacks.append(Sound(record.cfg, record.sweep, training.checkpoint, record.folder / "history.csv"))
    return callbacks


def judge(cfg: DictConfig, record: Record, training: Training) -> Summary:
    """Sum up what was trained: metrics, verdict, what stopped it.

    Raises:
        UserError: if `cfg.objective` is none of its metrics.
    """
    from zoo.callbacks import StopWhenHopeless
    from zoo.running.checkup import with_findings
    from zoo.running.pruning import StopWhenPruned
    from zoo.telemetry.verdict import diagnose

    norms, probes = training.norms, training.probes
    history = read_columns(record.folder / "history.csv")
    verdict = None
    if norms:
        results = probes.results if probes else []
        verdict = diagnose(norms.history, results, history["loss"].tolist(), training.baseline)
        verdict = _fitting(cfg, with_findings(verdict, training.examination, norms.history, probes, history))
    metrics = {name: float(values[-1]) for name, values in history.items() if name != "epoch"}
    metrics |= {f"test_{name}": value for name, value in training.tested.items()}
    for name in objectives(cfg):
        if name not in (*metrics, *COSTS):
            raise UserError(f"objective={name}: the metrics of this run are {', '.join(metrics)}.")
    stop, pruned = _only(training.callbacks, StopWhenHopeless), _only(training.callbacks, StopWhenPruned)
    return record.summary(
        Status.FINISHED,
        verdict=verdict,
        flight=training.flight,
        metrics=metrics,
        seconds=time.perf_counter() - training.began,
        epochs=len(history["loss"]),
        steps=len(norms.history) if norms else None,
        parameters=training.parameters,
        stopped=_stopped(
            history["loss"].tolist(),
            cfg.epochs,
            hopeless=bool(stop and stop.verdict),
            pruned=bool(pruned and pruned.pruned),
        ),
        arriving=_arriving(probes.results) if probes else None,
    )


def conclude(cfg: DictConfig, record: Record, training: Training, summary: Summary) -> Summary:
    """Write the model, then the summary, which is returned; close the run in the store, and tell who stands by."""
    from zoo.archive.run import RunFolder
    from zoo.running.kept import keep_models
    from zoo.telemetry.probes_file import arrays_of
    from zoo.tracking.metrics import profiles

    summary = keep_models(cfg, summary, record.sweep, training.model, training.data, training.callbacks)
    norms, probed = training.norms, training.probes.results if training.probes else []
    history = norms.history if norms else None
    deltas = (probed[-1].delta_norm, probed[0].delta_norm) if probed else (None, None)
    kept = RunFolder(
        resolved(cfg),
        summary,
        history,
        arrays_of(probed) if probed else None,
        read_columns(record.folder / "history.csv"),
    )
    record.finish(kept, _samples(training, history), profiles(history, *deltas))
    if cfg.verbose and record.sweep is None:
        print(report.run_block(summary, norms and norms.history, viewer(cfg)))
    return summary


def _samples(training: Training, history: "GradientHistory | None") -> Callable[[int], list[int]]:
    """Return what tells the samples of a step's batch: none where steps are not batches."""
    data, ends = training.data, [] if history is None else history.epoch_ends.tolist()
    batches = ends == [data.steps * (epoch + 1) for epoch in range(len(ends))]

    def samples(step: int) -> list[int]:
        return data.batch_indices(*divmod(step, data.steps)).tolist() if batches else []

    return samples


def _fitting(cfg: DictConfig, verdict: Verdict) -> Verdict:
    """Return the verdict with the remedies that the run's model heeds."""
    return dataclasses.replace(verdict, remedies=make.fitting(cfg, verdict.remedies))


def _arriving(probes: list) -> list[float] | None:
    """Return what reached the first layer before the first step and at the end; `None` where no delta could be had."""
    shares = [p.arriving for p in (probes[0], probes[-1])]
    return None if any(map(math.isnan, shares)) else shares


def _stopped(losses: Sequence[float], epochs: int, hopeless: bool, pruned: bool) -> str | None:
    """Return why a training ended before its last epoch, if this program ended it, as `Summary.stopped` has it."""
    if len(losses) < epochs and not math.isfinite(losses[-1]):
        return "not finite"
    if pruned and len(losses) < epochs:
        return "pruned"
    return "hopeless" if hopeless else None


def _only(callbacks: list, kind: type):
    return next((c for c in callbacks if isinstance(c, kind)), None)


def viewer(cfg: DictConfig) -> str | None:
    """Return the command that shows the recorded runs; `None` where none is recorded or a server shows them."""
    if not cfg.tracking.enabled or cfg.tracking.uri or "MLFLOW_TRACKING_URI" in os.environ:
        return None
    if home() == CHECKOUT:
        return "make ui"
    from zoo.tracking import embedded_uri

    return f"mlflow ui --backend-store-uri {embedded_uri(home())}"
