from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workbench.broker.letters import Letter
from workbench.client.handle import TaskHandle
from workbench.core.messages import Failure
from workbench.core.states import Progress, State, TaskRecord
from workbench.notebook import reprs

NOW = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("fraction", "bar"),
    [(0.0, "░" * 20 + "</code> 0%"), (0.5, "█" * 10 + "░" * 10 + "</code> 50%"), (1.0, "█" * 20 + "</code> 100%")],
)
def test_progress_is_a_bar_of_characters(fraction: float, bar: str) -> None:
    record = TaskRecord(
        task_id="t", operation="data.head", attempt=2, state=State.RUNNING, progress=Progress(2, NOW, fraction, "rows")
    )
    shown = reprs._record(record)
    assert f"{bar} rows" in shown
    assert "▶ running" in shown


def test_progress_of_an_earlier_attempt_is_not_shown() -> None:
    record = TaskRecord(task_id="t", attempt=2, state=State.RUNNING, progress=Progress(1, NOW, 0.5))
    assert "█" not in reprs._record(record)


def test_a_task_that_waits_for_its_next_attempt_says_when_and_after_what() -> None:
    record = TaskRecord(
        task_id="t", attempt=1, state=State.RETRYING, retry_at=NOW, failure=Failure(type="OSError", message="gone")
    )
    shown = reprs._record(record)
    for said in ("↻ retrying", "2020-01-02 03:04:05 UTC", "OSError: gone"):
        assert said in shown


def test_whatever_comes_from_elsewhere_is_escaped() -> None:
    record = TaskRecord(
        task_id=EVIL,
        operation=EVIL,
        attempt=1,
        state=State.RUNNING,
        worker=EVIL,
        summary=EVIL,
        output=EVIL,
        progress=Progress(1, NOW, 0.1, EVIL),
        failure=Failure(type=EVIL, message=EVIL, hint=EVIL),
        cancel_at=NOW,
        cancel_reason=EVIL,
    )
    letter = Letter(
        message_id=EVIL, task_id=EVIL, kind="task", routing_key=EVIL, operation=EVIL, reason_type=EVIL, reason=EVIL,
        worker=EVIL, size=1, deaths=EVIL,
    )  # fmt: skip
    for shown in (reprs._record(record), reprs._letter(letter), reprs._handle(TaskHandle(EVIL, EVIL))):
        assert "<script" not in shown
        assert "&lt;script&gt;" in shown
