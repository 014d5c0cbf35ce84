"""What a tracker does by itself: cancelling, expiry, deadlines and lost workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.tracker_desk import LONG, Desk, Play, eventually, player
from tests.support import until
from workbench.broker import Consumer, Delivery, Outgoing, Topology
from workbench.broker.inspect import Inspector, QueueDepth
from workbench.broker.node import Node
from workbench.broker.session import open_session
from workbench.core import control, rpc
from workbench.core.ids import new_task_id
from workbench.core.messages import (
    CancelRequested,
    Status,
    TaskFinished,
    TaskStarted,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
    decode,
    encode,
    utcnow,
)
from workbench.core.states import State
from workbench.tracker import duties, questions
from workbench.tracker.database import Database
from workbench.tracker.deadletters import TOLD


@pytest.fixture
def play(node: Node, topology: Topology, tmp_path: Path) -> Play:
    return player(node, topology, f"sqlite:///{tmp_path / 'tracker.db'}")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are lost after a second, and tasks overdue at once."""
    monkeypatch.setattr(questions, "SILENCE", 1.0)
    monkeypatch.setattr(duties, "LISTEN", 1.5)
    monkeypatch.setattr(duties, "SLACK", 0.1)


class Ear:
    """Hears orders to workers, and outcomes told to the client."""

    def __init__(self) -> None:
        self.orders: list[control.AnyOrder] = []
        self.outcomes: list[TaskFinished] = []

    def hear(self, delivery: Delivery) -> None:
        if delivery.queue.endswith("control.ear"):
            self.orders.append(control.decode_order(delivery.body))
        elif isinstance(message := decode(delivery.body), TaskFinished):
            self.outcomes.append(message)

    @property
    def cancelled(self) -> list[str]:
        """The tasks that workers were told to end, in order."""
        return [id_ for order in self.orders if isinstance(order, control.CancelTasks) for id_, _ in order.tasks]


@contextlib.asynccontextmanager
async def ear(desk: Desk) -> AsyncIterator[Ear]:
    heard = Ear()
    topology = desk.topology
    orders, outcomes = topology.control_queue("ear"), topology.client_queue("c")
    consumer = Consumer(
        desk.node.url,
        topology,
        name="ear",
        queues={orders: 100, outcomes: 100},
        declare=(*topology.control_of("w", orders), *topology.client("c")),
        on_delivery=heard.hear,
        auto_ack=True,
    )
    async with consumer:
        await consumer.connection.wait_open(LONG)
        yield heard


async def why(desk: Desk, task_id: str) -> str:
    return str((await desk.ask(rpc.GetWhy(task_id=task_id))).sentence)


def test_a_queued_task_is_cancelled_within_a_second_and_workers_are_told_to_drop_it(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with ear(desk) as heard, desk.tracker():
            task = await desk.submit()
            await desk.recorded(task.task_id, State.QUEUED)
            await desk.cancel(task.task_id, reason="wrong file")
            await desk.recorded(task.task_id, State.CANCELLED)
            end = await desk.outcome(task.task_id)
            assert (end.status, end.worker) == (Status.CANCELLED, "")
            await until(lambda: heard.cancelled == [task.task_id])
            await until(lambda: [outcome.task_id for outcome in heard.outcomes] == [task.task_id])
            assert "it was cancelled" in await why(desk, task.task_id)
            ghosts = await desk.ask(rpc.GetCancelled(families=("image",)))
            assert ghosts.tasks == ((task.task_id, 0),)
            await desk.finish(task, Status.CANCELLED)  # a worker has dropped it
            await eventually(lambda: desk.ask(rpc.GetCancelled(families=("image",))), lambda told: told.tasks == ())

    play(scene)


def test_a_running_task_is_left_to_its_worker_and_the_order_is_repeated(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "AGAIN", 0.6)

    async def scene(desk: Desk) -> None:
        async with ear(desk) as heard, desk.tracker():
            await desk.announce()
            task = await desk.submit()
            await desk.start(task)
            await desk.recorded(task.task_id, State.RUNNING)
            await desk.cancel(task.task_id)
            await until(lambda: len(heard.cancelled) >= 3, what="an order, repeated")
            record = await desk.record(task.task_id)
            assert record is not None
            assert record.state is State.RUNNING
            assert "cancelling has been asked for" in await why(desk, task.task_id)
            await desk.finish(task, Status.CANCELLED)
            assert (await desk.outcome(task.task_id)).worker == "w"

    play(scene)


def test_a_wish_for_a_task_that_never_comes_ends_it_for_whoever_waits(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with ear(desk) as heard, desk.tracker():
            task_id = new_task_id()
            await desk.cancel(task_id, operation="image.thumbnail", client="c")
            assert (await desk.outcome(task_id)).status is Status.CANCELLED
            await until(lambda: [outcome.task_id for outcome in heard.outcomes] == [task_id])

    play(scene)


def test_a_wish_recorded_before_a_crash_is_granted_by_the_next_tracker(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        task = await desk.submit()
        with Database(desk.settings.database) as database:  # as a tracker that died right after its commit
            wish = CancelRequested(task_id=task.task_id, at=utcnow())
            database.apply([(task, encode(task)), (wish, encode(wish))], now=utcnow())
        async with ear(desk) as heard, desk.tracker():
            assert (await desk.outcome(task.task_id)).status is Status.CANCELLED
            assert heard.cancelled == [task.task_id]

    play(scene)


def test_two_trackers_that_are_active_for_a_moment_end_a_task_once(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker(), desk.tracker():
            tasks = [await desk.submit() for _ in range(20)]
            for task in tasks:
                await desk.cancel(task.task_id)
            for task in tasks:
                assert (await desk.outcome(task.task_id)).status is Status.CANCELLED
            stats = await desk.ask(rpc.GetStats())
            assert (stats["cancelled"], stats.total) == (20, 20)
        with Database(desk.settings.database) as database:
            assert [len(database.attempts(task.task_id)) for task in tasks] == [1] * 20

    play(scene)


def test_a_task_that_has_ended_is_not_cancelled_any_more(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with ear(desk) as heard, desk.tracker():
            done, other = await desk.submit(), await desk.submit()
            await desk.finish(done)
            await desk.cancel(done.task_id)
            await desk.cancel(other.task_id)
            assert (await desk.outcome(other.task_id)).status is Status.CANCELLED
            assert (await desk.outcome(done.task_id)).status is Status.SUCCEEDED
            assert heard.cancelled == [other.task_id]

    play(scene)


@pytest.mark.usefixtures("impatient")
def test_tasks_that_nobody_starts_expire_and_fail_at_their_deadline(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            soon = utcnow() + timedelta(seconds=0.5)
            expires, fails = await desk.submit(expires_at=soon), await desk.submit(deadline_at=soon)
            stays = await desk.submit(expires_at=utcnow() + timedelta(hours=1))
            assert (await desk.outcome(expires.task_id)).status is Status.EXPIRED
            end = await desk.outcome(fails.task_id)
            assert end.failure is not None
            assert (end.status, end.failure.type) == (Status.FAILED, "DeadlineExceeded")
            await desk.recorded(stays.task_id, State.QUEUED)
            assert "it expired" in await why(desk, expires.task_id)

    play(scene)


@pytest.mark.usefixtures("impatient")
def test_a_task_waiting_for_its_next_attempt_fails_at_its_deadline(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit(deadline_at=utcnow() + timedelta(seconds=1))
            await desk.finish(task, Status.RETRY, retry_at=utcnow() + timedelta(hours=1))
            await desk.recorded(task.task_id, State.RETRYING)
            assert "it waits for attempt 2" in await why(desk, task.task_id)
            assert (await desk.outcome(task.task_id)).status is Status.FAILED

    play(scene)


@pytest.mark.usefixtures("impatient")
def test_a_silent_worker_s_tasks_are_queued_again_and_those_of_one_that_beats_are_not(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            await desk.announce("w1")
            await desk.announce("w2")
            lost, kept = await desk.submit(), await desk.submit()
            await desk.start(lost, "w1")
            await desk.start(kept, "w2")
            await desk.recorded(lost.task_id, State.RUNNING)

            async def beat_and_look() -> Any:
                beat = WorkerHeartbeat(worker="w2", busy=1, slots=2, running=(kept.task_id,), load=0.5, at=utcnow())
                await desk.event("worker.heartbeat", encode(beat))
                return await desk.record(lost.task_id)

            await eventually(beat_and_look, lambda record: record is not None and record.state is State.QUEUED)
            record = await desk.record(kept.task_id)
            assert record is not None
            assert record.state is State.RUNNING
            (attempt,) = (await desk.ask(rpc.GetAttempts(task_id=lost.task_id))).attempts
            assert attempt.lost_at is not None
            assert "attempt 1 was lost with its worker w1" in await why(desk, lost.task_id)
            workers = {worker.worker: worker for worker in (await desk.ask(rpc.GetWorkbench())).workers}
            assert (workers["w1"].lost, workers["w1"].online) == (True, False)
            assert (workers["w2"].lost, workers["w2"].running, workers["w2"].load) == (False, (kept.task_id,), 0.5)
            await desk.start(lost, "w2")  # the broker has given it to another
            await desk.recorded(lost.task_id, State.RUNNING)
            assert len((await desk.ask(rpc.GetAttempts(task_id=lost.task_id))).attempts) == 2

    play(scene)


def test_the_tasks_of_a_worker_that_was_started_again_are_queued_again(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "LISTEN", 0.0)

    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            await desk.announce(pid=1)
            task = await desk.submit()
            await desk.start(task)
            await desk.recorded(task.task_id, State.RUNNING)
            await desk.announce(pid=1)  # it was only cut off for a moment
            await desk.announce("other")
            await eventually(lambda: desk.ask(rpc.GetWorkbench()), lambda told: len(told.workers) == 2)
            await desk.recorded(task.task_id, State.RUNNING)
            await desk.announce(pid=2)
            await desk.recorded(task.task_id, State.QUEUED)
            again = await desk.start(task)
            await desk.recorded(task.task_id, State.RUNNING)
            attempts = (await desk.ask(rpc.GetAttempts(task_id=task.task_id))).attempts
            assert [(attempt.worker, attempt.lost_at is None) for attempt in attempts] == [("w", False), ("w", True)]
            assert attempts[1].started_at == again.started_at

    play(scene)


def test_the_tasks_of_a_worker_that_stopped_without_ending_them_are_queued_again(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "LISTEN", 0.0)

    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            await desk.announce()
            task = await desk.submit()
            await desk.start(task)
            await desk.recorded(task.task_id, State.RUNNING)
            await desk.event("worker.offline", encode(WorkerOffline(worker="w", at=utcnow())))
            await desk.recorded(task.task_id, State.QUEUED)

    play(scene)


def test_a_tracker_that_comes_back_after_long_takes_nobody_for_lost_before_it_has_listened(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "SILENCE", 1.0)
    monkeypatch.setattr(duties, "LISTEN", 3.0)

    async def scene(desk: Desk) -> None:
        long_ago = utcnow() - timedelta(minutes=10)
        task = await desk.submit()
        with Database(desk.settings.database) as database:
            online = WorkerOnline(worker="w", host="h", pid=1, families=("image",), slots=1, at=long_ago)
            start = TaskStarted(task_id=task.task_id, attempt=1, worker="w", slot=0, started_at=long_ago)
            learnt: Any = [(message, encode(message)) for message in (task, online, start)]
            database.apply(learnt, now=long_ago)
        async with ear(desk), desk.tracker():
            other = await desk.submit()
            await desk.cancel(other.task_id)  # a duty that is done meanwhile
            await desk.recorded(other.task_id, State.CANCELLED)
            record = await desk.record(task.task_id)
            assert record is not None
            assert record.state is State.RUNNING
            await desk.recorded(task.task_id, State.QUEUED)  # nobody beat while it listened

    play(scene)


def test_a_dead_letter_whose_outcome_its_worker_told_ends_nothing(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            told, other = await desk.submit(), await desk.submit()
            for task, headers in ((told, {TOLD: True}), (other, {})):
                letter = Outgoing(desk.topology.dead, "image.thumbnail", encode(task), task.task_id, headers)
                await desk.publisher.publish(letter)
            assert (await desk.outcome(other.task_id)).status is Status.FAILED
            record = await desk.record(told.task_id)
            assert record is not None
            assert record.state is State.QUEUED

    play(scene)


def test_a_task_sent_again_from_the_dead_letters_ends_anew_and_keeps_its_history(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit()
            await desk.finish(task, Status.FAILED)
            assert (await desk.outcome(task.task_id)).status is Status.FAILED
            again = msgspec.structs.replace(task, replay=1, attempt=2, first_attempt=2, queued_at=utcnow())
            await desk.publisher.publish(
                Outgoing(desk.topology.submit, "image.thumbnail", encode(again), message_id=task.task_id)
            )
            await desk.recorded(task.task_id, State.QUEUED)
            assert (await desk.ask(rpc.GetOutcomes(task_ids=(task.task_id,)))).ended == ()
            end = await desk.finish(again, replay=1)
            assert await desk.outcome(task.task_id) == end
            attempts = (await desk.ask(rpc.GetAttempts(task_id=task.task_id))).attempts
            assert [attempt.outcome.status for attempt in attempts] == [Status.FAILED, Status.SUCCEEDED]

    play(scene)


def test_why_a_task_waits_is_told_with_the_broker_s_word(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            first, second = await desk.submit(), await desk.submit()
            await desk.recorded(second.task_id, State.QUEUED)
            queue = desk.topology.task_queue("image")
            assert await why(desk, second.task_id) == (
                f"no worker takes tasks from the queue {queue}: start one with `workbench worker image`"
            )
            worker = Consumer(desk.node.url, desk.topology, name="w", queues={queue: 1}, on_delivery=lambda _: None)
            async with worker:
                await worker.connection.wait_open(LONG)
                await desk.announce()
                beat = WorkerHeartbeat(worker="w", busy=2, slots=2, at=utcnow())
                await desk.event("worker.heartbeat", encode(beat))
                told = await eventually(lambda: why(desk, second.task_id), lambda told: "busy" in told)
                assert told == "all 2 slots of 1 worker are busy; 1 task is ahead of it"
                await desk.start(first, slot=1)
                await eventually(lambda: why(desk, first.task_id), lambda told: "running on w (slot 1)" in told)
            # A tracker that has just begun says that it may be on its way.
            await eventually(lambda: why(desk, "01900000-0000-7000-8000-000000000000"), lambda told: told == "")

    play(scene)


def test_a_queue_s_depth_is_told_and_a_missing_queue_is_none(node: Node, topology: Topology) -> None:
    async def run() -> None:
        inspector = Inspector()
        session = await open_session(node.url, name="inspector")
        await inspector.opened(session)
        setup = await session.channel()
        await setup.declare(topology.base())
        setup.publish(topology.submit, "image.thumbnail", b"x", mandatory=False)
        queue = topology.task_queue("image")
        await eventually(lambda: inspector.depth(queue), lambda depth: depth == QueueDepth(1, 0))
        assert await inspector.depth(topology.task_queue("nowhere")) is None
        assert await inspector.depth(queue) == QueueDepth(1, 0)  # on a channel of its own again
        await inspector.call_out(topology.control, "nobody", b"x")
        assert await inspector.depth(queue) == QueueDepth(1, 0)
        await session.close()

    asyncio.run(run())
