"""What happened second by second, made into lines with few points, whatever time is looked at. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench.core.live import Bucket, Histogram, merged, quantile

SHARES = (0.5, 0.95, 0.99)
Quantiles = tuple[float, float, float]
"""Seconds within which half, 95 and 99 of 100 are."""


@dataclass(frozen=True, slots=True)
class Second:
    """What happened to the tasks of a family within one second."""

    at: int  # seconds since 1970, its beginning
    submitted: int = 0
    ended: int = 0
    failed: int = 0
    waiting: Histogram = field(default_factory=dict)
    running: Histogram = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a chart: times (seconds since 1970), rates per second, and p95 in seconds; NaN where nothing was."""

    at: list[float]
    submitted: list[float]
    ended: list[float]
    waiting: list[float]
    running: list[float]
    number: int = 0  # of the tasks that ended, in all of the time


@dataclass(frozen=True, slots=True)
class Summary:
    """A time in a few numbers."""

    submitted: int = 0
    ended: int = 0
    failed: int = 0
    waiting: Quantiles | None = None
    running: Quantiles | None = None


def second_of(at: int, buckets: Iterable[Bucket]) -> Second:
    """Return what happened in one second, from the buckets of all lanes."""
    known = list(buckets)
    return Second(
        at=at,
        submitted=sum(bucket.submitted for bucket in known),
        ended=sum(bucket.finished for bucket in known),
        failed=sum(bucket.failed for bucket in known),
        waiting=merged(bucket.waiting for bucket in known),
        running=merged(bucket.running for bucket in known),
    )


def lines(known: Iterable[Second], start: float, end: float, points: int) -> Lines:
    """Return the lines between two times (seconds since 1970), of at most so many points.

    Each point is a stretch of equal length: the mean of its rates, and the quantiles of all it holds. A stretch that
    began earlier is left out, as only a part of it is known, and so is the last one, as it isn't over.
    """
    step = max(1, math.ceil((end - start) / points))
    first = math.ceil(start / step) * step
    number = max(0, math.floor((end - first) / step))
    submitted, ended = [0.0] * number, [0.0] * number
    waiting: list[list[Histogram]] = [[] for _ in range(number)]
    running: list[list[Histogram]] = [[] for _ in range(number)]
    in_all = 0
    for second in known:
        in_all += second.ended if start <= second.at < end else 0
        place = (second.at - first) // step
        if 0 <= place < number:
            submitted[place] += second.submitted / step
            ended[place] += second.ended / step
            waiting[place].append(second.waiting)
            running[place].append(second.running)
    return Lines(
        at=[first + step * (place + 0.5) for place in range(number)],
        submitted=submitted,
        ended=ended,
        waiting=[_p95(each) for each in waiting],
        running=[_p95(each) for each in running],
        number=in_all,
    )


def summary(known: Iterable[Second]) -> Summary:
    """Return what happened in some seconds, in all."""
    within = list(known)
    return Summary(
        submitted=sum(second.submitted for second in within),
        ended=sum(second.ended for second in within),
        failed=sum(second.failed for second in within),
        waiting=quantiles(merged(second.waiting for second in within)),
        running=quantiles(merged(second.running for second in within)),
    )


def quantiles(histogram: Mapping[int, int]) -> Quantiles | None:
    """Return half, 95 and 99 of 100; None of nothing."""
    found = [quantile(histogram, share) for share in SHARES]
    return None if found[0] is None else (found[0], found[1] or 0.0, found[2] or 0.0)


def _p95(histograms: Iterable[Histogram]) -> float:
    found = quantile(merged(histograms), 0.95)
    return math.nan if found is None else found
