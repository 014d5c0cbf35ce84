"""What a client may ask the tracker, and what it may answer: frozen, typed, data only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from workbench.core.live import Bucket, Counter, Detail, Execution, FailureGroup, Health, Mark, QueueFacts
from workbench.core.messages import OperationSpec, TaskFinished, Time, read
from workbench.core.states import State, TaskRecord


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", omit_defaults=True):
    """What every request has in common: how it is written."""


class GetTasks(Request, frozen=True, kw_only=True, tag="tasks.get"):
    """The records of these tasks, in this order; unknown ids are left out. Answered by `Tasks`."""

    task_ids: tuple[str, ...]


class ListTasks(Request, frozen=True, kw_only=True, tag="tasks.list"):
    """The newest tasks that match, newest first, older than `before` (a task id) where given. Answered by `Tasks`."""

    state: State | None = None
    operation: str | None = None
    worker: str | None = None
    before: str | None = None
    limit: int = 100  # at most 1,000


class GetOutcomes(Request, frozen=True, kw_only=True, tag="outcomes.get"):
    """The outcomes of these tasks, as soon as one of them has ended. Answered by `Outcomes`.

    The answer is held back until at least one task has ended or is unknown, or until `timeout` is over.
    """

    task_ids: tuple[str, ...]
    timeout: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0  # seconds to hold the answer back


class GetStats(Request, frozen=True, kw_only=True, tag="stats.get"):
    """Counts by state, and the tracker's own condition. Answered by `Stats`."""


class GetTime(Request, frozen=True, kw_only=True, tag="time.get"):
    """The tracker's time. Answered by `TrackerTime`."""


class GetWorkbench(Request, frozen=True, kw_only=True, tag="workbench.get"):
    """What a client has to know of this workbench. Answered by `Workbench`."""


class GetAttempts(Request, frozen=True, kw_only=True, tag="attempts.get"):
    """Every execution of a task. Answered by `Attempts`."""

    task_id: str


class GetWhy(Request, frozen=True, kw_only=True, tag="why.get"):
    """Why a task isn't done. Answered by `Why`."""

    task_id: str


class GetCancelled(Request, frozen=True, kw_only=True, tag="cancelled.get"):
    """The cancelled tasks whose messages may still lie on these families' queues. Answered by `Cancelled`.

    At most `limit` of them, in order; `after` is the last of the page before.
    """

    families: tuple[str, ...]
    lane: str | None = None
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10_000


class PinTasks(Request, frozen=True, kw_only=True, tag="tasks.pin"):
    """Keep these tasks' results beyond their retention time (or no longer). Answered by `TaskIds`: those known."""

    task_ids: tuple[str, ...]
    pinned: bool = True


class GetChanges(Request, frozen=True, kw_only=True, tag="changes.get"):
    """What has changed since `mark`, for a live view. Answered by `Changes`."""

    mark: Mark = Mark()
    seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 600  # of buckets, where all is told
    # At most: the first since `mark`, or the newest where all is told.
    executions: Annotated[int, msgspec.Meta(ge=0, le=50_000)] = 5000


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which tasks are meant; a field that is empty leaves all."""

    states: tuple[State, ...] = ()
    operation: str | None = None  # a name, or a family
    worker: str | None = None
    text: str = ""  # part of a name (operation, worker, exception, place), or the first letters of an id, eight or more
    group: str | None = None  # a `FailureGroup`'s id
    submitted_from: Time | None = None
    submitted_before: Time | None = None
    argument: str = ""  # part of a text in the arguments, as long as the task's message is kept


class SearchTasks(Request, frozen=True, kw_only=True, tag="tasks.search"):
    """The newest tasks that match, older than `before` (a task id). Answered by `Page`."""

    filter: Filter = Filter()
    before: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 100


class GetDetail(Request, frozen=True, kw_only=True, tag="detail.get"):
    """One task, with what it was given and gave. Answered by `TaskDetail`."""

    task_id: str


class GetQueues(Request, frozen=True, kw_only=True, tag="queues.get"):
    """The broker's queues. Answered by `Queues`."""


class GetFailures(Request, frozen=True, kw_only=True, tag="failures.get"):
    """Failed tasks, in groups, the latest first. Answered by `Failures`."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200


class RetryTasks(Request, frozen=True, kw_only=True, tag="tasks.retry"):
    """Send tasks again that have ended otherwise than well. Answered by `Retried`."""

    task_ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)]


class DismissFailures(Request, frozen=True, kw_only=True, tag="failures.dismiss"):
    """Take failed tasks out of the failures' groups; they stay failed, and on record. Answered by `TaskIds`."""

    group: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 5000


class Tasks(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="tasks"):
    """Records of tasks."""

    records: tuple[TaskRecord, ...]


class Outcomes(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="outcomes"):
    """Outcomes of those that have ended; ids never heard of; ids whose result has been swept."""

    ended: tuple[TaskFinished, ...] = ()
    unknown: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


class TrackerTime(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="time"):
    """What time it is, by the tracker's clock."""

    at: Time


class TaskIds(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="task_ids"):
    """Nothing but ids."""

    task_ids: tuple[str, ...]


class Cancelled(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="cancelled"):
    """Tasks that were cancelled, by id and replay."""

    tasks: tuple[tuple[str, int], ...]


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One execution of a task, as far as it is known."""

    attempt: int
    worker: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    lost_at: datetime | None = None  # when its worker was found to have vanished, or the next began without its word
    outcome: TaskFinished | None = None  # without its result; None while it runs, or where its worker was lost

    def __repr__(self) -> str:
        ended = self.outcome.status.value if self.outcome else "lost" if self.lost_at else "running"
        why = f": {self.outcome.failure.type}" if self.outcome and self.outcome.failure else ""
        return f"<Attempt {self.attempt} on {self.worker or 'no worker'}: {ended}{why}>"


class Attempts(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="attempts"):
    """Every execution of a task, in order."""

    attempts: tuple[AttemptRecord, ...]


class Why(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="why"):
    """One sentence; empty where the tracker has no such task."""

    sentence: str


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="stats"):
    """How many tasks are in each state (states with none included), and what the tracker is at."""

    states: dict[State, int]
    total: int
    tracker: str
    started_at: datetime
    last_event_at: datetime | None = None  # when a message was recorded last, be it a worker's heartbeat

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {state.value}" for state, count in self.states.items() if count)
        return f"<Stats of {self.total:,} tasks{': ' if counts else ''}{counts}>"

    def __getitem__(self, state: str) -> int:
        """Return how many tasks are in `state`."""
        return self.states[State(state)]


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracker knows of one worker."""

    worker: str
    host: str
    pid: int
    families: tuple[str, ...]
    lane: str | None
    slots: int
    busy: int
    memory: int
    done: int
    online: bool
    started_at: datetime
    last_heartbeat_at: datetime
    lost: bool = False  # it fell silent without having said that it stops
    load: float = 0.0  # its host's load average over the last minute
    running: tuple[str, ...] = ()  # the ids of the tasks in its slots
    clock_skew: float = 0.0  # seconds that its host's clock is ahead of the tracker's
    cpu: float = 0.0  # cores that it and its children have kept busy since the heartbeat before
    draining: bool = False  # it takes nothing more, and stops when what it runs has ended


class Workbench(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="workbench"):
    """Where large values go, which paths workers share, what they can do, and who they are."""

    store: str
    roots: tuple[str, ...]
    operations: tuple[OperationSpec, ...]
    workers: tuple[WorkerRecord, ...]
    version: str

    def __repr__(self) -> str:
        online = sum(1 for worker in self.workers if worker.online)
        return f"<Workbench with {online} workers online, {len(self.operations)} operations>"


class Changes(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="changes"):
    """What has changed since a mark.

    Counters, buckets, executions and workers replace those of the same key; the others are as they were. Where `anew`
    holds, this is everything there is, and what was known before is void: another tracker has taken over, say.
    """

    mark: Mark  # for the next request
    anew: bool
    health: Health
    states: dict[State, int]  # how many tasks are in each, in all; always told
    counters: tuple[Counter, ...] = ()
    buckets: tuple[Bucket, ...] = ()  # in the order of time
    executions: tuple[Execution, ...] = ()  # in the order of their index; of one execution the latest only
    left: int = 0  # starts and ends that came after these: the next request, with `mark`, may follow at once
    skipped: int = 0  # older ones that were left out, or are forgotten
    workers: tuple[WorkerRecord, ...] = ()
    failures: int = 0  # tasks that have failed and weren't dismissed, those of `Failures`; always told

    def __repr__(self) -> str:
        news = (
            f"{len(self.counters)} counters, {len(self.buckets)} buckets, {len(self.executions)} executions, "
            f"{len(self.workers)} workers"
        )
        return f"<Changes{' anew' if self.anew else ''}: {news}>"


class Page(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="page"):
    """Some of the tasks that match."""

    records: tuple[TaskRecord, ...]  # the newest first, without what they printed and their tracebacks
    total: int  # tasks that match, on all pages
    exact: bool  # whether `total` is all; otherwise there are at least so many
    before: str | None = None  # for the next page; None where this is the last
    # Whether the search ended before the page was full: `before` is how far it came, and the next page goes on there.
    unfinished: bool = False


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="detail"):
    """One task; None where the tracker has no such task."""

    detail: Detail | None


class Queues(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="queues"):
    """The broker's queues, and when they were looked at."""

    queues: tuple[QueueFacts, ...]
    at: Time


class Failures(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="failures"):
    """Groups of failed tasks, the latest first, and how many groups and tasks there are in all."""

    groups: tuple[FailureGroup, ...]
    total_groups: int
    total: int


class Retried(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="retried"):
    """What came of sending tasks again."""

    sent: dict[str, int]  # the number of the new replay, by task id
    refused: dict[str, str]  # why not, by task id


class Problem(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="problem"):
    """The request could not be answered, and why."""

    message: str


LiveRequest = GetChanges | SearchTasks | GetDetail | GetQueues | GetFailures | RetryTasks | DismissFailures
"""What a live view asks."""

AnyRequest = (
    GetTasks
    | ListTasks
    | GetOutcomes
    | GetStats
    | GetTime
    | GetWorkbench
    | GetAttempts
    | GetWhy
    | GetCancelled
    | PinTasks
    | LiveRequest
)
AnyAnswer = (
    Tasks
    | Outcomes
    | Stats
    | TrackerTime
    | Workbench
    | TaskIds
    | Cancelled
    | Attempts
    | Why
    | Changes
    | Page
    | TaskDetail
    | Queues
    | Failures
    | Retried
    | Problem
)

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[AnyRequest] = msgspec.msgpack.Decoder(AnyRequest)
_answer_decoder: msgspec.msgpack.Decoder[AnyAnswer] = msgspec.msgpack.Decoder(AnyAnswer)

encode = _encoder.encode
"""Write a request or an answer as bytes."""


def decode_request(body: bytes) -> AnyRequest:
    """Read a request; raise `msgspec.DecodeError` where `body` isn't one."""
    return read(_request_decoder, body)


def decode_answer(body: bytes) -> AnyAnswer:
    """Read an answer; raise `msgspec.DecodeError` where `body` isn't one."""
    return read(_answer_decoder, body)
