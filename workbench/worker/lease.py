"""`Leases`: how a task runs for longer than the broker lets a delivery go unacknowledged.

Before that time is over a copy of the task, which names its holder, is put into the delay queues, and the delivery is
acknowledged. Whenever the copy comes to a worker it asks the holder: if the task still runs there the copy waits again,
if it has ended the copy is dropped, and if the holder is gone the task starts anew. So no message is ever without
somebody that answers for it, and no task runs twice for having run for long. Only times and memory here, no broker.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from workbench.broker import Delivery
from workbench.worker.roster import Job

DEFAULT = 1800.0
"""Seconds: RabbitMQ's own default (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout)."""
LONGEST_WAIT = 60.0
"""Seconds a copy waits at most before its holder is asked: as long it takes to notice that the holder is gone."""
_MOST_ENDED = 10_000

Key = tuple[str, int]
T = TypeVar("T")


class Leases:
    """Watches how long deliveries are held.

    Parameters
    ----------
    ack_timeout
        Seconds the broker waits for an acknowledgement; None where nobody has said.
    """

    def __init__(self, ack_timeout: float | None) -> None:
        self.ack_timeout = ack_timeout or DEFAULT
        self._parked: set[Key] = set()
        self._ended: dict[Key, None] = {}  # of those that were parked, the latest

    @property
    def wait(self) -> float:
        """Seconds a copy waits before its holder is asked."""
        return min(LONGEST_WAIT, self.ack_timeout / 4)

    def learn(self, ack_timeout: float | None) -> None:
        """Take note of what the broker said as it ended a consumer for an acknowledgement that hadn't come."""
        if ack_timeout is not None:
            self.ack_timeout = min(self.ack_timeout, ack_timeout)

    def due(self, jobs: Iterable[Job[Delivery]], now: float) -> list[tuple[Job[Delivery], Delivery]]:
        """Return the deliveries that have been held for half of the time; `now` is of the monotonic clock."""
        oldest = now - self.ack_timeout / 2
        return [(job, delivery) for job in jobs for delivery in job.deliveries if delivery.arrived < oldest]

    def parked(self, key: Key) -> None:
        """Note that a copy of this attempt waits in the broker."""
        self._parked.add(key)

    def ended(self, key: Key) -> None:
        """Note that an attempt has ended; its copy, if there is one, will ask."""
        if key in self._parked:
            self._parked.discard(key)
            self._ended[key] = None
            if len(self._ended) > _MOST_ENDED:
                del self._ended[next(iter(self._ended))]

    def has_ended(self, key: Key) -> bool:
        """Whether an attempt that was parked has ended here, as far as that is remembered."""
        return key in self._ended
