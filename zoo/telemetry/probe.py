"""Activations and back-propagated gradients of every layer, on one fixed batch.

Weight-gradient norms alone hide one kind of vanishing: with ReLU and Glorot weights in square layers the
back-propagated gradient halves at every layer while weight gradients stay flat, because activations shrink the other
way. The probe measures both, by the model's own training step without its update: one forward and one backward pass.
"""

import dataclasses
import threading
from typing import ClassVar

import keras
import numpy as np

from zoo.telemetry.answers import Answers, Judge
from zoo.telemetry.backends import of_backend
from zoo.telemetry.batch import Batch, tensors_of_batch
from zoo.telemetry.copies import Copied
from zoo.telemetry.dry_step import built
from zoo.telemetry.language import say
from zoo.telemetry.layers import optimizers_of
from zoo.telemetry.plan import Plan
from zoo.telemetry.probe_table import MEASURES
from zoo.telemetry.recurrent import TimeProfile
from zoo.telemetry.setting import Setting

SAME = 1e-5  # variation of what is the same for every sample; float32 is exact to 1e-7
MOSTLY = 0.9  # share of dead units: what a rule calls dead has more (`faults.Limits.dead`)

# A pass stands in the place of methods that all models of the process share, such as those of gradient tapes.
_ONE_AT_A_TIME = threading.RLock()


@dataclasses.dataclass(frozen=True)
class Attention:
    """What an attention layer shows, over what each query may see.

    Attributes:
        layer: its name.
        entropy: of its weights, over the largest possible, in [0, 1]; 0: each query looks at one place, 1: at all
            alike. Mean over heads, queries and samples, of queries that have a choice.
        logit_rms: root mean square of what the softmax is applied to.
    """

    layer: str
    entropy: float
    logit_rms: float


@dataclasses.dataclass(frozen=True)
class Residual:
    """What a branch adds to a residual stream.

    Attributes:
        layer: name of the addition; of a bare `+`, the name of the layer that the branch ends with.
        share: rms of the branch over the rms of the sum.
    """

    layer: str
    share: float


@dataclasses.dataclass(frozen=True)
class Lookup:
    """What an embedding was asked for.

    Attributes:
        layer: its name.
        used: how many of its rows the batch looked up.
        rows: how many it has.
    """

    layer: str
    used: float
    rows: float


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """What one batch showed. Arrays are (layers,) float32 unless said.

    A layer's activation is the output of the activation that follows it (through normalization, dropout or addition),
    or its own output where none does. Delta is the gradient of a sample's loss with respect to the layer's own output;
    of an output layer with a softmax or sigmoid of its own, with respect to what that is applied to: Keras' losses on
    TensorFlow look through to there, and there it is of the same size on every backend. What a layer is called for more
    than once counts together. Where the training step takes several gradients (of several losses), a layer's delta is
    of those that train it.

    Attributes:
        layers: names, as in `GradientHistory.layers`.
        has_kernel: bool; false for normalization and the like, which hold no weights between units.
        activations: name of each layer's activation function, "" where it has none.
        loss: of the batch; the sum, where the step trains by several.
        activation_mean, activation_std, activation_rms: over units and samples.
        variation: how much the activation tells samples apart: root mean square over units of the deviation over
            samples, divided by activation_rms. 0: the layer says the same whatever the input. NaN of a single sample,
            and of what does not depend on samples (the embedding of positions).
        output_rms: of the layer's own output (the pre-activation, where the activation is a layer of its own).
        delta_rms: over units and samples.
        delta_norm: L2 norm over a sample's units, root mean square over samples. Unlike the rms it can be compared
            between layers of different size.
        gradient_norm: L2 norm of the loss gradient over the layer's trainable variables.
        dead: share of units (channels) whose activation is zero on the whole batch.
        saturated: share of activation values where the slope is below 5 % of its largest (sigmoid, tanh, softsign).
        jacobian: mean singular value of the layer's Jacobian, activation included (Glorot & Bengio 2010, sec. 4.2.1),
            NaN for layers that are not dense; empty unless asked for.
        measured: bool; false where no delta could be had: of a layer that the step did not call or does not train, or
            whose output lies within a loop. Its row is NaN.
        preactivation: bool; true where delta and output_rms are of what the layer's own softmax or sigmoid is applied
            to.
        times: the recurrent cells along time.
        attentions: the attention layers.
        residuals: the additions that a branch ends in: by `keras.layers.Add`, by `+` in a functional model, and by `+`
            in a layer's own code where what is added are sequences, (batch, steps, units).
        missing: what could not be measured, and why, in one sentence; "" if nothing.
        losses: (gradients,) those that the step takes gradients of, of which `loss` is the sum: a GAN's are two.
        trained_by: (layers,) int, which of those gradients trains the layer; -1 for none.
        through: whether one of several gradients passes through layers that only another trains, as a generator's does
            through its discriminator.
        lookups: the embeddings.
        answers: what the model's answers are worth beside the best constant one; see also `baseline`, `accuracy`,
            `majority` and `r2`.
        batch: what is odd about the batch itself.
        setting: the optimizer and the layers' kinds; `None` in files of earlier versions.
    """

    layers: list[str]
    has_kernel: np.ndarray
    activations: list[str]
    loss: float
    activation_mean: np.ndarray
    activation_std: np.ndarray
    activation_rms: np.ndarray
    variation: np.ndarray
    output_rms: np.ndarray
    delta_rms: np.ndarray
    delta_norm: np.ndarray
    gradient_norm: np.ndarray
    dead: np.ndarray
    saturated: np.ndarray
    jacobian: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    measured: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    preactivation: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    times: list[TimeProfile] = dataclasses.field(default_factory=list)
    attentions: list[Attention] = dataclasses.field(default_factory=list)
    residuals: list[Residual] = dataclasses.field(default_factory=list)
    missing: str = ""
    losses: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    trained_by: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    through: bool = False
    lookups: list[Lookup] = dataclasses.field(default_factory=list)
    answers: Answers = dataclasses.field(default_factory=Answers)
    batch: Batch = dataclasses.field(default_factory=Batch)
    setting: Setting | None = None

    def __post_init__(self):
        count = len(self.layers)
        if len(self.measured) != count:  # of an earlier version's file
            object.__setattr__(self, "measured", ~np.isnan(np.asarray(self.activation_rms)))
        if len(self.preactivation) != count:
            object.__setattr__(self, "preactivation", np.zeros(count, bool))
        if len(self.trained_by) != count:
            object.__setattr__(self, "trained_by", np.where(self.measured, 0, -1))

    def _repr_html_(self) -> str:
        """What a notebook shows: delta, activation, dead and saturated shares, a row a layer."""
        from zoo.telemetry.page.notebook import table_shown

        columns = [
            (say("back-propagated gradient (delta)"), self.delta_norm),
            (say("activations"), self.activation_rms),
            (say("dead"), self.dead),
            (say("saturated"), self.saturated),
        ]
        return table_shown(say("probe of {count} layers", count=len(self.layers)), self.layers, columns)

    @property
    def baseline(self) -> float:
        """Loss of the best constant answer to this batch, penalties included; NaN where it cannot be known."""
        return self.answers.baseline

    @property
    def accuracy(self) -> float:
        """Share of right answers; NaN without labels."""
        return self.answers.accuracy

    @property
    def majority(self) -> float:
        """Share of right answers of the best constant one; NaN without labels."""
        return self.answers.majority

    @property
    def r2(self) -> float:
        """1 - squared error over the targets' variance; NaN without targets that are numbers."""
        return self.answers.r2

    @property
    def arriving(self) -> float:
        """The share of the output layer's delta norm that reaches the first layer; NaN if none was measured."""
        delta = self.delta_norm[self.measured]
        if not len(delta):
            return np.nan
        return float(delta[0] / delta[-1]) if delta[-1] else 0.0


def probe(model: keras.Model, x, y=None, *, jacobian: bool = False) -> Probe:
    """Measure every layer on the batch (x, y), as in training; the model stays as it is.

    Args:
        model: compiled, with a loss that is a mean over the batch; or with a `compute_loss` or `train_step` of its own.
        x: (batch, ...) inputs, or a structure of them.
        y: targets, or a structure of them; `None` for a model that needs none.
        jacobian: also measure the mean singular value of dense layers' Jacobians, on up to 16 samples.

    Raises:
        RuntimeError: if the model has no optimizer.
        TypeError: if `model` is no model, or `x` or `y` are no arrays.
        ValueError: for an empty batch, as for one with more or fewer targets than inputs, or without those that the
            loss needs.
    """
    return Prober(model)(x, y, jacobian=jacobian)


class Prober:
    """`probe` for many batches of one model: the pass is compiled once (on TensorFlow after some probes, not on torch).

    Raises:
        RuntimeError: if the model has no optimizer.
    """

    def __init__(self, model: keras.Model):
        if not isinstance(model, keras.Model):
            raise TypeError(f"the probe takes a keras.Model, not a {type(model).__name__}.")
        if not optimizers_of(model):
            raise RuntimeError("the probe needs a compiled model: call model.compile(optimizer=..., loss=...) first.")
        self.model = model
        self._compiled: list = []

    def begin_anew(self) -> None:
        """Forget what was found out at earlier batches, of which only what was compiled stays."""
        if self._compiled:
            self._judge, self._setting = Judge(self.model), None
            self._pass.begin_anew()

    def share(self, other: "Prober") -> None:
        """Use what `other` compiled, or will: it probes another training of the same model."""
        if self._compiled and other._compiled:
            self._pass.share(other._pass)

    def __call__(self, x, y=None, *, jacobian: bool = False) -> Probe:
        """Measure on the batch (x, y)."""
        x, y = tensors_of_batch(self.model, x, y)
        with _ONE_AT_A_TIME:
            return self._measure(x, y, jacobian)

    def _measure(self, x, y, jacobian: bool) -> Probe:
        built(self.model, x)
        compiled = [*optimizers_of(self.model), getattr(self.model, "loss", None), *self.model.trainable_variables]
        if len(compiled) != len(self._compiled) or any(
            a is not b for a, b in zip(compiled, self._compiled, strict=True)
        ):
            # For the first time, or compiled or frozen anew since: what was traced, or found out, no longer fits.
            self._pass, self._compiled = of_backend("passes").Pass(self.model), compiled
            self._judge, self._setting = Judge(self.model), None
        outline, tensors = self._pass(x, y)
        losses, numbers, raw = outline.finish(tensors)
        loss = float(losses.sum()) if len(losses) else np.nan
        plan, sites = outline.plan, outline.plan.sites
        given = None if plan.answers is None else keras.tree.map_structure(raw.get, plan.answers)
        answers = Answers() if given is None else self._judge(x, y, given, losses)
        columns = numbers["table"] if sites else np.zeros((len(MEASURES), 0), np.float32)
        table = dict(zip(MEASURES, columns, strict=True))
        self._setting = self._described(plan, table["variation"], table["dead"])
        return Probe(
            [site.name for site in sites],
            np.array([site.has_kernel for site in sites], bool),
            [site.activation for site in sites],
            loss,
            **table,
            jacobian=self._pass.jacobians(x) if jacobian else np.zeros(0, np.float32),
            measured=numbers["measured"] > 0,
            preactivation=np.array([site.preactivation for site in sites], bool),
            times=[TimeProfile(loop[0], *pair) for loop, pair in zip(plan.loops, numbers["loops"], strict=True)],
            attentions=[
                Attention(attention[0], *map(float, pair))
                for attention, pair in zip(plan.attentions, numbers["attentions"], strict=True)
            ],
            residuals=[
                Residual(residual[0], float(share))
                for residual, share in zip(plan.residuals, numbers["residuals"], strict=True)
                if not np.isnan(share)
            ],
            missing=_missing(outline, numbers["measured"] > 0),
            losses=losses,
            trained_by=np.array([_trained_by(site, outline.events) for site in sites], int),
            through=_through(sites, outline.events),
            lookups=[
                Lookup(name, float(np.unique(raw[place]).size), float(rows)) for name, place, rows in plan.lookups
            ],
            answers=answers,
            batch=Batch.of(x, y),
            setting=self._setting,
        )

    def _described(self, plan: Plan, variation: np.ndarray, dead: np.ndarray) -> Setting:
        """Describe the model; after the first time no more of it than what a rule may ask for at a later probe."""
        layers, known = {site.name: site.layer for site in plan.sites}, self._setting
        if known is None or set(known.kinds) != {name for name, layer in layers.items() if layer is not None}:
            return Setting.of(self.model, layers, bool(plan.residuals))
        # Through zeros no sample differs from another. What follows may add to that, or draw units at random: there
        # rules ask only of dead layers, and of those that began with zeros.
        told_apart = (variation >= SAME) & (dead < MOSTLY)
        suspects = {site.name: site.layer for site, apart in zip(plan.sites, told_apart, strict=True) if not apart}
        return known.later(self.model, suspects | {name: layers[name] for name in known.zeros})


def _trained_by(site, events: list) -> int:
    own = set(site.variables)
    return next((i for i, (trained, _) in enumerate(events) if trained & own), -1)


def _through(sites: list, events: list) -> bool:
    """Whether a gradient passes through layers that it does not train, but another does."""
    for trained, keys in events:
        passed = [site for site in sites if not trained & set(site.variables) and _trained_by(site, events) >= 0]
        if len(events) > 1 and any(set(point.keys) & set(keys) for site in passed for point in site.points):
            return True
    return False


def _missing(outline, measured: np.ndarray) -> str:
    sites = outline.plan.sites
    if not sites:
        return say("the model has nothing to train: there is no layer to measure.")
    if not outline.events:
        return say(
            "the training step takes no gradient that can be seen: loss and back-propagated gradients are missing."
        )
    unseen = [site.name for site, known in zip(sites, measured, strict=True) if not known]
    if not unseen:
        return ""
    names = ", ".join(unseen[:3]) + (say(" and {count} more", count=len(unseen) - 3) if len(unseen) > 3 else "")
    return say(
        "no back-propagated gradient of {names}: not called, called within a loop or on no sample, the model's own "
        "weights, or trained by no gradient of this step.",
        names=names,
    )


class Probes(Copied, keras.callbacks.Callback):
    """Probes before the first step and at each epoch's end, on one batch.

    One callback goes on with its results over any number of `fit` calls; with another model a new list begins. It can
    be pickled and copied, with its results.

    Args:
        x, y: the batch.
    """

    left_out: ClassVar[dict[str, object]] = {"_prober": None}

    def __init__(self, x, y=None):
        super().__init__()
        self.x, self.y = x, y
        self._results: list[list[Probe]] = [[]]  # the last is the current model's
        self._resumed = False
        self._prober: Prober | None = None

    @property
    def results(self) -> list[Probe]:
        """The probes of the current model, in order; those of the one copy that was used, if this one was not."""
        if not self.recorded() and self.copies:
            nothing = "Probes has no results yet: give it to model.fit(callbacks=[...]) first."
            return self.the_copy(nothing, "results").results
        return self._results[-1]

    @property
    def previous(self) -> list[list[Probe]]:
        """The probes of the models before the current one, in order."""
        return self._results[:-1]

    def recorded(self) -> int:
        """Return how many probes were made, of all models."""
        return sum(map(len, self._results))

    def resume(self, results: list[Probe]) -> None:
        """Go on after the probes of a training that was cut off."""
        self._results[:] = [list(results)]
        self._resumed = True

    def take_over(self, other: "Probes") -> None:
        """Take from `other` what it had compiled, of a model that is trained again from its beginning.

        The results of `other` stay its own. Where it was not used, nothing is taken.
        """
        if other._prober is not None:
            self._prober, other._prober = other._prober, None
            self._prober.begin_anew()

    def share(self, other: "Probes") -> None:
        """Use what `other` compiled, or will, of a model that both probe, each in a training of its own."""
        if self._prober is not None and other._prober is not None:
            self._prober.share(other._prober)

    def start(self, model: keras.Model) -> None:
        """Probe before the first step, if that has not been done."""
        if self._prober is None or self._prober.model is not model:
            self._prober = Prober(model)
            if self._results[-1] and not self._resumed:
                self._results.append([])
            self._resumed = False
        if not self._results[-1]:
            self._results[-1].append(self._prober(self.x, self.y))

    def on_train_begin(self, logs: dict | None = None) -> None:
        assert self.model is not None  # Keras sets it first
        self.start(self.model)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert self._prober is not None  # a training begins before it ends an epoch
        self._results[-1].append(self._prober(self.x, self.y))
