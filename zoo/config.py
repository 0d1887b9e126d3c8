"""What a run may be made of: the typed schema and the checks that need no Keras.

Hydra composes `conf/` into a `Config`; `check` then refuses values of the right type that make no sense. Both happen
before anything heavy is imported, so that a slip of the finger costs a fraction of a second.
"""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from zoo.errors import UserError

PACKAGE = Path(__file__).resolve().parent
# In a checkout the configs lie beside the package, where a reader looks first; in a wheel they lie inside it.
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "conf" / "config.yaml").is_file() else None
CONF = str(CHECKOUT / "conf" if CHECKOUT else PACKAGE / "conf")


def home() -> Path:
    """Where `mlruns/` lies: GRADIENT_ZOO_HOME, or the checkout from any folder, or the working directory."""
    chosen = os.environ.get("GRADIENT_ZOO_HOME")
    return Path(chosen).resolve() if chosen else CHECKOUT or Path.cwd()


@dataclasses.dataclass
class Config:
    """Everything that one run is made of. A group's keys are those of the file that was chosen.

    The values are in `conf/config.yaml`.
    """

    activation: Any = MISSING
    initializer: Any = MISSING
    normalization: Any = MISSING
    regularizer: Any = MISSING
    constraint: Any = MISSING
    dropout: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    clipping: Any = MISSING
    gentler: Any = MISSING
    loss: Any = MISSING
    callbacks: Any = dataclasses.field(default_factory=dict)  # callbacks=[] chooses no file
    tracking: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    experiment: Any = None
    remedy: Any = None
    seed: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    steps_per_execution: int | None = MISSING
    rate_factor: float = MISSING
    precision: str = MISSING
    jit_compile: bool = MISSING
    deterministic: bool = MISSING
    preflight: bool = MISSING
    cure: bool = MISSING
    pictures: bool = MISSING
    objective: Any = MISSING
    resume: Any = MISSING
    language: str = MISSING
    verbose: int = MISSING
    steps: int | None = None  # of the whole run; filled in when the data is there, for the schedules


@dataclasses.dataclass
class JoblibLauncher:
    """As many runs at once as there are cores, in worker processes that import TensorFlow once."""

    _target_: str = "hydra_plugins.gradient_zoo.joblib_launcher.JoblibLauncher"
    n_jobs: int = -1  # how many at once; -1: as many as cores


@dataclasses.dataclass
class RayLauncher:
    """Each run a task of a Ray cluster: docs/cluster.md."""

    _target_: str = "hydra_plugins.gradient_zoo.ray_launcher.RayLauncher"
    address: str | None = None  # ray://HOST:10001, HOST:6379 or auto; null starts a cluster on this machine
    num_cpus: float = 1
    num_gpus: float = 0
    max_retries: int = 3  # of a run whose process or machine is lost


@dataclasses.dataclass
class CureSweeper:
    """What `cure=true` asks for."""

    _target_: str = "hydra_plugins.gradient_zoo.cure_sweeper.CureSweeper"
    params: dict[str, str] | None = None


@dataclasses.dataclass
class SearchSweeper:
    """A search by Optuna, which goes on where it was cut off: docs/cluster.md."""

    _target_: str = "hydra_plugins.gradient_zoo.search_sweeper.SearchSweeper"
    n_trials: int = 20  # in all, by however many commands
    n_jobs: int = 1  # asked for at once by another launcher than joblib, which asks whenever a worker is free
    sampler: str = "tpe"  # or random
    pruner: str = "none"  # median or hyperband: end a trial after an epoch in which others were better
    direction: Any = None  # minimize or maximize, a list for several objectives; null: as the objectives' names say
    storage: str | None = None  # postgresql://USER@HOST/DATABASE; null: a file in the sweep's folder
    params: dict[str, str] | None = None


ConfigStore.instance().store(name="schema", node=Config, provider="zoo")
Plugins.instance()  # launchers of these names that are installed are registered now, so that ours come after them
ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncher, provider="zoo")
ConfigStore.instance().store(group="hydra/launcher", name="joblib", node=JoblibLauncher, provider="zoo")
ConfigStore.instance().store(group="hydra/sweeper", name="cure", node=CureSweeper, provider="zoo")
ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=SearchSweeper, provider="zoo")
OmegaConf.register_new_resolver("home", lambda: str(home()), replace=True)
OmegaConf.register_new_resolver("sqrt", math.sqrt, replace=True)

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
LANGUAGES = ("en", "zh")  # of what is told: as in `zoo.telemetry.language`

# key: (smallest, largest, whole number). A bound given as a string is excluded.
RANGES = {
    "seed": (0, 2**32 - 1, True),
    "epochs": (1, None, True),
    "batch_size": (1, None, True),
    "steps_per_execution": (1, None, True),
    "verbose": (0, 2, True),
    "rate_factor": ("0", None, False),
    "dropout.rate": (0, "1", False),
    "optimizer.learning_rate": (0, None, False),
    "optimizer.momentum": (0, 1, False),
    "optimizer.gamma": (0, "1", False),
    "optimizer.rho": (0, "1", False),
    "optimizer.beta_1": (0, "1", False),
    "optimizer.beta_2": (0, "1", False),
    "optimizer.weight_decay": (0, None, False),
    "optimizer.gradient_accumulation_steps": (2, None, True),
    "schedule.warmup": (0, "1", False),
    "schedule.decay_rate": (0, None, False),
    "schedule.power": (0, None, False),
    "schedule.factor": ("0", None, False),
    "constraint.max_value": ("0", None, False),
    "clipping.clipvalue": ("0", None, False),
    "clipping.clipnorm": ("0", None, False),
    "clipping.global_clipnorm": ("0", None, False),
    "gentler.epoch": (1, None, True),
    "gentler.rate_factor": ("0", None, False),
    "gentler.warmup": (0, None, False),
    "gentler.global_clipnorm": ("0", None, False),
    "initializer.sigma_w2": (0, None, False),
    "initializer.sigma_b2": (0, None, False),
    "model.depth": (0, None, True),
    "model.width": (1, None, True),
    "model.residual": (0, None, True),
    "data.validation": ("0", "1", False),
    "data.label_noise": (0, 1, False),
    "data.folds": (0, None, True),
    "data.fold": (0, None, True),
    "data.limit": (1, None, True),
}


def check(cfg: DictConfig) -> None:
    """Refuse a value that makes no sense.

    Raises:
        UserError: naming the key, the value and what it may be.
    """
    for key, bounds in RANGES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None:
            _check_number(key, value, *bounds)
    if cfg.precision not in PRECISIONS:
        raise UserError(f"precision={cfg.precision}: choose one of {', '.join(PRECISIONS)}.")
    if (language := OmegaConf.select(cfg, "language", default="en")) not in LANGUAGES:
        raise UserError(f"language={language}: choose one of {', '.join(LANGUAGES)}.")
    resume = OmegaConf.select(cfg, "resume.any_code") if isinstance(cfg.resume, DictConfig) else cfg.resume
    if not isinstance(resume, bool) and (resume is not cfg.resume or not isinstance(resume, str)):
        raise UserError(f"resume={cfg.resume}: it must be true, false or the folder of a run.")
    if not all(isinstance(name, str) for name in objectives(cfg)) or not objectives(cfg):
        raise UserError(f"objective={cfg.objective}: it must be the name of a metric, or a list of such.")
    fold, folds = OmegaConf.select(cfg, "data.fold"), OmegaConf.select(cfg, "data.folds")
    if folds and fold >= folds:
        raise UserError(f"data.fold={fold}: with data.folds={folds} it must be one of 0 to {folds - 1}.")
    gentler = OmegaConf.select(cfg, "gentler")
    if gentler and (gentler.epoch or cfg.epochs) >= cfg.epochs:
        raise UserError(f"gentler.epoch={gentler.epoch}: say after which of the {cfg.epochs} epochs it goes on gently.")
    if task := OmegaConf.select(cfg, "data.task"):
        check_loss(cfg, task)


def objectives(cfg: DictConfig) -> list[str]:
    """Return what a search goes by."""
    return list(cfg.objective) if isinstance(cfg.objective, ListConfig) else [cfg.objective]


def resolved(node: DictConfig) -> dict[str, Any]:
    """Return a node of a config as plain values."""
    content: Any = OmegaConf.to_container(node, resolve=True)
    return content


def check_loss(cfg: DictConfig, task: str) -> None:
    """Refuse a loss that cannot compare what the task has: one output to tell two classes, or numbers.

    Args:
        cfg: the composed config.
        task: of the data; nothing is known to be wrong with "auto" and "categorical".

    Raises:
        UserError: naming the loss, the data and the cure.
    """
    # Where the data cannot be taken otherwise, that it could be is no cure.
    chosen = OmegaConf.select(cfg, "data.task")
    given, other = (f"data.task={task}", ", or data.task=categorical") if chosen else (f"{task} data", "")
    if task == "regression" and compares_classes(cfg):
        raise UserError(f"loss={_loss_name(cfg)}, {given}: it compares classes, not numbers: say loss=mse{other}.")
    if task == "binary" and compares_classes(cfg) and not _loss_name(cfg).lower().startswith("binary"):
        raise UserError(
            f"loss={_loss_name(cfg)}, {given}: it takes one output a class, and there is one in all: "
            f"say loss=binary{other}."
        )


def compares_classes(cfg: DictConfig) -> bool:
    """Whether the chosen loss is a cross-entropy of Keras', which means nothing of any other numbers than classes."""
    return str(OmegaConf.select(cfg, "loss._target_")).endswith("Crossentropy")


def _loss_name(cfg: DictConfig) -> str:
    """Return what `loss=` chose, or the class that another config names."""
    name = str(cfg.loss._target_).rpartition(".")[2]
    return {"SparseCategoricalCrossentropy": "crossentropy", "BinaryCrossentropy": "binary"}.get(name, name)


def _check_number(key: str, value, low, high, whole: bool) -> None:
    kind = "a whole number" if whole else "a number"
    bounds = []
    good = isinstance(value, int) if whole else isinstance(value, (int, float)) and math.isfinite(value)
    good = good and not isinstance(value, bool)
    if low is not None:
        bounds.append(f"above {low}" if isinstance(low, str) else f"{low} or more")
        good = good and (value > float(low) if isinstance(low, str) else value >= low)
    if high is not None:
        bounds.append(f"below {high}" if isinstance(high, str) else f"at most {high}")
        good = good and (value < float(high) if isinstance(high, str) else value <= high)
    if not good:
        raise UserError(f"{key}={value}: it must be {kind}, {' and '.join(bounds)}.")
