"""Facts about tasks and workers at known times, and what a tracker's database makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from workbench.core.ids import new_task_id
from workbench.core.messages import Event, Status, Task, TaskFinished, TaskStarted, WorkerOnline, encode
from workbench.tracker import schema
from workbench.tracker.database import Database

T0 = datetime(2026, 1, 1, tzinfo=UTC)
IDS = [new_task_id() for _ in range(20)]


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def accepted(task_id: str = IDS[0], attempt: int = 1, operation: str = "image.thumbnail", **more: Any) -> Task:
    return Task(
        task_id=task_id,
        operation=operation,
        client="c",
        submitted_at=at(0),
        queued_at=at(attempt),
        attempt=attempt,
        **more,
    )


def started(
    task_id: str = IDS[0], attempt: int = 1, worker: str = "w1", seconds: float = 2, **more: Any
) -> TaskStarted:
    return TaskStarted(task_id=task_id, attempt=attempt, worker=worker, slot=0, started_at=at(seconds), **more)


def finished(
    task_id: str = IDS[0], status: Status = Status.SUCCEEDED, attempt: int = 1, worker: str = "w1", **more: Any
) -> TaskFinished:
    return TaskFinished(
        task_id=task_id,
        operation="image.thumbnail",
        client="c",
        attempt=attempt,
        status=status,
        worker=worker,
        **{"started_at": at(2), "finished_at": at(3), **more},
    )


def online(worker: str = "w1", seconds: float = 0, pid: int = 1, **more: Any) -> WorkerOnline:
    return WorkerOnline(worker=worker, host="h", pid=pid, families=("image",), slots=2, at=at(seconds), **more)


def learn(database: Database, *messages: Task | Event, now: datetime = T0) -> dict[str, TaskFinished]:
    return database.apply([(message, encode(message)) for message in messages], now=now).ended


def dump(database: Database) -> dict[str, list[Any]]:
    with database._connections.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            for table in schema.metadata.sorted_tables
        }
