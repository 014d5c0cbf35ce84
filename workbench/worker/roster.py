"""`Roster`: which task goes to which slot. No input or output: it is told what happened, and says what to do.

A task that is delivered again while it runs here (its channel was lost, so the broker gave it to somebody, and that was
us) is not started again: the running attempt adopts the new delivery, and acknowledges that one in the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from workbench.core.messages import Task

D = TypeVar("D")


class Job(msgspec.Struct, Generic[D]):
    """A task that was delivered, and the delivery to acknowledge in the end (None while its channel is lost)."""

    task: Task
    body: bytes
    delivery: D | None
    slot: int | None = None


class Roster(Generic[D]):
    """Assigns tasks to slots, first come, first served."""

    def __init__(self) -> None:
        self._idle: deque[int] = deque()
        self._waiting: deque[Job[D]] = deque()
        self._held: dict[str, Job[D]] = {}  # every job from its delivery to its outcome's confirm
        self._draining = False

    @property
    def busy(self) -> int:
        """How many jobs run in a slot."""
        return sum(1 for job in self._held.values() if job.slot is not None)

    @property
    def held(self) -> int:
        """How many jobs are waiting, running, or have ended and aren't acknowledged yet."""
        return len(self._held)

    def arrived(self, task: Task, body: bytes, delivery: D) -> Job[D] | None:
        """Take a delivery; return the job if a slot is to start it now."""
        known = self._held.get(task.task_id)
        if known is not None and known.task.attempt == task.attempt:
            known.delivery = delivery
            return None
        job = Job(task, body, delivery)
        self._held[task.task_id] = job
        self._waiting.append(job)
        return self._next()

    def freed(self, slot: int) -> Job[D] | None:
        """Take a slot that can run something; return the job it is to start now."""
        self._idle.append(slot)
        return self._next()

    def ended(self, job: Job[D]) -> None:
        """Note that a job's slot is done with it; its outcome is on the way."""
        job.slot = None

    def settled(self, job: Job[D]) -> D | None:
        """Note that the broker has confirmed a job's outcome; return the delivery to acknowledge."""
        if self._held.get(job.task.task_id) is job:
            del self._held[job.task.task_id]
        return job.delivery

    def lost(self) -> None:
        """Note that all deliveries so far will be made again: drop what waits, keep what runs."""
        for job in self._waiting:
            self._held.pop(job.task.task_id, None)
        self._waiting.clear()
        for job in self._held.values():
            job.delivery = None

    @property
    def waiting(self) -> int:
        """How many jobs wait for a slot."""
        return len(self._waiting)

    def give_back(self, may_go: Callable[[D], bool]) -> list[D]:
        """Drop the waiting jobs whose delivery `may_go`; return these deliveries, to be given back."""
        back = []
        kept: deque[Job[D]] = deque()
        for job in self._waiting:
            if job.delivery is not None and may_go(job.delivery):
                back.append(job.delivery)
                self._held.pop(job.task.task_id, None)
            else:
                kept.append(job)
        self._waiting = kept
        return back

    def drain(self) -> list[D]:
        """Start nothing more; return the deliveries to give back."""
        self._draining = True
        return self.give_back(lambda _delivery: True)

    def _next(self) -> Job[D] | None:
        if self._draining or not self._idle or not self._waiting:
            return None
        job = self._waiting.popleft()
        job.slot = self._idle.popleft()
        return job
