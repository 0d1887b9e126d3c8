"""What `--help` tells: every group with its choices, every key with its value, and what comments in `conf/` say."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from zoo.config import OPTIONAL
from zoo.keys import shown
from zoo.places import COMMAND, CONF

HEAD = """Train a network, watch the gradient of every layer, read what they amount to.

Examples
  {command}
  {command} model=resnet20 data=cifar10 epochs=10
  {command} model.depth=20 activation=sigmoid initializer=glorot_uniform
  {command} -m model.depth=5,20,50 activation=relu,sigmoid
  {command} -m experiment=vanishing 'remedy=glob(*)'
  {command} experiment=vanishing cure=true
"""
OPTIONS = {
    "-m": "a sweep: a run for each combination of values, such as seed=0,1,2",
    "--cfg job": "show the whole composed configuration, and train nothing",
    "--config-dir=FOLDER": "choices of your own, in FOLDER/GROUP/NAME.yaml",
    "--help GROUP=NAME": "this text with the keys of that choice",
    "--hydra-help": "more, such as hydra.launcher.n_jobs for sweeps",
}
COMMENT = re.compile(r"^(?P<indent> *)(?:- )?(?P<key>[\w/]+):(?P<value>[^#]*)(?:# (?P<told>.*))?$")
MORE = re.compile(r"^ +# (.*)$")  # a comment that goes on with the one of the line above
FALLBACK = re.compile(r"\$\{oc\.env:\w+,(\w+)\}")  # of an environment's variable
WIDEST = 100  # columns: longer lines are hard to read


def help_text(chosen: Sequence[str] = (), config_dir: str | None = None) -> str:
    """Return the help, with the keys of the files that the words `chosen` choose, else of those that are the default.

    Args:
        chosen: words of the command line; those that choose no file of a group say nothing here.
        config_dir: a folder of a person's own choices.
    """
    folders = [Path(CONF), *([Path(config_dir)] if config_dir else [])]
    columns = max(40, min(shutil.get_terminal_size((80, 24)).columns, WIDEST))
    config = Path(CONF, "config.yaml")
    defaults = {k: v for entry in _plain(config)["defaults"] if isinstance(entry, dict) for k, v in entry.items()}
    told, words = _told(config), dict(word.split("=", 1) for word in chosen if "=" in word)
    lines = [HEAD.format(command=COMMAND), "Options"]
    lines += [_row(option, meaning, columns) for option, meaning in OPTIONS.items()]
    lines += ["", "Choices, GROUP=NAME: what is taken by default stands in brackets"]
    groups = {group: _choices(group, folders) for group in defaults if "/" not in group}
    for group, files in groups.items():
        usual = defaults[group] if isinstance(defaults[group], list) else [defaults[group]]
        names = ", ".join(f"[{name}]" if name in usual else name for name in files)
        lines += [f"  {group}: {told.get(group, '')}", _indented(names, 6, columns)]
    lines += ["", "Keys, KEY=VALUE"]
    lines += _rows("", [key for key in _keys(config, {}) if key[0] != "steps"], columns)
    for group, files in groups.items():
        names = words.get(group, defaults[group])
        names = names.strip("[]").split(",") if isinstance(names, str) else names or []
        for name in names:
            if name in files:
                lines += _of_file(group, name, files, columns, asked=group in words)
    return "\n".join(lines)


def _of_file(group: str, name: str, files: dict[str, Path], columns: int, asked: bool) -> list[str]:
    """Return what a choice is, with its keys; nothing of one without keys that was not asked for."""
    others: dict[str, str] = {}
    for path in files.values() if group != "model" else ():  # a key of the same name may be another thing there
        others = _told(path) | others
    keys = _inherited(files, name, others)
    if not (keys or asked):
        return []
    above = "" if group in OPTIONAL else f"{group}."  # what an experiment sets is of other groups
    return ["", f"{group}={name}", _indented(_about(files[name]), 2, columns), *_rows(above, keys, columns)]


def _inherited(files: dict[str, Path], name: str, others: dict[str, str]) -> list[tuple[str, Any, str]]:
    """Return the keys of a file and of those that it inherits from."""
    found = {}
    for entry in _plain(files[name]).get("defaults", []):
        if isinstance(entry, str) and entry in files:
            found |= {key: (value, about) for key, value, about in _inherited(files, entry, others)}
    for key, value, about in _keys(files[name], others):
        found[key] = (value, about or found.get(key, ("", ""))[1])
    return [(key, value, about) for key, (value, about) in found.items()]


def _keys(path: Path, others: dict[str, str]) -> Iterator[tuple[str, Any, str]]:
    """Yield every key of a file with its value and what is told of it, there or in another file of its group."""
    told = _told(path)
    for key, value in _flat(_plain(path), told):
        leaf = key.rpartition(".")[2]
        yield key, value, told.get(leaf) or others.get(leaf, "")


def _flat(node: dict[str, Any], told: dict[str, str], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of a node that a person sets: not how things are made, nor what Hydra reads.

    One that holds others is among them if something is told of it; its value is an ellipsis.
    """
    for name, value in node.items():
        if name.startswith("_") or (not above and name in ("defaults", "hydra")):
            continue
        if isinstance(value, dict):
            if name in told:
                yield f"{above}{name}", ...
            yield from _flat(value, told, f"{above}{name}.")
        elif FALLBACK.fullmatch(str(value)) or not str(value).startswith("${"):  # or it follows from others
            yield f"{above}{name}", value


def _told(path: Path) -> dict[str, str]:
    """Return what the comments of a file tell of its keys."""
    found, last = {}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if (more := MORE.match(line)) and last:
            found[last] += f" {more[1]}"
        elif key := COMMENT.match(line):
            last = key["key"] if key["told"] else None
            if last:
                found[last] = key["told"]
    return found


def _choices(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Return the files of a group, by the names that the command line gives them."""
    paths = [(folder / group, path) for folder in folders for path in sorted((folder / group).rglob("*.yaml"))]
    return {path.relative_to(above).with_suffix("").as_posix(): path for above, path in paths}


def _plain(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def _about(path: Path) -> str:
    """Return what stands at the head of a file, without the commands and what leads to them."""
    head = re.match(r"(?:# @package.*\n)?((?:#.*\n)*)", path.read_text(encoding="utf-8"))
    text = " ".join(line.lstrip("# ") for line in head[1].splitlines()) if head else ""
    return re.sub(r"(?:[^.]*:)? *python train\.py.*", "", text).strip()


def _rows(above: str, keys: Iterable[tuple[str, Any, str]], columns: int) -> list[str]:
    return [_row(f"{above}{key}{_shown(value)}", about, columns) for key, value, about in keys]


def _shown(value: Any) -> str:
    """Return a key's value after an equals sign; nothing of one that holds others."""
    if isinstance(value, list):
        return f"=[{','.join(map(shown, value))}]"
    if fallback := FALLBACK.fullmatch(str(value)):
        return f"={fallback[1]}"
    return "" if value is ... else f"={shown(value)}"


def _row(word: str, about: str, columns: int) -> str:
    """Return a word and, beside or below it, what it means."""
    beside = 30
    if len(word) + 4 > beside:
        return f"  {word}\n{_indented(about, beside, columns)}" if about else f"  {word}"
    return f"  {word:<{beside - 2}}{_indented(about, beside, columns).lstrip()}".rstrip()


def _indented(text: str, by: int, columns: int) -> str:
    space = " " * by
    return textwrap.fill(text, columns, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)
