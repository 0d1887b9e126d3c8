"""What a person reads at the end of `preflight=true` with -m."""

import math
from collections.abc import Sequence

from zoo.archive.summary import Summary
from zoo.report.text import drawn_table, short, verdict_word
from zoo.telemetry.language import named, say


def foretold_table(runs: Sequence[Summary], title: str, keys: list[str]) -> str:
    """Return a row a job, in their order: what differs, and what is known of it before its first step.

    Args:
        runs: a summary of each; its loss is the one before the first step.
        title: of the table.
        keys: those that differ.
    """
    rows = [[*(short(run.chosen.get(key, "")) for key in keys), *_known(run), _faults(run)] for run in runs]
    words = [say("foretold"), say("found")]
    header = [*keys, say("parameters"), "loss", say("reaches first layer"), *words]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return drawn_table(title, header, rows, words={*keys, *words})


def _known(run: Summary) -> list[str]:
    if not run.finished:
        reason = run.reason or "it was cut off, and could not say why"
        return ["", "", "", say("{told}: {sentence}", told=named(run.word), sentence=reason)]
    loss = run.metrics.get("loss", math.nan)
    return [
        "" if run.parameters is None else f"{run.parameters:,}",
        "" if math.isnan(loss) and run.verdict is None else f"{loss:.4g}",
        f"{run.arriving[0]:.0e}" if run.arriving else "",
        verdict_word(run),
    ]


def _faults(run: Summary) -> str:
    """Name what is wrong beside what the verdict tells."""
    faults = [finding for finding in run.verdict.further if finding.fault] if run.verdict else []
    return say(", ").join(say(fault.title) for fault in faults)
