"""English and Chinese pages say the same: code, tables, numbers; and no link of any page leads nowhere."""

import functools
import re
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

NUMBER = r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?"
CHINESE = [ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.zh.md"))]
PAIRS = [(page.with_name(page.name.replace(".zh.md", ".md")), page) for page in CHINESE]
PAGES = [page for folder in ("", "docs", "benchmarks") for page in sorted((ROOT / folder).glob("*.md"))]
both = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.name)


@functools.cache
def parts(page: Path) -> tuple[list[str], list[str]]:
    """The lines of a page's code, and all others. The comments of the README's, which are translated, are left out."""
    code, others, fenced = [], [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
            code.append(line)
        elif fenced or line.startswith("    "):
            code.append(re.sub(r"\s+# .*$", "", line) if page.name.startswith("README") else line)
        else:
            others.append(line)
    assert not fenced
    return code, others


def headings(page: Path) -> list[str]:
    return [line for line in parts(page)[1] if line.startswith("#")]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen, found = Counter(), set()
    for heading in headings(page):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.lstrip("#").strip())
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def links(page: Path) -> list[str]:
    """The places in this repository to which a page leads."""
    text = re.sub(r"`[^`\n]*`", "", "\n".join(parts(page)[1]))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def numbers(text: str) -> list[str]:
    return sorted(re.findall(NUMBER, text))


def numbers_of_a_sentence(text: str) -> set[str]:
    """Without those that one language has as digits, and the other as words; one may say a number twice."""
    return set(numbers(text)) - {"0", "1"}


def rows(page: Path) -> list[str]:
    return [line for line in parts(page)[1] if line.startswith("|")]


def bullets(page: Path) -> list[str]:
    return re.findall(r"^- .*(?:\n  .*)*", "\n".join(parts(page)[1]), re.MULTILINE)


@both
def test_both_have_the_same_code(english, chinese):
    assert parts(english)[0] == parts(chinese)[0]


@both
def test_both_have_the_same_tables_in_numbers(english, chinese):
    for row, other in zip(rows(english), rows(chinese), strict=True):
        for cell, same in zip(row.split(" | "), other.split(" | "), strict=True):
            of = numbers_of_a_sentence if len(cell) > 15 else numbers
            assert of(cell) == of(same), other


@both
def test_both_have_the_same_findings_in_numbers(english, chinese):
    for bullet, other in zip(bullets(english), bullets(chinese), strict=True):
        assert numbers(bullet) == numbers(other), other


@both
def test_both_have_the_same_headings_and_lead_to_each_other(english, chinese):
    levels = [[heading.index(" ") for heading in headings(page)] for page in (english, chinese)]
    assert levels[0] == levels[1]
    assert chinese.name in links(english) and english.name in links(chinese)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_chinese_page_leads_to_chinese_ones(page):
    """But to the English one of its own."""
    known = {english: chinese for english, chinese in PAIRS if chinese != page}
    targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    assert not [target.name for target in targets if target in known]
