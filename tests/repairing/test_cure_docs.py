"""Every change stands on the pages on the cure, in both languages, with what calls for it, and their example runs.

That both have the same examples and numbers is in `test_docs_pairs.py`.
"""

import re

import numpy as np
import pytest
from conftest import ROOT

from zoo.repairing.changes import CALLED_FOR, FITTING, GENERAL, SOUND

ENGLISH, CHINESE = PAGES = [ROOT / "docs" / "cure.md", ROOT / "docs" / "cure.zh.md"]
BUDGET = 8  # seconds of an example


def rows(text: str) -> dict[str, str]:
    """The rows of the table of changes, by each key in their first cell."""
    found = {}
    for line in text.splitlines():
        cells = line.split(" | ")
        if line.startswith("| `") and len(cells) == 3:
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), line)
    return found


def snippets(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_change_is_told_with_all_that_calls_for_it(page):
    told = rows(page.read_text(encoding="utf-8"))
    keys = {key for called in CALLED_FOR.values() for key in called} | {*GENERAL, *FITTING, *SOUND}

    assert not keys - set(told)
    for key in keys:
        titles = {title for title, called in CALLED_FOR.items() if key in called}
        assert set(re.split(", |、", told[key].removesuffix(" |").split(" | ")[2])) == titles, key
    marks = ("sound", "general") if page == ENGLISH else ("合理", "通用")
    for key, row in told.items():
        marked = [mark in row.split(" | ")[0] for mark in marks]
        assert marked == [key in SOUND, key in GENERAL] or key.startswith("gentler"), key


def test_the_example_does_what_the_page_says(capsys):
    """With less time than on the page: what is found then depends on the machine, and how it is told does not."""
    code, _ = snippets(ENGLISH.read_text(encoding="utf-8"))
    assert "budget=60" in code
    names: dict = {}

    built, repaired = code.split("found = repair")
    exec(built, names)
    model = names["model"]
    weights = [np.array(w) for w in model.get_weights()]
    exec(f"found = repair{repaired}".replace("budget=60", f"budget={BUDGET}"), names)

    found, text = names["found"], capsys.readouterr().out
    assert text == f"{found}\n"
    assert text.startswith(("cured in", "changed, but not proved a cure", "not cured", "nothing was tried"))
    assert found.before.verdict.sick or found.reason
    if found.changes:
        assert any(line.startswith("+") for line in found.code.splitlines())
    assert found.cured == (not found.reason)
    for was, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert found.model.predict(names["x"][:2], verbose=0).shape == (2, 10)
