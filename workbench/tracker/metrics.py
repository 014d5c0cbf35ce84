"""What a tracker tells Prometheus: the aggregates, and its own health. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from workbench.core.live import Health
from workbench.metrics import Family
from workbench.tracker.aggregates import Aggregates

_ENDS = ("succeeded", "failed", "cancelled", "expired")


def families(aggregates: Aggregates, health: Health, now: datetime) -> Iterator[Family]:
    """Return the metrics as they are now."""
    counts = sorted(aggregates.counts().items())
    yield Family(
        "workbench_tasks",
        "Tasks on record.",
        "gauge",
        ("operation", "state"),
        [((operation, state.value), count) for (operation, state), count in counts],
    )
    totals = sorted(aggregates.tallies.totals().items())
    for name, text in (
        ("submitted", "New tasks"),
        ("arrived", "Tasks put on a queue: new ones, retries, and those sent again"),
        ("started", "Attempts that have started"),
        ("retried", "Attempts that have failed, and are tried again"),
    ):
        samples = [(place, getattr(bucket, name)) for place, bucket in totals]
        yield Family(f"workbench_tasks_{name}", f"{text}, since this tracker started.", "counter", _PLACE, samples)
    yield Family(
        "workbench_tasks_finished",
        "Tasks that have ended, since this tracker started.",
        "counter",
        (*_PLACE, "state"),
        [((*place, state), getattr(bucket, state)) for place, bucket in totals for state in _ENDS],
    )
    for name, text in (("waiting", "Seconds attempts waited on their queue"), ("running", "Seconds attempts ran")):
        samples = [(place, getattr(bucket, name)) for place, bucket in totals]
        yield Family(f"workbench_{name}_seconds", f"{text}.", "histogram", _PLACE, samples)
    workers = aggregates.workers(now)
    for name, text, values in (
        ("up", "Whether a worker is heard from.", [float(worker.online) for worker in workers]),
        ("slots", "Tasks a worker runs at once.", [worker.slots for worker in workers]),
        ("busy", "Slots that run something.", [worker.busy if worker.online else 0 for worker in workers]),
        ("memory_bytes", "Memory of a worker and its children.", [worker.memory for worker in workers]),
        ("cores", "Cores a worker and its children keep busy.", [worker.cpu for worker in workers]),
    ):
        told = [((worker.worker,), value) for worker, value in zip(workers, values, strict=True)]
        yield Family(f"workbench_worker_{name}", text, "gauge", ("worker",), told)
    for name, text, value in (
        ("lag_seconds", "Seconds that the record is behind what is told.", health.lag),
        ("pending", "Messages that have come in and aren't recorded yet.", health.pending),
        ("blocked", "Whether the broker takes nothing in.", float(bool(health.blocked))),
    ):
        yield Family(f"workbench_tracker_{name}", text, "gauge", (), [((), value)])


_PLACE = ("family", "lane")
