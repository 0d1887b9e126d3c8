"""The recurrent, attention and generative nets of `verdict_sequences.py`: each made of options, with its data."""

# ruff: noqa: E501

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers, ops  # noqa: E402

SCORED = 512  # samples


class Made(NamedTuple):
    """A compiled model and all that its training takes.

    Attributes:
        y: `None` for models that take none.
        fit: arguments of `model.fit`.
        score: of the trained model; see above.
        baseline: the loss of the best constant prediction; `None` where the loss is none that has one.
        count: of the trained model: how much is alive of what should be; `None` where nothing is counted.
    """

    model: keras.Model
    x: object
    y: np.ndarray | None
    fit: dict
    score: Callable
    baseline: float | None = None
    count: Callable | None = None


# Data: x and y, and the loss of the best constant.


@functools.cache
def digits() -> tuple:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:1437]
    return (x[order] / 16).astype("float32"), y[order]


@functools.cache
def texts() -> list[str]:
    """What scikit-learn says about its data sets: six short English texts."""
    from sklearn import datasets

    names = ("iris", "wine", "digits", "breast_cancer", "diabetes", "linnerud")
    return [getattr(datasets, f"load_{name}")().DESCR.lower() for name in names]


def sequences(data: str, steps: int, samples: int = 1280) -> tuple:
    """Return x and y of a task on sequences.

    adding: the sum of the two numbers that are marked. recall: the first symbol, noise after it. symbols: the same with
    tokens. rows, pixels: digits row by row, pixel by pixel. late: row by row, then `steps` blank rows. patches: 2 x 2.
    words: which of six texts a window of words is from. letters: the next letter of these texts. counting: the next
    number of a sequence with a constant difference, modulo 12.
    """
    rng = np.random.default_rng(1)
    first = rng.integers(8, size=samples)
    if data == "adding":
        x = np.stack([rng.random((samples, steps)), np.zeros((samples, steps))], axis=-1)
        for half in (range(steps // 2), range(steps // 2, steps)):
            x[np.arange(samples), rng.choice(half, samples), 1] = 1
        return x.astype("float32"), (x[..., 0] * x[..., 1]).sum(1).astype("float32")
    if data == "recall":
        x = rng.normal(0, 0.1, (samples, steps, 8))
        x[:, 0] = np.eye(8)[first]
        return x.astype("float32"), first
    if data == "symbols":
        x = 8 + rng.integers(8, size=(samples, steps))
        x[:, 0] = first
        return x, first
    if data in ("rows", "pixels", "late", "patches"):
        x, y = digits()
        x = x.reshape(len(x), *{"pixels": (64, 1)}.get(data, (8, 8)))
        if data == "patches":
            x = x.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        return np.pad(x, ((0, 0), (0, steps if data == "late" else 0), (0, 0))), y
    if data == "counting":
        whole = (
            rng.integers(12, size=(samples, 1)) + rng.integers(1, 12, size=(samples, 1)) * np.arange(steps + 1)
        ) % 12
        return whole[:, :-1], whole[:, 1:]
    if data == "letters":
        letters = np.unique(list("".join(texts())), return_inverse=True)[1]
        whole = letters[rng.integers(len(letters) - steps, size=(samples, 1)) + np.arange(steps + 1)]
        return whole[:, :-1], whole[:, 1:]
    words = [text.split() for text in texts()]
    row = {word: 2 + i for i, word in enumerate(sorted({word for text in words for word in text}))}
    y = rng.integers(len(words), size=samples)
    starts = [rng.integers(len(words[label]) - steps) for label in y]
    return np.array([[row[word] for word in words[i][s : s + steps]] for i, s in zip(y, starts, strict=True)]), y


def constant(y: np.ndarray) -> float:
    if y.dtype == np.float32:
        return float(np.var(y, axis=0).mean())
    p = np.unique(y, return_counts=True)[1] / y.size
    return float(-(p * np.log(p)).sum())


# What all share.


def compiled(model, x, y, optimizer: str, rate: float, epochs: int, clip=None, momentum=0.0, batch=32, **more) -> Made:
    classes = y.dtype != np.float32
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else "mean_squared_error"
    model.compile(optimizer_of(optimizer, rate, clip, momentum), loss, jit_compile=False)
    baseline = constant(y)

    def score(model) -> float:
        x512 = keras.tree.map_structure(lambda a: a[:SCORED], x)
        told, wanted = model.predict(x512, batch_size=128, verbose=0).astype("float64"), y[:SCORED]
        if classes:
            told = np.log(keras.ops.softmax(told).numpy() + 1e-300)
            return float(-np.take_along_axis(told, wanted[..., None], -1).mean() / baseline)
        return float(np.square(told.reshape(wanted.shape) - wanted).mean() / baseline)

    return Made(model, x, y, {"epochs": epochs, "batch_size": batch}, score, baseline, **more)


def optimizer_of(name: str, rate: float, clip=None, momentum=0.0):
    options = {"momentum": momentum} if momentum else {}
    return keras.optimizers.get(
        {"class_name": name, "config": {"learning_rate": rate, "global_clipnorm": clip, **options}}
    )


def trained_rows(embedding, x) -> Callable:
    """Count the rows of words in the texts, all but the unknown one's (1), that training changed."""
    before = embedding.embeddings.numpy()
    return lambda model: int((embedding.embeddings.numpy() != before).any(axis=1)[2:].sum())


# Nets.


def recurrent(
    cell="SimpleRNN", data="recall", steps=50, width=32, depth=1, activation="tanh", start="orthogonal", factor=1.0,
    both_ways=False, unknown=False, optimizer="adam", rate=2e-3, epochs=6, **training,
) -> Made:  # fmt: skip
    """Recurrent layers, the last one's end read by a dense one; `factor` times the recurrent weights that it starts with."""
    x, y = sequences(data, steps)
    words = int(x.max()) + 1
    if unknown:
        x = np.ones_like(x)
    tokens = x.dtype.kind == "i"
    h = inputs = keras.Input(x.shape[1:], dtype="int32" if tokens else "float32")
    if tokens:
        embedding = layers.Embedding(words, width, name="embedding")
        h = embedding(h)
    for i in range(1, depth + 1):
        weights = {
            "orthogonal": lambda: keras.initializers.Orthogonal(factor),
            "identity": lambda: keras.initializers.Identity(factor),
            "glorot": lambda: keras.initializers.VarianceScaling(factor**2, "fan_avg", "untruncated_normal"),
        }[start]()
        layer = getattr(layers, cell)(
            width, activation=activation, recurrent_initializer=weights, return_sequences=i < depth, name=f"rnn_{i}"
        )
        h = (layers.Bidirectional(layer, name=f"both_{i}") if both_ways else layer)(h)
    outputs = layers.Dense(int(y.max()) + 1 if y.dtype.kind == "i" else 1, name="output")(h)
    count = trained_rows(embedding, x) if tokens else None
    return compiled(keras.Model(inputs, outputs), x, y, optimizer, rate, epochs, count=count, **training)


class Positions(layers.Layer):
    """Adds a learned vector to each position."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x):
        return x + self.table


def transformer(
    data="words", steps=16, width=32, depth=1, heads=2, norm="pre", unknown=False, optimizer="adam", rate=1e-3, epochs=5,
    **training,
) -> Made:  # fmt: skip
    """An encoder (words, patches) or a GPT (letters, counting), with layer norm before or after the branches."""
    x, y = sequences(data, steps)
    causal, words = y.ndim == 2, int(x.max()) + 1
    if unknown:
        x = np.ones_like(x)
    tokens = x.dtype.kind == "i"
    inputs = keras.Input(x.shape[1:], dtype="int32" if tokens else "float32")
    embedding = layers.Embedding(words, width, name="embedding") if tokens else layers.Dense(width, name="patches")
    h = Positions(name="positions")(embedding(inputs))

    def around(h, branch, name):
        norm_layer = layers.LayerNormalization(name=f"{name}_norm")
        return layers.Add()([h, branch(norm_layer(h))]) if norm == "pre" else norm_layer(layers.Add()([h, branch(h)]))

    for i in range(1, depth + 1):
        attention = layers.MultiHeadAttention(heads, width // heads, name=f"attention_{i}")
        wide = layers.Dense(4 * width, activation="gelu", name=f"wide_{i}")
        narrow = layers.Dense(width, name=f"narrow_{i}")
        h = around(h, lambda z, a=attention: a(z, z, use_causal_mask=causal), f"attention_{i}")
        h = around(h, lambda z, a=wide, b=narrow: b(a(z)), f"mlp_{i}")
    if norm == "pre":
        h = layers.LayerNormalization(name="last_norm")(h)
    if not causal:
        h = layers.GlobalAveragePooling1D()(h)
    model = keras.Model(inputs, layers.Dense(int(y.max()) + 1, name="output")(h))
    return compiled(
        model, x, y, optimizer, rate, epochs, count=trained_rows(embedding, x) if tokens else None, **training
    )


def bag_of_words(width=16, steps=16, unknown=False, optimizer="adam", rate=5e-3, epochs=8, **training) -> Made:
    """The mean of the words' vectors, and a dense layer or two."""
    x, y = sequences("words", steps)
    embedding = layers.Embedding(int(x.max()) + 1, width, name="embedding")
    h = layers.GlobalAveragePooling1D()(embedding(inputs := keras.Input((steps,), dtype="int32")))
    h = layers.Dense(width, activation="relu", name="dense")(h)
    model = keras.Model(inputs, layers.Dense(6, name="output")(h))
    x = np.ones_like(x) if unknown else x
    return compiled(model, x, y, optimizer, rate, epochs, count=trained_rows(embedding, x), **training)


def translator(steps=5, width=48, optimizer="adam", rate=5e-3, epochs=5, **training) -> Made:
    """GRUs with attention between them turn a sequence of eight symbols round."""
    source = np.random.default_rng(1).integers(1, 9, size=(1920, steps))
    y = source[:, ::-1].copy()
    x = [source, np.pad(y[:, :-1], ((0, 0), (1, 0)))]
    inputs = [keras.Input((steps,), dtype="int32") for _ in x]
    read, last = layers.GRU(width, return_sequences=True, return_state=True, name="encoder")(
        layers.Embedding(9, width, name="source")(inputs[0])
    )
    h = layers.GRU(width, return_sequences=True, name="decoder")(
        layers.Embedding(9, width, name="target")(inputs[1]), initial_state=last
    )
    h = layers.Concatenate()([h, layers.Attention(name="attention")([h, read])])
    model = keras.Model(inputs, layers.Dense(9, name="output")(h))
    return compiled(model, x, y, optimizer, rate, epochs, **training)


def autoencoder(net="dense", width=64, optimizer="adam", rate=2e-3, epochs=8, **training) -> Made:
    """Digits through a bottleneck of dense layers; or out of noise, by a small U-Net."""
    x, _ = digits()
    if net == "dense":
        h = inputs = keras.Input((64,))
        for i, units in enumerate((width, 12, width), 1):
            h = layers.Dense(units, activation="relu", name=f"dense_{i}")(h)
        return compiled(
            keras.Model(inputs, layers.Dense(64, name="output")(h)), x, x, optimizer, rate, epochs, **training
        )
    x = x.reshape(-1, 8, 8, 1)
    noisy = x + np.random.default_rng(1).normal(0, 0.3, x.shape).astype("float32")
    inputs = keras.Input((8, 8, 1))
    a = layers.Conv2D(width, 3, padding="same", activation="relu", name="down_1")(inputs)
    b = layers.Conv2D(width, 3, padding="same", activation="relu", name="down_2")(layers.MaxPooling2D()(a))
    c = layers.Conv2D(width, 3, padding="same", activation="relu", name="bottom")(layers.MaxPooling2D()(b))
    c = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu", name="up_2")(c)
    c = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu", name="up_1")(
        layers.Concatenate()([b, c])
    )
    model = keras.Model(inputs, layers.Conv2D(1, 1, name="output")(layers.Concatenate()([a, c])))
    return compiled(model, noisy, x, optimizer, rate, epochs, **training)


class Sampling(layers.Layer):
    """Draws z by its mean and log variance; adds `weight` times their divergence to the loss, unless it is 0."""

    def __init__(self, weight=0.0, **options):
        super().__init__(**options)
        self.weight, self.seeds = weight, keras.random.SeedGenerator(7)

    def call(self, parts):
        mean, log_variance = parts
        if self.weight:
            self.add_loss(self.weight * ops.mean(divergence(mean, log_variance)))
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def divergence(mean, log_variance):
    return -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=1)


class VAE(keras.Model):
    """As in keras.io's example: a train step of its own, the loss that of all pixels plus the divergence."""

    def __init__(self, encoder, decoder, weight):
        super().__init__()
        self.encoder, self.decoder, self.weight = encoder, decoder, weight
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_variance, z = self.encoder(data)
            reconstruction = ops.mean(ops.sum(ops.square(data - self.decoder(z)), axis=1))
            loss = reconstruction + self.weight * ops.mean(divergence(mean, log_variance))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def vae(own_step=True, width=64, latent=4, weight=0.1, optimizer="adam", rate=3e-3, epochs=10) -> Made:
    """A VAE of digits; `weight` is that of the divergence, against the squared error of all 64 pixels."""
    x, _ = digits()
    h = layers.Dense(width, activation="relu", name="encoder_dense")(inputs := keras.Input((64,)))
    mean, log_variance = layers.Dense(latent, name="z_mean")(h), layers.Dense(latent, name="z_log_var")(h)
    z = Sampling(0.0 if own_step else weight / 64, name="sampling")([mean, log_variance])
    encoder = keras.Model(inputs, [mean, log_variance, z], name="encoder")
    h = layers.Dense(width, activation="relu", name="decoder_dense")(inside := keras.Input((latent,)))
    decoder = keras.Model(inside, layers.Dense(64, name="pixels")(h), name="decoder")
    if own_step:
        model = VAE(encoder, decoder, weight)
        model.compile(optimizer_of(optimizer, rate))
        made = Made(model, x, None, {"epochs": epochs, "batch_size": 32}, None)
    else:
        made = compiled(keras.Model(inputs, decoder(z)), x, x, optimizer, rate, epochs)

    def means(model, some):
        if own_step:
            return model.encoder(some)[0]
        return keras.Model(model.input, model.get_layer("z_mean").output)(some)

    def score(model) -> float:
        decoder = model.decoder if own_step else model.get_layer("decoder")
        wrong = x[:SCORED] - decoder(means(model, x[:SCORED])).numpy()
        return float(np.square(wrong).mean() / constant(x))

    return made._replace(score=score, count=lambda model: int((np.var(means(model, x).numpy(), axis=0) > 0.01).sum()))


class TopOne(layers.Layer):
    """The router's probabilities, 0 for all but the largest; evens out how often each is, as switch transformers do.

    The loss that it adds is 1 where all get the same.
    """

    def call(self, logits):
        p = ops.softmax(logits)
        mask = ops.one_hot(ops.argmax(p, axis=-1), p.shape[-1])
        self.add_loss(p.shape[-1] * ops.sum(ops.mean(mask, axis=0) * ops.mean(p, axis=0)))
        return p * mask


def experts(number=4, width=32, shut=None, bias=-20.0, optimizer="adam", rate=3e-3, epochs=8, **training) -> Made:
    """Digits by a mixture of experts, of which each sample gets one; the router has `bias` against expert `shut`.

    Judged is that expert, or if there is none the loss and the expert that gets least.
    """
    x, y = digits()
    h = layers.Dense(width, activation="relu", name="body")(inputs := keras.Input((64,)))
    router = layers.Dense(number, name="router")
    gates = TopOne(name="top_one")(router(h))
    parts = [layers.Dense(width, activation="relu", name=f"expert_{i}") for i in range(number)]
    mixed = ops.sum(ops.stack([part(h) for part in parts], axis=1) * gates[..., None], axis=1)
    model = keras.Model(inputs, layers.Dense(10, name="output")(mixed))
    chosen = keras.Model(inputs, gates)
    watched = range(number) if shut is None else [shut]
    if shut is not None:
        router.bias.assign(np.where(np.arange(number) == shut, bias, 0.0))
    before = [parts[i].kernel.numpy() for i in watched]
    made = compiled(model, x, y, optimizer, rate, epochs, **training)

    def sent(model) -> int:
        gets = (chosen.predict(x, verbose=0) > 0).sum(0)
        changed = [(parts[i].kernel.numpy() != old).any() for i, old in zip(watched, before, strict=True)]
        return min(max(int(gets[i]), int(moved)) for i, moved in zip(watched, changed, strict=True))

    def score(model) -> float:
        lacks = 1 - min(1.0, number * sent(model) / len(x))
        return max(lacks, made.score(model)) if shut is None else lacks

    return made._replace(score=score, count=sent, baseline=1 + made.baseline)


class GAN(keras.Model):
    """Generator and discriminator with an optimizer each; `minimax`: the generator lowers log(1 - D)."""

    def __init__(self, generator, discriminator, minimax):
        super().__init__()
        self.generator, self.discriminator, self.minimax = generator, discriminator, minimax
        self.seeds = keras.random.SeedGenerator(7)

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def drawn(self, number):
        return self.generator(keras.random.normal((number, self.generator.input_shape[1]), seed=self.seeds))

    def train_step(self, real):
        number = ops.shape(real)[0]
        with tf.GradientTape() as tape:
            d_loss = ops.mean(
                ops.softplus(-self.discriminator(real)) + ops.softplus(self.discriminator(self.drawn(number)))
            )
        variables = self.discriminator.trainable_variables
        self.d_optimizer.apply(tape.gradient(d_loss, variables), variables)
        with tf.GradientTape() as tape:
            judged = self.discriminator(self.drawn(number))
            g_loss = ops.mean(-ops.softplus(judged) if self.minimax else ops.softplus(-judged))
        variables = self.generator.trainable_variables
        self.g_optimizer.apply(tape.gradient(g_loss, variables), variables)
        return {"d_loss": d_loss, "g_loss": g_loss}


def gan(
    data="ring", width=32, minimax=False, rate=1e-3, d_rate=1e-3, optimizer="adam", d_optimizer="adam", epochs=10
) -> Made:
    rng = np.random.default_rng(1)
    angle = rng.integers(8, size=1600) * np.pi / 4
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 2 + rng.normal(0, 0.1, (1600, 2))
    x = (digits()[0] if data == "digits" else x).astype("float32")
    generator = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(width, activation="relu", name="g_1"),
            layers.Dense(width, activation="relu", name="g_2"),
            layers.Dense(x.shape[1], name="g_3"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Dense(2 * width, activation="leaky_relu", name="d_1"),
            layers.Dense(width, activation="leaky_relu", name="d_2"),
            layers.Dense(1, name="d_3"),
        ]
    )
    model = GAN(generator, discriminator, minimax)
    beta = {"beta_1": 0.5}
    made = [
        keras.optimizers.get({"class_name": name, "config": {"learning_rate": r, **(beta if name == "adam" else {})}})
        for name, r in ((d_optimizer, d_rate), (optimizer, rate))
    ]
    model.compile(*made)
    noise = rng.normal(size=(SCORED, 8)).astype("float32")

    def apart(a, b) -> float:
        return float(np.sqrt(np.square(a[:, None] - b[None]).sum(-1)).mean())

    def distance(model) -> float:
        made, real = generator(noise).numpy(), x[:SCORED]
        return 2 * apart(made, real) - apart(made, made) - apart(real, real)

    before = distance(model)
    return Made(model, x, None, {"epochs": epochs, "batch_size": 32}, lambda model: distance(model) / before)
