"""How far the tracker says it is behind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.tracker_facts import IDS, T0, accepted, at, finished, online, started
from workbench.core.messages import (
    CancelRequested,
    Event,
    Failure,
    Status,
    Task,
    TaskLost,
    TasksFinished,
    TasksStarted,
    TrackerOnline,
)
from workbench.tracker.lag import RECENTLY, Lag, newest

NO = Failure(type="ValueError", message="no")


def behind(*messages: Task | Event, seconds: float) -> float:
    """The lag right after these were recorded."""
    lag = Lag()
    lag.note(newest(messages), at(seconds))
    return lag.seconds(at(seconds), stalled=0.0)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (started(attempt=2, seconds=100), 100),  # of a task whose first attempt failed long ago
        (TasksStarted(starts=(started(seconds=90), started(IDS[1], seconds=100))), 100),
        (started(adopted_at=at(100)), 100),
        (CancelRequested(task_id=IDS[0], at=at(100)), 100),  # of one that has run for long
        (TaskLost(task_id=IDS[0], attempt=1, worker="w1", since=at(2), at=at(100)), 100),
        (finished(status=Status.RETRY, failure=NO, finished_at=at(100), retry_at=at(160)), 100),
        (TasksFinished(outcomes=(finished(finished_at=at(100)), finished(IDS[1]))), 100),
        (accepted(attempt=100), 100),
        (online(seconds=100), 100),
        (TrackerOnline(tracker="t", at=at(100)), 100),
    ],
)
def test_a_message_is_as_old_as_its_telling_whatever_it_tells_of(told: Task | Event, seconds: float) -> None:
    assert behind(told, seconds=seconds + 0.5) == pytest.approx(0.5)


def test_the_newest_of_a_batch_tells_how_far_behind_the_record_is() -> None:
    late = finished(finished_at=at(1))  # its worker couldn't tell before
    assert behind(late, online(seconds=60), late, seconds=61) == pytest.approx(1.0)
    assert behind(*[accepted(), finished()] * 500, seconds=63) == pytest.approx(60.0)


def test_a_clock_that_is_ahead_is_no_lag() -> None:
    assert behind(online(seconds=60), seconds=50) == 0.0


def test_what_was_recorded_late_is_told_of_for_a_moment() -> None:
    lag = Lag()
    assert lag.seconds(T0, stalled=0.0) == 0.0
    lag.note(at(0), at(60))
    assert lag.seconds(at(60 + RECENTLY), stalled=0.0) == pytest.approx(60.0)
    assert lag.seconds(at(60 + RECENTLY) + timedelta(milliseconds=1), stalled=0.0) == 0.0
    lag.note(None, at(70))  # nothing could be read
    assert lag.seconds(at(70), stalled=0.0) == 0.0


def test_the_record_is_behind_while_something_waits_in_vain() -> None:
    lag = Lag()
    lag.note(at(0), at(1))
    assert lag.seconds(at(31), stalled=30.0) == pytest.approx(31.0)
    assert lag.seconds(at(100), stalled=30.0) == pytest.approx(30.0)
