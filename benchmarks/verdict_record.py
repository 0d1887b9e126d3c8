"""Trains one recipe and keeps what a verdict may see: `GradientHistory`, `Probe`s, losses, and what other tools read.

Used by `verdicts.py`; imports TensorFlow only inside `train`.
"""

import dataclasses
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np

PROBE_SAMPLES = 64
TRAINS, FAILS = 0.6, 0.8  # of the constant predictor's loss; what lies between is neither


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that decides how a training goes; equal recipes are trained once.

    Attributes:
        net: mlp, conv (a small VGG), lenet, resnet, preresnet, plain, densenet.
        depth, width, residual: as the net's function takes them; width is filters for conv, growth for densenet.
        weights: a Keras initializer, or sigma_w2: a normal distribution of variance sigma_w2 / fan_in.
        bias: the constant that biases start from.
        edits: (layer, variable, how, value) after building; layer is a name or a tail of names ("_norm").
        x_scale, x_shift: the inputs, about 0..1 or of unit variance, are multiplied, then shifted.
        loss_scale: the loss is multiplied by it.
        clip: `global_clipnorm`.
        growth: the rate is multiplied by it at every step.
        spike: (first step, steps, factor): for some steps the rate is multiplied by factor.
        stop_when_trained: end as soon as an epoch's loss says so; for cures, of which nothing else is asked.
    """

    net: str = "mlp"
    depth: int = 5
    width: int = 64
    residual: int = 0
    activation: str = "relu"
    weights: str | float = "he_normal"
    bias: float = 0.0
    normalization: str | None = None
    dropout: float = 0.0
    edits: tuple = ()
    data: str = "digits"
    x_scale: float = 1.0
    x_shift: float = 0.0
    optimizer: str = "sgd"
    rate: float = 0.1
    momentum: float = 0.0
    loss_scale: float = 1.0
    clip: float | None = None
    growth: float = 1.0
    spike: tuple | None = None
    batch: int = 32
    epochs: int = 10
    seed: int = 0
    stop_when_trained: bool = False

    @property
    def key(self) -> str:
        """Name of its folder in the cache."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def load_data(name: str, mnist: str | None):
    """Return x, y (float32, int64 classes or float32 targets), classes (0 for regression)."""
    from sklearn import datasets

    rng = np.random.default_rng(0)
    if name in ("digits", "digits16"):
        x, y = datasets.load_digits(return_X_y=True)
        x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
        order = rng.permutation(len(x))[:1437]
        if name == "digits16":
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        return x[order], y[order], 10
    if name == "cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
        x = ((x - x.mean(0)) / x.std(0)).astype("float32")
        order = rng.permutation(len(x))[:455]
        return x[order], y[order], 2
    if name == "spirals":
        y = np.arange(1440) % 3
        radius = rng.uniform(0.1, 1, 1440)
        angle = 4 * radius + y * 2 * np.pi / 3 + rng.normal(0, 0.1, 1440)
        return (2 * radius * np.stack([np.cos(angle), np.sin(angle)])).T.astype("float32"), y, 3
    if name == "friedman":
        x, y = datasets.make_friedman1(1440, noise=1.0, random_state=0)
        return (x * 12**0.5 - 3**0.5).astype("float32"), ((y - y.mean()) / y.std()).astype("float32"), 0
    with np.load(mnist) as file:
        x, y = file["x_train"][:1600], file["y_train"][:1600]
    return (x[..., None] / 255).astype("float32"), y.astype("int64"), 10


def constant_loss(y: np.ndarray, classes: int) -> float:
    """The loss of the best constant prediction: entropy of the labels, or variance of the targets."""
    if not classes:
        return float(np.var(y))
    p = np.bincount(y) / len(y)
    return float(-np.sum(p * np.log(np.maximum(p, 1e-12))))


def build(recipe: Recipe, input_shape: tuple, classes: int):
    """Return the recipe's network, its faults built in."""
    import keras

    from zoo import models
    from zoo.models.blocks import Blocks

    def weights():
        if isinstance(recipe.weights, str):
            return keras.initializers.get(recipe.weights)
        return keras.initializers.VarianceScaling(recipe.weights, "fan_in", "untruncated_normal")

    choices = {
        "activation": recipe.activation,
        "initializer": weights,
        "bias_initializer": lambda: keras.initializers.Constant(recipe.bias),
        "normalization": recipe.normalization,
        "dropout": recipe.dropout,
    }
    units = classes or 1
    if recipe.net == "mlp":
        model = models.mlp(
            input_shape, units, depth=recipe.depth, width=recipe.width, residual=recipe.residual, **choices
        )
    elif recipe.net == "lenet":
        model = models.lenet(input_shape, units, **choices)
    elif recipe.net == "densenet":
        model = models.densenet(input_shape, units, depth=recipe.depth, growth=recipe.width, **choices)
    elif recipe.net in ("resnet", "preresnet", "plain"):
        model = models.resnet(
            input_shape,
            units,
            depth=recipe.depth,
            shortcut="plain" if recipe.net == "plain" else "A",
            preactivation=recipe.net == "preresnet",
            **choices,
        )
    else:
        b = Blocks(**choices)
        x = inputs = keras.Input(input_shape, name="input")
        for i in range(1, recipe.depth + 1):
            x = b.finish(b.conv(x, recipe.width, 3, name=f"conv_{i}"), name=f"conv_{i}")
            if i in (recipe.depth // 3, 2 * recipe.depth // 3):
                x = keras.layers.MaxPooling2D(2, name=f"pool_{i}")(x)
        model = keras.Model(inputs, b.logits(keras.layers.Flatten(name="flatten")(x), units), name="conv")
    for where, variable, how, value in recipe.edits:
        found = [layer for layer in model.layers if layer.name == where or layer.name.endswith(where)]
        variables = [v for layer in found for v in layer.variables if v.name == variable]
        if not variables:
            raise ValueError(f"{recipe.net} has no {where} {variable}")
        for v in variables:
            old = v.numpy()
            if how == "half":  # of the units
                new = np.where(np.arange(old.shape[-1]) % 2 == 0, value, old)
            else:
                new = {"scale": old * value, "fill": np.full_like(old, value), "negative": -np.abs(old)}[how]
            v.assign(new)
    return model


def train(recipe: Recipe, folder: Path, mnist: str | None = None, *, record: bool) -> None:
    """Train `recipe` and write `result.json`, and if `record` the telemetry, to `folder / recipe.key`."""
    import keras
    import tensorflow as tf

    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.probe import Probes
    from zoo.telemetry.probes_file import save_probes

    x, y, classes = load_data(recipe.data, mnist)
    x = x * np.float32(recipe.x_scale) + np.float32(recipe.x_shift)
    baseline = recipe.loss_scale * constant_loss(y, classes)
    keras.backend.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    model = build(recipe, x.shape[1:], classes)
    options = {"momentum": recipe.momentum} if recipe.momentum else {}
    optimizer = keras.optimizers.get(
        {
            "class_name": recipe.optimizer,
            "config": {"learning_rate": recipe.rate, "global_clipnorm": recipe.clip, **options},
        }
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else "mean_squared_error"
    model.compile(
        optimizer,
        loss,
        loss_weights=None if recipe.loss_scale == 1 else recipe.loss_scale,
        weighted_metrics=["accuracy"] if classes else [],
        jit_compile=False,
    )
    callbacks = []
    if recipe.growth != 1 or recipe.spike:
        callbacks.append(_rate(recipe))
    if recipe.stop_when_trained:
        callbacks.append(_stop(baseline))
    if record:
        batch = x[:PROBE_SAMPLES], y[:PROBE_SAMPLES]
        norms, probes, extras = GradientNorms(updates=True), Probes(*batch), _extras(*batch, recipe.epochs)
        callbacks += [norms, probes, extras]
    began = time.perf_counter()
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=recipe.seed).batch(recipe.batch)
    log = model.fit(data, epochs=recipe.epochs, verbose=0, callbacks=callbacks).history
    result = {
        "recipe": dataclasses.asdict(recipe),
        "baseline": baseline,
        "losses": log["loss"],
        "accuracy": log.get("accuracy", []),
        "seconds": time.perf_counter() - began,
    }
    folder = folder / recipe.key
    folder.mkdir(parents=True, exist_ok=True)
    if record:
        norms.history.save(folder / "history.npz")
        save_probes(folder / "probes.npz", probes.results)
        np.savez_compressed(folder / "extras.npz", **extras.arrays())
    (folder / "result.json").write_text(json.dumps(result))


def outcome(losses: list[float], baseline: float) -> str:
    """Return trains, fails or neither; see `verdicts.py` for what they mean."""
    losses = np.array(losses) / baseline
    last = losses[-1]
    if not math.isfinite(last):
        return "fails"
    half = losses[len(losses) // 2 - 1 :]
    steady = last <= 0.9 and losses[0] - last >= 0.1 and np.all(np.diff(half) < 0)
    if last <= TRAINS or steady:
        return "trains"
    return "fails" if last >= FAILS else "neither"


def _rate(recipe: Recipe):
    import keras

    class Rate(keras.callbacks.Callback):
        step = 0

        def on_train_batch_begin(self, batch, logs=None):
            factor = recipe.growth**self.step
            if recipe.spike and recipe.spike[0] <= self.step < recipe.spike[0] + recipe.spike[1]:
                factor *= recipe.spike[2]
            self.model.optimizer.learning_rate = min(recipe.rate * factor, 1e30)
            self.step += 1

    return Rate()


def _stop(baseline: float):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if logs["loss"] <= TRAINS * baseline:
                self.model.stop_training = True

    return Stop()


def _extras(x, y, epochs: int):
    """What other tools read and the telemetry lacks, on the probe batch, in inference mode.

    Measured before the first step and after epochs 1, 2 and the last; arrays are (times, kernels) or
    (times, activations).
    """
    import keras
    import tensorflow as tf

    class Extras(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.rows, self.tap = [], None

        def on_train_begin(self, logs=None):
            self.measure()

        def on_epoch_end(self, epoch, logs=None):
            if epoch in (0, 1, epochs - 1):
                self.measure()

        def measure(self):
            model = self.model
            if self.tap is None:
                self.layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)]
                taps = [t for layer in self.layers for t in (layer.input, layer.output)]
                self.tap = keras.Model(model.inputs, [*taps, model.outputs[0]])
                self.kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
            with tf.GradientTape() as tape:
                *taps, outputs = self.tap(x, training=False)
                loss = model.compute_loss(x=x, y=y, y_pred=outputs)
            gradients = [np.asarray(g) for g in tape.gradient(loss, [k.value for k in self.kernels])]
            units = [np.asarray(t).reshape(-1, t.shape[-1]) for t in taps]
            before, after = units[::2], units[1::2]
            with np.errstate(over="ignore", invalid="ignore"):
                self.rows.append(
                    {
                        "mean_gradient": [np.abs(g).mean() for g in gradients],
                        "gradient_norm": [np.sqrt(np.square(g, dtype=np.float64).sum()) for g in gradients],
                        "zero_gradients": [np.mean(g == 0) for g in gradients],
                        "entries": [g.size for g in gradients],
                        # Units that are active on under 1 % of the batch.
                        "inactive": [np.mean(np.mean(a != 0, axis=0) < 0.01) for a in after],
                        "percentile_95": [np.mean(np.percentile(np.abs(a), 95, axis=0) < 1e-5) for a in after],
                        "beyond_tanh": [np.mean(np.abs(b).max(0) > 9.5) for b in before],
                        "beyond_sigmoid": [np.mean((b.min(0) < -23) | (b.max(0) > 17)) for b in before],
                    }
                )

        def arrays(self):
            arrays = {name: np.array([row[name] for row in self.rows], np.float64) for name in self.rows[0]}
            return arrays | {
                "kernels": np.array([k.path for k in self.kernels]),
                "functions": np.array([layer.activation.__name__ for layer in self.layers]),
                "epochs": np.array(sorted({0, 1, 2, epochs})[: len(self.rows)]),
            }

    return Extras()
