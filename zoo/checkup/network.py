"""What is wrong with the layers: nonlinearity, weights, penalties, what is dropped."""

from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.suspicion import Suspicion, suspect
from zoo.telemetry import wording as w
from zoo.telemetry.findings import Cure
from zoo.telemetry.language import say
from zoo.telemetry.layers import all_layers

AFFINE = ("Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose")
DROPPED = 0.75  # rate of a dropout that leaves little
STRONG = 0.3  # rate of a dropout that adds to others
KEPT = 0.1  # share that all such dropouts together leave
BURDEN = 0.5  # of the loss: penalties that weigh more drown it
OFF = 8.0  # times the deviation that Glorot or He would give
ALIKE = 1e-6  # deviation between the units of a kernel, over their size
UNFIT_IN_TIME = ("relu", "linear", "softmax", "sigmoid")
RELU = Cure("activation", 'activation="relu" in each hidden layer', "without one, layers together are one linear map.")


def findings(program: Program) -> Iterator[Suspicion]:
    """Yield what is suspect about the layers."""
    yield from _weights(program)
    yield from _dropout(program.model)
    yield from _activations(program)
    yield from _penalties(program)
    yield from _narrow(program)


def _activations(program: Program) -> Iterator[Suspicion]:
    p = program.probed
    if p.setting is None or len(p.layers) < 2:
        return
    kinds, heads = p.setting.kinds, {p.layers[-1], *(task.layer for task in program.tasks)}
    hidden = [
        (name, activation)
        for name, activation in zip(p.layers, p.activations, strict=True)
        if kinds.get(name, "") in AFFINE and name not in heads
    ]
    linear = [name for name, activation in hidden if not activation]
    attends = _weighs(program.model)
    if linear and not attends and not p.setting.residual:
        all_of_them = len(linear) == len(hidden) and all(
            kinds.get(n, "") in (*AFFINE, "BatchNormalization") for n in p.layers
        )
        share = len(linear) / len(hidden)
        yield suspect(
            "activation",
            "layers without a nonlinearity",
            say(
                "no hidden layer has an activation, {layer} the first: what follows each is one linear map with it."
                if all_of_them
                else "{count} of {all} hidden layers lack an activation, {layer} the first: what follows each is one "
                "linear map with it.",
                count=len(linear),
                all=len(hidden),
                layer=linear[0],
            ),
            0.5 if all_of_them else 0.35,
            0.85 if all_of_them else 0.5 + 0.25 * share,
            0.3,
            layer=linear[0],
            cures=(RELU,),
            linear=len(linear),
            hidden=len(hidden),
        )
    squeezed = [name for name, activation in hidden if activation == "softmax"]
    if squeezed and not attends:
        yield suspect(
            "activation",
            "softmax in a hidden layer",
            say(
                "{layer}, a hidden layer, ends in a softmax: its units share 1, and hardly anything passes.",
                layer=squeezed[0],
            ),
            0.5,
            0.9,
            0.3,
            layer=squeezed[0],
            cures=(RELU,),
        )
    bounded = [name for name, activation in hidden if activation in ("sigmoid", "hard_sigmoid")]
    if bounded and not attends:
        yield suspect(
            "activation",
            "sigmoids in hidden layers",
            say(
                "{count} hidden layers, {layer} the first, have sigmoids, of slope 1/4 at most: gradients shrink with "
                "each, and units begin at 1/2.",
                count=len(bounded),
                layer=bounded[0],
            ),
            0.2,
            0.45 + 0.1 * min(4, len(bounded)),
            0.1,
            layer=bounded[0],
            cures=(RELU,),
            sigmoids=len(bounded),
        )
    recurrent = [
        (layer.name, name)
        for layer in all_layers(program.model)
        if isinstance(layer, keras.layers.RNN)
        and (name := getattr(getattr(layer, "activation", None), "__name__", "")) in UNFIT_IN_TIME
    ]
    if recurrent:
        name, activation = recurrent[0]
        yield suspect(
            "activation",
            f"{activation} in a recurrent layer",
            say(
                "{name} has {activation} in the place of tanh: its state grows or sticks from step to step.",
                name=name,
                activation=activation,
            ),
            0.3,
            0.7,
            0.15,
            layer=name,
            cures=(Cure("tanh", 'activation="tanh"', "it keeps the state within bounds, around 0."),),
        )


def _weighs(model: keras.Model) -> bool:
    """Whether some layers only weigh what others give, as gates and attention do."""
    kinds = ("Attention", "Multiply", "Dot")
    return any(type(layer).__name__.endswith(kinds) for layer in all_layers(model))


def _weights(program: Program) -> Iterator[Suspicion]:
    """Kernels whose units are all alike, or far from the size that keeps signals as they are."""
    affine = [layer for layer in all_layers(program.model) if type(layer).__name__ in AFFINE and layer.built]
    for layer, behind in zip(affine, [*affine[1:], None], strict=True):
        if not layer.trainable:
            continue
        units = _kernel(layer)
        size = float(np.sqrt(np.mean(units**2)))
        usual = float(np.sqrt(2.0 / (units.shape[0] + units.shape[1])))
        last = layer is program.model.layers[-1]
        if units.shape[1] > 1 and units.std(1).max() <= ALIKE * max(size, ALIKE):
            if (last or behind is None) and size == 0:
                continue  # a last layer may start at zero
            # What comes back differs between units only if the layer behind weighs them differently; a ReLU of 0 sends
            # nothing back at all.
            norms = dict(zip(program.probed.layers, program.probed.gradient_norm, strict=True))
            stay = norms.get(layer.name) == 0 or (behind is not None and _rows_alike(_kernel(behind)))
            until = say("they stay alike in every step" if stay else "only the layers behind can tell them apart")
            yield suspect(
                "initializer",
                "units that begin alike",
                say(
                    "all {units} units of {layer} begin with the same weights: {until}.",
                    units=units.shape[1],
                    layer=layer.name,
                    until=until,
                ),
                0.9 if stay else 0.35,
                0.97 if stay else 0.85,
                0.4 if stay else 0.15,
                layer=layer.name,
                cures=(
                    Cure(
                        "glorot uniform", 'kernel_initializer="glorot_uniform"', "units differ only if they are drawn."
                    ),
                ),
                rms=size,
            )
            return
        if units.size >= 32 and (size > OFF * usual or size < usual / (4 * OFF)) and size:
            yield suspect(
                "initializer",
                "weights of an unusual size",
                say(
                    "the weights of {layer} begin with rms {size}, {ratio} times what keeps signals of one size "
                    "(Glorot & Bengio 2010).",
                    layer=layer.name,
                    size=w.number(size),
                    ratio=w.number(size / usual),
                ),
                0.5,
                0.85,
                0.2,
                layer=layer.name,
                cures=(Cure("he normal", 'kernel_initializer="he_normal"', "its variance fits the number of inputs."),),
                ratio=size / usual,
            )
            return


def _rows_alike(kernel: np.ndarray) -> bool:
    return float(kernel.std(0).max()) <= ALIKE * max(float(np.abs(kernel).max()), ALIKE)


def _kernel(layer: keras.layers.Layer) -> np.ndarray:
    """Return (inputs of a unit, units) float64."""
    a = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float64)
    return a.reshape(-1, a.shape[-1])


def _dropout(model: keras.Model) -> Iterator[Suspicion]:
    layers = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Dropout) and layer.rate]
    if not layers:
        return
    strongest = max(layers, key=lambda layer: layer.rate)
    kept = float(np.prod([1 - layer.rate for layer in layers if layer.rate >= STRONG]))
    if strongest.rate >= DROPPED or kept < KEPT:
        told = (
            say("{layer} drops {rate} of what it gets", layer=strongest.name, rate=w.share(strongest.rate))
            if strongest.rate >= DROPPED
            else say("{count} dropouts together leave {kept}", count=len(layers), kept=w.share(kept))
        )
        yield suspect(
            "regularization",
            "dropout that leaves little",
            say("{told}: training sees hardly anything of what inference does.", told=told),
            0.55 if strongest.rate > 0.85 else 0.4,
            0.85,
            0.25,
            layer=strongest.name,
            cures=(Cure("dropout", "keras.layers.Dropout(0.2)", "less is dropped."),),
            rate=strongest.rate,
            kept=kept,
        )
    last = model.layers[-1] if model.layers else None
    if isinstance(last, keras.layers.Dropout) and last.rate:
        yield suspect(
            "regularization",
            "dropout on the output",
            say(
                "{layer} comes last: in training {rate} of the answers themselves are 0.",
                layer=last.name,
                rate=w.share(last.rate),
            ),
            0.8,
            0.92,
            0.5,
            layer=last.name,
            cures=(Cure("dropout", "no Dropout behind the last layer", "answers are not to be dropped."),),
            rate=last.rate,
        )


def _penalties(program: Program) -> Iterator[Suspicion]:
    p = program.probed
    share = p.answers.penalties / p.loss if p.loss and np.isfinite(p.loss) else 0.0
    if share > BURDEN:
        yield suspect(
            "regularization",
            "penalties that drown the loss",
            say(
                "penalties are {share} of the loss, {penalties} of {loss}: what is brought down are the weights, not "
                "the error.",
                share=w.share(share),
                penalties=w.number(p.answers.penalties),
                loss=w.number(p.loss),
            ),
            0.45 if share < 0.9 else 0.55,
            0.9,
            0.2,
            cures=(Cure("penalty", "keras.regularizers.L2(1e-4)", "the error weighs more than the weights."),),
            share=share,
        )


def _narrow(program: Program) -> Iterator[Suspicion]:
    """A hidden layer so narrow that what comes out cannot tell the classes apart."""
    p, tasks = program.probed, program.tasks
    if len(tasks) != 1 or p.setting is None:
        return
    task, named = tasks[0], {layer.name: layer for layer in all_layers(program.model)}
    wanted = min(task.classes, 10) if task.kind in ("one-hot", "class numbers") else task.units
    for name in p.layers[:-1]:
        units = getattr(named.get(name), "units", None) or getattr(named.get(name), "filters", None)
        reconstructs = any(a.shape == task.targets.shape for a in program.inputs)
        dense = p.setting.kinds.get(name) in ("Dense", "LSTM", "GRU", "SimpleRNN")
        if (
            dense
            and units
            and units < max(2, min(3, wanted))
            and not reconstructs
            and name != task.layer
            and not _weighs(program.model)
        ):
            yield suspect(
                "capacity",
                "a hidden layer that is too narrow",
                say(
                    "{name} has {units} unit, through which all that is told of {outputs} outputs has to pass."
                    if units == 1
                    else "{name} has {units} units, through which all that is told of {outputs} outputs has to pass.",
                    name=name,
                    units=units,
                    outputs=max(wanted, 1),
                ),
                0.4,
                0.75,
                0.15,
                layer=name,
                cures=(Cure("width", "more units, such as 32", "more can be told apart."),),
                units=units,
            )
            return
