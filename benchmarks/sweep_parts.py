"""Which part of a sweep's job takes how much of the processor: used by `sweeps.py --parts`.

    python benchmarks/sweep_parts.py again 12 FOLDER WORD ...    # or anew: nothing that was compiled is used; or packed

Does so many jobs of a sweep in this one process, as a worker does, on one thread, and prints the processor seconds of
each part as JSON: means over all jobs but the first, or over those of a second pack. A part does not count those within
it. The store is a part of no other's time but runs beside all of them, in a thread of its own.
"""

import collections
import functools
import json
import os
import sys
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
os.environ |= dict.fromkeys(THREADS, "1") | {"TF_CPP_MIN_LOG_LEVEL": "3"}
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

seconds: dict[str, float] = collections.defaultdict(float)
within: list[float] = []


def timed(owner, name: str, part: str) -> None:
    """Count the processor time of a function for a part, without that of the parts that it calls."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def counted(*args, **kwargs):
        began = time.process_time()
        within.append(0.0)
        try:
            return function(*args, **kwargs)
        finally:
            took = time.process_time() - began
            seconds[part] += took - within.pop()
            if within:
                within[-1] += took

    setattr(owner, name, counted)


def main() -> None:
    way, jobs, home, given = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    os.environ["GRADIENT_ZOO_HOME"] = str(home)
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
    from zoo.__main__ import train
    from zoo.places import CONF
    from zoo.sweeping import hydra_private, workers
    from zoo.sweeping.plan import Plan

    workers._import()
    import keras
    from tensorflow.python.eager.polymorphic_function import tracing_compilation

    from zoo.report import run_page
    from zoo.running import make, record, reuse, run
    from zoo.running.packed_step import PackedStep
    from zoo.telemetry import probe

    if way != "anew":
        reuse.expect_many()
    for owner, name, part in (
        (hydra_private, "job_config", "compose"),
        (make, "make_data", "data"),
        *((make, name, "build") for name in ("build_model", "compile_model", "initialize_on_data", "complete")),
        (tracing_compilation, "trace_function", "trace"),
        (keras.Model, "fit", "train"),
        (keras.Model, "evaluate", "evaluate"),
        (PackedStep, "train", "train"),
        (PackedStep, "validate", "evaluate"),
        (probe.Prober, "__call__", "probe"),
        *((run, name, "judge") for name in ("foretell", "judge")),
        *((record.Record, name, "record") for name in ("begin", "finish")),
        (run_page, "page_if_possible", "page"),
        (workers, "_execute", "the rest"),
    ):
        timed(owner, name, part)
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        words = [f"seed=range({jobs})", *given, f"hydra.sweep.dir={home}/mlruns/sweeps/parts"]
        config = loader.load_configuration("config", [*words, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
        began = time.process_time()
        plan = Plan.of(config)
        seconds.clear()
        planned = (time.process_time() - began) / plan.total
    task = train.__wrapped__
    asked = [(number, [f"seed={number}", *given], loader, config, task) for number in range(2 * jobs)]
    packs = [asked[:jobs], asked[jobs:]] if way == "packed" else [[job] for job in asked[:jobs]]
    first: dict[str, float] = {}
    for pack in packs:
        if way == "packed":
            workers.execute_pack(pack)
        else:
            workers.execute(*pack[0])
        first = first or dict(seconds)
    counted = sum(map(len, packs[1:]))
    parts = {part: (took - first.get(part, 0.0)) / counted for part, took in seconds.items()}
    print(json.dumps({"compose and check, before the first job": planned, **parts}))


if __name__ == "__main__":
    main()
