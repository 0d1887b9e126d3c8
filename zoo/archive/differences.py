"""What recorded runs differ in, told from what each of them was: a command line is silent about what it left alone."""

import collections
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from zoo.archive.summary import Summary

REPEATS = ("seed", "data.fold")  # runs that differ in nothing else are repeats of one setting
# What changes nothing of a run's result.
WITHOUT_EFFECT = ("verbose", "resume", "tracking", "pictures", "steps", "objective", "cure", "language")
LABELS = ("experiment", "remedy")  # names for choices and values that a run has beside them
LEFT_OUT = {*WITHOUT_EFFECT, *LABELS, "preflight", "parameters"}
WORDS = {"None": "null", "True": "true", "False": "false"}  # Python's, and those of the command line

Settings = Mapping[str, str]
T = TypeVar("T")


def settings_of(summary: Summary, params: Mapping[str, str]) -> Settings:
    """Return what a run was made of: the choice of each group, the value of each key, as the command line has them.

    Args:
        summary: of the run; one that was recorded without its choices has those that its command line made.
        params: of the run in the store: its whole config, flat.
    """
    choices = {g: choice or "" for g, choice in summary.choices.items() if g not in WITHOUT_EFFECT}
    values = {key: WORDS.get(value, value) for key, value in params.items() if key.partition(".")[0] not in LEFT_OUT}
    values = {key: value for key, value in values.items() if value != "{}"}  # a choice without keys, such as none
    callbacks = values.pop("callbacks", None)
    if callbacks is None:  # as earlier versions recorded them
        callbacks = f"[{','.join(sorted({key.split('.')[1] for key in values if key.startswith('callbacks.')}))}]"
    if "learning_rate" in values:
        values["optimizer.learning_rate"] = values.pop("learning_rate")
    given = {key.lstrip("+"): value for key, value in summary.chosen.items()}
    given = {key: value for key, value in given.items() if key.partition(".")[0] not in WITHOUT_EFFECT}
    return {**given, **values, **choices, "callbacks": callbacks}


def differing_keys(runs: Sequence[Settings], chosen: Iterable[str]) -> list[str]:
    """Return the keys of the seeds and folds that differ, and such that of runs that agree in the others, all agrees.

    Args:
        runs: their settings.
        chosen: keys that a command line set, which come first. Another key is among the result only where those leave
            runs together that it parts: of two optimizers, say, their names are enough.
    """
    keys = [key for key in dict.fromkeys(chosen) if _parted([runs], key)]
    keys += [key for key in REPEATS if key not in keys and _parted([[r for r in runs if key in r]], key)]
    groups = _grouped(runs, keys)
    # Of a group's choice and the values that follow from it, the choice tells more, if it is known of every run.
    counts = collections.Counter(key for r in runs for key in r)
    others = {key for key, count in counts.items() if "." in key or count == len(runs)} - {*LABELS, *REPEATS}
    for key in sorted(others, key=lambda key: ("." in key, key)):
        if _parted(groups, key):
            keys.append(key)
            groups = _grouped(runs, keys)
    return keys


def _parted(groups: Iterable[Sequence[Settings]], key: str) -> bool:
    """Whether there is a group whose runs do not agree in `key`."""
    return any(len({r.get(key, "") for r in group}) > 1 for group in groups)


def _grouped(runs: Sequence[Settings], keys: Sequence[str]) -> list[list[Settings]]:
    """Return the runs in groups that agree in `keys`, but for seeds and folds."""
    return gathered(runs, lambda run: tuple(run.get(key, "") for key in keys if key not in REPEATS))


def told_apart(summaries: Sequence[Summary], params: Sequence[Mapping[str, str]]) -> tuple[list[Summary], list[str]]:
    """Return the runs as a comparison takes them, and the keys that they differ in.

    A run's `overrides` become its values of those keys, whether its own command line gave them or not.

    Args:
        summaries: of the runs.
        params: of each in the store.
    """
    runs = [settings_of(*pair) for pair in zip(summaries, params, strict=True)]
    if not all(any(map(_of_function, run)) for run in runs):  # only earlier versions recorded the names of functions
        runs = [{key: value for key, value in run.items() if not _of_function(key)} for run in runs]
    chosen = [key.lstrip("+") for summary in summaries for key in summary.chosen]
    keys = differing_keys(runs, [key for key in chosen if key.partition(".")[0] not in WITHOUT_EFFECT])
    return [
        dataclasses.replace(summary, overrides=[f"{key}={run.get(key, '')}" for key in keys])
        for summary, run in zip(summaries, runs, strict=True)
    ], keys


def _of_function(key: str) -> bool:
    return key.rpartition(".")[2].startswith("_")


def varying(jobs: list[list[str]]) -> list[str]:
    """Return the keys whose value is not the same in all jobs of one sweep, each of which sets the same keys."""
    values: dict[str, set] = {}
    for overrides in jobs:
        for override in overrides:
            key, _, value = override.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]


def setting_of(run: Summary, keys: Sequence[str]) -> tuple[str, ...]:
    """Return what a run has in common with its repeats: its values of all `keys` but seeds and folds."""
    chosen = run.chosen
    return tuple(chosen.get(key, "") for key in keys if key not in REPEATS)


def gathered(items: Iterable[T], of: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the items in groups that agree in `of`, in the order of their first."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(of(item), []).append(item)
    return list(groups.values())


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation (n - 1) over repeats, NaN where it cannot be told."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
