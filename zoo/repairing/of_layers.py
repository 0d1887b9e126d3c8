"""Changes to hidden layers: activations, weights, normalization, width, dropout, penalties, what is frozen."""

import dataclasses

import keras

from zoo.repairing.change import Change, Keyed
from zoo.repairing.plan import Plan
from zoo.repairing.subject import Subject
from zoo.telemetry.cures import RECTIFIERS

NARROW = 32  # units that a hidden layer is widened to
GENTLE_DROPOUT = 0.2


def changes(subject: Subject) -> Keyed:
    """Yield what would change something of the layers; nothing of a model whose layers cannot be changed."""
    if not subject.editable:
        return
    model = subject.model
    hidden = [layer.name for layer in subject.hidden]
    acting = {layer.name: getattr(getattr(layer, "activation", None), "__name__", "linear") for layer in subject.hidden}
    follows = _followed_by_activation(model)
    unfit = [name for name in hidden if acting[name] not in RECTIFIERS and name not in follows]
    unfit_behind = [name for name in follows.values() if _acts(subject, name) not in RECTIFIERS]
    if unfit or unfit_behind:
        yield (
            "relu",
            Change(
                "ReLU in hidden layers",
                "activation",
                "its slope is 1 wherever it is active; He's weights are made for it.",
                lambda plan: _rectified(plan, unfit, unfit_behind, hidden),
                slot="activation",
            ),
        )
    drawn = [layer.name for layer in (*subject.hidden, *subject.recurrent)]
    if subject.last is not None:
        drawn.append(subject.last.name)
    if drawn:
        yield (
            "initializer",
            Change(
                "weights of He and Glorot, biases of 0",
                "initializer",
                "their variance keeps signals of one size from layer to layer.",
                lambda plan: _drawn(subject, plan, drawn),
                slot="initializer",
            ),
        )
    unfit_in_time = [
        layer.name for layer in subject.recurrent if getattr(layer.activation, "__name__", "") not in ("tanh",)
    ]
    if unfit_in_time:
        yield (
            "tanh",
            Change(
                "tanh in recurrent layers",
                "activation",
                "it keeps the state within bounds.",
                lambda plan: _each(plan, unfit_in_time, activation="tanh"),
            ),
        )
    normalized = any("Normalization" in type(layer).__name__ for layer in subject.named.values())
    between = frozenset(name for name in hidden)
    if between and not normalized:
        yield (
            "batch normalization",
            Change(
                "batch normalization",
                "depth",
                "each unit is brought to mean 0 and deviation 1, whatever the weights.",
                lambda plan: dataclasses.replace(plan, normalized=between),
            ),
        )
    narrow = [layer for layer in (*subject.hidden, *subject.recurrent) if _size(layer) < NARROW]
    bottleneck = any(a.shape == b.shape for a in subject.program.inputs for b in subject.program.targets)
    if narrow and not bottleneck and isinstance(model, keras.Sequential):
        yield (
            "wider",
            Change(
                f"hidden layers of {NARROW} units",
                "capacity",
                "more can be told apart.",
                lambda plan: _widened(plan, narrow),
            ),
        )
    dropping = [layer for layer in subject.named.values() if isinstance(layer, keras.layers.Dropout) and layer.rate]
    strong = [layer.name for layer in dropping if layer.rate > GENTLE_DROPOUT]
    ends = [layer.name for layer in dropping if layer is model.layers[-1]]
    if strong or ends:
        yield (
            "less dropout",
            Change(
                f"dropout of {GENTLE_DROPOUT:g}" if not ends else "no dropout on the output",
                "regularization",
                "training sees more of what inference does.",
                lambda plan: dataclasses.replace(
                    _each(plan, strong, rate=GENTLE_DROPOUT), left_out=plan.left_out | frozenset(ends)
                ),
            ),
        )
    if penalized := [layer.name for layer in subject.named.values() if _penalties(layer)]:
        yield (
            "no penalties",
            Change(
                "no penalties",
                "regularization",
                "what is brought down is the error, not the weights.",
                lambda plan: _each(plan, penalized, **dict.fromkeys(PENALTIES)),
            ),
        )
    frozen = [layer.name for layer in subject.named.values() if not layer.trainable and layer.weights]
    kinds = [type(subject.named[name]).__name__ for name in frozen]
    frozen = [name for name, kind in zip(frozen, kinds, strict=True) if kind not in ("Normalization", "Rescaling")]
    if frozen:
        yield (
            "unfreeze",
            Change(
                "layers that train",
                "frozen",
                "frozen weights stay as they are.",
                lambda plan: plan.setting("*", trainable=True),
            ),
        )
    slow = [
        layer.name
        for layer in subject.named.values()
        if isinstance(layer, keras.layers.BatchNormalization) and not 0.5 <= layer.momentum <= 0.9
    ]
    if slow:
        yield (
            "faster averages",
            Change(
                "batch normalization of momentum 0.9",
                "normalization",
                "its averages follow what the layers give.",
                lambda plan: _each(plan, slow, momentum=0.9),
            ),
        )
    yield (
        "redrawn",
        Change(
            "weights drawn anew",
            "initializer",
            "units that died, or saturated, do not come back by themselves.",
            lambda plan: dataclasses.replace(plan, redrawn=True),
        ),
    )


PENALTIES = ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "recurrent_regularizer")


def _penalties(layer: keras.layers.Layer) -> bool:
    return any(getattr(layer, name, None) is not None for name in PENALTIES)


def _size(layer: keras.layers.Layer) -> int:
    return getattr(layer, "units", None) or getattr(layer, "filters", NARROW)


def _each(plan: Plan, names: list[str], **arguments) -> Plan:
    for name in names:
        plan = plan.setting(name, **arguments)
    return plan


def _acts(subject: Subject, name: str) -> str:
    layer = subject.named[name]
    return getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__.lower())


def _followed_by_activation(model: keras.Model) -> dict[str, str]:
    """Return the `Activation` that follows each layer of a chain, if one does within two layers, by names."""
    layers = list(getattr(model, "layers", []))
    found = {}
    for i, layer in enumerate(layers):
        behind = [b for b in layers[i + 1 : i + 3] if type(b).__name__ in ("Activation", "ReLU", "LeakyReLU", "ELU")]
        if behind and not any(hasattr(b, "kernel") for b in layers[i + 1 : layers.index(behind[0])]):
            found[layer.name] = behind[0].name
    return found


def _rectified(plan: Plan, unfit: list[str], behind: list[str], hidden: list[str]) -> Plan:
    plan = _each(_each(plan, unfit, activation="relu"), behind, activation="relu")
    return _each(plan, hidden, kernel_initializer="he_normal")


def _drawn(subject: Subject, plan: Plan, names: list[str]) -> Plan:
    for name in names:
        layer = subject.named[name]
        acts = plan.settings.get(name, {}).get("activation") or _acts(subject, name)
        # `Activation` behind a linear layer acts for it.
        if acts == "linear" and (behind := _followed_by_activation(subject.model).get(name)):
            acts = _acts(subject, behind)
        kind = "he_normal" if acts in RECTIFIERS else "lecun_normal" if acts == "selu" else "glorot_uniform"
        plan = plan.setting(name, kernel_initializer=kind, bias_initializer="zeros")
        if hasattr(layer, "recurrent_initializer"):
            plan = plan.setting(name, recurrent_initializer="orthogonal")
    return plan


def _widened(plan: Plan, layers: list[keras.layers.Layer]) -> Plan:
    for layer in layers:
        plan = plan.setting(layer.name, **{"units" if hasattr(layer, "units") else "filters": NARROW})
    return plan
