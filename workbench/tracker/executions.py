"""`Executions`: the attempts of late, each told as it starts and as it ends, by an index that only goes up. No I/O."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import datetime
from typing import NamedTuple

import msgspec

from workbench.core.live import Execution
from workbench.core.states import TERMINAL, State, TaskRecord

KEPT = 50_000
LOST = "lost"


class Told(NamedTuple):
    """Some of what was told of attempts."""

    executions: list[Execution]  # in the order of their index
    last: int  # the index of the last of those tellings: what came after it is left for the next question
    skipped: int  # tellings that are left out, or forgotten


class Executions:
    """A ring of what was told of attempts, and those that run now.

    Parameters
    ----------
    kept
        How many tellings are kept; what runs is kept besides.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.index = 0
        """Of the last that was told."""
        self._ring: deque[Execution] = deque(maxlen=kept)
        self._running: dict[str, Execution] = {}  # by task id

    def add(self, before: TaskRecord | None, after: TaskRecord, now: datetime) -> None:
        """Learn how a task's record has changed."""
        running = self._running.get(after.task_id)
        if after.state is State.RUNNING:
            if running is not None:
                if running.started_at == after.started_at and running.worker == after.worker:
                    return
                self._end(running, LOST, now, "")
            if after.started_at is not None and after.worker:
                self._running[after.task_id] = self._tell(after, None, "running")
            return
        ended_at = after.failed_at if after.state is State.RETRYING else after.finished_at
        if running is None and ended_at is None:
            return
        status = "retry" if after.state is State.RETRYING else after.state.value
        failure = after.failure.type if after.failure is not None else ""
        if running is not None:
            del self._running[after.task_id]
            if ended_at is not None and after.started_at in (running.started_at, None):
                self._end(running, status, ended_at, failure)
                return
            self._end(running, LOST, now, "")
        if ended_at is not None and after.started_at is not None and after.worker and _is_news(before, after):
            self._tell(after, ended_at, status, failure)

    def running(self) -> list[Execution]:
        """Return what runs now."""
        return list(self._running.values())

    def since(self, index: int | None, most: int) -> Told:
        """Return the first that were told after an index, of each execution the last word.

        Without an index those are the newest, and all that runs. So is what runs where some are left out: a view
        can't know which of the attempts it saw starting have ended with those.
        """
        kept = len(self._ring)
        new = kept if index is None else max(0, self.index - index)
        taken = min(new, kept, most)
        first = kept - taken if index is None else max(0, kept - new)
        skipped = new - (kept - first)
        found = {each.key: each for each in itertools.islice(self._ring, first, first + taken)}
        if index is None or skipped:
            for each in self._running.values():
                found.setdefault(each.key, each)
        executions = sorted(found.values(), key=lambda each: each.index)
        return Told(executions, self.index - (kept - first - taken), skipped)

    def _tell(self, record: TaskRecord, finished_at: datetime | None, status: str, failure: str = "") -> Execution:
        assert record.started_at is not None
        self.index += 1
        told = Execution(  # by position, which takes half the time
            self.index,
            record.task_id,
            record.operation,
            record.attempt,
            record.replay,
            record.worker or "",
            record.slot,
            record.started_at,
            finished_at,
            status,
            failure,
            record.lane or "",
        )
        self._ring.append(told)
        return told

    def _end(self, running: Execution, status: str, at: datetime, failure: str) -> None:
        self.index += 1
        self._ring.append(
            msgspec.structs.replace(running, index=self.index, finished_at=at, status=status, failure=failure)
        )


def _is_news(before: TaskRecord | None, after: TaskRecord) -> bool:
    """Whether `after` is the end of an attempt, and `before` wasn't yet."""
    if before is None or before.replay < after.replay:
        return True
    if after.state in TERMINAL:
        return before.state not in TERMINAL
    return before.state is not State.RETRYING or before.attempt != after.attempt
