"""Who trains and who validates: indices from labels, with each class's share kept.

`strata` is (n,) int: the classes, or all 0 for regression; `count` is how many there are in the whole data.
"""

import math

import numpy as np

from zoo.errors import UserError

Indices = tuple[np.ndarray, np.ndarray]


def stratified_order(strata: np.ndarray, seed: int) -> np.ndarray:
    """Return a random order of the samples of which any beginning holds each class in its share, within one sample."""
    place = np.empty(len(strata))
    rng = np.random.default_rng(seed)
    for stratum, size in zip(*np.unique(strata, return_counts=True), strict=True):
        place[strata == stratum] = (rng.permutation(size) + rng.random()) / size
    return np.argsort(place, kind="stable")


def take_out(strata: np.ndarray, count: int, share: float, seed: int, what: str) -> Indices:
    """Return (who stays, the `share` that is taken out), in random order; `what` names the option in an error."""
    from sklearn.model_selection import train_test_split

    _check_sizes(strata, count, 2, what)
    n, taken = len(strata), math.ceil(share * len(strata))
    if min(taken, n - taken) < count:
        each = f"{count}, one a class" if count > 1 else "one"
        raise UserError(f"{what} splits {n} samples into {n - taken} and {taken}, and each needs {each}: change it.")
    parts = train_test_split(np.arange(n), test_size=share, stratify=strata, random_state=seed)
    stay, out = map(np.asarray, parts)
    return stay, out


def take_fold(strata: np.ndarray, count: int, folds: int, fold: int, seed: int) -> Indices:
    """Return (the other folds, fold number `fold`), in random order."""
    from sklearn.model_selection import StratifiedKFold

    _check_sizes(strata, count, folds, f"data.folds={folds}")
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(strata, strata))
    rng = np.random.default_rng(seed)  # scikit-learn keeps the data's order, which may be by class
    stay, out = splits[fold]
    return rng.permutation(stay), rng.permutation(out)


def _check_sizes(strata: np.ndarray, count: int, needed: int, what: str) -> None:
    sizes = np.bincount(strata, minlength=count)
    if sizes.min() < needed:
        each, least = (" of each class", f"class {sizes.argmin()} has") if count > 1 else ("", "there are")
        raise UserError(f"{what} needs {needed} samples{each}, {least} {sizes.min()}: give more, or raise data.limit.")
