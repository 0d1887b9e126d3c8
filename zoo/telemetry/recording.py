"""What is recorded of one model, over any number of trainings, while its columns may become more."""

import dataclasses
import json
import math
import os
import weakref
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import keras
import numpy as np

from zoo.telemetry.columns import Columns
from zoo.telemetry.history import GradientHistory, header_path, rows_path
from zoo.telemetry.layers import all_layers, owners
from zoo.telemetry.setting import Setting
from zoo.telemetry.steps_file import Rows

BLOCK = 4096  # rows that are rewritten at once


class Recording:
    """The rows of one model, what their columns are, and where epochs end; in `path`, if there is one.

    Model and variables are known by weak references alone: what was recorded outlives them.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.columns = Columns(0, clips=False, updates=False)
        self.rows: Rows | None = None
        self.epoch_ends: list[int] = []
        self.layers: list[str] = []
        self.variables: list[str] = []
        self.owners: list[int] = []
        self.setting: Setting | None = None
        self.waits = False  # for the model that goes on with it
        self._model: weakref.ref[keras.Model] | None = None
        self._written: dict | None = None
        self._known: list[Callable[[], Any]] = []
        self._source, self._places = self.columns, []

    @classmethod
    def resumed(cls, path: Path, epochs: int) -> Self:
        """Go on with the first `epochs` epochs that `path` holds.

        Raises:
            FileNotFoundError: if `path` holds none.
        """
        header = json.loads(header_path(path).read_text())
        made = cls(path)
        made.epoch_ends = header["epoch_ends"][:epochs]
        made.layers, made.variables, made.owners = header["layers"], header["variables"], header["owners"]
        made.columns = Columns(len(made.variables), header["clips"], header["updates"])
        _moved(rows_path(path, header.get("rows")), path)
        made.rows = Rows(len(made.columns), path, made.epoch_ends[-1] if made.epoch_ends else 0)
        made.setting = Setting(**header["setting"]) if header.get("setting") else None
        made.waits = True
        made.describe()
        return made

    def __len__(self) -> int:
        return len(self.rows) if self.rows is not None else 0

    def __getstate__(self) -> dict:
        return vars(self) | {"_model": None, "_known": [], "waits": False}

    def of(self, model: keras.Model) -> bool:
        """Whether `model` goes on with this."""
        return self.waits or (self._model is not None and self._model() is model)

    def take(self, model: keras.Model) -> None:
        """Record `model` from now on."""
        self._model = weakref.ref(model)
        self.setting = Setting.of(model, {layer.name: layer for layer in all_layers(model)})
        self.waits = False

    def begin(self, model: keras.Model, variables: list[keras.Variable], columns: Columns) -> None:
        """Make room for rows of these `columns`, which are of `variables`; what was recorded before stays."""
        union = self._union(model, variables)
        wanted = Columns(len(union), columns.clips or self.columns.clips, columns.updates or self.columns.updates)
        before = [old for _, old in union]
        places = sorted(range(len(union)), key=lambda k: math.inf if before[k] is None else before[k])
        places = places[: len(self.variables)]  # for each variable of before its place now
        paths = [self.variables[old] if v is None else v.path for v, old in union]
        same = places == list(range(len(union))) and self.columns == wanted
        known = [_or_named(v, path) for (v, _), path in zip(union, paths, strict=True)]
        layers, index = self.layers, self.owners
        if not same or paths != self.variables:
            layers, index, _ = owners(model, known, [])
        if self.rows is None:
            self.rows = Rows(len(wanted), self.path)
        elif not same:
            self._rewrite(self.rows, wanted, places, paths, layers, index)
        self.columns, self.variables = wanted, paths
        self.layers, self.owners = layers, index
        self._known = [weakref.ref(v) if v is not None else _gone for v, _ in union]
        place = {id(v): k for k, (v, _) in enumerate(union)}
        self._source, self._places = columns, [place[id(v)] for v in variables]

    def order(self, layers: Collection[keras.layers.Layer]) -> None:
        """Put the layers in the order in which they were called in a step."""
        model = self._model and self._model()
        assert model is not None, "it is being trained"
        known = [_or_named(v(), path) for v, path in zip(self._known, self.variables, strict=True)]
        self.layers, self.owners, _ = owners(model, known, layers)

    def append(self, rows: np.ndarray) -> None:
        """Add (n, columns) rows as of the last `begin`."""
        assert self.rows is not None, "`begin` made room"
        self.rows.append(self._source.moved(rows, self.columns, self._places))

    def describe(self) -> None:
        """Write beside the rows what they are, and where epochs end."""
        if self.path is not None and self.rows is not None:
            self._describe(self.path, self._header())

    def history(self) -> GradientHistory:
        """Everything that was recorded."""
        rows = self.rows.array() if self.rows is not None else np.zeros((0, len(self.columns)), np.float32)
        return GradientHistory.of_rows(rows, **self._header())

    def _header(self) -> dict:
        """Return what the columns are: the arguments of `GradientHistory.of_rows`, of JSON's types."""
        return {
            "layers": list(self.layers),
            "variables": list(self.variables),
            "owners": list(self.owners),
            "clips": self.columns.clips,
            "updates": self.columns.updates,
            "epoch_ends": list(self.epoch_ends),
            "setting": self.setting and dataclasses.asdict(self.setting),
        }

    def _describe(self, path: Path, header: dict) -> None:
        if header != self._written:
            whole = header_path(path).with_suffix(".tmp")
            whole.write_text(json.dumps(header))
            os.replace(whole, header_path(path))
            self._written = header

    def _union(self, model: keras.Model, variables: list[keras.Variable]) -> list[tuple]:
        """Return the variables of before and now, in the model's order: (variable, its place before), `None` if none.

        A variable of before that is gone comes last.
        """
        known = [v() for v in self._known]
        if len(known) < len(self.variables):  # what was read from a file has names alone
            known = list(variables)
            if len(known) != len(self.variables):
                by_path = {v.path: v for v in reversed(model.variables)}
                known = [by_path.get(path) for path in self.variables]
        places = {id(v): k for k, v in enumerate(known) if v is not None}
        union = [(v, places.get(id(v))) for v in variables]
        now = {id(v) for v in variables}
        gone = [(v, k) for k, v in enumerate(known) if v is None or id(v) not in now]
        if gone:
            order = {id(v): k for k, v in enumerate(model.variables)}
            union = sorted([*union, *gone], key=lambda pair: order.get(id(pair[0]), math.inf))
        return union

    def _rewrite(
        self, before: Rows, wanted: Columns, places: list[int], paths: list[str], layers: list[str], index: list[int]
    ) -> None:
        """Bring the rows into other columns; a process that is killed in between leaves the old or the new ones."""
        new = None if self.path is None else self.path.with_name(self.path.name + ".new")
        rows, old = Rows(len(wanted), new), before.array()
        for start in range(0, len(old), BLOCK):
            rows.append(self.columns.moved(old[start : start + BLOCK], wanted, places))
        before.close()
        self.rows, self.columns, self.variables, self.layers, self.owners = rows, wanted, paths, layers, index
        if self.path is not None and new is not None:
            self._describe(self.path, self._header() | {"rows": new.name})
            _moved(new, self.path)
            self._describe(self.path, self._header())


class Numbers:
    """The numbers of the files that one callback and its copies write: they share one count."""

    def __init__(self):
        self.last = 1

    def next(self, path: Path) -> Path:
        """Return a path beside `path` that was not returned yet: rows.f32 -> rows.2.f32."""
        self.last += 1
        return path.with_name(f"{path.stem}.{self.last}{path.suffix}")

    def __deepcopy__(self, memo: dict) -> Self:
        return self


def _moved(new: Path, path: Path) -> None:
    if new != path:
        os.replace(new, path)


def _or_named(variable: keras.Variable | None, path: str):
    return SimpleNamespace(path=path) if variable is None else variable


def _gone() -> None:
    """Stand in for the reference to a variable that is no more."""
