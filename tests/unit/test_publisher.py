from __future__ import annotations

import asyncio

import pytest

from workbench.broker import Outgoing, Publisher, Topology
from workbench.core.errors import BrokerUnavailable

NOBODY = "amqp://guest:guest@127.0.0.1:1/"


def test_what_is_published_after_the_close_fails_rather_than_waits() -> None:
    async def run() -> None:
        publisher = Publisher(NOBODY, Topology(), name="p")
        waiting = publisher.publish_nowait(Outgoing("x", "y", b""))
        await publisher.close()
        for confirm in (waiting, publisher.publish_nowait(Outgoing("x", "y", b""))):
            with pytest.raises(BrokerUnavailable):
                await asyncio.wait_for(confirm, 1)

    asyncio.run(run())


def test_whoever_waits_for_room_learns_of_the_close() -> None:
    async def run() -> None:
        publisher = Publisher(NOBODY, Topology(), name="p", window=1)
        publisher.publish_nowait(Outgoing("x", "y", b""))
        waiting = asyncio.ensure_future(publisher.publish(Outgoing("x", "y", b"")))
        await asyncio.sleep(0)
        await publisher.close()
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(waiting, 1)

    asyncio.run(run())


def test_a_message_that_the_broker_has_refused_is_under_way_until_it_is_sent_again() -> None:
    async def run() -> None:
        publisher = Publisher(NOBODY, Topology(), name="p")
        confirm = publisher.publish_nowait(Outgoing("x", "y", b""))
        publisher._unconfirmed[1] = publisher._waiting.popleft()  # as if it had been sent
        publisher._on_confirm(1, False, False)
        assert publisher.pending == 1
        await publisher.close()
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(confirm, 1)

    asyncio.run(run())
