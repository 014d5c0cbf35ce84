"""What DuckDB joins equals what pandas joins: rows, types, order; and the same is refused."""

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
from workbench.operations.data import joins


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large")


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


@pytest.mark.parametrize("how", ["left", "outer"])
def test_categories_keep_their_order_where_tables_are_joined_on_disk(how, directory: Path, monkeypatch):
    sizes = pd.CategoricalDtype(["small", "large", "unused"], ordered=True)
    numbers = pd.CategoricalDtype([30, 10, 20, 40], ordered=True)  # which Parquet files lose, and Arrow files don't
    left = pd.DataFrame({"k": [1, 2, 3, 4], "size": pd.Categorical(["large", "small", None, "large"], dtype=sizes)})
    left["number"] = pd.Categorical([10, 20, 30, None], dtype=numbers)
    right = pd.DataFrame({"k": [4, 2, 9], "size": pd.Categorical(["b", "a", "a"]), "x": [1, 2, 3]})
    expected = joins.merge(left, right, how, on="k")
    left.to_feather(directory / "left.feather")
    right.to_feather(directory / "right.feather")
    with engine(monkeypatch, "duckdb"):
        found = joins.merge(str(directory / "left.feather"), str(directory / "right.feather"), how, on="k")
    assert_frame_equal(found, expected)
    output = directory / "sizes.parquet"
    joins.merge(left, right, how, on="k", output=str(output))
    assert pd.read_parquet(output)["size_x"].dtype == sizes


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
