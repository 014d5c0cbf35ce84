"""How the charts look: one place for axes, tools and the two themes."""

from __future__ import annotations

from typing import Any

from bokeh.models import DatetimeTickFormatter, PanTool, ResetTool, WheelZoomTool
from bokeh.plotting import figure

_THEMES = {
    False: {"ink": "#1b2430", "faint": "#5a6675", "line": "#e4e8ec", "card": "#ffffff"},
    True: {"ink": "#e6ebf1", "faint": "#9aa7b5", "line": "#2d3744", "card": "#1a212b"},
}


def clock() -> DatetimeTickFormatter:
    """Return how times are written on an axis."""
    return DatetimeTickFormatter(
        milliseconds="%H:%M:%S.%3N",
        seconds="%H:%M:%S",
        minsec="%H:%M:%S",
        minutes="%H:%M",
        hourmin="%H:%M",
        hours="%H:%M",
        days="%d %b",
    )


def chart(height: int, label: str, **options: Any) -> figure:
    """Return an empty chart over time (milliseconds since 1970, UTC), which pans and zooms along the time only.

    Parameters
    ----------
    height
        In pixels; as wide as there is room.
    label
        What its vertical axis tells.
    """
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        tools=[],
        toolbar_location=None,
        min_border_right=12,
        **options,
    )
    pan, zoom = PanTool(dimensions="width"), WheelZoomTool(dimensions="width", zoom_on_axis=True)
    plot.add_tools(pan, zoom, ResetTool())
    plot.toolbar.active_drag = pan
    plot.xaxis.formatter = clock()
    plot.yaxis.axis_label = label
    dress(plot, dark=False)
    return plot


def dress(plot: figure, *, dark: bool) -> None:
    """Let a chart wear a theme."""
    colours = _THEMES[dark]
    plot.background_fill_color = None
    plot.border_fill_color = None
    plot.outline_line_color = None
    for axis in plot.axis:
        axis.axis_label_text_color = colours["faint"]
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "12px"
        axis.major_label_text_color = colours["faint"]
        axis.major_label_text_font_size = "11.5px"
        axis.axis_line_color = colours["line"]
        axis.major_tick_line_color = colours["line"]
        axis.minor_tick_line_color = None
    for grid in plot.grid:
        grid.grid_line_color = colours["line"]
    for legend in plot.legend:
        legend.label_text_color = colours["ink"]
        legend.label_text_font_size = "12px"
        legend.background_fill_alpha = 0.0
        legend.border_line_alpha = 0.0


def ink(dark: bool) -> str:
    """Return the colour of what is written, or marked, in a theme."""
    return _THEMES[dark]["ink"]
