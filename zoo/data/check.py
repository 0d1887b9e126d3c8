"""What a person's options and arrays may be. Each error names the option or the part, and the cure."""

import numpy as np

from zoo.errors import UserError

CHOICES = {
    "scaling": ("unit", "standardize", "none"),
    "augmentation": ("none", "crop_flip"),
    "task": ("auto", "categorical", "binary", "regression"),
}
MOST_CLASSES = 1_000_000  # a label beyond it is a number of something else
LARGEST = 1e18  # an input beyond it leaves float32 when it is squared
NUMBER = "number the classes 0, 1, ... (for regression: data=npz data.task=regression loss=mse)"

Part = tuple[np.ndarray, np.ndarray]


def check_choice(option: str, value) -> None:
    """Raise `UserError` if `value` is not one of the option's."""
    if value not in CHOICES[option]:
        raise UserError(f"data.{option}={value}: choose one of {', '.join(CHOICES[option])}.")


def check_split(validation, folds, fold, limit, batch_size) -> None:
    """Raise `UserError` if a number of the split is of the wrong kind or out of range."""
    if not isinstance(validation, int | float) or not 0 < validation < 1:
        raise UserError(f"data.validation={validation}: give a share between 0 and 1, such as 0.1.")
    if not _whole(folds) or folds < 0 or folds == 1:
        raise UserError(f"data.folds={folds}: give 2 or more, or 0 for no folds.")
    if folds and not (_whole(fold) and 0 <= fold < folds):
        raise UserError(f"data.fold={fold}: give 0 to {folds - 1}, since data.folds={folds}.")
    if limit is not None and not (_whole(limit) and limit > 0):
        raise UserError(f"data.limit={limit}: give a number of samples, or null for all.")
    if not _whole(batch_size) or batch_size < 1:
        raise UserError(f"batch_size={batch_size}: give 1 or more.")


def check_noise(label_noise, task: str) -> float:
    """Return a share of labels.

    Raises:
        UserError: if it is none, or the data have no labels.
    """
    if not isinstance(label_noise, int | float) or not 0 <= label_noise <= 1:
        raise UserError(f"data.label_noise={label_noise}: give a share between 0 and 1, such as 0.3.")
    if task == "regression":
        raise UserError(f"data.label_noise={label_noise}: regression data have no labels: say data.label_noise=0.")
    return label_noise


def check_steps(steps_per_execution: int, steps: int) -> None:
    """Raise `UserError` if the backend cannot run `steps_per_execution` steps at once where an epoch has `steps`.

    The others read a batch before the first epoch, so that what ends after an epoch does not begin with the first one.
    """
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise UserError(
            f"steps_per_execution={steps_per_execution}: on {backend} it must divide an epoch's {steps} steps: "
            "say steps_per_execution=1."
        )


def _whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_parts(name: str, parts: dict[str, Part], task: str, files: bool) -> tuple[dict[str, Part], str, int]:
    """Return the parts in their final shapes, the task ("auto" resolved) and the number of output units.

    x becomes (n, features) or (n, h, w, c), or stays (n,) paths where `files`; y becomes (n,) int32 labels, or (n, k)
    float32 for binary (k = 1) and regression.
    """
    if task == "auto":
        y = np.asarray(parts["train"][1])
        task = "regression" if y.dtype.kind == "f" and not _is_one_hot(y) else "categorical"
    checked = {}
    for part, (x, y) in parts.items():
        x, y, where = np.asarray(x), np.asarray(y), f"{name}, {part} part"
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
            raise UserError(f"{where}: x is {x.shape}, y is {y.shape}: give as many labels as samples.")
        if len(x) == 0:
            raise UserError(f"{where}: no samples.")
        x = x if files else _check_x(x, where)
        checked[part] = x, _check_targets(y, where) if task == "regression" else _check_labels(y, where)
    x, y = checked["train"]
    for part, (other_x, other_y) in checked.items():
        if other_x.shape[1:] != x.shape[1:] or other_y.shape[1:] != y.shape[1:]:
            raise UserError(
                f"{name}: a {part} sample is x {other_x.shape[1:]}, y {other_y.shape[1:]}, "
                f"a training one x {x.shape[1:]}, y {y.shape[1:]}: give all parts the same shape."
            )
    if task == "regression":
        return checked, task, y.shape[1]
    classes = _check_classes(name, {part: y for part, (_, y) in checked.items()})
    if task == "categorical":
        return checked, task, classes
    if classes != 2:
        raise UserError(f"{name}: {classes} classes, binary takes 2: say data.task=categorical loss=crossentropy.")
    return {part: (x, y[:, None].astype(np.float32)) for part, (x, y) in checked.items()}, task, 1


def check_other(name: str, part: Part, task: str, files: bool) -> Part:
    """Return a part on which a model is tested that was trained on others: x and y as of `check_parts`, labels (n,)."""
    x, y = (np.asarray(array) for array in part)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise UserError(f"{name}: x is {x.shape}, y is {y.shape}: give as many labels as samples, one or more.")
    x = x if files else _check_x(x, name)
    return x, _check_targets(y, name) if task == "regression" else _check_labels(y, name)


def check_classes_known(
    name: str, y: np.ndarray, named: tuple[str, ...] | None, known: tuple[str, ...] | None, classes: int
) -> np.ndarray:
    """Return (n,) labels as a model has them that was trained on classes called `known`, where they are `named`."""
    if named is not None and known is not None:
        if strange := [found for found in named if found not in known]:
            raise UserError(f"{name}: the run was trained on no class {strange[0]}, but on {', '.join(known[:10])}.")
        return np.array([known.index(found) for found in named], np.int32)[y]
    count = max(classes, 2)
    if y.max() >= count:
        raise UserError(f"{name}: it holds class {y.max()}, and the run was trained on 0 to {count - 1}.")
    return y


def _check_x(x: np.ndarray, where: str) -> np.ndarray:
    if x.dtype.kind not in "biuf":
        raise UserError(f"{where}: x is of type {x.dtype}: give numbers.")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise UserError(f"{where}: x is {x.shape}: give (n, features), (n, h, w) or (n, h, w, c).")
    if x.dtype.kind == "f" and not (finite := np.isfinite(x)).all():
        raise UserError(f"{where}: x holds NaN or infinity (first: row {_first(~finite)}): fill or drop those samples.")
    largest = max(float(x.max()), -float(x.min()))
    if largest > LARGEST:
        row = _first(np.abs(x) > LARGEST)
        raise UserError(
            f"{where}: x reaches {largest:.1e}, which float32 cannot square (first: row {row}): scale it or drop "
            "those samples."
        )
    return x[..., None] if x.ndim == 3 else x


def _first(odd: np.ndarray) -> int:
    """Return the first sample of (n, ...) flags that has one set."""
    return int(np.argmax(odd.reshape(len(odd), -1).any(axis=1)))


def _check_numbers(y: np.ndarray, where: str) -> None:
    if y.dtype.kind not in "biuf":
        raise UserError(f"{where}: y is of type {y.dtype}: give numbers (classes as 0, 1, ...).")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise UserError(f"{where}: y holds NaN or infinity (first: row {_first(~np.isfinite(y))}): drop those samples.")


def _check_targets(y: np.ndarray, where: str) -> np.ndarray:
    _check_numbers(y, where)
    if y.ndim > 2 or 0 in y.shape:
        raise UserError(f"{where}: y is {y.shape}: give (n,) or (n, targets).")
    return y.reshape(len(y), -1).astype(np.float32)


def _check_labels(y: np.ndarray, where: str) -> np.ndarray:
    _check_numbers(y, where)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if _is_one_hot(y):
        y = y.argmax(1)
    if y.ndim != 1:
        raise UserError(
            f"{where}: y is {y.shape}, not one-hot: give one label a sample, or rows of one 1 and else 0 "
            "(of probabilities, y.argmax(1); for regression: data=npz data.task=regression loss=mse)."
        )
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        odd = y[y != np.floor(y)][0]
        raise UserError(f"{where}: y holds {odd}, not a whole label: {NUMBER}.")
    for label in (y.min(), y.max()):
        if not 0 <= label < MOST_CLASSES:
            raise UserError(f"{where}: y holds the label {label}: {NUMBER}.")
    return y.astype(np.int32)


def _is_one_hot(y: np.ndarray) -> bool:
    """Whether y is (n, classes) rows of one 1 and else 0, of any type; one column alone holds labels."""
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "biuf":
        return False
    ones = y == 1
    return bool((ones.sum(1) == 1).all() and (ones | (y == 0)).all())


def _check_classes(name: str, labels: dict[str, np.ndarray]) -> int:
    """Return the number of classes. Each needs a training sample: an output without one cannot be learnt."""
    present = np.unique(labels["train"])
    if len(present) < 2:
        raise UserError(f"{name}: all training samples are of class {present[0]}: give two classes or more.")
    gaps = np.setdiff1d(np.arange(len(present)), present)
    if len(gaps):
        raise UserError(f"{name}: labels go up to {present[-1]} and none is {gaps[0]}: {NUMBER}.")
    for part, y in labels.items():
        if y.max() > present[-1]:
            raise UserError(f"{name}, {part} part: class {y.max()} has no training sample: give some or drop it.")
    return len(present)
