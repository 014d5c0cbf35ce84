"""`Publisher`: messages that the broker has confirmed, over any number of connections.

Confirms are pipelined: up to `window` messages are under way at once. A message that was not confirmed when its
connection was lost, that was nacked, or that was returned because the topology is gone, is published again, with the
same message id: whoever receives it may get it twice, and never not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from workbench.broker import trouble
from workbench.broker.connection import Connection, ConnectionState
from workbench.broker.outgoing import Entry, GivenUp, Outgoing
from workbench.broker.overdue import Overdue
from workbench.broker.replies import Replies
from workbench.broker.session import Channel, ChannelLost, Session
from workbench.broker.topology import Declaration, Topology
from workbench.core.errors import BrokerUnavailable

logger = logging.getLogger(__name__)

WINDOW = 2048
WINDOW_BYTES = 64 * 2**20
"""Bytes of messages that may be under way at once; pika's write buffer has no bound of its own."""
RETURNS = 3
NACK_PAUSE = 0.2
"""Seconds before a refused message is sent again; each time twice as long, up to `LONGEST_NACK_PAUSE`."""
LONGEST_NACK_PAUSE = 3.0
NACKS = 4
"""Refusals of a message after which a fresh channel is tried. RabbitMQ before 4.0 may go on refusing where a channel
has met a full queue, though it has room again (rabbitmq-server#12206), or a queue's leader that has died."""
FRESH = 5.0
"""Seconds that a channel is given before it is taken for one of those."""
OVERDUE = 60.0
"""Seconds without its confirm after which a message that the broker has is published again on a fresh channel. Where a
queue's leader dies, RabbitMQ 3.10 may leave confirms out for good."""
LOOK = 5.0
"""Seconds between two looks for such messages."""


class Publisher:
    """Publishes with confirms, on a connection of its own.

    Parameters
    ----------
    url, topology
        Which broker, and what is declared there on each connect.
    name
        The connection's name.
    declare
        What is declared besides the topology's base, such as the queues of a user's families.
    window, window_bytes
        How many messages, and how many bytes of them, may be unconfirmed at once.
    on_state
        Called with the connection's state and a reason on each change.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        name: str,
        declare: Iterable[Declaration] = (),
        window: int = WINDOW,
        window_bytes: int = WINDOW_BYTES,
        on_state: Callable[[ConnectionState, str], None] | None = None,
    ) -> None:
        self.connection = Connection(url, name=name, parts=(self,), on_state=on_state)
        self._topology = topology
        self._extra = list(declare)
        self._window = window
        self._window_bytes = window_bytes
        self._bytes = 0  # of all that is under way
        self._channel: Channel | None = None
        self._declaring: Channel | None = None
        self._replies = Replies()
        self._tag = 0
        self._opened_at = 0.0  # of the channel, by the loop's clock
        self._overdue = Overdue(OVERDUE, 0.0)  # of the channel
        self._unconfirmed: dict[int, Entry] = {}  # by delivery tag, in order
        self._waiting: deque[Entry] = deque()
        self._nacked: set[Entry] = set()  # sent again in a moment
        self._closed = False
        self._looking: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()

    def __repr__(self) -> str:
        return f"<Publisher {self.connection.name}: {self.connection.state}, {self.pending} unconfirmed>"

    @property
    def pending(self) -> int:
        """How many messages wait for the broker's confirm."""
        return len(self._unconfirmed) + len(self._waiting) + len(self._nacked)

    async def __aenter__(self) -> Self:
        self._closed = False
        self.connection.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what was not confirmed fails with `BrokerUnavailable`."""
        await self.connection.close()
        self._closed = True
        for entry in self._under_way():
            entry.fail(_closed_too_early())
        self._unconfirmed.clear()
        self._waiting.clear()
        self._nacked.clear()
        self._bytes = 0
        self._room.set()  # whoever waits for room learns that it is closed

    async def flush(self, timeout: float) -> None:
        """Wait until everything published so far is confirmed, at most `timeout` seconds."""
        under_way = [entry.done for entry in self._under_way()]
        if under_way:
            await asyncio.wait(under_way, timeout=timeout)

    async def publish(self, message: Outgoing) -> None:
        """Publish, and return once the broker has confirmed. Bound the wait with `asyncio.timeout`."""
        await self.room()
        await self.publish_nowait(message)

    async def room(self) -> None:
        """Wait until fewer than `window` messages, and `window_bytes` bytes, are under way."""
        while self._is_full():
            self._room.clear()
            await self._room.wait()

    def publish_nowait(self, message: Outgoing) -> asyncio.Future[None]:
        """Publish, and return what is done once the broker has confirmed. Cancelling it gives the message up."""
        entry = Entry(message, asyncio.get_running_loop().create_future())
        if self._closed:
            entry.fail(_closed_too_early())
        else:
            self._bytes += len(message.body)
            self._send(entry)
        return entry.done

    def give_up(self, confirms: Iterable[asyncio.Future[None]], what: str, then: str = "") -> GivenUp:
        """Give up the messages that aren't confirmed yet, and tell what had become of all of them.

        Parameters
        ----------
        confirms
            What `publish_nowait` returned for them.
        what, then
            How the error's message begins, with `{confirmed}` for how many were, and how it ends.
        """
        confirms = list(confirms)
        confirmed = sum(1 for each in confirms if each.done() and not each.cancelled() and each.exception() is None)
        for confirm in confirms:
            confirm.cancel()
        mine = set(confirms)
        entries = [entry for entry in self._under_way() if entry.done in mine]
        error = trouble.explain(
            what.format(confirmed=confirmed),
            state=self.connection.state,
            reason=self.connection.reason,
            address=self.connection.address,
            refusal=self.connection.refusal,
            full=sorted({entry.message.routing_key for entry in entries if entry.nacks}),
            then=then,
        )
        for entry in entries:
            if entry in self._nacked:
                self._nacked.discard(entry)
                self._bytes -= len(entry.message.body)
        left, self._waiting = self._waiting, deque()
        for entry in left:
            if entry.done.done():
                self._bytes -= len(entry.message.body)
            else:
                self._waiting.append(entry)
        self._refill()
        return GivenUp(confirmed, tuple(entry.message for entry in entries if entry.was_sent), error)

    def reply(self, reply_to: str, correlation_id: str, body: bytes) -> None:
        """Answer a request: transient, unconfirmed; whoever asked asks again where its own connection is lost.

        The request may have come on a connection that was back earlier than this one: the answer then waits for it.
        """
        self._replies.send(reply_to, correlation_id, body)

    async def declare(self, declarations: Iterable[Declaration], *, again: bool = False) -> None:
        """Declare something more, now and on each later connect; `again` where it may have been deleted since.

        Raises
        ------
        BrokerUnavailable
            Where the broker refuses it, or the connection is lost meanwhile.
        """
        declarations = tuple(declarations)
        fresh = [declaration for declaration in declarations if declaration not in self._extra]
        if not fresh and not again:
            return
        if self._declaring is None:
            raise ChannelLost("not connected")
        await self._declaring.declare(declarations if again else fresh)
        self._extra += fresh

    # --- connection.Part --------------------------------------------------------------------------

    async def opened(self, session: Session) -> None:
        """Declare the topology and send what is not confirmed again, in the order it was published in."""
        declaring = await session.channel()
        await declaring.declare((*self._topology.base(), *self._extra))
        channel = await session.channel()
        await channel.confirm(self._on_confirm, self._on_return)
        self._channel, self._declaring, self._tag = channel, declaring, 0
        self._opened_at = asyncio.get_running_loop().time()
        self._overdue = Overdue(OVERDUE, self._opened_at)
        # A channel dies alone where its exchange is gone or what it declares is refused: the whole connection starts
        # again, with all declarations.
        for each in (channel, declaring):
            each.closed.add_done_callback(lambda reason: session.drop(f"its channel is closed: {reason.result()}"))
        again, self._unconfirmed = list(self._unconfirmed.values()), {}
        for entry in again:
            entry.was_returned = False  # by the connection before; its confirm never came
        self._waiting.extendleft(reversed(again))
        self._refill()
        self._replies.opened(declaring)
        self._look()

    def lost(self, reason: str) -> None:
        """Keep what is unconfirmed for the next connection."""
        self._channel = self._declaring = None
        self._replies.lost()
        if self._looking is not None:
            self._looking.cancel()

    def _is_full(self) -> bool:
        return self.pending >= self._window or self._bytes >= self._window_bytes

    def _under_way(self) -> list[Entry]:
        return [*self._unconfirmed.values(), *self._waiting, *self._nacked]

    # --- sending ----------------------------------------------------------------------------------

    def _send(self, entry: Entry) -> None:
        channel = self._channel
        if channel is None or not channel.is_open or len(self._unconfirmed) >= self._window:
            self._waiting.append(entry)
            return
        message = entry.message
        try:
            channel.publish(message.exchange, message.routing_key, message.body, mandatory=True, **entry.properties())
        except ChannelLost:
            self._waiting.append(entry)
            return
        except BrokerUnavailable as error:  # it can't be sent, ever
            self._end(entry, error)
            return
        entry.was_sent = True
        entry.sent_at = asyncio.get_running_loop().time()
        self._tag += 1
        self._unconfirmed[self._tag] = entry

    def _refill(self) -> None:
        while self._waiting and self._channel is not None and len(self._unconfirmed) < self._window:
            entry = self._waiting.popleft()
            if entry.done.done():
                self._end(entry)
                continue
            before = len(self._waiting)
            self._send(entry)
            if len(self._waiting) > before:  # came back: the channel is gone
                return
        if not self._is_full():
            self._room.set()

    def _end(self, entry: Entry, error: BrokerUnavailable | None = None) -> None:
        """Let go of a message that is no longer under way."""
        self._bytes -= len(entry.message.body)
        if error is not None:
            entry.fail(error)
        elif not entry.done.done():
            entry.done.set_result(None)

    def _look(self) -> None:
        """Give up a channel whose confirms don't come; as long as it is there. A blocked broker owes none."""
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(LOOK, self._look)
        if not self._unconfirmed or self._channel is None or self.connection.state is not ConnectionState.OPEN:
            self._overdue.excuse(loop.time())
            return
        tag, oldest = next(iter(self._unconfirmed.items()))
        if self._overdue.is_overdue(tag, oldest.sent_at, loop.time()):
            self._channel.drop_session(f"a message isn't confirmed after {OVERDUE:g} s: a fresh channel may be served")

    # --- the broker's answers ---------------------------------------------------------------------

    def _on_confirm(self, tag: int, multiple: bool, acked: bool) -> None:
        self._overdue.confirmed(tag, asyncio.get_running_loop().time())
        if multiple:
            confirmed = []
            for earlier in list(self._unconfirmed):  # in order: the tags up to this one come first
                if earlier > tag:
                    break
                confirmed.append(self._unconfirmed.pop(earlier))
        else:
            entry = self._unconfirmed.pop(tag, None)
            confirmed = [entry] if entry else []
        for entry in confirmed:
            if not acked:
                self._again(entry)
            elif entry.was_returned:
                entry.was_returned = False
                self._returned(entry)
            else:
                self._end(entry)
        self._refill()

    def _on_return(self, message_id: str) -> None:
        for entry in self._unconfirmed.values():
            if entry.message.message_id == message_id and not entry.was_returned:
                entry.was_returned = True  # its confirm follows
                return

    def _returned(self, entry: Entry) -> None:
        entry.returns += 1
        where = f"exchange {entry.message.exchange!r} with key {entry.message.routing_key!r}"
        if entry.returns > RETURNS:
            self._end(entry, BrokerUnavailable(f"no queue takes messages to {where}, though the topology is declared"))
            return
        logger.warning("a message to %s came back: declaring the topology again", where)
        self._waiting.append(entry)
        if self._channel is not None:
            self._channel.drop_session("messages come back: the topology has to be declared again")

    def _again(self, entry: Entry) -> None:
        first = not self._nacked and not entry.nacks
        logger.log(
            logging.WARNING if first else logging.DEBUG,
            "the broker refused a message to %r with key %r (a queue may be full); trying again",
            entry.message.exchange,
            entry.message.routing_key,
        )

        def resend() -> None:
            if entry not in self._nacked:  # given up, or the publisher is closed
                return
            self._nacked.discard(entry)
            if entry.done.done():
                self._end(entry)
                self._refill()
            else:
                self._send(entry)

        self._nacked.add(entry)
        loop = asyncio.get_running_loop()
        pause = min(NACK_PAUSE * 2 ** min(entry.nacks, 10), LONGEST_NACK_PAUSE)
        entry.nacks += 1
        loop.call_later(pause, resend)
        if entry.nacks % NACKS == 0 and self._channel is not None and loop.time() - self._opened_at > FRESH:
            self._channel.drop_session("it refuses messages again and again: a fresh channel may be served")


def _closed_too_early() -> BrokerUnavailable:
    return BrokerUnavailable("the connection was closed before the broker had confirmed the message")
