"""The steps that are worth a look: where numbers end, where loss or gradient leap, where clipping begins."""

import dataclasses

import numpy as np

LEAP = 10.0  # times what is usual around a step: a spike
MOST = 12  # spikes that are marked, the highest
BLOCK = (8, 64)  # steps that say what is usual: at least, at most


@dataclasses.dataclass(frozen=True)
class Mark:
    """A step, and why.

    Attributes:
        step: from 0.
        kind: "loss not finite", "gradient not finite", "loss spike", "gradient spike" or "clipping".
        value: of the loss or the norm; of clipping the share of the norm that it left.
    """

    step: int
    kind: str
    value: float


def marks(losses: np.ndarray, norms: np.ndarray, clip_norms: np.ndarray | None) -> list[Mark]:
    """Return the marked steps, in their order.

    Args:
        losses, norms: (steps,) of each step; the norm is over all layers.
        clip_norms: (steps, 2) before and after clipping; `None` without.
    """
    found = []
    for name, values in (("loss", losses), ("gradient", norms)):
        lost = np.flatnonzero(~np.isfinite(values))
        if len(lost) and not (name == "loss" and len(lost) == len(values)):  # of a train step that hides its loss
            found.append(Mark(int(lost[0]), f"{name} not finite", float(values[lost[0]])))
        found += [Mark(int(i), f"{name} spike", float(values[i])) for i in spikes(values)]
    if clip_norms is not None:
        with np.errstate(invalid="ignore"):
            clipped = np.flatnonzero(clip_norms[:, 1] < clip_norms[:, 0] * (1 - 1e-6))
        if len(clipped):
            before, after = clip_norms[clipped[0]]
            found.append(Mark(int(clipped[0]), "clipping", float(after / before)))
    return sorted(found, key=lambda mark: mark.step)


def spikes(values: np.ndarray) -> np.ndarray:
    """Return the steps, rising, whose value is more than `LEAP` times what is usual there: one of a block, the highest.

    What is usual is the larger median of the block and of the one before it.
    """
    block = int(np.clip(len(values) // 16, *BLOCK))
    whole = len(values) // block * block
    if whole < 2 * block:
        return np.zeros(0, int)
    sizes = np.abs(values[:whole].astype(np.float64)).reshape(-1, block)
    finite = np.isfinite(sizes)
    usual = np.sort(np.where(finite, sizes, np.inf), axis=1)[:, block // 2]
    usual = np.maximum(usual, np.append(usual[:1], usual[:-1]))
    highest = np.where(finite, sizes, 0.0).max(axis=1)
    times = np.divide(highest, usual, where=np.isfinite(usual) & (usual > 0), out=np.zeros(len(usual)))
    found = np.flatnonzero(times > LEAP)
    found = found[np.argsort(-times[found])[:MOST]]
    return np.sort(found * block + np.where(finite, sizes, 0.0)[found].argmax(axis=1))
