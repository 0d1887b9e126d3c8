"""What the store shows of a run's history: the points that a training logs, and that a run folder can give again."""

from collections.abc import Iterator

import numpy as np

from zoo.archive.run import RunFolder
from zoo.telemetry.history import GradientHistory

Point = tuple[str, float, int]  # name, value, step


def of_epoch(history: GradientHistory, epoch: int) -> dict[str, float]:
    """Return the means of one epoch's gradient norms, and what share of the updates up to its end was clipped."""
    rows = history.rows(history.epoch(epoch))
    means = rows.norms.mean(axis=0, dtype=np.float64)
    found = {"gradient_norm": float(rows.global_norm.mean(dtype=np.float64))}
    found |= {f"gradient_norm/{name}": float(v) for name, v in zip(numbered(history.layers), means, strict=True)}
    if history.clip_norms is not None:
        found["clipped_fraction"] = history.rows(slice(0, history.epoch(epoch).stop)).clipped_fraction
    return found


def profiles(
    history: GradientHistory | None, delta: np.ndarray | None, delta_at_start: np.ndarray | None
) -> list[Point]:
    """Return (layers,) profiles as points with step = depth: MLflow lays those of several runs over each other.

    Args:
        history: of which the last epoch's medians are shown.
        delta, delta_at_start: (layers,) delta norms of the last and the first probe.
    """
    norms = None if history is None else history.last_profile
    shown = {"gradient_norm": norms, "delta": delta, "delta_at_start": delta_at_start}
    return [
        (f"profile/{name}", float(value), depth)
        for name, profile in shown.items()
        if profile is not None
        for depth, value in enumerate(profile, start=1)
    ]


def points_of(run: RunFolder) -> list[Point]:
    """Return the points that a run folder tells: each epoch's metrics and norms, and the profiles."""
    deltas = (None, None) if run.probes is None else (run.probes["delta_norm"][-1], run.probes["delta_norm"][0])
    history = run.history if run.history is not None and len(run.history.epoch_ends) else None
    return [*_epochs(run), *profiles(history, *deltas)]


def _epochs(run: RunFolder) -> Iterator[Point]:
    done = len(run.epochs.get("epoch", ()))
    for name, values in run.epochs.items():
        if name != "epoch":
            yield from ((name, float(value), step) for step, value in enumerate(values, start=1))
    if run.history is not None:
        for epoch in range(min(done, len(run.history.epoch_ends))):
            yield from ((name, v, epoch + 1) for name, v in of_epoch(run.history, epoch).items())


def numbered(layers: list[str]) -> list[str]:
    """['dense', 'logits'] -> ['1_dense', '2_logits'], with as many digits as the largest number has."""
    digits = len(str(len(layers)))
    return [f"{i:0{digits}d}_{name}" for i, name in enumerate(layers, start=1)]
