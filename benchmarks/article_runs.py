"""The runs behind docs/articles.md: which there are, what each follows from, and one of them done."""

import datetime
import functools
import math
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from article_examples import CURES, EXAMPLES, SEEDS  # noqa: E402

QUIET = ("tracking=none", "pictures=false", "verbose=0", "resume=false")
REPEATS = ("seed", "data.fold")

Setting = tuple[str, str]  # experiment, words


def jobs() -> list[tuple[Setting, str]]:
    """Return (setting, the words of one repeat) of every run."""
    found: dict[tuple[Setting, str], None] = {}
    for example in EXAMPLES:
        for experiment in example.experiments:
            for setting, repeat in of_experiment(experiment):
                seeds = [repeat] if "seed=" in repeat else [f"{repeat} seed={n}".strip() for n in _seeds(repeat)]
                found |= {(setting, words): None for words in seeds}
    for words, _, settings, *_ in CURES:
        for setting in settings:
            found |= {((setting, words), f"seed={seed}"): None for seed in range(SEEDS)}
    return list(found)


def _seeds(repeat: str) -> range:
    return range(1) if repeat else range(SEEDS)  # folds are repeats enough


@functools.cache
def of_experiment(experiment: str) -> list[tuple[Setting, str]]:
    """Return the jobs of an experiment's own sweep, each as its setting and the words that only repeat it."""
    import hydra

    from zoo.config import CONF
    from zoo.sweeping.hydra_private import grid

    cfg = composed(experiment, "", hydra_too=True)
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        swept = grid(cfg) if cfg.hydra.sweeper.params else [()]
    found = []
    for words in swept:
        own = [word for word in words if word.partition("=")[0] not in (*REPEATS, "experiment")]
        repeat = [word for word in words if word.partition("=")[0] in REPEATS]
        found.append(((experiment, " ".join(own)), " ".join(repeat)))
    return found


def composed(experiment: str | None, words: str, *, hydra_too: bool = False) -> Any:
    """Compose a config as `train.py` does."""
    import hydra

    import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
    from zoo.config import CONF

    chosen = [f"experiment={experiment}"] if experiment else []
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", [*chosen, *words.split()], return_hydra_config=hydra_too)


def values_of(experiment: str | None, words: str) -> dict[str, Any]:
    """Return what a run of these words follows from, flat: "model.depth": 5."""
    from zoo.sweeping.identity import effective

    def flat(value: Any, key: str) -> Iterable[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, part in value.items():
                yield from flat(part, f"{key}.{name}" if key else name)
        else:
            yield key, value

    left_out = {"experiment", "remedy", "seed", "data.fold", "data.path"}
    return {k: v for k, v in flat(effective(composed(experiment, words)), "") if k not in left_out}


def measure(setting: Setting, repeat: str, *more: str) -> dict:
    """Do one run and return its numbers: see `article_examples.Example`."""
    import keras
    import numpy as np

    from zoo.running import make
    from zoo.running.record import Job
    from zoo.running.run import run

    experiment, words = setting
    overrides = [f"experiment={experiment}", *words.split(), *repeat.split(), *QUIET, *more]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cfg = composed(experiment, " ".join(overrides[1:]))
        done = run(cfg, Job(Path(folder), overrides=overrides, choices={"model": "", "data": ""}))
    summary, model = done.summary, done.model
    assert summary is not None and model is not None
    found = dict(summary.metrics)
    if done.norms:
        found["gradient"] = float(done.norms.history.norms[0, 0])
    if done.probes and done.probes.results:
        first, last = done.probes.results[0], done.probes.results[-1]
        found |= {"start": first.arriving, "end": last.arriving, "output": float(first.delta_norm[-1])}
    data = make.make_data(cfg)
    if isinstance(data.train, tuple):
        told = model.evaluate(*data.train, batch_size=cfg.batch_size, verbose="0", return_dict=True)
        found |= {f"train_{name}": value for name, value in told.items()}
    keras.backend.clear_session()
    numbers = {name: float(np.float32(value)) for name, value in found.items()}
    return {
        "experiment": experiment,
        "words": words,
        "repeat": repeat,
        "verdict": summary.word,
        "day": datetime.date.today().isoformat(),
        "seconds": round(time.perf_counter() - began, 1),
        "metrics": {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()},
    }
