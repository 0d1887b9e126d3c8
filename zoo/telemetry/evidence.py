"""What the verdict reads: the loss over time, and one probe along the depth."""

import dataclasses

import numpy as np

from zoo.telemetry.probe import Probe

# Chosen on the tuning half of benchmarks/verdicts.py; the held-out half checks them.
LEARNED = 0.9  # a loss below this share of its reference has learned something
CERTAIN, SLOW, FAST, NEAR = 2.0, 0.025, 0.5, 1.2  # of a falling loss: deviations of its slope; drops; how far above
BARELY = 0.96  # the same, where the loss swings little enough to be sure
HUGE = 10.0  # first loss over the reference, of a training that stopped being a number
CREPT = 0.01  # fall of the probe batch's loss in an epoch, over the reference
HEALED = 5.0  # how much more arrives, or varies, after an epoch than before it
SMALLEST_WINDOW = 5
RISEN = 3.0  # largest loss over the first: a swing


@dataclasses.dataclass(frozen=True)
class Loss:
    """What the loss did.

    Attributes:
        values: (steps,) each step's, or each epoch's, loss.
        start: before the first update.
        late: median over the last quarter.
        reference: what a network that learned nothing has: the baseline, or the start where it is lower or unknown.
    """

    values: np.ndarray
    start: float
    late: float
    reference: float

    @classmethod
    def of(cls, history, probes, losses, baseline) -> "Loss":
        values = np.asarray(losses, np.float64)
        if history is not None and len(history) and not np.isnan(history.losses).all():
            values = history.losses.astype(np.float64)
        start = probes[0].loss if probes else float(values[0]) if len(values) else np.nan
        window = max(SMALLEST_WINDOW, len(values) // 4)
        finite = values[np.isfinite(values)]
        late = float(np.median(finite[-window:])) if len(finite) else start
        reference = min(start, baseline) if baseline is not None and np.isfinite(start) else start
        return cls(values, start, late, baseline if baseline is not None and not np.isfinite(start) else reference)

    @property
    def steps(self) -> int:
        return len(self.values)

    @property
    def learned(self) -> bool:
        """Whether the loss came clearly below that of a network that knows nothing."""
        return self.steps >= SMALLEST_WINDOW and self.late < LEARNED * self.reference

    @property
    def barely_learned(self) -> bool:
        """Whether the loss came below it by little, but surely."""
        last = self.values[-max(SMALLEST_WINDOW, self.steps // 4) :]
        below, error = self.reference - last.mean(), last.std() / np.sqrt(len(last))
        return self.swings < RISEN and bool(below > max((1 - BARELY) * self.reference, 2 * CERTAIN * error))

    @property
    def drop(self) -> float:
        """How far the loss fell over its last two thirds, by a straight line through them; 0 if that may be chance."""
        values = self.values[self.steps // 3 :]
        if len(values) < 2 * SMALLEST_WINDOW or not np.isfinite(values).all():
            return 0.0
        time = np.arange(len(values)) - (len(values) - 1) / 2
        slope = time @ values / (time @ time)
        error = np.sqrt(np.var(values - values.mean() - slope * time) / (time @ time))
        return float(-slope * len(values)) if -slope > CERTAIN * error else 0.0

    @property
    def falling(self) -> bool:
        """Whether the loss falls by an amount that counts, and is not still far above knowing nothing."""
        return self.drop > SLOW * self.reference and self.late < NEAR * self.reference

    @property
    def plunging(self) -> bool:
        """Whether a loss that began far above comes down fast and without swings."""
        values = self.values[self.steps // 3 :]
        below = self.late < min(self.start, HUGE * self.reference)
        return below and self.swings < RISEN and self.drop > FAST * float(np.mean(values))

    @property
    def risen_at(self) -> int | None:
        """First step whose loss is some times what it began with; `None` if there is none."""
        risen = self.values > RISEN * self.start
        return int(np.argmax(risen)) if risen.any() else None

    @property
    def jumped(self) -> bool:
        """Whether a loss that was sound for some steps rose once, and has not risen further since."""
        if self.risen_at is None or self.risen_at < SMALLEST_WINDOW:
            return False
        return int(np.nanargmax(self.values)) < 0.75 * self.steps

    @property
    def swings(self) -> float:
        """Largest rise of the loss above its start or reference after the first steps, as a ratio."""
        finite = self.values[np.isfinite(self.values)]
        return (
            float(np.max(finite[1:], initial=0.0) / max(min(self.start, finite[0]), 1e-30)) if len(finite) else np.inf
        )


class Depth:
    """One probe along the depth: only layers count that have weights between units and whose delta could be had."""

    def __init__(self, probe: Probe):
        kernel = np.asarray(probe.has_kernel, bool) & probe.measured
        self.probe = probe
        self.layers = [name for name, k in zip(probe.layers, kernel, strict=True) if k]
        self.activations = [a for a, k in zip(probe.activations, kernel, strict=True) if k]
        for name in ("activation_rms", "variation", "output_rms", "delta_norm", "dead", "saturated"):
            setattr(self, name, np.asarray(getattr(probe, name), np.float64)[kernel])
        self.hidden = slice(0, max(1, len(self.layers) - 1))

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.delta_norm).all() and np.isfinite(self.activation_rms).all())

    @property
    def arriving(self) -> np.ndarray:
        """(layers,) delta of each layer over the output layer's: what of the signal arrives."""
        return self.delta_norm / max(self.delta_norm[-1], 1e-300)

    @property
    def growth(self) -> float:
        """Largest growth along the depth: of delta toward the input, or of the activations toward the output."""
        first = max(self.activation_rms[0], 1e-300)
        return float(max(np.max(self.arriving), np.max(self.output_rms) / first))

    @property
    def slope(self) -> float:
        """Decades by which delta changes from one layer to the next, toward the output; 0 for a single layer."""
        usable = self.delta_norm > 0
        if usable.sum() < 2:
            return 0.0
        depth = np.flatnonzero(usable)
        return float(np.polyfit(depth, np.log10(self.delta_norm[usable]), 1)[0])

    def grows_at(self) -> str:
        """Return the layer with the largest one-layer growth, of delta or of the output."""
        with np.errstate(divide="ignore", invalid="ignore"):
            back = self.delta_norm[:-1] / self.delta_norm[1:]
            forth = self.output_rms[1:] / self.output_rms[:-1]
        steps = np.nan_to_num(np.maximum(back, forth), nan=0.0, posinf=np.inf)
        return self.layers[int(np.argmax(steps)) + 1] if len(steps) else self.layers[0]

    def first(self, where: np.ndarray) -> str | None:
        return self.layers[int(np.argmax(where))] if where.any() else None

    def last(self, where: np.ndarray) -> str | None:
        return self.layers[len(where) - 1 - int(np.argmax(where[::-1]))] if where.any() else None
