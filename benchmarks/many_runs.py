"""A store with 1,000 runs: does it take long to compare them, or a new run long to start?

    python benchmarks/many_runs.py

One real run is made; its folder and everything that MLflow was told of it is recorded 1,000 times, with another seed.
Then the comparison of all of them, and the time to a new run's first training step, beside that with an empty store.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from side_by_side import interleaved, ratio
from start_up import FIRST

from zoo.archive.run import read_columns
from zoo.tracking import RunLog, embedded_uri, flatten

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full, empty = Path(folder, "full"), Path(folder, "empty")
        Path(folder, "first_step.py").write_text(FIRST)

        def command(home: Path, *words: str) -> str:
            env = {**os.environ, "GRADIENT_ZOO_HOME": str(home), "PYTHONPATH": f"{folder}:{ROOT}"}
            done = subprocess.run([sys.executable, *words], env=env, check=True, capture_output=True, text=True)
            return done.stdout

        for home in (full, empty):
            command(home, str(ROOT / "train.py"), "epochs=3", "verbose=0")
        began = time.perf_counter()
        record(full, args.runs - 1)
        print(f"{args.runs:,} runs were recorded in {time.perf_counter() - began:.0f} s.\n")

        seconds = []
        for _ in range(args.rounds):
            began = time.perf_counter()
            printed = command(full, "-m", "zoo.report", "")
            seconds.append(time.perf_counter() - began)
            assert f"{args.runs}" in printed, printed[-2000:]
        first = [str(ROOT / "train.py"), "+callbacks.first={_target_: first_step.Stop}"]
        tasks = {home: lambda home=home: command(home, *first) for home in (full, empty)}
        times = {home: t[:, 0] for home, t in interleaved(tasks, args.rounds, warm_up=0).items()}
        print("| runs in the store | `python -m zoo.report`, s | to a first step, s | with an empty store, s | ratio |")
        print("| --- | --- | --- | --- | --- |")
        shown = " | ".join(f"{np.median(times[home]):.2f}" for home in (full, empty))
        compared = f"{np.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        print(f"| {args.runs:,} | {compared} | {shown} | {ratio(times[full], times[empty])} |")


def record(home: Path, count: int) -> None:
    """Record the run in `home` so many times more."""
    (source,) = (home / "mlruns" / "runs").iterdir()
    config = OmegaConf.to_container(OmegaConf.load(source / "config.yaml"))
    history = read_columns(source / "history.csv")
    for seed in range(1, count + 1):
        folder = source.with_name(f"{source.name}-{seed}")
        shutil.copytree(source, folder)
        name, summary = f"mlp on digits seed={seed}", json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"name": name, "overrides": [f"seed={seed}"]}))
        tags = {"kind": "run", "model": "mlp", "data": "digits", "folder": folder, "overrides": f"seed={seed}"}
        uri = embedded_uri(home)
        run = RunLog.begin(folder, home, experiment="gradient-zoo", uri=uri, name=name, tags=tags)
        run.log_params(flatten(config | {"seed": seed}))
        for epoch in range(len(history["loss"])):
            run.log_metrics({name: values[epoch] for name, values in history.items()}, step=epoch + 1)
        run.set_tags({"verdict": "healthy"})
        run.log_files(sorted(path.name for path in folder.iterdir() if path.is_file()))
        run.end("FINISHED")


if __name__ == "__main__":
    main()
