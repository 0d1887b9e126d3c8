"""Probes on disk: one `.npz` without pickles."""

import dataclasses
from pathlib import Path

import numpy as np

from zoo.telemetry.measures import MEASURES
from zoo.telemetry.probe import Attention, Probe, Residual
from zoo.telemetry.recurrent import TimeProfile

FLAGS = ("measured", "preactivation")


def save_probes(path: str | Path, probes: list[Probe]) -> None:
    """Write probes to one `.npz` without pickles: names once, each measure as (probes, layers).

    Layers that only some of the probes have, for others were frozen, are NaN in the rest.
    """
    layers, kinds = _all_layers(probes)
    arrays = {
        "layers": np.array(layers, str),
        "has_kernel": np.array([kernel for kernel, _ in kinds], bool),
        "activations": np.array([activation for _, activation in kinds], str),
        "loss": np.array([p.loss for p in probes], np.float32),
        "missing": np.array([p.missing for p in probes], str),
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
    np.savez_compressed(path, **arrays)


_KINDS = {"times": TimeProfile, "attentions": Attention, "residuals": Residual}
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
        )
        for i, loss in enumerate(arrays["loss"])
    ]


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
    missing = False if np.asarray(values).dtype == bool else np.nan
    spread = np.full(len(layers), missing, np.asarray(values).dtype)
    spread[[layers.index(name) for name in names]] = values
    return spread
