from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from workbench import samples
from workbench.core.errors import InvalidArguments
from workbench.operations.data import groups, rows, summaries
from workbench.operations.data.filters import filter as filter_rows


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return pd.read_csv(samples.flights(tmp_path_factory.mktemp("flights")), parse_dates=["time_hour"])


@pytest.fixture(scope="module")
def flights_parquet(flights: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parquet") / "flights.parquet"
    flights.to_parquet(path)
    return path


AGGREGATIONS = [
    ("carrier", {"arr_delay": ["mean", "count"]}),
    ("carrier", {"arr_delay": "mean", "distance": "sum"}),
    (["origin", "month"], {"arr_delay": ["mean", "std", "median"], "tailnum": "nunique"}),
    (["origin"], {"dep_delay": ["min", "max"]}),
    ("tailnum", {"flight": "size"}),
]


@pytest.mark.parametrize(("by", "agg"), AGGREGATIONS)
def test_grouping_gives_exactly_what_pandas_does(flights: pd.DataFrame, by, agg):
    assert_frame_equal(groups.groupby(flights, by, agg), flights.groupby(by).agg(agg))
    expected = flights.groupby(by, dropna=False, sort=False).agg(agg)
    assert_frame_equal(groups.groupby(flights, by, agg, dropna=False, sort=False), expected)


@pytest.mark.parametrize(
    ("by", "agg", "reason"),
    [
        ("carier", {"arr_delay": "mean"}, "'carier'.*'carrier'"),
        ("carrier", {"arr_dellay": "mean"}, "'arr_dellay'.*'arr_delay'"),
        ("carrier", {"arr_delay": "avg"}, "'avg'.*mean"),
        ("carrier", {"tailnum": "mean"}, "type"),
        ([], {"arr_delay": "mean"}, "at least one"),
        ("carrier", {}, "at least one"),
    ],
)
def test_a_grouping_that_makes_no_sense_is_refused_with_what_comes_close(flights: pd.DataFrame, by, agg, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        groups.groupby(flights, by, agg)


@pytest.mark.parametrize(
    "filters",
    [
        [("carrier", "==", "UA")],
        [("carrier", "=", "UA")],
        [("month", "<=", 2), ("distance", ">", 2000)],
        [[("month", "==", 1), ("origin", "==", "JFK")], [("arr_delay", ">=", 300)]],
        [("carrier", "in", ["UA", "AA"])],
        [("carrier", "not in", ["UA", "AA", "B6"])],
        [("arr_delay", "!=", 0)],
        [("arr_delay", "<", 0.5), ("month", "in", [6, 7])],
        [("time_hour", ">=", pd.Timestamp("2013-12-30", tz="UTC"))],
    ],
)
def test_a_filter_keeps_what_parquets_reader_keeps(flights: pd.DataFrame, flights_parquet: Path, filters):
    expected = pd.read_parquet(flights_parquet, filters=filters)

    found = filter_rows(flights, filters)

    assert_frame_equal(found.reset_index(drop=True), expected, check_dtype=False)
    assert flights.loc[found.index].equals(found)
    as_lists = [[list(each) for each in group] if isinstance(group, list) else list(group) for group in filters]
    assert_frame_equal(filter_rows(flights, as_lists), found)  # tuples travel as lists


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ([("carier", "==", "UA")], "'carier'.*'carrier'"),
        ([("month", "==", "May")], "month"),
        ([("month", "<", "May")], "month"),
        ([("month", "in", ["May"])], "month"),
        ([("month", "~", 3)], "=="),
        ([("month", "in", 3)], "list"),
        ([("carrier", "in", "UA")], "list"),
        ([("month", "==", {"a": 1})], r"can't compare with {'a': 1} \(dict\)"),
        ([("carrier", "==", ["UA"])], r"can't compare with \['UA'\] \(list\)"),
        ([("month", "in", [[1]])], r"can't compare with \[1\] \(list\)"),
        ([("month", 3)], "condition"),
        ([], "at least one"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_with_the_reason(flights: pd.DataFrame, filters, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        filter_rows(flights.head(100), filters)


def test_a_missing_value_passes_no_comparison():
    for values in ([1.0, None, 3.0], pd.array([1, None, 3], dtype="Int64"), ["a", None, "c"]):
        frame = pd.DataFrame({"x": values})
        assert filter_rows(frame, [("x", "!=", frame["x"][0])]).index.tolist() == [2]
        assert filter_rows(frame, [("x", "==", frame["x"][0])]).index.tolist() == [0]


def test_counts_of_values_are_pandass(flights: pd.DataFrame):
    one = groups.value_counts(flights, "carrier")
    assert_series_equal(one["count"], flights["carrier"].value_counts())
    two = groups.value_counts(flights, ["carrier", "origin"], normalize=True, top=3)
    assert_series_equal(two["proportion"], flights[["carrier", "origin"]].value_counts(normalize=True).head(3))
    for arguments, reason in ((("carier",), "'carrier'"), ((["carrier", "x"],), "'x'")):
        with pytest.raises(InvalidArguments, match=reason):
            groups.value_counts(flights, *arguments)
    with pytest.raises(InvalidArguments, match="top"):
        groups.value_counts(flights, "carrier", top=0)


def test_rows_are_sorted_as_pandas_does_and_equal_ones_keep_their_order(flights: pd.DataFrame):
    some = flights.sample(5000, random_state=1)
    expected = some.sort_values(["carrier", "arr_delay"], ascending=[True, False], na_position="first", kind="stable")

    found = rows.sort(some, ["carrier", "arr_delay"], ascending=[True, False], na_position="first")

    assert_frame_equal(found, expected)
    assert_frame_equal(rows.sort(some, "month"), some.sort_values("month", kind="stable"))
    with pytest.raises(InvalidArguments, match="ascending"):
        rows.sort(some, ["carrier", "month"], ascending=[True])
    with pytest.raises(InvalidArguments, match="compared"):
        rows.sort(pd.DataFrame({"x": [1, "a"]}), "x")


def test_a_profile_has_a_row_for_each_column_with_pandass_numbers(flights: pd.DataFrame):
    profile = summaries.profile(flights)

    assert profile.index.tolist() == flights.columns.tolist()
    described = flights.describe().T
    for name in ("mean", "std", "min", "25%", "50%", "75%", "max"):
        expected = described.loc["year":"minute", name].astype(float)
        assert_series_equal(profile.loc[expected.index, name].astype(float), expected, check_names=False)
    assert profile["missing"].tolist() == flights.isna().sum().tolist()
    assert profile["unique"].tolist() == flights.nunique().tolist()
    assert (profile.loc["carrier", "top"], profile.loc["carrier", "freq"]) == ("UA", 58665)


def test_a_profile_of_odd_columns_is_sane_and_can_travel():
    from workbench.values import codecs
    from workbench.values.files import Files

    odd = pd.DataFrame(
        {
            "lists": [[1], [2], None],
            "nothing": [None, None, None],
            "flag": [True, False, True],
            "category": pd.Categorical(["a", "a", "b"]),
            "span": pd.to_timedelta([1, 2, 3], unit="s"),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "infinite": [1.0, np.inf, 2.0],
            "complex": [1j, 2j, 3j],
        }
    )

    for frame in (odd, odd.head(0)):
        profile = summaries.profile(frame)
        assert profile.index.tolist() == odd.columns.tolist()
        assert_frame_equal(codecs.decode(codecs.encode(profile, Files("")), Files("")), profile)
    assert summaries.profile(odd)["missing"].tolist() == [1, 3, 0, 0, 0, 1, 0, 0]


def test_a_profile_counts_the_categories_that_occur():
    kinds = pd.CategoricalDtype(["c", "b", "a"])
    frame = pd.DataFrame({"one": ["a", "a", None], "two": ["b", "a", "b"], "none": [None, None, None]}, dtype=kinds)

    profile = summaries.profile(frame)

    assert profile["unique"].tolist() == [1, 2, 0]
    assert profile["top"].tolist()[:2] == ["a", "b"]
    assert profile["freq"].tolist()[:2] == [2, 2]
    assert profile.loc["none", ["top", "freq"]].isna().all()
    assert summaries.profile(frame[["none"]]).loc["none", "freq"] is None


def test_the_first_rows_and_some_columns_are_taken(flights: pd.DataFrame):
    assert_frame_equal(rows.head(flights, 7), flights.head(7))
    assert_frame_equal(rows.select(flights, ["origin", "carrier"]), flights[["origin", "carrier"]])
    assert_frame_equal(summaries.describe(flights), flights.describe())
    with pytest.raises(InvalidArguments, match="'carrier'"):
        rows.select(flights, ["carier"])
