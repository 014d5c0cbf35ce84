"""What the tracker makes of losses, wishes to cancel, replays and references to the store; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.unit.tracker_facts import IDS, T0, accepted, at, dump, finished, learn, online, started
from workbench.core.messages import (
    CancelRequested,
    Failure,
    Status,
    TaskFinished,
    TaskLost,
    TaskProgress,
    WorkerHeartbeat,
    encode,
)
from workbench.core.states import State
from workbench.tracker.database import Database
from workbench.tracker.questions import Due
from workbench.tracker.schema import to_micros
from workbench.values.sweep import find_references

KEY, OTHER = (f"blake3/ab/{digit * 62}" for digit in "cd")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    path = f"sqlite:///{tmp_path}/t.db"
    with Database(path if request.param == "sqlite" else request.getfixturevalue("postgres_url")) as database:
        yield database


def lost(since: float = 2, seconds: float = 20, **more: Any) -> TaskLost:
    return TaskLost(**{"task_id": IDS[0], "attempt": 1, "worker": "w1", "since": at(since), "at": at(seconds), **more})


def wish(task_id: str = IDS[0], **more: Any) -> CancelRequested:
    return CancelRequested(task_id=task_id, at=at(9), **more)


def by_tracker(task_id: str = IDS[0], status: Status = Status.CANCELLED) -> TaskFinished:
    return finished(task_id, status, worker="", started_at=None)


def due(database: Database, seconds: float = 0) -> Due:
    return database.due(now=at(seconds), before=at(seconds))


def keys(ids: list[str]) -> list[tuple[str, int]]:
    """The ids, each with the replay that is meant."""
    return [(task_id, 0) for task_id in ids]


def test_an_attempt_whose_worker_was_lost_is_kept_beside_the_one_that_followed_it(database: Database) -> None:
    learn(database, accepted(), started(), lost(), started(seconds=30), finished(started_at=at(30)))
    first, second = database.attempts(IDS[0])
    assert (first.worker, first.started_at, first.lost_at, first.outcome) == ("w1", at(2), at(20), None)
    assert (second.worker, second.started_at, second.lost_at) == ("w1", at(30), None)
    assert second.outcome is not None
    assert database.records(IDS[:1])[0].state is State.SUCCEEDED


def test_an_attempt_that_another_followed_without_a_word_from_it_is_lost_until_it_speaks(database: Database) -> None:
    learn(database, accepted(), started(), started(worker="w2", seconds=30))
    first, second = database.attempts(IDS[0])
    assert (first.worker, first.lost_at, first.outcome) == ("w1", at(30), None)
    assert (second.worker, second.lost_at) == ("w2", None)
    learn(database, finished(finished_at=at(40)))
    first, second = database.attempts(IDS[0])
    assert (first.lost_at, first.finished_at) == (None, at(40))
    assert second.lost_at is None


def test_an_attempt_that_goes_on_after_its_worker_was_taken_for_lost_is_not_marked_lost(database: Database) -> None:
    learn(database, accepted(), started(), lost())
    assert database.records(IDS[:1])[0].state is State.QUEUED
    learn(database, started(adopted_at=at(40)), lost(), lost())  # told late, twice
    (attempt,) = database.attempts(IDS[0])
    assert (attempt.started_at, attempt.lost_at) == (at(2), None)
    assert database.records(IDS[:1])[0].state is State.RUNNING


def test_the_progress_of_a_running_task_is_recorded(database: Database) -> None:
    told = TaskProgress(task_id=IDS[0], attempt=1, fraction=0.4, message="reading", at=at(5))
    learn(database, accepted(), started(), told)
    progress = database.records(IDS[:1])[0].progress
    assert progress is not None
    assert (progress.fraction, progress.message) == (0.4, "reading")


@pytest.mark.parametrize("together", [True, False])
def test_a_task_sent_again_has_neither_ended_nor_been_swept_and_ends_again(database: Database, together: bool) -> None:
    first = finished(status=Status.FAILED)
    again = accepted(attempt=2, replay=1, first_attempt=2)
    if together:
        assert learn(database, accepted(), first, again) == {}
    else:
        assert learn(database, accepted(), first) == {IDS[0]: first}
        assert database.sweep(before=at(4), now=at(5)) == 1
        assert database.outcomes(IDS[:1]).expired == (IDS[0],)
        assert learn(database, again) == {}
    assert database.records(IDS[:1])[0].state is State.QUEUED
    told = database.outcomes(IDS[:1])
    assert (told.ended, told.expired, told.unknown) == ((), (), ())
    assert database.task(IDS[0]) == encode(again)
    assert learn(database, first) == {}  # old news
    second = finished(attempt=2, replay=1)
    assert learn(database, second) == {IDS[0]: second}
    assert database.outcomes(IDS[:1]).ended == (second,)
    assert [attempt.attempt for attempt in database.attempts(IDS[0])] == [1, 2]


def test_the_outcome_of_a_replay_may_come_before_its_task(database: Database) -> None:
    learn(database, accepted(), finished(status=Status.FAILED))
    second = finished(attempt=2, replay=1)
    assert learn(database, second) == {IDS[0]: second}
    learn(database, accepted(attempt=2, replay=1), accepted())
    assert database.outcomes(IDS[:1]).ended == (second,)
    assert database.task(IDS[0]) == encode(accepted(attempt=2, replay=1))


def test_a_wish_to_cancel_is_told_once_and_is_due_until_the_task_has_ended(database: Database) -> None:
    def wishes(*messages: Any) -> list[str]:
        return database.apply([(message, encode(message)) for message in messages], now=T0).wishes

    assert wishes(accepted(), wish()) == [IDS[0]]
    assert wishes(wish()) == []
    assert wishes(accepted(IDS[1]), finished(IDS[1]), wish(IDS[1])) == []  # it has ended already
    assert [record.task_id for record in due(database).cancels] == [IDS[0]]
    learn(database, by_tracker())
    assert due(database).cancels == []


def test_a_task_cancelled_by_the_tracker_is_told_of_until_a_worker_has_dropped_its_message(database: Database) -> None:
    learn(database, accepted(IDS[0]), accepted(IDS[1]), accepted(IDS[2], lane="fast"), *map(wish, IDS[:3]))
    assert database.cancelled(("image", "data"), None, limit=10) == keys(IDS[:2])
    assert database.cancelled(("image",), None, after=IDS[0], limit=10) == keys(IDS[1:2])
    assert database.cancelled(("image",), None, limit=1) == keys(IDS[:1])
    assert database.cancelled(("image",), "fast", limit=10) == keys(IDS[2:3])
    assert database.cancelled(("data",), None, limit=10) == []
    learn(database, *map(by_tracker, IDS[:3]))
    assert database.cancelled(("image",), None, limit=10) == keys(IDS[:2])
    learn(database, finished(IDS[0], Status.CANCELLED, worker="w1"))
    assert database.cancelled(("image",), None, limit=10) == keys(IDS[1:2])
    learn(database, by_tracker(IDS[1]), finished(IDS[1], Status.CANCELLED, worker="w1"))
    assert database.cancelled(("image",), None, limit=10) == []


def test_a_task_that_a_worker_cancelled_is_not_looked_for_any_more(database: Database) -> None:
    learn(database, accepted(), started(), wish(), finished(status=Status.CANCELLED))
    assert database.cancelled(("image",), None, limit=10) == []


def test_a_cancelled_task_that_never_came_in_is_forgotten_after_the_retention_time(database: Database) -> None:
    learn(database, wish(operation="image.thumbnail", client="c"), by_tracker())
    learn(database, accepted(IDS[1]), wish(IDS[1]), by_tracker(IDS[1]))
    assert database.cancelled(("image",), None, limit=10) == keys(IDS[:2])
    assert database.sweep(before=at(4), now=at(9)) == 2
    assert database.cancelled(("image",), None, limit=10) == keys(IDS[1:2])


def test_waiting_tasks_are_due_at_the_earlier_of_expiry_and_deadline(database: Database) -> None:
    learn(
        database,
        accepted(IDS[0], expires_at=at(10), deadline_at=at(20)),
        accepted(IDS[1], deadline_at=at(20)),
        accepted(IDS[2], expires_at=at(10)),
        started(IDS[2]),
        accepted(IDS[3], expires_at=at(10)),
        started(IDS[3]),
        lost(task_id=IDS[3]),
        accepted(IDS[4], deadline_at=at(10)),
        finished(IDS[4], Status.RETRY),
        accepted(IDS[5], deadline_at=at(10)),
        finished(IDS[5]),
    )

    def overdue(seconds: float) -> set[int]:
        return {IDS.index(record.task_id) for record in due(database, seconds).overdue}

    assert overdue(9) == set()
    assert overdue(10) == {0, 4}
    assert overdue(20) == {0, 1, 4}


def test_running_tasks_and_silent_workers_are_found(database: Database) -> None:
    learn(database, accepted(), started(), accepted(IDS[1]), online(), WorkerHeartbeat(worker="w2", busy=1, at=at(1)))
    found = due(database, 10)
    assert [record.task_id for record in found.running] == [IDS[0]]
    assert [worker.lost for worker in found.workers.values()] == [False, False]
    found = due(database, 16)
    assert [(worker.online, worker.lost) for worker in found.workers.values()] == [(False, True)] * 2


def test_what_a_worker_is_at_is_told_with_its_heartbeat(database: Database) -> None:
    beat = WorkerHeartbeat(worker="w1", busy=1, slots=4, load=1.5, running=(IDS[0],), clock_skew=-9.5, at=at(1))
    learn(database, online(), beat)
    (worker,) = database.workers(now=T0)
    assert (worker.slots, worker.load, worker.running, worker.clock_skew, worker.pid) == (4, 1.5, (IDS[0],), -9.5, 1)


def test_a_worker_that_was_heard_before_it_said_who_it_is_has_not_started_anew(database: Database) -> None:
    learn(database, WorkerHeartbeat(worker="w1", busy=1, at=at(1)), online(seconds=5))
    (worker,) = database.workers(now=T0)
    assert (worker.pid, worker.started_at, worker.busy) == (1, at(1), 1)


def test_tasks_ahead_are_those_of_the_same_queue_that_wait_still(database: Database) -> None:
    learn(
        database,
        accepted(IDS[0]),
        accepted(IDS[1], lane="fast"),
        accepted(IDS[2], operation="data.head"),
        accepted(IDS[3]),
        started(IDS[3]),
        accepted(IDS[4]),
        accepted(IDS[5]),
        accepted(IDS[6], lane="fast"),
    )
    fifth, sixth = database.records(IDS[5:7])
    assert database.ahead(fifth) == 2
    assert database.ahead(fifth, most=1) == 1
    assert database.ahead(sixth) == 1


def test_pinned_results_are_not_swept_until_they_are_unpinned(database: Database) -> None:
    learn(database, accepted(IDS[0]), finished(IDS[0]), accepted(IDS[1]), finished(IDS[1]))
    assert database.pin([IDS[0], "who"], True) == [IDS[0]]
    assert database.sweep(before=at(9), now=at(9)) == 1
    learn(database, accepted(IDS[0]), finished(IDS[0]))
    assert database.sweep(before=at(9), now=at(9)) == 0
    database.pin([IDS[0]], False)
    assert database.sweep(before=at(9), now=at(9)) == 1


def test_a_sweep_takes_no_more_than_a_step(database: Database) -> None:
    for task_id in IDS[:5]:
        learn(database, accepted(task_id), finished(task_id))
    assert [database.sweep(before=at(9), now=at(9), most=2) for _ in range(4)] == [2, 2, 1, 0]


def test_what_tasks_and_results_refer_to_is_noted_until_the_last_is_swept(database: Database) -> None:
    learn(database, accepted(IDS[0]), finished(IDS[0], result=KEY.encode()))
    learn(database, accepted(IDS[1], lane=KEY[:60]))  # no key: too short
    learn(database, accepted(IDS[2]), finished(IDS[2], finished_at=at(50), result=KEY.encode()))
    before = dump(database)
    learn(database, finished(IDS[0], result=KEY.encode()))
    assert dump(database) == before
    assert database.referred([KEY, OTHER]) == {KEY}
    assert database.sweep(before=at(9), now=at(9)) == 1
    assert database.referred([KEY]) == {KEY}
    assert database.sweep(before=at(60), now=at(60)) == 1
    assert database.referred([KEY]) == set()


def test_what_lies_in_the_store_and_refers_to_more_is_read_once_and_noted(database: Database) -> None:
    nested = b"\xc7\x50\x01\x93\xd9\x48" + KEY.encode() + b"\xce\x00\x01\x00\x00\x00"
    assert find_references(nested) == {KEY: True}
    learn(database, accepted(), finished(result=nested))
    assert database.unread() == [KEY]
    database.note_read(KEY, {OTHER: False})
    assert database.unread() == []
    assert database.referred([KEY, OTHER]) == {KEY, OTHER}


def test_the_duties_are_found_by_indexes_of_such_rows_only(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/t.db") as database:
        plans = []

        @sa.event.listens_for(sa.Engine, "before_cursor_execute")
        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT") and "FROM workers" not in statement:
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.extend(row[3] for row in cursor.fetchall())

        try:
            due(database)
            database.cancelled(("image",), None, limit=1)
            database.unread()
            database.sweep(before=at(1), now=at(1))
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", explain)
    used = [plan for plan in plans if "tasks" in plan or "blobs" in plan]
    assert len(used) == 6
    for plan, index in zip(
        used,
        ("tasks_to_cancel", "tasks_due", "tasks_by_state", "tasks_cancelled", "blobs_unread", "tasks_to_sweep"),
        strict=True,
    ):
        assert index in plan, used


def test_a_failed_outcome_by_the_tracker_stands_in_the_history(database: Database) -> None:
    failure = Failure(type="DeadlineExceeded", message="late")
    learn(database, accepted(), finished(status=Status.FAILED, worker="", started_at=None, failure=failure))
    (attempt,) = database.attempts(IDS[0])
    assert (attempt.worker, attempt.started_at, attempt.finished_at) == ("", None, at(3))
    with database._connections.read() as connection:
        assert connection.scalar(sa.text("SELECT finished_at FROM tasks")) == to_micros(at(3))
