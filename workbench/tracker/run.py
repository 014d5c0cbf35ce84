"""The tracker as a program: which of several is the active one, from the lock over the database to the signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec

from workbench import metrics
from workbench.broker import Lock, Topology
from workbench.core.ids import new_name
from workbench.core.settings import Settings, default_directory
from workbench.tracker.database import Database, DatabaseUnavailable
from workbench.tracker.service import Tracker

logger = logging.getLogger(__name__)

HEARTBEAT = 5
"""Seconds after which the broker takes a tracker that hangs for gone (twice that at the most): another takes over."""
TRY_AGAIN = 1.0  # seconds until another try to open the database


async def run(settings: Settings, *, name: str | None = None, measured_at: tuple[str, int] | None = None) -> None:
    """Be the tracker, or stand by for it, until SIGTERM or SIGINT.

    Parameters
    ----------
    settings
        Where broker and database are.
    name
        What it calls itself.
    measured_at
        Where Prometheus finds its metrics while it is active: an address and a port.

    Raises
    ------
    WorkbenchError
        Where the database can't be opened, unless it takes over from another: that one may still have it locked.
    """
    name = name or new_name("tracker")
    os.umask(0o077)  # the database holds everybody's arguments and results
    stop = asyncio.Event()
    url = settings.database or f"sqlite:///{default_directory() / 'tracker.sqlite'}"
    settings = msgspec.structs.replace(settings, broker_url=with_heartbeat(settings.broker_url))
    lock = Lock(settings.broker_url, Topology(settings.namespace).tracker_lock, name=f"{name} (lock)")
    database = Database(url)
    patient = False
    with _stopped_by_signals(stop):
        while not stop.is_set():
            try:
                if not await _unless(stop, _take_over(lock, database, patient=patient)):
                    break
                patient = True
                with contextlib.closing(database):
                    logger.info("tracker %s is active, with %r", name, database)
                    async with Tracker(settings, database, name=name) as tracker, contextlib.AsyncExitStack() as stack:
                        if measured_at is not None:
                            stack.enter_context(metrics.served(*measured_at, tracker.measures))
                        lost = await _unless(stop, lock.wait_lost())
                    if lost:
                        logger.warning("tracker %s has lost its lock with the connection, and stands by", name)
            finally:
                await lock.release()
    logger.info("tracker %s has stopped", name)


async def _take_over(lock: Lock, database: Database, *, patient: bool) -> None:
    """Wait for the lock, then open the database: an active tracker of an earlier version may need it as it is.

    One that hangs amid a transaction loses its session with PostgreSQL. It has SQLite locked until it goes on or ends,
    and whoever gave up then would leave nobody to take over. So where the lock was another's, or the caller is
    `patient`, it is tried until it succeeds, for as long as the lock is held.
    """
    patient = await lock.acquire() or patient
    trouble = ""
    while True:
        try:
            if patient:
                await asyncio.to_thread(database.evict)
            await asyncio.to_thread(database.open)  # it may wait for another's lock, and the broker for our heartbeats
            return
        except DatabaseUnavailable as error:
            if not patient:
                raise
            if str(error) != trouble:
                trouble = str(error)
                logger.warning("the tracker can't take over yet: %s; trying again", trouble)
        await asyncio.sleep(TRY_AGAIN)
        if not lock.is_held:  # another may be the active one by now, and must not be evicted
            await lock.release()
            await lock.acquire()


def with_heartbeat(url: str) -> str:
    """Return the broker's address with a short heartbeat, unless it has one already.

    A tracker that hangs has to lose its deliveries along with its lock, or they would wait for it.
    """
    return url if "heartbeat=" in url else f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT}"


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Do `work`, but for `stop`. Returns whether it was done."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    caught = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Only the main thread can catch signals; elsewhere whoever runs this cancels it.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
