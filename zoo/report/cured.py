"""What a person reads at the end of `cure=true`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.archive.summary import Summary
from zoo.report.text import verdict_word


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
        parts.append(f"{count} of {len(sick)} sick runs cured, {well} were not sick; {len(runs)} runs in all")
    return "\n\n".join(parts)


def _part(one: Mapping[str, Any], runs: Mapping[str, Summary]) -> str:
    before, after = runs[one["before"]], runs.get(one["after"] or "")
    lines = [f"run       {' '.join(one['words']) or before.name}"]
    if not before.finished:
        return "\n".join([*lines, f"{before.status!s:10}{before.reason or 'it could not say why'}"])
    if not one["changes"]:
        lines.append(f"verdict   {verdict_word(before)}{_sentence(before)}")
        told = one["reason"] or "nothing to cure"
        return "\n".join([*lines, f"{'not cured' if one['reason'] else '':10}{told}"])
    metric = one["metric"]
    lines.append(f"before    {verdict_word(before)}, {metric} {_numbers(one['values']['before'])}{_sentence(before)}")
    if after is not None:
        lines.append(f"after     {verdict_word(after)}, {metric} {_numbers(one['values']['after'])}")
    for number, change in enumerate(one["changes"]):
        told = f"   (without it {metric} {_numbers([one['without'][change]])})" if change in one["without"] else ""
        lines.append(f"{'' if number else 'cured by' if one['proved'] else 'changed':10}{change}{told}")
    if not one["proved"]:
        lines.append(f"not sure  {one['reason']}")
    lines.append(f"train it  python train.py {' '.join(_quoted(word) for word in one['command'])}")
    return "\n".join(lines)


def _numbers(values: Sequence[float | None]) -> str:
    """Return `0.96 (seeds 0.95, 0.96, 0.97)`; of a run without a number "none"."""
    told = ", ".join("none" if value is None else f"{value:.4g}" for value in values)
    known = [value for value in values if value is not None]
    return f"{statistics.mean(known):.4g} (seeds {told})" if len(values) > 1 and known else told


def _sentence(summary: Summary) -> str:
    return f": {summary.verdict.sentence}" if summary.verdict else ""


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(" (){}[]$*!") else word
