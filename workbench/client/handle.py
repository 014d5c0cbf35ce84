"""`TaskHandle`: one task, to wait for and to ask about, with or without an event loop."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Protocol

from workbench.client import bridge
from workbench.client.engine import Engine
from workbench.client.outcomes import Waiting, result_of
from workbench.core.errors import ResultTimeout, TrackerUnavailable, WorkbenchError
from workbench.core.messages import TaskFinished
from workbench.core.states import TaskRecord
from workbench.values import codecs
from workbench.values.files import Files


class Asker(Protocol):
    """What a handle needs of its client."""

    engine: Engine

    @property
    def files(self) -> Files:
        """Which files can be referred to."""

    def look_up(self, task_id: str, waiting: Waiting | None) -> Future[TaskRecord]:
        """Ask for a task's record."""


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
        if waiting.future.done() and isinstance(waiting.future.exception(), TrackerUnavailable):
            waiting = self._waiting = client.engine.room.enter(self.id)  # it may be back
        client.engine.watch(waiting)
        return client, waiting

    def _value(self, client: Asker, outcome: TaskFinished) -> Any:
        return codecs.decode(result_of(outcome), client.files)

    def _timed_out(self, timeout: float | None) -> ResultTimeout:
        return ResultTimeout(
            f"{self.operation or 'task'} {self.id} has not ended within {timeout:g} s; it goes on. "
            "Wait again, or look at its status()"
        )
