"""A table of a person's own: one row a sample, one column what is to be predicted, the others what it is told from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.prepare import Dataset, Source, prepare
from zoo.errors import UserError
from zoo.refusals import FEW, no_such_column

if TYPE_CHECKING:
    import pandas

SEPARATORS = {".tsv": "\t", ".csv": None, ".txt": None}  # None: pandas finds it: a comma, semicolon, tab ...
MOST_CLASSES = 0.2  # of the rows: whole numbers of more kinds are hardly classes


def table(path: str | None = None, target: str | None = None, task: str = "auto", **options) -> Dataset:
    """A CSV or Parquet file, with a header: 20 % of its rows are the test part, the same ones whatever the seed.

    Features are numbers, or true and false; none may be missing. The target's classes may be words or numbers of any
    kind; they are numbered in their order.

    Args:
        path: of the file: .csv, .tsv or .txt, or .parquet.
        target: the column to predict.
        task: "categorical", "binary" (two classes, one output), "regression", or "auto": regression if the target holds
            fractions, else categorical. (`train.py` takes "auto" as categorical if the loss is a cross-entropy.)
        options: of `zoo.data.prepare`.
    """
    if path is None or target is None:
        raise UserError("data=table needs data.path=FILE.csv and data.target=COLUMN.")
    frame: Any = _read(path)
    columns = [str(column) for column in frame.columns]
    if target not in columns:
        raise UserError(no_such_column(target, path, columns))
    frame.columns = columns
    if twice := {column for column in columns if columns.count(column) > 1}:
        raise UserError(f"{path}: several columns are called {_some(sorted(twice))}: give each a name of its own.")
    x: Any = frame.drop(columns=target)
    y = frame[target]
    if (fitted := options.get("fitted")) is not None and fitted.columns is not None:
        if missing := [column for column in fitted.columns if column not in x.columns]:
            raise UserError(f"{path}: the run was trained on the column {missing[0]} too, which is not there.")
        x = x[list(fitted.columns)]
        frame = frame[[*x.columns, target]]
    if x.empty:
        raise UserError(f"{path}: it has no row, or no column beside {target}: give some to tell it from.")
    _check_missing(frame, path)
    labels, names = _labels(y, task, path)
    columns = tuple(x.columns)
    return prepare(
        Source(str(path), (_features(x, path), labels), task=task, class_names=names, columns=columns), **options
    )


def _read(path: str) -> "pandas.DataFrame":
    import pandas

    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"data.path={path}: there is no file {file.absolute()}.")
    kind = file.suffix.lower()
    if kind != ".parquet" and kind not in SEPARATORS:
        raise UserError(f"data.path={path}: give a table as .csv, .tsv or .parquet.")
    try:
        if kind == ".parquet":
            return pandas.read_parquet(file)
        separator = SEPARATORS[kind]
        return pandas.read_csv(file, sep=separator, engine="python" if separator is None else "c", encoding="utf-8-sig")
    except ImportError as error:
        raise UserError(
            f"data.path={path}: Parquet needs a package more: pip install pyarrow; or give a .csv."
        ) from error
    except Exception as error:  # of many kinds, as files are
        reason = " ".join(str(error).split())
        raise UserError(f"data.path={path}: not a readable {kind} table ({reason}): save it again.") from error


def _check_missing(frame: "pandas.DataFrame", path: str) -> None:
    for column in frame.columns:
        missing = frame[column].isna().to_numpy()
        if count := int(missing.sum()):
            raise UserError(
                f"{path}: {count} of {len(frame)} values of the column {column} are missing (first: row "
                f"{int(missing.argmax()) + 1}): fill them, or drop those rows or the column."
            )


def _features(x: "pandas.DataFrame", path: str) -> np.ndarray:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    for column in x.columns:
        if not (is_numeric_dtype(x[column]) or is_bool_dtype(x[column])):
            raise UserError(
                f"{path}: the column {column} holds {x[column].iloc[0]!r}, no number: leave it out, or give a column "
                "of 0 and 1 for each of its values (pandas.get_dummies)."
            )
    return x.to_numpy(np.float64)


def _labels(y: Any, task: str, path: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return numbers for regression; else class numbers, and what the classes are called."""
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

    number = is_numeric_dtype(y) and not is_bool_dtype(y)
    fractions = number and is_float_dtype(y) and not (y == y.round()).all()
    if task == "regression" or (task == "auto" and fractions):
        if not number:
            raise UserError(f"{path}: the column {y.name} holds {y.iloc[0]!r}, no number: say data.task=categorical.")
        return y.to_numpy(np.float64), None
    if fractions:
        raise UserError(f"{path}: the column {y.name} holds {y.iloc[0]}, no class: say data.task=regression loss=mse.")
    if task == "auto" and number and y.nunique() > MOST_CLASSES * len(y):
        told = f"{path}: the column {y.name} holds {y.nunique()} different numbers: classes or not?"
        raise UserError(f"{told} Say data.task=regression loss=mse, or data.task=categorical.")
    if number:
        y = y.astype(np.int64)  # a class is called 1, whether the file says 1 or 1.0
    names, labels = np.unique(y.to_numpy() if number else y.astype(str).to_numpy(str), return_inverse=True)
    return labels.astype(np.int64), tuple(str(name) for name in names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
