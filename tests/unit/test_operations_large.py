"""What DuckDB and pyarrow make of rows equals what pandas makes of them: values, types, order, missing values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.large import both_engines, engine, tables, written
from workbench.core.errors import InvalidArguments
from workbench.operations import columnar, context
from workbench.operations.context import Output
from workbench.operations.data import duck, large, large_joins, large_summaries, results, rows
from workbench.operations.data.filters import filter as filter_rows
from workbench.operations.datasets import Dataset


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large")


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


def test_what_does_not_fit_is_refused_as_pandas_does(directory: Path):
    kinds = {"kind": pd.Categorical(["x", "y"]), "number": pd.Categorical([7, 8])}
    frame = pd.DataFrame({"k": [1, 2], "text": ["a", "b"], **kinds})
    data = written(frame, directory)
    with pytest.raises(InvalidArguments, match="type"):
        large_summaries.groupby(data, ["k"], {"text": "mean"})
    with pytest.raises(InvalidArguments, match=r"'number' has categories of int64.*data\.astype"):
        large.sort(Dataset.of(frame), ["number"], [True], "last", False, Output())
    with pytest.raises(InvalidArguments, match=r"'kind' is categorical, which isn't joined on where .*data\.ast"):
        large_joins.merge(data, data, "inner", ["kind"], ["kind"], ("_x", "_y"), lambda _: None, Output())
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
    monkeypatch.setattr("workbench.operations.data.results.RESULT_SHARE", 1e-7)
    frame = pd.DataFrame({"a": np.arange(200_000)[::-1].copy()})

    found = large.sort(written(frame, directory), ["a"], [True], "last", False, Output())

    assert isinstance(found, Path)
    assert pd.read_parquet(found)["a"].tolist() == list(range(200_000))


def test_labels_that_wait_to_be_written_keep_no_other_columns_in_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(columnar, "GROUP_BYTES", 256 * 1024)
    names = [*(f"c{number}" for number in range(40)), duck.ROW]
    schema = pa.schema([(name, pa.int64()) for name in names])
    before, held = pa.total_allocated_bytes(), []

    def made() -> Iterator[pa.RecordBatch]:
        base = pa.array(range(4096))
        for number in range(20):
            held.append(pa.total_allocated_bytes() - before)
            yield pa.RecordBatch.from_arrays([pc.add(base, number) for _ in names], schema=schema)

    # As DuckDB's come: the columns of a batch are given back together.
    batches = pa.RecordBatchReader.from_stream(pa.RecordBatchReader.from_batches(schema, made()))
    kept = pa.schema(list(schema)[:-1])
    results.collect(batches, kept, "t.parquet", Output(str(tmp_path / "t.parquet")), duck.ROW)
    assert len(held) == 20
    assert max(held) < 4 * 41 * 4096 * 8


def test_categories_of_numbers_come_back_also_where_the_rows_come_as_values(directory: Path):
    schema = pa.schema([("n", pa.dictionary(pa.int8(), pa.int64()))])
    batches = [pa.record_batch({"n": pa.array(values)}) for values in ([7, None, 5], [5, 9])]
    with context.attempt(directory / "scratch", None, context.Attempt()):
        found = results.collect(batches, schema, "n.parquet", Output())
    assert_frame_equal(found, pd.DataFrame({"n": pd.Categorical([7, None, 5, 5, 9], categories=[7, 5, 9])}))
