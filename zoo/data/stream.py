"""Streams for what does not stay as it lies in memory: augmented images, and image files larger than memory.

TensorFlow is imported inside the functions, so that `import zoo.data` stays light.
"""

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from zoo.errors import UserError

PAD = 4


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
    """Draw the offsets from `seed`, (2,) int64, and apply them to a batch."""
    import tensorflow as tf

    shape = tf.shape(images)[:1]
    corner = tf.random.stateless_uniform((2, shape[0]), seed, maxval=2 * PAD + 1, dtype=tf.int32)
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
def reading(files: Sequence[str]):
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


def stream(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    *,
    image_size: tuple[int, int] | None = None,
    shift: np.ndarray | float = 0.0,
    scale: np.ndarray | float = 1.0,
    shuffle: bool = False,
    augment: bool = False,
    seed: int = 0,
):
    """Return a `tf.data.Dataset` of batches: ((batch, h, w, c) float32, y), the last batch perhaps smaller.

    Shuffling and augmentation differ from epoch to epoch and follow `seed`, whatever the number of threads. Indices are
    shuffled, not images, so the shuffle spans the whole part and costs a few bytes a sample.

    Args:
        x: (n, h, w, c) float32, already scaled; or, with `image_size`, (n,) paths of image files.
        y: (n,) or (n, k).
        batch_size: samples a batch.
        image_size: (h, w) that files are resized to.
        shift, scale: of files alone: pixels become (pixel - shift) / scale; scalar or (c,).
        shuffle: in a new order each epoch.
        augment: random crop and flip, see `crop_flip`.
        seed: of the shuffle and of the augmentation.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):  # a constant would land on the accelerator, which the input pipeline cannot use
        x, y = tf.constant(x), tf.constant(y)
        shift, scale = tf.constant(shift, tf.float32), tf.constant(scale, tf.float32)
    batches = tf.data.Dataset.range(len(x))
    if shuffle:
        batches = batches.shuffle(len(x), seed=seed)
    if image_size:
        batches = batches.map(lambda i: (read_image(x[i], image_size), y[i]), tf.data.AUTOTUNE)
        batches = batches.batch(batch_size)
        batches = batches.map(lambda images, labels: ((images - shift) / scale, labels), tf.data.AUTOTUNE)
    else:
        batches = batches.batch(batch_size)
        batches = batches.map(lambda i: (tf.gather(x, i), tf.gather(y, i)), tf.data.AUTOTUNE)
    if augment:
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
        batches = tf.data.Dataset.zip(batches, seeds)
        batches = batches.map(lambda xy, s: (_random_crop_flip(xy[0], s), xy[1]), tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)
