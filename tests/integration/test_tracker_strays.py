"""Tasks whose message the broker has lost: the tracker publishes them again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.tracker_desk import LONG, Desk, Play, player
from tests.support import rabbitmqctl, until
from workbench.broker import Consumer, Delivery, Topology
from workbench.broker.inspect import QueueDepth
from workbench.broker.node import Node
from workbench.core.messages import Status, Task, decode_task, utcnow
from workbench.core.states import State, TaskRecord
from workbench.tracker import strays


@pytest.fixture
def play(node: Node, topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setattr(strays, "LOOK", 0.2)
    monkeypatch.setattr(strays, "APART", 0.5)
    return player(node, topology, f"sqlite:///{tmp_path / 'tracker.db'}")


def consumer(desk: Desk, taken: list[Task], lane: str | None = None, prefetch: int = 100) -> Consumer:
    """Take tasks of the family `text`, and keep them unacknowledged, as a worker does that tells nobody."""

    def take(delivery: Delivery) -> None:
        taken.append(decode_task(delivery.body))

    return Consumer(
        desk.node.url,
        desk.topology,
        name="taker",
        queues={desk.topology.task_queue("text", lane): prefetch},
        declare=desk.topology.family("text", lane),
        on_delivery=take,
    )


async def declared(desk: Desk, lane: str | None = None) -> None:
    await desk.publisher.connection.wait_open(LONG)
    await desk.publisher.declare(desk.topology.family("text", lane))


@pytest.mark.parametrize("lane", [None, "slow"])
def test_tasks_that_waited_on_a_queue_that_is_deleted_are_published_again_unchanged(
    play: Play, lane: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(desk: Desk) -> None:
        await declared(desk, lane)
        async with desk.tracker():
            tasks = [await desk.submit("text.words", lane=lane) for _ in range(3)]
            for task in tasks:
                await desk.recorded(task.task_id, State.QUEUED)
            for times in (1, 2):  # what was published again is as safe as it was
                await asyncio.to_thread(rabbitmqctl, desk.node, "delete_queue", desk.topology.task_queue("text", lane))
                await until(lambda times=times: caplog.text.count("lies on no queue") == 3 * times, timeout=LONG)
            taken: list[Task] = []
            async with consumer(desk, taken, lane):
                await until(lambda: len({task.task_id for task in taken}) == 3, timeout=LONG)
            assert sorted(taken[:3], key=lambda task: task.task_id) == tasks
            for task in tasks:
                await desk.finish(task)
                await desk.recorded(task.task_id, State.SUCCEEDED)

    play(scene)


def test_a_task_that_waits_on_its_queue_is_left_there(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(desk: Desk) -> None:
        await declared(desk)
        async with desk.tracker():
            waiting = await desk.submit("text.words")
            await desk.recorded(waiting.task_id, State.QUEUED)
            stray = await desk.submit("image.thumbnail")
            await desk.recorded(stray.task_id, State.QUEUED)
            await asyncio.to_thread(rabbitmqctl, desk.node, "purge_queue", desk.topology.task_queue("image"))
            await until(lambda: f"{stray.task_id} lies on no queue" in caplog.text, timeout=LONG)
            taken: list[Task] = []
            async with consumer(desk, taken):
                await until(lambda: taken, timeout=LONG)
            assert taken == [waiting]
        assert f"{waiting.task_id} lies on no queue" not in caplog.text

    play(scene)


def test_a_task_whose_next_attempt_is_overdue_for_long_gets_it(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        await declared(desk)
        async with desk.tracker():
            task = await desk.submit("text.words")
            await asyncio.to_thread(rabbitmqctl, desk.node, "purge_queue", desk.topology.task_queue("text"))
            await desk.finish(task, Status.RETRY, retry_at=utcnow() + timedelta(seconds=1))
            taken: list[Task] = []
            async with consumer(desk, taken):
                await until(lambda: taken, timeout=LONG)
            assert (taken[0].task_id, taken[0].attempt) == (task.task_id, 2)

    play(scene)


NOW = utcnow()


def record(**more: Any) -> TaskRecord:
    return TaskRecord(task_id="t", operation="text.words", submitted_at=NOW, attempt=1, **more)


@pytest.mark.parametrize(
    ("known", "depth", "nowhere"),
    [
        (record(), None, True),
        (record(), QueueDepth(0, 1), True),
        (record(), QueueDepth(3, 1), False),
        (record(cancel_at=NOW), None, False),
        (record(state=State.RETRYING, retry_at=NOW - timedelta(seconds=1)), QueueDepth(3, 1), True),
        (record(state=State.RETRYING, retry_at=NOW + timedelta(seconds=1)), None, False),
        (TaskRecord(task_id="t"), None, False),
    ],
)
def test_a_task_is_nowhere_where_neither_its_queue_nor_a_delay_can_have_it(
    known: TaskRecord, depth: QueueDepth | None, nowhere: bool
) -> None:
    assert strays.is_nowhere(known, depth, [], now=NOW) is nowhere
