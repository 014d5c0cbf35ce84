"""`Strays`: tasks whose message is nowhere any more, as where their queue was deleted. They are published again.

The broker is trusted with every task, so this is for what befalls the broker: a queue deleted by hand, a node that lost
its data. What a stray is, is decided by two looks that are far enough apart for whatever else may have its message (a
worker that is about to say so, a copy that waits for its holder, a tracker that has yet to hear of it). A task that is
published again in error runs twice at the worst, and ends once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable
from datetime import datetime

import msgspec

from workbench.broker import Outgoing
from workbench.broker.inspect import QueueDepth
from workbench.core import headers
from workbench.core.errors import WorkbenchError
from workbench.core.messages import Task, decode_task, encode, utcnow
from workbench.core.routing import family_of, routing_key
from workbench.core.rpc import WorkerRecord
from workbench.core.states import State, TaskRecord
from workbench.tracker.access import Access
from workbench.tracker.workers import takes

logger = logging.getLogger(__name__)

LOOK = 20.0
"""Seconds between two looks."""

APART = 90.0
"""Seconds between the two looks that make a stray: more than a copy of a long task waits (`worker.lease`), and than a
lost worker stays unnoticed."""

MOST = 10_000
"""Tasks looked at, the oldest of those that wait: where more do, strays among them are found once these are done."""

_PATIENCE = 30.0  # seconds for the broker to confirm

Queue = tuple[str, str | None]
"""A family, and its lane."""


class Strays:
    """Finds them and publishes them again, from `run` to its cancelling.

    Parameters
    ----------
    access
        What it works with.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._loop = asyncio.get_running_loop()
        self._suspects: dict[str, float] = {}  # by task id: when it was found to be nowhere first

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._look()
            except (WorkbenchError, TimeoutError) as error:
                logger.info("looking for stray tasks has to wait: %s", error or "the broker confirms nothing")
            except Exception:
                logger.exception("looking for stray tasks failed this time")

    async def _look(self) -> None:
        found: set[str] = set()
        for state in (State.QUEUED, State.RETRYING):
            found |= await self._nowhere(state)
        now = self._loop.time()
        self._suspects = {task_id: self._suspects.get(task_id, now) for task_id in found}
        for task_id in sorted(found):
            if now - self._suspects[task_id] >= APART:
                del self._suspects[task_id]
                await self._send(task_id)

    async def _nowhere(self, state: State) -> set[str]:
        """Return the tasks of this state whose message is nowhere, for all that can be seen just now."""
        waiting = await self._access.ask(functools.partial(self._access.database.waiting, state, most=MOST))
        if not waiting or not await self._access.up_to_date():
            return set()
        now = utcnow()
        workers = await self._access.ask(functools.partial(self._access.database.workers, now=now))
        depths: dict[Queue, QueueDepth | None] = {}
        found = set()
        for record in waiting:
            queue = family_of(record.operation), record.lane
            if queue not in depths:
                depths[queue] = await self._access.inspector.depth(self._access.topology.task_queue(*queue))
            if is_nowhere(record, depths[queue], workers, now=now):
                found.add(record.task_id)
        return found

    async def _send(self, task_id: str) -> None:
        # Looked at once more: it may have been taken up since.
        records = await self._access.ask(functools.partial(self._access.database.records, [task_id]))
        body = await self._access.ask(functools.partial(self._access.database.task, task_id))
        if not records or body is None or (again := copy_of(records[0], decode_task(body), utcnow())) is None:
            return
        logger.warning("task %s lies on no queue, and nobody runs it: publishing it again", task_id)
        await self._access.publisher.declare(
            self._access.topology.family(family_of(again.operation), again.lane), again=True
        )
        key = routing_key(again.operation, again.lane)
        async with asyncio.timeout(_PATIENCE):
            await self._access.publisher.publish(
                Outgoing(
                    self._access.topology.submit, key, encode(again), message_id=task_id, headers={headers.AGAIN: True}
                )
            )


def is_nowhere(record: TaskRecord, depth: QueueDepth | None, workers: Iterable[WorkerRecord], *, now: datetime) -> bool:
    """Whether a task that waits has no message, by what can be seen at one moment.

    Parameters
    ----------
    record
        Of a task that is queued, or waits for its next attempt.
    depth
        Of its queue; None where that isn't there.
    workers
        All that are known. One whose slots are all busy may hold the message.
    now
        The time.
    """
    if record.cancel_at is not None or record.submitted_at is None:
        return False
    if record.state is State.RETRYING:
        return record.retry_at is not None and record.retry_at < now
    if depth is not None and depth.ready:
        return False
    return not any(
        worker.online and worker.busy >= worker.slots and takes(worker, record.operation, record.lane)
        for worker in workers
    )


def copy_of(record: TaskRecord, task: Task, now: datetime) -> Task | None:
    """Return what to publish of a task that waits, from the newest copy of it that was seen; None where it doesn't."""
    match record.state:
        case State.QUEUED:
            return msgspec.structs.replace(task, attempt=max(1, record.attempt))
        case State.RETRYING:
            return msgspec.structs.replace(task, attempt=record.attempt + 1, queued_at=now)
    return None
