"""What five other tools say of a Keras program: their published rules, in our own words and code.

`Watch` collects during `fit` what the rules look at, on one batch before training and after each epoch; each tool is a
function of what it has `Seen` that returns (the tool's own name of the problem, causes that its advice would change).

Sources are the tools' papers and, where a paper leaves a threshold or an order open, their public repositories; each
docstring names them. Where a rule as written would fire on sound programs only for how they are spelled (a softmax
inside a `Dense` layer instead of one behind it), or needs more epochs than there are, the reading that serves the tool
is taken, and said. A message that begins with `HINT` is one that its tool itself sets apart from faults.
"""

import dataclasses
import functools
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from other_tools import CONVERGED, View
from other_tools import autotrainer as gradient_problem

Message = tuple[str, tuple[str, ...]]

HINT = "design: "
SAMPLES = 256  # on which accuracy is measured
LOOKS = 50  # at most about as many are taken of a training
LARGE = 5_000_000  # entries of a kernel that is not kept to compare the next look with
RAISE = False  # for tests: let a rule that fails do so


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer, or the activation inside one.

    Attributes:
        kind: dense, conv, pool, batchnorm, dropout, flatten, activation, embedding, or the class in small letters.
        function: name of an activation function; "" of what is none.
        layer: that it is, or is inside of.
    """

    kind: str
    function: str
    layer: keras.Layer

    @property
    def learns(self) -> bool:
        """Whether it is a layer that an activation belongs to."""
        return self.kind in ("dense", "conv")

    @property
    def nonlinear(self) -> bool:
        return self.kind == "activation" and self.function != "linear"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel that trains, and its gradient as the optimizer gets it, after clipping.

    Attributes:
        name: its path.
        size: its entries.
        norm, mean, mean_size, zeros, spread: of the gradient: its norm, mean, mean absolute value, share of zeros, and
            what lies between the percentiles 5 and 95.
        weight_norm, weight_mean, weight_variance, weight_zeros: of the weights.
        update: mean absolute change since the look before over that of the weights; NaN at the first.
        unchanged: whether it is close to what it was then, as `numpy.allclose` has it.
    """

    name: str
    size: int
    norm: float
    mean: float
    mean_size: float
    zeros: float
    spread: float
    weight_norm: float
    weight_mean: float
    weight_variance: float
    weight_zeros: float
    update: float
    unchanged: bool


@dataclasses.dataclass(frozen=True)
class Passed:
    """What went through one activation function.

    Attributes:
        function: its name.
        variance: of what came in.
        inactive: share of units that are above 0 on under 1 % of the batch.
        zeros: share of outputs that are at most 0.
        beyond: share of units whose inputs are all beyond (-23, 17) for a sigmoid, (-9.5, 9.5) for tanh.
        beyond_five: share of inputs beyond (-5, 5).
    """

    function: str
    variance: float
    inactive: float
    zeros: float
    beyond: float
    beyond_five: float


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at a training.

    Attributes:
        epoch: that are over.
        loss: on the batch, in inference mode; NaN where it cannot be had.
        rate: the learning rate; NaN where it cannot be had.
        kernels: that train, in order.
        means: of what each layer with weights, and each after one, gives, by its name.
        passed: through activation functions, in order.
        output: smallest and largest answer.
        accuracy, val_accuracy: on samples of the training and of the validation data; NaN for a regression.
        told: 1 - squared error over the targets' variance; NaN for a classification.
        confusion: counts by true class (rows) and said one; `None` for a regression.
    """

    epoch: int
    loss: float
    rate: float
    kernels: list[Kernel]
    means: dict[str, float]
    passed: list[Passed]
    output: tuple[float, float]
    accuracy: float
    val_accuracy: float
    told: float
    confusion: np.ndarray | None


@dataclasses.dataclass
class Seen:
    """All that the rules look at.

    Attributes:
        model, x, y, fit: the program's.
        logs: of each epoch: loss, metrics, and those of validation.
        looks: before training, then after epochs.
        epochs: that were to be trained.
        steps: of an epoch; 0 where it is not known.
        seconds: that looking took.
        errors: what looking raised.
    """

    model: keras.Model
    x: object
    y: object
    fit: dict
    logs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    looks: list[Look] = dataclasses.field(default_factory=list)
    epochs: int = 1
    steps: int = 0
    seconds: float = 0.0
    errors: list[Exception] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def chain(self) -> list[Part]:
        """The layers in order, an activation inside of one set behind it."""
        return [part for layer in _leaves(self.model) for part in _parts(layer)]

    @functools.cached_property
    def way(self) -> list[Part]:
        """The layers up to the first output, where there are several."""
        outputs = getattr(self.model, "outputs", None) or []
        if len(outputs) > 1:
            end = outputs[0]._keras_history.operation
            ends = [i for i, part in enumerate(self.chain) if part.layer is end]
            return self.chain[: ends[-1] + 1] if ends else self.chain
        return self.chain

    @functools.cached_property
    def loss(self) -> tuple[str, bool]:
        """Name of the loss function of the first output, "" if it is none of Keras', and whether it takes logits."""
        return _loss(self.model)

    @functools.cached_property
    def last(self) -> str:
        """Function of the last layer; linear where there is none."""
        for part in reversed(self.way):
            if part.kind == "activation":
                return part.function
            if part.kind not in ("dropout", "flatten", "reshape"):
                break
        return "linear"

    @functools.cached_property
    def units(self) -> int:
        """Of the last layer with a kernel; 0 where there is none."""
        return next((_width(p.layer) for p in reversed(self.way) if p.learns), 0)

    @functools.cached_property
    def inputs(self) -> np.ndarray:
        """The first input, all of it where it is an array."""
        return np.asarray(_first(self.x)) if _arrays(self.x) else np.asarray(_first(_some(self.x, self.y, SAMPLES)[0]))

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """The same of the first target."""
        return np.asarray(_first(self.y)) if _arrays(self.x) else np.asarray(_first(_some(self.x, self.y, SAMPLES)[1]))

    @property
    def losses(self) -> list[float]:
        """On the batch before training, then of each epoch."""
        return [*(look.loss for look in self.looks[:1]), *(log.get("loss", math.nan) for log in self.logs)]

    @property
    def learned(self) -> bool:
        """Whether accuracy reached 0.7, AUTOTRAINER's Theta, or a regression tells 0.4 of the variance."""
        last = self.looks[-1]
        return last.told >= 1 - CONVERGED if math.isnan(last.accuracy) else last.accuracy >= THETA

    @property
    def tokens(self) -> bool:
        """Whether the inputs are numbers of words."""
        return any(part.kind == "embedding" for part in self.chain[:2])


class Watch(keras.callbacks.Callback):
    """Collects what the rules look at: give it to `fit`, then read `seen`.

    Args:
        x, y: the training data.
        fit: the other arguments of `fit`.
    """

    def __init__(self, x: object, y: object, fit: dict):
        super().__init__()
        self.x, self.y, self.arguments = x, y, fit
        self.seen: Seen | None = None
        self.data: dict[str, tuple] = {}
        self.before: dict[str, np.ndarray] = {}

    def on_train_begin(self, logs=None):
        self.seen = Seen(self.model, self.x, self.y, self.arguments, epochs=self.params.get("epochs") or 1)
        self.seen.steps = self.params.get("steps") or 0
        self.guarded(self.prepare)
        self.guarded(functools.partial(self.look, 0))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.logs.append({name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0})
        if (epoch + 1) % math.ceil(self.seen.epochs / LOOKS) == 0 or epoch + 1 == self.seen.epochs:
            self.guarded(functools.partial(self.look, epoch + 1))

    def guarded(self, collect: Callable[[], None]) -> None:
        """Do it; what it raises is kept and ends no training."""
        begun = time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                collect()
        except Exception as error:
            if RAISE:
                raise
            self.seen.errors.append(error)
        self.seen.seconds += time.perf_counter() - begun

    def prepare(self) -> None:
        """Keep the first batch, as AUTOTRAINER and DeepDiagnosis do, and samples of training and validation data."""
        x, y, fit = self.x, self.y, self.arguments
        valid = fit.get("validation_data")
        if fit.get("validation_split") and _arrays(x):
            cut = int(_count(x) * (1 - fit["validation_split"]))
            valid = _rows(x, slice(cut, None)), _rows(y, slice(cut, None))
            x, y = _rows(x, slice(cut)), _rows(y, slice(cut))
        self.data["batch"] = _some(x, y, fit.get("batch_size") or 32)
        self.data["train"] = _some(x, y, SAMPLES, spread=True)
        if isinstance(valid, (tuple, list)) and len(valid) >= 2:
            self.data["valid"] = _some(valid[0], valid[1], SAMPLES, spread=True)
        elif valid is not None:
            self.data["valid"] = _some(valid, None, SAMPLES)

    def look(self, epoch: int) -> None:
        x, y = self.data["batch"]
        model = self.model
        variables = [v for v in model.trainable_variables if len(v.shape) > 1]
        means: dict[str, float] = {}
        passed: list[Passed] = []
        with tf.GradientTape() as tape, _Tapped(model, means, passed):
            said = model(x, training=False)
            try:
                loss = tf.reduce_mean(model.compute_loss(x=x, y=y, y_pred=said, training=False))
            except Exception as error:  # a step of one's own need not have it
                self.seen.errors.append(error)
                loss = None
        gradients = [None] * len(variables)
        if loss is not None and variables:
            gradients = tape.gradient(loss, [v.value for v in variables])
        gradients = _clipped(gradients, getattr(model, "optimizer", None))
        kernels = [] if loss is None else [self.kernel(v, g) for v, g in zip(variables, gradients, strict=True)]
        first = np.asarray(_first(said), np.float64)
        accuracy, told, confusion = self.measured("train")
        self.seen.looks.append(
            Look(
                epoch,
                math.nan if loss is None else float(loss),
                _rate(model),
                kernels,
                means,
                passed,
                (float(first.min()), float(first.max())) if first.size else (math.nan, math.nan),
                accuracy,
                self.measured("valid")[0] if "valid" in self.data else math.nan,
                told,
                confusion,
            )
        )

    def kernel(self, variable: keras.Variable, gradient: object) -> Kernel:
        w = np.asarray(variable.value, np.float32)
        g = np.zeros(1, np.float32) if gradient is None else np.asarray(gradient, np.float32)
        old = self.before.get(variable.path)
        if w.size <= LARGE:
            self.before[variable.path] = w.copy()
        return Kernel(
            variable.path,
            w.size,
            float(np.sqrt(np.square(g, dtype=np.float64).sum())),
            float(g.mean()),
            float(np.abs(g).mean()),
            float(np.mean(g == 0)),
            float(np.subtract(*np.percentile(g, [95, 5]))),
            float(np.sqrt(np.square(w, dtype=np.float64).sum())),
            float(w.mean()),
            float(w.var()),
            float(np.mean(w == 0)),
            math.nan if old is None else float(np.abs(w - old).mean() / (np.abs(old).mean() + 1e-9)),
            old is not None and bool(np.allclose(w, old, rtol=1e-5, atol=1e-8)),
        )

    def measured(self, which: str) -> tuple[float, float, np.ndarray | None]:
        """Return accuracy, explained variance and confusions; NaN, or `None`, where they mean nothing."""
        x, y = self.data[which]
        said, true = np.asarray(_first(self.model(x, training=False))), np.asarray(_first(y))
        return _measures(said, true, *self.seen.loss)


def _measures(said: np.ndarray, true: np.ndarray, loss: str, logits: bool) -> tuple[float, float, np.ndarray | None]:
    """As Keras' `accuracy` would: by the shapes and the loss."""
    nothing = math.nan, math.nan, None
    if said.ndim < 1 or not said.size or not true.size or len(said) != len(true):
        return nothing
    wide = said.shape[-1] if said.ndim > 1 else 1
    whole = bool(np.all(true == np.round(true))) if np.issubdtype(true.dtype, np.number) else False
    if wide > 1 and true.shape == said.shape and whole and np.all(true.sum(-1) == 1) and true.min() >= 0:
        a, b = true.argmax(-1).ravel(), said.argmax(-1).ravel()
    elif wide > 1 and true.size * wide == said.size and (whole or loss.startswith("sparse")):
        a, b = true.ravel().astype(int), said.argmax(-1).ravel()
    elif true.size == said.size and (loss == "binary_crossentropy" or (whole and len(np.unique(true)) == 2)):
        a, b = true.ravel(), np.round(np.nan_to_num(said.ravel()))
        if logits:
            b = (said.ravel() > 0).astype(float)
        return float(np.mean(a == b)), math.nan, _confusion(a, b) if wide == 1 else None
    elif true.size == said.size:
        rest, variance = np.mean((true.ravel().astype(float) - said.ravel()) ** 2), np.var(true.astype(float))
        return math.nan, float(1 - rest / max(variance, 1e-30)), None
    else:
        return nothing
    return (float(np.mean(a == b)) if np.isfinite(said).all() else 0.0), math.nan, _confusion(a, b)


def _confusion(true: np.ndarray, said: np.ndarray) -> np.ndarray | None:
    names, where = np.unique(np.concatenate([true, said]), return_inverse=True)
    if len(names) > 1000:
        return None
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (where[: len(true)], where[len(true) :]), 1)
    return counts


def _clipped(gradients: list, optimizer: object) -> list:
    """Return them as the optimizer clips them; a sparse one made dense."""
    found = [tf.convert_to_tensor(g) if g is not None else None for g in gradients]
    some = [g for g in found if g is not None]
    if not some or optimizer is None:
        return found
    if value := getattr(optimizer, "clipvalue", None):
        found = [None if g is None else tf.clip_by_value(g, -value, value) for g in found]
    elif norm := getattr(optimizer, "clipnorm", None):
        found = [None if g is None else tf.clip_by_norm(g, norm) for g in found]
    elif norm := getattr(optimizer, "global_clipnorm", None):
        found = list(tf.clip_by_global_norm(found, norm)[0])
    return found


class _Tapped:
    """While it lasts, what layers give and what activation functions take and give is noted, of eager passes."""

    def __init__(self, model: keras.Model, means: dict[str, float], passed: list[Passed]):
        self.model, self.means, self.passed, self.undo = model, means, passed, []

    def __enter__(self) -> None:
        learned = False
        for layer in _leaves(self.model):
            learned = learned or bool(layer.weights)
            if hasattr(layer, "recurrent_activation") or hasattr(layer, "cell"):
                continue
            function = vars(layer).get("activation")
            if callable(function):
                self.put(layer, "activation", functools.partial(self.activation, function, _named(function)))
            if learned:
                self.put(layer, "call", functools.partial(self.call, layer.call, layer))

    def put(self, layer: keras.Layer, name: str, value: object) -> None:
        self.undo.append((layer, name, vars(layer).get(name)))
        vars(layer)[name] = value

    def __exit__(self, *_) -> None:
        for layer, name, old in reversed(self.undo):
            if old is None:
                vars(layer).pop(name, None)
            else:
                vars(layer)[name] = old

    def activation(self, function: Callable, name: str, x: object, **kwargs) -> object:
        out = function(x, **kwargs)
        self.note(name, x, out)
        return out

    def call(self, function: Callable, layer: keras.Layer, *args, **kwargs) -> object:
        out = function(*args, **kwargs)
        first = keras.tree.flatten(out)
        if first and hasattr(first[0], "numpy"):
            self.means[layer.name] = float(np.mean(first[0].numpy(), dtype=np.float64))
        kind = _kind(layer)
        if kind == "activation" and not hasattr(layer, "activation"):
            self.note(_named(layer), args[0], out)
        return out

    def note(self, name: str, x: object, out: object) -> None:
        if not (hasattr(x, "numpy") and hasattr(out, "numpy")) or x.shape.rank < 2 or x.shape != out.shape:
            return
        before, after = (np.asarray(t.numpy(), np.float32).reshape(-1, t.shape[-1]) for t in (x, out))
        low, high = (-23.0, 17.0) if name == "sigmoid" else (-9.5, 9.5)
        self.passed.append(
            Passed(
                name,
                float(before.var()),
                float(np.mean(np.mean(after > 0, axis=0) < 0.01)),
                float(np.mean(after <= 0)),
                float(np.mean(np.mean((before > low) & (before < high), axis=0) < 0.01)),
                float(np.mean(np.abs(before) >= 5)),
            )
        )


# Layers that are an activation by themselves.
FUNCTIONS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu", "Softmax": "softmax"}
KINDS = {"BatchNormalization": "batchnorm", "SpatialDropout2D": "dropout", "SpatialDropout1D": "dropout"}


def _kind(layer: keras.Layer) -> str:
    name = type(layer).__name__
    if name in FUNCTIONS or isinstance(layer, keras.layers.Activation):
        return "activation"
    if name.startswith(("Conv", "SeparableConv", "DepthwiseConv")):
        return "conv"
    if "Pooling" in name:
        return "globalpool" if name.startswith("Global") else "pool"
    return KINDS.get(name, name.lower())


def _named(function: object) -> str:
    return FUNCTIONS.get(type(function).__name__) or getattr(function, "__name__", type(function).__name__.lower())


def _parts(layer: keras.Layer) -> list[Part]:
    kind = _kind(layer)
    if kind == "activation":
        function = _named(vars(layer).get("activation") or layer)
        return [] if function == "linear" else [Part(kind, function, layer)]
    if kind == "inputlayer":
        return []
    found = [Part(kind, "", layer)]
    function = getattr(layer, "activation", None)
    if callable(function) and kind in ("dense", "conv") and _named(function) != "linear":
        found.append(Part("activation", _named(function), layer))
    return found


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers, those inside of models in these, each once."""
    seen: set[int] = set()

    def inside(layers: list) -> Iterator[keras.Layer]:
        for layer in layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if isinstance(layer, keras.Model):
                yield from inside(layer.layers)
            elif hasattr(layer, "layer") and isinstance(layer.layer, keras.Layer):  # a wrapper
                yield from inside([layer.layer])
            else:
                yield layer

    yield from inside(model.layers)


def _width(layer: keras.Layer) -> int:
    return int(getattr(layer, "units", None) or getattr(layer, "filters", None) or 0)


def _loss(model: keras.Model) -> tuple[str, bool]:
    loss = getattr(model, "loss", None)
    while isinstance(loss, (dict, list, tuple)) and len(loss):
        loss = loss[min(loss)] if isinstance(loss, dict) else loss[0]  # as a structure's parts are ordered
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if not callable(loss):
        return "", False
    function = getattr(loss, "fn", loss)
    own = not (getattr(function, "__module__", "") or "").startswith(("keras.", "keras_"))
    logits = bool(getattr(loss, "from_logits", False) or getattr(loss, "_fn_kwargs", {}).get("from_logits", False))
    return "" if own else getattr(function, "__name__", ""), logits


def _rate(model: keras.Model) -> float:
    try:
        return float(np.asarray(model.optimizer.learning_rate))
    except (AttributeError, TypeError, ValueError):
        return math.nan


def _arrays(x: object) -> bool:
    flat = keras.tree.flatten(x)
    return bool(flat) and all(hasattr(part, "shape") and np.ndim(part) > 0 for part in flat)


def _count(x: object) -> int:
    return len(keras.tree.flatten(x)[0])


def _rows(x: object, which: object) -> object:
    return keras.tree.map_structure(lambda part: np.asarray(part)[which], x)


def _first(x: object) -> object:
    return keras.tree.flatten(x)[0]


def _some(x: object, y: object, count: int, *, spread: bool = False) -> tuple:
    """Return samples as tensors: the first ones, or some from all over where they are arrays."""
    if _arrays(x):
        every = max(1, _count(x) // count) if spread else 1
        x, y = (_rows(part, slice(0, every * count, every)) if part is not None else None for part in (x, y))
    else:
        x, y = [*_batch(x), None][:2]
        x, y = (_rows(part, slice(count)) if part is not None else None for part in (x, y))
    return tuple(None if part is None else keras.tree.map_structure(tf.convert_to_tensor, part) for part in (x, y))


def _batch(x: object) -> tuple:
    """Return the first batch of a data set; a generator, whose batches are gone once drawn, is left alone."""
    if not isinstance(x, tf.data.Dataset) and hasattr(x, "__getitem__"):
        return x[0]
    if not isinstance(x, tf.data.Dataset):
        raise TypeError(f"cannot look at the data of a {type(x).__name__}")
    return keras.tree.map_structure(np.asarray, next(iter(x)))


# The rules.


def _told(seen: Seen, *rules: Callable[[Seen], Iterator[Message]]) -> list[Message]:
    """Return what the rules say, each once, in order; one that cannot look at this program says nothing."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of numbers that are none
                for name, causes in rule(seen):
                    found.setdefault(name, causes)
        except Exception:
            if RAISE and seen.looks:
                raise
    return list(found.items())


CROSS_ENTROPIES = ("categorical_crossentropy", "sparse_categorical_crossentropy")


def umlaut(seen: Seen) -> list[Message]:
    """Schoop et al. 2021, UMLAUT (CHI), as in github.com/BerkeleyHCI/umlaut, umlaut/heuristics.py.

    Its twelve heuristics with their thresholds; critical errors first, then errors, then warnings, as its messages call
    themselves (umserver/errors.py). Read so that it is served: a softmax inside a layer counts as one; the softmax is
    asked of cross-entropies alone, and not where sigmoids say targets of 0 and 1 under the binary one; nor is a sigmoid
    there a "nonlinear last layer"; word numbers need be neither small nor floats. Accuracy is that of a sample.
    """
    return _told(seen, _umlaut_critical, _umlaut_errors, _umlaut_warnings)


def _umlaut_critical(seen: Seen) -> Iterator[Message]:
    loss, logits = seen.loss
    if _has_nan(seen.losses) and np.isnan(_floats(seen.inputs)).any():
        yield "Critical: NaN (Not a number) in input", ("data",)
    wanted = loss in CROSS_ENTROPIES or (loss == "binary_crossentropy" and not _binary(seen))
    if wanted and seen.last != "softmax" and not logits:
        yield "Critical: Missing Softmax layer before loss", ("output", "loss")
    if _linear_hidden(seen):
        yield "Critical: Missing activation functions", ("activation",)


def _binary(seen: Seen) -> bool:
    """Whether sigmoids say targets of 0 and 1."""
    y = _floats(seen.targets)
    return seen.last == "sigmoid" and bool(y.min() >= 0 and y.max() <= 1)


def _linear_hidden(seen: Seen) -> list[Part]:
    """Hidden dense and convolutional layers that no activation follows, normalization and the like aside."""
    found, chain = [], seen.chain
    learning = [i for i, part in enumerate(chain) if part.learns]
    for at, i in enumerate(learning[:-1]):
        if not any(p.kind == "activation" for p in chain[i + 1 : learning[at + 1]]):
            found.append(chain[i])
    return found


def _umlaut_errors(seen: Seen) -> Iterator[Message]:
    x = seen.inputs
    if not seen.tokens:
        if np.nanmin(_floats(x)) < -1 or np.nanmax(_floats(x)) > 1:
            yield "Error: Input data exceeds typical limits", ("inputs",)
        if not np.issubdtype(x.dtype, np.floating):
            yield "Error: Input is not a Float type", ("inputs",)
    if x.ndim == 4 and x.shape[1] != x.shape[2]:
        yield "Error: Image data may have incorrect shape", ("inputs",)


def _umlaut_warnings(seen: Seen) -> Iterator[Message]:
    rates = [look.rate for look in seen.looks[1:]]
    if any(rate > 0.01 * (1 + 1e-6) for rate in rates):  # 0.01 itself is a little above it in single precision
        yield "Warning: Learning Rate is high", ("rate",)
    if any(rate < 1e-7 for rate in rates):
        yield "Warning: Learning Rate is low", ("rate",)
    binary = seen.last == "sigmoid" and seen.loss[0] == "binary_crossentropy"
    if seen.last not in ("linear", "softmax") and not binary:
        yield "Warning: Last model layer has nonlinear activation", ("output",)
    if any(getattr(part.layer, "rate", 0) > 0.5 for part in seen.chain if part.kind == "dropout"):
        yield "Warning: High dropout rate", ("regularization",)
    validated = [(log["loss"], log["val_loss"]) for log in seen.logs if "val_loss" in log]
    if any(b[1] > a[1] and b[0] <= a[0] for a, b in itertools.pairwise(validated)):
        yield "Warning: Possible overfitting", ("regularization", "capacity")
    if any(
        look.val_accuracy > 0.95 or look.val_accuracy - look.accuracy > 0.05
        for look in seen.looks
        if look.epoch > 3  # the first epochs are let pass
    ):
        yield "Warning: Check validation accuracy", ("data", "labels")


def neuralint(seen: Seen) -> list[Message]:
    """Nikanjam et al. 2021, NeuraLint (TOSEM), as in github.com/neuralint/neuralint.

    The graph rules (DNN-metamodel.gps/check*.gpr) by the sentences that grooveParser.py gives them, as far as a Keras
    model can break them: mismatched shapes raise while it is built, and the rules of a session (missing or repeated
    initialization, no main loop) have no counterpart. Its group "structure inefficiency" is kept apart from faults, as
    `HINT`s. A loss from logits is what the rules call one of pre-activations. Labels have as many columns as the
    targets; whole numbers under sparse cross-entropy count as one-hot.
    """
    return _told(seen, _neuralint_loss, _neuralint_layers, _neuralint_structure, _neuralint_deep)


REGRESSION = ("mean_squared_error", "mean_absolute_error", "huber", "hinge")


def _neuralint_loss(seen: Seen) -> Iterator[Message]:
    loss, logits = seen.loss
    y = seen.targets
    size = y.shape[-1] if y.ndim > 1 else 1
    if loss == "sparse_categorical_crossentropy":
        size = max(int(np.nanmax(y)) + 1, 2)
    nonlinear = seen.last != "linear"
    classes, binary = loss in CROSS_ENTROPIES, loss == "binary_crossentropy"
    connected = "loss not connected to the layer in accordance with its input conditions"
    if size == 1 and seen.last == "softmax":
        yield "wrong last layer activation: softmax for a binary problem", ("output",)
    if classes and not logits and seen.last == "linear":
        yield "last layer activation required: missing softmax", ("output",)
    if binary and not logits and size == 1 and seen.last != "sigmoid":
        yield "last layer activation required: missing sigmoid", ("output",)
    if loss in REGRESSION and nonlinear:
        yield f"{connected} (pre-activation)", ("loss", "output")
    if (classes or binary) and logits and (nonlinear or (binary and seen.units != 1) or (classes and seen.units == 1)):
        yield f"{connected} (pre-activation)", ("loss", "output")
    if binary and not logits and nonlinear and (seen.last != "sigmoid" or seen.units != 1):
        yield f"{connected} (post-activation)", ("loss", "output")
    if classes and not logits and nonlinear and (seen.last != "softmax" or seen.units == 1):
        yield f"{connected} (post-activation)", ("loss", "output")


def _neuralint_layers(seen: Seen) -> Iterator[Message]:
    chain = seen.chain
    learning = [i for i, part in enumerate(chain) if part.learns]
    for i in learning:
        layer = chain[i].layer
        kernel, bias = (type(getattr(layer, f"{what}_initializer", None)).__name__ for what in ("kernel", "bias"))
        if kernel in ("Constant", "Zeros", "Ones"):
            yield "weights should not be initialized to a constant", ("initializer",)
        if layer.use_bias and bias not in ("Zeros", "NoneType"):
            yield "biases are preferred to begin at zeros", ("initializer",)
        if i != learning[-1] and not any(part.nonlinear for part in chain[i + 1 : i + 4]):
            yield "activations for learning layers should be non-linear", ("activation",)
    for i, part in enumerate(chain):
        behind = chain[i + 1] if i + 1 < len(chain) else None
        if part.nonlinear and behind is not None and behind.nonlinear:
            yield "multiple and redundant connected activations", ("activation",)
        if part.kind in ("conv", "pool") and any(p.kind == "dense" for p in chain[i + 1 : i + 4]):
            between = [p.kind for p in chain[i + 1 : i + 4]]
            if not {"flatten", "reshape", "globalpool"} & set(between[: between.index("dense")]):
                yield "missing flatten before a fully-connected layer", ("output", "inputs")


def _neuralint_structure(seen: Seen) -> Iterator[Message]:
    chain = seen.chain
    convs = [p.layer for p in chain if p.kind == "conv"]
    kinds = [p.kind for p in chain]
    for i, part in enumerate(chain):
        plain = [p.kind for p in chain[i + 1 :] if p.kind != "activation"][:1]
        if part.learns and part.layer.use_bias and "batchnorm" in kinds[i + 1 : i + 4]:
            yield f"{HINT}no bias when followed by batchnorm", ("normalization",)
        if part.kind == "dropout" and plain == ["batchnorm"]:
            yield f"{HINT}batchnorm should be before the dropout", ("normalization", "regularization")
        if part.kind == "dropout" and plain == ["pool"]:
            yield f"{HINT}dropout must be placed after the pooling layer", ("regularization",)
    pairs = list(itertools.pairwise(convs))
    if any(b.filters < a.filters for a, b in pairs):
        yield f"{HINT}feature maps should be gradually expanded", ("capacity",)
    if any(np.less(b.kernel_size, a.kernel_size).any() for a, b in pairs if len(a.kernel_size) == len(b.kernel_size)):
        yield f"{HINT}the local window should increase or stay the same", ("capacity",)
    widths = [_width(p.layer) for p in chain if p.kind == "dense"]
    if any(a < b for a, b in itertools.pairwise(widths)):
        yield f"{HINT}fully-connected widths should be decreasing", ("capacity",)
    if convs and not {"pool", "globalpool"} & set(kinds[kinds.index("conv") :]):
        yield f"{HINT}lack of pooling", ()


def _neuralint_deep(seen: Seen) -> Iterator[Message]:
    """Of nets with ten convolutional and pooling layers or more."""
    kinds = [p.kind for p in seen.chain if p.kind in ("conv", "pool")]
    if len(kinds) < 10:
        return
    blocks = "".join("c" if kind == "conv" else "p" for kind in kinds).split("p")
    if "pool" in kinds and all(len(block) <= 1 for block in blocks):
        yield f"{HINT}a deep CNN should not apply pooling after every convolution", ()
    convs = [p.layer for p in seen.chain if p.kind == "conv"]
    at = 0
    for block in blocks:
        same = {(conv.filters, conv.kernel_size) for conv in convs[at : at + len(block)]}
        at += len(block)
        if len(same) > 1:
            yield f"{HINT}a deep CNN should favor blocks of homogeneous convolutional layers", ("capacity",)


def deepdiagnosis(seen: Seen) -> list[Message]:
    """Wardat et al. 2022, DeepDiagnosis (ICSE), as in github.com/DeepDiagnosis/ICSE2022, callback/callbacks.py.

    It ends training at the first of its eight symptoms and tells one fix, found by the decision trees of that file:
    weights of a variance outside [1e-5, 10], inputs outside [-1, 1], an update ratio rate |g| / |w| outside
    [1e-5, 0.1], in an order that depends on the symptom. Read so that it is served: variances and norms are of the
    kernels (the file takes their means' instead); gradients and weights have to be zero, or unchanged, all over, not on
    average alone, as those of two softmax units are; an activation inside a layer counts as one behind it; a loss from
    logits wants no softmax; what it does every five epochs is done after the last where there are fewer, of three looks
    on; an accuracy is compared over fewer epochs than its twenty where it stays below 0.7.
    """
    return _told(seen, _deepdiagnosis)[:1]


def _deepdiagnosis(seen: Seen) -> Iterator[Message]:
    if _out_of_range(seen):
        yield "Out of Range", ("output",)
    for n, look in enumerate(seen.looks[1:], 1):
        recent = seen.looks[max(0, n - 4) : n + 1]
        due = n % 5 == 0 or (seen.epochs < 5 and look is seen.looks[-1])
        poor, unscaled = _poor_weights(look), _outside(seen)
        fast = _odd_ratio(look)

        def fix(*asked: str, rest: tuple[str, ...], found=(poor, unscaled, fast)) -> tuple[str, ...]:
            answers = dict(zip(("initializer", "inputs", "rate"), found, strict=True))
            return next(((cause,) for cause in asked if answers[cause]), rest)

        trees = ("initializer", "inputs", "rate")
        if any(not math.isfinite(mean) or mean == 0 for mean in look.means.values()):
            yield "Numerical Error in Forward", fix(*trees, rest=("activation", "output"))
        relus = [p for p in look.passed if p.function in ("relu", "exponential")]
        if look is seen.looks[-1] and any(p.zeros >= 0.7 for p in relus):
            rest = ("regularization", "activation")
            yield "Dead Node", fix("inputs", "initializer", "rate", rest=rest)
        if due and any(p.beyond_five > 0.5 for p in look.passed if p.function in ("sigmoid", "tanh")):
            rest = ("regularization", "activation")
            yield "Saturated Activation", fix("inputs", "initializer", "rate", rest=rest)
        names = list(look.means)
        if due and any(_constant([one.means.get(name, math.nan) for one in recent]) for name in names[:-1]):
            yield "Unchanged Tensor in Forward", fix("initializer", "rate", rest=("optimizer",))
        log = seen.logs[look.epoch - 1]
        invalid = ("output",) if seen.last == "linear" else fix("rate", rest=("optimizer",))
        if not math.isfinite(log.get("loss", 0.0)):
            yield "Invalid Loss", invalid
        past = seen.logs[max(0, look.epoch - 5) : look.epoch]
        if due and _constant([one.get("loss", math.nan) for one in past]):
            yield "Loss Not Decreasing", fix(*trees, rest=("optimizer",))
        if look.accuracy == 0:
            yield "Invalid Accuracy", invalid
        accuracies = [one.accuracy for one in seen.looks[max(1, n - 19) : n + 1]]
        enough = len(accuracies) == 20 or (len(accuracies) == seen.epochs and not seen.learned)
        if enough and _constant(accuracies):
            yield "Accuracy Not Increasing", fix(*trees, rest=("optimizer",))
        for i, kernel in reversed(list(enumerate(look.kernels))):
            if not math.isfinite(kernel.mean) or kernel.zeros == 1:
                last = i == len(look.kernels) - 1
                yield "Numerical Error in Delta Weights", ("loss", "output") if last else ("activation",)
            if kernel.mean_size < 1e-7:
                yield "Vanishing Gradient", fix("rate", rest=("depth", "activation"))
            if not math.isfinite(kernel.weight_mean) or kernel.weight_zeros == 1:
                yield "Numerical Error in Weights", fix(*trees, rest=("activation",))
            if due and _constant([one.kernels[i].norm for one in recent]):
                yield "Unchanged Tensor in Delta Weights", fix("initializer", "rate", rest=("optimizer",))
            if due and len(recent) >= 3 and all(one.kernels[i].unchanged for one in recent[1:]):
                yield "Unchanged Tensor in Weights", fix("initializer", "rate", rest=("optimizer",))


def _out_of_range(seen: Seen) -> bool:
    """Whether the targets lie outside of what the last layer gives, or its answers are spread ten times as far."""
    loss, logits = seen.loss
    low, high = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, math.inf), "elu": (-1, math.inf)}.get(
        seen.last, (-math.inf, math.inf)
    )
    if seen.last == "softmax":
        return False
    if seen.last in ("linear", "relu") and loss in CROSS_ENTROPIES:
        return not logits
    y = _floats(seen.targets)
    said = seen.looks[min(1, len(seen.looks) - 1)].output
    if seen.last == "linear" and not logits and abs(said[1] - said[0]) > 10 * abs(y.max() - y.min()):
        return True
    return bool(y.min() < low or y.max() > high)


def _poor_weights(look: Look) -> bool:
    return any(kernel.weight_variance < 1e-5 or kernel.weight_variance > 10 for kernel in look.kernels)


def _outside(seen: Seen) -> bool:
    x = _floats(seen.inputs)
    return bool(np.nanmin(x) < -1 or np.nanmax(x) > 1)


def _odd_ratio(look: Look) -> bool:
    ratios = [look.rate * kernel.norm / max(kernel.weight_norm, 1e-30) for kernel in look.kernels]
    return any(ratio > 0.1 or ratio < 1e-5 for ratio in ratios)


def _constant(values: list[float]) -> bool:
    """Whether three values or more are one and the same."""
    return len(values) >= 3 and all(value == values[0] for value in values)


# AUTOTRAINER's names by the labels of `other_tools`, and what its repairs change, in the order it tries them.
THETA = 0.7
PROBLEMS = {
    "exploding": ("Exploding Gradient", ("activation", "optimizer", "normalization")),
    "dead": ("Dying ReLU", ("activation", "normalization", "initializer")),
    "vanishing": ("Vanishing Gradient", ("activation", "normalization")),
    "unstable": ("Oscillating Loss", ("optimizer", "rate", "schedule", "batch")),
    "stalled": ("Slow Convergence", ("optimizer", "rate")),
}


def autotrainer(seen: Seen) -> list[Message]:
    """Zhang et al. 2021, AUTOTRAINER (ICSE), as in github.com/shiningrain/AUTOTRAINER, AutoTrainer/utils.

    The rules on gradients and accuracies are `other_tools.autotrainer`, with the published thresholds (utils.py,
    default_param), for runs whose accuracy is below Theta = 0.7; oscillation is asked of converged ones as well, and a
    loss of 1e5 counts as one that is no number (monitor.py). It looks after each epoch from 30 % of the epochs on and
    ends at the first problem that it finds; the causes are what its repairs change (repair.py, repair_strategy). Made
    for classification: of a regression, which has no accuracy, it is asked for gradients alone, where less than 0.4 of
    the variance is told.
    """
    return _told(seen, _autotrainer)[:1]


def _autotrainer(seen: Seen) -> Iterator[Message]:
    for n, look in enumerate(seen.looks[1:], 1):
        if look.epoch < 0.3 * seen.epochs:
            continue
        seen_so_far = dataclasses.replace(seen, looks=seen.looks[: n + 1], logs=seen.logs[: look.epoch])
        losses = [log.get("loss", math.nan) for log in seen_so_far.logs]
        large = seen_so_far.logs[-1].get("val_loss", losses[-1]) >= 1e5
        finite = np.isfinite([*losses, *(k.norm + k.weight_norm for k in look.kernels)]).all()
        if large or not finite:
            yield PROBLEMS["exploding"]
        accuracies = [one.accuracy for one in seen_so_far.looks]
        graded = [] if math.isnan(look.accuracy) else accuracies[1:]
        learned = seen_so_far.learned
        if not look.kernels:
            continue
        extras = {
            "gradient_norm": np.array([k.norm for k in look.kernels]),
            "zero_gradients": np.array([k.zeros for k in look.kernels]),
            "entries": np.array([k.size for k in look.kernels]),
            "functions": np.array([p.function for p in look.passed]),
        }
        if not learned:
            # Converged or not is settled above, so the loss that it is judged by stands for that alone.
            history = _Norms(extras["gradient_norm"])
            label = gradient_problem(View(history, [], [1.0], graded, 1.0, accuracies[0], None, extras))
            if label != "healthy":
                yield PROBLEMS[label]
        elif len(graded) > 2 and np.mean(np.diff(graded) < -0.03) >= 0.2:
            yield PROBLEMS["unstable"]


@dataclasses.dataclass
class _Norms:
    norms: np.ndarray


def sagemaker(seen: Seen) -> list[Message]:
    """Amazon SageMaker Debugger's built-in rules: github.com/awsdocs/amazon-sagemaker-developer-guide,
    doc_source/debugger-built-in-rules.md (names, defaults); Rauschmayr et al. 2021 (MLSys).

    All rules for neural nets with their defaults, on what is saved before training and after each epoch. The documents
    give hardly any advice; the causes are what their texts blame or would change. Left out: TensorVariance, which has
    no default thresholds; SimilarAcrossRuns and StalledTraining, which look at no single program; Confusion, whose
    diagonal as written is below its threshold for every run of more than one class; and those for XGBoost. Read so that
    it is served: PoorWeightInitialization asks for all of its signs together, Overtraining for both losses, and a loss
    that does not fall is told of runs that did not converge, as in `other_tools`.
    """
    return _told(seen, _sagemaker_tensors, _sagemaker_data, _sagemaker_course)


def _sagemaker_tensors(seen: Seen) -> Iterator[Message]:
    looks = seen.looks
    finite = [
        math.isfinite(value)
        for look in looks
        for value in [*look.means.values(), *(v for k in look.kernels for v in (k.norm, k.weight_norm))]
    ]
    if not all(finite) or not all(math.isfinite(log.get("loss", 0.0)) for log in seen.logs):
        yield "ExplodingTensor", ("rate", "initializer")
    passed = [p for look in looks for p in look.passed]
    if any(p.inactive > 0.5 for p in passed if p.function == "relu"):
        yield "DeadRelu", ("activation", "rate", "initializer")
    if any(p.beyond > 0.5 for p in passed if p.function in ("tanh", "sigmoid")):
        yield "SaturatedActivation", ("activation", "initializer", "inputs")
    kernels = [k for look in looks for k in look.kernels]
    if any(k.mean_size < 1e-7 for k in kernels):
        yield "VanishingGradient", ("activation", "initializer", "depth")
    if any(k.weight_zeros == 1 or (k.zeros == 1 and k.size) for k in kernels):
        yield "AllZero", ("initializer",)
    if any(k.update > 10 or k.update < 1e-8 for k in kernels):
        yield "WeightUpdateRatio", ("rate",)
    stuck = [[look.kernels[i].unchanged for look in looks[1:][-2:]] for i in range(len(looks[0].kernels))]
    if any(len(flags) == 2 and all(flags) for flags in stuck):  # three saved steps
        yield "UnchangedTensor", ("rate",)
    if _poorly_begun(seen):
        yield "PoorWeightInitialization", ("initializer",)


def _poorly_begun(seen: Seen) -> bool:
    start = seen.looks[0]
    variances = [p.variance for p in start.passed if p.function == "relu"]
    uneven = len(variances) > 1 and max(variances) > 10 * min(variances)
    narrow = bool(start.kernels) and min(k.spread for k in start.kernels) < 0.001
    return (uneven or narrow) and len(seen.losses) > 1 and not seen.losses[1] < seen.losses[0]


def _sagemaker_data(seen: Seen) -> Iterator[Message]:
    x, y = _floats(seen.inputs), seen.targets
    if x.ndim == 4 and len(x) >= 500 and abs(np.nanmean(x)) > 0.2:
        yield "CheckInputImages", ("inputs",)
    if seen.tokens and np.mean(x == 0) > 0.5:
        yield "NLPSequenceRatio", ("inputs",)
    confusion = seen.looks[-1].confusion
    if confusion is None or len(y) < 500:
        return
    one_hot = y.ndim > 1 and y.shape[-1] > 1
    counts = np.unique(y.argmax(-1) if one_hot else y.ravel(), return_counts=True)[1]
    true = confusion.sum(1)
    missed = 1 - np.diag(confusion)[true > 0] / true[true > 0]
    if counts.max() > 10 * counts.min() or (len(missed) > 1 and missed.max() > 0.7):
        yield "ClassImbalance", ("data",)


def _sagemaker_course(seen: Seen) -> Iterator[Message]:
    losses = seen.losses
    if len(losses) > 1 and not losses[-1] < losses[-2] and not seen.learned:
        yield "LossNotDecreasing", ("rate",)
    validated = [(log["loss"], log["val_loss"]) for log in seen.logs if "val_loss" in log]
    over = [val - loss > 0.1 * loss for loss, val in validated]
    if any(a and b for a, b in itertools.pairwise(over)):
        yield "Overfit", ("regularization",)
    trained = [log.get("loss", math.nan) for log in seen.logs]
    if _stagnant(trained, 5) and _stagnant([val for _, val in validated], 10):
        yield "Overtraining", ("steps",)


def _stagnant(losses: list[float], patience: int) -> bool:
    """Whether the best loss was not bettered by 0.1 for more than `patience` epochs."""
    best, since = math.inf, 0
    for loss in losses:
        best, since = (loss, 0) if loss < best - 0.1 else (best, since + 1)
        if since > patience:
            return True
    return False


def _floats(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64) if np.issubdtype(x.dtype, np.number) or x.dtype == bool else np.zeros(1)


def _has_nan(values: list[float]) -> bool:
    return any(math.isnan(value) for value in values)


PEERS: dict[str, Callable[[Seen], list[Message]]] = {
    "UMLAUT": umlaut,
    "NeuraLint": neuralint,
    "DeepDiagnosis": deepdiagnosis,
    "AUTOTRAINER": autotrainer,
    "SageMaker Debugger": sagemaker,
}
