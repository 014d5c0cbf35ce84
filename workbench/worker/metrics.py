"""What a worker tells Prometheus of itself, by what its heartbeats tell."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.core.messages import WorkerHeartbeat
from workbench.metrics import Family


def families(beat: WorkerHeartbeat) -> Iterator[Family]:
    """Return the metrics of a worker, as its last heartbeat tells."""
    labels, name = ("worker",), (beat.worker,)
    for what, text, value in (
        ("slots", "Tasks the worker runs at once.", beat.slots),
        ("busy", "Slots that run something.", beat.busy),
        ("memory_bytes", "Memory of the worker and its children.", beat.memory),
        ("cores", "Cores the worker and its children keep busy.", beat.cpu),
        ("load", "The host's load average over the last minute.", beat.load),
        ("draining", "Whether it takes nothing more.", float(beat.draining)),
    ):
        yield Family(f"workbench_process_{what}", text, "gauge", labels, [(name, value)])
    text = "Attempts that have ended, since the worker started."
    yield Family("workbench_process_attempts", text, "counter", labels, [(name, beat.done)])
