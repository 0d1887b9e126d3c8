"""Runs every measurement and writes its table into benchmarks/README.md: `make bench`.

    python benchmarks/bench.py                        # all
    python benchmarks/bench.py overhead-jax growth    # these; the other tables stay as they are
    python benchmarks/bench.py --mnist mnist.npz --cifar10 cifar10.npz    # files, instead of Keras' downloads

Each runs in a process of its own, one after the other, so that none disturbs another. Do nothing else meanwhile.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
# Each table's script with its arguments, and the backend.
TABLES = {
    "overhead-tensorflow": ("overhead.py --rounds 0.6", "tensorflow"),
    "overhead-jax": ("overhead.py mlp lenet resnet --rounds 0.3", "jax"),
    "overhead-torch": ("overhead.py mlp lenet resnet --rounds 0.3", "torch"),
    **{
        name: (f"{name}.py", "tensorflow")
        for name in (
            "rivals",
            "step_time",
            "growth",
            "probes",
            "checkup",
            "start_up",
            "pipeline",
            "recording",
            "pages",
            "sweeps",
        )
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar10", type=Path)
    args = parser.parse_args()
    images = [f"--{name}={path.resolve()}" for name in ("mnist", "cifar10") if (path := getattr(args, name))]
    began, failed = time.perf_counter(), []
    for name in args.tables or TABLES:
        (script, backend), start = TABLES[name], time.perf_counter()
        script, *options = script.split()
        command = [sys.executable, HERE / script, *options, *(images if name == "pipeline" else [])]
        done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            print(f"{name} ended with {done.returncode}\n{done.stderr[-4000:]}\n", flush=True)
            failed.append(name)
            continue
        print(f"{done.stdout.strip()}\n\n{name}: {seconds:.0f} s\n", flush=True)
        write(name, done.stdout.strip())
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def write(name: str, table: str) -> None:
    """Put a table between its markers, and below it the day and the machine."""
    begin, end = f"<!-- {name}: written by bench.py -->", "<!-- end -->"
    page = PAGE.read_text(encoding="utf-8")
    found = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not found.search(page):
        sys.exit(f"{PAGE} has no place for the table: {begin} ... {end}")
    text = f"{table}\n\n{machine()}\n"
    PAGE.write_text(found.sub(lambda _: text, page, count=1), encoding="utf-8")


def machine() -> str:
    packages = ("tensorflow", "keras", "jax", "torch", "mlflow")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (named := re.search(r"model name\s*: (.*)", info.read_text())):
        cpu = named.group(1)
    return (
        f"*{datetime.date.today()}: {os.cpu_count()} cores of {cpu}, no accelerator; Python "
        f"{platform.python_version()}, {versions}.*"
    )


if __name__ == "__main__":
    main()
