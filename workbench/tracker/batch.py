"""What one transaction writes, worked out from the messages and what was known before: no database in here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from workbench.core.messages import (
    CancelRequested,
    Event,
    OperationSpec,
    Task,
    TaskFinished,
    TaskLost,
    TaskProgress,
    TasksFinished,
    TasksStarted,
    TaskStarted,
    TrackerOnline,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
)
from workbench.core.routing import family_of
from workbench.core.rpc import WorkerRecord
from workbench.core.states import Fact, TaskRecord, fold
from workbench.tracker.schema import to_micros

Received = tuple[Task | Event, bytes]
"""A message, and the bytes it came as (which are stored as they are)."""

WorkerEvent = WorkerOnline | WorkerHeartbeat | WorkerOffline

_record_encoder = msgspec.msgpack.Encoder()
encode_record = _record_encoder.encode
decode_record = msgspec.msgpack.Decoder(TaskRecord).decode
decode_outcome = msgspec.msgpack.Decoder(TaskFinished).decode
decode_worker = msgspec.msgpack.Decoder(WorkerRecord).decode
decode_spec = msgspec.msgpack.Decoder(OperationSpec).decode

Row = dict[str, Any]


class Batch:
    """Messages to be recorded together, sorted by what they are about."""

    def __init__(self, received: Iterable[Received]) -> None:
        self.facts: list[tuple[Fact, bytes]] = []
        self.worker_events: list[WorkerEvent] = []
        for message, body in received:
            match message:
                case Task() | TaskStarted() | TaskFinished() | TaskProgress() | TaskLost() | CancelRequested():
                    self.facts.append((message, body))
                case TasksStarted(starts=starts):
                    self.facts += [(start, b"") for start in starts]
                case TasksFinished(outcomes=outcomes):
                    self.facts += [(outcome, encode_record(outcome)) for outcome in outcomes]
                case TrackerOnline():
                    pass
                case _:
                    self.worker_events.append(message)

    @property
    def task_ids(self) -> list[str]:
        """The tasks it tells of, each once."""
        return list(dict.fromkeys(fact.task_id for fact, _ in self.facts))

    @property
    def workers(self) -> list[str]:
        """The workers it tells of, each once."""
        return list(dict.fromkeys(event.worker for event in self.worker_events))


class Changes:
    """The rows that differ from what was known, and the outcomes that ended a task."""

    def __init__(self) -> None:
        self.tasks: list[Row] = []
        self.starts: list[Row] = []
        self.finishes: list[Row] = []
        self.ended: dict[str, TaskFinished] = {}


def task_changes(facts: Iterable[tuple[Fact, bytes]], known: Mapping[str, TaskRecord]) -> Changes:
    """Fold facts into the records of their tasks."""
    changes = Changes()
    records = dict(known)
    tasks: dict[str, bytes] = {}
    outcomes: dict[str, bytes] = {}
    starts: dict[tuple[str, int, str], Row] = {}
    finishes: dict[tuple[str, int, str], Row] = {}
    touched: set[str] = set()
    for fact, body in facts:
        task_id = fact.task_id
        before = records.get(task_id)
        after = fold(before, fact)
        if after is not before:
            records[task_id] = after
            touched.add(task_id)
        match fact:
            case Task():
                if before is None or fact.attempt > before.queued_attempt:
                    tasks[task_id] = body
            case TaskStarted():
                key = (task_id, fact.attempt, fact.worker)
                start = starts.get(key)
                if start is None or to_micros(fact.started_at) > start["started_at"]:
                    starts[key] = _start_row(fact)
            case TaskFinished():
                key = (task_id, fact.attempt, fact.worker)
                finish = finishes.get(key)
                if finish is None or to_micros(fact.finished_at) > finish["finished_at"]:
                    finishes[key] = _finish_row(fact)
                if after.state.terminal and (before is None or not before.state.terminal):
                    outcomes[task_id] = body
                    changes.ended[task_id] = fact
    for task_id in sorted(touched):  # ids sort by time, so that an index grows at its end
        changes.tasks.append(_task_row(records[task_id], tasks.get(task_id), outcomes.get(task_id)))
    # A finish tells when its attempt started, so it stands for the start as well.
    changes.starts = [row for key, row in starts.items() if key not in finishes]
    changes.finishes = list(finishes.values())
    return changes


def worker_rows(events: Iterable[WorkerEvent], known: Mapping[str, WorkerRecord], now: datetime) -> list[Row]:
    """Fold worker events into the rows of their workers. `now` is when the events arrived."""
    records = dict(known)
    touched: set[str] = set()
    for event in events:
        before = records.get(event.worker)
        after = fold_worker(before, event)
        if after is not before:
            records[event.worker] = after
            touched.add(event.worker)
    return [
        {
            "worker": name,
            "online": records[name].online,
            "seen_at": to_micros(now),
            "record": encode_record(records[name]),
        }
        for name in sorted(touched)
    ]


def operation_rows(events: Iterable[WorkerEvent]) -> list[Row]:
    """The operations that workers announced: the newest announcement of each."""
    rows: dict[str, Row] = {}
    for event in events:
        if isinstance(event, WorkerOnline):
            at = to_micros(event.at)
            for spec in event.operations:
                if spec.name not in rows or at > rows[spec.name]["announced_at"]:
                    rows[spec.name] = {"name": spec.name, "announced_at": at, "spec": encode_record(spec)}
    return list(rows.values())


def fold_worker(known: WorkerRecord | None, event: WorkerEvent) -> WorkerRecord:
    """Return what is known of a worker once `event` has been learnt; the same object where it is old news."""
    if known is not None and event.at < known.last_heartbeat_at:
        return known
    match event:
        case WorkerOnline():
            after = _announced(known, event)
        case WorkerHeartbeat():
            after = msgspec.structs.replace(
                known or _unannounced(event),
                busy=event.busy,
                memory=event.memory,
                done=event.done,
                online=True,
                last_heartbeat_at=event.at,
            )
        case WorkerOffline():
            after = msgspec.structs.replace(
                known or _unannounced(event), busy=0, online=False, last_heartbeat_at=event.at
            )
    return known if known == after else after


def _announced(known: WorkerRecord | None, event: WorkerOnline) -> WorkerRecord:
    same = known is not None and known.online and (known.host, known.pid) == (event.host, event.pid)
    return WorkerRecord(
        worker=event.worker,
        host=event.host,
        pid=event.pid,
        families=event.families,
        lane=event.lane,
        slots=event.slots,
        busy=known.busy if known and same else 0,
        memory=known.memory if known and same else 0,
        done=known.done if known and same else 0,
        online=True,
        started_at=known.started_at if known and same else event.at,
        last_heartbeat_at=event.at,
    )


def _unannounced(event: WorkerHeartbeat | WorkerOffline) -> WorkerRecord:
    """A worker that was announced to a database that is gone: better seen with gaps than not seen."""
    return WorkerRecord(
        worker=event.worker,
        host="",
        pid=0,
        families=(),
        lane=None,
        slots=0,
        busy=0,
        memory=0,
        done=0,
        online=True,
        started_at=event.at,
        last_heartbeat_at=event.at,
    )


def _task_row(record: TaskRecord, task: bytes | None, outcome: bytes | None) -> Row:
    return {
        "task_id": record.task_id,
        "state": record.state.value,
        "operation": record.operation,
        "family": family_of(record.operation),
        "worker": record.worker,
        "finished_at": to_micros(record.finished_at) if record.finished_at else None,
        "record": encode_record(record),
        "task": task,
        "outcome": outcome,
    }


def _start_row(start: TaskStarted) -> Row:
    return {
        "task_id": start.task_id,
        "attempt": start.attempt,
        "worker": start.worker,
        "started_at": to_micros(start.started_at),
    }


def _finish_row(end: TaskFinished) -> Row:
    return {
        "task_id": end.task_id,
        "attempt": end.attempt,
        "worker": end.worker,
        "started_at": to_micros(end.started_at) if end.started_at else None,
        "finished_at": to_micros(end.finished_at),
        "status": end.status.value,
        "outcome": encode_record(msgspec.structs.replace(end, result=None)),
    }
