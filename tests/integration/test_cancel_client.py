"""Cancelling, asking why, pinning and replays as the client sees them: a real broker, and a tracker of a few lines.

The last part takes the whole workbench, and needs a tracker and a worker that carry intents out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.integration.fake_tracker import FakeTracker, outcome, wait_for_asked
from tests.support import rabbitmqctl, wait_until
from workbench.broker import ConnectionState, Topology
from workbench.broker.node import Node
from workbench.core import rpc
from workbench.core.errors import BrokerBlocked, InvalidArguments, TaskNotFound
from workbench.core.messages import CancelRequested, Status, TaskFinished, TaskStarted, utcnow
from workbench.core.settings import Settings
from workbench.core.states import State


@pytest.fixture
def client(node: Node, topology: Topology, tmp_path: Path) -> Iterator[wb.Client]:
    settings = Settings(broker_url=node.url, namespace=topology.namespace, store=str(tmp_path))
    with wb.Client(settings=settings) as client:
        yield client


@pytest.fixture
def other(client: wb.Client) -> Iterator[wb.Client]:
    with wb.Client(settings=client.settings) as other:
        yield other


def submit(client: wb.Client, tracker: FakeTracker | None = None) -> wb.TaskHandle:
    task = client.submit("data.head", "somewhere.csv")
    if tracker is not None:
        wait_until(lambda: task.id in tracker.records)
    return task


def carries_out(tracker: FakeTracker, **changes: object) -> None:
    """Let every intent end its task, as a worker or the tracker would."""

    def end(wish: CancelRequested) -> TaskFinished:
        return outcome(tracker.records[wish.task_id], Status.CANCELLED, **changes)

    tracker._on_cancel = end


def test_a_task_that_waits_is_cancelled_and_told_so(client: wb.Client, node: Node, topology: Topology) -> None:
    with FakeTracker(node.url, topology) as tracker:
        carries_out(tracker)
        task = submit(client, tracker)
        told = task.cancel(reason="a mistake", timeout=20)
        assert told == wb.Cancellation(task.id, State.CANCELLED, "cancelled: it was waiting on its queue")
        assert told.cancelled
        assert repr(told) == f"<Cancellation {task.id}: cancelled: it was waiting on its queue>"
        (wish,) = tracker.cancels
        assert (wish.task_id, wish.reason, wish.operation, wish.client) == (
            task.id, "a mistake", "data.head", client.engine.name,
        )  # fmt: skip
        with pytest.raises(wb.TaskCancelled):
            task.result(20)


def test_a_task_that_runs_is_cancelled_and_told_where(
    client: wb.Client, other: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        carries_out(tracker, worker="w1", started_at=utcnow())
        task = submit(client, tracker)
        told = asyncio.run(other.cancel(task.id, timeout=20))  # by somebody else
        assert told.sentence == "cancelled: it was running on w1"


def test_several_are_cancelled_at_once_and_told_in_their_order(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        carries_out(tracker)
        tasks = client.map("data.head", ["a.csv"] * 20)
        wait_until(lambda: len(tracker.records) == 20)
        told = asyncio.run(client.cancel(tasks, timeout=20))
        assert [each.task_id for each in told] == tasks.ids
        assert {each.state for each in told} == {State.CANCELLED}
        again = tasks.cancel(timeout=20)
        assert {each.sentence.partition(" at ")[0] for each in again} == {"it had been cancelled already"}
        assert len(tracker.cancels) == 20


def test_a_task_that_has_ended_keeps_its_end(client: wb.Client, node: Node, topology: Topology) -> None:
    with FakeTracker(node.url, topology) as tracker:
        task = submit(client, tracker)
        end = outcome(tracker.records[task.id], Status.SUCCEEDED)
        tracker.tell(end)
        assert task.result(20) == 1
        told = task.cancel(timeout=20)
        assert told.state is State.SUCCEEDED
        assert told.sentence == f"it had succeeded already at {end.finished_at:%Y-%m-%d %H:%M:%S} UTC"
        assert not tracker.cancels


def test_a_task_that_ends_before_the_order_reaches_it_keeps_its_end(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        tracker._on_cancel = lambda wish: outcome(tracker.records[wish.task_id], Status.SUCCEEDED)
        told = submit(client, tracker).cancel(timeout=20)
        assert told.state is State.SUCCEEDED
        assert told.sentence.endswith("before the order reached it")


def test_a_worker_that_does_not_confirm_is_named_and_the_intent_stays(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        task = submit(client, tracker)
        tracker.tell(TaskStarted(task_id=task.id, attempt=1, worker="w1", slot=1, started_at=utcnow()))
        wait_until(lambda: tracker.records[task.id].state is State.RUNNING)
        start = time.monotonic()
        told = task.cancel(timeout=0.5)
        assert time.monotonic() - start < 5
        assert told.state is State.RUNNING
        assert told.sentence == "asked for; its worker w1 hasn't confirmed within 0.5 s: the intent stays"
        assert len(tracker.cancels) == 1


def test_an_intent_waits_for_a_tracker_that_is_away(client: wb.Client, node: Node, topology: Topology) -> None:
    task = submit(client)
    told = task.cancel(timeout=1)
    assert told.state is None
    assert told.sentence.startswith("asked for; the broker has the intent, and no tracker has answered so far")
    tracker = FakeTracker(node.url, topology)
    carries_out(tracker)
    with tracker, pytest.raises(wb.TaskCancelled):
        task.result(20)


def test_a_task_that_nobody_knows_is_not_cancelled_and_nor_are_those_with_it(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        task = submit(client, tracker)
        for unknown in ("0198c0de-0000-7000-8000-000000000000", "no/id"):
            with pytest.raises(TaskNotFound, match=unknown):
                asyncio.run(client.cancel([task.id, unknown], timeout=10))
        assert not tracker.cancels
        with pytest.raises(InvalidArguments, match="500 characters"):
            task.cancel(reason="x" * 501)
        with pytest.raises(TypeError, match="int"):
            asyncio.run(client.cancel([1]))


def test_why_is_the_tracker_s_sentence_or_what_is_known_here(
    client: wb.Client, other: wb.Client, node: Node, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.client.questions.WHY_TIMEOUT", 0.5)
    with FakeTracker(node.url, topology) as tracker:
        task = submit(client, tracker)
        assert task.why() == "It waits for a worker."
        assert asyncio.run(client.why(task)) == "It waits for a worker."
        unknown = asyncio.run(client.why("0198c0de-0000-7000-8000-000000000000"))
        assert unknown.startswith("The tracker has no task 0198c0de")
        tracker.silent = True
        assert task.why() == (
            "No tracker answered within 0.5 s; this client has submitted it, and no outcome of it has come back yet."
        )
        assert asyncio.run(other.why(task.id)).endswith("this client knows nothing of it.")
        tracker.tell(outcome(tracker.records[task.id], Status.SUCCEEDED, worker="w1"))
        assert task.result(20) == 1
        assert "this client knows that it succeeded on w1 at" in task.why()


def test_why_says_at_once_that_the_broker_is_blocked(client: wb.Client, node: Node, topology: Topology) -> None:
    task = submit(client)
    rabbitmqctl(node, "set_vm_memory_high_watermark", "0.00001")
    try:
        start = time.monotonic()
        sentence = task.why()
        assert time.monotonic() - start < 4
        assert "is blocked" in sentence
        assert "low on memory" in sentence
        assert "this client has submitted it" in sentence
        assert client.engine.state is ConnectionState.BLOCKED
        with pytest.raises(BrokerBlocked, match="low on memory"):
            task.cancel(timeout=0.5)
    finally:
        rabbitmqctl(node, "set_vm_memory_high_watermark", "0.4")


def test_attempts_and_pins_are_the_tracker_s(client: wb.Client, node: Node, topology: Topology) -> None:
    unknown = "0198c0de-0000-7000-8000-000000000000"
    with FakeTracker(node.url, topology) as tracker:
        task = submit(client, tracker)
        assert task.attempts() == []
        tracker.attempts = (rpc.AttemptRecord(attempt=1, worker="w1"),)
        assert asyncio.run(client.attempts(task)) == task.attempts() == [rpc.AttemptRecord(attempt=1, worker="w1")]
        tracker.attempts = ()
        with pytest.raises(TaskNotFound):
            asyncio.run(client.attempts(unknown))
        assert asyncio.run(client.pin([task, task.id])) == [task.id]
        assert asyncio.run(client.unpin(task)) == [task.id]
        with pytest.raises(TaskNotFound, match=f"{unknown}; the other 1 are pinned"):
            asyncio.run(client.pin([task.id, unknown]))
        assert [each.pinned for each in tracker.asked if isinstance(each, rpc.PinTasks)] == [True, False, True]


def test_the_attempt_whose_outcome_came_before_the_tracker_had_it_is_among_them(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    first = rpc.AttemptRecord(attempt=1, worker="w1", finished_at=utcnow())
    running = rpc.AttemptRecord(attempt=2, worker="w2", started_at=utcnow())
    with FakeTracker(node.url, topology) as tracker:
        task = submit(client, tracker)
        end = outcome(tracker.records[task.id], Status.SUCCEEDED, attempt=2, worker="w2")
        tracker.tell(end)
        assert task.result(20) == 1
        for behind in ((first,), (first, running)):
            tracker.attempts = behind
            before, last = task.attempts()
            assert before == first
            assert (last.attempt, last.worker, last.finished_at) == (2, "w2", end.finished_at)
            assert last.outcome is not None
            assert (last.outcome.status, last.outcome.result) == (Status.SUCCEEDED, None)
        tracker.attempts = (first, last)
        assert task.attempts() == [first, last]
        cancelled = submit(client, tracker)
        tracker.attempts = ()
        tracker.tell(outcome(tracker.records[cancelled.id], Status.CANCELLED))  # by the tracker: it never ran
        with pytest.raises(wb.TaskCancelled):
            cancelled.result(20)
        assert cancelled.attempts() == []


def test_a_handle_of_a_replay_waits_for_its_outcome_and_not_for_the_old_one(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        task = client.with_options(lane="nowhere").submit("data.head", "somewhere.csv")
        wait_until(lambda: task.id in tracker.records)
        tracker.tell(outcome(tracker.records[task.id], Status.FAILED))
        with pytest.raises(wb.TaskFailed):
            task.result(20)
        (again,) = asyncio.run(client.replay(task))
        wait_until(lambda: tracker.records[task.id].replay == 1)
        # The fake still answers the old outcome: whoever waits for the new one neither takes it nor asks all the time.
        wait_for_asked(tracker, rpc.GetOutcomes, 2)
        asked = len(tracker.asked)
        assert not again.done()
        assert again.status().replay == 1
        assert len(tracker.asked) < asked + 5
        tracker.tell(outcome(tracker.records[task.id], Status.SUCCEEDED))
        assert again.result(20) == 1
        with pytest.raises(wb.TaskFailed):  # what was waited for has ended
            task.result(20)
        assert client.get(task.id).result(20) == 1


def test_somebody_who_asks_again_for_a_task_that_had_failed_learns_of_its_replay(
    client: wb.Client, other: wb.Client, node: Node, topology: Topology
) -> None:
    with FakeTracker(node.url, topology) as tracker:
        task = client.with_options(lane="nowhere").submit("data.head", "somewhere.csv")
        wait_until(lambda: task.id in tracker.records)
        tracker.tell(outcome(tracker.records[task.id], Status.FAILED))
        with pytest.raises(wb.TaskFailed):
            task.result(20)
        (again,) = asyncio.run(other.replay(task.id))
        wait_until(lambda: tracker.records[task.id].replay == 1)
        tracker.tell(outcome(tracker.records[task.id], Status.SUCCEEDED))
        assert again.result(20) == 1
        assert client.get(task.id).result(20) == 1
