"""Does a run that is trained with others as one come to what it comes to by itself?

    python benchmarks/packed_equality.py                 # 48 runs, packed and one by one; some minutes
    python benchmarks/packed_equality.py --kills 20      # the packed ones in a process that is killed 20 times
    python benchmarks/packed_equality.py --only 0 5      # some of the kinds

16 kinds of three runs each, together every activation, initializer, optimizer, schedule, clipping, regularizer and
dropout; the numbers of each run are its own where a kind says three. The last run of the first kind leaps beyond the
numbers. Shown is the largest relative difference in the first 100 steps: of losses, and of layers' gradient norms, to
the norm of all. Beside it what rounding alone does: the same between a run by itself and once more, with the last bit
of one of its first weights changed.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hydra
import numpy as np

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo.config import CONF
from zoo.running.record import Job

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

GIVEN = "model.depth=4 model.width=24 data.limit=500 batch_size=8 epochs=3 verbose=1 tracking=none pictures=false"
KINDS = (
    "optimizer=sgd activation=tanh optimizer.learning_rate=0.1,0.01,3e38",
    "optimizer=momentum activation=gelu regularizer=l2 regularizer.l2=1e-4,1e-3,1e-2",
    "optimizer=nesterov activation=prelu regularizer=l1_l2 regularizer.l1=1e-5,1e-4,1e-3",
    "optimizer=adam activation=relu dropout.rate=0.1,0.3,0.5",
    "optimizer=adamw optimizer.weight_decay=0.1,0.01,0.001 schedule=cosine schedule.warmup=0.1 clipping=value",
    "optimizer=rmsprop activation=swish clipping=normalize model.residual=1",
    "optimizer=adagrad activation=relu clipping=whole_gradient initializer=lsuv normalization=layer",
    "optimizer=lion activation=softplus clipping=global_norm clipping.global_clipnorm=0.1,0.3,1",
    "optimizer=ema_momentum activation=leaky_relu clipping=norm clipping.clipnorm=0.01,0.1,1",
    "optimizer=sgd activation=tanh normalization=batch schedule=step schedule.factor=0.1,0.3,0.5",
    "optimizer=adam activation=elu regularizer=orthogonal schedule=exponential schedule.decay_rate=0.99,0.999,0.9",
    "optimizer=adam activation=selu initializer=lecun_normal schedule=linear schedule.power=1,2,3",
    "optimizer=momentum activation=softsign initializer=orthogonal schedule=inverse_time",
    "optimizer=sgd activation=sigmoid initializer=glorot_uniform schedule=inverse_scaling schedule.power=0.1,0.25,0.5",
    "optimizer=momentum activation=linear regularizer=l1 regularizer.l1=1e-5,1e-4,1e-3 dropout=dropout",
    "optimizer=momentum activation=relu normalization=batch dropout.rate=0.1,0.2,0.4",
)
INITIALIZERS = "glorot_normal he_uniform lecun_uniform mean_field random_normal random_uniform alexnet zeros he_normal"
STEPS = 100
RUNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="*", help="numbers of kinds")
    parser.add_argument("--kills", type=int, default=0, help="of the process of the packed runs")
    parser.add_argument("--packed", type=Path, help="go on with the packed runs in this folder, alone")
    args = parser.parse_args()
    only = args.only if args.only else range(len(KINDS))
    if args.packed:
        pack_all(only, args.packed)
        return
    with tempfile.TemporaryDirectory() as home:
        os.environ["GRADIENT_ZOO_HOME"] = home
        folder = Path(home)
        if args.kills:
            killed = kill(args.kills, only, folder / "packed")
            print(f"killed {killed} times while it trained, each time gone on with\n")
        else:
            pack_all(only, folder / "packed")
        print("| kind | losses | gradient norms | verdicts equal | rounding alone: losses | gradient norms |")
        print("| --- | --- | --- | --- | --- | --- |")
        found = [line(kind, folder) for kind in only]
    worst = [max(column) for column in zip(*(numbers for numbers, _ in found), strict=True)]
    equal = sum(count for _, count in found)
    print(
        f"| all | {worst[0]:.1e} | {worst[1]:.1e} | {equal} of {RUNS * len(found)} | {worst[2]:.1e} | {worst[3]:.1e} |"
    )


def words_of(kind: int) -> list[tuple[str, ...]]:
    """The words of each run of a kind."""
    words = KINDS[kind].split()
    if not any(word.startswith("initializer=") for word in words):
        words.append(f"initializer={INITIALIZERS.split()[kind % len(INITIALIZERS.split())]}")
    if kind == 0:
        words.remove(words[-1])  # of a large rate: he_normal, as the default is
    parted = [(word.partition("=")[0], word.partition("=")[2].split(",")) for word in words]
    each = [tuple(f"{key}={values[k % len(values)]}" for key, values in parted) for k in range(RUNS)]
    return [(*GIVEN.split(), *given, f"seed={k}") for k, given in enumerate(each)]


def job(words: tuple[str, ...], folder: Path) -> tuple:
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        cfg = hydra.compose("config", list(words))
    return cfg, Job(folder, folder.parent, words, {"model": "mlp", "data": "digits"}, again=True)


def pack_all(only, folder: Path) -> None:
    """Do the runs of each kind as one."""
    from zoo.running import pack, reuse
    from zoo.startup import import_keras

    reuse.expect_many()
    import_keras()
    print("ready", flush=True) if "--packed" in sys.argv else None
    for kind in only:
        pack.run_pack([job(words, folder / str(kind) / str(k)) for k, words in enumerate(words_of(kind))])


def kill(times: int, only, folder: Path) -> int:
    """Do the packed runs in a process that is killed so often at random, and in one that is not; return how often."""
    command = [sys.executable, __file__, "--packed", str(folder), "--only", *map(str, only)]
    rng, killed, longest = random.Random(0), 0, 4.0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        if killed == times:
            if process.wait():
                sys.exit(f"the packed runs ended with {process.returncode}")
            return killed
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.5, longest))
            return killed  # all is done
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        longest += 1.0  # so that it gets on


def line(kind: int, home: Path) -> tuple[list[float], int]:
    """Do the runs of a kind by themselves; print its line; return its numbers, and how many verdicts are equal."""
    from zoo.running import reuse
    from zoo.running.run import run

    reuse._many = False  # each compiles its own, as a command of its own does
    each = words_of(kind)
    for k, words in enumerate(each):
        run(*job(words, home / "alone" / str(kind) / str(k)))
    with nudged():
        run(*job(each[0], home / "nudged" / str(kind) / "0"))
    pairs = [(home / "packed" / str(kind) / str(k), home / "alone" / str(kind) / str(k)) for k in range(RUNS)]
    apart = np.max([difference(*pair) for pair in pairs], 0)
    alone = difference(home / "nudged" / str(kind) / "0", home / "alone" / str(kind) / "0")
    equal = sum(verdict(a) == verdict(b) for a, b in pairs)
    said = re.sub(r"\b\w+\.(?=[a-z_]+=)", "", KINDS[kind])
    print(row(said, [*apart, *alone], equal, 1), flush=True)
    return [*apart, *alone], equal


def row(said: str, numbers: list[float], equal: int, kinds: int) -> str:
    shown = [f"{number:.1e}" for number in numbers]
    return f"| {' | '.join([said, *shown[:2], f'{equal} of {RUNS * kinds}', *shown[2:]])} |"


@contextlib.contextmanager
def nudged() -> Iterator[None]:
    """Within it the last bit of the largest of a model's first weights is another one."""
    from zoo.running import make
    from zoo.telemetry.layers import replaced

    complete = make.complete

    def completed(model, *batch) -> None:
        complete(model, *batch)
        weights = model.trainable_variables[0].numpy()
        place = np.unravel_index(np.argmax(np.abs(weights)), weights.shape)
        weights[place] = np.nextafter(weights[place], np.float32(np.inf))
        model.trainable_variables[0].assign(weights)

    with replaced((make, "complete", completed)):
        yield


def difference(folder: Path, other: Path) -> list[float]:
    """Return the largest relative differences of losses and gradient norms in the first steps; infinite if one ends."""
    from zoo.telemetry.history import GradientHistory

    ours, theirs = (GradientHistory.load(path / "gradients.npz") for path in (folder, other))
    if len(ours) != len(theirs):
        return [np.inf, np.inf]
    whole = theirs.global_norm[:STEPS, None]
    with np.errstate(invalid="ignore", over="ignore"):
        norms = [history.norms[:STEPS] / whole for history in (ours, theirs)]
        losses = np.abs(ours.losses[:STEPS] / theirs.losses[:STEPS] - 1)
        apart = np.abs(norms[0] - norms[1])
    both = [np.isfinite(history.losses[:STEPS]) for history in (ours, theirs)]
    if (both[0] != both[1]).any():
        return [np.inf, np.inf]
    return [float(np.max(losses[both[0]], initial=0.0)), float(np.nanmax(np.where(np.isfinite(apart), apart, 0.0)))]


def verdict(folder: Path) -> tuple:
    said = json.loads((folder / "summary.json").read_text())
    found = said["verdict"] or {}
    return said["status"], said.get("stopped"), *(found.get(name) for name in ("name", "cause", "layer"))


if __name__ == "__main__":
    main()
