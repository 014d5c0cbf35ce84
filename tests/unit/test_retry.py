from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import InvalidArguments
from workbench.core.messages import Failure, Task, decode_task, encode
from workbench.core.policy import LONGEST_DELAY, RetryPolicy, policy_of
from workbench.core.retry import NEVER, Decision, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = Failure(type="ConnectionResetError", message="", bases=("ConnectionError", "OSError"))
CRASH = Failure(type="WorkerProcessDied", message="", transient=True)


def task(attempt: int = 1, retry: RetryPolicy | None = None, **fields: Any) -> Task:
    return Task(
        task_id="t",
        operation="image.resize",
        client="c",
        submitted_at=NOW,
        queued_at=NOW,
        attempt=attempt,
        retry=retry,
        **fields,
    )


def decided(task: Task, failure: Failure, draw: float = 0.0) -> Decision:
    return decide(task, failure, now=NOW, draw=draw)


def test_without_a_policy_only_what_the_surroundings_did_is_tried_again_and_twice() -> None:
    assert decided(task(), ERROR) == Decision()
    assert [decided(task(attempt), CRASH).delay for attempt in (1, 2, 3)] == [1.0, 2.0, None]


def test_a_task_out_of_attempts_belongs_among_the_dead_letters_with_the_reason() -> None:
    decision = decided(task(3), CRASH)
    assert decision.dead == "out of attempts: 3 of 3 failed, the last with WorkerProcessDied"
    assert decision.note


def test_a_policy_of_one_attempt_tries_nothing_again() -> None:
    assert decided(task(retry=RetryPolicy(attempts=1)), CRASH) == Decision()


def test_waits_grow_up_to_the_longest_one() -> None:
    policy = RetryPolicy(attempts=10, delay=2, factor=3, max_delay=50)
    assert [decided(task(attempt, policy), ERROR).delay for attempt in range(1, 6)] == [2, 6, 18, 50, 50]


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_jitter_shortens_a_wait_by_its_share_at_the_most(failed: int, jitter: float, draw: float) -> None:
    full, wait = (RetryPolicy(jitter=part).wait(failed, draw) for part in (0, jitter))
    assert full * (1 - jitter) <= wait <= full


@pytest.mark.parametrize(
    ("policy", "again"),
    [
        (RetryPolicy(), True),
        (RetryPolicy(on=(OSError,)), True),  # type: ignore[arg-type]  # a class stands for its name
        (RetryPolicy(on=("ConnectionResetError",)), True),
        (RetryPolicy(on=("ValueError",)), False),
        (RetryPolicy(never=("ConnectionError",)), False),
        (RetryPolicy(on=("OSError",), never=("ConnectionResetError",)), False),
    ],
)
def test_exceptions_are_told_by_their_names_or_those_of_their_bases(policy: RetryPolicy, again: bool) -> None:
    assert (decided(task(retry=policy), ERROR).delay is not None) is again


def test_a_crash_is_tried_again_whatever_exceptions_are_named_unless_it_is_excluded() -> None:
    assert decided(task(retry=RetryPolicy(on=("ValueError",))), CRASH).delay
    assert decided(task(retry=RetryPolicy(never=("WorkerProcessDied",))), CRASH).delay is None


@pytest.mark.parametrize("kind", sorted(NEVER))
def test_what_another_attempt_would_only_repeat_is_never_tried_again(kind: str) -> None:
    for failure in (Failure(type=kind, message=""), Failure(type="Own", message="", bases=(kind, "ValueError"))):
        assert decided(task(retry=RetryPolicy(attempts=5)), failure) == Decision()


def test_an_operation_that_one_worker_does_not_know_may_be_known_to_another() -> None:
    unknown = Failure(type="UnknownOperation", message="", bases=("WorkbenchError",))
    assert [decided(task(attempt), unknown).delay for attempt in (1, 2, 3)] == [1.0, 2.0, None]
    assert "UnknownOperation" in decided(task(3), unknown).dead


def test_an_operation_that_asks_for_another_attempt_gets_it_after_its_own_time_while_there_are_any() -> None:
    asks = Failure(type="Retry", message="", asks="retry", retry_in=7.0)
    assert [decided(task(attempt), asks).delay for attempt in (1, 2, 3)] == [7.0, 7.0, None]
    assert decided(task(), msgspec.structs.replace(asks, retry_in=1e9)).delay == LONGEST_DELAY
    assert decided(task(), msgspec.structs.replace(asks, retry_in=None)).delay == 1.0


def test_an_operation_that_rejects_its_task_ends_it_among_the_dead_letters() -> None:
    rejects = Failure(type="Reject", message="no such customer", asks="reject")
    assert decided(task(retry=RetryPolicy(attempts=9)), rejects).dead == "rejected by the operation: no such customer"


def test_no_attempt_is_planned_beyond_the_deadline() -> None:
    late = task(deadline_at=NOW + timedelta(seconds=1))
    assert decided(late, CRASH).delay is None
    assert "deadline" in decided(late, CRASH).note
    assert decided(late, CRASH, draw=1.0).delay == 0.5


def test_attempts_of_an_earlier_replay_are_not_counted() -> None:
    assert decided(task(4, first_attempt=4, replay=1), CRASH).delay == 1.0
    assert decided(task(6, first_attempt=4, replay=1), CRASH).delay is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"delay": -1},
        {"factor": 0.5},
        {"jitter": 2},
        {"max_delay": 1e9},
        {"delay": float("nan")},
        {"on": 3},
        {"on": ("not a name",)},
        {"never": (int,)},
    ],
)
def test_a_policy_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments, match=f"RetryPolicy: {next(iter(wrong))} takes"):
        RetryPolicy(**wrong)


def test_a_message_with_a_policy_out_of_range_cannot_be_read() -> None:
    good = encode(task(retry=RetryPolicy(attempts=77)))
    assert decode_task(good).retry == RetryPolicy(attempts=77)
    bad = msgspec.msgpack.encode({**msgspec.msgpack.decode(good), "retry": {"attempts": 0}})
    with pytest.raises(msgspec.ValidationError, match="attempts takes"):
        decode_task(bad)


def test_a_number_of_retries_stands_for_a_policy() -> None:
    assert policy_of(2, None) == RetryPolicy(attempts=3)
    assert policy_of(None, None) is None
    with pytest.raises(InvalidArguments, match="not both"):
        policy_of(1, RetryPolicy())
    with pytest.raises(InvalidArguments, match="takes a RetryPolicy, got 3"):
        policy_of(None, 3)  # type: ignore[arg-type]
    for wrong in (-1, True, 10**9, 1.0):
        with pytest.raises(InvalidArguments, match="retries takes a whole number"):
            policy_of(wrong, None)  # type: ignore[arg-type]
