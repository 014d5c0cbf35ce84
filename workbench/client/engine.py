"""`Engine`: the connections of one client, on a loop in a thread of their own.

Its public methods may be called from any thread and return `concurrent.futures.Future`s. It moves messages; what they
mean is the producer's and the client's part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

import msgspec

from workbench.broker import ConnectionState, Consumer, Delivery, Outgoing, Publisher, RpcCaller, Topology
from workbench.broker.topology import Declaration
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
        self._topology = Topology(settings.namespace)
        self._url = settings.broker_url
        self._listens = listens
        self._thread = LoopThread(f"workbench {name}")
        self._watchers: set[asyncio.Task[None]] = set()
        self._closed = False
        self._thread.run(self._make()).result()

    async def _make(self) -> None:
        self._publisher = Publisher(self._url, self._topology, name=f"{self.name} publishes", on_state=self._on_state)
        self._caller = RpcCaller(self._topology)
        self._consumer: Consumer | None = None
        if self._listens:
            self._publisher.connection.add(self._caller)
            self._consumer = Consumer(
                self._url,
                self._topology,
                name=f"{self.name} consumes",
                queues={self._topology.client_queue(self.name): 0},
                declare=self._topology.client(self.name),
                auto_ack=True,
                on_delivery=self._on_delivery,
                on_open=self._on_open,
            )

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

    def publish(self, publications: Sequence[Outgoing], timeout: float) -> Future[None]:
        """Publish; done once all are confirmed, failed with `BrokerUnavailable` after `timeout` seconds."""
        self._check_open()
        return self._thread.run(self._publish(publications, timeout))

    def declare(self, declarations: Iterable[Declaration]) -> Future[None]:
        """Declare more of the topology, on this and each later connection."""
        self._check_open()
        return self._thread.run(self._publisher.declare(tuple(declarations)))

    def ask(self, request: rpc.AnyRequest, timeout: float) -> Future[rpc.AnyAnswer]:
        """Ask the tracker; fails with `TrackerUnavailable` after `timeout` seconds."""
        self._check_open()
        return self._thread.run(self._ask(request, timeout))

    def wait(self, waiting: Waiting, timeout: float | None) -> Future[messages.TaskFinished]:
        """Wait for a task's outcome; fails with `TimeoutError` after `timeout` seconds."""
        self._check_open()
        return self._thread.run(self._wait(waiting, timeout))

    def watch(self, waiting: Waiting) -> None:
        """See to it that the outcome of a task arrives, also where the task is somebody else's."""
        if waiting.future.done():
            return
        self._check_open()
        if not waiting.addressed and not waiting.watched:
            waiting.watched = True
            self._thread.loop.call_soon_threadsafe(self._spawn_watcher, [waiting.task_id])

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

    async def _publish(self, publications: Sequence[Outgoing], timeout: float) -> None:
        confirms = []
        try:
            async with asyncio.timeout(timeout):
                for message in publications:
                    await self._publisher.room()
                    confirms.append(self._publisher.publish_nowait(message))
                for confirm in confirms:
                    await confirm
        except TimeoutError:
            confirmed = sum(1 for confirm in confirms if confirm.done() and not confirm.cancelled())
            for confirm in confirms:
                confirm.cancel()
            raise BrokerUnavailable(
                f"the broker has confirmed {confirmed} of {len(publications)} tasks within {timeout:g} s "
                f"({self.reason or f'the connection is {self.state}'}). The others are given up here; "
                "those that were under way may still run"
            ) from None

    async def _ask(self, request: rpc.AnyRequest, timeout: float) -> rpc.AnyAnswer:
        answer = rpc.decode_answer(await self._caller.ask(rpc.encode(request), timeout=timeout))
        if isinstance(answer, rpc.Problem):
            raise WorkbenchError(f"the tracker could not answer: {answer.message}")
        return answer

    async def _wait(self, waiting: Waiting, timeout: float | None) -> messages.TaskFinished:
        async with asyncio.timeout(timeout):
            return await asyncio.shield(asyncio.wrap_future(waiting.future))

    def _spawn_watcher(self, task_ids: list[str]) -> None:
        watcher = asyncio.get_running_loop().create_task(self._watch(task_ids))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, task_ids: list[str]) -> None:
        """Ask for outcomes until all are known, or nobody holds on to them any more."""
        silent = 0
        while left := [task_id for task_id in task_ids if self._is_open(task_id)]:
            request = rpc.GetOutcomes(task_ids=tuple(left), timeout=HOLD)
            try:
                answer = await self._ask(request, HOLD + 10)
            except WorkbenchError as error:  # no answer, or one that says what is wrong
                silent += 1
                if silent >= PATIENCE:
                    for task_id in left:
                        self.room.unanswered(task_id, error)
                if not isinstance(error, TrackerUnavailable):
                    await asyncio.sleep(PAUSE)
                continue
            silent = 0
            assert isinstance(answer, rpc.Outcomes)
            self.room.answered(answer)
            if not answer.ended:
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
            self._spawn_watcher(open_ids[start : start + BATCH])

    def _on_state(self, state: ConnectionState, reason: str) -> None:
        if state is ConnectionState.BLOCKED:
            logger.warning("%s: %s", self.name, reason)

    async def _close(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
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
