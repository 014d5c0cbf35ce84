"""What views ask and draw; on a page without a browser, and with a client whose answers are made up."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.dashboard_facts import BEGAN, changes, execution, worker
from tests.support import until
from workbench.broker.letters import Letter
from workbench.core.errors import InputError, StoreError, TrackerUnavailable
from workbench.core.live import Bucket, Detail, QueueFacts
from workbench.core.rpc import Failures, Queues, Retried
from workbench.core.rpc import Page as Found
from workbench.core.states import State, TaskRecord

pytest.importorskip("panel")

from workbench.dashboard import actions, head, previews
from workbench.dashboard.model import Model
from workbench.dashboard.page import Page
from workbench.dashboard.views import TITLES
from workbench.dashboard.views.base import AGAIN
from workbench.dashboard.views.dead import MOST
from workbench.dashboard.views.overview import still
from workbench.dashboard.views.stream import Stream
from workbench.dashboard.views.task import ENDED

GONE = TrackerUnavailable("nobody is there.")
TASK = TaskRecord(task_id="task-1", operation="text.echo", state=State.SUCCEEDED, summary="int")
DETAIL = Detail(record=TASK, arguments=(), result="<b>1</b>", events=(), retryable=False)
ANSWERS: dict[str, Any] = {
    "search": Found(records=(TASK,), total=1, exact=True),
    "failures": Failures(groups=(), total_groups=0, total=0),
    "dead_letters": [],
    "detail": DETAIL,
    "attempts": [],
}
ASKED = {"tasks": "search", "failures": "failures", "dead": "dead_letters", "task/task-1": "detail"}
DRAWN = {"tasks": "task-1", "failures": "Nothing has failed", "dead": "No dead letters", "task/task-1": "&lt;b&gt;1"}


class Client:
    """Answers what it's told to, raises what is an exception, and waits for what is a future."""

    def __init__(self) -> None:
        self.answers = dict(ANSWERS)
        self.asked: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = []

    @property
    def live(self) -> Client:
        return self

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def answer(*given: Any, **named: Any) -> Any:
            self.asked.append((name, named, given))
            told = self.answers.get(name)
            if isinstance(told, Exception):
                raise told
            return await told if isinstance(told, asyncio.Future) else told

        return answer

    def times(self, name: str) -> int:
        return sum(1 for asked, _, _ in self.asked if asked == name)


class Feed:
    """A feed whose clock and whose pictures are the test's."""

    def __init__(self) -> None:
        self.model = Model()
        self.client = Client()
        self.silence = 0.0
        self.seconds = 0.0
        self.take()

    @property
    def picture(self) -> Any:
        return self.model.picture

    def now(self) -> float:
        return self.seconds

    def take(self, *, dead: int | None = 0, **told: Any) -> None:
        """Take in another second; the queues are told where there is a number of dead letters."""
        self.seconds += 1.0
        now = BEGAN + timedelta(seconds=self.seconds)
        facts = (QueueFacts(queue="dead", kind="dead", ready=dead),)
        self.model.take(changes(now, **told), None if dead is None else Queues(queues=facts, at=now), address="here")


class Visited:
    """A page that a browser has drawn, as far as its server knows."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.client = self.feed.client
        self.page = Page(self.feed, read_only=False)  # type: ignore[arg-type]
        self.page._document = SimpleNamespace(add_next_tick_callback=lambda told: told())

    async def go(self, route: str) -> None:
        self.page.on({"route": route})
        await self.settle()

    async def turn(self, seconds: int = 1, **told: Any) -> None:
        """Let some seconds pass."""
        for _ in range(seconds):
            self.feed.take(**told)
            self.page.tick()
            await self.settle()

    async def settle(self) -> None:
        """Wait for all answers but those that are held back."""
        for _ in range(20):
            await asyncio.sleep(0)

    def seen(self, name: str = "") -> dict[str, str]:
        """The parts of a view, or of the top of the page."""
        return self.page._views[name]._board.parts if name else self.page.head.parts  # type: ignore[attr-defined]


def visited(test: Callable[[Visited], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Let a test run on a loop, with a page."""

    async def run() -> None:
        await test(Visited())

    wrapped = lambda: asyncio.run(run())  # noqa: E731 - pytest would take the argument for a fixture
    wrapped.__name__ = test.__name__
    return wrapped


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "text"), [("text=a%2Bb", "a+b"), ("text=a%26b", "a&b"), ("text=a+b", "a b"), ("text=%", "%")]
)
def test_an_address_is_decoded_once(query: str, text: str) -> None:
    async def run() -> None:
        visit = Visited()
        await visit.go(f"tasks?{query}")
        assert [named["text"] for name, named, _ in visit.client.asked if name == "search"] == [text]
        await visit.go("task/a%2Fb%2525")
        assert visit.client.asked[-1][2] == ("a/b%25",)

    asyncio.run(run())


@visited
async def test_a_filter_with_a_slash_is_no_path(visit: Visited) -> None:
    await visit.go("tasks?worker=a/b")
    assert visit.client.asked[0][1]["worker"] == "a/b"


# --- questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ASKED)
def test_a_view_whose_question_fails_says_why_and_asks_again_by_itself(route: str) -> None:
    async def run() -> None:
        visit, asked, name = Visited(), ASKED[route], route.partition("/")[0]
        visit.client.answers[asked] = GONE
        await visit.go(route)
        assert "TrackerUnavailable" in visit.seen(name)["trouble"]
        assert "nobody is there. It" in visit.seen(name)["trouble"]
        assert "data-act='refresh'" in visit.seen(name)["trouble"]
        assert "One moment" not in visit.seen(name)["body"]
        visit.client.answers[asked] = ANSWERS[asked]
        await visit.turn(int(AGAIN))
        assert visit.seen(name)["trouble"] == ""
        assert DRAWN[route] in visit.seen(name)["body"]

    asyncio.run(run())


@pytest.mark.parametrize("route", ASKED)
def test_what_was_told_stays_where_it_cannot_be_asked_for_again(route: str) -> None:
    async def run() -> None:
        visit, asked, name = Visited(), ASKED[route], route.partition("/")[0]
        await visit.go(route)
        visit.client.answers[asked] = GONE
        visit.page._views[name].on({"act": "refresh"})
        await visit.settle()
        assert "nobody is there" in visit.seen(name)["trouble"]
        assert DRAWN[route] in visit.seen(name)["body"]

    asyncio.run(run())


@pytest.mark.parametrize("route", ASKED)
def test_a_view_asks_once_and_shows_the_answer_however_late_it_comes(route: str) -> None:
    async def run() -> None:
        visit, asked, name = Visited(), ASKED[route], route.partition("/")[0]
        late = visit.client.answers[asked] = asyncio.get_running_loop().create_future()
        await visit.go(route)
        assert "One moment" in visit.seen(name)["body"]
        await visit.turn(12)
        late.set_result(ANSWERS[asked])
        await visit.settle()
        assert visit.client.times(asked) == 1
        assert DRAWN[route] in visit.seen(name)["body"]

    asyncio.run(run())


@visited
async def test_tasks_are_searched_when_a_reader_asks_only(visit: Visited) -> None:
    await visit.go("tasks")
    await visit.turn(12)
    assert visit.client.times("search") == 1
    await visit.go("tasks?state=failed")
    assert visit.client.times("search") == 2


@visited
async def test_what_was_found_for_another_filter_does_not_stay(visit: Visited) -> None:
    await visit.go("tasks")
    visit.client.answers["search"] = GONE
    visit.page._views["tasks"].on({"form": "filter", "values": {"text": "another"}})
    await visit.settle()
    assert [visit.seen("tasks")[part] for part in ("told", "body", "pages")] == ["", "", ""]


@visited
async def test_the_list_of_tasks_says_of_when_it_is(visit: Visited) -> None:
    await visit.go("tasks")
    assert visit.seen("tasks")["told"].startswith("Showing 1 of 1 task, newest first. As of ")
    assert visit.seen("tasks")["told"].endswith(" UTC.")


@visited
async def test_failures_that_somebody_else_took_off_the_list_go(visit: Visited) -> None:
    states = dict.fromkeys(State, 0) | {State.FAILED: 31}
    await visit.turn(states=states, failures=31)
    await visit.go("failures")
    await visit.turn(4, states=states, failures=31)
    assert visit.client.times("failures") == 1
    await visit.turn(states=states, failures=7)
    assert visit.client.times("failures") == 2
    await visit.turn(30, states=states, failures=7)
    assert 4 <= visit.client.times("failures") <= 6


def test_the_number_beside_failures_is_that_of_the_view() -> None:
    model = Model()
    states = dict.fromkeys(State, 0) | {State.FAILED: 31}
    model.take(changes(states=states, failures=2), None, address="")
    assert "Failures<span class='count'>2</span>" in head.views(model.picture, TITLES, "overview")
    model.take(changes(states=states, failures=0), None, address="")
    assert "Failures</a>" in head.views(model.picture, TITLES, "overview")


def test_how_long_ago_something_was_goes_on_where_nothing_is_told() -> None:
    model = Model()
    model.take(changes(workers=(worker("w1"),)), None, address="here")
    model.miss(GONE, address="here", silence=42.0)
    assert "last event 42 s ago" in head.where(model.picture, 42.0, read_only=False)
    assert "<dd>42 s ago</dd>" in still(model.picture)


@visited
async def test_a_task_that_has_ended_is_looked_at_again_now_and_then(visit: Visited) -> None:
    await visit.go("task/task-1")
    await visit.turn(int(ENDED) - 1)
    assert visit.client.times("detail") == 1
    running = TaskRecord(task_id="task-1", operation="text.echo", state=State.RUNNING, attempt=2, replay=1)
    again = Detail(record=running, arguments=(), result="", events=(), retryable=False)
    visit.client.answers |= {"detail": again, "why": "It runs."}
    await visit.turn()
    assert "It runs." in visit.seen("task")["body"]
    await visit.turn(4)
    assert visit.client.times("detail") == 4


@visited
async def test_dead_letters_are_not_walked_through_because_somebody_walks_through_them(visit: Visited) -> None:
    letters = [Letter(message_id=f"m{n}", task_id="", kind="other", routing_key="", reason_type="X", reason="", size=1)
               for n in range(3)]  # fmt: skip
    visit.client.answers["dead_letters"] = letters
    await visit.turn(2, dead=3)
    await visit.go("dead")
    for dead in (3, 0, 3, 1, 3, 3, 3):  # those that are being looked at don't count as ready
        await visit.turn(dead=dead)
        await visit.turn(dead=None)  # the queues aren't asked for each second
    assert visit.client.times("dead_letters") == 1
    visit.client.answers["dead_letters"] = letters[:2]
    await visit.turn(3, dead=2)
    assert visit.client.times("dead_letters") == 2
    assert "2 letters" in visit.seen("dead")["told"]


@visited
async def test_more_dead_letters_than_are_shown_are_counted_after_a_look(visit: Visited) -> None:
    letter = Letter(message_id="m", task_id="", kind="other", routing_key="", reason_type="X", reason="", size=1)
    visit.client.answers["dead_letters"] = [letter] * MOST
    await visit.turn(2, dead=MOST + 40)
    await visit.go("dead")
    await visit.turn(6, dead=MOST + 40)
    assert visit.client.times("dead_letters") == 1
    await visit.turn(3, dead=MOST + 41)
    assert visit.client.times("dead_letters") == 2


# --- actions --------------------------------------------------------------------------------------


@visited
async def test_an_action_is_said_to_be_under_way_until_it_reports(visit: Visited) -> None:
    done = visit.client.answers["retry_group"] = asyncio.get_running_loop().create_future()
    visit.page.on({"act": "retry_group", "group": "some"})
    assert "Sending the group again …" in visit.seen()["toast"]
    await visit.turn(60)
    assert "Sending the group again …" in visit.seen()["toast"]
    done.set_result(Retried(sent={"a": 1}, refused={}))
    await visit.settle()
    assert "1 task sent again." in visit.seen()["toast"]
    await visit.turn(10)
    assert visit.seen()["toast"] == ""


@visited
async def test_an_action_goes_on_to_its_end_after_its_page_has_gone(visit: Visited) -> None:
    ended: list[str] = []
    halfway = asyncio.Event()

    async def retry_group(_: str) -> Retried:
        await halfway.wait()
        ended.append("yes")
        return Retried(sent={}, refused={})

    visit.client.retry_group = retry_group  # type: ignore[method-assign]
    visit.page.on({"act": "retry_group", "group": "some"})
    await visit.settle()
    asked = asyncio.get_running_loop().create_future()
    visit.client.answers["search"] = asked
    await visit.go("tasks")
    page = weakref.ref(visit.page)
    visit.page.close(None)
    del visit.page
    await visit.settle()
    assert asked.cancelled()
    del asked
    visit.client.answers.clear()
    import gc

    gc.collect()
    assert page() is None
    halfway.set()
    await until(lambda: ended, what="the action has ended")
    await until(lambda: not actions._UNDER_WAY, what="nothing is left of it")


@pytest.mark.parametrize("error", [GONE, KeyError("unforeseen")])
def test_every_error_of_an_action_is_reported(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        visit = Visited()
        visit.client.answers["retry"] = error
        visit.page.on({"act": "retry", "tasks": "task-1"})
        await visit.settle()
        assert type(error).__name__ in visit.seen()["toast"]
        assert "toast bad" in visit.seen()["toast"]

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert "the action retry failed" in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(error, KeyError)


@visited
async def test_an_error_that_nobody_foresaw_is_said_where_the_answer_would_be(visit: Visited) -> None:
    visit.client.answers["search"] = KeyError("unforeseen")
    await visit.go("tasks")
    assert "KeyError" in visit.seen("tasks")["trouble"]


# --- previews -------------------------------------------------------------------------------------


def looked(monkeypatch: pytest.MonkeyPatch, draw: Callable[[object], str]) -> str:
    monkeypatch.setattr(previews, "preview_of", draw)
    record = TaskRecord(task_id="task-1", state=State.SUCCEEDED, summary="DataFrame, 2 × 2")
    detail = Detail(record=record, arguments=(), result="<rows>", events=(), retryable=False)
    client: Any = SimpleNamespace(get=lambda _: SimpleNamespace(result=lambda _: "a result"))
    return asyncio.run(previews.of(client, detail)).html


def test_a_result_is_drawn_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    shown = looked(monkeypatch, lambda value: threads.append(threading.current_thread()) or f"<b>{value}</b>")
    assert shown == "<b>a result</b>"
    assert threads != [threading.main_thread()]


def test_a_result_that_cannot_be_drawn_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(_: object) -> str:
        raise ValueError("<damaged>")

    shown = looked(monkeypatch, draw)
    assert "ValueError: &lt;damaged&gt;" in shown
    assert "&lt;rows&gt;" in shown


@pytest.mark.parametrize(
    ("error", "again"), [(ValueError("odd"), False), (InputError("damaged"), False), (StoreError("no answer"), True)]
)
def test_a_result_is_fetched_again_only_where_what_keeps_it_did_not_answer(error: Exception, again: bool) -> None:
    fetched = []

    def get(_: str) -> object:
        fetched.append("once more")
        raise error

    async def run() -> None:
        visit = Visited()
        record = TaskRecord(task_id="task-1", state=State.SUCCEEDED, summary="DataFrame, 2 × 2")
        visit.client.answers["detail"] = Detail(record=record, arguments=(), result="", events=(), retryable=False)
        visit.client.get = get  # type: ignore[method-assign]
        await visit.go("task/task-1")
        await until(lambda: type(error).__name__ in visit.seen("task")["body"], what="the reason is shown")
        async with asyncio.timeout(30):
            while visit.client.times("detail") < 3:
                await visit.turn(5)
                await asyncio.sleep(0.01)  # for the thread that fetches
        assert (len(fetched) > 1) is again

    asyncio.run(run())


# --- what is drawn --------------------------------------------------------------------------------


@visited
async def test_no_block_is_lost_to_the_stream_while_more_come_with_a_lane(visit: Visited) -> None:
    await visit.turn(executions=(execution(1, 0.0, 0.5),))
    await visit.go("stream")
    await visit.turn(3)
    stream = visit.page._views["stream"]
    assert isinstance(stream, Stream)
    place = stream._place

    def place_and_add(picture: Any) -> None:
        place(picture)
        visit.feed.take(executions=(execution(2, 3.0, 0.5, worker="w2"),))  # as the feed's thread may, at any time
        visit.feed.take()

    stream._place = place_and_add  # type: ignore[method-assign]
    visit.feed.take(executions=(execution(3, 2.0, 0.5),))
    visit.page.tick()
    stream._place = place  # type: ignore[method-assign]
    await visit.turn(2)
    drawn = [task for source in stream.ended.values() for task in source.data["task"]]
    assert sorted(drawn) == ["task-1", "task-2", "task-3"]


@visited
async def test_a_chart_that_is_held_keeps_what_it_shows(visit: Visited) -> None:
    for name in ("overview", "charts"):
        await visit.turn(buckets=(Bucket(int(BEGAN.timestamp()), "text", "", succeeded=3),))
        await visit.go(name)
        view: Any = visit.page._views[name]
        window = view.window
        window.range.update(start=window.range.start - 5000, end=window.range.end - 5000)
        where = (window.range.start, window.range.end)
        await visit.turn(3)
        assert (window.range.start, window.range.end) == where
        boards = {"overview": "middle", "charts": "top"}
        assert "Follow the time" in getattr(view, boards[name]).parts["follow"]
        view.on({"act": "follow"})
        assert window.range.end == int(visit.feed.picture.at.timestamp()) * 1000
        assert getattr(view, boards[name]).parts["follow"] == ""
