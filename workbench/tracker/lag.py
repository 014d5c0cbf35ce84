"""`Lag`: how far the record is behind what is told. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from workbench.core.messages import Event, Task, TaskFinished, TasksFinished, TasksStarted, TaskStarted

RECENTLY = 3.0
"""Seconds for which a batch tells how far behind the record is; after that, and where nothing waits, it isn't."""

_LAST = 20  # messages of a batch, the newest among them


class Lag:
    """The seconds from a message's telling to its record, as the last batch had it."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._recorded_at: datetime | None = None

    def note(self, told: datetime | None, now: datetime) -> None:
        """Learn that a batch was recorded, and when its newest message was told; None where none could be read."""
        if told is not None:
            self._seconds = max(0.0, (now - told).total_seconds())
            self._recorded_at = now

    def seconds(self, now: datetime, *, stalled: float) -> float:
        """Return how far behind the record is; `stalled` are seconds in which something waited in vain."""
        if self._recorded_at is None or (now - self._recorded_at).total_seconds() - stalled > RECENTLY:
            return stalled
        return self._seconds + stalled


def newest(messages: Sequence[Task | Event]) -> datetime | None:
    """Return when the newest of a batch was told, by the clock of who told it: not when that was which it tells of."""
    return max((at for message in messages[-_LAST:] for at in _told_at(message)), default=None)


def _told_at(message: Task | Event) -> Iterable[datetime]:
    match message:
        case Task():
            return (message.queued_at,)
        case TaskStarted():
            return (message.since,)
        case TaskFinished():
            return (message.finished_at,)
        case TasksStarted(starts=starts):
            return (start.since for start in starts)
        case TasksFinished(outcomes=outcomes):
            return (outcome.finished_at for outcome in outcomes)
        case _:
            return (message.at,)
