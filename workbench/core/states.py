"""What is known of a task, and how each fact changes it.

`fold` is a pure function: the tracker's memory is nothing but facts folded in whatever order they came, however often.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from workbench.core.messages import (
    CancelRequested,
    Failure,
    Status,
    Task,
    TaskFinished,
    TaskLost,
    TaskProgress,
    TaskStarted,
)


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
_NOT_RUNNING = {"started_at": None, "since": None, "worker": None, "slot": None, "retry_at": None}


class Progress(msgspec.Struct, frozen=True):
    """How far an attempt said it was."""

    attempt: int
    at: datetime
    fraction: float  # from 0 to 1
    message: str = ""


class Loss(msgspec.Struct, frozen=True):
    """The latest start of an attempt that is void, as its worker has vanished."""

    attempt: int
    since: datetime
    worker: str


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    notes: dict[str, str] = {}  # of how the last attempt worked
    queued_attempt: int = 0  # the highest attempt whose copy has arrived
    failed_attempt: int = 0  # the attempt that `failure`, `output` and `peak_memory` tell of, where it failed
    failed_at: datetime | None = None
    since: datetime | None = None  # when its worker last spoke of the current attempt as running
    replay: int = 0  # how often it was sent again from the dead letters; what follows speaks of this replay
    expires_at: datetime | None = None
    deadline_at: datetime | None = None
    progress: Progress | None = None  # the last that was told; of an earlier attempt, maybe
    loss: Loss | None = None  # the last worker that vanished with it
    cancel_at: datetime | None = None  # when somebody asked for its end
    cancel_reason: str = ""

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


Fact = Task | TaskStarted | TaskFinished | TaskProgress | TaskLost | CancelRequested


def fold(record: TaskRecord | None, fact: Fact) -> TaskRecord:
    """Return what is known once `fact` has been learnt.

    Parameters
    ----------
    record
        What was known before; None where nothing was.
    fact
        An accepted task (one copy each attempt), a start, how far it is, an outcome, the loss of its worker, or the
        wish to end it.

    Returns
    -------
    TaskRecord
        The same object where the fact told nothing new. A fact may come twice, and facts may come in any order: the
        record ends the same. The one thing that order decides is which of several *terminal* outcomes counts: the
        first to arrive (a task that ran twice may end twice; it is recorded once). A task that is sent again from the
        dead letters begins anew with that replay's first fact; facts of earlier replays then change nothing.
    """
    known = record or TaskRecord(task_id=fact.task_id)
    if fact.replay > known.replay:
        known = _reopened(known, fact.replay)
    elif fact.replay < known.replay:
        return _identified(known, fact) if isinstance(fact, Task) else _named(known, fact)
    match fact:
        case Task():
            return _accepted(known, fact)
        case TaskStarted():
            return _started(known, fact)
        case TaskFinished():
            return _finished(known, fact)
        case TaskProgress():
            return _progressed(known, fact)
        case TaskLost():
            return _lost(known, fact)
        case CancelRequested():
            return _cancel_requested(known, fact)


# Each fact moves only what it is the authority for, and only forwards: identity and queueing come from the copy of the
# task with the highest attempt, the current run from the latest start, the last failure from the latest retry. That is
# what makes order and repetition harmless.


def _reopened(known: TaskRecord, replay: int) -> TaskRecord:
    return TaskRecord(
        task_id=known.task_id,
        operation=known.operation,
        lane=known.lane,
        client=known.client,
        submitted_at=known.submitted_at,
        replay=replay,
    )


def _identified(known: TaskRecord, task: Task) -> TaskRecord:
    if known.submitted_at is not None:
        return known
    return msgspec.structs.replace(
        known, operation=task.operation, client=task.client, lane=task.lane, submitted_at=task.submitted_at
    )


def _named(known: TaskRecord, fact: Fact) -> TaskRecord:
    """Learn whose task it is from an outcome, or a wish, where the task itself hasn't come in."""
    if known.operation or not isinstance(fact, TaskFinished | CancelRequested) or not fact.operation:
        return known
    return msgspec.structs.replace(known, operation=fact.operation, client=fact.client)


def _accepted(known: TaskRecord, task: Task) -> TaskRecord:
    known = _identified(known, task)
    changes: dict[str, Any] = {}
    if (known.expires_at, known.deadline_at) != (task.expires_at, task.deadline_at):
        changes.update(expires_at=task.expires_at, deadline_at=task.deadline_at)
    if task.attempt > known.queued_attempt or (
        task.attempt == known.queued_attempt and known.queued_at is not None and task.queued_at < known.queued_at
    ):
        changes.update(queued_attempt=task.attempt, queued_at=task.queued_at)
    if _newer(known, task.attempt, State.QUEUED):
        changes.update(state=State.QUEUED, attempt=task.attempt, **_NOT_RUNNING)
    return msgspec.structs.replace(known, **changes) if changes else known


def _started(known: TaskRecord, start: TaskStarted) -> TaskRecord:
    if known.loss is not None and known.loss.attempt == start.attempt and start.since <= known.loss.since:
        return known  # void: its worker has vanished since
    again = (  # redelivered after its worker was lost: the same attempt, started later and elsewhere
        known.state is State.RUNNING
        and start.attempt == known.attempt
        and known.since is not None
        and (start.since, start.worker) > (known.since, known.worker or "")
    )
    if not again and not _newer(known, start.attempt, State.RUNNING):
        return known
    return msgspec.structs.replace(
        known,
        state=State.RUNNING,
        attempt=start.attempt,
        started_at=start.started_at,
        since=start.since,
        worker=start.worker,
        slot=start.slot,
        retry_at=None,
    )


def _progressed(known: TaskRecord, told: TaskProgress) -> TaskRecord:
    last = known.progress
    if last is not None and (told.attempt, told.at, told.fraction) <= (last.attempt, last.at, last.fraction):
        return known
    return msgspec.structs.replace(known, progress=Progress(told.attempt, told.at, told.fraction, told.message))


def _lost(known: TaskRecord, lost: TaskLost) -> TaskRecord:
    last = known.loss
    if last is not None and (lost.attempt, lost.since, lost.worker) <= (last.attempt, last.since, last.worker):
        return known
    changes: dict[str, Any] = {"loss": Loss(lost.attempt, lost.since, lost.worker)}
    was_running = known.state is State.RUNNING and known.attempt == lost.attempt
    void = was_running and known.since is not None and known.since <= lost.since
    if void or _newer(known, lost.attempt, State.QUEUED):
        changes.update(state=State.QUEUED, attempt=lost.attempt, **_NOT_RUNNING)
    return msgspec.structs.replace(known, **changes)


def _cancel_requested(known: TaskRecord, wish: CancelRequested) -> TaskRecord:
    known = _named(known, wish)
    if known.cancel_at is not None and (known.cancel_at, known.cancel_reason) <= (wish.at, wish.reason):
        return known
    return msgspec.structs.replace(known, cancel_at=wish.at, cancel_reason=wish.reason)


def _finished(known: TaskRecord, end: TaskFinished) -> TaskRecord:
    if known.state.terminal:
        return known
    known = _named(known, end)
    state = _TERMINAL_OF.get(end.status, State.RETRYING)
    changes: dict[str, Any] = {}
    latest = known.failed_at is None or (end.attempt, end.finished_at) > (known.failed_attempt, known.failed_at)
    if state.terminal or latest:
        failed = end.failure is not None or not state.terminal
        changes.update(
            summary=end.summary,
            failure=end.failure,
            output=end.output,
            peak_memory=end.peak_memory,
            notes=end.notes,
            failed_attempt=end.attempt if failed else 0,
            failed_at=end.finished_at if failed else None,
        )
    here = known.state is State.RETRYING and known.attempt == end.attempt and latest
    if state.terminal or here or _newer(known, end.attempt, state):
        changes.update(
            state=state,
            attempt=end.attempt,
            started_at=end.started_at,
            since=end.started_at,
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
