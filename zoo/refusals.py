"""What Hydra and OmegaConf refuse, in one line of our own: the thing, and the cure."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoo.keys import KEYS, meant
from zoo.places import COMMAND

LONG = 200  # characters of a list of choices that are more than a line should have
SHORT = {"lr": "learning_rate", "batch": "batch_size"}  # as other programs call them
FEW = 5  # names that are enough to know a table by
HELP = re.compile(r"See https://hydra\.cc\S* for details|set env var HYDRA_FULL_ERROR=1 to see chained exception\.?")


def unknown(name: str, known: Iterable[str]) -> str:
    """Return the line that tells of a key that there is not, among those that there are."""
    leaf = name.rpartition(".")[2]
    leaf = SHORT.get(leaf, leaf)
    same = [key for key in KEYS if key.rpartition(".")[2] == leaf and key != name]
    known = [key for key in known if not key.rpartition(".")[2].startswith("_")]
    close = " or ".join(same[:2]) if same else meant(name, known)
    cure = f"did you mean {close}?" if close else f"`{COMMAND} --cfg job` lists the keys there are."
    return f"there is no {name} in this configuration; {cure}"


def no_such_choice(group: str, choice: str, choices: Sequence[str]) -> str:
    """Return the line that tells of a file that a group has not; `python train.py --help` lists the many of some."""
    close = meant(choice, choices)
    hint = f"did you mean {group}={close}? " if close else ""
    listed = ", ".join(choices)
    listed = f"Choices: {listed}" if len(listed) <= LONG else f"`{COMMAND} --help` lists the choices"
    return f"{group}={choice}: no such choice; {hint}{listed}."


def no_such_column(target: str, path: str, columns: Sequence[str]) -> str:
    """Return the line that tells of a column that a table has not."""
    close = meant(target, columns)
    listed = ", ".join(columns[:FEW]) + (", ..." if len(columns) > FEW else "")
    cure = f"did you mean {close}?" if close else f"it has {listed}."
    return f"data.target={target}: {path} has no such column; {cure}"


def of_hydra(error: Exception) -> str:
    """Return one line for what Hydra or OmegaConf refuses."""
    text = f"{error}\n{error.__cause__ or ''}"
    at = re.search(r"full_key: (\S+)", text)
    key = at[1] if at else "the value"
    if cause := re.search(r"Key '([^']+)' (?:is )?not in", text):
        whole = re.search(r"Could not override '([^']+)'", text)
        inside = whole and at and at[1].startswith(f"{whole[1]}.")  # a key within a value: optimizer={rate:1}
        name = whole[1] if whole and not inside else at[1] if at else cause[1]
        return unknown(name, _beside(error, name))
    if missing := re.search(r"Could not (?:find|load) '([^']+)/([^'/]*)'", text):
        group, choice = missing.groups()
        choices = re.findall(r"^\t(\S+)$", text, re.MULTILINE) or _files(group, text)
        return no_such_choice(group, choice, choices)
    if group := re.search(r"Could not override '([^']+)'\.\nNo match in the defaults list", text):
        return f"there is no group or key {group[1]}; `{COMMAND} --help` lists the groups."
    if taken := re.search(r"Could not delete (?:from config\. )?'([^']+)'", text):
        return f"~{taken[1]}: it is not there, or cannot be taken away: leave it out."
    if added := re.search(r"Could not append to config. An item is already at '([^']+)'", text):
        return f"+{added[1]}: there is one already: say {added[1]}=... without the +."
    if unset := re.search(r"field '(\w+)' is not Optional", text):
        return KEYS[unset[1]].fault(unset[1], None) if unset[1] in KEYS else f"{unset[1]}=null: it must have a value."
    if conversion := re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", text):
        kinds = {"Integer": "a whole number", "Boolean": "true or false", "Float": "a number"}
        return f"{key}={conversion[1]}: it must be {kinds.get(conversion[2], conversion[2])}."
    if wrong := re.search(r"Value '(.*)' is not a valid (\w+)", text):
        kind = "true or false" if wrong[2] == "bool" else f"a {wrong[2]}"
        return f"{key}={wrong[1]}: it must be {kind}."
    if lost := re.search(r"Interpolation key '([^']+)' not found", text):
        return f"{key}: there is no {lost[1]} that it could take its value from; `{COMMAND} --cfg job` lists keys."
    if "does not support sweep type : INTERVAL_SWEEP" in text:
        return "interval(...): give some values, such as range(1,5), or search in it by hydra/sweeper=optuna."
    if config := re.search(r"Cannot find primary config '([^']+)'", text):
        return f"--config-name {config[1]}: there is no such config: leave it out, or give its folder as --config-dir."
    if target := re.search(r"Error locating target '([^']+)'", text):
        return f"{at[1] + '.' if at else ''}_target_={target[1]}: there is nothing of that name that can be imported."
    if call := re.search(r"Error in call to target '[^']*?(\w+)'", text):
        return f"{key if at else call[1]}: {error.__cause__ or text}"
    return " ".join(HELP.sub("", text).split())


def _beside(error: BaseException | None, name: str) -> list[str]:
    """Return the keys that stand where one was looked for, as OmegaConf's own errors know."""
    while error is not None and not hasattr(error, "parent_node"):
        error = error.__cause__
    above = name.rpartition(".")[0]
    node = getattr(error, "parent_node", None)
    try:
        return [f"{above}.{key}" if above else str(key) for key in [*node] if key != "hydra"] if node else []
    except (AttributeError, TypeError):  # a list has none
        return []


def _files(group: str, text: str) -> list[str]:
    """Return the files of a group that are in the folders of which Hydra says that it looked there."""
    folders = [Path(path, group) for path in re.findall(r"path=file://(\S+)", text)]
    return sorted(file.stem for folder in folders for file in folder.glob("*.yaml"))
