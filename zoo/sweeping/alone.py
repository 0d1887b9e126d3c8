"""One run of its own: checked before anything heavy is imported, for the command and for a notebook alike."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, open_dict

from zoo.archive.lock import STATE
from zoo.archive.summary import FILE
from zoo.config import check, check_files, composed
from zoo.errors import UserError, explain
from zoo.places import COMMAND
from zoo.sweeping.command import read
from zoo.sweeping.folders import make_folder
from zoo.sweeping.words import key_of
from zoo.telemetry.language import language, say, use_language

if TYPE_CHECKING:  # it imports NumPy
    from zoo.running.run import Result

FOLDER = "--config-dir="  # the one option that says something of a run


def train(overrides: Sequence[str] = ()) -> "Result":
    """Do one run as `python train.py OVERRIDES` does: the same checks, the same folder, the same run in MLflow.

    Keras' random seeds are those of the run, and it numbers layers anew; precision and language are afterwards as they
    were. The language is the one in use, unless `language=` says another.

    Args:
        overrides: words of the command line, such as `["model.depth=20", "activation=sigmoid"]`; of its options
            `--config-dir=FOLDER` alone.

    Returns:
        What it came to: `.summary` (verdict, metrics, folder), `.model`, `.norms`, `.probes`.

    Raises:
        UserError: for a mistake, in one line. Nothing is left of a run that did not begin.
    """
    if isinstance(overrides, str) or not all(isinstance(word, str) for word in overrides):
        raise UserError(f'zoo.train({overrides!r}): give a list of words, such as ["model.depth=20", "epochs=5"].')
    with _told():
        cfg = composed(_settings(list(overrides)))
        if not any(key_of(word) == "language" for word in overrides):
            cfg.language = language()
        check_alone(cfg)
    with _told(), _as_before():
        return _run(cfg)


def check_alone(cfg: DictConfig) -> None:
    """Refuse the config of one run, with Hydra's part, for a mistake; make its folder.

    Raises:
        UserError: naming the key, the value and the cure.
    """
    check(cfg)
    check_files(cfg)
    if cfg.cure:
        raise UserError("cure=true is said on the command line: leave it out of configs.")
    _check_experiment(cfg)
    hide_password(cfg)
    folder = Path(cfg.hydra.run.dir)
    if any((folder / name).exists() for name in (FILE, "config.yaml", STATE)):
        raise UserError(f"hydra.run.dir={folder}: a run lies there: give another folder, or delete it.")
    make_folder("hydra.run.dir", folder)
    tell_what_is_missing(cfg)


def tell_what_is_missing(cfg: DictConfig) -> None:
    """Say that nothing is told of gradients, where callbacks are chosen, and none that records them."""
    watching = [str(node.get("_target_")) for node in cfg.callbacks.values()]
    if cfg.verbose and watching and not any(target.endswith("GradientNorms") for target in watching):
        use_language(cfg.language)
        told = say("callbacks: without gradient_norms no gradient is recorded, and there is no verdict")
        print(told, file=sys.stderr, flush=True)


def _check_experiment(cfg: DictConfig) -> None:
    """Refuse to do one run of an experiment that tries several values of what the command does not choose."""
    chosen = {key_of(word) for word in cfg.hydra.overrides.task}
    for key, values in (cfg.hydra.sweeper.params or {}).items():
        if key not in chosen:
            experiment = f"experiment={cfg.hydra.runtime.choices.get('experiment')}"
            raise UserError(f"{experiment} tries {key}={values}: say {COMMAND} -m, or choose one: {key}=...")


def hide_password(cfg: DictConfig) -> None:
    """Take the store's password out of the config before anything of it is written anywhere; refuse what is none."""
    from zoo.tracking import address  # not before the config is checked: the package imports NumPy

    address.hide(cfg)
    if cfg.tracking.enabled and cfg.tracking.uri:
        address.check(cfg.tracking.uri)


def _settings(words: list[str]) -> list[str]:
    """Return the settings of a command that does one run, its folders of configs among them.

    Raises:
        UserError: for a word that cannot be read, or that asks for more than one run.
    """
    for word in words:
        if word.startswith("-") and not word.startswith(FOLDER):
            raise UserError(f"{word}: zoo.train does one run, and takes settings and {FOLDER}FOLDER alone.")
    words = read(words)
    if "-m" in words:
        raise UserError("cure=true: zoo.train does one run: leave it to the command line, or try zoo.repair.")
    folders = [word.removeprefix(FOLDER) for word in words if word.startswith(FOLDER)]
    settings = [word for word in words if not word.startswith(FOLDER)]
    places = ",".join(f"'file://{Path(folder).absolute()}'" for folder in folders)
    return [*settings, f"hydra.searchpath=[{places}]"] if folders else settings


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Within it, what is a person's mistake is raised as one: in one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (line := explain(error)) is None:
            raise
        raise UserError(line) from error


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """After it, what a run sets for its whole process is as it was in a person's."""
    from zoo.startup import import_keras

    import_keras()
    import keras

    policy, spoken = keras.config.dtype_policy(), language()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        use_language(spoken)


def _run(cfg: DictConfig) -> "Result":
    from zoo.running.record import Job
    from zoo.running.run import resumed, run

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a person's own functions lie where they are called
    part = cfg.hydra
    job = Job(Path(part.run.dir).absolute(), None, list(part.overrides.task), dict(part.runtime.choices))
    with open_dict(cfg):
        del cfg["hydra"]
    if isinstance(cfg.resume, str):
        cfg, job = resumed(cfg, job)
    return run(cfg, job)
