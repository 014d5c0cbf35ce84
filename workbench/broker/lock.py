"""`Lock`: an exclusive queue that one process at a time can hold, and that the broker frees when its holder is gone."""

from __future__ import annotations

import asyncio
import logging
import random
from types import TracebackType
from typing import Self

from workbench.broker.session import Session, open_session
from workbench.broker.topology import Queue
from workbench.core.errors import BrokerRefused, BrokerUnavailable

logger = logging.getLogger(__name__)

RETRY = 0.25
"""Seconds between two tries, each on the same connection: whoever stands by takes over soon after."""

RECONNECT = 1.0

PATIENCE = 30.0
"""Seconds after which a broker that was never reached is given up: its address may be wrong."""


class Lock:
    """A lock held through the broker.

    Parameters
    ----------
    url
        Which broker.
    queue
        The name of the exclusive queue (RabbitMQ refuses its declaration on any connection but its holder's: 405).
    name
        The connection's name.
    """

    def __init__(self, url: str, queue: str, *, name: str) -> None:
        self._url = url
        self._queue = queue
        self._name = name
        self._session: Session | None = None
        self._was_reached = False

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    async def acquire(self) -> bool:
        """Wait until nobody else holds the lock, trying several times a second for as long as it takes.

        Returns
        -------
        bool
            Whether it had to wait.

        Raises
        ------
        BrokerUnavailable
            If the broker has never been reached, within `PATIENCE`; `BrokerRefused` as soon as it has said no. One that
            was reached before is waited for.
        """
        waiting = ""
        began = asyncio.get_running_loop().time()
        session: Session | None = None
        try:
            while True:
                try:
                    if session is None or session.closed.done():
                        session = await open_session(self._url, name=self._name)
                    channel = await session.channel()  # a refusal closes it
                    await channel.declare([Queue(name=self._queue, exclusive=True)])
                    self._session = session
                    self._was_reached = True
                    return bool(waiting)
                except BrokerUnavailable as error:
                    # Another's lock is an answer; a user who may not declare it would stand by for ever.
                    self._was_reached |= session is not None and not isinstance(error, BrokerRefused)
                    impatient = isinstance(error, BrokerRefused) or asyncio.get_running_loop().time() - began > PATIENCE
                    if impatient and not self._was_reached:
                        raise
                    if str(error) != waiting:
                        waiting = str(error)
                        logger.info("standing by for %s: %s", self._queue, waiting)
                is_there = session is not None and not session.closed.done()
                pause = RETRY if is_there else RECONNECT
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - not a secret
        finally:
            if session is not None and self._session is None:
                await session.close()

    @property
    def is_held(self) -> bool:
        """Whether it is held, for all that is known."""
        return self._session is not None and not self._session.closed.done()

    async def wait_lost(self) -> str:
        """Wait until the lock is lost with its connection; return why."""
        assert self._session is not None
        return str(await asyncio.shield(self._session.closed))

    async def release(self) -> None:
        """Let go. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
