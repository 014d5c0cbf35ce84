"""`DeadLetters`: looks through the queue `dead`, and takes letters off it: to send them again, or for good.

Letters are consumed, held unacknowledged for as long as a walk takes, and go back to where they were when its channels
are closed. One walk at a time, over all clients, so that each sees every letter, in order. What a walk has looked at is
counted by the broker as a delivery more, of a million that it lets a letter have: look when asked to, don't poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import msgspec

from workbench.broker import letters
from workbench.broker.letters import Letter
from workbench.broker.outgoing import Outgoing
from workbench.broker.publisher import Publisher
from workbench.broker.session import Channel, Session
from workbench.broker.topology import Queue, Topology
from workbench.core import messages
from workbench.core.errors import BrokerRefused, BrokerUnavailable
from workbench.core.messages import Task, TaskFinished, TasksFinished

logger = logging.getLogger(__name__)

PREFETCH = 1000
"""Letters one channel holds, and about how many are in memory at once: a walk opens as many channels as it needs."""
AHEAD = 200
"""Letters that are being sent again at once."""
RETRY = 0.2
AGAIN = 0.02
QUIET = 2.0
"""Seconds without a delivery after which the letters are counted again: somebody else may have taken some."""
GIVE_BACK = 15.0
"""Seconds the broker may take to close the channels before their connection is given up."""

Wanted = Callable[[Letter], bool]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a letter that was sent again."""

    task_id: str
    operation: str
    replay: int


class _Held:
    """How many letters a walk has delivered and not acknowledged, and how many it leaves on the queue."""

    __slots__ = ("count", "left")

    def __init__(self) -> None:
        self.count = 0
        self.left = 0


class _Found:
    """A letter as it was delivered: bound to its channel until it is acknowledged."""

    __slots__ = ("body", "channel", "held", "letter", "tag")

    def __init__(self, letter: Letter, body: bytes, channel: Channel, tag: int, held: _Held) -> None:
        self.letter = letter
        self.body = body
        self.channel = channel
        self.tag = tag
        self.held = held

    def ack(self) -> None:
        self.held.count -= 1
        self.held.left -= 1
        self.channel.ack(self.tag)


class DeadLetters:
    """The letters on the queue `dead`; a part of a connection (add it to one that doesn't publish).

    Parameters
    ----------
    topology
        Whose dead letters.
    publisher
        Sends letters again.
    """

    def __init__(self, topology: Topology, publisher: Publisher) -> None:
        self._topology = topology
        self._publisher = publisher
        self._session: Session | None = None
        self._lock = asyncio.Lock()

    async def opened(self, session: Session) -> None:
        """Use this connection from now on."""
        self._session = session

    def lost(self, reason: str) -> None:
        """Wait for the next connection."""
        self._session = None

    async def browse(self, wanted: Wanted, *, limit: int, timeout: float) -> list[Letter]:
        """Return the first `limit` letters that are wanted, the oldest first.

        Raises
        ------
        BrokerUnavailable
            If the broker is away, or somebody else looks through the letters for all of `timeout` seconds.
        """
        found: list[Letter] = []
        async with self._walk(timeout) as walk:
            async for each in walk:
                if wanted(each.letter):
                    found.append(each.letter)
                    if len(found) >= limit:
                        break
        return found

    async def purge(self, wanted: Wanted, *, timeout: float) -> int:
        """Take the wanted letters off the queue for good; return how many. Raises as `browse` does."""
        purged = 0
        async with self._walk(timeout) as walk:
            async for each in walk:
                if wanted(each.letter):
                    each.ack()
                    purged += 1
        return purged

    async def replay(self, wanted: Wanted, *, timeout: float) -> list[Sent]:
        """Send the wanted letters again, tasks as a new replay and outcomes as they are, and take them off the queue.

        A letter leaves the queue when the broker has confirmed what it became. Who dies between the two sends it
        twice, as the same replay: it counts once.

        Raises
        ------
        BrokerUnavailable
            As `browse` does, and where the broker doesn't confirm in time, or a message finds no queue. What it did
            confirm is sent.
        """
        sent: list[Sent] = []
        failures: list[BaseException] = []
        confirms: dict[asyncio.Future[None], tuple[_Found, Sent]] = {}

        def settle(confirm: asyncio.Future[None]) -> None:
            each, told = confirms.pop(confirm)
            if confirm.cancelled():
                return
            if (error := confirm.exception()) is not None:
                failures.append(error)
                return
            each.ack()
            sent.append(told)

        async with self._walk(timeout) as walk:
            try:
                async for each in walk:
                    if not wanted(each.letter) or (again := self._again(each)) is None:
                        continue
                    message, told = again
                    while len(confirms) >= AHEAD:
                        await asyncio.wait(confirms, return_when=asyncio.FIRST_COMPLETED)
                    confirm = self._publisher.publish_nowait(message)
                    confirms[confirm] = each, told
                    confirm.add_done_callback(settle)
                while confirms:
                    await asyncio.wait(confirms)
            except asyncio.CancelledError:  # by the time-out, most often: what isn't confirmed goes back
                self._publisher.give_up(list(confirms), "")
                raise
        if failures:
            raise BrokerUnavailable(
                f"{len(failures)} dead letters could not be sent again, and stay: {failures[0]}. {len(sent)} were sent"
            )
        return sent

    def _again(self, each: _Found) -> tuple[Outgoing, Sent] | None:
        letter = each.letter
        if letter.kind == "task":
            task = letters.replayed(messages.decode_task(each.body), messages.utcnow())
            message = Outgoing(self._topology.submit, letter.routing_key, messages.encode(task), task.task_id)
            return message, _sent(task)
        if letter.kind == "outcome":
            message = Outgoing(self._topology.events, letter.routing_key, each.body, letter.message_id)
            told = messages.decode(each.body)
            first = told.outcomes[0] if isinstance(told, TasksFinished) else told
            assert isinstance(first, TaskFinished)
            return message, _sent(first)
        return None

    # --- one walk ---------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _walk(self, timeout: float) -> AsyncIterator[AsyncGenerator[_Found, None]]:
        """Walk over what lies on the queue now; what isn't acknowledged is back on it in the end."""
        try:
            async with asyncio.timeout(timeout), self._lock, self._alone() as session:
                lanes: list[tuple[Channel, str]] = []
                held = _Held()
                found = self._letters(session, lanes, held)
                try:
                    yield found
                finally:
                    await found.aclose()
                    await _give_back(session, lanes)
                    await self._await_back(session, held.left)
        except TimeoutError:
            why = (
                "the connection to the broker is lost"
                if self._session is None
                else "somebody else does, the broker is slow, or they are very many"
            )
            raise BrokerUnavailable(f"the dead letters could not be gone through within {timeout:g} s: {why}") from None

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[Session]:
        """Hold the right to walk: an exclusive queue, which goes with this client if that dies."""
        lock = Queue(name=f"{self._topology.dead_queue}.lock", exclusive=True)
        while True:
            if (session := self._session) is not None:
                try:
                    channel = await session.channel()
                    await channel.declare([lock])
                    break
                except BrokerRefused:
                    raise
                except BrokerUnavailable as error:  # somebody else holds it (405), or the connection is lost
                    logger.debug("waiting for the dead letters: %s", error)
            await asyncio.sleep(random.uniform(RETRY / 2, RETRY))  # noqa: S311 - not a secret
        try:
            yield session
        finally:
            with contextlib.suppress(BrokerUnavailable, TimeoutError):
                async with asyncio.timeout(GIVE_BACK):
                    await channel.delete(lock.name)
                    await channel.close()

    async def _await_back(self, session: Session, number: int) -> None:
        """Wait until so many letters are counted: a quorum queue takes them back a moment after their channel's end.

        The next walk goes by that number, and would find nothing.
        """
        with contextlib.suppress(BrokerUnavailable, TimeoutError):
            async with asyncio.timeout(QUIET):
                while await self._count(session) < number:  # noqa: ASYNC110 - the broker tells nobody
                    await asyncio.sleep(AGAIN)

    async def _letters(
        self, session: Session, lanes: list[tuple[Channel, str]], held: _Held
    ) -> AsyncGenerator[_Found, None]:
        # One line for all channels: what is acknowledged makes room on its own channel, for letters that come there.
        arrived: asyncio.Queue[_Found | None] = asyncio.Queue()
        held.left = await self._count(session)
        for _ in range(held.left):
            if arrived.empty() and held.count >= PREFETCH * len(lanes):  # none can come on those
                lanes.append(await self._consume(session, arrived, held))
            while (each := await _next(arrived)) is None:
                for channel, _ in lanes:
                    if channel.closed.done():
                        raise channel.closed.result()
                if not await self._count(session):
                    return
            yield each

    async def _count(self, session: Session) -> int:
        channel = await session.channel()
        count = await channel.count(self._topology.dead_queue)
        await channel.close()
        return count

    async def _consume(
        self, session: Session, arrived: asyncio.Queue[_Found | None], held: _Held
    ) -> tuple[Channel, str]:
        """Let letters come on one more channel; `arrived` gets them, and None when the channel is closed.

        Returns the channel and its consumer's tag.
        """
        channel = await session.channel()
        channel.closed.add_done_callback(lambda _reason: arrived.put_nowait(None))

        def deliver(method: Any, properties: Any, body: bytes) -> None:
            letter = letters.read(
                body,
                routing_key=method.routing_key,
                message_id=properties.message_id or "",
                headers=properties.headers or {},
                topology=self._topology,
            )
            held.count += 1
            arrived.put_nowait(_Found(letter, body, channel, method.delivery_tag, held))

        await channel.prefetch(PREFETCH)
        return channel, await channel.consume(self._topology.dead_queue, deliver)


async def _next(arrived: asyncio.Queue[_Found | None]) -> _Found | None:
    if not arrived.empty():
        return arrived.get_nowait()
    try:
        async with asyncio.timeout(QUIET):
            return await arrived.get()
    except TimeoutError:
        return None


async def _give_back(session: Session, lanes: list[tuple[Channel, str]]) -> None:
    """Close the channels one after another, so that the letters keep their order."""
    try:
        async with asyncio.timeout(GIVE_BACK):
            for channel, tag in lanes:  # or what the first gives back would come on the last, where that has room
                if channel.is_open:
                    await channel.cancel(tag)
            for channel, _ in lanes:
                await channel.close()
    except BrokerUnavailable as error:  # they are gone, and the letters are back
        logger.debug("the channels of a walk over the dead letters are gone: %s", error)
    except TimeoutError:
        session.drop("it doesn't give dead letters back")


def _sent(told: Task | TaskFinished) -> Sent:
    return Sent(task_id=told.task_id, operation=told.operation, replay=told.replay)
