from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_task_id
from workbench.core.messages import Failure, Status, TaskFinished, TaskStarted, decode, encode
from workbench.core.states import State
from workbench.tracker import schema
from workbench.tracker.database import Database
from workbench.tracker.schema import to_micros

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DONE, RUNNING, QUEUED, SWEPT, FAILED = (new_task_id() for _ in range(5))
FAILURE = Failure(type="KeyError", message="1", traceback='File "/a/b.py", line 3, in pick')
KEY = "blake3/ab/" + "c" * 62

# As version 1 declared them; {blob} is BLOB or BYTEA.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE tasks (task_id VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, operation TEXT NOT NULL,
  family TEXT NOT NULL, worker TEXT, finished_at BIGINT, record {blob} NOT NULL, task {blob}, outcome {blob},
  swept_at BIGINT, PRIMARY KEY (task_id));
CREATE INDEX tasks_by_state ON tasks (state, task_id);
CREATE INDEX tasks_by_operation ON tasks (operation, task_id);
CREATE INDEX tasks_by_worker ON tasks (worker, task_id);
CREATE TABLE attempts (task_id VARCHAR(64) NOT NULL, attempt INTEGER NOT NULL, worker TEXT NOT NULL, started_at BIGINT,
  finished_at BIGINT, status VARCHAR(16), outcome {blob}, PRIMARY KEY (task_id, attempt, worker)){rowid};
CREATE TABLE workers (worker TEXT NOT NULL, online BOOLEAN NOT NULL, seen_at BIGINT NOT NULL, record {blob} NOT NULL,
  PRIMARY KEY (worker));
CREATE TABLE operations (name TEXT NOT NULL, announced_at BIGINT NOT NULL, spec {blob} NOT NULL, PRIMARY KEY (name));
INSERT INTO schema_version VALUES (1)
"""


class RecordOf1(msgspec.Struct, kw_only=True):
    """A task's record as version 1 wrote it."""

    task_id: str
    operation: str = "image.thumbnail"
    lane: str | None = None
    client: str = "c"
    state: str = "queued"
    attempt: int = 1
    submitted_at: datetime | None = T0
    queued_at: datetime | None = T0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    worker: str | None = None
    slot: int | None = None
    summary: str = ""
    failure: Failure | None = None
    output: str = ""
    peak_memory: int | None = None
    queued_attempt: int = 1
    failed_attempt: int = 0
    failed_at: datetime | None = None


class WorkerOf1(msgspec.Struct, kw_only=True):
    """A worker's record as version 1 wrote it."""

    worker: str = "w1"
    host: str = "h"
    pid: int = 7
    families: tuple[str, ...] = ("image",)
    lane: str | None = None
    slots: int = 2
    busy: int = 1
    memory: int = 5
    done: int = 3
    online: bool = True
    started_at: datetime = T0
    last_heartbeat_at: datetime = T0


def outcome(task_id: str) -> TaskFinished:
    return TaskFinished(
        task_id=task_id,
        operation="image.thumbnail",
        client="c",
        attempt=1,
        status=Status.SUCCEEDED,
        started_at=T0,
        finished_at=T0 + timedelta(seconds=3),
        worker="w1",
        result=KEY.encode(),
    )


def task_row(record: RecordOf1, **more: Any) -> dict[str, Any]:
    row = {
        "task_id": record.task_id,
        "state": record.state,
        "operation": record.operation,
        "family": "image",
        "worker": record.worker,
        "finished_at": to_micros(record.finished_at) if record.finished_at else None,
        "record": msgspec.msgpack.encode(record),
        "task": None,
        "outcome": None,
        "swept_at": None,
    }
    return row | more


def make_version_1(url: str) -> None:
    engine = sa.create_engine(url)
    is_sqlite = engine.dialect.name == "sqlite"
    script = VERSION_1.format(blob="BLOB" if is_sqlite else "BYTEA", rowid=" WITHOUT ROWID" if is_sqlite else "")
    end = T0 + timedelta(seconds=3)
    rows = [
        task_row(
            RecordOf1(task_id=DONE, state="succeeded", started_at=T0, finished_at=end, worker="w1"),
            outcome=encode(outcome(DONE)),
        ),
        task_row(RecordOf1(task_id=RUNNING, state="running", started_at=T0, worker="w1", slot=1)),
        task_row(RecordOf1(task_id=QUEUED, lane="fast", attempt=1)),
        task_row(RecordOf1(task_id=SWEPT, state="succeeded", finished_at=end), swept_at=to_micros(end)),
        task_row(RecordOf1(task_id=FAILED, state="failed", finished_at=end, failure=FAILURE)),
    ]
    tried = [
        {"task_id": DONE, "started_at": to_micros(T0), "finished_at": to_micros(end), "outcome": encode(outcome(DONE))},
        {"task_id": RUNNING, "started_at": to_micros(T0), "finished_at": None, "outcome": None},
        {"task_id": SWEPT, "started_at": None, "finished_at": to_micros(end), "outcome": encode(outcome(SWEPT))},
    ]
    with engine.begin() as connection:
        for statement in script.split(";"):
            connection.exec_driver_sql(statement)
        connection.execute(
            sa.text(
                "INSERT INTO tasks VALUES (:task_id, :state, :operation, :family, :worker, :finished_at, :record, "
                ":task, :outcome, :swept_at)"
            ),
            rows,
        )
        connection.execute(
            sa.text("INSERT INTO attempts VALUES (:task_id, 1, 'w1', :started_at, :finished_at, NULL, :outcome)"), tried
        )
        connection.execute(
            sa.text("INSERT INTO workers VALUES ('w1', :online, :seen, :record)"),
            {"online": True, "seen": to_micros(T0), "record": msgspec.msgpack.encode(WorkerOf1())},
        )
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 't.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def upgraded(url: str) -> Iterator[Database]:
    make_version_1(url)
    with Database(url) as database:
        yield database


def test_a_database_of_version_1_keeps_its_records_and_answers(upgraded: Database) -> None:
    records = upgraded.records([DONE, RUNNING, QUEUED, SWEPT])
    assert [record.state for record in records] == [State.SUCCEEDED, State.RUNNING, State.QUEUED, State.SUCCEEDED]
    told = upgraded.outcomes([DONE, RUNNING, SWEPT])
    assert (told.ended, told.expired, told.unknown) == ((outcome(DONE),), (SWEPT,), ())
    assert [(attempt.worker, attempt.started_at) for attempt in upgraded.attempts(RUNNING)] == [("w1", T0)]
    assert upgraded.attempts(SWEPT)[0].started_at is None
    assert upgraded.workers(now=T0)[0].slots == 2
    assert upgraded.counts()[State.QUEUED] == 1


def test_what_version_1_did_not_note_is_filled_in_by_the_upgrade(upgraded: Database) -> None:
    assert upgraded.referred([KEY]) == {KEY}
    start = TaskStarted(
        task_id=RUNNING, attempt=1, worker="w2", slot=0, started_at=T0 + timedelta(seconds=60)
    )  # it ran on w1, which is gone
    upgraded.apply([(start, encode(start))], now=T0)
    assert upgraded.records([RUNNING])[0].worker == "w2"
    with upgraded._connections.read() as connection:
        lane = connection.scalar(sa.select(schema.tasks.c.lane).where(schema.tasks.c.task_id == QUEUED))
    assert lane == "fast"


def test_the_upgrade_puts_failures_into_their_groups(upgraded: Database) -> None:
    (group,) = upgraded.told_groups(list(upgraded.counted_groups().items()))
    assert (group.type, group.frame, group.count, group.latest) == ("KeyError", "/a/b.py:3 in pick", 1, FAILED)
    assert [record.task_id for record in upgraded.newest(operation="image.thumbnail", state=State.FAILED)] == [FAILED]
    assert [record.task_id for record in upgraded.newest(worker="w1")] == [RUNNING, DONE]


def test_an_upgraded_database_has_the_tables_of_a_new_one(upgraded: Database, tmp_path: Path) -> None:
    def shape(database: Database) -> dict[str, Any]:
        with database._connections.read() as connection:
            inspector = sa.inspect(connection)
            return {
                table: (
                    {column["name"]: (str(column["type"]), column["nullable"]) for column in columns},
                    inspector.get_pk_constraint(table)["constrained_columns"],
                    sorted(str(index["name"]) for index in inspector.get_indexes(table)),
                )
                for table in sorted(inspector.get_table_names())
                for columns in [inspector.get_columns(table)]
            }

    if not upgraded._connections.is_sqlite:
        assert set(shape(upgraded)) == set(schema.metadata.tables)
        return
    with Database(f"sqlite:///{tmp_path / 'new.db'}") as new:
        assert shape(upgraded) == shape(new)


def test_an_upgraded_database_opens_again_and_is_not_upgraded_twice(upgraded: Database) -> None:
    upgraded.open()
    assert len(upgraded.attempts(DONE)) == 1
    with upgraded._connections.read() as connection:
        assert connection.scalars(sa.select(schema.schema_version.c.version)).all() == [schema.VERSION]


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_version_1(url)
    from workbench.tracker import migrations

    step = migrations._STEPS[1]

    def break_off(connection: sa.Connection) -> None:
        step(connection)
        raise WorkbenchError("power cut")

    monkeypatch.setitem(migrations._STEPS, 1, break_off)
    with pytest.raises(WorkbenchError, match="power cut"):
        Database(url).open()
    monkeypatch.setitem(migrations._STEPS, 1, step)
    with Database(url) as database:
        assert len(database.records([DONE, RUNNING, QUEUED, SWEPT])) == 4


def test_a_database_of_a_later_version_is_refused_with_advice(url: str) -> None:
    with Database(url) as database, database._connections.write() as connection:
        connection.execute(sa.update(schema.schema_version).values(version=99))
    with pytest.raises(WorkbenchError, match="schema version 99") as refused:
        Database(url).open()
    assert "Use the version of workbench that made it" in str(refused.value)


def test_the_messages_of_version_1_are_read_still() -> None:
    assert decode(encode(outcome(DONE))) == outcome(DONE)
