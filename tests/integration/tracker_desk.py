"""A client's and a worker's side of the broker, for tests of trackers, which run here or as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tests.support import rabbitmqctl
from workbench.broker import Outgoing, Publisher, RpcCaller, Topology
from workbench.broker.node import Node
from workbench.broker.session import open_session
from workbench.broker.topology import TASK_CANCEL, TASKS_STARTED, finished_key
from workbench.core import rpc
from workbench.core.errors import TrackerUnavailable
from workbench.core.ids import new_task_id
from workbench.core.messages import (
    CancelRequested,
    Status,
    Task,
    TaskFinished,
    TaskStarted,
    WorkerOnline,
    encode,
    utcnow,
)
from workbench.core.settings import Settings
from workbench.core.states import State, TaskRecord
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

    def __init__(self, node: Node, topology: Topology, settings: Settings) -> None:
        self.node = node
        self.topology = topology
        self.settings = settings
        self.caller = RpcCaller(topology)
        self.publisher = Publisher(node.url, topology, name="desk")
        self.publisher.connection.add(self.caller)

    async def submit(self, operation: str = "image.thumbnail", lane: str | None = None, **more: Any) -> Task:
        now = utcnow()
        task = Task(
            task_id=new_task_id(),
            operation=operation,
            client="c",
            submitted_at=now,
            queued_at=now,
            lane=lane,
            **more,
        )
        key = f"{operation}.{lane}" if lane else operation
        await self.publisher.publish(Outgoing(self.topology.submit, key, encode(task), message_id=task.task_id))
        return task

    async def finish(self, task: Task, status: Status = Status.SUCCEEDED, **more: Any) -> TaskFinished:
        end = TaskFinished(
            task_id=task.task_id,
            operation=task.operation,
            client=task.client,
            attempt=task.attempt,
            status=status,
            finished_at=utcnow(),
            worker="w",
            **more,
        )
        await self.event(finished_key(task.client), encode(end), f"{task.task_id}/{task.attempt}")
        return end

    async def event(self, key: str, body: bytes, message_id: str = "") -> None:
        await self.publisher.publish(Outgoing(self.topology.events, key, body, message_id=message_id))

    async def ask(self, request: rpc.AnyRequest) -> Any:
        return rpc.decode_answer(await self.caller.ask(rpc.encode(request), timeout=LONG))

    async def quick(self, request: rpc.AnyRequest) -> Any:
        """Ask as `ask` does, but not for long; None where nobody answers: whoever took the request may be gone."""
        try:
            return rpc.decode_answer(await self.caller.ask(rpc.encode(request), timeout=0.3))
        except TrackerUnavailable:
            return None

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

    async def start(self, task: Task, worker: str = "w", slot: int = 0) -> TaskStarted:
        start = TaskStarted(
            task_id=task.task_id,
            attempt=task.attempt,
            worker=worker,
            slot=slot,
            started_at=utcnow(),
            replay=task.replay,
        )
        await self.event(TASKS_STARTED, encode(start))
        return start

    async def announce(self, worker: str = "w", pid: int = 1) -> None:
        news = WorkerOnline(worker=worker, host="h", pid=pid, families=("image",), slots=2, at=utcnow())
        await self.event("worker.online", encode(news))

    async def cancel(self, task_id: str, **more: Any) -> None:
        await self.event(TASK_CANCEL, encode(CancelRequested(task_id=task_id, at=utcnow(), **more)))

    @contextlib.asynccontextmanager
    async def tracker(self) -> AsyncIterator[Tracker]:
        with Database(self.settings.database) as database:
            async with Tracker(self.settings, database, name="tracker-1") as tracker:
                yield tracker


Scene = Callable[[Desk], Coroutine[Any, Any, None]]
Play = Callable[[Scene], None]


def player(
    node: Node, topology: Topology, database: str, *, store: str = "/store", heartbeat: int | None = None, **more: Any
) -> Play:
    """Return what plays a scene at a desk of its own; `more` are the tracker's settings."""
    url = node.url if heartbeat is None else f"{node.url}?heartbeat={heartbeat}"
    settings = Settings(broker_url=url, namespace=topology.namespace, store=store, database=database, **more)

    def play(scene: Scene) -> None:
        async def all_of_it() -> None:
            desk = Desk(node, topology, settings)
            async with desk.publisher, asyncio.timeout(120):
                await scene(desk)

        asyncio.run(all_of_it())

    return play


async def holds(desk: Desk, queue: str, *counts: int) -> None:
    """Wait until so many messages are ready on a queue. What its consumer didn't acknowledge is, once that is gone."""
    session = await open_session(desk.node.url, name="counts")
    channel = await session.channel()
    await eventually(lambda: channel.count(queue), lambda ready: ready in counts)
    await session.close()


@contextlib.asynccontextmanager
async def program(desk: Desk, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A tracker as a process of its own."""
    code = f"import asyncio, workbench.tracker.run as t; asyncio.run(t.run(t.Settings.load(), name={name!r}))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={**os.environ, **desk.settings.as_environ()}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def connections(desk: Desk) -> str:
    """List the broker's connections."""
    return await asyncio.to_thread(rabbitmqctl, desk.node, "list_connections", "client_properties")
