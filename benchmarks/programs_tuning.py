"""Programs that the doctor is tuned on: real faulty Keras programs of public reports, each beside its published repair.

As `program_cases.py` says: rebuilt in our own words and code. Scores stand with seeds 3, 5 and 11.
"""

import keras
import numpy as np
from keras import ops
from program_cases import Built, Program, accuracy, accuracy_of_two, digits, one_hot, program, r2, standard

L, O, K = keras.layers, keras.optimizers, keras.initializers  # noqa: E741
CCE, SCCE, BCE = "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"
PROGRAMS: list[Program] = []


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def built(layers: list, optimizer: object, loss: object, x: np.ndarray, y: np.ndarray, score: object, **fit) -> Built:
    """Return a compiled chain of layers behind an input of the shape of `x`, and the rest of `Program.build`."""
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
    model.compile(optimizer, loss)
    return model, np.asarray(x, "float32"), y, fit, score


def friedman(n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Return ten inputs in [0, 1] and scikit-learn's curved function of five of them."""
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(n, noise=0.5, random_state=0)
    return x.astype("float32"), y.astype("float32")


def cancer() -> tuple[np.ndarray, np.ndarray]:
    """Return the thirty measures as they are, in an order of no meaning, and 1 for benign."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    order = rng().permutation(len(x))
    return x[order].astype("float32"), y[order].astype("float32")


def blobs(n: int = 400, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy pictures of one bright disc each, and masks of 0 and 1."""
    at, width = rng().uniform(3, side - 3, (n, 2, 1, 1)), rng(1).uniform(2, 4, (n, 1, 1))
    row, col = np.mgrid[:side, :side]
    mask = ((row - at[:, 0]) ** 2 + (col - at[:, 1]) ** 2 < width**2).astype("float32")[..., None]
    return np.clip(0.25 + 0.5 * mask + rng(2).normal(0, 0.15, mask.shape), 0, 1).astype("float32"), mask


@program(
    PROGRAMS,
    "https://ai.stackexchange.com/questions/18134",
    "activation",
    0.5,
    0.9,
    "ReLU in the hidden layers; layers without an activation are one linear map, and the target has a square",
)
def ai18134_square_of_linear_layers(fixed: bool) -> Built:
    act = "relu" if fixed else None
    x = rng().uniform(-3, 3, (1000, 2)).astype("float32")
    y = (x[:, :1] ** 2 + x[:, 1:]).astype("float32")
    layers = [L.Dense(2, act), L.Dense(64, act), L.Dense(32, act), L.Dense(1)]
    return built(layers, O.Adam(0.01), "mse", x, y, r2(x, y), batch_size=32, epochs=30)


@program(
    PROGRAMS,
    "https://datascience.stackexchange.com/questions/60170",
    "activation",
    0.3,
    0.9,
    "ReLU in the hidden layers; without, the sum of two numbers is learned, and their product is not",
)
def ds60170_product_of_linear_layers(fixed: bool) -> Built:
    act = "relu" if fixed else None
    x = rng().integers(-1000, 1000, (1000, 2)).astype("float32") / 1000
    y = x[:, :1] * x[:, 1:]
    layers = [L.Dense(20, act), L.Dense(100, act), L.Dense(100, act), L.Dense(1)]
    return built(layers, "adam", "mse", x, y, r2(x, y), batch_size=100, epochs=60)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/48385830 (DeepFD's sheet)",
    "activation output loss rate",
    0.4,
    0.75,
    "sigmoid in the hidden layer, softmax on the last, cross-entropy; there was no activation, and squared error",
)
def so48385830_digits_without_activations(fixed: bool) -> Built:
    x, y, xt, yt = digits()
    far = {"kernel_initializer": K.RandomNormal(stddev=1), "bias_initializer": K.RandomNormal(stddev=1)}
    layers = [L.Dense(30, "sigmoid" if fixed else None, **far), L.Dense(10, "softmax" if fixed else None, **far)]
    return built(layers, O.SGD(3.0), CCE if fixed else "mse", x, one_hot(y), accuracy(xt, yt), batch_size=10, epochs=8)


@program(
    PROGRAMS,
    "https://datascience.stackexchange.com/questions/38604",
    "output loss labels",
    0.25,
    0.9,
    "ten softmax units, one-hot labels and categorical cross-entropy; one sigmoid unit cannot name ten digits",
)
def ds38604_one_sigmoid_for_ten_digits(fixed: bool) -> Built:
    x, y, xt, yt = digits()
    layers = [L.Dense(64, "relu"), L.Dense(10, "softmax") if fixed else L.Dense(1, "sigmoid")]
    rounded = lambda m: float(np.mean(np.round(m.predict(xt, verbose=0)[:, 0]) == yt))  # noqa: E731
    score = accuracy(xt, yt) if fixed else rounded
    y = one_hot(y) if fixed else y.astype("float32")
    return built(layers, "adam", CCE if fixed else BCE, x, y, score, batch_size=32, epochs=10)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/48221692 (DeepFD's sheet)",
    "output",
    0.1,
    0.9,
    "a linear last layer; a sigmoid says nothing above 1, and the line goes higher",
)
def so48221692_line_under_sigmoid(fixed: bool) -> Built:
    x = rng().uniform(0, 2, (1000, 1)).astype("float32")
    y = (3 * x + 2 + rng(1).normal(0, 0.2, x.shape)).astype("float32")
    layers = [L.Dense(5, "sigmoid"), L.Dense(1, None if fixed else "sigmoid")]
    return built(layers, "sgd", "mse", x, y, r2(x, y), batch_size=20, epochs=40)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/47352366 (DeepFD's sheet)",
    "output",
    0.75,
    0.9,
    "softmax on the last layer; categorical cross-entropy was given ReLU outputs",
)
def so47352366_relu_before_crossentropy(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    bias = {"bias_initializer": K.Constant(0.1)}
    convs = [L.Conv2D(n, 5, padding="same", activation="relu", **bias) for n in (16, 32)]
    layers = [convs[0], L.MaxPooling2D(), convs[1], L.MaxPooling2D(), L.Flatten(), L.Dense(128, "relu", **bias)]
    layers += [L.Dropout(0.5), L.Dense(10, "softmax" if fixed else "relu")]
    return built(layers, "adam", CCE, x, one_hot(y), accuracy(xt, yt), batch_size=50, epochs=5)


@program(
    PROGRAMS,
    "https://github.com/IAmSuyogJadhav/3d-mri-brain-tumor-segmentation-using-autoencoder-regularization/issues/7",
    "loss",
    0.2,
    0.8,
    "the overlap is subtracted; added to the loss, it is made as small as can be",
)
def brats7_overlap_made_small(fixed: bool) -> Built:
    x, mask = blobs()

    def dice(t, p):
        both = 2 * ops.sum(ops.abs(t * p)) / (ops.sum(ops.square(t)) + ops.sum(ops.square(p)) + 1e-8)
        return -both if fixed else both

    def overlap(m):
        said = m.predict(x, verbose=0) > 0.5
        return float(2 * np.sum(said * mask) / (np.sum(said) + np.sum(mask)))

    layers = [L.Conv2D(8, 3, padding="same", activation="relu") for _ in range(2)] + [
        L.Conv2D(1, 1, activation="sigmoid")
    ]
    return built(layers, O.Adam(0.003), dice, x, mask, overlap, batch_size=16, epochs=8)


@program(
    PROGRAMS,
    "https://github.com/mkocabas/focal-loss-keras/issues/5",
    "loss",
    0.6,
    0.9,
    "probabilities are clipped away from 0 and 1 before the logarithm, and alpha is 0.25",
)
def focal5_logarithm_of_zero(fixed: bool) -> Built:
    x, y = cancer()
    x = standard(x)

    def focal(t, p):
        alpha, e = (0.25, 1e-7) if fixed else (2.0, 0.0)
        p, t = ops.clip(p, e, 1 - e), ops.reshape(t, ops.shape(p))
        one, none = ops.where(t == 1, p, ops.ones_like(p)), ops.where(t == 0, p, ops.zeros_like(p))
        positive = alpha * (1 - one) ** 2 * ops.log(one)
        return -ops.sum(positive) - ops.sum((1 - alpha) * none**2 * ops.log(1 - none))

    layers = [L.Dense(64, "relu"), L.Dense(32, "relu"), L.Dense(1, "sigmoid")]
    return built(layers, O.Adam(0.01), focal, x, y, accuracy_of_two(x, y), batch_size=32, epochs=15)


@program(
    PROGRAMS,
    "https://openillumi.com/en/en-keras-tf-fix-huge-negative-loss-regression (Stack Overflow)",
    "loss output targets",
    0.1,
    0.7,
    "squared error on a linear unit and normalized prices; binary cross-entropy of prices fell to -117944",
)
def so_prices_by_binary_crossentropy(fixed: bool) -> Built:
    x, y = friedman()
    y = standard(y) if fixed else y * 10000
    layers = [L.Dense(32, "relu"), L.Dense(32, "relu"), L.Dense(1, None if fixed else "sigmoid")]
    return built(layers, "adam", "mse" if fixed else BCE, standard(x), y, r2(standard(x), y), batch_size=32, epochs=12)


@program(
    PROGRAMS,
    "https://github.com/Trusted-AI/adversarial-robustness-toolbox/issues/7",
    "labels",
    0.3,
    0.9,
    "a loop sets one number in each row; indexing with labels of shape (n, 1) had set them all to 1",
)
def art7_one_hot_of_ones(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    labels = np.zeros((len(y), 10), "float32")
    labels[np.arange(len(y)), y if fixed else y[:, None]] = 1
    layers = [L.Conv2D(16, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(64, "relu")]
    return built([*layers, L.Dense(10, "softmax")], "adam", CCE, x, labels, accuracy(xt, yt), batch_size=32, epochs=8)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/13266",
    "labels",
    0.45,
    0.85,
    "the blanks behind a sentence are one-hot too; their targets were all zeros",
)
def keras13266_blanks_without_class(fixed: bool) -> Built:
    length = rng(1).integers(2, 7, (600, 1))
    words = np.where(np.arange(14) < length, rng().integers(0, 9, (600, 14)), 9)  # 9 is blank
    x, said = one_hot(words, 10), np.where(words < 9, 8 - words, 9)
    y = one_hot(said, 10) * (1 if fixed else (said < 9)[..., None])
    layers = [L.LSTM(32, return_sequences=True), L.Dense(10, "softmax")]
    return built(layers, O.RMSprop(0.01), CCE, x, y, accuracy(x, said), batch_size=32, epochs=6)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/47724077 (DeepFD's sheet)",
    "inputs rate",
    0.75,
    0.85,
    "standardized columns, Adam at 0.01; one column of the census reaches a million, others are shares",
)
def so47724077_census_as_it_is(fixed: bool) -> Built:
    from sklearn.datasets import make_classification

    x, y = make_classification(1500, 14, n_informative=6, class_sep=1.5, shuffle=False, random_state=1)
    x[:, 12] = rng().normal(190000, 105000, 1500)  # weights of rows, which tell nothing
    x[:, 13] = np.where(rng(1).random(1500) < 0.1, rng(2).uniform(0, 99999, 1500), 0)
    x = standard(x) if fixed else x
    layers = [L.Dense(21, "relu"), L.Dense(2, "softmax")]
    optimizer = O.Adam(0.01 if fixed else 0.001)
    return built(layers, optimizer, CCE, x, one_hot(y), accuracy(x, y), batch_size=100, epochs=50)


@program(
    PROGRAMS,
    "https://stats.stackexchange.com/questions/161189",
    "inputs",
    0.6,
    0.95,
    "the number's binary digits as inputs; from its size no net tells odd from even",
)
def stats161189_odd_or_even(fixed: bool) -> Built:
    n = rng().permutation(1000)
    x = (n[:, None] >> np.arange(10) & 1 if fixed else n[:, None] / 1000).astype("float32")
    y = (n % 2).astype("float32")
    layers = [L.Dense(9, "tanh"), L.Dense(1, "sigmoid")]
    return built(layers, O.Adam(0.01), BCE, x, y, accuracy_of_two(x, y), batch_size=32, epochs=15)


@program(
    PROGRAMS,
    "https://github.com/aurora95/Keras-FCN/issues/26",
    "inputs",
    0.5,
    0.85,
    "the means of 0-255 pictures are no longer subtracted from pictures that are normalized already",
)
def kerasfcn26_mean_subtracted_twice(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    shift = 0 if fixed else np.array([103.939, 116.779, 123.68], "float32")
    x, xt = ((a - a.mean((1, 2), keepdims=True)) / a.std((1, 2), keepdims=True) - shift for a in (x, xt))
    x, xt = (a * np.ones(3, "float32") for a in (x, xt))
    layers = [L.Conv2D(16, 3, activation="relu"), L.MaxPooling2D(), L.Conv2D(32, 2, activation="relu"), L.Flatten()]
    return built([*layers, L.Dense(10, "softmax")], "adam", SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=4)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/47932589 (DeepFD's sheet)",
    "targets inputs",
    0.1,
    0.7,
    "inputs and targets scaled to [0, 1]",
)
def so47932589_targets_in_thousands(fixed: bool) -> Built:
    x, y = friedman()
    x, y = (x, (y - y.min()) / (y.max() - y.min())) if fixed else (x * 5, y * 5000)
    layers = [L.Dense(32, "relu"), L.Dense(16, "relu"), L.Dense(1)]
    return built(layers, "adam", "mse", x, y, r2(x, y), batch_size=32, epochs=20)


@program(
    PROGRAMS,
    "https://community.deeplearning.ai/t/linear-regression-with-neural-network-need-help-and-advice/752992",
    "targets",
    0.1,
    0.8,
    "incomes are scaled; Adam's steps of a thousandth do not reach 40000",
)
def dlai752992_incomes_in_dollars(fixed: bool) -> Built:
    x = rng().normal(0, 2, (600, 2))
    y = 40000 + x @ [2500, 2000] + rng(1).normal(0, 2000, 600)
    y = standard(y) if fixed else y.astype("float32")
    return built([L.Dense(16, "relu"), L.Dense(1)], "adam", "mse", x, y, r2(x, y), batch_size=10, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/Borda/kaggle_image-classify/pull/12",
    "data",
    0.3,
    0.9,
    "labels are read after the shuffle of the table; taken before it, they belong to other pictures",
)
def borda12_labels_before_the_shuffle(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    order = rng(7).permutation(len(x))
    x, y = x[order], y[order] if fixed else y
    layers = [L.Conv2D(16, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(64, "relu")]
    return built([*layers, L.Dense(10, "softmax")], "adam", SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=8)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/3894",
    "data",
    0.3,
    0.9,
    "shuffled before `validation_split`: it takes the last rows, and they are the last classes",
)
def keras3894_last_classes_held_out(fixed: bool) -> Built:
    x, y, *_ = digits()
    order = rng(7).permutation(len(x)) if fixed else np.argsort(y, kind="stable")
    x, y = x[order], y[order]
    held = len(x) * 4 // 5
    layers = [L.Dense(64, "relu"), L.Dropout(0.2), L.Dense(10, "softmax")]
    score = accuracy(x[held:], y[held:])
    return built(layers, "adam", SCCE, x, y, score, batch_size=32, epochs=12, validation_split=0.2)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/6447 (comment of 2020-02-11)",
    "data",
    0.7,
    0.9,
    "the empty cells of the table, read as NaN, are filled",
)
def keras6447_empty_cells(fixed: bool) -> Built:
    x, y = cancer()
    full = standard(x)
    holes = np.where(rng(3).random(full.shape) < 0.003, np.nan, full)
    layers = [L.Dense(16, "relu"), L.Dense(8, "relu"), L.Dense(1, "sigmoid")]
    x = np.nan_to_num(holes) if fixed else holes
    return built(layers, "adam", BCE, x, y, accuracy_of_two(full, y), batch_size=16, epochs=12)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/48934338 (DeepFD's sheet)",
    "rate",
    0.1,
    0.9,
    "SGD at 0.0001; at 0.1 the first steps blow it up",
)
def so48934338_parabola_at_a_tenth(fixed: bool) -> Built:
    x = np.tile(np.arange(0, 5, 0.1, dtype="float32"), 20)[:, None]  # twenty of the report's epochs in one
    y = (5 * x**2 + rng().normal(size=x.shape) ** 3).astype("float32")
    layers = [L.Dense(50, "relu"), L.Dense(30, "relu", kernel_initializer="random_uniform"), L.Dense(1)]
    return built(layers, O.SGD(1e-4 if fixed else 0.1), "mse", x, y, r2(x, y), batch_size=32, epochs=40)


@program(
    PROGRAMS,
    "https://github.com/keras-team/autokeras/pull/571",
    "rate",
    0.1,
    0.7,
    "a rate of 0.001; at 0.025 the gradient of the squared error explodes",
)
def autokeras571_rate_for_regression(fixed: bool) -> Built:
    x, y = friedman()
    x = standard(x)
    layers = [L.Dense(64, "relu"), L.Dense(64, "relu"), L.Dense(64, "relu"), L.Dense(1)]
    optimizer = O.SGD(0.001 if fixed else 0.025, momentum=0.9)
    return built(layers, optimizer, "mse", x, y, r2(x, y), batch_size=32, epochs=12)


@program(
    PROGRAMS,
    "https://github.com/kcct-fujimotolab/keras-super-resolution (commit a7616b6)",
    "rate loss",
    0.5,
    0.7,
    "Adam at 0.001 and squared error; it was 0.0001 and binary cross-entropy",
)
def superresolution_rate_of_a_tenth(fixed: bool) -> Built:
    _, sharp = blobs(300)
    sharp = sharp * 0.6 + 0.2 * (np.indices((12, 12)).sum(0) % 3 == 0)[..., None]
    rough = np.kron(sharp.reshape(300, 6, 2, 6, 2, 1).mean((2, 4)), np.ones((1, 2, 2, 1)))
    layers = [L.Conv2D(n, 3, padding="same", activation="relu") for n in (32, 16)]
    layers += [L.Conv2D(1, 3, padding="same", activation="sigmoid")]
    optimizer, loss = O.Adam(1e-3 if fixed else 1e-4), "mse" if fixed else BCE
    score = r2(rough, sharp)
    return built(layers, optimizer, loss, rough, sharp.astype("float32"), score, batch_size=16, epochs=8)


@program(
    PROGRAMS,
    "https://github.com/kiudee/cs-ranking/issues/58",
    "schedule",
    0.75,
    0.85,
    "0.9 times the first rate every five epochs; it was 0.9 to the fifths passed times the last rate, every epoch",
)
def csranking58_rate_falls_on_itself(fixed: bool) -> Built:
    x, y, xt, yt = digits()
    falls = lambda epoch, rate: (0.015 if fixed else rate) * 0.9 ** (epoch // 5)  # noqa: E731
    down = keras.callbacks.LearningRateScheduler(falls)
    layers = [L.Dense(32, "relu"), L.Dense(32, "relu"), L.Dense(10, "softmax")]
    score = accuracy(xt, yt)
    return built(layers, O.SGD(0.015), SCCE, x, y, score, batch_size=64, epochs=50, callbacks=[down])


@program(
    PROGRAMS,
    "https://github.com/tensorflow/tensorflow/issues/34380",
    "optimizer rate",
    0.1,
    0.4,
    "Adam; Adadelta's rate in TensorFlow 2 is 0.001, a thousandth of what it was in Keras",
)
def tf34380_autoencoder_adadelta(fixed: bool) -> Built:
    x, *_ = digits()
    layers = [L.Dense(32, "relu"), L.Dense(64, "sigmoid")]
    return built(layers, "adam" if fixed else "adadelta", BCE, x, x, r2(x, x), batch_size=32, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/johnb30/py_crepe/issues/5",
    "initializer",
    0.4,
    0.8,
    "normal weights of variance 0.05; Keras's `uniform` of that day reaches 0.05 only",
)
def pycrepe5_uniform_too_small(fixed: bool) -> Built:
    x, y, xt, yt = digits()
    start = K.RandomNormal(stddev=0.05**0.5) if fixed else K.RandomUniform(-0.05, 0.05)
    layers = [L.Dense(48, "relu", kernel_initializer=start) for _ in range(7)]
    layers += [L.Dense(10, "softmax", kernel_initializer=start)]
    return built(layers, O.SGD(0.01, momentum=0.9), SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=12)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/56076672",
    "capacity",
    0.85,
    0.92,
    "ten units and more; two and one cannot fence a circle in",
)
def so56076672_circle_of_two_units(fixed: bool) -> Built:
    x = rng().uniform(-1, 1, (1500, 2)).astype("float32")
    y = ((x**2).sum(1) > 0.6).astype("float32")
    first, second = (10, 10) if fixed else (2, 1)
    layers = [L.Dense(first, "relu"), L.Dense(second, "relu"), L.Dense(1, "sigmoid")]
    return built(layers, "adam", BCE, x, y, accuracy_of_two(x, y), batch_size=20, epochs=20)


@program(
    PROGRAMS,
    "https://github.com/titu1994/Inception-v4/issues/5",
    "regularization",
    0.6,
    0.85,
    "a fifth is dropped; 0.8 is the share that the paper keeps, and Keras takes the share to drop",
)
def inception5_share_kept_is_dropped(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    drop = 0.2 if fixed else 0.8
    layers = [L.Conv2D(8, 3, activation="relu"), L.Dropout(drop), L.Conv2D(8, 3, activation="relu"), L.Flatten()]
    layers += [L.Dropout(drop), L.Dense(32, "relu"), L.Dropout(drop), L.Dense(10, "softmax")]
    return built(layers, "adam", SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=6)


@program(
    PROGRAMS,
    "https://github.com/fchollet/keras-blog/pull/14",
    "regularization",
    0.6,
    0.85,
    "a penalty of 1e-7 on the codes; 1e-4 of a sum over the batch leaves none of them",
)
def kerasblog14_codes_fined_away(fixed: bool) -> Built:
    x, *_ = digits()
    fine = keras.regularizers.L1(1e-7 if fixed else 1e-4 * 256)  # a sum over batches of 256, as Keras had it
    layers = [L.Dense(32, "relu", activity_regularizer=fine), L.Dense(64, "sigmoid")]
    return built(layers, O.Adam(0.005), BCE, x, x, r2(x, x), batch_size=32, epochs=15)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/pull/16726",
    "normalization",
    0.85,
    0.92,
    "a momentum above 0: at 0 the averages are those of the last batch alone",
)
def resnetrs16726_no_momentum(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    norm = {"momentum": 0.9 if fixed else 0.0}
    layers = [L.Conv2D(16, 3), L.BatchNormalization(**norm), L.Activation("relu"), L.MaxPooling2D(), L.Flatten()]
    for _ in range(2):
        layers += [L.Dense(32), L.BatchNormalization(**norm), L.Activation("relu")]
    layers += [L.Dense(10, "softmax")]
    return built(layers, "adam", SCCE, x[:1426], y[:1426], accuracy(xt, yt), batch_size=25, epochs=5)


@program(
    PROGRAMS,
    "https://github.com/matterport/Mask_RCNN/issues/1253",
    "frozen",
    0.6,
    0.85,
    "all layers train; without pretrained weights the heads alone cannot do it",
)
def maskrcnn1253_only_the_heads(fixed: bool) -> Built:
    x, y, xt, yt = digits(flat=False)
    body = [L.Conv2D(n, 3, strides=2, padding="same", activation="relu", trainable=fixed) for n in (16, 16, 16)]
    layers = [*body, L.Flatten(), L.Dense(32, "relu"), L.Dense(10, "softmax")]
    return built(layers, "adam", SCCE, x, y, accuracy(xt, yt), batch_size=32, epochs=12)


@program(
    PROGRAMS,
    "https://stackoverflow.com/questions/78199673 (as devhide.com has it)",
    "steps",
    0.7,
    0.95,
    "many more epochs; a hundred of one step each do not reach the line",
)
def so78199673_line_in_a_hundred_steps(fixed: bool) -> Built:
    x = np.arange(1, 11, dtype="float32")[:, None]
    y = 10 * x
    score = r2(x, y)
    x, y = np.tile(x, (200, 1)), np.tile(y, (200, 1))  # a hundred of the report's epochs in one
    x, y = (x, y) if fixed else (x[:1000], y[:1000])
    return built([L.Dense(1)], O.RMSprop(0.005), "mse", x, y, score, batch_size=10, epochs=15 if fixed else 1)


@program(
    PROGRAMS,
    "https://github.com/keras-team/keras/issues/8837",
    "batch normalization",
    0.6,
    0.9,
    "batches of 32; normalized by itself alone a picture of one is nothing, and the averages tell of none",
)
def keras8837_batches_of_one(fixed: bool) -> Built:
    x, y, xt, yt = digits()
    x, y = x[:700], y[:700]
    layers = [L.Dense(64), L.BatchNormalization(), L.Activation("elu"), L.Dense(10, "softmax")]
    size, epochs = (32, 20) if fixed else (1, 1)
    return built(layers, "adam", SCCE, x, y, accuracy(xt, yt), batch_size=size, epochs=epochs)
