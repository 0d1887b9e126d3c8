"""Measure every example of docs/articles.md, with its spread over seeds, and write both pages' tables.

    python benchmarks/articles.py            # what is missing, or older than its configs; `make articles` is the same
    python benchmarks/articles.py --anew     # all of it
    python benchmarks/articles.py --quick    # one seed, two epochs, prints only

Each run is a real one (`zoo.running`): an experiment of `conf/experiment`, and the words that its sweep, or a cure laid
over it, adds. What was measured is kept in docs/articles.json with the values of the configs it was measured with, the
versions and the day. A row is said to be better or worse than the first of its table where the 95 % interval of the
difference between runs of the same seed leaves out 0 (paired t), else "no difference seen".
"""

import argparse
import functools
import importlib.metadata
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from article_examples import CURES, EXAMPLES  # noqa: E402
from article_printed import drawn  # noqa: E402
from article_runs import ROOT, Setting, composed, jobs, measure, values_of  # noqa: E402
from article_tables import cured, cures, example_table, filled, find  # noqa: E402

PAGES = {"en": ROOT / "docs" / "articles.md", "zh": ROOT / "docs" / "articles.zh.md"}
KEPT = ROOT / "docs" / "articles.json"
PICTURE = ROOT / "docs" / "articles_cosine.svg"
DONE = ROOT / "mlruns" / "articles.jsonl"  # the runs of a measurement that was cut off: the next one goes on from them
RUNS_A_PROCESS = 20  # each leaves some MB behind that only the process's end gives back
ELSEWHERE = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # oneDNN computes as where there is no AVX-512
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")


def _measure(job: tuple[Setting, str], more: tuple[str, ...]) -> dict:
    return measure(*job, *more)


def measure_all(
    todo: list[tuple[Setting, str]],
    processes: int,
    more: tuple[str, ...],
    keep: Path | None = None,
    environment: dict[str, str] | None = None,
) -> list[dict]:
    """Do these runs, `processes` at a time; say how far it is."""
    # One core a process: two processes that each spread over both cores would wait for each other.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= environment or {}
    rows, began = [], time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    # Not a ProcessPoolExecutor: on Python 3.11 it waits forever once its processes have had their runs.
    with spawn.Pool(processes, maxtasksperchild=RUNS_A_PROCESS) as pool:
        tasks = pool.imap_unordered(functools.partial(_measure, more=more), todo)
        for done, row in enumerate(tasks, start=1):
            rows.append(row)
            if keep:
                with keep.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            left = (time.perf_counter() - began) / done * (len(todo) - done) / 60
            told = f"{row['experiment']} {row['words']} {row['repeat']}  {row['verdict']}  {row['seconds']:.0f} s"
            print(f"{done}/{len(todo)}  {told}  {left:.0f} min left", flush=True)
    return rows


# What is kept.


def read_kept() -> dict:
    """Return what docs/articles.json holds."""
    return json.loads(KEPT.read_text()) if KEPT.is_file() else {"versions": {}, "base": {}, "rows": [], "printed": {}}


def stale(kept: dict) -> list[Setting]:
    """Return the settings whose configs have other values now than when they were measured.

    A key that is new counts for nothing, where it has the value that it has without an experiment.
    """
    base = values_of(None, "")
    if any(base.get(key, value) != value for key, value in kept["base"].items()):
        return [(row["experiment"], row["words"]) for row in kept["rows"]]
    found = []
    for row in kept["rows"]:
        now = values_of(row["experiment"], row["words"])
        differs = {key: value for key, value in now.items() if base.get(key, _NO_KEY) != value}
        gone = [key for key, value in row["values"].items() if now.get(key, _NO_KEY) != value]
        if gone or any(key not in row["values"] and key in kept["base"] for key in differs):
            found.append((row["experiment"], row["words"]))
    return found


_NO_KEY = object()


def merged(kept: dict, rows: list[dict], anew: set[Setting]) -> dict:
    """Return what is kept with rows that were measured now; of the settings in `anew` the old ones go."""
    base = values_of(None, "")
    wanted = {setting: None for setting, _ in jobs()}
    runs: dict[Setting, dict[str, dict]] = {setting: {} for setting in wanted}
    for row in kept["rows"]:
        setting = (row["experiment"], row["words"])
        if setting in wanted and setting not in anew:
            runs[setting] |= row["runs"]
    for row in rows:
        told = {key: row[key] for key in ("verdict", "day", "metrics")}
        runs[row["experiment"], row["words"]][row["repeat"]] = told
    found = []
    for (experiment, words), repeats in runs.items():
        now = values_of(experiment, words)
        values = {key: value for key, value in now.items() if base.get(key, _NO_KEY) != value}
        found.append(
            {"experiment": experiment, "words": words, "values": values, "runs": dict(sorted(repeats.items()))}
        )
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    printed = kept.get("printed") if kept.get("versions") == versions else None
    return {"versions": versions, "base": base, "rows": found, "printed": printed or drawn()}


def measure_elsewhere(kept: dict, processes: int) -> None:
    """Do what cured once more with another processor's rounding: a network at the mark may fall below it there."""
    settings = {(setting, words) for words, _, settings, *_ in CURES for setting in settings}
    runs = {
        ((row["experiment"], row["words"]), repeat): run
        for row in kept["rows"]
        if (row["experiment"], row["words"]) in settings and cured(find(kept, row["experiment"], row["words"]))
        for repeat, run in row["runs"].items()
    }
    todo = [job for job, run in runs.items() if "elsewhere" not in run]
    for row in measure_all(todo, processes, (), environment=ELSEWHERE) if todo else []:
        runs[(row["experiment"], row["words"]), row["repeat"]]["elsewhere"] = row["metrics"]["test_accuracy"]


def draw_cosine(path: Path) -> None:
    """Draw article 002's cosine decay as printed and as meant, as the two configs schedule it."""
    import matplotlib
    from hydra.utils import instantiate

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    steps = 410
    matplotlib.rcParams["svg.hashsalt"] = "articles"  # the same picture each time
    figure, axes = plt.subplots(figsize=(5, 2.6), layout="constrained")
    for factor, label in ((2, r"$\eta\,(1+\cos(\pi t/T))$"), (1, r"$\eta\,(1+\cos(\pi t/T))/2$")):
        cfg = composed("printed_cosine", "")
        cfg.steps = steps
        del cfg.schedule.warmup  # ours, not Keras'
        cfg.optimizer.learning_rate *= factor
        schedule = instantiate(cfg.schedule)
        axes.plot(range(steps), [float(schedule(t)) for t in range(steps)], label=label)
    axes.set(xlabel="t", xticks=[0, steps], xticklabels=["0", "T"], yticks=[0, 0.1, 0.2], yticklabels=["0", "η", "2η"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="measure all of it again")
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs; print the English tables only")
    parser.add_argument("--cifar10", help="an .npz file of CIFAR-10 in place of Keras' download")
    parser.add_argument("--processes", type=int, default=(os.cpu_count() or 1) + 1)  # one always waits for something
    args = parser.parse_args()
    began, kept = time.perf_counter(), read_kept()
    if args.quick:
        todo = [job for job in jobs() if job[1] in ("seed=0", "data.fold=0 seed=0")]
        rows = measure_all([one for one in todo if _known(one, args)], args.processes, ("epochs=2",))
        found = merged({"base": {}, "rows": [], "printed": {}}, rows, set())
        print("\n\n".join([*(example_table(example, found, "en") for example in EXAMPLES), cures(found, "en")]))
        return
    anew = {setting for setting, _ in jobs()} if args.anew else set(stale(kept))
    rows = [json.loads(line) for line in DONE.read_text().splitlines()] if DONE.is_file() else []
    if rows:
        print(f"{len(rows)} runs are known from {DONE}; delete it to measure them anew")
    have = {((row["experiment"], row["words"]), row["repeat"]) for row in rows}
    for row in kept["rows"]:
        setting = (row["experiment"], row["words"])
        have |= {(setting, repeat) for repeat in row["runs"] if setting not in anew}
    todo = [job for job in jobs() if job not in have and _known(job, args)]
    DONE.parent.mkdir(exist_ok=True)
    photographs = [job for job in todo if _of_photographs(job)]
    rows += measure_all([job for job in todo if job not in photographs], args.processes, (), DONE)
    path = (f"data.path={args.cifar10}",) if args.cifar10 else ()
    rows += measure_all(photographs, args.processes, path, DONE) if photographs else []
    kept = merged(kept, rows, anew)
    measure_elsewhere(kept, args.processes)
    write(kept)
    draw_cosine(PICTURE)
    DONE.unlink(missing_ok=True)
    print(f"{(time.perf_counter() - began) / 60:.0f} min")


def _of_photographs(job: tuple[Setting, str]) -> bool:
    return job[0][0] == "architectures"


def _known(job: tuple[Setting, str], args: argparse.Namespace) -> bool:
    """Whether a job's data are there without a download of 170 MB, or it is asked for."""
    return not args.quick or bool(args.cifar10) or not _of_photographs(job)


def write(kept: dict) -> None:
    """Write what was measured, and both pages' tables."""
    KEPT.write_text(json.dumps(kept, indent=0) + "\n")
    for language, page in PAGES.items():
        page.write_text(filled(page.read_text(), kept, language))
        print(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
