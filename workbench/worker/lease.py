"""`Leases`: how a task runs for longer than the broker lets a delivery go unacknowledged.

Before that time is over a copy of the task, which names its holder, is put into the delay queues, and the delivery is
acknowledged. Whenever the copy comes to a worker it asks the holder: if the task still runs there the copy waits again,
if it has ended the copy is dropped, and if the holder is gone the task starts anew. So no message is ever without
somebody that answers for it, and no task runs twice for having run for long. What has ended here of late is remembered
as well: the tracker may hear of an end later than the broker delivers the task again. Only times and memory here, no
broker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

from workbench.broker import Delivery
from workbench.worker.roster import Job

DEFAULT = 1800.0
"""Seconds: RabbitMQ's own default (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout)."""
LONGEST_WAIT = 60.0
"""Seconds a copy waits at most before its holder is asked: as long it takes to notice that the holder is gone."""
LATELY = 60.0
"""Seconds an end is remembered: less than the tracker takes to publish a task again whose outcome the broker lost."""
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
        self._ended: OrderedDict[Key, None] = OrderedDict()  # of those that were parked, the latest
        self._lately: OrderedDict[Key, float] = OrderedDict()  # of all others, with the time

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

    def ended(self, key: Key, now: float) -> None:
        """Note that the broker has confirmed what follows from an attempt; its copy, if there is one, will ask."""
        if key in self._parked:
            self._parked.discard(key)
            self._ended[key] = None
        else:
            self._lately[key] = now
        for memory in (self._ended, self._lately):
            if len(memory) > _MOST_ENDED:
                memory.popitem(last=False)

    def has_ended(self, key: Key, now: float) -> bool:
        """Whether an attempt has ended here, as far as that is remembered; `now` is of the monotonic clock."""
        return key in self._ended or ((at := self._lately.get(key)) is not None and now - at < LATELY)
