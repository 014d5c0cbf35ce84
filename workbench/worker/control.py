"""`Control`: orders and questions to this worker, through an exclusive queue on a connection it shares.

It also asks the tracker for the tasks that were cancelled before the worker was there, so that an order reaches workers
that start later. What an order means for a task that runs here is the service's part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from workbench.broker import Publisher, RpcCaller, Topology
from workbench.broker.session import Session
from workbench.core import control, rpc
from workbench.core.control import AskHolder, CancelTasks, Drain, Hold
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_name
from workbench.core.messages import Task

logger = logging.getLogger(__name__)

MOST_CANCELLED = 500_000
PAGE = 10_000
PATIENCE = 2.0
"""Seconds the tracker may take to tell what was cancelled before the worker begins without."""
PAUSE = 5.0

Key = tuple[str, int]


class Control:
    """The worker's ear; a part of a connection, as its publisher's.

    Parameters
    ----------
    publisher
        Answers go through it.
    caller
        Asks the tracker.
    topology, worker
        Whose orders it listens to.
    on_cancel
        Called with the id and the replay of a task that is to end, and the reason.
    holds
        Says what this worker knows of an attempt.
    on_drain
        Called where the worker is to stop; returns how many tasks it still runs.
    """

    def __init__(
        self,
        publisher: Publisher,
        caller: RpcCaller,
        topology: Topology,
        worker: str,
        *,
        on_cancel: Callable[[str, int, str], None],
        holds: Callable[[AskHolder], Hold],
        on_drain: Callable[[], int],
    ) -> None:
        self._publisher = publisher
        self._caller = caller
        self._topology = topology
        self._worker = worker
        self._on_cancel = on_cancel
        self._holds = holds
        self._on_drain = on_drain
        self._queue = topology.control_queue(new_name(worker))
        self._cancelled: dict[Key, str] = {}  # with the reason; until their messages are gone
        self._whose: tuple[tuple[str, ...], str | None] | None = None  # families and lane, once they are known
        self._asking: asyncio.Task[None] | None = None

    def is_cancelled(self, task: Task) -> bool:
        """Whether a task is to be dropped."""
        return (task.task_id, task.replay) in self._cancelled

    def reason(self, task: Task) -> str:
        """Why a task is to be dropped, where that was said."""
        return self._cancelled.get((task.task_id, task.replay), "")

    def dropped(self, task: Task) -> None:
        """Forget a cancelled task: its message is gone."""
        self._cancelled.pop((task.task_id, task.replay), None)

    def remember(self, task_id: str, replay: int, reason: str) -> None:
        """Drop a task when it comes."""
        self._cancelled[task_id, replay] = reason
        if len(self._cancelled) > MOST_CANCELLED:
            del self._cancelled[next(iter(self._cancelled))]

    async def begin(self, families: tuple[str, ...], lane: str | None) -> None:
        """Learn what was cancelled before; where no tracker tells, go on asking while the worker begins."""
        self._whose = families, lane
        try:
            async with asyncio.timeout(PATIENCE):
                await self._catch_up(PATIENCE)
        except (TimeoutError, WorkbenchError) as error:
            why = str(error) or f"nothing heard within {PATIENCE:g} s"
            logger.warning("the tracker doesn't say which tasks are cancelled (%s); asking on", why)
            self._go_on_asking()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _go_on_asking(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_on())

    async def _ask_on(self) -> None:
        while True:
            try:
                await self._catch_up(PAUSE)
            except WorkbenchError as error:
                logger.info("the tracker doesn't say which tasks are cancelled: %s", error)
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _catch_up(self, timeout: float) -> None:
        assert self._whose is not None
        families, lane = self._whose
        after = ""
        while True:
            request = rpc.GetCancelled(families=families, lane=lane, after=after, limit=PAGE)
            answer = await self._caller.ask_tracker(request, rpc.Cancelled, timeout=timeout)
            for task_id, replay in answer.tasks:
                self._on_cancel(task_id, replay, "")
            if len(answer.tasks) < PAGE:
                return
            after = answer.tasks[-1][0]

    # --- connection.Part --------------------------------------------------------------------------

    async def opened(self, session: Session) -> None:
        """Listen."""
        channel = await session.channel()
        await channel.declare(self._topology.control_of(self._worker, self._queue))
        await channel.consume(self._queue, self._heard, auto_ack=True)
        channel.closed.add_done_callback(
            lambda reason: session.drop(f"the channel for orders is closed: {reason.result()}")
        )
        if self._whose is not None:  # orders may have been missed while there was no connection
            self._go_on_asking()

    def lost(self, reason: str) -> None:
        """The queue is gone with its connection; the next one has another."""
        self._queue = self._topology.control_queue(new_name(self._worker))

    def _heard(self, _method: Any, properties: Any, body: bytes) -> None:
        try:
            order = control.decode_order(body)
        except msgspec.DecodeError as error:
            logger.warning("an order can't be read: %s", error)
            return
        match order:
            case CancelTasks(tasks=tasks, reason=reason):
                for task_id, replay in tasks:
                    self._on_cancel(task_id, replay, reason)
            case AskHolder():
                self._reply(properties, control.Holding(hold=self._holds(order)))
            case Drain():
                self._reply(properties, control.Draining(running=self._on_drain()))

    def _reply(self, properties: Any, answer: control.Holding | control.Draining) -> None:
        if properties.reply_to:
            self._publisher.reply(properties.reply_to, properties.correlation_id or "", control.encode(answer))
