"""A sweep's folder: what it is a sweep of, so that the same command finds it again, and what became of each run."""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from zoo.archive.summary import read_summary
from zoo.config import PACKAGE

# What changes nothing of a run's result.
WITHOUT_EFFECT = ("verbose", "resume", "tracking", "pictures", "steps", "objective")
# Keys that may name a file, whose content counts.
FILES = ("data.path", "model.path", "model.weights")
OURS = ("zoo", "keras", "hydra", "tensorflow", "jax", "torch", "numpy", "sklearn")


class SweepFolder:
    """The folder of a sweep; each run of it has a folder in it by its number."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def _file(self) -> Path:
        return self.path / "sweep.json"

    def read(self) -> dict:
        """Return what `write` wrote; nothing if that is not there, or is not whole."""
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def write(self, **content) -> None:
        """Write what the sweep is."""
        self.path.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(new, self._file)

    def job(self, number: int) -> Path:
        """The folder of run `number`."""
        return self.path / str(number)

    def left(self) -> int | None:
        """Return how many runs are not finished; `None` if it is not known how many there will be."""
        total = self.read().get("total")
        return total and total - sum(summary["status"] == "FINISHED" for summary in self.summaries())

    def summaries(self) -> list[dict]:
        """Return the summaries of all runs that left one or were cut off, in the order of their numbers."""
        jobs = [p for p in self.path.iterdir() if p.is_dir() and p.name.isdigit()] if self.path.is_dir() else []
        return [read_summary(p) for p in sorted(jobs, key=lambda p: int(p.name))]


def find(sweeps: Path, identity: str, code: str | None) -> Path | None:
    """Return the newest sweep folder in `sweeps` of that identity and, unless `None`, of that code."""
    found = [path.parent for path in sweeps.glob("*/sweep.json")]
    for path in sorted(found, reverse=True):
        known = SweepFolder(path).read()
        if known.get("identity") == identity and code in (None, known.get("code")):
            return path
    return None


def identity_of(jobs: list[DictConfig]) -> str:
    """Return a digest of what a sweep's results follow from: the composed configs, the files they name, the backend."""
    digest = hashlib.sha256(os.environ.get("KERAS_BACKEND", "").encode())
    for job in jobs:
        content = OmegaConf.to_container(job, resolve=True)
        for key in WITHOUT_EFFECT:
            content.pop(key, None)
        stamps = [_stamp(OmegaConf.select(job, key)) for key in FILES]
        digest.update(json.dumps([content, stamps], sort_keys=True, default=str).encode())
    return digest.hexdigest()


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
