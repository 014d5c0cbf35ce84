"""Who waits for the outcome of which task: bookkeeping on the event loop, no database and no broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping

from workbench.core.messages import TaskFinished


class Wait:
    """One parked request: the tasks it asks for, and those that have ended since it was opened."""

    __slots__ = ("_news", "ended", "task_ids")

    def __init__(self, task_ids: Iterable[str]) -> None:
        self.task_ids = tuple(dict.fromkeys(task_ids))
        self.ended: dict[str, TaskFinished] = {}
        self._news = asyncio.Event()

    def tell(self, outcome: TaskFinished) -> None:
        """Add an outcome, and wake whoever waits."""
        self.ended[outcome.task_id] = outcome
        self._news.set()

    async def news(self, timeout: float) -> bool:
        """Wait for an outcome, at most `timeout` seconds. Returns whether there is one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()
        return bool(self.ended)


class Waiting:
    """Every open wait, by the tasks it is for."""

    def __init__(self) -> None:
        self._by_task: dict[str, set[Wait]] = {}
        self._open = 0

    def __repr__(self) -> str:
        return f"<Waiting: {self._open} open, for {len(self._by_task)} tasks>"

    def __len__(self) -> int:
        return self._open

    @contextlib.contextmanager
    def open(self, task_ids: Iterable[str]) -> Iterator[Wait]:
        """Wait for these tasks. Open it before looking for what is recorded already, so that nothing falls between."""
        wait = Wait(task_ids)
        self._open += 1
        for task_id in wait.task_ids:
            self._by_task.setdefault(task_id, set()).add(wait)
        try:
            yield wait
        finally:
            self._open -= 1
            for task_id in wait.task_ids:
                others = self._by_task[task_id]
                others.discard(wait)
                if not others:
                    del self._by_task[task_id]

    def wake(self, ended: Mapping[str, TaskFinished]) -> None:
        """Tell of outcomes that have just been recorded."""
        if not self._by_task:
            return
        for task_id, outcome in ended.items():
            for wait in self._by_task.get(task_id, ()):
                wait.tell(outcome)
