"""The language of what a person reads: English, as all of it is written in the code, or another that has a table.

A sentence in the code is a template, `say("after {steps} the loss is {loss}", steps=..., loss=...)`, and the key of its
translation in `texts/LANGUAGE/*.toml`. Titles of findings, names of verdicts and causes, and what cures say without a
number stay English in the objects, where the code asks for them by name: they are translated where they are shown.
"""

import functools
import os
import re
import tomllib
import unicodedata
from pathlib import Path

LANGUAGES = ("en", "zh")
VARIABLE = "GRADIENT_ZOO_LANGUAGE"  # of the environment: what is spoken before `use_language` was called
TEXTS = Path(__file__).parent / "texts"
LABEL = 10  # columns that the word before a line takes
# No space stands between two Chinese characters, where a template has one for a number or an English word.
GAP = re.compile(r"(?<=[、-〗一-鿿，。；：（）]) (?=[、-〗一-鿿，。；：（）])")

PIECE = re.compile(r" *[^ 一-鿿，。；：、（）]+[，。；：、）]* *|[（]?[一-鿿][，。；：、）]*| +|.")

_chosen: str | None = None


def use_language(language: str) -> None:
    """Say everything from now on in this language: "en" or "zh" (Chinese).

    Raises:
        ValueError: for another one.
    """
    global _chosen
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: choose one of {', '.join(LANGUAGES)}.")
    _chosen = language


def language() -> str:
    """Return the language in use; before one was chosen that of the environment's GRADIENT_ZOO_LANGUAGE, or English.

    Raises:
        ValueError: if the environment names one that there is not.
    """
    if _chosen is None:
        use_language(os.environ.get(VARIABLE, LANGUAGES[0]))
    assert _chosen is not None
    return _chosen


class Said(str):
    """A text, and what was said: so that it can be said again in another language.

    Attributes:
        template: as `say` was given it.
        values: its values, of which some may be `Said` too.
    """

    template: str
    values: dict[str, object]

    @classmethod
    def of(cls, template: str, values: dict[str, object], language: str) -> "Said":
        """Say a template in a language."""
        table = texts(language)
        text = table.get(template, template)
        text = text.format(**values) if values else text
        said = cls(GAP.sub("", text) if table else text)
        said.template, said.values = template, values
        return said


def say(template: str, /, **values: object) -> str:
    """Return a template in the language in use, with its values; what the table lacks stays as it is."""
    return Said.of(template, values, language())


def translated(text: str, language: str) -> str:
    """Return what was said in another language; what was not said, such as a cure's name, as the table has it.

    A text that was read from a file, or put together from others, is no more known than that: it stays as it is.
    """
    if not isinstance(text, Said):
        return texts(language).get(text, text)
    values = {name: translated(v, language) if isinstance(v, Said) else v for name, v in text.values.items()}
    return Said.of(text.template, values, language)


def named(word: str) -> str:
    """Return a word that commands and programs use too, such as a verdict's name, with what it means: dead（…）."""
    return named_in(word, language())


def named_in(word: str, language: str) -> str:
    """Return the same in a language."""
    means = texts(language).get(word)
    return f"{word}（{means}）" if means else word


def label(word: str, /) -> str:
    """Return the word before a line, as wide as all of them."""
    return padded(say(word), LABEL)


def padded(text: str, columns: int) -> str:
    """Return the text with spaces behind it, so that it takes so many columns of a terminal."""
    return text + " " * (columns - columns_of(text))


def wrapped(line: str, columns: int, indent: int = LABEL) -> str:
    """Return a line broken where words, or Chinese characters, end, so that none takes more columns of a terminal.

    All but the first are indented. A word that is longer stays whole: a path or a command is copied.
    """
    lines, now = [], ""
    for piece in PIECE.findall(line):
        if now.strip() and columns_of(now + piece.rstrip()) > columns:
            lines.append(now.rstrip())
            now = " " * indent + piece.lstrip()
        else:
            now += piece
    return "\n".join([*lines, now.rstrip()])


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@functools.cache
def texts(language: str) -> dict[str, str]:
    """Return what each English template is in a language; nothing for English itself."""
    table: dict[str, str] = {}
    for path in sorted((TEXTS / language).glob("*.toml")):
        table |= tomllib.loads(path.read_text(encoding="utf-8"))
    return table
