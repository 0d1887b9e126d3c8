"""The flight recorder: where loss or gradients of a training first stopped being numbers, and what led up to it."""

import dataclasses

import numpy as np

from zoo.telemetry.history import GradientHistory

BEFORE = 200  # steps that are kept from before the failing one
LEAP, LEVEL = 4, 100  # a step is part of the rise if it is so many times the step before it, or the median
SURPASSED = 20  # overflows in a row after which a loss scale of 2^15, halved by each, is no longer to blame
APART = 1e4  # a sample stands out if its largest value is so many times that of the median sample
REFERENCE = 1000  # samples that the median is taken of


@dataclasses.dataclass(frozen=True)
class Flight:
    """Where a training failed.

    Attributes:
        step: the optimizer step that failed, from 0.
        epoch, batch: the same as the epoch, and the step in it, both from 0.
        first: what failed first: "loss" if the forward pass did, else the path of the variable.
        variables: paths of all whose gradient was not finite in that step, those next to the output first, as
            back-propagation gets to them.
        loss, global_norm: of that step.
        loss_before, global_norm_before: of the step before it; `None` if there was none.
        rises_from: the step from which loss or norm were out of the ordinary; `step` itself where nothing foretold it.
        grown: the variable whose gradient grew most in that rise; `None` without one.
        finite_after: of the steps after it, how many were all finite again: loss scaling skipped the update, or an
            activation such as ReLU hides weights that are no numbers.
    """

    step: int
    epoch: int
    batch: int
    first: str
    variables: list[str]
    loss: float
    global_norm: float
    loss_before: float | None
    global_norm_before: float | None
    rises_from: int
    grown: str | None
    finite_after: int


def flight(history: GradientHistory, *, loss_scaling: bool = False) -> Flight | None:
    """Find the step that a training failed in: the first without a finite loss, or with a gradient that is not finite.

    Args:
        history: of the training, as far as it got.
        loss_scaling: whether a step whose gradients overflow is skipped (`keras.optimizers.LossScaleOptimizer`). Such a
            step counts only if its loss was not finite either, or if at the end there is no other kind for long; and
            what lasts to the end counts before what did not.

    Returns:
        `None` if all was finite, but for what loss scaling skipped or clipping made finite.
    """
    losses, norms = np.abs(history.losses, dtype=float), history.global_norm.astype(float)
    no_gradient = ~np.isfinite(history.variable_norms).all(axis=1)
    # Finite gradients without a loss: the train step does not pass its loss by the optimizer.
    unknown = np.isnan(losses).all() and not no_gradient.all()
    no_loss = ~np.isfinite(losses) & (not unknown)
    if history.clip_norms is not None:
        no_gradient &= ~np.isfinite(history.clip_norms[:, 1])
    bad = no_loss | no_gradient
    end = len(bad) - int(np.argmin(bad[::-1])) if not bad.all() else 0  # from here on none is sound
    rows = np.flatnonzero(bad)
    if loss_scaling and (no_loss[end:].any() or len(bad) - end <= SURPASSED):
        rows = np.flatnonzero(no_loss)
    if not len(rows):
        return None
    row = int(rows[rows >= end][0] if loss_scaling and rows[-1] >= end else rows[0])

    rise = _rise(row, losses, norms)
    failed = np.flatnonzero(~np.isfinite(history.variable_norms[row]))
    failed = failed[np.argsort(-history.owners[failed], kind="stable")]
    variables = [history.variables[i] for i in failed]
    epoch = int(np.searchsorted(history.epoch_ends, row, side="right"))
    return Flight(
        step=int(history.steps[row]),
        epoch=epoch,
        batch=row - (int(history.epoch_ends[epoch - 1]) if epoch else 0),
        first="loss" if no_loss[row] or not variables else variables[0],
        variables=variables,
        loss=float(history.losses[row]),
        global_norm=float(norms[row]),
        loss_before=float(history.losses[row - 1]) if row else None,
        global_norm_before=float(norms[row - 1]) if row else None,
        rises_from=int(history.steps[rise]),
        grown=_grown(history, rise, row),
        finite_after=int(np.count_nonzero(~bad[row + 1 :])),
    )


def _rise(row: int, losses: np.ndarray, norms: np.ndarray) -> int:
    """Return the row from which loss or norm were out of the ordinary without a break up to `row`."""
    start = max(0, row - BEFORE)
    rise = row
    while rise > start and any(_raised(values, rise - 1, start, row) for values in (losses, norms)):
        rise -= 1
    return rise


def _raised(values: np.ndarray, i: int, start: int, row: int) -> bool:
    leapt = i > start and values[i] > LEAP * values[i - 1]
    return bool(leapt or values[i] > LEVEL * np.median(values[start:row]))


def _grown(history: GradientHistory, rise: int, row: int) -> str | None:
    if not 0 < rise < row:
        return None
    before, last = history.variable_norms[rise - 1].astype(float), history.variable_norms[row - 1].astype(float)
    return history.variables[int(np.argmax(last / np.maximum(before, np.finfo(np.float32).tiny)))]


def last_steps(history: GradientHistory, step: int) -> GradientHistory:
    """Return what was recorded of `step` and of the 200 steps before it."""
    row = int(np.searchsorted(history.steps, step))
    return history.rows(slice(max(0, row - BEFORE), row + 1))


def stand_out(values: np.ndarray, indices: np.ndarray) -> dict[int, float]:
    """Return which of some samples hold a value far beyond those of the others, or none that is a number.

    Args:
        values: (n, ...) of all samples, in random order.
        indices: (k,) those in question.

    Returns:
        {index: its largest absolute value}, the largest first.
    """
    usual = _largest(values[:REFERENCE])
    usual = usual[np.isfinite(usual) & (usual > 0)]
    largest = _largest(values[indices])
    odd = ~(largest <= APART * np.median(usual)) if len(usual) else ~np.isfinite(largest)
    found = {int(i): float(value) for i, value in zip(indices[odd], largest[odd], strict=True)}
    return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1], nan=np.inf)))


def _largest(values: np.ndarray) -> np.ndarray:
    return np.abs(values.reshape(len(values), -1)).max(axis=1)
