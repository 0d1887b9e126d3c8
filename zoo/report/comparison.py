"""The comparison of many runs: one page that opens anywhere, and one picture for slides.

All that is shown comes from the runs' summaries and, for the profiles, from the probes in their folders. Runs of one
seed share the probe batch, so its gradients can be compared whatever their own batch sizes are.
"""

from collections.abc import Sequence
from pathlib import Path

from zoo.archive.defaults import with_values
from zoo.archive.summary import Summary
from zoo.report.entries import entry_of
from zoo.report.pictures.style import save
from zoo.report.slide import comparison_figure
from zoo.report.sweep_page import page_text


def write_comparison(
    runs: Sequence[Summary],
    keys: Sequence[str],
    folder: str | Path,
    title: str,
    *,
    experiment_id: str | None = None,
    mlflow: str = "http://127.0.0.1:5000",
) -> list[Path]:
    """Write `comparison.html` and `comparison.png` into `folder`; return their paths.

    Args:
        runs: their summaries.
        keys: of the overrides that differ between runs.
        folder: of the sweep.
        title: of the page.
        experiment_id: of the MLflow experiment; without it runs have no links.
        mlflow: address of MLflow's pages.
    """
    folder = Path(folder)
    entries = [entry_of(summary, keys) for summary in with_values(runs, keys)]
    entries.sort(key=lambda entry: (entry.metric is None, entry.metric.rank if entry.metric else 0.0))
    page, picture = folder / "comparison.html", folder / "comparison.png"
    link = f"{mlflow.rstrip('/')}/#/experiments/{experiment_id}/runs/" if experiment_id else None
    page.write_text(page_text(entries, list(keys), title, folder, link), encoding="utf-8")
    save(comparison_figure(entries, list(keys), title), picture)
    return [page, picture]
