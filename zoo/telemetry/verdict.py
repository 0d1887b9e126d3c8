"""What a run's gradients amount to."""

import dataclasses

import numpy as np

from zoo.telemetry.history import GradientHistory


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong, where, and on what evidence.

    Attributes:
        name: healthy, vanishing or exploding.
        layer: where it breaks; `None` when healthy.
        evidence: the numbers that it rests on.
        sentence: the same for a reader.
        remedies: overrides to try, in order.
    """

    name: str
    layer: str | None
    evidence: dict[str, float]
    sentence: str
    remedies: list[str] = dataclasses.field(default_factory=list)


def diagnose(history: GradientHistory, probes=(), losses=()) -> Verdict:
    """Judge the profile of the gradient norms."""
    norms = history.norms
    finite = np.isfinite(norms).all(axis=1)
    if not finite.all():
        step = int(np.argmin(finite))
        layer = history.layers[int(np.argmin(np.isfinite(norms[step])))]
        return Verdict("exploding", layer, {"step": step}, f"{layer}'s gradient is not finite from step {step}.")
    profile = np.median(norms[-max(1, len(norms) // 5) :], axis=0)
    ratio = float(profile[0] / max(profile[-1], 1e-45))
    evidence = {"first_over_last": ratio}
    if ratio < 1e-3:
        return Verdict(
            "vanishing", history.layers[0], evidence, f"the first layer's gradient is {ratio:.1e} of the last's."
        )
    if ratio > 1e3:
        return Verdict(
            "exploding", history.layers[0], evidence, f"the first layer's gradient is {ratio:.1e} of the last's."
        )
    return Verdict("healthy", None, evidence, f"the first layer's gradient is {ratio:.2g} of the last's.")
