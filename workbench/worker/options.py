"""How a worker works: data, built by whoever starts one."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works.

    Parameters
    ----------
    families
        Whose queues it consumes from; None for all that its operations belong to.
    include
        Modules with a user's operations.
    lane
        Consume from this lane's queues instead of the families' own.
    slots
        How many tasks run at once.
    memory_limit
        Bytes one slot may use; None for no limit.
    recycle_after
        Replace a slot's process after so many attempts; None for never.
    grace
        Seconds that running tasks have to end when the worker is told to stop.
    max_runtime
        Seconds after which it takes no more tasks, and drains; None for never.
    idle_exit
        Seconds without a task after which it stops; None for never.
    name
        How the worker is called; None for the host's name and a random part.
    metrics
        Where Prometheus finds its metrics: an address and a port; None for nowhere.
    """

    families: tuple[str, ...] | None = None
    include: tuple[str, ...] = ()
    lane: str | None = None
    slots: int = 1
    memory_limit: int | None = None
    recycle_after: int | None = None
    grace: float = 60.0
    max_runtime: float | None = None
    idle_exit: float | None = None
    name: str | None = None
    metrics: tuple[str, int] | None = None
