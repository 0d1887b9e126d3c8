"""Some dozens of steps on the model itself, after which every weight is put back: what another rate would come to."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Iterator

import keras
import numpy as np

from zoo.checkup.optimizer import config_of, inner_config, rate_at
from zoo.checkup.program import Program
from zoo.telemetry.backends import of_backend
from zoo.telemetry.keras_private import loss_tracker
from zoo.telemetry.language import say
from zoo.telemetry.layers import all_layers, inner_of, replaced

SIZE = 32  # of a batch, Keras' default
STEPS = 40
FACTORS = (1.0, 0.1, 10.0, 0.01, 100.0)  # of the rate
SCALED_BY = 1_000  # samples that tell the scale of the inputs
LATE = 8  # last steps, whose median is what a trial came to


@dataclasses.dataclass(frozen=True)
class Trial:
    """What some steps came to.

    Attributes:
        factor: of the program's own rate.
        losses: (steps,) of the batches, in training.
        baseline: what the best constant answer costs.
    """

    factor: float
    losses: np.ndarray
    baseline: float

    @property
    def share(self) -> float:
        """The late loss over the best constant's, or over the first where that is not known; infinite for no number."""
        late = float(np.median(self.losses[-LATE:])) if len(self.losses) else np.nan
        reference = self.baseline if self.baseline > 0 else float(self.losses[0])
        return late / reference if np.isfinite(late) and reference > 0 else np.inf


@dataclasses.dataclass(frozen=True)
class Trials:
    """All that was tried.

    Attributes:
        rate: the program's own.
        by_factor: trials over all data, by the factor of the rate.
        standard: a trial with the inputs standardized, at the program's own rate; `None` if it was not needed.
        left: why no more was tried, or "".
    """

    rate: float
    by_factor: dict[float, Trial]
    standard: Trial | None = None
    left: str = ""

    @property
    def own(self) -> Trial | None:
        return self.by_factor.get(1.0)

    def best(self, factors: tuple[float, ...]) -> Trial | None:
        """Return the trial that came lowest among those with one of `factors`."""
        found = [self.by_factor[f] for f in factors if f in self.by_factor]
        return min(found, key=lambda trial: trial.share) if found else None


def tried(program: Program, seconds: float) -> Trials:
    """Try some rates, within about as many seconds. Every variable of the model is as before when it returns."""
    model, optimizer = program.model, program.model.optimizer
    plain = type(model).train_step is keras.Model.train_step
    nothing = Trials(np.nan, {})
    if not plain or not isinstance(optimizer, keras.optimizers.Optimizer) or not model.trainable_variables:
        return dataclasses.replace(nothing, left=say("the model has a training step of its own, or nothing to train."))
    if not program.finite or not len(program.targets):
        return dataclasses.replace(nothing, left=say("the data hold values that are no numbers, or no targets."))
    rate = max(rate_at(inner_of(optimizer), step) for step in (0, 1, 100))
    if not np.isfinite(rate) or rate <= 0:
        return dataclasses.replace(nothing, left=say("the learning rate is no number above 0."))
    ends = time.monotonic() + seconds
    with _borrowed(model, optimizer, rate) as steps:
        found: dict[float, Trial] = {}
        baseline = program.probed.baseline
        begun = time.monotonic()
        for factor in FACTORS:
            if factor == 0.01 and found[0.1].share < 0.9 and found[1.0].share < 0.9:
                continue
            found[factor] = Trial(factor, steps(program, factor * rate, ends), baseline)
            if time.monotonic() + 1.3 * (time.monotonic() - begun) / len(found) > ends:
                return Trials(rate, found, left=say("there was no time for more."))
        standard = None
        if any(
            a.dtype.kind == "f" and not 0.1 < np.sqrt(np.mean(a[:SCALED_BY].astype(float) ** 2)) < 10
            for a in program.inputs
        ):
            standard = Trial(1.0, steps(program, rate, ends, standardized=True), baseline)
    return Trials(rate, found, standard)


@contextlib.contextmanager
def _borrowed(model: keras.Model, optimizer: keras.optimizers.Optimizer, rate: float) -> Iterator:
    """Yield a function that trains the model from the weights of now; put all back at the end."""
    config = config_of(optimizer)
    inner_config(config)["learning_rate"] = rate
    twin = type(optimizer).from_config(config)
    inner = inner_of(twin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin.build(model.trainable_variables)
    kept = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in [*_variables(model), *twin.variables]]
    own = [(model, "optimizer", twin), (model, "train_function", None), (model, "compute_metrics", _only_loss(model))]

    def put_back() -> None:
        for variable, value in kept:
            variable.assign(value)

    def steps(program: Program, rate: float, ends: float, standardized: bool = False) -> np.ndarray:
        put_back()
        inner.learning_rate = rate
        losses = []
        scale = [_scale_of(a) for a in program.inputs] if standardized else []
        for i in range(STEPS):
            x, y = program.batch(SIZE, i * SIZE)
            if standardized:
                leaves = [(a - m) / s for a, (m, s) in zip(keras.tree.flatten(x), scale, strict=True)]
                x = keras.tree.pack_sequence_as(x, leaves)
            if keras.config.backend() == "torch":  # `fit` hands tensors to a person's own loss, `train_on_batch` arrays
                x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
                y = keras.tree.map_structure(keras.ops.convert_to_tensor, y)
            model.reset_metrics()
            losses.append(float(model.train_on_batch(x, y, return_dict=True)["loss"]))
            if not np.isfinite(losses[-1]) or time.monotonic() > ends:
                break
        return np.array(losses)

    with replaced(*own), _same_draws():
        try:
            yield steps
        finally:
            put_back()
            model.reset_metrics()


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return the model's variables, and the states of recurrent layers, which are not among them."""
    states = [keras.tree.flatten(getattr(layer, "states", None)) for layer in all_layers(model)]
    return [*model.variables, *(v for found in states for v in found if isinstance(v, keras.Variable))]


def _same_draws() -> contextlib.AbstractContextManager:
    """Return a context in which torch's own generator, if that is the backend, is not advanced."""
    return of_backend("passes").same_draws() if keras.config.backend() == "torch" else contextlib.nullcontext()


def _only_loss(model: keras.Model):
    return lambda *args, **kwargs: {"loss": loss_tracker(model).result()}


def _scale_of(a: np.ndarray) -> tuple:
    flat = a.astype(np.float32)
    over = 0 if a.ndim == 2 else None
    return flat.mean(over), flat.std(over) + 1e-7
