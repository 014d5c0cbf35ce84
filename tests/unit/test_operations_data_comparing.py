from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import comparing
from workbench.values import codecs
from workbench.values.files import Files


@pytest.fixture
def before() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [3, 1, 2, 5],
            "name": ["c", None, "b", "e"],
            "group": pd.Categorical(["x", "y", "x", None]),
            "seats": pd.array([1, 2, None, None], dtype="Int64"),
            "delay": [0.1, np.nan, 3.0, np.nan],
            "at": pd.date_range("2013-01-01", periods=4, tz="Europe/Berlin"),
        }
    )


@pytest.fixture
def after(before: pd.DataFrame) -> pd.DataFrame:
    changed = before.iloc[[2, 1, 0]].reset_index(drop=True)
    changed["at"] = changed["at"].dt.tz_convert("UTC")  # the same moments
    changed.loc[0, "seats"] = 7
    changed.loc[1, "name"] = "a"
    changed.loc[2, "delay"] = 0.1 + 1e-9
    changed.loc[2, "group"] = "y"
    return pd.concat([changed, changed.head(1).assign(id=9)], ignore_index=True)


def test_cells_that_changed_are_found_whatever_the_rows_order(before: pd.DataFrame, after: pd.DataFrame):
    found = comparing.compare(before, after, "id")

    assert_frame_equal(found["added"], after.iloc[[3]])
    assert_frame_equal(found["removed"], before.iloc[[3]])
    cells = [tuple(None if pd.isna(each) else each for each in row) for row in found["changed"].itertuples(index=False)]
    assert cells == [
        (3, "group", "x", "y"),
        (3, "delay", "0.1", "0.100000001"),
        (1, "name", None, "a"),
        (2, "seats", None, "7"),
    ]
    assert found["counts"] == {"added": 1, "removed": 1, "changed": 3, "unchanged": 0, "cells": 4}
    decoded = codecs.decode(codecs.encode(found, Files("")), Files(""))
    assert_frame_equal(decoded["changed"], found["changed"])


def test_the_cells_are_those_that_pandas_finds(before: pd.DataFrame, after: pd.DataFrame):
    keys = [1, 2, 3]
    columns = ["name", "seats", "delay"]
    one, other = (data.set_index("id").loc[keys, columns] for data in (before, after))
    expected = one.compare(other, keep_shape=True)

    changed = comparing.compare(before, after, "id", columns=columns)["changed"]

    found = set(zip(changed["id"], changed["column"], strict=True))
    assert found == {(key, name) for key in keys for name in columns if expected.loc[key, name].notna().any()}


def test_numbers_within_a_tolerance_are_equal(before: pd.DataFrame, after: pd.DataFrame):
    for tolerance in ({"atol": 1e-6}, {"rtol": 1e-6}):
        found = comparing.compare(before, after, "id", columns=["delay"], **tolerance)
        assert found["counts"]["cells"] == 0
        assert found["changed"].columns.tolist() == ["id", "column", "left", "right"]


def test_a_table_is_equal_to_itself_and_differs_from_nothing_in_every_row(before: pd.DataFrame):
    same = comparing.compare(before, before, ["id", "name"])
    assert same["counts"] == {"added": 0, "removed": 0, "changed": 0, "unchanged": 4, "cells": 0}
    emptied = comparing.compare(before, before.head(0), "id")
    assert_frame_equal(emptied["removed"], before)
    filled = comparing.compare(before.head(0), before, "id")
    assert_frame_equal(filled["added"], before)
    assert comparing.compare(before.head(0), before.head(0), "id")["counts"]["unchanged"] == 0


def test_columns_of_one_table_only_are_named(before: pd.DataFrame):
    found = comparing.compare(before, before.rename(columns={"seats": "places"}), "id")
    assert (found["columns_added"], found["columns_removed"]) == (["places"], ["seats"])
    assert found["counts"]["cells"] == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"on": "idd"}, "'id'"),
        ({"on": "group"}, "keys repeat in right"),
        ({"on": "id", "columns": ["nam"]}, "'nam'"),
        ({"on": "id", "rtol": -1.0}, "rtol"),
        ({"on": []}, "at least one"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(before: pd.DataFrame, after: pd.DataFrame, options, reason: str):
    unique = before.assign(group=["w", "x", "y", "z"])
    with pytest.raises(InvalidArguments, match=reason):
        comparing.compare(unique, after, **options)


def test_columns_of_other_kinds_and_reserved_keys_are_refused(before: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="never match"):
        comparing.compare(before, before.assign(delay="late"), "id")
    with pytest.raises(InvalidArguments, match="can't be compared"):
        comparing.compare(before.assign(at=[[1]] * 4), before.assign(at=[[1]] * 4), ["id", "at"])
    renamed = before.rename(columns={"id": "left"})
    with pytest.raises(InvalidArguments, match="'left'"):
        comparing.compare(renamed, renamed, "left")
