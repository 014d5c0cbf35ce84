"""What the charts of `data.chart` show, computed once as plain lists, and their pictures by Matplotlib.

Nothing of Matplotlib's global state is touched: there is no pyplot here.
"""

from __future__ import annotations

import datetime as dt
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.errors import InvalidArguments
from workbench.operations.data.columns import kind, refusing, single
from workbench.operations.data.functions import decoded

if TYPE_CHECKING:
    from pandas import DataFrame

POINTS = 10_000
"""Points that a line or a cloud shows: more than a chart has pixels for."""
BARS = 500
BOXES = 100
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


class Drawn(NamedTuple):
    """One of the chart's series: a line, a cloud of points, a set of bars, or the bars of a histogram."""

    name: str
    x: list[Any]
    y: list[float]
    rows: Sequence[int] = ()  # where in the table they are


class Box(NamedTuple):
    """A box: quartiles, whiskers that reach to the last values within 1.5 boxes, and what lies beyond."""

    name: str
    low: float
    quartiles: tuple[float, float, float]
    high: float
    beyond: list[float]


# --- what is drawn ----------------------------------------------------------------------------------


def _numbers(column: Any) -> Any:
    import numpy as np

    return column.to_numpy(dtype="float64", na_value=np.nan)


def series_of(data: DataFrame, form: str, columns: list[str], x: str | None) -> list[Drawn]:
    """Return what a line, a cloud of points or a set of bars shows of each column."""
    import numpy as np
    import pandas as pd

    along: Any = pd.Series(np.arange(len(data)), index=data.index) if x is None else decoded(data[single(data, x)[0]])
    found = kind(along)
    if form != "bar" and found not in ("number", "time", "zoned"):
        raise InvalidArguments(f"x: column {x!r} holds {along.dtype}, where a {form} chart takes numbers or times")
    if form == "bar" and len(data) > BARS:
        raise InvalidArguments(f"a chart shows up to {BARS} bars, data has {len(data)} rows: group them first")
    series = []
    for name in columns:
        values = _numbers(data[name])
        there = np.isfinite(values) & along.notna().to_numpy(dtype=bool)
        if found == "number":
            there &= np.isfinite(_numbers(along))
        rows = there.nonzero()[0]
        if form != "bar" and len(rows) > POINTS:
            rows = rows[np.linspace(0, len(rows) - 1, POINTS).astype("int64")]
        places = along.iloc[rows]
        if form == "bar":
            places = [_label(place) for place in places]
            if repeated := next((place for place in places if places.count(place) > 1), None):
                raise InvalidArguments(f"x: {repeated!r} names several bars: group the rows first, with data.groupby")
        elif found == "number":
            places = _numbers(places).tolist()
        else:  # a chart shows the clock of its zone
            places = (places.dt.tz_localize(None) if found == "zoned" else places).astype("datetime64[ms]").tolist()
        series.append(Drawn(name, places, values[rows].tolist(), rows.tolist()))
    _check_any(any(each.y for each in series), columns)
    return series


def bar_names(series: list[Drawn]) -> list[str]:
    """Return what the bars are called, in the table's order, also where a series has no bar in a row."""
    return list(dict(sorted(pair for each in series for pair in zip(each.rows, each.x, strict=True))).values())


def _label(value: object) -> str:
    midnight = isinstance(value, dt.datetime) and value.time() == dt.time()
    text = str(value.date()) if midnight else str(value)  # type: ignore[attr-defined]
    return text if len(text) <= 40 else f"{text[:39]}…"


def _check_any(found: bool, columns: list[str]) -> None:
    if not found:
        raise InvalidArguments(f"nothing is left to draw of {', '.join(map(repr, columns))}: every value is missing")


def histogram(data: DataFrame, columns: list[str], x: str | None, bins: int) -> tuple[list[Drawn], list[float]]:
    """Return how many values of each column fall into each bin, and the bins' edges, which are the same for all."""
    import numpy as np

    if x is not None:
        raise InvalidArguments("a histogram has no x: it counts the values of y")
    if not 1 <= bins <= BARS:
        raise InvalidArguments(f"bins takes 1 to {BARS}, got {bins}")
    values = {name: _numbers(data[name]) for name in columns}
    finite = {name: each[np.isfinite(each)] for name, each in values.items()}
    everything = np.concatenate(list(finite.values()))
    _check_any(len(everything) > 0, columns)
    with refusing("the values can't be counted"):
        edges = np.histogram_bin_edges(everything, bins)
        counts = {name: np.histogram(each, edges)[0].astype("float64").tolist() for name, each in finite.items()}
    return [Drawn(name, edges[:-1].tolist(), counts[name]) for name in columns], edges.tolist()


def boxes_of(data: DataFrame, columns: list[str], x: str | None) -> list[Box]:
    """Return a box for each column, or for each column of each group that the values of `x` make."""
    import numpy as np

    groups: list[tuple[str, Any]] = [("", data)]
    if x is not None:
        single(data, x)
        with refusing(f"x: the values of {x!r} can't make groups"):
            several = data.groupby(x, observed=True, sort=True)
            if several.ngroups * len(columns) > BOXES:
                raise InvalidArguments(f"a chart shows up to {BOXES} boxes, {x!r} makes {several.ngroups} groups")
            groups = [(_label(value), group) for value, group in several]
    boxes = []
    for label, group in groups:
        for name in columns:
            values = _numbers(group[name])
            values = values[np.isfinite(values)]
            if len(values):
                title = " ".join(filter(None, (label, name if label == "" or len(columns) > 1 else "")))
                boxes.append(_box(title, values))
    _check_any(bool(boxes), columns)
    return boxes


def _box(name: str, values: Any) -> Box:
    import numpy as np

    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    reach = 1.5 * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    beyond = np.unique(values[(values < low - reach) | (values > high + reach)])
    if len(beyond) > POINTS // 10:
        beyond = beyond[np.linspace(0, len(beyond) - 1, POINTS // 10).astype("int64")]
    whiskers = float(min(inside.min(), low)), float(max(inside.max(), high))
    return Box(name, whiskers[0], (low, middle, high), whiskers[1], beyond.tolist())


# --- as a picture -----------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Return a text that Matplotlib draws as it is: between dollars it would read formulas."""
    return text.replace("$", r"\$")


def _axes(title: str, labels: tuple[str, str], width: int, height: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(_plain(title))
    axes.set_xlabel(_plain(labels[0]))
    axes.set_ylabel(_plain(labels[1]))
    return figure, axes


def _image(figure: Any) -> Any:
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        return image.convert("RGB")


def picture(
    form: str,
    series: list[Drawn],
    edges: list[float],
    title: str,
    labels: tuple[str, str],
    width: int,
    height: int,
) -> Any:
    """Draw a line, a cloud of points, bars, or a histogram, of which `edges` are the bins'."""
    from matplotlib import dates

    figure, axes = _axes(title, labels, width, height)
    names = bar_names(series) if form == "bar" else []
    drawn = []
    for number, each in enumerate(series):
        color = COLORS[number % len(COLORS)]
        match form:
            case "line":
                drawn += axes.plot(each.x, each.y, color=color)
            case "scatter":
                drawn.append(axes.scatter(each.x, each.y, s=12, color=color))
            case "hist":
                drawn.append(axes.stairs(each.y, edges, fill=True, color=color, alpha=0.6))
            case _:
                thick = 0.8 / len(series)
                places = [names.index(place) + (number - (len(series) - 1) / 2) * thick for place in each.x]
                drawn.append(axes.bar(places, each.y, thick, color=color))
    if form == "bar":
        step = math.ceil(len(names) / (width // 30))  # as many names as there is room for
        axes.set_xticks(range(0, len(names), step), [_plain(name) for name in names[::step]])
        if sum(map(len, names[::step])) * 8 > width:
            axes.tick_params(axis="x", labelrotation=90)
    elif any(isinstance(place, dt.datetime) for each in series for place in each.x[:1]):
        locator: Any = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    if len(series) > 1:
        axes.legend(drawn, [_plain(each.name) for each in series])
    return _image(figure)


def box_picture(boxes: list[Box], title: str, width: int, height: int) -> Any:
    """Draw boxes."""
    figure, axes = _axes(title, ("", ""), width, height)
    statistics = [
        {
            "label": _plain(box.name),
            "whislo": box.low,
            "q1": box.quartiles[0],
            "med": box.quartiles[1],
            "q3": box.quartiles[2],
            "whishi": box.high,
            "fliers": box.beyond,
        }
        for box in boxes
    ]
    axes.bxp(statistics)
    if len(boxes) > 8:
        axes.tick_params(axis="x", labelrotation=45)
    return _image(figure)
