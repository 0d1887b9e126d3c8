"""`data=table`: real tables, written to files as a person has them."""

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from zoo import data
from zoo.errors import UserError


@pytest.fixture
def iris(tmp_path):
    raw = load_iris(as_frame=True)
    frame = raw.frame.drop(columns="target")
    frame["species"] = [raw.target_names[label] for label in raw.target]
    return frame, tmp_path / "iris.csv"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_with_classes_in_words(iris, separator):
    frame, path = iris
    frame.to_csv(path, index=False, sep=separator)
    made = data.table(str(path), "species", scaling="standardize")
    assert (made.task, made.classes, made.input_shape) == ("categorical", 3, (4,))
    assert made.class_names == ("setosa", "versicolor", "virginica")
    assert len(made.test[1]) == 30
    np.testing.assert_allclose(made.train[0].mean(0), 0, atol=1e-5)


def test_what_it_holds_is_what_the_same_arrays_hold(iris, tmp_path):
    frame, path = iris
    frame.to_csv(path, index=False)
    x, y = frame.drop(columns="species").to_numpy(), load_iris().target
    np.savez(tmp_path / "iris.npz", x=x, y=y)
    table, arrays = (
        data.table(str(path), "species", scaling="standardize"),
        data.npz(str(tmp_path / "iris.npz"), task="categorical", scaling="standardize"),
    )
    np.testing.assert_array_equal(table.train[0], arrays.train[0])
    np.testing.assert_array_equal(table.train[1], arrays.train[1])


def test_two_classes_with_one_output_and_numbers_to_predict(tmp_path):
    load_breast_cancer(as_frame=True).frame.to_csv(tmp_path / "cancer.csv", index=False)
    made = data.table(str(tmp_path / "cancer.csv"), "target", task="binary", scaling="standardize")
    assert (made.task, made.classes, made.input_shape) == ("binary", 1, (30,))
    frame = load_diabetes(as_frame=True).frame
    frame["target"] += 0.5
    frame.to_csv(tmp_path / "diabetes.csv", index=False)
    assert data.table(str(tmp_path / "diabetes.csv"), "target", scaling="none").task == "regression"


def test_parquet_where_pandas_can_read_it(iris):
    pytest.importorskip("pyarrow")
    frame, path = iris
    frame.to_csv(path, index=False)
    frame.to_parquet(path.with_suffix(".parquet"))
    csv, parquet = (data.table(str(file), "species", scaling="none") for file in (path, path.with_suffix(".parquet")))
    np.testing.assert_array_equal(csv.train[0], parquet.train[0])


def spoiled(frame: pandas.DataFrame, how: str) -> pandas.DataFrame:
    frame = frame.copy()
    if how == "missing":
        frame.iloc[3, 2] = np.nan
    if how == "words":
        frame["place"] = "Kyoto"
    if how == "many":
        frame["species"] = range(len(frame))
    return frame.iloc[:0] if how == "empty" else frame


@pytest.mark.parametrize(
    "how, target, told",
    [
        ("missing", "species", r"1 of 150 values of the column petal length \(cm\) are missing \(first: row 4\): fill"),
        ("words", "species", "the column place holds 'Kyoto', no number: leave it out"),
        ("many", "species", "the column species holds 150 different numbers: classes or not"),
        ("empty", "species", "it has no row"),
        ("", "speces", "has no such column; did you mean species?"),
        ("", None, "data=table needs data.path=FILE.csv and data.target=COLUMN"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_column_and_the_cure(iris, how, target, told):
    frame, path = iris
    spoiled(frame, how).to_csv(path, index=False)
    with pytest.raises(UserError, match=told):
        data.table(str(path), target)


def test_a_table_given_as_arrays_is_told_what_it_is(iris):
    frame, path = iris
    frame.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"no .npz file but a table: say data=table") as caught:
        data.npz(str(path))
    assert "pickle" not in str(caught.value)
