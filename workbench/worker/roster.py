"""`Roster`: which task goes to which slot. No input or output: it is told what happened, and says what to do.

A task that is delivered again while it runs here (its channel was lost, so the broker gave it to somebody, and that was
us; or it was published twice, as its first confirm was lost) is not started again: the running attempt adopts the new
delivery, and acknowledges it in the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from workbench.core.messages import Task

D = TypeVar("D")


class Job(msgspec.Struct, Generic[D], eq=False):
    """A task that was delivered, and the deliveries to acknowledge in the end (none while their channel is lost)."""

    task: Task
    body: bytes
    deliveries: list[D]
    slot: int | None = None
    began: datetime | None = None
    began_at: float = 0.0  # the same by the monotonic clock: the other may be set while it runs

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from others: a task's next attempt may come while this one is on its way out."""
        return self.task.task_id, self.task.attempt


class Roster(Generic[D]):
    """Assigns tasks to slots, first come, first served."""

    def __init__(self) -> None:
        self._idle: deque[int] = deque()
        self._waiting: deque[Job[D]] = deque()
        self._held: dict[tuple[str, int], Job[D]] = {}  # every job from its delivery to its outcome's confirm
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
        job = Job(task, body, [delivery])
        known = self._held.setdefault(job.key, job)
        if known is not job:
            known.deliveries.append(delivery)
            return None
        self._waiting.append(job)
        return self._next()

    def freed(self, slot: int) -> Job[D] | None:
        """Take a slot that can run something; return the job it is to start now."""
        self._idle.append(slot)
        return self._next()

    def gone(self, slot: int) -> None:
        """Note that a slot can run nothing until it is freed again."""
        if slot in self._idle:
            self._idle.remove(slot)

    def ended(self, job: Job[D]) -> None:
        """Note that a job's slot is done with it; its outcome is on the way."""
        job.slot = None

    def settled(self, job: Job[D]) -> list[D]:
        """Note that the broker has confirmed a job's outcome; return the deliveries to acknowledge."""
        if self._held.get(job.key) is job:
            del self._held[job.key]
        return job.deliveries

    def running(self) -> list[Job[D]]:
        """Return the jobs that run in a slot."""
        return [job for job in self._held.values() if job.slot is not None]

    def find(self, task_id: str, replay: int) -> Job[D] | None:
        """Return the job of a task that is held here, whichever its attempt."""
        found = (job for job in self._held.values() if job.task.task_id == task_id and job.task.replay == replay)
        return next(found, None)

    def holds(self, key: tuple[str, int]) -> Job[D] | None:
        """Return the job of an attempt that is held here."""
        return self._held.get(key)

    def withdraw(self, job: Job[D]) -> bool:
        """Take a waiting job off the list, as it is not to be started; return whether it was waiting."""
        if job not in self._waiting:
            return False
        self._waiting.remove(job)
        return True

    def lost(self) -> None:
        """Note that all deliveries so far will be made again: drop what waits, keep what runs."""
        for job in self._waiting:
            self._held.pop(job.key, None)
        self._waiting.clear()
        for job in self._held.values():
            job.deliveries = []

    @property
    def idle(self) -> int:
        """How many slots could run something."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a slot."""
        return len(self._waiting)

    def give_back(self, may_go: Callable[[D], bool]) -> list[D]:
        """Drop the waiting jobs whose deliveries `may_go`; return these deliveries, to be given back."""
        back: list[D] = []
        kept: deque[Job[D]] = deque()
        for job in self._waiting:
            if all(map(may_go, job.deliveries)):
                back += job.deliveries
                self._held.pop(job.key, None)
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
