"""Configs and jobs as Hydra makes them, for tests within this process."""

from pathlib import Path

import hydra

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo.config import CONF
from zoo.running.record import Job


def composed(*words: str):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", list(words))


def job_of(words: tuple[str, ...], folder: Path) -> Job:
    return Job(folder, sweep=folder.parent, overrides=words, choices={"model": "", "data": ""}, again=True)
