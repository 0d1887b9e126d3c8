"""What the data themselves tell: how well plain methods, which need no training by gradient, answer unseen samples.

Extremely randomized trees (Geurts et al. 2006) and a ridge (Hoerl & Kennard 1970), as scikit-learn has them. It is a
lower bound: a network can tell more than they do of pictures, texts and series.
"""

import numpy as np

from zoo.checkup.program import Program
from zoo.checkup.task import Task

SAMPLES = 1_200  # that are looked at, two thirds to learn from
FEATURES = 256  # of a sample; of more, means of neighbours
WORDS = 512  # rows into which tokens are counted
TREES = 40


def told_by(program: Program, task: Task) -> float:
    """Return how much of the targets the inputs tell, 0 (no more than a constant answer) to 1, on samples held out.

    Of classes it is the accuracy beyond the commonest class', of numbers R2; NaN where it cannot be had.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    from sklearn.linear_model import Ridge, RidgeClassifier

    index = program.mixed[:SAMPLES]
    features = _features([a[index] for a in program.inputs])
    if features is None or len(index) < 30:
        return np.nan
    cut = len(index) * 2 // 3
    if len(task.labels):
        y = task.labels[index]
        if len(np.unique(y[:cut])) < 2:
            return np.nan
        tried = (ExtraTreesClassifier(TREES, random_state=0), RidgeClassifier())
        right = [m.fit(features[:cut], y[:cut]).score(features[cut:], y[cut:]) for m in tried]
        commonest = float(np.mean(y[cut:] == np.bincount(y[:cut]).argmax()))
        return max(0.0, (max(right) - commonest) / (1 - commonest)) if commonest < 1 else np.nan
    y = np.nan_to_num(task.targets[index].reshape(len(index), -1)[:, :8].astype(np.float64))
    deviation = y[:cut].std(0)
    if not (deviation > 0).any():
        return np.nan
    y = (y - y[:cut].mean(0))[:, deviation > 0] / deviation[deviation > 0]
    tried = (ExtraTreesRegressor(TREES, random_state=0), Ridge())
    y = y[:, 0] if y.shape[1] == 1 else y
    said = [np.reshape(m.fit(features[:cut], y[:cut]).predict(features[cut:]), y[cut:].shape) for m in tried]
    error = min(float(np.mean((s - y[cut:]) ** 2)) for s in said)
    return max(0.0, 1 - error / float(np.var(y[cut:], axis=0).mean() or 1))


def _features(inputs: list[np.ndarray]) -> np.ndarray | None:
    """Return (samples, features): standardized numbers, and of tokens how often each occurs."""
    parts = []
    for a in inputs:
        if a.dtype.kind not in "biuf":
            continue
        flat = np.nan_to_num(a.reshape(len(a), -1).astype(np.float64), posinf=0.0, neginf=0.0)
        if a.ndim == 2 and flat.shape[1] > 3 and (flat == np.round(flat)).all() and flat.min() >= 0 and flat.max() > 16:
            parts.append(np.stack([np.bincount(row % WORDS, minlength=WORDS) for row in flat.astype(int)]))
        if flat.shape[1] > FEATURES:
            edges = np.linspace(0, flat.shape[1], FEATURES + 1).astype(int)[:-1]
            flat = np.add.reduceat(flat, edges, axis=1) if a.ndim < 4 else _pooled(a)
        parts.append(flat)
    if not parts:
        return None
    found = np.concatenate(parts, axis=1).astype(np.float64)
    return (found - found.mean(0)) / (found.std(0) + 1e-9)


def _pooled(pictures: np.ndarray) -> np.ndarray:
    """Return pictures, (n, height, width, channels), as grids of means of at most 12 times 12."""
    a = np.nan_to_num(pictures.astype(np.float32))
    if a.shape[1] < a.shape[-1]:  # channels first
        a = np.moveaxis(a, 1, -1)
    for axis in (1, 2):
        edges = np.unique(np.linspace(0, a.shape[axis], min(12, a.shape[axis]) + 1).astype(int)[:-1])
        a = np.add.reduceat(a, edges, axis=axis)
    return a.reshape(len(a), -1)[:, :1024]
