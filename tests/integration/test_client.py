"""A client on a real broker, with a tracker that the test plays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from workbench.broker import Consumer, Delivery, Publisher, Topology
from workbench.broker.node import Node
from workbench.client.handle import TaskHandle
from workbench.core import rpc
from workbench.core.errors import BrokerUnavailable
from workbench.core.messages import Status, TaskFinished, utcnow
from workbench.core.settings import Settings


@pytest.fixture
def client(node: Node, topology: Topology, tmp_path: Path) -> Iterator[wb.Client]:
    settings = Settings(broker_url=node.url, namespace=topology.namespace, store=str(tmp_path))
    with wb.Client(settings=settings) as client:
        yield client


def test_whoever_waits_when_a_client_is_closed_is_told(client: wb.Client) -> None:
    waiting = client.engine.room.enter("mine", addressed=True)
    handle = TaskHandle("mine", "text.echo", client=client, waiting=waiting)
    told: list[BaseException] = []

    def block() -> None:
        with pytest.raises(BrokerUnavailable) as caught:
            handle.result()
        told.append(caught.value)

    async def wait() -> None:
        with pytest.raises(BrokerUnavailable) as caught:
            await handle
        told.append(caught.value)

    threads = [threading.Thread(target=block), threading.Thread(target=lambda: asyncio.run(wait()))]
    for thread in threads:
        thread.start()
    client.close()
    for thread in threads:
        thread.join(10)
    assert len(told) == 2
    with pytest.raises(BrokerUnavailable):
        handle.result()


def test_a_tracker_that_could_not_answer_is_asked_again(client: wb.Client, node: Node, topology: Topology) -> None:
    async def run() -> None:
        asked = 0

        def on_request(request: Delivery) -> None:
            nonlocal asked
            asked += 1
            server.ack(request)
            end = TaskFinished(
                task_id="theirs",
                operation="text.echo",
                client="c",
                attempt=1,
                status=Status.SUCCEEDED,
                finished_at=utcnow(),
                result=b"\x01",
            )
            answer = rpc.Problem(message="busy") if asked == 1 else rpc.Outcomes(ended=(end,))
            answers.reply(request.reply_to, request.correlation_id, rpc.encode(answer))

        answers = Publisher(node.url, topology, name="answers")
        server = Consumer(node.url, topology, name="s", queues={topology.rpc_queue: 10}, on_delivery=on_request)
        async with answers, server:
            for part in (answers, server):
                await part.connection.wait_open(20)
            assert await client.result("theirs", timeout=10) == 1
            assert await client.get("theirs").wait(timeout=10) == 1

    asyncio.run(run())
