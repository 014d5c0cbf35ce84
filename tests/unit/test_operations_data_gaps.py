from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import gaps


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [np.nan, 1.0, np.nan, np.nan, 4.0, np.nan],
            "nullable": pd.array([1, None, 3, None, None, 6], dtype="Int64"),
            "name": ["x", None, None, "y", None, None],
            "group": pd.Categorical(["u", None, "v", "u", None, "v"]),
            "zoned": pd.to_datetime(["2013-01-01", None, None, "2013-01-05", None, None]).tz_localize("Europe/Berlin"),
            "flag": pd.array([True, None, False, None, None, None], dtype="boolean"),
            "full": range(6),
        },
        index=pd.date_range("2013-01-01", periods=6, freq="D"),
    )


def test_a_report_of_missing_values_has_a_row_for_each_column(frame: pd.DataFrame):
    report = gaps.missing(frame)

    assert report.index.tolist() == frame.columns.tolist()
    assert report["missing"].tolist() == frame.isna().sum().tolist()
    assert report["count"].tolist() == frame.count().tolist()
    assert report["share"].tolist() == frame.isna().mean().tolist()
    assert report["longest_gap"].tolist() == [2, 2, 2, 1, 2, 3, 0]
    assert report["dtype"].tolist() == [str(dtype) for dtype in frame.dtypes]


def test_a_report_of_nothing_is_empty(frame: pd.DataFrame):
    assert gaps.missing(frame.head(0))["share"].tolist() == [0.0] * 7
    assert len(gaps.missing(pd.DataFrame())) == 0
    assert gaps.missing(pd.DataFrame([[1, None]], columns=["a", "a"]))["missing"].tolist() == [0, 1]


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("method", ["ffill", "bfill"])
def test_gaps_are_filled_from_the_rows_around_as_pandas_does(frame: pd.DataFrame, method, limit):
    assert_frame_equal(gaps.fillna(frame, method=method, limit=limit), getattr(frame, method)(limit=limit))
    some = gaps.fillna(frame, method=method, columns=["a"])
    assert_frame_equal(some, frame.assign(a=getattr(frame["a"], method)()))


@pytest.mark.parametrize(
    ("value", "columns", "limit"),
    [
        (0, ["a", "nullable"], None),
        (0, ["a"], 2),
        (2.5, ["a"], None),
        (
            {"a": -1, "name": "?", "group": "u", "flag": False, "zoned": pd.Timestamp("2000-01-01", tz="UTC")},
            None,
            None,
        ),
        ({"a": 1.5, "full": 9}, None, None),
        ("u", ["group", "name"], None),
    ],
)
def test_gaps_are_filled_with_values_as_pandas_does(frame: pd.DataFrame, value, columns, limit):
    before = frame.copy(deep=True)
    values = value if isinstance(value, dict) else dict.fromkeys(columns, value)
    assert_frame_equal(gaps.fillna(frame, value, columns=columns, limit=limit), frame.fillna(values, limit=limit))
    assert_frame_equal(gaps.fillna(frame.head(0), value, columns=columns), frame.head(0).fillna(values))
    assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "either"),
        ({"value": 0, "method": "ffill"}, "either"),
        ({"value": 0}, "'name' holds str"),
        ({"value": "x", "columns": "a"}, "'a' holds float64"),
        ({"value": {"b": 1}}, "no column 'b'"),
        ({"value": "w", "columns": "group"}, "'group'"),
        ({"value": 0, "columns": "lists"}, "'lists' holds object"),
        ({"value": 0.5, "columns": "nullable"}, "'nullable'"),
        ({"value": pd.Timestamp("2013-01-01"), "columns": "zoned"}, "'zoned'"),
        ({"value": 0, "columns": "a", "limit": 0}, "limit"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_column(frame: pd.DataFrame, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        gaps.fillna(frame.assign(lists=[[1], None, None, None, None, None]), **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "time"},
        {"method": "linear", "limit": 1, "limit_direction": "both"},
        {"limit_area": "inside", "limit_direction": "backward"},
    ],
)
def test_gaps_in_numbers_are_interpolated_as_pandas_does(frame: pd.DataFrame, options):
    frame = frame.drop(frame.index[3])
    found = gaps.interpolate(frame, **options)
    assert_frame_equal(found[["a"]], frame[["a"]].interpolate(**options))
    assert_frame_equal(found.drop(columns=["a", "nullable"]), frame.drop(columns=["a", "nullable"]))
    assert_frame_equal(gaps.interpolate(frame.head(0), **options), frame.head(0))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"columns": "name"}, "numbers are needed"), ({"limit": -1}, "limit"), ({"columns": "b"}, "no column 'b'")],
)
def test_what_cannot_be_interpolated_is_refused(frame: pd.DataFrame, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        gaps.interpolate(frame, **options)


def test_interpolating_along_time_needs_an_index_of_times(frame: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="time"):
        gaps.interpolate(frame.reset_index(drop=True), "time", columns="a")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"how": "all"},
        {"thresh": 4},
        {"subset": ["a", "nullable"]},
        {"subset": ["name"], "ignore_index": True},
        {"axis": "columns"},
        {"axis": "columns", "thresh": 3},
    ],
)
def test_rows_and_columns_with_gaps_are_dropped_as_pandas_does(frame: pd.DataFrame, options):
    assert_frame_equal(gaps.dropna(frame, **options), frame.dropna(**options))
    assert_frame_equal(gaps.dropna(frame.head(0), **options), frame.head(0).dropna(**options))


def test_dropping_by_columns_that_are_not_there_is_refused(frame: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="'nam'"):
        gaps.dropna(frame, subset=["nam"])
    with pytest.raises(InvalidArguments, match="axis"):
        gaps.dropna(frame, axis="columns", subset=["a"])
