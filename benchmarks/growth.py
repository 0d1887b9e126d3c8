"""How telemetry's cost grows: with depth, with width, with steps; and what a probe costs.

    python benchmarks/growth.py

The norms of a step are taken of gradients of those shapes within one compiled loop, beside a loop that only makes the
gradients: of whole steps the difference would be lost in noise. The fastest rounds count. How much of a step that is,
overhead.py says.
"""

import argparse
import gc
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from overhead import NETS, samples, trainer
from side_by_side import interleaved

from zoo import GradientNorms
from zoo.models import mlp
from zoo.telemetry.backends.tensorflow.recorder import norms
from zoo.telemetry.probe import Prober
from zoo.telemetry.steps_file import Rows

SIZES = [(10, 16), (50, 16), (100, 16), (200, 16), (400, 16), (10, 128), (10, 512), (10, 2048)]
CALLS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    sizes(args.rounds)
    steps()
    probes(args.rounds // 3)


def sizes(rounds: int) -> None:
    print("| MLP | variables | weights | norms of a step, microseconds | a variable, microseconds |")
    print("| --- | --- | --- | --- | --- |")
    for depth, width in SIZES:
        shapes = [*depth * [(width, width), (width,)], (width, 10), (10,)]
        gradients = [tf.random.normal(shape) for shape in shapes]
        tasks = {
            "gradients": loop(gradients, nothing),
            "norms": loop(gradients, norms),
        }
        times = {task: t[:, 0].min() / CALLS * 1e6 for task, t in interleaved(tasks, rounds).items()}
        added, weights = times["norms"] - times["gradients"], sum(int(np.prod(shape)) for shape in shapes)
        each = f"{added:.0f} | {added / len(shapes):.2f}"
        print(f"| {depth} x {width} | {len(shapes)} | {weights:,} | {each} |", flush=True)


def nothing(gradients: list) -> tf.Tensor:
    with tf.control_dependencies(gradients):
        return tf.zeros(len(gradients))


def loop(gradients: list, measure):
    """Return a function that makes all gradients anew and measures them, `CALLS` times within one compiled call."""

    def once(i, total):
        with tf.control_dependencies([i]):
            fresh = [tf.identity(g) for g in gradients]
        return i + 1, total + measure(fresh)

    @tf.function(autograph=False)
    def calls():
        start = (0, tf.zeros(len(gradients)))
        return tf.while_loop(lambda i, _: i < CALLS, once, start, parallel_iterations=1)

    return calls


def steps() -> None:
    print("\n| steps seen | a step, ms | memory that the process gained, MB | rows kept, MB |")
    print("| --- | --- | --- | --- |")
    model = mlp((16,), 10, depth=10, width=16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, steps_per_execution=50)
    x, y = samples((16,), 8 * 1000)
    norms = GradientNorms()
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[norms])
    before, seen = anonymous_memory(), 1000
    for goal in (10_000, 30_000, 100_000):
        start, first = time.perf_counter(), seen
        model.fit(x, y, batch_size=8, epochs=(goal - seen) // 1000, verbose=0, callbacks=[norms])
        seen = goal
        size = len(norms.history) * 23 * 4 / 1e6
        per_step = (time.perf_counter() - start) / (seen - first) * 1000
        gained = (anonymous_memory() - before) / 1e6
        print(f"| {len(norms.history):,} | {per_step:.3f} | {gained:.0f} | {size:.1f} |", flush=True)

    rows, block, before = Rows(221), np.ones((1000, 221), np.float32), anonymous_memory()
    for _ in range(100):
        rows.append(block)
    assert rows.array().shape == (100_000, 221)
    gained = (anonymous_memory() - before) / 1e6
    print(
        f"\nThe history of 100,000 steps of 110 layers (221 columns, {rows.array().nbytes / 1e6:.0f} MB, in a file "
        f"beyond 16 MB) takes {gained:.0f} MB of memory."
    )


def probes(rounds: int) -> None:
    print("\n| network | 100 steps, ms | a probe of 64 samples, ms | ratio |")
    print("| --- | --- | --- | --- |")
    for key in ("mlp", "lenet", "resnet"):
        name, make, shape, batch, steps = NETS[key]
        model = make()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        (x, y), measure = samples(shape, 64), Prober(model)
        tasks = {"fit": trainer(make, shape, batch, steps), "probe": lambda x=x, y=y, measure=measure: measure(x, y)}
        times = interleaved(tasks, rounds)
        epoch = np.median(times["fit"][:, 0]) / steps * 100 * 1000
        once = np.median(times["probe"][:, 0]) * 1000
        print(f"| {name}, batch {batch} | {epoch:.0f} | {once:.1f} | {once / epoch:.3f} |", flush=True)


def anonymous_memory() -> int:
    """Return the bytes that the process holds and no file backs."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024


if __name__ == "__main__":
    main()
