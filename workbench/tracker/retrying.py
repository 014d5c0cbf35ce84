"""`Retrying`: tasks that have ended otherwise than well are published again, as a new replay, from the tracker's copy.

The replay's number and attempt follow from the record, so that two that are asked for at once are one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import msgspec

from workbench.broker import Outgoing, Publisher, Topology
from workbench.broker.letters import replayed
from workbench.core.messages import Task, decode_task, encode, utcnow
from workbench.core.routing import routing_key
from workbench.core.rpc import Retried
from workbench.core.states import TaskRecord
from workbench.tracker.database import Database
from workbench.tracker.detail import retryable

_PATIENCE = 8.0
"""Seconds for the broker to confirm: less than who asks waits for the answer."""

_MOST_SENT = 100_000


class Retrying:
    """Sends tasks again.

    Parameters
    ----------
    database
        Asked in `thread`.
    publisher, topology
        The way to the broker.
    """

    def __init__(self, database: Database, *, thread: Executor, publisher: Publisher, topology: Topology) -> None:
        self._database = database
        self._thread = thread
        self._publisher = publisher
        self._topology = topology
        # The replay that is on its way to the record, by task id, and what is done once the broker has it: who asks for
        # the same meanwhile waits for the same.
        self._sent: dict[str, tuple[int, asyncio.Future[None]]] = {}

    async def retry(self, task_ids: Sequence[str]) -> Retried:
        """Publish tasks again; one that isn't confirmed in time is refused, and may be on its way all the same."""
        loop = asyncio.get_running_loop()
        known = await loop.run_in_executor(self._thread, self._database.sent, task_ids)
        refused: dict[str, str] = {}
        sent: dict[str, int] = {}
        asked: dict[str, tuple[int, asyncio.Future[None]]] = {}
        for task_id in dict.fromkeys(task_ids):
            record, message = known.get(task_id, (None, None))
            if record is not None and task_id in self._sent and self._sent[task_id][0] > record.replay:
                asked[task_id] = self._sent[task_id]
            elif (why := _refusal(record, message)) or record is None or message is None:
                refused[task_id] = why
            else:
                task = again(record, decode_task(message))
                asked[task_id] = self._sent[task_id] = task.replay, asyncio.ensure_future(self._publish(task))
        if asked:
            await asyncio.wait([future for _, future in asked.values()], timeout=_PATIENCE)
        for task_id, (replay, future) in asked.items():
            if not future.done() or future.cancelled() or future.exception() is not None:
                future.cancel()
                self._sent.pop(task_id, None)
                failed = future.done() and not future.cancelled()
                why = str(future.exception()) if failed else f"the broker hasn't confirmed it within {_PATIENCE:g} s"
                refused[task_id] = why
            else:
                sent[task_id] = replay
        while len(self._sent) > _MOST_SENT:
            del self._sent[next(iter(self._sent))]
        return Retried(sent=sent, refused=refused)

    async def _publish(self, task: Task) -> None:
        key = routing_key(task.operation, task.lane)
        await self._publisher.publish(Outgoing(self._topology.submit, key, encode(task), message_id=task.task_id))


def again(record: TaskRecord, task: Task) -> Task:
    """Return the message that sends an ended task again: the next replay, and the attempt after the last."""
    known = msgspec.structs.replace(
        task, attempt=max(1, record.attempt, task.attempt), replay=max(record.replay, task.replay)
    )
    return replayed(known, utcnow())


def _refusal(record: TaskRecord | None, message: bytes | None) -> str:
    if record is None:
        return "the tracker has no such task"
    if not record.state.terminal:
        return f"it hasn't ended: it is {record.state.value}"
    if not retryable(record):
        return "it has succeeded"
    return "" if message is not None else "its message is kept no more"
