"""The overview: how many tasks are in which state, how fast they come and go, whether all parts are well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import panel as pn
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Range1d

from workbench.dashboard import figures
from workbench.dashboard.frames import framed, stacked
from workbench.dashboard.look import Html, ago, card, count, facts, link, meter, plural, rate, seconds, state
from workbench.dashboard.model import KEPT
from workbench.dashboard.views.base import View

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

TILES = ("queued", "running", "retrying", "succeeded", "failed", "cancelled")
SHOWN = 300.0  # seconds of the small chart


class Overview(View):
    """What an operator looks at first."""

    name = "overview"
    title = "Overview"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._at = 0.0
        self._source = ColumnDataSource(data={"at": [], "in": [], "out": []})
        self._range = Range1d(start=0, end=1)
        self.plot = figures.chart(190, "tasks per second", x_range=self._range, y_range=DataRange1d(start=0))
        lines = [
            self.plot.line("at", "in", source=self._source, color="#4477aa", line_width=2, legend_label="in"),
            self.plot.line(
                "at", "out", source=self._source, color="#ee8866", line_width=2, line_dash=[6, 3], legend_label="out"
            ),
        ]
        self.plot.legend.orientation = "horizontal"
        self.plot.legend.location = "top_left"
        self.plot.add_tools(
            HoverTool(
                renderers=[lines[0]],
                mode="vline",
                tooltips=[("at", "@at{%H:%M:%S}"), ("in", "@in{0.0}/s"), ("out", "@out{0.0}/s")],
                formatters={"@at": "datetime"},
            )
        )
        self.top = self.board("<div class='tiles' data-part='tiles'></div>")
        self.middle = self.board(
            "<div class='head'><h2>Tasks in and out</h2><span class='tell' data-part='told'></span></div>"
        )
        self.bottom = self.board("<div class='cards' data-part='cards'></div>")
        self._panel = stacked(self.top, framed(self.middle, self.plot), self.bottom)

    @property
    def panel(self) -> pn.Column:
        return self._panel

    def dress(self, dark: bool) -> None:
        figures.dress(self.plot, dark=dark)

    def show(self, picture: Picture) -> None:
        self.top.write(tiles=_tiles(picture))
        self.middle.write(told=_told(picture))
        self.bottom.write(cards=_broker(picture) + _tracker(picture) + _workers(picture))
        new = [pace for pace in picture.paces if pace.at > self._at]
        if new:
            self._at = new[-1].at
            self._source.stream(
                {
                    "at": [pace.at * 1000 for pace in new],
                    "in": [pace.arriving for pace in new],
                    "out": [pace.ending for pace in new],
                },
                rollover=KEPT,
            )
        end = picture.at.timestamp() * 1000
        self._range.update(start=end - SHOWN * 1000, end=end)


def _tiles(picture: Picture) -> str:
    tiles = []
    for name in TILES:
        label = f"<span class='label'>{state(name)}</span>"
        value = f"<span class='value'>{count(picture.states.get(name, 0)) if picture.known else '–'}</span>"
        tiles.append(f"<a class='tile' href='#/tasks?state={name}'>{label}{value}</a>")
    return "".join(tiles)


def _told(picture: Picture) -> str:
    if not picture.known:
        return "Nothing is known yet."
    others = [
        f"{count(picture.states.get(name, 0))} {name}" for name in ("scheduled", "expired") if picture.states.get(name)
    ]
    return (
        f"Over the last 10 s {rate(picture.pace.arriving)} came in and {rate(picture.pace.ending)} ended; "
        f"{plural(picture.recorded, 'task')} recorded in all{', ' + ', '.join(others) if others else ''}."
    )


def _broker(picture: Picture) -> Html:
    reached = picture.health.kind != "bad"
    condition = state("good", "reached") if reached else state("bad", picture.health.word)
    return card("Broker", facts((("address", picture.address), ("condition", condition))))


def _tracker(picture: Picture) -> Html:
    if not picture.known:
        return card("Tracker", state("warn", "no answer yet"))
    return card(
        "Tracker",
        facts(
            (
                ("name", picture.tracker),
                ("last event", ago(picture.last_event_at, picture.at)),
                ("up for", seconds((picture.at - picture.tracker_started_at).total_seconds())),
            )
        ),
    )


def _workers(picture: Picture) -> Html:
    online = [worker for worker in picture.workers if worker.online]
    lost = sum(1 for worker in picture.workers if worker.lost)
    busy, slots = sum(worker.busy for worker in online), sum(worker.slots for worker in online)
    share = busy / slots if slots else 0.0
    return card(
        "Workers",
        facts(
            (
                ("online", link("workers", count(len(online)))),
                ("slots", Html(meter(share, f"{busy} of {slots} busy"))),
                ("lost", count(lost) if lost else ""),
            )
        ),
    )
