from __future__ import annotations

from typing import Any

import msgspec
import pytest

from workbench.core.messages import Failure, Status, Task, TaskFinished, TrackerOnline, encode, utcnow
from workbench.core.states import State, TaskRecord
from workbench.tracker.deadletters import BY_TRACKER, REASON, REASON_TYPE, TOLD, DeadLetter, verdict

NOW = utcnow()
DELAYS = frozenset({"wb.delay.1s"})


def task(attempt: int = 1) -> Task:
    return Task(task_id="t", operation="image.thumbnail", client="c", submitted_at=NOW, queued_at=NOW, attempt=attempt)


def outcome(status: Status = Status.SUCCEEDED) -> TaskFinished:
    return TaskFinished(task_id="t", operation="image.thumbnail", client="c", attempt=1, status=status, finished_at=NOW)


def letter(
    body: bytes | None = None, key: str = "image.thumbnail", message_id: str = "t", **headers: Any
) -> DeadLetter:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return DeadLetter(encode(task()) if body is None else body, key, message_id, headers)


def death(reason: str, queue: str = "wb.tasks.image") -> dict[str, Any]:
    return {"reason": reason, "queue": queue, "count": 1}


def judge(dead: DeadLetter, record: TaskRecord | None = None) -> TaskFinished | None:
    return verdict(dead, record, delays=DELAYS, now=NOW)


def failure(dead: DeadLetter, record: TaskRecord | None = None) -> Failure:
    outcome = judge(dead, record)
    assert outcome is not None
    assert outcome.status is Status.FAILED
    assert outcome.failure is not None
    return outcome.failure


def test_a_task_that_no_queue_took_is_unroutable_and_the_key_is_named() -> None:
    told = failure(letter(key="image.thumbnail.fast"))
    assert told.type == "Unroutable"
    assert "'image.thumbnail.fast'" in told.message
    assert "lane 'fast'" in told.hint


def test_a_retry_that_no_queue_took_is_unroutable_though_it_expired_on_its_delay_queue() -> None:
    dead = letter(encode(task(2)), x_death=[death("expired", "wb.delay.1s")], x_first_death_reason="expired")
    assert failure(dead).type == "Unroutable"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("delivery_limit", "DeliveryLimitExceeded"),
        ("expired", "Expired"),
        ("rejected", "Rejected"),
        ("maxlen", "QueueFull"),
        ("news", "DeadLettered"),
    ],
)
def test_the_brokers_last_reason_becomes_the_failure(reason: str, kind: str) -> None:
    dead = letter(x_death=[death(reason), death("expired", "wb.delay.1s")], x_first_death_reason="expired")
    told = failure(dead)
    assert told.type == kind
    assert "wb.tasks.image" in told.message


def test_a_broker_that_lists_no_deaths_is_believed_its_first_reason() -> None:
    assert failure(letter(x_first_death_reason="delivery_limit")).type == "DeliveryLimitExceeded"


def test_a_workers_reason_comes_before_the_brokers() -> None:
    dead = DeadLetter(encode(task()), "k", "t", {REASON: "no such operation", REASON_TYPE: "UnknownOperation"})
    assert (failure(dead).type, failure(dead).message) == ("UnknownOperation", "no such operation")
    assert failure(DeadLetter(encode(task()), "k", "t", {REASON: "hm"})).type == "DeadLettered"


@pytest.mark.parametrize(
    "record",
    [
        TaskRecord(task_id="t", attempt=1, state=State.SUCCEEDED),
        TaskRecord(task_id="t", attempt=2, state=State.QUEUED),
        TaskRecord(task_id="t", attempt=1, state=State.RETRYING),
    ],
    ids=lambda record: f"{record.state} in attempt {record.attempt}",
)
def test_a_task_that_has_ended_or_lives_on_in_a_later_attempt_is_left_alone(record: TaskRecord) -> None:
    assert judge(letter(), record) is None


def test_the_worker_that_had_the_task_last_is_named() -> None:
    record = TaskRecord(task_id="t", attempt=1, state=State.RUNNING, worker="w", started_at=NOW, slot=1)
    told = judge(letter(x_death=[death("delivery_limit")]), record)
    assert told is not None
    assert (told.worker, told.started_at, told.slot) == ("w", NOW, 1)


def test_a_letter_that_nobody_can_read_ends_the_known_task_it_is_named_for() -> None:
    record = TaskRecord(task_id="t", operation="image.thumbnail", client="c", attempt=1, state=State.QUEUED)
    dead = letter(b"\xc1", **{REASON: "can't be read"})
    told = judge(dead, record)
    assert told is not None
    assert (told.task_id, told.operation, told.client, told.attempt) == ("t", "image.thumbnail", "c", 1)
    assert judge(dead) is None


def test_an_outcome_that_can_not_be_recorded_ends_its_task_and_a_copy_does_not() -> None:
    record = TaskRecord(task_id="t", attempt=1, state=State.RUNNING)
    headers = {BY_TRACKER: "tracker", REASON: "no", REASON_TYPE: "Unreadable"}
    ends = judge(DeadLetter(b"\xc1", "task.finished.c", "t/1", headers), record)
    assert ends is not None
    assert ends.task_id == "t"
    assert judge(DeadLetter(b"\xc1", "image.thumbnail", "t", headers), record) is None
    assert failure(DeadLetter(encode(outcome()), "task.finished.c", "t/1", headers), record).type == "Unreadable"


def test_news_that_end_no_task_are_only_news() -> None:
    assert judge(letter(encode(TrackerOnline(tracker="t", at=NOW)), message_id="")) is None
    assert judge(letter(encode(outcome(Status.RETRY)))) is None


def test_a_letter_whose_outcome_its_worker_has_published_is_no_verdict() -> None:
    record = TaskRecord(task_id="t", attempt=1, state=State.RUNNING)
    assert judge(letter(**{TOLD: True}), record) is None


def test_a_letter_of_a_replay_ends_that_replay_and_one_of_an_earlier_replay_ends_nothing() -> None:
    again = msgspec.structs.replace(task(2), replay=1)
    ended = TaskRecord(task_id="t", attempt=1, state=State.FAILED)
    told = judge(letter(encode(again)), ended)
    assert told is not None
    assert (told.replay, told.attempt) == (1, 2)
    reopened = TaskRecord(task_id="t", attempt=1, state=State.QUEUED, replay=1)
    assert judge(letter(encode(task(1))), reopened) is None
