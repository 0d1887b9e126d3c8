"""run.html: all that is known of a run on one page, written with the run, in no time and without matplotlib."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.archive.defaults import differing_settings
from zoo.archive.run import RunFolder, read_run, theory_of_run
from zoo.archive.sweep import SweepFolder
from zoo.errors import disk_full
from zoo.report.text import command_of, duration, flight_told, stopped_told
from zoo.telemetry.language import say
from zoo.telemetry.page.file import write_page
from zoo.telemetry.page.told import Probed, Told, no_samples

FILE = "run.html"
MOST_SIBLINGS = 1000


def write_run_page(run: RunFolder, samples: Callable[[int], Sequence[int]] | None = None) -> Path:
    """Write the page of a run into its folder; return its path.

    Args:
        run: as it lies in its folder, or is to lie there.
        samples: the indices of the samples in a step's batch, none where they are not known; `None` for those of the
            step that failed alone.
    """
    return write_page(run.summary.folder / FILE, told_of(run, samples))


def page_if_possible(run: RunFolder, samples: Callable[[int], Sequence[int]] | None = None) -> None:
    """Write the page; if that fails, say so and no more: a page is not worth a training."""
    try:
        write_run_page(run, samples)
    except Exception as error:
        if disk_full(error):
            raise
        told = f"{type(error).__name__}: {error}"
        print(f"the page of {run.summary.folder} could not be written: {told}", file=sys.stderr)


def page_of_folder(folder: Path) -> None:
    """Write the page of a run from what lies in its folder, if that can be."""
    try:
        run = read_run(folder)
    except Exception as error:  # of files that were cut off
        print(f"the page of {folder} could not be written: {type(error).__name__}: {error}", file=sys.stderr)
        return
    page_if_possible(run)


def write_missing(folders: Iterable[Path]) -> None:
    """Give each run that has none its page: its process may have been killed before."""
    for folder in folders:
        if not (folder / FILE).is_file():
            page_of_folder(folder)


def told_of(run: RunFolder, samples: Callable[[int], Sequence[int]] | None = None) -> Told:
    """Say what is on the page of a run; arguments as of `write_run_page`."""
    summary, history = run.summary, run.history
    ends = history.epoch_ends if history is not None else np.arange(1, len(run.epochs.get("epoch", ())) + 1)
    return Told(
        summary.name,
        _facts(run),
        verdict=summary.verdict,
        steps=history.told if history is not None and len(history) else None,
        probed=Probed.of_arrays(run.probes, ends) if run.probes is not None else None,
        theory=theory_of_run(run),
        epochs=_epochs(run),
        failed=[*filter(None, [summary.reason]), *flight_told(summary.flight, history)],
        samples=samples or _samples(summary.flight),
        differs=differing_settings(run.config, summary.choices),
        command=command_of(summary.overrides),
        siblings=_siblings(summary.folder),
    )


def _facts(run: RunFolder) -> list[tuple[str, str]]:
    summary = run.summary
    facts = [(say("parameters"), f"{summary.parameters:,}")] if summary.parameters else []
    if summary.epochs:
        facts.append((say("epochs"), f"{summary.epochs}{stopped_told(summary.stopped)}"))
    if summary.steps:
        facts.append((say("steps"), f"{summary.steps:,}"))
    if summary.seconds:
        facts.append((say("time"), duration(summary.seconds)))
    facts += [(name, f"{value:.4g}") for name, value in summary.metrics.items() if name.startswith("test_")]
    return facts if summary.finished else [*facts, (say("status"), str(summary.status))]


def _epochs(run: RunFolder) -> dict[str, np.ndarray]:
    rates = {"learning_rate": run.rates} if run.rates is not None and len(run.rates) else {}
    return {**run.epochs, **rates}


def _samples(flight: Mapping[str, Any] | None) -> Callable[[int], Sequence[int]]:
    if flight is None:
        return no_samples
    return lambda step: flight["indices"] if step == flight["step"] else ()


def _siblings(folder: Path) -> tuple[int, int] | None:
    """Return how many runs its sweep has, and which of them this is; `None` for a run of its own."""
    total = SweepFolder(folder.parent).read().get("total")
    if not total or not folder.name.isdigit():
        return None
    return min(int(total), MOST_SIBLINGS), int(folder.name)
