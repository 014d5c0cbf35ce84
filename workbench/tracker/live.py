"""`LiveAnswers`: what live views ask, from the aggregates where they tell, else from the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from typing import TypeVar

from workbench.core import rpc
from workbench.core.live import Detail, Health
from workbench.core.messages import utcnow
from workbench.tracker.aggregates import Aggregates
from workbench.tracker.database import Database
from workbench.tracker.detail import detail
from workbench.tracker.groups import Moves
from workbench.tracker.queues import QueueLooks
from workbench.tracker.retrying import Retrying
from workbench.tracker.views import brief

R = TypeVar("R")


class LiveAnswers:
    """Answers live views.

    Parameters
    ----------
    aggregates, database
        Where the answers come from; the database is asked in `thread`, and written in `write`.
    queues
        Looks at the broker's queues.
    retrying
        Sends tasks again.
    name
        The tracker's.
    pending
        Tells how many messages have come in and aren't recorded.
    lag
        Tells how many seconds the record is behind.
    blocked
        Tells why the broker takes nothing in; empty where it does.
    """

    def __init__(
        self,
        aggregates: Aggregates,
        database: Database,
        *,
        thread: Executor,
        write: Executor,
        queues: QueueLooks,
        retrying: Retrying,
        name: str,
        pending: Callable[[], int],
        lag: Callable[[], float],
        blocked: Callable[[], str],
    ) -> None:
        self._aggregates = aggregates
        self._database = database
        self._thread = thread
        self._write = write
        self._queues = queues
        self._retrying = retrying
        self._name = name
        self._pending = pending
        self._lag = lag
        self._blocked = blocked
        self._started_at = utcnow()
        self.last_event_at: datetime | None = None

    async def answer(self, request: rpc.LiveRequest) -> rpc.AnyAnswer:
        """Answer one request."""
        match request:
            case rpc.GetChanges():
                return self._changes(request)
            case rpc.SearchTasks():
                return await self._search(request)
            case rpc.GetDetail(task_id=task_id):
                return rpc.TaskDetail(detail=await self._in(self._thread, lambda: self._detail(task_id)))
            case rpc.GetQueues():
                return await self._queues.look()
            case rpc.GetFailures(limit=limit):
                return await self._failures(limit)
            case rpc.RetryTasks(task_ids=task_ids):
                return await self._retrying.retry(task_ids)
            case rpc.DismissFailures(group=group, limit=limit):
                ids = await self._in(self._write, lambda: self._database.dismiss(group, most=limit))
                self._aggregates.groups.learn(Moves([group] * len(ids), []))
                return rpc.TaskIds(task_ids=tuple(ids))

    def health(self) -> Health:
        """Return how the tracker and its broker do."""
        return Health(
            tracker=self._name,
            started_at=self._started_at,
            now=utcnow(),
            last_event_at=self.last_event_at,
            pending=self._pending(),
            lag=self._lag(),
            blocked=self._blocked(),
        )

    def _changes(self, request: rpc.GetChanges) -> rpc.Changes:
        news = self._aggregates.since(request.mark, utcnow(), seconds=request.seconds, most=request.executions)
        return rpc.Changes(
            mark=news.mark,
            anew=news.anew,
            health=self.health(),
            states=self._aggregates.states(),
            counters=news.counters,
            buckets=news.buckets,
            executions=news.executions,
            left=news.left,
            skipped=news.skipped,
            failures=self._aggregates.groups.total,
            workers=news.workers,
        )

    async def _search(self, request: rpc.SearchTasks) -> rpc.Page:
        counts = self._aggregates.counts()
        found = await self._in(
            self._thread,
            lambda: self._database.search(request.filter, counts, before=request.before, limit=request.limit),
        )
        return rpc.Page(
            records=tuple(brief(record) for record in found.records),
            total=found.total,
            exact=found.exact,
            before=found.before,
            unfinished=found.unfinished,
        )

    async def _failures(self, limit: int) -> rpc.Failures:
        groups = self._aggregates.groups
        if worn := list(groups.worn):
            # In the thread that writes: between two batches, so that none is counted twice.
            groups.recount(await self._in(self._write, lambda: self._database.counted_groups(worn)), worn)
        newest, total_groups, total = groups.newest(limit), len(groups), groups.total
        told = await self._in(self._thread, lambda: self._database.told_groups(newest))
        return rpc.Failures(groups=told, total_groups=total_groups, total=total)

    def _detail(self, task_id: str) -> Detail | None:
        records = self._database.records([task_id])
        if not records:
            return None
        message, outcome = self._database.message(task_id)
        return detail(records[0], self._database.attempts(task_id), message, outcome)

    async def _in(self, thread: Executor, question: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(thread, question)
