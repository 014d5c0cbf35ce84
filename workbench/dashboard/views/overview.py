"""The overview: how many tasks are in which state, how fast they come and go, whether all parts are well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool

from workbench.dashboard import figures
from workbench.dashboard.frames import framed, stacked
from workbench.dashboard.look import Html, ago, card, count, facts, follow, link, meter, plural, rate, seconds, state
from workbench.dashboard.model import RATES
from workbench.dashboard.series import Quantiles
from workbench.dashboard.styles import COLOURS
from workbench.dashboard.views.base import View

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

CHART = "Tasks in and out"
TILES = ("queued", "running", "retrying", "succeeded", "failed", "cancelled")
SHOWN = 300  # seconds of the small chart
HEIGHT = 190  # pixels, likewise


class Overview(View):
    """What an operator looks at first."""

    name = "overview"
    title = "Overview"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._source = ColumnDataSource(data={"at": [], "in": [], "out": []})
        self.window = figures.Window()
        self.plot = figures.chart(HEIGHT, "tasks per second", x_range=self.window.range, y_range=DataRange1d(start=0))
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
            f"<div class='head'><h2>{CHART}</h2><span class='tell grow' data-part='told'></span>"
            "<span data-part='follow'></span></div>"
        )
        self.bottom = self.board("<div class='cards' data-part='cards'></div>")
        self._panel = stacked(self.top, framed(self.middle, self.plot), self.bottom)

    @property
    def panel(self) -> pn.Column:
        return self._panel

    def dress(self, dark: bool) -> None:
        figures.dress(self.plot, dark=dark)

    def on(self, message: dict[str, Any]) -> None:
        if message.get("act") == "follow":
            self.window.release()
            self.show(self.page.feed.picture)
        else:
            super().on(message)

    def show(self, picture: Picture) -> None:
        if not self.middle.there:
            return
        self.top.write(tiles=_tiles(picture))
        self.middle.write(told=_told(picture))
        self.bottom.write(cards=_cards(picture))
        if self.window.follow(int(picture.at.timestamp()), SHOWN):
            drawn = picture.lines(None, SHOWN, SHOWN)
            self._source.data = {
                "at": np.array(drawn.at) * 1000,
                "in": np.array(drawn.submitted),
                "out": np.array(drawn.ended),
            }
        self.middle.write(follow=follow(self.window.held))


def still(picture: Picture) -> Html:
    """Return the view as HTML alone, with room for the chart."""
    chart = card(CHART, Html(f"<div style='height: {HEIGHT}px'></div>"), _told(picture))
    tiles, cards = f"<div class='tiles'>{_tiles(picture)}</div>", f"<div class='cards'>{_cards(picture)}</div>"
    return Html(f"<div class='stack'>{tiles}{chart}{cards}</div>")


def _cards(picture: Picture) -> str:
    return (
        _latency("Waiting on a queue", picture.lately.waiting, "No task has started in the last 5 minutes.")
        + _latency("Running", picture.lately.running, "No task has ended in the last 5 minutes.")
        + _workers(picture)
        + _broker(picture)
        + _tracker(picture)
    )


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
    waiting = sum(queue.ready or 0 for queue in picture.queues if queue.kind == "tasks")
    return card(
        "Broker",
        facts(
            (
                ("address", picture.address),
                ("condition", state(*_condition(picture))),
                ("on queues", link("queues", count(waiting) if picture.known else "–")),
                ("dead letters", link("dead", count(picture.dead) if picture.known else "–")),
            )
        ),
    )


def _condition(picture: Picture) -> tuple[str, str]:
    if picture.health.kind == "bad":
        return "bad", "blocked" if picture.blocked else picture.health.word
    if not picture.heard:  # the tracker is who tells of alarms
        return "warn", "not known now" if picture.known else "not known yet"
    return "good", "no alarm"


def _tracker(picture: Picture) -> Html:
    if not picture.known:
        return card("Tracker", state("warn", "no answer yet"))
    lag = f"{seconds(picture.lag)}, {plural(picture.pending, 'message')} to record"
    return card(
        "Tracker",
        facts(
            (
                ("name", picture.tracker),
                ("last event", ago(picture.last_event_at, picture.now)),
                ("lag", lag),
                ("up for", seconds((picture.at - picture.started_at).total_seconds())),
            )
        ),
    )


def _workers(picture: Picture) -> Html:
    if not picture.known:
        return card("Workers", state("warn", "no answer yet"))
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
