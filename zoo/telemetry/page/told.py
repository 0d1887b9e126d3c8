"""What a page tells of one training, whoever tells it: arrays and texts, nothing of Keras, of configs or of folders."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """What every step left, as `GradientHistory` holds it.

    Attributes:
        layers: names, in forward order.
        shown: indices of the layers that are drawn.
        owners, variable_norms, losses, clip_norms, weight_norms, update_norms, epoch_ends: as of the history.
    """

    layers: Sequence[str]
    shown: np.ndarray
    owners: np.ndarray
    variable_norms: np.ndarray
    losses: np.ndarray
    clip_norms: np.ndarray | None
    weight_norms: np.ndarray | None
    update_norms: np.ndarray | None
    epoch_ends: np.ndarray

    def __len__(self) -> int:
        return len(self.variable_norms)


@dataclasses.dataclass(frozen=True, eq=False)
class Along:
    """A recurrent cell along time: (probes, time steps) each, in the order in which its layer walks."""

    layer: str
    activation: np.ndarray
    delta: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Probed:
    """What probes showed, the one before the first step first; arrays are (probes, layers).

    Attributes:
        layers: names of those that are drawn, in forward order.
        steps: (probes,) how many steps were done before each.
        gradient: weight gradient, L2 norm.
        delta: back-propagated gradient, L2 norm per sample.
        activation: root mean square.
        dead, saturated: shares.
        along: the recurrent cells along time.
    """

    layers: Sequence[str]
    steps: np.ndarray
    gradient: np.ndarray
    delta: np.ndarray
    activation: np.ndarray
    dead: np.ndarray
    saturated: np.ndarray
    along: Sequence[Along] = ()

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], epoch_ends: Sequence[int] | np.ndarray) -> "Probed":
        """Take what is drawn of `probes.npz`; of its layers those that hold weights between units.

        Args:
            arrays: of the file; of an earlier version some may be missing.
            epoch_ends: how many steps were done when each epoch ended; without them epochs are counted.
        """
        shown = shown_of(arrays["has_kernel"])
        count = len(arrays["delta_norm"])
        steps = np.append(0, epoch_ends)[:count].astype(int)
        if len(steps) < count:
            steps = np.arange(count)
        names = arrays["times/layers"].tolist() if "times/layers" in arrays else []
        along = [
            Along(name, arrays[f"times/{i}/activation_rms"], arrays[f"times/{i}/delta_norm"])
            for i, name in enumerate(names)
        ]
        return cls(
            layers=[str(arrays["layers"][i]) for i in shown],
            steps=steps,
            gradient=arrays["gradient_norm"][:, shown],
            delta=arrays["delta_norm"][:, shown],
            activation=arrays["activation_rms"][:, shown],
            dead=arrays["dead"][:, shown],
            saturated=arrays["saturated"][:, shown],
            along=[cell for cell in along if len(cell.delta) == count],
        )


def shown_of(has_kernel: np.ndarray) -> np.ndarray:
    """Return the indices of the layers that hold weights between units; of all layers in a model without such."""
    return np.flatnonzero(has_kernel) if np.any(has_kernel) else np.arange(len(has_kernel))


def no_samples(step: int) -> Sequence[int]:
    """Return none: it is not known which samples a step's batch held."""
    return ()


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """All that is on a page; what is left out is not there.

    Attributes:
        name: of the training, as a person knows it.
        facts: pairs of a word and what stands behind it, such as ("parameters", "21,450").
        verdict: a `zoo.telemetry.findings.Verdict`, with what else was found.
        steps, probed: what was recorded; `None` where nothing was.
        theory: measure ("gradient", "delta", "activation") to (layers,) what theory foretells of step 0.
        epochs: name to (epochs,) values, as Keras' logs have them; "learning_rate" among them.
        failed: lines on where it stopped being numbers.
        samples: the indices of the samples in a step's batch, which is asked of steps that are marked.
        differs: rows of a setting, its value, and what it is where nothing is said.
        command: that makes the training again, without which nothing is told of settings.
        siblings: how many runs its sweep has, whose pages lie beside this one's folder, and which of them it is.
    """

    name: str
    facts: Sequence[tuple[str, str]] = ()
    verdict: Any = None
    steps: Steps | None = None
    probed: Probed | None = None
    theory: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    epochs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    failed: Sequence[str] = ()
    samples: Callable[[int], Sequence[int]] = no_samples
    differs: Sequence[tuple[str, str, str]] = ()
    command: str = ""
    siblings: tuple[int, int] | None = None

    @property
    def recorded(self) -> bool:
        """Whether there is anything that the cursor could tell."""
        return self.steps is not None or self.probed is not None

    @property
    def layers(self) -> list[str]:
        """Names of the layers that are drawn."""
        if self.steps is not None:
            return [str(self.steps.layers[i]) for i in self.steps.shown.tolist()]
        return [] if self.probed is None else list(self.probed.layers)
