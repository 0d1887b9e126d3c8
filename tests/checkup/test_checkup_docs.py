"""Every finding and every cause stands on the pages on the check-up, in both languages."""

import ast
from collections.abc import Iterator

import pytest
from conftest import ROOT

from zoo.telemetry.findings import CAUSES

PAGES = [ROOT / "docs" / "checkup.md", ROOT / "docs" / "checkup.zh.md"]


def titles() -> Iterator[str | list[str]]:
    """Titles of all findings as the sources have them: whole ones, and of f-strings the parts that stay the same."""
    for path in sorted((ROOT / "zoo" / "checkup").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "suspect":
                yield from _titles(node.args[1])


def _titles(given: ast.expr) -> Iterator[str | list[str]]:
    if isinstance(given, ast.IfExp):
        yield from _titles(given.body)
        yield from _titles(given.orelse)
    elif isinstance(given, ast.JoinedStr):
        yield [part.value for part in given.values if isinstance(part, ast.Constant)]
    elif isinstance(given, ast.Constant):
        yield given.value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_finding_and_every_cause_is_told(page):
    text, found = page.read_text(encoding="utf-8"), list(titles())

    missing = [title for title in found if isinstance(title, str) and not _marked(title, text)]
    missing += [part for parts in found if isinstance(parts, list) for part in parts if part not in text]
    missing += [cause for cause in CAUSES if f"| `{cause}` |" not in text]

    assert len(found) > 50 and not missing


def _marked(title: str, text: str) -> bool:
    return f"**{title}**" in text or f"`{title}`" in text
