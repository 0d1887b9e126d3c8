"""What each key of a config takes: the one table by which a wrong value is refused before anything heavy is imported.

A value that stands in a file of `conf/` has its line here, by the name that the command line gives it.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Takes:
    """What a key takes.

    Attributes:
        told: for a reader, as the end of "it must be".
        types: of the value.
        low, high: bounds of a number; one given as a string is excluded.
        choices: all that it may be.
        null: whether it may be null.
        each: what each value of a list has to be.
        length: of a list.
    """

    told: str
    types: tuple[type, ...]
    low: float | str | None = None
    high: float | str | None = None
    choices: tuple = ()
    null: bool = False
    each: "Takes | None" = None
    length: int | None = None

    def refuses(self, value: Any) -> bool:
        """Whether a value is none that the key takes."""
        if value is None:
            return not self.null
        if self.choices:
            return not any(type(value) is type(choice) and value == choice for choice in self.choices)
        if not isinstance(value, self.types) or (isinstance(value, bool) and bool not in self.types):
            return True
        if isinstance(value, dict):
            return "_target_" not in value
        if isinstance(value, list):
            wrong_length = not value if self.length is None else len(value) != self.length
            return wrong_length or (self.each is not None and any(map(self.each.refuses, value)))
        if isinstance(value, int | float):
            return not (math.isfinite(value) and self._within(value))
        return not value

    def _within(self, value: float) -> bool:
        if self.low is not None and not (value > float(self.low) if isinstance(self.low, str) else value >= self.low):
            return False
        return self.high is None or (value < float(self.high) if isinstance(self.high, str) else value <= self.high)

    def fault(self, key: str, value: Any) -> str:
        """Return the line that refuses a value."""
        return f"{key}={shown(value)}: {self.told}{', or null' if self.null else ''}."


def shown(value: Any) -> str:
    """Return a value as the command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _number(
    low: float | str | None, high: float | str | None = None, *, whole: bool = False, null: bool = False
) -> Takes:
    bounds = []
    if low is not None:
        bounds.append(f"above {low}" if isinstance(low, str) else f"{low} or more")
    if high is not None:
        bounds.append(f"below {high}" if isinstance(high, str) else f"at most {high}")
    kind = "it must be a whole number" if whole else "it must be a number"
    told = f"{kind}, {' and '.join(bounds)}" if bounds else kind
    return Takes(told, (int,) if whole else (int, float), low, high, null=null)


def _whole(low: float | None, high: float | None = None, *, null: bool = False) -> Takes:
    return _number(low, high, whole=True, null=null)


def _one_of(*choices: Any) -> Takes:
    return Takes(f"choose one of {', '.join(map(shown, choices))}", (), choices=choices)


def _text(told: str, *, null: bool = False) -> Takes:
    return Takes(f"it must be {told}", (str,), null=null)


FLAG = Takes("it must be true or false", (bool,))
FILE = _text("the path of a file", null=True)
SIDE = _whole(1)  # of an image
SHARE = _number("0", "1")
MADE = Takes("it must have a _target_", (dict,))

# Beyond them a slip of the finger is likelier than a network: more layers than anyone trained, a matrix of 40 GB.
MOST_LAYERS, MOST_UNITS = 10_000, 100_000

KEYS: dict[str, Takes] = {
    "seed": _whole(0, 2**32 - 1),
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "steps_per_execution": _whole(1, null=True),
    "rate_factor": _number("0"),
    "precision": _one_of("float32", "mixed_float16", "mixed_bfloat16"),
    "jit_compile": FLAG,
    "deterministic": FLAG,
    "preflight": FLAG,
    "cure": FLAG,
    "pictures": FLAG,
    "resume.any_code": FLAG,
    "language": _one_of("en", "zh"),  # of what is told: as in `zoo.telemetry.language`
    "verbose": _whole(0, 2),
    "activation.activation": _text("the name of one of Keras' activations"),
    "activation.negative_slope": _number(0),
    "activation.alpha_initializer.value": _number(None),
    "callbacks.early_stopping.monitor": _text("the name of a metric"),
    "callbacks.early_stopping.patience": _whole(0),
    "callbacks.early_stopping.restore_best_weights": FLAG,
    "callbacks.gradient_norms.updates": FLAG,
    "callbacks.trackio.package": _one_of("wandb", "trackio"),
    "callbacks.trackio.project": _text("a name"),
    "callbacks.wandb.package": _one_of("wandb", "trackio"),
    "callbacks.wandb.project": _text("a name"),
    "callbacks.stop_when_hopeless.confidence": _number(0, 1),
    "clipping.clipvalue": _number("0"),
    "clipping.clipnorm": _number("0"),
    "clipping.global_clipnorm": _number("0"),
    "clipping.normalize": _one_of(True, False, "whole"),
    "constraint.max_value": _number("0"),
    "data.path": _text("the path of a file or folder", null=True),
    "data.target": _text("the name of a column", null=True),
    "data.task": _one_of("auto", "categorical", "binary", "regression"),
    "data.image_size": Takes("give pixels, as 64 or [64,48] (height, width)", (int, list), 1, each=SIDE, length=2),
    "data.validation": _number("0", "1"),
    "data.scaling": _one_of("unit", "standardize", "none"),
    "data.augmentation": _one_of("none", "crop_flip"),
    "data.folds": _whole(0),
    "data.fold": _whole(0),
    "data.limit": _whole(2, null=True),  # one to train on, one to validate on
    "data.label_noise": _number(0, 1),
    "data.shuffle": FLAG,
    "dropout.rate": _number(0, "1"),
    "gentler.epoch": _whole(1, null=True),
    "gentler.rate_factor": _number("0"),
    "gentler.warmup": _number(0),
    "gentler.global_clipnorm": _number("0"),
    "initializer.sigma_w2": _number(0),
    "initializer.sigma_b2": _number(0),
    "initializer.kernel": MADE,
    "initializer.kernel.gain": _number(None),
    "initializer.kernel.stddev": _number(0),
    "initializer.kernel.minval": _number(None),
    "initializer.kernel.maxval": _number(None),
    "initializer.kernel.scale": _number(0),
    "initializer.kernel.mode": _one_of("fan_in", "fan_out", "fan_avg"),
    "initializer.kernel.distribution": _one_of("truncated_normal", "untruncated_normal", "uniform"),
    "initializer.bias": dataclasses.replace(MADE, null=True),
    "initializer.bias.stddev": _number(0),
    "initializer.after_build": MADE,
    "initializer.after_build.tolerance": _number("0"),
    "initializer.after_build.trials": _whole(1),
    "loss.from_logits": FLAG,
    "model.depth": _whole(0, MOST_LAYERS),
    "model.width": _whole(1, MOST_UNITS),
    "model.growth": _whole(1, MOST_UNITS),
    "model.residual": _whole(0, MOST_LAYERS),
    "model.use_bias": FLAG,
    "model.bc": FLAG,
    "model.small": FLAG,
    "model.preactivation": FLAG,
    "model.response_normalization": FLAG,
    "model.head_dropout": _number(0, "1"),
    "model.pooling": _one_of("average", "max"),
    "model.shortcut": _one_of("A", "B", "plain"),
    "model.weights": FILE,
    "model.path": _text("the path of a file or of a run's folder"),
    "normalization.epsilon": _number("0"),
    "normalization.groups": _whole(1),
    "optimizer.learning_rate": _number(0),
    "optimizer.momentum": _number(0, 1),
    "optimizer.nesterov": FLAG,
    "optimizer.gamma": _number(0, "1"),
    "optimizer.rho": _number(0, "1"),
    "optimizer.beta_1": _number(0, "1"),
    "optimizer.beta_2": _number(0, "1"),
    "optimizer.weight_decay": _number(0, null=True),
    "optimizer.gradient_accumulation_steps": _whole(2, null=True),
    "regularizer.l1": _number(0),
    "regularizer.l2": _number(0),
    "regularizer.factor": _number(0),
    "regularizer.mode": _one_of("rows", "columns"),
    "regularizer.biases": FLAG,
    "schedule.initial_learning_rate": _number(0),
    "schedule.end_learning_rate": _number(0),
    "schedule.decay_steps": _whole(1),
    "schedule.steps": _whole(1),
    "schedule.decay_rate": _number(0),
    "schedule.power": _number(0),
    "schedule.alpha": _number(0, 1),
    "schedule.at": Takes("it must be a list of shares of the run, such as [0.5,0.75]", (list,), each=SHARE),
    "schedule.factor": _number("0"),
    "schedule.warmup": _number(0, "1"),
    "tracking.enabled": FLAG,
    "tracking.uri": _text("the address of a store", null=True),
    "tracking.experiment": _text("a name"),
    "tracking.models": Takes("choose best, all, none, or how many of the best", (str, int), 1),
}


def model_file(path: str) -> Path:
    """Return the file that `model.path` names: itself, or of a run's folder the model that the run left."""
    found = Path(path).expanduser()
    return found / "model.keras" if found.is_dir() else found


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like this one, if one is."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return found[0] if found else None
