"""The task stream: a lane for each slot, a rectangle for each attempt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Quad,
    Range1d,
    Scatter,
    TapTool,
)
from bokeh.models.callbacks import CustomJS
from bokeh.models.glyph import Glyph
from bokeh.models.renderers import DataRenderer

from workbench.dashboard import figures
from workbench.dashboard.blocks import KEPT, Block
from workbench.dashboard.frames import framed
from workbench.dashboard.look import Html, empty, esc, follow, plural, rate, seconds
from workbench.dashboard.styles import HATCHES, INK, STYLES, UNKNOWN, Style
from workbench.dashboard.views.base import View

if TYPE_CHECKING:
    from workbench.dashboard.model import Picture
    from workbench.dashboard.page import Page

WINDOW = 60.0  # seconds that are seen while the chart follows
MOST_LANES = 40  # as high as the chart grows
_LANE = 26  # pixels
_MARKS = {"failed": "x", "retrying": "x", "lost": "triangle", "cancelled": "diamond", "expired": "diamond"}
_EDGES: Any = {"left": "left", "right": "right", "bottom": "bottom", "top": "top", "fill_color": "colour"}
_PATTERNS: dict[
    str, tuple[str, float, float] | None
] = {  # with the pixels between, and the width, of what it's made of
    "plain": None,
    "lines": ("/", 10, 1.2),
    "dots": (".", 7, 1.5),
}
_WORDS = (("×", "failed, or to be tried again"), ("△", "lost with its worker"), ("◇", "cancelled or expired"))
_TIP = """<div style='max-width:330px;overflow-wrap:anywhere'><b>@name</b> @what<br>@took<br>@worker, slot @slot<br>
<code>@task</code></div>"""
# A rectangle under the pointer leads to its task: the newest, where several lie on each other.
_OPEN = """
const chosen = source.selected.indices
if (chosen.length) { location.hash = '/task/' + encodeURIComponent(source.data.task[Math.max(...chosen)])
  source.selected.indices = [] }
"""


class Stream(View):
    """What every slot did lately, attempt by attempt."""

    name = "stream"
    title = "Task stream"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._serial = self._life = 0
        self._lanes: tuple[str, ...] = ()
        self._rows: tuple[int, ...] = ()
        self.window = figures.Window()
        self.plot = figures.chart(220, "", x_range=self.window.range, y_range=Range1d(start=0, end=1))
        self._drawn: list[DataRenderer] = []
        # A source for each hatching, as a browser makes a pattern anew for every rectangle where it's a column.
        self.ended = {hatch: self._draw(Quad(**_EDGES, line_color=None, **_hatched(hatch))) for hatch in HATCHES}
        under_way: Any = {"fill_alpha": 0.5, "line_color": "colour", "line_width": 1.5, "line_dash": "dashed"}
        self.running = {hatch: self._draw(Quad(**_EDGES, **under_way, **_hatched(hatch))) for hatch in HATCHES}
        self._marks = Scatter(x="right", y="middle", marker="mark", size=11, line_width=2.5, fill_color=None)
        self.marked = self._draw(self._marks)
        self._lane_ticks = FixedTicker(ticks=[])
        self.plot.yaxis.ticker = self._lane_ticks
        self.plot.add_tools(HoverTool(renderers=self._drawn, tooltips=_TIP, point_policy="follow_mouse"))
        self.top = self.board(_HEAD, follow=follow(False, hold=True))
        self.below = self.board(_BELOW, told="", names="")
        self._panel = framed(self.top, self.plot, self.below)

    @property
    def panel(self) -> pn.Column:
        return self._panel

    def on(self, message: dict[str, Any]) -> None:
        if message.get("act") == "follow":
            if self.window.held:
                self.window.release()
            else:
                self.window.hold()
            self.show(self.page.feed.picture)
        else:
            super().on(message)

    def show(self, picture: Picture) -> None:
        if not self.top.there:
            return
        self._place(picture)
        new = picture.blocks.since(self._serial, picture.layout.serial)
        self._serial = picture.layout.serial
        if new:
            for hatch, source in self.ended.items():
                if blocks := [block for block in new if _style(picture, block).hatch == hatch]:
                    source.stream(self._columns(blocks, picture), rollover=KEPT)
            if marked := [block for block in new if block.state in _MARKS]:
                self.marked.stream(self._columns(marked, picture), rollover=KEPT // 4)
        for hatch, source in self.running.items():
            blocks = [block for block in picture.running if _style(picture, block).hatch == hatch]
            if blocks or len(source.data["left"]):
                source.data = self._columns(blocks, picture)
        self.window.follow(picture.at.timestamp(), WINDOW)
        self.top.write(follow=follow(self.window.held, hold=True))
        self.below.write(told=_tell(picture), names=_legend(picture))

    def dress(self, dark: bool) -> None:
        figures.dress(self.plot, dark=dark)
        self.plot.ygrid.grid_line_color = None
        self._marks.line_color = figures.ink(dark)

    def _draw(self, glyph: Glyph) -> ColumnDataSource:
        """Let a glyph be drawn, so that a click on it opens its task; return where its columns go."""
        source = ColumnDataSource(data={name: [] for name in _COLUMNS})
        renderer = self.plot.add_glyph(source, glyph)
        renderer.nonselection_glyph = None  # the others don't fade where one is clicked
        self._drawn.append(renderer)
        self.plot.add_tools(TapTool(renderers=[renderer], callback=CustomJS(args={"source": source}, code=_OPEN)))
        return source

    def _place(self, picture: Picture) -> None:
        """Give every lane its row. Where one moves, or all that was told is void, everything is drawn anew."""
        lanes = [f"{worker} · {slot}" for worker, slot in picture.layout.lanes]
        rows = picture.layout.rows
        if picture.life != self._life or rows[: len(self._rows)] != self._rows:
            self._life, self._serial = picture.life, 0
            for source in (*self.ended.values(), self.marked):
                source.data = {name: [] for name in _COLUMNS}
        self._rows = rows
        names = tuple(name for _, name in sorted(zip(rows, lanes, strict=True)))
        if names == self._lanes:
            return
        self._lanes = names
        self._lane_ticks.ticks = [-number for number in range(len(names))]
        self.plot.yaxis.major_label_overrides = {-number: _short(name) for number, name in enumerate(names)}
        self.plot.y_range.update(start=-len(names) + 0.4, end=0.6)
        self.plot.height = 60 + _LANE * max(3, min(len(names), MOST_LANES))

    def _columns(self, blocks: Sequence[Block], picture: Picture) -> dict[str, Any]:
        rows = np.array([-self._rows[block.lane] for block in blocks], dtype=float)
        return {
            "left": np.array([block.start for block in blocks]) * 1000,
            "right": np.array([block.end for block in blocks]) * 1000,
            "bottom": rows - 0.4,
            "top": rows + 0.4,
            "middle": rows,
            "colour": [_style(picture, block).colour for block in blocks],
            "mark": [_MARKS.get(block.state, "dot") for block in blocks],
            "name": [f"{block.operation} and others" if block.mixed else block.operation for block in blocks],
            "what": [_what(block) for block in blocks],
            "took": [_took(block) for block in blocks],
            "worker": [block.worker for block in blocks],
            "slot": [block.slot for block in blocks],
            "task": [block.task_id for block in blocks],
        }


_COLUMNS = (
    *("left", "right", "bottom", "top", "middle", "colour", "mark"),
    *("name", "what", "took", "worker", "slot", "task"),
)
_HEAD = "<div class='head'><h2 class='grow'>Task stream</h2><span data-part='follow'></span></div>"
# Below the chart, so that it stays where it is under the pointer, however many lines this takes.
_BELOW = (
    "<div class='stack foot'><span class='tell' data-part='told'></span><div class='row' data-part='names'></div></div>"
)


def _hatched(hatch: str) -> dict[str, Any]:
    if (drawn := _PATTERNS[hatch]) is None:
        return {}
    pattern, scale, weight = drawn
    return {"hatch_pattern": pattern, "hatch_color": INK, "hatch_scale": scale, "hatch_weight": weight}


def _style(picture: Picture, block: Block) -> Style:
    return picture.styles.get(block.operation, UNKNOWN)


def _what(block: Block) -> str:
    if block.count > 1:
        return f"× {block.count}, all {block.state}"
    return f"{block.state}: {block.failure}" if block.failure else block.state


def _took(block: Block) -> str:
    if block.count == 1:
        return seconds(block.busy)
    return f"{seconds(block.busy / block.count)} each, on average"


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"…{name[-21:]}"


def _tell(picture: Picture) -> str:
    states: Counter[str] = Counter()
    for block in picture.blocks.within(picture.at.timestamp() - WINDOW):
        states[block.state] += block.count
    ended = sum(states.values())
    running = f"{plural(len(picture.running), 'attempt')} under way"
    if not ended:
        return f"No attempt has ended in the last minute; {running}."
    others = ", ".join(f"{number:,} {state}" for state, number in states.most_common() if state != "succeeded")
    bad = f": {others}" if others else ", all of them well"
    left_out = f" {picture.skipped:,} older ones were left out." if picture.skipped else ""
    return (
        f"{plural(ended, 'attempt')} ended in the last minute ({rate(ended / WINDOW)}){esc(bad)}; {running}.{left_out} "
        "A click opens the task; dragging, or Ctrl and the wheel, moves in time."
    )


def _legend(picture: Picture) -> Html:
    if not picture.styles:
        return empty("No attempts yet", "Each attempt appears here, in the lane of the slot that runs it.")
    shown = list(picture.styles.items())[: len(STYLES)]
    chips = [f"<span class='chip'>{style.swatch}{esc(name)}</span>" for name, style in shown]
    if more := len(picture.styles) - len(shown):
        chips.append(f"<span class='chip'>and {plural(more, 'operation')} that look like one of these</span>")
    marks = [f"<span class='chip'>{esc(mark)} {words}</span>" for mark, words in _WORDS]
    return Html("".join(chips + marks))
