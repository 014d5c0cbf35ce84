"""The way from each version of the schema to the next, in the transaction that opens the database.

A step is written for the tables as they were then, in plain SQL: it must not change when `schema` does.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from workbench.core.errors import WorkbenchError
from workbench.core.states import TaskRecord
from workbench.tracker import schema
from workbench.tracker.failures import group_of
from workbench.values.sweep import find_references


def bring_up(connection: sa.Connection) -> None:
    """Make the tables, or upgrade what is there, step by step.

    Raises
    ------
    WorkbenchError
        Where a newer version made the database.
    """
    version = None
    if sa.inspect(connection).has_table(schema.schema_version.name):
        version = connection.scalar(sa.select(schema.schema_version.c.version))
    if version is not None and version not in range(1, schema.VERSION + 1):
        raise WorkbenchError(
            f"{connection.engine.url!r} has schema version {version}, and this workbench knows those up to "
            f"{schema.VERSION}. Use the version of workbench that made it, or move the database away to start with an "
            "empty one"
        )
    for step in range(version or schema.VERSION, schema.VERSION):
        _STEPS[step](connection)
    schema.metadata.create_all(connection)
    if version is None:
        connection.execute(sa.insert(schema.schema_version).values(version=schema.VERSION))
    elif version < schema.VERSION:
        connection.execute(sa.update(schema.schema_version).values(version=schema.VERSION))


def _to_2(connection: sa.Connection) -> None:
    """Cancelling, due times, lanes, pins, lost attempts and what refers to the store."""
    is_sqlite = connection.dialect.name == "sqlite"
    for column in (
        "lane TEXT",
        "due_at BIGINT",
        "cancel_at BIGINT",
        f"pinned BOOLEAN NOT NULL DEFAULT {'0' if is_sqlite else 'false'}",
    ):
        connection.exec_driver_sql(f"ALTER TABLE tasks ADD COLUMN {column}")
    # Partial indexes are no part of what `create_all` adds to a table that is there.
    for index in (
        "tasks_due ON tasks (due_at) WHERE due_at IS NOT NULL",
        "tasks_cancelled ON tasks (task_id) WHERE cancel_at IS NOT NULL",
        "tasks_to_cancel ON tasks (cancel_at) WHERE cancel_at IS NOT NULL AND finished_at IS NULL",
        "tasks_to_sweep ON tasks (finished_at) WHERE finished_at IS NOT NULL AND swept_at IS NULL",
    ):
        connection.exec_driver_sql(f"CREATE INDEX {index}")
    # The start becomes part of the key: the table is made anew. Its index keeps its name over a rename in PostgreSQL.
    connection.exec_driver_sql("ALTER TABLE attempts RENAME TO attempts_of_version_1")
    if not is_sqlite:
        connection.exec_driver_sql("ALTER INDEX attempts_pkey RENAME TO attempts_of_version_1_pkey")
    blob = "BLOB" if is_sqlite else "BYTEA"
    connection.exec_driver_sql(
        "CREATE TABLE attempts (task_id VARCHAR(64) NOT NULL, attempt INTEGER NOT NULL, worker TEXT NOT NULL, "
        "started_at BIGINT NOT NULL, since BIGINT, finished_at BIGINT, lost_at BIGINT, status VARCHAR(16), "
        f"outcome {blob}, PRIMARY KEY (task_id, attempt, worker, started_at))" + (" WITHOUT ROWID" if is_sqlite else "")
    )
    connection.exec_driver_sql(
        "INSERT INTO attempts (task_id, attempt, worker, started_at, since, finished_at, status, outcome) "
        "SELECT task_id, attempt, worker, coalesce(started_at, 0), started_at, finished_at, status, outcome "
        "FROM attempts_of_version_1"
    )
    connection.exec_driver_sql("DROP TABLE attempts_of_version_1")
    schema.blobs.create(connection)
    _complete_live(connection)
    _fill_blobs(connection)


def _complete_live(connection: sa.Connection) -> None:
    """Give tasks that haven't ended what only their records tell of, and a time since when they run."""
    live = sa.text("SELECT task_id, state, record FROM tasks WHERE finished_at IS NULL")
    rows = []
    for task_id, state, blob in connection.execute(live).all():
        record = msgspec.msgpack.decode(blob)
        record["since"] = record.get("started_at") if state == "running" else None
        rows.append({"id": task_id, "lane": record.get("lane"), "record": msgspec.msgpack.encode(record)})
    if rows:
        connection.execute(sa.text("UPDATE tasks SET lane = :lane, record = :record WHERE task_id = :id"), rows)


def _fill_blobs(connection: sa.Connection) -> None:
    """Note what the messages and results that are kept refer to."""
    page = sa.text(
        "SELECT task_id, task, outcome FROM tasks "
        "WHERE swept_at IS NULL AND task_id > :after ORDER BY task_id LIMIT 1000"
    )
    note = sa.text("INSERT INTO blobs (key, task_id, unread) VALUES (:key, :task_id, :unread)")
    after = ""
    while rows := connection.execute(page, {"after": after}).all():
        after = rows[-1].task_id
        found = [
            {"key": key, "task_id": task_id, "unread": unread}
            for task_id, task, outcome in rows
            for key, unread in find_references(task or b"", outcome or b"").items()
        ]
        if found:
            connection.execute(note, found)


def _to_3(connection: sa.Connection) -> None:
    """Groups of failures, and indexes for searches by several things at once."""
    connection.exec_driver_sql("ALTER TABLE tasks ADD COLUMN failure_group VARCHAR(16)")
    for index in ("tasks_by_operation", "tasks_by_worker"):
        connection.exec_driver_sql(f"DROP INDEX {index}")
    for index in (
        "tasks_by_operation_and_state ON tasks (operation, state, task_id, worker)",
        "tasks_by_worker_and_state ON tasks (worker, state, task_id, operation)",
        "tasks_by_failure ON tasks (failure_group, task_id, finished_at, worker) WHERE failure_group IS NOT NULL",
    ):
        connection.exec_driver_sql(f"CREATE INDEX {index}")
    connection.exec_driver_sql(
        "CREATE TABLE failure_groups (group_id VARCHAR(16) NOT NULL, operation TEXT NOT NULL, type TEXT NOT NULL, "
        "frame TEXT NOT NULL, PRIMARY KEY (group_id))"
    )
    page = sa.text(
        "SELECT task_id, record FROM tasks WHERE state = 'failed' AND task_id > :after ORDER BY task_id LIMIT 1000"
    )
    note = sa.text("UPDATE tasks SET failure_group = :group WHERE task_id = :id")
    name = sa.text(
        "INSERT INTO failure_groups (group_id, operation, type, frame) VALUES (:group, :operation, :type, :frame)"
    )
    after, named = "", set[str]()
    while rows := connection.execute(page, {"after": after}).all():
        after = rows[-1].task_id
        alike = {task_id: group_of(msgspec.msgpack.decode(blob, type=TaskRecord)) for task_id, blob in rows}
        found = {each.group: each._asdict() for each in alike.values() if each is not None}
        if new := [found[group] for group in found.keys() - named]:
            connection.execute(name, new)
            named |= found.keys()
        connection.execute(note, [{"id": key, "group": each.group} for key, each in alike.items() if each is not None])


_STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _to_2, 2: _to_3}
