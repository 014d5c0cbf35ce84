from __future__ import annotations

import gc
import threading

import pytest

from workbench.client.outcomes import MOST_MISSES, Waiting, WaitingRoom
from workbench.core.errors import TaskNotFound, TrackerUnavailable
from workbench.core.messages import Status, TaskFinished, utcnow
from workbench.core.rpc import Outcomes


def outcome(task_id: str, status: Status = Status.SUCCEEDED) -> TaskFinished:
    return TaskFinished(
        task_id=task_id, operation="text.echo", client="c", attempt=1, status=status, finished_at=utcnow()
    )


def test_a_task_that_nobody_holds_on_to_is_forgotten() -> None:
    room = WaitingRoom()
    held = room.enter("held")
    room.enter("dropped")
    gc.collect()
    assert room.open() == ["held"]
    room.ended(outcome("held"))
    room.ended(outcome("dropped"))
    assert held.future.done()
    assert len(room) == 0


def test_a_retry_is_not_an_end() -> None:
    room = WaitingRoom()
    waiting = room.enter("a")
    room.ended(outcome("a", Status.RETRY))
    assert not waiting.future.done()


def test_a_task_the_tracker_does_not_know_is_not_found() -> None:
    room = WaitingRoom()
    waiting = room.enter("a")
    room.answered(Outcomes(unknown=("a",)))
    with pytest.raises(TaskNotFound):
        waiting.future.result(0)


def test_a_task_of_this_client_may_be_on_its_way_to_the_tracker_but_not_for_ever() -> None:
    room = WaitingRoom()
    waiting = room.enter("a", addressed=True)
    for _ in range(MOST_MISSES):
        room.answered(Outcomes(unknown=("a",)))
    assert not waiting.future.done()
    room.answered(Outcomes(unknown=("a",)))
    with pytest.raises(TaskNotFound):
        waiting.future.result(0)


def test_a_silent_tracker_ends_the_wait_for_others_tasks_only() -> None:
    room = WaitingRoom()
    mine, theirs = room.enter("mine", addressed=True), room.enter("theirs")
    for task_id in ("mine", "theirs"):
        room.unanswered(task_id, TrackerUnavailable("it is silent"))
    with pytest.raises(TrackerUnavailable):
        theirs.future.result(0)
    end = outcome("mine")
    room.ended(end)
    assert mine.future.result(0) is end


def test_tasks_may_enter_while_the_open_ones_are_listed() -> None:
    room = WaitingRoom()
    held: list[Waiting] = []

    def enter() -> None:
        for number in range(50_000):
            held.append(room.enter(f"task {number}"))

    thread = threading.Thread(target=enter)
    thread.start()
    while thread.is_alive():
        room.open()
    assert len(room) == len(held)
