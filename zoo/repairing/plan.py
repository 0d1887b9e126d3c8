"""What is changed of a program, and the program that comes of it."""

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.checkup.frozen import never_trained
from zoo.checkup.optimizer import config_of
from zoo.checkup.program import taken
from zoo.repairing.copying import another, has_train_step_alone
from zoo.repairing.subject import AFFINE, WRAPPING, Subject, rebuilt
from zoo.telemetry.keras_private import compiled_with, flat_layers, made_by
from zoo.telemetry.layers import replaced


@dataclasses.dataclass(frozen=True)
class Gentler:
    """How a training goes on from an epoch.

    Attributes:
        epoch: until which it was as it is.
        kind: "rate": a tenth of it; "clipping": at norm 1; "warm-up": a rate that rises from 0 to a third, and falls.
        rate: that it had.
        steps: of an epoch.
    """

    epoch: int
    kind: str
    rate: float
    steps: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that is changed.

    Attributes:
        settings: arguments of layers, by the layers' names.
        normalized: layers behind which, and before their activation, a batch normalization comes.
        left_out: layers that are left out.
        standardized: whether a layer in front brings the inputs to mean 0 and deviation 1.
        scaled: whether training sees targets of mean 0 and deviation 1; a layer behind scales the answers back.
        redrawn: whether all weights are drawn anew.
        compiled: arguments of `compile`; the optimizer as a function that makes one.
        holes: what becomes of values that are no numbers: "left out" with their samples, "filled" with zeros, or "".
        labels: "from zero": class numbers by rank; "zeros and ones": two values as 0 and 1; "own class": rows of zeros,
            one-hot, as the class that nothing has; "" as they are.
        fitted: arguments of `fit`: epochs, batch_size.
        gentler: how it goes on from a sound epoch; `None` where it is trained anew.
    """

    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    normalized: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    standardized: bool = False
    scaled: bool = False
    redrawn: bool = False
    compiled: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    holes: str = ""
    labels: str = ""
    fitted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    gentler: Gentler | None = None

    def setting(self, layer: str, **arguments: Any) -> "Plan":
        """Return the plan with other arguments of a layer."""
        return dataclasses.replace(
            self, settings={**self.settings, layer: {**self.settings.get(layer, {}), **arguments}}
        )

    def compiling(self, **arguments: Any) -> "Plan":
        """Return the plan with other arguments of `compile`."""
        return dataclasses.replace(self, compiled={**self.compiled, **arguments})

    def fitting(self, **arguments: int) -> "Plan":
        """Return the plan with other arguments of `fit`."""
        return dataclasses.replace(self, fitted={**self.fitted, **arguments})


def prepared(subject: Subject, plan: Plan, x: Any, y: Any, *, training: bool) -> tuple[Any, Any]:
    """Return samples as the plan's program takes them; targets are scaled for training alone."""
    if plan.holes == "filled":
        fill = functools.partial(np.nan_to_num, posinf=0.0, neginf=0.0)
        x, y = keras.tree.map_structure(fill, x), keras.tree.map_structure(fill, y)
    elif plan.holes:
        sound = np.flatnonzero(sound_rows(x, y))
        x, y = taken(x, sound), taken(y, sound)
    if plan.labels and subject.aim is not None:
        code = {"from zero": _ranks, "zeros and ones": _two, "own class": _own_class}[plan.labels]
        y = keras.tree.map_structure(functools.partial(code, subject), y)
    if plan.scaled and training:
        offset, scale = scale_of(subject)
        y = keras.tree.map_structure(lambda a: ((a - offset) / scale).astype("float32"), y)
    return x, y


def sound_rows(x: Any, y: Any) -> np.ndarray:
    """Return, (samples,), whether all that a sample holds is finite."""
    leaves = [a for a in [*keras.tree.flatten(x), *keras.tree.flatten(y)] if a is not None and a.dtype.kind == "f"]
    return np.all([np.isfinite(a.reshape(len(a), -1)).all(1) for a in leaves], axis=0)


def coded(subject: Subject, y: Any) -> Any:
    """Return targets of two values, whatever they are, as 0 and 1."""
    leaves = [a if np.isin(a, (0, 1)).all() else _two(subject, a) for a in keras.tree.flatten(y)]
    return keras.tree.pack_sequence_as(y, leaves)


def _ranks(subject: Subject, a: np.ndarray) -> np.ndarray:
    assert subject.aim is not None
    return np.searchsorted(subject.aim.classes, a).astype("int32")


def _two(subject: Subject, a: np.ndarray) -> np.ndarray:
    return _ranks(subject, a).astype("float32")


def _own_class(subject: Subject, a: np.ndarray) -> np.ndarray:
    """Give what has no class the one that nothing has."""
    a = np.array(a, np.float32)
    a[..., unused(subject)] += a.sum(-1) == 0
    return a


def unused(subject: Subject) -> int:
    """Return the first column of one-hot targets that is always 0; -1 if there is none."""
    y = subject.program.targets[0]
    never = ~np.any(y.reshape(-1, y.shape[-1]), axis=0)
    return int(never.argmax()) if never.any() else -1


def scale_of(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of the targets, of each column where there are columns."""
    a = subject.program.targets[0].astype(np.float64)
    over = 0 if a.ndim == 2 else None
    deviation = np.nanstd(a, axis=over)
    return np.asarray(np.nanmean(a, axis=over)), np.where(deviation > 0, deviation, 1.0)


def realized(subject: Subject, plan: Plan, seed: int) -> keras.Model:
    """Return a compiled model that is made as the plan says; the program's own stays as it is.

    Args:
        seed: of the draws; with the first one, 0, weights begin as the program's own.

    Raises:
        TypeError: if the model cannot be copied.
    """
    keras.utils.set_random_seed(seed)
    with keras.saving.custom_object_scope(_own(subject.model)):
        model = _copied(subject, plan)
    _keep(subject, plan, model, seed)
    make = plan.compiled.get("optimizer")
    optimizer = make() if make is not None else fresh(subject.model.optimizer)
    compiled_as(model, subject, plan, optimizer)
    return model


def _own(model: keras.Model) -> dict[str, Any]:
    """Return a person's own classes and functions by the names that configs have for them: none need be registered."""
    found = {}
    for layer in flat_layers(model):
        for thing in (layer, *vars(layer).values()):
            kind = thing if inspect.isfunction(thing) else type(thing) if hasattr(thing, "get_config") else None
            if kind is not None and kind.__module__.split(".")[0] != "keras":
                found[kind.__name__] = kind
    return found


def compiled_as(model: keras.Model, subject: Subject, plan: Plan, optimizer: keras.optimizers.Optimizer) -> None:
    """Compile a model as the program's own, but for what the plan changes, with this optimizer."""
    # To compile by XLA takes longer than such short trainings.
    quick = {"jit_compile": False} if keras.config.backend() == "tensorflow" else {}
    _compile(model, subject.model, plan, optimizer, **quick)


def _compile(model: keras.Model, like: keras.Model, plan: Plan, optimizer: Any, **changed: Any) -> None:
    """Compile a model as another is, but for what the plan changes."""
    given = {**compiled_with(like), **plan.compiled, **changed, "optimizer": optimizer}
    for name in ("metrics", "weighted_metrics"):
        given[name] = keras.tree.map_structure(_anew, given.get(name))
    try:
        model.compile(**given)
    except TypeError as error:
        if type(model).compile is keras.Model.compile:
            raise
        raise TypeError(
            f"{type(model).__name__} has a compile() of its own, whose arguments are not those of Keras: nothing of it "
            "can be changed from outside. zoo.Doctor says what to change."
        ) from error


def fresh(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return an optimizer like this one that has taken no step."""
    return type(optimizer).from_config(config_of(optimizer))


def _anew(metric: Any) -> Any:
    """Return a metric of its own: one that is shared would count the answers of two models."""
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except Exception as error:
        raise TypeError(
            f"the metric {type(metric).__name__} cannot be copied, and so nothing can be tried: give it a get_config() "
            "that returns the arguments of its __init__."
        ) from error


def _copied(subject: Subject, plan: Plan) -> keras.Model:
    model = subject.model
    if not subject.editable:
        copy = another(model, plan.settings.get(model.name))
        if not has_train_step_alone(copy):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                copy(subject.program.batch(min(2, subject.program.count))[0])
        return copy if not plan.standardized else _wrapped(subject, copy)
    front = _front(subject) if plan.standardized else []
    if isinstance(model, keras.Sequential):
        return type(model)([_entrance(model), *front, *_chained(model, plan)], name=model.name)
    return _graph(model, plan, front)


def _wrapped(subject: Subject, copy: keras.Model) -> keras.Model:
    first = subject.program.inputs[0]
    return keras.Sequential([keras.Input(first.shape[1:], dtype=str(first.dtype)), *_front(subject), copy])


def _front(subject: Subject) -> list[keras.layers.Layer]:
    """Return a layer for each input that brings it to mean 0 and deviation 1."""
    found = []
    for i, a in enumerate(subject.program.inputs):
        a = a[subject.program.some].astype(np.float64)
        columns = a.reshape(-1, a.shape[-1]) if a.ndim > 1 else a[:, None]
        name = "standardize" + (f"_{i}" if len(subject.program.inputs) > 1 else "")
        mean, variance = np.nanmean(columns, 0), np.nanvar(columns, 0)
        found.append(
            keras.layers.Normalization(axis=-1, mean=mean.tolist(), variance=_spread(variance).tolist(), name=name)
        )
    return found


def _spread(variance: np.ndarray) -> np.ndarray:
    """Return variances none of which is 0: columns, such as a picture's margin, that are always the same stay 0."""
    return np.where(variance > 0, variance, 1.0)


def _entrance(model: keras.Sequential) -> Any:
    given = model.inputs[0]
    return keras.Input(batch_shape=given.shape, dtype=given.dtype)


def _chained(model: keras.Sequential, plan: Plan) -> list[keras.layers.Layer]:
    return [new for layer in model.layers for new in _emitted(layer, plan)]


def _graph(model: keras.Model, plan: Plan, front: Sequence[keras.layers.Layer] = ()) -> keras.Model:
    chains: dict[int, list[keras.layers.Layer]] = {}
    # As the layers are named that the tensors come from: tensors count on from model to model.
    given = keras.tree.map_structure(
        lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=made_by(t).name), model.input
    )
    fronted = {id(t): layer(t) for layer, t in zip(front, keras.tree.flatten(given), strict=False)}

    def behind_front(given: Any) -> Any:
        return fronted.get(id(given), given)

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        chain = _emitted(layer, plan)
        first = chain[0] if chain else keras.layers.Identity(name=layer.name)
        chains[id(first)] = chain[1:]
        return first

    def called(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        named = {name: keras.tree.map_structure(behind_front, value) for name, value in kwargs.items()}
        made = layer(*(keras.tree.map_structure(behind_front, value) for value in args), **named)
        for behind in chains.get(id(layer), []):
            made = behind(made)
        return made

    # Of a compiled one Keras would compile the clone, for which all of its own must be registered.
    with warnings.catch_warnings(), replaced((model, "compiled", False)):
        warnings.simplefilter("ignore")
        body = keras.models.clone_model(model, given, clone_function=copied, call_function=called)
    return body


def _emitted(layer: keras.layers.Layer, plan: Plan) -> list[keras.layers.Layer]:
    """Return what comes in the place of a layer."""
    if layer.name in plan.left_out:
        return []
    if isinstance(layer, keras.Sequential):
        return [keras.Sequential([_entrance(layer), *_chained(layer, plan)], name=layer.name)]
    if rebuilt(layer):
        return [_graph(layer, plan)]
    config = _set(layer.name, layer_config(layer), plan)
    behind = []
    if layer.name in plan.normalized and type(layer).__name__ in AFFINE:
        activation = config["activation"]
        behind.append(keras.layers.BatchNormalization(name=f"{layer.name}_normalized"))
        if activation not in (None, "linear"):
            behind.append(keras.layers.Activation(activation, name=f"{layer.name}_activation"))
            config["activation"] = "linear"
    made = type(layer)(**config) if isinstance(layer, keras.layers.Lambda) else type(layer).from_config(config)
    made.name = layer.name  # which the config of one's own need not hold
    return [made, *behind]


def layer_config(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return a layer's config, in which functions stand as they are: of a lambda Keras would make none anew."""
    config = layer.get_config()
    for name, value in config.items():
        for held in (vars(layer).get(name), vars(layer).get(f"_{name}")):
            if isinstance(value, dict) and inspect.isfunction(held):
                config[name] = held
    return config


def _set(named: str, config: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return a layer's config with what the plan sets of its name, and of the layer that it wraps too."""
    # A bidirectional one's both are made of the one that it wraps.
    asked = (plan.settings.get(name, {}) for name in (named, f"forward_{named}", "*"))
    changed = {name: value for settings in asked for name, value in settings.items() if name in config}
    config = config | changed
    for name in ("layer", "backward_layer"):
        wrapped = config.get(name)
        if isinstance(wrapped, dict) and isinstance(wrapped.get("config"), dict):
            inner = wrapped["config"]
            config[name] = wrapped | {"config": _set(inner.get("name", ""), inner, plan)}
    return config


DRAWS = ("kernel_initializer", "recurrent_initializer", "bias_initializer", "embeddings_initializer", "units")


def _keep(subject: Subject, plan: Plan, model: keras.Model, seed: int) -> None:
    """Give layers the weights of the program's own, but those that are to be drawn anew, or are no numbers.

    What was learned, or adapted to data, and does not train stays in any case: nothing would bring it back.
    """
    redrawn = plan.redrawn or (seed and not subject.trained)
    if subject.editable:
        pairs = list(_twins(model, subject.model))
    else:  # layers of a class of one's own name themselves anew in each copy
        pairs = [(model.layers[-1] if plan.standardized else model, subject.model)]
    for layer, old in pairs:
        if not plan.settings.get("*", {}).get("trainable"):
            for inner, like in zip(flat_layers(layer), flat_layers(old), strict=False):
                inner.trainable = like.trainable  # of layers within others no config need tell it
        changed = [old, *(flat_layers(old) if isinstance(old, WRAPPING) else [])]
        drawn = redrawn or any(name in plan.settings.get(one.name, {}) for one in changed for name in DRAWS)
        if drawn and (old.trainable_variables or never_trained([old])):
            continue
        values = old.get_weights()
        if [v.shape for v in values] == [tuple(w.shape) for w in layer.weights] and all(
            np.isfinite(v).all() for v in values if v.dtype.kind == "f"
        ):
            layer.set_weights(values)
            for inner in flat_layers(layer):
                if isinstance(inner, keras.layers.Normalization):
                    inner.finalize_state()  # it computes with copies of its weights


def _twins(model: Any, like: Any) -> Iterator[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Yield each layer that has weights with the one that it was made from."""
    named = {layer.name: layer for layer in like.layers}  # names differ within a model, not from model to model
    for layer in model.layers:
        old = named.get(layer.name)
        if old is not None and rebuilt(layer):
            yield from _twins(layer, old)
        elif old is not None and layer.weights:
            yield layer, old


def in_units(subject: Subject, plan: Plan, model: keras.Model) -> keras.Model:
    """Return a trained model that answers in the targets' own units, compiled as the program's own but for the plan."""
    whole = scaled_back(subject, model) if plan.scaled else model
    _compile(whole, subject.model, plan, model.optimizer)
    return whole


def scaled_back(subject: Subject, model: keras.Model) -> keras.Model:
    """Return a model, with the same weights, whose answers to scaled targets are in the targets' own units."""
    offset, scale = scale_of(subject)
    back = keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="targets_units")
    if isinstance(model, keras.Sequential):
        return keras.Sequential([_entrance(model), *model.layers, back], name=model.name)
    return keras.Model(model.inputs, back(model.outputs[0]), name=model.name)
