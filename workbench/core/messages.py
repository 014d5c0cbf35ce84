"""The messages of the workbench as they travel: frozen, typed, data only.

A message is MessagePack; its `type` field names it. New fields get defaults, so that an older peer's messages stay
readable, and fields that a reader doesn't know are skipped. Times are aware UTC datetimes, durations float seconds,
sizes bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

import msgspec

from workbench.core.policy import LONGEST, RetryPolicy

# What a message may say, checked as it is read: a name becomes part of a path or a routing key, a number is counted on.
Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
ClientName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{0,60}\Z")]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=2_000_000)]
Replay = Annotated[int, msgspec.Meta(ge=0, le=2_000_000)]
T = TypeVar("T")
Seconds = Annotated[float, msgspec.Meta(gt=0, le=LONGEST)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """What every message has in common: how it is written."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt failed, as data: nothing here needs the code that raised it."""

    type: str  # the exception's name, e.g. "ValueError", or the limit that was broken
    message: str
    traceback: str = ""
    hint: str = ""  # what to do next
    bases: tuple[str, ...] = ()  # the names of the exception's base classes, the nearest first
    transient: bool = False  # the task's surroundings failed, not the task: another attempt may succeed
    asks: Literal["", "retry", "reject"] = ""  # what the operation itself asked for
    retry_in: float | None = None  # seconds, where it asked for another attempt after a time

    def __str__(self) -> str:
        text = f"{self.type}: {self.message}" if self.message else self.type
        return f"{text}\n{self.hint}" if self.hint else text


class Task(Message, frozen=True, kw_only=True, tag="task"):
    """One submission of an operation, as it lies on a queue."""

    task_id: Name
    operation: Annotated[str, msgspec.Meta(max_length=130)]
    args: tuple[msgspec.Raw, ...] = ()  # each encoded by values.codecs; only the child decodes them
    kwargs: dict[str, msgspec.Raw] = {}
    client: ClientName  # the submitter's name; outcomes' routing keys end in it
    submitted_at: Time
    queued_at: Time  # the same as submitted_at, but for later attempts
    attempt: Attempt = 1
    lane: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    timeout: Seconds | None = None  # seconds one attempt may run before it is killed
    soft_timeout: Seconds | None = None  # seconds after which an exception is raised in it
    retry: RetryPolicy | None = None  # None: only what its surroundings did to it is tried again
    expires_at: Time | None = None  # dropped where its first attempt hasn't started by then
    deadline_at: Time | None = None  # when it has to have ended, retries included
    replay: Replay = 0  # how often it was sent again from the dead letters
    first_attempt: Attempt = 1  # of this replay: a policy's attempts are counted from here
    v: int = 1


class TaskStarted(Message, frozen=True, kw_only=True, tag="task.started"):
    """A worker has handed a task to a slot."""

    task_id: Name
    attempt: Attempt
    worker: str
    slot: int
    started_at: Time
    adopted_at: Time | None = None  # when the worker last said that the attempt still runs
    replay: Replay = 0

    @property
    def since(self) -> datetime:
        """When its worker last spoke of it as running: orders the starts of one attempt."""
        return self.adopted_at or self.started_at


class TasksStarted(Message, frozen=True, kw_only=True, tag="tasks.started"):
    """The starts of the last moments that haven't ended yet, in one message: short tasks cost no event of their own."""

    starts: tuple[TaskStarted, ...]


class Status(StrEnum):
    """How an attempt ended. Only a retry leaves the task alive."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRY = "retry"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class TaskFinished(Message, frozen=True, kw_only=True, tag="task.finished"):
    """An attempt has ended: the outcome event, which carries the result."""

    task_id: Name
    operation: Annotated[str, msgspec.Meta(max_length=130)]
    client: ClientName
    attempt: Attempt
    status: Status
    finished_at: Time
    worker: str = ""
    slot: int | None = None
    started_at: Time | None = None
    result: bytes | None = None  # encoded by values.codecs; large ones are references
    summary: str = ""
    failure: Failure | None = None
    output: str = ""  # printed and logged by the task, its last 64 KiB
    notes: dict[str, str] = {}  # what the operation noted of how it worked, such as the engine it chose
    peak_memory: int | None = None  # bytes, of the child process while the task ran
    exit_signal: int | None = None  # where the child was killed
    retry_at: Time | None = None
    replay: Replay = 0


class TasksFinished(Message, frozen=True, kw_only=True, tag="tasks.finished"):
    """Outcomes of one client's tasks that came at about the same time, in one message."""

    outcomes: tuple[TaskFinished, ...]


class TaskProgress(Message, frozen=True, kw_only=True, tag="task.progress"):
    """A running attempt has told how far it is."""

    task_id: Name
    attempt: Attempt
    fraction: Annotated[float, msgspec.Meta(ge=0, le=1)]
    message: Annotated[str, msgspec.Meta(max_length=500)] = ""
    at: Time
    replay: Replay = 0


class TaskLost(Message, frozen=True, kw_only=True, tag="task.lost"):
    """A worker that ran an attempt has vanished: the broker gives the task to another. Told by the tracker."""

    task_id: Name
    attempt: Attempt
    worker: str
    since: Time  # of the start that is void now
    at: Time
    replay: Replay = 0


class CancelRequested(Message, frozen=True, kw_only=True, tag="task.cancel"):
    """Somebody wants a task ended. `operation` and `client` tell of a task that may not have come in."""

    task_id: Name
    at: Time
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    operation: Annotated[str, msgspec.Meta(max_length=130)] = ""
    client: ClientName = ""
    replay: Replay = 0


class TypeSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A parameter's type as data. `kind` is one of those in operations.signature."""

    kind: str
    args: tuple[TypeSpec, ...] = ()
    choices: tuple[str | int | float | bool | None, ...] = ()  # of a Literal


class ParameterSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One parameter of an operation. `form` is an `inspect` parameter kind in lower case."""

    name: str
    form: str = "positional_or_keyword"
    type: TypeSpec = TypeSpec("any")
    required: bool = True
    default: str = ""  # its repr, for help texts


class OperationSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What can be known of an operation without its code: enough to check a submission."""

    name: str
    parameters: tuple[ParameterSpec, ...] = ()
    summary: str = ""  # the first line of its docstring
    timeout: float | None = None
    soft_timeout: float | None = None
    retry: RetryPolicy | None = None


class WorkerOnline(Message, frozen=True, kw_only=True, tag="worker.online"):
    """A worker has started, or has come back after losing the broker."""

    worker: str
    host: str
    pid: int
    families: tuple[str, ...]
    lane: str | None = None
    slots: int
    operations: tuple[OperationSpec, ...] = ()
    at: Time


class WorkerHeartbeat(Message, frozen=True, kw_only=True, tag="worker.heartbeat"):
    """A worker is alive, and this is what it does."""

    worker: str
    busy: int  # slots that run something
    memory: int = 0  # bytes, of the worker and its children together
    done: int = 0  # attempts ended since it started
    slots: int = 0
    load: float = 0.0  # the host's load average over the last minute
    running: tuple[str, ...] = ()  # the ids of the tasks in its slots
    clock_skew: float = 0.0  # seconds that its host's clock is ahead of the tracker's
    cpu: float = 0.0  # cores that it and its children have kept busy since the heartbeat before
    draining: bool = False  # it takes nothing more, and stops when what it runs has ended
    at: Time


class WorkerOffline(Message, frozen=True, kw_only=True, tag="worker.offline"):
    """A worker has stopped in order."""

    worker: str
    at: Time


class TrackerOnline(Message, frozen=True, kw_only=True, tag="tracker.online"):
    """A tracker has taken over: whoever waits for an answer asks again."""

    tracker: str
    at: Time


Event = (
    TaskStarted
    | TasksStarted
    | TaskFinished
    | TasksFinished
    | TaskProgress
    | TaskLost
    | CancelRequested
    | WorkerOnline
    | WorkerHeartbeat
    | WorkerOffline
    | TrackerOnline
)

_encoder = msgspec.msgpack.Encoder()
_task_decoder = msgspec.msgpack.Decoder(Task)
_any_decoder: msgspec.msgpack.Decoder[Task | Event] = msgspec.msgpack.Decoder(Task | Event)

encode = _encoder.encode
"""Write a message as bytes."""


def read(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    """Read what came from elsewhere; raise `msgspec.DecodeError`, and nothing else, where it isn't what it should be.

    Left to itself msgspec has errors of other kinds for nesting that is too deep, and for tags that aren't UTF-8.
    """
    try:
        return decoder.decode(body)
    except (RecursionError, UnicodeError) as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_task(body: bytes) -> Task:
    """Read a task; raise `msgspec.DecodeError` (or its `ValidationError`) where `body` isn't one."""
    return read(_task_decoder, body)


def decode(body: bytes) -> Task | Event:
    """Read a task or an event; raise `msgspec.DecodeError` where `body` is neither."""
    return read(_any_decoder, body)


def utcnow() -> datetime:
    """Return the time as an aware UTC datetime."""
    return datetime.now(UTC)
