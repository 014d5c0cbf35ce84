"""The tracker's memory: one transaction for each batch of messages, and the little else that writes.

What is written is decided in `batch`, what can be asked is in `questions`. Writing blocks, so it is done in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from workbench.core.messages import TaskFinished
from workbench.core.rpc import WorkerRecord
from workbench.core.states import TaskRecord
from workbench.tracker import migrations
from workbench.tracker.batch import Batch, Received, task_changes
from workbench.tracker.connections import Connections, DatabaseUnavailable, Unrecordable, chunks
from workbench.tracker.groups import Moves
from workbench.tracker.questions import Questions
from workbench.tracker.schema import blobs, tasks, to_micros, workers
from workbench.tracker.statements import Statements
from workbench.tracker.views import groups_of, records_of
from workbench.tracker.workers import decode_worker, fold_workers, operation_rows, worker_rows

__all__ = ["Applied", "Database", "DatabaseUnavailable", "Unrecordable"]


class Applied(NamedTuple):
    """What came of a batch, for those who wait for it."""

    ended: dict[str, TaskFinished]  # the outcomes that ended a task just now, by task id
    wishes: list[str]  # tasks that somebody wants ended since just now
    transitions: list[tuple[TaskRecord | None, TaskRecord]]  # records before and after each fact that told news
    moves: Moves  # of tasks between groups of failures
    workers: list[WorkerRecord]  # that were heard from


class Database(Questions):
    """Everything the tracker remembers.

    Parameters
    ----------
    url
        `sqlite:////absolute/path`, or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(Connections(url))
        insert = sqlite.insert if self._connections.is_sqlite else postgresql.insert
        self._statements = Statements(insert)

    def __repr__(self) -> str:
        return f"<Database {self._connections!r}>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Create what is missing, upgrade what an earlier version made, and check that it can be used.

        Raises
        ------
        DatabaseUnavailable
            Where it can't be reached or written.
        WorkbenchError
            Where it was made by a later version.
        """
        try:
            self._connections.prepare()
            with self._connections.write() as connection:
                migrations.bring_up(connection)
        except BaseException:
            self.close()
            raise

    def evict(self) -> None:
        """End whoever writes here still, though another tracker is the active one now; where that can be done."""
        self._connections.evict()

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._connections.close()

    def apply(self, received: Iterable[Received], *, now: datetime) -> Applied:
        """Record messages in one transaction, durably; nothing changes where they are recorded already.

        Parameters
        ----------
        received
            Messages and the bytes they came as.
        now
            When they came: workers are heard from at this time.

        Raises
        ------
        DatabaseUnavailable
            Nothing was recorded, but may be later.
        Unrecordable
            One of the messages can't be recorded, so none was.
        """
        batch = Batch(received)
        heard: list[WorkerRecord] = []
        with self._connections.write() as connection:
            known = records_of(connection, batch.task_ids)
            changes = task_changes(batch.facts, known, groups_of(connection, known.values()), now)
            self._statements.task.run(connection, changes.tasks)
            self._statements.start.run(connection, changes.starts)
            self._statements.finish.run(connection, changes.finishes)
            self._statements.loss.run(connection, changes.losses)
            self._statements.blob.run(connection, changes.blobs)
            self._statements.group.run(connection, changes.groups)
            for chunk in chunks(changes.gone):
                connection.execute(self._statements.gone, {"ids": chunk})
            if batch.worker_events:
                told = _known_workers(connection, batch.workers)
                heard = fold_workers(batch.worker_events, told)
                self._statements.worker.run(connection, worker_rows(heard, now))
                self._statements.operation.run(connection, operation_rows(batch.worker_events))
        return Applied(changes.ended, changes.wishes, changes.transitions, changes.moves, heard)

    def pin(self, task_ids: Sequence[str], pinned: bool) -> list[str]:
        """Keep the results of these tasks beyond their retention time, or no longer. Returns those that are known."""
        with self._connections.write() as connection:
            for chunk in chunks(task_ids):
                connection.execute(sa.update(tasks).where(tasks.c.task_id.in_(chunk)).values(pinned=pinned))
            known = records_of(connection, task_ids)
        return [task_id for task_id in task_ids if task_id in known]

    def dismiss(self, group: str, *, most: int) -> list[str]:
        """Take failed tasks out of their group, `most` at once; return which. They stay failed."""
        with self._connections.write() as connection:
            these = sa.select(tasks.c.task_id).where(tasks.c.failure_group == group).limit(most)
            ids = list(connection.scalars(these))
            for chunk in chunks(ids):
                connection.execute(sa.update(tasks).where(tasks.c.task_id.in_(chunk)).values(failure_group=None))
        return ids

    def sweep(self, *, before: datetime, now: datetime, most: int = 500) -> int:
        """Drop the results of tasks that ended before a time, and what they refer to; their records stay.

        Returns
        -------
        int
            How many; `most` where there may be more.
        """
        over = sa.and_(
            tasks.c.finished_at < to_micros(before),
            tasks.c.finished_at.is_not(None),
            tasks.c.swept_at.is_(None),
            sa.not_(tasks.c.pinned),
        )
        with self._connections.write() as connection:
            ids = list(connection.scalars(sa.select(tasks.c.task_id).where(over).limit(most)))
            for chunk in chunks(ids):
                these = tasks.c.task_id.in_(chunk)
                # Of a task whose copy never came in no message can lie on a queue.
                never_came = sa.case((tasks.c.task.is_(None), sa.null()), else_=tasks.c.cancel_at)
                values = {"outcome": None, "task": None, "swept_at": to_micros(now), "cancel_at": never_came}
                connection.execute(sa.update(tasks).where(these).values(values))
                connection.execute(sa.delete(blobs).where(blobs.c.task_id.in_(chunk)))
        return len(ids)

    def note_read(self, key: str, found: Mapping[str, bool]) -> None:
        """Note what something in the store refers to: whoever refers to it refers to that as well.

        Parameters
        ----------
        key
            What was looked into.
        found
            The keys that it names, each with whether that is to be looked into as well.
        """
        with self._connections.write() as connection:
            holders = list(connection.scalars(sa.select(blobs.c.task_id).where(blobs.c.key == key)))
            rows = [
                {"key": inner, "task_id": task_id, "unread": unread}
                for task_id in holders
                for inner, unread in found.items()
            ]
            self._statements.blob.run(connection, rows)
            connection.execute(sa.update(blobs).where(blobs.c.key == key).values(unread=False))


def _known_workers(connection: sa.Connection, names: Sequence[str]) -> dict[str, WorkerRecord]:
    known = {}
    for chunk in chunks(names):
        for blob in connection.scalars(sa.select(workers.c.record).where(workers.c.worker.in_(chunk))):
            record = decode_worker(blob)
            known[record.worker] = record
    return known
