"""Compare the recorded runs that a filter of MLflow's finds, as a sweep is compared; or once more those of a sweep.

python -m zoo.report "params.data = 'digits' and tags.verdict != 'healthy'"
python -m zoo.report mlruns/sweeps/2026-11-30_12-00-00-000000
"""

import argparse
import gc
import time
from pathlib import Path


def main() -> None:
    """Compare recorded runs: `python -m zoo.report QUERY`."""
    from zoo.errors import reported

    parser = argparse.ArgumentParser(prog="python -m zoo.report", description="Compare recorded runs.")
    told = "MLflow's filter syntax: \"tags.verdict = 'vanishing' and metrics.seconds < 60\"; or the folder of a sweep"
    parser.add_argument("query", help=told)
    parser.add_argument("--experiment", default="gradient-zoo", help="of MLflow")
    parser.add_argument("--uri", help="of the tracking store, if it is not the embedded one")
    parser.add_argument("--out", type=Path, help="folder for comparison.html and comparison.png")
    arguments = parser.parse_args()
    gc.disable()  # a thousand runs are many objects, that all stay: looking through them took a quarter of the time
    with reported():
        if (Path(arguments.query) / "sweep.json").is_file():
            compare_sweep(Path(arguments.query).resolve(), arguments.out)
        else:
            compare(**vars(arguments))


def compare(query: str, experiment: str, uri: str | None, out: Path | None) -> None:
    """Write the comparison of the recorded runs that `query` finds, and print their table.

    Raises:
        UserError: if the query is none of MLflow's, or finds nothing.
    """
    from mlflow.exceptions import MlflowException

    from zoo.archive.differences import told_apart
    from zoo.archive.summary import Summary
    from zoo.config import home
    from zoo.errors import UserError
    from zoo.report.pictures import draw_missing
    from zoo.report.run_page import write_missing
    from zoo.tracking import Store

    store = Store(home(), experiment, uri)
    out = out or home() / "mlruns" / "reports" / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        found = store.finished(query)
    except MlflowException as error:
        raise UserError(f"the query cannot be read: {error}") from error
    if not found:
        raise UserError(f"no finished run of the experiment {experiment} answers to: {query}")
    summaries = [Summary.read(store.folder_of(run, out / "runs")) for run in found]
    folders = [summary.folder for summary in summaries]
    write_missing(folders)
    draw_missing(folders)
    runs, keys = told_apart(summaries, [run.data.params for run in found])
    written = _written(runs, keys, query or f"all finished runs of {experiment}", out, store.experiment_id)
    print(f"compare   {written[0]}")


def compare_sweep(folder: Path, out: Path | None) -> None:
    """Write the comparison of a sweep's runs, and of a search what it learned; print their table.

    Raises:
        UserError: if none of them is finished.
    """
    from zoo.archive.sweep import SweepFolder
    from zoo.errors import UserError
    from zoo.report.pictures import draw_missing
    from zoo.report.run_page import write_missing
    from zoo.report.search import draw_search

    sweep = SweepFolder(folder)
    known, runs = sweep.read(), sweep.summaries()
    if not any(run.finished for run in runs):
        raise UserError(f"{folder}: no run of this sweep is finished.")
    finished = [run.folder for run in runs if run.finished]
    write_missing(finished)
    draw_missing(finished)
    keys, title = known.get("varying", []), f"sweep {folder.name}"
    written = _written(runs, keys, title, out or folder, known.get("experiment_id"))
    for path in [*written, *draw_search(folder)]:
        print(f"compare   {path}")


def _written(runs: list, keys: list[str], title: str, out: Path, experiment_id: str | None) -> list[Path]:
    """Print the table of these runs, and return the files of their comparison."""
    from zoo.report.comparison import write_comparison
    from zoo.report.paired import compared_text

    print(compared_text(runs, title, keys))
    out.mkdir(parents=True, exist_ok=True)
    return write_comparison(runs, keys, out, title, experiment_id=experiment_id)


if __name__ == "__main__":
    main()
