"""`Live`: what a live view of a workbench asks, once a second, and what can be done from there.

A view costs what has changed since it asked last, however many tasks there are.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from datetime import datetime
from typing import Any, TypeVar

from workbench.broker.topology import worker_key
from workbench.client import bridge
from workbench.client.engine import Engine
from workbench.client.targets import Targets, check_ids, ids_of
from workbench.core import control, rpc
from workbench.core.errors import TaskNotFound
from workbench.core.live import Detail, Mark
from workbench.core.rpc import Changes, Failures, Filter, Page, Queues, Retried
from workbench.core.states import State

TIMEOUT = 10.0
DISCARDING = 120.0
TOGETHER = 1000
"""Tasks that are sent again with one request."""

A = TypeVar("A", bound=rpc.AnyAnswer)
R = TypeVar("R")


class Live:
    """What a live view asks: `client.live`. Every method raises `TrackerUnavailable` where no tracker answers.

    Parameters
    ----------
    engine
        The client's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- to look at -------------------------------------------------------------------------------

    async def changes(self, mark: Mark | None = None, *, seconds: int = 600, executions: int = 5000) -> Changes:
        """Return what has changed since a mark: counters, one-second buckets, executions and workers.

        Parameters
        ----------
        mark
            That of the last answer; None to begin with everything.
        seconds
            How far back buckets go where everything is told; up to 3,600.
        executions
            How many at most, the newest; up to 50,000.
        """
        request = rpc.GetChanges(mark=mark or Mark(), seconds=seconds, executions=executions)
        return await self._ask(request, Changes)

    async def search(
        self,
        *,
        states: Iterable[State | str] = (),
        operation: str | None = None,
        worker: str | None = None,
        text: str = "",
        group: str | None = None,
        submitted_from: datetime | None = None,
        submitted_before: datetime | None = None,
        argument: str = "",
        before: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Return a page of the tasks that match all of this, the newest first, and how many match.

        Parameters
        ----------
        states
            Any of these; empty for all.
        operation
            An operation, or a family.
        worker
            The worker that had the last attempt.
        text
            Part of an operation's, a worker's or an exception's name or place, or the first eight or more characters
            of a task id; case doesn't matter.
        group
            The id of a group of failures.
        submitted_from, submitted_before
            Aware datetimes.
        argument
            Part of a text in the arguments, such as a file's name; the case of ASCII's letters doesn't matter. The
            tracker looks through the messages that it keeps, back in time, for a fraction of a second. A page that
            isn't full by then is `unfinished`: the next one goes on.
        before
            The last page's `before`, for the next page.
        limit
            Records on the page, up to 1,000.
        """
        chosen = Filter(
            states=tuple(State(state) for state in states),
            operation=operation,
            worker=worker,
            text=text,
            group=group,
            submitted_from=submitted_from,
            submitted_before=submitted_before,
            argument=argument,
        )
        return await self._ask(rpc.SearchTasks(filter=chosen, before=before, limit=limit), Page)

    async def detail(self, task_id: str) -> Detail:
        """Return one task with its arguments, its result and its story, in bounded text.

        Raises
        ------
        TaskNotFound
            If the tracker has no such task.
        """
        detail = (await self._ask(rpc.GetDetail(task_id=task_id), rpc.TaskDetail)).detail
        if detail is None:
            raise TaskNotFound(f"the tracker has no task {task_id}")
        return detail

    async def queues(self) -> Queues:
        """Return what is on the broker's queues, who takes from them, and how fast; at most a second old."""
        return await self._ask(rpc.GetQueues(), Queues)

    async def failures(self, limit: int = 200) -> Failures:
        """Return failed tasks in groups by operation, exception and place, the latest first."""
        return await self._ask(rpc.GetFailures(limit=limit), Failures)

    # --- to do ------------------------------------------------------------------------------------

    async def retry(self, tasks: Targets) -> Retried:
        """Send tasks again that have failed, expired or been cancelled: as a new replay, with their history.

        Their dead letters, where they have any, are taken off the queue `dead`.

        Returns
        -------
        Retried
            Which were sent, and why the others weren't: one that hasn't ended, or whose message has been swept.
        """
        task_ids = ids_of(tasks)
        check_ids(task_ids)
        return await self._run(self._retry(task_ids))

    async def retry_group(self, group: str) -> Retried:
        """Send all tasks of a group of failures again, as `retry` does."""
        return await self._run(self._retry_group(group))

    async def discard_group(self, group: str) -> int:
        """Take a group of failures off the list, and its dead letters off their queue; return how many tasks it had.

        The tasks stay failed, and on record. One that fails like this later on begins the group anew.
        """
        return await self._run(self._discard_group(group))

    async def drain(self, worker: str) -> int:
        """Let a worker take nothing more, end what it runs, and stop; return how many tasks it still runs.

        What doesn't end within the worker's grace time goes back to its queue. The worker stays away until it's started
        again: by `workbench resume`, where `workbench up` started it.

        Raises
        ------
        NobodyThere
            If no such worker is connected.
        """
        return await self._run(self._drain(worker))

    # --- on the engine's loop ---------------------------------------------------------------------

    async def _retry(self, task_ids: Iterable[str]) -> Retried:
        sent: dict[str, int] = {}
        refused: dict[str, str] = {}
        left = list(dict.fromkeys(task_ids))
        for first in range(0, len(left), TOGETHER):
            answer = await self._ask(rpc.RetryTasks(task_ids=tuple(left[first : first + TOGETHER])), Retried)
            sent |= answer.sent
            refused |= answer.refused
        if sent:
            await self._engine.dead_letters.purge(
                lambda letter: letter.replay < sent.get(letter.task_id, 0), timeout=DISCARDING
            )
        return Retried(sent=sent, refused=refused)

    async def _retry_group(self, group: str) -> Retried:
        return await self._retry(await self._members(group))

    async def _discard_group(self, group: str) -> int:
        dismissed: set[str] = set()
        while True:
            answer = await self._ask(rpc.DismissFailures(group=group), rpc.TaskIds)
            dismissed.update(answer.task_ids)
            if not answer.task_ids:
                break
        if dismissed:
            await self._engine.dead_letters.purge(lambda letter: letter.task_id in dismissed, timeout=DISCARDING)
        return len(dismissed)

    async def _members(self, group: str) -> list[str]:
        found: list[str] = []
        before = None
        while True:
            request = rpc.SearchTasks(filter=Filter(group=group), before=before, limit=TOGETHER)
            page = await self._ask(request, Page)
            found += [record.task_id for record in page.records]
            if (before := page.before) is None:
                return found

    async def _drain(self, worker: str) -> int:
        order = control.encode(control.Drain())
        exchange, key = self._engine.topology.control, worker_key(worker)
        return control.decode_draining(await self._engine.call(order, TIMEOUT, exchange=exchange, key=key)).running

    async def _run(self, work: Coroutine[Any, Any, R]) -> R:
        return await bridge.wait(self._engine.run(work))

    async def _ask(self, request: rpc.AnyRequest, kind: type[A]) -> A:
        return await bridge.wait(self._engine.ask(request, kind, TIMEOUT))
