"""`Client`: a producer that also receives outcomes and asks the tracker."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from workbench.client import bridge
from workbench.client.handle import TaskHandle
from workbench.client.outcomes import Waiting
from workbench.client.producer import Producer
from workbench.core import rpc
from workbench.core.errors import InvalidArguments, TaskNotFound, WorkbenchError
from workbench.core.messages import OperationSpec, Task
from workbench.core.rpc import Stats, Workbench
from workbench.core.states import State, TaskRecord, fold
from workbench.operations import registry
from workbench.values.files import Files

RPC_TIMEOUT = 10.0
MOST_TASKS = 1000
ANNOUNCED_FOR = 30.0
"""Seconds what workers announced is taken for true: a submission by name alone then needs no question of its own."""

A = TypeVar("A", bound=rpc.AnyAnswer)


class Client(Producer):
    """Submits tasks, brings back results, and answers questions about any task of the workbench.

    Parameters
    ----------
    url
        The broker's address, `amqp(s)://user:password@host:port/vhost`; None to find the running workbench.
    directory
        Where the running workbench keeps its data, if not in the default place.
    settings
        All settings instead, as `LocalCluster` has them.

    Examples
    --------
    In a notebook (or any coroutine)::

        client = wb.Client()
        task = client.submit("image.thumbnail", "photo.jpg", size=(256, 256))
        picture = await client.result(task.id)
    """

    _listens = True
    _announced: Mapping[str, OperationSpec] = {}
    _announced_until = 0.0

    # --- one task ---------------------------------------------------------------------------------

    async def result(self, task_id: str, timeout: float | None = None) -> Any:
        """Wait for the result of any task, whoever submitted it.

        Parameters
        ----------
        task_id
            Its id.
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
        TrackerUnavailable
            If no tracker answers.
        """
        return await self.get(task_id).wait(timeout)

    async def status(self, task_id: str) -> TaskRecord:
        """Ask for what is known of a task.

        Raises
        ------
        TaskNotFound
            If the tracker has no such task.
        TrackerUnavailable
            If no tracker answers.
        """
        return await bridge.wait(self.look_up(task_id, self.engine.room.find(task_id)))

    def get(self, task_id: str) -> TaskHandle:
        """Return a handle of any task, by its id, without asking anybody yet."""
        if not isinstance(task_id, str):
            raise TypeError(f"a task id is a string, got {type(task_id).__name__}; a handle's is handle.id")
        return TaskHandle(task_id, client=self, waiting=self.engine.room.enter(task_id))

    # --- all of them ------------------------------------------------------------------------------

    async def tasks(
        self,
        *,
        state: str | None = None,
        operation: str | None = None,
        worker: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[TaskRecord]:
        """List tasks, newest first.

        Parameters
        ----------
        state, operation, worker
            Only those that match.
        before
            Only those older than the task with this id: the last of a page starts the next.
        limit
            How many at most, up to 1,000.
        """
        if state is not None and state not in set(State):
            raise InvalidArguments(f"state takes one of {', '.join(State)}, got {state!r}")
        if not 1 <= limit <= MOST_TASKS:
            raise InvalidArguments(f"limit takes a number from 1 to {MOST_TASKS}, got {limit}; page with `before`")
        wanted = None if state is None else State(state)
        request = rpc.ListTasks(state=wanted, operation=operation, worker=worker, before=before, limit=limit)
        return list((await self._ask(request, rpc.Tasks)).records)

    async def stats(self) -> Stats:
        """Count the tasks by state."""
        return await self._ask(rpc.GetStats(), rpc.Stats)

    async def workbench(self) -> Workbench:
        """Ask who is there: the workers, and what they can do."""
        return await self._ask(rpc.GetWorkbench(), rpc.Workbench)

    # --- used by handles --------------------------------------------------------------------------

    def look_up(self, task_id: str, waiting: Waiting | None) -> Future[TaskRecord]:
        """Ask for a task's record, and add what this client knows better."""
        found: Future[TaskRecord] = Future()

        def answered(asked: Future[rpc.AnyAnswer]) -> None:
            try:
                found.set_result(self._record(task_id, waiting, asked.result()))
            except Exception as error:
                found.set_exception(error)

        self.engine.ask(rpc.GetTasks(task_ids=(task_id,)), RPC_TIMEOUT).add_done_callback(answered)
        return found

    def _record(self, task_id: str, waiting: Waiting | None, answer: rpc.AnyAnswer) -> TaskRecord:
        assert isinstance(answer, rpc.Tasks)
        record = answer.records[0] if answer.records else None
        if waiting is not None and waiting.future.done() and waiting.future.exception() is None:
            return fold(record, waiting.future.result())  # the outcome came here before the tracker had it
        if record is None and waiting is not None and waiting.addressed:
            return TaskRecord(task_id=task_id, client=self.engine.name)  # accepted, and on its way to the tracker
        if record is None:
            raise TaskNotFound(f"the tracker has no task {task_id}")
        return record

    # --- producer's seams -------------------------------------------------------------------------

    @functools.cached_property
    def files(self) -> Files:
        """Which files can be referred to, and where large values go; asked for where only an address was given."""
        if self.settings.store:
            return Files(self.settings.store, self.settings.roots)
        facts = self._facts()
        return Files(facts.store, facts.roots)

    def _facts(self) -> Workbench:
        answer = self.engine.ask(rpc.GetWorkbench(), RPC_TIMEOUT).result()
        assert isinstance(answer, Workbench)
        return answer

    def _foreign_spec(self, name: str) -> OperationSpec:
        """Return the spec that workers announced for an operation that isn't registered here."""
        now = time.monotonic()
        if name not in self._announced or now > self._announced_until:
            self._announced = {spec.name: spec for spec in self._facts().operations}
            self._announced_until = now + ANNOUNCED_FOR
        if name not in self._announced:
            raise registry.unknown(name, self._announced)
        return self._announced[name]

    def _handle(self, task: Task) -> TaskHandle:
        waiting = self.engine.room.enter(task.task_id, addressed=True)
        return TaskHandle(task.task_id, task.operation, client=self, waiting=waiting)

    async def _ask(self, request: rpc.AnyRequest, kind: type[A]) -> A:
        answer = await bridge.wait(self.engine.ask(request, RPC_TIMEOUT))
        if not isinstance(answer, kind):
            raise WorkbenchError(f"the tracker answered {type(answer).__name__}, not {kind.__name__}")
        return answer
