"""Between threads and event loops: a loop in a thread of its own, and waiting for it from anywhere.

The notebook's connections live on that loop, so that a cell that blocks the kernel for an hour loses nothing.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a daemon thread until it is stopped."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        """Stop the loop and wait for its thread. May be called twice."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            self.loop.close()


async def wait(future: Future[T]) -> T:
    """Await a future of another thread, in asyncio (any of its loops) or in trio.

    Cancelling the wait leaves the future alone: others may wait for it too.
    """
    if "trio" in sys.modules and _in_trio():
        return await _wait_in_trio(future)
    here = asyncio.wrap_future(future)
    here.add_done_callback(_retrieve)  # where this wait is cancelled, nobody looks at it any more
    return await asyncio.shield(here)


def _retrieve(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()


def _in_trio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


async def _wait_in_trio(future: Future[T]) -> T:
    import trio  # only where the caller runs in it

    done = trio.Event()
    token = trio.lowlevel.current_trio_token()
    future.add_done_callback(lambda _future: token.run_sync_soon(done.set))
    await done.wait()
    return future.result()
