"""The tables. What is searched or counted has a column; everything else of a row is one encoded message.

Times are integers, microseconds since 1970 in UTC: both databases store and compare those without conversion.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

VERSION = 1
"""Goes up with every change that an older tracker couldn't work with."""

metadata = MetaData()

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
    Column("worker", Text),
    Column("finished_at", BigInteger),
    Column("record", LargeBinary, nullable=False),  # a core.states.TaskRecord
    Column("task", LargeBinary),  # the message of the newest attempt, as it came
    Column("outcome", LargeBinary),  # the TaskFinished that ended it, as it came; NULL once swept
    Column("swept_at", BigInteger),
    Index("tasks_by_state", "state", "task_id"),
    Index("tasks_by_operation", "operation", "task_id"),
    Index("tasks_by_worker", "worker", "task_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("task_id", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("worker", Text, primary_key=True),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("status", String(16)),  # NULL while it runs
    Column("outcome", LargeBinary),  # its TaskFinished, without the result
    sqlite_with_rowid=False,  # its key is all that anybody looks for
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
