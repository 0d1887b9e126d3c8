"""Jobs a minute of a sweep, beside a shell loop over `python train.py` and one over the shortest plain script.

    python benchmarks/sweeps.py                    # 48 jobs; five minutes on two cores
    python benchmarks/sweeps.py --jobs 300 --loop 0    # the sweep alone: does the workers' memory stay flat?
    python benchmarks/sweeps.py --jobs 8 --parts    # where the time of a job goes

A job is an MLP of 5 x 64 on the digits, 3 epochs. The loops are measured in two halves, before and after the sweep;
they do fewer jobs, for they take as long for each. Memory is the largest resident set of any worker, looked up every
half second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = ("epochs=3", "verbose=0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=48)
    parser.add_argument("--loop", type=int, default=6, help="jobs of each loop")
    parser.add_argument("--parts", action="store_true", help="instead, where the processor's time goes within a job")
    parser.add_argument("--epochs", type=int, default=3, help="of a job of --parts")
    args = parser.parse_args()
    if args.parts:
        parts(args.jobs, args.epochs)
        return
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "GRADIENT_ZOO_HOME": home, "TF_CPP_MIN_LOG_LEVEL": "3"}
        half = args.loop // 2
        loops = {"train.py": [], "plain": []}
        for name in loops if half else ():
            loops[name].append(loop(name, range(half), home, env))
        seconds, memory = sweep(args.jobs, env)
        for name in loops if half else ():
            loops[name].append(loop(name, range(half, args.loop), home, env))
    ours = args.jobs / seconds * 60
    print("| what | jobs | jobs a minute | the sweep is faster by |")
    print("| --- | --- | --- | --- |")
    print(f"| `python train.py -m seed=...` | {args.jobs} | {ours:.1f} | |")
    shown = {"train.py": "shell loop, `python train.py`", "plain": "shell loop, plain Keras and MLflow script"}
    for name, halves in loops.items():
        if halves:
            rate = args.loop / sum(halves) * 60
            each = " and ".join(f"{half / part * 60:.1f}" for part in halves)
            print(f"| {shown[name]} | {args.loop} | {rate:.1f} ({each}) | {ours / rate:.1f} |")
    print(f"\nlargest worker: {memory / 2**30:.2f} GiB over {args.jobs} jobs")


def parts(jobs: int, epochs: int) -> None:
    """Print the processor seconds a job of each part: all made anew, what was compiled used again, trained as one."""
    found = []
    for way in ("anew", "again", "packed"):
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, "EPOCHS": str(epochs)}
            command = [sys.executable, ROOT / "benchmarks" / "sweep_parts.py", way, str(jobs), home]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    print("| part of a job, processor s | each compiled anew | compiled once | trained as one |")
    print("| --- | --- | --- | --- |")
    for part in found[0]:
        print(f"| {part} | {' | '.join(f'{way.get(part, 0.0):.3f}' for way in found)} |")
    print(f"| all of it | {' | '.join(f'{sum(way.values()):.2f}' for way in found)} |")


def loop(name: str, seeds: range, home: str, env: dict) -> float:
    """Return the seconds of one command a job."""
    began = time.perf_counter()
    for seed in seeds:
        if name == "plain":
            words = [ROOT / "benchmarks" / "plain.py", str(seed), f"sqlite:///{home}/plain.db"]
        else:
            words = [ROOT / "train.py", f"seed={seed}", *WORDS]
        subprocess.run([sys.executable, *words], env=env, check=True, capture_output=True)
    return time.perf_counter() - began


def sweep(jobs: int, env: dict) -> tuple[float, int]:
    """Return the seconds of one sweep, and the bytes of its largest worker."""
    seeds = ",".join(map(str, range(jobs)))
    began, largest, over = time.perf_counter(), 0, threading.Event()
    process = subprocess.Popen(
        [sys.executable, ROOT / "train.py", "-m", f"seed={seeds}", *WORDS], env=env, stdout=subprocess.DEVNULL
    )

    def watch() -> None:
        nonlocal largest
        while not over.wait(0.5):
            largest = max(largest, *map(resident, children(process.pid)), 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    over.set()
    watcher.join()
    if code:
        sys.exit(f"the sweep ended with {code}")
    return seconds, largest


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
