from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tests.support import until
from workbench.broker import Publisher, Topology
from workbench.broker.inspect import QueueDepth
from workbench.core import rpc
from workbench.core.errors import BrokerUnavailable
from workbench.core.ids import new_task_id
from workbench.core.messages import (
    CancelRequested,
    Event,
    Failure,
    OperationSpec,
    Status,
    Task,
    TaskFinished,
    WorkerOnline,
    encode,
    utcnow,
)
from workbench.core.settings import Settings
from workbench.core.states import State, TaskRecord
from workbench.tracker import rpc as room
from workbench.tracker.aggregates import Aggregates
from workbench.tracker.database import Database
from workbench.tracker.live import LiveAnswers
from workbench.tracker.queues import QueueLooks
from workbench.tracker.retrying import Retrying
from workbench.tracker.rpc import Answers, encode_to_fit, young
from workbench.tracker.waiting import Waiting

LONG = 60.0  # a wait that a test never sits out
T = TypeVar("T")


class Desk:
    """Answers over a real database, and what the service does around them."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor) -> None:
        self.behind = False
        self.blocked = ""
        self.unreachable = False
        self.queues: dict[str, QueueDepth] = {}
        self.database = Database(f"sqlite:///{path / 't.db'}")
        self.waiting = Waiting()
        self.answers = Answers(
            self.database,
            self.waiting,
            thread=thread,
            settings=Settings(broker_url="amqp://", store="/store", roots=("/data",)),
            behind=lambda: self.behind,
            depth=self.depth,
            blocked=lambda: self.blocked,
            write=thread,
            live=self.live(thread),
        )

    def live(self, thread: ThreadPoolExecutor) -> LiveAnswers:
        topology = Topology("t.")
        self.aggregates = Aggregates("life-1")
        publisher = Publisher("amqp://", topology, name="desk")
        return LiveAnswers(
            self.aggregates,
            self.database,
            thread=thread,
            write=thread,
            queues=QueueLooks(self.aggregates, topology, self.depth),
            retrying=Retrying(self.database, thread=thread, publisher=publisher, topology=topology),
            name="tracker-1",
            pending=lambda: 0,
            lag=lambda: 0.0,
            blocked=lambda: self.blocked,
        )

    async def depth(self, queue: str) -> QueueDepth | None:
        if self.unreachable:
            raise BrokerUnavailable("gone")
        return self.queues.get(queue)

    def learn(self, *messages: Task | Event) -> None:
        now = utcnow()
        applied = self.database.apply([(message, encode(message)) for message in messages], now=now)
        self.aggregates.learn(applied.transitions, now)
        self.aggregates.groups.learn(applied.moves)
        self.aggregates.meet(applied.workers, now)
        self.waiting.wake(applied.ended)

    async def ask(self, request: rpc.AnyRequest) -> Any:
        return rpc.decode_answer(await self.answers.answer(rpc.encode(request)))

    async def outcomes(self, *task_ids: str, timeout: float = 0.0) -> rpc.Outcomes:
        answer = await self.ask(rpc.GetOutcomes(task_ids=task_ids, timeout=timeout))
        assert isinstance(answer, rpc.Outcomes)
        return answer

    @contextlib.asynccontextmanager
    async def parked(self, *task_ids: str, timeout: float = LONG) -> AsyncIterator[asyncio.Task[rpc.Outcomes]]:
        asked = asyncio.get_running_loop().create_task(self.outcomes(*task_ids, timeout=timeout))
        await until(lambda: len(self.waiting) > 0, what="a parked request")
        yield asked
        asked.cancel()


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Desk], Coroutine[Any, Any, T]]], T]:
    def run(scene: Callable[[Desk], Coroutine[Any, Any, T]]) -> T:
        with ThreadPoolExecutor(1) as thread:
            desk = Desk(tmp_path, thread)
            with desk.database:
                return asyncio.run(scene(desk))

    return run


def accepted(task_id: str) -> Task:
    now = utcnow()
    return Task(task_id=task_id, operation="image.thumbnail", client="c", submitted_at=now, queued_at=now)


def finished(task_id: str) -> TaskFinished:
    return TaskFinished(
        task_id=task_id,
        operation="image.thumbnail",
        client="c",
        attempt=1,
        status=Status.SUCCEEDED,
        finished_at=utcnow(),
        worker="w",
    )


def id_made(ago: float) -> str:
    millis = int((utcnow() - timedelta(seconds=ago)).timestamp() * 1000)
    return str(uuid.UUID(int=(millis << 80) | (7 << 76) | (0b10 << 62) | 1))


def test_an_outcome_on_record_is_told_at_once(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        end = finished(id_made(1))
        desk.learn(end)
        assert (await desk.outcomes(end.task_id, timeout=LONG)).ended == (end,)

    run(scene)


def test_a_parked_request_is_answered_by_the_commit_that_records_an_outcome(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        one, two = id_made(100), id_made(99)
        desk.learn(accepted(one), accepted(two))
        async with desk.parked(one, two) as asked:
            end = finished(two)
            desk.learn(end)
            assert (await asked).ended == (end,)
        assert len(desk.waiting) == 0
        assert "0 open, for 0 tasks" in repr(desk.waiting)

    run(scene)


def test_an_outcome_between_the_look_and_the_wait_is_not_missed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(desk: Desk) -> None:
        task_id = id_made(100)
        desk.learn(accepted(task_id))
        look = desk.database.outcomes
        loop = asyncio.get_running_loop()

        def look_then_learn(*args: Any, **kwargs: Any) -> rpc.Outcomes:
            found = look(*args, **kwargs)
            ended = desk.database.apply([(finished(task_id), encode(finished(task_id)))], now=utcnow()).ended
            loop.call_soon_threadsafe(desk.waiting.wake, ended)
            return found

        monkeypatch.setattr(desk.database, "outcomes", look_then_learn)
        told = await desk.outcomes(task_id, timeout=LONG)
        assert [end.task_id for end in told.ended] == [task_id]

    run(scene)


def test_a_request_whose_time_is_over_is_answered_with_nothing(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        task_id = id_made(100)
        desk.learn(accepted(task_id))
        assert await desk.outcomes(task_id, timeout=0.01) == rpc.Outcomes()
        assert await desk.outcomes(task_id) == rpc.Outcomes()

    run(scene)


def test_an_old_id_that_is_not_on_record_is_unknown_at_once(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        old = id_made(room.YOUNG + 1)
        assert (await desk.outcomes(old, "no-id", timeout=LONG)).unknown == (old, "no-id")

    run(scene)


def test_a_young_id_may_be_on_its_way_and_is_waited_for(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        task_id = new_task_id()
        assert await desk.outcomes(task_id) == rpc.Outcomes()  # neither ended nor unknown
        async with desk.parked(task_id) as asked:
            desk.learn(accepted(task_id), finished(task_id))
            assert [end.task_id for end in (await asked).ended] == [task_id]

    run(scene)


def test_a_young_id_that_never_comes_becomes_unknown(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_AGAIN", 0.01)
    monkeypatch.setattr(room, "YOUNG", 0.1)

    async def scene(desk: Desk) -> None:
        task_id = new_task_id()
        assert (await desk.outcomes(task_id, timeout=LONG)).unknown == (task_id,)

    run(scene)


def test_nothing_is_unknown_while_the_tracker_is_behind(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_AGAIN", 0.01)

    async def scene(desk: Desk) -> None:
        old = id_made(1000)
        desk.behind = True
        assert await desk.outcomes(old, timeout=0.05) == rpc.Outcomes()
        async with desk.parked(old) as asked:
            desk.behind = False
            assert (await asked).unknown == (old,)

    run(scene)


def test_no_more_than_a_bound_of_requests_is_parked(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_WAITS", 1)

    async def scene(desk: Desk) -> None:
        task_id = id_made(100)
        desk.learn(accepted(task_id))
        async with desk.parked(task_id) as asked:
            assert await desk.outcomes(task_id, timeout=LONG) == rpc.Outcomes()
            assert not asked.done()

    run(scene)


def test_records_lists_counts_and_the_workbench_are_told(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        one, two = id_made(20), id_made(10)
        spec = OperationSpec(name="image.thumbnail")
        desk.learn(accepted(one), accepted(two), finished(two))
        desk.learn(
            WorkerOnline(worker="w", host="h", pid=1, families=("image",), slots=1, operations=(spec,), at=utcnow())
        )
        tasks = await desk.ask(rpc.GetTasks(task_ids=("who", two, one)))
        assert [record.task_id for record in tasks.records] == [two, one]
        tasks = await desk.ask(rpc.ListTasks(state=State.QUEUED))
        assert [record.task_id for record in tasks.records] == [one]
        assert (await desk.ask(rpc.ListTasks(limit=-1))).records == ()
        stats = await desk.ask(rpc.GetStats())
        assert (stats.total, stats["succeeded"], stats["failed"], stats.tracker) == (2, 1, 0, "tracker-1")
        workbench = await desk.ask(rpc.GetWorkbench())
        assert (workbench.store, workbench.roots, workbench.operations) == ("/store", ("/data",), (spec,))
        assert [(worker.worker, worker.online) for worker in workbench.workers] == [("w", True)]

    run(scene)


def test_the_tracker_tells_its_time(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        asked = utcnow()
        told = await desk.ask(rpc.GetTime())
        assert asked <= told.at <= utcnow()

    run(scene)


def test_what_is_no_request_is_answered_with_a_problem(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        answer = rpc.decode_answer(await desk.answers.answer(b"\xc1"))
        assert isinstance(answer, rpc.Problem)

    run(scene)


def test_a_question_that_fails_is_answered_with_a_problem(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(desk: Desk) -> None:
        def fail() -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(desk.database, "counts", fail)
        assert "a bug" in (await desk.ask(rpc.GetStats())).message

    run(scene)


def test_attempts_are_told_without_results(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        task_id = id_made(100)
        desk.learn(accepted(task_id), finished(task_id))
        (attempt,) = (await desk.ask(rpc.GetAttempts(task_id=task_id))).attempts
        assert (attempt.attempt, attempt.worker, attempt.outcome.status) == (1, "w", Status.SUCCEEDED)
        assert (await desk.ask(rpc.GetAttempts(task_id="who"))).attempts == ()

    run(scene)


def test_why_is_told_from_the_record_the_queue_and_an_alarm(run: Any) -> None:
    async def why(desk: Desk, task_id: str) -> str:
        return str((await desk.ask(rpc.GetWhy(task_id=task_id))).sentence)

    async def scene(desk: Desk) -> None:
        one, two = id_made(100), id_made(99)
        desk.learn(accepted(one), accepted(two))
        assert (await why(desk, two)).startswith("there is no queue workbench.tasks.image")
        desk.queues["workbench.tasks.image"] = QueueDepth(2, 0)
        assert (await why(desk, two)).startswith("no worker takes tasks from the queue workbench.tasks.image")
        desk.queues["workbench.tasks.image"] = QueueDepth(2, 1)
        assert (await why(desk, two)).endswith("1 task is ahead of it")
        desk.blocked = "the broker is short of memory"
        assert (await why(desk, two)).startswith("the broker is short of memory; ")
        desk.unreachable = True
        assert "no worker takes tasks" in await why(desk, two)

    run(scene)


def test_why_of_an_unknown_task_is_empty_unless_it_may_be_on_its_way(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        old = id_made(room.YOUNG + 1)
        assert (await desk.ask(rpc.GetWhy(task_id=old))).sentence == ""
        assert "on its way" in (await desk.ask(rpc.GetWhy(task_id=new_task_id()))).sentence
        desk.behind = True
        assert "on its way" in (await desk.ask(rpc.GetWhy(task_id=old))).sentence

    run(scene)


def test_cancelled_tasks_are_told_page_by_page(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        ids = [id_made(100 - number) for number in range(3)]
        desk.learn(*map(accepted, ids), *[CancelRequested(task_id=task_id, at=utcnow()) for task_id in ids])
        page = await desk.ask(rpc.GetCancelled(families=("image",), limit=2))
        assert page.tasks == tuple((task_id, 0) for task_id in ids[:2])
        page = await desk.ask(rpc.GetCancelled(families=("image",), limit=2, after=ids[1]))
        assert page.tasks == ((ids[2], 0),)

    run(scene)


def test_pinned_tasks_are_those_that_are_known(run: Any) -> None:
    async def scene(desk: Desk) -> None:
        task_id = id_made(100)
        desk.learn(accepted(task_id), finished(task_id))
        assert (await desk.ask(rpc.PinTasks(task_ids=(task_id, "who")))).task_ids == (task_id,)
        assert desk.database.sweep(before=utcnow() + timedelta(seconds=9), now=utcnow()) == 0
        assert (await desk.ask(rpc.PinTasks(task_ids=(task_id,), pinned=False))).task_ids == (task_id,)
        assert desk.database.sweep(before=utcnow() + timedelta(seconds=9), now=utcnow()) == 1

    run(scene)


def test_failures_are_told_without_counting_them_and_what_was_dismissed_is_told_no_more(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(desk: Desk) -> None:
        ids = [id_made(100 - number) for number in range(4)]
        failure = Failure(type="ValueError", message="no")
        ends = [msgspec.structs.replace(finished(each), status=Status.FAILED, failure=failure) for each in ids]
        desk.learn(*ends[:3], msgspec.structs.replace(ends[3], operation="data.head"))
        counts: list[Any] = []
        count = desk.database.counted_groups
        monkeypatch.setattr(desk.database, "counted_groups", lambda which: counts.append(which) or count(which))
        told = await desk.ask(rpc.GetFailures(limit=1))
        assert (told.total, told.total_groups, len(told.groups), counts) == (4, 2, 1, [])
        assert (await desk.ask(rpc.GetChanges())).failures == 4
        (group,) = [each for each in (await desk.ask(rpc.GetFailures())).groups if each.count == 3]
        assert (group.operation, group.latest, group.message) == ("image.thumbnail", ids[2], "no")
        gone = (await desk.ask(rpc.DismissFailures(group=group.group, limit=2))).task_ids
        (left,) = set(ids[:3]) - set(gone)
        (group,) = [each for each in (await desk.ask(rpc.GetFailures())).groups if each.group == group.group]
        assert (group.count, group.latest, counts) == (1, left, [[group.group]])
        assert (await desk.ask(rpc.DismissFailures(group=group.group))).task_ids == (left,)
        desk.learn(CancelRequested(task_id=left, at=utcnow()))
        told = await desk.ask(rpc.GetFailures())
        assert ([each.operation for each in told.groups], told.total) == (["data.head"], 1)
        changes = await desk.ask(rpc.GetChanges())
        assert (changes.failures, changes.states[State.FAILED]) == (1, 4)

    run(scene)


def test_an_answer_too_large_for_a_broker_is_cut_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGEST_ANSWER", 2000)
    ends = tuple(finished(new_task_id()) for _ in range(50))
    told = rpc.decode_answer(encode_to_fit(rpc.Outcomes(ended=ends)))
    assert isinstance(told, rpc.Outcomes)
    assert told.ended == ends[: len(told.ended)]
    assert 0 < len(told.ended) < 50
    failure = Failure(type="ValueError", message="no", traceback="long")
    record = TaskRecord(task_id="t", output="x" * 3000, failure=failure)
    listed = rpc.decode_answer(encode_to_fit(rpc.Tasks(records=(record,))))
    assert isinstance(listed, rpc.Tasks)
    assert listed.records[0].output == ""
    assert listed.records[0].failure == Failure(type="ValueError", message="no")


def test_only_ids_of_ours_are_young() -> None:
    now = datetime.now(UTC)
    assert young(new_task_id(), now)
    assert young(id_made(-3600), now)  # a clock that is ahead
    assert not young(id_made(room.YOUNG + 1), now)
    assert not young(str(uuid.uuid4()), now)
    assert not young("", now)
