"""The arrows run one way: a room imports from those before it in `docs/architecture.md`, and none in a circle."""

import ast
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

NAMED = {"callbacks", "losses", "optimizers", "schedules", "startup"}  # what configs name, and what imports Keras
MAY_IMPORT = {
    "keys": set(),
    "places": set(),
    "refusals": {"keys", "places"},
    "errors": {"interrupts", "refusals"},
    "config": {"errors", "keys", "places", "refusals"},
    "startup": set(),
    "interrupts": set(),
    "losses": set(),
    "optimizers": set(),
    "schedules": set(),
    "callbacks": {"telemetry"},
    "telemetry": set(),  # the library: it can be lifted out
    "checkup": {"telemetry"},
    "repairing": {"telemetry", "checkup"},
    "models": {"errors", "keys"},
    "data": {"errors", "keys", "refusals", "startup"},
    "archive": {"errors", "config", "telemetry"},
    "tracking": {"errors", "config", "places", "startup", "telemetry", "archive"},
    "report": {"errors", "config", "places", "telemetry", "archive", "tracking"},
    "running": {
        "errors",
        "config",
        "telemetry",
        "models",
        "data",
        "checkup",
        "archive",
        "tracking",
        "report",
        "interrupts",
        "places",
        *NAMED,
    },
    "check": {"errors", "startup", "models", "checkup", "archive"},  # python -m zoo.check
    "evaluate": {  # python -m zoo.evaluate
        "errors",
        "config",
        "keys",
        "startup",
        "telemetry",
        "models",
        "data",
        "archive",
        "report",
        "running",
    },
    "testing": {"checkup"},
    "sweeping": {
        "errors",
        "config",
        "keys",
        "places",
        "refusals",
        "startup",
        "interrupts",
        "telemetry",
        "archive",
        "tracking",
        "report",
        "running",
    },
    "__main__": {"errors", "interrupts", "places", "running", "sweeping"},  # the command
}


def modules() -> dict[str, set[str]]:
    """Each module of `zoo` with those of `zoo` that it imports, at its top or within a function."""
    files = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in (ROOT / "zoo").rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    found = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [other if other in files else node.module for other in names]
            found[name] |= {other for other in names if other in files and other != name}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_from_those_before_it(room):
    for name, others in modules().items():
        if name.split(".")[1:2] == [room]:
            assert {other.split(".")[1] for other in others} <= MAY_IMPORT[room] | {room}, name


def test_every_room_has_its_place():
    assert {name.split(".")[1] for name in modules() if "." in name} == set(MAY_IMPORT)


def test_no_module_leads_back_to_itself():
    TopologicalSorter(modules()).prepare()  # raises CycleError with the circle
