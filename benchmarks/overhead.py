"""What `GradientNorms` costs: `fit` with the callback beside `fit` without, on the backend of KERAS_BACKEND.

    python benchmarks/overhead.py
    KERAS_BACKEND=jax python benchmarks/overhead.py mlp --rounds 20
    KERAS_BACKEND=torch python benchmarks/overhead.py --updates

Two copies of a network train in turns in one process, without and with and without and with. A figure is the median of
the rounds; a ratio is taken within each round, and its median is shown with the middle half of the rounds. Processor
time counts all threads.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from zoo import GradientNorms
from zoo.models import lenet, mlp, resnet

NETS = {  # make, input shape, batch, steps a round
    "mlp": ("MLP, 20 x 64", lambda: mlp((64,), 10, depth=20, width=64), (64,), 32, 200),
    "lenet": ("LeNet-5", lambda: lenet((28, 28, 1), 10), (28, 28, 1), 32, 50),
    "resnet": ("ResNet-20", lambda: resnet((32, 32, 3), 10, depth=20), (32, 32, 3), 8, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", choices=[*NETS, []], default=list(NETS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--updates", action="store_true", help="record weight and update norms too")
    args = parser.parse_args()
    print(
        f"backend {keras.config.backend()}, Keras {keras.__version__}, {os.cpu_count()} cores, updates={args.updates}\n"
    )
    print("| network | batch | ms a step, wall | with the callback | ratio, wall | ratio, processor |")
    print("| --- | --- | --- | --- | --- | --- |")
    for key in args.nets:
        name, make, shape, batch, steps = NETS[key]
        plain, tracked = trainer(make, shape, batch, steps), trainer(make, shape, batch, steps, updates=args.updates)
        for train in (plain, tracked):
            train(), train()  # compiles, then takes the compiled step up again
        rounds = np.array([[plain(), tracked()] for _ in range(args.rounds)])  # (rounds, 2, wall and processor)
        wall = np.median(rounds[:, :, 0], axis=0) / steps * 1000
        ratios = rounds[:, 1] / rounds[:, 0]
        shown = " | ".join(f"{wall[i]:.2f}" for i in (0, 1))
        print(f"| {name} | {batch} | {shown} | {spread(ratios[:, 0])} | {spread(ratios[:, 1])} |", flush=True)


def spread(ratios: np.ndarray) -> str:
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def trainer(make, shape: tuple[int, ...], batch: int, steps: int, updates: bool | None = None):
    """Return a function that trains and returns (wall, processor) seconds; tracked unless `updates` is None."""
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(steps * batch, *shape)).astype("float32"), rng.integers(0, 10, steps * batch)
    callbacks = [] if updates is None else [GradientNorms(updates=updates)]

    def train() -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=callbacks)
        return time.perf_counter() - wall, time.process_time() - processor

    return train


if __name__ == "__main__":
    main()
