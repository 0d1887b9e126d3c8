"""What a run's gradients amount to: name, place, evidence, cause, cures.

The rules (`RULES`, in the order in which they are asked) go from what is beyond doubt to what is left. Healthy is who
learned something that the best constant answer does not know; sick is whose profile is broken, along the depth or along
time, or whose loss leaps or stands still; who is neither yet is undecided, with what is missing. Every threshold is a
ratio: between layers, or to the loss of the best constant answer. None depends on the scale of the loss.
"""

from collections.abc import Sequence

import keras

from zoo.telemetry import rules, rules_profile
from zoo.telemetry.case import NAMES, Case, Verdict
from zoo.telemetry.history import GradientHistory
from zoo.telemetry.probe import Probe

__all__ = ["NAMES", "RULES", "Verdict", "diagnose"]

RULES = (
    rules.nothing_recorded,
    rules.input_not_finite,
    rules.left_the_numbers,
    rules.before_training,
    rules.never_used,
    rules.has_no_bottom,
    rules.learned,
    rules.same_data,
    rules.contest,
    rules_profile.says_nothing,
    rules_profile.broken_from_the_start,
    rules_profile.rose,
    rules_profile.broken_since,
    rules_profile.forgets_in_time,
    rules.too_few_steps,
    rules.stands_still,
    rules.mistaken,
    rules.falls_only,
    rules.nothing_learned_yet,
)


def diagnose(
    history: GradientHistory | None = None,
    probes: Sequence[Probe] = (),
    losses: Sequence[float] = (),
    baseline: float | None = None,
) -> Verdict:
    """Judge a training, or from a single probe what training has to expect.

    Args:
        history: what `GradientNorms` recorded so far.
        probes: one before the first step, then one after each epoch, as far as there are any. They know from the labels
            what the best constant answer to their batch costs, and how many answers are right.
        losses: training loss of each epoch; used where the history holds no losses of its steps.
        baseline: loss of the best constant answer to the whole training set (of a classifier: the entropy of the
            labels in nats), in place of the probes' own; `None` if it is not known.

    Raises:
        ValueError: with neither history nor probes.
        TypeError: for a callback in the place of what it recorded, or a probe that is not in a list.
    """
    if isinstance(history, keras.callbacks.Callback) or isinstance(probes, keras.callbacks.Callback):
        raise TypeError("diagnose takes what callbacks recorded: diagnose(norms.history, probes.results).")
    if isinstance(probes, Probe):
        raise TypeError("diagnose takes a list of probes: diagnose(probes=[probe]).")
    if history is None and not probes:
        raise ValueError("diagnose needs a history of GradientNorms, a probe, or both.")
    case = Case.of(history, probes, losses, baseline)
    return next(verdict for rule in RULES if (verdict := rule(case)) is not None)
