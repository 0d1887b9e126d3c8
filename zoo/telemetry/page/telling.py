"""What a page tells in words: the verdict with evidence and cures, what was found, what was set."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.telemetry.page.bilingual import SIGNS, both, escaped, of_text, of_word
from zoo.telemetry.page.told import Told


def head_section(told: Told) -> str:
    """Return the page's head: name, facts, the switch of languages, and how a second run is laid over."""
    facts = "".join(f"<div><dt>{of_text(word)}</dt><dd>{of_text(value)}</dd></div>" for word, value in told.facts)
    chooser = f'<label>{both("lay over, of its sweep")} <select id="sibling"></select></label>' if told.siblings else ""
    compare = (
        f'<div class="bar controls">{chooser}'
        f'<label class="file">{both("lay another run over: choose its page, or drop it here")}'
        '<input class="hidden" type="file" id="file" accept=".html,text/html"></label>'
        f'<button type="button" id="alone" hidden>{both("this run alone")}</button></div>'
    )
    return (
        f'<header><div class="bar"><h1>{escaped(told.name)}</h1>'
        '<button type="button" id="language" class="controls">'
        '<span lang="en">中文</span><span lang="zh">English</span></button></div>'
        f'<dl class="facts">{facts}</dl>{compare if told.recorded else ""}'
        '<p id="other" role="status" hidden></p></header>'
    )


def verdict_section(told: Told) -> str:
    """Return the verdict, and where it stopped being numbers or why it did not finish."""
    failed = "".join(f"<li>{of_text(line)}</li>" for line in told.failed)
    failed = f'<ul class="lost">{failed}</ul>' if failed else ""
    if told.verdict is not None:
        return f'<section id="verdict">{verdict_html(told.verdict, told.command)}{failed}</section>'
    return f'<section id="verdict"><h2>{both("what went wrong")}</h2>{failed}</section>' if failed else ""


def verdict_html(verdict: Any, command: str = "") -> str:
    """Return a verdict with its evidence and its cures, each of which is copied by a click.

    Args:
        verdict: a `zoo.telemetry.findings.Verdict`.
        command: that makes the training again, to which a cure's override is added.
    """
    sure = f" <small>{_confidence(verdict.confidence)}</small>" if verdict.confidence else ""
    cause = f'<p class="soft">{both("cause")}: {of_word(verdict.cause)}</p>' if verdict.cause else ""
    lines = [
        f'<h2 class="verdict">{sign(verdict.name)}{of_word(verdict.name)}{sure}</h2>',
        f'<p>{of_text(verdict.sentence)}</p>{cause}<div class="columns">',
    ]
    if cures := _cures(verdict.cures, verdict.remedies, command):
        lines.append(f"<div><h3>{both('what to try')}</h3><ol>{cures}</ol></div>")
    if verdict.evidence:
        lines.append(f"<div><h3>{both('evidence')}</h3>{_evidence(verdict.evidence)}</div>")
    return "".join([*lines, "</div>"])


def sign(verdict: str) -> str:
    """Return the sign of a verdict, as a look and not as text: the word beside it says what it is."""
    return f'<span class="sign" aria-hidden="true" data-sign="{SIGNS.get(verdict, "·")}"></span>'


def _confidence(value: float) -> str:
    return both("confidence {confidence:.2f}", confidence=value)


def _cures(cures: Sequence[Any], remedies: Sequence[str], command: str) -> str:
    """Each cure with its reason, as list items; then the overrides that no cure has."""
    lines = []
    for cure in cures:
        told = f"{of_text(cure.name)}: <code>{of_text(cure.change)}</code>{_copy(cure.change)}"
        override = _override(cure.override, command) if cure.override in remedies else ""
        reason = f' <span class="soft">{of_text(cure.reason)}</span>' if cure.reason else ""
        lines.append(f"<li>{told}{override}{reason}</li>")
    known = {cure.override for cure in cures}
    return "".join([*lines, *(f"<li>{_override(word, command)}</li>" for word in remedies if word not in known)])


def _override(override: str, command: str) -> str:
    if not override:
        return ""
    return f" <code>{escaped(override)}</code>{_copy(f'{command} {override}'.strip())}"


def _copy(text: str) -> str:
    return f'<button type="button" class="copy controls" data-copy="{escaped(text)}">{both("copy")}</button>'


def _evidence(evidence: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escaped(name.replace("_", " "))}</th><td class="number">{_digits(value)}</td></tr>'
        for name, value in evidence.items()
    )
    return f'<table class="told"><tbody>{rows}</tbody></table>'


def _digits(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else escaped(value)


def found_section(told: Told) -> str:
    """Return what was found beside what the verdict tells."""
    found = told.verdict.further if told.verdict is not None else ()
    return (
        f'<section id="found"><h2>{both("what else was found")}</h2>{findings_html(found)}</section>' if found else ""
    )


def findings_html(findings: Sequence[Any]) -> str:
    """Return findings as a list: what, where, how sure, and what to do."""
    lines = []
    for finding in findings:
        kind = both("fault") if finding.fault else both("note")
        cures = _cures(finding.cures, [cure.override for cure in finding.cures], "")
        sure = f'<span class="soft">({of_word(finding.cause)}, {_confidence(finding.confidence)})</span>'
        told = f"<b>{kind}: {of_text(finding.title)}</b> {sure}<br>{of_text(finding.sentence)}"
        lines.append(f"<li>{told}{f'<ul>{cures}</ul>' if cures else ''}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def setting_section(told: Told) -> str:
    """Return what differs from the defaults, and the command that makes the run again."""
    if not told.command:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><code>{escaped(key)}</code></th>'
        f"<td><code>{escaped(value)}</code></td><td><code>{escaped(usual)}</code></td></tr>"
        for key, value, usual in told.differs
    )
    names = (both("setting"), both("this run"), both("default"))
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    table = f'<table class="told"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    differs = f'<div class="wide">{table}</div>' if rows else f"<p>{both('Nothing.')}</p>"
    return (
        f'<section id="setting"><h2>{both("what differs from the defaults")}</h2>'
        f"{differs}"
        f"<h3>{both('the command that makes this run again')}{_copy(told.command)}</h3>"
        f"<pre><code>{escaped(told.command)}</code></pre></section>"
    )
