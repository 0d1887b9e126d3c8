"""Streams: of training batches, whose order anyone can work out again, and of image files larger than memory.

TensorFlow is imported inside the functions, so that `import zoo.data` stays light. It reads and orders the data for
models of the other backends too.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from zoo.data.check import Part
from zoo.errors import UserError
from zoo.startup import quiet

PAD = 4
GATHERED = 2**20  # bytes


def crop_flip(images, top, left, flip):
    """Crop each zero-padded image back to its size and mirror it (He et al. 2015, sec. 4.2; 4 pixels of padding).

    One gather for all of the batch: a loop over images would starve the step.

    Args:
        images: (batch, h, w, c), already scaled, so that the padding is 0 after scaling.
        top, left: (batch,) int32 in [0, 8], the crop's corner in the padded image; 4, 4 is the image itself.
        flip: (batch,) bool, mirror left to right.
    """
    import tensorflow as tf

    _, height, width, channels = images.shape
    padded = tf.pad(images, [[0, 0], [PAD, PAD], [PAD, PAD], [0, 0]])
    rows = top[:, None] + tf.range(height)
    columns = left[:, None] + tf.range(width)
    columns = tf.where(flip[:, None], columns[:, ::-1], columns)
    pixels = rows[:, :, None] * (width + 2 * PAD) + columns[:, None, :]
    flat = tf.reshape(padded, (-1, (height + 2 * PAD) * (width + 2 * PAD), channels))
    return tf.gather(flat, pixels, batch_dims=1)


def _random_crop_flip(images, seed):
    """Draw the offsets from `seed`, (2,) int32, and apply them to a batch."""
    import tensorflow as tf

    shape = tf.shape(images)[:1]
    corners = (2, shape[0])
    corner = tf.random.stateless_uniform(corners, seed, maxval=2 * PAD + 1, dtype=tf.int32)  # pyright: ignore[reportArgumentType]
    flip = tf.random.stateless_uniform(shape, seed + 1) < 0.5
    return crop_flip(images, corner[0], corner[1], flip)


def read_image(path, image_size: tuple[int, int]):
    """Decode a JPEG, PNG, BMP or GIF (first frame) file as RGB: (h, w, 3) float32 in [0, 255].

    A pixel of the new size is the mean of the area it covers: a photograph shrunk by interpolation alone is noise, and
    antialiased interpolation takes three times as long.
    """
    import tensorflow as tf

    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return tf.image.resize(image, image_size, "area")


@contextlib.contextmanager
def reading(files: np.ndarray):
    """Within it, TensorFlow's error about a file that it could not read becomes a `UserError` that names the file.

    Its own does not. To find the file means to read every one, so that is done after a failure, not before each run.
    """
    if not len(files):
        yield
        return
    import tensorflow as tf

    def fails(path: str) -> bool:
        try:
            tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        except tf.errors.OpError:
            return True
        return False

    try:
        yield
    except tf.errors.OpError as error:
        with ThreadPoolExecutor() as pool:
            bad = [str(path) for path, failed in zip(files, pool.map(fails, files), strict=True) if failed]
        if not bad:
            raise
        named = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise UserError(f"{len(bad)} of {len(files)} image files cannot be read, replace or delete: {named}") from error


def _tensorflow():
    """Import TensorFlow without its notes, and keep it off the accelerator that another backend's model needs."""
    with quiet():
        import tensorflow as tf

        if not on_tensorflow():
            with contextlib.suppress(RuntimeError):  # it has begun to use it already
                tf.config.set_visible_devices([], "GPU")
    return tf


def on_tensorflow() -> bool:
    """Whether Keras runs on TensorFlow."""
    import keras

    return keras.backend.backend() == "tensorflow"


def stream(x: np.ndarray, y: np.ndarray, batch_size: int, **files):
    """Return a `tf.data.Dataset` of batches in the order of the data: ((batch, ...) float32, y), the last one smaller.

    Args:
        x, y, files: see `_loader`.
        batch_size: samples a batch.
    """
    tf = _tensorflow()
    load = _loader(x, y, **files)
    return tf.data.Dataset.range(len(x)).batch(batch_size).map(load, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def in_batches(x: np.ndarray, y: np.ndarray, batch_size: int):
    """Return a `tf.data.Dataset` of batches of arrays, in their order.

    What Keras makes of arrays does the same by functions that are traced each time, which takes longer than to evaluate
    a small network.
    """
    tf = _tensorflow()
    with tf.device("CPU:0"):
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size).prefetch(tf.data.AUTOTUNE)
    return dataset.with_options(_options())


class TrainingStream:
    """The batches of a training part, each epoch in an order of its own.

    Order and augmentation of an epoch follow from `seed` and its number alone (see `plan`), so they are the same
    whichever epoch a training starts with. Indices are shuffled, not samples: that spans the whole part and costs a few
    bytes a sample.

    Args:
        x, y, files: see `_loader`.
        batch_size: samples a batch; an epoch's last is smaller where they do not divide.
        seed: of the order and of the augmentation.
        shuffle: whether each epoch has an order of its own; else all have that of the data.
        augment: random crop and flip, see `crop_flip`.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        augment: bool = False,
        **files,
    ):
        self._x, self._y, self._batch_size, self._seed = x, y, batch_size, seed
        self._shuffle, self._augment, self._files = shuffle, augment, files
        self._made: dict[bool, _Pipeline] = {}
        self._taken: dict[bool, _Pipeline] = {}

    def __call__(self, *, epoch: int = 0, endless: bool = True):
        """Return a `tf.data.Dataset` of the batches of `epoch` and the epochs after it.

        Or a generator of NumPy batches, of arrays alone where Keras runs on another backend: there a small step waits
        for `tf.data` three times as long as it takes.

        Args:
            epoch: the first one.
            endless: whether one iteration goes through all the epochs. Else each iteration that is begun is the next
                epoch.
        """
        _tensorflow()
        if not (self._files or self._augment or on_tensorflow()):
            return _numpy_batches(self._x, self._y, self._batch_size, self._seed, epoch, self._shuffle)
        made = self._taken.pop(endless, None)
        if made is None:
            made = _Pipeline(self._x, self._y, self._batch_size, self._shuffle, self._augment, endless, self._files)
        self._made[endless] = made
        return made.begun(self._x, self._y, self._seed, epoch)

    @property
    def labels(self) -> np.ndarray:
        """(n,) int64 classes of the samples."""
        return self._y.reshape(-1).astype(np.int64)

    def take_over(self, other: "TrainingStream") -> None:
        """Take the pipelines that `other` had made, of data of the same shapes, which is not iterated any more.

        To make one takes a small network as long as an epoch.
        """
        self._taken, other._made = other._made, {}


class _Pipeline:
    """Samples, seed and first epoch are variables, so that it can be made once for many trainings."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, batch_size: int, shuffle: bool, augment: bool, endless: bool, files: dict
    ):
        import tensorflow as tf

        size, whole = len(x), len(x) // batch_size
        with tf.device("CPU:0"):  # on the accelerator the input pipeline could not use them
            self._x, self._y, self._seed, self._epoch = (
                tf.Variable(tf.constant(value, kind), trainable=False)
                for value, kind in ((x, None), (y, None), (0, tf.int64), (0, tf.int64))
            )
        load = _loader(self._x, self._y, **files)
        # Small batches are gathered many at a time: each by itself, a step of a millisecond takes a fifth longer.
        together = 1 if files or augment else max(1, GATHERED // (x[:1].nbytes * batch_size))
        # To read these functions for Python's own branches and loops, of which they have none, takes a fifth of a
        # second.
        as_written = tf.autograph.experimental.do_not_convert

        @as_written
        def batches(order, seeds):
            rows = tf.reshape(order[: whole * batch_size], (whole, batch_size))
            dataset = tf.data.Dataset.from_tensor_slices((rows, seeds[:whole])).batch(together)
            if size % batch_size:
                last = (order[None, whole * batch_size :], seeds[whole:])
                dataset = dataset.concatenate(tf.data.Dataset.from_tensors(last))
            return dataset

        @as_written
        def read(rows, seeds):
            if together > 1:
                return load(rows)
            x, y = load(rows[0])
            return (_random_crop_flip(x, seeds[0]) if augment else x), y

        @as_written
        def planned(number):
            epoch = self._epoch + number if endless else self._epoch.assign_add(1) - 1
            return plan(self._seed, epoch, size, batch_size, shuffle)

        epochs = tf.data.Dataset.counter() if endless else tf.data.Dataset.range(1)
        # The order of the next epoch is drawn while this one trains.
        dataset = epochs.map(planned).prefetch(1).flat_map(batches)  # pyright: ignore[reportArgumentType]
        dataset = dataset.map(read, tf.data.AUTOTUNE)
        if together > 1:
            dataset = dataset.flat_map(as_written(lambda *part: tf.data.Dataset.from_tensor_slices(part)))
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
        if not endless:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(math.ceil(size / batch_size)))
        self._dataset = dataset.with_options(_options())

    def begun(self, x: np.ndarray, y: np.ndarray, seed: int, epoch: int):
        """Return the `tf.data.Dataset`, which from now on reads these."""
        for variable, value in ((self._x, x), (self._y, y), (self._seed, seed), (self._epoch, epoch)):
            variable.assign(value)
        return self._dataset


def _options():
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False  # they cost more than they save, as in Keras
    return options


def _numpy_batches(
    x: np.ndarray, y: np.ndarray, batch_size: int, seed: int, epoch: int, shuffle: bool
) -> Iterator[Part]:
    for number in itertools.count(epoch):
        rows = order(seed, number, len(x), batch_size, shuffle)
        for start in range(0, len(x), batch_size):
            batch = rows[start : start + batch_size]
            yield x[batch], y[batch]


def order(seed: int, epoch: int, size: int, batch_size: int, shuffle: bool = True) -> np.ndarray:
    """Return the order in which epoch `epoch` sees the samples: (size,) int64 indices, one batch after the other."""
    if not shuffle:
        return np.arange(size)
    import tensorflow as tf

    return _traced_order(size, batch_size)(tf.constant(seed, tf.int64), tf.constant(epoch, tf.int64)).numpy()


@functools.cache
def _traced_order(size: int, batch_size: int):
    """`plan` takes ten times as long where it is run operation by operation."""
    import tensorflow as tf

    return tf.function(lambda seed, epoch: plan(seed, epoch, size, batch_size)[0], autograph=False)


def plan(seed, epoch, size: int, batch_size: int, shuffle: bool = True):
    """Return the order of an epoch and a seed for the augmentation of each of its batches.

    Both are drawn by a generator without a state of its own, Philox (Salmon et al. 2011, "Parallel Random Numbers: As
    Easy as 1, 2, 3"), so that nobody need go through the epochs before.

    Args:
        seed, epoch: scalars, integers or tensors of them.
        size: samples in an epoch.
        batch_size: samples a batch.
        shuffle: whether the order is drawn, or that of the data.

    Returns:
        (size,) int64 indices and (batches, 2) int32.
    """
    import tensorflow as tf

    batches = math.ceil(size / batch_size)
    with tf.device("CPU:0"):  # where the input pipeline runs: the order is the same whoever asks
        key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
        draws = tf.random.stateless_uniform(
            (size + 2 * batches,),
            key,
            minval=None,  # pyright: ignore[reportArgumentType]
            maxval=None,
            dtype=tf.int32,
            alg="philox",
        )
        # `argsort` is the same with ten times the operations
        order = tf.math.top_k(draws[:size], size).indices if shuffle else tf.range(size)
        return tf.cast(order, tf.int64), tf.reshape(draws[size:], (batches, 2))


def _loader(
    x,
    y,
    *,
    image_size: tuple[int, int] | None = None,
    shift: np.ndarray | float = 0.0,
    scale: np.ndarray | float = 1.0,
):
    """Return the function that makes a batch, (x, y), of (batch,) int64 indices.

    Args:
        x: (n, ...) float32, already scaled; or, with `image_size`, (n,) paths of image files. An array or a variable.
        y: (n,) or (n, k), likewise.
        image_size: (h, w) that files are resized to.
        shift, scale: of files alone: pixels become (pixel - shift) / scale; scalar or (c,).
    """
    import tensorflow as tf

    with tf.device("CPU:0"):  # a constant would land on the accelerator, which the input pipeline cannot use
        samples, targets = (part if isinstance(part, tf.Variable) else tf.constant(part) for part in (x, y))
        offset, unit = tf.constant(shift, tf.float32), tf.constant(scale, tf.float32)
    read = functools.partial(read_image, image_size=image_size) if image_size else None

    def load(rows):
        batch = tf.gather(samples, rows)
        if read:
            batch = (tf.map_fn(read, batch, fn_output_signature=tf.float32) - offset) / unit
        return batch, tf.gather(targets, rows)

    return load
