"""Metrics for Prometheus: the one place that knows its library. What is measured is told by others, as data.

A scrape reads on the loop that owns what is measured, so that nobody needs a lock, and waits for it for a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from workbench.core.errors import WorkbenchError
from workbench.core.live import PER_DOUBLING, SHORTEST, middle_of

LOOPBACK = "127.0.0.1"
PATIENCE = 5.0
"""Seconds a scrape waits for a busy loop."""

_DOUBLINGS = 32  # of the shortest duration: about five days


class Family(msgspec.Struct, frozen=True):
    """One metric: a value for each combination of labels. A histogram's value is a `core.live.Histogram`."""

    name: str
    help: str
    kind: str  # "gauge", "counter" or "histogram"
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], Any]]


@contextlib.contextmanager
def served(address: str, port: int, read: Callable[[], Iterable[Family]]) -> Iterator[int]:
    """Serve metrics over HTTP while the context lasts; call it on the loop on which `read` is to run.

    Parameters
    ----------
    address, port
        Where to listen; port 0 for a free one.
    read
        Tells the metrics as they are.

    Yields
    ------
    int
        The port.

    Raises
    ------
    WorkbenchError
        If prometheus-client isn't installed, or the port can't be had.
    """
    try:
        from prometheus_client import CollectorRegistry, start_wsgi_server
    except ImportError as error:
        raise WorkbenchError("metrics take prometheus-client: pip install 'workbench[metrics]'") from error
    registry = CollectorRegistry()
    registry.register(_Collector(asyncio.get_running_loop(), read))
    try:
        server, thread = start_wsgi_server(port, address, registry)
    except OSError as error:
        raise WorkbenchError(f"metrics can't be served on {address}:{port}: {error}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """Asks on the loop, and answers in the library's terms."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read: Callable[[], Iterable[Family]]) -> None:
        self._loop = loop
        self._read = read

    def describe(self) -> list[Any]:
        """Nothing in advance: the loop may be what registers this."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return the metrics; none where the loop doesn't answer."""

        async def ask() -> list[Family]:
            return list(self._read())

        try:
            families = asyncio.run_coroutine_threadsafe(ask(), self._loop).result(PATIENCE)
        except TimeoutError:
            return
        yield from map(_translated, families)


def _translated(family: Family) -> Any:
    from prometheus_client import core

    kinds = {
        "gauge": core.GaugeMetricFamily,
        "counter": core.CounterMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    metric = kinds[family.kind](family.name, family.help, labels=family.labels)
    for labels, value in family.samples:
        if family.kind == "histogram":
            metric.add_metric(labels, buckets=_cumulated(value), sum_value=_sum(value))
        else:
            metric.add_metric(labels, value)
    return metric


def _cumulated(histogram: Mapping[int, int]) -> list[tuple[str, float]]:
    """Return how many durations are no longer than each bound; bounds double, and lie on bins' edges."""
    bounds = []
    for doubling in range(_DOUBLINGS):
        last = doubling * PER_DOUBLING
        count = sum(count for number, count in histogram.items() if number <= last)
        bounds.append((f"{SHORTEST * 2**doubling:g}", float(count)))
    return [*bounds, ("+Inf", float(sum(histogram.values())))]


def _sum(histogram: Mapping[int, int]) -> float:
    return sum(middle_of(number) * count for number, count in histogram.items())
