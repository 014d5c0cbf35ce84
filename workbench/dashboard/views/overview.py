"""The overview: how many tasks are in which state, how fast they come and go, whether all parts are well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Range1d

from workbench.dashboard import figures
from workbench.dashboard.frames import framed, stacked
from workbench.dashboard.look import Html, ago, card, count, facts, link, meter, plural, rate, seconds, state
from workbench.dashboard.model import RATES
from workbench.dashboard.series import Quantiles
from workbench.dashboard.styles import COLOURS
from workbench.dashboard.views.base import View

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

TILES = ("queued", "running", "retrying", "succeeded", "failed", "cancelled")
SHOWN = 300  # seconds of the small chart


class Overview(View):
    """What an operator looks at first."""

    name = "overview"
    title = "Overview"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._source = ColumnDataSource(data={"at": [], "in": [], "out": []})
        self._range = Range1d(start=0, end=1)
        self.plot = figures.chart(190, "tasks per second", x_range=self._range, y_range=DataRange1d(start=0))
        lines = [
            self.plot.line("at", "in", source=self._source, color=COLOURS[0], line_width=2, legend_label="in"),
            self.plot.line(
                "at", "out", source=self._source, color=COLOURS[1], line_width=2, line_dash=[6, 3], legend_label="out"
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
        if not self.middle.there:
            return
        self.top.write(tiles=_tiles(picture))
        self.middle.write(told=_told(picture))
        self.bottom.write(
            cards=_latency("Waiting on a queue", picture.lately.waiting, "No task has started in the last 5 minutes.")
            + _latency("Running", picture.lately.running, "No task has ended in the last 5 minutes.")
            + _workers(picture)
            + _broker(picture)
            + _tracker(picture)
        )
        drawn = picture.lines(None, SHOWN, SHOWN)
        self._source.data = {
            "at": np.array(drawn.at) * 1000,
            "in": np.array(drawn.submitted),
            "out": np.array(drawn.ended),
        }
        end = int(picture.at.timestamp()) * 1000
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
    coming, going = picture.rates.submitted / RATES, picture.rates.ended / RATES
    return (
        f"Over the last {RATES} s {rate(coming)} came in and {rate(going)} ended; "
        f"{plural(picture.recorded, 'task')} recorded in all{', ' + ', '.join(others) if others else ''}."
    )


def _latency(title: str, values: Quantiles | None, nothing: str) -> Html:
    if values is None:
        return card(title, Html(f"<p class='faint'>{nothing}</p>"))
    rows = zip(("half within (p50)", "95 of 100 (p95)", "99 of 100 (p99)"), values, strict=True)
    return card(title, facts((name, seconds(value)) for name, value in rows), "last 5 minutes")


def _broker(picture: Picture) -> Html:
    if picture.health.kind == "bad":
        condition = state("bad", "blocked" if picture.blocked else picture.health.word)
    else:
        condition = state("good", "well, no alarm")
    waiting = sum(queue.ready or 0 for queue in picture.queues if queue.kind == "tasks")
    return card(
        "Broker",
        facts(
            (
                ("address", picture.address),
                ("condition", condition),
                ("on task queues", link("queues", count(waiting))),
                ("dead letters", link("dead", count(picture.dead))),
            )
        ),
    )


def _tracker(picture: Picture) -> Html:
    if not picture.known:
        return card("Tracker", state("warn", "no answer yet"))
    lag = f"{seconds(picture.lag)}, {plural(picture.pending, 'message')} to record"
    return card(
        "Tracker",
        facts(
            (
                ("name", picture.tracker),
                ("last event", ago(picture.last_event_at, picture.at)),
                ("lag", lag),
                ("up for", seconds((picture.at - picture.started_at).total_seconds())),
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
