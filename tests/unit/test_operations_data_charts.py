from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import InvalidArguments
from workbench.operations.data import charts, drawings
from workbench.values import codecs
from workbench.values.files import Files


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "at": pd.date_range("2013-01-01", periods=40, tz="Europe/Berlin"),
            "carrier": pd.Categorical(["UA", "AA"] * 20),
            "delay": [None, *np.linspace(-5, 30, 38).tolist(), 400.0],
            "seats": pd.array([None, *range(39)], dtype="Int64"),
            "price $x$ _": range(40),
        }
    )


CHARTS = [
    ("line", "delay", "at"),
    ("line", ["delay", "seats"], None),
    ("scatter", ["delay", "seats", "price $x$ _"], "price $x$ _"),
    ("bar", "seats", "price $x$ _"),
    ("bar", ["seats", "delay"], "at"),
    ("hist", ["delay", "seats"], None),
    ("box", ["delay", "seats"], "carrier"),
    ("box", "delay", None),
]


@pytest.mark.parametrize(("kind", "y", "x"), CHARTS)
def test_a_chart_is_a_picture_and_a_specification_and_both_travel(frame: pd.DataFrame, kind, y, x):
    drawn = charts.chart(frame, kind, y, x, title="100 $ of $\\frac", width=400, height=300)

    assert drawn["picture"].mode == "RGB"
    assert drawn["picture"].size == (400, 300)
    assert len(drawn["picture"].getcolors(400 * 300)) > 2
    spec = drawn["bokeh"]
    assert set(spec) >= {"doc", "root_id", "target_id"}
    assert json.loads(json.dumps(spec)) == spec
    text = json.dumps(spec)
    assert "100 $ of $" in text
    decoded = codecs.decode(codecs.encode(drawn, Files(""), limit=1 << 24), Files(""))
    assert decoded["bokeh"] == spec
    assert decoded["picture"].tobytes() == drawn["picture"].tobytes()
    assert drawn["rows"] == 40


def test_a_chart_shows_the_tables_values(frame: pd.DataFrame):
    (series,) = drawings.series_of(frame, "line", ["delay"], "at")
    there = frame.dropna(subset="delay")
    assert series.y == there["delay"].tolist()
    assert series.x == there["at"].dt.tz_localize(None).tolist()
    assert charts.chart(frame, "line", "delay", "at")["shown"] == 39


def test_a_histogram_counts_as_numpy_does(frame: pd.DataFrame):
    (counted, other), edges = drawings.histogram(frame, ["delay", "seats"], None, 12)
    expected = np.histogram(frame["delay"].dropna(), 12, (-5, 400))
    assert edges == expected[1].tolist()
    assert counted.y == expected[0].tolist()
    assert sum(other.y) == 39


def test_a_box_has_pandass_quartiles_and_shows_what_lies_beyond(frame: pd.DataFrame):
    (box,) = drawings.boxes_of(frame, ["delay"], None)
    assert box.quartiles == tuple(frame["delay"].quantile([0.25, 0.5, 0.75]))
    assert box.beyond == [400.0]
    assert (box.low, box.high) == (-5.0, 30.0)
    grouped = drawings.boxes_of(frame, ["delay"], "carrier")
    assert [each.name for each in grouped] == ["AA", "UA"]
    expected = frame.groupby("carrier", observed=True)["delay"].median()
    assert [each.quartiles[1] for each in grouped] == expected.tolist()


def test_of_many_points_some_are_chosen_evenly():
    many = pd.DataFrame({"x": np.arange(100_000), "y": np.arange(100_000.0)})
    (series,) = drawings.series_of(many, "scatter", ["y"], "x")
    assert len(series.y) == drawings.POINTS
    assert (series.y[0], series.y[-1]) == (0.0, 99_999.0)
    assert max(np.diff(series.y)) <= 11


@pytest.mark.parametrize(
    ("kind", "y", "x", "options", "reason"),
    [
        ("line", "carrier", None, {}, "numbers are needed"),
        ("line", "delays", None, {}, "'delay'"),
        ("line", "delay", "att", {}, "'at'"),
        ("line", "delay", "carrier", {}, "numbers or times"),
        ("hist", "delay", "at", {}, "no x"),
        ("hist", "delay", None, {"bins": 0}, "bins"),
        ("line", "delay", None, {"width": 50_000}, "pixels"),
        ("line", "delay", None, {"height": 0}, "pixels"),
        ("line", "nothing", None, {}, "nothing is left"),
        ("hist", "nothing", None, {}, "nothing is left"),
        ("box", "nothing", None, {}, "nothing is left"),
        ("bar", "nothing", None, {}, "nothing is left"),
        ("bar", "delay", "carrier", {}, "'AA' names several bars|'UA' names several bars"),
    ],
)
def test_a_chart_that_makes_no_sense_is_refused(frame: pd.DataFrame, kind, y, x, options, reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        charts.chart(frame.assign(nothing=np.nan), kind, y, x, **options)


def test_more_bars_boxes_or_columns_than_can_be_seen_are_refused():
    many = pd.DataFrame({f"c{number}": range(501) for number in range(21)})
    with pytest.raises(InvalidArguments, match="group them first"):
        charts.chart(many, "bar", "c0")
    with pytest.raises(InvalidArguments, match="501 groups"):
        charts.chart(many, "box", "c0", "c1")
    with pytest.raises(InvalidArguments, match="20 columns"):
        charts.chart(many, "line", [f"c{number}" for number in range(21)])
    with pytest.raises(InvalidArguments, match="nothing is left"):
        charts.chart(many.head(0), "line", "c0")


def test_bars_stand_in_the_tables_order_also_where_one_is_missing():
    gaps = pd.DataFrame({"k": ["a", "b", "c"], "u": [None, 2.0, 3.0], "v": [1.0, None, 3.0]})
    series = drawings.series_of(gaps, "bar", ["u", "v"], "k")
    assert drawings.bar_names(series) == ["a", "b", "c"]
    text = json.dumps(charts.chart(gaps, "bar", ["u", "v"], "k")["bokeh"])
    assert '"factors": ["a", "b", "c"]' in text


def test_infinite_values_are_left_out():
    odd = pd.DataFrame({"y": [1.0, np.inf, 3.0, -np.inf, np.nan], "x": [1.0, 2.0, np.inf, 4.0, 5.0]})
    for kind, x, shown in (("line", "x", 1), ("scatter", None, 2), ("bar", None, 2)):
        assert charts.chart(odd, kind, "y", x, width=100, height=100)["shown"] == shown
    for kind in ("hist", "box"):
        assert charts.chart(odd, kind, "y", width=100, height=100)["picture"].size == (100, 100)


@pytest.mark.parametrize("kind", ["line", "scatter", "box"])
def test_values_beyond_what_an_axis_holds_are_refused(kind):
    far = pd.DataFrame({"y": [1e308, -1e308], "at": np.array(["9999-12-31", "0001-01-01"], dtype="datetime64[s]")})
    with pytest.raises(InvalidArguments, match="can't be drawn"):
        charts.chart(far, kind, "y", None if kind == "box" else "at")


def test_drawing_leaves_no_figure_behind(frame: pd.DataFrame):
    before = "matplotlib.pyplot" in sys.modules
    charts.chart(frame, "line", "delay")
    assert ("matplotlib.pyplot" in sys.modules) == before
