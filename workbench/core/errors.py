"""Every error a user can meet, under one root (but for what cancels an operation, see `AttemptCancelled`).

An error says what happened, to what, and what to do next. Foreign exceptions (pika's, SQLAlchemy's, the
operating system's) are translated into these where they enter the package, and nowhere else.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """The root of every error that workbench raises on purpose."""


# --- before a task exists -------------------------------------------------------------------------


class UnknownOperation(WorkbenchError):
    """No operation of this name is registered here or announced by any worker."""


class InvalidArguments(WorkbenchError, ValueError):
    """The arguments don't fit the operation's signature, or hold a value that can't travel."""


class InvalidName(WorkbenchError, ValueError):
    """The name of an operation, a family or a lane isn't made of lower-case words joined by single dots."""


# --- the way to the broker and the tracker --------------------------------------------------------


class BrokerUnavailable(WorkbenchError, ConnectionError):
    """The broker could not be reached, or didn't confirm, within the time given."""


class BrokerRefused(BrokerUnavailable):
    """The broker answered and said no: credentials, virtual host or permissions are wrong. Waiting won't help."""


class BrokerTooOld(BrokerRefused):
    """The broker is a RabbitMQ older than the topology needs."""


class BrokerBlocked(BrokerUnavailable):
    """The broker takes no messages in, as it is short of memory or disk, and didn't within the time given."""


class QueueFull(BrokerUnavailable):
    """A queue refuses more messages, and did so for all of the time given."""


class TrackerUnavailable(WorkbenchError, ConnectionError):
    """The broker is there, but no tracker answered within the time given."""


class NoWorkbench(BrokerUnavailable):
    """No running workbench was found, and no broker address was given."""


class NodeFailed(WorkbenchError, RuntimeError):
    """The private RabbitMQ node could not be found, started or stopped."""


# --- asking for a task ----------------------------------------------------------------------------


class TaskNotFound(WorkbenchError, LookupError):
    """The tracker has no record of a task with this id."""


class ResultExpired(WorkbenchError, LookupError):
    """The task is on record, but its result has been swept after its retention time."""


class ResultTimeout(WorkbenchError, TimeoutError):
    """The task had not ended when the time given for waiting was over. The task itself goes on."""


class TaskEnded(WorkbenchError):
    """A task ended without a result. Its `task_id` and `failure` say which task, and why."""

    def __init__(self, message: str, *, task_id: str = "", failure: object = None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.failure = failure


class TaskFailed(TaskEnded):
    """The task ended as failed: its last attempt raised, was killed, or broke a limit."""


class Unroutable(TaskFailed):
    """No queue takes tasks with this routing key, so the broker could not deliver the task to anyone."""


class TaskCancelled(TaskEnded):
    """The task was cancelled before it ended by itself."""


class TaskExpired(TaskEnded):
    """The task was not started before its `expires` time, and was dropped."""


# --- inside a worker ------------------------------------------------------------------------------


class Retry(WorkbenchError):
    """Raised by an operation: this attempt is over, and another one is to follow, as far as the policy has any left.

    Parameters
    ----------
    reason
        What the record says.
    delay
        Seconds until the next attempt, up to two days; None to leave it to the policy.
    """

    def __init__(self, reason: str = "the operation asked for another attempt", *, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = None if delay is None else _seconds(delay)


def _seconds(delay: object) -> float:
    """Return a plain float of whatever number it is: it has to travel."""
    try:
        seconds = float(delay)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"delay takes a number of seconds, got {delay!r}")
    return seconds


class Reject(WorkbenchError):
    """Raised by an operation: the task ends as failed, whatever its policy, and lies among the dead letters."""


class SoftTimeLimit(WorkbenchError, TimeoutError):
    """Raised in an operation that has run for its soft time limit: a chance to end in order before the hard one."""


class AttemptCancelled(BaseException):
    """Raised in an operation whose task is cancelled. Not an `Exception`, so that `except Exception` lets it pass."""


class InputError(WorkbenchError, ValueError):
    """An input can't be used as it is: truncated, malformed, of an unknown format. Trying again won't help."""


class InputTooLarge(InputError, MemoryError):
    """An input takes more memory than the worker may use. A part of it, or a higher limit, is what helps."""


class InputNotFound(InputError, FileNotFoundError):
    """An input file isn't there, as seen from the worker."""


class PathRefused(InputError, PermissionError):
    """A path lies outside the worker's roots, or a URL's scheme isn't allowed."""


class UnsupportedValue(InvalidArguments):
    """A value can't travel unchanged, so it is refused rather than altered in silence."""


class OutputFailed(WorkbenchError, OSError):
    """An output can't be written where it is to go: the disk there is full, or read-only."""


class StoreError(WorkbenchError, OSError):
    """A value could not be written to the store, or read back from it."""
