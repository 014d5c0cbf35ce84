"""Where a worker's large values go, if it wasn't told: the tracker knows what the rest of the workbench uses."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from workbench.broker import Publisher, RpcCaller, Topology
from workbench.core import rpc
from workbench.core.errors import WorkbenchError
from workbench.core.settings import Settings

ASK_TIMEOUT = 30.0


async def settle_store(settings: Settings) -> Settings:
    """Return settings with a store and roots; ask the tracker for those that aren't given.

    Raises
    ------
    BrokerUnavailable, TrackerUnavailable
        If nobody can be asked.
    WorkbenchError
        If the workbench's store is a directory that this machine doesn't have.
    """
    if settings.store:
        return settings
    topology = Topology(settings.namespace)
    publisher, caller = Publisher(settings.broker_url, topology, name="a worker asks"), RpcCaller(topology)
    publisher.connection.add(caller)
    async with publisher:
        await publisher.connection.wait_open(ASK_TIMEOUT)
        facts = await caller.ask_tracker(rpc.GetWorkbench(), rpc.Workbench, timeout=ASK_TIMEOUT)
    _check_reachable(facts.store)
    return msgspec.structs.replace(settings, store=facts.store, roots=settings.roots or facts.roots)


def _check_reachable(store: str) -> None:
    if store.startswith("/") and not Path(store).is_dir():
        raise WorkbenchError(
            f"the workbench's store is the directory {store}, which {socket.gethostname()} doesn't have. "
            "Mount it there, or give all parts a store that they share: WORKBENCH_STORE"
        )
