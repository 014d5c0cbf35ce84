"""The one poller of a server process: asks the tracker each second, however many pages look on.

It knows no page. A page looks at `picture`, an immutable thing that is replaced as a whole; so nothing of a session can
be kept alive from here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import ClassVar

from workbench.client.client import Client
from workbench.core.errors import BrokerUnavailable, WorkbenchError
from workbench.core.settings import Settings
from workbench.dashboard.model import KEPT, Model, Picture

logger = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds from one question to the next."""
AGAIN = 2.0
"""Seconds after which a broker that couldn't be reached is tried again."""
QUEUES_EVERY = 2.0
CONNECT_TIMEOUT = 5.0


class Feed:
    """Keeps the model up to date, in a thread of its own, for as long as the process lives."""

    _shared: ClassVar[Feed | None] = None
    _making = threading.Lock()

    def __init__(self) -> None:
        self._model = Model()
        self._client: Client | None = None
        self._settings: Settings | None = None
        self._queues_at = -QUEUES_EVERY
        self._heard_at = self.now()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="workbench feed", daemon=True)
        self._thread.start()

    @classmethod
    def of_this_process(cls) -> Feed:
        """Return the one that all pages of this process share; it starts with the first."""
        with cls._making:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    @staticmethod
    def now() -> float:
        """Return seconds that only go up, for pages to measure by."""
        return time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the tracker last told anything."""
        return self.now() - self._heard_at

    @property
    def picture(self) -> Picture:
        """What is known now. A new object where something is new."""
        return self._model.picture

    @property
    def client(self) -> Client:
        """The client, to ask more than the feed does.

        Raises
        ------
        BrokerUnavailable
            If the broker hasn't been reached yet.
        """
        if self._client is None:
            raise BrokerUnavailable(self._model.picture.health.sentence or "the broker hasn't been reached yet")
        return self._client

    def close(self) -> None:
        """End it. May be called twice."""
        self._closed.set()
        self._thread.join(CONNECT_TIMEOUT + EVERY)

    # --- in its thread ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self._closed.is_set():
                began = time.monotonic()
                if await self._turn():
                    continue
                pause = EVERY if self._client is not None else AGAIN
                await asyncio.sleep(max(0.1, pause - (time.monotonic() - began)))
        finally:
            if self._client is not None:
                self._client.close()

    async def _turn(self) -> bool:
        """Ask once; return whether there is more than one answer holds."""
        try:
            client = await self._connected()
            told = await client.live.changes(self._model.mark, seconds=KEPT)
            queues = None
            if self.now() - self._queues_at >= QUEUES_EVERY:
                self._queues_at = self.now()
                queues = await client.live.queues()
            self._model.take(told, queues, address=self._address)
            self._heard_at = self.now()
            return told.left > 0
        except WorkbenchError as error:
            self._model.miss(error, address=self._address, silence=self.silence)
        except Exception:
            logger.exception("the dashboard could not take in what the tracker told")
        return False

    async def _connected(self) -> Client:
        """Return a client. One that was made stays, and reconnects by itself, unless the workbench has moved."""
        settings = Settings.load()
        if self._client is not None and settings != self._settings:
            await asyncio.to_thread(self._client.close)
            self._client = None
        if self._client is None:
            self._settings = settings
            self._client = await asyncio.to_thread(Client, settings=settings, connect_timeout=CONNECT_TIMEOUT)
        return self._client

    @property
    def _address(self) -> str:
        """The broker's address, without what nobody but the broker should read."""
        return self._settings.broker_url.rpartition("@")[2].partition("/")[0] if self._settings is not None else ""
