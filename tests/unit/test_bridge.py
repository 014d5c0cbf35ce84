from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future
from typing import Any

from workbench.client import bridge


def test_a_wait_that_is_cancelled_leaves_the_future_alone_and_no_complaint_when_it_fails() -> None:
    complaints: list[dict[str, Any]] = []
    future: Future[int] = Future()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        waiting = asyncio.ensure_future(bridge.wait(future))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not future.cancelled()
        future.set_exception(ValueError("too late"))
        await asyncio.sleep(0.01)  # the failure comes over from its thread
        gc.collect()

    asyncio.run(run())
    assert complaints == []
