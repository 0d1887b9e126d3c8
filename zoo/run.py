"""One run: data, model, fit, test, verdict, record."""

import functools
import inspect
import json
import math
import os
import pkgutil
import sys
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from zoo import report
from zoo.config import CHECKOUT, CONF, home
from zoo.errors import UserError, explain
from zoo.startup import start

PROBE_SAMPLES = 64
# Records are made before they are judged; other callbacks stay in between.
CALLBACK_ORDER = {"gradient_norms": 0, "probe": 0, "stop_when_hopeless": 2}


def run(cfg: DictConfig) -> float:
    """Do everything that one composed config asks for.

    Returns:
        The validation loss after the last epoch; NaN for a job of a sweep that failed (its reason is recorded).
    """
    sys.path.append(os.getcwd())  # a person's own functions lie where the command is given
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sweep = Path(job.sweep.dir).name if job.mode == RunMode.MULTIRUN else None
    record = Record(cfg, folder, sweep, list(job.overrides.task), dict(job.runtime.choices))
    try:
        return _run(cfg, folder, record)
    except Exception as error:
        record.fail(error)
        if sweep is None:
            raise
        return math.nan
    except BaseException:
        record.end("KILLED", {"reason": "interrupted"})
        raise


def _run(cfg: DictConfig, folder: Path, record: "Record") -> float:
    start(seed=cfg.seed, precision=cfg.precision, deterministic=cfg.deterministic)
    import keras

    from zoo.callbacks import RecordEpochs, StopWhenHopeless
    from zoo.losses import constant_loss
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.probe import Probes, save_probes
    from zoo.telemetry.verdict import diagnose

    began = time.perf_counter()
    data = instantiate(cfg.data, seed=cfg.seed, batch_size=cfg.batch_size)
    cfg.optimizer.learning_rate *= cfg.rate_factor
    cfg.steps = math.ceil(data.train_size / cfg.batch_size) * cfg.epochs
    model = build_model(cfg, data.input_shape, data.classes)
    compile_model(cfg, model, data.task)
    if after_build := OmegaConf.select(cfg, "initializer.after_build"):
        instantiate(after_build)(model, data.fixed_batch(cfg.batch_size)[0])

    baseline = constant_loss(model.loss, data.train[1], data.task) if isinstance(data.train, tuple) else None
    callbacks = make_callbacks(cfg, data.fixed_batch(PROBE_SAMPLES), baseline)
    norms, probes, stop = (_only(callbacks, kind) for kind in (GradientNorms, Probes, StopWhenHopeless))
    if probes:
        probes.set_model(model)
        probes.on_train_begin()
        foretold = diagnose(probes=probes.results, baseline=baseline)
        if cfg.preflight or (cfg.verbose and record.sweep is None):
            print(f"step 0    {foretold.name}: {foretold.sentence}", flush=True)
        if cfg.preflight:
            print(report.preflight_block(record.name, model.count_params(), foretold, probes.results[0]))
            return probes.results[0].loss
    # In a sweep the line that ends each job tells enough; verbose=2 asks for more.
    verbose = cfg.verbose if record.sweep is None or cfg.verbose == 2 else 0
    record.begin(parameters=model.count_params())
    callbacks.append(keras.callbacks.CSVLogger(folder / "history.csv"))
    if record.run is not None:
        callbacks.append(RecordEpochs(record.run, norms))
    with data.reading():
        history = model.fit(**data.fit_arguments(), epochs=cfg.epochs, verbose=verbose, callbacks=callbacks).history
        tested = model.evaluate(**data.test_arguments(), verbose=0, return_dict=True)

    verdict = None
    if norms:
        verdict = diagnose(norms.history, probes.results if probes else [], history["loss"], baseline)
    if norms:
        norms.history.save(folder / "gradients.npz")
    if probes:
        save_probes(folder / "probes.npz", probes.results)
    summary = {
        "status": "FINISHED",
        "verdict": verdict and vars(verdict),
        "metrics": {
            **{name: values[-1] for name, values in history.items()},
            **{f"test_{name}": value for name, value in tested.items()},
        },
        "seconds": time.perf_counter() - began,
        "epochs": len(history["loss"]),
        "steps": len(norms.history) if norms else None,
        "parameters": model.count_params(),
        "stopped": bool(stop and stop.verdict),
        "arriving": arriving(probes.results) if probes else None,
    }
    record.finish(summary)
    if cfg.verbose and record.sweep is None:
        print(report.run_block(record.name, summary, norms and norms.history, folder, viewer(cfg)))
    return history["val_loss"][-1]


def make_callbacks(cfg: DictConfig, batch: tuple, baseline: float | None) -> list:
    """Make the chosen callbacks; those that are partial get what the run has for their parameters."""
    offered = {"x": batch[0], "y": batch[1], "baseline": baseline}
    made = []
    for name in sorted(cfg.callbacks, key=lambda name: CALLBACK_ORDER.get(name, 1)):
        callback = instantiate(cfg.callbacks[name])
        if isinstance(callback, functools.partial):
            missing = [key for key in ("norms", "probes") if _takes(callback, key) and key not in offered]
            if missing:
                raise UserError(f"callbacks: {name} judges gradients: choose gradient_norms and probe beside it.")
            callback = callback(**{key: value for key, value in offered.items() if _takes(callback, key)})
        made.append(callback)
        offered |= {"gradient_norms": {"norms": callback}, "probe": {"probes": callback}}.get(name, {})
    return made


def _takes(function: functools.partial, name: str) -> bool:
    return name in inspect.signature(function).parameters


def _only(callbacks: list, kind: type):
    return next((c for c in callbacks if isinstance(c, kind)), None)


def arriving(probes: list) -> list[float]:
    """Return, at step 0 and at the end, the share of the output layer's delta that reaches the first layer."""
    return [float(p.delta_norm[0] / p.delta_norm[-1]) if p.delta_norm[-1] else 0.0 for p in (probes[0], probes[-1])]


def build_model(cfg: DictConfig, input_shape: tuple[int, ...], classes: int):
    """Build `cfg.model` with the composed choices, of which a function gets those that it has a parameter for."""
    options = OmegaConf.to_container(cfg.model, resolve=True)
    function = _located(options.pop("_target_"))
    weights = options.pop("weights", None)
    offered = {"input_shape": input_shape, "classes": classes, **choices(cfg)}
    accepted = inspect.signature(function).parameters
    unknown = [name for name in options if name not in accepted]
    if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        if unknown:
            raise UserError(f"model: {cfg.model._target_} has no {', '.join(unknown)}.")
    else:
        if unknown:
            print(f"model: {cfg.model._target_} has no {', '.join(unknown)}: left out", file=sys.stderr)
        options = {name: value for name, value in options.items() if name in accepted}
        offered = {name: value for name, value in offered.items() if name in accepted}
    model = function(**offered, **options)
    if weights:
        from zoo.models.weights import load_weights

        load_weights(model, weights)
    return model


def _located(path: str):
    """Import the function that `model._target_` names; an error inside its module is left to be seen."""
    module, _, name = path.rpartition(".")
    try:
        return pkgutil.resolve_name(f"{module}:{name}")
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and not module.startswith(error.name):
            raise
        raise UserError(f"model._target_={path}: no such function; is its folder the working directory?") from error


def choices(cfg: DictConfig) -> dict:
    """Return the five choices of the study as `zoo.models.blocks.Blocks` takes them."""
    return {
        "activation": _made(cfg.activation),
        "initializer": instantiate(cfg.initializer.kernel),
        "bias_initializer": instantiate(cfg.initializer.bias),
        "normalization": _made(cfg.normalization),
        "regularizer": _made(cfg.regularizer),
        "dropout": cfg.dropout.rate,
    }


def compile_model(cfg: DictConfig, model, task: str) -> None:
    """Compile with the composed optimizer, schedule, clipping and loss, and the metric that the task calls for."""
    import keras

    from zoo import losses, optimizers, schedules

    schedule = OmegaConf.to_container(cfg.schedule, resolve=True)
    warmup = round(schedule.pop("warmup", 0.0) * cfg.steps)
    rate = instantiate(schedule) if "_target_" in schedule else float(cfg.optimizer.learning_rate)
    if warmup:
        rate = schedules.Warmup(rate, warmup)
    make = instantiate(cfg.optimizer, learning_rate=rate, _partial_=True)
    options = dict(cfg.clipping)
    function = optimizers.normalized(make.func) if options.pop("normalize", False) else make.func
    metric = {
        "categorical": lambda: keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        "binary": lambda: keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0),
        "regression": lambda: keras.metrics.RootMeanSquaredError(name="rmse"),
    }[task]()
    loss = instantiate(cfg.loss)
    if task == "categorical" and not isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        loss = losses.OneHot(loss)
    model.compile(
        optimizer=function(**make.keywords, **options),
        loss=loss,
        metrics=[metric],
        steps_per_execution=cfg.steps_per_execution,
        jit_compile=cfg.jit_compile,
    )


def viewer(cfg: DictConfig) -> str | None:
    """Return the command that shows the recorded runs; `None` where none is recorded or a server shows them."""
    if not cfg.tracking.enabled or cfg.tracking.uri or "MLFLOW_TRACKING_URI" in os.environ:
        return None
    if CHECKOUT == home():
        return "make ui"
    from zoo.tracking import embedded_uri

    return f"mlflow ui --backend-store-uri {embedded_uri(home())}"


def build(name: str, input_shape: tuple[int, ...], classes: int, overrides: list[str] = ()):
    """Build a network of the zoo by the name of its file in `conf/model`.

    Args:
        name: such as "resnet20".
        input_shape: of one sample, such as (32, 32, 3).
        classes: units of the output layer.
        overrides: further words of the command line, such as "activation=tanh" or "model.depth=20".

    Returns:
        An uncompiled `keras.Model`: (batch, *input_shape) -> (batch, classes) logits.

    Raises:
        UserError: for a name or override that does not exist, or an input that the network cannot take.
    """
    import hydra

    try:
        with hydra.initialize_config_dir(CONF, version_base="1.3"):
            cfg = hydra.compose("config", [f"model={name}", *overrides])
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        raise UserError(line) from None
    return build_model(cfg, tuple(input_shape), classes)


def _made(node: DictConfig):
    return instantiate(node) if "_target_" in node else None


class Record:
    """What is kept of a run: the run folder, and its run in the tracking store if tracking is on.

    Nothing is written before `begin`: a mistake in data or model leaves no half-written run, but a job of a sweep that
    fails is recorded all the same.
    """

    def __init__(self, cfg: DictConfig, folder: Path, sweep: str | None, overrides: list[str], choices: dict):
        self.cfg, self.folder, self.sweep, self.overrides = cfg, folder, sweep, overrides
        self.choices = choices
        hidden = ("model=", "data=", "hydra", "tracking", "verbose")
        self.name = " ".join(
            [f"{choices['model']} on {choices['data']}", *(o for o in overrides if not o.startswith(hidden))]
        )
        self.run = None
        self.began = False

    def begin(self, parameters: int | None = None) -> None:
        """Write the config and open the run in the store."""
        if self.cfg.tracking.enabled:
            from zoo.tracking import Store, flatten, origin

            store = Store(home(), self.cfg.tracking.experiment, self.cfg.tracking.uri)
        self.began = True
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.cfg, self.folder / "config.yaml", resolve=True)
        if not self.cfg.tracking.enabled:
            return
        tags = {
            "kind": "run",
            "sweep": self.sweep,
            "experiment": self.choices.get("experiment"),
            "remedy": self.choices.get("remedy"),
            "model": self.choices.get("model"),
            "data": self.choices.get("data"),
            "folder": self.folder,
            "overrides": " ".join(self.overrides),
            **origin(Path(CONF)),
        }
        parent = store.parent_of(self.sweep) if self.sweep else None
        self.run = store.start(self.name[:250], tags, parent)
        config = OmegaConf.to_container(self.cfg, resolve=True)
        self.run.log_params(flatten(config) | ({"parameters": parameters} if parameters is not None else {}))

    def finish(self, summary: dict) -> None:
        """Write the summary and close the run."""
        verdict = summary["verdict"]
        if self.run is not None:
            summary["run_id"] = self.run.run_id
            if summary["stopped"]:
                self.run.set_tags({"stopped": "hopeless"})
            self.run.log_metrics(
                {name: v for name, v in summary["metrics"].items() if name.startswith("test_")}
                | {"seconds": summary["seconds"]},
                step=summary["epochs"],
            )
            if verdict:
                self.run.set_tags(
                    {
                        "verdict": verdict["name"],
                        "verdict.layer": verdict["layer"],
                        "verdict.sentence": verdict["sentence"],
                        "mlflow.note.content": f"**{verdict['name']}**: {verdict['sentence']}",
                    }
                )
        self.end("FINISHED", summary)

    def fail(self, error: Exception) -> None:
        """Record the reason for which the run failed, unless nothing was begun and a person stands by to read it."""
        if not self.began and self.sweep is None:
            self._remove_empty_folder()
            return
        reason = explain(error) or f"{type(error).__name__}: {error}"
        if not self.began:
            self.begin()
        if self.run is not None:
            self.run.set_tags({"reason": reason})
        self.end("FAILED", {"reason": reason})

    def end(self, status: str, summary: dict) -> None:
        """Write `summary.json`, send the folder to the store and end the run there with `status`."""
        if not self.began:
            self._remove_empty_folder()
            return
        summary = {"name": self.name, **summary, "status": status, "overrides": self.overrides}
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=1, default=str) + "\n")
        if self.run is not None:
            self.run.finish(self.folder, status)

    def _remove_empty_folder(self) -> None:
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
