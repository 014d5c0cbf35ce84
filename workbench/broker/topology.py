"""The topology as data: every exchange, queue and binding, declared the same by whoever comes first.

```
submit (fan-out) ─► tasks (topic) ─► one quorum queue per family and lane ─► (delivery limit) ─► dead
       │              └─ nothing matches: alternate exchange ─────────────────────────────────► dead
       └─► queue tracker ◄─ events (topic)                                  dead (fan-out) ─► queue dead
                                                                                       └─► queue tracker.dead
delay.19 (headers) ─ d19 ─► queue delay.19 ─► (time to live) ─┐
    └─ no d19 ────────────────────────────────────────────────┴─► delay.18 … ─► delay.0 … ─► submit
```

A task waits for its next attempt in as many delay queues as its delay has binary digits that are set: each level holds
messages twice as long as the one below it, and passes on at once those that don't ask for it. So any delay is waited
out in the broker, though a quorum queue can have one time to live only. (NServiceBus delays messages the same way:
https://docs.particular.net/transports/rabbitmq/delayed-delivery.)

What the arguments mean, and which RabbitMQ wants which, stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from workbench.core import routing

LONG = 30 * 24 * 3600.0
"""Seconds a task may stay unacknowledged. RabbitMQ honours it per queue from 3.12; before, a node has one limit."""

DELAY_UNIT = 0.25
"""Seconds the lowest delay queue holds a message: delays are waited out to this accuracy."""
DELAY_LEVELS = 20
LONGEST_DELAY = DELAY_UNIT * (2**DELAY_LEVELS - 1)
"""Seconds, about three days."""

DELIVERY_LIMIT = 20
"""Deliveries of one task that may end without an acknowledgement before it is taken for poison (4.x's default)."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A durable exchange."""

    name: str
    type: str
    arguments: dict[str, Any] = {}


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue: durable, unless it is exclusive and goes with its connection."""

    name: str
    arguments: dict[str, Any] = {}
    exclusive: bool = False


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A route from an exchange to a queue, or to another exchange."""

    source: str
    to: str
    key: str = ""
    to_exchange: bool = False
    arguments: dict[str, Any] = {}


Declaration = Exchange | Queue | Binding

_QUORUM = {"x-queue-type": "quorum"}
# A tracker that keeps crashing must not lose what it couldn't record: 4.x would drop it after 20 deliveries. A negative
# limit means "none" there, but discards at once before 4.0; so it is a large one.
_PATIENT = {**_QUORUM, "x-delivery-limit": 1_000_000}


class Topology(msgspec.Struct, frozen=True):
    """The names of everything in one namespace, and its declarations."""

    namespace: str = "workbench."

    @property
    def submit(self) -> str:
        """The exchange that producers publish to."""
        return f"{self.namespace}submit"

    @property
    def tasks(self) -> str:
        """The topic exchange that picks the task queue."""
        return f"{self.namespace}tasks"

    @property
    def events(self) -> str:
        """The topic exchange of facts about tasks, workers and trackers."""
        return f"{self.namespace}events"

    @property
    def control(self) -> str:
        """The topic exchange of orders to workers."""
        return f"{self.namespace}control"

    @property
    def dead(self) -> str:
        """The fan-out exchange of what can't be delivered or done."""
        return f"{self.namespace}dead"

    @property
    def dead_queue(self) -> str:
        """Keeps dead letters until somebody looks at them."""
        return f"{self.namespace}dead"

    @property
    def tracker_queue(self) -> str:
        """A copy of every accepted task, and every event."""
        return f"{self.namespace}tracker"

    @property
    def tracker_dead_queue(self) -> str:
        """A copy of every dead letter, for the tracker to record."""
        return f"{self.namespace}tracker.dead"

    @property
    def tracker_lock(self) -> str:
        """The exclusive queue that the one active tracker holds."""
        return f"{self.namespace}tracker.lock"

    @property
    def rpc_queue(self) -> str:
        """Requests to the tracker."""
        return f"{self.namespace}rpc"

    def task_queue(self, family: str, lane: str | None = None) -> str:
        """Return the name of a family's queue, or of one of its lanes'."""
        return f"{self.namespace}tasks.{family}.{lane}" if lane else f"{self.namespace}tasks.{family}"

    def delay(self, level: int) -> str:
        """Return the name of a level's exchange, and of its queue: messages wait there `DELAY_UNIT * 2**level` s."""
        return f"{self.namespace}delay.{level}"

    @property
    def delayed(self) -> str:
        """The exchange for what is to wait, with `delay_headers`."""
        return self.delay(DELAY_LEVELS - 1)

    @property
    def delay_queues(self) -> frozenset[str]:
        """The names of all queues in which tasks wait for their next attempt."""
        return frozenset(map(self.delay, range(DELAY_LEVELS)))

    def client_queue(self, client: str) -> str:
        """Return the name of a client's own queue, which is exclusive."""
        return f"{self.namespace}client.{client}"

    def control_queue(self, name: str) -> str:
        """Return the name of a worker's own queue, which is exclusive."""
        return f"{self.namespace}control.{name}"

    def base(self) -> tuple[Declaration, ...]:
        """Everything that doesn't depend on who is there, in an order in which it can be declared."""
        declarations: list[Declaration] = [
            Exchange(name=self.dead, type="fanout"),
            Exchange(name=self.submit, type="fanout"),
            Exchange(name=self.tasks, type="topic", arguments={"alternate-exchange": self.dead}),
            Exchange(name=self.events, type="topic"),
            Exchange(name=self.control, type="topic"),
            Queue(name=self.dead_queue, arguments=_PATIENT),
            Queue(name=self.tracker_dead_queue, arguments=_PATIENT),
            Queue(name=self.tracker_queue, arguments=_PATIENT),
            Queue(name=self.rpc_queue, arguments=_QUORUM),
            Binding(source=self.dead, to=self.dead_queue),
            Binding(source=self.dead, to=self.tracker_dead_queue),
            Binding(source=self.submit, to=self.tracker_queue),
            Binding(source=self.submit, to=self.tasks, to_exchange=True),
            Binding(source=self.events, to=self.tracker_queue, key="task.#"),
            Binding(source=self.events, to=self.tracker_queue, key="worker.#"),
            # Its own news too: with no client there, it would come back as a message that no queue takes.
            Binding(source=self.events, to=self.tracker_queue, key=TRACKER_ONLINE),
        ]
        for family in routing.FAMILIES:
            declarations += self.family(family)
        return tuple(declarations)

    def delays(self) -> tuple[Declaration, ...]:
        """The delay queues, and the way down from one to the next."""
        declarations: list[Declaration] = []
        for level in range(DELAY_LEVELS):
            name, below = self.delay(level), self.delay(level - 1) if level else self.submit
            wait = {**_dead_letter(below), "x-message-ttl": int(DELAY_UNIT * 2**level * 1000)}
            asked, not_asked = ({"x-match": "all", _digit(level): digit} for digit in (1, 0))
            declarations += [
                Exchange(name=name, type="headers"),
                Queue(name=name, arguments=wait),
                Binding(source=name, to=name, arguments=asked),
                Binding(source=name, to=below, to_exchange=True, arguments=not_asked),
            ]
        return tuple(declarations)

    def family(self, family: str, lane: str | None = None) -> tuple[Declaration, ...]:
        """The queue of a family (or of one of its lanes) and its binding."""
        queue = self.task_queue(family, lane)
        arguments = {
            **_dead_letter(self.dead),
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-consumer-timeout": int(LONG * 1000),
        }
        return (
            Queue(name=queue, arguments=arguments),
            Binding(source=self.tasks, to=queue, key=routing.binding_key(family, lane)),
        )

    def client(self, client: str) -> tuple[Declaration, ...]:
        """A client's own queue: the outcomes of its tasks, and the news that a tracker has taken over."""
        queue = self.client_queue(client)
        return (
            Queue(name=queue, exclusive=True),
            Binding(source=self.events, to=queue, key=finished_key(client)),
            Binding(source=self.events, to=queue, key=TRACKER_ONLINE),
        )

    def control_of(self, worker: str, queue: str) -> tuple[Declaration, ...]:
        """A worker's own queue: orders to all workers, and to this one."""
        return (
            Queue(name=queue, exclusive=True),
            Binding(source=self.control, to=queue, key=ALL_WORKERS),
            Binding(source=self.control, to=queue, key=worker_key(worker)),
        )


TRACKER_ONLINE = "tracker.online"
TASKS_STARTED = "task.started"
TASK_PROGRESS = "task.progress"
TASK_LOST = "task.lost"
TASK_CANCEL = "task.cancel"
ALL_WORKERS = "workers"


def worker_key(worker: str) -> str:
    """Return the routing key of orders to one worker."""
    return f"worker.{worker}"


def delay_headers(seconds: float) -> dict[str, int]:
    """Return the headers with which a message to `Topology.delayed` waits so long, rounded up to a `DELAY_UNIT`."""
    units = max(1, min(math.ceil(seconds / DELAY_UNIT), 2**DELAY_LEVELS - 1))
    return {_digit(level): units >> level & 1 for level in range(DELAY_LEVELS)}


def _digit(level: int) -> str:
    return f"d{level}"


def finished_key(client: str) -> str:
    """Return the routing key of the outcome events of one client's tasks."""
    return f"task.finished.{client}"


def families(topology: Topology, names: Iterable[str], lane: str | None = None) -> tuple[Declaration, ...]:
    """Return the declarations of several families' queues."""
    return tuple(declaration for name in names for declaration in topology.family(name, lane))


def _dead_letter(exchange: str) -> dict[str, Any]:
    return {
        **_QUORUM,
        "x-dead-letter-exchange": exchange,
        # At-least-once needs reject-publish: the broker then never drops a message to make room for another.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
