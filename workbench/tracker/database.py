"""The tracker's memory: one transaction for each batch of messages, and a few questions.

SQLite (in WAL, every commit synced to disk) or PostgreSQL, from the same statements. What is written is decided in
`batch`; this file reads, writes and translates the database's errors. It blocks, so it is called in threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from workbench.core.errors import WorkbenchError
from workbench.core.messages import OperationSpec, TaskFinished
from workbench.core.rpc import Outcomes, WorkerRecord
from workbench.core.states import TERMINAL, State, TaskRecord
from workbench.tracker import schema
from workbench.tracker.batch import (
    Batch,
    Received,
    Row,
    decode_outcome,
    decode_record,
    decode_spec,
    decode_worker,
    operation_rows,
    task_changes,
    worker_rows,
)
from workbench.tracker.schema import attempts, from_micros, operations, tasks, to_micros, workers

SILENCE = 30.0
"""Seconds without a sign of life after which a worker counts as offline."""

FORGET = 24 * 3600.0
"""Seconds after which a worker that is offline is no longer told of."""

_CHUNK = 500  # ids in one SELECT: few enough for every database, many enough to be cheap
_WRITING = "workbench_writing"
_ADVISORY_LOCK = 0x776B6268  # any number, the same for every tracker


class DatabaseUnavailable(WorkbenchError):
    """The tracker's database can't be read or written just now: locked, full, unreachable or damaged."""


class Unrecordable(WorkbenchError, ValueError):
    """A message holds a value that the database can't store. Trying again won't help."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a task; `outcome` (without its result) is None while it runs, or where its worker was lost."""

    attempt: int
    worker: str
    started_at: datetime | None
    outcome: TaskFinished | None


class Database:
    """Everything the tracker remembers.

    Parameters
    ----------
    url
        `sqlite:////absolute/path`, or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise WorkbenchError(
                f"the tracker's database can't be used: {error}. "
                "WORKBENCH_DATABASE takes sqlite:////absolute/path or postgresql+psycopg://user@host/name"
            ) from error
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        insert = sqlite.insert if self._is_sqlite else postgresql.insert
        self._statements = _Statements(insert)
        if self._is_sqlite:
            _tune_sqlite(self._engine)

    def __repr__(self) -> str:
        return f"<Database {self._engine.url!r}>"  # its repr hides the password

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Create what is missing, and check that what is there can be used.

        Raises
        ------
        DatabaseUnavailable
            Where it can't be reached or written.
        WorkbenchError
            Where it was made by a different version.
        """
        if self._is_sqlite and self._engine.url.database:
            Path(self._engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._write() as connection:
            schema.metadata.create_all(connection)
            version = connection.scalar(sa.select(schema.schema_version.c.version))
            if version is None:
                connection.execute(sa.insert(schema.schema_version).values(version=schema.VERSION))
            elif version != schema.VERSION:
                raise WorkbenchError(
                    f"{self._engine.url!r} has schema version {version}, and this workbench takes {schema.VERSION}. "
                    "Use the version that made it, or move the database away to start with an empty one"
                )

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._engine.dispose()

    # --- writing ----------------------------------------------------------------------------------

    def apply(self, received: Iterable[Received], *, now: datetime) -> dict[str, TaskFinished]:
        """Record messages in one transaction, durably; nothing changes where they are recorded already.

        Parameters
        ----------
        received
            Messages and the bytes they came as.
        now
            When they came: workers are heard from at this time.

        Returns
        -------
        dict
            The outcomes that ended a task just now, by task id.

        Raises
        ------
        DatabaseUnavailable
            Nothing was recorded, but may be later.
        Unrecordable
            One of the messages can't be recorded, so none was.
        """
        batch = Batch(received)
        with self._write() as connection:
            known = _records(connection, batch.task_ids)
            changes = task_changes(batch.facts, known)
            self._put(connection, self._statements.task, changes.tasks)
            self._put(connection, self._statements.start, changes.starts)
            self._put(connection, self._statements.finish, changes.finishes)
            if batch.worker_events:
                told = _workers(connection, batch.workers)
                self._put(connection, self._statements.worker, worker_rows(batch.worker_events, told, now))
                self._put(connection, self._statements.operation, operation_rows(batch.worker_events))
        return changes.ended

    def sweep(self, *, before: datetime, now: datetime) -> int:
        """Drop the results of tasks that ended before a time; their records stay. Returns how many."""
        statement = (
            sa.update(tasks)
            .where(tasks.c.finished_at < to_micros(before), tasks.c.swept_at.is_(None))
            .values(outcome=None, task=None, swept_at=to_micros(now))
        )
        with self._write() as connection:
            return connection.execute(statement).rowcount

    # --- asking -----------------------------------------------------------------------------------

    def records(self, task_ids: Sequence[str]) -> list[TaskRecord]:
        """Return the records of these tasks in this order, without those never heard of."""
        with self._read() as connection:
            known = _records(connection, task_ids)
        return [known[task_id] for task_id in task_ids if task_id in known]

    def newest(
        self,
        *,
        state: State | None = None,
        operation: str | None = None,
        worker: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[TaskRecord]:
        """Return the newest tasks that match, newest first, older than the task `before`."""
        query = sa.select(tasks.c.record).order_by(tasks.c.task_id.desc()).limit(limit)
        if state is not None:
            query = query.where(tasks.c.state == state.value)
        if operation is not None:
            query = query.where(tasks.c.operation == operation)
        if worker is not None:
            query = query.where(tasks.c.worker == worker)
        if before is not None:
            query = query.where(tasks.c.task_id < before)
        with self._read() as connection:
            return [decode_record(blob) for blob in connection.scalars(query)]

    def outcomes(self, task_ids: Sequence[str], *, budget: int = 2**30) -> Outcomes:
        """Return what has become of these tasks; those in none of its lists are known and go on.

        Once `budget` bytes of outcomes are found it leaves out the rest, whatever became of them.
        """
        ended: list[TaskFinished] = []
        unknown: list[str] = []
        expired: list[str] = []
        terminal = {state.value for state in TERMINAL}
        with self._read() as connection:
            for chunk in _chunks(list(dict.fromkeys(task_ids))):
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
        with self._read() as connection:
            counted = {State(state): count for state, count in connection.execute(query)}
        return {state: counted.get(state, 0) for state in State}

    def attempts(self, task_id: str) -> list[Attempt]:
        """Return every execution of a task, in order."""
        query = (
            sa.select(attempts.c.attempt, attempts.c.worker, attempts.c.started_at, attempts.c.outcome)
            .where(attempts.c.task_id == task_id)
            .order_by(attempts.c.attempt, attempts.c.started_at)
        )
        with self._read() as connection:
            return [
                Attempt(
                    attempt=attempt,
                    worker=worker,
                    started_at=None if started_at is None else from_micros(started_at),
                    outcome=None if outcome is None else decode_outcome(outcome),
                )
                for attempt, worker, started_at, outcome in connection.execute(query)
            ]

    def task(self, task_id: str) -> bytes | None:
        """Return the message of a task's newest attempt as it came; None where there is none (any more)."""
        with self._read() as connection:
            return connection.scalar(sa.select(tasks.c.task).where(tasks.c.task_id == task_id))

    def operations(self) -> list[OperationSpec]:
        """Return every operation that a worker ever announced, by name."""
        with self._read() as connection:
            return [decode_spec(blob) for blob in connection.scalars(_ALL_OPERATIONS)]

    def workers(self, *, now: datetime) -> list[WorkerRecord]:
        """Return the workers of the last day; one that has been silent for a while counts as offline."""
        query = (
            sa.select(workers.c.record, workers.c.seen_at)
            .where(workers.c.seen_at > to_micros(now - timedelta(seconds=FORGET)))
            .order_by(workers.c.worker)
        )
        alive = to_micros(now - timedelta(seconds=SILENCE))
        with self._read() as connection:
            told = [(decode_worker(blob), seen_at) for blob, seen_at in connection.execute(query)]
        return [
            record if not record.online or seen_at >= alive else msgspec.structs.replace(record, online=False)
            for record, seen_at in told
        ]

    # --- connections ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        engine = self._engine.execution_options(**{_WRITING: True})
        with _translated(), engine.begin() as connection:
            if not self._is_sqlite:
                # As SQLite's BEGIN IMMEDIATE: what is read stays true until it is written, even where two trackers
                # are active for a moment.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield connection

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection:
            yield connection

    @staticmethod
    def _put(connection: sa.Connection, statement: sa.Executable, rows: list[Row]) -> None:
        if rows:
            connection.execute(statement, rows)


class _Statements:
    """The upserts, each built once."""

    def __init__(self, insert: Any) -> None:
        task = insert(tasks)
        new = task.excluded
        self.task = task.on_conflict_do_update(
            index_elements=[tasks.c.task_id],
            set_={
                "state": new.state,
                "operation": new.operation,
                "family": new.family,
                "worker": new.worker,
                "finished_at": new.finished_at,
                "record": new.record,
                "task": sa.func.coalesce(new.task, tasks.c.task),
                "outcome": sa.func.coalesce(new.outcome, tasks.c.outcome),
            },
        )
        key = [attempts.c.task_id, attempts.c.attempt, attempts.c.worker]
        start = insert(attempts)
        new = start.excluded
        self.start = start.on_conflict_do_update(
            index_elements=key,
            set_={"started_at": new.started_at},
            where=sa.and_(attempts.c.finished_at.is_(None), new.started_at > attempts.c.started_at),
        )
        finish = insert(attempts)
        new = finish.excluded
        self.finish = finish.on_conflict_do_update(
            index_elements=key,
            set_={name: new[name] for name in ("started_at", "finished_at", "status", "outcome")},
            where=sa.or_(attempts.c.finished_at.is_(None), new.finished_at > attempts.c.finished_at),
        )
        worker = insert(workers)
        self.worker = worker.on_conflict_do_update(
            index_elements=[workers.c.worker],
            set_={name: worker.excluded[name] for name in ("online", "seen_at", "record")},
        )
        operation = insert(operations)
        new = operation.excluded
        self.operation = operation.on_conflict_do_update(
            index_elements=[operations.c.name],
            set_={"announced_at": new.announced_at, "spec": new.spec},
            where=new.announced_at > operations.c.announced_at,
        )


_ALL_OPERATIONS = sa.select(operations.c.spec).order_by(operations.c.name)


def _records(connection: sa.Connection, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
    known = {}
    for chunk in _chunks(task_ids):
        for blob in connection.scalars(sa.select(tasks.c.record).where(tasks.c.task_id.in_(chunk))):
            record = decode_record(blob)
            known[record.task_id] = record
    return known


def _workers(connection: sa.Connection, names: Sequence[str]) -> dict[str, WorkerRecord]:
    known = {}
    for chunk in _chunks(names):
        for blob in connection.scalars(sa.select(workers.c.record).where(workers.c.worker.in_(chunk))):
            record = decode_worker(blob)
            known[record.worker] = record
    return known


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), _CHUNK):
        yield ids[first : first + _CHUNK]


def _tune_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 begins no transactions of its own: `_begin` does
        for pragma in (
            "busy_timeout=5000",
            "journal_mode=WAL",
            "synchronous=FULL",  # a delivery is acknowledged after the commit, so the commit must survive a power cut
            "wal_autocheckpoint=4000",
            "cache_size=-65536",  # KiB
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # IMMEDIATE takes the write lock before the first read: what is folded onto can't change under it.
        writing = connection.get_execution_options().get(_WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.DataError, OverflowError, UnicodeError) as error:
        raise Unrecordable(f"the database can't store a value: {error}") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise DatabaseUnavailable(f"the tracker's database can't be used just now: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
