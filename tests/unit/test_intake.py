from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workbench.core.messages import Status, Task
from workbench.worker.intake import limits_of, too_late

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def task(**fields: Any) -> Task:
    return Task(task_id="t", operation="a.b", client="c", submitted_at=NOW, queued_at=NOW, **fields)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_task_without_times_is_never_too_late_and_has_no_limits() -> None:
    assert too_late(task(), after(1e9)) is None
    limits = limits_of(task(), NOW)
    assert (limits.hard, limits.soft, limits.failure) == (None, None, None)


@pytest.mark.parametrize(("attempt", "first", "status"), [(1, 1, Status.EXPIRED), (2, 1, None), (5, 5, Status.EXPIRED)])
def test_only_the_first_attempt_can_expire(attempt: int, first: int, status: Status | None) -> None:
    late = too_late(task(expires_at=NOW, attempt=attempt, first_attempt=first), after(1))
    assert (late and late[0]) == status


def test_an_attempt_after_the_deadline_fails_unstarted_and_says_so() -> None:
    late = too_late(task(deadline_at=NOW, attempt=2), NOW)
    assert late is not None
    assert late[0] is Status.FAILED
    assert (late[1].type, "not started again" in late[1].message) == ("DeadlineExceeded", True)


def test_an_attempt_may_run_for_its_own_time_and_no_longer_than_to_the_deadline() -> None:
    short = limits_of(task(timeout=5.0, deadline_at=after(10)), NOW)
    assert (short.hard, short.failure) == (5.0, None)
    for limited in (task(timeout=50.0, deadline_at=after(10)), task(deadline_at=after(10))):
        limits = limits_of(limited, NOW)
        assert limits.hard == 10.0
        assert limits.failure is not None
        assert limits.failure.type == "DeadlineExceeded"
    assert limits_of(task(timeout=5.0, soft_timeout=3.0), NOW).soft == 3.0
