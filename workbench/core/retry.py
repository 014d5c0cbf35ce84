"""What follows a failed attempt: another one, the end, or a place among the dead letters. Pure decisions."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from workbench.core.messages import Failure, Task
from workbench.core.policy import LONGEST_DELAY, RetryPolicy

DEFAULT = RetryPolicy()
"""For a task that names no policy: only what its surroundings did to it is tried again."""

NEVER = frozenset(
    {
        "InvalidArguments",
        "UnsupportedValue",
        "InputError",
        "InputNotFound",
        "PathRefused",
    }
)
"""Failures that another attempt would only repeat."""


UNKNOWN = "UnknownOperation"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What follows: another attempt where `delay` is given, otherwise the end."""

    delay: float | None = None  # seconds
    dead: str = ""  # why the task, which ends here, belongs among the dead letters
    note: str = ""  # why it ends here, where the failure itself doesn't tell


def decide(task: Task, failure: Failure, *, now: datetime, draw: float) -> Decision:
    """Decide what follows a failed attempt.

    Parameters
    ----------
    task
        Of the attempt that failed.
    failure
        How it failed.
    now
        The time; a deadline is held against it.
    draw
        A random number from 0 to 1, for the jitter.
    """
    if failure.asks == "reject":
        return Decision(dead=f"rejected by the operation: {failure.message}")
    policy = task.retry or DEFAULT
    if failure.asks != "retry" and not _is_wanted(task.retry, failure):
        return Decision()
    failed = task.attempt - task.first_attempt + 1
    if failed >= policy.attempts:
        if policy.attempts == 1:
            return Decision()
        spent = f"out of attempts: {failed} of {policy.attempts} failed, the last with {failure.type}"
        return Decision(dead=spent, note=f"It was the last of {policy.attempts} attempts.")
    delay = min(LONGEST_DELAY, policy.wait(failed, draw) if failure.retry_in is None else failure.retry_in)
    if task.deadline_at is not None and now + timedelta(seconds=delay) >= task.deadline_at:
        return Decision(
            note=f"Its deadline, {task.deadline_at:%Y-%m-%d %H:%M:%S} UTC, leaves no time for another attempt."
        )
    return Decision(delay=delay)


def _is_wanted(policy: RetryPolicy | None, failure: Failure) -> bool:
    if failure.type == UNKNOWN:
        return True  # another worker may know it
    names = {failure.type, *failure.bases}
    if names & NEVER:
        return False
    if policy is None:
        return failure.transient
    if names & set(policy.never):
        return False
    return failure.transient or not policy.on or bool(names & set(policy.on))
