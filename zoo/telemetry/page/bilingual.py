"""Text for a page that speaks every language by one switch: each stands in it, and the page shows one."""

import functools
import html
import re

from zoo.telemetry.language import LANGUAGES, Said, named_in, texts, translated

SIGNS = {  # of verdicts, which have no colours: those tell lines apart
    "healthy": "✓",
    "vanishing": "↘",
    "exploding": "↗",
    "dead": "○",
    "saturated": "▬",
    "stalled": "→",
    "unstable": "∿",
    "faulty": "✗",
    "undecided": "?",
    "FAILED": "×",
    "KILLED": "×",
}
SPOKEN = re.compile(r'\bsay\("((?:[^"\\]|\\.)*)"')


def escaped(value: object) -> str:
    """Return a text as HTML has it, in elements and in quoted attributes."""
    return html.escape(str(value), quote=True)


def both(template: str, /, **values: object) -> str:
    """Return HTML that says a template in every language; values that were said are said again in each."""
    return of_text(Said.of(template, values, "en") if values else template)


def of_text(text: str) -> str:
    """Return HTML of a text in every language: of one that `say` made, or that the table has."""
    return _in_each({language: translated(text, language) for language in LANGUAGES})


def of_word(word: str) -> str:
    """Return HTML of a word that programs use too, in Chinese with what it means behind it."""
    return _in_each({language: named_in(word, language) for language in LANGUAGES})


def _in_each(said: dict[str, str]) -> str:
    if len(set(said.values())) == 1:
        return escaped(next(iter(said.values())))
    return "".join(f'<span lang="{language}">{escaped(text)}</span>' for language, text in said.items())


@functools.cache
def spoken(script: str) -> dict[str, dict[str, str]]:
    """Return for each language but English the templates that a script says, as they are in it."""
    templates = SPOKEN.findall(script)
    return {
        language: {text: table[text] for text in templates if text in table}
        for language in LANGUAGES
        if (table := texts(language))
    }
