"""One small model of every kind, with its data, its loss written out, and the order of its layers written down."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from autodiff import BACKEND, weighted
from keras import layers, ops

SAMPLES, CLASSES = 16, 3
SEQUENCE, IMAGE = (4, 5), (8, 8, 3)


def values(*shape) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(SAMPLES, *shape)).astype("float32")


def numbers(*shape, below=CLASSES) -> np.ndarray:
    return np.random.default_rng(1).integers(0, below, (SAMPLES, *shape))


def one_hot() -> np.ndarray:
    return np.eye(CLASSES, dtype="float32")[numbers()]


def yes_or_no(*shape) -> np.ndarray:
    return numbers(*shape, below=2).astype("float32")


def cross_entropy(y, z):
    return ops.mean(ops.logsumexp(z, axis=-1) - ops.sum(z * ops.one_hot(y, z.shape[-1]), axis=-1))


def binary(y, p):
    return -ops.mean(y * ops.log(p) + (1 - y) * ops.log(1 - p))


def mean_square(y, p):
    return ops.mean(ops.square(y - p))


# Each loss of Keras', and the same written out.
LOSSES = {
    "logits": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), cross_entropy),
    "sparse": (
        keras.losses.SparseCategoricalCrossentropy(),
        lambda y, p: -ops.mean(ops.log(ops.sum(p * ops.one_hot(y, p.shape[-1]), axis=-1))),
    ),
    "categorical": (
        keras.losses.CategoricalCrossentropy(),
        lambda y, p: -ops.mean(ops.sum(y * ops.log(p), axis=-1)),
    ),
    "focal": (
        keras.losses.CategoricalFocalCrossentropy(alpha=0.25, gamma=2.0),
        lambda y, p: -0.25 * ops.mean(ops.sum(y * ops.square(1 - p) * ops.log(p), axis=-1)),
    ),
    "binary": (keras.losses.BinaryCrossentropy(), binary),
    "mse": (keras.losses.MeanSquaredError(), mean_square),
    "mae": (keras.losses.MeanAbsoluteError(), lambda y, p: ops.mean(ops.abs(y - p))),
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes:
        make: makes it, not compiled.
        layers: names in the order that the probe and the history are to give.
        x, y: data.
        loss: name in `LOSSES`, or a structure of them.
        value: gets model, x and y; the training loss written out, where it is not `loss` of what the model returns.
        before: the layers whose own activation the probe looks through.
        unmeasured: those that have no delta.
        within: those that a tensor added to the layer's output does not stand for.
        optimizer: makes it.
        options: of `compile`.
        rtol, noise: how near deltas and norms are to be, and up to what share of the largest they are zero.
    """

    make: Callable[[], keras.Model]
    layers: str = "dense dense_1"
    x: object = dataclasses.field(default_factory=lambda: values(6))
    y: object = dataclasses.field(default_factory=numbers)
    loss: str = "logits"
    value: Callable | None = None
    before: str = ""
    unmeasured: str = ""
    within: str = ""
    optimizer: Callable = lambda: keras.optimizers.SGD(0.2)
    options: dict = dataclasses.field(default_factory=dict)
    rtol: float = 1e-4
    noise: float = 1e-6

    def made(self) -> keras.Model:
        """Return the model, compiled; each time with the same names and weights."""
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        model = self.make()
        loss = keras.tree.map_structure(lambda name: LOSSES[name][0], self.loss)
        model.compile(self.optimizer(), loss, jit_compile=False if BACKEND == "tensorflow" else "auto", **self.options)
        return model


def sequential(*parts, shape=(6,), **options) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *parts], **options)


def functional(call: Callable, *shapes, **options) -> keras.Model:
    inputs = [keras.Input(shape) for shape in shapes or [(6,)]]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], call(*inputs), **options)


def tanh(units=6, **options) -> keras.layers.Layer:
    return layers.Dense(units, "tanh", **options)


def head(activation=None, units=CLASSES) -> keras.Model:
    return sequential(tanh(), layers.Dense(units, activation))


# Structure.


def three_deep():
    inner = functional(lambda x: tanh(name="inner")(x), name="third")
    middle = functional(lambda x: layers.Dense(6, name="after")(inner(tanh(name="before")(x))), name="second")
    outer = functional(lambda x: x + middle(x), name="first")
    return functional(lambda x: layers.Dense(CLASSES, name="last")(outer(tanh(name="start")(x))))


def thirty_sigmoids():
    within = keras.Sequential([layers.Dense(6, "sigmoid") for _ in range(30)])
    return sequential(within, layers.Dense(CLASSES))


def transfer(frozen: str):
    backbone = functional(lambda x: tanh(name="b2")(layers.BatchNormalization()(tanh(name="b1")(x))), name="backbone")
    model = functional(lambda x: layers.Dense(CLASSES, name="head")(backbone(x)))
    for layer in {"all": [model], "backbone": [backbone], "part": backbone.layers[:2]}[frozen]:
        layer.trainable = False
    return model


def shared():
    twice = tanh(name="twice")
    return functional(lambda x: layers.Dense(CLASSES, name="last")(twice(twice(x))))


def siamese():
    encoder = sequential(tanh(name="e1"), layers.Dense(4, name="e2"))
    return functional(lambda a, b: layers.Dense(1, name="same")(ops.abs(encoder(a) - encoder(b))), (6,), (6,))


class Tied(layers.Layer):
    """Logits over the words of an embedding, by its own matrix."""

    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding
        self.bias = self.add_weight(shape=(embedding.input_dim,), name="bias")

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.bias


def tied():
    embedding = layers.Embedding(7, 6)
    return functional(lambda x: Tied(embedding)(tanh()(embedding(x))), (4,))


def reversible():
    embedding = layers.ReversibleEmbedding(7, 6)
    return functional(lambda x: embedding(tanh()(embedding(x)), reverse=True), (4,))


class Listed(keras.Model):
    """Layers in a list, one that is never called, and a weight of the model's own."""

    def __init__(self, unused=False, own=False):
        super().__init__(name="listed")
        self.unused = tanh(name="unused") if unused else None
        self.last = layers.Dense(CLASSES, name="last")
        self.hidden = [tanh(name="h1"), tanh(name="h2")]
        self.own = own

    def build(self, shape):
        if self.unused is not None:
            self.unused.build(shape)
        if self.own:
            self.scale = self.add_weight(shape=(6,), initializer="ones", name="scale")

    def call(self, x):
        for layer in self.hidden:
            x = layer(x) * (self.scale if self.own else 1.0)
        return self.last(x)


class VAE(keras.Model):
    """Draws in its call; has no weights before its first batch."""

    def __init__(self):
        super().__init__()
        self.decoder = [tanh(name="d1"), layers.Dense(6, name="d2")]
        self.encoder, self.mean, self.spread = tanh(name="e"), layers.Dense(2, name="mean"), layers.Dense(2, name="s")
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        h = self.encoder(x)
        mean, spread = self.mean(h), self.spread(h)
        self.add_loss(0.1 * ops.mean(ops.square(mean) + ops.exp(spread) - spread - 1))
        z = mean + ops.exp(spread / 2) * keras.random.normal(ops.shape(mean), seed=self.seeds)
        return self.decoder[1](self.decoder[0](z))


def several_inputs():
    a, b = keras.Input((6,), name="a"), keras.Input((3,), name="b")
    x = ops.concatenate([tanh(name="of_a")(a), tanh(name="of_b")(b)], axis=-1)
    return keras.Model({"a": a, "b": b}, layers.Dense(CLASSES, name="last")(x))


def several_outputs():
    x = keras.Input((6,))
    body = tanh(name="body")(x)
    return keras.Model(x, {"c": layers.Dense(CLASSES, name="c")(body), "s": layers.Dense(1, name="s")(body)})


def of_two(y, outputs):
    return cross_entropy(y["c"], outputs["c"]) + 0.3 * mean_square(y["s"], outputs["s"])


def preprocessing():
    normal = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    return sequential(
        normal,
        layers.Rescaling(0.5),
        layers.RandomFlip(seed=2),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(CLASSES),
        shape=IMAGE,
    )


# Recurrent.


def recurrent(*parts, shape=SEQUENCE) -> keras.Model:
    return sequential(*parts, layers.Dense(CLASSES), shape=shape)


def encoder_decoder():
    def call(source, target):
        _, h, c = layers.LSTM(4, return_state=True, name="encoder")(source)
        x = layers.LSTM(4, return_sequences=True, name="decoder")(target, initial_state=[h, c])
        return layers.Dense(CLASSES, name="last")(x)

    return functional(call, SEQUENCE, SEQUENCE)


def stateful():
    x = keras.Input(batch_shape=(SAMPLES // 2, *SEQUENCE))
    # Fused, it cannot be trained on torch: Keras assigns the state in place.
    lstm = layers.LSTM(4, stateful=True, use_cudnn=False if BACKEND == "torch" else "auto")
    return keras.Model(x, layers.Dense(CLASSES)(lstm(x)))


def masked_loss():
    x = layers.Embedding(5, 4, mask_zero=True)
    return functional(lambda t: layers.Dense(CLASSES)(layers.GRU(4, return_sequences=True)(x(t))), (4,))


def mean_over_words(model, x, y):
    seen = ops.cast(x != 0, "float32")
    z = model(x, training=True)
    each = ops.logsumexp(z, axis=-1) - ops.sum(z * ops.one_hot(y, CLASSES), axis=-1)
    return ops.sum(each * seen) / ops.sum(seen)


# Attention.


def attending(layer, *, cross=False, **options) -> keras.Model:
    def call(x, memory=None):
        first = layers.Dense(6, name="first")(x)
        out = layer(first, first if memory is None else layers.Dense(6, name="second")(memory), **options)
        return layers.Dense(CLASSES, name="last")(layers.GlobalAveragePooling1D()(out))

    return functional(call, *[SEQUENCE] * (1 + cross))


def plain_attention(layer) -> keras.Model:
    def call(x):
        query, value = layers.Dense(6, name="q")(x), layers.Dense(6, name="v")(x)
        return layers.Dense(CLASSES, name="last")(layers.GlobalAveragePooling1D()(layer([query, value])))

    return functional(call, SEQUENCE)


ATTENTION = "first second query key value attention_output last"


# Experts and wrappers.


class Experts(layers.Layer):
    """The expert that a router chooses for each sample; the last is chosen for none."""

    def __init__(self, dispatched=False):
        super().__init__()
        self.router = layers.Dense(3, name="router", bias_initializer=lambda s, dtype: ops.array([0.0, 0.0, -99.0]))
        self.experts = [tanh(name=f"expert{i}") for i in range(3)]
        self.dispatched = dispatched

    def call(self, x):
        gates = ops.softmax(self.router(x))
        chosen, total = ops.argmax(gates, axis=-1), 0.0
        for i, expert in enumerate(self.experts):
            if self.dispatched:
                rows = ops.cast(ops.where(chosen == i)[0], "int32")
                out = expert(ops.take(x, rows, axis=0)) * ops.take(gates[:, i : i + 1], rows, axis=0)
                total = total + ops.scatter(ops.expand_dims(rows, -1), out, ops.shape(x))
            else:
                total = total + expert(x) * gates[:, i : i + 1] * ops.cast(chosen == i, x.dtype)[:, None]
        return total


class Scaled(layers.Wrapper):
    """What its layer gives, times a weight of its own."""

    def build(self, shape):
        super().build(shape)
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")

    def call(self, x):
        return self.scale * self.layer(x)


# Losses and train steps of their own.


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.log(ops.cosh(y_pred - y)))


class Distiller(keras.Model):
    """A student that also learns a frozen teacher's answers, as in keras.io's example."""

    def __init__(self):
        super().__init__()
        self.teacher = sequential(tanh(8, name="t1"), layers.Dense(CLASSES, name="t2"))
        self.student = sequential(tanh(name="s1"), layers.Dense(CLASSES, name="s2"))
        self.teacher.trainable = False

    def call(self, x):
        return self.student(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        wanted, given = (ops.softmax(z / 3.0) for z in (self.teacher(x, training=False), y_pred))
        distance = ops.sum(wanted * ops.log(wanted / given), axis=-1)
        return 0.1 * super().compute_loss(x, y, y_pred) + 0.9 * ops.mean(distance)


def of_student(model, x, y):
    given, wanted = model.student(x), ops.softmax(model.teacher(x) / 3.0)
    distance = ops.sum(wanted * (ops.log_softmax(model.teacher(x) / 3.0) - ops.log_softmax(given / 3.0)), axis=-1)
    return 0.1 * cross_entropy(y, given) + 0.9 * ops.mean(distance)


class InParts(keras.Model):
    """Trains by each of `parts()` in turn: (loss of x and y, variables, optimizer)."""

    def compile(self, optimizer, loss, **options):
        super().compile(optimizer, **options)

    def train_step(self, *arguments):
        if BACKEND == "jax":
            return self._jax_step(*arguments)
        (x, y), logs = arguments[0], {}
        for loss, variables, optimizer in self.parts():
            if BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    value = loss(x, y)
                optimizer.apply(tape.gradient(value, variables), variables)
            else:
                import torch

                self.zero_grad()
                value = loss(x, y)
                value.backward()
                with torch.no_grad():
                    optimizer.apply([v.value.grad for v in variables], variables)
            logs[loss.__name__] = value
        return logs

    def _jax_step(self, state, batch):
        import jax

        (trainable, others, of_optimizer, metrics), (x, y), logs = state, batch, {}
        now = dict(zip([v.path for v in self.trainable_variables], trainable, strict=True))
        for loss, variables, optimizer in self.parts():

            def function(mine, loss=loss, variables=variables, others=others, now=dict(now)):  # noqa: B006
                now |= dict(zip([v.path for v in variables], mine, strict=True))
                pairs = [(v, now[v.path]) for v in self.trainable_variables]
                with keras.StatelessScope([*pairs, *zip(self.non_trainable_variables, others, strict=True)]) as scope:
                    value = loss(x, y)
                return value, [scope.get_current_value(v) for v in self.non_trainable_variables]

            mine = [now[v.path] for v in variables]
            (logs[loss.__name__], others), grads = jax.value_and_grad(function, has_aux=True)(mine)
            # Of other optimizers Keras carries no state; plain SGD's is its count.
            of = of_optimizer if optimizer is self.optimizer else [v.value for v in optimizer.variables]
            mine, of = optimizer.stateless_apply(of, grads, mine)
            of_optimizer = of if optimizer is self.optimizer else of_optimizer
            now |= dict(zip([v.path for v in variables], mine, strict=True))
        return logs, ([now[v.path] for v in self.trainable_variables], others, of_optimizer, metrics)


class GAN(InParts):
    """Generator and discriminator with an optimizer each, as in keras.io's example."""

    def __init__(self):
        super().__init__()
        self.discriminator = sequential(tanh(name="d1"), layers.Dense(1, name="d2"))
        self.generator = sequential(tanh(name="g1"), layers.Dense(6, name="g2"), shape=(2,))
        self.seeds = keras.random.SeedGenerator(4)
        self.built = BACKEND != "tensorflow"  # where it is asked for, of a model that is not called

    def compile(self, optimizer, loss, **options):
        keras.Model.compile(self, **options)
        self.d_optimizer, self.g_optimizer = keras.optimizers.SGD(0.2), keras.optimizers.SGD(0.1)
        self.d_optimizer.build(self.discriminator.trainable_variables)
        self.g_optimizer.build(self.generator.trainable_variables)

    def parts(self):
        return [
            (self.d_loss, self.discriminator.trainable_variables, self.d_optimizer),
            (self.g_loss, self.generator.trainable_variables, self.g_optimizer),
        ]

    def made(self):
        return self.generator(keras.random.normal((SAMPLES // 2, 2), seed=self.seeds))

    def d_loss(self, x, y):
        judged = self.discriminator(ops.concatenate([self.made(), x]))
        return ops.mean(ops.softplus(judged[: SAMPLES // 2])) + ops.mean(ops.softplus(-judged[SAMPLES // 2 :]))

    def g_loss(self, x, y):
        return ops.mean(ops.softplus(-self.discriminator(self.made())))


class ActorCritic(InParts):
    """Policy and value on one body, by one loss of a train step of its own."""

    def __init__(self):
        super().__init__()
        self.critic, self.actor, self.body = layers.Dense(1, name="critic"), layers.Dense(3, name="actor"), tanh()

    def call(self, x):
        h = self.body(x)
        return self.actor(h), self.critic(h)

    def parts(self):
        return [(self.loss_of_both, self.trainable_variables, self.optimizer)]

    def loss_of_both(self, x, y):
        logits, value = self(x, training=True)
        gain = y[:, 1:] - value
        chosen = ops.sum(ops.log_softmax(logits) * ops.one_hot(ops.cast(y[:, 0], "int32"), 3), axis=-1, keepdims=True)
        return ops.mean(ops.square(gain)) - ops.mean(chosen * ops.stop_gradient(gain))


def ends(model):
    return model.inputs, model.outputs


# Convolution, precision.


def u_net():
    def call(x):
        a = layers.Conv2D(4, 3, padding="same", activation="relu", name="down1")(x)
        b = layers.Conv2D(6, 3, padding="same", activation="relu", name="down2")(layers.MaxPooling2D()(a))
        c = layers.Conv2D(6, 3, padding="same", activation="relu", name="bottom")(layers.MaxPooling2D()(b))
        c = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu", name="up2")(c)
        c = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up1")(ops.concatenate([b, c], axis=-1))
        return layers.Conv2D(1, 1, activation="sigmoid", name="mask")(layers.Concatenate()([a, c]))

    return functional(call, IMAGE)


def convolutions():
    return sequential(
        layers.Conv2D(4, 3, padding="same", name="conv"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise"),
        layers.SeparableConv2D(4, 3, activation="relu", name="separable"),
        layers.Reshape((16, 4)),
        layers.Conv1D(4, 3, strides=2, name="conv1d"),
        layers.Flatten(),
        layers.Dense(CLASSES, name="last"),
        shape=IMAGE,
    )


def half_precision():
    return sequential(tanh(8, dtype="mixed_float16"), tanh(8, dtype="mixed_float16"), layers.Dense(CLASSES))


EXPERTS = "router expert0 expert1 expert2 dense"
TOKENS = numbers(4, below=5)
PADDED = values(*SEQUENCE) * (np.arange(4) < 1 + numbers(below=4)[:, None])[..., None]

KINDS = {
    # Output and loss.
    "softmax, categorical": Kind(lambda: head("softmax"), y=one_hot(), loss="categorical", before="dense_1"),
    "softmax, sparse": Kind(lambda: head("softmax"), loss="sparse", before="dense_1"),
    "logits": Kind(head),
    "sigmoid, binary": Kind(lambda: head("sigmoid", 1), y=yes_or_no(1), loss="binary", before="dense_1"),
    "sigmoid, labels": Kind(lambda: head("sigmoid", 4), y=yes_or_no(4), loss="binary", before="dense_1"),
    "sigmoid, mse": Kind(lambda: head("sigmoid", 2), y=yes_or_no(2), loss="mse", before="dense_1"),
    "linear, mse": Kind(lambda: head(None, 2), y=values(2), loss="mse"),
    "tanh, mae": Kind(lambda: head("tanh", 2), y=values(2), loss="mae"),
    "activation layer": Kind(
        lambda: sequential(tanh(), layers.Dense(CLASSES), layers.Activation("softmax")), loss="sparse"
    ),
    "softmax layer": Kind(lambda: sequential(tanh(), layers.Dense(CLASSES), layers.Softmax()), loss="sparse"),
    "focal": Kind(lambda: head("softmax"), y=one_hot(), loss="focal", before="dense_1"),
    # Structure.
    "nested": Kind(
        lambda: sequential(
            tanh(name="a"), keras.Sequential([tanh(name="b"), tanh(name="c")]), layers.Dense(3, name="d")
        ),
        "a b c d",
    ),
    "three deep": Kind(three_deep, "start before inner after last"),
    "thirty sigmoids": Kind(thirty_sigmoids, " ".join(["dense", *(f"dense_{i}" for i in range(1, 31))]), noise=0.0),
    "backbone frozen": Kind(lambda: transfer("backbone"), "head"),
    "backbone frozen in part": Kind(lambda: transfer("part"), "batch_normalization b2 head"),
    "everything frozen": Kind(lambda: transfer("all"), ""),
    "shared": Kind(shared, "twice last"),
    "siamese": Kind(siamese, "e1 e2 same", [values(6), values(6)[::-1]], yes_or_no(1), "mse"),
    "tied": Kind(tied, "embedding dense tied", TOKENS, TOKENS),
    "reversible embedding": Kind(reversible, "reversible_embedding dense", TOKENS, TOKENS),
    "layers in a list": Kind(Listed, "h1 h2 last"),
    "never called": Kind(lambda: Listed(unused=True), "h1 h2 last unused", unmeasured="unused"),
    "weight of its own": Kind(lambda: Listed(own=True), "h1 h2 last listed", unmeasured="listed"),
    "vae": Kind(
        VAE,
        "e mean s d1 d2",
        y=values(6),
        loss="mse",
        value=lambda model, x, y: mean_square(y, model(x, training=True)) + sum(model.losses),
    ),
    "several inputs": Kind(several_inputs, "of_a of_b last", {"a": values(6), "b": values(3)}),
    "several outputs": Kind(
        several_outputs,
        "body s c",
        y={"c": numbers(), "s": values(1)},
        loss={"c": "logits", "s": "mse"},
        value=lambda model, x, y: of_two(y, model(x, training=True)),
        options={"loss_weights": {"c": 1.0, "s": 0.3}},
    ),
    "preprocessing": Kind(preprocessing, "conv2d dense", values(*IMAGE)),
    "batch normalization": Kind(
        lambda: sequential(
            layers.Dense(6), layers.BatchNormalization(), layers.Activation("tanh"), layers.Dense(CLASSES)
        ),
        "dense batch_normalization dense_1",
    ),
    "dropout": Kind(lambda: sequential(tanh(), layers.Dropout(0.4), layers.Dense(CLASSES))),
    "seeded dropout and noise": Kind(
        lambda: sequential(tanh(), layers.Dropout(0.4, seed=3), layers.GaussianNoise(0.3), layers.Dense(CLASSES))
    ),
    # Recurrent.
    "simple rnn": Kind(lambda: recurrent(layers.SimpleRNN(4)), "simple_rnn dense", values(*SEQUENCE)),
    "lstm": Kind(
        lambda: recurrent(layers.LSTM(4, return_sequences=True), layers.LSTM(4)), "lstm lstm_1 dense", values(*SEQUENCE)
    ),
    "gru": Kind(lambda: recurrent(layers.GRU(4, go_backwards=True)), "gru dense", values(*SEQUENCE)),
    "stacked cells": Kind(
        lambda: recurrent(layers.RNN([layers.SimpleRNNCell(4), layers.GRUCell(4)])),
        "rnn/simple_rnn_cell rnn/gru_cell dense",
        values(*SEQUENCE),
        within="rnn/simple_rnn_cell rnn/gru_cell",
    ),
    "bidirectional": Kind(
        lambda: recurrent(layers.Bidirectional(layers.LSTM(4))), "forward_lstm backward_lstm dense", values(*SEQUENCE)
    ),
    "stateful": Kind(stateful, "lstm dense", values(*SEQUENCE)),
    "masking": Kind(lambda: recurrent(layers.Masking(), layers.LSTM(4)), "lstm dense", PADDED),
    "mask in the loss": Kind(masked_loss, "embedding gru dense", TOKENS, numbers(4), value=mean_over_words),
    "conv lstm": Kind(
        lambda: recurrent(layers.ConvLSTM2D(3, 3), layers.Flatten(), shape=(3, 5, 5, 2)),
        "conv_lstm2d dense",
        values(3, 5, 5, 2),
    ),
    "time distributed": Kind(
        lambda: recurrent(layers.TimeDistributed(tanh(name="each")), layers.Flatten()), "each dense", values(*SEQUENCE)
    ),
    "encoder and decoder": Kind(
        encoder_decoder,
        "encoder decoder last",
        [values(*SEQUENCE), values(*SEQUENCE)[::-1]],
        numbers(4),
        within="encoder",
    ),
    # Attention.
    "self attention": Kind(
        lambda: attending(layers.MultiHeadAttention(2, 3)), ATTENTION.replace("second ", ""), values(*SEQUENCE)
    ),
    "causal attention": Kind(
        lambda: attending(layers.MultiHeadAttention(2, 3), use_causal_mask=True),
        ATTENTION.replace("second ", ""),
        values(*SEQUENCE),
    ),
    "cross attention": Kind(
        lambda: attending(layers.MultiHeadAttention(2, 3), cross=True),
        ATTENTION,
        [values(*SEQUENCE), values(*SEQUENCE)[::-1]],
    ),
    "grouped queries": Kind(
        lambda: attending(layers.GroupQueryAttention(3, 4, 2)), ATTENTION.replace("second ", ""), values(*SEQUENCE)
    ),
    "attention": Kind(
        lambda: plain_attention(layers.Attention(use_scale=True)), "q v attention last", values(*SEQUENCE)
    ),
    "additive attention": Kind(
        lambda: plain_attention(layers.AdditiveAttention()), "q v additive_attention last", values(*SEQUENCE)
    ),
    # Experts and wrappers.
    "experts": Kind(lambda: sequential(Experts(), layers.Dense(CLASSES)), EXPERTS),
    "experts, dispatched": Kind(
        lambda: sequential(Experts(dispatched=True), layers.Dense(CLASSES)),
        EXPERTS,
        unmeasured="expert2",  # gets no sample
    ),
    "spectral normalization": Kind(
        lambda: sequential(layers.SpectralNormalization(tanh(name="inner")), layers.Dense(CLASSES)), "inner dense"
    ),
    "custom wrapper": Kind(lambda: sequential(Scaled(tanh(name="inner")), layers.Dense(CLASSES)), "scaled inner dense"),
    # Losses and train steps of their own.
    "own loss": Kind(
        lambda: OwnLoss(*ends(head(units=1))),
        y=values(1),
        value=lambda model, x, y: ops.mean(ops.log(ops.cosh(model(x) - y))),
    ),
    "own step": Kind(
        lambda: weighted(3.0)(*ends(head())), value=lambda model, x, y: 3 * cross_entropy(y, model(x, training=True))
    ),
    "gan": Kind(GAN, "g1 g2 d1 d2"),
    "distillation": Kind(Distiller, "s1 s2", value=of_student),
    "actor and critic": Kind(ActorCritic, "dense actor critic", y=np.stack([numbers(), values()], 1).astype("float32")),
    # Convolution, precision, and other layers.
    "half precision": Kind(
        half_precision,
        "dense dense_1 dense_2",
        optimizer=lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=1024.0),
        rtol=1e-2,
    ),
    "u-net": Kind(
        u_net, "down1 down2 bottom up2 up1 mask", values(*IMAGE), yes_or_no(8, 8, 1), "binary", before="mask"
    ),
    "convolutions": Kind(convolutions, "conv depthwise separable conv1d last", values(*IMAGE)),
    "einsum": Kind(
        lambda: recurrent(
            layers.EinsumDense("btf,fg->btg", (4, 6), bias_axes="g", activation="relu"), layers.Flatten()
        ),
        "einsum_dense dense",
        values(*SEQUENCE),
    ),
    "prelu": Kind(lambda: sequential(layers.Dense(6), layers.PReLU(), layers.Dense(CLASSES)), "dense p_re_lu dense_1"),
}
