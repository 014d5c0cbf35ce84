"""`Access`: what the tracker's work by itself needs, whichever work it is: the database, and the way to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from workbench.broker import Publisher, Topology
from workbench.broker.inspect import Inspector
from workbench.tracker.database import Database

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Held by `Duties` and `Strays`; nothing of it is theirs to close."""

    database: Database  # asked in `thread`
    thread: Executor
    publisher: Publisher
    inspector: Inspector
    topology: Topology
    up_to_date: Callable[[], Awaitable[bool]]  # waits until what has come in is recorded; returns whether it is

    async def ask(self, question: Callable[[], R]) -> R:
        """Ask the database, without holding up the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, question)
