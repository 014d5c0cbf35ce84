from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workbench.broker.inspect import QueueDepth
from workbench.core.messages import Failure
from workbench.core.rpc import WorkerRecord
from workbench.core.states import Loss, Progress, State, TaskRecord
from workbench.tracker.why import MOST_AHEAD, View, why

NOW = datetime(2026, 1, 1, 12, 4, 10, tzinfo=UTC)
ALARM = "the broker takes no messages until an alarm ends: low on memory"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def record(state: State = State.QUEUED, **more: Any) -> TaskRecord:
    known = {"operation": "image.thumbnail", "attempt": 1, "submitted_at": ago(60), "queued_at": ago(60)}
    return TaskRecord(task_id="t", state=state, **{**known, **more})


def running(**more: Any) -> TaskRecord:
    return record(State.RUNNING, **{"worker": "w1", "slot": 2, "started_at": ago(12), **more})


def worker(name: str = "w1", **more: Any) -> WorkerRecord:
    known = {
        "worker": name,
        "host": "h",
        "pid": 1,
        "families": ("image",),
        "lane": None,
        "slots": 2,
        "busy": 2,
        "memory": 0,
        "done": 0,
        "online": True,
        "started_at": ago(100),
        "last_heartbeat_at": ago(1),
    }
    return WorkerRecord(**{**known, **more})


def told(of: TaskRecord, *workers: WorkerRecord, **more: Any) -> str:
    known = {"queue": "workbench.tasks.image", "depth": QueueDepth(3, len(workers)), "ahead": 0}
    return why(View(record=of, workers=workers, **{**known, **more}), now=NOW)


def test_a_queue_that_nobody_takes_from_names_the_worker_to_start() -> None:
    assert told(record()) == (
        "no worker takes tasks from the queue workbench.tasks.image: start one with `workbench worker image`"
    )
    lane = told(record(lane="fast"), queue="workbench.tasks.image.fast")
    assert lane.endswith("start one with `workbench worker image --lane fast`")


def test_a_queue_that_is_not_there_names_the_worker_to_start() -> None:
    assert told(record(), depth=None) == (
        "there is no queue workbench.tasks.image: no worker for it has ever run, or it was deleted: "
        "start one with `workbench worker image`"
    )


def test_without_the_broker_s_word_the_workers_known_are_what_counts() -> None:
    assert "no worker takes tasks" in told(record(), depth=None, asked=False)
    assert "no worker takes tasks" in told(record(), worker(online=False), depth=None, asked=False)
    assert "are busy" in told(record(), worker(), depth=None, asked=False)


def test_busy_workers_are_counted_and_so_are_the_tasks_ahead() -> None:
    both = (worker("w1"), worker("w2"))
    assert told(record(), *both, ahead=12) == "all 4 slots of 2 workers are busy; 12 tasks are ahead of it"
    assert told(record(), *both, ahead=1) == "all 4 slots of 2 workers are busy; 1 task is ahead of it"
    assert told(record(), *both, ahead=MOST_AHEAD).endswith("more than 10,000 tasks are ahead of it")
    assert told(record(), worker(slots=1, busy=1)) == "the only slot of 1 worker is busy; it is the next"


def test_workers_of_other_queues_and_those_that_stopped_are_not_counted() -> None:
    others = (worker("w2", families=("data",)), worker("w3", lane="fast"), worker("w4", online=False))
    assert told(record(), worker(), *others).startswith("all 2 slots of 1 worker are busy")


def test_a_task_that_a_free_slot_will_take_says_how_long_it_waits() -> None:
    assert told(record(queued_at=ago(0.2)), worker(busy=1)) == "it has been queued for 200 ms; it is the next"


def test_a_running_task_says_where_since_when_and_how_far() -> None:
    progress = Progress(1, ago(1), 0.4, "reading")
    assert told(running(progress=progress), worker()) == (
        "it has been running on w1 (slot 2) for 12 s, attempt 1: 40 %, reading"
    )
    assert told(running(attempt=2, progress=progress), worker()) == (
        "it has been running on w1 (slot 2) for 12 s, attempt 2"
    )


def test_a_worker_that_fell_silent_or_stopped_is_named() -> None:
    silent = worker(online=False, lost=True, last_heartbeat_at=ago(22))
    assert told(running(), silent) == (
        "its worker w1 has not been heard from for 22 s: the broker will give the task to another"
    )
    assert (
        told(running(), worker(online=False)) == "its worker w1 has stopped: the broker will give the task to another"
    )
    again = told(record(loss=Loss(1, ago(30), "w1")))
    assert again.startswith("attempt 1 was lost with its worker w1; no worker takes tasks")


def test_a_task_whose_message_is_gone_says_so() -> None:
    empty = QueueDepth(0, 1)
    assert told(record(), worker(busy=0), depth=empty) == (
        "it has been queued for 60 s, and yet its queue is empty and its workers are idle: the queue may have been "
        "deleted meanwhile; where this stays so for two minutes, the tracker publishes the task again"
    )
    assert told(record(queued_at=ago(5)), worker(busy=0), depth=empty).endswith("it is the next")
    assert told(record(), worker(busy=1), depth=empty).endswith("it is the next")
    assert told(record(loss=Loss(1, ago(30), "w1")), worker(busy=0), depth=empty).endswith("it is the next")


def test_a_queue_whose_only_worker_fell_silent_says_so() -> None:
    silent = worker(online=False, lost=True, last_heartbeat_at=ago(22))
    longer = worker("w2", online=False, lost=True, last_heartbeat_at=ago(90))
    assert told(record(), silent, longer) == (
        "nobody who takes from its queue is heard from, w1 not for 22 s: start one with `workbench worker image`"
    )
    assert told(record(), silent, worker("w3", busy=0)).endswith("it is the next")


def test_a_retry_says_when_it_comes_and_why() -> None:
    failure = Failure(type="OSError", message="no route to host\nand more")
    waits = record(State.RETRYING, attempt=2, retry_at=NOW + timedelta(seconds=5), failure=failure)
    assert told(waits) == "it waits for attempt 3 at 12:04:15 UTC, as attempt 2 failed: OSError: no route to host"
    tomorrow = told(record(State.RETRYING, retry_at=NOW + timedelta(days=1)))
    assert tomorrow == "it waits for attempt 2 at 12:04:10 UTC on 2026-01-02"


def test_a_wish_to_cancel_and_an_alarm_come_first() -> None:
    wanted = running(cancel_at=ago(3), cancel_reason="wrong file")
    assert told(wanted, worker(), blocked=ALARM) == (
        f"{ALARM}; cancelling has been asked for at 12:04:07 UTC (wrong file); "
        "it has been running on w1 (slot 2) for 12 s, attempt 1"
    )
    phantom = TaskRecord(task_id="t", cancel_at=ago(3))
    assert told(phantom) == "cancelling has been asked for at 12:04:07 UTC; the task itself has not come in"


@pytest.mark.parametrize(
    ("ended", "sentence"),
    [
        (State.SUCCEEDED, "it succeeded at 12:03:10 UTC on w1, after 3.0 s"),
        (State.FAILED, "it failed at 12:03:10 UTC on w1, after 3.0 s: ValueError"),
        (State.CANCELLED, "it was cancelled at 12:03:10 UTC on w1: wrong file"),
        (State.EXPIRED, "it expired at 12:03:10 UTC, as no worker had started it in time"),
    ],
)
def test_a_task_that_has_ended_says_how_and_when(ended: State, sentence: str) -> None:
    done = record(
        ended,
        worker="w1",
        started_at=ago(63),
        finished_at=ago(60),
        failure=Failure(type="ValueError", message="") if ended is State.FAILED else None,
        cancel_reason="wrong file" if ended is State.CANCELLED else "",
    )
    assert told(done, blocked=ALARM) == sentence
    if ended is State.SUCCEEDED:
        assert told(record(ended, attempt=3)) == "it succeeded, in attempt 3"


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.25, "5.2 s"), (90, "90 s"), (150, "2 min 30 s"), (7260, "2 h 1 min"), (-3, "0 ms")]
)
def test_durations_are_written_as_a_person_would(seconds: float, text: str) -> None:
    assert told(record(queued_at=ago(seconds)), worker(busy=0)) == f"it has been queued for {text}; it is the next"
