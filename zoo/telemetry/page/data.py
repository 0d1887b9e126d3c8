"""What a page's script draws, as JSON: levels of logarithms, packed; and plain numbers of a few digits."""

import base64
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.telemetry.page.marks import marks
from zoo.telemetry.page.thinning import Thinned, packed, share_of, thinned, thinned_layers
from zoo.telemetry.page.told import Along, Probed, Steps, Told

MOST_PROBES = 100  # of more, evenly spaced ones are kept, the first and the last among them
MOST_EPOCHS = 1000


def embedded(told: Told, texts: dict[str, dict[str, str]], language: str) -> str:
    """Return the JSON of a page, in which no text can end the element that holds it.

    Args:
        told: what is on the page.
        texts: of each language but English what the script's templates are in it.
        language: that the page opens in.
    """
    content: dict[str, Any] = {
        "name": told.name,
        "verdict": told.verdict.name if told.verdict is not None else None,
        "confidence": told.verdict.confidence if told.verdict is not None else 0,
        "layer": told.verdict.layer if told.verdict is not None else None,
        "language": language,
        "texts": texts,
        "theory": {name: rounded(values) for name, values in told.theory.items()},
        "epochs": _epochs(told),
        "siblings": told.siblings,
    }
    if told.steps is not None:
        content["steps"] = _steps(told.steps, told)
    if told.probed is not None:
        content["probes"] = _probes(told.probed)
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _steps(steps: Steps, told: Told) -> dict[str, Any]:
    share = share_of(len(steps), len(steps.shown))
    options = {"owners": steps.owners, "layers": len(steps.layers), "share": share, "shown": steps.shown}
    gradient, norm = thinned_layers(steps.variable_norms, **options)
    content: dict[str, Any] = {
        "count": len(steps),
        "share": share,
        "layers": [steps.layers[i] for i in steps.shown],
        "ends": steps.epoch_ends.tolist()[-MOST_EPOCHS:],
        "gradient": _parts(gradient, share, packed),
        "norm": _parts(thinned(norm[None], share), share, packed),
        "loss": _parts(thinned(steps.losses[None], share), share, _row),
        "marks": [
            {
                "step": mark.step,
                "kind": mark.kind,
                "value": _number(mark.value),
                "samples": [int(i) for i in told.samples(mark.step)],
            }
            for mark in marks(steps.losses, norm, steps.clip_norms)
        ],
    }
    if steps.clip_norms is not None:
        content["clipped"] = _parts(thinned(steps.clip_norms[None, :, 1], share), share, packed)
    if steps.update_norms is not None and steps.weight_norms is not None:
        ratio, _ = thinned_layers(steps.update_norms, over=steps.weight_norms, **options)
        content["update"] = _parts(ratio, share, packed)
    return content


def _probes(probed: Probed) -> dict[str, Any]:
    count = len(probed.steps)
    kept = np.unique(np.linspace(0, count - 1, min(count, MOST_PROBES)).round().astype(int))
    shares = {"dead": probed.dead, "saturated": probed.saturated}
    norms = {"gradient": probed.gradient, "delta": probed.delta, "activation": probed.activation}
    return {
        "layers": list(probed.layers),
        "steps": probed.steps[kept].tolist(),
        "number": kept.tolist(),
        **{name: packed(values[kept]) for name, values in norms.items()},
        **{name: _shares(values[kept], probed.activation[kept]) for name, values in shares.items()},
        "along": [_along(cell, kept) for cell in probed.along],
    }


def _along(cell: Along, kept: np.ndarray) -> dict[str, Any]:
    return {
        "layer": cell.layer,
        "count": cell.delta.shape[1],
        "delta": packed(cell.delta[kept]),
        "activation": packed(cell.activation[kept]),
    }


def _shares(values: np.ndarray, activation: np.ndarray) -> dict[str, Any]:
    """Percent as bytes; 255 where it is not known, as where the activation is not finite: NaN is not dead."""
    known = np.isfinite(values) & np.isfinite(activation)
    percent = np.where(known, np.rint(100 * np.where(known, values, 0)), 255).astype(np.uint8)
    most = float(values[known].max()) if known.any() else 0.0
    return {"most": round(most, 4), "percent": base64.b64encode(percent.tobytes()).decode()}


def _parts(values: Thinned, share: int, write: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Least, middle and largest; the middle alone where a column is one step. Columns that are not finite as bits."""
    content: dict[str, Any] = {"middle": write(values.middle)}
    if share > 1:
        content |= {"least": write(values.least), "largest": write(values.largest)}
    if values.nonfinite.any():
        content["nonfinite"] = base64.b64encode(np.packbits(values.nonfinite).tobytes()).decode()
    return content


def _row(values: np.ndarray) -> list[float | None]:
    """Numbers that may be negative: of one row, they need not be packed."""
    return rounded(values[0])


def _epochs(told: Told) -> dict[str, Any]:
    count = max((len(values) for values in told.epochs.values()), default=0)
    every = max(1, math.ceil(count / MOST_EPOCHS))
    kept = {name: rounded(values[every - 1 :: every]) for name, values in told.epochs.items() if name != "epoch"}
    return {**kept, "every": every} if kept else {}


def rounded(values: np.ndarray | Sequence[float]) -> list[float | None]:
    """Return numbers of six digits; `None` for what is no finite number."""
    return [_number(float(value)) for value in values]


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
