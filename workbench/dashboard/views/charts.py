"""Throughput and latency over time, a line for each family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool
from bokeh.plotting import figure

from workbench.dashboard import figures, series
from workbench.dashboard.board import Board
from workbench.dashboard.frames import framed, stacked
from workbench.dashboard.look import Html, count, empty, esc, follow, plural, rate, seconds, table
from workbench.dashboard.series import Lines
from workbench.dashboard.styles import COLOURS, Style
from workbench.dashboard.views.base import View

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

SPANS = (("5 min", 300), ("15 min", 900), ("1 hour", 3600))
POINTS = 300  # of each line, however long the time is that is looked at
MINUTE = 60
_DASHES: tuple[Any, ...] = ("solid", [8, 3], [2, 2], [8, 3, 2, 3])
_CHARTS = (
    ("ended", "Throughput", "tasks ended per second"),
    ("waiting", "Waiting on a queue, 95 of 100 within", "seconds"),
    ("running", "Running, 95 of 100 within", "seconds"),
)
_KINDS = tuple(kind for kind, _, _ in _CHARTS)
_COLUMNS = ("family", "in", "ended", "failed", "waited p50", "p95", "p99", "ran p50", "p95", "p99")


class Charts(View):
    """How fast tasks came and went, and how long they waited and ran."""

    name = "charts"
    title = "Throughput"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._span = SPANS[0][1]
        self.window = figures.Window()
        self._sources: dict[str, ColumnDataSource] = {}
        self.top = self.board(_TOP, spans=_spans(self._span), table="", follow="")
        self.plots: dict[str, figure] = {}
        self.told: dict[str, Board] = {}
        self._charts = stacked()
        self._panel = stacked(self.top, self._charts)

    @property
    def panel(self) -> pn.Column:
        return self._panel

    def dress(self, dark: bool) -> None:
        for plot in self.plots.values():
            figures.dress(plot, dark=dark)

    def on(self, message: dict[str, Any]) -> None:
        match message:
            case {"act": "span", "seconds": str(length)} if length in {str(each) for _, each in SPANS}:
                self._span = int(length)
                self.top.write(spans=_spans(self._span))
                self.window.release()
                self.show(self.page.feed.picture)
            case {"act": "follow"}:
                self.window.release()
                self.show(self.page.feed.picture)
            case _:
                super().on(message)

    def show(self, picture: Picture) -> None:
        if tuple(picture.families) != tuple(self._sources) or not self.plots:
            self._build(tuple(picture.families))
        drawn = {family: picture.lines(family, self._span, POINTS) for family in picture.families}
        rows = [(Html(_swatch(number, name)), *_numbers(picture, name)) for number, name in enumerate(drawn)]
        shown = empty("Nothing has run in the last hour", "A line for each family appears here.")
        if rows:
            shown = table(_COLUMNS, rows, numbers=range(1, len(_COLUMNS)), narrow=(4, 6, 7, 9), label="By family")
        self.top.write(table=shown)
        for kind, board in self.told.items():
            board.write(told=_tell(kind, drawn))
        if not all(board.there for board in self.told.values()):
            return
        if self.window.follow(int(picture.at.timestamp()), self._span):
            for family, lines in drawn.items():
                data: Any = {"at": np.array(lines.at) * 1000}
                self._sources[family].data = data | {kind: np.array(getattr(lines, kind)) for kind in _KINDS}
        self.top.write(follow=follow(self.window.held))

    def _build(self, families: tuple[str, ...]) -> None:
        """Make the charts anew, as there is another family: as a whole, which a browser takes better than in parts."""
        self.window.release()
        self._sources = {family: ColumnDataSource(data={name: [] for name in ("at", *_KINDS)}) for family in families}
        for kind, title, label in _CHARTS:
            plot = self.plots[kind] = figures.chart(210, label, x_range=self.window.range, y_range=DataRange1d(start=0))
            for number, family in enumerate(families):
                self._draw(plot, kind, number, family)
            figures.dress(plot, dark=self.page.dark)
            head = f"<div class='head'><h2>{title}</h2><span class='tell' data-part='told'></span></div>"
            self.told[kind] = self.board(head, told="")
        self._charts.objects = [framed(self.told[kind], self.plots[kind]) for kind in _KINDS]

    def _draw(self, plot: figure, kind: str, number: int, family: str) -> None:
        line = plot.line(
            "at",
            kind,
            source=self._sources[family],
            line_width=2,
            color=_colour(number),
            line_dash=_DASHES[(number + number // len(COLOURS)) % len(_DASHES)],  # another one the next time round
            legend_label=family,
        )
        if kind != "ended":  # a value between seconds without any is no line
            plot.scatter("at", kind, source=self._sources[family], size=4, color=_colour(number))
        plot.legend.orientation = "horizontal"
        plot.legend.location = "top_left"
        value = "@ended{0.0}/s" if kind == "ended" else f"@{kind}{{0.000}} s"
        tips = [("family", esc(family)), ("at", "@at{%H:%M:%S}"), (kind, value)]
        plot.add_tools(HoverTool(renderers=[line], tooltips=tips, formatters={"@at": "datetime"}))


_TOP = """<section class='card'><div class='head'><h2>By family</h2><span class='tell grow'>the last minute</span>
<span data-part='follow'></span><span class='row' data-part='spans'></span></div>
<div data-part='table'></div></section>"""


def _spans(chosen: int) -> str:
    return "".join(
        f"<button type='button' data-act='span' data-seconds='{length}' class='{'main' if length == chosen else ''}' "
        f"aria-pressed='{'true' if length == chosen else 'false'}'>{name}</button>"
        for name, length in SPANS
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _swatch(number: int, family: str) -> str:
    return f"<span class='state'>{Style(_colour(number)).swatch}{esc(family)}</span>"


def _numbers(picture: Picture, family: str) -> tuple[str, ...]:
    minute = series.summary(picture.seconds(family, MINUTE))
    nothing = (None, None, None)
    return (
        rate(minute.submitted / MINUTE),
        rate(minute.ended / MINUTE),
        count(minute.failed),
        *(seconds(value) for value in minute.waiting or nothing),
        *(seconds(value) for value in minute.running or nothing),
    )


def _tell(kind: str, told: dict[str, Lines]) -> str:
    parts = []
    for family, drawn in told.items():
        values = [value for value in getattr(drawn, kind) if value == value]  # without NaN
        most = max(values, default=0.0)
        if kind == "ended":
            parts.append(f"{family}: {plural(drawn.number, 'task')}, at most {rate(most)}")
        else:
            parts.append(f"{family}: at most {seconds(most)}" if values else f"{family}: none")
    return esc("; ".join(parts))
