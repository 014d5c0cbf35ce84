"""`Inspector`: looks at queues, and calls out to whoever listens. It declares nothing, and waits for no confirm."""

from __future__ import annotations

import asyncio

import msgspec

from workbench.broker.session import Channel, ChannelLost, Session
from workbench.core.errors import BrokerUnavailable

_NOT_FOUND = "404"


class QueueDepth(msgspec.Struct, frozen=True):
    """What is on a queue, and who takes from it."""

    ready: int
    consumers: int


class Inspector:
    """Looks at the broker; a part of a connection (add it to a publisher's).

    It has a channel of its own, as the broker closes the channel of whoever asks for a queue that isn't there.
    """

    def __init__(self) -> None:
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._asking = asyncio.Lock()  # one question at a time: an answer of 404 is about the last

    async def depth(self, queue: str) -> QueueDepth | None:
        """Return how many messages are ready on a queue, and how many consumers it has; None where it isn't there.

        Raises
        ------
        BrokerUnavailable
            Where the broker can't be asked.
        """
        async with self._asking:
            channel = await self._open_channel()
            try:
                ready, consumers = await channel.look(queue)
            except ChannelLost as error:
                if not str(error).startswith(_NOT_FOUND):
                    raise
                return None
        return QueueDepth(ready, consumers)

    async def call_out(self, exchange: str, routing_key: str, body: bytes) -> None:
        """Publish to whoever listens just now; transient, and dropped where nobody does.

        Raises
        ------
        BrokerUnavailable
            Where it can't be sent.
        """
        async with self._asking:
            channel = await self._open_channel()
            channel.publish(exchange, routing_key, body, mandatory=False)

    async def _open_channel(self) -> Channel:
        if self._session is None:
            raise BrokerUnavailable("there is no connection to the broker just now")
        if self._channel is None or not self._channel.is_open:
            self._channel = await self._session.channel()
        return self._channel

    # --- connection.Part --------------------------------------------------------------------------

    async def opened(self, session: Session) -> None:
        """Use a fresh connection."""
        self._session, self._channel = session, None

    def lost(self, reason: str) -> None:
        """Forget the connection that is gone."""
        self._session = self._channel = None
