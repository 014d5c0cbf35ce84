from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from workbench.client.cancel import tell
from workbench.client.targets import check_ids, ids_of, is_one
from workbench.core.errors import TaskNotFound
from workbench.core.messages import Status, TaskFinished
from workbench.core.states import State, TaskRecord

NOW = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
QUEUED = TaskRecord(task_id="t", operation="data.head", attempt=1)
RUNNING = msgspec.structs.replace(QUEUED, state=State.RUNNING, worker="w1", started_at=NOW, since=NOW)
RETRYING = msgspec.structs.replace(QUEUED, state=State.RETRYING, attempt=2)


def end(status: Status, **more: object) -> TaskFinished:
    base = TaskFinished(task_id="t", operation="data.head", client="c", attempt=2, status=status, finished_at=NOW)
    return msgspec.structs.replace(base, **more)


@pytest.mark.parametrize(
    ("before", "outcome", "after", "sentence"),
    [
        (QUEUED, end(Status.CANCELLED), None, "cancelled: it was waiting on its queue"),
        (RUNNING, end(Status.CANCELLED, worker="w1", started_at=NOW), None, "cancelled: it was running on w1"),
        (QUEUED, end(Status.CANCELLED, worker="w2"), None, "cancelled: w2 had it, and hadn't started it"),
        (RETRYING, end(Status.CANCELLED), None, "cancelled: it was waiting for attempt 3"),
        (RUNNING, end(Status.CANCELLED), None, "cancelled: its worker w1 was gone"),
        (None, end(Status.CANCELLED), None, "cancelled: it was waiting on its queue"),
        (
            QUEUED,
            end(Status.FAILED),
            None,
            "it failed at 2020-01-02 03:04:05 UTC, before the order reached it",
        ),
        (QUEUED, None, RUNNING, "asked for; its worker w1 hasn't confirmed within 30 s: the intent stays"),
        (QUEUED, None, QUEUED, "asked for; the tracker hasn't confirmed within 30 s: the intent stays"),
        (None, None, None, "asked for; the tracker hasn't confirmed within 30 s: the intent stays"),
    ],
)
def test_what_came_of_an_intent_is_one_sentence(
    before: TaskRecord | None, outcome: TaskFinished | None, after: TaskRecord | None, sentence: str
) -> None:
    assert tell("t", before, outcome, after, asked=True, waited=30, silent="").sentence == sentence


@pytest.mark.parametrize(
    ("status", "had"),
    [
        (Status.SUCCEEDED, "succeeded"),
        (Status.FAILED, "failed"),
        (Status.EXPIRED, "expired"),
        (Status.CANCELLED, "been cancelled"),
    ],
)
def test_a_task_that_had_ended_is_told_when(status: Status, had: str) -> None:
    told = tell("t", QUEUED, end(status), None, asked=False, waited=30, silent="")
    assert told.sentence == f"it had {had} already at 2020-01-02 03:04:05 UTC"
    assert told.state is not None
    assert told.state.value == status.value


def test_a_silent_tracker_is_no_verdict() -> None:
    told = tell("t", RUNNING, None, None, asked=True, waited=30, silent="no answer")
    assert told.sentence.endswith("no tracker has answered so far (no answer)")
    assert told.state is State.RUNNING


def test_one_task_or_several_may_be_named_by_id_record_or_handle() -> None:
    assert ids_of("t") == ids_of(QUEUED) == ids_of([QUEUED, "t"]) == ["t"]
    assert ids_of(iter(["b", "a", "b"])) == ["b", "a"]
    assert is_one("t")
    assert not is_one([])
    for wrong in (1, [1], [None]):
        with pytest.raises(TypeError):
            ids_of(wrong)  # type: ignore[arg-type]
    with pytest.raises(TaskNotFound, match="isn't an id"):
        check_ids(["a b"])
