from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import derived
from workbench.values import codecs
from workbench.values.files import Files


def travels(frame: pd.DataFrame) -> None:
    assert_frame_equal(codecs.decode(codecs.encode(frame, Files("")), Files("")), frame)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2, 30], "b": ["1", "2", None], "c": [0.5, None, 2.5]}, index=["x", "y", "z"])


def test_columns_are_renamed_as_pandas_does(frame: pd.DataFrame):
    assert_frame_equal(derived.rename(frame, {"a": "z", "b": "a"}), frame.rename(columns={"a": "z", "b": "a"}))
    with pytest.raises(InvalidArguments, match=r"'aa'.*'a'"):
        derived.rename(frame, {"aa": "z"})
    with pytest.raises(InvalidArguments, match="several columns would be named 'b'"):
        derived.rename(frame, {"a": "b"})


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("a", "float64"),
        ("a", "Int8"),
        ("a", "str"),
        ("a", "category"),
        ("a", "double[pyarrow]"),
        ("a", "datetime64[ns, Europe/Berlin]"),
        ("b", "category"),
        ("b", "Float64"),
        ("c", "float32"),
        ("c", "str"),
        ("b", "object"),
    ],
)
def test_types_are_converted_as_pandas_does(frame: pd.DataFrame, column: str, dtype: str):
    found = derived.astype(frame, {column: dtype})
    assert_frame_equal(found, frame.astype({column: dtype}))
    travels(found)
    assert_frame_equal(derived.astype(frame.head(0), {column: dtype}), frame.head(0).astype({column: dtype}))


def test_one_type_is_for_all_columns(frame: pd.DataFrame):
    assert_frame_equal(derived.astype(frame[["a", "c"]], "Float64"), frame[["a", "c"]].astype("Float64"))


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        ({"d": "int64"}, "'d'"),
        ({"a": "int65"}, "'int65' is not a type"),
        ({"a": "complex128"}, "can't be handed back"),
        ({"a": "S1000000"}, "can't be handed back"),
        ({"a": "U10"}, "can't be handed back"),
        ({"a": "Sparse[int]"}, "can't be handed back"),
        ({"c": "int64"}, "column 'c', which holds float64, can't become int64"),
        ({"b": "datetime64[ns, Mars/Crater]"}, "not a type"),
        ({"a": "x" * 200}, "too long"),
    ],
)
def test_a_type_that_does_not_fit_is_refused_with_the_column(frame: pd.DataFrame, dtype, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        derived.astype(frame, dtype)


def test_numbers_are_cut_into_bins_as_pandas_does(frame: pd.DataFrame):
    found = derived.cut(frame, "a", [0, 1.5, 10], labels=["low", "high"], right=False, into="level")
    expected = pd.cut(frame["a"], [0, 1.5, 10], labels=["low", "high"], right=False)
    assert_series_equal(found["level"], expected, check_names=False)
    assert_frame_equal(found.drop(columns="level"), frame)
    travels(found)

    for bins in (3, [0.0, 2.0, 30.0]):
        found = derived.cut(frame, "a", bins)["a_bin"]
        expected = pd.cut(frame["a"], bins)
        assert found.astype(str).tolist() == expected.astype(str).tolist()
        assert found.cat.ordered
        assert found.cat.categories.tolist() == [str(each) for each in expected.cat.categories]
    found = derived.cut(frame, "c", q=2)["c_bin"]
    assert found.cat.codes.tolist() == pd.qcut(frame["c"], 2).cat.codes.tolist() == [0, -1, 1]
    assert derived.cut(frame.head(0), "a", [0, 1])["a_bin"].tolist() == []


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        (("b", 3), {}, "numbers are needed"),
        (("a",), {}, "bins or q"),
        (("a", 3), {"q": 3}, "bins or q"),
        (("a", 0), {}, "1 to"),
        (("a", 10**9), {}, "1 to"),
        (("a", [3, 1]), {}, "monoton"),
        (("a", 3), {"labels": ["x"]}, "[Ll]abels"),
        (("a", 3), {"into": "c"}, "'c' already"),
        (("a",), {"q": [0, 2]}, "can't be cut"),
    ],
)
def test_bins_that_make_no_sense_are_refused(frame: pd.DataFrame, arguments, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        derived.cut(frame, *arguments, **options)
