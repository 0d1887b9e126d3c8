"""One run: data, model, fit, test, verdict, record."""

import contextlib
import dataclasses
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from zoo.archive.run import read_columns
from zoo.config import CHECKOUT, home
from zoo.errors import UserError
from zoo.report import text as report
from zoo.running import make
from zoo.running.record import Record
from zoo.startup import start, told_to_end

PROBE_SAMPLES = 64


def run(cfg: DictConfig) -> float:
    """Do everything that one composed config asks for; of a sweep, what is left to do of it.

    Returns:
        The metric `cfg.objective` after the last epoch; NaN for a job of a sweep that failed (its reason is recorded).
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is told to end is recorded as KILLED
    sys.path.append(os.getcwd())  # a person's own functions lie where the command is given
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sweep = Path(job.sweep.dir) if job.mode == RunMode.MULTIRUN else None
    record = Record(cfg, folder, sweep, list(job.overrides.task), dict(job.runtime.choices))
    if finished := record.finished():
        return finished["metrics"].get(cfg.objective, math.nan)
    try:
        return _run(cfg, folder, record)
    except Exception as error:
        if told_to_end.is_set():
            record.end("KILLED", {"reason": "interrupted"})
            raise KeyboardInterrupt from error
        record.fail(error)
        if sweep is None:
            raise
        return math.nan
    except BaseException:
        record.end("KILLED", {"reason": "interrupted"})
        raise


def _run(cfg: DictConfig, folder: Path, record: Record) -> float:
    start(seed=cfg.seed, precision=cfg.precision, deterministic=cfg.deterministic)
    import keras

    from zoo.losses import constant_loss
    from zoo.running.callbacks import LearningRate, RecordEpochs, StopWhenHopeless, StopWhenNotFinite
    from zoo.running.checkpoint import Checkpoint
    from zoo.running.salvage import save_telemetry
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.probe import Probes
    from zoo.telemetry.verdict import diagnose

    began = time.perf_counter()
    data = make.make_data(cfg)
    model = make.build_model(cfg, data.input_shape, data.classes)
    make.compile_model(cfg, model, data.task, data.steps)
    make.initialize_on_data(cfg, model, data.fixed_batch(cfg.batch_size)[0])
    make.complete(model, *data.fixed_batch(2))
    parameters = model.count_params()

    baseline = constant_loss(model.loss, data.train[1], data.task) if isinstance(data.train, tuple) else None
    callbacks = make.make_callbacks(cfg, data.fixed_batch(PROBE_SAMPLES), baseline)
    norms, probes, stop = (_only(callbacks, kind) for kind in (GradientNorms, Probes, StopWhenHopeless))
    alone = record.sweep is None
    checkpoint = Checkpoint(record.state / "checkpoint.npz", [c for c in callbacks if c not in (norms, probes)], probes)
    epoch, over = (0, False) if alone or cfg.preflight else checkpoint.restore(model)
    if probes:
        probes.start(model)
        foretold = _fitting(cfg, diagnose(probes=probes.results, baseline=baseline))
        if cfg.preflight or (cfg.verbose and alone):
            print(f"step 0    {foretold.name}: {report.told(vars(foretold))}", flush=True)
        if cfg.preflight:
            print(report.preflight_block(record.name, parameters, foretold, probes.results[0]))
    if cfg.preflight:
        record.drop()
        return probes.results[0].loss if probes else math.nan

    record.begin(parameters=parameters)
    if norms:
        norms.path = record.state / "gradients.f32"
        if epoch:
            norms.resume(epoch)
    _keep_epochs(folder / "history.csv", epoch)
    callbacks += [LearningRate(), keras.callbacks.CSVLogger(folder / "history.csv", append=epoch > 0)]
    callbacks.append(StopWhenNotFinite())  # before the checkpoint, which keeps that it is over
    if record.run is not None:
        callbacks.append(RecordEpochs(record.run, norms))
    if not alone:
        callbacks.append(checkpoint)
    # In a sweep the line that ends each job tells enough; verbose=2 asks for more.
    verbose = cfg.verbose if alone or cfg.verbose == 2 else 0
    try:
        with data.reading():
            model.fit(
                **data.fit_arguments(epoch=epoch, steps_per_execution=model.steps_per_execution),
                epochs=epoch if over else cfg.epochs,
                verbose=verbose,
                callbacks=callbacks,
            )
            tested = model.evaluate(**data.test_arguments(), verbose=0, return_dict=True)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            save_telemetry(folder, norms, probes, data, model)
        raise
    flight = save_telemetry(folder, norms, probes, data, model)

    history = read_columns(folder / "history.csv")
    verdict = None
    if norms:
        told = diagnose(norms.history, probes.results if probes else [], history["loss"], baseline)
        verdict = dataclasses.asdict(_fitting(cfg, told))
    summary = {
        "verdict": verdict,
        "flight": flight,
        "metrics": {name: float(values[-1]) for name, values in history.items() if name != "epoch"}
        | {f"test_{name}": value for name, value in tested.items()},
        "seconds": time.perf_counter() - began,
        "epochs": len(history["loss"]),
        "steps": len(norms.history) if norms else None,
        "parameters": parameters,
        "stopped": _stopped(history["loss"], cfg.epochs, hopeless=bool(stop and stop.verdict)),
        "arriving": _arriving(probes.results) if probes else None,
    }
    record.profiles(
        gradient_norm=report.last_profile(norms.history) if norms else None,
        delta=probes.results[-1].delta_norm if probes else None,
        delta_at_start=probes.results[0].delta_norm if probes else None,
    )
    if cfg.objective not in summary["metrics"]:
        raise UserError(f"objective={cfg.objective}: the metrics of this run are {', '.join(summary['metrics'])}.")
    record.finish(summary)
    if cfg.verbose and alone:
        print(report.run_block(record.name, summary, norms and norms.history, folder, viewer(cfg)))
    return summary["metrics"].get(cfg.objective, math.nan)


def _fitting(cfg: DictConfig, verdict):
    """Return the verdict with the remedies that the run's model heeds."""
    return dataclasses.replace(verdict, remedies=make.fitting(cfg, verdict.remedies))


def _arriving(probes: list) -> list[float] | None:
    """Return what reached the first layer before the first step and at the end; `None` where no delta could be had."""
    shares = [p.arriving for p in (probes[0], probes[-1])]
    return None if any(map(math.isnan, shares)) else shares


def _stopped(losses: Sequence[float], epochs: int, hopeless: bool) -> str | None:
    """Return why a training ended before its last epoch, if this program ended it: "not finite" or "hopeless"."""
    if len(losses) < epochs and not math.isfinite(losses[-1]):
        return "not finite"
    return "hopeless" if hopeless else None


def _keep_epochs(path: Path, epochs: int) -> None:
    """Leave the rows of the first epochs in `history.csv`: a cut may have come between a row and its checkpoint."""
    if path.is_file():
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: epochs + 1] if epochs else []))


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
