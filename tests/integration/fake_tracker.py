"""A tracker of a few lines, for tests of the client: it consumes the real queues, folds, and answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from workbench.broker import Consumer, Delivery, Outgoing, Publisher, Topology
from workbench.broker.topology import finished_key
from workbench.client.bridge import LoopThread
from workbench.core import messages, rpc
from workbench.core.messages import CancelRequested, Status, Task, TaskFinished, TaskStarted
from workbench.core.states import TaskRecord, fold


class FakeTracker:
    """Records facts about tasks from the queue `tracker` and answers requests, on a loop of its own.

    Parameters
    ----------
    on_cancel
        Called with each intent to cancel, once it is recorded; what it returns is published as outcomes.
    """

    def __init__(
        self, url: str, topology: Topology, on_cancel: Callable[[CancelRequested], TaskFinished | None] | None = None
    ) -> None:
        self.records: dict[str, TaskRecord] = {}
        self.outcomes: dict[str, TaskFinished] = {}
        self.cancels: list[CancelRequested] = []
        self.asked: list[rpc.AnyRequest] = []
        self.why = "It waits for a worker."
        self.attempts: tuple[rpc.AttemptRecord, ...] = ()
        self.silent = False
        self._on_cancel = on_cancel
        self._topology = topology
        self._thread = LoopThread("fake tracker")
        self._thread.run(self._make(url)).result(10)

    async def _make(self, url: str) -> None:
        self._publisher = Publisher(url, self._topology, name="fake tracker publishes")
        queues = {self._topology.rpc_queue: 100, self._topology.tracker_queue: 100}
        self._consumer = Consumer(
            url, self._topology, name="fake tracker consumes", queues=queues, on_delivery=self._on_delivery
        )

    def __enter__(self) -> Self:
        self._thread.run(self._open()).result(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._close()).result(30)
        self._thread.stop()

    async def _open(self) -> None:
        for part in (self._publisher, self._consumer):
            part.connection.start()
            await part.connection.wait_open(20)

    async def _close(self) -> None:
        await self._consumer.close()
        await self._publisher.close()

    def tell(self, fact: TaskStarted | TaskFinished) -> None:
        """Publish a fact, as a worker would."""
        key = finished_key(fact.client) if isinstance(fact, TaskFinished) else "task.started"
        event = messages.TasksStarted(starts=(fact,)) if isinstance(fact, TaskStarted) else fact
        self._thread.loop.call_soon_threadsafe(
            self._publisher.publish_nowait, Outgoing(self._topology.events, key, messages.encode(event))
        )

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.queue == self._topology.rpc_queue:
            self._on_request(delivery)
        else:
            self._on_fact(messages.decode(delivery.body))
        self._consumer.ack(delivery)

    def _on_fact(self, event: Task | messages.Event) -> None:
        facts = event.starts if isinstance(event, messages.TasksStarted) else (event,)
        for fact in facts:
            if not isinstance(fact, Task | TaskStarted | TaskFinished | CancelRequested):
                continue
            self.records[fact.task_id] = fold(self.records.get(fact.task_id), fact)
            if isinstance(fact, TaskFinished) and fact.status is not Status.RETRY:
                self.outcomes[fact.task_id] = fact
            if isinstance(fact, CancelRequested):
                self.cancels.append(fact)
                end = self._on_cancel(fact) if self._on_cancel is not None else None
                if end is not None:
                    self.tell(end)

    def _on_request(self, delivery: Delivery) -> None:
        request = rpc.decode_request(delivery.body)
        self.asked.append(request)
        if not self.silent:
            self._publisher.reply(delivery.reply_to, delivery.correlation_id, rpc.encode(self._answer(request)))

    def _answer(self, request: rpc.AnyRequest) -> rpc.AnyAnswer:
        match request:
            case rpc.GetTasks(task_ids=ids):
                return rpc.Tasks(records=tuple(self.records[each] for each in ids if each in self.records))
            case rpc.ListTasks():
                return rpc.Tasks(records=tuple(self.records.values()))
            case rpc.GetOutcomes(task_ids=ids):
                ended = tuple(self.outcomes[each] for each in ids if each in self.outcomes)
                return rpc.Outcomes(ended=ended, unknown=tuple(each for each in ids if each not in self.records))
            case rpc.GetWhy(task_id=task_id):
                return rpc.Why(sentence=self.why if task_id in self.records else "")
            case rpc.GetAttempts():
                return rpc.Attempts(attempts=self.attempts)
            case rpc.PinTasks(task_ids=ids):
                return rpc.TaskIds(task_ids=tuple(each for each in ids if each in self.records))
        return rpc.Problem(message=f"this fake doesn't answer {type(request).__name__}")


def outcome(record: TaskRecord, status: Status, **changes: object) -> TaskFinished:
    """Return how a task ended."""
    end = TaskFinished(
        task_id=record.task_id,
        operation=record.operation,
        client=record.client,
        attempt=max(1, record.attempt),
        status=status,
        finished_at=messages.utcnow(),
        replay=record.replay,
        result=b"\x01" if status is Status.SUCCEEDED else None,
    )
    return msgspec.structs.replace(end, **changes)


def wait_for_asked(tracker: FakeTracker, kind: type[rpc.Request], count: int = 1) -> None:
    """Wait until the tracker was asked something so often."""
    deadline = time.monotonic() + 20
    while sum(isinstance(each, kind) for each in tracker.asked) < count:
        assert time.monotonic() < deadline, f"{kind.__name__} was never asked {count} times"
        time.sleep(0.01)
