"""To end tasks before they end by themselves: publish the intent, wait for what comes of it, and tell it in a sentence.

The coroutine runs on the engine's loop. What is told is decided by `tell`, which is pure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from workbench.client import bridge
from workbench.client.engine import BATCH, Engine
from workbench.client.outcomes import Waiting
from workbench.client.targets import check_ids
from workbench.core import rpc
from workbench.core.errors import BrokerUnavailable, InvalidArguments, TaskNotFound, TrackerUnavailable
from workbench.core.messages import CancelRequested, TaskFinished, utcnow
from workbench.core.states import State, TaskRecord, fold

TIMEOUT = 30.0
_LOOK_UP = 5.0
"""Seconds the tracker may take to tell what tasks there are; an intent is published without it, too."""
_LEAST = 1.0
_LONGEST_REASON = 500


class Cancellation(msgspec.Struct, frozen=True):
    """What came of the intent to end a task."""

    task_id: str
    state: State | None  # the task's, as it is known now; None where nobody could tell
    sentence: str

    def __repr__(self) -> str:
        return f"<Cancellation {self.task_id}: {self.sentence}>"

    @property
    def cancelled(self) -> bool:
        """Whether the task has ended as cancelled."""
        return self.state is State.CANCELLED


async def cancel(engine: Engine, task_ids: Sequence[str], *, reason: str, timeout: float) -> list[Cancellation]:
    """Ask for the end of tasks, and wait for it.

    Parameters
    ----------
    engine
        The client's; this runs on its loop.
    task_ids
        Which tasks.
    reason
        What their records say; up to 500 characters.
    timeout
        Seconds in all. The intent stays when they are over.

    Raises
    ------
    TaskNotFound
        If the tracker has no such task, and this client hasn't submitted it. Nothing is cancelled then.
    BrokerUnavailable
        If the broker doesn't confirm the intent in time.
    """
    if len(reason) > _LONGEST_REASON:
        raise InvalidArguments(f"reason takes up to {_LONGEST_REASON} characters, got {len(reason)}")
    check_ids(task_ids)
    clock = asyncio.get_running_loop().time
    end = clock() + timeout
    waitings = {task_id: engine.room.enter(task_id) for task_id in task_ids}
    before, silent = await _records(engine, task_ids, min(_LOOK_UP, max(_LEAST, timeout)))
    if not silent:
        unknown = [task_id for task_id in task_ids if task_id not in before and not waitings[task_id].addressed]
        if unknown:
            raise TaskNotFound(f"the tracker has no task {', '.join(unknown[:5])}: nothing was cancelled")
    for task_id, record in before.items():
        waitings[task_id] = engine.room.enter(task_id, replay=record.replay)
    alive = {task_id: waiting for task_id, waiting in waitings.items() if not _ended(before.get(task_id), waiting)}
    if alive:
        intents = [
            engine.cancel_message(_intent(waiting, before.get(task_id), reason)) for task_id, waiting in alive.items()
        ]
        await bridge.wait(engine.publish(intents, max(_LEAST, end - clock()), "cancel intents"))
        await _wait(engine, list(alive.values()), end - clock())
    left = [task_id for task_id, waiting in alive.items() if not _outcome(waiting)]
    after: dict[str, TaskRecord] = {}
    if left:
        after, silent = await _records(engine, left, _LEAST)
    return [
        tell(
            task_id,
            before.get(task_id),
            _outcome(waiting),
            after.get(task_id),
            asked=task_id in alive,
            waited=timeout,
            silent=silent if task_id in left else "",
        )
        for task_id, waiting in waitings.items()
    ]


def tell(
    task_id: str,
    before: TaskRecord | None,
    outcome: TaskFinished | None,
    after: TaskRecord | None,
    *,
    asked: bool,
    waited: float,
    silent: str,
) -> Cancellation:
    """Say what came of the intent to end one task.

    Parameters
    ----------
    before, after
        What the tracker knew of it before the intent, and when the wait was over.
    outcome
        How it ended, if that is known here.
    asked
        Whether there was anything left to ask for.
    waited
        Seconds.
    silent
        Why the tracker couldn't be asked afterwards, if it couldn't.
    """
    last = after or before
    record = fold(last, outcome) if outcome is not None else last
    state = record.state if record is not None else None
    if record is not None and record.state.terminal:
        return Cancellation(task_id, state, _ending(record, before, asked))
    stays = f"hasn't confirmed within {waited:g} s: the intent stays"
    if silent:
        return Cancellation(
            task_id, state, f"asked for; the broker has the intent, and no tracker has answered so far ({silent})"
        )
    if record is not None and record.state is State.RUNNING and record.worker:
        return Cancellation(task_id, state, f"asked for; its worker {record.worker} {stays}")
    return Cancellation(task_id, state, f"asked for; the tracker {stays}")


def _ending(record: TaskRecord, before: TaskRecord | None, asked: bool) -> str:
    at = _time(record.finished_at)
    if not asked:
        return f"it had {_HAD[record.state]} already{at}"
    if record.state is not State.CANCELLED:
        return f"it {record.state.value}{at}, before the order reached it"
    if record.worker and record.started_at is not None:
        return f"cancelled: it was running on {record.worker}"
    if record.worker:
        return f"cancelled: {record.worker} had it, and hadn't started it"
    if before is not None and before.state is State.RETRYING:
        return f"cancelled: it was waiting for attempt {before.attempt + 1}"
    if before is not None and before.state is State.RUNNING:
        return f"cancelled: its worker {before.worker} was gone"
    return "cancelled: it was waiting on its queue"


_HAD = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "been cancelled",
    State.EXPIRED: "expired",
}


def _time(at: datetime | None) -> str:
    return f" at {at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""


def _outcome(waiting: Waiting) -> TaskFinished | None:
    if not waiting.future.done() or waiting.future.exception() is not None:
        return None
    return waiting.future.result()


def _ended(record: TaskRecord | None, waiting: Waiting) -> bool:
    outcome = _outcome(waiting)
    if record is not None and record.state.terminal:
        return True
    return outcome is not None and (record is None or outcome.replay >= record.replay)


def _intent(waiting: Waiting, record: TaskRecord | None, reason: str) -> CancelRequested:
    return CancelRequested(
        task_id=waiting.task_id,
        at=utcnow(),
        reason=reason,
        operation=record.operation if record is not None else "",
        client=record.client if record is not None else "",
        replay=max(waiting.replay, record.replay if record is not None else 0),
    )


async def _records(engine: Engine, task_ids: Sequence[str], timeout: float) -> tuple[dict[str, TaskRecord], str]:
    """Return what the tracker knows, and why it couldn't be asked, if it couldn't."""
    found: dict[str, TaskRecord] = {}
    for start in range(0, len(task_ids), BATCH):
        request = rpc.GetTasks(task_ids=tuple(task_ids[start : start + BATCH]))
        try:
            answer = await bridge.wait(engine.ask(request, rpc.Tasks, timeout))
        except (TrackerUnavailable, BrokerUnavailable) as error:
            return found, str(error)
        found.update((record.task_id, record) for record in answer.records)
    return found, ""


async def _wait(engine: Engine, waitings: Sequence[Waiting], timeout: float) -> None:
    """Wait until all have ended, or nothing can be learnt of them, or the time is over."""
    loop = asyncio.get_running_loop()
    left, done = len(waitings), asyncio.Event()

    def one_ended() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    engine.watch(*waitings)
    for waiting in waitings:
        waiting.future.add_done_callback(lambda _future: _post(loop, one_ended))
    try:
        async with asyncio.timeout(max(0.0, timeout)):
            await done.wait()
    except TimeoutError:
        return


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
