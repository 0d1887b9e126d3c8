"""What to change: cures that fit the optimizer and the layers that ran, none that is already so.

The order within each disease is that of `benchmarks/remedies.py`: what cures most of the labelled runs comes first.
"""

from collections.abc import Iterator

import numpy as np

from zoo.telemetry import wording as w
from zoo.telemetry.faults import PLAIN, Fault
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say
from zoo.telemetry.setting import Setting

# The rates that the optimizers' papers or Keras give; Adadelta's is that of its paper, of which Keras has a thousandth.
USUAL = {
    **{"sgd": 0.01, "rmsprop": 1e-3, "adagrad": 0.01, "adadelta": 1.0, "lion": 1e-4, "ftrl": 0.01},
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "lamb"), 1e-3),
}
ADAPTIVE = ("adam", "adamw", "nadam", "adamax", "lamb")
RECTIFIERS = ("relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "swish", "softplus")
# What is usual, not measured on our runs.
LARGE_INPUT = 5.0  # what scaled inputs hardly reach, and pixels that nobody divided by 255 do
CLIPPED = 0.1  # of a step's gradient: where clipping leaves less, it may be what stalls
NEAR = 3.0  # times the usual rate, or the inverse: rates of one size


def cures_for(name: str, fault: Fault | None, setting: Setting | None, activations: list[str], **known) -> list[Cure]:
    """Return what to try, the most promising first.

    Args:
        name: the verdict's.
        fault: of the profile, if one is to blame.
        setting: what ran; `None` if it is not known.
        activations: of the hidden layers.
        **known: `largest_input` of the probe's batch; `rate` that the training began with; `began` whether the fault
            came with training; `clipped`, the share of the gradient that clipping left.
    """
    setting, fault = setting or Setting(), fault or Fault(name, None, "")
    make = {
        "vanishing": _vanishing,
        "exploding": _exploding,
        "dead": _dead,
        "saturated": _saturated,
        "stalled": _stalled,
        "unstable": _unstable,
    }[name]
    found: dict[str, Cure] = {}
    for cure in make(fault, setting, activations, known):
        found.setdefault(cure.name, cure)
    return list(found.values())


def _vanishing(fault: Fault, setting: Setting, activations: list[str], known: dict) -> Iterator[Cure]:
    if fault.along == "time":
        yield from _over_time(fault, setting)
        yield Cure("gates", "keras.layers.LSTM or GRU", "gates let the gradient pass unchanged through many steps.")
        return
    if fault.along == "contest":
        yield Cure(
            "the generator's loss",
            "binary_crossentropy(ones, discriminator(fakes)) instead of minus that of zeros",
            "its gradient is large where the discriminator is sure (Goodfellow et al. 2014, section 3).",
        )
        yield Cure("a slower discriminator", "a smaller learning rate for it", "it makes mistakes to learn from.")
        return
    if fault.layer in setting.zeros:
        yield from _drawn(activations)
    yield from _normalized(setting)
    yield from _shortcuts(setting)
    yield from _initializer(setting, activations)
    yield from _activation(setting, activations)


def _exploding(fault: Fault, setting: Setting, activations: list[str], known: dict) -> Iterator[Cure]:
    if fault.along == "time":
        yield from _over_time(fault, setting)
        yield from _clipped(setting)
        yield Cure("gates", "keras.layers.LSTM or GRU", "gates keep the state from growing with every step.")
        return
    yield from _initializer(setting, activations)
    yield from _normalized(setting)
    yield from _clipped(setting)
    yield from _lower_rate(setting, known)


def _dead(fault: Fault, setting: Setting, activations: list[str], known: dict) -> Iterator[Cure]:
    if fault.along == "use":
        yield Cure(
            "balance",
            "add a loss that spreads the samples over the experts, or noise to what chooses between them",
            "what is never chosen gets no gradient, and so is never chosen.",
        )
        return
    if fault.along == "rows":
        yield Cure("tokens", "look at what the tokenizer returns", "one row for every word tells nothing of the text.")
        return
    if fault.along == "latent":
        yield Cure("weight of KL", "a smaller weight, or one that grows from 0", "it outweighs the reconstruction.")
        return
    if fault.along == "output":
        yield Cure(
            "the output", "activation=None in the last layer", "where it says 0 it has no slope to come back by."
        )
        return
    if fault.layer in setting.zeros:
        yield from _drawn(activations)
        return
    if known.get("began"):
        yield from _lower_rate(setting, known)
    yield from _normalized(setting)
    yield from _biases(setting, "pre-activations start around zero, where half of the units are active.")
    yield from _initializer(setting, activations)
    if "relu" in activations:
        yield Cure(
            "leaky ReLU",
            'activation="leaky_relu"',
            "below zero its slope is small but not zero, so that a unit can come back.",
            "activation=leaky_relu",
        )


def _saturated(fault: Fault, setting: Setting, activations: list[str], known: dict) -> Iterator[Cure]:
    if known.get("largest_input", 0.0) > LARGE_INPUT:
        yield Cure(
            "inputs",
            "a keras.layers.Normalization() that is adapted to x in front",
            say(
                "inputs reach {largest:.3g}: of deviation 1 they keep the units where their slope is.",
                largest=known["largest_input"],
            ),
        )
    if known.get("began"):
        yield from _lower_rate(setting, known)
    yield from _normalized(setting)
    yield from _biases(setting, "pre-activations start around zero, where the slope is largest.")
    yield from _activation(setting, activations)
    yield from _initializer(setting, activations)


def _stalled(fault: Fault, setting: Setting, activations: list[str], known: dict) -> Iterator[Cure]:
    rate, usual = known.get("rate", np.nan), USUAL.get(setting.optimizer, np.nan)
    clipped = known.get("clipped", 1.0)
    if clipped < CLIPPED:
        yield Cure(
            "no clipping",
            "an optimizer without clipnorm, clipvalue and global_clipnorm",
            say("clipping leaves {clipped:.1e} of each step's gradient.", clipped=clipped),
            "clipping=none",
        )
    if setting.optimizer and setting.optimizer not in ADAPTIVE:
        yield Cure(
            "Adam",
            "keras.optimizers.Adam(0.001)",
            "its step does not depend on the size of the gradient.",
            "optimizer=adam optimizer.learning_rate=0.001",
        )
    if np.isfinite(rate) and rate > 0:
        higher = usual if np.isfinite(usual) and rate < usual / NEAR else 10 * rate
        yield of_rate(higher, "the steps are too small to move the loss.")
    if np.isfinite(rate) and np.isfinite(usual) and rate < usual / NEAR:
        yield of_rate(100 * rate, "the steps are too small to move the loss.")


def _unstable(fault: Fault, setting: Setting, activations: list[str], known: dict) -> Iterator[Cure]:
    if fault.along == "loss":
        yield Cure(
            "the loss",
            "one of keras.losses, or keras.ops.clip before each logarithm, root and division",
            "at the edge of its range the formula of the loss has no finite value or slope.",
        )
        return
    yield from _lower_rate(setting, known)
    yield Cure(
        "warm-up",
        "keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=rate, warmup_steps=steps // 10)",
        "the first steps, in which the gradient is largest, are small.",
        "schedule.warmup=0.1",
    )
    yield from _clipped(setting)


def _over_time(fault: Fault, setting: Setting) -> Iterator[Cure]:
    layer = fault.layer or ""
    if setting.kinds.get(layer, PLAIN[0]) not in PLAIN:
        return
    if "Orthogonal" not in setting.initializers.get(layer, "") or fault.name == "exploding":
        yield Cure(
            "orthogonal recurrent weights",
            'recurrent_initializer="orthogonal"',
            "they keep the length of what passes through them (Saxe et al. 2014).",
        )
    if "Identity" not in setting.initializers.get(layer, ""):
        yield Cure(
            "identity recurrent weights",
            'activation="relu", recurrent_initializer="identity"',
            "the state is kept until the input changes it (Le et al. 2015).",
        )


def _biases(setting: Setting, reason: str) -> Iterator[Cure]:
    if setting.biased:
        yield Cure("biases", 'bias_initializer="zeros"', reason)


def _normalized(setting: Setting) -> Iterator[Cure]:
    if not setting.normalized:
        yield Cure(
            "batch normalization",
            "a keras.layers.BatchNormalization() between each layer and its activation",
            "each unit is brought to mean 0 and deviation 1, whatever the weights.",
            "normalization=batch",
        )


def _activation(setting: Setting, activations: list[str]) -> Iterator[Cure]:
    if any(name not in RECTIFIERS for name in activations if name):
        yield Cure(
            "ReLU",
            'activation="relu", kernel_initializer="he_normal"',
            "its slope is 1 wherever it is active, and these weights are made for it.",
            "activation=relu initializer=he_normal",
        )


def _drawn(activations: list[str]) -> Iterator[Cure]:
    name = "he_normal" if any(name in RECTIFIERS for name in activations) else "glorot_uniform"
    yield Cure(
        name.replace("_", " "),
        f'kernel_initializer="{name}"',
        "of zeros every unit does the same, and nothing passes.",
        f"initializer={name}",
    )


def _initializer(setting: Setting, activations: list[str]) -> Iterator[Cure]:
    """Yield the initializer that is made for the activation, unless the layers have it."""
    if "selu" in activations:
        name, wanted = "lecun_normal", "LecunNormal"
    elif any(name in RECTIFIERS for name in activations):
        name, wanted = "he_normal", "He"
    elif "sigmoid" in activations:
        return  # no initializer makes up for a slope of 1/4
    else:
        name, wanted = "glorot_uniform", "Glorot"
    hidden = list(setting.initializers.values())[:-1] or list(setting.initializers.values())
    if all(kind.startswith(wanted) for kind in hidden) and hidden:
        return
    yield Cure(
        name.replace("_", " "),
        f'kernel_initializer="{name}"',
        say("its variance keeps signals of one size through {activations}.", activations=_named(activations)),
        f"initializer={name}",
    )


def _named(activations: list[str]) -> str:
    known = [name for name in dict.fromkeys(activations) if name]
    return w.listed(known[:2]) if known else say("linear layers")


def _shortcuts(setting: Setting) -> Iterator[Cure]:
    dense = set(setting.kinds.values()) <= {"Dense", "BatchNormalization", "LayerNormalization"}
    if not setting.residual:
        yield Cure(
            "shortcuts with batch normalization",
            "keras.layers.Add() around every two layers, and BatchNormalization in each",
            "the gradient passes by the layers that would lose it.",
            "model.residual=2 normalization=batch" if dense and setting.kinds else "",
        )


def _clipped(setting: Setting) -> Iterator[Cure]:
    if not {"clipnorm", "clipvalue", "global_clipnorm"} & set(setting.options):
        name = setting.optimizer.capitalize() if setting.optimizer in ("adam", "adagrad", "lion") else "SGD"
        yield Cure(
            "clipping",
            f"keras.optimizers.{name}(..., global_clipnorm=1.0)",
            "a step is never longer than the gradient of norm 1 makes it.",
            "clipping=global_norm",
        )


def _lower_rate(setting: Setting, known: dict) -> Iterator[Cure]:
    rate, usual = known.get("rate", np.nan), USUAL.get(setting.optimizer, np.nan)
    if np.isfinite(rate) and rate > 0:
        # The usual one where the rate is above it, else a tenth.
        yield of_rate(usual if np.isfinite(usual) and rate > NEAR * usual else rate / 10, "the steps overshoot.")


def of_rate(value: float, reason: str) -> Cure:
    """Return the cure that is another learning rate."""
    told = f"{value:.2g}"
    return Cure(
        say("a rate of {rate}", rate=told),
        f"model.optimizer.learning_rate = {told}",
        reason,
        f"optimizer.learning_rate={told}",
    )
