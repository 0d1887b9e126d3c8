"""From a composed config to objects: the one place where what a config names is instantiated."""

import contextlib
import copy
import functools
import inspect
import math
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from zoo.config import OURS, check_loss, compares_classes, composed, objectives, resolved
from zoo.errors import UserError
from zoo.running import reuse

if TYPE_CHECKING:
    from zoo.data.prepare import Dataset, Fitted

# Records are made before they are judged; other callbacks stay in between.
CALLBACK_ORDER = {"gradient_norms": 0, "probe": 0, "stop_when_hopeless": 2}
# They need not be called after every batch.
CALLBACKS_AN_EPOCH = {*CALLBACK_ORDER, "early_stopping", "best_model", "tensorboard", "wandb", "trackio"}

# A step that multiplies and adds fewer times than this in its forward pass is small: it takes milliseconds, of which
# Python's call of it is a good part. No more of such steps share a call than a person would wait for.
SMALL_STEP = 1e8
STEPS_A_CALL = 100


def make_data(cfg: DictConfig, fitted: "Fitted | None" = None):
    """Return the `zoo.data.Dataset` that `cfg.data` names; with `fitted` one for a test alone: see `zoo.data.prepare`.

    Where `cfg.data.task` is "auto", a loss that compares classes says that labels are meant, of whatever type they are.

    Raises:
        UserError: if the data cannot be used, or not with `cfg.loss`.
    """
    options = {"seed": cfg.seed, "batch_size": cfg.batch_size}
    if OmegaConf.select(cfg, "data.task") == "auto" and compares_classes(cfg):
        options["task"] = "categorical"
    if fitted is not None:
        options |= {"task": fitted.task} if "task" in cfg.data else {}
        # Not through Hydra, which takes what it is handed for a part of the config.
        return instantiate(cfg.data, **options, _partial_=True)(fitted=fitted)
    data = instantiate(cfg.data, **options)
    check_loss(cfg, data.task)
    return data


def build_model(cfg: DictConfig, input_shape: tuple[int, ...], classes: int):
    """Build `cfg.model` with the composed choices, of which a function gets those that it has a parameter for."""
    options = resolved(cfg.model)
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
    with _told(cfg, "model"):
        model = function(**offered, **options)
    if weights:
        from zoo.models.weights import load_weights

        load_weights(model, weights)
    return model


@contextlib.contextmanager
def _told(cfg: DictConfig, key: str) -> Iterator[None]:
    """Tell in a line what Keras or the zoo refuses of a config; with a person's own code in it the error is seen."""
    try:
        yield
    except (TypeError, ValueError) as error:
        targets = re.findall(r"'_target_': '([^']+)'", str(OmegaConf.to_container(cfg, resolve=False)))
        if not all(target.startswith(OURS) for target in targets):
            raise
        raise UserError(f"{key}: {error}") from error


def fitting(cfg: DictConfig, remedies: list[str]) -> list[str]:
    """Return those of a verdict's overrides that this run's model heeds: a saved one has its layers for good.

    Args:
        remedies: each one or more overrides, separated by spaces.
    """
    accepted = inspect.signature(_located(cfg.model._target_)).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in accepted.values())

    def heeded(override: str) -> bool:
        name = override.partition("=")[0]
        if name in ("activation", "initializer", "normalization"):
            return open_ended or name in accepted
        return name.removeprefix("model.") in accepted if name.startswith("model.") else True

    return [remedy for remedy in remedies if all(map(heeded, remedy.split()))]


def _located(path: str):
    """Import the function that `model._target_` names; an error inside its module is left to be seen."""
    module, _, name = path.rpartition(".")
    try:
        return pkgutil.resolve_name(f"{module}:{name}")
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and not module.startswith(error.name or ""):
            raise
        raise UserError(f"model._target_={path}: no such function; is its folder the working directory?") from error


def choices(cfg: DictConfig) -> dict:
    """Return the six choices of the study as `zoo.models.blocks.Blocks` takes them."""
    regularizer = cfg.regularizer.copy()
    with open_dict(regularizer):
        of_biases = regularizer.pop("biases", False)
    return {
        "activation": _made(cfg.activation),
        "initializer": instantiate(cfg.initializer.kernel),
        "bias_initializer": instantiate(cfg.initializer.bias),
        "normalization": _made(cfg.normalization),
        "regularizer": _made(regularizer),
        "bias_regularizer": _made(regularizer) if of_biases else None,
        "constraint": _made(cfg.constraint),
        "dropout": cfg.dropout.rate,
    }


def compile_model(cfg: DictConfig, model, task: str, steps_an_epoch: int) -> None:
    """Compile with the composed optimizer, schedule, clipping and loss, and the metric that the task calls for.

    Args:
        cfg: the composed config, left as it is.
        model: to compile.
        task: "categorical", "binary" or "regression".
        steps_an_epoch: batches; for the schedules, and for `steps_a_call`.
    """
    import keras

    from zoo import optimizers, schedules

    cfg = copy.deepcopy(cfg)
    steps = cfg.steps = steps_an_epoch * cfg.epochs
    cfg.optimizer.learning_rate *= cfg.rate_factor
    schedule = resolved(cfg.schedule)
    warmup = round(schedule.pop("warmup", 0.0) * steps)
    rate = instantiate(schedule) if "_target_" in schedule else float(cfg.optimizer.learning_rate)
    if warmup:
        rate = schedules.Warmup(rate, warmup)
    gentler = resolved(cfg.gentler)
    first = gentler.get("epoch", 0) * steps_an_epoch
    if gentler:
        rise = round(gentler.get("warmup", 0.0) * steps_an_epoch)
        rate = schedules.Warmup(rate, rise, first, gentler.get("rate_factor", 1.0))
    make = instantiate(cfg.optimizer, learning_rate=rate, _partial_=True)
    options = dict(cfg.clipping)
    normalize = options.pop("normalize", False)
    function: Any = optimizers.normalized(make.func, whole=normalize == "whole") if normalize else make.func
    if "global_clipnorm" in gentler:
        function = optimizers.clipped_from(function, first, gentler["global_clipnorm"])
    with _told(cfg, "optimizer"):
        optimizer = function(**make.keywords, **options)
    loss, metric = loss_and_metric(cfg, task)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[metric],
        steps_per_execution=steps_a_call(cfg, model, steps_an_epoch),
        # Without XLA, Keras on JAX would not compile the step at all: ten times slower.
        jit_compile=cfg.jit_compile or keras.config.backend() == "jax",
    )
    if keras.config.backend() == "tensorflow" and reuse.varies(cfg):
        from zoo.running import numbers

        numbers.vary(model)


def loss_and_metric(cfg: DictConfig, task: str) -> tuple[Any, Any]:
    """Return the composed loss, and the metric that the task calls for: "categorical", "binary" or "regression"."""
    import keras

    from zoo import losses

    loss = instantiate(cfg.loss)
    metric = {
        "categorical": lambda: keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        "binary": lambda: keras.metrics.BinaryAccuracy(name="accuracy", threshold=losses.threshold(loss)),
        "regression": lambda: keras.metrics.RootMeanSquaredError(name="rmse"),
    }[task]()
    if task == "categorical" and not isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        loss = losses.OneHot(loss)
    return loss, metric


def steps_a_call(cfg: DictConfig, model, steps_an_epoch: int) -> int:
    """Return `cfg.steps_per_execution`; where that is `null`, how many steps one call from Python shall run.

    On TensorFlow small steps share a call, in equal parts of an epoch; the training is the same, bit for bit. Not where
    a person's own callback may want to see every batch.

    Raises:
        UserError: if the backend cannot do what the config asks for.
    """
    import keras

    backend = keras.config.backend()
    if cfg.steps_per_execution is not None:
        if backend == "torch" and cfg.steps_per_execution > 1:
            raise UserError(f"steps_per_execution={cfg.steps_per_execution}: torch takes one step a call, leave it.")
        if cfg.steps_per_execution > steps_an_epoch:
            raise UserError(
                f"steps_per_execution={cfg.steps_per_execution}: an epoch has {steps_an_epoch} steps, give no more."
            )
        return cfg.steps_per_execution
    small = multiply_adds(model) * cfg.batch_size < SMALL_STEP
    if backend != "tensorflow" or not small or set(cfg.callbacks) - CALLBACKS_AN_EPOCH:
        return 1
    return max(n for n in range(1, STEPS_A_CALL + 1) if steps_an_epoch % n == 0)


def multiply_adds(model) -> float:
    """Return how many multiply-adds kernels take for one sample; infinite where that does not follow from shapes."""
    from zoo.telemetry.keras_private import own_trainable_variables
    from zoo.telemetry.layers import all_layers

    total = 0
    layer: Any
    for layer in all_layers(model):
        if any(len(v.shape) > 1 for v in own_trainable_variables(layer)):
            try:
                total += math.prod(layer.kernel.shape[:-1]) * math.prod(layer.output.shape[1:])
            except (AttributeError, TypeError, ValueError):  # another kind of kernel, a subclassed model, an open size
                return math.inf
    return total


def complete(model, x, y) -> None:
    """Make the variables that Keras would make within the first step: TensorFlow traces a step that makes some twice.

    Args:
        model: compiled, left in the state it is in.
        x, y: a few samples.
    """
    import keras

    shape = getattr(model, "output_shape", None)  # a subclassed model has none
    if keras.config.backend() == "tensorflow" and isinstance(shape, tuple):
        model.optimizer.build(model.trainable_variables)
        model.compute_metrics(x, y, keras.ops.zeros((len(x), *shape[1:])))
        model.reset_metrics()


def initialize_on_data(cfg: DictConfig, model, x) -> None:
    """Let a data-driven initializer (LSUV) set the weights from the batch `x`."""
    if after_build := OmegaConf.select(cfg, "initializer.after_build"):
        instantiate(after_build)(model, x)


def class_weights(cfg: DictConfig, data: "Dataset") -> dict[int, float] | None:
    """Return the weight in the training's loss of each class, 0, 1, ...; `None` if all are alike.

    Balanced, they are n / (classes * n of the class): every class weighs alike, and all together as much as ever.

    Raises:
        UserError: if the data have no classes, or none of that name.
    """
    if cfg.class_weight is None:
        return None
    if data.task == "regression":
        raise UserError(f"class_weight={cfg.class_weight}: regression data have no classes: leave it out.")
    count = max(data.classes, 2)
    if cfg.class_weight == "balanced":
        found = np.bincount(data.stream.labels, minlength=count)
        return {label: float(len(data.stream.labels) / (count * n)) for label, n in enumerate(found)}
    names = [*(data.class_names or ())]
    weights = dict.fromkeys(range(count), 1.0)
    for name, weight in cfg.class_weight.items():
        label = names.index(str(name)) if str(name) in names else name
        if label not in weights:
            known = ", ".join(names) or f"0 to {count - 1}"
            raise UserError(f"class_weight: there is no class {name}: they are {known}.")
        weights[label] = float(weight)
    return weights


def make_callbacks(cfg: DictConfig, batch: tuple, baseline: float | None, folder: Path | None = None) -> list:
    """Make the chosen callbacks; those that are partial get what the run has for their parameters.

    Args:
        cfg: of the run.
        batch: (x, y) that is probed.
        baseline: loss of the best constant answer, if it is known.
        folder: of the run.
    """
    offered = {"x": batch[0], "y": batch[1], "baseline": baseline, "objective": objectives(cfg)[0], "folder": folder}
    offered["parameters"] = {name: str(value) for name, value in resolved(cfg).items()}
    made = []
    for name in sorted(cfg.callbacks, key=lambda name: CALLBACK_ORDER.get(name, 1)):
        callback = instantiate(cfg.callbacks[name])
        if isinstance(callback, functools.partial):
            missing = [key for key in ("norms", "probes") if _needs(callback, key) and key not in offered]
            if missing:
                raise UserError(f"callbacks: {name} judges gradients: choose gradient_norms and probe beside it.")
            callback = callback(**{key: value for key, value in offered.items() if _takes(callback, key)})
        made.append(callback)
        offered |= {"gradient_norms": {"norms": callback}, "probe": {"probes": callback}}.get(name, {})
    return made


def _takes(function: functools.partial, name: str) -> bool:
    return name in inspect.signature(function).parameters


def _needs(function: functools.partial, name: str) -> bool:
    empty = inspect.Parameter.empty
    return _takes(function, name) and inspect.signature(function).parameters[name].default is empty


def build(name: str, input_shape: tuple[int, ...], classes: int, overrides: Sequence[str] = ()):
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
    return build_model(composed([f"model={name}", *overrides]), tuple(input_shape), classes)


def _made(node: DictConfig):
    return instantiate(node) if "_target_" in node else None
