"""The words of a command line, looked through before Hydra composes anything of them."""

from pathlib import Path
from typing import Any

from zoo.config import OPTIONAL, SEVERAL
from zoo.errors import UserError
from zoo.keys import KEYS, meant, shown
from zoo.places import COMMAND, CONF
from zoo.refusals import LONG
from zoo.sweeping import hydra_private
from zoo.sweeping.words import asked_for, key_of


def read(words: list[str]) -> list[str]:
    """Return a command line as Hydra takes it: options first, and with what `cure=true` stands for.

    Raises:
        UserError: for a word that cannot be read, or that chooses what there cannot be.
    """
    given, unknown = hydra_private.command_line(words)
    if unknown:
        raise UserError(_of_option(unknown[0], words))
    settings = list(given.overrides)
    for i in range(len(settings)):
        if "=" not in settings[i] and not settings[i].startswith("~"):
            raise UserError(_of_bare(settings, i))
    if given.config_dir and not Path(given.config_dir).is_dir():
        raise UserError(f"--config-dir {given.config_dir}: there is no such folder; it holds GROUP/NAME.yaml files.")
    modes = {"--run": given.run, "--multirun": given.multirun, "--cfg": given.cfg, "--info": given.info}
    asked = [name for name, value in modes.items() if value]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)}: give one of them.")
    if given.resolve and not (given.cfg or given.help):
        raise UserError("--resolve: it goes with --cfg or --help.")
    trains = not (given.cfg or given.info or given.help or given.hydra_help or given.shell_completion)
    for word in settings:
        _check(word, several=given.multirun or not trains or any(key_of(w) == "hydra.mode" for w in settings))
    options = list(words)
    for word in settings:  # between options argparse would take the words after the second one for unknown
        options.remove(word)
    return asked_for([*options, *settings]) if trains else [*options, *settings]


def help_for(words: list[str]) -> str | None:
    """Return what `--help` tells; `None` if it is not asked for."""
    given, _ = hydra_private.command_line(words)
    if not given.help:
        return None
    from zoo.sweeping.help import help_text

    return help_text(given.overrides, given.config_dir)


def _check(word: str, several: bool) -> None:
    """Refuse a word that Hydra cannot read, and for a group what is no name of a file."""
    key = key_of(word)
    try:
        values = hydra_private.values(word)
    except ValueError:
        quoted = word.partition("=")[2].replace('"', '\\"')
        cure = f"""put quotes around a value with other characters than letters and digits: '{key}="{quoted}"'"""
        raise UserError(f"{word}: it cannot be read; {cure}.") from None
    if not key or key.startswith((".", "/")) or key.endswith((".", "/")):
        raise UserError(f"{word}: a setting is KEY=VALUE, such as epochs=5.")
    if len(values) > 1 and not several:
        raise UserError(f"{word}: several values are a sweep: say {COMMAND} -m {word}.")
    group = key.partition("@")[0]
    if group.partition("/")[0] != "hydra" and Path(CONF, group).is_dir():
        for value in values:
            _check_choice(group, value)


def _check_choice(group: str, value: Any) -> None:
    if isinstance(value, dict) or (value is None and group in OPTIONAL):
        return
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        if group in SEVERAL:
            return
        both = ",".join(value) or "..."
        raise UserError(f"{group}=[{both}]: a run has one; {COMMAND} -m {group}={both} tries each.")
    if isinstance(value, str) and value:
        if group == "callbacks" and value in _choices(group):
            rest = [name for name in ("gradient_norms", "probe") if name != value]
            added = f"callbacks=[{','.join([*rest, value])}]"
            raise UserError(f"callbacks={value}: give all that the run shall have: {added}, or [{value}] for it alone.")
        return
    keys = [key for key in KEYS if key.startswith(f"{group}.") and value not in (None, "") and _fits(key, value)]
    listed = ", ".join(_choices(group))
    choose = f"choose one of {listed}" if len(listed) <= LONG else f"choose one that `{COMMAND} --help` lists"
    cure = f"say {keys[0]}={shown(value)}, or {choose}" if len(keys) == 1 else choose
    raise UserError(f"{group}={shown(value)}: {cure}.")


def _fits(key: str, value: Any) -> bool:
    """Whether a key takes a value."""
    return not KEYS[key].refuses(value)


def _of_option(option: str, words: list[str]) -> str:
    """Return the line that tells of an option that there is not: a setting, with dashes before it?"""
    name, equals, value = option.lstrip("-").partition("=")
    after = words[words.index(option) + 1 :]
    if not equals and after and "=" not in after[0] and not after[0].startswith("-"):
        value = after[0]
    if name in {*_groups(), *KEYS}:
        return f"{option}: a setting has no dashes before it: say {name}={value or 'VALUE'}."
    close = meant(option, hydra_private.options())
    return f"{option}: there is no such option; " + (
        f"did you mean {close}?" if close else "--help tells what there is."
    )


def _of_bare(words: list[str], i: int) -> str:
    """Return the line that tells of a word without an equals sign."""
    word, known = words[i], {*_groups(), *KEYS}
    rest = [word]
    for other in words[i + 1 :]:
        if "=" in other:
            break
        rest.append(other)
    if word in known:
        value = rest[1] if len(rest) > 1 else "VALUE"
        return f"{word}: it has no value: say {word}={value}."
    groups = [group for group in _groups() if word in _choices(group)]
    if groups:
        return f"{word}: it has no KEY=: did you mean {' or '.join(f'{group}={word}' for group in groups[:3])}?"
    if i:
        return f"{word}: it has no KEY=; a value with spaces is put in quotes: '{' '.join([words[i - 1], *rest])}'."
    close = meant(word, known)
    return f"{word}: a setting is KEY=VALUE" + (f"; did you mean {close}=...?" if close else ", such as epochs=5.")


def _groups() -> list[str]:
    return sorted(path.name for path in Path(CONF).iterdir() if path.is_dir() and path.name != "hydra")


def _choices(group: str) -> list[str]:
    """Return the files of a group, by the names that the command line gives them."""
    folder = Path(CONF, group)
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))
