"""What can be asked about a task: its record, why it isn't done, and how its attempts went.

The coroutines run on the engine's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import Future

import msgspec

from workbench.broker import ConnectionState
from workbench.client import bridge
from workbench.client.engine import BATCH, Engine
from workbench.client.outcomes import Waiting
from workbench.client.targets import check_ids
from workbench.core import rpc
from workbench.core.errors import BrokerUnavailable, TaskNotFound, TrackerUnavailable, WorkbenchError
from workbench.core.messages import TaskFinished
from workbench.core.rpc import AttemptRecord
from workbench.core.states import TaskRecord, fold

TIMEOUT = 10.0
WHY_TIMEOUT = 5.0


async def why(engine: Engine, waiting: Waiting) -> str:
    """Say in one sentence where a task stands and what it waits for: the tracker's, or what is known here."""
    asking = asyncio.ensure_future(bridge.wait(engine.ask(rpc.GetWhy(task_id=waiting.task_id), rpc.Why, WHY_TIMEOUT)))
    blocked = asyncio.ensure_future(engine.wait_blocked())
    try:
        await asyncio.wait({asking, blocked}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():  # an alarm: the question lies unread until it ends
            return f"The broker at {engine.address} is blocked: {engine.reason}; {known_here(waiting)}."
        answer = asking.result()
    except TrackerUnavailable:
        return f"No tracker answered within {WHY_TIMEOUT:g} s; {known_here(waiting)}."
    except BrokerUnavailable as error:
        trouble = engine.reason if engine.state is not ConnectionState.OPEN and engine.reason else str(error)
        return f"The broker at {engine.address} can't be reached ({trouble}); {known_here(waiting)}."
    except WorkbenchError as error:
        return f"The tracker couldn't tell ({error}); {known_here(waiting)}."
    finally:
        for task in (asking, blocked):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, WorkbenchError):
            await asking
    if answer.sentence:
        return answer.sentence
    if waiting.addressed or waiting.replay:
        return f"The tracker hasn't heard of task {waiting.task_id} yet; {known_here(waiting)}."
    return (
        f"The tracker has no task {waiting.task_id}: it was never submitted to this workbench, or its record has been "
        "swept."
    )


def known_here(waiting: Waiting) -> str:
    """Say what a client knows of a task by itself, as the second half of a sentence."""
    future = waiting.future
    if future.done() and future.exception() is None:
        outcome = future.result()
        where = f" on {outcome.worker}" if outcome.worker else ""
        return f"this client knows that it {_ENDED[outcome.status.value]}{where} at {outcome.finished_at:%H:%M:%S} UTC"
    if waiting.addressed:
        return "this client has submitted it, and no outcome of it has come back yet"
    if waiting.replay:
        return "this client has sent it again, and no outcome of that has come back yet"
    return "this client knows nothing of it"


_ENDED = {
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "was cancelled",
    "expired": "expired",
}


def look_up(engine: Engine, task_id: str, waiting: Waiting | None, timeout: float) -> Future[TaskRecord]:
    """Ask for a task's record, and add what is known better here; `TaskNotFound` where nobody knows of it."""
    found: Future[TaskRecord] = Future()

    def answered(asked: Future[rpc.Tasks]) -> None:
        try:
            records = asked.result().records
            found.set_result(_record(engine, task_id, waiting, records[0] if records else None))
        except Exception as error:
            found.set_exception(error)

    engine.ask(rpc.GetTasks(task_ids=(task_id,)), rpc.Tasks, timeout).add_done_callback(answered)
    return found


def _record(engine: Engine, task_id: str, waiting: Waiting | None, record: TaskRecord | None) -> TaskRecord:
    if waiting is not None and waiting.replay > (record.replay if record is not None else 0):
        return TaskRecord(  # sent again, and on its way to the tracker
            task_id=task_id,
            operation=record.operation if record is not None else "",
            client=record.client if record is not None else "",
            replay=waiting.replay,
        )
    if waiting is not None and waiting.future.done() and waiting.future.exception() is None:
        return fold(record, waiting.future.result())  # the outcome came here before the tracker had it
    if record is None and waiting is not None and waiting.addressed:
        return TaskRecord(task_id=task_id, client=engine.name)  # accepted, and on its way to the tracker
    if record is None:
        raise TaskNotFound(f"the tracker has no task {task_id}")
    return record


async def attempts(engine: Engine, task_id: str) -> list[AttemptRecord]:
    """Return every execution of a task, in order; raise `TaskNotFound` where the tracker has no such task."""
    answer = await bridge.wait(engine.ask(rpc.GetAttempts(task_id=task_id), rpc.Attempts, TIMEOUT))
    waiting = engine.room.find(task_id)
    found = list(answer.attempts)
    if waiting is not None and waiting.future.done() and waiting.future.exception() is None:
        found = _with_outcome(found, waiting.future.result())
    if not found:
        known = await bridge.wait(engine.ask(rpc.GetTasks(task_ids=(task_id,)), rpc.Tasks, TIMEOUT))
        if not known.records and not (waiting is not None and waiting.addressed):
            raise TaskNotFound(f"the tracker has no task {task_id}")
    return found


def _with_outcome(found: list[AttemptRecord], outcome: TaskFinished) -> list[AttemptRecord]:
    """Add an outcome that came here before the tracker had it, if it is of an execution."""
    same = [each for each in found if each.attempt == outcome.attempt]
    if not outcome.worker or any(each.outcome is not None for each in same):
        return found
    ended = AttemptRecord(
        attempt=outcome.attempt,
        worker=outcome.worker,
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
        outcome=msgspec.structs.replace(outcome, result=None),
    )
    others = [each for each in found if each not in same or each.worker != outcome.worker]
    return sorted([*others, ended], key=lambda each: each.attempt)


async def pin(engine: Engine, task_ids: Sequence[str], *, pinned: bool) -> list[str]:
    """Keep the results of these tasks, or no longer; raise `TaskNotFound` where the tracker lacks one of them."""
    check_ids(task_ids)
    known: list[str] = []
    for start in range(0, len(task_ids), BATCH):
        request = rpc.PinTasks(task_ids=tuple(task_ids[start : start + BATCH]), pinned=pinned)
        answer = await bridge.wait(engine.ask(request, rpc.TaskIds, TIMEOUT))
        known += answer.task_ids
    if missing := [task_id for task_id in task_ids if task_id not in set(known)]:
        others = f"; the other {len(known)} are {'pinned' if pinned else 'unpinned'}" if known else ""
        raise TaskNotFound(f"the tracker has no task {', '.join(missing[:5])}{others}")
    return known
