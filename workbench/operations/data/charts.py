"""The data operation that draws a chart: as a picture, and as data that Bokeh draws in a page.

What they show is computed in `drawings`, so that both show the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import InvalidArguments
from workbench.operations.data import drawings
from workbench.operations.data.columns import Columns, numeric, refusing
from workbench.operations.data.drawings import COLORS, Box, Drawn
from workbench.operations.registry import operation

if TYPE_CHECKING:
    from pandas import DataFrame

SERIES = 20
"""Columns that a chart shows at most."""
_BEYOND = "the values can't be drawn: they lie beyond what an axis holds (years 1 to 9999, numbers up to about 1e300)"


@operation("data.chart")
def chart(
    data: DataFrame,
    kind: Literal["line", "bar", "scatter", "hist", "box"],
    y: Columns,
    x: str | None = None,
    *,
    title: str = "",
    bins: int = 30,
    width: int = 800,
    height: int = 500,
) -> dict[str, Any]:
    """Draw columns as a chart.

    Parameters
    ----------
    data
        Any table. Rows in which what is drawn is missing are left out.
    kind
        `"line"` and `"scatter"` draw `y` over `x`; `"bar"` a bar for each row, of which `x` is the name; `"hist"` how
        often values of `y` occur; `"box"` the spread of `y`, for each value of `x` if that is given.
    y
        The column, or columns, of numbers that are drawn.
    x
        The column along the axis: numbers or times for a line or points, anything for bars and boxes. None for the
        rows' numbers. A histogram has none.
    title
        What stands above it.
    bins
        How many bars a histogram has, over the range of all columns together.
    width, height
        In pixels, 100 to 4000.

    Returns
    -------
    dict
        `picture`, an RGB image; `bokeh`, what `bokeh.embed.json_item` returns: pass it to
        `Bokeh.embed.embed_item(item, "element")` in a page; `rows`, how many the table has; `shown`, how many points
        stand for them: of a line or a cloud at most 10,000, evenly chosen.

    Raises
    ------
    InvalidArguments
        If a column isn't known or doesn't fit, nothing is left to draw, or there are too many bars or boxes, or
        several bars of one name.

    Examples
    --------
    >>> import pandas as pd
    >>> drawn = chart(pd.DataFrame({"month": [1, 2, 3], "delay": [6.1, 5.6, 5.8]}), "line", "delay", "month")
    >>> drawn["picture"].size, drawn["shown"]
    ((800, 500), 3)
    """
    import numpy as np

    for name, pixels in (("width", width), ("height", height)):
        if not 100 <= pixels <= 4000:
            raise InvalidArguments(f"{name} takes 100 to 4000 pixels, got {pixels}")
    columns = numeric(data, y)
    if len(columns) > SERIES:
        raise InvalidArguments(f"a chart shows up to {SERIES} columns, got {len(columns)}")
    if kind == "box":
        with refusing(_BEYOND), np.errstate(all="ignore"):
            boxes = drawings.boxes_of(data, columns, x)
            picture = drawings.box_picture(boxes, title, width, height)
        spec = _box_spec(boxes, title, width, height)
        shown = sum(len(box.beyond) for box in boxes) + len(boxes)
    else:
        labels = (x or "row", ", ".join(columns))
        if kind == "hist":
            labels = (", ".join(columns), "count")
            series, edges = drawings.histogram(data, columns, x, bins)
        else:
            series, edges = drawings.series_of(data, kind, columns, x), []
        shown = sum(len(each.y) for each in series)
        with refusing(_BEYOND), np.errstate(all="ignore"):
            picture = drawings.picture(kind, series, edges, title, labels, width, height)
        spec = _spec(kind, series, edges, title, labels, width, height)
    return {"picture": picture, "bokeh": spec, "rows": len(data), "shown": shown}


# --- as data for Bokeh ------------------------------------------------------------------------------


def _figure(title: str, labels: tuple[str, str], width: int, height: int, **options: Any) -> Any:
    from bokeh.plotting import figure

    return figure(title=title, width=width, height=height, x_axis_label=labels[0], y_axis_label=labels[1], **options)


def _item(plot: Any) -> dict[str, Any]:
    from bokeh.core.json_encoder import serialize_json
    from bokeh.embed import json_item

    item: dict[str, Any] = json.loads(serialize_json(json_item(plot)))
    return item


def _spec(
    form: str,
    series: list[Drawn],
    edges: list[float],
    title: str,
    labels: tuple[str, str],
    width: int,
    height: int,
) -> dict[str, Any]:
    from bokeh.models import FactorRange
    from bokeh.transform import dodge

    options: dict[str, Any] = {}
    if form == "bar":
        options["x_range"] = FactorRange(factors=drawings.bar_names(series))
    elif series and any(each.x and not isinstance(each.x[0], float) for each in series):
        options["x_axis_type"] = "datetime"
    plot = _figure(title, labels, width, height, **options)
    for number, each in enumerate(series):
        style: dict[str, Any] = {"color": COLORS[number % len(COLORS)], "legend_label": each.name}
        match form:
            case "line":
                plot.line(each.x, each.y, **style)
            case "scatter":
                plot.scatter(each.x, each.y, size=5, **style)
            case "hist":
                plot.quad(left=edges[:-1], right=edges[1:], top=each.y, bottom=0, alpha=0.6, **style)
            case _:
                thick = 0.8 / len(series)
                source = {"x": each.x, "top": each.y}
                place = dodge("x", (number - (len(series) - 1) / 2) * thick, range=plot.x_range)
                plot.vbar(x=place, top="top", width=thick, source=source, **style)
    plot.legend.visible = len(series) > 1
    return _item(plot)


def _box_spec(boxes: list[Box], title: str, width: int, height: int) -> dict[str, Any]:
    from bokeh.models import FactorRange

    names = [f"{box.name} ({number})" for number, box in enumerate(boxes, 1)]
    if len({box.name for box in boxes}) == len(boxes):
        names = [box.name for box in boxes]
    plot = _figure(title, ("", ""), width, height, x_range=FactorRange(factors=names))
    for name, box in zip(names, boxes, strict=True):
        low, middle, high = box.quartiles
        plot.segment([name, name], [box.low, high], [name, name], [low, box.high], color="black")
        for bottom, top in ((low, middle), (middle, high)):
            plot.vbar(x=[name], width=0.5, bottom=bottom, top=top, fill_color=COLORS[0], line_color="black")
        if box.beyond:
            plot.scatter([name] * len(box.beyond), box.beyond, size=5, color=COLORS[0])
    return _item(plot)
