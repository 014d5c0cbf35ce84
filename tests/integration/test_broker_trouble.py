"""What a user sees when the broker is in trouble: which error, after how long, and what becomes of a submission."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.integration.fake_tracker import FakeTracker
from tests.support import rabbitmqctl, wait_until
from workbench.broker import Consumer, Outgoing, Publisher, Topology, versions
from workbench.broker.node import Node
from workbench.client.bridge import LoopThread
from workbench.core.settings import Settings

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
def settings(node: Node, topology: Topology, tmp_path: Path) -> Settings:
    return Settings(broker_url=node.url, namespace=topology.namespace, store=str(tmp_path))


@pytest.fixture(params=["memory", "disk"])
def alarm(request: pytest.FixtureRequest, node: Node) -> Iterator[str]:
    """The broker's own alarm, for as long as the test runs."""
    raised, settled = {
        "memory": (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")),
        "disk": (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "1MB")),
    }[request.param]
    rabbitmqctl(node, *raised)
    try:
        yield request.param
    finally:
        rabbitmqctl(node, *settled)


def test_a_blocked_broker_is_told_with_the_reason_and_what_was_given_up_does_not_run(
    settings: Settings, node: Node, topology: Topology, alarm: str
) -> None:
    with wb.Client(settings=settings, confirm_timeout=1.0) as client:
        start = time.monotonic()
        with pytest.raises(
            wb.BrokerBlocked, match=rf"confirmed 0 of 1 tasks within 1 s .*low on {alarm}.*given up here"
        ):
            client.submit("data.head", "a.csv")
        with pytest.raises(wb.BrokerBlocked, match=rf"0 of 3 tasks.*low on {alarm}"):
            client.map("data.head", ["a.csv"] * 3)
        assert time.monotonic() - start < 10
        assert "blocked" in repr(client)
        if alarm == "memory":
            rabbitmqctl(node, "set_vm_memory_high_watermark", "0.4")
        else:
            rabbitmqctl(node, "set_disk_free_limit", "1MB")
        with FakeTracker(node.url, topology) as tracker:
            wait_until(lambda: len(tracker.records) == 4, what="the broker took in what was under way")
            wait_until(lambda: all(record.cancel_at for record in tracker.records.values()))
            assert {wish.task_id for wish in tracker.cancels} == set(tracker.records)
            assert client.submit("data.head", "a.csv").id  # it goes on by itself


def test_a_question_to_a_blocked_broker_is_an_error_in_the_time_given(
    settings: Settings, alarm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.client.client.RPC_TIMEOUT", 1.0)
    with wb.Client(settings=settings) as client:
        for question in (client.status(UNKNOWN), client.stats(), client.tasks()):
            with pytest.raises(wb.BrokerBlocked, match=f"low on {alarm}"):
                asyncio.run(question)


@contextlib.contextmanager
def full(node: Node, queue: str) -> Iterator[None]:
    """Let a queue take few messages. It notices that it has room when somebody takes one off, as `drained` does."""
    rabbitmqctl(node, "set_policy", "--apply-to", "queues", queue, f"^{queue}$", '{"max-length": 1}')
    try:
        yield
    finally:
        rabbitmqctl(node, "clear_policy", queue)


@contextlib.contextmanager
def drained(node: Node, topology: Topology, queue: str) -> Iterator[None]:
    """Take everything off a queue for as long as this lasts."""
    thread = LoopThread("drains")

    async def start() -> Consumer:
        consumer = Consumer(
            node.url, topology, name="d", queues={queue: 10}, on_delivery=lambda delivery: consumer.ack(delivery)
        )
        consumer.connection.start()
        await consumer.connection.wait_open(20)
        return consumer

    consumer = thread.run(start()).result(30)
    try:
        yield
    finally:
        thread.run(consumer.close()).result(30)
        thread.stop()


def test_a_full_queue_is_told_by_its_key_and_what_was_refused_is_withdrawn(
    settings: Settings, node: Node, topology: Topology
) -> None:
    queue = topology.task_queue("data")
    with FakeTracker(node.url, topology) as tracker, wb.Client(settings=settings, confirm_timeout=1.0) as client:
        taken: list[str] = []

        def submit_many() -> None:
            for _ in range(1000):  # a quorum queue takes some more than its limit
                taken.append(client.submit("data.head", "a.csv").id)

        with full(node, queue):
            with pytest.raises(wb.QueueFull, match=r"routing key 'data\.head'.*withdrawn"):
                submit_many()
            wait_until(lambda: tracker.cancels)
            assert set(taken).isdisjoint(wish.task_id for wish in tracker.cancels)
            assert client.submit("convert.table", "a.csv", "parquet").id  # others go on
            with drained(node, topology, queue):
                wait_until(lambda: _submits(client))
        assert client.engine._publisher.pending == 0


def _submits(client: wb.Client) -> bool:
    try:
        return bool(client.submit("data.head", "a.csv").id)
    except wb.QueueFull:
        return False


def test_a_queue_that_has_room_again_in_time_costs_time_only(
    settings: Settings, node: Node, topology: Topology
) -> None:
    queue = topology.task_queue("data")
    with wb.Client(settings=settings, confirm_timeout=60.0) as client:
        submitted: list[wb.TaskHandle] = []

        def submit_many() -> None:
            for _ in range(100):
                submitted.append(client.submit("data.head", "a.csv"))

        with full(node, queue):
            submitting = threading.Thread(target=submit_many)
            submitting.start()
            wait_until(lambda: client.engine._publisher._nacked, what="the queue is full")
            with drained(node, topology, queue):
                submitting.join(60)
        assert len(submitted) == 100
        assert client.engine._publisher.pending == 0


def test_a_broker_that_is_gone_is_told_with_its_address_and_every_call_ends_in_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.client.client.RPC_TIMEOUT", 1.0)
    monkeypatch.setattr("workbench.client.dead.TIMEOUT", 1.0)
    with Node(tmp_path / "node") as node:
        settings = Settings(broker_url=node.url, store=str(tmp_path))
        address = node.url.rpartition("@")[2].partition("/")[0]
        with wb.Client(settings=settings, confirm_timeout=1.0) as client:
            task = client.submit("data.head", "a.csv")
            os.kill(node.processes()["node"], signal.SIGKILL)
            wait_until(lambda: client.engine.state.value == "connecting")
            start = time.monotonic()
            with pytest.raises(wb.BrokerUnavailable, match=rf"0 of 1 tasks within 1 s \(.*{address}"):
                client.submit("data.head", "a.csv")
            for call in (
                lambda: client.map("data.head", ["a.csv"]),
                lambda: asyncio.run(client.status(task.id)),
                lambda: asyncio.run(client.tasks()),
                lambda: asyncio.run(client.stats()),
                lambda: asyncio.run(client.workbench()),
                lambda: asyncio.run(client.cancel(task, timeout=1)),
                lambda: asyncio.run(client.dead_letters()),
                lambda: asyncio.run(client.replay(all=True, timeout=1)),
                lambda: asyncio.run(client.purge_dead(all=True, timeout=1)),
            ):
                with pytest.raises(wb.BrokerUnavailable):
                    call()
            assert address in task.why()
            with pytest.raises(wb.ResultTimeout):
                task.result(0.1)
            client.close()
            assert time.monotonic() - start < 45


def test_a_rabbitmq_that_is_too_old_is_told_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "OLDEST", (99, 0))
    start = time.monotonic()
    with pytest.raises(wb.BrokerTooOld, match=r"is RabbitMQ \d.*needs 99\.0 or later"):
        wb.Client(settings=settings, connect_timeout=20)
    assert time.monotonic() - start < 10


def test_no_more_bytes_are_under_way_than_may_be_and_all_arrive(node: Node, topology: Topology) -> None:
    async def run() -> None:
        highest = 0
        async with Publisher(node.url, topology, name="p", window_bytes=100_000) as publisher:
            confirms = []
            for number in range(200):
                await publisher.room()
                message = Outgoing(topology.submit, "data.head", bytes(10_000), message_id=str(number))
                confirms.append(publisher.publish_nowait(message))
                highest = max(highest, publisher._bytes)
            await asyncio.wait_for(asyncio.gather(*confirms), 30)
            assert publisher._bytes == 0
        assert 50_000 < highest <= 110_000

    asyncio.run(run())
