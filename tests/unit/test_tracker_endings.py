from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from workbench.core.messages import Status
from workbench.core.rpc import WorkerRecord
from workbench.core.states import Loss, State, TaskRecord, fold
from workbench.tracker.endings import cancelled, due_at, is_wanted_ended, lost, overdue

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def record(state: State = State.QUEUED, **more: Any) -> TaskRecord:
    return TaskRecord(task_id="t", state=state, **{"operation": "image.x", "client": "c", "attempt": 1, **more})


def running(**more: Any) -> TaskRecord:
    return record(State.RUNNING, **{"worker": "w1", "slot": 1, "started_at": at(-9), "since": at(-9), **more})


def worker(**more: Any) -> WorkerRecord:
    known = {"slots": 1, "busy": 0, "memory": 0, "done": 0, "online": True, "started_at": at(-99)}
    known |= {"worker": "w1", "host": "h", "pid": 7, "families": (), "lane": None, "last_heartbeat_at": NOW}
    return WorkerRecord(**{**known, **more})


def test_only_a_first_attempt_that_never_started_expires() -> None:
    assert due_at(record(expires_at=at(1), deadline_at=at(2))) == at(1)
    for started in (
        record(attempt=2, expires_at=at(1)),
        record(expires_at=at(1), loss=Loss(1, at(-5), "w1")),
        record(State.RETRYING, expires_at=at(1)),
        running(expires_at=at(1)),
    ):
        assert due_at(started) is None
        assert overdue(started, now=at(5)) is None


def test_a_deadline_holds_for_whatever_waits_and_is_a_worker_s_while_it_runs() -> None:
    assert due_at(record(State.RETRYING, attempt=3, deadline_at=at(2))) == at(2)
    assert due_at(running(deadline_at=at(2))) is None
    assert due_at(record(State.FAILED, deadline_at=at(2))) is None


def test_what_is_overdue_ends_by_what_came_first() -> None:
    expired = overdue(record(expires_at=at(1), deadline_at=at(2)), now=at(5))
    late = overdue(record(State.RETRYING, attempt=3, deadline_at=at(2), replay=2), now=at(5))
    assert expired is not None
    assert late is not None
    assert (expired.status, late.status) == (Status.EXPIRED, Status.FAILED)
    assert late.failure is not None
    assert late.failure.type == "DeadlineExceeded"
    assert (late.attempt, late.replay, late.client, late.worker) == (3, 2, "c", "")
    assert overdue(record(expires_at=at(6)), now=at(5)) is None


def test_a_wish_is_granted_by_the_tracker_where_no_worker_that_is_there_has_the_task() -> None:
    wanted = {"cancel_at": at(-1), "cancel_reason": "wrong file"}
    end = cancelled(record(**wanted), None, now=NOW)
    assert end is not None
    assert end.status is Status.CANCELLED
    assert end.failure is not None
    assert "wrong file" in end.failure.message
    assert cancelled(running(**wanted), worker(), now=NOW) is None
    assert cancelled(running(**wanted), worker(online=False), now=NOW) is not None
    assert cancelled(running(**wanted), None, now=NOW) is not None
    assert cancelled(record(), None, now=NOW) is None
    assert cancelled(record(State.SUCCEEDED, **wanted), None, now=NOW) is None


def test_a_task_that_the_tracker_cancelled_may_still_lie_on_a_queue() -> None:
    wanted = record(cancel_at=at(-1))
    assert is_wanted_ended(wanted)
    end = cancelled(wanted, None, now=NOW)
    assert end is not None
    assert is_wanted_ended(fold(wanted, end))
    assert not is_wanted_ended(record(State.CANCELLED, cancel_at=at(-1), worker="w1"))
    assert not is_wanted_ended(record(State.SUCCEEDED, cancel_at=at(-1)))
    assert not is_wanted_ended(record())


def test_a_task_is_lost_with_a_worker_that_fell_silent_stopped_or_was_started_again() -> None:
    assert lost(running(), worker(), now=NOW) is None
    for gone in (worker(online=False, lost=True), worker(online=False), worker(started_at=at(-1), pid=8), None):
        news = lost(running(), gone, now=NOW)
        assert news is not None
        assert fold(running(), news).state is State.QUEUED
    assert lost(record(), None, now=NOW) is None


def test_a_worker_that_never_said_when_it_started_has_its_tasks_still() -> None:
    assert lost(running(), worker(started_at=at(-1), pid=0), now=NOW) is None
