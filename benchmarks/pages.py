"""What the page of a training costs: its size, the time to write it, and the time until Chromium shows it, drawn.

    python benchmarks/pages.py

Histories of random norms, a kernel and a bias a layer, which no compression makes small; probes of 100 epochs. The
page is written by the same function as a run's; matplotlib is not imported. The processor's time is the median, of all
threads. Without a Chromium the last columns are empty.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import browser
from side_by_side import interleaved

from zoo.telemetry.history import GradientHistory
from zoo.telemetry.page.file import write_page
from zoo.telemetry.page.told import Probed, Told

CASES = {  # layers, steps, and whether update ratios are recorded too
    "MLP, 5 layers": (6, 820, False),
    "30 sigmoids": (31, 4_100, False),
    "ResNet-110": (110, 78_200, False),
    "100,000 steps": (110, 100_000, False),
    "with update ratios": (110, 100_000, True),
}
EPOCHS = 100


def told_of(layers: int, steps: int, updates: bool) -> Told:
    rng = np.random.default_rng(0)
    names = [f"stage_{i}_conv" for i in range(layers)]
    norms = np.exp(rng.normal(-6, 2, (steps, 2 * layers)).astype(np.float32))
    history = GradientHistory(
        names,
        [f"{name}/{kind}" for name in names for kind in ("kernel", "bias")],
        np.repeat(np.arange(layers), 2),
        np.arange(steps),
        norms,
        np.exp(rng.normal(0, 0.1, steps)).astype(np.float32),
        epoch_ends=np.linspace(0, steps, EPOCHS + 1)[1:].astype(int),
        weight_norms=norms[::-1] if updates else None,
        update_norms=norms if updates else None,
    )
    profiles = [np.exp(rng.normal(-3, 2, (EPOCHS + 1, layers))) for _ in range(3)]
    shares = [rng.uniform(0, 1, (EPOCHS + 1, layers)) for _ in range(2)]
    epochs = {name: rng.uniform(0, 1, EPOCHS) for name in ("loss", "val_loss", "accuracy", "val_accuracy")}
    probed = Probed(names, np.append(0, history.epoch_ends), *profiles, *shares)
    return Told("a training", steps=history.told, probed=probed, epochs=epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(name, Path(folder), args.rounds) for name in CASES]
    assert "matplotlib" not in sys.modules
    print("| training | layers | steps | page, KB | written, s, fastest | processor, s | shown, s, fastest | median |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))


def measured(name: str, folder: Path, rounds: int) -> str:
    layers, steps, updates = CASES[name]
    path = folder / f"{layers}_{steps}.html"
    told = told_of(layers, steps, updates)
    written = interleaved({"write": lambda: write_page(path, told)}, rounds, warm_up=1)["write"]
    size = path.stat().st_size / 1e3
    shown = opened(path, rounds) if browser.MISSING is None else [np.nan]
    seconds = (written[:, 0].min(), np.median(written[:, 1]), min(shown), np.median(shown))
    return f"| {name} | {layers} | {steps:,} | {size:,.0f} | {' | '.join(f'{value:.3f}' for value in seconds)} |"


def opened(path: Path, rounds: int) -> list[float]:
    """Seconds from the beginning of the navigation to the end of `load`, when everything is drawn."""
    with browser.chromium() as chromium:
        found = []
        for _ in range(rounds):
            chromium.open(path.as_uri())
            found.append(chromium("return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"))
    return found


if __name__ == "__main__":
    main()
