from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from workbench.core.messages import (
    CancelRequested,
    Failure,
    Status,
    Task,
    TaskFinished,
    TaskLost,
    TaskProgress,
    TaskStarted,
)
from workbench.core.states import TERMINAL, Fact, State, TaskRecord, fold

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def accepted(attempt: int = 1, lane: str | None = None) -> Task:
    return Task(
        task_id="t",
        operation="image.thumbnail",
        client="c",
        submitted_at=at(0),
        queued_at=at(attempt * 100),
        attempt=attempt,
        lane=lane,
    )


def started(attempt: int = 1, worker: str = "w", seconds: float = 10) -> TaskStarted:
    return TaskStarted(task_id="t", attempt=attempt, worker=worker, slot=0, started_at=at(attempt * 100 + seconds))


def finished(
    status: Status = Status.SUCCEEDED, attempt: int = 1, worker: str = "w", seconds: float = 20
) -> TaskFinished:
    failed = status is not Status.SUCCEEDED
    return TaskFinished(
        task_id="t",
        operation="image.thumbnail",
        client="c",
        attempt=attempt,
        status=status,
        started_at=at(attempt * 100 + seconds - 5),
        finished_at=at(attempt * 100 + seconds),
        worker=worker,
        slot=1,
        summary="" if failed else "Image",
        failure=Failure(type="ValueError", message=f"{worker} {attempt}") if failed else None,
        output=f"{worker} {attempt} said",
        peak_memory=attempt,
        retry_at=at(attempt * 100 + 90) if status is Status.RETRY else None,
    )


def folded(*facts: Fact, onto: TaskRecord | None = None) -> TaskRecord:
    record = functools.reduce(fold, facts, onto)
    assert record is not None
    return record


ALIVE: list[Fact] = []
for _attempt in (1, 2, 3):
    ALIVE.append(accepted(_attempt, lane="high"))
    for _seconds, _worker in enumerate(("w1", "w2")):
        ALIVE.append(started(_attempt, _worker, _seconds))
        ALIVE.append(finished(Status.RETRY, _attempt, _worker, 20 + _seconds))
ENDS: list[Fact] = [
    finished(status, attempt, worker)
    for attempt in (1, 2, 3)
    for worker in ("w1", "w2")
    for status in Status
    if status is not Status.RETRY
]


ASIDE: list[Fact] = [
    *[TaskProgress(task_id="t", attempt=a, fraction=f, at=at(a * 100 + 50 * f)) for a in (1, 2) for f in (0.2, 0.4)],
    *[TaskLost(task_id="t", attempt=a, worker="w1", since=at(a * 100), at=at(a * 100 + 60)) for a in (1, 2, 3)],
    *[CancelRequested(task_id="t", at=at(s), reason=f"because of {s}") for s in (150, 250)],
]
"""Facts that change what is known of a task, but never how it ends."""
LATE = ("lane", "submitted_at", "queued_at", "queued_attempt", "progress", "loss", "cancel_at", "cancel_reason")
"""What may be learnt of a task that has ended."""


def replayed(fact: Fact, replay: int) -> Fact:
    """The same fact of a task that was sent again: its attempts count on."""
    return msgspec.structs.replace(fact, replay=replay, attempt=getattr(fact, "attempt", 1) + 3 * replay)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Fact], list[Fact]]:
    """Any facts of one task with at most one terminal outcome: once as they are, once repeated and in another order."""
    facts = draw(st.lists(st.sampled_from(ALIVE + ASIDE), min_size=1, max_size=12, unique_by=repr))
    facts += draw(st.lists(st.sampled_from(ENDS), max_size=1))
    if draw(st.booleans()):
        again = draw(st.lists(st.sampled_from(ALIVE), min_size=1, max_size=4, unique_by=repr))
        again += draw(st.lists(st.sampled_from(ENDS), max_size=1))
        facts += [replayed(fact, 1) for fact in again]
    repeats = draw(st.lists(st.sampled_from(facts), max_size=8))
    return facts, draw(st.permutations(facts + repeats))


@given(histories())
def test_neither_order_nor_repetition_changes_what_a_task_ends_as(history: tuple[list[Fact], list[Fact]]) -> None:
    facts, other = history
    assert folded(*facts) == folded(*other)


def test_an_outcome_of_an_earlier_replay_still_tells_whose_task_it_is() -> None:
    end, again = finished(Status.RETRY, 1, "w1", 20), replayed(started(1, "w1", 0), 1)
    assert folded(end, again) == folded(again, end)
    assert folded(again, end).operation == "image.thumbnail"


@given(st.lists(st.sampled_from(ALIVE + ASIDE + ENDS), min_size=1))
def test_a_terminal_state_never_changes(facts: list[Fact]) -> None:
    record: TaskRecord | None = None
    for fact in facts:
        before, record = record, fold(record, fact)
        if before is not None and before.state.terminal:
            late: dict[str, Any] = dict.fromkeys(LATE)
            assert msgspec.structs.replace(before, **late) == msgspec.structs.replace(record, **late)


@given(st.lists(st.sampled_from(ALIVE + ENDS), min_size=1), st.data())
def test_a_fact_that_is_known_already_gives_the_same_object_back(facts: list[Fact], data: st.DataObject) -> None:
    record = folded(*facts)
    assert fold(record, data.draw(st.sampled_from(facts))) is record


@given(st.lists(st.sampled_from(ALIVE + ENDS), min_size=1))
def test_the_first_terminal_outcome_wins(facts: list[Fact]) -> None:
    ends = [fact for fact in facts if isinstance(fact, TaskFinished) and fact.status is not Status.RETRY]
    record = folded(*facts)
    assert record.state.terminal == bool(ends)
    if ends:
        assert record.finished_at == ends[0].finished_at
        assert (record.state.value, record.attempt, record.worker) == (ends[0].status, ends[0].attempt, ends[0].worker)


@given(st.lists(st.sampled_from(ALIVE), min_size=1))
def test_a_living_task_is_where_its_furthest_fact_is(facts: list[Fact]) -> None:
    phases = {Task: State.QUEUED, TaskStarted: State.RUNNING, TaskFinished: State.RETRYING}
    order = list(phases.values())
    furthest = max((fact.attempt, order.index(phases[type(fact)])) for fact in facts)
    record = folded(*facts)
    assert (record.attempt, order.index(record.state)) == furthest


def test_a_task_that_runs_through_knows_its_times() -> None:
    record = folded(accepted(), started(seconds=10), finished(seconds=20))
    assert record.state is State.SUCCEEDED
    assert record.seconds_queued == 15  # the outcome's own start counts: it is the run that ended the task
    assert record.seconds_running == 5


def test_a_retry_that_arrives_after_its_next_attempt_still_tells_why_the_last_one_failed() -> None:
    record = folded(accepted(1), accepted(2), finished(Status.RETRY, 1))
    assert record.state is State.QUEUED
    assert record.attempt == 2
    assert record.failure is not None
    assert record.failed_attempt == 1


def test_a_start_elsewhere_after_a_lost_worker_moves_the_task_there() -> None:
    record = folded(accepted(), started(worker="lost", seconds=1), started(worker="heir", seconds=5))
    assert record.worker == "heir"
    assert folded(started(worker="lost", seconds=1), onto=record) is record


def test_a_queue_time_of_another_attempt_is_not_taken_for_the_current_ones() -> None:
    record = folded(accepted(1), started(2))
    assert record.queued_attempt == 1
    assert record.seconds_queued is None


def test_an_outcome_alone_makes_a_record_that_its_task_completes_later() -> None:
    record = folded(finished(), accepted(lane="high"))
    assert (record.operation, record.client, record.lane) == ("image.thumbnail", "c", "high")
    assert record.submitted_at == at(0)


def test_a_task_whose_worker_vanished_is_queued_again_and_a_late_start_of_that_worker_changes_nothing() -> None:
    lost = TaskLost(task_id="t", attempt=1, worker="w", since=at(110), at=at(130))
    record = folded(accepted(), started(seconds=10), lost)
    assert (record.state, record.worker, record.attempt) == (State.QUEUED, None, 1)
    assert folded(started(seconds=10), onto=record) is record
    heir = folded(started(worker="heir", seconds=40), onto=record)
    assert (heir.state, heir.worker) == (State.RUNNING, "heir")


def test_a_worker_taken_for_lost_that_says_it_still_runs_the_task_has_it_again() -> None:
    lost = TaskLost(task_id="t", attempt=1, worker="w", since=at(110), at=at(130))
    start = started(seconds=10)
    record = folded(accepted(), start, lost, msgspec.structs.replace(start, adopted_at=at(140)))
    assert (record.state, record.worker, record.started_at) == (State.RUNNING, "w", at(110))


def test_a_task_sent_again_begins_anew_and_keeps_what_it_is() -> None:
    record = folded(accepted(lane="high"), finished(Status.FAILED), replayed(accepted(), 1))
    assert (record.state, record.attempt, record.replay, record.failure) == (State.QUEUED, 4, 1, None)
    assert (record.operation, record.lane, record.submitted_at) == ("image.thumbnail", "high", at(0))
    assert folded(finished(Status.SUCCEEDED), onto=record) is record
    assert folded(replayed(finished(), 1), onto=record).state is State.SUCCEEDED


@pytest.mark.parametrize("state", State)
def test_exactly_the_last_four_states_are_terminal(state: State) -> None:
    assert state.terminal == (state in TERMINAL) == (state in list(State)[-4:])
