"""Retention: results whose time is over leave the database, and what only they referred to leaves the store.

All of it in small steps: a step in the database holds up no batch for long, and the store has a thread of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta

from workbench.core.errors import WorkbenchError
from workbench.core.messages import utcnow
from workbench.tracker.database import Database
from workbench.values.store import Store
from workbench.values.sweep import look_into, sweep

logger = logging.getLogger(__name__)

SWEEP = 3600.0
"""Seconds between two sweeps."""

SOON = 60.0
"""Seconds until another try, where the last one didn't come to its end."""

STEP = 500
"""Tasks swept in one transaction."""

_BREATH = 0.01  # seconds between two transactions, for those who record


class Retention:
    """Sweeps, from `run` to its cancelling.

    Parameters
    ----------
    database
        Written in `writer`, the thread of all that writes.
    store
        Where large values lie; None where that isn't known.
    seconds
        How long results are kept.
    up_to_date
        Waits until what has come in is recorded; returns whether it is.
    """

    def __init__(
        self,
        database: Database,
        store: Store | None,
        *,
        seconds: float,
        writer: Executor,
        up_to_date: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._store = store
        self._seconds = seconds
        self._writer = writer
        self._up_to_date = up_to_date
        self._thread = ThreadPoolExecutor(1, "tracker-sweeper")
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Sweep now, and again and again."""
        try:
            while True:
                swept = False
                try:
                    swept = await self._sweep()
                except WorkbenchError as error:
                    logger.warning("not everything is swept this time: %s", error)
                except Exception:
                    logger.exception("sweeping failed this time")
                await asyncio.sleep(min(SWEEP if swept else SOON, self._seconds))
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _sweep(self) -> bool:
        """Sweep; return False where the store has to wait, as messages that refer to it may wait to be recorded."""
        now = utcnow()
        before = now - timedelta(seconds=self._seconds)
        total = swept = await self._loop.run_in_executor(self._writer, self._results, before)
        while swept == STEP:
            await asyncio.sleep(_BREATH)
            total += (swept := await self._loop.run_in_executor(self._writer, self._results, before))
        if total:
            logger.info("swept the results of %d tasks", total)
        if self._store is None:
            return True
        if not await self._up_to_date():
            return False
        await self._sweep_store(self._store)
        return True

    def _results(self, before: datetime) -> int:
        return self._database.sweep(before=before, now=utcnow(), most=STEP)

    async def _sweep_store(self, store: Store) -> None:
        while keys := await self._loop.run_in_executor(self._thread, self._database.unread):
            for key in keys:
                found = await self._loop.run_in_executor(self._thread, look_into, store, key)
                await self._loop.run_in_executor(self._writer, self._database.note_read, key, found)
        steps = sweep(store, age=self._seconds, needed=self._needed)
        total = 0
        while (removed := await self._loop.run_in_executor(self._thread, next, steps, None)) is not None:
            total += removed
            await asyncio.sleep(_BREATH)
        if total:
            logger.info("removed %d objects from the store", total)

    def _needed(self, keys: Sequence[str]) -> set[str]:
        if self._database.unread(most=1):  # it may refer to any of them
            return set(keys)
        return self._database.referred(keys)
