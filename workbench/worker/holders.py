"""What becomes of a task that was delivered before: another worker may still run it, or have ended it.

That is so of the copies that `lease` makes, which name their holder, and of what the broker delivers again, as its
first worker was lost, or only its connection. The tracker knows who ran it and whether it has ended; that worker knows
whether it still does. Nobody's silence stops a task for good: at the worst it runs twice.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import NamedTuple

import msgspec

from workbench.broker import NobodyThere, RpcCaller, Topology
from workbench.broker.topology import worker_key
from workbench.core import control, rpc
from workbench.core.control import AskHolder, Hold
from workbench.core.errors import WorkbenchError
from workbench.core.messages import Failure, Task
from workbench.core.states import State, TaskRecord

logger = logging.getLogger(__name__)

TIMEOUT = 2.0
"""Seconds a worker or the tracker has to answer."""


class Fate(Enum):
    """What becomes of it."""

    RUN = "run"  # nobody else runs it
    WAIT = "wait"  # somebody does, or may
    DROP = "drop"  # it has ended


class Found(NamedTuple):
    """What was found out."""

    fate: Fate
    holder: str = ""  # who runs it as well, where somebody does
    failure: Failure | None = None  # what it is recorded to have failed of, where it has
    began: bool = False  # whether this attempt has begun before, on whichever worker


class Holders:
    """Finds out.

    Parameters
    ----------
    caller, topology
        The way to those who know.
    worker
        Who asks.
    """

    def __init__(self, caller: RpcCaller, topology: Topology, worker: str) -> None:
        self._caller = caller
        self._topology = topology
        self._worker = worker

    async def of_copy(self, task: Task, holder: str) -> Found:
        """Decide on a copy that `holder` made: the holder knows best, then the tracker, and without either it waits."""
        match await self._ask_holder(task, holder):
            case Hold.RUNNING | None:
                return Found(Fate.WAIT, holder)
            case Hold.ENDED:
                return Found(Fate.DROP)
        try:
            record = await self._ask_tracker(task)
        except WorkbenchError as error:
            logger.info("no tracker says what became of task %s, which %s ran: %s", task.task_id, holder, error)
            return Found(Fate.WAIT, holder)
        found = await self._by_record(record, task, gone=holder)
        return found._replace(began=True) if found.fate is Fate.RUN else found

    async def of_redelivery(self, task: Task) -> Found:
        """Decide on a message that was delivered before."""
        try:
            record = await self._ask_tracker(task)
        except WorkbenchError as error:
            logger.info("no tracker says whether task %s still runs elsewhere: %s", task.task_id, error)
            return Found(Fate.RUN)
        return await self._by_record(record, task)

    async def _by_record(self, record: TaskRecord | None, task: Task, *, gone: str = "") -> Found:
        """Decide by what is recorded, and by what that names as the holder says; `gone` has said it already."""
        if is_over(record, task):
            return Found(Fate.DROP, failure=failure_of(record, task))
        holder = holder_of(record, task)
        run = Found(Fate.RUN, began=has_begun(record, task))
        if holder in ("", gone, self._worker):
            return run
        match await self._ask_holder(task, holder):
            case Hold.RUNNING:
                return Found(Fate.WAIT, holder)
            case Hold.ENDED:
                return Found(Fate.DROP)
            case _:
                return run

    async def _ask_holder(self, task: Task, holder: str) -> Hold | None:
        """Ask a worker; None where it is there and doesn't answer."""
        question = AskHolder(task_id=task.task_id, attempt=task.attempt, replay=task.replay)
        try:
            answer = await self._caller.ask(
                control.encode(question), timeout=TIMEOUT, exchange=self._topology.control, key=worker_key(holder)
            )
            return control.decode_holding(answer).hold
        except NobodyThere:
            return Hold.UNKNOWN
        except (WorkbenchError, msgspec.DecodeError) as error:
            logger.info("%s doesn't say whether it runs task %s: %s", holder, task.task_id, error)
            return None

    async def _ask_tracker(self, task: Task) -> TaskRecord | None:
        request = rpc.GetTasks(task_ids=(task.task_id,))
        answer = await self._caller.ask_tracker(request, rpc.Tasks, timeout=TIMEOUT)
        return answer.records[0] if answer.records else None


def is_over(record: TaskRecord | None, task: Task) -> bool:
    """Whether what is recorded is ahead of this attempt of the task."""
    if record is None:
        return False
    if record.replay != task.replay:
        return record.replay > task.replay
    return (
        record.state.terminal
        or record.attempt > task.attempt
        or (record.attempt == task.attempt and record.state is State.RETRYING)
    )


def holder_of(record: TaskRecord | None, task: Task) -> str:
    """Return the worker that runs this attempt, as far as is recorded."""
    if record is None or record.state is not State.RUNNING:
        return ""
    same = (record.replay, record.attempt) == (task.replay, task.attempt)
    return record.worker or "" if same else ""


def has_begun(record: TaskRecord | None, task: Task) -> bool:
    """Whether this attempt is recorded to run, or to have run on a worker that was lost."""
    if record is None or record.replay != task.replay:
        return False
    lost = record.loss is not None and record.loss.attempt == task.attempt
    return lost or (record.state is State.RUNNING and record.attempt == task.attempt)


def failure_of(record: TaskRecord | None, task: Task) -> Failure | None:
    """Return what this attempt of the task has ended the task with, as far as is recorded."""
    if record is None or record.state is not State.FAILED:
        return None
    same = (record.replay, record.attempt) == (task.replay, task.attempt)
    return record.failure if same else None
