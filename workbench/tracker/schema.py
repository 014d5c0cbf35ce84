"""The tables. What is searched or counted has a column; everything else of a row is one encoded message.

Times are integers, microseconds since 1970 in UTC: both databases store and compare those without conversion.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

VERSION = 3
"""Goes up with every change that an older tracker couldn't work with; `migrations` leads from each to the next."""

metadata = MetaData()


def _partial(name: str, *columns: str, where: str) -> Index:
    """An index of few rows: what isn't in it costs nothing to write."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", String(64), primary_key=True),  # sorts by time
    Column("state", String(16), nullable=False),
    Column("operation", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("lane", Text),
    Column("worker", Text),
    Column("finished_at", BigInteger),
    Column("record", LargeBinary, nullable=False),  # a core.states.TaskRecord
    Column("task", LargeBinary),  # the message of the newest attempt, as it came
    Column("outcome", LargeBinary),  # the TaskFinished that ended it, as it came; NULL once swept
    Column("swept_at", BigInteger),
    Column("due_at", BigInteger),  # when the tracker has to end it, if nobody else has by then
    # When somebody's wish to end it was recorded; NULL again once no message of it can lie on a queue any more.
    Column("cancel_at", BigInteger),
    Column("pinned", Boolean, nullable=False, server_default=false()),  # its result is kept
    # The group of a task that has failed; NULL where it hasn't, or where the failure was dismissed.
    Column("failure_group", String(16)),
    # Those of a search: `task_id` follows what a branch names, so that the newest come first; what is behind it spares
    # a look at the row.
    Index("tasks_by_state", "state", "task_id"),
    Index("tasks_by_operation_and_state", "operation", "state", "task_id", "worker"),
    Index("tasks_by_worker_and_state", "worker", "state", "task_id", "operation"),
    _partial(
        "tasks_by_failure",
        *("failure_group", "task_id", "finished_at", "worker"),
        where="failure_group IS NOT NULL",
    ),
    _partial("tasks_due", "due_at", where="due_at IS NOT NULL"),
    _partial("tasks_cancelled", "task_id", where="cancel_at IS NOT NULL"),
    _partial("tasks_to_cancel", "cancel_at", where="cancel_at IS NOT NULL AND finished_at IS NULL"),
    _partial("tasks_to_sweep", "finished_at", where="finished_at IS NOT NULL AND swept_at IS NULL"),
)

failure_groups = Table(
    "failure_groups",
    metadata,
    Column("group_id", String(16), primary_key=True),
    Column("operation", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("frame", Text, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("task_id", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("worker", Text, primary_key=True),
    # By the worker's clock; 0 where it never started. Part of the key, as a worker may die amid an attempt, come back
    # under its name and run the same attempt again.
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("since", BigInteger),  # when its worker last spoke of it as running
    Column("finished_at", BigInteger),
    Column("lost_at", BigInteger),  # when its worker was found to have vanished
    Column("status", String(16)),  # NULL while it runs
    Column("outcome", LargeBinary),  # its TaskFinished, without the result
    sqlite_with_rowid=False,  # its key is all that anybody looks for
)

blobs = Table(
    "blobs",
    metadata,
    Column("key", String(80), primary_key=True),  # what lies in the store
    Column("task_id", String(64), primary_key=True),  # whose arguments or result refer to it
    # Whether it may hold references itself, and hasn't been looked into yet.
    Column("unread", Boolean, nullable=False),
    Index("blobs_by_task", "task_id"),
    Index("blobs_unread", "unread", "key", sqlite_where=text("unread = 1"), postgresql_where=text("unread")),
    sqlite_with_rowid=False,
)

workers = Table(
    "workers",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("online", Boolean, nullable=False),  # as the worker itself said last
    Column("seen_at", BigInteger, nullable=False),  # by the tracker's clock: workers' clocks may differ
    Column("record", LargeBinary, nullable=False),  # a core.rpc.WorkerRecord
)

operations = Table(
    "operations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("announced_at", BigInteger, nullable=False),
    Column("spec", LargeBinary, nullable=False),  # a core.messages.OperationSpec
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(time: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + micros * _MICROSECOND
