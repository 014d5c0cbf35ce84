"""Requests over direct reply-to: asked again, answered late, never answered, and put to a worker that is gone."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support import rabbitmqctl, until
from workbench.broker import ConnectionState, Consumer, Delivery, NobodyThere, Publisher, RpcCaller, Topology
from workbench.broker.node import Node
from workbench.broker.topology import worker_key
from workbench.core.errors import TrackerUnavailable


def test_a_request_that_nobody_answered_is_asked_again_after_a_reconnect(node: Node, topology: Topology) -> None:
    async def run() -> None:
        publisher, caller = Publisher(node.url, topology, name="asks"), RpcCaller(topology)
        publisher.connection.add(caller)
        answers = Publisher(node.url, topology, name="answers")
        asked: list[Delivery] = []

        def on_request(request: Delivery) -> None:
            asked.append(request)
            server.ack(request)
            if len(asked) > 1:
                answers.reply(request.reply_to, request.correlation_id, b"the answer")

        server = Consumer(node.url, topology, name="s", queues={topology.rpc_queue: 10}, on_delivery=on_request)
        async with publisher, answers, server:
            for part in (publisher, answers, server):
                await part.connection.wait_open(20)
            answer = asyncio.ensure_future(caller.ask(b"the question", timeout=30))
            await until(lambda: asked)
            await asyncio.to_thread(rabbitmqctl, node, "close_all_connections", "a test")
            assert await answer == b"the answer"

    asyncio.run(run())


def test_an_answer_waits_for_the_connection_that_it_is_sent_on(node: Node, topology: Topology) -> None:
    async def run() -> None:
        publisher, caller = Publisher(node.url, topology, name="asks"), RpcCaller(topology)
        publisher.connection.add(caller)
        answers = Publisher(node.url, topology, name="answers")

        def on_request(request: Delivery) -> None:
            server.ack(request)
            assert answers.connection.state is not ConnectionState.OPEN
            answers.reply(request.reply_to, request.correlation_id, b"the answer")

        server = Consumer(node.url, topology, name="s", queues={topology.rpc_queue: 10}, on_delivery=on_request)
        async with publisher, server:
            for part in (publisher, server):
                await part.connection.wait_open(20)
            answer = asyncio.ensure_future(caller.ask(b"the question", timeout=30))
            await until(lambda: len(answers._replies) == 1)
            async with answers:
                assert await answer == b"the answer"

    asyncio.run(run())


def test_a_request_that_nobody_answers_is_an_error_in_the_time_given(node: Node, topology: Topology) -> None:
    async def run() -> None:
        publisher, caller = Publisher(node.url, topology, name="asks"), RpcCaller(topology)
        publisher.connection.add(caller)
        async with publisher:
            await publisher.connection.wait_open(20)
            with pytest.raises(TrackerUnavailable, match="no answer from the tracker within"):
                await caller.ask(b"anyone?", timeout=0.2)

    asyncio.run(run())


def test_a_worker_is_asked_by_its_key_and_one_that_is_gone_is_told_of_at_once(node: Node, topology: Topology) -> None:
    async def run() -> None:
        publisher, caller = Publisher(node.url, topology, name="asks"), RpcCaller(topology)
        publisher.connection.add(caller)
        answers = Publisher(node.url, topology, name="answers")
        queue = topology.control_queue("w1-1")

        def on_order(order: Delivery) -> None:
            answers.reply(order.reply_to, order.correlation_id, order.body.upper())

        worker = Consumer(
            node.url,
            topology,
            name="w1",
            queues={queue: 0},
            declare=topology.control_of("w1", queue),
            auto_ack=True,
            on_delivery=on_order,
        )
        async with publisher, answers:
            for part in (publisher, answers):
                await part.connection.wait_open(20)
            async with worker:
                await worker.connection.wait_open(20)
                key = worker_key("w1")
                assert await caller.ask(b"there?", timeout=20, exchange=topology.control, key=key) == b"THERE?"
            start = time.monotonic()
            with pytest.raises(NobodyThere, match=r"worker\.w1"):
                await caller.ask(b"still there?", timeout=20, exchange=topology.control, key=key)
            assert time.monotonic() - start < 10

    asyncio.run(run())
