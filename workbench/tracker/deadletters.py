"""What a dead letter means for its task: a pure decision. A task that died on the way ends as failed, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from workbench.core.messages import Failure, Status, Task, TaskFinished, decode
from workbench.core.states import State, TaskRecord

REASON = "x-workbench-reason"
REASON_TYPE = "x-workbench-reason-type"
TOLD = "x-workbench-told"
"""Set by a worker that has published the outcome of the task itself."""
BY_TRACKER = "x-workbench-tracker"
"""Names the tracker that could not read or record a message, and so put it among the dead letters."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that could not be delivered, done, read or recorded."""

    body: bytes
    routing_key: str
    message_id: str
    headers: Mapping[str, Any]


def read(letter: DeadLetter) -> Task | TaskFinished | None:
    """Return the task or the outcome that has died; None where the letter is neither."""
    try:
        message = decode(letter.body)
    except msgspec.DecodeError:
        return None
    return message if isinstance(message, Task | TaskFinished) else None


def task_id_of(letter: DeadLetter) -> str:
    """Return the task a letter is about; by its message id (`task`, or `task/attempt`) where it can't be read."""
    message = read(letter)
    return message.task_id if message else letter.message_id.partition("/")[0]


def verdict(
    letter: DeadLetter, record: TaskRecord | None, *, delays: frozenset[str], now: datetime
) -> TaskFinished | None:
    """Decide how a dead letter ends its task.

    Parameters
    ----------
    letter
        What was found among the dead letters.
    record
        What is known of the task it is about; None where nothing is.
    delays
        The names of the queues in which tasks wait for their next attempt: dying there is part of a retry.
    now
        When the task ends.

    Returns
    -------
    TaskFinished or None
        The outcome to publish; None where no task ends by this letter: its outcome is published, it has ended before,
        a later attempt is alive, or the letter isn't about a task.
    """
    if letter.headers.get(TOLD):
        return None
    message = read(letter)
    if message is None:
        # A copy that only the tracker can't read is no verdict: the workers have the task as well. An outcome is.
        is_copy = BY_TRACKER in letter.headers and not letter.routing_key.startswith("task.finished")
        if record is None or is_copy:
            return None
        operation, client, attempt, replay = record.operation, record.client, max(1, record.attempt), record.replay
    else:
        operation, client, attempt, replay = message.operation, message.client, message.attempt, message.replay
    if isinstance(message, TaskFinished) and message.status is Status.RETRY:
        return None
    if record is not None and (
        record.replay > replay
        or (record.state.terminal and record.replay == replay)
        or record.attempt > attempt
        or (record.attempt == attempt and record.state is State.RETRYING)
    ):
        return None
    ran = record if record is not None and record.state is State.RUNNING and record.attempt == attempt else None
    return TaskFinished(
        task_id=task_id_of(letter),
        operation=operation,
        client=client,
        attempt=attempt,
        status=Status.FAILED,
        finished_at=now,
        worker=(ran.worker or "") if ran else "",
        slot=ran.slot if ran else None,
        started_at=ran.started_at if ran else None,
        failure=_explain(letter, delays),
        replay=replay,
    )


def _explain(letter: DeadLetter, delays: frozenset[str]) -> Failure:
    headers = letter.headers
    if REASON in headers:
        return Failure(type=str(headers.get(REASON_TYPE) or "DeadLettered"), message=str(headers[REASON]))
    reason, queue = _last_death(headers)
    if not reason or queue in delays:
        # Nothing but the alternate exchange brings a message here without its having died on a task queue.
        return _unroutable(letter.routing_key)
    where = f"queue {queue!r}" if queue else "its queue"
    match reason:
        case "delivery_limit":
            return Failure(
                type="DeliveryLimitExceeded",
                message=f"{where} has delivered the task as often as it may, and no worker lived to report an outcome",
                hint="Workers may be killed while they run it: look at their logs and at the memory it needs.",
            )
        case "expired":
            return Failure(type="Expired", message=f"the task waited on {where} for longer than it was allowed to")
        case "rejected":
            return Failure(type="Rejected", message=f"a consumer of {where} rejected the task without a reason")
        case "maxlen":
            return Failure(type="QueueFull", message=f"{where} had no room for the task")
        case _:
            return Failure(type="DeadLettered", message=f"the broker gave the task up on {where}: {reason}")


def _last_death(headers: Mapping[str, Any]) -> tuple[str, str]:
    """Return why and on which queue a message died last; the broker lists the newest death first."""
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        return str(deaths[0].get("reason", "")), str(deaths[0].get("queue", ""))
    return str(headers.get("x-first-death-reason", "")), str(headers.get("x-first-death-queue", ""))


def _unroutable(routing_key: str) -> Failure:
    family, _, rest = routing_key.partition(".")
    lane = rest.partition(".")[2]
    what, who = ("lane's", f"family {family!r} in lane {lane!r}") if lane else ("operation's", f"family {family!r}")
    return Failure(
        type="Unroutable",
        message=f"no queue takes tasks with the routing key {routing_key!r}",
        hint=f"Check the {what} name, or start a worker for {who}: its queue is made when it starts.",
    )
