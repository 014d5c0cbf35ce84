"""What the tracker itself decides about a task: its end where nobody else brings it, and the loss of its worker.

Pure decisions. They may be made twice, by two trackers even: what they make are facts, and those fold the same.
"""

from __future__ import annotations

from datetime import datetime

from workbench.core.messages import Failure, Status, TaskFinished, TaskLost
from workbench.core.rpc import WorkerRecord
from workbench.core.states import State, TaskRecord

_WAITING = frozenset({State.SCHEDULED, State.QUEUED, State.RETRYING})


def due_at(record: TaskRecord) -> datetime | None:
    """Return when a task is to be ended if it still waits then; None where no time is set, or a worker has it."""
    if (record.expires_at is None and record.deadline_at is None) or record.state not in _WAITING:
        return None
    times = [time for time in (_expiry(record), record.deadline_at) if time is not None]
    return min(times, default=None)


def overdue(record: TaskRecord, *, now: datetime) -> TaskFinished | None:
    """Return the outcome of a task that has waited past its time; None where it hasn't."""
    if record.state not in _WAITING:
        return None
    expiry = _expiry(record)
    if expiry is not None and expiry <= now:
        failure = Failure(type="Expired", message=f"no worker had started it by {_clock(expiry)}, when it expired")
        return _end(record, Status.EXPIRED, failure, now)
    if record.deadline_at is not None and record.deadline_at <= now:
        message = f"it had not ended by {_clock(record.deadline_at)}, its deadline; it was {record.state.value}"
        return _end(record, Status.FAILED, Failure(type="DeadlineExceeded", message=message), now)
    return None


def is_wanted_ended(record: TaskRecord) -> bool:
    """Whether somebody wants it ended, and a message of it may still lie on a queue or run."""
    if record.cancel_at is None:
        return False
    return not record.state.terminal or (record.state is State.CANCELLED and record.worker is None)


def cancelled(record: TaskRecord, worker: WorkerRecord | None, *, now: datetime) -> TaskFinished | None:
    """Return the outcome of a task that is to be cancelled; None where a worker has it, which then says so itself."""
    if record.cancel_at is None or record.state.terminal:
        return None
    if record.state is State.RUNNING and worker is not None and worker.online:
        return None
    reason = record.cancel_reason or "somebody asked for it"
    return _end(record, Status.CANCELLED, Failure(type="Cancelled", message=f"it was cancelled: {reason}"), now)


def lost(record: TaskRecord, worker: WorkerRecord | None, *, now: datetime) -> TaskLost | None:
    """Return the news that the worker that ran a task is gone; None where it may still run there.

    It is gone where it fell silent, where it said that it stops, and where another process bears its name since.
    """
    if record.state is not State.RUNNING or record.since is None or record.worker is None:
        return None
    if worker is not None and worker.online and (not worker.pid or worker.started_at <= record.since):
        return None
    return TaskLost(
        task_id=record.task_id,
        attempt=record.attempt,
        worker=record.worker,
        since=record.since,
        at=now,
        replay=record.replay,
    )


def _expiry(record: TaskRecord) -> datetime | None:
    """When it expires, where its first attempt hasn't started: one that was lost amid it has."""
    first = record.state is State.QUEUED and record.attempt <= 1 and record.loss is None
    return record.expires_at if first else None


def _end(record: TaskRecord, status: Status, failure: Failure, now: datetime) -> TaskFinished:
    return TaskFinished(
        task_id=record.task_id,
        operation=record.operation,
        client=record.client,
        attempt=max(1, record.attempt),
        status=status,
        finished_at=now,
        failure=failure,
        replay=record.replay,
    )


def _clock(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
