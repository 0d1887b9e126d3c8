"""What recording in MLflow costs: ResNet-110, 200 epochs, the norms of its 110 layers each epoch, and without it.

    python benchmarks/recording.py

Real runs of `python train.py`, in turns, on 36 images of 8 x 8 pixels, two steps an epoch: 200 epochs of CIFAR-10 take
days here, and to record one costs no more. What it costs beside one follows from that and from the time of a step.
Processor time is that of the whole process.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from overhead import trainer
from side_by_side import interleaved, ratio

from zoo.models import resnet

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=200)
    args = parser.parse_args()
    times = {"none": [], "mlflow": []}
    with tempfile.TemporaryDirectory() as home:
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 256, (50, 8, 8, 3)).astype("uint8"), np.arange(50) % 2
        np.savez(Path(home, "images.npz"), x=x, y=y)
        words = [sys.executable, str(ROOT / "train.py"), "model=resnet110", "data=npz", f"data.path={home}/images.npz"]
        words += [f"epochs={args.epochs}", "verbose=0", "pictures=false", "callbacks=[gradient_norms]"]
        env = {**os.environ, "GRADIENT_ZOO_HOME": home}
        for number in range(args.rounds):
            for tracking in list(times)[:: -1 if number % 2 else 1]:
                times[tracking].append(process([*words, f"tracking={tracking}"], env))
    none, mlflow = (np.array(times[tracking]) for tracking in times)
    print("| epochs | not recorded, s | recorded, s | ratio, wall | processor, s | recorded, s | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    shown = [
        f"{np.median(none[:, i]):.1f} | {np.median(mlflow[:, i]):.1f} | {ratio(mlflow[:, i], none[:, i])}"
        for i in (0, 1)
    ]
    print(f"| {args.epochs} | {' | '.join(shown)} |")
    added = np.median(mlflow - none, axis=0)[1] / args.epochs  # the wall's difference drowns in noise
    steps = 3
    train = trainer(lambda: resnet((32, 32, 3), 10, depth=110), (32, 32, 3), 128, steps)
    step = interleaved({"steps": train}, 3, warm_up=1)["steps"][:, 0].min() / steps
    epoch = 391 * step
    print(
        f"\nRecording adds {added:.3f} s of processor to an epoch. An epoch of CIFAR-10 is 391 steps of 128 images, "
        f"{step:.2f} s each here: a ratio of at most {1 + added / epoch:.4f}."
    )


def process(words: list[str], env: dict) -> tuple[float, float]:
    """Return the seconds of one process: wall, and processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, env=env, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
