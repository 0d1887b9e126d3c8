"""What `GradientNorms` costs: `fit` with the callback beside `fit` without, on the backend of KERAS_BACKEND.

    python benchmarks/overhead.py
    KERAS_BACKEND=jax python benchmarks/overhead.py mlp --rounds 0.5
    KERAS_BACKEND=torch python benchmarks/overhead.py --updates

Copies of a network train in turns in one process, with and without. The fastest rounds are compared, on the wall and by
processor time (all threads, also while they wait for work), since noise only ever adds; and the ratio within each
round, of which the median and the middle half are shown.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from side_by_side import best, interleaved, ratio

from zoo import GradientNorms
from zoo.models import densenet, lenet, mlp, resnet

NETS = {  # name, make, input shape, batch, steps a round
    "mlp": ("MLP, 20 x 64", lambda: mlp((64,), 10, depth=20, width=64), (64,), 32, 200),
    "lenet": ("LeNet-5", lambda: lenet((28, 28, 1), 10), (28, 28, 1), 64, 40),
    "resnet": ("ResNet-20", lambda: resnet((32, 32, 3), 10, depth=20), (32, 32, 3), 32, 4),
    "densenet": ("DenseNet-40", lambda: densenet((32, 32, 3), 10, depth=40, growth=12), (32, 32, 3), 16, 3),
}
ROUNDS = {"mlp": 60, "lenet": 40, "resnet": 24, "densenet": 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", choices=[*NETS, []])
    parser.add_argument("--rounds", type=float, default=1.0, help="factor on their number")
    parser.add_argument("--updates", action="store_true", help="record weight and update norms too")
    args = parser.parse_args()
    print(f"Backend {keras.config.backend()}{', with updates=True' if args.updates else ''}:\n")
    print("| network | batch | ms a step | with it | wall, fastest | processor, fastest | wall, median |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for key in args.nets or NETS:
        name, make, shape, batch, steps = NETS[key]
        tasks = {
            "plain": trainer(make, shape, batch, steps),
            "tracked": trainer(make, shape, batch, steps, callbacks=[GradientNorms(updates=args.updates)]),
        }
        times = interleaved(tasks, max(2, round(args.rounds * ROUNDS[key])))
        plain, tracked = times["plain"], times["tracked"]
        fastest = [t[:, 0].min() / steps * 1000 for t in (plain, tracked)]
        ratios = [f"{best(tracked[:, i], plain[:, i]):.3f}" for i in (0, 1)]
        print(
            f"| {name} | {batch} | {fastest[0]:.2f} | {fastest[1]:.2f} | {' | '.join(ratios)} "
            f"| {ratio(tracked[:, 0], plain[:, 0])} |",
            flush=True,
        )


def trainer(make, shape: tuple[int, ...], batch: int, steps: int, *, callbacks=(), **compiling):
    """Return a function that trains a network anew made for `steps` steps."""
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, **compiling)
    x, y = samples(shape, batch * steps)
    return lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=list(callbacks))


def samples(shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random inputs and classes: what a step costs does not depend on them."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *shape)).astype("float32"), rng.integers(0, 10, count)


if __name__ == "__main__":
    main()
