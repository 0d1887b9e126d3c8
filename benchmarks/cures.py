"""How many sick trainings does `zoo.repair` cure, at what cost, and how many do other ways of choosing changes?

    python benchmarks/cures.py --on programs                                # the half that changes were chosen on
    python benchmarks/cures.py --on programs --half held-out --peers        # the half kept for the figure
    python benchmarks/cures.py --on runs --half held-out --peers --mnist mnist.npz
    python benchmarks/cures.py --on healthy --half held-out --mnist mnist.npz   # is one of them changed?

`programs` are those of `programs.py`: cured is one whose repaired model comes to the score from which on the published
repair counts as one, on the report's own measure. `runs` are the sick ones of `verdicts.py`, confirmed there (its cache
is used): cured is one whose loss comes to at most 0.6 of what the best constant answer costs, of sequences by their own
score. What the budget leaves unproved (three seeds, each change left out) is told beside it. Budget and seconds are a
processor's.

With `--peers` other orders of changes have the same program, changes and seconds; each change is trained to the end,
and the first that lets the program learn, or else the best, is taken:

- verdict: the cures that the verdict names, in its order, one at a time.
- random: one to three changes, drawn at random from all that are possible.
- AUTOTRAINER: the solutions of its published order for the symptom ("balance" of its repository), one at a time, then
  on top of the best; the symptom is our verdict's, which serves it better than its own rules would.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
SEED = 3
TRAINS = 0.6  # of what the best constant answer costs
WAYS = ("verdict", "random", "AUTOTRAINER")


@dataclasses.dataclass(frozen=True)
class Case:
    """A training that fails.

    Attributes:
        build: returns a compiled model, inputs, targets and the arguments of `fit`.
        cured: of a trained model, whether it learned, and its score.
        published: how many causes the published repair, or the recipe's own, removes.
    """

    name: str
    build: Callable[[], tuple]
    cured: Callable[[object], tuple[bool, float]]
    published: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", choices=("programs", "runs", "healthy"), default="programs")
    parser.add_argument("--half", choices=("tuning", "held-out"), default="tuning")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a program")
    parser.add_argument("--peers", action="store_true", help="other orders of changes too")
    parser.add_argument("--only", nargs="*", default=[], help="names of programs or runs")
    parser.add_argument("--cache", type=Path, default=ROOT / "mlruns" / "verdicts", help="of verdicts.py")
    parser.add_argument("--mnist", help="mnist.npz as Keras distributes it; without it the runs on MNIST are left out")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    args = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    names = programs_of(args.half) if args.on == "programs" else runs_of(args)
    names = [name for name in names if not args.only or any(only in name for only in args.only)]
    tasks = [(args.on, args.half, name, args.budget, args.peers, args.mnist) for name in names]
    results = []
    with multiprocessing.get_context("spawn").Pool(args.jobs, _start, maxtasksperchild=4) as pool:
        for result in pool.imap(examined, tasks):
            print(line(result), flush=True)
            if args.only:
                print(result["text"], flush=True)
            results.append(result)
    report(results, args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


def _start() -> None:
    import logging
    import warnings

    import tensorflow as tf

    warnings.filterwarnings("ignore")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Seconds are those of a processor: what else the machine does takes none of a budget. One case uses one thread.
    time.monotonic = time.perf_counter = time.process_time
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def programs_of(half: str) -> list[str]:
    import programs

    return [program.name for program in programs.programs(half)]


def runs_of(args: argparse.Namespace) -> list[str]:
    """Return the names of the sick runs whose labels are confirmed, or of the healthy ones."""
    import verdicts
    from verdict_runs import RUNS, half_of

    half = {"tuning": "tune", "held-out": "final"}[args.half]
    sequences = verdicts.all_sequences()
    halves = half_of(RUNS) | half_of(sequences)
    runs = [r for r in RUNS if halves[r.name] == half and (args.mnist or r.recipe.data != "mnist")]
    verdicts.record(runs, args.cache, args.mnist, args.jobs)
    sequences = [r for r in sequences if halves[r.name] == half]
    verdicts.record_sequences(sequences, args.cache, args.jobs)
    kept = [*verdicts.confirm_all(runs, args.cache), *verdicts.confirm_sequences(sequences, args.cache)]
    return [run.name for run in kept if (run.label == "healthy") == (args.on == "healthy")]


def case_of(on: str, half: str, name: str, mnist: str | None) -> Case:
    import keras

    if on == "programs":
        import programs

        program = next(p for p in programs.programs(half) if p.name == name)

        def best(model) -> tuple[bool, float]:
            # A repair may answer as the reported program does, or as the published repair.
            scores = []
            for fixed in (False, True):
                keras.utils.set_random_seed(SEED)
                with np.errstate(all="ignore"):
                    try:
                        scores.append(float(program.build(fixed)[4](model)))
                    except Exception:  # what measures the one cannot measure the other
                        continue
            score = max((s for s in scores if np.isfinite(s)), default=-np.inf)
            return score >= program.high, score

        return Case(name, lambda: program.build(False)[:4], best, len(program.causes))
    import verdicts
    from verdict_runs import RUNS

    sequence = next((run for run in verdicts.all_sequences() if run.name == name), None)
    if sequence is not None:
        score = sequence.build().score
        return Case(name, lambda: sequence.build()[:4], lambda m: ((s := float(score(m))) <= TRAINS, s), 1)
    run = next(run for run in RUNS if run.name == name)
    return Case(name, lambda: built(run.recipe, mnist), lambda model: left(model, run.recipe, mnist), 1)


def built(recipe, mnist: str | None) -> tuple:
    """Return a recipe's model as its run trains it; a rate that changes from step to step is a schedule."""
    import keras
    from verdict_record import build, load_data

    x, y, classes = load_data(recipe.data, mnist)
    x = x * np.float32(recipe.x_scale) + np.float32(recipe.x_shift)
    keras.utils.set_random_seed(recipe.seed)
    model = build(recipe, x.shape[1:], classes)
    rate: object = recipe.rate
    if recipe.growth != 1:
        rate = keras.optimizers.schedules.ExponentialDecay(recipe.rate, 1, recipe.growth)
    elif recipe.spike:
        first, steps, factor = recipe.spike
        values = [recipe.rate, recipe.rate * factor, recipe.rate]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([first, first + steps], values)
    options = {"momentum": recipe.momentum} if recipe.momentum else {}
    config = {"learning_rate": rate, "global_clipnorm": recipe.clip, **options}
    kinds = {kind.lower(): getattr(keras.optimizers, kind) for kind in dir(keras.optimizers) if kind[0].isupper()}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else "mean_squared_error"
    weights = None if recipe.loss_scale == 1 else recipe.loss_scale
    model.compile(kinds[recipe.optimizer](**config), loss, loss_weights=weights)
    return model, x, y, {"epochs": recipe.epochs, "batch_size": recipe.batch}


def left(model, recipe, mnist: str | None) -> tuple[bool, float]:
    """Return whether what is left of the best constant answer's loss is little, and the share."""
    from verdict_record import constant_loss, load_data

    x, y, classes = load_data(recipe.data, mnist)
    x = x * np.float32(recipe.x_scale) + np.float32(recipe.x_shift)
    said = np.asarray(model.predict(x, verbose=0), np.float64)
    if classes:
        if said.min() < 0 or not np.allclose(said.sum(1), 1, atol=1e-3):
            said = np.exp(said - said.max(1, keepdims=True))
            said /= said.sum(1, keepdims=True)
        loss = -np.log(np.maximum(said[np.arange(len(y)), y], 1e-7)).mean()
    else:
        loss = np.square(said.reshape(len(y), -1) - np.reshape(y, (len(y), -1))).mean()
    share = float(loss / constant_loss(y, classes))
    return share <= TRAINS, share


def examined(task: tuple) -> dict:
    """Return what each way of choosing changes comes to on one case."""
    import keras

    from zoo import repair

    on, half, name, budget, peers, mnist = task
    case = case_of(on, half, name, mnist)
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    model, x, y, fit = case.build()
    begun = time.perf_counter()
    epochs, size = fit.get("epochs", 10), fit.get("batch_size")
    result = {"name": name, "published": case.published, "ways": {}, "text": ""}
    try:
        found = repair(model, x, y, epochs=epochs, batch_size=size, budget=budget)
        cured, score = case.cured(found.model)
        result["text"] = str(found)
        told = {"changes": [c.name for c in found.changes], "proved": found.cured, "reason": found.reason}
        told |= {"once": found.before.seconds, "verdict": found.before.verdict.name}
    except Exception as error:
        cured, score, told = False, float("nan"), {"changes": [], "proved": False, "reason": f"{error!r:.200}"}
    seconds = time.perf_counter() - begun
    result["ways"]["repair"] = {"cured": cured, "score": score, "seconds": seconds, **told}
    for way in WAYS if peers else ():
        keras.backend.clear_session()
        keras.utils.set_random_seed(SEED)
        result["ways"][way] = of_peer(way, case, budget)
    return result


def of_peer(way: str, case: Case, budget: float) -> dict:
    """Return what another order of changes comes to with the same budget."""
    from zoo.checkup.check import examined as checked
    from zoo.repairing.changes import possible
    from zoo.repairing.plan import Plan, in_units
    from zoo.repairing.search import learned
    from zoo.repairing.subject import Subject
    from zoo.repairing.tries import SIZE, Bench, Try

    begun = time.monotonic()
    model, x, y, fit = case.build()
    epochs, size = fit.get("epochs", 10), fit.get("batch_size") or SIZE
    try:
        subject = Subject.of(model, x, y, None)
        bench, looked = Bench(subject, size), checked(subject.program)
        first, before = bench.profiled(Try((), Plan()), epochs, begun + budget, looked)
        known = possible(subject, epochs, size)
        tops = [dataclasses.replace(first, skill=before.skill)]
        order = {"verdict": of_verdict, "random": at_random, "AUTOTRAINER": of_autotrainer}[way]
        for keys, plan in order(before.verdict, known, subject, tops):
            best = tops[-1]
            if time.monotonic() > begun + budget or (best.keys and learned(best.skill, looked.told)):
                break
            one = bench.advance(Try(keys, plan), plan.fitted.get("epochs", epochs), begun + budget)
            tops += [one] if one.skill > best.skill else []
        best = tops[-1]
        cured, score = case.cured(in_units(subject, best.plan, best.model))
        changes = list(best.keys)
    except Exception as error:
        cured, score, changes = False, float("nan"), [f"{error!r:.80}"]
    return {"cured": cured, "score": score, "seconds": time.monotonic() - begun, "changes": changes}


Plans = Iterator[tuple[tuple[str, ...], object]]
# The verdict's cures by the keys of changes.
BY_NAME = {
    "batch normalization": "batch normalization",
    "shortcuts with batch normalization": "batch normalization",
    "ReLU": "relu",
    "he normal": "initializer",
    "glorot uniform": "initializer",
    "lecun normal": "initializer",
    "biases": "initializer",
    "orthogonal recurrent weights": "initializer",
    "Adam": "adam",
    "clipping": "clipping",
    "no clipping": "no clipping",
    "inputs": "standardize",
}


def of_verdict(verdict, known, subject, tops) -> Plans:
    from zoo.repairing.plan import Plan

    for cure in verdict.cures:
        key = BY_NAME.get(cure.name, "")
        if cure.name.startswith("a rate of"):
            key = next((k for k, change in known.items() if change.name == cure.name), "")
        if key in known:
            yield (key,), known[key].made(Plan())


def at_random(verdict, known, subject, tops) -> Plans:
    from zoo.repairing.search import planned

    rng, keys = np.random.default_rng(SEED), list(known)
    while True:
        yield planned(tuple(rng.choice(keys, rng.integers(1, 4), replace=False)), known)


# Its order of solutions by what ails: SELU, ReLU ... as its repository has them.
ORDER = {
    "vanishing": ("selu", "relu", "batch normalization"),
    "exploding": ("selu", "relu", "clipping", "tanh in hidden layers", "batch normalization"),
    "dead": ("selu", "batch normalization", "initializer", "leaky"),
    "unstable": ("adam", "lower rate", "much lower rate", "small batches", "initializer"),
    "other": ("adam", "higher rate", "much higher rate", "initializer"),
}


def of_autotrainer(verdict, known, subject, tops) -> Plans:
    from zoo.repairing.plan import Plan

    hidden = [layer.name for layer in subject.hidden if hasattr(layer, "activation")]

    def acting(plan, activation: str, kernel: str):
        for name in hidden:
            plan = plan.setting(name, activation=activation, kernel_initializer=kernel)
        return plan

    made = {key: change.made for key, change in known.items()}
    made["selu"] = lambda plan: acting(plan, "selu", "lecun_normal")
    made["leaky"] = lambda plan: acting(plan, "leaky_relu", "he_normal")
    made["tanh in hidden layers"] = lambda plan: acting(plan, "tanh", "glorot_uniform")
    causes = [finding.cause for finding in verdict.findings[:3]]
    first = [
        key for cause, key in (("output", "output"), ("loss", "loss"), ("inputs", "standardize")) if cause in causes
    ]
    keys = [key for key in (*first, *ORDER.get(verdict.name, ORDER["other"])) if key in made]
    for key in keys:
        yield (key,), made[key](Plan())
    top = tops[-1]
    for key in keys:
        if key not in top.keys:
            yield (*top.keys, key), made[key](top.plan)


def line(result: dict) -> str:
    told = ", ".join(f"{way} {'cured' if w['cured'] else 'no'} {w['score']:.2f}" for way, w in result["ways"].items())
    own = result["ways"]["repair"]
    proof = "proved" if own["proved"] else own["reason"]
    return f"{result['name']}: {told}; {own['seconds']:.0f} s; {' + '.join(own['changes'])}; {proof}"


def report(results: list[dict], args: argparse.Namespace) -> None:
    if args.on == "healthy":
        changed = [result["name"] for result in results if result["ways"]["repair"]["changes"]]
        told = f"{len(changed)} of {len(results)} healthy runs ({args.half}) are changed"
        print(f"\n{told}{': ' if changed else ''}{', '.join(changed)}")
        return
    print(f"\n{len(results)} {args.on} ({args.half}), {args.budget:.0f} s each\n")
    print("| changes chosen by | cured | proved | changes (mean) | published | seconds (median) | times one training |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for way in results[0]["ways"] if results else ():
        found = [result["ways"][way] for result in results]
        cured = [w for w in found if w["cured"]]
        count = f"{np.mean([len(w['changes']) for w in cured]):.1f}" if cured else ""
        wanted = f"{np.mean([r['published'] for r in results if r['ways'][way]['cured']]):.1f}" if cured else ""
        once = [w["seconds"] / max(w["once"], 0.1) for w in found if "once" in w]
        proved = sum(w.get("proved", False) for w in found) if way == "repair" else ""
        seconds, times = np.median([w["seconds"] for w in found]), f"{np.median(once):.0f}" if once else ""
        told = f"{len(cured)} of {len(found)} | {proved} | {count} | {wanted} | {seconds:.0f} | {times}"
        print(f"| {way} | {told} |")


if __name__ == "__main__":
    main()
