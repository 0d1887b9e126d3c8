"""What the checkpoint of an epoch costs, with and without waiting for the disk.

    python benchmarks/checkpoints.py --folder /tmp    # a minute

A checkpoint is written with what a run has beside it: 40 KB of gradient norms and a row of `history.csv` an epoch. The
two ways take turns; medians of 50.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import keras

from zoo.running.checkpoint import Checkpoint


def model_of(units: int) -> keras.Model:
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(10)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def seconds(model: keras.Model, folder: Path, times: int) -> dict[str, float]:
    """Return the median of each way, in turns."""
    rows, epochs = folder / "gradients.f32", folder / "history.csv"
    checkpoint = Checkpoint(folder / "checkpoint.npz", [], None, files=[rows, epochs])
    checkpoint.set_model(model)
    model.stop_training = False
    found: dict[str, list[float]] = {"with": [], "without": []}
    for epoch in range(2 * times):
        with open(rows, "ab") as file, open(epochs, "a") as text:
            file.write(bytes(40_000))
            text.write("0,0.1,0.2\n")
        way = "with" if epoch % 2 else "without"
        # What is timed is the disk: the one call that waits for it is left out.
        with mock.patch.object(os, "fsync", os.fsync if way == "with" else lambda descriptor: None):
            began = time.perf_counter()
            checkpoint.on_epoch_end(epoch)
            found[way].append(time.perf_counter() - began)
    return {way: statistics.median(each) for way, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to be measured")
    parser.add_argument("--times", type=int, default=50)
    arguments = parser.parse_args()
    print("| checkpoint | ms without waiting for the disk | ms with |\n| --- | --- | --- |")
    for units in (64, 55_000):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            median = seconds(model_of(units), Path(folder), arguments.times)
            size = (Path(folder) / "checkpoint.npz").stat().st_size / 1e6
        print(f"| {size:.2g} MB | {1000 * median['without']:.1f} | {1000 * median['with']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
