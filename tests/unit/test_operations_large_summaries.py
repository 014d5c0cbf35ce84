"""What DuckDB finds of a table equals what pandas finds: groups, counts, quantiles, descriptions, pivot tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.large import both_engines, engine, tables, written
from workbench.core.errors import InputTooLarge, InvalidArguments
from workbench.operations import context
from workbench.operations.data import (
    groups,
    large_descriptions,
    large_summaries,
    shapes,
    statistics,
    summaries,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large")


SIMPLE = ["count", "first", "last", "max", "min", "nunique", "size"]
NUMERIC = [*SIMPLE, "mean", "median", "sem", "skew", "std", "sum", "var", "any", "all"]
AGGREGATIONS = {
    "whole": [each for each in NUMERIC if each != "skew"],
    "few": [*NUMERIC, "prod"],
    "real": NUMERIC,
    "truth": ["count", "first", "last", "max", "min", "nunique", "size", "mean", "sum", "any", "all"],
    "text": SIMPLE,
    "time": SIMPLE,
    "zoned": SIMPLE,
    "maybe": [*SIMPLE, "sum", "mean", "median"],
}


@given(
    frame=tables(),
    by=st.lists(st.sampled_from(["few", "text", "time", "truth", "maybe"]), min_size=1, max_size=2, unique=True),
    dropna=st.booleans(),
    sort=st.booleans(),
    data=st.data(),
)
@both_engines
def test_groups_have_the_same_aggregates(frame, by, dropna, sort, data, directory: Path):
    columns = data.draw(st.lists(st.sampled_from([c for c in AGGREGATIONS if c not in by]), min_size=1, unique=True))
    agg = {
        column: data.draw(st.lists(st.sampled_from(AGGREGATIONS[column]), min_size=1, max_size=4, unique=True))
        for column in columns
    }

    found = large_summaries.groupby(written(frame, directory), by, agg, dropna=dropna, sort=sort)

    expected = groups.groupby(frame, by, agg, dropna=dropna, sort=sort)
    some = len(expected) > 0  # the skew of no groups at all has the column's own type in pandas
    assert_frame_equal(found, expected, rtol=1e-6, atol=1e-6, check_dtype=some)


def test_one_aggregate_for_each_column_makes_a_plain_header(directory: Path):
    frame = pd.DataFrame({"k": ["b", "a", None], "x": [1.0, None, 3.0]})
    for by in ("k", ["k"]):
        found = large_summaries.groupby(written(frame, directory), ["k"], {"x": "mean"})
        assert_frame_equal(found, groups.groupby(frame, by, {"x": "mean"}))


@given(
    frame=tables(),
    columns=st.lists(st.sampled_from(["few", "text", "time", "truth", "maybe"]), min_size=1, max_size=2, unique=True),
    normalize=st.booleans(),
)
@both_engines
def test_values_are_counted_alike(frame, columns, normalize, directory: Path):
    found = large_summaries.value_counts(written(frame, directory), columns, normalize=normalize, top=None)

    expected = groups.value_counts(frame, columns, normalize=normalize)
    if len(columns) > 1:  # pandas leaves the order of equal counts open there
        name = expected.columns[0]
        assert found[name].tolist() == expected[name].tolist()
        found, expected = found.sort_index(), expected.sort_index()
    assert_frame_equal(found, expected, check_dtype=False)


@given(frame=tables())
@both_engines
def test_a_profile_is_the_same(frame: pd.DataFrame, directory: Path):
    found = large_descriptions.profile(written(frame, directory))
    assert_frame_equal(found, summaries.profile(frame), check_dtype=False)


@given(frame=tables(), include=st.sampled_from([None, "all"]))
@both_engines
def test_a_description_is_the_same(frame: pd.DataFrame, include, directory: Path):
    plain = frame[["whole", "few", "real", "truth", "text"]]
    found = large_descriptions.describe(written(plain, directory), include=include)
    assert_frame_equal(found, summaries.describe(plain, include=include))


@given(
    frame=tables(),
    q=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    interpolation=st.sampled_from(["linear", "lower", "higher", "midpoint", "nearest"]),
)
@both_engines
def test_quantiles_are_exact(frame, q: list[float], interpolation, directory: Path, monkeypatch):
    columns = ["whole", "few", "real", "maybe"]
    expected = statistics.quantile(frame, q, columns=columns, interpolation=interpolation)
    with engine(monkeypatch, "duckdb"):
        found = statistics.quantile(written(frame, directory), q, columns=columns, interpolation=interpolation)
    plain = ["whole", "few", "real"]  # for nullable numbers pandas goes by whether the quantiles happen to be whole
    assert_frame_equal(found[plain], expected[plain], rtol=1e-12)
    assert_frame_equal(found, expected, rtol=1e-12, check_dtype=False)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_of_whole_numbers_beyond_what_a_float_holds_are_exact(interpolation, directory: Path, monkeypatch):
    exact = [2**53 + 1, -(2**53) - 3, 2**62 + 1, 2**62 + 3, 2**53 + 5]
    frame = pd.DataFrame({"whole": exact, "large": pd.array([2**64 - 1 - 2 * each for each in range(5)], "uint64")})
    frame["maybe"] = pd.array([*exact[:4], None], "Int64")
    q = [0, 0.25, 0.5, 0.6, 1]
    expected = statistics.quantile(frame, q, columns=["whole", "large"], interpolation=interpolation)
    with engine(monkeypatch, "duckdb"):
        found = statistics.quantile(written(frame, directory), q, interpolation=interpolation)
    assert_frame_equal(found[["whole", "large"]], expected)
    if interpolation in ("lower", "higher", "nearest"):
        assert set(found["maybe"]) <= set(exact)
        assert found["maybe"].dtype == "Int64"


@given(frame=tables(), dropna=st.booleans(), data=st.data())
@both_engines
def test_a_pivot_table_is_the_same(frame: pd.DataFrame, dropna, data, directory: Path, monkeypatch):
    aggregations = st.sampled_from(["mean", "count", "sum", "max", "first"])
    aggfunc = data.draw(
        st.one_of(
            aggregations,
            st.lists(aggregations, min_size=1, unique=True),
            st.fixed_dictionaries({"whole": aggregations, "single": aggregations}),
        )
    )
    values = ["whole", "single"] if isinstance(aggfunc, dict) else data.draw(st.sampled_from(["whole", ["whole"]]))
    index, columns = data.draw(st.sampled_from([("few", "text"), (["few", "truth"], ["text"]), ("text", ["few"])]))
    arguments = (values, index, columns, aggfunc)
    expected = shapes.pivot_table(frame, *arguments, dropna=dropna)
    with engine(monkeypatch, "duckdb"):
        found = shapes.pivot_table(written(frame, directory), *arguments, dropna=dropna)
    assert_frame_equal(found, expected, rtol=1e-5, check_dtype=False)


def test_a_pivot_table_with_margins_is_made_in_memory_and_otherwise_says_what_to_do(directory: Path, monkeypatch):
    frame = pd.DataFrame({"k": ["a", "b", "a"], "c": [1, 2, 2], "x": [1.0, 2.0, 3.0]})
    for options in ({"margins": True}, {"sort": False}, {"aggfunc": {"x": ["sum", "mean"]}}):
        expected = shapes.pivot_table(frame, "x", "k", "c", **options)
        with engine(monkeypatch, "pandas"):
            assert_frame_equal(shapes.pivot_table(written(frame, directory), "x", "k", "c", **options), expected)
        attempt = context.Attempt(memory_limit=50)
        with context.attempt(directory / "scratch", None, attempt), pytest.raises(InputTooLarge, match=r"pivot_table"):
            shapes.pivot_table(written(frame, directory), "x", "k", "c", **options)


@pytest.mark.parametrize("function", ["count", "max", "first"])
@pytest.mark.parametrize(
    ("values", "index", "columns"),
    [("a", "a", "b"), (["a"], "a", "b"), ("b", ["a"], ["b"]), (["x", "a"], "a", "b"), ("x", "a", "a")],
)
@pytest.mark.parametrize("by_column", [False, True])
def test_a_pivot_table_may_aggregate_what_makes_its_rows(
    values, index, columns, function: str, by_column: bool, directory: Path, monkeypatch
):
    frame = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "x": [1.5, 2.5, 3.5]})
    frame = frame[[name for name in frame if name in {"a", "b", *values}]]
    names = [values] if isinstance(values, str) else values
    aggfunc = dict.fromkeys(names, function) if by_column else function
    with engine(monkeypatch, "duckdb"):
        found = shapes.pivot_table(written(frame, directory), values, index, columns, aggfunc)
    renamed = frame.assign(down=frame[index], across=frame[columns])
    plain = renamed.pivot_table(values, ["down"], ["across"], aggfunc, observed=True)
    as_asked = {"down": "a", "across": columns if isinstance(columns, str) else columns[0]}
    assert_frame_equal(found, plain.rename_axis(index=as_asked, columns=as_asked), check_dtype=False)


def test_spans_of_time_that_are_all_missing_in_a_group_stay_spans(directory: Path):
    frame = pd.DataFrame({"k": ["a", "a", "b"], "span": pd.to_timedelta([None, None, "1h"])})
    agg = {"span": ["max", "min", "first", "last", "count"]}

    assert_frame_equal(large_summaries.groupby(written(frame, directory), ["k"], agg), groups.groupby(frame, "k", agg))
    found = large_summaries.groupby(written(frame, directory), ["span"], {"k": "count"}, dropna=False)
    assert_frame_equal(found, groups.groupby(frame, "span", {"k": "count"}, dropna=False))


@pytest.mark.parametrize("dtype", ["int64", "Int64", "uint64"])
def test_a_sum_beyond_64_bits_is_refused_with_the_cure(dtype: str, directory: Path):
    frame = pd.DataFrame({"k": ["a", "a"], "x": pd.array([2**62, 2**62], dtype)})
    if dtype == "uint64":
        frame["x"] *= 3
    with pytest.raises(InvalidArguments, match=r"the sum of column 'x' is beyond.*data\.astype"):
        large_summaries.groupby(written(frame, directory), ["k"], {"x": "sum"})
    frame["x"] -= 1
    if dtype != "uint64":
        found = large_summaries.groupby(written(frame, directory), ["k"], {"x": "sum"})
        assert found["x"].tolist() == [2**63 - 2]
