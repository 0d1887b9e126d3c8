"""By what the same sweep is known again: what its runs follow from, and the code that makes them."""

import dataclasses
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.archive.differences import WITHOUT_EFFECT
from zoo.archive.study import Search
from zoo.config import PACKAGE, resolved
from zoo.keys import model_file

# Keys that may name a file, whose content counts.
FILES = ("data.path", "model.path", "model.weights")
OURS = ("zoo", "keras", "hydra", "tensorflow", "jax", "torch", "numpy", "sklearn")


def identity_of(jobs: list[DictConfig]) -> str:
    """Return a digest of what a sweep's results follow from: the composed configs, the files they name, the backend."""
    digest = hashlib.sha256(os.environ.get("KERAS_BACKEND", "").encode())
    for job in jobs:
        content = effective(job)
        paths = {key: OmegaConf.select(job, key) for key in FILES}
        stamps = [_stamp(model_file(path) if key == "model.path" and path else path) for key, path in paths.items()]
        digest.update(json.dumps([content, stamps], sort_keys=True, default=str).encode())
    return digest.hexdigest()


def search_identity(identity: str, dimensions: dict[str, Any], search: Search) -> str:
    """Return a digest of what a search's results follow from, whatever number of trials it is asked for.

    Args:
        identity: of two of its jobs.
        dimensions: what is searched.
        search: how it chooses.
    """
    content = [identity, {key: str(at) for key, at in dimensions.items()}, dataclasses.asdict(search)]
    return f"search {hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"


def effective(job: DictConfig) -> dict[str, Any]:
    """Return a composed config without what changes nothing of a run's result."""
    return {key: value for key, value in resolved(job).items() if key not in WITHOUT_EFFECT}


def _stamp(path) -> tuple | None:
    try:
        stat = os.stat(os.path.expanduser(path))
    except (OSError, TypeError):
        return None
    return stat.st_size, stat.st_mtime_ns


def code_of(jobs: list[DictConfig]) -> str:
    """Return a digest of this package's source, and of the user's own modules that the configs name."""
    digest = hashlib.sha256()
    modules = {module for job in jobs for module in _modules(job)}
    files = [*PACKAGE.rglob("*.py"), *(file for module in modules for file in _sources(module))]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _modules(node) -> Iterator[str]:
    """Yield the top-level modules of the user's own that a config has targets in."""
    for key, value in node.items_ex(resolve=False) if isinstance(node, DictConfig) else ():
        if isinstance(value, DictConfig):
            yield from _modules(value)
        elif key == "_target_" and isinstance(value, str) and (name := value.partition(".")[0]) not in OURS:
            yield name


def _sources(module: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None or spec.origin is None:
        return []
    origin = Path(spec.origin)
    return list(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
