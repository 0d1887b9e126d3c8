"""Configs and jobs as Hydra makes them, for tests within this process."""

import re
from pathlib import Path

import hydra

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo.config import CONF
from zoo.running.record import Job

# Numbers that runs of one program may each have of its own; where there are three, each of three runs has one.
VARYING = [
    ("dropout.rate=0.2,0.5,0.1",),
    ("regularizer=l1", "regularizer.l1=1e-4,1e-2,1e-3", "clipping=global_norm", "clipping.global_clipnorm=0.1,1,0.3"),
    ("regularizer=l1_l2", "regularizer.l1=1e-4,1e-3,1e-2", "regularizer.l2=1e-3,1e-4,1e-2", "regularizer.biases=true"),
    ("regularizer=orthogonal", "regularizer.factor=0.1,0.01,1", "schedule=cosine", "schedule.alpha=0,0.1,0.2"),
    ("regularizer=l2", "regularizer.l2=1e-4,0.1,0.01", "model.residual=1", "schedule.warmup=0.1,0.5,0.3"),
    ("clipping=norm", "clipping.clipnorm=1,0.01,0.1", "optimizer=adamw", "optimizer.weight_decay=0.1,1e-3,0.01"),
    ("clipping=value", "clipping.clipvalue=0.5,1e-3,0.1", "schedule=exponential", "schedule.decay_rate=0.9,0.99,0.8"),
    ("schedule=step", "schedule.factor=0.1,0.5,0.2", "schedule.at=[0.5,0.75],[0.2,0.6],[0.3,0.4]", "epochs=2,3,4"),
    ("schedule=linear", "schedule.power=1,2,3", "rate_factor=1,3,0.1", "epochs=2,1,3"),
    ("schedule=inverse_time", "schedule.decay_rate=0.01,1,0.1", "schedule.warmup=0.2,0.1,0.3"),
    ("schedule=inverse_scaling", "schedule.power=0.25,0.5,1", "optimizer.learning_rate=0.01,0.1,0.001"),
]


def varied(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The words of three jobs, of which those with three values give each job one."""
    parted = [(word.partition("=")[0], re.split(r",(?![^\[]*\])", word.partition("=")[2])) for word in words]
    return [tuple(f"{key}={found[k % len(found)]}" for key, found in parted) for k in range(3)]


def composed(*words: str):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", list(words))


def job_of(words: tuple[str, ...], folder: Path) -> Job:
    return Job(folder, sweep=folder.parent, overrides=words, choices={"model": "", "data": ""}, again=True)
