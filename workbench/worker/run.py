"""The worker as a program: settings, signals, exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from workbench.core.settings import Settings
from workbench.worker.service import Options, Worker
from workbench.worker.store import settle_store

logger = logging.getLogger(__name__)

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run(settings: Settings, options: Options) -> None:
    """Run a worker until SIGTERM or SIGINT: it then drains. A second signal ends it at once.

    Raises
    ------
    WorkbenchError
        If the operations can't be loaded.
    """
    # As many threads as there are slots already keep the machine busy: each slot's libraries get their share of it.
    share = max(1, (os.cpu_count() or 1) // options.slots)
    for variable in _THREADS:
        os.environ.setdefault(variable, str(share))
    asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    worker = Worker(await settle_store(settings), options)
    starting, stopping = asyncio.ensure_future(worker.start()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await stopping
            await worker.drain()
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await worker.close()
