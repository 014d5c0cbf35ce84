"""From deliveries to a commit: what can't be read or stored is set apart, the rest is recorded. It blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from workbench.broker import Delivery
from workbench.core.messages import TaskFinished, decode, utcnow
from workbench.core.rpc import WorkerRecord
from workbench.core.states import TaskRecord
from workbench.tracker.batch import Received
from workbench.tracker.database import Database, DatabaseUnavailable


class Refused(NamedTuple):
    """A delivery that can't be recorded, ever."""

    delivery: Delivery
    type: str
    reason: str


class Recorded(NamedTuple):
    """What came of a batch."""

    ended: dict[str, TaskFinished]
    wishes: list[str]
    transitions: list[tuple[TaskRecord | None, TaskRecord]]
    workers: list[WorkerRecord]
    refused: list[Refused]


def record(database: Database, deliveries: Sequence[Delivery]) -> Recorded:
    """Read and record deliveries; blocks. What can't be read or stored is set apart, the rest is committed."""
    readable: list[tuple[Delivery, Received]] = []
    recorded = Recorded({}, [], [], [], [])
    for delivery in deliveries:
        try:
            readable.append((delivery, (decode(delivery.body), delivery.body)))
        except msgspec.DecodeError as error:
            refused = Refused(delivery, "Unreadable", f"the tracker can't read the message: {error}")
            recorded.refused.append(refused)
    _apply(database, readable, recorded)
    return recorded


def _apply(database: Database, readable: Sequence[tuple[Delivery, Received]], recorded: Recorded) -> None:
    if not readable:
        return
    try:
        applied = database.apply([received for _, received in readable], now=utcnow())
    except DatabaseUnavailable:
        raise
    except Exception as error:  # Unrecordable, or whatever a message nobody thought of may cause
        if len(readable) == 1:
            reason = f"the tracker can't record the message: {error}"
            recorded.refused.append(Refused(readable[0][0], "Unrecordable", reason))
            return
        half = len(readable) // 2  # narrows down to the one at fault, in order
        _apply(database, readable[:half], recorded)
        _apply(database, readable[half:], recorded)
    else:
        recorded.ended.update(applied.ended)
        recorded.wishes.extend(applied.wishes)
        recorded.transitions.extend(applied.transitions)
        recorded.workers.extend(applied.workers)
