"""`Client`: a producer that also receives outcomes and asks the tracker."""

from __future__ import annotations

import functools
import os
import time
import weakref
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar, TypeVar, overload

from workbench.broker.letters import Letter
from workbench.client import bridge, cancel, dead, questions
from workbench.client.cancel import TIMEOUT as CANCEL_TIMEOUT
from workbench.client.cancel import Cancellation
from workbench.client.engine import Engine
from workbench.client.frame import proxy_of
from workbench.client.handle import TaskHandle
from workbench.client.live import Live
from workbench.client.outcomes import Waiting
from workbench.client.producer import Producer
from workbench.client.screen import Screen
from workbench.client.targets import One, Targets, ids_of, is_one
from workbench.core import rpc
from workbench.core.errors import InvalidArguments, TrackerUnavailable
from workbench.core.messages import OperationSpec, Task
from workbench.core.rpc import AttemptRecord, Stats, Workbench
from workbench.core.states import State, TaskRecord
from workbench.operations import registry
from workbench.values.files import Files

RPC_TIMEOUT = 10.0
MOST_TASKS = 1000
ANNOUNCED_FOR = 30.0
"""Seconds what workers announced is taken for true: a submission by name alone then needs no question of its own."""

A = TypeVar("A", bound=rpc.AnyAnswer)
R = TypeVar("R")


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
    _screens: ClassVar[weakref.WeakKeyDictionary[Engine, Screen]] = weakref.WeakKeyDictionary()  # views share theirs

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
        return TaskHandle(task_id, client=self, waiting=self.engine.room.enter_anew(task_id))

    async def why(self, task: One) -> str:
        """Say in one sentence where a task stands and what it waits for.

        The tracker knows best. Where it doesn't answer within 5 s, or the broker is blocked by an alarm or can't be
        reached, the sentence says that, and what this client knows by itself.

        Parameters
        ----------
        task
            Its id or its handle.
        """
        (task_id,) = ids_of(task)
        return await self._run(questions.why(self.engine, self.engine.room.enter(task_id)))

    async def attempts(self, task: One) -> list[AttemptRecord]:
        """List the executions of a task, in order: who ran it when, and how that ended.

        Raises
        ------
        TaskNotFound
            If the tracker has no such task.
        TrackerUnavailable
            If no tracker answers.
        """
        (task_id,) = ids_of(task)
        return await self._run(questions.attempts(self.engine, task_id))

    # --- one or several ---------------------------------------------------------------------------

    @overload  # a str is an iterable of strs, too: the first one is meant
    async def cancel(  # type: ignore[overload-overlap]
        self, tasks: One, *, reason: str = "", timeout: float = CANCEL_TIMEOUT
    ) -> Cancellation: ...
    @overload
    async def cancel(
        self, tasks: Iterable[One], *, reason: str = "", timeout: float = CANCEL_TIMEOUT
    ) -> list[Cancellation]: ...
    async def cancel(
        self, tasks: Targets, *, reason: str = "", timeout: float = CANCEL_TIMEOUT
    ) -> Cancellation | list[Cancellation]:
        """Ask for the end of tasks, wherever they are, and wait for it.

        The intent is a durable message: it is carried out also where the tracker or the worker is away right now, and
        it stays when this returns.

        Parameters
        ----------
        tasks
            A task's id or handle, or several of them.
        reason
            What the record says, up to 500 characters.
        timeout
            Seconds to wait in all.

        Returns
        -------
        Cancellation or list of Cancellation
            What came of it, for one task or, in their order, for several: `state`, and a `sentence` for people. A task
            that ends by itself before the order reaches its worker keeps that end.

        Raises
        ------
        TaskNotFound
            If the tracker has no such task, and this client hasn't submitted it. Nothing is cancelled then.
        BrokerUnavailable
            If the broker doesn't confirm the intent in time; `BrokerBlocked` where an alarm is why.
        """
        told = await self._run(cancel.cancel(self.engine, ids_of(tasks), reason=reason, timeout=timeout))
        return told[0] if is_one(tasks) else told

    async def pin(self, tasks: Targets) -> list[str]:
        """Keep the results of these tasks beyond their retention time; return their ids.

        Raises
        ------
        TaskNotFound
            If the tracker lacks one of them; the others are pinned.
        """
        return await self._run(questions.pin(self.engine, ids_of(tasks), pinned=True))

    async def unpin(self, tasks: Targets) -> list[str]:
        """Let the results of these tasks go after their retention time again. As `pin` in all else."""
        return await self._run(questions.pin(self.engine, ids_of(tasks), pinned=False))

    # --- dead letters -----------------------------------------------------------------------------

    async def dead_letters(
        self, limit: int = 100, *, operation: str | None = None, reason_type: str | None = None
    ) -> list[Letter]:
        """List dead letters, the oldest first: what could not be delivered, done, read or recorded.

        Parameters
        ----------
        limit
            How many at most, up to 10,000.
        operation, reason_type
            Only those that match.

        Raises
        ------
        BrokerUnavailable
            If the broker can't be reached, or somebody else goes through the letters for too long.
        """
        choice = dead.Choice(operation=operation, reason_type=reason_type)
        return await self._run(dead.browse(self.engine, choice, limit))

    async def dead_letter(self, letter_id: str) -> Letter:
        """Return one dead letter, by the id of its task or of its message; raise `TaskNotFound` where there is none."""
        return await self._run(dead.find(self.engine, letter_id))

    async def replay(
        self,
        letters: Targets | None = None,
        *,
        all: bool = False,  # noqa: A002 - what it says
        operation: str | None = None,
        reason_type: str | None = None,
        timeout: float = dead.TIMEOUT,
    ) -> list[TaskHandle]:
        """Send dead letters again.

        A task gets a new attempt, under the same id and with its history, without the time limits it had. A letter
        leaves the queue when the broker has confirmed what it became.

        Parameters
        ----------
        letters
            The ids of their tasks (or messages), or the letters.
        all
            All that can be sent again, instead.
        operation, reason_type
            All of these, instead.
        timeout
            Seconds for all of it.

        Returns
        -------
        list of TaskHandle
            One for each, which waits for the new outcome.

        Raises
        ------
        TaskNotFound
            If there is no such letter; nothing is sent then.
        InvalidArguments
            If a letter that was named is neither a task nor an outcome; nothing is sent then.
        BrokerUnavailable
            If the broker doesn't confirm in time. What it did confirm is sent, and off the queue.
        """
        choice = dead.Choice.of(None if letters is None else ids_of(letters), all, operation, reason_type)
        sent = await self._run(dead.replay(self.engine, choice, timeout))
        return [TaskHandle(each.task_id, each.operation, client=self, waiting=waiting) for each, waiting in sent]

    async def purge_dead(
        self,
        letters: Targets | None = None,
        *,
        all: bool = False,  # noqa: A002 - what it says
        operation: str | None = None,
        reason_type: str | None = None,
        timeout: float = dead.TIMEOUT,
    ) -> int:
        """Remove dead letters for good; return how many. Their tasks stay on record. Chosen as `replay` chooses."""
        choice = dead.Choice.of(None if letters is None else ids_of(letters), all, operation, reason_type)
        return await self._run(dead.purge(self.engine, choice, timeout))

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

    def dashboard(self, *, read_only: bool = False, height: int = 760, proxy: str | None = None) -> Screen:
        """Show the live dashboard in a notebook cell.

        It runs in a process of its own, so that a busy kernel doesn't stop it, and ends with the client. A client has
        one: where it's shown again, it's shown there instead.

        Parameters
        ----------
        read_only
            Whether everything that changes something is left out.
        height
            Of the frame, in pixels.
        proxy
            The base path of a notebook server on another machine than the browser, which passes the dashboard on with
            `jupyter-server-proxy`: `"/"` as a rule. By default what `WORKBENCH_DASHBOARD_PROXY` says, then JupyterHub;
            `""` for none.

        Raises
        ------
        WorkbenchError
            If Panel isn't installed, or the dashboard doesn't come up; the message has what it said.

        Examples
        --------
        As the last line of a cell::

            client.dashboard()
        """
        shown, base = self._screens.get(self.engine), proxy_of(proxy, os.environ)
        if shown is None or not shown.open or (shown.read_only, shown.proxy) != (read_only, base):
            if shown is not None:
                shown.close()
            shown = self._screens[self.engine] = Screen(self.settings, read_only=read_only, proxy=base)
        shown.height = height
        return shown

    def close(self) -> None:
        """Close the connections, and the dashboard. Tasks go on without them. May be called twice."""
        if (shown := self._screens.pop(self.engine, None)) is not None:
            shown.close()
        super().close()

    @functools.cached_property
    def live(self) -> Live:
        """What a live view asks: changes, searches, queues and failures; and to retry, discard and drain."""
        return Live(self.engine)

    # --- used by handles --------------------------------------------------------------------------

    def look_up(self, task_id: str, waiting: Waiting | None, timeout: float | None = None) -> Future[TaskRecord]:
        """Ask for a task's record, and add what this client knows better."""
        return questions.look_up(self.engine, task_id, waiting, RPC_TIMEOUT if timeout is None else timeout)

    # --- producer's seams -------------------------------------------------------------------------

    @functools.cached_property
    def files(self) -> Files:
        """Which files can be referred to, and where large values go; asked for where only an address was given."""
        if self.settings.store:
            return Files(self.settings.store, self.settings.roots)
        facts = self._facts()
        return Files(facts.store, facts.roots)

    def _facts(self) -> Workbench:
        return self.engine.ask(rpc.GetWorkbench(), Workbench, RPC_TIMEOUT).result()

    def _foreign_spec(self, name: str) -> OperationSpec:
        """Return the spec that workers announced for an operation that isn't registered here."""
        now = time.monotonic()
        if name not in self._announced or now > self._announced_until:
            try:
                self._announced = {spec.name: spec for spec in self._facts().operations}
            except TrackerUnavailable:
                if name not in self._announced:
                    raise
                # What was announced is old, but better than an error while the broker or the tracker is away.
            self._announced_until = now + ANNOUNCED_FOR
        if name not in self._announced:
            raise registry.unknown(name, self._announced)
        return self._announced[name]

    def _handle(self, task: Task) -> TaskHandle:
        waiting = self.engine.room.enter(task.task_id, addressed=True)
        return TaskHandle(task.task_id, task.operation, client=self, waiting=waiting)

    async def _run(self, work: Coroutine[Any, Any, R]) -> R:
        return await bridge.wait(self.engine.run(work))

    async def _ask(self, request: rpc.AnyRequest, kind: type[A]) -> A:
        return await bridge.wait(self.engine.ask(request, kind, RPC_TIMEOUT))
