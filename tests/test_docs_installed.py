"""docs/installed.md word for word: its files, its commands, its snippets; and the notebook that it leads to."""

import re
import shlex

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

PAGE = (ROOT / "docs" / "installed.md").read_text(encoding="utf-8")
NOTEBOOK = ROOT / "docs" / "gradients.ipynb"
# What stands in a block, after the name that the text before it gives the file.
FILES = re.findall(r"`(mine/[\w/]+\.yaml)`(?:(?!```).)*?```yaml\n(.*?)```", PAGE, re.DOTALL)
MODULE, *SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^    gradient-zoo (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A person's own: the page's files in it."""
    folder = tmp_path_factory.mktemp("own")
    for name, content in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "my_module.py").write_text(MODULE, encoding="utf-8")
    return folder


def test_the_page_has_what_is_run_here():
    assert [name for name, _ in FILES] == [
        "mine/experiment/wide.yaml",
        "mine/experiment/widths.yaml",
        "mine/model/mine.yaml",
    ]
    assert "def my_network" in MODULE and len(SNIPPETS) == 2 and len(COMMANDS) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_do_what_they_say(command, folder, shared_train):
    done = shared_train(*shlex.split(command), "pictures=false", "tracking=none", cwd=folder)
    assert not done.stderr
    if "-m" in command:
        assert done.stdout.count("│") and "2 runs" in done.stdout
    elif "wide" in command:
        assert "activation=tanh" not in done.stdout and "128" not in done.stderr
        assert f"{64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10:,} parameters" in done.stdout
        assert ("1 epoch," if "epochs=1" in command else "2 epochs,") in done.stdout
    elif "model=mine" in command:
        assert f"{64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10:,} parameters" in done.stdout


def test_a_misspelt_experiment_of_ones_own_is_told_with_the_one_that_is_there(folder, train):
    done = train.fresh("--config-dir=mine", "experiment=wde", cwd=folder, code=1)
    assert done.stderr.startswith("error: experiment=wde: no such choice; did you mean experiment=wide?")
    done = train.fresh("--config-dir=nowhere", "experiment=wide", cwd=folder, code=1)
    assert done.stderr.startswith("error: --config-dir nowhere: there is no such folder")
    assert not train.home.exists()


def test_its_snippets_run(folder, train):
    (folder / "snippets.py").write_text("\n".join(SNIPPETS), encoding="utf-8")
    done = train.module("snippets", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("healthy: ")
    (run,) = train.folders()
    assert lines[-2].endswith(str(run)) and 0.5 < float(lines[-2].split()[0]) <= 1
    assert f"print(error)  # {lines[-1]}" in PAGE
    assert [each.data.tags["verdict"] for each in train.recorded()] == ["healthy"]


def test_the_notebook_is_kept_without_what_it_printed_and_runs_to_its_end(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    monkeypatch.setenv("GRADIENT_ZOO_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    plain = [output["data"]["text/plain"] for output in shown if "text/plain" in output.get("data", {})]
    assert len(pages) == 4  # two verdicts, a history, and the Doctor's
    assert "vanishing" in pages[0] and "healthy" in pages[2]
    assert "cause='rate'" in plain[-1]
    accuracies = [float(text) for text in plain if re.fullmatch(r"0\.\d+", text)]
    assert accuracies[0] < 0.2 and accuracies[1] > 0.5
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    assert not [output for output in shown if output.output_type == "stream"]
