"""The worker as a program: settings, signals, exit status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from typing import Any

from workbench import metrics
from workbench.core.settings import Settings
from workbench.worker import memory
from workbench.worker.options import Options
from workbench.worker.service import Worker
from workbench.worker.store import settle_store

logger = logging.getLogger(__name__)

LOOK = 0.2
"""Seconds between two looks at the clock."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run(settings: Settings, options: Options) -> None:
    """Run a worker until SIGTERM or SIGINT, or its options, end it. It then drains; a second signal ends it at once.

    Raises
    ------
    WorkbenchError
        If the operations can't be loaded.
    """
    # As many threads as there are slots already keep the machine busy: each slot's libraries get their share of it.
    share = max(1, (os.cpu_count() or 1) // options.slots)
    for variable in _THREADS:
        os.environ.setdefault(variable, str(share))
    memory.tune_children()
    asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: Options) -> None:
    began, stop = time.monotonic(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    worker = Worker(await settle_store(settings), options)
    starting, stopping = asyncio.ensure_future(worker.start()), asyncio.ensure_future(stop.wait())
    measured = contextlib.ExitStack()
    try:
        if options.metrics is not None:
            measured.enter_context(metrics.served(*options.metrics, worker.measures))
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await _until_over(worker, options, began, stopping)
            await worker.drain()
    finally:
        measured.close()
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await worker.close()


async def _until_over(worker: Worker, options: Options, began: float, stopping: asyncio.Future[Any]) -> None:
    """Wait for a signal or an order, for the end of its time, or until it has had nothing to do for long enough."""
    while not stopping.done() and not worker.draining:
        ran = time.monotonic() - began
        if options.max_runtime is not None and ran >= options.max_runtime:
            logger.info("it has run for %.0f s: taking no more tasks", ran)
            return
        if options.idle_exit is not None and worker.idle_seconds >= options.idle_exit:
            logger.info("it has had nothing to do for %.0f s: stopping", worker.idle_seconds)
            return
        await asyncio.wait({stopping}, timeout=LOOK)
