"""What a run may be made of: the typed schema and the checks that need no Keras.

Hydra composes `conf/` into a `Config`; `check` then refuses values of the right type that make no sense. Both happen
before anything heavy is imported, so that a slip of the finger costs a fraction of a second.
"""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from zoo.errors import UserError, explain
from zoo.keys import KEYS, model_file, shown
from zoo.places import CHECKOUT, CONF
from zoo.places import PACKAGE as PACKAGE
from zoo.refusals import no_such_column, unknown


def home() -> Path:
    """Where `mlruns/` lies: GRADIENT_ZOO_HOME, or the checkout from any folder, or the working directory."""
    chosen = os.environ.get("GRADIENT_ZOO_HOME")
    return Path(chosen).resolve() if chosen else CHECKOUT or Path.cwd()


@dataclasses.dataclass
class Config:
    """Everything that one run is made of. A group's keys are those of the file that was chosen.

    The values are in `conf/config.yaml`. What is true or false is `Any`, of which OmegaConf makes no other word a bool.
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
    class_weight: Any = MISSING
    rate_factor: float = MISSING
    precision: str = MISSING
    jit_compile: Any = MISSING
    deterministic: Any = MISSING
    preflight: Any = MISSING
    cure: Any = MISSING
    pictures: Any = MISSING
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
    pack: Any = "auto"  # how many jobs of one program may be trained as one: docs/cluster.md; 1: none


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

# Groups that a run can do without; of the last a run may have several files.
OPTIONAL, SEVERAL = ("experiment", "remedy"), ("callbacks", "experiment", "remedy")
# Keys that a run reads by itself, and does not hand on to what they are of.
NEEDED = (
    "dropout.rate",
    "initializer.kernel",
    "initializer.bias",
    "optimizer.learning_rate",
    "tracking.enabled",
    "tracking.uri",
    "tracking.experiment",
    *(f"{name}._target_" for name in ("activation", "optimizer", "loss", "data", "model")),
)
OURS = ("zoo.", "keras.")  # whose parameters are known; a person's own function takes what it likes
CHECKED = ("objective", "resume", "steps", "class_weight")  # below, as they are of no one type
PARTS = ("", "val_", "test_")
METRICS = tuple(part + name for part in PARTS for name in ("loss", "accuracy", "rmse"))
BEFOREHAND = (*METRICS, "learning_rate", "seconds", "parameters")  # what our runs may record, as far as is known before


def composed(words: Sequence[str]) -> DictConfig:
    """Return what Hydra makes of the words of a command that does one run, with Hydra's own part.

    Within a program of a person's own, which may itself be one of Hydra's.

    Raises:
        UserError: for a word that Hydra refuses.
    """
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(CONF, version_base="1.3"):
            return hydra.compose("config", list(words), return_hydra_config=True)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        raise UserError(line) from None
    finally:
        GlobalHydra.instance().hydra = theirs


def check(cfg: DictConfig) -> None:
    """Refuse a value that makes no sense.

    Raises:
        UserError: naming the key, the value and what it may be.
    """
    given: Any = OmegaConf.to_container(cfg, resolve=False)
    given.pop("hydra", None)
    _check_complete(given)
    _check_class_weight(given.pop("class_weight"))
    for key, value, target in _values(given):
        _check_value(cfg, key, value, target)
    if cfg.get("steps") is not None:
        raise UserError(f"steps={cfg.steps}: it follows from data, batch_size and epochs: leave it out.")
    resume = OmegaConf.select(cfg, "resume.any_code") if isinstance(cfg.resume, DictConfig) else cfg.resume
    if not isinstance(resume, bool) and (resume is not cfg.resume or not isinstance(resume, str)):
        raise UserError(f"resume={cfg.resume}: it must be true, false or the folder of a run.")
    _check_objectives(cfg)
    _check_folds(cfg)
    if isinstance(models := OmegaConf.select(cfg, "tracking.models"), str) and models not in ("best", "all", "none"):
        raise UserError(KEYS["tracking.models"].fault("tracking.models", models))
    if "best_model" in cfg.callbacks and objectives(cfg)[0].startswith(("test_", "seconds", "parameters")):
        raise UserError(f"callbacks: best_model goes by a metric of each epoch, not objective={cfg.objective}.")
    gentler = OmegaConf.select(cfg, "gentler")
    if gentler and (gentler.epoch or cfg.epochs) >= cfg.epochs:
        raise UserError(f"gentler.epoch={gentler.epoch}: say after which of the {cfg.epochs} epochs it goes on gently.")
    if "stop_when_hopeless" in cfg.callbacks and not {"gradient_norms", "probe"} <= {*cfg.callbacks}:
        raise UserError("callbacks: stop_when_hopeless judges gradients: choose gradient_norms and probe beside it.")
    if task := OmegaConf.select(cfg, "data.task"):
        check_loss(cfg, task)


def _check_complete(given: dict[str, Any]) -> None:
    """Refuse a config that lacks what a run needs, or has what no run reads."""
    names = [field.name for field in dataclasses.fields(Config)]
    for name in (*names, *NEEDED):
        node: Any = given
        for part in name.split("."):
            node = node.get(part, MISSING) if isinstance(node, dict) else MISSING
        if node == MISSING and name not in (*OPTIONAL, "steps", "callbacks"):
            raise UserError(f"there is no {name}, and a run needs it: leave out what takes it away, such as ~{name}.")
    for name in given:
        if name not in names:
            raise UserError(unknown(name, names))


def _values(node: dict[str, Any], above: str = "", target: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield key and value of all that is no dictionary, or has to be one, and the `_target_` that takes it."""
    target = node.get("_target_", target)
    for name, value in node.items():
        key = f"{above}{name}"
        if isinstance(value, dict) and (key not in KEYS or not KEYS[key].refuses(value)):
            yield from _values(value, f"{key}.", target)
        else:
            yield key, value, target


def _check_value(cfg: DictConfig, key: str, value: Any, target: Any) -> None:
    name = key.rpartition(".")[2]
    if key in CHECKED or (value is None and key in OPTIONAL):
        return
    if name == "_target_":
        if not isinstance(value, str) or not value.rpartition(".")[0]:
            raise UserError(f"{key}={shown(value)}: it must be MODULE.NAME, such as mine.net.")
        return
    own = isinstance(target, str) and target and not target.startswith(OURS)
    if name.startswith("_") or (own and key not in NEEDED):
        return
    if key not in KEYS:
        if not str(target).startswith("keras."):  # which may take more than the file says, and tells what it does not
            raise UserError(unknown(key, KEYS))
        return
    if value == MISSING:
        raise UserError(f"{key} has no value: say {key}=...: {KEYS[key].told}.")
    if isinstance(value, str) and "${" in value:
        value = OmegaConf.select(cfg, key)
        value = list(value) if isinstance(value, ListConfig) else value
        if value is None:  # of what is not known before the data is there
            return
    if KEYS[key].refuses(value):
        raise UserError(KEYS[key].fault(key, value))


def _check_objectives(cfg: DictConfig) -> None:
    """Refuse what is no name of a metric, or where none but ours are recorded, no name of one of those."""
    names = objectives(cfg)
    if not all(isinstance(name, str) for name in names) or not names:
        raise UserError(f"objective={cfg.objective}: it must be the name of a metric, or a list of such.")
    made = [cfg.model, *cfg.callbacks.values()]
    if all(str(OmegaConf.select(node, "_target_")).startswith(OURS) for node in made):
        for name in names:
            if name not in BEFOREHAND:
                raise UserError(f"objective={name}: choose one of {', '.join(BEFOREHAND)}.")


def _check_class_weight(weights: Any) -> None:
    each = weights.values() if isinstance(weights, dict) else ()
    numbers = all(isinstance(w, int | float) and not isinstance(w, bool) and math.isfinite(w) and w >= 0 for w in each)
    if weights not in (None, "balanced") and not (each and numbers):
        told = "say balanced, or a weight of each class, class_weight={0:1.0,1:5.0}, or null"
        raise UserError(f"class_weight={shown(weights)}: {told}.")


def _check_folds(cfg: DictConfig) -> None:
    fold, folds = OmegaConf.select(cfg, "data.fold"), OmegaConf.select(cfg, "data.folds")
    if not isinstance(fold, int) or not isinstance(folds, int):
        return  # a data set without folds, or a person's own
    if folds == 1:
        raise UserError("data.folds=1: give 2 or more, or 0 for no folds.")
    if folds and fold >= folds:
        raise UserError(f"data.fold={fold}: with data.folds={folds} it must be one of 0 to {folds - 1}.")
    if fold and not folds:
        raise UserError(f"data.fold={fold}: there are no folds: say how many, such as data.folds=5.")


FILES = "FILE.weights.h5 or FILE.keras"
# What data of one's own needs as data.path.
PATHS = {
    "zoo.data.npz": "FILE.npz with x_train, y_train, x_test and y_test, or x and y",
    "zoo.data.table": "FILE.csv, and data.target=COLUMN",
    "zoo.data.image_folder": "FOLDER with one folder of images a class",
}


# Sides of images in pixels: of the data sets that are always the same, and the least that a network takes.
SIDES = {"zoo.data.digits": 8, "zoo.data.mnist": 28, "zoo.data.fashion_mnist": 28}
SIDES |= {"zoo.data.cifar10": 32, "zoo.data.cifar100": 32}
LEAST = {"zoo.models.lenet": 12, "zoo.models.vgg": 32, "zoo.models.alexnet": 67}


def check_files(cfg: DictConfig) -> None:
    """Refuse a path at which nothing lies, on a machine that is to read it, and images that are too small.

    Raises:
        UserError: naming the key, the path and what it should be.
    """
    _check_images(cfg)
    target = str(cfg.data._target_)
    path = OmegaConf.select(cfg, "data.path")
    if target in PATHS and not (path and OmegaConf.select(cfg, "data.target", default=path)):
        raise UserError(f"data={target.rpartition('.')[2]} needs data.path={PATHS[target]}.")
    if target.startswith("zoo.") and isinstance(path, str):
        found, kind = Path(path).expanduser(), "folder" if target == "zoo.data.image_folder" else "file"
        if not (found.is_dir() if kind == "folder" else found.is_file()):
            raise UserError(f"data.path={path}: there is no {kind} {found.absolute()}.")
        if target == "zoo.data.table" and found.suffix.lower() in (".csv", ".tsv", ".txt"):
            _check_column(found, str(path), str(cfg.data.target))
    for name in ("wandb", "trackio"):
        if name in cfg.callbacks and importlib.util.find_spec(name) is None:
            raise UserError(f"callbacks: {name} is not installed: pip install {name}.")
    for key in ("model.path", "model.weights"):
        path = OmegaConf.select(cfg, key)
        if not str(cfg.model._target_).startswith("zoo.") or path in (None, "imagenet"):
            continue
        if key == "model.path" and Path(path).expanduser().is_dir():
            if not model_file(path).is_file():
                raise UserError(f"{key}={path}: that folder has no {model_file(path).name}: its run kept no model.")
        elif not Path(path).expanduser().is_file():
            raise UserError(
                f"{key}={path}: there is no such file; give "
                f"{'FILE.keras or RUN_FOLDER' if key == 'model.path' else FILES}."
            )


def models_kept(cfg: DictConfig) -> int | None:
    """Return of how many of a sweep's runs the models are kept; `None`: of all. A run of its own keeps its unless 0."""
    chosen = OmegaConf.select(cfg, "tracking.models", default="best")
    return {"best": 1, "all": None, "none": 0}[chosen] if isinstance(chosen, str) else chosen


def _check_images(cfg: DictConfig) -> None:
    """Refuse images that are known to be smaller than the network takes; what is not known is seen when it is built."""
    side, least = SIDES.get(str(cfg.data._target_)), LEAST.get(str(cfg.model._target_))
    if side and least and not OmegaConf.select(cfg, "data.path") and not _made_for_small(cfg):
        data, model = (str(node._target_).rpartition(".")[2] for node in (cfg.data, cfg.model))
        if side < least:
            raise UserError(
                f"model={model} takes images of {least}x{least} pixels or more, data={data} has {side}x{side}: choose "
                "larger images, or another network, such as model=mlp."
            )


def _made_for_small(cfg: DictConfig) -> bool:
    """Whether an AlexNet is the one for small images; a small VGG needs what the large one does."""
    return bool(OmegaConf.select(cfg, "model.small")) and cfg.model._target_ == "zoo.models.alexnet"


def _check_column(file: Path, path: str, target: str) -> None:
    """Refuse a column whose name is nowhere in a text's first line; what else may be wrong is seen when it is read.

    Args:
        file, path: where it lies, and how that was given.
        target: the column.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            header = next((line.strip() for line in lines if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return
    if header and '"' not in header and target not in header:
        raise UserError(no_such_column(target, path, [name.strip() for name in re.split(r"[,;\t|]", header)]))


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
