"""Words of a command line: `key=value`, of which a later one replaces an earlier one of the same key."""

Words = tuple[str, ...]  # ("activation=relu", "initializer=he_normal")
YES = ("cure=true", "cure=yes", "cure=on", "cure=1")  # as OmegaConf reads them


def asked_for(words: list[str]) -> list[str]:
    """Return a command line with what `cure=true` in it stands for: a sweep of one run and of what may cure it."""
    if not any(word.lower() in YES for word in words):
        return words
    added = [] if any(word.startswith("hydra/sweeper=") for word in words) else ["hydra/sweeper=cure"]
    if {"-m", "--multirun"} & set(words):
        return [*words, *added]
    return ["-m", *words, *added, "hydra.sweeper.params=null"]  # an experiment's own sweep is not asked for


def merged(words: Words, *changes: Words) -> Words:
    """Return the words with these changes, which replace words of the same key."""
    added = [word for change in changes for word in change]
    keys = {key_of(word) for word in added}
    return (*(word for word in words if key_of(word) not in keys), *added)


def key_of(word: str) -> str:
    """Return what a word sets: "model.depth" of "model.depth=5" and of "+model.depth=5"."""
    return word.partition("=")[0].lstrip("+~")
