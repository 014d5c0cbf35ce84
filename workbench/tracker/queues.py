"""`QueueLooks`: what is on the broker's queues, who takes from them, and how fast they get longer or shorter.

One look serves whoever asks within a second of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import msgspec

from workbench.broker import Topology
from workbench.broker.inspect import QueueDepth
from workbench.broker.topology import DELAY_LEVELS, DELAY_UNIT
from workbench.core import routing
from workbench.core.errors import BrokerUnavailable, WorkbenchError
from workbench.core.live import QueueFacts
from workbench.core.messages import utcnow
from workbench.core.rpc import Queues, WorkerRecord
from workbench.tracker.aggregates import Aggregates

FRESH = 1.0
"""Seconds that a look is good for."""

WINDOW = 60
"""Seconds over which paces are told."""

BROKER_ANSWERS = 5.0

Place = tuple[str, str]
"""Family and lane; an empty lane is none."""


class QueueLooks:
    """Looks at queues.

    Parameters
    ----------
    aggregates
        Tell which families and lanes there are, what runs, and how fast.
    topology
        Names the queues.
    depth
        Asks the broker for what is on a queue; None where that isn't there.
    """

    def __init__(
        self, aggregates: Aggregates, topology: Topology, depth: Callable[[str], Awaitable[QueueDepth | None]]
    ) -> None:
        self._aggregates = aggregates
        self._topology = topology
        self._depth = depth
        self._looking = asyncio.Lock()
        self._seen: Queues | None = None
        self._seen_at = 0.0

    async def look(self) -> Queues:
        """Return the queues' facts, at most a second old.

        Raises
        ------
        WorkbenchError
            Where the broker can't be asked.
        """
        clock = asyncio.get_running_loop().time
        async with self._looking:
            if self._seen is None or clock() - self._seen_at >= FRESH:
                try:
                    async with asyncio.timeout(BROKER_ANSWERS):
                        self._seen = Queues(queues=tuple(await self._facts(utcnow())), at=utcnow())
                except (BrokerUnavailable, TimeoutError) as error:
                    raise WorkbenchError(f"the broker doesn't tell of its queues: {error or 'no answer'}") from error
                self._seen_at = clock()
            return self._seen

    async def _facts(self, now: datetime) -> list[QueueFacts]:
        paces = self._aggregates.tallies.paces(now, WINDOW)
        workers = [worker for worker in self._aggregates.workers(now) if worker.online]
        running = Counter(each.place for each in self._aggregates.executions.running())
        operations = {operation for operation, _ in self._aggregates.counts()}
        facts = []
        for place in places(operations, workers, [*paces, *running]):
            depth = await self._depth(self._topology.task_queue(place[0], place[1] or None))
            facts.append(
                task_queue(
                    self._topology.task_queue(place[0], place[1] or None),
                    place,
                    depth,
                    pace=paces.get(place, (0.0, 0.0)),
                    in_flight=running[place],
                    takers=_takers(workers, place),
                )
            )
        for kind, queue in (("dead", self._topology.dead_queue), ("tracker", self._topology.tracker_queue)):
            depth = await self._depth(queue)
            facts.append(_counted(QueueFacts(queue=queue, kind=kind), depth))
        return facts + await self._delays()

    async def _delays(self) -> list[QueueFacts]:
        facts = []
        for level in range(DELAY_LEVELS):
            queue = self._topology.delay(level)
            depth = await self._depth(queue)
            if depth is None:  # no worker has been here yet: they declare all of them, or none
                break
            facts.append(_counted(QueueFacts(queue=queue, kind="delay", delay=DELAY_UNIT * 2**level), depth))
        return facts


def places(operations: Iterable[str], workers: Iterable[WorkerRecord], others: Iterable[Place]) -> list[Place]:
    """Return the families and lanes that there are queues of, as far as is known, in order."""
    found = {(family, "") for family in routing.FAMILIES}
    found |= {(routing.family_of(operation), "") for operation in operations if operation}
    found |= {(family, worker.lane or "") for worker in workers for family in worker.families}
    return sorted(place for place in found | set(others) if place[0])


def task_queue(
    queue: str,
    place: Place,
    depth: QueueDepth | None,
    *,
    pace: tuple[float, float],
    in_flight: int,
    takers: list[WorkerRecord],
) -> QueueFacts:
    """Return the facts of one task queue.

    Parameters
    ----------
    pace
        Tasks that come in, and that are started, each a second.
    in_flight
        Tasks that run.
    takers
        The workers that take from it.
    """
    arriving, leaving = pace
    drained_in = None
    if depth is not None and depth.ready == 0:
        drained_in = 0.0
    elif depth is not None and leaving > arriving:
        drained_in = depth.ready / (leaving - arriving)
    facts = QueueFacts(
        queue=queue,
        kind="tasks",
        family=place[0],
        lane=place[1],
        in_flight=in_flight,
        workers=len(takers),
        slots=sum(worker.slots for worker in takers),
        arriving=arriving,
        leaving=leaving,
        drained_in=drained_in,
    )
    return _counted(facts, depth)


def _counted(facts: QueueFacts, depth: QueueDepth | None) -> QueueFacts:
    if depth is None:
        return facts
    return msgspec.structs.replace(facts, ready=depth.ready, consumers=depth.consumers)


def _takers(workers: Iterable[WorkerRecord], place: Place) -> list[WorkerRecord]:
    family, lane = place
    return [worker for worker in workers if family in worker.families and (worker.lane or "") == lane]
