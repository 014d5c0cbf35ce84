"""A session leaves nothing behind: a real server in this process, real web sockets, every view."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.dashboard_facts import BEGAN, Busy
from tests.support import wait_until
from workbench.dashboard.model import Model

pn = pytest.importorskip("panel")
from bokeh.client import pull_session  # noqa: E402 - where Panel is
from bokeh.document import Document  # noqa: E402
from bokeh.model import Model as BokehModel  # noqa: E402
from bokeh.server.callbacks import SessionCallback  # noqa: E402
from bokeh.server.server import Server  # noqa: E402
from panel.io.server import get_server  # noqa: E402
from tornado.ioloop import IOLoop  # noqa: E402

from workbench.dashboard import actions  # noqa: E402
from workbench.dashboard.board import Board  # noqa: E402
from workbench.dashboard.feed import Feed  # noqa: E402
from workbench.dashboard.page import Page  # noqa: E402
from workbench.dashboard.views import VIEWS  # noqa: E402
from workbench.dashboard.views.base import View  # noqa: E402

KINDS = (Page, View, Board, Document, BokehModel, SessionCallback)


class Unanswered:
    """A client whose every question stays open: what a session still waits for as it ends."""

    def __getattr__(self, _name: str) -> Unanswered:
        return self

    async def __call__(self, *_: object, **__: object) -> None:
        await asyncio.Event().wait()


class Told:
    """What a page needs of a feed, with a picture that is made up."""

    def __init__(self) -> None:
        model, busy = Model(), Busy(rate=200)
        for second in range(3):
            now = BEGAN + timedelta(seconds=second)
            model.take(busy.next(now, second == 0), busy.queues(now), address="here")
        self.picture = model.picture
        self.client = Unanswered()
        self.silence = 0.0

    @staticmethod
    def now() -> float:
        return 0.0


class Served:
    """The dashboard's server, on a thread's loop."""

    def __init__(self) -> None:
        self.latest: Callable[[], Page | None] = lambda: (
            None
        )  # the page of the latest session, where there still is one
        self.server: Server | None = None
        self.loop: IOLoop | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.server is not None, what="the server listens")

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = IOLoop.current()
        server = get_server(
            {"/": self._open},
            loop=self.loop,
            unused_session_lifetime_milliseconds=1,
            check_unused_sessions_milliseconds=50,
        )
        server.start()
        self._over = asyncio.Event()
        self.server = server
        await self._over.wait()
        server.stop()

    def _open(self) -> object:
        return Page.open()

    def stop(self) -> None:
        assert self.loop is not None
        self.loop.add_callback(lambda: self._over.set())
        self._thread.join(10)

    @property
    def sessions(self) -> list[object]:
        return [] if self.server is None else self.server.get_sessions("/")

    def do(self, page: Page, work: Callable[[Page], None]) -> None:
        """Do what a message from the browser would, with the session's lock held."""
        done = threading.Event()

        def locked() -> None:
            work(page)
            done.set()

        assert self.loop is not None
        assert page._document is not None
        self.loop.add_callback(functools.partial(page._document.add_next_tick_callback, locked))
        assert done.wait(10)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(Feed, "_shared", Told())
    served = Served()
    init = Page.__init__

    def noted(page: Page, *arguments: object, **options: object) -> None:
        init(page, *arguments, **options)  # type: ignore[arg-type]
        served.latest = weakref.ref(page)

    monkeypatch.setattr(Page, "__init__", noted)
    yield served
    served.stop()


def alive() -> dict[str, int]:
    """How many objects there are of each kind that a session is made of."""
    gc.collect()
    counts = {kind.__name__: 0 for kind in KINDS} | {"questions": 0}
    for each in gc.get_objects():
        if type(each) is asyncio.Task:  # the test's client leaves some of its own
            counts["questions"] += each.get_coro().__qualname__ == "Page._run"
        for kind in KINDS:
            counts[kind.__name__] += issubclass(type(each), kind)
    return counts | {"views of Panel": len(pn.state._views)}


def visit(page: Page) -> None:
    """Look at everything, with boards that a browser has drawn, and leave questions open."""
    for name in VIEWS:
        page.on({"route": f"{name}/some-task" if name == "task" else name})
    for view in page._views.values():
        for part in vars(view).values():
            if isinstance(part, Board):
                part._handle_msg({"ready": True})
    page.tick()
    page.on({"act": "retry", "tasks": "some-task"})


def look(served: Served, *, thoroughly: bool) -> None:
    """Open a page, visit every view where it's done thoroughly, and go."""
    assert served.server is not None
    session = pull_session(url=f"http://127.0.0.1:{served.server.port}/")
    page = served.latest()
    assert page is not None
    if thoroughly:
        served.do(page, visit)
        assert len(page._views) == len(VIEWS)
        assert page._under_way
    del page
    session.close()
    del session
    wait_until(lambda: not served.sessions, what="the session is gone")


@pytest.mark.parametrize("sessions", [10, pytest.param(50, marks=pytest.mark.slow)])  # these in `make browser`
def test_sessions_leave_nothing_behind(sessions: int, served: Served) -> None:
    for _ in range(2):
        look(served, thoroughly=True)
    before = alive()
    for number in range(sessions):
        look(served, thoroughly=number % 10 == 9)

    def left() -> dict[str, int]:
        return {kind: number for kind, number in alive().items() if number > before[kind]}

    # Panel clears a session's document a moment after the session has gone.
    wait_until(lambda: not left(), what="nothing is left of the sessions")
    # But what was asked to be done from them, which has no answer yet: it isn't given up halfway.
    assert len(actions._UNDER_WAY) == 2 + sessions // 10


def test_the_page_loads_what_it_uses_and_no_more(served: Served) -> None:
    assert served.server is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{served.server.port}/", timeout=10) as answer:
        html = answer.read().decode()
    assert "/panel.min.js" in html
    assert "--paper:" in html
    assert "datatabulator" not in html
    assert "bokeh-gl" not in html
