"""`Aggregates`: what a live view needs, kept up with the records, so that no view ever counts tasks. No I/O in here.

It is fed with how records have changed, not with messages: a fact that comes twice changes no record, and so is counted
once. Counters are exact from the first feeding on; buckets and executions go back as far as they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from workbench.core.live import FORGET, Bucket, Counter, Execution, Mark
from workbench.core.rpc import WorkerRecord
from workbench.core.states import State, TaskRecord
from workbench.tracker.executions import Executions
from workbench.tracker.groups import Groups
from workbench.tracker.questions import SILENCE
from workbench.tracker.tallies import Tallies

Transition = tuple[TaskRecord | None, TaskRecord]
"""A record before and after a fact that told something new."""


class News(NamedTuple):
    """What has changed since a mark."""

    mark: Mark
    anew: bool
    counters: tuple[Counter, ...]
    buckets: tuple[Bucket, ...]
    executions: tuple[Execution, ...]
    left: int
    skipped: int
    workers: tuple[WorkerRecord, ...]


class _Known:
    """A worker, when it was heard of last by the tracker's clock, and since which version it is as it is."""

    __slots__ = ("record", "seen_at", "version")

    def __init__(self, record: WorkerRecord, seen_at: datetime, version: int) -> None:
        self.record = record
        self.seen_at = seen_at
        self.version = version


class Aggregates:
    """Counters, one-second buckets, recent executions, groups of failures and workers.

    Parameters
    ----------
    life
        Tells these aggregates from those of another tracker, or of this one before a restart.
    """

    def __init__(self, life: str) -> None:
        self.life = life
        self.tallies = Tallies()
        self.executions = Executions()
        self.groups = Groups()
        self._version = 0
        self._counts: dict[tuple[str, State], int] = {}
        self._changed: dict[tuple[str, State], int] = {}  # the version of each count
        self._workers: dict[str, _Known] = {}

    # --- fed --------------------------------------------------------------------------------------

    def recount(self, counts: Mapping[tuple[str, State], int]) -> None:
        """Take these for the numbers of tasks by operation and state, as the database counts them."""
        self._version += 1
        for key in self._counts.keys() | counts.keys():
            if self._counts.get(key, 0) != counts.get(key, 0):
                self._counts[key] = counts.get(key, 0)
                self._changed[key] = self._version

    def recall(self, records: Iterable[TaskRecord], now: datetime) -> None:
        """Learn what has happened of late from records that are counted already; the oldest first."""
        self._version += 1
        current = int(now.timestamp())
        for record in records:
            self.tallies.add(None, record, current, self._version)
            self.executions.add(None, record, now)
        self.tallies.begin()

    def learn(self, transitions: Sequence[Transition], now: datetime) -> None:
        """Learn how records have changed with a batch, in order."""
        if not transitions:
            return
        self._version += 1
        tally, follow = self.tallies.add, self.executions.add
        version, current = self._version, int(now.timestamp())
        moves: dict[tuple[str, State | None, str, State], int] = {}
        move: tuple[str, State | None, str, State]
        for before, after in transitions:
            tally(before, after, current, version)
            follow(before, after, now)
            if before is None:
                move = ("", None, after.operation, after.state)
            elif before.state is after.state and before.operation == after.operation:
                continue
            else:
                move = (before.operation, before.state, after.operation, after.state)
            moves[move] = moves.get(move, 0) + 1
        for (operation, state, new_operation, new_state), count in moves.items():
            if state is not None:
                self._add((operation, state), -count)
            self._add((new_operation, new_state), count)

    def meet(self, workers: Iterable[WorkerRecord], seen_at: datetime) -> None:
        """Learn what workers have told of themselves."""
        self._version += 1
        for record in workers:
            self._workers[record.worker] = _Known(record, seen_at, self._version)

    # --- asked ------------------------------------------------------------------------------------

    def states(self) -> dict[State, int]:
        """Return how many tasks are in each state, states with none included."""
        states = dict.fromkeys(State, 0)
        for (_, state), count in self._counts.items():
            states[state] += count
        return states

    def counts(self) -> dict[tuple[str, State], int]:
        """Return how many tasks there are by operation and state, where there are any."""
        return {key: count for key, count in self._counts.items() if count}

    def workers(self, now: datetime) -> list[WorkerRecord]:
        """Return the workers of the last day, by name; one that fell silent counts as offline, and as lost."""
        self._miss(now)
        return [self._workers[name].record for name in sorted(self._workers)]

    def since(self, mark: Mark, now: datetime, *, seconds: int, most: int) -> News:
        """Return what has changed since a mark; everything where the mark is of another life.

        Parameters
        ----------
        seconds
            How far back buckets go where everything is told.
        most
            Executions at most: the first since the mark, or the newest where everything is told.
        """
        self._miss(now)
        anew = mark.life != self.life
        version = -1 if anew else mark.version
        oldest = int((now - timedelta(seconds=seconds)).timestamp()) if anew else 0
        told = self.executions.since(None if anew else mark.index, most)
        return News(
            mark=Mark(self.life, self._version, told.last),
            anew=anew,
            counters=tuple(
                Counter(operation, state, self._counts[operation, state])
                for (operation, state), changed in self._changed.items()
                if changed > version and (self._counts[operation, state] or not anew)
            ),
            buckets=tuple(self.tallies.since(version, oldest)),
            executions=tuple(told.executions),
            left=self.executions.index - told.last,
            skipped=told.skipped,
            workers=tuple(known.record for known in self._workers.values() if known.version > version),
        )

    def _add(self, key: tuple[str, State], count: int) -> None:
        self._counts[key] = self._counts.get(key, 0) + count
        self._changed[key] = self._version

    def _miss(self, now: datetime) -> None:
        """Take silent workers for lost, and forget those of yesterday."""
        alive, forgotten = now - timedelta(seconds=SILENCE), now - timedelta(seconds=FORGET)
        for name, known in list(self._workers.items()):
            if known.seen_at < forgotten:
                del self._workers[name]
            elif known.seen_at < alive and known.record.online:
                self._version += 1
                known.record = msgspec.structs.replace(known.record, online=False, lost=True)
                known.version = self._version
