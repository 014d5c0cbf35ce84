from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import times


@pytest.fixture
def frame() -> pd.DataFrame:
    at = pd.to_datetime(
        ["2013-01-01 05:00", "2013-01-01 06:30", "2013-01-03", "2013-03-31 02:30", "2013-04-01"], format="ISO8601"
    )
    return pd.DataFrame(
        {
            "at": at,
            "zoned": at.tz_localize("UTC").tz_convert("Europe/Berlin"),
            "delay": [1.0, None, 3.0, 4.0, 5.0],
            "seats": pd.array([1, 2, None, 4, 5], dtype="Int64"),
            "carrier": pd.Categorical(["UA", "AA", "UA", None, "AA"]),
        }
    )


@pytest.mark.parametrize("rule", ["1h", "D", "2D", "W", "MS", "QE", "90min", "B"])
@pytest.mark.parametrize("on", ["at", "zoned", None])
def test_periods_are_aggregated_as_pandas_does(frame: pd.DataFrame, rule, on):
    agg = {"delay": ["mean", "count"], "seats": "sum"}
    data = frame if on else frame.set_index("zoned")
    assert_frame_equal(times.resample(data, rule, agg, on=on), data.resample(rule, on=on).agg(agg))
    empty = data.head(0)
    assert_frame_equal(times.resample(empty, rule, agg, on=on), empty.resample(rule, on=on).agg(agg))


def test_the_ends_of_periods_are_chosen_as_in_pandas(frame: pd.DataFrame):
    options = {"on": "at", "closed": "right", "label": "right"}
    expected = frame.resample("D", **options).agg({"carrier": "first"})
    assert_frame_equal(times.resample(frame, "D", {"carrier": "first"}, **options), expected)


@pytest.mark.parametrize(
    ("rule", "agg", "on", "reason"),
    [
        ("D", {"delay": "mean"}, "att", "'att'"),
        ("D", {"delay": "mean"}, "delay", "'delay' holds float64, not times"),
        ("D", {"delay": "mean"}, None, "the index holds int64, not times"),
        ("D", {"delays": "mean"}, "at", "'delays'"),
        ("D", {"delay": "avg"}, "at", "'avg'"),
        ("D", {}, "at", "at least one"),
        ("fortnight", {"delay": "mean"}, "at", "'fortnight' is not a period"),
        ("", {"delay": "mean"}, "at", "not a period"),
        ("0h", {"delay": "mean"}, "at", "not a period"),
        ("-1h", {"delay": "mean"}, "at", "not a period"),
        ("1ns", {"delay": "mean"}, "at", "Take longer periods"),
        ("D", {"carrier": "mean"}, "at", "can't be grouped"),
    ],
)
def test_periods_that_make_no_sense_are_refused(frame: pd.DataFrame, rule, agg, on, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        times.resample(frame, rule, agg, on=on)


STATISTICS = ["mean", "sum", "min", "max", "count", "median", "std", "var", "skew", "kurt"]


@pytest.mark.parametrize("func", STATISTICS)
@pytest.mark.parametrize(
    ("window", "options"),
    [(2, {}), (3, {"min_periods": 1, "center": True}), ("2D", {"on": "at"}), ("36h", {"on": "at", "closed": "both"})],
)
def test_moving_windows_are_pandass(frame: pd.DataFrame, func, window, options):
    columns = (["at"] if "on" in options else []) + ["delay", "seats"]
    expected = getattr(frame[columns].rolling(window, **options), func)()
    assert_frame_equal(times.rolling(frame, window, func, **options), expected)


def test_a_window_of_time_goes_along_the_index_too(frame: pd.DataFrame):
    data = frame.set_index("zoned")
    assert_frame_equal(times.rolling(data, "2D", columns="delay"), data[["delay"]].rolling("2D").mean())
    assert_frame_equal(times.rolling(data.head(0), "2D", columns="delay"), data.head(0)[["delay"]].rolling("2D").mean())


@pytest.mark.parametrize(
    ("window", "options", "reason"),
    [
        (0, {}, "above zero"),
        (2, {"on": "at"}, "window of time"),
        ("2D", {}, "doesn't fit"),
        ("two days", {"on": "at"}, "doesn't fit"),
        ("2D", {"on": "att"}, "'att'"),
        ("2D", {"on": "delay"}, "doesn't fit"),
        (2, {"columns": "carrier"}, "numbers are needed"),
        (2, {"min_periods": 3}, "doesn't fit"),
    ],
)
def test_windows_that_make_no_sense_are_refused(frame: pd.DataFrame, window, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        times.rolling(frame, window, **options)


def test_a_window_of_time_needs_times_in_order(frame: pd.DataFrame):
    with pytest.raises(InvalidArguments, match="monotonic"):
        times.rolling(frame.iloc[::-1].sample(frac=1, random_state=3), "2D", on="at")
