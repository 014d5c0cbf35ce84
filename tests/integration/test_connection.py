from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest

from tests.support import rabbitmqctl, until
from workbench.broker import (
    ConnectionState,
    Consumer,
    Delivery,
    Lock,
    Outgoing,
    Publisher,
    Topology,
)
from workbench.broker import publisher as publishing
from workbench.broker.connection import Connection
from workbench.broker.node import Node
from workbench.broker.session import open_session
from workbench.broker.topology import Queue, delay_headers
from workbench.core.errors import BrokerRefused, BrokerUnavailable


def messages(topology: Topology, count: int, key: str = "image.thumbnail") -> list[Outgoing]:
    return [Outgoing(topology.submit, key, b"%d" % number, message_id=f"m{number}") for number in range(count)]


async def collect(node: Node, topology: Topology, queue: str, count: int) -> list[Delivery]:
    """Consume until `count` different messages were acknowledged."""
    got: dict[bytes, Delivery] = {}

    def on_delivery(delivery: Delivery) -> None:
        got[delivery.body] = delivery
        consumer.ack(delivery)

    consumer = Consumer(node.url, topology, name="collects", queues={queue: 100}, on_delivery=on_delivery)
    async with consumer:
        await until(lambda: len(got) >= count, what=f"{count} messages on {queue}")
    return list(got.values())


def test_what_is_confirmed_lies_on_its_queue_and_a_copy_on_the_trackers(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url, topology, name="publishes") as publisher:
            for message in messages(topology, 10):
                await publisher.publish(message)
        for queue in (topology.task_queue("image"), topology.tracker_queue):
            got = await collect(node, topology, queue, 10)
            assert {delivery.message_id for delivery in got} == {f"m{number}" for number in range(10)}

    asyncio.run(run())


def test_no_more_than_a_window_is_unconfirmed_and_all_of_it_arrives(node: Node, topology: Topology) -> None:
    async def run() -> None:
        highest = 0
        async with Publisher(node.url, topology, name="publishes", window=50) as publisher:
            confirms = []
            for message in messages(topology, 1000):
                await publisher.room()
                confirms.append(publisher.publish_nowait(message))
                highest = max(highest, publisher.pending)
            await asyncio.gather(*confirms)
        assert highest <= 50
        await collect(node, topology, topology.task_queue("image"), 1000)

    asyncio.run(run())


def test_a_message_whose_confirm_never_comes_is_published_again_on_a_fresh_connection(
    node: Node, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "OVERDUE", 0.3)
    monkeypatch.setattr(publishing, "LOOK", 0.1)

    async def run() -> None:
        lost: list[int] = []
        publisher = Publisher(node.url, topology, name="t")
        hear = publisher._on_confirm
        publisher._on_confirm = lambda tag, multiple, acked: lost.append(tag)  # type: ignore[method-assign]
        async with publisher:
            await publisher.connection.wait_open(30)
            confirm = publisher.publish_nowait(Outgoing(topology.events, "task.progress", b"", "m"))
            await until(lambda: lost)
            publisher._on_confirm = hear  # type: ignore[method-assign]
            await asyncio.wait_for(confirm, 30)
            assert publisher.pending == 0

    asyncio.run(run())


def test_connections_closed_by_the_broker_come_back_and_nothing_is_lost(node: Node, topology: Topology) -> None:
    async def run() -> None:
        got: set[bytes] = set()

        def on_delivery(delivery: Delivery) -> None:
            got.add(delivery.body)
            consumer.ack(delivery)

        queue = topology.task_queue("image")
        opened = 0

        def on_open() -> None:
            nonlocal opened
            opened += 1

        consumer = Consumer(node.url, topology, name="c", queues={queue: 100}, on_delivery=on_delivery, on_open=on_open)
        publisher = Publisher(node.url, topology, name="p")
        async with publisher, consumer:
            await publisher.connection.wait_open(20)
            confirms = []
            for number, message in enumerate(messages(topology, 3000)):
                if number in (500, 1500):
                    await until(lambda: not opened or len(got) > 100)
                    await asyncio.to_thread(rabbitmqctl, node, "close_all_connections", "a test")
                confirms.append(publisher.publish_nowait(message))
            await asyncio.wait_for(asyncio.gather(*confirms), 60)
            await until(lambda: len(got) == 3000, what="all messages")
        assert opened >= 2

    asyncio.run(run())


def test_a_queue_that_was_deleted_is_declared_again_when_messages_come_back(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url, topology, name="publishes") as publisher:
            await publisher.publish(messages(topology, 1)[0])
            await asyncio.to_thread(rabbitmqctl, node, "delete_queue", topology.tracker_queue)
            event = Outgoing(topology.events, "task.started", b"an event", message_id="e1")
            await asyncio.wait_for(publisher.publish(event), 30)
        got = await collect(node, topology, topology.tracker_queue, 1)
        assert got[0].body == b"an event"

    asyncio.run(run())


def test_a_message_that_came_back_on_the_last_connection_is_not_taken_for_returned_on_the_next(
    node: Node, topology: Topology
) -> None:
    async def run() -> None:
        lost: list[int] = []
        async with Publisher(node.url, topology, name="t") as publisher:
            await publisher.publish(messages(topology, 1)[0])
            await asyncio.to_thread(rabbitmqctl, node, "delete_queue", topology.tracker_queue)
            hear = publisher._on_confirm
            channel = publisher._channel
            assert channel is not None
            publisher._on_confirm = lambda tag, multiple, acked: lost.append(tag)  # type: ignore[method-assign]
            channel.drop_session("its confirms are heard by the method that is set from now on")
            await until(lambda: publisher._channel not in (None, channel))
            await asyncio.to_thread(rabbitmqctl, node, "delete_queue", topology.tracker_queue)
            confirm = publisher.publish_nowait(Outgoing(topology.events, "task.started", b"an event", "e1"))
            await until(lambda: lost, what="it has come back, and is confirmed")
            publisher._on_confirm = hear  # type: ignore[method-assign]
            assert publisher._channel is not None
            publisher._channel.drop_session("before the confirm came, as far as the publisher knows")
            await asyncio.wait_for(confirm, 30)
        session = await open_session(node.url, name="counts")
        assert await (await session.channel()).count(topology.tracker_queue) == 1
        await session.close()

    asyncio.run(run())


def test_a_consumer_whose_queue_was_deleted_declares_it_and_goes_on(node: Node, topology: Topology) -> None:
    async def run() -> None:
        got: list[bytes] = []
        queue = topology.task_queue("image")
        consumer = Consumer(
            node.url, topology, name="c", queues={queue: 10}, on_delivery=lambda delivery: got.append(delivery.body)
        )
        async with consumer, Publisher(node.url, topology, name="p") as publisher:
            await consumer.connection.wait_open(20)
            await asyncio.to_thread(rabbitmqctl, node, "delete_queue", queue)
            await until(lambda: consumer.connection.state is not ConnectionState.OPEN)
            await consumer.connection.wait_open(20)
            await publisher.publish(messages(topology, 1)[0])
            await until(lambda: got)

    asyncio.run(run())


def test_a_task_that_no_queue_takes_is_accepted_and_lies_among_the_dead(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url, topology, name="publishes") as publisher:
            await publisher.publish(messages(topology, 1, key="image.thumbnail.nolane")[0])
        for queue in (topology.dead_queue, topology.tracker_dead_queue, topology.tracker_queue):
            (letter,) = await collect(node, topology, queue, 1)
            assert letter.routing_key == "image.thumbnail.nolane"
            assert "x-death" not in letter.headers

    asyncio.run(run())


def test_a_task_that_waits_in_a_delay_queue_comes_back_with_its_key(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url, topology, name="publishes", declare=topology.delays()) as publisher:
            start = time.monotonic()
            later = Outgoing(topology.delayed, "data.groupby", b"later", "m", headers=delay_headers(1.0))
            await publisher.publish(later)
        (delivery,) = await collect(node, topology, topology.task_queue("data"), 1)
        assert time.monotonic() - start > 0.9
        assert (delivery.body, delivery.routing_key, delivery.message_id) == (b"later", "data.groupby", "m")
        await collect(node, topology, topology.tracker_queue, 1)

    asyncio.run(run())


def test_what_is_given_back_too_often_lies_among_the_dead_with_the_reason(node: Node, topology: Topology) -> None:
    async def run() -> None:
        queue = topology.task_queue("image")
        refused = Consumer(
            node.url, topology, name="r", queues={queue: 1}, on_delivery=lambda delivery: refused.reject(delivery)
        )
        async with Publisher(node.url, topology, name="p") as publisher, refused:
            await publisher.publish(messages(topology, 1)[0])
            (letter,) = await collect(node, topology, topology.dead_queue, 1)
        assert letter.headers["x-first-death-reason"] == "delivery_limit"

    asyncio.run(run())


def test_a_memory_alarm_shows_as_a_blocked_connection_and_publishing_goes_on_after_it(
    node: Node, topology: Topology
) -> None:
    async def run() -> None:
        seen: list[ConnectionState] = []
        publisher = Publisher(node.url, topology, name="p", on_state=lambda state, _reason: seen.append(state))
        async with publisher:
            await publisher.connection.wait_open(20)
            await asyncio.to_thread(rabbitmqctl, node, "set_vm_memory_high_watermark", "0.00001")
            try:
                confirm = publisher.publish_nowait(messages(topology, 1)[0])
                await until(lambda: publisher.connection.state is ConnectionState.BLOCKED)
                assert "alarm" in publisher.connection.reason
                assert not confirm.done()
            finally:
                await asyncio.to_thread(rabbitmqctl, node, "set_vm_memory_high_watermark", "0.4")
            await asyncio.wait_for(confirm, 30)
            assert publisher.connection.state is ConnectionState.OPEN
        assert seen[-3:] == [ConnectionState.BLOCKED, ConnectionState.OPEN, ConnectionState.CLOSED]

    asyncio.run(run())


def test_an_exception_in_a_callback_is_logged_and_the_connection_lives(
    node: Node, topology: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        got: list[bytes] = []

        def on_delivery(delivery: Delivery) -> None:
            got.append(delivery.body)
            consumer.ack(delivery)
            if len(got) == 1:
                raise ZeroDivisionError("a bug in the callback")

        consumer = Consumer(
            node.url, topology, name="c", queues={topology.task_queue("image"): 1}, on_delivery=on_delivery
        )
        lost: list[str] = []
        async with consumer, Publisher(node.url, topology, name="p") as publisher:
            await consumer.connection.wait_open(20)
            consumer._on_lost = lambda: lost.append("lost")
            for message in messages(topology, 3):
                await publisher.publish(message)
            await until(lambda: len(got) == 3)
            assert not lost

    with caplog.at_level(logging.ERROR, logger="workbench"):
        asyncio.run(run())
    assert "a bug in the callback" in caplog.text


def test_refused_credentials_are_told_at_once(node: Node, topology: Topology) -> None:
    async def run() -> None:
        url = node.url.replace("amqp://workbench:", "amqp://workbench:wrong")
        async with Publisher(url, topology, name="p") as publisher:
            with pytest.raises(BrokerRefused, match="refused the user, password or virtual host"):
                await publisher.connection.wait_open(20)

    asyncio.run(run())


def test_a_virtual_host_that_is_not_there_is_told_at_once(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url.replace("%2F", "elsewhere"), topology, name="p") as publisher:
            with pytest.raises(BrokerRefused, match="elsewhere"):
                await publisher.connection.wait_open(20)

    asyncio.run(run())


def test_an_address_where_nobody_listens_is_an_error_in_the_time_given(topology: Topology) -> None:
    async def run() -> None:
        async with Publisher("amqp://a:b@127.0.0.1:9/", topology, name="p") as publisher:
            start = time.monotonic()
            with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9 can't be reached"):
                await publisher.connection.wait_open(1)
            assert time.monotonic() - start < 2

    asyncio.run(run())


def test_an_address_that_takes_connections_but_never_answers_is_an_error_in_the_time_given() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel takes connections; nobody reads them
            url = f"amqp://a:b@127.0.0.1:{server.getsockname()[1]}/"
            with pytest.raises(BrokerUnavailable, match="didn't answer within"):
                await open_session(url, name="t", timeout=0.5)

    asyncio.run(run())


def test_a_connection_that_waits_for_an_answer_says_so_and_is_given_up_without_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            async with Connection(f"amqp://a:b@{address}/", name="t") as connection:
                with pytest.raises(BrokerUnavailable, match=f"{address} has not answered so far"):
                    await connection.wait_open(0.5)

    asyncio.run(run())
    assert caplog.text == ""


def test_tls_where_the_broker_speaks_none_is_told(node: Node) -> None:
    async def run() -> None:
        with pytest.raises(BrokerUnavailable, match="amqps:// is for a port where the broker speaks TLS"):
            await open_session(node.url.replace("amqp:", "amqps:"), name="t")

    asyncio.run(run())


def test_an_address_that_cannot_be_read_is_an_error_that_shows_one_that_can() -> None:
    async def run() -> None:
        with pytest.raises(BrokerRefused, match="amqp://user:password@host:5672/"):
            await open_session("http://localhost", name="t")

    asyncio.run(run())


def test_a_lock_is_held_by_one_and_passes_on_when_its_holder_is_gone(node: Node, topology: Topology) -> None:
    async def run() -> None:
        first = Lock(node.url, topology.tracker_lock, name="first")
        second = Lock(node.url, topology.tracker_lock, name="second")
        await first.acquire()
        waiting = asyncio.ensure_future(second.acquire())
        done, _ = await asyncio.wait({waiting}, timeout=2.5)
        assert not done
        await first.release()
        await asyncio.wait_for(waiting, 10)
        await second.release()

    asyncio.run(run())


def test_a_user_who_may_not_hold_the_lock_is_told_rather_than_left_to_stand_by(node: Node, topology: Topology) -> None:
    rabbitmqctl(node, "add_user", "reader", "reader")
    rabbitmqctl(node, "set_permissions", "reader", "^$", "^$", ".*")
    url = node.url.replace(node.url[len("amqp://") : node.url.index("@")], "reader:reader")
    lock = Lock(url, topology.tracker_lock, name="reader")
    with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
        asyncio.run(asyncio.wait_for(lock.acquire(), 20))


def test_holding_ahead_by_turns_takes_no_further_channels_and_gives_nothing_back(
    node: Node, topology: Topology
) -> None:
    async def run() -> None:
        queue = topology.task_queue("image")
        got: list[Delivery] = []
        consumer = Consumer(node.url, topology, name="c", queues={queue: 1}, on_delivery=got.append)
        async with Publisher(node.url, topology, name="p") as publisher:
            await asyncio.gather(*[publisher.publish_nowait(message) for message in messages(topology, 400)])
        async with consumer:
            await consumer.connection.wait_open(20)
            for _ in range(30):
                await consumer.hold_ahead(10)
                await consumer.hold_ahead(0)
            assert consumer._session is not None
            assert len(consumer._session._connection._channels) <= 3
            assert len({delivery.message_id for delivery in got}) == len(got)
            assert all(delivery.count == 0 for delivery in got)

    asyncio.run(run())


def test_a_pause_in_the_middle_of_holding_ahead_is_a_pause(node: Node, topology: Topology) -> None:
    async def run() -> None:
        queue = topology.task_queue("image")
        got: list[Delivery] = []
        consumer = Consumer(node.url, topology, name="c", queues={queue: 1}, on_delivery=got.append)
        async with Publisher(node.url, topology, name="p") as publisher, consumer:
            await consumer.connection.wait_open(20)
            holding = asyncio.ensure_future(consumer.hold_ahead(10))
            await asyncio.sleep(0)
            await consumer.pause()
            await holding
            await asyncio.gather(*[publisher.publish_nowait(message) for message in messages(topology, 5)])
        assert got == []

    asyncio.run(run())


def test_a_declaration_that_is_refused_leaves_later_ones_and_answers_possible(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url, topology, name="p") as publisher:
            await publisher.connection.wait_open(20)
            with pytest.raises(BrokerUnavailable, match="406"):
                await publisher.declare([Queue(name=topology.task_queue("image"))])
            await until(lambda: publisher._declaring is not None and publisher._declaring.is_open)
            await publisher.declare(topology.family("other"))

    asyncio.run(run())


def test_a_message_that_can_never_be_sent_fails_and_the_others_go_on(node: Node, topology: Topology) -> None:
    async def run() -> None:
        async with Publisher(node.url, topology, name="p") as publisher:
            await publisher.connection.wait_open(20)
            with pytest.raises(BrokerUnavailable):
                await asyncio.wait_for(publisher.publish(Outgoing(topology.submit, "x" * 300, b"")), 5)
            await asyncio.wait_for(publisher.publish(messages(topology, 1)[0]), 5)

    asyncio.run(run())


def test_a_part_that_fails_to_set_itself_up_does_not_end_the_reconnecting(node: Node, topology: Topology) -> None:
    async def run() -> None:
        opened = 0

        def on_open() -> None:
            nonlocal opened
            opened += 1
            if opened == 1:
                raise RuntimeError("a mistake")

        queues = {topology.task_queue("image"): 1}
        async with Consumer(
            node.url, topology, name="c", queues=queues, on_delivery=lambda _delivery: None, on_open=on_open
        ) as consumer:
            await consumer.connection.wait_open(20)
            assert opened == 2

    asyncio.run(run())
