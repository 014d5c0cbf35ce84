"""What a live view of a workbench is made of: frozen data that the tracker keeps and a screen draws.

Durations are counted in histograms whose bins grow by a constant factor: two are merged by adding what is in their
bins, and a quantile is known to within one bin, 19 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from workbench.core.states import State, TaskRecord

SHORTEST = 1e-4
"""Seconds below which durations all fall into the first bin."""

PER_DOUBLING = 4
"""Bins in which durations from one length to twice that fall."""

_LAST = 160  # some five years

FORGET = 24 * 3600.0
"""Seconds after which a worker that is offline is no longer told of."""

Histogram = dict[int, int]
"""How many durations fell into which bin; those with none are left out."""


def bin_of(seconds: float) -> int:
    """Return the bin that a duration falls into."""
    if seconds <= SHORTEST:
        return 0
    return min(_LAST, 1 + int(math.log2(seconds / SHORTEST) * PER_DOUBLING))


def middle_of(number: int) -> float:
    """Return the seconds in the middle of a bin, by the geometric mean of its edges."""
    return SHORTEST * 2.0 ** ((number - 0.5) / PER_DOUBLING) if number else SHORTEST


def merged(histograms: Iterable[Mapping[int, int]]) -> Histogram:
    """Return all durations in one histogram."""
    total: Histogram = {}
    for each in histograms:
        for number, count in each.items():
            total[number] = total.get(number, 0) + count
    return total


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """Return the seconds that a share of the durations (0.5 for the median) stays below; None where there are none.

    Examples
    --------
    >>> round(quantile({bin_of(1.0): 99, bin_of(60.0): 1}, 0.5), 1)
    0.9
    """
    left = share * sum(histogram.values())
    for number in sorted(histogram):
        left -= histogram[number]
        if left <= 0:
            return middle_of(number)
    return None


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """How far a view has come: what it asks for next is what has changed since."""

    life: str = ""  # of the tracker's aggregates; another one's marks mean nothing to them
    version: int = 0  # of counters, buckets and workers
    index: int = 0  # of executions


class Counter(msgspec.Struct, frozen=True, array_like=True):
    """How many tasks of one operation are in one state: exact."""

    operation: str
    state: State
    count: int

    @property
    def family(self) -> str:
        """What the operation belongs to."""
        return self.operation.partition(".")[0]


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """What happened on one queue, by family and lane, in one second of the tracker's clock.

    A bucket that is told again replaces the one of the same `second`, `family` and `lane`.
    """

    second: int  # since 1970, in UTC
    family: str
    lane: str  # empty for none
    submitted: int = 0  # new tasks
    arrived: int = 0  # put on the queue: new ones, retries, and those sent again
    started: int = 0  # attempts
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    retried: int = 0  # attempts that failed, and are to be tried again
    waiting: Histogram = {}  # of those that started in this second: how long they were on the queue
    running: Histogram = {}  # of the attempts that ended in it: how long they ran

    @property
    def finished(self) -> int:
        """How many tasks ended."""
        return self.succeeded + self.failed + self.cancelled + self.expired


class Execution(msgspec.Struct, frozen=True, array_like=True):
    """One attempt in one slot. Told when it starts and when it ends: the later replaces the earlier, by `key`."""

    index: int  # goes up by one with each that is told
    task_id: str
    operation: str
    attempt: int
    replay: int
    worker: str
    slot: int | None
    started_at: datetime
    finished_at: datetime | None = None  # None while it runs
    status: str = "running"  # then: succeeded, failed, retry, cancelled, expired, or lost with its worker
    failure: str = ""  # the exception's name
    lane: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """The family and the lane, which make its queue."""
        return (self.operation.partition(".")[0], self.lane)

    @property
    def key(self) -> tuple[str, int, int, str, datetime]:
        """What it stays the same by from its start to its end."""
        return (self.task_id, self.replay, self.attempt, self.worker, self.started_at)


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the tracker and its broker do."""

    tracker: str
    started_at: datetime
    now: datetime  # by the tracker's clock, which all times go by
    last_event_at: datetime | None  # when a message was recorded last, be it a worker's heartbeat
    pending: int  # messages that have come in and aren't recorded yet
    lag: float  # seconds from a message's telling to its record: of what was recorded just now, or waits for it
    blocked: str  # why the broker takes nothing in (an alarm); empty where it does


class QueueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One queue: what is on it, who takes from it, and how fast."""

    queue: str  # the broker's name for it
    kind: str  # "tasks", "delay", "dead" or "tracker"
    family: str = ""
    lane: str = ""
    ready: int | None = None  # messages that wait; None where the queue isn't there
    consumers: int = 0  # as the broker counts them: a worker whose tasks are short has two
    workers: int = 0  # that are there and take from it
    in_flight: int = 0  # tasks that run
    slots: int = 0  # of those workers
    arriving: float = 0.0  # tasks a second, over the last minute
    leaving: float = 0.0  # attempts started a second, over the last minute
    drained_in: float | None = None  # seconds until it is empty at this pace; None where it isn't getting shorter
    delay: float | None = None  # seconds that a message stays, on a delay queue


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failed tasks that have operation, exception and place in common: exact, and without those that were dismissed."""

    group: str  # its id
    operation: str
    type: str  # the exception's name
    frame: str  # where it was raised: "pandas/io/parsers.py:88 in read"; empty where there is no traceback
    count: int
    first_at: datetime
    last_at: datetime
    latest: str  # the id of the newest task
    message: str  # of that task


class Event(msgspec.Struct, frozen=True, array_like=True):
    """A line of a task's story."""

    at: datetime
    what: str


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What one task was given and gave, in bounded text, and its story."""

    record: TaskRecord  # with its output (log), failure with traceback, progress, notes
    arguments: tuple[tuple[str, str], ...]  # by name, positional ones by number; values as text
    result: str  # as text, or empty
    events: tuple[Event, ...]  # in the order of time
    retryable: bool  # whether it has ended otherwise than well, and its message is kept
