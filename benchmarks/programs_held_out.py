"""The held-out half of the real faulty programs: what the diagnosis is measured on and never tuned on.

As `program_cases.py` says: public reports, rebuilt in our own words and code, each beside its published repair.
"""

import keras
import numpy as np
from keras import ops
from program_cases import Built, Program, accuracy, accuracy_of_two, digits, one_hot, program, r2, standard

k = keras.layers
PROGRAMS: list[Program] = []
SCCE, CCE, BCE = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"


def done(model: keras.Model, optimizer: object, loss: object, x: object, y: object, score: object, **fit) -> Built:
    model.compile(optimizer=optimizer, loss=loss)
    return model, x, y, fit, score


def tanh_of_bits(n: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return binary vectors and a smooth number of each."""
    r = np.random.default_rng(0)
    x = r.integers(0, 2, (n, bits)).astype("float32")
    return x, np.tanh((x - 0.5) @ r.normal(size=(bits, 1))).astype("float32")


def series(n: int, steps: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy waves of one channel, and which of so many speeds each has."""
    r = np.random.default_rng(0)
    y = r.integers(0, classes, n)
    t = np.arange(steps) * (0.2 + 0.25 * y[:, None]) + r.uniform(0, 6, (n, 1))
    return (np.sin(t) + 0.2 * r.normal(size=t.shape))[..., None].astype("float32"), y


@program(
    PROGRAMS,
    "https://ai.stackexchange.com/questions/16557",
    "activation depth",
    0.3,
    0.7,
    "ReLU for the sigmoids of four hidden layers",
)
def aise16557_four_sigmoid_layers(fixed: bool):
    x, y = tanh_of_bits(1500, 20)
    hidden = [k.Dense(100, "relu" if fixed else "sigmoid") for _ in range(4)]
    model = keras.Sequential([keras.Input((20,)), *hidden, k.Dense(1)])
    return done(model, keras.optimizers.SGD(0.01), "mse", x, y, r2(x, y), batch_size=32, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/AlexanderVNikitin/tsgm/issues/59",
    "activation",
    0.8,
    0.95,
    "the LSTM's own tanh for ReLU, which nothing bounds from step to step",
)
def tsgm59_relu_in_lstm(fixed: bool):
    x, y = series(300, 80)
    layers = [k.Conv1D(16, 5, activation="relu"), k.LSTM(32, "tanh" if fixed else "relu"), k.Dense(2, "softmax")]
    model = keras.Sequential([keras.Input((80, 1)), *layers])
    return done(
        model, keras.optimizers.Adam(0.01), CCE, x * 10, one_hot(y), accuracy(x * 10, y), batch_size=32, epochs=6
    )


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/46620813",
    "output",
    0.6,
    0.95,
    "sigmoid on the one output unit; softmax of one number is always 1",
)
def so46620813_next_bit_by_softmax(fixed: bool):
    bits = np.tile([0, 1, 1, 0, 1, 0, 0, 1, 0, 1], 120).astype("float32")
    x, y = np.lib.stride_tricks.sliding_window_view(bits, 3)[:-1, :, None].copy(), np.roll(bits, -3)[:-3]
    known = np.array([np.mean(y[(x == window).all((1, 2))]) for window in x])  # 3 bits do not always tell the fourth
    x, y = x[(known == 0) | (known == 1)], y[(known == 0) | (known == 1)]
    model = keras.Sequential([keras.Input((3, 1)), k.LSTM(8), k.Dense(1, "sigmoid" if fixed else "softmax")])
    return done(model, keras.optimizers.Adam(0.02), BCE, x, y, accuracy_of_two(x, y), batch_size=32, epochs=12)


@program(
    PROGRAMS,
    "https://stats.stackexchange.com/questions/481881",
    "output loss",
    0.6,
    0.9,
    "sigmoid and binary cross-entropy for one unit; they were softmax and categorical cross-entropy",
)
def sse481881_answer_among_the_inputs(fixed: bool):
    r = np.random.default_rng(0)
    y = r.integers(0, 2, 800)
    x = r.normal(size=(800, 16, 12, 2)).astype("float32")
    x[..., 1] = y[:, None, None]
    layers = [k.Conv2D(8, 3, activation="relu"), k.Conv2D(16, 3, activation="relu"), k.Flatten()]
    model = keras.Sequential([keras.Input((16, 12, 2)), *layers, k.Dense(1, "sigmoid" if fixed else "softmax")])
    score = accuracy_of_two(x, y)
    return done(model, "adam", BCE if fixed else CCE, x, y.astype("float32")[:, None], score, batch_size=32, epochs=2)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/62641394",
    "output",
    0.1,
    0.9,
    "no activation on the one unit; a sigmoid never says more than 1",
)
def so62641394_line_through_sigmoid(fixed: bool):
    x = np.tile(np.arange(1.0, 8.0, dtype="float32")[:, None], (20, 1))
    y = 2 * x + 1
    model = keras.Sequential([keras.Input((1,)), k.Dense(1, None if fixed else "sigmoid")])
    return done(model, "sgd", "mse", x, y, r2(x, y), batch_size=7, epochs=30)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/44601367",
    "output",
    0.2,
    0.7,
    "a linear last layer; a sigmoid cannot say 2 or 3",
)
def so44601367_autoencoder_of_1_2_3(fixed: bool):
    x = (np.array([1, 2, 3]) + np.random.default_rng(0).uniform(-0.9, 0.9, (1000, 3))).astype("float32")
    inputs = keras.Input((3,))
    encoded = k.Dense(3, "relu")(inputs)
    model = keras.Model(inputs, k.Dense(3, None if fixed else "sigmoid")(encoded))
    return done(model, keras.optimizers.Adadelta(1.0), "mse", x, x, r2(x, x), batch_size=16, epochs=15)


@program(
    PROGRAMS,
    "https://whosebug.com/question/5885893 (Stack Overflow)",
    "loss",
    0.7,
    0.9,
    "binary cross-entropy; the categorical one is 0 whatever the only unit says",
)
def so_tape_categorical_of_one_unit(fixed: bool):
    x = np.random.default_rng(0).uniform(0, 1, (1000, 2)).astype("float32")
    y = (x.sum(1) > 1).astype("float32")[:, None]
    model = keras.Sequential([keras.Input((2,)), k.Dense(4, "relu"), k.Dense(1, "sigmoid")])
    loss = keras.losses.BinaryCrossentropy() if fixed else keras.losses.CategoricalCrossentropy()
    return done(model, keras.optimizers.SGD(0.5), loss, x, y, accuracy_of_two(x, y), batch_size=25, epochs=15)


@program(
    PROGRAMS,
    "https://github.com/experiencor/keras-yolo3/issues/306",
    "loss code",
    0.3,
    0.8,
    "a small number under the square root, whose slope at 0 is infinite",
)
def kerasyolo306_root_of_zero(fixed: bool):
    r = np.random.default_rng(0)
    x = r.normal(size=(800, 10)).astype("float32")
    there = (r.random((800, 1)) < 0.7).astype("float32")
    box = (x @ r.normal(size=(10, 4)) / 4).astype("float32")
    y = np.concatenate([box, there], 1)  # and whether there is a box at all

    def distance(true, said):
        off = ops.square((said - true[:, :4]) * true[:, 4:])
        return ops.mean(ops.sqrt(ops.sum(off, -1) + (1e-7 if fixed else 0)))

    model = keras.Sequential([keras.Input((10,)), k.Dense(32, "relu"), k.Dense(4)])
    return done(model, keras.optimizers.Adam(0.005), distance, x, y, r2(x, box), batch_size=32, epochs=15)


@program(
    PROGRAMS,
    "https://example-a.com/answer/73462535 (Stack Overflow)",
    "loss",
    0.6,
    0.85,
    "categorical cross-entropy after the softmax, for squares of errors",
)
def so73462535_squares_after_softmax(fixed: bool):
    x, y, xt, yt = digits()
    model = keras.Sequential([keras.Input((64,)), k.Dense(128, "sigmoid"), k.Dense(10, "softmax")])
    loss, sgd = CCE if fixed else "mse", keras.optimizers.SGD(0.1)
    return done(model, sgd, loss, x[:1000], one_hot(y[:1000]), accuracy(xt, yt), batch_size=20, epochs=15)


class Regressor(keras.Model):
    """A net of two layers, written as a class."""

    def __init__(self):
        super().__init__()
        self.hidden, self.last = k.Dense(32, "relu"), k.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))


@program(
    PROGRAMS,
    "https://github.com/tensorflow/tensorflow/issues/28901",
    "loss code",
    0.2,
    0.8,
    "targets of shape (16, 1); those of (16,) are subtracted from each other sample's output too",
)
def tf28901_all_pairs_of_a_batch(fixed: bool):
    x = np.random.default_rng(0).uniform(-2, 2, (800, 1)).astype("float32")
    y = np.sin(2 * x)

    def loss(true, said):
        return ops.mean(ops.square((true if fixed else ops.reshape(true, (-1,))) - said))

    return done(Regressor(), keras.optimizers.Adam(0.01), loss, x, y, r2(x, y), batch_size=16, epochs=12)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/9097",
    "code loss",
    0.6,
    0.85,
    "0.01 added under the root of the own distance, whose slope is no number where both inputs are the same",
)
def keras9097_distance_of_twins(fixed: bool):
    x, y, *_ = digits()
    r = np.random.default_rng(0)
    one = r.integers(0, len(x), 1200)
    two = np.where(np.arange(1200) % 2 == 0, one, r.permutation(one))
    two = np.array(
        [
            i if n % 40 == 0 else r.choice(np.flatnonzero(y == y[i])) if n % 2 == 0 else j
            for n, (i, j) in enumerate(zip(one, two, strict=True))
        ]
    )
    pairs, same = np.stack([x[one], x[two]], 1), (y[one] == y[two]).astype("float32")[:, None]
    inputs = keras.Input((2, 64))
    base = keras.Sequential([k.Dense(64, "relu"), k.Dense(32, "relu")])
    off = ops.sum(ops.square(base(inputs[:, 0]) - base(inputs[:, 1])), -1, keepdims=True)
    model = keras.Model(inputs, ops.sigmoid(2 - 2 * ops.sqrt(off + (0.01 if fixed else 0))))
    return done(
        model, keras.optimizers.Adam(0.002), BCE, pairs, same, accuracy_of_two(pairs, same), batch_size=32, epochs=10
    )


@program(
    PROGRAMS,
    "https://github.com/HasnainRaz/FC-DenseNet-TensorFlow/issues/17",
    "labels",
    0.75,
    0.9,
    "masks hold the class of each pixel and stay whole; they were divided by 255 with the pictures",
)
def fcdensenet17_masks_divided(fixed: bool):
    r = np.random.default_rng(0)
    y = np.kron(r.integers(0, 4, (300, 4, 4)), np.ones((1, 4, 4), int))
    x = (
        np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.6, 0.6, 0.1]])[y]
        + 0.2 * r.normal(size=(300, 16, 16, 3))
    ).astype("float32")
    layers = [k.Conv2D(12, 3, padding="same", activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers, k.Conv2D(4, 1, activation="softmax")])
    return done(
        model, keras.optimizers.Adam(0.005), SCCE, x, y if fixed else y // 255, accuracy(x, y), batch_size=16, epochs=4
    )


@program(
    PROGRAMS,
    "https://github.com/hlamba28/UNET-TGS/issues/8",
    "labels",
    0.3,
    0.6,
    "masks of 0 and 1; they were 0 and 255, and the loss fell below 0",
)
def unettgs8_masks_of_255(fixed: bool):
    r = np.random.default_rng(0)
    row, column = np.indices((16, 16))
    at = r.integers(3, 13, (400, 2, 1, 1))
    y = (((row - at[:, 0]) ** 2 + (column - at[:, 1]) ** 2) < 12)[..., None].astype("float32")
    x = (y + 0.5 * r.normal(size=y.shape)).astype("float32")
    inputs = keras.Input((16, 16, 1))
    down = k.MaxPooling2D()(k.Conv2D(8, 3, padding="same", activation="relu")(inputs))
    up = k.Conv2DTranspose(8, 2, strides=2, activation="relu")(k.Conv2D(16, 3, padding="same", activation="relu")(down))
    model = keras.Model(inputs, k.Conv2D(1, 1, activation="sigmoid")(k.Concatenate()([up, inputs])))
    masks = y if fixed else 255 * y
    return done(model, keras.optimizers.Adam(0.005), BCE, x, masks, r2(x, y), batch_size=16, epochs=6)


@program(
    PROGRAMS,
    "https://datascience.stackexchange.com/questions/18667",
    "inputs",
    0.5,
    0.85,
    "pixels between 0 and 1; to 255 they throw the ReLU units out at the first steps",
)
def dsse18667_relu_on_bytes(fixed: bool):
    x, y, xt, yt = digits(scaled=fixed)
    model = keras.Sequential([keras.Input((64,)), k.Dense(100, "relu"), k.Dense(10, "softmax")])
    return done(model, keras.optimizers.SGD(0.01), CCE, x, one_hot(y), accuracy(xt, yt), batch_size=20, epochs=12)


@program(
    PROGRAMS,
    "https://stats.stackexchange.com/questions/284189",
    "inputs targets",
    0.1,
    0.5,
    "the column, and what is told from it, standardized",
)
def sse284189_line_through_raw_numbers(fixed: bool):
    r = np.random.default_rng(0)
    x = r.uniform(0, 300, (200, 1)).astype("float32")
    y = (7 + 0.05 * x + 1.5 * r.normal(size=(200, 1))).astype("float32")
    x, y = (standard(x), standard(y)) if fixed else (x, y)
    model = keras.Sequential([keras.Input((1,)), k.Dense(1)])
    return done(model, keras.optimizers.SGD(0.01), "mse", x, y, r2(x, y), batch_size=1, epochs=5, shuffle=False)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/3642",
    "inputs targets",
    0.2,
    0.5,
    "pictures divided by 255, for the sigmoid that is to tell them again",
)
def keras3642_autoencoder_of_bytes(fixed: bool):
    x, _, xt, _ = digits(scaled=fixed)
    inputs = keras.Input((64,))
    model = keras.Model(inputs, k.Dense(64, "sigmoid")(k.Dense(24, "relu")(inputs)))
    return done(model, keras.optimizers.Adadelta(1.0), BCE, x, x, r2(xt, xt), batch_size=32, epochs=20)


@program(
    PROGRAMS,
    "https://stats.stackexchange.com/questions/507591",
    "inputs",
    0.5,
    0.85,
    "windows of three steps; with one step the net does not see what is to be averaged",
)
def sse507591_average_of_unseen_steps(fixed: bool):
    s = np.random.default_rng(0).integers(0, 10, 1000).astype("float32") / 10
    windows = np.lib.stride_tricks.sliding_window_view(s, 3)
    x, y = (windows if fixed else windows[:, -1:])[..., None].copy(), windows.mean(1, keepdims=True)
    model = keras.Sequential([keras.Input(x.shape[1:]), k.LSTM(4), k.Dense(1)])
    return done(model, keras.optimizers.Adam(0.01), "mse", x, y, r2(x, y), batch_size=10, epochs=8)


@program(
    PROGRAMS,
    "https://stats.stackexchange.com/questions/418955",
    "targets",
    0.1,
    0.8,
    "targets standardized too; they reach 9804 and SGD diverges",
)
def sse418955_square_plus_three(fixed: bool):
    x = np.tile(np.arange(100.0, dtype="float32")[:, None], (5, 1))
    y = x**2 + 3
    x, y = standard(x), standard(y) if fixed else y
    model = keras.Sequential([keras.Input((1,)), k.Dense(1), k.Dense(1)])
    return done(model, "sgd", "mse", x, y, r2(x, y), batch_size=32, epochs=40)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/2001",
    "data inputs",
    0.3,
    0.8,
    "columns that never change are not divided by their deviation of 0",
)
def keras2001_pixels_that_never_change(fixed: bool):
    x, y, *_ = digits()
    with np.errstate(invalid="ignore"):
        x = standard(x) if fixed else (x - x.mean(0)) / x.std(0)
    model = keras.Sequential([keras.Input((64,)), k.Dense(64, "relu"), k.Dense(10, "softmax")])
    return done(model, "rmsprop", SCCE, x, y, accuracy(x, y), batch_size=64, epochs=6)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/7702",
    "data",
    0.3,
    0.6,
    "pictures and masks read in the same order",
)
def keras7702_masks_of_other_pictures(fixed: bool):
    r = np.random.default_rng(0)
    row, column = np.indices((16, 16))
    at = r.integers(3, 13, (400, 2, 1, 1))
    y = (((row - at[:, 0]) ** 2 + (column - at[:, 1]) ** 2) < 10)[..., None].astype("float32")
    x = (y + 0.5 * r.normal(size=y.shape)).astype("float32")
    inputs = keras.Input((16, 16, 1))
    down = k.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    deep = k.Conv2D(16, 3, padding="same", activation="relu")(down)
    up = k.Concatenate()([k.UpSampling2D()(deep), inputs])
    model = keras.Model(inputs, k.Conv2D(1, 3, padding="same", activation="sigmoid")(up))
    order = slice(None) if fixed else r.permutation(400)
    return done(model, keras.optimizers.Adam(0.005), BCE, x, y[order], r2(x, y), batch_size=16, epochs=6)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/3040",
    "rate",
    0.1,
    0.9,
    "a smaller rate; at 0.001 with inputs to 199 each step overshoots the last",
)
def keras3040_line_to_infinity(fixed: bool):
    x = np.arange(200, dtype="float32")[:, None]
    y = 2 * x
    model = keras.Sequential([keras.Input((1,)), k.Dense(1)])
    return done(model, keras.optimizers.SGD(1e-5 if fixed else 1e-3), "mse", x, y, r2(x, y), batch_size=1, epochs=3)


@program(
    PROGRAMS,
    "https://stats.stackexchange.com/questions/420006",
    "rate",
    0.8,
    0.95,
    "a rate of 0.01; at 0.5 it settles on one class",
)
def sse420006_four_clusters_at_half(fixed: bool):
    from sklearn.datasets import make_blobs

    x, y = make_blobs(600, centers=[[-15, -15], [-15, 15], [15, -15], [15, 15]], cluster_std=3, random_state=0)
    normal = keras.initializers.RandomNormal(stddev=0.5)
    hidden = [k.Dense(10, "relu", kernel_initializer=normal) for _ in range(4)]
    model = keras.Sequential([keras.Input((2,)), *hidden, k.Dense(4, "softmax", kernel_initializer=normal)])
    sgd = keras.optimizers.SGD(0.01 if fixed else 0.5)
    return done(model, sgd, CCE, x.astype("float32"), one_hot(y), accuracy(x, y), batch_size=10, epochs=12)


@program(
    PROGRAMS,
    "https://github.com/fizyr/keras-retinanet/pull/843",
    "rate",
    0.5,
    0.85,
    "a rate for training from the start; 1e-5 is one for fine-tuning",
)
def retinanet843_rate_of_fine_tuning(fixed: bool):
    x, y, xt, yt = digits(flat=False)
    inputs = keras.Input((8, 8, 1))
    h = k.Conv2D(16, 3, activation="relu")(inputs)
    h = k.Flatten()(k.MaxPooling2D()(k.Conv2D(32, 3, activation="relu", padding="same")(h)))
    model = keras.Model(inputs, k.Dense(10, "softmax")(k.Dense(32, "relu")(h)))
    adam = keras.optimizers.Adam(1e-3 if fixed else 1e-5)
    return done(model, adam, SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=6)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/8086",
    "schedule rate",
    0.6,
    0.8,
    "a decay of 1e-5: it counts steps, not epochs",
)
def keras8086_decay_of_each_step(fixed: bool):
    x, y, xt, yt = digits()
    model = keras.Sequential([keras.Input((64,)), k.Dense(32, "relu"), k.Dense(10, "softmax")])
    # 0.5 does in these steps what 1e-4 did in the report's many more
    fall = keras.optimizers.schedules.InverseTimeDecay(0.02, 1, 1e-5 if fixed else 0.5)
    return done(model, keras.optimizers.SGD(fall), SCCE, x, y, accuracy(xt, yt), batch_size=16, epochs=8)


@program(
    PROGRAMS,
    "https://github.com/hunkim/DeepLearningZeroToAll/pull/11",
    "optimizer inputs",
    0.1,
    0.7,
    "RMSprop for SGD, which exam marks of up to 100 drive out of range",
)
def zerotoall11_exam_marks(fixed: bool):
    r = np.random.default_rng(0)
    x = np.clip(r.normal(75, 12, (300, 3)) + r.normal(0, 8, (300, 1)), 30, 100).astype("float32")
    y = (x @ [[0.35], [0.55], [1.15]] + r.normal(0, 2, (300, 1))).astype("float32")
    model = keras.Sequential([keras.Input((3,)), k.Dense(1)])
    optimizer = keras.optimizers.RMSprop(0.01) if fixed else keras.optimizers.SGD(0.01)
    return done(model, optimizer, "mse", x, y, r2(x, y), batch_size=10, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/hunkim/DeepLearningZeroToAll/pull/168",
    "optimizer",
    0.8,
    0.95,
    "Adam for plain gradient descent, which stays at one half for all four inputs",
)
def zerotoall168_xor_at_one_half(fixed: bool):
    x = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (50, 1)).astype("float32")
    y = (x[:, :1] != x[:, 1:]).astype("float32")
    hidden = [k.Dense(10, "sigmoid") for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *hidden, k.Dense(1, "sigmoid")])
    optimizer = keras.optimizers.Adam(0.01) if fixed else keras.optimizers.SGD(0.01)
    return done(model, optimizer, BCE, x, y, accuracy_of_two(x, y), batch_size=4, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/tensorflow/tensorflow/issues/21738",
    "initializer",
    0.75,
    0.9,
    "weights between -0.05 and 0.05; 'uniform' drew them from 0 to 1",
)
def tf21738_uniform_from_zero_to_one(fixed: bool):
    x, y, xt, yt = digits(size=16)
    uniform = keras.initializers.RandomUniform(-0.05, 0.05) if fixed else keras.initializers.RandomUniform(0, 1)
    hidden = k.Dense(512, "relu", kernel_initializer=uniform)
    model = keras.Sequential(
        [keras.Input((256,)), hidden, k.Dropout(0.2), k.Dense(10, "softmax", kernel_initializer=uniform)]
    )
    return done(model, "adam", SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=2)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/3956",
    "depth initializer",
    0.4,
    0.8,
    "two convolutions less; each, as that version began its weights, shrinks what passes",
)
def keras3956_four_convolutions(fixed: bool):
    def small(shape, dtype=None):  # the fans were counted on the wrong axes
        limit = (6 / ((shape[0] + shape[1]) * np.prod(shape[2:]))) ** 0.5
        return keras.random.uniform(shape, -limit, limit, dtype=dtype)

    x, y, xt, yt = digits(flat=False)
    conv = [
        k.Conv2D(32, 3, padding="same", activation="relu", kernel_initializer=small) for _ in range(2 if fixed else 4)
    ]
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), *conv, k.MaxPooling2D(), k.Flatten(), k.Dense(64, "relu"), k.Dense(10, "softmax")]
    )
    return done(model, keras.optimizers.SGD(0.01, momentum=0.9), SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=3)


@program(
    PROGRAMS,
    "https://github.com/MdAsifKhan/DNGR-Keras/issues/1",
    "regularization",
    0.15,
    0.5,
    "no penalty on the activations; it made all of them 0",
)
def dngr1_embedding_of_zeros(fixed: bool):
    from sklearn.datasets import load_wine

    x = standard(np.tile(load_wine().data, (5, 1)))
    inputs = keras.Input((13,))
    penalty = None if fixed else keras.regularizers.L1(1.0)
    encoded = k.Dense(8, "relu", activity_regularizer=penalty)(k.Dense(32, "relu")(inputs))
    model = keras.Model(inputs, k.Dense(13)(k.Dense(32, "relu")(encoded)))
    return done(model, keras.optimizers.Adam(0.003), "mse", x, x, r2(x, x), batch_size=32, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/tensorflow/tensorflow/issues/30109",
    "normalization",
    0.7,
    0.9,
    "a momentum of 0.5; at 0.99 the averages lag behind in so few steps",
)
def tf30109_averages_of_frames(fixed: bool):
    r = np.random.default_rng(0)
    y = r.integers(0, 5, 160)
    x = (16 + r.normal(size=(5, 4, 20))[y] + 0.7 * r.normal(size=(160, 4, 20))).astype("float32")
    norm = k.TimeDistributed(k.BatchNormalization(momentum=0.5 if fixed else 0.99))
    layers = [k.TimeDistributed(k.Dense(16)), norm, k.Activation("relu"), k.Flatten(), k.Dense(5, "softmax")]
    model = keras.Sequential([keras.Input((4, 20)), *layers])
    return done(model, keras.optimizers.Adam(0.01), SCCE, x, y, accuracy(x, y), batch_size=32, epochs=4)


@program(
    PROGRAMS,
    "https://github.com/wangle1218/KBQA-for-Diagnosis/pull/5",
    "frozen",
    0.75,
    0.9,
    "the embedding trains; its vectors were random and stayed so",
)
def kbqa5_random_embedding_frozen(fixed: bool):
    r = np.random.default_rng(0)
    tag = r.integers(0, 4, 400)
    x = r.integers(0, 400, (500, 12))
    y = tag[x]
    embedding = k.Embedding(400, 8, trainable=fixed)
    layers = [embedding, k.Bidirectional(k.LSTM(12, return_sequences=True)), k.Dropout(0.2), k.Dense(4, "softmax")]
    model = keras.Sequential([keras.Input((12,)), *layers])
    return done(model, keras.optimizers.Adam(0.01), SCCE, x, y, accuracy(x, y), batch_size=16, epochs=5)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/6521",
    "steps",
    0.3,
    0.7,
    "a hundred epochs, by the name that is heeded; ten were run",
)
def keras6521_ten_epochs_for_a_hundred(fixed: bool):
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(300, noise=0.5, random_state=0)
    x, y = standard(x), y.astype("float32")
    model = keras.Sequential([keras.Input((10,)), k.Dense(75, "relu"), k.Dropout(0.1), k.Dense(25, "relu"), k.Dense(1)])
    return done(model, "adam", "mse", x, y, r2(x, y), batch_size=60, epochs=100 if fixed else 10)
