"""What a dead letter says: its message, why it died, and how it is sent again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from workbench.broker.topology import Topology
from workbench.core import messages
from workbench.core.messages import Task, TaskFinished, TasksFinished

REASON = "x-workbench-reason"
REASON_TYPE = "x-workbench-reason-type"
WORKER = "x-workbench-worker"
AT = "x-workbench-at"
_LONGEST_REASON = 2000


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: a message that could not be delivered, done, read or recorded."""

    message_id: str
    task_id: str  # empty where the letter is about no task
    kind: str  # "task", "outcome" or "other"; only the first two can be sent again
    routing_key: str
    operation: str = ""
    replay: int = 0
    attempts: int = 0  # of the task, the one that died included
    reason_type: str  # "OutOfAttempts", "Rejected", "DeliveryLimitExceeded", "Unroutable" …
    reason: str
    at: datetime | None = None  # when it died, where that is known
    worker: str = ""  # who gave it up, where somebody did
    size: int  # bytes
    deaths: str = ""  # what the broker tells of its way: "delivery_limit on workbench.tasks.data, 1 time"

    def __repr__(self) -> str:
        what = f"{self.operation or self.kind} {self.task_id or self.message_id}"
        return f"<Letter {what}: {self.reason_type}, {self.reason.partition(chr(10))[0]}>"

    @property
    def ids(self) -> frozenset[str]:
        """What the letter can be asked for by."""
        return frozenset({self.message_id, self.task_id} - {""})


def read(body: bytes, *, routing_key: str, message_id: str, headers: Mapping[str, Any], topology: Topology) -> Letter:
    """Read a dead letter, whatever it holds."""
    message = _message(body)
    task = message if isinstance(message, Task) else None
    told = message.outcomes[0] if isinstance(message, TasksFinished) and message.outcomes else message
    about = told if isinstance(told, Task | TaskFinished) else None
    kind = "task" if task else "outcome" if about else "other"
    reason_type, reason = _reason(routing_key, headers, topology.delay_queues)
    return Letter(
        message_id=message_id,
        task_id=about.task_id if about else message_id.partition("/")[0],
        kind=kind,
        routing_key=routing_key,
        operation=about.operation if about else "",
        replay=about.replay if about else 0,
        attempts=about.attempt if about else 0,
        reason_type=reason_type,
        reason=reason[:_LONGEST_REASON],
        at=_died_at(headers),
        worker=str(headers.get(WORKER, "")),
        size=len(body),
        deaths=_deaths(headers),
    )


def replayed(task: Task, now: datetime) -> Task:
    """Return the task to send again: the next attempt, of the next replay; its old time limits are over."""
    attempt = task.attempt + 1
    return msgspec.structs.replace(
        task,
        replay=task.replay + 1,
        attempt=attempt,
        first_attempt=attempt,
        queued_at=now,
        expires_at=None,
        deadline_at=None,
    )


def _message(body: bytes) -> object:
    try:
        return messages.decode(body)
    except msgspec.DecodeError:
        return None


def _reason(routing_key: str, headers: Mapping[str, Any], delays: frozenset[str]) -> tuple[str, str]:
    if REASON in headers:
        return str(headers.get(REASON_TYPE) or "DeadLettered"), str(headers[REASON])
    death = next(iter(_death_records(headers)), {})
    why, queue = str(death.get("reason", "")), str(death.get("queue", ""))
    if not why or queue in delays:  # only the alternate exchange brings here what didn't die on a task queue
        return "Unroutable", f"no queue takes messages with the routing key {routing_key!r}"
    match why:
        case "delivery_limit":
            return "DeliveryLimitExceeded", f"delivered from {queue!r} as often as may be, and never acknowledged"
        case "expired":
            return "Expired", f"it waited on {queue!r} for longer than it was allowed to"
        case "rejected":
            return "Rejected", f"a consumer of {queue!r} rejected it without a reason"
        case "maxlen":
            return "QueueFull", f"{queue!r} had no room for it"
    return "DeadLettered", f"the broker gave it up on {queue!r}: {why}"


def _death_records(headers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the broker's own notes, the newest first."""
    deaths = headers.get("x-death")
    return [death for death in deaths if isinstance(death, dict)] if isinstance(deaths, list) else []


def _deaths(headers: Mapping[str, Any]) -> str:
    told = []
    for death in _death_records(headers)[:5]:
        count = death.get("count", 1)
        told.append(f"{death.get('reason')} on {death.get('queue')}, {count} {'time' if count == 1 else 'times'}")
    return "; ".join(told)


def _died_at(headers: Mapping[str, Any]) -> datetime | None:
    stamp = headers.get(AT)
    if isinstance(stamp, str):
        try:
            at = datetime.fromisoformat(stamp)
        except ValueError:
            return None
        return at if at.tzinfo else None
    died = next(iter(_death_records(headers)), {}).get("time")
    if not isinstance(died, datetime):
        return None
    return died if died.tzinfo else died.replace(tzinfo=messages.utcnow().tzinfo)  # AMQP's timestamps are UTC
