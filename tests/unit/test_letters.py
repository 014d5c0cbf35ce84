from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workbench.broker import letters
from workbench.broker.letters import Letter
from workbench.broker.topology import Topology
from workbench.core import messages
from workbench.core.messages import Status, Task, TaskFinished, TasksFinished

NOW = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
TASK = Task(task_id="t1", operation="data.head", client="c", submitted_at=NOW, queued_at=NOW, attempt=3, replay=1)
END = TaskFinished(task_id="t2", operation="data.sum", client="c", attempt=2, status=Status.FAILED, finished_at=NOW)


def read(body: bytes, headers: dict[str, object] | None = None, message_id: str = "m") -> Letter:
    return letters.read(
        body, routing_key="data.head", message_id=message_id, headers=headers or {}, topology=Topology()
    )


@pytest.mark.parametrize(
    ("body", "kind", "task_id", "attempts", "replay"),
    [
        (messages.encode(TASK), "task", "t1", 3, 1),
        (messages.encode(END), "outcome", "t2", 2, 0),
        (messages.encode(TasksFinished(outcomes=(END,))), "outcome", "t2", 2, 0),
        (messages.encode(TasksFinished(outcomes=())), "other", "m", 0, 0),
        (messages.encode(messages.WorkerOffline(worker="w", at=NOW)), "other", "m", 0, 0),
        (b"\xff\x00", "other", "m", 0, 0),
        (b"", "other", "m", 0, 0),
    ],
)
def test_a_letter_tells_what_it_holds(body: bytes, kind: str, task_id: str, attempts: int, replay: int) -> None:
    letter = read(body)
    assert (letter.kind, letter.task_id, letter.attempts, letter.replay, letter.size) == (
        kind, task_id, attempts, replay, len(body),
    )  # fmt: skip


def test_a_letter_is_found_by_its_task_and_by_its_message() -> None:
    assert read(messages.encode(END), message_id="t2/2").ids == {"t2", "t2/2"}
    assert read(b"?", message_id="t9/4").task_id == "t9"
    assert read(b"?", message_id="").ids == frozenset()


def death(reason: str, queue: str, **more: object) -> dict[str, object]:
    return {"x-death": [{"reason": reason, "queue": queue, "count": 1, **more}]}


@pytest.mark.parametrize(
    ("headers", "reason_type", "said"),
    [
        ({"x-workbench-reason": "no", "x-workbench-reason-type": "Rejected"}, "Rejected", "no"),
        ({"x-workbench-reason": "no"}, "DeadLettered", "no"),
        ({}, "Unroutable", "'data.head'"),
        (death("expired", "workbench.delay.3"), "Unroutable", "'data.head'"),
        (death("delivery_limit", "q"), "DeliveryLimitExceeded", "'q'"),
        (death("expired", "q"), "Expired", "'q'"),
        (death("rejected", "q"), "Rejected", "'q'"),
        (death("maxlen", "q"), "QueueFull", "'q'"),
        (death("news", "q"), "DeadLettered", "news"),
        ({"x-death": "not a list"}, "Unroutable", "'data.head'"),
        ({"x-death": ["not a record"]}, "Unroutable", "'data.head'"),
    ],
)
def test_a_letter_tells_why_it_died(headers: dict[str, object], reason_type: str, said: str) -> None:
    letter = read(messages.encode(TASK), headers)
    assert letter.reason_type == reason_type
    assert said in letter.reason


def test_a_letter_tells_when_it_died_where_that_can_be_read() -> None:
    assert read(b"", {"x-workbench-at": NOW.isoformat()}).at == NOW
    assert read(b"", {"x-workbench-at": "yesterday"}).at is None
    assert read(b"", {"x-workbench-at": "2020-01-02T03:04:05"}).at is None
    assert read(b"", death("expired", "q", time=NOW.replace(tzinfo=None))).at == NOW
    assert read(b"").at is None


def test_the_broker_s_notes_are_told_in_short() -> None:
    several = {
        "x-death": [
            {"reason": "delivery_limit", "queue": "q", "count": 1},
            {"reason": "expired", "queue": "delay", "count": 4},
        ]
    }
    assert read(b"", several).deaths == "delivery_limit on q, 1 time; expired on delay, 4 times"


def test_a_reason_of_any_length_is_told_in_two_thousand_characters() -> None:
    assert len(read(b"", {"x-workbench-reason": "x" * 10_000}).reason) == 2000


def test_a_task_to_send_again_is_the_next_attempt_of_the_next_replay_and_else_the_same() -> None:
    late = NOW.replace(year=2021)
    dead = Task(
        task_id="t1", operation="data.head", client="c", submitted_at=NOW, queued_at=NOW, attempt=3, replay=1,
        expires_at=NOW, deadline_at=NOW, lane="slow", timeout=5.0,
    )  # fmt: skip
    again = letters.replayed(dead, late)
    assert (again.attempt, again.first_attempt, again.replay, again.queued_at) == (4, 4, 2, late)
    assert (again.expires_at, again.deadline_at) == (None, None)
    assert (again.task_id, again.submitted_at, again.lane, again.timeout) == ("t1", NOW, "slow", 5.0)
