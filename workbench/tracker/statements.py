"""The statements with which a batch is written, for both databases."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from workbench.tracker.batch import Row
from workbench.tracker.schema import attempts, blobs, failure_groups, operations, tasks, workers


class Prepared:
    """A statement that is compiled once, for rows that all have the same names.

    SQLAlchemy would look through the parameters of each row again, which takes longer than the database does.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._text = ""
        self._in_order: Callable[[Row], Any] | None = None  # where the database takes parameters by their place

    def run(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Execute it for each row."""
        if not rows:
            return
        if not self._text:
            compiled = self._statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
            self._in_order = operator.itemgetter(*compiled.positiontup) if compiled.positional else None
            self._text = str(compiled)
        connection.exec_driver_sql(self._text, list(map(self._in_order, rows) if self._in_order else rows))


class Statements:
    """What a batch writes, each statement built once."""

    def __init__(self, insert: Any) -> None:
        task = insert(tasks)
        new = task.excluded
        self.task = Prepared(
            task.on_conflict_do_update(
                index_elements=[tasks.c.task_id],
                set_={
                    "state": new.state,
                    "operation": new.operation,
                    "family": new.family,
                    "lane": new.lane,
                    "worker": new.worker,
                    "finished_at": new.finished_at,
                    "due_at": new.due_at,
                    "record": new.record,
                    "failure_group": new.failure_group,
                    "task": sa.func.coalesce(new.task, tasks.c.task),
                    # One that was sent again from the dead letters has neither ended nor been swept.
                    "outcome": sa.case(
                        (new.finished_at.is_(None), sa.null()), else_=sa.func.coalesce(new.outcome, tasks.c.outcome)
                    ),
                    "swept_at": sa.case(
                        (sa.or_(new.finished_at.is_(None), new.outcome.is_not(None)), sa.null()), else_=tasks.c.swept_at
                    ),
                    "cancel_at": sa.case(
                        (new.cancel_at.is_(None), sa.null()), else_=sa.func.coalesce(tasks.c.cancel_at, new.cancel_at)
                    ),
                },
            )
        )
        self.gone = (
            sa.update(tasks)
            .where(tasks.c.task_id.in_(sa.bindparam("ids", expanding=True)), tasks.c.cancel_at.is_not(None))
            .values(cancel_at=None)
        )
        key = [attempts.c.task_id, attempts.c.attempt, attempts.c.worker, attempts.c.started_at]
        start = insert(attempts)
        new = start.excluded
        self.start = Prepared(
            start.on_conflict_do_update(
                index_elements=key,
                set_={"since": new.since, "lost_at": sa.null()},
                where=sa.and_(attempts.c.finished_at.is_(None), new.since > attempts.c.since),
            )
        )
        finish = insert(attempts)
        new = finish.excluded
        self.finish = Prepared(
            finish.on_conflict_do_update(
                index_elements=key,
                set_={name: new[name] for name in ("finished_at", "status", "outcome")},
                where=sa.or_(attempts.c.finished_at.is_(None), new.finished_at > attempts.c.finished_at),
            )
        )
        self.loss = Prepared(
            sa.update(attempts)
            .where(
                attempts.c.task_id == sa.bindparam("of_task"),
                attempts.c.attempt == sa.bindparam("of_attempt"),
                attempts.c.worker == sa.bindparam("of_worker"),
                attempts.c.since <= sa.bindparam("until"),
                attempts.c.finished_at.is_(None),
                attempts.c.lost_at.is_(None),
            )
            .values(lost_at=sa.bindparam("lost_at"))
        )
        blob = insert(blobs)
        self.blob = Prepared(blob.on_conflict_do_nothing(index_elements=[blobs.c.key, blobs.c.task_id]))
        group = insert(failure_groups)
        self.group = Prepared(group.on_conflict_do_nothing(index_elements=[failure_groups.c.group_id]))
        worker = insert(workers)
        self.worker = Prepared(
            worker.on_conflict_do_update(
                index_elements=[workers.c.worker],
                set_={name: worker.excluded[name] for name in ("online", "seen_at", "record")},
            )
        )
        operation = insert(operations)
        new = operation.excluded
        self.operation = Prepared(
            operation.on_conflict_do_update(
                index_elements=[operations.c.name],
                set_={"announced_at": new.announced_at, "spec": new.spec},
                where=new.announced_at > operations.c.announced_at,
            )
        )
