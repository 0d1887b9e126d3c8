"""What is private in Hydra 1.3, one function each: nothing else of zoo may use it."""

import argparse
import contextlib
import pickle
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from zoo.errors import UserError

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
KEPT = 32  # compositions, of which a sweep has one for each combination of choices; more are made again
HERE = ("JoblibLauncher", "BasicLauncher", "LocalLauncher")  # ours, Hydra's own, and submitit's


_composed: dict[tuple, bytes] = {}  # pickled, from which a copy is made in a fifth of the time of deepcopy
_groups: dict[tuple, bool] = {}


def command_line(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return what Hydra's own parser makes of a command line, wherever its options stand, and the options it has not.

    Raises:
        UserError: for an option that is given wrongly.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')}.")

    parser.error = refuse
    return parser.parse_known_intermixed_args(words)


def options() -> list[str]:
    """Return the options of Hydra's own parser, the long way of writing them."""
    return [name for action in get_args_parser()._actions for name in action.option_strings if name.startswith("--")]


def values(word: str) -> list[Any]:
    """Return each value that a word gives its key, of a sweep all; none where a glob finds them, or it takes it away.

    Raises:
        ValueError: if it is no word of Hydra's.
    """
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise ValueError(word) from error
    if override.is_delete() or override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return []
    if not override.is_sweep_override():
        return [override.value()]
    if override.value_type is ValueType.INTERVAL_SWEEP:
        return [override.get_value_string()] * 2
    return [Override._convert_value(value) for value in override.sweep_iterator()]


def is_grid(config: DictConfig) -> bool:
    """Whether the sweeper is Hydra's own, which tries every combination, and no search."""
    return config.hydra.sweeper._target_ == SWEEPER


def cures(config: DictConfig) -> bool:
    """Whether the sweeper is ours, which tries every combination, and then what may cure."""
    return str(config.hydra.sweeper._target_).startswith("hydra_plugins.gradient_zoo.cure_sweeper")


def searches(config: DictConfig) -> bool:
    """Whether the sweeper is ours, which searches."""
    return str(config.hydra.sweeper._target_).startswith("hydra_plugins.gradient_zoo.search_sweeper")


def stays_here(config: DictConfig) -> bool:
    """Whether the launcher does all jobs on this machine."""
    return str(config.hydra.launcher._target_).rpartition(".")[2] in HERE


def grid(config: DictConfig) -> list[list[str]]:
    """Return the overrides of each job that Hydra's own sweeper makes of a `-m` command."""
    return _sweeper().split_arguments(words(config), None)[0]


def words(config: DictConfig) -> list[Override]:
    """Return what a `-m` command sets or sweeps, and before it what an experiment sweeps."""
    given = [f"{key}={value}" for key, value in _params(config).items()]
    return _parsed([*given, *config.hydra.overrides.task])


def composed(config: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the config of one job, but for Hydra's own part."""
    job = job_config(GlobalHydra.instance().config_loader(), config, overrides)
    with open_dict(job):
        del job["hydra"]
    return job


def job_config(config_loader: Any, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return what `config_loader.load_sweep_config(config, overrides)` does, in a tenth of the time for most jobs.

    To go through the files is most of the work, and which files those are follows from the choices of groups alone.
    What comes of them is kept; a job's values are laid over a copy of it, as Hydra lays them.
    """
    words = _parsed(list(overrides), config_loader)
    plain = all(word.type is OverrideType.CHANGE and not word.is_sweep_override() for word in words)
    if not plain or any(word.is_hydra_override() for word in words):
        return config_loader.load_sweep_config(config, list(overrides))  # of such words the order counts, or more
    places = tuple((place.provider, place.path) for place in config_loader.get_search_path().get_path())
    choices = [word for word in words if _chooses(config_loader, places, word)]
    lines = [str(word.input_line) for word in choices]
    key = (places, config.hydra.job.config_name, *config.hydra.overrides.hydra, None, *lines)
    if key not in _composed:
        while len(_composed) >= KEPT:
            del _composed[next(iter(_composed))]
        _composed[key] = pickle.dumps(config_loader.load_sweep_config(config, lines))
    job = pickle.loads(_composed[key])
    ConfigLoaderImpl._apply_overrides_to_config([word for word in words if word not in choices], job)
    job.hydra.overrides.task = list(overrides)
    named = job.hydra.job.config.override_dirname
    job.hydra.job.override_dirname = get_overrides_dirname(words, named.exclude_keys, named.item_sep, named.kv_sep)
    OmegaConf.copy_cache(from_config=config, to_config=job)
    return job


def _chooses(config_loader: Any, places: tuple, word: Override) -> bool:
    """Whether a word chooses a file of a group, and sets no value."""
    key = places, word.key_or_group
    if key not in _groups:
        _groups[key] = config_loader.repository.group_exists(word.key_or_group)
    return _groups[key] and not isinstance(word.value(), dict)


def context(config_loader, job: DictConfig) -> HydraContext:
    """Return what `hydra.core.utils.run_job` asks for in a process that Hydra did not begin."""
    return HydraContext(config_loader=config_loader, callbacks=Callbacks(job))


@contextlib.contextmanager
def composed_once() -> Iterator[None]:
    """Keep Hydra's own sweeper from composing each job only to see whether it can: it was done before."""
    sweeper = _sweeper()
    whole = sweeper.validate_batch_is_legal
    sweeper.validate_batch_is_legal = _nothing
    try:
        yield
    finally:
        sweeper.validate_batch_is_legal = whole


def _sweeper() -> Any:
    """Return the class as it is today: when Hydra looks for plugins, it executes their modules anew."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return BasicSweeper


def _nothing(self: object, batch: Sequence[Sequence[str]]) -> None:
    """Stand in the place of `validate_batch_is_legal`."""


def _parsed(words: list[str], config_loader: Any = None) -> list[Override]:
    loader = config_loader or GlobalHydra.instance().config_loader()
    return OverridesParser.create(config_loader=loader).parse_overrides(words)


def _params(config: DictConfig) -> dict:
    return OmegaConf.select(config, "hydra.sweeper.params") or {}
