"""`Consumer`: deliveries from queues, over any number of connections; acknowledged, or delivered again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from workbench.broker.connection import Connection, ConnectionState
from workbench.broker.session import Channel, Session
from workbench.broker.topology import Declaration, Topology
from workbench.core.errors import BrokerUnavailable

logger = logging.getLogger(__name__)

_ACK_TIMEOUT = re.compile(r"delivery acknowledgement on channel \d+ timed out\. Timeout value used: (\d+) ms")
"""What RabbitMQ says with 406 as it closes a channel (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout)."""


class Delivery:
    """A message as it was delivered. Bound to the channel it came on: where that is gone, so is the right to ack."""

    __slots__ = (
        "_channel",
        "_properties",
        "ahead",
        "arrived",
        "body",
        "exchange",
        "queue",
        "redelivered",
        "routing_key",
        "tag",
    )

    def __init__(self, queue: str, channel: Channel, method: Any, properties: Any, body: bytes, ahead: bool) -> None:
        self.queue = queue
        self.body = body
        self.ahead = ahead  # beyond the queue's own prefetch, as `hold_ahead` asked for
        self.arrived = time.monotonic()
        self.exchange: str = method.exchange
        self.routing_key: str = method.routing_key
        self.redelivered: bool = method.redelivered
        self.tag: int = method.delivery_tag
        self._channel = channel
        self._properties = properties

    def __repr__(self) -> str:
        return f"<Delivery {self.tag} of {self.message_id or 'a message'} from {self.queue}>"

    @property
    def message_id(self) -> str:
        """The publisher's id of the message; empty where it gave none."""
        return self._properties.message_id or ""

    @property
    def reply_to(self) -> str:
        """Where an answer goes; empty where none is wanted."""
        return self._properties.reply_to or ""

    @property
    def correlation_id(self) -> str:
        """What an answer has to carry."""
        return self._properties.correlation_id or ""

    @property
    def headers(self) -> Mapping[str, Any]:
        """The message's headers, the broker's own (`x-death`, `x-delivery-count`) among them."""
        return self._properties.headers or {}

    @property
    def count(self) -> int:
        """How often a quorum queue has delivered the message before; at the queue's limit it becomes a dead letter."""
        count = self.headers.get("x-delivery-count")
        return count if isinstance(count, int) else 0

    @property
    def channel(self) -> Channel:
        """The channel it came on."""
        return self._channel


class Consumer:
    """Consumes from queues, each on a channel of its own, on one connection of its own.

    Parameters
    ----------
    url, topology
        Which broker; the topology's base is declared on each connect, and `declare` after it.
    name
        The connection's name.
    queues
        How many unacknowledged deliveries each queue may have.
    on_delivery
        Called on the loop with each delivery; must not block. An exception is logged, and the delivery stays
        unacknowledged until the connection ends: handle errors in it.
    declare
        What is declared besides the topology's base.
    auto_ack
        Let the broker forget each message as it sends it: for an exclusive queue, which goes with its connection.
    on_open
        Called when consuming has begun, the first time and after each reconnect.
    on_lost
        Called when the connection is gone: what was not acknowledged will be delivered again.
    on_state
        Called with the connection's state and a reason on each change.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        name: str,
        queues: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        declare: Iterable[Declaration] = (),
        auto_ack: bool = False,
        on_open: Callable[[], None] | None = None,
        on_lost: Callable[[], None] | None = None,
        on_state: Callable[[ConnectionState, str], None] | None = None,
    ) -> None:
        self.connection = Connection(url, name=name, parts=(self,), on_state=on_state)
        self._topology = topology
        self._declare = tuple(declare)
        self._auto_ack = auto_ack
        self._queues = dict(queues)
        self._on_delivery = on_delivery
        self._on_open = on_open
        self._on_lost = on_lost
        self._session: Session | None = None
        self._tags: list[tuple[Channel, str]] = []
        self._tags_ahead: list[tuple[Channel, str]] = []
        # By queue, and whether ahead; kept as long as deliveries may be here: a connection has only so many channels.
        self._channels: dict[tuple[str, bool], Channel] = {}
        self._taken: int | None = None  # from each queue, where it isn't its own prefetch
        self._ahead = 0
        self._paused = False
        self.ack_timeout: float | None = None
        """Seconds after which the broker has ended a consumer for want of an acknowledgement; None if never."""
        self._changing = asyncio.Lock()  # one at a time starts or stops consumers, so that a pause misses none

    def __repr__(self) -> str:
        return f"<Consumer {self.connection.name}: {self.connection.state}, {', '.join(self._queues)}>"

    async def __aenter__(self) -> Self:
        self.connection.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection: the broker gives what was not acknowledged to others."""
        await self.connection.close()

    async def pause(self) -> None:
        """Take no more deliveries, on this connection and later ones. What was delivered can still be acknowledged."""
        self._paused = True
        async with self._changing:
            tags = self._tags + self._tags_ahead
            self._tags, self._tags_ahead = [], []
            await _cancel(tags)

    async def hold_ahead(self, count: int) -> None:
        """Take up to `count` more deliveries from each queue than its prefetch; 0 takes no more of them.

        A consumer's prefetch is set when it starts, so these come through consumers of their own
        (https://www.rabbitmq.com/docs/consumer-prefetch). Deliveries that are here already stay: acknowledge or reject
        them. After a reconnect the worker starts without.
        """
        async with self._changing:
            if count == self._ahead or self._session is None or self._paused:
                return
            self._ahead = count
            session = self._session
            tags, self._tags_ahead = self._tags_ahead, []
            await _cancel(tags)
            with contextlib.suppress(BrokerUnavailable):  # the next connection starts without
                for queue in self._queues if count else ():
                    self._tags_ahead.append(await self._consume(session, queue, count, ahead=True))

    async def take(self, count: int | None) -> None:
        """Take up to `count` deliveries at once from each queue from now on; None for each queue's own prefetch.

        Those that are here already are not counted: acknowledge or reject them.
        """
        async with self._changing:
            if count == self._taken or self._session is None or self._paused:
                return
            self._taken = count
            session = self._session
            tags, self._tags = self._tags, []
            await _cancel(tags)
            with contextlib.suppress(BrokerUnavailable):  # the next connection starts with the queues' own
                for queue, prefetch in self._queues.items() if count != 0 else ():
                    self._tags.append(await self._consume(session, queue, prefetch if count is None else count))

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        """Acknowledge a delivery (`multiple`: and all before it from the same queue)."""
        delivery.channel.ack(delivery.tag, multiple=multiple)

    def reject(self, delivery: Delivery, *, requeue: bool = True) -> None:
        """Give a delivery back to its queue; without `requeue`, hand it to the dead-letter exchange."""
        delivery.channel.reject(delivery.tag, requeue=requeue)

    # --- connection.Part --------------------------------------------------------------------------

    async def opened(self, session: Session) -> None:
        """Declare, then consume."""
        setup = await session.channel()
        await setup.declare((*self._topology.base(), *self._declare))
        async with self._changing:
            self._forget()
            for queue, prefetch in self._queues.items():
                if not self._paused:
                    self._tags.append(await self._consume(session, queue, prefetch))
            self._session = session
        if self._on_open is not None:
            self._on_open()

    async def _consume(
        self, session: Session, queue: str, prefetch: int, *, ahead: bool = False
    ) -> tuple[Channel, str]:
        channel = self._channels.get((queue, ahead))
        if channel is None:
            channel = self._channels[queue, ahead] = await self._channel(session, queue)
        await channel.prefetch(prefetch)

        def deliver(method: Any, properties: Any, body: bytes) -> None:
            self._on_delivery(Delivery(queue, channel, method, properties, body, ahead))

        return channel, await channel.consume(queue, deliver, auto_ack=self._auto_ack)

    async def _channel(self, session: Session, queue: str) -> Channel:
        channel = await session.channel()
        channel.on_cancelled(lambda: session.drop(f"the broker ended the consumer of {queue}"))
        channel.closed.add_done_callback(lambda reason: self._channel_closed(session, queue, reason))
        return channel

    def _channel_closed(self, session: Session, queue: str, reason: asyncio.Future[Any]) -> None:
        if (limit := _ACK_TIMEOUT.search(str(reason.result()))) is not None:
            self.ack_timeout = int(limit[1]) / 1000
        if not session.closed.done():
            session.drop(f"the channel of {queue} is closed: {reason.result()}")

    def _forget(self) -> None:
        self._tags, self._tags_ahead, self._channels, self._ahead, self._taken = [], [], {}, 0, None

    def lost(self, reason: str) -> None:
        """Forget the consumers: the next connection has its own."""
        self._session = None
        self._forget()
        if self._on_lost is not None:
            self._on_lost()


async def _cancel(tags: list[tuple[Channel, str]]) -> None:
    for channel, tag in tags:
        with contextlib.suppress(BrokerUnavailable):
            await channel.cancel(tag)
