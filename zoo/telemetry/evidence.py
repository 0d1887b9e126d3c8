"""What the verdict reads: the loss over time, and one probe along the depth and along time."""

import dataclasses
import functools

import numpy as np

from zoo.telemetry.probe import Probe
from zoo.telemetry.setting import Setting

# Chosen on the tuning half of benchmarks/verdicts.py and on nothing else; the final half checks them.
LEARNED = 0.9  # a loss below this share of the best constant's has learned something
BARELY = 0.96  # the same, where the loss swings little enough to be sure
ENOUGH = 40  # steps before a loss that has not moved tells anything
RISEN = 3.0  # times its start, or the best constant's loss: a loss that rose
CERTAIN = 2.0  # deviations: one time in twenty it is chance
FAST = 0.5  # fall in an epoch, over what it began with: a plunge
SLOW, CREPT = 0.025, 0.01  # fall that counts, over the best constant's loss: of the line, of the probe in an epoch
SMALLEST_WINDOW = 5
IN_A_ROW = 5  # steps
OTHER_UNITS = 2.0  # first loss over the probe's, or the inverse: weights on samples or classes change the scale
STILL = 0.02  # change of the layers' activations, as a logarithm: nothing happened
WON = 0.1  # of a network's first loss, beside which another's rose
SKILLED = 0.02  # R2 above which numbers are told apart
# By their meaning, and no run of the tuning half speaks against them.
LUCKY = 0.5  # a loss below this share has learned whatever the answers: no luck goes so far
RARE = 0.8  # share of the commonest label; beyond it a loss may tell much before any answer is another than that label
CRUDEST = 0.01  # least variance of one answer, that of 99 % alike: a batch without the rare label does not say 0
EVEN = 1.2  # times its start: what has not risen on the probe's batch (weights on classes, test_sound_models.py)
FELL = 0.1  # fall since the start, over the start
LATE = 0.75  # of the steps: what rose before and has not risen further since has jumped once
LOST = 0.3  # of a network's first loss, by which it rose beside the winner's
TINY = 1e-300  # stands for a 0 that something is divided by
FAINTEST = 1e-15  # rms: behind less, squares under small weights may leave the range of float32 and come to 0


@dataclasses.dataclass(frozen=True)
class Loss:
    """What the loss did, and what it is worth.

    Attributes:
        values: (steps,) each step's, or each epoch's, loss.
        steps: how many optimizer steps were made; where only epochs are known, how many of those.
        by_step: whether values are of steps.
        start: before the first update, on the probe's batch; without one, the median over the first quarter.
        late: median over the last quarter; without values, the last probe's.
        best_constant: loss of the best constant answer, in the units of values; NaN where it is not known.
        probes: one before the first step, then one after each epoch, as far as there are any.
        given: whether `best_constant` is of the whole training set.
    """

    values: np.ndarray
    steps: int
    by_step: bool
    start: float
    late: float
    best_constant: float
    probes: list[Probe]
    given: bool

    @classmethod
    def of(cls, history, probes, losses, baseline) -> "Loss":
        """Collect what there is; arguments as of `diagnose`."""
        probes = list(probes)
        values, by_step = np.asarray(losses, np.float64), False
        if history is not None and len(history) and not np.isnan(history.losses).all():
            values, by_step = history.losses.astype(np.float64), True
        elif not len(values) and len(probes) > 1:
            values = np.array([p.loss for p in probes[1:]], np.float64)
        steps = len(history) if history is not None and len(history) else len(values)
        window = max(SMALLEST_WINDOW, len(values) // 4)
        finite = values[np.isfinite(values)]
        # Without a probe only many batches say where the loss began.
        begun = finite[: SMALLEST_WINDOW if probes else window]
        first = float(np.median(begun)) if len(begun) else np.nan
        start = probes[0].loss if probes and np.isfinite(probes[0].loss) else first
        late = float(np.median(finite[-window:])) if len(finite) else probes[-1].loss if probes else np.nan
        known = probes[-1].baseline if probes else np.nan
        penalties = probes[-1].answers.penalties if probes else 0.0
        constant = float(baseline) + penalties if baseline is not None else known
        if by_step and baseline is None and probes and len(finite) and start > 0 and values[0] > 0:
            # The first step's loss and the probe's are of the same weights; a batch may be odd, but not all the first.
            units = [values[0] / start, first / start]
            if max(units) < 1 / OTHER_UNITS or min(units) > OTHER_UNITS:
                if len(probes) > 1:
                    late = probes[-1].loss
                else:
                    start, constant = start * units[0], constant * units[0]
        return cls(values, steps, by_step, start, late, constant, probes, baseline is not None)

    @property
    def share(self) -> float:
        """The late loss over the best constant's; NaN where that is not known, or no loss is to be reached.

        What a probe knows of the best constant is of its own batch, and so compared with its own loss.
        """
        return self.judged / self.best_constant if self.best_constant > 0 else np.nan

    @property
    def judged(self) -> float:
        """The loss that is compared with the best constant's: the late one, or the last probe's."""
        return self.late if self.given or len(self.probes) < 2 else self.probes[-1].loss

    @property
    def skill(self) -> float:
        """How far the answers to the probe's batch are beyond the best constant's, in deviations of chance.

        Above `CERTAIN` something was learned, whatever the loss. NaN where it cannot be told.
        """
        answers = self.probes[-1].answers if self.probes else None
        if answers is None:
            return np.nan
        if np.isfinite(answers.accuracy):
            spread = np.sqrt(max(answers.majority * (1 - answers.majority), CRUDEST) / max(answers.labels, 1))
            return (answers.accuracy - answers.majority) / spread
        if np.isnan(answers.r2):
            return np.nan
        return float(np.clip(answers.r2 / SKILLED, -100, 100)) * CERTAIN

    @property
    def learned(self) -> bool:
        """Whether something beyond the best constant answer was learned, surely."""
        if self.steps < 1 or not np.isfinite(self.late):
            return False
        if np.isfinite(self.share):
            balanced = self.probes and self.probes[-1].majority < RARE
            by_luck = (balanced and self.skill <= 0) or self.progress < CREPT * abs(self.start)
            return self.share < LEARNED and not (by_luck and self.share > LUCKY) and not self.mistaken
        if np.isfinite(self.best_constant):  # zero or below, as of cosines and densities
            scale = max(abs(self.best_constant), abs(self.start - self.best_constant))
            below = self.best_constant - self.judged > (1 - LEARNED) * scale > 0
            return bool(below and self.progress > CREPT * scale and not self.mistaken)
        return self.skill > CERTAIN and self.late < self.start and self.rise <= RISEN

    @property
    def last_quarter(self) -> np.ndarray:
        """The last values, of which `late` is the median."""
        return self.values[-max(SMALLEST_WINDOW, len(self.values) // 4) :]

    @property
    def barely_below(self) -> bool:
        """Whether the loss is below the best constant's by little, but surely."""
        last = self.last_quarter
        if not self.by_step or len(last) < SMALLEST_WINDOW or not np.isfinite(last).all() or self.rise > RISEN:
            return False
        below, error = self.best_constant - last.mean(), last.std() / np.sqrt(len(last))
        return bool(below > max((1 - BARELY) * self.best_constant, 2 * CERTAIN * error))

    @property
    def mistaken(self) -> bool:
        """Whether surely fewer answers are right than the best constant one gets, whatever the loss says."""
        return bool(self.probes and np.isfinite(self.probes[-1].accuracy) and self.skill < -CERTAIN)

    @property
    def same_on_the_probe(self) -> bool:
        """Whether the probe's loss has not risen, whatever the steps' losses, which weights may scale."""
        return len(self.probes) > 1 and bool(self.probes[-1].loss < EVEN * self.probes[0].loss)

    @property
    def progress(self) -> float:
        """How far the loss has come down from where it began, on one batch if there are probes of it."""
        return self.start - (self.probes[-1].loss if len(self.probes) > 1 else self.late)

    @property
    def barely_learned(self) -> bool:
        """Whether little was learned, of a sound network: the loss is just below, or answers better than chance."""
        # Two classes may be told apart a little by luck, before anything is learned.
        if self.rise > RISEN or self.skill < -CERTAIN or self.progress < SLOW * abs(self.start):
            return False
        return self.barely_below or (self.skill > 2 * CERTAIN and self.late < self.start)

    @functools.cached_property
    def drop(self) -> float:
        """How far the loss fell over its last two thirds, by a straight line through them; 0 if that may be chance."""
        values = self.values[len(self.values) // 3 :]
        if len(values) < 2 * SMALLEST_WINDOW or not np.isfinite(values).all():
            return 0.0
        time = np.arange(len(values)) - (len(values) - 1) / 2
        slope = time @ values / (time @ time)
        error = np.sqrt(np.var(values - values.mean() - slope * time) / (time @ time))
        return float(-slope * len(values)) if -slope > CERTAIN * error else 0.0

    @property
    def scale(self) -> float:
        """What a fall is measured by: the best constant's loss, or its own."""
        return abs(self.best_constant if np.isfinite(self.best_constant) else self.late)

    @property
    def creeps(self) -> bool:
        """Whether the steps' losses come down by little, but surely."""
        return self.drop > CREPT * self.scale

    @property
    def falls(self) -> bool:
        """Whether the loss still comes down by an amount that counts, in its last two thirds or the last epoch."""
        before = self.probes[-2].loss - self.probes[-1].loss if len(self.probes) > 1 else 0.0
        return self.drop > SLOW * self.scale or before > CREPT * self.scale

    @property
    def plunges(self) -> bool:
        """Whether the loss comes down fast from far above: in the last epoch, or over its last two thirds."""
        values = self.values[len(self.values) // 3 :]
        if self.fell_in_an_epoch > 1 / FAST:
            return True
        return len(values) > 0 and self.drop > FAST * float(np.mean(values)) and self.late < FAST * float(values.max())

    @property
    def fell_in_an_epoch(self) -> float:
        """How many times the probe's loss was larger an epoch ago."""
        if len(self.probes) < 2 or not self.probes[-1].loss > 0:
            return 1.0
        return self.probes[-2].loss / self.probes[-1].loss

    @property
    def fell(self) -> bool:
        """Whether the loss has come down from where it began."""
        return self.start - self.late > FELL * abs(self.start)

    @property
    def moved(self) -> float:
        """By how much the probe's loss changed since the first step, over the best constant's or its own."""
        scale = self.best_constant if np.isfinite(self.best_constant) else self.start
        return abs(self.probes[0].loss - self.probes[-1].loss) / abs(scale) if self.probes and scale else np.nan

    @property
    def before(self) -> float:
        """What a rise is measured by: never one batch's loss."""
        known = [self.start, self.best_constant]
        if self.steps < ENOUGH and self.by_step:  # the probe's batch may be an easy one
            known.append(float(np.median(self.values[:SMALLEST_WINDOW])))
        return max([value for value in known if np.isfinite(value)], default=np.nan)

    @functools.cached_property
    def rise(self) -> float:
        """Largest loss over what it is measured by, as the median of some steps in a row: odd batches are no rise."""
        finite = self.values[np.isfinite(self.values)]
        if not len(finite) or not self.before > 0:
            return 0.0
        if self.by_step and len(finite) >= IN_A_ROW:
            finite = np.median(np.lib.stride_tricks.sliding_window_view(finite, IN_A_ROW), axis=1)
        return float(finite.max() / self.before)

    @property
    def risen_at(self) -> int | None:
        """First step whose loss is some times what it is measured by; `None` if there is none."""
        risen = self.values > RISEN * self.before
        return int(np.argmax(risen)) if risen.any() else None

    @property
    def jumped_at(self) -> int | None:
        """Where a loss that was sound for some steps rose once, and has not risen further since; `None` if nowhere."""
        step = self.risen_at
        if step is None or step < SMALLEST_WINDOW or np.nanargmax(self.values) >= LATE * len(self.values):
            return None
        return step


@dataclasses.dataclass(frozen=True)
class Contest:
    """Two networks of which one is trained through the other, as a generator is through its discriminator.

    Attributes:
        losses: (gradients, 2) each one's loss before the first step and now.
        deltas: (gradients, 2) the largest delta norm of the layers that it trains, then and now.
        last: (gradients,) the last of those layers.
    """

    losses: np.ndarray
    deltas: np.ndarray
    last: list[str]

    @classmethod
    def of(cls, probes: list[Probe]) -> "Contest | None":
        """Return `None` where the networks do not train through each other, or there is but one probe."""
        if len(probes) < 2 or not probes[-1].through or len(probes[0].losses) != len(probes[-1].losses):
            return None
        start, now = probes[0], probes[-1]
        groups = [np.asarray(now.trained_by) == i for i in range(len(now.losses))]
        if start.layers != now.layers or not all(group.any() for group in groups):
            return None
        return cls(
            np.stack([start.losses, now.losses], axis=1).astype(np.float64),
            np.array([[np.nanmax(p.delta_norm[group]) for p in (start, now)] for group in groups]),
            [[name for name, own in zip(now.layers, group, strict=True) if own][-1] for group in groups],
        )

    @property
    def winner(self) -> int | None:
        """The one whose loss all but disappeared while another's rose; `None` while they are even."""
        before, now = self.losses.T
        rose = now > before + LOST * np.abs(before)
        for i in np.flatnonzero(np.abs(now) < WON * np.abs(before)):
            if np.delete(rose, i).any():
                return int(i)
        return None

    @property
    def loser(self) -> int:
        """The one whose loss rose most."""
        before, now = self.losses.T
        return int(np.argmax((now - before) / np.maximum(np.abs(before), TINY)))


class Depth:
    """One probe along the depth: only layers count that have weights between units and whose delta could be had."""

    def __init__(self, probe: Probe):
        kernel = np.asarray(probe.has_kernel, bool) & probe.measured
        self.probe = probe
        self.layers = [name for name, k in zip(probe.layers, kernel, strict=True) if k]
        self.activations = [a for a, k in zip(probe.activations, kernel, strict=True) if k]

        def kept(values) -> np.ndarray:
            return np.asarray(values, np.float64)[kernel]

        self.activation_rms, self.variation = kept(probe.activation_rms), kept(probe.variation)
        self.output_rms, self.delta_norm = kept(probe.output_rms), kept(probe.delta_norm)
        self.gradient_norm = kept(probe.gradient_norm)
        self.dead, self.saturated = kept(probe.dead), kept(probe.saturated)
        self.hidden = slice(0, max(1, len(self.layers) - 1))

    @property
    def setting(self) -> Setting:
        """What ran; without anything known in it, where a file of an earlier version does not say."""
        return self.probe.setting or Setting()

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.delta_norm).all() and np.isfinite(self.activation_rms).all())

    @functools.cached_property
    def arriving(self) -> np.ndarray:
        """(layers,) delta of each layer over the output layer's: what of the signal arrives."""
        with np.errstate(over="ignore"):
            return self.delta_norm / max(self.delta_norm[-1], TINY)

    @functools.cached_property
    def reaching(self) -> np.ndarray:
        """(layers,) the most that arrives at a layer or at one that is called before it.

        Where it is small, the signal is cut off from the beginning of the network. A layer beside the way (the query
        of an attention, an expert, a gate) may get little while those before it get much.
        """
        return np.maximum.accumulate(self.arriving)

    @functools.cached_property
    def telling(self) -> np.ndarray:
        """(layers,) the largest variation of a layer or of one that is called after it: what still tells samples apart.

        NaN where none can be told.
        """
        known = np.where(np.isnan(self.variation), -np.inf, self.variation)
        most = np.maximum.accumulate(known[::-1])[::-1]
        return np.where(np.isneginf(most), np.nan, most)

    @functools.cached_property
    def counted(self) -> np.ndarray:
        """(layers,) bool: those whose size says something of the weights behind them.

        Embeddings start small, and what normalizes behind them makes both signals larger by as much.
        """
        kinds = self.setting.kinds
        return np.array(["Embedding" not in kinds.get(name, "") for name in self.layers])

    @property
    def growth(self) -> float:
        """Largest growth along the depth: of delta toward the input, or of the activations toward the output.

        The latter not where something normalizes: there the size of activations is its choice.
        """
        if not self.counted.any():
            return 1.0
        arriving = np.max(self.arriving[self.counted])
        if self.setting.normalized:
            return float(arriving)
        first = max(self.activation_rms[self.counted][0], TINY)
        with np.errstate(invalid="ignore"):  # infinity over infinity: the loss tells of it
            return float(max(arriving, np.max(self.output_rms[self.counted]) / first))

    @property
    def starts_at_zero(self) -> bool:
        """Whether the output layer's weights are zeros: then nothing passes it until it has made a step."""
        fed = len(self.layers) < 2 or self.activation_rms[-2] > FAINTEST
        return bool(self.output_rms[-1] == 0 and fed and self.gradient_norm[-1] > 0)

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
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            back = self.delta_norm[:-1] / self.delta_norm[1:]
            forth = self.output_rms[1:] / self.output_rms[:-1]
        steps = np.nan_to_num(np.maximum(back, forth), nan=0.0, posinf=np.inf)
        return self.layers[int(np.argmax(steps)) + 1] if len(steps) else self.layers[0]

    def first(self, where: np.ndarray) -> str:
        """Return the first of the layers that are marked, of which there is one."""
        return self.layers[int(np.argmax(where))]

    def last(self, where: np.ndarray) -> str:
        """Return the last of the layers that are marked, of which there is one."""
        return self.layers[len(where) - 1 - int(np.argmax(where[::-1]))]

    def changed(self, before: "Depth") -> float:
        """Return how much what arrives, or how activations vary, changed since `before`: the median logarithm."""
        with np.errstate(divide="ignore", invalid="ignore"):
            changes = [np.abs(np.log(getattr(self, n) / getattr(before, n))) for n in ("arriving", "variation")]
        known = np.concatenate(changes)
        return float(np.median(known[np.isfinite(known)])) if np.isfinite(known).any() else 0.0

    def moved(self, before: "Depth") -> float:
        """Return by how much the layers' activations have changed since `before`: the median logarithm.

        Not the largest: those behind dropout or a sampled latent space change with every draw.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            changes = np.abs(np.log(self.activation_rms / before.activation_rms))
        known = changes[np.isfinite(changes)]
        return float(np.median(known)) if len(known) else 0.0
