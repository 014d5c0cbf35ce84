import pytest

from workbench.core.messages import Failure, Task, utcnow
from workbench.core.retry import DELAYS, NEVER, next_delay


def task(attempt: int, retries: int) -> Task:
    now = utcnow()
    return Task(
        task_id="t",
        operation="data.head",
        client="c",
        submitted_at=now,
        queued_at=now,
        attempt=attempt,
        retries=retries,
    )


def test_a_task_without_retries_ends_with_its_first_failure() -> None:
    assert next_delay(task(1, 0), Failure(type="ValueError", message="")) is None


def test_each_retry_waits_longer_than_the_one_before_up_to_the_longest_delay() -> None:
    failure = Failure(type="OSError", message="")
    delays = [next_delay(task(attempt, 20), failure) for attempt in range(1, 21)]
    assert delays[: len(DELAYS)] == list(DELAYS)
    assert set(delays[len(DELAYS) :]) == {DELAYS[-1]}
    assert next_delay(task(21, 20), failure) is None


@pytest.mark.parametrize("kind", sorted(NEVER))
def test_bad_arguments_and_bad_input_are_never_retried(kind: str) -> None:
    assert next_delay(task(1, 5), Failure(type=kind, message="")) is None
