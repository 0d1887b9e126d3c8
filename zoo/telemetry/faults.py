"""What breaks a profile: rules on one probe, along the depth and along time.

What is so by nature is no fault. Fresh attention's queries and keys get a thousandth of the gradient, a gate's output
is the same for every sample, an expert may get no sample, a branch may start at zero: a layer beside the way counts
only if what lies before it (for gradients) or behind it (for activations) is cut off too.
"""

import dataclasses

import numpy as np

from zoo.telemetry.evidence import TINY, Depth
from zoo.telemetry.language import say
from zoo.telemetry.probe import SAME
from zoo.telemetry.recurrent import TimeProfile


@dataclasses.dataclass(frozen=True)
class Limits:
    """From where on a profile counts as broken.

    Attributes:
        faint: the output's delta that reaches a layer, less than this share of it.
        blind: variation, less than this.
        grown: growth along the depth, in all, more than this.
        dead, saturated: share of a layer's units, or of its values, this or more.
        grown_in_time: growth of delta from the last time step to an early one, more than this.
    """

    faint: float
    blind: float
    grown: float
    dead: float
    saturated: float
    grown_in_time: float


# Chosen, with the rules, on the tuning half of benchmarks/verdicts.py. Before the first step other things must be
# broken, or by more, than where nothing was learned: there are nets that recover.
FORETOLD = Limits(faint=1e-2, blind=1e-3, grown=1e3, dead=0.95, saturated=0.6, grown_in_time=1e6)
FAILING = Limits(faint=5e-3, blind=1e-4, grown=30.0, dead=0.95, saturated=0.4, grown_in_time=1e3)
STARVED = 1e-9  # of the largest gradient: a layer that gets none, but for what rounding leaves of it
FITTING = 1e15  # rms of activations that are no reason for a loss to leave the numbers: float32 can square it
SILENT = 1e-6  # of the first layer's output: one that is no larger says nothing, alive or not
SHRUNK = 1e-3  # the same, where activations shrink with the gradient: so told, not judged
NORMALIZED = 30  # times as much growth is no fault where something normalizes: it makes small signals large, both ways
FEW_ROWS = 2  # of an embedding: of so few one may well be the only one in a batch
FEW_STEPS = 4  # in time: fewer tell no growth
PASSING = 0.3  # of the output's gradient: where shortcuts let that much pass, saturated units do no harm
CONVOLVED = 0.05  # times as little is faint at step 0 where the first layer's weights get it from many positions
FORGOTTEN = 1e-4  # share of the largest delta that reaches the first time step
STEEP = 0.25  # decades that are lost from one time step to the next: nothing outlives a dozen
# Cells without gates. A fresh LSTM or GRU forgets by nature, and learns what to keep.
PLAIN = ("SimpleRNN", "SimpleRNNCell")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that breaks a profile.

    Attributes:
        name: vanishing, exploding, dead, saturated, or unstable where the loss itself is no number.
        layer: where.
        because: why, as the end of a sentence.
        along: what: "depth", "time", "samples" (activations no longer differ between them), "rows" (of an embedding),
            "output", "latent" (a space that says nothing), "use" (of a layer beside others), "contest" (of two
            networks) or "loss" (which has no finite gradient).
        amount: what the sentence tells: the share that arrives, the growth, the share of dead or saturated units.
    """

    name: str
    layer: str | None
    because: str
    along: str = "depth"
    amount: float = np.nan


def fault_of(place: Depth, limits: Limits) -> Fault | None:
    """Return what breaks a profile; `None` for a sound one."""
    return _explodes_in_time(place, limits) or _along_depth(place, limits) or forgets(place, steep=True)


def _along_depth(place: Depth, limits: Limits) -> Fault | None:
    hidden = place.hidden
    if not place.finite and not np.isfinite(place.delta_norm[-1]) and np.all(place.activation_rms < FITTING):
        return Fault("unstable", None, say("its own formula leaves the numbers, as a logarithm of 0 does"), "loss")
    if not place.finite:
        bad = ~np.isfinite(place.activation_rms)
        layer = place.first(bad) if bad.any() else place.last(~np.isfinite(place.delta_norm))
        return Fault("exploding", layer, say("the weights are too large"), amount=np.inf)
    one_row = [look for look in place.probe.lookups if look.used == 1 and look.rows > FEW_ROWS]
    if one_row and np.nan_to_num(place.variation[0]) < SAME and one_row[0].layer in place.layers:
        cause = say("every token is looked up in one and the same of its {rows:.0f} rows", rows=one_row[0].rows)
        return Fault("dead", one_row[0].layer, cause, "rows")
    setting = place.setting
    saturated = place.saturated[hidden] >= limits.saturated
    if setting.residual:
        saturated &= place.reaching[hidden] < PASSING
    if saturated.any():
        layer = place.first(saturated)
        index = place.layers.index(layer)
        cause = say("{activation} is at the ends of its range", activation=place.activations[index])
        return Fault("saturated", layer, cause, amount=float(place.saturated[index]))
    if place.activations[-1] == "relu" and place.dead[-1] >= limits.dead:
        because = say("the output's ReLU is 0 for every sample")
        return Fault("dead", place.layers[-1], because, "output", place.dead[-1])
    silent = place.output_rms[hidden] < SILENT * max(place.output_rms[0], TINY)
    # Where a layer applies its ReLU itself, all of what it gives is 0 if its units are dead.
    silent &= ~((place.output_rms[hidden] == 0) & (np.array(place.activations[hidden]) == "relu"))
    convolved = limits is FORETOLD and "Conv" in setting.kinds.get(place.layers[0], "")
    cut = place.reaching[hidden] < limits.faint * (CONVOLVED if convolved else 1)
    # Of a layer that applies its ReLU itself, delta is behind it: there the weights' own gradient tells.
    starved = np.maximum.accumulate(place.gradient_norm)[hidden] < STARVED * place.gradient_norm.max()
    dead = (place.dead[hidden] >= limits.dead) & ~silent & (cut | starved)
    if dead.any() and not (silent.any() and np.argmax(silent) < np.argmax(dead)):
        layer = place.first(dead)
        zeros = layer in setting.zeros
        cause = say("its weights are all zero" if zeros else "its pre-activations are negative for every sample")
        return Fault("dead", layer, cause, amount=float(place.dead[place.layers.index(layer)]))
    if place.growth > limits.grown * (NORMALIZED if setting.normalized else 1):
        return Fault("exploding", place.grows_at(), say("the weights are too large"), amount=place.growth)
    if cut.any() and not place.starts_at_zero:
        # One place for every limit, so that step 0 and the end name the same layer.
        layer = place.last(place.reaching[hidden] < max(FORETOLD.faint, FAILING.faint))
        return Fault("vanishing", layer, _why_faint(place, layer), amount=float(place.arriving.min()))
    blind = place.telling[hidden] < limits.blind
    alone = len(place.layers) == 1 and place.starts_at_zero  # a linear model that begins with weights of 0
    if blind.any() and not alone:
        cause = say("its activation is the same for every sample")
        amount = float(place.telling[hidden].min())
        return Fault("vanishing", place.first(blind), cause, "samples", amount)
    return None


def _explodes_in_time(place: Depth, limits: Limits) -> Fault | None:
    for profile in place.probe.times:
        delta = np.asarray(profile.delta_norm, np.float64)
        if len(delta) < FEW_STEPS or not np.isfinite(delta).all() or not delta.max() > 0:
            continue
        grown = delta.max() / delta[np.flatnonzero(delta)[-1]]
        in_the_first_half = 2 * np.argmax(delta) < len(delta)
        if in_the_first_half and grown > limits.grown_in_time:
            cause = say("the recurrent weights are too large: every step back in time multiplies the gradient")
            return Fault("exploding", profile.layer, cause, "time", float(grown))
    return None


def forgets(place: Depth, *, steep: bool) -> Fault | None:
    """Return the recurrent layer without gates whose gradient vanishes along time; `None` if there is none.

    Args:
        steep: ask for so large a loss at each time step that hardly any task can be learned.
    """
    kinds = place.setting.kinds
    for profile in place.probe.times:
        lost = profile.arriving < FORGOTTEN and kinds.get(profile.layer, "") in PLAIN
        if lost and len(profile.delta_norm) >= FEW_STEPS and (not steep or _lost_a_step(profile) > STEEP):
            cause = say("every step back in time passes on less than it gets")
            return Fault("vanishing", profile.layer, cause, "time", profile.arriving)
    return None


def _lost_a_step(profile: TimeProfile) -> float:
    """Return the decades that delta loses a step, over the steps in which it is not 0 yet."""
    return np.inf if np.isnan(profile.slope) else profile.slope


def _why_faint(place: Depth, layer: str) -> str:
    index = place.layers.index(layer)
    activation = place.activations[index]
    if layer in place.setting.zeros:
        return say("its weights are all zero")
    if place.output_rms[index] < SHRUNK * max(place.output_rms[0], TINY):
        return say("the weights are too small: activations shrink with the gradient")
    if activation == "sigmoid":
        return say("the slope of the sigmoid is 1/4 at most")
    if activation in ("relu", "leaky_relu", "prelu", "elu"):
        return say("the weights are too small for {activation}", activation=activation)
    return say("each layer passes on less than it gets")
