from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support import until
from workbench.broker import Consumer, Delivery, Lock, Outgoing, Publisher, RpcCaller, Topology
from workbench.broker.node import Node
from workbench.broker.session import open_session
from workbench.broker.topology import finished_key
from workbench.core import rpc
from workbench.core.ids import new_task_id
from workbench.core.messages import (
    Status,
    Task,
    TaskFinished,
    TrackerOnline,
    WorkerOnline,
    decode,
    encode,
    utcnow,
)
from workbench.core.settings import Settings
from workbench.core.states import State, TaskRecord
from workbench.tracker import batcher, service
from workbench.tracker.database import Database
from workbench.tracker.service import Tracker

LONG = 30.0


async def eventually(ask: Callable[[], Coroutine[Any, Any, Any]], holds: Callable[[Any], object]) -> Any:
    """Ask until the answer holds, and return it."""
    async with asyncio.timeout(LONG):
        while not holds(answer := await ask()):  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.02)
    return answer


class Desk:
    """A client's and a worker's side of the broker, with one tracker's database."""

    def __init__(self, node: Node, topology: Topology, directory: Path) -> None:
        self.node = node
        self.topology = topology
        self.path = directory / "tracker.db"
        self.settings = Settings(
            broker_url=node.url, namespace=topology.namespace, store="/store", database=f"sqlite:///{self.path}"
        )
        self.caller = RpcCaller(topology)
        self.publisher = Publisher(node.url, topology, name="desk")
        self.publisher.connection.add(self.caller)

    async def submit(self, operation: str = "image.thumbnail", lane: str | None = None) -> Task:
        now = utcnow()
        task = Task(task_id=new_task_id(), operation=operation, client="c", submitted_at=now, queued_at=now, lane=lane)
        key = f"{operation}.{lane}" if lane else operation
        await self.publisher.publish(Outgoing(self.topology.submit, key, encode(task), message_id=task.task_id))
        return task

    async def finish(self, task: Task, status: Status = Status.SUCCEEDED) -> TaskFinished:
        end = TaskFinished(
            task_id=task.task_id,
            operation=task.operation,
            client=task.client,
            attempt=task.attempt,
            status=status,
            finished_at=utcnow(),
            worker="w",
        )
        await self.event(finished_key(task.client), encode(end), f"{task.task_id}/{task.attempt}")
        return end

    async def event(self, key: str, body: bytes, message_id: str = "") -> None:
        await self.publisher.publish(Outgoing(self.topology.events, key, body, message_id=message_id))

    async def ask(self, request: rpc.AnyRequest) -> Any:
        return rpc.decode_answer(await self.caller.ask(rpc.encode(request), timeout=LONG))

    async def outcome(self, task_id: str) -> TaskFinished:
        answer = await self.ask(rpc.GetOutcomes(task_ids=(task_id,), timeout=LONG))
        assert isinstance(answer, rpc.Outcomes)
        assert not answer.unknown
        return answer.ended[0]

    async def record(self, task_id: str) -> TaskRecord | None:
        records = (await self.ask(rpc.GetTasks(task_ids=(task_id,)))).records
        return records[0] if records else None

    async def recorded(self, task_id: str, state: State) -> Any:
        return await eventually(
            lambda: self.record(task_id), lambda record: record is not None and record.state is state
        )

    @contextlib.asynccontextmanager
    async def tracker(self) -> AsyncIterator[Tracker]:
        with Database(self.settings.database) as database:
            async with Tracker(self.settings, database, name="tracker-1") as tracker:
                yield tracker


Scene = Callable[[Desk], Coroutine[Any, Any, None]]
Play = Callable[[Scene], None]


@pytest.fixture
def play(node: Node, topology: Topology, tmp_path: Path) -> Play:
    def play(scene: Scene) -> None:
        async def all_of_it() -> None:
            desk = Desk(node, topology, tmp_path)
            async with desk.publisher, asyncio.timeout(120):
                await scene(desk)

        asyncio.run(all_of_it())

    return play


def test_a_task_and_its_outcome_are_recorded_and_told(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit()
            await desk.recorded(task.task_id, State.QUEUED)
            waiting = asyncio.ensure_future(desk.outcome(task.task_id))
            end = await desk.finish(task)
            assert await waiting == end
            stats = await desk.ask(rpc.GetStats())
            assert (stats["succeeded"], stats.tracker) == (1, "tracker-1")

    play(scene)


def test_what_happened_while_no_tracker_ran_is_recorded_by_the_next(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        tasks = [await desk.submit() for _ in range(50)]
        waiting = asyncio.ensure_future(desk.outcome(tasks[-1].task_id))
        for task in tasks:
            await desk.finish(task)
        async with desk.tracker():
            assert (await waiting).task_id == tasks[-1].task_id
        with Database(desk.settings.database) as database:
            assert database.counts()[State.SUCCEEDED] == 50
        await holds(desk, desk.topology.tracker_queue, 0)

    play(scene)


async def holds(desk: Desk, queue: str, *counts: int) -> None:
    """Wait until so many messages are ready on a queue. What its consumer didn't acknowledge is, once that is gone."""
    session = await open_session(desk.node.url, name="counts")
    channel = await session.channel()
    await eventually(lambda: channel.count(queue), lambda ready: ready in counts)
    await session.close()


def test_a_task_for_a_lane_that_does_not_exist_ends_as_unroutable(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit(lane="nowhere")
            end = await desk.outcome(task.task_id)
            assert end.status is Status.FAILED
            assert end.failure is not None
            assert end.failure.type == "Unroutable"
            assert "image.thumbnail.nowhere" in end.failure.message
            record = await desk.recorded(task.task_id, State.FAILED)
            assert record.lane == "nowhere"

    play(scene)


def test_a_task_that_no_worker_survives_ends_at_its_delivery_limit(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit()

            def lose(delivery: Delivery) -> None:
                worker.reject(delivery, requeue=True)

            queue = desk.topology.task_queue("image")
            worker = Consumer(desk.node.url, desk.topology, name="lost", queues={queue: 1}, on_delivery=lose)
            async with worker:
                end = await desk.outcome(task.task_id)
            assert end.failure is not None
            assert end.failure.type == "DeliveryLimitExceeded"

    play(scene)


def test_a_message_that_nobody_can_read_is_set_aside_and_the_tracker_goes_on(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            broken = await desk.submit()
            await desk.recorded(broken.task_id, State.QUEUED)
            await desk.event("worker.heartbeat", b"\xc1", "broken-heartbeat")
            await desk.event(finished_key("c"), b"\xc1", f"{broken.task_id}/1")
            task = await desk.submit()
            await desk.finish(task)
            await desk.outcome(task.task_id)
            end = await desk.outcome(broken.task_id)
            assert end.failure is not None
            assert end.failure.type == "Unreadable"
        assert "broken-heartbeat" in caplog.text
        await holds(desk, desk.topology.dead_queue, 2)

    play(scene)


def test_nothing_is_acknowledged_while_the_database_is_locked_and_all_is_recorded_after(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "DRAIN_TIMEOUT", 0.1)
    monkeypatch.setattr(batcher, "LONGEST_PAUSE", 0.1)

    async def scene(desk: Desk) -> None:
        lock = sqlite3.connect(desk.path, isolation_level=None)
        async with desk.tracker() as tracker:
            with tracker._database._write() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout=1")
            lock.execute("BEGIN IMMEDIATE")
            tasks = [await desk.submit() for _ in range(10)]
            await until(lambda: "locked" in caplog.text, what="a commit that failed")
            assert await desk.record(tasks[0].task_id) is None  # and it still answers
        await holds(desk, desk.topology.tracker_queue, 11)  # the tasks, and the news that the tracker is there
        lock.execute("ROLLBACK")
        async with desk.tracker():
            for task in tasks:
                await desk.recorded(task.task_id, State.QUEUED)
        lock.close()

    play(scene)


def test_workers_and_their_operations_are_told(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            news = WorkerOnline(worker="w", host="h", pid=1, families=("image",), slots=2, at=utcnow())
            await desk.event("worker.online", encode(news))
            workbench = await eventually(lambda: desk.ask(rpc.GetWorkbench()), lambda told: told.workers)
            assert workbench.workers[0].online
            assert workbench.store == "/store"

    play(scene)


def test_a_tracker_that_takes_over_says_so(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        heard: list[object] = []
        consumer = Consumer(
            desk.node.url,
            desk.topology,
            name="c",
            queues={desk.topology.client_queue("c"): 10},
            declare=desk.topology.client("c"),
            on_delivery=lambda delivery: heard.append(decode(delivery.body)),
        )
        async with consumer:
            await consumer.connection.wait_open(LONG)
            async with desk.tracker():
                await until(lambda: any(isinstance(event, TrackerOnline) for event in heard))

    play(scene)


@contextlib.asynccontextmanager
async def program(desk: Desk, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A tracker as a process of its own."""
    code = f"import asyncio, workbench.tracker.service as s; asyncio.run(s.run(s.Settings.load(), name={name!r}))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={**os.environ, **desk.settings.as_environ()}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_one_tracker_is_active_and_another_takes_over_when_it_is_killed(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with program(desk, "first") as first:
            assert (await desk.ask(rpc.GetStats())).tracker == "first"
            async with program(desk, "second") as second:
                first.kill()
                task = await desk.submit()
                await desk.recorded(task.task_id, State.QUEUED)
                assert (await desk.ask(rpc.GetStats())).tracker == "second"
                second.terminate()
                assert await asyncio.wait_for(second.wait(), LONG) == 0
        async with Lock(desk.node.url, desk.topology.tracker_lock, name="test"):
            pass  # it is free

    play(scene)


def test_a_tracker_that_stands_by_ends_with_a_signal_too(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with Lock(desk.node.url, desk.topology.tracker_lock, name="test"), program(desk, "idle") as idle:
            await eventually(lambda: asyncio.to_thread(desk.path.exists), bool)  # it has begun
            idle.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(idle.wait(), LONG) == 0

    play(scene)


def test_a_stopped_tracker_has_recorded_what_it_acknowledged(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            await asyncio.gather(*[desk.submit() for _ in range(500)])
        with Database(desk.settings.database) as database:
            recorded = database.counts()[State.QUEUED]
        # The tracker's own news may lie there too, if it was stopped before that came back to it.
        await holds(desk, desk.topology.tracker_queue, 500 - recorded, 501 - recorded)

    play(scene)
