from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations import context
from workbench.operations.data import shapes
from workbench.values import codecs
from workbench.values.files import Files


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "origin": pd.Categorical(
                ["JFK", "LGA", "JFK", "EWR", "JFK", None], categories=["JFK", "LGA", "EWR", "BOS"]
            ),
            "month": [1, 1, 2, 2, 1, 2],
            "day": pd.date_range("2013-01-01", periods=6, tz="Europe/Berlin"),
            "delay": [4.0, None, 8.0, 1.0, 6.0, 5.0],
            "seats": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"),
            "tail": ["a", "b", "a", None, "b", "a"],
        }
    )


def same_elsewhere(frame: pd.DataFrame) -> None:
    assert_frame_equal(codecs.decode(codecs.encode(frame, Files("")), Files("")), frame)


PIVOTS = [
    (("delay", "origin", "month"), {}),
    (("delay", ["origin", "tail"], "month"), {"aggfunc": "sum", "fill_value": 0}),
    ((["delay", "seats"], "origin", ["month", "tail"]), {"aggfunc": ["mean", "count"]}),
    ((["delay", "seats"], "tail", "month"), {"aggfunc": {"delay": "max", "seats": ["min", "sum"]}}),
    (("delay", "tail", "month"), {"margins": True, "margins_name": "Both"}),
    (("seats", "day", "tail"), {"aggfunc": "sum", "sort": False}),
    (("delay", "tail", "month"), {"dropna": False}),
]


@pytest.mark.parametrize(("arguments", "options"), PIVOTS)
def test_a_pivot_table_is_pandass(frame: pd.DataFrame, arguments, options):
    values, index, columns = arguments
    expected = frame.pivot_table(values=values, index=index, columns=columns, observed=True, **options)

    found = shapes.pivot_table(frame, values, index, columns, **options)

    assert_frame_equal(found, expected)
    same_elsewhere(found)


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        (("delays", "origin", "month"), {}, "'delays'"),
        (("delay", "orign", "month"), {}, "'orign'"),
        (("delay", "origin", "mnth"), {}, "'mnth'"),
        (("delay", "origin", "month"), {"aggfunc": "avg"}, "'avg'"),
        (("delay", "origin", "month"), {"aggfunc": []}, "at least one"),
        (("delay", "origin", "month"), {"aggfunc": {"seats": "sum"}}, "'seats'"),
        (("tail", "origin", "month"), {}, "aggregated"),
    ],
)
def test_a_pivot_that_makes_no_sense_is_refused(frame: pd.DataFrame, arguments, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        shapes.pivot_table(frame, *arguments, **options)


def test_a_table_that_would_not_fit_into_memory_is_refused_before_it_is_made(tmp_path):
    wide = pd.DataFrame({"a": range(2000), "b": range(2000), "v": 1.0})
    with context.attempt(tmp_path, current=context.Attempt(memory_limit=32_000_000)):
        for make in (
            lambda: shapes.pivot_table(wide, "v", "a", "b"),
            lambda: shapes.crosstab(wide, "a", "b"),
        ):
            with pytest.raises(InvalidArguments, match="2,000 rows of 2,000 columns"):
                make()
        assert shapes.pivot_table(wide.head(100), "v", "a", "b").shape == (100, 100)


MELTS = [
    ((), {}),
    ((["origin", "day", "tail"],), {}),
    ((["origin", "month"], ["delay", "seats"]), {"var_name": "what", "value_name": "much"}),
    (("tail", "delay"), {"ignore_index": False}),
]


@pytest.mark.parametrize(("arguments", "options"), MELTS)
def test_melting_gives_what_pandas_does(frame: pd.DataFrame, arguments, options):
    some = frame if arguments else frame[["month", "delay"]]
    assert_frame_equal(shapes.melt(some, *arguments, **options), some.melt(*arguments, **options))
    empty = some.head(0)
    assert_frame_equal(shapes.melt(empty, *arguments, **options), empty.melt(*arguments, **options))


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        (("orign",), {}, "'orign'"),
        (("origin", "orign"), {}, "'orign'"),
        (("origin",), {}, "several kinds .number, text, zoned."),
        (("origin",), {"value_name": "origin"}, "names of their own"),
        (("origin",), {"value_name": "x", "var_name": "x"}, "names of their own"),
    ],
)
def test_a_melt_that_makes_no_sense_is_refused(frame: pd.DataFrame, arguments, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        shapes.melt(frame, *arguments, **options)


@pytest.mark.parametrize(
    ("index", "columns", "options"),
    [
        ("origin", "month", {}),
        ("origin", ["month", "tail"], {}),
        ("tail", "month", {"normalize": True}),
        ("tail", "month", {"normalize": "index", "margins": True}),
        ("tail", "month", {"margins": True, "margins_name": "Sum"}),
        ("tail", "month", {"dropna": False}),
    ],
)
def test_a_crosstab_is_pandass(frame: pd.DataFrame, index, columns, options):
    across = [frame[name] for name in ([columns] if isinstance(columns, str) else columns)]
    found = shapes.crosstab(frame, index, columns, **options)
    assert_frame_equal(found, pd.crosstab([frame[index]], across, **options))
    same_elsewhere(found)


def test_a_crosstab_can_aggregate(frame: pd.DataFrame):
    found = shapes.crosstab(frame, "tail", "month", values="delay", aggfunc="mean")
    expected = pd.crosstab([frame["tail"]], [frame["month"]], values=frame["delay"], aggfunc="mean")
    assert_frame_equal(found, expected)
    for options, reason in (
        ({"values": "delay"}, "go together"),
        ({"aggfunc": "sum"}, "go together"),
        ({"values": "delay", "aggfunc": "avg"}, "'avg'"),
        ({"values": "tail", "aggfunc": "mean"}, "can't be counted"),
    ):
        with pytest.raises(InvalidArguments, match=reason):
            shapes.crosstab(frame, "tail", "month", **options)
    with pytest.raises(InvalidArguments, match="can't be counted"):
        shapes.crosstab(frame.head(0), "origin", "month", normalize="all", margins=True)
    with pytest.raises(InvalidArguments, match="both"):
        shapes.crosstab(frame, "tail", "tail")
