"""What DuckDB and pyarrow make of a table equals what pandas makes of it: values, types, order, missing values."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hp
from pandas.testing import assert_frame_equal

from workbench.core.errors import InputTooLarge, InvalidArguments
from workbench.operations import context
from workbench.operations.data import (
    groups,
    joins,
    large,
    large_descriptions,
    large_joins,
    large_summaries,
    rows,
    shapes,
    statistics,
    summaries,
)
from workbench.operations.data.duck import Output
from workbench.operations.data.filters import filter as filter_rows
from workbench.operations.datasets import Dataset

both_engines = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

FEW = st.sampled_from([0, 1, 2, 3, -7])
TEXTS = st.sampled_from(["a", "b", "B", "", "ä", "z z", "𝄞"])
TIMES = st.sampled_from([pd.Timestamp("2013-01-01 05:00:00.000001"), pd.Timestamp("1969-12-31"), pd.NaT])
FLOATS = st.one_of(st.sampled_from([0.0, 1.5, float("nan")]), st.floats(-1e6, 1e6, allow_subnormal=False))

frames = hp.data_frames(
    columns=[
        hp.column("whole", elements=st.integers(-(2**40), 2**40), dtype="int64"),
        hp.column("few", elements=FEW, dtype="int32"),
        hp.column("real", elements=FLOATS, dtype="float64"),
        hp.column("single", elements=st.floats(-100, 100, width=32, allow_subnormal=False), dtype="float32"),
        hp.column("truth", elements=st.booleans(), dtype="bool"),
    ],
    index=hp.range_indexes(min_size=1, max_size=40),
)


@st.composite
def tables(draw) -> pd.DataFrame:
    frame = draw(frames)
    size = len(frame)

    def several(elements, dtype):
        return pd.Series(draw(st.lists(elements, min_size=size, max_size=size)), dtype=dtype)

    frame["text"] = several(st.one_of(st.none(), TEXTS), "str")
    frame["time"] = several(TIMES, "datetime64[us]")
    frame["zoned"] = (
        several(TIMES, "datetime64[us]")
        .dt.tz_localize("Europe/Zurich", ambiguous="NaT")
        .astype("datetime64[ns, Europe/Zurich]")
    )
    frame["maybe"] = several(st.one_of(st.none(), FEW), "Int64")
    frame["span"] = several(FEW, "int64").astype("timedelta64[s]")
    return frame


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large")


def written(frame: pd.DataFrame, directory: Path) -> Dataset:
    """Return a dataset of two files, so that it has to be put together."""
    place = Path(tempfile.mkdtemp(dir=directory))
    half = max(len(frame) // 2, 1)
    paths = []
    for number, part in enumerate([frame.iloc[:half], frame.iloc[half:]]):
        paths.append(place / f"part [{number}].parquet")  # a name that could be taken for a glob
        part.to_parquet(paths[-1], index=False)
    return Dataset.of(paths)


@contextlib.contextmanager
def engine(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Let nothing fit in memory, and see that the operations within say they chose this engine."""
    attempt = context.Attempt()
    scratch = Path(tempfile.mkdtemp())
    with monkeypatch.context() as patched, context.attempt(scratch, None, attempt):
        patched.setattr("workbench.operations.datasets.FRAME_SHARE", 0)
        yield
    shutil.rmtree(scratch)
    assert attempt.notes["engine"].startswith(f"{name}: ")


@given(frame=tables())
@both_engines
def test_a_dataset_of_files_is_the_frame_that_was_written(frame: pd.DataFrame, directory: Path):
    assert_frame_equal(written(frame, directory).frame(), frame)


@given(
    frame=tables(),
    by=st.lists(st.sampled_from(["few", "real", "text", "time", "maybe", "truth", "span"]), min_size=1, unique=True),
    data=st.data(),
)
@both_engines
def test_rows_are_sorted_alike(frame: pd.DataFrame, by: list[str], data, directory: Path):
    ascending = data.draw(st.lists(st.booleans(), min_size=len(by), max_size=len(by)))
    na_position = data.draw(st.sampled_from(["first", "last"]))

    found = large.sort(written(frame, directory), by, ascending, na_position, False, Output())

    assert_frame_equal(found, rows.sort(frame, by, ascending=ascending, na_position=na_position))


@given(frame=tables(), n=st.integers(-45, 45))
@both_engines
def test_the_first_rows_are_the_same(frame: pd.DataFrame, n: int, directory: Path):
    found = large.head(written(frame, directory), n, Output())

    assert_frame_equal(found, frame.head(n), check_index_type=False)


@pytest.mark.parametrize(
    "filters",
    [
        [("few", ">", 0)],
        [("real", "<=", 1.5), ("text", "!=", "a")],
        [[("maybe", "in", [1, 2])], [("time", "<", pd.Timestamp("2000-01-01"))]],
        [("text", "not in", ["a", "ä"])],
    ],
)
@given(frame=tables())
@both_engines
def test_filters_keep_the_same_rows(filters, frame: pd.DataFrame, directory: Path, monkeypatch):
    expected = filter_rows(frame, filters)
    with engine(monkeypatch, "pyarrow"):
        found = filter_rows(written(frame, directory), filters)
    assert_frame_equal(found, expected, check_index_type=False)


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


@given(
    frame=tables(),
    subset=st.one_of(
        st.none(), st.lists(st.sampled_from(["few", "text", "time", "truth", "real"]), min_size=1, unique=True)
    ),
    keep=st.sampled_from(["first", "last", False]),
    ignore_index=st.booleans(),
)
@both_engines
def test_the_same_duplicates_are_dropped(frame, subset, keep, ignore_index, directory: Path, monkeypatch):
    frame = pd.concat([frame, frame.iloc[::2]], ignore_index=True)
    expected = rows.drop_duplicates(frame, subset, keep=keep, ignore_index=ignore_index)
    with engine(monkeypatch, "duckdb"):
        found = rows.drop_duplicates(written(frame, directory), subset, keep=keep, ignore_index=ignore_index)
    assert_frame_equal(found, expected, check_index_type=False)


@given(left=tables(), right=tables(), how=st.sampled_from(["left", "right", "outer", "inner"]), data=st.data())
@both_engines
def test_tables_are_joined_alike(left, right, how, data, directory: Path, monkeypatch):
    on = data.draw(st.lists(st.sampled_from(["few", "text", "time"]), min_size=1, unique=True))
    left, right = left.drop(columns=["maybe", "truth", "span"]), right[["few", "text", "time", "whole", "zoned"]]
    expected = joins.merge(left, right, how, on=on)
    with engine(monkeypatch, "duckdb"):
        found = joins.merge(written(left, directory), written(right, directory), how, on=on)
    assert_frame_equal(found, expected, check_dtype=False)


LEFT = pd.DataFrame({"k": [1, 1, 2, None], "x": [1, 2, 3, 4]})
RIGHT = pd.DataFrame({"k": [2, 1, 3], "y": ["b", "a", "c"]})


@pytest.mark.parametrize("how", ["left", "right", "outer", "inner"])
def test_keys_of_two_types_or_names_are_joined_alike(how, directory: Path, monkeypatch):
    other = RIGHT.rename(columns={"k": "key"})
    narrow = RIGHT.astype({"k": "int8"}).assign(k=[2, 1, 100])
    for left, right, options in (
        (LEFT, other, {"left_on": "k", "right_on": "key"}),
        (LEFT, RIGHT, {}),
        (narrow, RIGHT.assign(k=[2, 1, 10**12]), {"on": "k", "suffixes": ("", "_right")}),
    ):
        expected = joins.merge(left, right, how, **options)
        with engine(monkeypatch, "duckdb"):
            found = joins.merge(written(left, directory), written(right, directory), how, **options)
        assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize("options", [{"how": "cross"}, {"indicator": True}, {"sort": True}])
def test_what_has_to_be_joined_in_memory_is_and_otherwise_says_what_to_do(options, directory: Path, monkeypatch):
    left, right = LEFT.drop(columns="k") if "how" in options else LEFT, RIGHT
    expected = joins.merge(left, right, **options)
    with engine(monkeypatch, "pandas"):
        assert_frame_equal(joins.merge(written(left, directory), written(right, directory), **options), expected)
    output = directory / "joined.parquet"
    assert joins.merge(written(left, directory), right, output=str(output), **options) == output
    assert_frame_equal(pd.read_parquet(output), expected)
    attempt = context.Attempt(memory_limit=100)
    with context.attempt(directory / "scratch", None, attempt), pytest.raises(InputTooLarge) as raised:
        joins.merge(written(left, directory), written(right, directory), **options)
    for part in ("data.merge", "of the 100 B", "data.select", "--memory-limit"):
        assert part in str(raised.value)


def test_joins_on_disk_refuse_keys_that_repeat(directory: Path, monkeypatch):
    left = written(pd.DataFrame({"k": [1] * 30, "x": 1}), directory)
    unique = written(pd.DataFrame({"k": [1, 2], "y": 1}), directory)
    for right, options, reason in (
        (left, {"max_rows": 899}, "the result would have about 900 rows, more than 899"),
        (unique, {"validate": "one_to_one"}, "not unique in left"),
        (unique, {"validate": "1:m"}, "not unique in left"),
    ):
        with engine(monkeypatch, "duckdb"), pytest.raises(InvalidArguments, match=reason):
            joins.merge(left, right, on="k", **options)
    with engine(monkeypatch, "duckdb"):
        assert len(joins.merge(left, left, on="k", max_rows=900)) == 900
        assert len(joins.merge(left, unique, on="k", validate="many_to_one")) == 30


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


def test_what_does_not_fit_is_refused_as_pandas_does(directory: Path):
    data = written(pd.DataFrame({"k": [1, 2], "text": ["a", "b"], "kind": pd.Categorical(["x", "y"])}), directory)
    with pytest.raises(InvalidArguments, match="type"):
        large_summaries.groupby(data, ["k"], {"text": "mean"})
    with pytest.raises(InvalidArguments, match="categorical"):
        large.sort(data, ["kind"], [True], "last", False, Output())
    with pytest.raises(InvalidArguments, match="match nowhere"):
        large_joins.merge(data, data, "inner", ["k"], ["text"], ("_x", "_y"), lambda _: None, Output())
    nested = written(pd.DataFrame({"k": [[1], [1]]}), directory)
    with pytest.raises(InvalidArguments, match="can't be compared"):
        large.drop_duplicates(nested, ["k"], "first", False, Output())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda data, output: rows.sort(data, "a", output=output), [1, 2, 3]),
        (lambda data, output: filter_rows(data, [("a", ">", 1)], output=output), [3, 2]),
        (lambda data, output: rows.select(data, ["a"], output=output), [3, 1, 2]),
        (lambda data, output: rows.head(data, 2, output=output), [3, 1]),
        (lambda data, output: rows.sort(data.frame(), "a", output=output), [1, 2, 3]),
    ],
)
def test_a_result_that_is_asked_for_as_a_file_is_one(make, expected, directory: Path):
    frame = pd.DataFrame({"a": [3, 1, 2], "b": ["x", None, "z"]})
    output = directory / "out.parquet"

    assert make(written(frame, directory), str(output)) == output
    assert pd.read_parquet(output)["a"].tolist() == expected


def test_a_result_too_large_for_memory_becomes_a_file(directory: Path, monkeypatch):
    monkeypatch.setattr("workbench.operations.data.duck.RESULT_SHARE", 1e-7)
    frame = pd.DataFrame({"a": np.arange(200_000)[::-1].copy()})

    found = large.sort(written(frame, directory), ["a"], [True], "last", False, Output())

    assert isinstance(found, Path)
    assert pd.read_parquet(found)["a"].tolist() == list(range(200_000))
