"""The page of one session: where it is, which view is seen, and what is done from it.

It holds no data of its own. The feed is the server's; a page looks at its picture once a second and forgets it.
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import panel as pn

from workbench.client.client import Client
from workbench.core.settings import DASHBOARD_READ_ONLY, users_of
from workbench.dashboard import actions, head, still
from workbench.dashboard.board import PAGE_CSS, TEMPLATE, Board
from workbench.dashboard.feed import Feed
from workbench.dashboard.frames import INSET
from workbench.dashboard.look import Html
from workbench.dashboard.views import TITLES, VIEWS
from workbench.dashboard.views.base import View

T = TypeVar("T")

TICK = 500  # milliseconds between two looks at the feed
TOAST = 8.0


class Page:
    """What one reader sees.

    Parameters
    ----------
    feed
        The server's.
    read_only
        Whether everything that changes something is left out.
    route
        Where its address leads that names nothing behind a `#`: a view's name, or `task/<id>`, as an address has it.
    """

    def __init__(self, feed: Feed, *, read_only: bool, route: str = "") -> None:
        self.feed = feed
        self._start = route
        self.read_only = read_only
        self.dark = False
        self._views: dict[str, View] = {}
        self._current: View | None = None
        self._seen = -1
        self._toast: tuple[float, Html] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._document = pn.state.curdoc
        self.head = Board(frame=head.FRAME, on=self.on, leads=True)
        self._content = pn.Column(sizing_mode="stretch_width", margin=0, stylesheets=[INSET])
        self.layout = pn.Column(self.head, self._content, sizing_mode="stretch_width", margin=0, styles={"gap": "0"})
        self.tick()  # the view comes with the route that the browser tells: the server isn't sent what is behind a `#`

    @classmethod
    def open(cls) -> pn.Column:
        """Open a page for the session that is being made, and return what it shows: of who isn't let in, only that.

        It's decided here, as Panel asks its own `authorize_callback` for pages only: a web socket makes a session too.
        """
        pn.config.raw_css = [PAGE_CSS]
        if pn.state.curdoc is not None:
            pn.state.curdoc.template = TEMPLATE
        user, admitted = pn.state.user or "", users_of(os.environ)
        if admitted is not None and user not in admitted:
            return pn.Column(Board(frame=head.refusal(user)), sizing_mode="stretch_width", margin=0)
        task_id = (pn.state.session_args.get("task") or [b""])[0].decode(errors="replace")
        feed, start = Feed.of_this_process(), f"task/{quote(task_id, safe='')}" if task_id else ""
        page = cls(feed, read_only=bool(os.environ.get(DASHBOARD_READ_ONLY)), route=start)
        if pn.state.curdoc is not None and not start:
            pn.state.curdoc.template_variables["first"] = still.page(feed.picture)
        pn.state.add_periodic_callback(page.tick, TICK)
        pn.state.on_session_destroyed(page.close)
        return page.layout

    def close(self, session_context: object) -> None:
        """Let go of everything, as its session ends: nothing of a session is left when its reader has gone.

        Its questions end with it. Actions that it only waits for go on.
        """
        for task in self._under_way:
            task.cancel()
        self._under_way.clear()
        self._views.clear()
        self._current = None
        self._document = None

    # --- what is seen -----------------------------------------------------------------------------

    def tick(self) -> None:
        """Draw what is new."""
        picture = self.feed.picture
        if self._toast is not None and self.feed.now() > self._toast[0]:
            self._toast = None
        self.head.beat += 1
        name = self._current.name if self._current is not None else ""
        self.head.write(
            where=head.where(picture, self.feed.silence, read_only=self.read_only),
            views=head.views(picture, TITLES, name),
            trouble=head.trouble(picture),
            toast=self._toast[1] if self._toast is not None else "",
        )
        if self._current is not None and picture.serial != self._seen:
            self._seen = picture.serial
            self._current.show(picture)

    def _go(self, route: str) -> None:
        path, _, query = route.partition("?")  # decoded here, once: a browser may have decoded none of it
        name, _, rest = path.partition("/")
        kind = VIEWS.get(name) or VIEWS["overview"]
        view, new = self._views.get(kind.name), False
        if view is None:
            view, new = kind(self), True
            self._views[kind.name] = view
            view.dress(self.dark)
        for other in self._views.values():
            other.panel.visible = other is view
        self._current, self._seen = view, -1
        view.open(query or unquote(rest))
        self.tick()
        if new:  # with all it shows: what is changed right after could reach the browser before it does
            self._content.append(view.panel)

    # --- what is done -----------------------------------------------------------------------------

    def on(self, message: dict[str, Any]) -> None:
        """Do what a reader asked for: go somewhere, wear a theme, act."""
        match message:
            case {"route": str(route)}:
                self._go(route or self._start)
            case {"theme": str(theme)}:
                self.dark = theme == "dark"
                for view in self._views.values():
                    view.dress(self.dark)
            case {"act": "dismiss"}:
                self._toast = None
                self.tick()
            case {"act": str(act)} if act in actions.ACTIONS and self.read_only:
                self.say("This dashboard is read-only: nothing was done.", bad=True)
            case {"act": str(act), **data} if act in actions.ACTIONS:
                self._act(act, data)

    def _act(self, act: str, data: dict[str, Any]) -> None:
        self._toast = (math.inf, head.toast(f"{actions.DOING[act]} …", "running"))
        self.tick()
        self.run(lambda client: asyncio.shield(actions.begin(client, act, data)), self._done)

    def run(
        self,
        work: Callable[[Client], Awaitable[T]],
        then: Callable[[T], None],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run a question beside the session, then tell what came of it: `then`, or why it failed."""
        task = asyncio.get_running_loop().create_task(self._run(work, then, failed))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _run(
        self,
        work: Callable[[Client], Awaitable[T]],
        then: Callable[[T], None],
        failed: Callable[[Exception], None] | None,
    ) -> None:
        try:
            told: Callable[[], None] = functools.partial(then, await work(self.feed.client))
        except Exception as error:
            report = actions.explain(error)
            told = functools.partial(failed, error) if failed else functools.partial(self._done, report)
        if self._document is not None:
            self._document.add_next_tick_callback(told)

    def _done(self, report: actions.Report) -> None:
        self.say(report.sentence, bad=report.bad)
        if self._current is not None:
            self._current.acted()

    def say(self, sentence: str, *, bad: bool = False) -> None:
        """Report at the top of the page, for a while."""
        until = self.feed.now() + (3 * TOAST if bad else TOAST)
        self._toast = (until, head.toast(sentence, "bad" if bad else "good"))
        self.tick()
