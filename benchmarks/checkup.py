"""What the check-up costs: `zoo.check` in seconds, and `fit` with `Doctor` beside `fit` with norms and probes.

    python benchmarks/checkup.py
    python benchmarks/checkup.py --mnist mnist.npz    # on MNIST instead of numbers drawn alike

A check-up is made of a network anew made, as a person makes it, and includes the imports and the compiling that it
needs the first time; the second time is that of another network in the same process. Trainings are compared in turns in
one process, after the check-up, by their fastest rounds (see `overhead.py`).
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from overhead import NETS, samples
from side_by_side import best, interleaved

from zoo import Doctor, GradientNorms, check
from zoo.telemetry.probe import Probes

SAMPLES = 10_000
ROUNDS, STEPS = 12, 60
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="mnist.npz, as Keras has it")
    args = parser.parse_args()
    print("| network | samples | seconds of `check`, first | second |")
    print("| --- | --- | --- | --- |")
    for key in ("lenet", "mlp"):
        name, make, shape, *_ = NETS[key]
        x, y = mnist(args.mnist) if args.mnist and key == "lenet" else samples(shape, SAMPLES)
        seconds = [checked(make, x, y) for _ in range(2)]
        print(f"| {name} | {len(x):,} | {seconds[0]:.2f} | {seconds[1]:.2f} |", flush=True)
    print("\n| network | batch | with norms and probes over without | with `Doctor` over norms and probes |")
    print("| --- | --- | --- | --- |")
    for key in ("mlp", "lenet"):
        name, make, shape, batch, _ = NETS[key]
        x, y = samples(shape, batch * STEPS)
        both = lambda x=x, y=y: [GradientNorms(), Probes(x[:256], y[:256])]  # noqa: E731
        each = {"plain": [], "both": both(), "doctor": [Doctor(x, y)]}
        tasks = {task: trainer(make, x, y, batch, callbacks) for task, callbacks in each.items()}
        times = {task: found[:, 0] for task, found in interleaved(tasks, ROUNDS).items()}
        ratios = [best(times[a], times[b]) for a, b in (("both", "plain"), ("doctor", "both"))]
        print(f"| {name} | {batch} | {ratios[0]:.3f} | {ratios[1]:.3f} |", flush=True)


def checked(make, x: np.ndarray, y: np.ndarray) -> float:
    """Return the seconds that a check-up of a network anew made takes."""
    model = made(make)
    begun = time.perf_counter()
    check(model, x, y)
    return time.perf_counter() - begun


def trainer(make, x: np.ndarray, y: np.ndarray, batch: int, callbacks: list):
    """Return a function that trains a network, the same each time, for `STEPS` steps."""
    model = made(make)
    return lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=callbacks)


def made(make) -> keras.Model:
    """Return a compiled network, with the weights of one seed."""
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), LOSS)
    return model


def mnist(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the first samples of MNIST, scaled to [0, 1]."""
    with np.load(path) as file:
        x, y = file["x_train"][:SAMPLES], file["y_train"][:SAMPLES]
    return x[..., None].astype("float32") / 255, y.astype(int)


if __name__ == "__main__":
    main()
