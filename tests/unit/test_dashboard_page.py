"""What a page does with what its browser sends; without a browser, and without a server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.dashboard_facts import BEGAN, Busy
from workbench.core.rpc import Retried

pytest.importorskip("panel")

from workbench.dashboard import still
from workbench.dashboard.actions import ACTIONS
from workbench.dashboard.model import Model
from workbench.dashboard.page import Page
from workbench.dashboard.views.overview import TILES

MESSAGE = {"tasks": "some-task", "group": "some-group", "worker": "worker-1", "letter": "some-letter"}


class Noted:
    """A client that notes what it's asked for; as a feed it tells nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.picture = Model().picture
        self.silence = 0.0

    @property
    def client(self) -> Noted:
        return self

    live = client

    @staticmethod
    def now() -> float:
        return 0.0

    async def retry(self, _: object) -> Retried:
        self.asked.append("retry")
        return Retried(sent={}, refused={})

    def __getattr__(self, name: str) -> object:
        async def answer(*_: object, **__: object) -> int:
            self.asked.append(name)
            return 0

        return answer


async def told(feed: Noted, act: str, *, read_only: bool) -> Page:
    """Let a page take in a message, and do what it starts."""
    page = Page(feed, read_only=read_only)  # type: ignore[arg-type]
    page.on({"act": act, **MESSAGE})
    await asyncio.gather(*page._under_way, return_exceptions=True)
    return page


@pytest.mark.parametrize("act", ACTIONS)
def test_a_read_only_dashboard_refuses_every_action_whoever_asks(act: str) -> None:
    allowed, refused = Noted(), Noted()
    asyncio.run(told(allowed, act, read_only=False))
    assert len(allowed.asked) == 1
    page = asyncio.run(told(refused, act, read_only=True))
    assert refused.asked == []
    assert "read-only" in page.head.parts["toast"]


def test_what_is_no_action_is_not_done() -> None:
    feed = Noted()
    page = asyncio.run(told(feed, "__class__", read_only=False))
    assert feed.asked == []
    assert page.head.parts["toast"] == ""


def test_the_first_sight_tells_what_is_known_and_escapes_it() -> None:
    model, busy = Model(), Busy(rate=200)
    for second in range(3):
        now = BEGAN + timedelta(seconds=second)
        model.take(busy.next(now, second == 0), busy.queues(now), address="<here>")
    seen = still.page(model.picture)
    for state, count in model.picture.states.items():
        if state in TILES:
            assert f"{count:,}</span></a>" in seen.partition(f"href='#/tasks?state={state}'")[2].partition("<a ")[0]
    assert "&lt;here&gt;" in seen
    assert "<here>" not in seen
    assert "loading" in seen


def test_the_first_sight_of_a_server_that_knows_nothing_yet_has_no_figures() -> None:
    seen = still.page(Model().picture)
    assert seen.count("<span class='value'>–</span>") == len(TILES)
