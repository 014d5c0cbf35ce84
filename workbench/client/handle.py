"""`TaskHandle`: one task, to wait for and to ask about, with or without an event loop."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Protocol

from workbench.broker import ConnectionState
from workbench.client import bridge, cancel, questions
from workbench.client.cancel import TIMEOUT as CANCEL_TIMEOUT
from workbench.client.cancel import Cancellation
from workbench.client.engine import Engine
from workbench.client.outcomes import Waiting, result_of
from workbench.core.errors import BrokerUnavailable, ResultTimeout, TrackerUnavailable, WorkbenchError
from workbench.core.messages import TaskFinished
from workbench.core.rpc import AttemptRecord
from workbench.core.states import TaskRecord
from workbench.values import codecs
from workbench.values.files import Files

PEEK_TIMEOUT = 1.0
"""Seconds that showing a handle in a notebook may take."""


class Asker(Protocol):
    """What a handle needs of its client."""

    engine: Engine

    @property
    def files(self) -> Files:
        """Which files can be referred to."""

    def look_up(self, task_id: str, waiting: Waiting | None, timeout: float | None = None) -> Future[TaskRecord]:
        """Ask for a task's record; `timeout` is the client's own where none is given."""


class TaskHandle:
    """One task. `await` it, or call `result`.

    Parameters
    ----------
    task_id
        The task's id: enough for anybody to ask for it, now or later.
    operation
        What was submitted; empty where the handle was made from an id.
    """

    def __init__(
        self, task_id: str, operation: str = "", *, client: Asker | None = None, waiting: Waiting | None = None
    ) -> None:
        self.id = task_id
        self.operation = operation
        self._client = client
        self._waiting = waiting

    def __repr__(self) -> str:
        what = self.operation or "task"
        return f"<TaskHandle {what} {self.id}: {self.known}>"

    @property
    def known(self) -> str:
        """The state, as far as it is known here without asking anybody."""
        if self._waiting is None or not self._waiting.future.done():
            return "submitted" if self.operation else "not asked yet"
        if self._waiting.future.exception() is not None:
            return "unknown"
        return self._waiting.future.result().status.value

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.wait().__await__()

    async def wait(self, timeout: float | None = None) -> Any:
        """Wait for the result in a coroutine, of asyncio or trio.

        Parameters
        ----------
        timeout
            Seconds; None to wait for as long as it takes.

        Returns
        -------
        object
            What the operation returned.

        Raises
        ------
        TaskFailed, TaskCancelled, TaskExpired
            If the task ended otherwise.
        ResultTimeout
            If it hasn't ended in time. The task goes on.
        TaskNotFound, ResultExpired
            If the tracker has no such task, or no longer its result.
        """
        client, waiting = self._watched()
        if not waiting.future.done():
            ending = client.engine.wait(waiting, timeout)
            try:
                await bridge.wait(ending)
            except TimeoutError:
                raise self._timed_out(timeout) from None
            finally:
                ending.cancel()  # where this wait was cancelled, nothing may hold on to the task for it
        return self._value(client, waiting.future.result())

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result, blocking the calling thread. As `wait` in all else."""
        client, waiting = self._watched()
        try:
            outcome = waiting.future.result(timeout)
        except concurrent.futures.TimeoutError:
            raise self._timed_out(timeout) from None
        return self._value(client, outcome)

    def status(self) -> TaskRecord:
        """Ask for what is known of the task, blocking the calling thread.

        Raises
        ------
        TaskNotFound
            If the tracker has no such task.
        TrackerUnavailable
            If no tracker answers.
        """
        client, waiting = self._attached()
        return client.look_up(self.id, waiting).result()

    def cancel(self, *, reason: str = "", timeout: float = CANCEL_TIMEOUT) -> Cancellation:
        """Ask for the task's end and wait for it, blocking the calling thread; as `Client.cancel` in all else."""
        client, _ = self._attached()
        work = cancel.cancel(client.engine, [self.id], reason=reason, timeout=timeout)
        return client.engine.run(work).result()[0]

    def why(self) -> str:
        """Say in one sentence why the task isn't done, blocking the calling thread; as `Client.why` in all else."""
        client, waiting = self._attached()
        return client.engine.run(questions.why(client.engine, waiting)).result()

    def attempts(self) -> list[AttemptRecord]:
        """List the task's executions, blocking the calling thread; as `Client.attempts` in all else."""
        client, _ = self._attached()
        return client.engine.run(questions.attempts(client.engine, self.id)).result()

    def peek(self, timeout: float = PEEK_TIMEOUT) -> TaskRecord | None:
        """Return what is known of the task if that can be learnt in a moment; None otherwise. Never raises."""
        if self._client is None or self._client.engine.state is not ConnectionState.OPEN:
            return None
        try:
            return self._client.look_up(self.id, self._waiting, timeout).result()
        except WorkbenchError:
            return None

    def attached(self) -> Asker:
        """Return the client that the handle belongs to.

        Raises
        ------
        WorkbenchError
            If the task was submitted by a `Producer`, which only sends.
        """
        return self._attached()[0]

    def done(self) -> bool:
        """Return whether the task has ended."""
        client, waiting = self._attached()
        if waiting.addressed or waiting.future.done():
            return waiting.future.done()
        return client.look_up(self.id, waiting).result().state.terminal

    def _attached(self) -> tuple[Asker, Waiting]:
        if self._client is None or self._waiting is None:
            raise WorkbenchError(
                f"task {self.id} was submitted by a Producer, which only sends. "
                f"Ask a client for it: wb.Client().get({self.id!r})"
            )
        return self._client, self._waiting

    def _watched(self) -> tuple[Asker, Waiting]:
        client, waiting = self._attached()
        if waiting.future.done() and isinstance(waiting.future.exception(), TrackerUnavailable | BrokerUnavailable):
            waiting = self._waiting = client.engine.room.enter(  # they may be back
                self.id, addressed=waiting.addressed, replay=waiting.replay
            )
        client.engine.watch(waiting)
        return client, waiting

    def _value(self, client: Asker, outcome: TaskFinished) -> Any:
        return codecs.decode(result_of(outcome), client.files)

    def _timed_out(self, timeout: float | None) -> ResultTimeout:
        return ResultTimeout(
            f"{self.operation or 'task'} {self.id} has not ended within {timeout:g} s; it goes on. "
            "Wait again, or look at its status()"
        )
