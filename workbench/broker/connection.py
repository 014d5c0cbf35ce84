"""`Connection`: one connection to the broker, kept alive.

It connects, lets its parts (a publisher, a consumer, …) set themselves up, waits for the loss, and starts again with a
jittered back-off, until it is closed. It decides nothing about messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from workbench.broker.session import Session, open_session
from workbench.core.errors import BrokerRefused, BrokerUnavailable

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class ConnectionState(StrEnum):
    """What a connection is doing."""

    CONNECTING = "connecting"
    OPEN = "open"
    BLOCKED = "blocked"  # by a memory or disk alarm: the broker takes nothing in until it has room again
    CLOSED = "closed"


class Part(Protocol):
    """What uses a connection."""

    async def opened(self, session: Session) -> None:
        """Set up on a fresh connection; raise `BrokerUnavailable` where that fails, and it is tried again."""

    def lost(self, reason: str) -> None:
        """Forget what belonged to the connection that is gone."""


class Connection:
    """One connection to the broker, kept alive on the running event loop.

    Parameters
    ----------
    url
        `amqp://…` or `amqps://…`.
    name
        How the broker's own tools list the connection.
    parts
        What is set up on it each time it opens, in this order.
    on_state
        Called with the new state and a reason on each change.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        parts: tuple[Part, ...] = (),
        on_state: Callable[[ConnectionState, str], None] | None = None,
    ) -> None:
        self.url = url
        self.name = name
        self.state = ConnectionState.CLOSED
        self.reason = "not opened yet"
        self._parts = list(parts)
        self._on_state = on_state
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._refused: BrokerRefused | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.name}: {self.state}{f', {self.reason}' if self.reason else ''}>"

    @property
    def address(self) -> str:
        """The broker's host and port, without the credentials."""
        try:
            parts = urlsplit(self.url)
            return f"{parts.hostname or 'localhost'}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
        except ValueError:
            return "an address that can't be read"

    @property
    def refusal(self) -> BrokerRefused | None:
        """What the broker said no with, where it did so the last time."""
        return self._refused

    def add(self, part: Part) -> None:
        """Let one more part use the connection; before it is opened."""
        self._parts.append(part)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to connect, in the background."""
        if self._task is None:
            self._become(ConnectionState.CONNECTING, "")
            self._task = asyncio.get_running_loop().create_task(self._live(), name=f"connection {self.name}")

    async def wait_open(self, timeout: float) -> None:
        """Wait until the connection is open and its parts are set up.

        Raises
        ------
        BrokerRefused
            As soon as the broker has said no.
        BrokerUnavailable
            After `timeout` seconds, with the last reason.
        """
        try:
            async with asyncio.timeout(timeout):
                while self.state not in (ConnectionState.OPEN, ConnectionState.BLOCKED):
                    if self._refused:
                        raise self._refused
                    await self._changed.wait()
        except TimeoutError:
            reason = self.reason or f"{self.address} has not answered so far; is it a RabbitMQ, and does it hang?"
            raise BrokerUnavailable(f"no connection to the broker within {timeout:g} s: {reason}") from None

    async def wait_blocked(self) -> None:
        """Wait until the broker blocks the connection, if it isn't blocked already. Ends only then: cancel it."""
        while self.state is not ConnectionState.BLOCKED:
            await self._changed.wait()

    async def close(self) -> None:
        """Close, and stop reconnecting. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._session is not None:
            await self._session.close()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self._become(ConnectionState.CLOSED, "closed")

    async def _live(self) -> None:
        pause = FIRST_PAUSE
        while True:
            level = logging.INFO  # one that can't be opened is told to whoever waits for it
            try:
                self._session = await open_session(self.url, name=self.name)
                lost = await self._use(self._session)
                pause, level = FIRST_PAUSE, logging.WARNING
            except BrokerUnavailable as error:
                lost = str(error)
                self._refused = error if isinstance(error, BrokerRefused) else None
            except Exception as error:  # a part's own mistake must not end the reconnecting
                logger.exception("connection %s could not be set up", self.name)
                lost = f"{type(error).__name__}: {error}"
            finally:
                self._session = None
            if self._task is None:  # closed meanwhile
                return
            # Full jitter: peers that lost the broker together don't come back together.
            wait = random.uniform(pause / 2, pause)  # noqa: S311 - not a secret
            logger.log(level, "connection %s: %s; trying again in %.1f s", self.name, lost, wait)
            self._become(ConnectionState.CONNECTING, lost)
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _use(self, session: Session) -> str:
        session.on_blocked(self._blocked)
        try:
            for part in self._parts:
                await part.opened(session)
            self._refused = None
            if self.state is not ConnectionState.BLOCKED:  # by what a part has sent already
                self._become(ConnectionState.OPEN, "")
            return str(await asyncio.shield(session.closed))
        finally:
            for part in self._parts:
                part.lost(str(session.closed.result()) if session.closed.done() else "the connection is given up")
            if not session.closed.done():
                await session.close()

    def _blocked(self, reason: str | None) -> None:
        if reason is None:
            self._become(ConnectionState.OPEN, "")
        else:
            self._become(ConnectionState.BLOCKED, f"the broker takes no messages until an alarm ends: {reason}")

    def _become(self, state: ConnectionState, reason: str) -> None:
        self.state, self.reason = state, reason
        self._changed.set()
        self._changed = asyncio.Event()
        if self._on_state is not None:
            self._on_state(state, reason)
