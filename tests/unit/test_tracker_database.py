from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tracker_facts import IDS, T0, accepted, at, dump, finished, learn, online, started
from workbench.core.errors import WorkbenchError
from workbench.core.messages import (
    Event,
    Failure,
    OperationSpec,
    Status,
    Task,
    TasksStarted,
    TrackerOnline,
    WorkerHeartbeat,
    WorkerOffline,
    encode,
)
from workbench.core.states import State
from workbench.tracker import connections, questions
from workbench.tracker.database import Database, DatabaseUnavailable, Unrecordable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "tracker.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, path: Path) -> Iterator[Database]:
    url = f"sqlite:///{path}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Database(url) as database:
        yield database


@pytest.fixture
def sqlite_database(path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{path}") as database:
        yield database


def test_a_task_and_its_outcome_make_one_record(database: Database) -> None:
    end = finished(summary="Image")
    assert learn(database, accepted(), started(), end) == {IDS[0]: end}
    (record,) = database.records(IDS[:1])
    assert (record.state, record.summary, record.seconds_queued) == (State.SUCCEEDED, "Image", 1.0)
    assert database.outcomes(IDS[:1]).ended == (end,)
    assert database.task(IDS[0]) == encode(accepted())


def test_the_same_batch_twice_changes_nothing(database: Database) -> None:
    batch: list[Task | Event] = [
        accepted(),
        TasksStarted(starts=(started(), started(IDS[1]))),
        finished(status=Status.RETRY, failure=Failure(type="ValueError", message="no")),
        accepted(attempt=2),
        finished(attempt=2),
        online(operations=(OperationSpec(name="image.thumbnail"),)),
        WorkerHeartbeat(worker="w1", busy=1, at=at(5)),
        TrackerOnline(tracker="t", at=T0),
    ]
    learn(database, *batch)
    before = dump(database)
    assert learn(database, *batch, now=at(100)) == {}
    assert dump(database) == before


FACTS = [
    message
    for task_id in IDS[:2]
    for attempt in (1, 2)
    for message in (
        accepted(task_id, attempt),
        started(task_id, attempt, seconds=attempt * 10),
        finished(task_id, Status.RETRY if attempt == 1 else Status.FAILED, attempt),
    )
]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(order=st.permutations(FACTS + FACTS[::2]), size=st.integers(1, 6))
def test_neither_order_nor_batches_change_what_is_recorded(tmp_path: Path, order: list[Any], size: int) -> None:
    tmp_path.joinpath("t.db").unlink(missing_ok=True)
    with Database(f"sqlite:///{tmp_path}/t.db") as database:
        for first in range(0, len(order), size):
            learn(database, *order[first : first + size])
        records = database.records(IDS[:2])
        attempts = [database.attempts(task_id) for task_id in IDS[:2]]
        bodies = [database.task(task_id) for task_id in IDS[:2]]
    with Database("sqlite:///:memory:") as straight:
        learn(straight, *FACTS)
        assert records == straight.records(IDS[:2])
        assert attempts == [straight.attempts(task_id) for task_id in IDS[:2]]
    assert bodies == [encode(accepted(task_id, 2)) for task_id in IDS[:2]]


def test_the_first_terminal_outcome_is_the_only_one_told_of(database: Database) -> None:
    first, second = finished(worker="w1"), finished(worker="w2", status=Status.FAILED)
    assert learn(database, accepted(), first, second) == {IDS[0]: first}
    assert learn(database, second) == {}
    assert database.outcomes(IDS[:1]).ended == (first,)
    assert [attempt.worker for attempt in database.attempts(IDS[0])] == ["w1", "w2"]


def test_every_attempt_is_kept_with_its_failure_and_what_it_printed(database: Database) -> None:
    failure = Failure(type="ValueError", message="no")
    lost = started(worker="lost", seconds=1)
    end = finished(status=Status.RETRY, failure=failure, output="hm", peak_memory=7, exit_signal=9)
    learn(database, accepted(), lost, end, accepted(attempt=2), started(attempt=2, seconds=9))
    told = [
        (attempt.attempt, attempt.worker, attempt.started_at, attempt.outcome) for attempt in database.attempts(IDS[0])
    ]
    assert told == [(1, "lost", at(1), None), (1, "w1", at(2), end), (2, "w1", at(9), None)]


def test_an_end_amid_the_wait_for_the_next_attempt_comes_after_the_attempt_before(database: Database) -> None:
    failed = finished(status=Status.RETRY, failure=Failure(type="ValueError", message="no"))
    end = msgspec.structs.replace(finished(status=Status.CANCELLED), worker="", started_at=None)
    learn(database, accepted(), failed, end)
    assert [attempt.outcome for attempt in database.attempts(IDS[0])] == [failed, end]


def test_an_attempt_whose_task_was_started_elsewhere_since_is_lost_unless_it_tells_its_end(database: Database) -> None:
    learn(database, accepted(), started(worker="w1", seconds=2), started(worker="w2", seconds=5))
    assert [attempt.lost_at for attempt in database.attempts(IDS[0])] == [at(5), None]
    learn(database, finished(worker="w1"))
    assert [attempt.lost_at for attempt in database.attempts(IDS[0])] == [None, None]


def test_outcomes_are_ended_or_unknown_or_expired_or_go_on(database: Database) -> None:
    learn(database, accepted(IDS[0]), accepted(IDS[1]), finished(IDS[1]), accepted(IDS[2]), finished(IDS[2]))
    assert database.sweep(before=at(1), now=at(9)) == 0
    learn(database, accepted(IDS[3]))
    told = database.outcomes([IDS[0], IDS[1], "who", IDS[1], "who"])
    assert ([end.task_id for end in told.ended], told.unknown, told.expired) == ([IDS[1]], ("who",), ())
    assert database.sweep(before=at(4), now=at(9)) == 2
    assert database.sweep(before=at(4), now=at(9)) == 0
    told = database.outcomes(IDS[:3])
    assert (told.ended, told.unknown, set(told.expired)) == ((), (), {IDS[1], IDS[2]})
    assert database.records([IDS[1]])[0].state is State.SUCCEEDED


def test_more_outcomes_than_the_budget_are_left_for_the_next_question(database: Database) -> None:
    learn(database, *[finished(task_id, output="x" * 1000) for task_id in IDS])
    told = database.outcomes(IDS, budget=3000)
    assert 0 < len(told.ended) < len(IDS)
    assert (told.unknown, told.expired) == ((), ())


def test_more_ids_than_one_select_takes_are_found(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_CHUNK", 3)
    learn(database, *map(accepted, IDS))
    assert [record.task_id for record in database.records(["who", *reversed(IDS)])] == IDS[::-1]
    assert database.outcomes([*IDS, "who"]).unknown == ("who",)


def test_pages_of_the_newest_tasks_join_without_gaps(database: Database) -> None:
    learn(database, *map(accepted, IDS))
    page, seen = database.newest(limit=7), []
    while page:
        seen += [record.task_id for record in page]
        page = database.newest(limit=7, before=seen[-1])
    assert seen == IDS[::-1]


def test_tasks_are_found_by_state_operation_and_worker(database: Database) -> None:
    learn(
        database,
        accepted(IDS[0]),
        started(IDS[0], worker="w2"),
        accepted(IDS[1], operation="data.head"),
        accepted(IDS[2]),
        finished(IDS[2], worker="w2"),
    )

    def found(**filters: Any) -> list[str]:
        return [record.task_id for record in database.newest(**filters)]

    assert found(state=State.QUEUED) == [IDS[1]]
    assert found(operation="image.thumbnail") == [IDS[2], IDS[0]]
    assert found(worker="w2", state=State.RUNNING) == [IDS[0]]


def test_counts_name_every_state(database: Database) -> None:
    learn(database, accepted(IDS[0]), accepted(IDS[1]), finished(IDS[2]))
    assert database.counts() == {**dict.fromkeys(State, 0), State.QUEUED: 2, State.SUCCEEDED: 1}


def test_a_worker_is_online_until_it_says_goodbye_or_falls_silent(database: Database) -> None:
    learn(database, online(), now=at(1000))  # its clock is far behind the tracker's
    assert database.workers(now=at(1014))[0].online
    assert not database.workers(now=at(1016))[0].online
    learn(database, WorkerHeartbeat(worker="w1", busy=2, memory=5, done=3, at=at(40)), now=at(1040))
    (worker,) = database.workers(now=at(1041))
    assert (worker.online, worker.busy, worker.memory, worker.done) == (True, 2, 5, 3)
    learn(database, WorkerOffline(worker="w1", at=at(50)), now=at(1050))
    (worker,) = database.workers(now=at(1050))
    assert (worker.online, worker.busy) == (False, 0)
    learn(database, WorkerHeartbeat(worker="w1", busy=2, at=at(45)), now=at(1051))
    assert not database.workers(now=at(1051))[0].online
    assert database.workers(now=at(1050 + questions.FORGET + 1)) == []


def test_a_worker_that_comes_back_from_a_lost_connection_keeps_its_start_and_a_new_one_does_not(
    database: Database,
) -> None:
    learn(database, online(), WorkerHeartbeat(worker="w1", busy=1, done=9, at=at(5)), online(seconds=10))
    (worker,) = database.workers(now=T0)
    assert (worker.started_at, worker.done) == (at(0), 9)
    learn(database, online(seconds=20, pid=2))
    (worker,) = database.workers(now=T0)
    assert (worker.started_at, worker.done) == (at(20), 0)


def test_a_heartbeat_of_a_worker_never_announced_is_not_ignored(database: Database) -> None:
    learn(database, WorkerHeartbeat(worker="w9", busy=1, at=at(5)))
    assert [(worker.worker, worker.busy) for worker in database.workers(now=T0)] == [("w9", 1)]


def test_the_newest_announcement_of_an_operation_counts(database: Database) -> None:
    old, new = (
        OperationSpec(name="image.thumbnail", summary="old"),
        OperationSpec(name="image.thumbnail", summary="new"),
    )
    learn(database, online(seconds=9, operations=(new,)))
    learn(database, online("w2", seconds=1, operations=(old, OperationSpec(name="data.head"))))
    assert database.operations() == [OperationSpec(name="data.head"), new]


def test_what_is_recorded_outlives_the_process_that_recorded_it(path: Path) -> None:
    with Database(f"sqlite:///{path}") as database:
        learn(database, accepted())
    with Database(f"sqlite:///{path}") as database:
        assert database.records(IDS[:1])[0].state is State.QUEUED


def test_commits_are_synced_to_disk(sqlite_database: Database) -> None:
    with sqlite_database._connections.write() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_a_locked_database_is_unavailable_and_records_nothing(sqlite_database: Database, path: Path) -> None:
    with sqlite_database._connections.write() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        learn(sqlite_database, accepted())
    assert sqlite_database.records(IDS[:1]) == []  # readers don't wait for writers
    other.execute("ROLLBACK")
    other.close()
    learn(sqlite_database, accepted())


def test_a_number_that_no_column_holds_is_unrecordable(database: Database) -> None:
    with pytest.raises(Unrecordable):
        learn(database, accepted(IDS[1]), started(attempt=2**64 - 1))
    assert database.records(IDS[:2]) == []


def test_an_address_that_names_no_database_is_refused_with_advice() -> None:
    with pytest.raises(WorkbenchError, match="WORKBENCH_DATABASE"):
        Database("nonsense")


def test_a_tracker_that_hangs_amid_a_transaction_keeps_no_other_from_writing(
    postgres_url: str,
) -> None:
    with Database(postgres_url) as hangs, Database(postgres_url) as other:
        writing = hangs._connections.write()
        connection = writing.__enter__()
        limit = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
        assert limit == f"{connections.LONGEST_TRANSACTION:g}s"
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 300")
        learn(other, accepted())  # waits for the lock until the server has ended the other's transaction
        with pytest.raises(sa.exc.DBAPIError) as ended:
            connection.exec_driver_sql("SELECT 1")
        with pytest.raises(DatabaseUnavailable):
            writing.__exit__(type(ended.value), ended.value, None)
        learn(hangs, accepted(IDS[1]))
        assert other.counts()[State.QUEUED] == 2


def test_who_writes_while_another_takes_over_loses_its_session_and_only_its_transaction(postgres_url: str) -> None:
    with Database(postgres_url) as hangs, Database(postgres_url) as other:
        writing = hangs._connections.write()
        connection = writing.__enter__()
        other.evict()
        learn(other, accepted())
        with pytest.raises(sa.exc.DBAPIError) as ended:
            connection.exec_driver_sql("SELECT 1")
        with pytest.raises(DatabaseUnavailable):
            writing.__exit__(type(ended.value), ended.value, None)
        learn(hangs, accepted(IDS[1]))
        assert other.counts()[State.QUEUED] == 2


def test_a_postgresql_that_falls_silent_is_given_up_in_its_time_unless_the_address_says_otherwise(
    postgres_url: str,
) -> None:
    def agreed(url: str) -> dict[str, str]:
        with Database(url) as database, database._connections.read() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            return dict(driver.info.get_parameters())

    assert agreed(postgres_url)["tcp_user_timeout"] == str(connections.SILENT * 1000)
    assert agreed(f"{postgres_url}?tcp_user_timeout=77")["tcp_user_timeout"] == "77"
    with Database(postgres_url) as database, database._connections.read() as connection:  # the server's end
        assert connection.exec_driver_sql("SHOW tcp_user_timeout").scalar() == str(connections.SILENT * 1000)
        assert connection.exec_driver_sql("SHOW tcp_keepalives_idle").scalar() == str(connections.SILENT // 2)
