"""Whether a training left what it had learned, and the last epoch that was sound."""

from collections.abc import Sequence

import numpy as np

BROKEN = 3.0  # times the lowest loss before: a loss that large has left what was learned
BETTER = 0.9  # of the first epoch's loss: with less was something learned that can be kept


def sound_epoch(losses: Sequence[float] | np.ndarray) -> int | None:
    """Return the epoch, counted from 1, that a training broke after: of its lowest loss; `None` if it did not break.

    It broke if the loss is no number now, or far above its lowest, and something was learned before.

    Args:
        losses: (epochs,) in training.
    """
    found = np.asarray(losses, float)
    if not np.isfinite(found).any():
        return None
    lowest = int(np.nanargmin(np.where(np.isfinite(found), found, np.nan)))
    learned = lowest > 0 and found[lowest] < BETTER * found[0]
    over = not np.isfinite(found[-1]) or found[-1] > BROKEN * max(found[lowest], 1e-12)
    return lowest + 1 if learned and over and lowest + 1 < len(found) else None
