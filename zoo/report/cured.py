"""What a person reads at the end of `cure=true`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.archive.summary import Summary
from zoo.report.text import command_of, verdict_word
from zoo.telemetry.language import LABEL, label, say


def cured_block(cured: Sequence[Mapping[str, Any]], runs: Sequence[Summary]) -> str:
    """Return what became of each run: what cured it, the proof in numbers, and the command that trains it.

    Args:
        cured: as `cure.json` has it.
        runs: all that were done.
    """
    by_number = {run.folder.name: run for run in runs}
    parts = [_part(one, by_number) for one in cured]
    count = sum(bool(one["changes"]) and one["proved"] for one in cured)
    sick = [one for one in cured if one["changes"] or one["reason"]]
    if len(cured) > 1:
        well = len(cured) - len(sick)
        parts.append(
            say(
                "{count} of {sick} sick runs cured, {well} were not sick; {runs} runs in all",
                count=count,
                sick=len(sick),
                well=well,
                runs=len(runs),
            )
        )
    return "\n\n".join(parts)


def _part(one: Mapping[str, Any], runs: Mapping[str, Summary]) -> str:
    before, after = runs[one["before"]], runs.get(one["after"] or "")
    lines = [label("run") + (" ".join(one["words"]) or before.name)]
    if not before.finished:
        return "\n".join([*lines, f"{before.status!s:{LABEL}}{before.reason or say('it could not say why')}"])
    if not one["changes"]:
        lines.append(label("verdict") + _with_sentence(verdict_word(before), before))
        if one["reason"]:
            return "\n".join([*lines, label("not cured") + one["reason"]])
        return "\n".join([*lines, " " * LABEL + say("nothing to cure")])
    lines.append(label("before") + _with_sentence(_measured(before, one["metric"], one["values"]["before"]), before))
    if after is not None:
        lines.append(label("after") + _measured(after, one["metric"], one["values"]["after"]))
    for number, change in enumerate(one["changes"]):
        head = " " * LABEL if number else label("cured by") if one["proved"] else label("changed")
        told = ""
        if change in one["without"]:
            numbers = _numbers([one["without"][change]])
            told = "   " + say("(without it {metric} {numbers})", metric=one["metric"], numbers=numbers)
        lines.append(f"{head}{change}{told}")
    if not one["proved"]:
        lines.append(label("not sure") + one["reason"])
    lines.append(label("train it") + command_of(one["command"]))
    return "\n".join(lines)


def _measured(run: Summary, metric: str, values: Sequence[float | None]) -> str:
    return say("{verdict}, {metric} {numbers}", verdict=verdict_word(run), metric=metric, numbers=_numbers(values))


def _numbers(values: Sequence[float | None]) -> str:
    """Return `0.96 (seeds 0.95, 0.96, 0.97)`; of a run without a number "none"."""
    told = ", ".join(say("none") if value is None else f"{value:.4g}" for value in values)
    known = [value for value in values if value is not None]
    if len(values) < 2 or not known:
        return told
    return say("{mean:.4g} (seeds {values})", mean=statistics.mean(known), values=told)


def _with_sentence(told: str, summary: Summary) -> str:
    return say("{told}: {sentence}", told=told, sentence=summary.verdict.sentence) if summary.verdict else told
