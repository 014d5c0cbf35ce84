"""Whether a failed attempt is tried again, and when: pure decisions."""

from __future__ import annotations

from workbench.core.messages import Failure, Task

DELAYS = (1.0, 5.0, 30.0, 300.0, 3600.0)
"""Seconds a task can wait in the broker before its next attempt: one delay queue each (see broker.topology)."""

NEVER = frozenset(
    {
        "InvalidArguments",
        "UnsupportedValue",
        "UnknownOperation",
        "InputError",
        "InputNotFound",
        "PathRefused",
    }
)
"""Failures that another attempt would only repeat."""


def next_delay(task: Task, failure: Failure) -> float | None:
    """Decide what follows a failed attempt.

    Returns
    -------
    float or None
        Seconds until the next attempt, one of `DELAYS`, longer with each attempt; None where the task ends here.
    """
    if task.attempt > task.retries or failure.type in NEVER:
        return None
    return DELAYS[min(task.attempt, len(DELAYS)) - 1]
