from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import rows


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [1, 1, 2, 2, None, None],
            "b": pd.Categorical(["x", "x", "y", "x", None, None]),
            "at": pd.to_datetime(["2013-01-01"] * 6).tz_localize("Europe/Berlin"),
            "weight": [0, 1, 2, 3, 4, 5],
        },
        index=list("uuvwxy"),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 3},
        {"n": 3, "random_state": 7},
        {"frac": 0.5, "ignore_index": True},
        {"n": 20, "replace": True},
        {"n": 2, "weights": "weight"},
        {"n": 0},
    ],
)
def test_rows_are_drawn_as_pandas_does_and_again_the_same(frame: pd.DataFrame, options):
    expected = frame.sample(**({"random_state": 0} | options))
    assert_frame_equal(rows.sample(frame, **options), expected)
    assert_frame_equal(rows.sample(frame, **options), expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n": 3, "frac": 0.5}, "either"),
        ({"n": 7}, "can't be drawn"),
        ({"n": -1}, "can't be drawn"),
        ({"frac": 1.5}, "can't be drawn"),
        ({"frac": float("nan")}, "frac takes a number from 0 to"),
        ({"frac": 1e308}, "frac takes a number from 0 to"),
        ({"weights": "weights"}, "'weight'"),
        ({"weights": "b"}, "numbers are needed"),
        ({"n": 10**12, "replace": True}, "Draw fewer"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_a_draw_that_makes_no_sense_is_refused(frame: pd.DataFrame, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        rows.sample(frame, **options)


def test_rows_cannot_be_drawn_from_nothing(frame: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="can't be drawn"):
        rows.sample(frame.head(0))


@pytest.mark.parametrize("keep", ["first", "last", False])
@pytest.mark.parametrize("subset", [None, "a", ["a", "b"]])
def test_duplicates_are_dropped_as_pandas_does(frame: pd.DataFrame, subset, keep):
    for data in (frame, frame.drop(columns="weight"), frame.head(0)):
        assert_frame_equal(rows.drop_duplicates(data, subset, keep=keep), data.drop_duplicates(subset, keep=keep))
    numbered = rows.drop_duplicates(frame, subset, keep=keep, ignore_index=True)
    assert_frame_equal(numbered, frame.drop_duplicates(subset, keep=keep, ignore_index=True))


def test_duplicates_of_what_cannot_be_compared_are_refused(frame: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="can't be compared"):
        rows.drop_duplicates(pd.DataFrame({"a": [[1], [1]], "b": 1}))
    with pytest.raises(InvalidArguments, match="no column 'c'"):
        rows.drop_duplicates(frame, ["c"])
