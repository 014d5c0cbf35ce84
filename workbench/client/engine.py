"""`Engine`: the connections of one client, on a loop in a thread of their own.

Its public methods may be called from any thread and return `concurrent.futures.Future`s. It moves messages; what they
mean is the producer's and the client's part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from workbench.broker import ConnectionState, Consumer, Delivery, Outgoing, Publisher, RpcCaller, Topology, trouble
from workbench.broker.deadletters import DeadLetters
from workbench.broker.topology import TASK_CANCEL, Declaration
from workbench.client.bridge import LoopThread
from workbench.client.outcomes import Waiting, WaitingRoom
from workbench.core import messages, rpc
from workbench.core.errors import BrokerUnavailable, TrackerUnavailable, WorkbenchError
from workbench.core.settings import Settings

logger = logging.getLogger(__name__)

HOLD = 20.0
"""Seconds the tracker may hold an answer back until a task ends."""
PATIENCE = 2
"""Unanswered requests for an outcome (about half a minute each) before whoever waits is told."""
BATCH = 500
PAUSE = 1.0
"""Seconds before the next request for outcomes where an answer had none."""
WITHDRAW_FOR = 600.0
"""Seconds the broker may take to take the withdrawal of a submission in that was given up."""

GIVEN_UP = (
    ". The others are given up here. Those that were under way are withdrawn as soon as the broker takes that in; they "
    "may run before"
)

T = TypeVar("T")
A = TypeVar("A", bound=rpc.AnyAnswer)


class Engine:
    """The connections of one client.

    Parameters
    ----------
    settings
        Where the broker is.
    name
        The client's name: its queue and its tasks carry it.
    listens
        Whether outcomes are received and the tracker can be asked: a client's engine does, a producer's doesn't.
    """

    def __init__(self, settings: Settings, name: str, *, listens: bool) -> None:
        self.name = name
        self.room = WaitingRoom()
        self.topology = Topology(settings.namespace)
        self._url = settings.broker_url
        self._listens = listens
        self._thread = LoopThread(f"workbench {name}")
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False
        self._thread.run(self._make()).result()

    async def _make(self) -> None:
        self._publisher = Publisher(self._url, self.topology, name=f"{self.name} publishes", on_state=self._on_state)
        self._caller = RpcCaller(self.topology)
        self.dead_letters = DeadLetters(self.topology, self._publisher)
        self._consumer: Consumer | None = None
        if self._listens:
            self._publisher.connection.add(self._caller)
            self._consumer = Consumer(
                self._url,
                self.topology,
                name=f"{self.name} consumes",
                queues={self.topology.client_queue(self.name): 0},
                declare=self.topology.client(self.name),
                auto_ack=True,
                on_delivery=self._on_delivery,
                on_open=self._on_open,
            )
            self._consumer.connection.add(self.dead_letters)  # an alarm stops connections that publish

    # --- from any thread --------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """What the publishing connection does."""
        return self._publisher.connection.state

    @property
    def reason(self) -> str:
        """Why it isn't open, where it isn't."""
        return self._publisher.connection.reason

    def connect(self, timeout: float) -> None:
        """Open the connections.

        Raises
        ------
        BrokerUnavailable
            After `timeout` seconds, with the reason; at once where the broker refuses the credentials.
        """
        self._thread.run(self._connect(timeout)).result()

    @property
    def address(self) -> str:
        """The broker's host and port."""
        return self._publisher.connection.address

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the engine's loop; what it waits for has to be bounded."""
        try:
            self._check_open()
        except BrokerUnavailable:
            work.close()
            raise
        return self._thread.run(work)

    def publish(self, publications: Sequence[Outgoing], timeout: float, what: str = "tasks") -> Future[None]:
        """Publish; done once all are confirmed, failed with `BrokerUnavailable` after `timeout` seconds.

        Tasks that were given up, and that the broker may have taken all the same, are withdrawn in the background.
        """
        return self.run(self._publish(publications, timeout, what))

    def declare(self, declarations: Iterable[Declaration], timeout: float) -> Future[None]:
        """Declare more of the topology, on this and each later connection; fails as `publish` does."""
        return self.run(self._declare(tuple(declarations), timeout))

    def ask(self, request: rpc.AnyRequest, kind: type[A], timeout: float) -> Future[A]:
        """Ask the tracker for an answer of one `kind`.

        Fails after `timeout` seconds: with `TrackerUnavailable`, or with `BrokerUnavailable` (`BrokerBlocked` where it
        is blocked) where the broker is what is missing; with `WorkbenchError` where the answer is another one.
        """
        return self.run(self._ask(request, kind, timeout))

    async def call(self, body: bytes, timeout: float, *, exchange: str, key: str) -> bytes:
        """Ask whoever a key leads to, on the engine's loop; raise `NobodyThere` where no queue takes it."""
        return await self._caller.ask(body, timeout=timeout, exchange=exchange, key=key)

    def wait(self, waiting: Waiting, timeout: float | None) -> Future[messages.TaskFinished]:
        """Wait for a task's outcome; fails with `TimeoutError` after `timeout` seconds."""
        return self.run(self._wait(waiting, timeout))

    async def wait_blocked(self) -> None:
        """Wait, on the engine's loop, until the broker blocks this client; ends only then: cancel it."""
        await self._publisher.connection.wait_blocked()

    def watch(self, *waitings: Waiting) -> None:
        """See to it that the outcomes of tasks arrive, also where the tasks are somebody else's."""
        still = [waiting for waiting in waitings if not waiting.future.done()]
        if still:
            self._check_open()
        unwatched = [waiting for waiting in still if not waiting.addressed and not waiting.watched]
        for waiting in unwatched:
            waiting.watched = True
        for start in range(0, len(unwatched), BATCH):
            task_ids = [waiting.task_id for waiting in unwatched[start : start + BATCH]]
            self._thread.loop.call_soon_threadsafe(self._spawn, self._watch, task_ids)

    def close(self) -> None:
        """Close the connections and end the thread. May be called twice."""
        if not self._closed:
            self._closed = True
            try:
                self._thread.run(self._close()).result(20)
            finally:
                self._thread.stop()

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable("this client is closed; make a new one")

    # --- on the loop ------------------------------------------------------------------------------

    async def _connect(self, timeout: float) -> None:
        connections = [self._publisher.connection]
        if self._consumer is not None:
            connections.append(self._consumer.connection)
        for connection in connections:
            connection.start()
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(_outcome(connection.wait_open(timeout))) for connection in connections]
        for wait in waits:
            if (error := wait.result()) is not None:
                raise error

    async def _publish(self, publications: Sequence[Outgoing], timeout: float, what: str) -> None:
        confirms: list[asyncio.Future[None]] = []
        try:
            async with asyncio.timeout(timeout):
                for message in publications:
                    await self._publisher.room()
                    confirms.append(self._publisher.publish_nowait(message))
                for confirm in confirms:
                    await confirm
        except TimeoutError:
            given_up = self._publisher.give_up(
                confirms,
                f"the broker has confirmed {{confirmed}} of {len(publications)} {what} within {timeout:g} s",
                GIVEN_UP if what == "tasks" else "",
            )
            if given_up.sent:
                self._spawn(self._withdraw, given_up.sent)
            raise given_up.error from None

    async def _declare(self, declarations: Sequence[Declaration], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._publisher.connection.wait_open(timeout)
                await self._publisher.declare(declarations)
        except TimeoutError:
            raise self._trouble(f"the broker has not declared what the task needs within {timeout:g} s") from None

    def _trouble(self, what: str) -> BrokerUnavailable:
        refusal = self._publisher.connection.refusal
        return trouble.explain(what, state=self.state, reason=self.reason, address=self.address, refusal=refusal)

    async def _withdraw(self, given_up: Sequence[Outgoing]) -> None:
        """Ask for the end of tasks whose submission was given up: the tracker, or a worker, may have a copy."""
        confirms = []
        try:
            async with asyncio.timeout(WITHDRAW_FOR):
                for message in given_up:
                    if (withdrawal := self._withdrawal(message)) is not None:
                        await self._publisher.room()
                        confirms.append(self._publisher.publish_nowait(withdrawal))
                await asyncio.gather(*confirms)
        except (TimeoutError, BrokerUnavailable) as error:
            for confirm in confirms:
                confirm.cancel()
            logger.warning("submissions that were given up could not all be withdrawn, and may run: %s", error)

    def _withdrawal(self, message: Outgoing) -> Outgoing | None:
        if message.exchange != self.topology.submit:
            return None
        task = messages.decode_task(message.body)
        wish = messages.CancelRequested(
            task_id=task.task_id,
            at=messages.utcnow(),
            reason="its submission was not confirmed in time, and was given up",
            operation=task.operation,
            client=task.client,
            replay=task.replay,
        )
        return self.cancel_message(wish)

    def cancel_message(self, wish: messages.CancelRequested) -> Outgoing:
        """Return the message that brings a wish to end a task to the tracker."""
        return Outgoing(self.topology.events, TASK_CANCEL, messages.encode(wish), message_id=f"{wish.task_id}/cancel")

    async def _ask(self, request: rpc.AnyRequest, kind: type[A], timeout: float) -> A:
        try:
            return await self._caller.ask_tracker(request, kind, timeout=timeout)
        except TrackerUnavailable:
            if self.state is ConnectionState.OPEN or self._closed:
                raise
            raise self._trouble(f"no answer from the tracker within {timeout:g} s") from None

    async def _wait(self, waiting: Waiting, timeout: float | None) -> messages.TaskFinished:
        async with asyncio.timeout(timeout):
            return await asyncio.shield(asyncio.wrap_future(waiting.future))

    def _spawn(self, work: Callable[[Sequence[T]], Coroutine[Any, Any, None]], items: Sequence[T]) -> None:
        task = asyncio.get_running_loop().create_task(work(items))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _watch(self, task_ids: Sequence[str]) -> None:
        """Ask for outcomes until all are known, or nobody holds on to them any more."""
        silent = 0
        while left := [task_id for task_id in task_ids if self._is_open(task_id)]:
            request = rpc.GetOutcomes(task_ids=tuple(left), timeout=HOLD)
            try:
                answer = await self._ask(request, rpc.Outcomes, HOLD + 10)
            except WorkbenchError as error:  # no answer, or one that says what is wrong
                silent += 1
                if silent >= PATIENCE:
                    for task_id in left:
                        self.room.unanswered(task_id, error)
                if not isinstance(error, TrackerUnavailable):
                    await asyncio.sleep(PAUSE)
                continue
            silent = 0
            self.room.answered(answer)
            if all(map(self._is_open, left)):  # none has ended, or what has isn't what is waited for
                await asyncio.sleep(PAUSE)

    def _is_open(self, task_id: str) -> bool:
        waiting = self.room.find(task_id)
        return waiting is not None and not waiting.future.done()

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            event = messages.decode(delivery.body)
        except msgspec.DecodeError as error:
            logger.warning("an event can't be read: %s", error)
            return
        match event:
            case messages.TasksFinished(outcomes=outcomes):
                for outcome in outcomes:
                    self.room.ended(outcome)
            case messages.TaskFinished():
                self.room.ended(event)
            case messages.TrackerOnline():
                self._caller.ask_again()

    def _on_open(self) -> None:
        """After a reconnect: outcomes may have been published while this client's queue was gone."""
        open_ids = self.room.open()
        for start in range(0, len(open_ids), BATCH):
            self._spawn(self._watch, open_ids[start : start + BATCH])

    def _on_state(self, state: ConnectionState, reason: str) -> None:
        if state is ConnectionState.BLOCKED:
            logger.warning("%s: %s", self.name, reason)

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        await self._publisher.close()
        self._caller.close()
        if self._consumer is not None:
            await self._consumer.close()
        for task_id in self.room.open():
            self.room.failed(task_id, BrokerUnavailable("this client was closed while the task was waited for"))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:  # their callers learn the reason, not that they were cancelled
            await asyncio.wait(others, timeout=1.0)


async def _outcome(work: asyncio.Future[None] | object) -> BrokerUnavailable | None:
    try:
        await work  # type: ignore[misc]
    except BrokerUnavailable as error:
        return error
    return None
