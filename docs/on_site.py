"""A hook of MkDocs: the pages of this repository that do not lie in docs/, and where links to them lead on the site.

There the README is the first page, and what lies in docs/ lies at the top.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def on_config(config: Any) -> Any:
    """Let headings have the anchors that they have on GitHub."""
    config["mdx_configs"].setdefault("toc", {})["slugify"] = anchor
    return config


def anchor(heading: str, separator: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages beside docs/, and whatever a page leads to."""
    sources = [*BESIDE, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    wanted = [*BESIDE, *(target for source in sources for target in _targets(source))]
    for path in wanted:
        if not path.startswith("docs/") and place_of(path) not in files.src_uris:
            files.append(File.generated(config, place_of(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to where their targets lie on the site."""
    place = page.file.src_uri
    source = next((path for path in BESIDE if place_of(path) == place), f"docs/{place}")

    def moved(link: re.Match) -> str:
        target = _target(source, link[1])
        return os.path.relpath(place_of(target), PurePosixPath(place).parent) if target else link[1]

    return LINK.sub(moved, markdown)


def place_of(path: str) -> str:
    """Return where a file of the repository lies on the site."""
    name = re.sub(r"^README(?=(\.zh)?\.md$)", "index", path)
    return name.removeprefix("docs/")


def _targets(source: str) -> list[str]:
    links = LINK.findall((ROOT / source).read_text(encoding="utf-8"))
    return [target for link in links if (target := _target(source, link))]


def _target(source: str, link: str) -> str | None:
    """Return the file of the repository to which a page's link leads; `None` where there is none."""
    path = (ROOT / source).parent / link
    return os.path.relpath(path, ROOT) if path.is_file() else None
