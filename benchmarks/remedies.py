"""Which of the cures that a verdict names do cure, and how often?

    python benchmarks/remedies.py --mnist mnist.npz                 # on the half that thresholds may be chosen on
    python benchmarks/remedies.py --half final --mnist mnist.npz

Each sick run of `verdicts.py` is judged at its end, and trained again from the same weights' seed with each cure that
its verdict names, one at a time. It is cured if it then trains (`verdicts.py` says what that means). The order of the
cures in `zoo/telemetry/cures.py` is that of the tuning half's table.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path

import verdicts
from verdict_record import Recipe, outcome
from verdict_runs import RUNS, Run, half_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("tune", "final"), default="tune")
    parser.add_argument("--cache", type=Path, default=verdicts.ROOT / "mlruns" / "verdicts")
    parser.add_argument("--mnist", help="mnist.npz as Keras distributes it; without it the runs on MNIST are left out")
    parser.add_argument("--jobs", type=int, default=2, help="processes that train")
    args = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    halves = half_of(RUNS)
    runs = [run for run in RUNS if halves[run.name] == args.half and (args.mnist or run.recipe.data != "mnist")]
    verdicts.record(runs, args.cache, args.mnist, args.jobs)
    tries = [
        found
        for run in verdicts.confirm_all(runs, args.cache)
        if run.label != "healthy"
        for found in tried(run, args.cache)
    ]
    verdicts.train_all({recipe.key: (recipe, False) for *_, recipe in tries}, args.cache, args.mnist, args.jobs)
    report(tries, args.cache)


def tried(run: Run, cache: Path) -> list[tuple[str, str, int, Recipe]]:
    """Return (verdict, cure, place among the verdict's cures, recipe) of each cure that a recipe can have."""
    from verdict_report import Recorded

    recorded = Recorded(run, cache / run.recipe.key)
    verdict = recorded.verdict(recorded.ends[-1])
    known = [(cure.name, change_of(cure, run.recipe)) for cure in verdict.cures]
    known = [(name, change) for name, change in known if change is not None]
    return [
        (f"{verdict.name}|{run.name}", name, place, dataclasses.replace(run.recipe, **change, stop_when_trained=True))
        for place, (name, change) in enumerate(known)
    ]


def change_of(cure, recipe: Recipe) -> dict | None:
    """Return the fields of a recipe that a cure changes; `None` for what recipes cannot say."""
    if cure.name == "biases":
        # Zeros wherever biases, or the offsets of a normalization, were filled.
        return {"bias": 0.0, "edits": tuple(edit for edit in recipe.edits if edit[1] not in ("bias", "beta"))}
    if cure.name == "inputs":
        return {"x_scale": 1.0, "x_shift": 0.0}
    change: dict = {}
    for override in cure.override.split():
        name, _, value = override.partition("=")
        if name == "initializer":
            change["weights"] = value
        elif name in ("activation", "normalization", "optimizer"):
            change[name] = value
        elif name == "model.residual" and recipe.net == "mlp":
            change["residual"] = int(value)
        elif name == "optimizer.learning_rate":
            change["rate"] = float(value)
        elif name == "clipping":
            change["clip"] = 1.0 if value == "global_norm" else None
        else:
            return None
    if "optimizer" in change:
        change["momentum"] = 0.0
    return change or None


def report(tries: list[tuple], cache: Path) -> None:
    """Print how often each cure cured, and how often the first, or one of the first three, did."""
    counts: dict[tuple[str, str], list[bool]] = {}
    firsts: dict[str, list[tuple[int, bool]]] = {}
    for run, name, place, recipe in tries:
        result = json.loads((cache / recipe.key / "result.json").read_text())
        cured = outcome(result["losses"], result["baseline"]) == "trains"
        kind = "a rate of ..." if name.startswith("a rate") else name
        counts.setdefault((run.partition("|")[0], kind), []).append(cured)
        firsts.setdefault(run, []).append((place, cured))
    print("\n| verdict | cure | cured |\n| --- | --- | --- |")
    order = sorted(counts, key=lambda key: (key[0], -sum(counts[key]) / len(counts[key])))
    for verdict, name in order:
        found = counts[verdict, name]
        print(f"| {verdict} | {name} | {sum(found)} of {len(found)} |")
    first = sum(any(cured for place, cured in found if place == 0) for found in firsts.values())
    three = sum(any(cured for place, cured in found if place < 3) for found in firsts.values())
    print(f"\nThe first cure cured {first} of {len(firsts)} runs, one of the first three {three}.")


if __name__ == "__main__":
    main()
