"""What feeding the step costs: each kind of data as a run reads it, beside one batch that is on the device already.

    python benchmarks/pipeline.py --mnist mnist.npz --cifar10 cifar10.npz     # without: Keras' downloads

The same compiled network is fitted in turns: by the run's own input pipeline (order drawn anew each epoch,
augmentation, decoding), and by one batch of it, held in memory as a tensor and given again and again. What a pipeline
does on the processors is taken from a step that needs them all: there only a device of its own hides it. How much that
is, reading without training tells: the least that the ratio can be where the step leaves no core idle.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from side_by_side import interleaved, ratio

from zoo import data as sources
from zoo.models import lenet, mlp, resnet

IMAGES, SIDE = 512, 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--mnist")
    parser.add_argument("--cifar10")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photographs = sources.cifar10(path=args.cifar10, limit=2000, batch_size=64)
        write_images(Path(folder), photographs.train)
        augmented = {"augmentation": "crop_flip", "scaling": "standardize"}
        cases = {  # data, network, epochs a round
            "digits, MLP of 5 x 64, batch 32": (
                sources.digits(batch_size=32),
                lambda d: mlp(d.input_shape, 10),
                12,
            ),
            "MNIST, LeNet-5, batch 32": (
                sources.mnist(path=args.mnist, limit=4000, batch_size=32),
                lambda d: lenet(d.input_shape, 10),
                4,
            ),
            "CIFAR-10 with crops and flips, ResNet-20, batch 128": (
                sources.cifar10(path=args.cifar10, limit=1500, batch_size=128, **augmented),
                lambda d: resnet(d.input_shape, 10, depth=20),
                1,
            ),
            f"folder of PNG files, {SIDE} x {SIDE} to 64 x 64, ResNet-18, batch 32": (
                sources.image_folder(path=folder, image_size=64, batch_size=32),
                lambda d: resnet(d.input_shape, d.classes, depth=18),
                1,
            ),
        }
        print(
            "| data, network | steps | on the device already, ms a step | as a run reads it | ratio "
            "| reading alone, processor, ms a step | at least |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, (data, make, epochs) in cases.items():
            row(name, data, make(data), epochs, args.rounds)


def row(name: str, data, model: keras.Model, epochs: int, rounds: int) -> None:
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    steps = data.train_size // data.batch_size  # whole batches
    x, y = data.fixed_batch(data.batch_size)
    held = tf.data.Dataset.from_tensors((tf.constant(x), tf.constant(y))).repeat()
    stream = data.fit_arguments()["x"]

    def fit(batches):
        return lambda: model.fit(batches, steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)

    tasks = {"held": fit(held), "run": fit(stream)}
    times = {task: t[:, 0] / (steps * epochs) * 1000 for task, t in interleaved(tasks, rounds).items()}
    shown = " | ".join(f"{np.median(t):.2f}" for t in times.values())
    reading = min(read(stream, steps * epochs) for _ in range(rounds)) * 1000
    least = 1 + reading / os.cpu_count() / times["held"].min()
    shown += f" | {ratio(times['run'], times['held'])} | {reading:.2f} | {least:.3f}"
    print(f"| {name} | {epochs} x {steps} | {shown} |", flush=True)


def read(stream: tf.data.Dataset, steps: int) -> float:
    """Return the processor's seconds a batch, in all threads, where nothing else is done with it."""
    batches = iter(stream)
    for _ in range(2):
        next(batches)
    began = time.process_time()
    for _ in range(steps):
        next(batches)
    return (time.process_time() - began) / steps


def write_images(folder: Path, part) -> None:
    """Write photographs, enlarged, as a folder of files, one folder a class."""
    x, y = part
    for number, (pixels, label) in enumerate(zip(x[:IMAGES], y[:IMAGES], strict=True)):
        path = folder / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.array_to_img(pixels).resize((SIDE, SIDE)).save(path)


if __name__ == "__main__":
    main()
