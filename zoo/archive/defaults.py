"""What a run was set to that nothing asked for would not have: its choices and values beside those of `conf/`."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from zoo.archive.differences import WITHOUT_EFFECT
from zoo.archive.summary import Summary
from zoo.config import CONF

SILENT = {*WITHOUT_EFFECT, "hydra", "callbacks", "experiment", "remedy", "parameters"}
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is built


def differing_settings(config: Mapping[str, Any], choices: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return rows of a key, its value and its default: choices of files first, then values within those chosen.

    Args:
        config: of the run, resolved.
        choices: which file of each group was chosen; of a run without them only values are compared.
    """
    usual = default_choices()
    rows = [
        (group, written(choice), written(usual[group]))
        for group, choice in choices.items()
        if group in usual and group not in SILENT and choice != usual[group]
    ]
    for key, value in _leaves({k: v for k, v in config.items() if k not in SILENT}):
        default = default_of(key, choices)
        if default is not None and default != written(value):
            rows.append((key, written(value), default))
    return rows


def with_values(runs: Sequence[Summary], keys: Sequence[str]) -> list[Summary]:
    """Return the runs, each with a value of all keys that its command line was silent about, where one is known.

    Args:
        runs: of a comparison.
        keys: that differ between them.
    """
    return [_with_values(run, [key for key in keys if not run.chosen.get(key)]) for run in runs]


def _with_values(run: Summary, silent: Sequence[str]) -> Summary:
    if not silent:
        return run
    config = _read(run.folder / "config.yaml")
    found = {key: _value_of(key, run.choices, config) for key in silent}
    added = [f"{key}={value}" for key, value in found.items() if value is not None]
    return dataclasses.replace(run, overrides=[*run.overrides, *added]) if added else run


def _value_of(key: str, choices: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """As the run was made; where it left no config, as it would have been."""
    if key in choices:
        return written(choices[key])
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default_of(key, choices)
        node = node[part]
    return default_of(key, choices) if isinstance(node, Mapping) else written(node)


def default_of(key: str, choices: Mapping[str, Any]) -> str | None:
    """Return what a key is if nothing is said of it; `None` where no file says, or where it follows from others.

    Args:
        key: as on the command line: "seed", "model.depth", or a group, "activation".
        choices: which file of each group was chosen.
    """
    group, _, rest = key.partition(".")
    if not rest and group in default_choices():
        return written(default_choices()[group])
    known = _file(Path(CONF) / "config.yaml")
    if rest:
        known = _chosen(group, str(choices.get(group) or default_choices().get(group, "")))
    for part in (rest or group).split("."):
        if not isinstance(known, Mapping) or part not in known:
            return None
        known = known[part]
    if isinstance(known, Mapping) or (isinstance(known, str) and "${" in known):
        return None
    return written(known)


@functools.cache
def default_choices() -> dict[str, Any]:
    """Return which file of each group is chosen if nothing is said."""
    entries = _file(Path(CONF) / "config.yaml").get("defaults", [])
    return {
        group: choice
        for entry in entries
        if isinstance(entry, dict)
        for group, choice in entry.items()
        if " " not in group
    }


@functools.cache
def _chosen(group: str, choice: str) -> dict[str, Any]:
    """Return the values of a group's file, and of the files of its group that it begins with."""
    path = Path(CONF) / group / f"{choice}.yaml"
    content = _file(path)
    values: dict[str, Any] = {}
    for entry in content.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            values = _laid(values, _chosen(group, str(Path(choice).parent / entry)))
    return _laid(values, {key: value for key, value in content.items() if key != "defaults"})


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _laid(below[key], above[key])
        for key in above
        if isinstance(below.get(key), dict) and isinstance(above[key], dict)
    }
    return {**below, **above, **both}


@functools.cache
def _file(path: Path) -> dict[str, Any]:
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return yaml.load(path.read_text(encoding="utf-8"), Loader) or {}


def _leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def written(value: Any) -> str:
    """Return a value as the command line has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    return str(value)
