"""What a search learned: which of what it chose matters, and how the objective goes with each."""

import warnings
from pathlib import Path
from typing import Any

from zoo.archive.study import Search, imported
from zoo.report.pictures.style import save


def draw_search(folder: Path) -> list[Path]:
    """Draw importances and slices of the search in a sweep's folder, by Optuna's own functions; return the pictures.

    There are none of any other sweep, nor of a search with fewer than two trials that are complete.
    """
    search = Search.of(folder)
    if search is None:
        return []
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")  # Optuna draws with pyplot, which would look for a screen
    optuna = imported()
    study = search.study(folder)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 2:
        return []
    written = []
    for i, objective in enumerate(search.objectives):
        several = len(search.objectives) > 1
        options = {"target": lambda trial, i=i: trial.values[i]} if several else {}
        for name, draw in (("importances", _importances), ("slices", _slices)):
            path = folder / (f"{name}_{objective}.png" if several else f"{name}.png")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # these functions are experimental
                try:
                    figure = draw(study, target_name=objective, **options)
                except (RuntimeError, ValueError):  # of values that are all the same nothing follows
                    continue
            figure.tight_layout()  # Optuna's was of another size
            save(figure, path)
            pyplot.close(figure)
            written.append(path)
    return written


def _importances(study, **options) -> Any:  # a figure; by its types it may be a part of one
    from optuna.visualization.matplotlib import plot_param_importances

    figure: Any = plot_param_importances(study, **options).figure
    figure.set_size_inches(8, 1.5 + 0.5 * len(figure.axes[0].patches))
    return figure


def _slices(study, **options) -> Any:
    import numpy as np
    from optuna.visualization.matplotlib import plot_slice

    axes: Any = plot_slice(study, **options)
    figure = np.atleast_1d(axes).ravel()[0].figure
    figure.set_size_inches(4 * len([axes for axes in figure.axes if axes.get_xlabel()]), 4)
    return figure
