"""Jobs a minute of a sweep, beside a shell loop over `python train.py` and one over the shortest plain script.

    python benchmarks/sweeps.py                    # 48 jobs of one architecture, packed; five minutes on two cores
    python benchmarks/sweeps.py --loop 0 --words hydra.launcher.pack=1    # none is trained with others
    python benchmarks/sweeps.py --jobs 240 --loop 0 --rates 10 --plain 24    # seeds by rates; plain Keras
    python benchmarks/sweeps.py --loop 0 --kinds   # 48 networks: 8 depths by 6 activations
    python benchmarks/sweeps.py --jobs 1000 --loop 0 --words epochs=1 data.limit=300    # memory, as it goes
    python benchmarks/sweeps.py --jobs 8 --parts    # where the time of a job goes
    python benchmarks/sweeps.py --jobs 5 --parts --words model=lenet data=mnist data.path=mnist.npz data.limit=2000

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
KINDS = ("model.depth=range(3,11)", "activation=relu,tanh,elu,sigmoid,swish,softplus")
RATES = tuple(round(0.0003 * 1.5**k, 6) for k in range(20))
LOOPS = {
    "train.py": "shell loop, `python train.py`",
    "plain": "shell loop, plain Keras and MLflow script",
    "keras": "loop over plain Keras in one process, nothing recorded",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=48)
    parser.add_argument("--loop", type=int, default=6, help="jobs of each shell loop")
    parser.add_argument("--plain", type=int, default=0, help="jobs of a loop over plain Keras in one process")
    parser.add_argument("--rates", type=int, default=1, help="learning rates, by which there are fewer seeds")
    parser.add_argument("--kinds", action="store_true", help="each job another network, and no seeds")
    parser.add_argument("--words", nargs="*", default=[], help="further words of every job")
    parser.add_argument("--parts", action="store_true", help="instead, where the processor's time goes within a job")
    args = parser.parse_args()
    words = [*WORDS, *args.words]
    if args.parts:
        parts(args.jobs, words)
        return
    swept: list[str] = [*KINDS] if args.kinds else [f"seed=range({args.jobs // args.rates})"]
    if args.rates > 1:
        swept.append(f"optimizer.learning_rate={','.join(map(str, RATES[: args.rates]))}")
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "GRADIENT_ZOO_HOME": home, "TF_CPP_MIN_LOG_LEVEL": "3"}
        counts = {"train.py": args.loop, "plain": args.loop, "keras": args.plain}
        halves = {name: [range(count // 2), range(count // 2, count)] for name, count in counts.items() if count}
        loops = {name: [loop(name, first, words, home, env)] for name, (first, _) in halves.items()}
        seconds, memory = sweep([*swept, *words], Path(home), env)
        for name, (_, second) in halves.items():
            loops[name].append(loop(name, second, words, home, env))
    done = memory[-1][0]
    ours = done / seconds * 60
    print("| what | jobs | jobs a minute | the sweep is faster by |")
    print("| --- | --- | --- | --- |")
    said = " ".join(word if len(word) < 40 else f"{word.partition('=')[0]}=..." for word in [*swept, *args.words])
    print(f"| `python train.py -m {said}` | {done} | {ours:.1f} | |")
    for name, taken in loops.items():
        rate = counts[name] / sum(taken) * 60
        each = " and ".join(f"{len(half) / part * 60:.1f}" for half, part in zip(halves[name], taken, strict=True))
        print(f"| {LOOPS[name]} | {counts[name]} | {rate:.1f} ({each}) | {ours / rate:.1f} |")
    print(f"\nlargest worker: {max(held for _, held in memory) / 2**30:.2f} GiB over {done} jobs")
    marks = [next(held for jobs, held in memory if jobs >= done * k / 4) / 2**30 for k in (1, 2, 3, 4)]
    print(f"after each quarter of them: {', '.join(f'{mark:.2f}' for mark in marks)}")


def parts(jobs: int, words: list[str]) -> None:
    """Print the processor seconds a job of each part: all made anew, what was compiled used again, trained as one."""
    found = []
    for way in ("anew", "again", "packed"):
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, ROOT / "benchmarks" / "sweep_parts.py", way, str(jobs), home, *words]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    print("| part of a job, processor s | each compiled anew | compiled once | trained as one |")
    print("| --- | --- | --- | --- |")
    for part in found[0]:
        print(f"| {part} | {' | '.join(f'{way.get(part, 0.0):.3f}' for way in found)} |")
    print(f"| all of it | {' | '.join(f'{sum(way.values()):.2f}' for way in found)} |")


def loop(name: str, seeds: range, words: list[str], home: str, env: dict) -> float:
    """Return the seconds of one command a job; of the loop in one process those after its imports."""
    if name == "keras":
        command = [sys.executable, ROOT / "benchmarks" / "plain_loop.py", str(seeds.start), str(seeds.stop)]
        return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
    began = time.perf_counter()
    for seed in seeds:
        if name == "plain":
            command = [ROOT / "benchmarks" / "plain.py", str(seed), f"sqlite:///{home}/plain.db"]
        else:
            command = [ROOT / "train.py", f"seed={seed}", *words]
        subprocess.run([sys.executable, *command], env=env, check=True, capture_output=True)
    return time.perf_counter() - began


def sweep(words: list[str], home: Path, env: dict) -> tuple[float, list[tuple[int, int]]]:
    """Return the seconds of one sweep; and as it went, how many jobs had ended and the bytes of its largest worker."""
    began, seen, over = time.perf_counter(), [(0, 0)], threading.Event()
    process = subprocess.Popen([sys.executable, ROOT / "train.py", "-m", *words], env=env, stdout=subprocess.DEVNULL)

    def look() -> None:
        ended = sum(1 for _ in (home / "mlruns" / "sweeps").glob("*/*/summary.json"))
        seen.append((ended, max(map(resident, children(process.pid)), default=0) or seen[-1][1]))

    def watch() -> None:
        while not over.wait(0.5):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    over.set()
    watcher.join()
    look()
    if code:
        sys.exit(f"the sweep ended with {code}")
    return seconds, seen


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
