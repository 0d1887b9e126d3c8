"""What is changed of a program, and the program that comes of it."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from zoo.checkup.program import taken
from zoo.repairing.subject import AFFINE, Subject
from zoo.telemetry.keras_private import compiled_with
from zoo.telemetry.layers import inner_of, replaced

Optimizers = Callable[[], keras.optimizers.Optimizer]


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
        rows: whether samples that hold no numbers are left out.
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
    rows: bool = False
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
    if plan.rows:
        leaves = [a for a in [*keras.tree.flatten(x), *keras.tree.flatten(y)] if a is not None and a.dtype.kind == "f"]
        sound = np.all([np.isfinite(a.reshape(len(a), -1)).all(1) for a in leaves], axis=0)
        x, y = taken(x, np.flatnonzero(sound)), taken(y, np.flatnonzero(sound))
    if plan.labels and subject.aim is not None:
        code = {"from zero": _ranks, "zeros and ones": _two, "own class": _own_class}[plan.labels]
        y = keras.tree.map_structure(functools.partial(code, subject), y)
    if plan.scaled and training:
        offset, scale = scale_of(subject)
        y = keras.tree.map_structure(lambda a: ((a - offset) / scale).astype("float32"), y)
    return x, y


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
    model = _copied(subject, plan)
    _keep(subject, plan, model, seed)
    make = plan.compiled.get("optimizer")
    optimizer = make() if make is not None else fresh(subject.model.optimizer)
    compiled_as(model, subject, plan, optimizer)
    return model


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
    model.compile(**given)


def fresh(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return an optimizer like this one that has taken no step."""
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception:  # a schedule of one's own may have no config: it is taken as it is
        inner = inner_of(optimizer)
        schedule = inner._learning_rate
        with replaced((inner, "_learning_rate", 0.0)):
            config = optimizer.get_config()
        (config["inner_optimizer"]["config"] if "inner_optimizer" in config else config)["learning_rate"] = schedule
        return type(optimizer).from_config(config)


def _anew(metric: Any) -> Any:
    """Return a metric of its own: one that is shared would count the answers of two models."""
    return type(metric).from_config(metric.get_config()) if isinstance(metric, keras.metrics.Metric) else metric


def _copied(subject: Subject, plan: Plan) -> keras.Model:
    model = subject.model
    if not subject.editable:
        try:
            copy = type(model).from_config(model.get_config())
        except Exception as error:
            raise TypeError(
                f"{type(model).__name__} cannot be copied, and so nothing can be tried: give it a get_config() that "
                "returns the arguments of its __init__."
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copy(subject.program.batch(min(2, subject.program.count))[0])
        return copy if not plan.standardized else _wrapped(subject, copy)
    if isinstance(model, keras.Sequential):
        given = model.inputs[0]
        first = keras.Input(batch_shape=given.shape, dtype=given.dtype)
        front = _front(subject) if plan.standardized else []
        return type(model)([first, *front, *_chained(model, plan)], name=model.name)
    body = _graph(model, plan)
    if not plan.standardized:
        return body
    given = keras.tree.map_structure(lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), body.input)
    leaves = keras.tree.flatten(given)
    through = [layer(t) for layer, t in zip(_front(subject), leaves, strict=True)]
    return keras.Model(given, body.call(keras.tree.pack_sequence_as(given, through)), name=model.name)


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


def _chained(model: keras.Sequential, plan: Plan) -> list[keras.layers.Layer]:
    return [new for layer in model.layers for new in _emitted(layer, plan)]


def _graph(model: keras.Model, plan: Plan) -> keras.Model:
    chains: dict[int, list[keras.layers.Layer]] = {}

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        chain = _emitted(layer, plan)
        first = chain[0] if chain else keras.layers.Identity(name=layer.name)
        chains[id(first)] = chain[1:]
        return first

    def called(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        given = layer(*args, **kwargs)
        for behind in chains.get(id(layer), []):
            given = behind(given)
        return given

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = keras.models.clone_model(model, clone_function=copied, call_function=called)
    return body


def _emitted(layer: keras.layers.Layer, plan: Plan) -> list[keras.layers.Layer]:
    """Return what comes in the place of a layer."""
    if layer.name in plan.left_out:
        return []
    if isinstance(layer, keras.Sequential):
        given = layer.inputs[0]
        first = keras.Input(batch_shape=given.shape, dtype=given.dtype)
        return [keras.Sequential([first, *_chained(layer, plan)], name=layer.name)]
    if isinstance(layer, keras.Model) and type(layer).__name__ in ("Model", "Functional"):
        return [_graph(layer, plan)]
    config = layer.get_config()
    changed = plan.settings.get(layer.name, {}) | plan.settings.get("*", {})
    config |= {name: value for name, value in changed.items() if name in config}
    behind = []
    if layer.name in plan.normalized and type(layer).__name__ in AFFINE:
        activation = config["activation"]
        behind.append(keras.layers.BatchNormalization(name=f"{layer.name}_normalized"))
        if activation not in (None, "linear"):
            behind.append(keras.layers.Activation(activation, name=f"{layer.name}_activation"))
            config["activation"] = "linear"
    return [type(layer).from_config(config), *behind]


DRAWS = ("kernel_initializer", "recurrent_initializer", "bias_initializer", "embeddings_initializer", "units")


def _keep(subject: Subject, plan: Plan, model: keras.Model, seed: int) -> None:
    """Give layers the weights of the program's own, but those that are to be drawn anew, or are no numbers."""
    if plan.redrawn or (seed and not subject.trained):
        return
    for layer in _with_weights(model):
        old = subject.named.get(layer.name)
        if old is None or any(name in plan.settings.get(layer.name, {}) for name in DRAWS):
            continue
        values = old.get_weights()
        if [v.shape for v in values] == [tuple(w.shape) for w in layer.weights] and all(
            np.isfinite(v).all() for v in values if v.dtype.kind == "f"
        ):
            layer.set_weights(values)


def _with_weights(model: keras.Model) -> list[keras.layers.Layer]:
    found = []
    for layer in model.layers:
        found += _with_weights(layer) if isinstance(layer, keras.Model) else [layer] if layer.weights else []
    return found


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
        given = model.inputs[0]
        first = keras.Input(batch_shape=given.shape, dtype=given.dtype)
        return keras.Sequential([first, *model.layers, back], name=model.name)
    return keras.Model(model.inputs, back(model.outputs[0]), name=model.name)
