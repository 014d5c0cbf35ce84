"""What is known of a task, and how each fact changes it.

`fold` is a pure function: the tracker's memory is nothing but facts folded in whatever order they came, however often.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from workbench.core.messages import Failure, Status, Task, TaskFinished, TaskStarted


class State(StrEnum):
    """Where a task stands. The last four are terminal and never change again."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Whether a task in this state has ended."""
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})

_TERMINAL_OF = {
    Status.SUCCEEDED: State.SUCCEEDED,
    Status.FAILED: State.FAILED,
    Status.CANCELLED: State.CANCELLED,
    Status.EXPIRED: State.EXPIRED,
}
# Within one attempt a task is queued, then runs, then may wait for the next: a later phase is never undone by an
# earlier one that arrives late.
_PHASE = {State.QUEUED: 0, State.RUNNING: 1, State.RETRYING: 2}


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracker knows of one task. A field is None until the fact that tells it has arrived."""

    task_id: str
    operation: str = ""
    lane: str | None = None
    client: str = ""
    state: State = State.QUEUED
    attempt: int = 0  # the highest attempt any fact spoke of; 0 until one did
    submitted_at: datetime | None = None
    queued_at: datetime | None = None  # when `queued_attempt` was put on a queue
    started_at: datetime | None = None  # when the current attempt started
    finished_at: datetime | None = None  # when the task ended
    retry_at: datetime | None = None
    worker: str | None = None
    slot: int | None = None
    summary: str = ""  # the result in a few words: "DataFrame, 16 × 3"
    failure: Failure | None = None  # of the last attempt that failed
    output: str = ""  # what the last attempt printed and logged
    peak_memory: int | None = None  # bytes
    queued_attempt: int = 0  # the highest attempt whose copy has arrived
    failed_attempt: int = 0  # the attempt that `failure`, `output` and `peak_memory` tell of, where it failed
    failed_at: datetime | None = None

    def __repr__(self) -> str:
        what = f"{self.operation or 'task'} {self.task_id}: {self.state.value}"
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        where = f" on {self.worker}" if self.worker else ""
        return f"<TaskRecord {what}{where}{attempt}>"

    @property
    def seconds_queued(self) -> float | None:
        """Seconds the current attempt waited on a queue, where known."""
        return _between(self.queued_at, self.started_at) if self.queued_attempt == self.attempt else None

    @property
    def seconds_running(self) -> float | None:
        """Seconds the current attempt ran, where it has ended."""
        return _between(self.started_at, self.finished_at)


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


Fact = Task | TaskStarted | TaskFinished


def fold(record: TaskRecord | None, fact: Fact) -> TaskRecord:
    """Return what is known once `fact` has been learnt.

    Parameters
    ----------
    record
        What was known before; None where nothing was.
    fact
        An accepted task (one copy each attempt), a start, or an outcome.

    Returns
    -------
    TaskRecord
        The same object where the fact told nothing new. A fact may come twice, and facts may come in any order: the
        record ends the same. The one thing that order decides is which of several *terminal* outcomes counts: the
        first to arrive (a task that ran twice may end twice; it is recorded once).
    """
    known = record or TaskRecord(task_id=fact.task_id)
    match fact:
        case Task():
            return _accepted(known, fact)
        case TaskStarted():
            return _started(known, fact)
        case TaskFinished():
            return _finished(known, fact)


# Each fact moves only what it is the authority for, and only forwards: identity and queueing come from the copy of the
# task with the highest attempt, the current run from the latest start, the last failure from the latest retry. That is
# what makes order and repetition harmless.


def _accepted(known: TaskRecord, task: Task) -> TaskRecord:
    changes: dict[str, Any] = {}
    if known.submitted_at is None:
        changes.update(operation=task.operation, client=task.client, lane=task.lane, submitted_at=task.submitted_at)
    if task.attempt > known.queued_attempt or (
        task.attempt == known.queued_attempt and known.queued_at is not None and task.queued_at < known.queued_at
    ):
        changes.update(queued_attempt=task.attempt, queued_at=task.queued_at)
    if _newer(known, task.attempt, State.QUEUED):
        changes.update(state=State.QUEUED, attempt=task.attempt, started_at=None, worker=None, slot=None, retry_at=None)
    return msgspec.structs.replace(known, **changes) if changes else known


def _started(known: TaskRecord, start: TaskStarted) -> TaskRecord:
    again = (  # redelivered after its worker was lost: the same attempt, started later and elsewhere
        known.state is State.RUNNING
        and start.attempt == known.attempt
        and known.started_at is not None
        and (start.started_at, start.worker) > (known.started_at, known.worker or "")
    )
    if not again and not _newer(known, start.attempt, State.RUNNING):
        return known
    return msgspec.structs.replace(
        known,
        state=State.RUNNING,
        attempt=start.attempt,
        started_at=start.started_at,
        worker=start.worker,
        slot=start.slot,
        retry_at=None,
    )


def _finished(known: TaskRecord, end: TaskFinished) -> TaskRecord:
    if known.state.terminal:
        return known
    state = _TERMINAL_OF.get(end.status, State.RETRYING)
    changes: dict[str, Any] = {}
    if not known.operation and end.operation:
        changes.update(operation=end.operation, client=end.client)
    latest = known.failed_at is None or (end.attempt, end.finished_at) > (known.failed_attempt, known.failed_at)
    if state.terminal or latest:
        failed = end.failure is not None or not state.terminal
        changes.update(
            summary=end.summary,
            failure=end.failure,
            output=end.output,
            peak_memory=end.peak_memory,
            failed_attempt=end.attempt if failed else 0,
            failed_at=end.finished_at if failed else None,
        )
    here = known.state is State.RETRYING and known.attempt == end.attempt and latest
    if state.terminal or here or _newer(known, end.attempt, state):
        changes.update(
            state=state,
            attempt=end.attempt,
            started_at=end.started_at,
            finished_at=end.finished_at if state.terminal else None,
            retry_at=end.retry_at,
            worker=end.worker or None,
            slot=end.slot,
        )
    return msgspec.structs.replace(known, **changes) if changes else known


def _newer(known: TaskRecord, attempt: int, state: State) -> bool:
    """Whether (attempt, state) lies ahead of what is known; nothing does once a task has ended."""
    if known.state.terminal:
        return False
    return known.attempt == 0 or (attempt, _PHASE[state]) > (known.attempt, _PHASE[known.state])
