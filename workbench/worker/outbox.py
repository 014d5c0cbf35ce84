"""`Outbox`: outcomes on their way to the broker, those of the same few milliseconds and the same client in one message.

The first outcome after a quiet moment goes at once; those that follow within `PAUSE` go together. What a message costs
the broker, the tracker and the client is then shared by many short tasks, and a lone task waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from workbench.broker import Outgoing, Publisher, Topology
from workbench.broker.topology import finished_key
from workbench.core import messages
from workbench.core.ids import new_name
from workbench.core.messages import TaskFinished, TasksFinished

PAUSE = 0.005
MOST = 200
LARGEST = 256 * 1024

Confirmed = Callable[["asyncio.Future[None]"], None]


class _Parcel(msgspec.Struct):
    """Outcomes for one client that haven't been sent."""

    outcomes: list[TaskFinished] = []
    confirmed: list[Confirmed] = []
    size: int = 0


class Outbox:
    """Publishes outcomes.

    Parameters
    ----------
    publisher, topology
        Where they go.
    """

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._topology = topology
        self._parcels: dict[str, _Parcel] = {}
        self._timer: asyncio.Handle | None = None
        self._quiet_at = 0.0  # when a lone outcome need not wait any more

    def put(self, outcome: TaskFinished, confirmed: Confirmed) -> None:
        """Send an outcome soon; `confirmed` is called with the future of its message."""
        parcel = self._parcels.get(outcome.client)
        if parcel is None:
            parcel = self._parcels[outcome.client] = _Parcel()
        parcel.outcomes.append(outcome)
        parcel.confirmed.append(confirmed)
        parcel.size += len(outcome.result or b"") + len(outcome.output)
        if outcome.failure is not None:
            parcel.size += len(outcome.failure.message) + len(outcome.failure.traceback)
        if parcel.size > LARGEST or len(parcel.outcomes) >= MOST:
            self._send(outcome.client)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            wait = self._quiet_at - loop.time()
            self._timer = loop.call_later(wait, self.flush) if wait > 0 else loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send everything now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for client in list(self._parcels):
            self._send(client)
        self._quiet_at = asyncio.get_running_loop().time() + PAUSE

    def _send(self, client: str) -> None:
        parcel = self._parcels.pop(client)
        event = TasksFinished(outcomes=tuple(parcel.outcomes))
        message = Outgoing(
            self._topology.events, finished_key(client), messages.encode(event), message_id=new_name("outcomes")
        )
        done = self._publisher.publish_nowait(message)
        for confirmed in parcel.confirmed:
            done.add_done_callback(confirmed)
