"""Does the check-up name what is wrong with real faulty Keras programs, and is it silent on their repairs?

    python benchmarks/programs.py                        # the half that rules may be tuned on
    python benchmarks/programs.py --half held-out        # the half kept for the figure
    python benchmarks/programs.py --peers                # with five other tools' published rules on the same runs
    python benchmarks/programs.py --truth                # only whether the labels hold, with seeds 3, 5 and 11
    python benchmarks/programs.py --only NAME            # some programs, with all that is said of them

A program (`program_cases.py`) is trained as it was reported and as it was repaired. Before training `zoo.check` is
asked, then `zoo.Doctor` in `fit`, and `program_peers.py` of what a callback beside it has seen.

- detected: a fault is found in the program as reported (a `Finding.fault`; of the doctor also a sick verdict; of
  another tool any message that it does not itself set apart from faults).
- named, first: the first thing told is the program's true cause. Named, two: one of the causes that the published
  repair removes is among the first two things told. Things told are the verdict's cause and the causes of faults,
  each once; of another tool a message is one thing, right if any of the changes that it advises is.
- false alarm: the same "detected" on the repaired program.
- crash: an exception of the tool; one that the program raises without any tool is its own.
- seconds: of `check`; of `fit` with the doctor, less what looking for the other tools took; of that and the rules.

The scores of these trainings confirm the labels each time; what is not confirmed is dropped and counted.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402

HALVES = {"tuning": "programs_tuning", "held-out": "programs_held_out"}
SEEDS = (3, 5, 11)  # that the scores of the programs were measured with
CHECK, DOCTOR = "gradient-zoo, check alone", "gradient-zoo, Doctor"
WELL = ("healthy", "undecided")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=tuple(HALVES), default="tuning")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="only these programs, in full")
    parser.add_argument("--truth", action="store_true", help="only train, and say whether the labels hold")
    parser.add_argument("--peers", action="store_true", help="with other tools' rules")
    parser.add_argument("--seed", type=int, default=SEEDS[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--jobs", type=int, default=2, help="processes; with 1 all is done in this one")
    args = parser.parse_args()

    known = [program.name for program in programs(args.half)]
    if unknown := set(args.only) - set(known):
        sys.exit(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = [name for name in known if name in (args.only or known)]
    if args.truth:
        sys.exit(truth(args.half, names, args.jobs) > 0)
    tasks = [(args.half, name, args.seed, args.peers) for name in names]
    results = []
    for result in each(examine, tasks, args.jobs):
        print(line(result), flush=True)
        if args.only:
            print(in_full(result), flush=True)
        results.append(result)
    report(results, args.half, args.seed, args.json)


def programs(half: str) -> list:
    """Return the programs of a half."""
    return importlib.import_module(HALVES[half]).PROGRAMS


def each(function: Callable, tasks: list[tuple], jobs: int) -> Iterator[dict]:
    """Yield what the function returns of each task, in order."""
    if jobs <= 1:
        _start()
        yield from map(function, tasks)
        return
    # A fresh process now and then gives back what TensorFlow leaks; ProcessPoolExecutor hangs then (gh-115634).
    with multiprocessing.get_context("spawn").Pool(jobs, _start, maxtasksperchild=8) as pool:
        yield from pool.imap(function, tasks)


def _start() -> None:
    import logging
    import warnings

    import tensorflow as tf

    warnings.filterwarnings("ignore", module="keras")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many nets are traced in one process
    # These nets are too small for a second thread to help.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def truth(half: str, names: list[str], jobs: int) -> int:
    """Print whether each label holds with each seed; return how many do not."""
    weak = 0
    for result in each(_scores, [(half, name) for name in names], jobs):
        weak += not result["stands"]
        told = ", ".join(
            f"seed {seed}: {reported:.3f}, repaired {repaired:.3f}" for seed, reported, repaired in result["scores"]
        )
        stands = "ok  " if result["stands"] else "WEAK"
        print(f"{stands} {result['name']}: {told} (<= {result['low']}, >= {result['high']})", flush=True)
    print(f"{len(names) - weak} of {len(names)} labels hold with seeds {', '.join(map(str, SEEDS))}")
    return weak


def _scores(task: tuple[str, str]) -> dict:
    import keras

    half, name = task
    program = next(p for p in programs(half) if p.name == name)
    scores = []
    for seed in SEEDS:
        both = []
        for fixed in (False, True):
            keras.utils.set_random_seed(seed)
            both.append(trained(program.build(fixed))[0])
            keras.backend.clear_session()
        scores.append((seed, *both))
    stands = all(confirmed(program, reported, repaired) for _, reported, repaired in scores)
    return {"name": name, "scores": scores, "stands": stands, "low": program.low, "high": program.high}


def trained(built: tuple, callbacks: list | None = None) -> tuple[float, str]:
    """Train, with these callbacks; return the score, and what the program raised, in which case the score is NaN."""
    model, x, y, fit, score = built
    fit = {"verbose": 0, **fit}
    try:
        model.fit(x, y, **{**fit, "callbacks": [*(callbacks or []), *fit.get("callbacks", [])]})
        return float(score(model)), ""
    except Exception:
        return float("nan"), traceback.format_exc()


def confirmed(program, reported: float, repaired: float) -> bool:
    """Whether the scores show the fault; one that is no number is none of a program that learned."""
    return not reported > program.low and repaired >= program.high


def examine(task: tuple) -> dict:
    """Return all that is said of one program, as reported and as repaired."""
    half, name, seed, peers = task
    program = next(p for p in programs(half) if p.name == name)
    both = {state: examined(program, state == "repaired", seed, peers) for state in ("reported", "repaired")}
    return {
        "name": name,
        "causes": list(program.causes),
        "repair": program.repair,
        "confirmed": confirmed(program, both["reported"]["score"], both["repaired"]["score"]),
        **both,
    }


def examined(program, fixed: bool, seed: int, peers: bool) -> dict:
    """Return what each tool says of the program, the score, and how long it took.

    Of a tool it is a list of things told, each a sentence and causes; whether it is a fault that is told; seconds, and
    a traceback where it crashed.
    """
    import keras

    from zoo import Doctor, check

    def built(wanted: bool) -> tuple:
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        program_as_built = program.build(fixed)
        return program_as_built, watcher(*program_as_built[1:4]) if wanted else None

    program_as_built, watch = built(peers)
    model, x, y = program_as_built[:3]
    said = {CHECK: asked(lambda: of_findings(check(model, x, y).findings))}
    begun = time.perf_counter()
    doctor = asked(lambda: {"doctor": Doctor(x, y)})
    trace, seconds = doctor["crash"], 0.0
    if not trace:
        score, trace = trained(program_as_built, [doctor["doctor"], watch] if watch else [doctor["doctor"]])
        seconds = time.perf_counter() - begun - looked(watch)
    if trace:
        # Whose it is shows without the doctor.
        program_as_built, watch = built(peers)
        score, its_own = trained(program_as_built, [watch] if watch else [])
        trace = "" if its_own and not doctor["crash"] else trace
    said[DOCTOR] = silent(trace) if trace else asked(lambda: of_verdict(doctor["doctor"].verdict))
    said[DOCTOR]["seconds"] += seconds
    if watch:
        said |= of_peers(watch)
    keras.backend.clear_session()
    return {"score": score, "said": said}


def watcher(x: object, y: object, fit: dict):
    """Return the callback that sees what other tools' rules look at."""
    from program_peers import Watch

    return Watch(x, y, fit)


def looked(watch) -> float:
    """Return the seconds that looking for the other tools took."""
    return watch.seen.seconds if watch and watch.seen else 0.0


def silent(trace: str) -> dict:
    """What a tool tells that crashed."""
    return {"told": [], "detected": False, "name": "", "crash": trace, "seconds": 0.0}


def asked(tell: Callable[[], dict]) -> dict:
    """Return what is told, how long it took, and the traceback where it raised."""
    begun = time.perf_counter()
    try:
        answer = {**tell(), "crash": ""}
    except Exception:
        answer = silent(traceback.format_exc())
    return {**answer, "seconds": time.perf_counter() - begun}


def of_findings(findings: list) -> dict:
    """What a check-up tells: its faults."""
    faults = [(finding.sentence, [finding.cause]) for finding in findings if finding.fault]
    notes = [f"{finding.confidence:.2f} {finding.cause}: {finding.sentence}" for finding in findings]
    return {"told": once(faults), "detected": bool(faults), "name": "", "notes": notes}


def of_verdict(verdict) -> dict:
    """What the doctor tells: the verdict's cause, then the faults."""
    told = of_findings(verdict.findings)
    cause = [(verdict.sentence, [verdict.cause])] if verdict.cause else []
    return {
        **told,
        "told": once([*cause, *told["told"]]),
        "detected": told["detected"] or verdict.name not in WELL,
        "name": verdict.name,
    }


def of_peers(watch) -> dict[str, dict]:
    """What the other tools' rules tell of what was seen."""
    from program_peers import HINT, PEERS

    said = {}
    for tool, rules in PEERS.items():

        def tell(rules=rules) -> dict:
            messages = rules(watch.seen) if watch.seen else []
            faults = [(text, list(causes)) for text, causes in messages if not text.startswith(HINT)]
            return {"told": once(faults), "detected": bool(faults), "name": "", "notes": [text for text, _ in messages]}

        said[tool] = asked(tell)
        said[tool]["seconds"] += looked(watch)
    return said


def once(told: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """Return the things told, those with the same causes once."""
    first: dict[tuple[str, ...], tuple[str, list[str]]] = {}
    for thing in told:
        first.setdefault(tuple(thing[1]), thing)
    return list(first.values())


def named(causes: list[str], told: list[tuple[str, list[str]]]) -> tuple[bool, bool]:
    """Return whether the first thing told is the true cause, and whether one of the first two is any of the causes."""
    places = [set(thing[1]) for thing in told]
    return bool(places) and causes[0] in places[0], any(place & set(causes) for place in places[:2])


def line(result: dict) -> str:
    """What is told of one program, in a line."""
    check, doctor = (result["reported"]["said"][tool] for tool in (CHECK, DOCTOR))
    alarms = [
        word for word, tool in (("check", CHECK), ("Doctor", DOCTOR)) if result["repaired"]["said"][tool]["detected"]
    ]
    crashes = sum(bool(said["crash"]) for state in ("reported", "repaired") for said in result[state]["said"].values())
    return "; ".join(
        [
            f"{result['name']} [{' '.join(result['causes'])}]: check {_causes(check)}",
            f"verdict {doctor['name'] or 'none'}: {_causes(doctor)}",
            f"false alarm of {' and '.join(alarms)}" if alarms else "repaired: silent",
            *([f"{crashes} crashes"] if crashes else []),
            *([] if result["confirmed"] else [f"label does not hold, {_both_scores(result)}"]),
        ]
    )


def _causes(said: dict) -> str:
    return ", ".join("/".join(causes) or "?" for _, causes in said["told"]) or "nothing"


def _both_scores(result: dict) -> str:
    return f"score {result['reported']['score']:.3f}, repaired {result['repaired']['score']:.3f}"


def in_full(result: dict) -> str:
    """All that every tool tells of one program, and where it crashed."""
    lines = [f"  repair: {result['repair']}; {_both_scores(result)}"]
    for state in ("reported", "repaired"):
        for tool, said in result[state]["said"].items():
            lines.append(f"  {state}, {tool} ({said['seconds']:.1f} s): {said['name']} {_causes(said)}")
            lines += [f"    {note}" for note in said.get("notes", [])]
            lines += [f"    {row}" for row in said["crash"].splitlines()]
    return "\n".join(lines)


def report(results: list[dict], half: str, seed: int, json_path: Path | None) -> None:
    """Print the table of the programs whose labels hold; write every figure to `json_path`."""
    kept = [result for result in results if result["confirmed"]]
    print(f"\n{len(kept)} of {len(results)} programs confirmed ({half}, seed {seed})")
    for result in results:
        if not result["confirmed"]:
            print(f"  dropped, {_both_scores(result)}: {result['name']}")
    print("\n| tool | detected | cause named, first | cause named, two | false alarms | crashes | seconds (median) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    figures = {}
    for tool in kept[0]["reported"]["said"] if kept else []:
        figures[tool] = counts = counted(tool, kept)
        shown = " | ".join(f"{counts[what]} of {len(kept)}" for what in ("detected", "first", "two", "false_alarms"))
        print(f"| {tool} | {shown} | {counts['crashes']} | {counts['seconds']:.2f} |")
    if json_path:
        figures = {"half": half, "seed": seed, "programs": len(kept), "tools": figures, "results": results}
        json_path.write_text(json.dumps(figures, indent=1) + "\n")


def counted(tool: str, kept: list[dict]) -> dict[str, float]:
    """Return how often a tool is right, wrongly alarmed, and crashes."""
    reported, repaired = ([result[state]["said"][tool] for result in kept] for state in ("reported", "repaired"))
    right = [named(result["causes"], said["told"]) for result, said in zip(kept, reported, strict=True)]
    return {
        "detected": sum(said["detected"] for said in reported),
        "first": sum(first for first, _ in right),
        "two": sum(two for _, two in right),
        "false_alarms": sum(said["detected"] for said in repaired),
        "crashes": sum(bool(said["crash"]) for said in [*reported, *repaired]),
        "seconds": float(np.median([said["seconds"] for said in [*reported, *repaired]])),
    }


if __name__ == "__main__":
    main()
