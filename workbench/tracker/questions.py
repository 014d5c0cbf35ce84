"""`Questions` to the tracker's database: nothing in here writes. They block, so they are asked in threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from workbench.core.live import FORGET
from workbench.core.messages import OperationSpec, TaskFinished
from workbench.core.routing import family_of
from workbench.core.rpc import AttemptRecord, Outcomes, WorkerRecord
from workbench.core.states import TERMINAL, State, TaskRecord
from workbench.tracker.batch import decode_outcome, decode_record
from workbench.tracker.connections import chunks
from workbench.tracker.schema import attempts, blobs, from_micros, operations, tasks, to_micros, workers
from workbench.tracker.views import Views, records_of
from workbench.tracker.workers import decode_spec, decode_worker

SILENCE = 15.0
"""Seconds without a sign of life after which a worker counts as lost: three heartbeats."""


class Due(NamedTuple):
    """What the tracker has duties to."""

    cancels: list[TaskRecord]  # that somebody wants ended, and that haven't
    overdue: list[TaskRecord]  # whose time to wait is over
    running: list[TaskRecord]
    workers: dict[str, WorkerRecord]


class Questions(Views):
    """What the tracker remembers, for reading."""

    def records(self, task_ids: Sequence[str]) -> list[TaskRecord]:
        """Return the records of these tasks in this order, without those never heard of."""
        with self._connections.read() as connection:
            known = records_of(connection, task_ids)
        return [known[task_id] for task_id in task_ids if task_id in known]

    def waiting(self, state: State, *, most: int) -> list[TaskRecord]:
        """Return the oldest tasks of this state, in order."""
        query = sa.select(tasks.c.record).where(tasks.c.state == state.value).order_by(tasks.c.task_id).limit(most)
        with self._connections.read() as connection:
            return [decode_record(blob) for blob in connection.scalars(query)]

    def outcomes(self, task_ids: Sequence[str], *, budget: int = 2**30) -> Outcomes:
        """Return what has become of these tasks; those in none of its lists are known and go on.

        Once `budget` bytes of outcomes are found it leaves out the rest, whatever became of them.
        """
        ended: list[TaskFinished] = []
        unknown: list[str] = []
        expired: list[str] = []
        terminal = {state.value for state in TERMINAL}
        with self._connections.read() as connection:
            for chunk in chunks(list(dict.fromkeys(task_ids))):
                query = sa.select(tasks.c.task_id, tasks.c.state, tasks.c.outcome).where(tasks.c.task_id.in_(chunk))
                missing = dict.fromkeys(chunk)
                for task_id, state, outcome in connection.execute(query):
                    del missing[task_id]
                    if outcome is None and state in terminal:
                        expired.append(task_id)
                    elif outcome is not None and budget > 0:
                        budget -= len(outcome)
                        ended.append(decode_outcome(outcome))
                unknown += missing
                if budget <= 0:
                    break
        return Outcomes(ended=tuple(ended), unknown=tuple(unknown), expired=tuple(expired))

    def counts(self) -> dict[State, int]:
        """Return how many tasks are in each state, states with none included."""
        query = sa.select(tasks.c.state, sa.func.count()).group_by(tasks.c.state)
        with self._connections.read() as connection:
            counted = {State(state): count for state, count in connection.execute(query)}
        return {state: counted.get(state, 0) for state in State}

    def attempts(self, task_id: str) -> list[AttemptRecord]:
        """Return every execution of a task, in order. One that another followed without a word from it was lost."""
        never_began = attempts.c.started_at == 0  # ended while it waited, for the attempt that comes next
        query = (
            sa.select(attempts)
            .where(attempts.c.task_id == task_id)
            .order_by(attempts.c.attempt, never_began, attempts.c.started_at)
        )
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        return [
            AttemptRecord(
                attempt=row.attempt,
                worker=row.worker,
                started_at=from_micros(row.started_at) if row.started_at else None,
                finished_at=None if row.finished_at is None else from_micros(row.finished_at),
                lost_at=None if row.outcome is not None else _lost_at(row, after),
                outcome=None if row.outcome is None else decode_outcome(row.outcome),
            )
            for row, after in itertools.zip_longest(rows, rows[1:])
        ]

    def task(self, task_id: str) -> bytes | None:
        """Return the message of a task's newest attempt as it came; None where there is none (any more)."""
        with self._connections.read() as connection:
            return connection.scalar(sa.select(tasks.c.task).where(tasks.c.task_id == task_id))

    def operations(self) -> list[OperationSpec]:
        """Return every operation that a worker ever announced, by name."""
        with self._connections.read() as connection:
            return [decode_spec(blob) for blob in connection.scalars(_ALL_OPERATIONS)]

    def workers(self, *, now: datetime) -> list[WorkerRecord]:
        """Return the workers of the last day; one that fell silent counts as offline, and as lost."""
        with self._connections.read() as connection:
            return list(_workers(connection, now).values())

    def heard(self, *, now: datetime) -> list[tuple[WorkerRecord, datetime]]:
        """Return the workers of the last day as they told of themselves, each with when it was heard of last."""
        with self._connections.read() as connection:
            return list(_heard(connection, now))

    def ahead(self, record: TaskRecord, *, most: int = 10_000) -> int:
        """Return how many tasks on the same queue were submitted before this one, counted up to `most`."""
        earlier = (
            sa.select(tasks.c.task_id)
            .where(
                tasks.c.state == State.QUEUED.value,
                tasks.c.task_id < record.task_id,
                tasks.c.family == family_of(record.operation),
                tasks.c.lane.is_not_distinct_from(record.lane),
            )
            .limit(most)
        )
        with self._connections.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(earlier.subquery())) or 0

    def cancelled(
        self, families: Sequence[str], lane: str | None, *, after: str = "", limit: int
    ) -> list[tuple[str, int]]:
        """Return the tasks (by id and replay) to be cancelled of which a message may lie on these families' queues."""
        query = (
            sa.select(tasks.c.record)
            .where(
                tasks.c.cancel_at.is_not(None),
                tasks.c.task_id > after,
                tasks.c.family.in_(families),
                tasks.c.lane.is_not_distinct_from(lane),
            )
            .order_by(tasks.c.task_id)
            .limit(limit)
        )
        with self._connections.read() as connection:
            records = [decode_record(blob) for blob in connection.scalars(query)]
        return [(record.task_id, record.replay) for record in records]

    def due(self, *, now: datetime, before: datetime, most: int = 5000) -> Due:
        """Return what the tracker has duties to: few rows, each found by an index of such rows.

        Tasks are overdue whose time was over `before`; workers are as they are `now`.
        """
        live = sa.and_(tasks.c.cancel_at.is_not(None), tasks.c.finished_at.is_(None))
        overdue = tasks.c.due_at <= to_micros(before)
        running = tasks.c.state == State.RUNNING.value
        query = sa.select(tasks.c.record).limit(most)
        with self._connections.read() as connection:

            def records(which: sa.ColumnElement[bool]) -> list[TaskRecord]:
                return [decode_record(blob) for blob in connection.scalars(query.where(which))]

            return Due(records(live), records(overdue), records(running), _workers(connection, now))

    def referred(self, keys: Sequence[str]) -> set[str]:
        """Return those of the store's keys that a task which is kept refers to."""
        with self._connections.read() as connection:
            return {
                key
                for chunk in chunks(keys)
                for key in connection.scalars(sa.select(blobs.c.key).where(blobs.c.key.in_(chunk)).distinct())
            }

    def unread(self, *, most: int = 100) -> list[str]:
        """Return keys of what is kept in the store and hasn't been looked into for references yet."""
        query = sa.select(blobs.c.key).where(blobs.c.unread).distinct().limit(most)
        with self._connections.read() as connection:
            return list(connection.scalars(query))


_ALL_OPERATIONS = sa.select(operations.c.spec).order_by(operations.c.name)


def _heard(connection: sa.Connection, now: datetime) -> Iterator[tuple[WorkerRecord, datetime]]:
    query = (
        sa.select(workers.c.record, workers.c.seen_at)
        .where(workers.c.seen_at > to_micros(now - timedelta(seconds=FORGET)))
        .order_by(workers.c.worker)
    )
    for blob, seen_at in connection.execute(query):
        yield decode_worker(blob), from_micros(seen_at)


def _workers(connection: sa.Connection, now: datetime) -> dict[str, WorkerRecord]:
    alive = now - timedelta(seconds=SILENCE)
    told = {}
    for record, seen_at in _heard(connection, now):
        if record.online and seen_at < alive:
            record = msgspec.structs.replace(record, online=False, lost=True)
        told[record.worker] = record
    return told


def _lost_at(row: Any, after: Any | None) -> datetime | None:
    """Return when an execution was lost of which nobody has said how it ended: at the latest when the next began.

    The tracker looks for lost workers among those of tasks that run, and another may run the task long before.
    """
    if row.lost_at is not None:
        return from_micros(row.lost_at)
    if after is None:
        return None
    return from_micros(after.started_at or after.finished_at)
