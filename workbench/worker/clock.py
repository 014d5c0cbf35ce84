"""`Clock`: the time by the tracker's clock, as a worker's own may be wrong, or be set while it runs.

Tasks' times are held against the tracker's, which ends overdue tasks too: one clock decides, and it is asked again and
again. What the worker tells bears times that only go forwards: it was asked once for these, when the worker began.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timedelta

from workbench.broker import RpcCaller
from workbench.core import rpc
from workbench.core.errors import WorkbenchError
from workbench.core.messages import utcnow

logger = logging.getLogger(__name__)

EVERY = 5.0
PATIENCE = 1.0
"""Seconds an answer may take: half of it is how far the clock may be off."""
NOTICEABLE = 2.0
"""Seconds that the host's clock may differ before that is said."""

# What passes while a laptop sleeps counts as well; where there is no such clock, the monotonic one has it (macOS).
_PASSING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """Tells the time; this host's, until a tracker has told its own."""

    def __init__(self) -> None:
        self._told: datetime | None = None
        self._told_at = 0.0  # when that was, by a clock that nobody sets
        self._began, self._began_at = utcnow(), passing()
        self._was_off = False

    def now(self) -> datetime:
        """Return the time, to hold tasks' times against."""
        return utcnow() if self._told is None else self._told + timedelta(seconds=passing() - self._told_at)

    def stamp(self) -> datetime:
        """Return the time, to be told: later than any that was told before, whatever is set meanwhile.

        The tracker would take a worker for lost whose heartbeats come from the past.
        """
        return self._began + timedelta(seconds=passing() - self._began_at)

    @property
    def skew(self) -> float:
        """Seconds that this host's clock is ahead of the tracker's, as far as is known."""
        return (utcnow() - self.now()).total_seconds() if self._told is not None else 0.0

    def learn(self, told: datetime, *, asked: float, answered: float) -> None:
        """Take note of what the tracker said its time was, at some moment between two of `passing`."""
        self._told, self._told_at = told, (asked + answered) / 2
        is_off = abs(self.skew) > NOTICEABLE
        if is_off and not self._was_off:
            logger.warning("this host's clock is %+.1f s off the tracker's, which counts for tasks' times", self.skew)
        self._was_off = is_off

    async def begin(self, caller: RpcCaller) -> None:
        """Ask the tracker before anything is told."""
        await self.ask(caller)
        self._began, self._began_at = self.now(), passing()

    async def ask(self, caller: RpcCaller) -> None:
        """Ask the tracker; where none answers, what was told before goes on to count."""
        asked = passing()
        try:
            answer = await caller.ask_tracker(rpc.GetTime(), rpc.TrackerTime, timeout=PATIENCE)
        except WorkbenchError as error:
            logger.debug("the tracker doesn't tell its time: %s", error)
            return
        self.learn(answer.at, asked=asked, answered=passing())

    async def ask_on(self, caller: RpcCaller) -> None:
        """Ask from time to time, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            await self.ask(caller)


def passing() -> float:
    """Return seconds that only ever pass."""
    return time.clock_gettime(_PASSING)
