"""What random faults do to sweeps and runs: everything must come out as if there had been none.

    python benchmarks/faults.py --faults 200 --seed 0

Real processes, files and servers. A round is a sweep of three seeds or a run of its own, in the embedded database or on
a server, that meets several faults; then the same command is given until it ends well, as a person would, and what is
told to be broken is deleted, where that is what is told. Each result is compared bit for bit with one that met none.
"""

import argparse
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from processes import Server  # noqa: E402

from zoo import GradientHistory  # noqa: E402

WORDS = ("epochs=6", "model.width=8", "dropout.rate=0.2", "deterministic=true", "pictures=false", "verbose=0")
SEEDS = (0, 1, 2)
DAMAGED = ("checkpoint.npz", "gradients.f32", "gradients.json", "journal.jsonl", "delivered.json", "job.json")
TRIES = 4  # of the same command after the last fault
DISK = 24  # MB


@dataclasses.dataclass
class Round:
    """A home of its own, what is trained in it, and what befell it."""

    home: Path
    sweep: bool
    server: Server | None
    rng: random.Random
    told: list[str] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        uri = {"MLFLOW_TRACKING_URI": self.server.address} if self.server else {}
        return {**os.environ, **uri, "GRADIENT_ZOO_HOME": str(self.home), "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}

    @property
    def command(self) -> list[str]:
        """The same sweep again; of a run of its own what its folder can go on from, if it can."""
        train = [sys.executable, str(ROOT / "train.py")]
        if self.sweep:
            return [*train, "-m", f"seed={','.join(map(str, SEEDS))}", *WORDS]
        for folder in self.home.glob("mlruns/runs/*"):
            if (folder / ".state" / "checkpoint.npz").is_file() and (folder / ".state" / "job.json").is_file():
                return [*train, f"resume={folder}"]
        return [*train, "seed=0", *WORDS]

    @property
    def runs(self) -> list[Path]:
        found = [self.home.glob(f"mlruns/{kind}/config.yaml") for kind in ("runs/*", "sweeps/*/*")]
        return [path.parent for paths in found for path in paths]

    def finished(self) -> dict[int, Path]:
        found = {}
        for folder in self.runs:
            try:
                if json.loads((folder / "summary.json").read_text())["status"] == "FINISHED":
                    found[int(re.search(r"^seed: (\d+)", (folder / "config.yaml").read_text(), re.MULTILINE)[1])] = (
                        folder
                    )
            except (OSError, ValueError, KeyError):
                continue
        return found

    def begin(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command, cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def do(self, *words: str) -> int:
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=self.env, capture_output=True, text=True)
        self.told.append(done.stdout + done.stderr)
        return done.returncode


# Faults while something runs: each gets the round and the process.


def killed(round: Round, process: subprocess.Popen) -> None:
    process.kill()


def all_killed(round: Round, process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def a_worker_killed(round: Round, process: subprocess.Popen) -> None:
    children = subprocess.run(["pgrep", "-a", "-P", str(process.pid)], capture_output=True, text=True).stdout
    # loky's resource tracker trains nothing, and tells of its own end at length.
    found = [line.split()[0] for line in children.splitlines() if "resource_tracker" not in line]
    os.kill(int(round.rng.choice(found)) if found else process.pid, signal.SIGKILL)


def interrupted(round: Round, process: subprocess.Popen) -> None:
    os.killpg(process.pid, round.rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))


def server_stopped(round: Round, process: subprocess.Popen) -> None:
    assert round.server
    round.server.stop()
    time.sleep(round.rng.uniform(0, 3))
    round.server.start()


def server_hangs(round: Round, process: subprocess.Popen) -> None:
    assert round.server
    round.server.signal(signal.SIGSTOP)
    time.sleep(round.rng.uniform(0, 6))
    round.server.signal(signal.SIGCONT)


def disk_full(round: Round, process: subprocess.Popen) -> None:
    filler = round.home / "filler"
    try:
        with open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        time.sleep(round.rng.uniform(0, 4))
    filler.unlink(missing_ok=True)


# Faults of files, while nothing runs: what a power cut leaves.


def victim(round: Round) -> Path | None:
    found = [p for name in DAMAGED for p in round.home.glob(f"mlruns/**/.state/{name}")]
    found += list(round.home.glob("mlruns/**/summary.json")) + list(round.home.glob("mlruns/sweeps/*/sweep.json"))
    found += [p.parent.parent / "history.csv" for p in round.home.glob("mlruns/**/.state/checkpoint.npz")]
    found = sorted(p for p in found if p.is_file())
    return round.rng.choice(found) if found else None


def cut(round: Round, path: Path) -> None:
    os.truncate(path, int(path.stat().st_size * round.rng.random()))


def garbled(round: Round, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(round.rng.randint(1, 50)):
        if content:
            content[round.rng.randrange(len(content))] = round.rng.randrange(256)
    path.write_bytes(bytes(content))


def deleted(round: Round, path: Path) -> None:
    path.unlink()


def database_lost(round: Round, path: Path) -> None:
    database = round.home / "mlruns" / "mlflow.db"
    database.unlink(missing_ok=True) if round.rng.random() < 0.5 else database.write_bytes(b"")


def disturb(round: Round) -> None:
    """Let one fault happen."""
    at_rest = round.rng.random() < 0.4 and round.home.joinpath("mlruns").is_dir()
    path = victim(round) if at_rest else None
    if path is not None:
        fault = round.rng.choice([cut, garbled, deleted] + ([] if round.server else [database_lost]))
        fault(round, path)
        round.faults.append(fault.__name__)
        return
    among = [killed, all_killed, interrupted, *([a_worker_killed] if round.sweep else [])]
    among += [server_stopped, server_hangs] if round.server else []
    among += [disk_full] if os.path.ismount(round.home) else []
    fault = round.rng.choice(among)
    process = round.begin()
    time.sleep(round.rng.uniform(0.2, 12))
    if process.poll() is None:
        fault(round, process)
        round.faults.append(fault.__name__)
    if fault in (killed, all_killed, interrupted):
        time.sleep(1)
    try:
        round.told.append(process.communicate(timeout=240)[0])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        round.told.append("hung: " + process.communicate()[0])
    subprocess.run(["pkill", "-9", "-s", str(process.pid)])


def made_good(round: Round, wanted: set[int]) -> None:
    """Do what a person would."""
    for _ in range(TRIES):
        if set(round.finished()) >= wanted:
            break
        process = round.begin()
        round.told.append(process.communicate()[0])
        for path in re.findall(r"error: (/\S+) .*delete", round.told[-1]):
            Path(path).unlink(missing_ok=True)
    for _ in range(2):
        code = round.do("-m", "zoo.tracking", "resend")
        for path in re.findall(r"error: (/\S+) .*delete", round.told[-1]):
            Path(path).unlink(missing_ok=True)
        if not code:
            break
    round.do("-m", "zoo.tracking", "restore")


def results(folder: Path) -> tuple:
    history = GradientHistory.load(folder / "gradients.npz")
    summary = json.loads((folder / "summary.json").read_text())
    return history.variable_norms, history.losses, summary["metrics"], (folder / "history.csv").read_text()


def same(one: tuple, other: tuple) -> bool:
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(one, other, strict=True))


def judged(round: Round, wanted: set[int], expected: dict[int, tuple]) -> Counter:
    """Count what went wrong in a round."""
    from mlflow import MlflowClient

    count: Counter = Counter(faults=len(round.faults))
    done = round.finished()
    count["lost"] = len(wanted - set(done))
    count["wrong"] = sum(not same(results(done[seed]), expected[seed]) for seed in wanted & set(done))
    uri = round.server.address if round.server else f"sqlite:///{round.home}/mlruns/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("gradient-zoo")
    stored = client.search_runs([experiment.experiment_id], "tags.kind = 'run'") if experiment else []
    finished = Counter(run.data.params["seed"] for run in stored if run.info.status == "FINISHED")
    count["not in the store"] = sum(str(seed) not in finished for seed in wanted)
    # Of one folder: where what tells that a run is finished was deleted, a new one in another folder is what was asked.
    folders = Counter(run.data.tags["folder"] for run in stored if run.info.status == "FINISHED")
    count["doubled"] = sum(number - 1 for number in folders.values())
    for run in stored:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
        if run.info.status == "FINISHED" and sorted(steps) != list(range(1, 7)):
            count["wrong"] += 1
    count["still running"] = sum(run.info.status == "RUNNING" for run in stored)
    text = "\n".join(round.told)
    count["tracebacks"], count["hung"] = text.count("Traceback (most recent call last)"), text.count("hung: ")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the homes of the rounds in which anything went wrong")
    arguments = parser.parse_args()
    total: Counter = Counter()
    kinds: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        calm = Round(Path(folder, "calm"), True, None, random.Random(0))
        calm.begin().communicate()
        expected = {seed: results(path) for seed, path in calm.finished().items()}
        number = 0
        while total["faults"] < arguments.faults:
            rng = random.Random(f"{arguments.seed} {number}")
            home = Path(folder, str(number))
            home.mkdir()
            server = None
            mounted = False
            if rng.random() < 0.35:
                Path(folder, f"server {number}").mkdir()
                server = Server(Path(folder, f"server {number}"))
                server.start()
            elif rng.random() < 0.3:
                mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(home)]
                mounted = not subprocess.run(mount, capture_output=True).returncode
            round = Round(home, rng.random() < 0.6, server, rng)
            try:
                for _ in range(rng.randint(2, 6)):
                    disturb(round)
                wanted = set(SEEDS) if round.sweep else {0}
                made_good(round, wanted)
                count = judged(round, wanted, expected)
            finally:
                if server:
                    server.stop()
            faulty = {name: n for name, n in count.items() if n and name != "faults"}
            kinds.update(round.faults)
            total += count
            kind = (
                f"{'sweep' if round.sweep else 'run'}{', server' if server else ''}{', small disk' if mounted else ''}"
            )
            print(
                f"{total['faults']:4d}  round {number} ({kind}): {', '.join(round.faults)}  {faulty or ''}", flush=True
            )
            if faulty and arguments.keep:
                shutil.copytree(home, arguments.keep / str(number), dirs_exist_ok=True)
                (arguments.keep / f"{number}.txt").write_text("\n---\n".join(round.told))
            if mounted:
                subprocess.run(["umount", "--lazy", str(home)])
            number += 1
    print("\n" + ", ".join(f"{n} {name}" for name, n in kinds.most_common()))
    for name in ("faults", "lost", "not in the store", "doubled", "wrong", "still running", "tracebacks", "hung"):
        print(f"{name:17s}{total[name]}")
    sys.exit(any(n for name, n in total.items() if name != "faults"))


if __name__ == "__main__":
    main()
