"""How often does the check-up see that a real program is faulty, name what its repair changes, and cry wolf?

    python benchmarks/programs.py                     # the half that rules are made on
    python benchmarks/programs.py --half held-out     # the half kept for the figure
    python benchmarks/programs.py --truth             # do the scores show the faults? over three seeds
    python benchmarks/programs.py --only so56076672   # one, with all that was found

Each program is trained as reported and as repaired (`program_cases.py`), with `zoo.Doctor` in its `fit`. Detected: the
verdict is neither healthy nor undecided, or a finding is a fault; on a repaired program that is a false alarm. Named:
what the repair changes is among the first causes, the verdict's first, then those of the other faults.
"""

import argparse
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import keras  # noqa: E402
from program_cases import Program  # noqa: E402

from zoo import Doctor  # noqa: E402

SEEDS = (3, 5, 11)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("tuning", "held-out"), default="tuning")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--truth", action="store_true", help="train alone, and compare the scores with the labels")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.half == "tuning":
        from programs_tuning import PROGRAMS
    else:
        from programs_held_out import PROGRAMS
    programs = [p for p in PROGRAMS if not arguments.only or any(part in p.name for part in arguments.only)]
    if arguments.truth:
        stand = [confirmed(program) for program in programs]
        sys.exit(not all(stand))
    count: Counter = Counter()
    for program in programs:
        for fixed in (False, True):
            count += judged(program, fixed, bool(arguments.only))
    report(count, len(programs))


def confirmed(program: Program) -> bool:
    """Whether the scores of both are what the label says, with every seed."""
    scores = {False: [], True: []}
    for seed in SEEDS:
        for fixed, found in scores.items():
            keras.utils.set_random_seed(seed)
            model, x, y, fit, score = program.build(fixed)
            model.fit(x, y, verbose=0, **fit)
            found.append(score(model))
            keras.backend.clear_session()
    stands = not max(scores[False]) > program.low and min(scores[True]) >= program.high
    told = "  ".join(" ".join(f"{value:.3f}" for value in found) for found in scores.values())
    print(f"{'ok  ' if stands else 'WEAK'} {program.name:44s} {told}", flush=True)
    return stands


def judged(program: Program, fixed: bool, whole: bool) -> Counter:
    """Train one, print a line of what was found, and count it."""
    keras.utils.set_random_seed(SEEDS[0])
    model, x, y, fit, _ = program.build(fixed)
    began, doctor = time.perf_counter(), Doctor(x, y)
    try:
        model.fit(x, y, verbose=0, callbacks=[doctor], **fit)
        verdict, checked = doctor.verdict, doctor.checkup
    except Exception:
        traceback.print_exc()
        return Counter(crashes=1)
    finally:
        keras.backend.clear_session()
    faults = [finding.cause for finding in verdict.findings if finding.fault]
    detected = verdict.name not in ("healthy", "undecided") or bool(faults)
    causes = list(dict.fromkeys([verdict.cause, *faults])) if detected else []
    kind = "repaired" if fixed else "reported"
    told = f"{verdict.name}: {', '.join(causes)}" if detected else verdict.name
    print(f"{program.name:44s} {kind}  {' '.join(program.causes):32s} {told}", flush=True)
    if whole:
        print(f"{verdict}\n{checked}\n{time.perf_counter() - began:.1f} s with training\n")
    if fixed:
        return Counter({"alarms": detected, "alarms of the check-up": bool(checked.faults)})
    return Counter(
        {
            "detected": detected,
            "detected by the check-up": bool(checked.faults),
            "first": causes[:1] == [program.causes[0]],
            "named": bool(set(causes[:2]) & set(program.causes)),
        }
    )


def report(count: Counter, programs: int) -> None:
    print(f"\n{programs} programs          check-up alone   with training")
    print(f"detected              {count['detected by the check-up']:14d}   {count['detected']:13d}")
    print(f"true cause first      {'':14s}   {count['first']:13d}")
    print(f"a cause in first two  {'':14s}   {count['named']:13d}")
    print(f"alarms on repaired    {count['alarms of the check-up']:14d}   {count['alarms']:13d}")
    print(f"crashes               {'':14s}   {count['crashes']:13d}")


if __name__ == "__main__":
    main()
