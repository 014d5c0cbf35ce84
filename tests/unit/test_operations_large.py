"""What DuckDB and pyarrow make of a table equals what pandas makes of it: values, types, order, missing values."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hp
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import groups, large, large_summaries, rows, summaries
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
    with monkeypatch.context() as patched:
        patched.setattr("workbench.operations.datasets.FRAME_SHARE", 0)
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
    for column in found.columns:
        if column[1] == "skew":  # of equal values: pandas has 0, or none, by how its sums were rounded
            expected[column] = expected[column].mask(expected[column] == 0)
            found[column] = found[column].mask(found[column] == 0)
    assert_frame_equal(found, expected, rtol=1e-6, atol=1e-6)


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
    found, expected = large_summaries.profile(written(frame, directory)), summaries.profile(frame)
    tied = ["top"]  # of values that are as frequent, either may come first
    assert_frame_equal(found.drop(columns=tied), expected.drop(columns=tied), check_dtype=False)


@given(frame=tables(), include=st.sampled_from([None, "all"]))
@both_engines
def test_a_description_is_the_same(frame: pd.DataFrame, include, directory: Path):
    plain = frame[["whole", "few", "real", "truth", "text"]]
    found = large_summaries.describe(written(plain, directory), include=include)
    assert_frame_equal(found, summaries.describe(plain, include=include))


@given(frame=tables(), q=st.lists(st.floats(0, 1), min_size=1, max_size=4))
@both_engines
def test_quantiles_are_exact(frame: pd.DataFrame, q: list[float], directory: Path):
    columns = ["whole", "few", "real"]
    found = large_summaries.quantile(written(frame, directory), q, columns)
    assert_frame_equal(found, frame[columns].quantile(q), rtol=1e-12)


@given(
    frame=tables(),
    subset=st.lists(st.sampled_from(["few", "text", "time", "truth", "real"]), min_size=1, unique=True),
    keep=st.sampled_from(["first", "last", False]),
    ignore_index=st.booleans(),
)
@both_engines
def test_the_same_duplicates_are_dropped(frame, subset, keep, ignore_index, directory: Path):
    found = large.drop_duplicates(written(frame, directory), subset, keep, ignore_index, Output())
    expected = frame.drop_duplicates(subset, keep=keep, ignore_index=ignore_index)
    assert_frame_equal(found, expected, check_index_type=False)


@given(left=tables(), right=tables(), how=st.sampled_from(["left", "right", "outer", "inner"]), data=st.data())
@both_engines
def test_tables_are_joined_alike(left, right, how, data, directory: Path):
    on = data.draw(st.lists(st.sampled_from(["few", "text", "time"]), min_size=1, unique=True))
    left, right = left.drop(columns=["maybe", "truth", "span"]), right[["few", "text", "time", "whole", "zoned"]]

    found = large.merge(written(left, directory), written(right, directory), how, on, on, ("_x", "_y"), Output())

    assert_frame_equal(found, left.merge(right, how=how, on=on), check_dtype=False)


@given(frame=tables())
@both_engines
def test_a_pivot_table_is_the_same(frame: pd.DataFrame, directory: Path):
    for aggfunc in ("mean", "count", "sum", "max"):
        found = large_summaries.pivot_table(written(frame, directory), "whole", ["few"], ["text"], aggfunc)
        expected = frame.pivot_table("whole", ["few"], ["text"], aggfunc, observed=True)
        assert_frame_equal(found, expected)


def test_what_does_not_fit_is_refused_as_pandas_does(directory: Path):
    data = written(pd.DataFrame({"k": [1, 2], "text": ["a", "b"], "kind": pd.Categorical(["x", "y"])}), directory)
    with pytest.raises(InvalidArguments, match="type"):
        large_summaries.groupby(data, ["k"], {"text": "mean"})
    with pytest.raises(InvalidArguments, match="categorical"):
        large.sort(data, ["kind"], [True], "last", False, Output())
    with pytest.raises(InvalidArguments, match="match nowhere"):
        large.merge(data, data, "inner", ["k"], ["text"], ("_x", "_y"), Output())


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
