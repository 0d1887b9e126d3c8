"""What a notebook shows of a verdict, a check-up, a probe or a history: the parts of a page, in the language in use."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.telemetry.language import language
from zoo.telemetry.page.bilingual import both, escaped
from zoo.telemetry.page.telling import findings_html, verdict_html

SPAN = re.compile(r'<span lang="(\w+)">([^<]*)</span>')
BUTTON = re.compile(r"<button .*?</button>")
MOST_ROWS = 40  # of a table: of more the first and the last are shown
BAR = 90  # pixels
STYLE = (
    ".gradient-zoo h2{font-size:1.15em;margin:0 0 .3em}.gradient-zoo h3{font-size:1em;margin:.6em 0 0}"
    ".gradient-zoo td,.gradient-zoo th{text-align:right;padding:1px 10px}.gradient-zoo th[scope=row]{text-align:left}"
    ".gradient-zoo .sign::before{content:attr(data-sign);margin-right:.3em}"
    ".gradient-zoo .bar{display:inline-block;height:.6em;background:#4a90c8;vertical-align:middle}"
)


def in_notebook(markup: str) -> str:
    """Return a part of a page for a notebook: in one language, without what only a script does."""
    chosen = language()
    markup = SPAN.sub(lambda found: found[2] if found[1] == chosen else "", BUTTON.sub("", markup))
    return f'<div class="gradient-zoo"><style>{STYLE}</style>{markup}</div>'


def verdict_shown(verdict: Any) -> str:
    """Return a `Verdict` with all that was found."""
    found = verdict.further
    others = f"<h3>{both('what else was found')}</h3>{findings_html(found)}" if found else ""
    return in_notebook(verdict_html(verdict) + others)


def findings_shown(head: str, findings: Sequence[Any], left: str) -> str:
    """Return the findings of a check-up under its head, and what was not looked at."""
    rest = f"<p>{escaped(left)}</p>" if left else ""
    return in_notebook(f"<p>{escaped(head)}</p>{findings_html(findings) if findings else ''}{rest}")


def table_shown(head: str, layers: Sequence[str], columns: Sequence[tuple[str, np.ndarray]]) -> str:
    """Return a table, a row a layer.

    Args:
        head: what it is a table of.
        layers: names.
        columns: pairs of a word, as `say` returns it, and (layers,) numbers; the first have a bar on a log scale.
    """
    kept = list(range(len(layers)))
    if len(layers) > MOST_ROWS:
        kept = kept[: MOST_ROWS // 2] + kept[-MOST_ROWS // 2 :]
    bars = _bars(columns[0][1])
    heads = "".join(f"<th>{escaped(word)}</th>" for word, _ in columns)
    rows = []
    for place, i in enumerate(kept):
        if i and i != kept[place - 1] + 1:
            rows.append(f'<tr><th scope="row">… {len(layers) - len(kept)}</th></tr>')
        bar = f'<td style="text-align:left"><span class="bar" style="width:{bars[i]:.0f}px"></span></td>'
        cells = "".join(f"<td>{value:.3g}</td>" for value in (values[i] for _, values in columns))
        rows.append(f'<tr><th scope="row">{escaped(layers[i])}</th>{cells}{bar}</tr>')
    return in_notebook(
        f"<p>{escaped(head)}</p><table><thead><tr><th></th>{heads}<th></th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bars(values: np.ndarray) -> np.ndarray:
    """Widths in pixels, from the smallest decade to the largest; 0 where a value has no logarithm."""
    values = np.asarray(values, float)
    usable = np.isfinite(values) & (values > 0)
    if not usable.any():
        return np.zeros(len(values))
    logs = np.log10(values, where=usable, out=np.zeros(len(values)))
    low, high = np.floor(logs[usable].min()), logs[usable].max()
    return np.where(usable, 2 + (BAR - 2) * (logs - low) / max(high - low, 1.0), 0.0)
