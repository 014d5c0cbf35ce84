"""What one transaction writes, worked out from the messages and what was known before: no database in here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from workbench.core.messages import (
    CancelRequested,
    Event,
    Status,
    Task,
    TaskFinished,
    TaskLost,
    TaskProgress,
    TasksFinished,
    TasksStarted,
    TaskStarted,
    TrackerOnline,
)
from workbench.core.routing import family_of
from workbench.core.states import Fact, TaskRecord, fold
from workbench.tracker.endings import due_at, is_wanted_ended
from workbench.tracker.failures import Alike, group_of
from workbench.tracker.groups import Joined, Moves
from workbench.tracker.schema import to_micros
from workbench.tracker.workers import WorkerEvent
from workbench.values.sweep import find_references

Received = tuple[Task | Event, bytes]
"""A message, and the bytes it came as (which are stored as they are)."""

_record_encoder = msgspec.msgpack.Encoder()
encode_record = _record_encoder.encode
decode_record = msgspec.msgpack.Decoder(TaskRecord).decode
decode_outcome = msgspec.msgpack.Decoder(TaskFinished).decode

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
    """The rows that differ from what was known, and what else came of the facts."""

    def __init__(self) -> None:
        self.tasks: list[Row] = []
        self.starts: list[Row] = []
        self.finishes: list[Row] = []
        self.losses: list[Row] = []
        self.blobs: list[Row] = []
        self.groups: list[Row] = []  # of failures
        self.moves = Moves([], [])  # of tasks between those
        self.gone: list[str] = []  # cancelled tasks whose message a worker has dropped
        self.ended: dict[str, TaskFinished] = {}  # the outcomes that ended a task just now
        self.wishes: list[str] = []  # tasks that somebody wants ended since just now
        self.transitions: list[tuple[TaskRecord | None, TaskRecord]] = []  # records before and after each news


def task_changes(
    facts: Iterable[tuple[Fact, bytes]],
    known: Mapping[str, TaskRecord],
    grouped: Mapping[str, str],
    now: datetime,
) -> Changes:
    """Fold facts into the records of their tasks.

    Parameters
    ----------
    facts
        Each with its bytes.
    known
        What is on record of these tasks, as far as there is anything.
    grouped
        The groups of failures that some of them are in.
    now
        When the facts arrived.
    """
    return _Folding(known, grouped).all(facts, now)


class _Folding:
    """One batch of facts on its way to rows."""

    def __init__(self, known: Mapping[str, TaskRecord], grouped: Mapping[str, str]) -> None:
        self.known = known
        self.grouped = grouped
        self.records = dict(known)
        self.touched: set[str] = set()
        self.tasks: dict[str, bytes] = {}
        self.outcomes: dict[str, bytes] = {}
        self.starts: dict[_Run, Row] = {}
        self.finishes: dict[_Run, Row] = {}
        self.gone: set[str] = set()
        self.groups: dict[str, Row] = {}
        self.changes = Changes()

    def all(self, facts: Iterable[tuple[Fact, bytes]], now: datetime) -> Changes:
        """Fold them, in order, and return the rows."""
        for fact, body in facts:
            before = self.records.get(fact.task_id)
            after = fold(before, fact)
            if after is not before:
                self.records[fact.task_id] = after
                self.touched.add(fact.task_id)
                if not isinstance(fact, TaskProgress):
                    self.changes.transitions.append((before, after))
                if before is not None and after.replay > before.replay:  # begun anew: what ended it doesn't any more
                    self.outcomes.pop(fact.task_id, None)
                    self.changes.ended.pop(fact.task_id, None)
            self._one(fact, body, before, after)
        return self._rows(now)

    def _one(self, fact: Fact, body: bytes, before: TaskRecord | None, after: TaskRecord) -> None:
        match fact:
            case Task():
                newest = (before.replay, before.queued_attempt) if before is not None else (0, 0)
                if (fact.replay, fact.attempt) > newest:
                    self.tasks[fact.task_id] = body
                self._refer(fact.task_id, body)
            case TaskStarted():
                key = (fact.task_id, fact.attempt, fact.worker, to_micros(fact.started_at))
                start = self.starts.get(key)
                if start is None or to_micros(fact.since) > start["since"]:
                    self.starts[key] = _start_row(fact)
            case TaskFinished():
                self._finished(fact, body, before, after)
            case TaskLost():
                self.changes.losses.append(_loss_row(fact))
            case CancelRequested():
                if (before is None or before.cancel_at is None) and is_wanted_ended(after):
                    self.changes.wishes.append(fact.task_id)

    def _finished(self, end: TaskFinished, body: bytes, before: TaskRecord | None, after: TaskRecord) -> None:
        row = _finish_row(end)
        key = (end.task_id, end.attempt, end.worker, row["started_at"])
        finish = self.finishes.get(key)
        if finish is None or row["finished_at"] > finish["finished_at"]:
            self.finishes[key] = row
        if not after.state.terminal or end.replay < after.replay:
            return
        if before is None or not before.state.terminal or after.replay > before.replay:
            self.outcomes[end.task_id] = body
            self.changes.ended[end.task_id] = end
            self._refer(end.task_id, body)
        if end.worker and end.status is not Status.RETRY:
            self.gone.add(end.task_id)

    def _refer(self, task_id: str, body: bytes) -> None:
        for key, unread in find_references(body).items():
            self.changes.blobs.append({"key": key, "task_id": task_id, "unread": unread})

    def _rows(self, now: datetime) -> Changes:
        changes = self.changes
        for task_id in sorted(self.touched):  # ids sort by time, so that an index grows at its end
            wanted = task_id not in self.gone and is_wanted_ended(self.records[task_id])
            row = _task_row(self.records[task_id], self.tasks.get(task_id), self.outcomes.get(task_id))
            row["cancel_at"] = to_micros(now) if wanted else None
            row["failure_group"] = self._group(self.records[task_id])
            changes.tasks.append(row)
        changes.gone = sorted(self.gone - self.touched)
        # A finish tells when its attempt started, so it stands for the start as well.
        changes.starts = [row for key, row in self.starts.items() if key not in self.finishes]
        changes.finishes = list(self.finishes.values())
        changes.groups = list(self.groups.values())
        return changes

    def _group(self, record: TaskRecord) -> str | None:
        """Return the group of failures that a task is in now."""
        before, group = self.known.get(record.task_id), self.grouped.get(record.task_id)
        if before is not None and before.finished_at == record.finished_at:
            return group  # a failure that was dismissed stays so, unless the task fails anew
        if group is not None:
            self.changes.moves.left.append(group)
        alike = group_of(record)
        if alike is None or record.finished_at is None:
            return None
        self.changes.moves.joined.append(Joined(alike.group, record.task_id, record.finished_at))
        self.groups[alike.group] = _group_row(alike)
        return alike.group


_Run = tuple[str, int, str, int]
"""One execution: task, attempt, worker and when it started."""


def _task_row(record: TaskRecord, task: bytes | None, outcome: bytes | None) -> Row:
    return {
        "task_id": record.task_id,
        "state": record.state.value,
        "operation": record.operation,
        "family": family_of(record.operation),
        "lane": record.lane,
        "worker": record.worker,
        "finished_at": to_micros(record.finished_at) if record.finished_at else None,
        "record": encode_record(record),
        "due_at": to_micros(due) if (due := due_at(record)) else None,
        "task": task,
        "outcome": outcome,
    }


def _group_row(alike: Alike) -> Row:
    return {"group_id": alike.group, "operation": alike.operation, "type": alike.type, "frame": alike.frame}


def _start_row(start: TaskStarted) -> Row:
    return {
        "task_id": start.task_id,
        "attempt": start.attempt,
        "worker": start.worker,
        "started_at": to_micros(start.started_at),
        "since": to_micros(start.since),
    }


def _loss_row(lost: TaskLost) -> Row:
    return {
        "of_task": lost.task_id,
        "of_attempt": lost.attempt,
        "of_worker": lost.worker,
        "until": to_micros(lost.since),
        "lost_at": to_micros(lost.at),
    }


def _finish_row(end: TaskFinished) -> Row:
    return {
        "task_id": end.task_id,
        "attempt": end.attempt,
        "worker": end.worker,
        "started_at": to_micros(end.started_at) if end.started_at else 0,
        "finished_at": to_micros(end.finished_at),
        "status": end.status.value,
        "outcome": encode_record(msgspec.structs.replace(end, result=None)),
    }
