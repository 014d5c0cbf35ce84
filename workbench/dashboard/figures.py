"""How the charts look: one place for axes, tools and the two themes."""

from __future__ import annotations

from typing import Any

from bokeh.models import DatetimeTickFormatter, PanTool, Range1d, WheelZoomTool
from bokeh.plotting import figure

_THEMES = {
    False: {"ink": "#1b2430", "faint": "#5a6675", "line": "#e4e8ec", "card": "#ffffff"},
    True: {"ink": "#e6ebf1", "faint": "#9aa7b5", "line": "#2d3744", "card": "#1a212b"},
}


class Window:
    """The stretch of time that charts show: it follows the time until it's held, or a reader pans or zooms."""

    def __init__(self) -> None:
        self.range = Range1d(start=0, end=1)
        self._put: tuple[Any, Any] | None = (0, 1)  # where it was put last, as long as it follows

    @property
    def held(self) -> bool:
        """Whether it stays where it is."""
        return self._put != (self.range.start, self.range.end)

    def follow(self, end: float, length: float) -> bool:
        """Show up to `end` (seconds since 1970), and return True; unless it's held."""
        if self.held:
            return False
        self._put = (1000 * (end - length), 1000 * end)
        self.range.update(start=self._put[0], end=self._put[1])
        return True

    def hold(self) -> None:
        """Let it stay where it is."""
        self._put = None

    def release(self) -> None:
        """Let it follow the time again."""
        self._put = (self.range.start, self.range.end)


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
    # With a key, as a page is scrolled over its charts.
    pan, zoom = PanTool(dimensions="width"), WheelZoomTool(dimensions="width", modifiers="ctrl")
    plot.add_tools(pan, zoom)
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
