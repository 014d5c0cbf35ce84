"""`Batcher`: takes things one by one, has them handled in batches, and never gives one up.

While a batch is handled the next one gathers, so batches are as large as the load asks for.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from workbench.core.errors import WorkbenchError

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0

T = TypeVar("T")


class Batcher(Generic[T]):
    """Hands over what was put, in order, one batch at a time.

    Parameters
    ----------
    name
        What is batched, for the log.
    handle
        Handles a batch. Whatever it raises is logged, and the same batch is tried again after a pause: it has to be
        idempotent.
    size
        How many make a full batch.
    """

    def __init__(self, name: str, handle: Callable[[Sequence[T]], Awaitable[None]], *, size: int) -> None:
        self._name = name
        self._handle = handle
        self._size = size
        self._pending: deque[T] = deque()
        self._news = asyncio.Event()
        self._closing = False
        self._put = 0
        self._done = 0  # handled, or forgotten
        self._moved_at = 0.0  # when something was handled, or the first that waits was put
        self._progress = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Batcher of {self._name}: {len(self._pending)} pending>"

    @property
    def pending(self) -> int:
        """How many were put and aren't handled."""
        return self._put - self._done

    @property
    def stalled(self) -> float:
        """Seconds for which something has waited and nothing was handled; 0 where nothing waits."""
        return time.monotonic() - self._moved_at if self.pending else 0.0

    @property
    def behind(self) -> bool:
        """Whether more than a batch is waiting."""
        return len(self._pending) >= self._size

    def start(self) -> None:
        """Begin to hand over."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"batches of {self._name}")

    def put(self, item: T) -> None:
        """Take one more; never blocks."""
        if not self.pending:
            self._moved_at = time.monotonic()
        self._pending.append(item)
        self._put += 1
        self._news.set()

    def forget(self) -> None:
        """Drop what isn't being handled yet: it will be delivered again."""
        self._advance(len(self._pending))
        self._pending.clear()

    async def caught_up(self) -> None:
        """Wait until everything put so far has been handled."""
        mark = self._put
        while self._done < mark:
            await self._progress.wait()

    def _advance(self, count: int) -> None:
        self._done += count
        self._moved_at = time.monotonic()
        self._progress.set()
        self._progress = asyncio.Event()

    async def close(self, timeout: float) -> bool:
        """Finish what was put, for at most `timeout` seconds. Returns whether everything was handled."""
        task, self._task = self._task, None
        if task is None:
            return True
        self._closing = True
        self._news.set()
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if not done:
            task.cancel()
            await asyncio.wait({task})
        return bool(done)

    async def _run(self) -> None:
        while self._pending or not self._closing:
            if not self._pending:
                self._news.clear()
                await self._news.wait()
                continue
            batch = [self._pending.popleft() for _ in range(min(self._size, len(self._pending)))]
            await self._until_handled(batch)

    async def _until_handled(self, batch: Sequence[T]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._handle(batch)
            except Exception as error:
                wait = random.uniform(pause / 2, pause)  # noqa: S311 - not a secret
                # Our own errors explain themselves; anything else is a bug, and its traceback the way to it.
                trace = None if isinstance(error, WorkbenchError) else error
                logger.error(
                    "%d %s could not be handled, trying again in %.1f s: %s",
                    len(batch),
                    self._name,
                    wait,
                    error,
                    exc_info=trace,
                )
                await asyncio.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self._advance(len(batch))
                return
