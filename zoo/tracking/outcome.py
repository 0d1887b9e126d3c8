"""What runs and sweeps are called in the store, and what their tags and metrics say came out."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.archive.summary import Summary
from zoo.places import COMMAND


def name_in_sweep(overrides: Sequence[str], varying: Sequence[str], choices: Mapping[str, Any]) -> str | None:
    """Return a run's name in its sweep, what differs first, as MLflow's column is narrow; `None` if nothing does."""
    differing = [word for word in overrides if word.partition("=")[0] in varying]
    if not differing:
        return None
    return f"{' '.join(map(_without_group, differing))} · {choices.get('model')} on {choices.get('data')}"


def name_of(overrides: Sequence[str], choices: Mapping[str, Any]) -> str:
    """Return the name of a run of its own: what its command line set first, as MLflow's column is narrow."""
    hidden = ("model", "data", "tracking", "verbose", "resume", "language", "pictures")
    given = [word for word in overrides if word.partition("=")[0].partition(".")[0] not in ("hydra", *hidden[2:])]
    given = [word for word in given if word.partition("=")[0] not in hidden]
    network = f"{choices.get('model')} on {choices.get('data')}"
    return f"{' '.join(map(_without_group, given))} · {network}" if given else network


def _without_group(word: str) -> str:
    """Return `depth=5` of `model.depth=5`."""
    key, equals, value = word.partition("=")
    return f"{key.rpartition('.')[2]}{equals}{value}"


def points_at_end(summary: Summary) -> list[tuple[str, float, int]]:
    """Return the points that a run logs when its training is over: metrics of the test part, and what it took."""
    tested = {name: value for name, value in summary.metrics.items() if name.startswith("test_")}
    return [(name, float(v), summary.epochs) for name, v in (tested | {"seconds": summary.seconds}).items()]


def of_run(summary: Summary) -> dict[str, str]:
    """Return the tags that say what a run came to."""
    tags = {name: told for name in ("stopped", "reason") if (told := getattr(summary, name)) is not None}
    if verdict := summary.verdict:
        tags |= {
            "verdict": verdict.name,
            "verdict.confidence": f"{verdict.confidence:.2f}",
            "verdict.sentence": verdict.sentence,
            "mlflow.note.content": f"**{verdict.name}**: {verdict.sentence}",
        }
        tags |= {"verdict.layer": verdict.layer} if verdict.layer is not None else {}
    return tags


def of_sweep(runs: Sequence[Summary], failed: int) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics and the tags that say what a sweep came to, of whose runs `failed` did not finish."""
    metrics: dict[str, float] = {"runs": len(runs), "failed": failed}
    finished = sorted((run for run in runs if run.finished), key=lambda run: run.metric.rank)
    if not finished:
        return metrics, {}
    name, value = finished[0].metric
    verdicts = [run.word for run in finished if run.verdict]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts)))
    best = finished[0].name
    note = f"{len(runs)} runs: {counts}. Best: {best}, {name} {value:.4g}."
    return metrics | {f"best_{name}": value}, {"verdicts": counts, "best": best, "mlflow.note.content": note}


def of_cures(cured: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the tags that say what cured the runs of a sweep; none where none was asked for."""
    told = []
    for one in cured:
        name = " ".join(one["words"]) or "the run"
        if one["changes"]:
            proved = "cured by" if one["proved"] else f"changed, not proved ({one['reason']}):"
            told.append(f"{name}: {proved} `{' '.join(one['changes'])}`; `{COMMAND} {' '.join(one['command'])}`")
        else:
            told.append(f"{name}: {'not cured, ' + one['reason'] if one['reason'] else 'nothing to cure'}")
    return {"mlflow.note.content": "\n\n".join(told)} if told else {}
