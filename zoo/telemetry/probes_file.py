"""Probes on disk: one `.npz` without pickles."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from zoo.telemetry.answers import Answers
from zoo.telemetry.batch import Batch
from zoo.telemetry.probe import Attention, Lookup, Probe, Residual
from zoo.telemetry.probe_table import MEASURES
from zoo.telemetry.recurrent import TimeProfile
from zoo.telemetry.setting import Setting

FLAGS = ("measured", "preactivation", "trained_by")


def save_probes(path: str | Path, probes: list[Probe]) -> None:
    """Write probes to one `.npz` without pickles."""
    np.savez_compressed(path, **arrays_of(probes))


def arrays_of(probes: list[Probe]) -> dict[str, Any]:
    """Return what the file holds: names once, each measure as (probes, layers).

    Layers that only some of the probes have, for others were frozen, are NaN in the rest.
    """
    layers, kinds = _all_layers(probes)
    arrays = {
        "layers": np.array(layers, str),
        "has_kernel": np.array([kernel for kernel, _ in kinds], bool),
        "activations": np.array([activation for _, activation in kinds], str),
        "loss": np.array([p.loss for p in probes], np.float32),
        "missing": np.array([p.missing for p in probes], str),
        "losses": _padded([p.losses for p in probes]),
        "through": np.array([p.through for p in probes], bool),
    }
    for name in (*MEASURES, *FLAGS):
        arrays[name] = np.stack([_spread(getattr(p, name), p.layers, layers) for p in probes])
    for name, fields in _PARTS.items():
        parts = [getattr(p, name) for p in probes]
        names = max((tuple(part.layer for part in p) for p in parts), key=len)
        arrays[f"{name}/layers"] = np.array(names, str)
        whole = [p for p in parts if len(p) == len(names)]
        for i in range(len(names)):
            for field in fields:
                arrays[f"{name}/{i}/{field}"] = np.stack([np.asarray(getattr(p[i], field)) for p in whole])
        arrays[f"{name}/probes"] = np.array([len(p) == len(names) for p in parts], bool)
    for name, kind in _FACTS.items():
        for field in dataclasses.fields(kind):
            arrays[f"{name}/{field.name}"] = np.array([getattr(getattr(p, name), field.name) for p in probes])
    arrays["setting"] = np.array([p.setting.to_json() if p.setting else "" for p in probes], str)
    return arrays


_KINDS = {"times": TimeProfile, "attentions": Attention, "residuals": Residual, "lookups": Lookup}
_FACTS = {"answers": Answers, "batch": Batch}
_PARTS = {
    name: [field.name for field in dataclasses.fields(kind) if field.name != "layer"] for name, kind in _KINDS.items()
}


def load_probes(path: str | Path) -> list[Probe]:
    """Read what `save_probes` wrote, also in earlier versions."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    layers, activations = arrays["layers"].tolist(), arrays["activations"].tolist()
    parts = {name: _read_parts(arrays, name) for name in _KINDS if f"{name}/layers" in arrays}
    return [
        Probe(
            layers,
            arrays["has_kernel"],
            activations,
            float(loss),
            **{name: arrays[name][i] for name in (*MEASURES, *FLAGS) if name in arrays},
            **{name: found[i] for name, found in parts.items()},
            missing=str(arrays["missing"][i]) if "missing" in arrays else "",
            through=bool(arrays["through"][i]) if "through" in arrays else False,
            **({"losses": arrays["losses"][i][~np.isnan(arrays["losses"][i])]} if "losses" in arrays else {}),
            setting=_read_setting(arrays, i),
            **{name: _read_facts(arrays, name, i) for name in _FACTS},
        )
        for i, loss in enumerate(arrays["loss"])
    ]


def _read_facts(arrays: dict, name: str, i: int):
    names = [field.name for field in dataclasses.fields(_FACTS[name])]
    return _FACTS[name](**{n: arrays[f"{name}/{n}"][i].item() for n in names if f"{name}/{n}" in arrays})


def _read_setting(arrays: dict, i: int) -> Setting | None:
    text = str(arrays["setting"][i]) if "setting" in arrays else ""
    return Setting.from_json(text) if text else None


def _read_parts(arrays: dict, name: str) -> list[list]:
    """Return for each probe its parts of one kind, such as its recurrent cells."""
    kind, names = _KINDS[name], arrays[f"{name}/layers"].tolist()
    found, row = [], 0
    for whole in arrays[f"{name}/probes"]:
        values = (
            [[arrays[f"{name}/{i}/{field}"][row] for field in _PARTS[name]] for i in range(len(names))] if whole else []
        )
        values = [[v if v.ndim else float(v) for v in fields] for fields in values]
        found.append([kind(layer, *fields) for layer, fields in zip(names, values, strict=False)])
        row += bool(whole)
    return found


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """(n,) arrays of different lengths as one, filled up with NaN."""
    padded = np.full((len(rows), max(map(len, rows), default=0)), np.nan, np.float32)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def _all_layers(probes: list[Probe]) -> tuple[list[str], list[tuple[bool, str]]]:
    """Return the layers of the probe that has most, then those that only others have; and what is said of each."""
    order = sorted(probes, key=lambda p: -len(p.layers))
    found: dict[str, tuple[bool, str]] = {}
    for p in order:
        for name, kernel, activation in zip(p.layers, p.has_kernel, p.activations, strict=True):
            found.setdefault(name, (bool(kernel), activation))
    return list(found), list(found.values())


def _spread(values: np.ndarray, names: list[str], layers: list[str]) -> np.ndarray:
    if names == layers:
        return np.asarray(values)
    missing = {"b": False, "i": -1}.get(np.asarray(values).dtype.kind, np.nan)
    spread = np.full(len(layers), missing, np.asarray(values).dtype)
    spread[[layers.index(name) for name in names]] = values
    return spread
