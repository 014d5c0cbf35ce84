from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import joins


@pytest.fixture
def left() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "carrier": ["UA", "AA", "UA", None],
            "month": pd.array([1, 2, None, 2], dtype="Int64"),
            "at": pd.date_range("2013-01-01", periods=4, tz="Europe/Berlin"),
            "group": pd.Categorical(["x", "y", "x", "y"]),
            "delay": [1.0, 2.0, np.nan, 4.0],
        }
    )


@pytest.fixture
def right() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "carrier": ["UA", "B6", None],
            "month": [1, 2, 3],
            "at": pd.date_range("2013-01-02", periods=3, tz="UTC"),
            "group": ["x", "z", "y"],
            "delay": [7.0, 8.0, 9.0],
            "name": ["United", "JetBlue", "?"],
        }
    )


@pytest.mark.parametrize("how", ["inner", "left", "right", "outer"])
@pytest.mark.parametrize("on", ["carrier", "month", "group", ["carrier", "month"], None])
def test_a_join_is_pandass(left: pd.DataFrame, right: pd.DataFrame, how, on):
    if on is None:
        right = right[["carrier", "name"]]
    options = {"sort": True, "indicator": True, "suffixes": ("", "_right")}
    expected = left.merge(right, how=how, on=on, **options)
    assert_frame_equal(joins.merge(left, right, how, on=on, **options), expected)
    for one, other in ((left.head(0), right), (left, right.head(0))):
        assert_frame_equal(joins.merge(one, other, how, on=on), one.merge(other, how=how, on=on))


def test_columns_of_other_names_and_a_product_are_joined_as_pandas_does(left: pd.DataFrame, right: pd.DataFrame):
    keys = {"left_on": ["carrier", "month"], "right_on": ["name", "month"]}
    assert_frame_equal(joins.merge(left, right, **keys), left.merge(right, **keys))
    assert_frame_equal(joins.merge(left, right, "cross"), left.merge(right, how="cross"))
    assert_frame_equal(joins.merge(left, right, "inner", on="at"), left.merge(right, on="at"))


@pytest.mark.parametrize(
    ("how", "options", "reason"),
    [
        ("inner", {"on": "carier"}, "'carrier'"),
        ("inner", {"left_on": "carrier"}, "go together"),
        ("inner", {"left_on": "carrier", "right_on": ["carrier", "month"]}, "names 1 columns"),
        ("inner", {"on": "month", "left_on": "month", "right_on": "month"}, "either"),
        ("inner", {"left_on": "carrier", "right_on": "month"}, "holds str in left.*int64 in right.*never match"),
        ("inner", {"left_on": "at", "right_on": "name"}, "never match"),
        ("inner", {"left_on": "group", "right_on": "delay"}, "never match"),
        ("cross", {"on": "carrier"}, "cross"),
        ("cross", {"max_rows": 11}, "12 rows"),
        ("inner", {"on": "carrier", "validate": "one_to_one"}, "not unique"),
        ("inner", {"on": "carrier", "suffixes": ("", "")}, "joined"),
        ("inner", {"on": "carrier", "indicator": "name"}, "joined"),
    ],
)
def test_a_join_that_makes_no_sense_is_refused(left: pd.DataFrame, right: pd.DataFrame, how, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        joins.merge(left, right, how, **options)


def test_a_join_of_times_with_a_zone_and_without_is_refused(left: pd.DataFrame):
    naive = left.assign(at=left["at"].dt.tz_localize(None))
    with pytest.raises(InvalidArguments, match="never match"):
        joins.merge(left, naive, on="at")
    with pytest.raises(InvalidArguments, match="in common"):
        joins.merge(left[["delay"]], left[["at"]])


@pytest.mark.parametrize("how", ["inner", "left", "right", "outer"])
def test_a_product_by_accident_is_refused_before_it_is_made(how):
    many = pd.DataFrame({"k": ["a"] * 100_000 + ["b"], "v": 1})
    with pytest.raises(InvalidArguments, match=r"repeat in both tables.*10,000,\d{3},\d{3} rows"):
        joins.merge(many, many, how, on="k")
    missing = many.assign(k=[None] * 100_001)
    with pytest.raises(InvalidArguments, match="repeat in both"):
        joins.merge(missing, missing, how, on="k")


def test_as_many_rows_as_are_asked_for_may_come_of_keys_that_repeat():
    many = pd.DataFrame({"k": ["a"] * 30 + ["b"], "v": 1})
    assert len(joins.merge(many, many, on="k", max_rows=901)) == 901
    with pytest.raises(InvalidArguments, match="901 rows, more than 900"):
        joins.merge(many, many, on="k", max_rows=900)


def test_a_table_whose_keys_are_unique_is_joined_whatever_its_size():
    many = pd.DataFrame({"k": range(300_000)})
    few = pd.DataFrame({"k": [1, 1, 2]})
    assert len(joins.merge(many, few, on="k", max_rows=1)) == 3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ignore_index": True},
        {"join": "inner"},
        {"keys": ["a", "b"], "names": ["table"]},
        {"axis": "columns"},
        {"axis": "columns", "join": "inner", "keys": ["a", "b"]},
    ],
)
def test_tables_are_put_together_as_pandas_does(left: pd.DataFrame, right: pd.DataFrame, options):
    right = right.tail(2)
    assert_frame_equal(joins.concat([left, right], **options), pd.concat([left, right], **options))
    assert_frame_equal(joins.concat([left]), left)
    assert_frame_equal(joins.concat([left, left.head(0)]), pd.concat([left, left.head(0)]))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keys": ["a"]}, "a name for each of 2"),
        ({"names": ["a"]}, "goes with keys"),
        ({"axis": "columns"}, "can't be put together"),
    ],
)
def test_tables_that_cannot_be_put_together_are_refused(left: pd.DataFrame, right: pd.DataFrame, options, reason):
    repeated = left.set_axis([0, 0, 1, 1])
    with pytest.raises(InvalidArguments, match=reason):
        joins.concat([repeated, right], **options)


def test_a_column_of_two_kinds_is_refused(left: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="'delay' holds float64 in table 1, and str in table 2"):
        joins.concat([left, left.assign(delay="late")])
    with pytest.raises(InvalidArguments, match="at least one"):
        joins.concat([])
