"""Dead letters on a real broker: looked at, sent again, purged. Tasks get there by hand; no worker or tracker runs.

The last test takes the whole workbench, and needs the tracker's fold of replays.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import workbench as wb
from tests.support import rabbitmqctl, until
from workbench.broker import Consumer, Delivery, Outgoing, Publisher, Topology
from workbench.broker.letters import Letter
from workbench.broker.node import Node
from workbench.client import dead
from workbench.core import messages
from workbench.core.errors import BrokerUnavailable, InvalidArguments, TaskNotFound
from workbench.core.messages import Status, Task, TaskFinished
from workbench.core.settings import Settings

NOW = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
DIED = {
    "x-workbench-reason": "out of attempts: 3 of 3 failed, the last with ValueError",
    "x-workbench-reason-type": "OutOfAttempts",
    "x-workbench-worker": "w1",
    "x-workbench-at": NOW.isoformat(),
    "x-workbench-told": True,
}


def task(number: int, **changes: object) -> Task:
    base = Task(
        task_id=f"t{number:06d}", operation="image.thumbnail", client="c", submitted_at=NOW, queued_at=NOW, attempt=3
    )
    return msgspec.structs.replace(base, **changes)


def letter(topology: Topology, dead: Task | TaskFinished, key: str = "image.thumbnail", **headers: object) -> Outgoing:
    return Outgoing(topology.dead, key, messages.encode(dead), dead.task_id, headers={**DIED, **headers})


async def publish(node: Node, topology: Topology, letters: list[Outgoing]) -> None:
    async with Publisher(node.url, topology, name="buries") as publisher:
        for each in letters:
            await publisher.room()
            confirm = publisher.publish_nowait(each)
        await confirm
        await publisher.flush(60)


async def taken(node: Node, topology: Topology, queue: str, count: int) -> list[Delivery]:
    """Consume `count` messages, and see that no more come before the consumer has been told of all there were."""
    got: list[Delivery] = []

    def on_delivery(delivery: Delivery) -> None:
        got.append(delivery)
        consumer.ack(delivery)

    consumer = Consumer(node.url, topology, name="takes", queues={queue: 100}, on_delivery=on_delivery)
    async with consumer:
        await until(lambda: len(got) >= count, what=f"{count} messages on {queue}")
    return got


@pytest.fixture
def client(node: Node, topology: Topology, tmp_path: Path) -> Iterator[wb.Client]:
    settings = Settings(broker_url=node.url, namespace=topology.namespace, store=str(tmp_path))
    with wb.Client(settings=settings) as client:
        yield client


def test_a_letter_tells_what_died_why_and_where(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        await publish(node, topology, [letter(topology, task(1))])
        (found,) = await client.dead_letters()
        assert (found.task_id, found.kind, found.operation, found.attempts) == ("t000001", "task", "image.thumbnail", 3)
        assert (found.reason_type, found.worker, found.at) == ("OutOfAttempts", "w1", NOW)
        assert "3 of 3 failed" in found.reason
        assert repr(found) == f"<Letter image.thumbnail t000001: OutOfAttempts, {found.reason}>"
        assert found == await client.dead_letter("t000001")
        with pytest.raises(TaskNotFound, match="no dead letter is called t9"):
            await client.dead_letter("t9")

    asyncio.run(run())


def test_what_no_queue_takes_is_told_as_unroutable(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        lost = Outgoing(topology.submit, "image.thumbnail.nolane", messages.encode(task(1)), "t000001")
        await publish(node, topology, [lost])
        (found,) = await client.dead_letters()
        assert (found.reason_type, found.deaths) == ("Unroutable", "")
        assert "image.thumbnail.nolane" in found.reason

    asyncio.run(run())


def test_what_the_broker_gave_up_is_told_with_the_queue(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        queue = topology.task_queue("image")
        refuses = Consumer(
            node.url, topology, name="r", queues={queue: 1}, on_delivery=lambda each: refuses.reject(each)
        )
        poison = Outgoing(topology.submit, "image.thumbnail", messages.encode(task(1)), "t000001")
        async with Publisher(node.url, topology, name="p") as publisher, refuses:
            await publisher.publish(poison)
            found: list[wb.Letter] = []
            while not found:
                found = await client.dead_letters()
        assert found[0].reason_type == "DeliveryLimitExceeded"
        assert found[0].deaths == f"delivery_limit on {queue}, 1 time"
        assert found[0].at is not None
        assert found[0].at.tzinfo is not None

    asyncio.run(run())


def test_looking_changes_neither_number_nor_order(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        await publish(node, topology, [letter(topology, task(number)) for number in range(2200)])  # three channels
        for limit in (5, 1700, 2200, 3000):
            found = await client.dead_letters(limit)
            assert [each.task_id for each in found] == [f"t{number:06d}" for number in range(min(limit, 2200))]

    asyncio.run(run())


def test_several_that_look_at_once_all_see_all(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        await publish(node, topology, [letter(topology, task(number)) for number in range(600)])
        with wb.Client(settings=client.settings) as other:
            looks = [who.dead_letters(1000) for who in (client, other, client, other)]
            for found in await asyncio.gather(*looks):
                assert [each.task_id for each in found] == [f"t{number:06d}" for number in range(600)]

    asyncio.run(run())


def test_what_was_just_looked_at_can_be_purged_at_once(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        await publish(node, topology, [letter(topology, task(number)) for number in range(300)])
        for number in range(40):
            assert len(await client.dead_letters(1000)) == 300 - number
            assert await client.purge_dead([f"t{number:06d}"]) == 1

    asyncio.run(run())


def test_a_connection_that_breaks_while_somebody_looks_takes_nothing_with_it(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    letters = client.engine.dead_letters
    seen: list[str] = []
    broken = threading.Event()

    async def look() -> None:
        async with letters._walk(30) as walk:
            async for each in walk:
                seen.append(each.letter.task_id)
                if len(seen) == 700:
                    await asyncio.to_thread(broken.wait, 30)

    async def run() -> None:
        await publish(node, topology, [letter(topology, task(number)) for number in range(1200)])
        looking = client.engine.run(look())
        await until(lambda: len(seen) == 700)
        session = letters._session
        await asyncio.to_thread(rabbitmqctl, node, "close_all_connections", "a test")
        await until(lambda: letters._session is not session)  # there may be the next one already
        broken.set()
        with pytest.raises(BrokerUnavailable):
            await asyncio.wrap_future(looking)
        assert [each.task_id for each in await client.dead_letters(2000)] == [f"t{n:06d}" for n in range(1200)]

    asyncio.run(run())


def test_a_task_sent_again_is_the_next_attempt_of_the_next_replay_without_its_old_limits(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    async def run() -> None:
        await publish(
            node,
            topology,
            [
                letter(topology, task(1, expires_at=NOW, deadline_at=NOW), key="image.thumbnail"),
                letter(topology, task(2)),
            ],
        )
        (handle,) = await client.replay("t000001")
        assert (handle.id, handle.operation, handle.known) == ("t000001", "image.thumbnail", "submitted")
        (delivery,) = await taken(node, topology, topology.task_queue("image"), 1)
        again = messages.decode_task(delivery.body)
        assert (again.task_id, again.replay, again.attempt, again.first_attempt) == ("t000001", 1, 4, 4)
        assert (again.expires_at, again.deadline_at, again.submitted_at) == (None, None, NOW)
        assert again.queued_at > NOW
        assert delivery.headers == {}
        assert [left.task_id for left in await client.dead_letters()] == ["t000002"]

    asyncio.run(run())


def test_a_letter_that_is_on_its_way_is_waited_for(
    client: wb.Client, node: Node, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "ON_ITS_WAY", 60.0)
    looked, browse = threading.Event(), client.engine.dead_letters.browse

    async def look(*choice: Any, **limits: Any) -> list[Letter]:
        found = await browse(*choice, **limits)
        looked.set()
        return found

    monkeypatch.setattr(client.engine.dead_letters, "browse", look)

    async def run() -> None:
        replaying = asyncio.ensure_future(client.replay("t000001"))
        await until(looked.is_set, what="it has looked once")
        await publish(node, topology, [letter(topology, task(1))])
        (handle,) = await replaying
        assert handle.id == "t000001"

    asyncio.run(run())


def test_an_outcome_sent_again_goes_to_the_events_as_it_was(client: wb.Client, node: Node, topology: Topology) -> None:
    end = TaskFinished(
        task_id="t000001", operation="image.thumbnail", client="c", attempt=1, status=Status.SUCCEEDED, finished_at=NOW
    )

    async def run() -> None:
        await publish(node, topology, [letter(topology, end, key="task.finished.c")])
        assert (await client.dead_letter("t000001")).kind == "outcome"
        await client.replay("t000001")
        (delivery,) = await taken(node, topology, topology.tracker_queue, 1)
        assert (delivery.routing_key, delivery.body) == ("task.finished.c", messages.encode(end))
        assert await client.dead_letters() == []

    asyncio.run(run())


def test_what_is_neither_task_nor_outcome_is_refused_and_nothing_is_sent(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    async def run() -> None:
        junk = Outgoing(topology.dead, "image.thumbnail", b"\xff not a message", "junk")
        await publish(node, topology, [letter(topology, task(1)), junk])
        with pytest.raises(InvalidArguments, match=r"junk can't be sent again.*Nothing was sent"):
            await client.replay(["t000001", "junk"])
        with pytest.raises(TaskNotFound, match="nothing was changed"):
            await client.replay(["t000001", "t9"])
        assert len(await client.dead_letters()) == 2
        assert [handle.id for handle in await client.replay(all=True)] == ["t000001"]
        assert [left.message_id for left in await client.dead_letters()] == ["junk"]
        assert await client.purge_dead("junk") == 1
        assert await client.dead_letters() == []

    asyncio.run(run())


def test_a_task_that_dies_again_while_all_are_sent_again_is_not_sent_for_ever(
    client: wb.Client, node: Node, topology: Topology
) -> None:
    async def run() -> None:
        # More than one channel holds: what is acknowledged makes room for more on its own channel.
        lost = [letter(topology, task(number), key="image.thumbnail.nolane") for number in range(2500)]
        await publish(node, topology, lost)
        assert len(await client.replay(all=True)) == 2500
        found = await client.dead_letters(10_000)
        assert len(found) == 2500
        assert {each.replay for each in found} == {1}
        assert await client.purge_dead(all=True) == 2500
        assert await client.dead_letters() == []

    asyncio.run(run())


def test_letters_are_chosen_by_what_they_have_in_common(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        rejected = {"x-workbench-reason-type": "Rejected"}
        buried = [
            letter(topology, task(1)),
            letter(topology, task(2), **rejected),
            letter(topology, task(3, operation="image.resize"), **rejected),
        ]
        await publish(node, topology, buried)
        assert [each.task_id for each in await client.dead_letters(reason_type="Rejected")] == ["t000002", "t000003"]
        assert await client.purge_dead(operation="image.resize", reason_type="Rejected") == 1
        (handle,) = await client.replay(reason_type="Rejected")
        assert handle.id == "t000002"
        for wrong in ({}, {"letters": "t000001", "all": True}, {"letters": "t000001", "operation": "image.thumbnail"}):
            with pytest.raises(InvalidArguments, match="all=True"):
                await client.purge_dead(**wrong)
        assert await client.purge_dead(all=True) == 1

    asyncio.run(run())


def test_whoever_dies_between_publish_and_ack_sends_the_same_replay_twice_at_most(
    client: wb.Client, node: Node, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        await publish(node, topology, [letter(topology, task(1), key="image.thumbnail")])
        from workbench.broker import deadletters

        monkeypatch.setattr(deadletters._Found, "ack", lambda _self: None)  # as if it had died before it
        await client.replay("t000001")
        monkeypatch.undo()
        await client.replay("t000001")
        assert await client.dead_letters() == []
        twice = await taken(node, topology, topology.task_queue("image"), 2)
        assert {messages.decode_task(each.body).replay for each in twice} == {1}

    asyncio.run(run())
