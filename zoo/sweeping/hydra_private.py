"""What is private in Hydra 1.3, one function each: nothing else of zoo may use it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
HERE = ("JoblibLauncher", "BasicLauncher", "LocalLauncher")  # ours, Hydra's own, and submitit's


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
    job = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    with open_dict(job):
        del job["hydra"]
    return job


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


def _parsed(words: list[str]) -> list[Override]:
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(words)


def _params(config: DictConfig) -> dict:
    return OmegaConf.select(config, "hydra.sweeper.params") or {}
