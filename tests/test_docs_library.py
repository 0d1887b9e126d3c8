"""Every snippet of docs/library.md runs, in the page's order, each after those before it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "library.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_ten_lines_are_ten():
    code = [line for line in SNIPPETS[0].splitlines() if line and not line.startswith(("import", "from"))]
    assert len(code) <= 10


SLOW = pytest.mark.slow


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=SLOW), pytest.param("torch", marks=SLOW)])
def test_snippets_run(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    assert len(SNIPPETS) >= 10
    script = tmp_path / "page.py"
    # A snippet about a library that is not installed is left out.
    script.write_text("\n".join(s for s in SNIPPETS if installed(re.match(r"import (torch|tensorflow)", s))))
    done = subprocess.run(
        [sys.executable, "-W", "error:::zoo", str(script)],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip()
    frame = (tmp_path / "gradients.csv").read_text().splitlines()
    assert len(frame) == 1 + 6 and frame[0].startswith("step,loss,gradient_norm,gradient_norm/dense,")
    assert len(list((tmp_path / "logs" / "first").glob("*tfevents*"))) == 1


def installed(first_line: re.Match | None) -> bool:
    return first_line is None or importlib.util.find_spec(first_line[1]) is not None


README = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_first_screen_of_the_readme_is_what_it_is_two_commands_a_picture_and_ten_lines():
    screen = (ROOT / "README.md").read_text().partition("\n## ")[0]
    places = [screen.index(word) for word in ("# gradient-zoo", "make train", "make test", "![", "```python")]
    assert places == sorted(places) and screen.count("```") == 4 and screen.count("![") == 1
    assert len([line for line in README[0].splitlines() if line]) == 10
    assert len(screen.splitlines()) <= 32


def test_the_code_of_the_readme_runs(shared_train, tmp_path):
    (tmp_path / "readme.py").write_text("\n".join(README))
    done = shared_train.module("readme", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "confidence" in done.stdout and "\n  try " in done.stdout
    assert (tmp_path / "run.html").is_file()
