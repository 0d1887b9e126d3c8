"""What a run left in its folder, and what theory predicts of it without the network."""

import csv
import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zoo.archive.summary import Summary
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.page.told import shown_of

DATA = "data.json"  # which data a run was trained on, and what is done to others to test its model on them


@dataclasses.dataclass
class RunFolder:
    """What the pictures are drawn from; anything but the summary may be missing.

    Attributes:
        config: of `config.yaml`.
        summary: of `summary.json`; of a folder without it that of a run that was cut off.
        history: of `gradients.npz`.
        probes: the arrays of `probes.npz`, each measure (probes, layers).
        epochs: the columns of `history.csv`, each (epochs,).
    """

    config: dict
    summary: Summary
    history: GradientHistory | None = None
    probes: dict[str, np.ndarray] | None = None
    epochs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def layers(self) -> list[str]:
        """Names of the layers that are drawn, in forward order."""
        return [self._all_layers[i] for i in self.shown]

    @property
    def _all_layers(self) -> list[str]:
        if self.history is not None:
            return self.history.layers
        return [] if self.probes is None else self.probes["layers"].tolist()

    @property
    def rates(self) -> np.ndarray | None:
        """(epochs,) the learning rate at each epoch's end; `None` if it was not recorded and was not constant."""
        if "learning_rate" in self.epochs:
            return self.epochs["learning_rate"]
        schedule = self.config.get("schedule", {"_target_": "unknown"})
        if "_target_" in schedule or schedule.get("warmup"):
            return None
        rate = self.config["optimizer"]["learning_rate"] * self.config.get("rate_factor", 1.0)
        return np.full(len(self.epochs.get("epoch", ())), rate)

    @functools.cached_property
    def shown(self) -> np.ndarray:
        """Indices of the layers that are drawn."""
        if self.probes is not None:
            return kernel_layers(self.probes["has_kernel"])
        return np.arange(0) if self.history is None else kernel_layers(self.history)


def kernel_layers(source: GradientHistory | np.ndarray) -> np.ndarray:
    """Indices of the layers that hold weights between units; of all layers in a model without such.

    Args:
        source: a probe's `has_kernel` or, where there is no probe, the history: its variables' names tell.
    """
    return shown_of(source.has_kernel if isinstance(source, GradientHistory) else source)


def read_run(folder: str | Path) -> RunFolder:
    """Read a run folder, of which any file may be missing."""
    folder = Path(folder)

    def found(name: str, read: Callable, otherwise):
        return read(folder / name) if (folder / name).is_file() else otherwise

    return RunFolder(
        config=found("config.yaml", lambda path: yaml.safe_load(path.read_text()), {}),
        summary=Summary.read(folder),
        history=found("gradients.npz", GradientHistory.load, None),
        probes=found("probes.npz", _read_arrays, None),
        epochs=found("history.csv", read_columns, {}),
    )


def data_of(folder: Path) -> dict[str, Any]:
    """Return what a run left about its data, as `data.json` has it; nothing where that is not there, or not whole."""
    try:
        content = json.loads((folder / DATA).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a `history.csv`, (epochs,) each; none where no epoch has ended."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([_number(row[name]) for row in rows]) for name in (rows[0] if rows else ())}


def _number(text: str | None) -> float:
    """Keras writes NA where an epoch lacks a value."""
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan


def theory_of(config: dict, activation_rms: np.ndarray):
    """Predict a plain MLP's profiles at step 0 by mean-field theory.

    The run folder does not say how large the inputs were, so theory starts from the first layer's measured activation;
    all that follows is predicted.

    Args:
        config: of the run.
        activation_rms: (layers,), measured at step 0.

    Returns:
        A `zoo.telemetry.theory.Profile` of the hidden layers, or `None` where the theory does not hold: another family,
        shortcuts, normalization, dropout, loaded weights, an initializer or activation that it does not know.
    """
    from scipy.optimize import brentq

    from zoo.telemetry.theory import predict_mlp, sigma_w2_of

    model = config.get("model", {})
    depth, width = model.get("depth") or 0, model.get("width")
    plain = model.get("_target_") in ("zoo.models.mlp", "zoo.models.mlp.mlp") and not model.get("residual")
    changed = model.get("weights") or config["normalization"] or config["dropout"]["rate"] if plain else True
    after = config.get("initializer", {}).get("after_build")
    if not plain or changed or after or depth < 2 or len(activation_rms) != depth + 1:
        return None
    if not 0 < activation_rms[0] < math.inf:
        return None
    try:
        activation, parameters = _settings(config["activation"])
        kernel, options = _settings(config["initializer"]["kernel"])
        sigma_w2 = sigma_w2_of(kernel, width, width, **options)
        bias, options = _settings(config["initializer"]["bias"] or {"_target_": "zeros"})
        sigma_b2 = sigma_w2_of(bias, 1, 1, **options)

        def predicted(log_rms: float, layers: int):
            return predict_mlp(
                activation, [width] * (layers + 1), sigma_w2, sigma_b2, input_rms=math.exp(log_rms), **parameters
            )

        def excess(log_rms: float) -> float:
            return float(predicted(log_rms, 1).activation_rms[0]) - float(activation_rms[0])

        low, high = -80.0, 80.0
        if excess(low) < 0 < excess(high):
            level: Any = brentq(excess, low, high, xtol=1e-6)
            return predicted(level, depth)
        # A narrow layer may lie a little outside of what a wide one can: below sigmoid's 1/2, say.
        return predicted(low if excess(low) >= 0 else high, depth)
    except (ValueError, TypeError):
        return None


def theory_of_run(run: RunFolder) -> dict[str, np.ndarray]:
    """Return what theory foretells of a run at step 0, in the units of what was measured then.

    Theory knows gradients only relative to the last hidden layer, so each line is laid through what was measured there.

    Returns:
        "gradient" (of weights), "delta" and "activation" to (hidden layers,), as far as they are known: none of a run
        without probes, or where the theory does not hold.
    """
    if run.probes is None:
        return {}
    first = {name: run.probes[name][0, run.shown] for name in ("gradient_norm", "delta_norm", "activation_rms")}
    theory = theory_of(run.config, first["activation_rms"])
    if theory is None:
        return {}
    weights = first["gradient_norm"]
    if run.history is not None and len(run.history):
        weights = run.history.rows(slice(0, 1)).norms[0, run.shown]
    # A sample's gradient is delta h^T in the kernel and delta in the bias. The size of the inputs is not known.
    expected = theory.delta_rms.copy()
    expected[1:] *= np.sqrt(1.0 + run.config["model"]["width"] * theory.activation_rms[:-1] ** 2)
    expected[0] = np.nan
    lines = {
        "gradient": _through_last(expected, weights),
        "delta": _through_last(theory.delta_rms, first["delta_norm"]),
    }
    lines["activation"] = theory.activation_rms
    return {name: line for name, line in lines.items() if line is not None}


def _through_last(expected: np.ndarray, measured: np.ndarray) -> np.ndarray | None:
    scale = measured[len(expected) - 1] / expected[-1]
    return scale * expected if np.isfinite(scale) and scale > 0 else None


def _settings(node: dict) -> tuple[str, dict]:
    """Return the name of what a config node makes, as theory knows it, and its own parameters."""
    parameters = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    name = str(node.get("_target_", "linear")).rpartition(".")[2]
    if name == "Activation":
        return parameters.pop("activation", name), parameters
    if name == "PReLU":
        return "prelu", {"alpha": parameters["alpha_initializer"]["value"]}
    return {"LeakyReLU": "leaky_relu", "ELU": "elu", "ReLU": "relu"}.get(name, name), parameters
