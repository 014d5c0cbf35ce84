"""One worker in the test's own process, on a real broker, with nobody else: tasks go in, outcomes come out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.support import until
from workbench.broker import Consumer, Delivery, Outgoing, Publisher, Topology
from workbench.broker.node import Node
from workbench.broker.topology import ALL_WORKERS, families
from workbench.core import control, rpc
from workbench.core.control import CancelTasks
from workbench.core.ids import new_task_id
from workbench.core.messages import (
    Task,
    TaskFinished,
    TaskProgress,
    TasksFinished,
    TasksStarted,
    decode,
    encode,
    utcnow,
)
from workbench.core.settings import Settings
from workbench.core.states import TaskRecord
from workbench.worker.options import Options
from workbench.worker.service import Worker

OPERATIONS = "tests.integration.user_operations"


def task(operation: str, *args: object, **fields: Any) -> Task:
    """Make a task as a producer would."""
    now = utcnow()
    raw = tuple(msgspec.Raw(msgspec.msgpack.encode(arg)) for arg in args)
    return Task(
        task_id=new_task_id(),
        operation=operation,
        args=raw,
        client="c",
        submitted_at=now,
        queued_at=now,
        **fields,
    )


class Stage:
    """A worker, tasks for it, and the outcomes it tells; a tracker that answers what the test has it answer."""

    def __init__(self, node: Node, topology: Topology, worker: Worker, told: Told) -> None:
        self.topology = topology
        self.worker = worker
        self.told = told
        self.publisher = Publisher(node.url, topology, name="submits", declare=families(topology, ("text", "bad")))

    async def submit(self, task: Task, **headers: str) -> None:
        """Submit a task; headers travel with it."""
        await self.publisher.publish(
            Outgoing(self.topology.submit, task.operation, encode(task), message_id=task.task_id, headers=headers)
        )

    async def order_cancelled(self, task: Task) -> None:
        """Order all workers to end a task."""
        order = control.encode(CancelTasks(tasks=((task.task_id, task.replay),), reason="the test says so"))
        await self.publisher.publish(Outgoing(self.topology.control, ALL_WORKERS, order, message_id="order"))

    async def ends(self, task: Task) -> TaskFinished:
        """Wait for the outcome of a task."""
        found = self.told.outcomes
        await until(lambda: any(outcome.task_id == task.task_id for outcome in found), what=f"{task.operation} ends")
        return next(outcome for outcome in found if outcome.task_id == task.task_id)

    async def starts(self, task: Task) -> None:
        """Wait until a task is told to run."""
        await until(lambda: task.task_id in self.told.started, what=f"{task.operation} starts")

    async def settles(self) -> None:
        """Wait until the worker holds nothing any more."""
        await until(lambda: self.worker._roster.held == 0, what="the worker has acknowledged everything")


class Told:
    """What the worker tells, and what it is told by the part of the tracker."""

    def __init__(self, node: Node, topology: Topology) -> None:
        self.outcomes: list[TaskFinished] = []
        self.started: list[str] = []
        self.progress: list[TaskProgress] = []
        self.letters: list[Delivery] = []
        self.cancelled: list[tuple[str, int]] = []
        self.records: dict[str, TaskRecord] = {}
        self._topology = topology
        self._publisher = Publisher(node.url, topology, name="answers")
        self._consumer = Consumer(
            node.url,
            topology,
            name="listens",
            queues={topology.tracker_queue: 100, topology.tracker_dead_queue: 100, topology.rpc_queue: 100},
            on_delivery=self._on_delivery,
        )

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        await self._consumer.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.close()
        await self._publisher.close()

    def _on_delivery(self, delivery: Delivery) -> None:
        self._consumer.ack(delivery)
        if delivery.queue == self._topology.rpc_queue:
            answer = self._answer(rpc.decode_request(delivery.body))
            self._publisher.reply(delivery.reply_to, delivery.correlation_id, rpc.encode(answer))
        elif delivery.queue == self._topology.tracker_dead_queue:
            self.letters.append(delivery)
        else:
            match decode(delivery.body):
                case TasksFinished(outcomes=outcomes):
                    self.outcomes += outcomes
                case TasksStarted(starts=starts):
                    self.started += [start.task_id for start in starts]
                case TaskProgress() as progress:
                    self.progress.append(progress)

    def _answer(self, request: rpc.AnyRequest) -> rpc.AnyAnswer:
        match request:
            case rpc.GetCancelled():
                return rpc.Cancelled(tasks=tuple(self.cancelled))
            case rpc.GetTasks(task_ids=task_ids):
                return rpc.Tasks(records=tuple(self.records[name] for name in task_ids if name in self.records))
            case _:
                return rpc.Problem(message="this isn't a whole tracker")


def play(
    node: Node,
    topology: Topology,
    store: Path,
    scene: Callable[[Stage], Awaitable[None]],
    *,
    slots: int = 1,
    ack_timeout: float | None = None,
    name: str | None = None,
) -> None:
    """Play a scene with one worker in this process."""

    async def run() -> None:
        settings = Settings(
            broker_url=node.url, namespace=topology.namespace, store=str(store), ack_timeout=ack_timeout
        )
        options = Options(families=("text", "bad"), include=(OPERATIONS,), slots=slots, grace=10.0, name=name)
        async with Told(node, topology) as told, Worker(settings, options) as worker:
            await worker._publisher.connection.wait_open(30)  # its queue for orders is there
            stage = Stage(node, topology, worker, told)
            async with stage.publisher:
                await scene(stage)

    asyncio.run(run())
