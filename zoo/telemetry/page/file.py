"""A page as one file: text, numbers, style and script, and nothing from anywhere else."""

import base64
import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from zoo.telemetry.language import language
from zoo.telemetry.page import places, telling
from zoo.telemetry.page.bilingual import escaped, spoken
from zoo.telemetry.page.data import embedded
from zoo.telemetry.page.told import Told

HERE = Path(__file__).parent
SCRIPTS = ("plot.js", "recorded.js", "panels.js", "run.js", "controls.js")
STYLES = ("page.css", "run.css")


SECTIONS = (
    telling.head_section,
    telling.verdict_section,
    places.cursor_section,
    places.map_section,
    places.profiles_section,
    places.along_section,
    places.courses_section,
    places.shares_section,
    telling.found_section,
    telling.setting_section,
    places.numbers_section,
)


def page_text(told: Told) -> str:
    """Return the page of one training."""
    script = joined(SCRIPTS)
    return filled(
        HERE / "page.html",
        {
            "language": language(),
            "title": escaped(told.name),
            "body": "\n".join(part for section in SECTIONS if (part := section(told))),
            "data": embedded(told, spoken(script), language()),
            "style": joined(STYLES),
            "script": script,
            "script_hash": hash_of(script),
        },
    )


def write_page(path: str | Path, told: Told) -> Path:
    """Write the page of one training to a file, which opens without a network; return its path."""
    path = Path(path)
    path.write_text(page_text(told), encoding="utf-8")
    return path


@functools.cache
def joined(names: tuple[str, ...], folder: Path = HERE) -> str:
    """Return the text of some files, one behind the other."""
    return "\n".join((folder / name).read_text(encoding="utf-8").strip() for name in names)


@functools.cache
def hash_of(script: str) -> str:
    """Return what the page's policy lets run: this script, and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def filled(template: Path, parts: Mapping[str, str]) -> str:
    """Put parts into a template's places, in one pass: what a run is called stays what it is, even if {{data}}."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], joined((template.name,), template.parent))
