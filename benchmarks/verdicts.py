"""How often is the verdict right, how early, and how do other tools' rules do on the same runs?

    python benchmarks/verdicts.py                        # the half that thresholds may be chosen on
    python benchmarks/verdicts.py --half final           # the half kept for the figure
    python benchmarks/verdicts.py --stop                 # what stopping hopeless runs saves
    python benchmarks/verdicts.py --mnist mnist.npz      # with the runs on MNIST (Keras' file)

The first call trains every run and keeps what was recorded in `--cache`; later calls read it in seconds. To 182 runs of
feed-forward nets (`verdict_runs.py`) come 55 of recurrent, attention and generative ones (`verdict_sequences.py`, which
says what their labels rest on); those are judged without being told a baseline, as a person's own models are.

`undecided` is no answer: after one epoch it is counted beside the others, from the second on it is wrong.

A label comes from how the run was made (`verdict_runs.py`) and is confirmed by training, never by the rules under test:

- A run *trains* if the mean loss of its last epoch is at most 0.6 of the loss of the best constant prediction (entropy
  of the labels, variance of the targets), or, for slow ones, if the loss fell in every epoch of the second half, by at
  least a tenth of the constant's loss in all, and ends below it. It *fails* at 0.8 or more, or if the loss is not
  finite. The budget is 3 to 20 epochs, mostly 10; a verdict sees one, two, or all.
- healthy: trains. Sick: fails, and the same run without its fault (the sound initializer, biases 0, the sane rate, no
  jump, with shortcuts or normalization where depth is the fault) trains within the budget.
- vanishing must fail with ten times the rate too, or it would be stalled; exploding with a hundredth of it, or it would
  be unstable.
- dead: at the end of epoch 1 some layer has no living ReLU unit on the probe batch. saturated: some layer has
  half its activations at the ends of their range then.
- sick runs that were not made dead but in which a whole layer of ReLU units died are two things at once: left out.

What is not confirmed is dropped and counted.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import verdict_record  # noqa: E402
from verdict_runs import LABELS, QUICK, RUNS, Run, half_of  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("tune", "final"), default="tune")
    parser.add_argument("--quick", action="store_true", help="ten runs of the half for tuning, end to end")
    parser.add_argument("--stop", action="store_true", help="what stopping hopeless runs saves")
    parser.add_argument("--cache", type=Path, default=ROOT / "mlruns" / "verdicts", help="folder of the recorded runs")
    parser.add_argument("--mnist", help="mnist.npz as Keras distributes it; without it the runs on MNIST are left out")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--jobs", type=int, default=2, help="processes that train")
    parser.add_argument("--record", action="store_true", help="train what is missing of both halves, and stop there")
    args = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

    halves = half_of(RUNS)
    runs = [run for run in RUNS if args.mnist or run.recipe.data != "mnist"]
    sequences = [] if args.quick else all_sequences()
    if args.quick:
        runs = [run for run in runs if run.name in QUICK]
        assert all(halves[run.name] == "tune" for run in runs)
    elif not args.record:
        runs = [run for run in runs if halves[run.name] == args.half]
        halves = half_of(sequences)
        sequences = [run for run in sequences if halves[run.name] == args.half]
    record(runs, args.cache, args.mnist, args.jobs)
    record_sequences(sequences, args.cache, args.jobs)
    if args.record:
        return
    from verdict_report import Recorded, report

    recorded = [Recorded(run, args.cache / run.recipe.key) for run in confirm_all(runs, args.cache)]
    if sequences:
        kept = confirm_sequences(sequences, args.cache)
        recorded += [Recorded(run, args.cache / run.key("fault")) for run in kept]
    report(recorded, "quick" if args.quick else args.half, stop=args.stop, json_path=args.json)


def all_sequences() -> list:
    """Return the runs of recurrent, attention and generative nets, which import Keras."""
    from verdict_sequences import RUNS

    return RUNS


def record_sequences(runs: list, cache: Path, jobs: int) -> None:
    """Train what the cache lacks of them."""
    missing = [
        run.name for run in runs if not all((cache / run.key(which) / "result.json").exists() for which in run.parts)
    ]
    if missing:
        tasks = [(name, cache) for name in missing]
        with multiprocessing.get_context("spawn").Pool(jobs, _start, maxtasksperchild=4) as pool:
            for n, _ in enumerate(pool.imap_unordered(_train_sequence, tasks), 1):
                print(f"\r{n} of {len(tasks)} sequence and generative runs", end="", file=sys.stderr)
        print(file=sys.stderr)


def _train_sequence(task: tuple) -> None:
    import verdict_sequences

    name, cache = task
    verdict_sequences.record(next(run for run in verdict_sequences.RUNS if run.name == name), cache)


def confirm_sequences(runs: list, cache: Path) -> list:
    """Return those of them whose labels hold; print which were dropped."""
    import verdict_sequences

    reasons = {run.name: verdict_sequences.refuted(run, cache) for run in runs}
    kept = [run for run in runs if not reasons[run.name]]
    print(f"{len(kept)} of {len(runs)} sequence and generative runs confirmed")
    for name, reason in reasons.items():
        if reason:
            print(f"  dropped, {reason}: {name}")
    return kept


def record(runs: list[Run], cache: Path, mnist: str | None, jobs: int) -> None:
    """Train what the cache lacks, long ones first."""
    missing = {}
    for run in runs:
        if not (cache / run.recipe.key / "history.npz").exists():
            missing[run.recipe.key] = (run.recipe, True)
        for recipe in (run.cure, run.other):
            if recipe and not (cache / recipe.key / "result.json").exists():
                missing.setdefault(recipe.key, (recipe, False))
    train_all(missing, cache, mnist, jobs)


def train_all(wanted: dict[str, tuple], cache: Path, mnist: str | None, jobs: int) -> None:
    """Train recipes, given as (recipe, whether to record it) by their keys, of which the cache has no result."""
    missing = {key: task for key, task in wanted.items() if task[1] or not (cache / key / "result.json").exists()}
    if not missing:
        return
    began, failed = time.perf_counter(), 0
    order = sorted(missing.values(), key=lambda task: (not task[1], -task[0].depth))
    context = multiprocessing.get_context("spawn")
    tasks = [(recipe, cache, mnist, full) for recipe, full in order]
    # A fresh process now and then gives back what TensorFlow leaks; ProcessPoolExecutor hangs then (gh-115634).
    with context.Pool(jobs, _start, maxtasksperchild=40) as pool:
        for n, error in enumerate(pool.imap_unordered(_train, tasks), 1):
            if error:
                print(f"\n{error}", file=sys.stderr)
                failed += 1
            print(f"\r{n} of {len(tasks)} trainings, {time.perf_counter() - began:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    if failed:
        sys.exit(f"{failed} trainings failed")


def _train(task: tuple) -> str:
    """Train one recipe in a process of the pool; return what went wrong, "" if nothing did."""
    recipe, cache, mnist, full = task
    try:
        verdict_record.train(recipe, cache, mnist, record=full)
    except Exception as error:
        return f"{recipe}: {type(error).__name__}: {error}"
    return ""


def _start() -> None:
    import warnings

    import tensorflow as tf

    warnings.filterwarnings("ignore", module="keras")
    # These nets are too small for a second thread to help.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def confirm_all(runs: list[Run], cache: Path) -> list[Run]:
    """Return the runs whose labels hold; print how many were dropped, and why."""
    kept, dropped = [], {}
    for run in runs:
        if reason := refuted(run, cache):
            dropped.setdefault((run.label, reason), []).append(run.name)
        else:
            kept.append(run)
    counts = ", ".join(f"{sum(run.label == label for run in kept)} {label}" for label in LABELS)
    print(f"{len(kept)} of {len(runs)} runs confirmed: {counts}")
    for (label, reason), names in dropped.items():
        print(f"  dropped, {reason}: {len(names)} {label}")
    return kept


def refuted(run: Run, cache: Path) -> str:
    """Return why the label does not hold, "" if it does."""
    ended = _outcome(run.recipe, cache)
    if run.label == "healthy":
        return "" if ended == "trains" else "does not train"
    if ended != "fails":
        return "does not fail"
    if _outcome(run.cure, cache) != "trains":
        return "its cure does not train"
    if run.other and _outcome(run.other, cache) == "trains":
        return "another rate trains"
    with np.load(cache / run.recipe.key / "probes.npz") as probes:
        dead, saturated = probes["dead"][1].max(), probes["saturated"][1].max()
        relu = probes["activations"] == "relu"
        killed = np.nanmax(probes["dead"][1:, relu], initial=0)
    if run.label == "dead" and not dead > 0.99:
        return "no layer is dead"
    if run.label == "saturated" and not saturated > 0.5:
        return "no layer is saturated"
    if run.label != "dead" and killed > 0.99:
        return "a layer died as well"
    return ""


def _outcome(recipe: verdict_record.Recipe, cache: Path) -> str:
    result = json.loads((cache / recipe.key / "result.json").read_text())
    return verdict_record.outcome(result["losses"], result["baseline"])


if __name__ == "__main__":
    main()
