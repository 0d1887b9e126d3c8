"""Findings for programs: a stable form of what `python -m zoo.check --json` prints.

    {"schema": 1, "of": PATH, "verdict": {"name", "cause", "layer", "confidence", "sentence"} or null,
     "findings": [{"cause", "title", "sentence", "confidence", "fault", "layer", "evidence": {NAME: NUMBER},
                   "cures": [{"name", "change", "reason", "override"}]}],
     "left": what was not looked at, "" if nothing}

`cause` is one of `zoo.telemetry.findings.CAUSES`, `fault` whether the confidence is above 0.5; a number that is none is
null. Fields may be added under the same schema number; none is taken away or changes its meaning.
"""

import dataclasses
import math
from collections.abc import Sequence

from zoo.telemetry.findings import Finding, Verdict

SCHEMA = 1


def as_json(path: str, findings: Sequence[Finding], verdict: Verdict | None = None, left: str = "") -> dict:
    """Return the findings on what lies at `path`, as JSON has them."""
    told = None
    if verdict is not None:
        told = {name: getattr(verdict, name) for name in ("name", "cause", "layer", "confidence", "sentence")}
    return {
        "schema": SCHEMA,
        "of": path,
        "verdict": told,
        "findings": [_finding(finding) for finding in findings],
        "left": left,
    }


def _finding(finding: Finding) -> dict:
    content = dataclasses.asdict(finding) | {"fault": finding.fault}
    numbers = {name: value if math.isfinite(value) else None for name, value in finding.evidence.items()}
    return content | {"evidence": numbers}
