"""What a client may ask the tracker, and what it may answer: frozen, typed, data only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

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
    last_event_at: datetime | None = None

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


class Problem(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="problem"):
    """The request could not be answered, and why."""

    message: str


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
)
AnyAnswer = Tasks | Outcomes | Stats | TrackerTime | Workbench | TaskIds | Cancelled | Attempts | Why | Problem

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
