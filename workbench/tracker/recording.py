"""From deliveries to a commit: what can't be read or stored is set apart, the rest is recorded. It blocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from workbench.broker import Delivery
from workbench.core.messages import TaskFinished, decode, utcnow
from workbench.core.rpc import WorkerRecord
from workbench.core.states import TaskRecord
from workbench.tracker.batch import Received
from workbench.tracker.database import Database, DatabaseUnavailable
from workbench.tracker.groups import Moves
from workbench.tracker.lag import newest


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
    moves: list[Moves]  # of tasks between groups of failures, in order
    workers: list[WorkerRecord]
    refused: list[Refused]
    told_at: datetime | None  # when the newest was told that could be read


def record(database: Database, deliveries: Sequence[Delivery]) -> Recorded:
    """Read and record deliveries; blocks. What can't be read or stored is set apart, the rest is committed."""
    readable: list[tuple[Delivery, Received]] = []
    refused: list[Refused] = []
    for delivery in deliveries:
        try:
            readable.append((delivery, (decode(delivery.body), delivery.body)))
        except msgspec.DecodeError as error:
            refused.append(Refused(delivery, "Unreadable", f"the tracker can't read the message: {error}"))
    told_at = newest([message for _, (message, _) in readable])
    recorded = Recorded({}, [], [], [], [], refused, told_at)
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
        recorded.moves.append(applied.moves)
        recorded.workers.extend(applied.workers)
