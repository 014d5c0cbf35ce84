"""`Tallies`: what happened on each queue in each second of the last hour, counted from how records change. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from workbench.core.live import Bucket, Histogram, bin_of
from workbench.core.routing import family_of
from workbench.core.states import TERMINAL, State, TaskRecord

KEPT = 3600
"""Seconds."""

_SPRING = 60  # seconds between two cleanings

Key = tuple[int, str, str]
"""Second, family and lane."""

Place = tuple[str, str]
"""Family and lane."""


_COUNTS = ("submitted", "arrived", "started", "succeeded", "failed", "cancelled", "expired", "retried")


class _Tally:
    """One bucket while it is counted; named as `Bucket` is."""

    __slots__ = (
        "arrived",
        "cancelled",
        "expired",
        "failed",
        "retried",
        "running",
        "started",
        "submitted",
        "succeeded",
        "version",
        "waiting",
    )

    def __init__(self) -> None:
        self.submitted = self.arrived = self.started = self.retried = 0
        self.succeeded = self.failed = self.cancelled = self.expired = 0
        self.waiting: Histogram = {}
        self.running: Histogram = {}
        self.version = 0

    def merge(self, other: _Tally, sign: int = 1) -> None:
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        for mine, theirs in ((self.waiting, other.waiting), (self.running, other.running)):
            for number, count in theirs.items():
                mine[number] = mine.get(number, 0) + sign * count

    def bucket(self, key: Key) -> Bucket:
        return Bucket(
            second=key[0],
            family=key[1],
            lane=key[2],
            submitted=self.submitted,
            arrived=self.arrived,
            started=self.started,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled,
            expired=self.expired,
            retried=self.retried,
            waiting=dict(self.waiting),
            running=dict(self.running),
        )


class Tallies:
    """The buckets of the last hour. Each is of the second in which something happened, by the tracker's clock."""

    def __init__(self) -> None:
        self._tallies: dict[Key, _Tally] = {}  # those touched last at the end
        self._cleaned = 0
        self._version = 0
        self._touched: dict[tuple[int, str, str | None], _Tally] = {}  # of this version, by operation
        self._gone: dict[Place, _Tally] = {}  # what isn't kept by the second any more
        self._before: dict[Place, _Tally] = {}  # what is no part of the totals

    def add(self, before: TaskRecord | None, after: TaskRecord, current: int, version: int) -> None:
        """Count what happened to a task between two records of it; what is older than an hour is left out.

        Parameters
        ----------
        before, after
            Its records.
        current
            The second it is, since 1970.
        version
            What changes now bears this number.
        """
        submitted_at, queued_at, started_at = after.submitted_at, after.queued_at, after.started_at
        new = submitted_at is not None and (before is None or before.submitted_at is None)
        if before is not None and after.replay > before.replay:
            before = None
        tally = None
        if submitted_at is not None and new:
            tally = self._at(after, submitted_at, current, version)
            tally.submitted += 1
        if queued_at is not None and (before is None or after.queued_attempt > before.queued_attempt):
            if tally is None or queued_at != submitted_at:  # nearly all are submitted and arrive at the same moment
                tally = self._at(after, queued_at, current, version)
            tally.arrived += 1
        if started_at is not None and (before is None or started_at != before.started_at):
            tally = self._at(after, started_at, current, version)
            tally.started += 1
            if queued_at is not None and after.queued_attempt == after.attempt:
                _count(tally.waiting, (started_at - queued_at).total_seconds())
        state = after.state
        if state is State.RETRYING:
            if after.failed_at is not None and (
                before is None or before.state is not State.RETRYING or before.attempt != after.attempt
            ):
                tally = self._at(after, after.failed_at, current, version)
                tally.retried += 1
                if started_at is not None:
                    _count(tally.running, (after.failed_at - started_at).total_seconds())
        elif after.finished_at is not None and (before is None or before.state not in TERMINAL):
            tally = self._at(after, after.finished_at, current, version)
            if state is State.SUCCEEDED:
                tally.succeeded += 1
            else:
                setattr(tally, state.value, getattr(tally, state.value) + 1)
            if started_at is not None:
                _count(tally.running, (after.finished_at - started_at).total_seconds())

    def since(self, version: int, oldest: int) -> Iterator[Bucket]:
        """Return the buckets that have changed since a version, none from before a second, in the order of time."""
        found = []
        for key, tally in reversed(self._tallies.items()):
            if tally.version <= version:
                break
            if key[0] >= oldest:
                found.append(tally.bucket(key))
        return iter(sorted(found, key=lambda bucket: bucket.second))

    def begin(self) -> None:
        """Let the totals begin here: what was counted so far is recalled, and an earlier tracker has told of it."""
        self._before = self._sums()

    def totals(self) -> dict[Place, Bucket]:
        """Return what happened on each queue since the beginning, as one bucket."""
        sums = self._sums()
        for place, before in self._before.items():
            sums[place].merge(before, -1)
        return {place: tally.bucket((0, *place)) for place, tally in sums.items()}

    def _sums(self) -> dict[Place, _Tally]:
        sums: dict[Place, _Tally] = {}
        for place, tally in self._gone.items():
            sums.setdefault(place, _Tally()).merge(tally)
        for (_, family, lane), tally in self._tallies.items():
            sums.setdefault((family, lane), _Tally()).merge(tally)
        return sums

    def paces(self, now: datetime, seconds: int) -> dict[tuple[str, str], tuple[float, float]]:
        """Return tasks that arrived and attempts that started, each a second, by family and lane, of late."""
        last = int(now.timestamp()) - 1  # the second that goes on isn't full
        sums: dict[tuple[str, str], tuple[float, float]] = {}
        for (second, family, lane), tally in self._tallies.items():
            if last - seconds < second <= last:
                arrived, started = sums.get((family, lane), (0.0, 0.0))
                sums[family, lane] = arrived + tally.arrived / seconds, started + tally.started / seconds
        return sums

    def _at(self, record: TaskRecord, at: datetime, current: int, version: int) -> _Tally:
        """Return the tally of a moment."""
        second = int(at.timestamp())
        if second > current:  # a worker's clock may be ahead, by a little
            second = current
        if version != self._version:
            self._touched.clear()
            self._version = version
        where = (second, record.operation, record.lane)
        tally = self._touched.get(where)
        if tally is None:
            tally = self._touched[where] = self._touch(second, record, current, version)
        return tally

    def _touch(self, second: int, record: TaskRecord, current: int, version: int) -> _Tally:
        """Return the tally of a second, which bears this version from now on."""
        if second <= current - KEPT:
            return _Tally()  # counted nowhere
        key = (second, family_of(record.operation) if record.operation else "", record.lane or "")
        tally = self._tallies.get(key)
        if tally is None or tally.version != version:
            tally = self._tallies.pop(key, None) or _Tally()
            tally.version = version
            self._tallies[key] = tally
            if current - self._cleaned >= _SPRING:
                self._clean(current)
        return tally

    def _clean(self, current: int) -> None:
        self._cleaned = current
        for key in [key for key in self._tallies if key[0] <= current - KEPT]:
            self._gone.setdefault(key[1:], _Tally()).merge(self._tallies.pop(key))


def _count(histogram: Histogram, seconds: float) -> None:
    number = bin_of(seconds)
    histogram[number] = histogram.get(number, 0) + 1
