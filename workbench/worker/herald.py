"""`Herald`: what a worker tells of itself and of what runs in it, from time to time.

All of it is published without waiting: what is lost with a connection is told again, or is no news any more.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable

import msgspec

from workbench.broker import ConnectionState, Outgoing, Publisher, Topology
from workbench.broker.topology import TASK_PROGRESS, TASKS_STARTED
from workbench.core import messages
from workbench.core.ids import new_name
from workbench.core.messages import (
    Message,
    OperationSpec,
    TaskProgress,
    TasksStarted,
    TaskStarted,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
)
from workbench.worker.clock import Clock

HEARTBEAT = 5.0
STARTS = 0.05
"""Seconds a start waits to be told: a task that has ended by then needs no event of its own."""
PROGRESS = 0.5
"""Seconds between two tellings of how far a task is."""
LATE = 10.0
"""Seconds without a heartbeat after which this worker may have been taken for lost."""


class Herald:
    """Tells.

    Parameters
    ----------
    publisher, topology
        Where it goes.
    worker, slots, lane
        Of whom it tells.
    clock
        Tells the time.
    """

    def __init__(
        self, publisher: Publisher, topology: Topology, *, worker: str, slots: int, lane: str | None, clock: Clock
    ) -> None:
        self._publisher = publisher
        self._topology = topology
        self._worker = worker
        self._slots = slots
        self._lane = lane
        self._clock = clock
        self._starts: dict[str, TaskStarted] = {}  # not told yet
        self._progress: dict[str, TaskProgress] = {}  # not told yet
        self._beaten_at = time.monotonic()
        self._announced = False
        self.last_beat: WorkerHeartbeat | None = None

    def online(self, families: tuple[str, ...], operations: tuple[OperationSpec, ...]) -> None:
        """Tell that the worker takes tasks."""
        self._announced = True
        self._tell(
            "worker.online",
            WorkerOnline(
                worker=self._worker,
                host=socket.gethostname(),
                pid=os.getpid(),
                families=families,
                lane=self._lane,
                slots=self._slots,
                operations=operations,
                at=self._clock.stamp(),
            ),
        )

    def offline(self) -> None:
        """Tell that the worker stops, if it was ever told that it is there."""
        if self._announced:
            self._tell("worker.offline", WorkerOffline(worker=self._worker, at=self._clock.stamp()))

    def beat(
        self, running: Iterable[TaskStarted], *, memory: int, cpu: float, done: int, draining: bool = False
    ) -> None:
        """Tell that the worker lives, and what it runs."""
        if self._publisher.connection.state is not ConnectionState.OPEN:
            return  # old heartbeats are no news, and would pile up
        running = tuple(running)
        now = self._clock.stamp()
        if time.monotonic() - self._beaten_at > LATE:  # stopped, or cut off: its tasks may have been told to be lost
            for start in running:
                self.started(msgspec.structs.replace(start, adopted_at=now))
        self._beaten_at = time.monotonic()
        self.last_beat = WorkerHeartbeat(
            worker=self._worker,
            busy=len(running),
            memory=memory,
            cpu=cpu,
            draining=draining,
            done=done,
            slots=self._slots,
            load=os.getloadavg()[0],
            running=tuple(start.task_id for start in running),
            clock_skew=self._clock.skew,
            at=now,
        )
        self._tell("worker.heartbeat", self.last_beat)

    def started(self, start: TaskStarted) -> None:
        """Tell of a start in a moment, if the task hasn't ended by then."""
        self._starts[start.task_id] = start

    def progressed(self, progress: TaskProgress) -> None:
        """Tell how far a task is in a moment; of several the last."""
        self._progress[progress.task_id] = progress

    def ended(self, task_id: str) -> None:
        """Forget what was to be told of a task: its outcome tells all."""
        self._starts.pop(task_id, None)
        self._progress.pop(task_id, None)

    def tell_starts(self) -> None:
        """Tell the starts that have waited."""
        if self._starts:
            starts, self._starts = tuple(self._starts.values()), {}
            self._tell(TASKS_STARTED, TasksStarted(starts=starts))

    def tell_progress(self) -> None:
        """Tell how far tasks are, where they said so."""
        if self._publisher.connection.state is ConnectionState.OPEN:
            news, self._progress = self._progress, {}
            for progress in news.values():
                self._tell(TASK_PROGRESS, progress)

    def _tell(self, key: str, message: Message) -> None:
        body = messages.encode(message)
        self._publisher.publish_nowait(Outgoing(self._topology.events, key, body, message_id=new_name(key)))
