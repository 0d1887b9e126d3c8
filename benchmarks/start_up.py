"""Whole processes: `python train.py` beside the shortest plain Keras script for the same training; the first step.

    python benchmarks/start_up.py
    python benchmarks/start_up.py --epochs 200 --rounds 2

The plain script trains the default network on the same digits for as many epochs, validates and tests, and records
nothing. Processes take turns; the first of each, which fills the disk's cache, does not count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from side_by_side import interleaved, ratio

ROOT = Path(__file__).resolve().parent.parent
PLAIN = """
import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.2, random_state=0, stratify=y)
x, x_val, y, y_val = train_test_split(x, y, test_size=0.1, random_state=0, stratify=y)
hidden = [keras.layers.Dense(64, "relu", kernel_initializer="he_normal") for _ in range(5)]
model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs=EPOCHS, validation_data=(x_val, y_val))
print(model.evaluate(x_test, y_test, verbose=0))
"""
# Ends the process after the first training step.
FIRST = """
import os, time
import keras
class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print(f"first step after {time.time():.6f}", flush=True)
        os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "GRADIENT_ZOO_HOME": home, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": home}
        Path(home, "first_step.py").write_text(FIRST)
        train = [sys.executable, str(ROOT / "train.py")]

        def process(*words: str):
            return lambda: subprocess.run(words, env=env, check=True, capture_output=True, cwd=home)

        print("| epochs | plain script, s | `python train.py`, s | ratio | without tracking and pictures | ratio |")
        print("| --- | --- | --- | --- | --- | --- |")
        tasks = {
            "plain": process(sys.executable, "-c", PLAIN.replace("EPOCHS", str(args.epochs))),
            "train": process(*train, f"epochs={args.epochs}"),
            "bare": process(*train, f"epochs={args.epochs}", "tracking=none", "pictures=false"),
        }
        times = {task: t[:, 0] for task, t in interleaved(tasks, args.rounds, warm_up=1).items()}
        shown = {task: f"{np.median(t):.2f}" for task, t in times.items()}
        print(
            f"| {args.epochs} | {shown['plain']} | {shown['train']} | {ratio(times['train'], times['plain'])} "
            f"| {shown['bare']} | {ratio(times['bare'], times['plain'])} |",
            flush=True,
        )

        tasks = {
            "import": process(sys.executable, "-c", "import keras"),
            "first": process(*train, "+callbacks.first={_target_: first_step.Stop}"),
        }
        times = {task: t[:, 0] for task, t in interleaved(tasks, args.rounds, warm_up=1).items()}
        imported, first = (float(np.median(t)) for t in times.values())
        print("\n| `import keras`, s | `python train.py` to the end of its first step, s | difference, s |")
        print("| --- | --- | --- |")
        print(f"| {imported:.2f} | {first:.2f} | {first - imported:.2f} |")


if __name__ == "__main__":
    main()
