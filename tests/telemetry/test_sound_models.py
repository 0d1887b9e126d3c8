"""Sound models that nobody here made, and those that people ordinarily write: no sick word before the first step or
after any epoch, and `healthy` once they have learned, which each test measures for itself."""

import contextlib
import dataclasses
import functools
import zlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
import sklearn.datasets
from autodiff import BACKEND
from keras import layers, ops

from zoo import GradientNorms, diagnose, probe
from zoo.telemetry.probe import Probes

SICK = {"vanishing", "exploding", "dead", "saturated", "stalled", "unstable"}
BATCH = 32
RNG = functools.partial(np.random.default_rng, 0)

# Data: real ones, as far as scikit-learn brings them.


@functools.cache
def digits(shape=(64,)):
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return x[:1280].reshape(-1, *shape).astype("float32") / 16, y[:1280]


def one_hot(y, classes=10):
    return np.eye(classes, dtype="float32")[y]


@functools.cache
def cancer():
    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    return standard(x), y.astype("float32")[:, None]


@functools.cache
def diabetes():
    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    return standard(x), y.astype("float32")[:, None]


@functools.cache
def friedman():
    x, y = sklearn.datasets.make_friedman1(1280, noise=0.5, random_state=0)
    return standard(x), standard(y[:, None])


def standard(values):
    return ((values - values.mean(0)) / values.std(0)).astype("float32")


TEXTS = ("iris", "wine", "breast_cancer", "diabetes")


@functools.cache
def texts(length=16):
    """Passages of words, as numbers from 1 to 499, and which of scikit-learn's descriptions they are from."""
    rng, x, y = RNG(), [], []
    for label, name in enumerate(TEXTS):
        words = getattr(sklearn.datasets, f"load_{name}")().DESCR.lower().split()
        words = np.array([1 + zlib.crc32(word.encode()) % 499 for word in words])
        starts = rng.integers(0, len(words) - length, 320)
        x.append(words[starts[:, None] + np.arange(length)])
        y.append(np.full(320, label))
    order = rng.permutation(1280)
    return np.concatenate(x)[order], np.concatenate(y)[order]


@functools.cache
def characters(length=16):
    """Passages of letters, and the letters after them."""
    text = "".join(getattr(sklearn.datasets, f"load_{name}")().DESCR.lower() for name in TEXTS)
    text = np.unique([ord(c) for c in text if c.isascii()], return_inverse=True)[1]
    passages = text[RNG().integers(0, len(text) - length, 1600)[:, None] + np.arange(length + 1)]
    return passages[:, :-1], passages[:, 1:]


@functools.cache
def masks():
    """Digits under noise, and where their ink is."""
    x, _ = digits((8, 8, 1))
    return x + RNG().normal(0, 0.3, x.shape).astype("float32"), (x > 0.4).astype("float32")


@functools.cache
def rare():
    """Digits, of which one in twenty is a 3."""
    x, y = digits()
    others = np.flatnonzero(y != 3)
    rows = RNG().permutation(np.concatenate([others, np.flatnonzero(y == 3)[: len(others) // 19]]))
    return x[rows], (y[rows] == 3).astype("float32")[:, None]


@functools.cache
def pairs():
    """Two digits each, and whether they differ: half of them do."""
    x, y = digits()
    rng = RNG()
    second = [rng.choice(np.flatnonzero((y == label) == (i % 2 == 0))) for i, label in enumerate(y)]
    return [x, x[second]], (y != y[second]).astype("float32")[:, None]


def traits():
    x, y = digits()
    return x, np.stack([y % 2 == 0, y > 4, np.isin(y, [0, 6, 8, 9]), np.isin(y, [2, 3, 5, 7])], 1).astype("float32")


def ink():
    x, y = digits()
    return x, {"digit": y, "ink": standard(x.mean(1, keepdims=True))}


# What was learned, measured here.


def predicted(model, x):
    return model.predict(x, batch_size=256, verbose=0)


def accuracy(model, x, y):
    return float(np.mean(predicted(model, x).argmax(-1) == y))


def balanced(model, x, y, threshold=0.5):
    """Mean accuracy over both classes of every label."""
    said = predicted(model, x) > threshold
    return float(np.mean([[np.mean(said[y[:, i] == c, i] == c) for c in np.unique(y)] for i in range(y.shape[1])]))


def r2_of(y, predictions):
    return float(1 - np.mean((y - predictions) ** 2) / np.mean((y - y.mean(0)) ** 2))


def r2(model, x, y):
    return r2_of(y, predicted(model, x))


# Models.


def sequential(shape, *parts, dtype=None, **options):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts], **options)


def functional(call, *shapes, cls=keras.Model, **options):
    inputs = [keras.Input(shape, **options) for shape in shapes]
    return cls(inputs[0] if len(inputs) == 1 else inputs, call(*inputs))


def relu(units=64, **options):
    return layers.Dense(units, "relu", **options)


def mlp(head, *, depth=3, shape=(64,), **options):
    return sequential(shape, *[relu(**options) for _ in range(depth)], head)


def convolution(x, filters, *, strides=1, size=3, gamma="ones"):
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)(x)


def nested():
    body = sequential(
        (8, 8, 1),
        layers.Conv2D(16, 3, activation="relu", padding="same"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu", padding="same"),
        layers.GlobalMaxPooling2D(),
        name="backbone",
    )
    return functional(lambda x: layers.Dense(10, "softmax")(relu()(body(x))), (8, 8, 1))


def frozen():
    body = sequential((8, 8, 1), layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten())
    body.trainable = False
    return functional(lambda x: layers.Dense(10, "softmax")(body(x)), (8, 8, 1))


def u_net():
    def call(x):
        a = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        b = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(a))
        c = layers.Conv2D(32, 3, padding="same", activation="relu")(layers.MaxPooling2D()(b))
        c = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(c)
        c = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Concatenate()([b, c]))
        c = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(c)
        return layers.Conv2D(1, 1, activation="sigmoid")(layers.Concatenate()([a, c]))

    return functional(call, (8, 8, 1))


def pixels(model, x, y):
    return balanced(lambda_of(model, lambda p: p.reshape(-1, 1)), x, y.reshape(-1, 1))


def lambda_of(model, change):
    """A model whose predictions are changed."""
    return type("Changed", (), {"predict": staticmethod(lambda x, **kw: change(model.predict(x, **kw)))})()


def autoencoder():
    return sequential((64,), relu(), relu(16), relu(), layers.Dense(64, "sigmoid"))


def conv_autoencoder():
    return sequential(
        (8, 8, 1),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid"),
    )


class Sampling(layers.Layer):
    """As in keras.io's variational autoencoder."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, inputs):
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def encoder_decoder(size=8):
    def encode(x):
        x = relu()(x)
        mean, log_var = layers.Dense(size, name="z_mean")(x), layers.Dense(size, name="z_log_var")(x)
        return [mean, log_var, Sampling()([mean, log_var])]

    return functional(encode, (64,)), sequential((size,), relu(), layers.Dense(64, "sigmoid"))


def divergence(mean, log_var):
    return -0.5 * ops.mean(ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1))


class VAE(keras.Model):
    """keras.io's: a train step of its own, no targets."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = encoder_decoder()
        self.total = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.total]

    def train_step(self, data):
        import tensorflow as tf

        data = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            mean, log_var, z = self.encoder(data)
            again = self.decoder(z)
            loss = ops.mean(ops.sum(keras.losses.binary_crossentropy(data[..., None], again[..., None]), axis=-1))
            loss = loss + divergence(mean, log_var)
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.total.update_state(loss)
        return {"loss": self.total.result()}


def vae_r2(model, x, y):
    mean = predicted(model.encoder, x)[0]
    return r2_of(x, predicted(model.decoder, mean))


class AddLossVAE(keras.Model):
    """The divergence by `add_loss`, the reconstruction by `compile`."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = encoder_decoder()

    def call(self, x):
        mean, log_var, z = self.encoder(x)
        self.add_loss(0.002 * divergence(mean, log_var))
        return self.decoder(z)


class TokenAndPosition(layers.Layer):
    """As in keras.io's text classification with a transformer."""

    def __init__(self, length, words, width):
        super().__init__()
        self.tokens, self.positions = layers.Embedding(words, width), layers.Embedding(length, width)

    def call(self, x):
        return self.tokens(x) + self.positions(ops.arange(ops.shape(x)[-1]))


class PostNormBlock(layers.Layer):
    """keras.io's transformer block."""

    def __init__(self, width=32, heads=2, dropout=0.1):
        super().__init__()
        self.attention = layers.MultiHeadAttention(heads, width)
        self.ffn = keras.Sequential([layers.Dense(2 * width, "relu"), layers.Dense(width)])
        self.norm1, self.norm2 = (layers.LayerNormalization(epsilon=1e-6) for _ in range(2))
        self.drop1, self.drop2 = (layers.Dropout(dropout, seed=i) for i in range(2))

    def call(self, x, training=False):
        x = self.norm1(x + self.drop1(self.attention(x, x), training=training))
        return self.norm2(x + self.drop2(self.ffn(x), training=training))


def keras_io_transformer():
    def call(x):
        x = PostNormBlock()(TokenAndPosition(16, 500, 32)(x))
        x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
        return layers.Dense(4, "softmax")(layers.Dropout(0.1)(relu(20)(x)))

    return functional(call, (16,), dtype="int32")


def block(x, *, width=32, heads=4, causal=False, post=False):
    """A transformer block, normalized before each branch or after each sum."""
    norm = functools.partial(layers.LayerNormalization, epsilon=1e-6)
    seen = x if post else norm()(x)
    x = x + layers.MultiHeadAttention(heads, width // heads)(seen, seen, use_causal_mask=causal)
    x = norm()(x) if post else x
    x = x + layers.Dense(width)(layers.Dense(2 * width, "gelu")(x if post else norm()(x)))
    return norm()(x) if post else x


def gpt():
    letters = int(characters()[0].max()) + 1

    def call(x):
        x = TokenAndPosition(16, letters, 32)(x)
        x = block(block(x, causal=True), causal=True)
        return layers.Dense(letters)(layers.LayerNormalization()(x))

    return functional(call, (16,), dtype="int32")


class Positions(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="glorot_uniform", name="positions")

    def call(self, x):
        return x + self.table


def rows_transformer(depth=2, post=False):
    def call(x):
        x = Positions()(layers.Dense(32)(x))
        for _ in range(depth):
            x = block(x, post=post)
        x = x if post else layers.LayerNormalization()(x)
        return layers.Dense(10, "softmax")(layers.GlobalAveragePooling1D()(x))

    return functional(call, (8, 8))


def vit():
    def call(x):
        x = layers.Reshape((16, 32))(layers.Conv2D(32, 2, strides=2, name="patches")(x))
        x = layers.LayerNormalization()(block(block(Positions()(x))))
        return layers.Dense(10)(layers.Dropout(0.1)(relu()(layers.Flatten()(x))))

    return functional(call, (8, 8, 1))


def two_heads():
    x = keras.Input((64,))
    h = relu()(relu()(x))
    outputs = {"digit": layers.Dense(10, "softmax", name="digit")(h), "ink": layers.Dense(1, name="ink")(h)}
    return keras.Model(x, outputs)


def of_two_heads(model, x, y):
    said = predicted(model, x)
    return min(float(np.mean(said["digit"].argmax(-1) == y["digit"])), r2_of(y["ink"], said["ink"]))


def siamese():
    """keras.io's: the distance of two embeddings, normalized, to a sigmoid."""
    body = sequential((64,), layers.BatchNormalization(), layers.Dense(64, "tanh"), layers.Dense(10, "tanh"))

    def call(a, b):
        distance = ops.sqrt(ops.maximum(ops.sum(ops.square(body(a) - body(b)), axis=1, keepdims=True), 1e-7))
        return layers.Dense(1, "sigmoid")(layers.BatchNormalization(momentum=0.9)(distance))

    return functional(call, (64,), (64,))


def contrastive(y, p):
    return ops.mean((1 - y) * ops.square(p) + y * ops.square(ops.maximum(1 - p, 0)))


class Distiller(keras.Model):
    """A student that learns a trained teacher's answers too, as in keras.io's example."""

    def __init__(self):
        super().__init__()
        self.teacher, self.student = mlp(layers.Dense(10), depth=2), sequential((64,), relu(24), layers.Dense(10))
        self.teacher.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        self.teacher.fit(*digits(), epochs=3, verbose=0)
        self.teacher.trainable = False

    def call(self, x):
        return self.student(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        wanted, given = ops.softmax(self.teacher(x, training=False) / 3.0), ops.log_softmax(y_pred / 3.0)
        distance = ops.mean(ops.sum(wanted * (ops.log(wanted + 1e-9) - given), axis=-1))
        return 0.1 * super().compute_loss(x, y, y_pred) + 0.9 * 9 * distance


def experts():
    def call(x):
        gates = layers.Dense(4, "softmax", name="gates")(x)
        said = ops.stack([relu(name=f"expert{i}")(x) for i in range(4)], axis=1)
        return layers.Dense(10, "softmax")(ops.sum(said * ops.expand_dims(gates, -1), axis=1))

    return functional(call, (64,))


def squeeze_and_excite():
    def call(x):
        for filters in (16, 32):
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.Activation("swish")(layers.BatchNormalization(momentum=0.9)(x))
            s = relu(filters // 4)(layers.GlobalAveragePooling2D(keepdims=True)(x))
            x = layers.Multiply()([x, layers.Dense(filters, "sigmoid")(s)])
        return layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x)))

    return functional(call, (8, 8, 1))


def resnet_of_zero_gammas():
    def call(x):
        x = layers.ReLU()(convolution(x, 16))
        for filters, strides in ((16, 1), (32, 2), (32, 1)):
            branch = layers.ReLU()(convolution(x, filters, strides=strides))
            branch = convolution(branch, filters, gamma="zeros")
            if strides > 1:
                x = convolution(x, filters, strides=strides, size=1)
            x = layers.ReLU()(layers.Add()([x, branch]))
        return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))

    return functional(call, (8, 8, 1))


def mixed_precision():
    with policy("mixed_float16"):
        return sequential((64,), relu(), relu(), layers.Dense(10), layers.Activation("softmax", dtype="float32"))


@contextlib.contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def text(*parts, mask=False, classes=4):
    embedding = layers.Embedding(500, 32, mask_zero=mask)
    return sequential((16,), embedding, *parts, layers.Dense(classes, "softmax"), dtype="int32")


def padded():
    x, y = texts()
    return x * (np.arange(16) < RNG().integers(8, 17, len(x))[:, None]), y


# Trainings.


def adam(rate=0.003, **options):
    return keras.optimizers.Adam(rate, **options)


def cosine():
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 160), momentum=0.9, global_clipnorm=1.0)


@dataclasses.dataclass(frozen=True)
class Training:
    """A sound training, and how one sees that it has learned.

    Attributes:
        make: makes the model.
        data: returns x and y.
        loss, optimizer, options: of `compile`.
        epochs, fit: of `fit`.
        measure: of model, x and y: what was learned.
        least: of it after the last epoch.
        ends: what may be said then.
    """

    make: Callable
    data: Callable = digits
    loss: object = "sparse_categorical_crossentropy"
    epochs: int = 3
    measure: Callable = accuracy
    least: float = 0.8
    optimizer: Callable = adam
    options: dict = dataclasses.field(default_factory=dict)
    fit: dict = dataclasses.field(default_factory=dict)
    ends: tuple = ("healthy",)


def train(model, x, y, optimizer, loss, *, epochs=1, options=None, **fit):
    """Train as a user does; return what was recorded."""
    jit = {"jit_compile": False} if BACKEND == "tensorflow" else {}
    model.compile(optimizer=optimizer, **({} if loss is None else {"loss": loss}), **jit, **options or {})
    first = functools.partial(keras.tree.map_structure, lambda values: values[:64])
    norms, probes = GradientNorms(), Probes(first(x), None if y is None else first(y))
    model.fit(x, y, **{"batch_size": BATCH, "epochs": epochs, "verbose": 0, "callbacks": [norms, probes]} | fit)
    return norms.history, probes.results


def fresh(make):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    return make()


def until(history, epoch):
    """What was recorded until the end of an epoch, from 1."""
    ends = history.epoch_ends[:epoch]
    return dataclasses.replace(history.rows(slice(0, int(ends[-1]))), epoch_ends=ends)


LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
IMAGES, ROWS = functools.partial(digits, (8, 8, 1)), functools.partial(digits, (8, 8))
TEXT = {"data": texts, "epochs": 4}
BINARY = {"data": cancer, "loss": "binary_crossentropy", "measure": balanced, "epochs": 4}
REGRESSION = {"measure": r2, "optimizer": functools.partial(adam, 0.01)}
NUMBER = functools.partial(layers.Dense, 1)
SOFTMAX = functools.partial(layers.Dense, 10, "softmax")


TRAININGS = {
    # Heads and losses.
    "softmax": Training(lambda: mlp(SOFTMAX())),
    "logits": Training(lambda: mlp(layers.Dense(10)), loss=LOGITS),
    "activation layer": Training(
        lambda: sequential((64,), layers.Dense(64), layers.ReLU(), layers.Dense(10), layers.Softmax())
    ),
    "one-hot, label smoothing": Training(
        lambda: mlp(SOFTMAX()),
        lambda: (digits()[0], one_hot(digits()[1])),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        measure=lambda model, x, y: accuracy(model, x, y.argmax(-1)),
    ),
    "focal": Training(
        lambda: mlp(SOFTMAX()),
        lambda: (digits()[0], one_hot(digits()[1])),
        "categorical_focal_crossentropy",
        measure=lambda model, x, y: accuracy(model, x, y.argmax(-1)),
    ),
    "sigmoid": Training(lambda: mlp(layers.Dense(1, "sigmoid"), shape=(30,)), **BINARY),
    "hinge": Training(
        lambda: mlp(layers.Dense(1, "tanh"), shape=(30,)),
        lambda: (cancer()[0], 2 * cancer()[1] - 1),
        "hinge",
        measure=lambda model, x, y: float(np.mean((predicted(model, x) > 0) == (y > 0))),
    ),
    "several labels": Training(
        lambda: mlp(layers.Dense(4, "sigmoid")), traits, "binary_crossentropy", measure=balanced, epochs=4
    ),
    "one in twenty": Training(
        lambda: mlp(layers.Dense(1, "sigmoid")), rare, "binary_crossentropy", measure=balanced, epochs=5
    ),
    "one in twenty, class weights": Training(
        lambda: mlp(layers.Dense(1, "sigmoid")),
        rare,
        "binary_crossentropy",
        measure=balanced,
        fit={"class_weight": {0: 1.0, 1: 10.0}},
    ),
    "sample weights": Training(
        lambda: mlp(SOFTMAX()), fit={"sample_weight": RNG().uniform(0.1, 1.9, 1280).astype("float32")}
    ),
    "mse": Training(lambda: mlp(NUMBER(), depth=2, shape=(10,)), friedman, "mse", epochs=4, least=0.7, **REGRESSION),
    "mae": Training(lambda: mlp(NUMBER(), depth=2, shape=(10,)), friedman, "mae", epochs=4, least=0.7, **REGRESSION),
    "huber": Training(
        lambda: mlp(NUMBER(), depth=2, shape=(10,)), friedman, "huber", epochs=4, least=0.7, **REGRESSION
    ),
    "poisson": Training(
        lambda: mlp(layers.Dense(1, "exponential"), depth=2, shape=(10,)),
        lambda: (friedman()[0], np.exp(friedman()[1]).round()),
        "poisson",
        epochs=4,
        measure=r2,
        least=0.5,
    ),
    "diabetes": Training(
        lambda: mlp(NUMBER(), depth=2, shape=(10,)),
        lambda: (diabetes()[0], standard(diabetes()[1])),
        "mse",
        epochs=6,
        measure=r2,
        least=0.4,
    ),
    "targets of hundreds": Training(
        lambda: mlp(NUMBER(), depth=2, shape=(10,)), diabetes, "mse", epochs=10, least=0.4, **REGRESSION
    ),
    # Optimizers, penalties, precision, initial weights.
    "momentum, cosine, clipping": Training(lambda: mlp(SOFTMAX()), epochs=4, optimizer=cosine),
    "plain gradient descent": Training(
        lambda: mlp(SOFTMAX(), depth=2), epochs=6, optimizer=lambda: keras.optimizers.SGD(0.05)
    ),
    "penalty": Training(lambda: mlp(SOFTMAX(), kernel_regularizer=keras.regularizers.L2(1e-3))),
    "much dropout": Training(
        lambda: sequential((64,), relu(128), layers.Dropout(0.5), relu(128), layers.Dropout(0.5), SOFTMAX()), epochs=5
    ),
    "half precision": Training(mixed_precision),
    "a head of zeros": Training(lambda: mlp(layers.Dense(10, "softmax", kernel_initializer="zeros"))),
    "ten layers": Training(lambda: mlp(SOFTMAX(), depth=10, kernel_initializer="he_normal"), epochs=4),
    "self-normalizing": Training(
        lambda: sequential(
            (64,), *[layers.Dense(64, "selu", kernel_initializer="lecun_normal") for _ in range(8)], SOFTMAX()
        ),
        lambda: (standard(digits()[0] + 1e-3 * RNG().normal(size=(1280, 64))), digits()[1]),
    ),
    "batch normalization": Training(
        lambda: sequential(
            (64,),
            *[p for _ in range(3) for p in (layers.Dense(64), layers.BatchNormalization(), layers.ReLU())],
            SOFTMAX(),
        ),
    ),
    "pixels to 255": Training(
        lambda: mlp(SOFTMAX(), depth=2), lambda: (255 * digits()[0], digits()[1]), epochs=5, optimizer=adam
    ),
    # Images.
    "nested": Training(nested, IMAGES, epochs=5),
    "frozen backbone": Training(frozen, IMAGES),
    "separable, squeezed": Training(squeeze_and_excite, IMAGES, epochs=8, least=0.6, optimizer=lambda: adam(0.01)),
    "last gamma zero": Training(resnet_of_zero_gammas, IMAGES, LOGITS, epochs=4, least=0.5),
    "vit": Training(vit, IMAGES, LOGITS, epochs=4),
    "u-net": Training(u_net, masks, "binary_crossentropy", measure=pixels, epochs=4),
    "autoencoder": Training(autoencoder, lambda: digits()[:1] * 2, "mse", measure=r2, least=0.3, epochs=5),
    "convolutional autoencoder": Training(
        conv_autoencoder, lambda: IMAGES()[:1] * 2, "mse", measure=r2, least=0.3, epochs=6, optimizer=lambda: adam(0.01)
    ),
    # Of a loss without targets, nothing says what knowing nothing would cost.
    "vae": Training(
        VAE, lambda: (digits()[0], None), None, measure=vae_r2, least=0.15, epochs=6, ends=("healthy", "undecided")
    ),
    "vae, add_loss": Training(AddLossVAE, lambda: digits()[:1] * 2, "mse", measure=vae_r2, least=0.2, epochs=6),
    # Sequences.
    "text, pooled": Training(lambda: text(layers.GlobalAveragePooling1D(), relu()), **TEXT),
    "text, lstm": Training(lambda: text(layers.LSTM(32)), **TEXT),
    "text, padded": Training(lambda: text(layers.GRU(32), mask=True), **TEXT | {"data": padded}),
    "text, transformer": Training(keras_io_transformer, **TEXT),
    "letters": Training(gpt, characters, LOGITS, epochs=5, least=0.3),
    "gru": Training(lambda: sequential((8, 8), layers.GRU(48), SOFTMAX()), ROWS, epochs=5),
    "both ways": Training(lambda: sequential((8, 8), layers.Bidirectional(layers.LSTM(32)), SOFTMAX()), ROWS, epochs=5),
    "convolved in time": Training(
        lambda: sequential(
            (8, 8),
            *[layers.Conv1D(32, 3, padding="causal", activation="relu", dilation_rate=d) for d in (1, 2)],
            layers.Flatten(),
            SOFTMAX(),
        ),
        ROWS,
    ),
    "transformer": Training(rows_transformer, ROWS, epochs=5),
    # More than one part.
    "two heads": Training(
        two_heads,
        ink,
        {"digit": "sparse_categorical_crossentropy", "ink": "mse"},
        measure=of_two_heads,
        least=0.7,
        epochs=5,
    ),
    "siamese": Training(siamese, pairs, contrastive, epochs=6, measure=balanced, least=0.75),
    "distillation": Training(Distiller, loss=LOGITS, epochs=4),
    "experts": Training(experts),
}


SLOW = {
    *("one-hot, label smoothing", "focal", "several labels", "mae", "huber", "poisson", "diabetes", "sample weights"),
    *("much dropout", "half precision", "penalty", "self-normalizing", "separable, squeezed", "last gamma zero", "vit"),
    *("u-net", "convolutional autoencoder", "vae, add_loss", "text, transformer", "letters", "both ways"),
    *("convolved in time", "siamese", "distillation", "one in twenty, class weights"),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in TRAININGS])
def test_trainings(name):
    if name == "vae" and BACKEND != "tensorflow":
        pytest.skip("its train step is TensorFlow's")
    training = TRAININGS[name]
    x, y = training.data()
    model = fresh(training.make)
    history, probes = train(
        model,
        x,
        y,
        training.optimizer(),
        training.loss,
        epochs=training.epochs,
        options=training.options,
        **training.fit,
    )
    learned = training.measure(model, x, y)
    assert learned > training.least, f"no sound training: {learned:.2f}"
    said = [diagnose(probes=probes[:1])]
    said += [diagnose(until(history, epoch), probes[: epoch + 1]) for epoch in range(1, training.epochs + 1)]
    for epoch, verdict in enumerate(said):
        assert verdict.name not in SICK, f"after {epoch} epochs {verdict.name}: {verdict.sentence}"
    assert said[-1].name in training.ends, f"learned {learned:.2f}, {said[-1].name}: {said[-1].sentence}"


# Models that nobody here made.


@functools.cache
def photos(size):
    """Crops of scikit-learn's two photographs, and which and what part of it each is from."""
    rng, x, y = RNG(), [], []
    for i, image in enumerate(sklearn.datasets.load_sample_images().images):
        height, width, _ = image.shape
        for part in range(4):
            for _ in range(2):
                top = int(rng.integers(0, height // 2 - size)) + (part // 2) * height // 2
                left = int(rng.integers(0, width // 2 - size)) + (part % 2) * width // 2
                x.append(image[top : top + size, left : left + size])
                y.append(4 * i + part)
    return np.stack(x).astype("float32"), np.array(y)


SIZES = {"InceptionV3": 75, "Xception": 71, "VGG16": 32, "ConvNeXtTiny": 32}
QUICK = {"MobileNetV2", "MobileNetV3Small", "VGG16"}
APPLICATIONS = [
    *("MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0", "ResNet50", "ResNet50V2", "DenseNet121", "VGG16"),
    *("Xception", "ConvNeXtTiny", "InceptionV3"),
]
HEADS = {"softmax, pixels to 255": ("softmax", 1.0), "logits, pixels to 1": (None, 1 / 255)}


def check_before_training(make, x, y, activation):
    model = fresh(make)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile("adam", loss, **({"jit_compile": False} if BACKEND == "tensorflow" else {}))
    verdict = diagnose(probes=[probe(model, x, y)])
    assert verdict.name not in SICK, f"{verdict.name}: {verdict.sentence}"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere they are compiled for minutes")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in APPLICATIONS])
def test_applications_before_training(name, head):
    activation, scale = HEADS[head]
    size = SIZES.get(name, 64)
    x, y = photos(size)

    def make():
        application = getattr(keras.applications, name)
        return application(input_shape=(size, size, 3), weights=None, classes=8, classifier_activation=activation)

    check_before_training(make, scale * x, y, activation)


SMALL = {"vocabulary_size": 500, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64}
GROUPED = SMALL | {"num_query_heads": 4, "num_key_value_heads": 2}
del GROUPED["num_heads"]
BACKBONES = {
    **{f"{n}Backbone": SMALL for n in ("Bert", "GPT2", "Roberta", "DistilBert", "T5", "Bart", "OPT", "DebertaV3")},
    "WhisperBackbone": SMALL | {"max_encoder_sequence_length": 32, "max_decoder_sequence_length": 16},
    "LlamaBackbone": GROUPED,
    "MistralBackbone": GROUPED,
    "Qwen3Backbone": GROUPED | {"head_dim": 8},
    "GemmaBackbone": GROUPED | {"head_dim": 8},
    "ViTBackbone": {"image_shape": (32, 32, 3), "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 32}
    | {"mlp_dim": 64},
}


def backbone_input(name, body):
    """One batch: passages, photographs or sounds, and their labels."""
    (words, label), rows = texts(), slice(0, 16)
    ones, zeros = np.ones_like(words), np.zeros_like(words)
    given = {
        **{f"{part}token_ids": words for part in ("", "encoder_", "decoder_")},
        **{f"{part}padding_mask": ones for part in ("", "encoder_", "decoder_")},
        "segment_ids": zeros,
        "encoder_features": RNG().normal(size=(16, 32, 80)).astype("float32"),
    }
    if not isinstance(body.input, dict):
        return photos(32)[0] / 255, photos(32)[1]
    return {key: given[key][rows] for key in body.input}, label[rows]


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize(
    "name", [n if n in ("BertBackbone", "GPT2Backbone") else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES]
)
def test_backbones_before_training(name, activation):
    backbone = getattr(pytest.importorskip("keras_hub").models, name)

    def make():
        body = backbone(**BACKBONES[name])
        output = body.output
        if isinstance(output, dict):
            output = output.get("sequence_output", output.get("decoder_sequence_output"))
        return keras.Model(body.input, layers.Dense(8, activation)(layers.GlobalAveragePooling1D()(output)))

    x, y = backbone_input(name, fresh(make))
    check_before_training(make, x, y, activation)
