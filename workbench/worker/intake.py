"""Before a task runs: why it may not be started any more, and for how long it may run. Pure decisions."""

from __future__ import annotations

from datetime import datetime

import msgspec

from workbench.core.messages import Failure, Status, Task


class Limits(msgspec.Struct, frozen=True):
    """How long an attempt may run."""

    hard: float | None = None  # seconds until it is killed
    soft: float | None = None  # seconds until an exception is raised in it
    failure: Failure | None = None  # what the hard limit is called, where it isn't the attempt's own


def too_late(task: Task, now: datetime) -> tuple[Status, Failure] | None:
    """Return how a task ends that comes too late to be started; None where it doesn't."""
    if task.deadline_at is not None and now >= task.deadline_at:
        return Status.FAILED, _deadline(task, "was not started again" if task.attempt > 1 else "was not started")
    if task.expires_at is not None and task.attempt == task.first_attempt and now > task.expires_at:
        return Status.EXPIRED, Failure(
            type="Expired", message=f"the task was not started before {task.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    return None


def limits_of(task: Task, now: datetime) -> Limits:
    """Return how long an attempt that starts now may run: its own time, and no longer than the task's deadline."""
    left = None if task.deadline_at is None else max(0.0, (task.deadline_at - now).total_seconds())
    if left is None or (task.timeout is not None and task.timeout <= left):
        return Limits(task.timeout, task.soft_timeout)
    return Limits(left, task.soft_timeout, _deadline(task, "was still running and was killed"))


def _deadline(task: Task, what: str) -> Failure:
    assert task.deadline_at is not None
    return Failure(
        type="DeadlineExceeded",
        message=f"the task {what} at its deadline, {task.deadline_at:%Y-%m-%d %H:%M:%S} UTC",
        hint="give it longer with client.with_options(deadline=…), or start more workers",
    )
