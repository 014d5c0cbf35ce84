from __future__ import annotations

import asyncio
import os

import pytest

from tests.unit.tracker_facts import online
from workbench.broker import Topology
from workbench.broker.inspect import QueueDepth
from workbench.core.errors import BrokerUnavailable, WorkbenchError
from workbench.core.live import QueueFacts
from workbench.core.messages import utcnow
from workbench.core.rpc import Queues
from workbench.tracker.aggregates import Aggregates
from workbench.tracker.queues import QueueLooks, places, task_queue
from workbench.tracker.workers import fold_workers
from workbench.worker.usage import Usage, cpu_seconds


def facts(ready: int | None, arriving: float, leaving: float) -> QueueFacts:
    depth = None if ready is None else QueueDepth(ready, 1)
    return task_queue(
        "tasks.image", ("image", ""), depth, pace=(arriving, leaving), in_flight=1, takers=fold_workers([online()], {})
    )


@pytest.mark.parametrize(
    ("ready", "arriving", "leaving", "drained_in"),
    [(0, 5.0, 1.0, 0.0), (100, 1.0, 3.0, 50.0), (100, 3.0, 3.0, None), (100, 4.0, 3.0, None), (None, 0.0, 1.0, None)],
)
def test_a_queue_is_drained_at_its_pace_or_not_at_all(
    ready: int | None, arriving: float, leaving: float, drained_in: float | None
) -> None:
    told = facts(ready, arriving, leaving)
    assert (told.drained_in, told.ready, told.workers, told.slots) == (drained_in, ready, 1, 2)


def test_queues_are_those_of_families_lanes_and_what_was_seen() -> None:
    workers = fold_workers([online(lane="high")], {})
    assert places(["text.echo", ""], workers, [("data", "low")]) == [
        ("convert", ""),
        ("data", ""),
        ("data", "low"),
        ("image", ""),
        ("image", "high"),
        ("text", ""),
    ]


def test_one_look_serves_all_who_ask_within_a_second() -> None:
    asked: list[str] = []
    topology = Topology("t.")

    async def depth(queue: str) -> QueueDepth | None:
        asked.append(queue)
        return None if ".delay." in queue else QueueDepth(4, 1)

    async def scene() -> Queues:
        aggregates = Aggregates("life")
        aggregates.meet(fold_workers([online()], {}), utcnow())
        looks = QueueLooks(aggregates, topology, depth)
        first, second = await asyncio.gather(looks.look(), looks.look())
        assert first is second
        return first

    told = asyncio.run(scene())
    assert len(asked) == len(set(asked))
    assert sum(".delay." in queue for queue in asked) == 1  # where one isn't there, none is
    image = next(each for each in told.queues if each.family == "image")
    assert (image.ready, image.consumers, image.slots, image.in_flight) == (4, 1, 2, 0)


def test_a_broker_that_is_away_is_told_of() -> None:
    async def depth(queue: str) -> QueueDepth | None:
        raise BrokerUnavailable("gone")

    async def scene() -> None:
        with pytest.raises(WorkbenchError, match="doesn't tell of its queues: gone"):
            await QueueLooks(Aggregates("life"), Topology("t."), depth).look()

    asyncio.run(scene())


def test_processes_use_what_the_kernel_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    used, clock = {1: 5.0, 2: 1.0}, [100.0]
    monkeypatch.setattr("workbench.worker.usage.cpu_seconds", used.get)
    monkeypatch.setattr("workbench.worker.usage.time.monotonic", lambda: clock[0])
    usage = Usage()
    usage.cores([1, 2])
    clock[0] += 10.0
    used |= {1: 10.0, 2: 2.0, 3: 4.0}  # one is new
    assert usage.cores([1, 2, 3]) == pytest.approx(1.0)
    clock[0] += 10.0
    del used[2]  # one has gone
    assert usage.cores([1, 2, 3]) == 0.0


def test_what_a_process_uses_is_read_and_what_is_gone_uses_nothing() -> None:
    used = cpu_seconds(os.getpid())
    assert used is not None
    assert used > 0
    assert cpu_seconds(2**30) is None
