"""Waiting until the workers of a workbench take tasks: until then a client can't know what they can do."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workbench.broker.files import tail
from workbench.client.client import Client
from workbench.core.errors import BrokerUnavailable, NodeFailed, TrackerUnavailable
from workbench.core.settings import Settings, read_state
from workbench.local.plan import Plan

_PAUSE = 0.05
_ENOUGH = 3  # restarts, in the first moments, that no bad luck explains


def await_workers(plan: Plan, settings: Settings, timeout: float = 60.0) -> None:
    """Return once every worker of the plan has announced itself to the tracker.

    Raises
    ------
    NodeFailed
        If one hasn't in `timeout` seconds, or crashes, with the end of its log: a module of the user's may not load.
    """
    wanted = set(plan.workers)
    deadline = time.monotonic() + timeout
    # In a thread of its own, as a notebook's cell runs inside a loop already.
    with Client(settings=settings) as client, ThreadPoolExecutor(1) as thread:
        while missing := wanted - thread.submit(asyncio.run, _online(client)).result():
            crashed = missing & _crash_loops(Path(plan.directory))
            if crashed or time.monotonic() > deadline:
                name = min(crashed or missing)
                log = Path(plan.directory) / "logs" / f"{name}.log"
                why = "crashes again and again" if crashed else f"takes no tasks after {timeout:.0f} s"
                raise NodeFailed(f"{name} {why}. The end of {log}:\n{tail(log, lines=60)}")
            time.sleep(_PAUSE)


def _crash_loops(directory: Path) -> set[str]:
    state = read_state(directory)
    return set() if state is None else {name for name, count in state.restarts.items() if count >= _ENOUGH}


async def _online(client: Client) -> set[str]:
    try:
        facts = await client.workbench()
    except (TrackerUnavailable, BrokerUnavailable):
        return set()
    return {worker.worker for worker in facts.workers if worker.online}
