"""`Worker`: deliveries in, attempts in slots, outcomes out; a delivery is acknowledged when its outcome is confirmed.

The worker's own process only moves messages, so its heartbeats never miss, whatever its tasks do. What goes where is
decided elsewhere (roster, intake, pace, lease, `core.retry`) and told elsewhere (herald, conclusions); this file ties
it all to the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self

import msgspec

from workbench.broker import Consumer, Delivery, Outgoing, Publisher, RpcCaller, Topology
from workbench.broker.topology import delay_headers, families
from workbench.core import headers, messages, routing
from workbench.core.control import AskHolder, Hold
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_name
from workbench.core.messages import Failure, OperationSpec, Task
from workbench.core.settings import Settings
from workbench.metrics import Family
from workbench.worker import herald
from workbench.worker.attempts import Attempts
from workbench.worker.clock import Clock
from workbench.worker.conclusions import Conclusions
from workbench.worker.control import Control
from workbench.worker.herald import Herald
from workbench.worker.holders import Fate, Found, Holders
from workbench.worker.lease import Leases
from workbench.worker.metrics import families as families_of
from workbench.worker.options import Options
from workbench.worker.pace import LONG, Pace
from workbench.worker.roster import Job, Roster
from workbench.worker.usage import Usage

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 30.0
MEMORY_CHECK = 0.25
PACE = 0.05
LEASE_CHECK = 1.0
PAUSE = 5.0
"""Seconds that a broker may take to stop delivering, however short the grace time is."""
MOST_GIVEN_BACK = 5
"""Times the broker may have delivered a task before it waits here rather than being given back: each one counts towards
the limit at which the broker takes a task for poison."""


class Worker:
    """One worker process: use it as an async context manager, and `drain` it at the end.

    Parameters
    ----------
    settings
        Where the broker and the store are.
    options
        How it works.
    """

    def __init__(self, settings: Settings, options: Options) -> None:
        self.name = routing.check_name(options.name or new_name(socket.gethostname().split(".")[0]))
        if options.lane is not None:
            routing.check_word(options.lane, "lane")
        self.families: tuple[str, ...] = ()
        self._settings = settings
        self._options = options
        self._topology = topology = Topology(settings.namespace)
        self._roster: Roster[Delivery] = Roster()
        self._busy_at = math.inf  # not before it has begun to consume
        self._specs: tuple[OperationSpec, ...] = ()
        self._pace = Pace(options.slots)
        self._leases = Leases(settings.ack_timeout)
        self._crowded = False
        self._changed = asyncio.Event()  # what the roster holds
        self.draining = False
        """Whether somebody has ordered it to stop, or it does."""
        self._tasks: set[asyncio.Future[None]] = set()
        self._publisher = Publisher(
            settings.broker_url, topology, name=f"{self.name} publishes", declare=topology.delays()
        )
        self._caller = RpcCaller(topology)
        self._control = Control(
            self._publisher,
            self._caller,
            topology,
            self.name,
            on_cancel=self._cancel,
            holds=self._holds,
            on_drain=self._told_to_drain,
        )
        self._publisher.connection.add(self._caller)
        self._publisher.connection.add(self._control)
        self._holders = Holders(self._caller, topology, self.name)
        self._clock = Clock()
        self._conclusions = Conclusions(self._publisher, topology, self.name, self._settle, self._clock)
        self._herald = Herald(
            self._publisher, topology, worker=self.name, slots=options.slots, lane=options.lane, clock=self._clock
        )
        self._usage = Usage()
        self._consumer: Consumer | None = None
        self._attempts = Attempts(
            settings,
            options,
            self.name,
            roster=self._roster,
            control=self._control,
            herald=self._herald,
            conclusions=self._conclusions,
            pace=self._pace,
            clock=self._clock,
        )

    def __repr__(self) -> str:
        return f"<Worker {self.name}: {', '.join(self.families) or 'starting'}, {self._roster.busy} busy>"

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been here to do."""
        return 0.0 if self._roster.held else max(0.0, time.monotonic() - self._busy_at)

    def measures(self) -> Iterator[Family]:
        """Return what the last heartbeat told, for Prometheus; nothing before the first."""
        beat = self._herald.last_beat
        return families_of(beat) if beat is not None else iter(())

    # --- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the slots, then take tasks.

        Raises
        ------
        WorkbenchError
            If the operations can't be loaded.
        BrokerUnavailable
            If the broker can't be reached in time, or says no. Later on it is waited for.
        """
        await self._publisher.__aenter__()
        self._attempts.start()
        ready = await self._attempts.ready
        self.families, self._specs = ready.families, ready.operations
        for family in set(self.families) - {routing.family_of(spec.name) for spec in self._specs}:
            raise WorkbenchError(
                f"no operation of the family {family!r} is known here: check its spelling, or name the module that has "
                "them with --include"
            )
        await self._publisher.connection.wait_open(CONNECT_TIMEOUT)
        await asyncio.gather(self._clock.begin(self._caller), self._control.begin(self.families, self._options.lane))
        queues = {self._topology.task_queue(name, self._options.lane): self._options.slots for name in self.families}
        self._consumer = Consumer(
            self._settings.broker_url,
            self._topology,
            name=f"{self.name} consumes",
            queues=queues,
            declare=families(self._topology, self.families, self._options.lane),
            on_delivery=self._on_delivery,
            on_open=self._on_open,
            on_lost=self._on_lost,
        )
        await self._consumer.__aenter__()
        self._spawn(self._every(herald.HEARTBEAT, self._beat))
        self._spawn(self._every(herald.STARTS, self._herald.tell_starts))
        self._spawn(self._every(herald.PROGRESS, self._herald.tell_progress))
        self._spawn(self._every(MEMORY_CHECK, self._attempts.check_memory))
        self._spawn(self._every(LEASE_CHECK, self._park_long_ones))
        self._spawn(self._keep_pace())
        self._spawn(self._clock.ask_on(self._caller))

    async def drain(self) -> None:
        """Take nothing more, give back what waits, and let what runs end, for as long as the grace time allows."""
        assert self._consumer is not None
        self.draining = True
        logger.info("draining: %d tasks still run", self._roster.busy)
        end = asyncio.get_running_loop().time() + self._options.grace
        waiting = self._roster.drain()
        with contextlib.suppress(TimeoutError):  # a broker that hangs keeps the worker no longer than its tasks may
            async with asyncio.timeout(max(PAUSE, self._options.grace)):
                await self._consumer.pause()
        for delivery in waiting:
            self._consumer.reject(delivery, requeue=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while True:
                    for delivery in self._roster.drain():  # it came until the pause had begun, or was looked into
                        self._consumer.reject(delivery, requeue=True)
                    if not self._roster.held:
                        break
                    self._changed.clear()
                    await self._changed.wait()
        if self._roster.held:
            logger.warning("%d tasks did not end in time: they go back to their queues", self._roster.held)

    async def close(self) -> None:
        """Stop: whatever was not acknowledged is delivered again, elsewhere. May be called twice."""
        if self._consumer is not None:
            await self._consumer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._control.close()
        await self._attempts.stop()
        self._conclusions.flush()
        self._herald.offline()
        await self._publisher.flush(2.0)
        await self._publisher.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a part of the worker failed", exc_info=error)

    @staticmethod
    async def _every(seconds: float, what: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            what()

    def _on_open(self) -> None:
        self._crowded = False
        self._busy_at = time.monotonic()
        self._herald.online(self.families, self._specs)
        logger.info("%s takes %s tasks in %d slots", self.name, ", ".join(self.families), self._options.slots)

    def _on_lost(self) -> None:
        assert self._consumer is not None
        self._leases.learn(self._consumer.ack_timeout)
        self._roster.lost()

    # --- deliveries -------------------------------------------------------------------------------

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            task = messages.decode_task(delivery.body)
        except msgspec.DecodeError as error:
            buried = self._conclusions.bury(delivery, f"the message can't be read as a task: {error}")
            buried.add_done_callback(functools.partial(self._ack, delivery))
            return
        holder = delivery.headers.get(headers.HOLDER)
        was_delivered = holder is not None or delivery.count > 0 or headers.AGAIN in delivery.headers
        if not was_delivered or self._roster.holds((task.task_id, task.attempt)) or self._control.is_cancelled(task):
            self._take(task, delivery)
        else:
            self._spawn(self._look_into(task, None if holder is None else str(holder), delivery))

    def _take(self, task: Task, delivery: Delivery) -> None:
        if (held := self._roster.holds((task.task_id, task.attempt))) is not None and held.slot is not None:
            self._herald.started(msgspec.structs.replace(self._attempts.start_of(held), adopted_at=self._clock.stamp()))
        if (job := self._roster.arrived(task, delivery.body, delivery)) is not None:
            self._attempts.run(job)

    async def _look_into(self, task: Task, holder: str | None, delivery: Delivery) -> None:
        """Ask about a task that was delivered before: another worker may run it still, or have ended it."""
        if self._has_ended(task):
            found = Found(Fate.DROP)
        elif holder is None:
            found = await self._holders.of_redelivery(task)
        else:
            found = await self._holders.of_copy(task, holder)
        if not delivery.channel.is_open:
            return  # void meanwhile: the broker delivers it again
        if found.fate is Fate.RUN and not self._has_ended(task):  # another delivery of it may have been run meanwhile
            # `expires` is about the start, and that was in time.
            self._take(msgspec.structs.replace(task, expires_at=None) if found.began else task, delivery)
            self._changed.set()
        elif found.fate is Fate.WAIT:
            self._park(task, delivery, found.holder)
        else:
            self._drop(task, delivery, found.failure)

    def _has_ended(self, task: Task) -> bool:
        return self._leases.has_ended((task.task_id, task.attempt), time.monotonic())

    def _drop(self, task: Task, delivery: Delivery, failure: Failure | None) -> None:
        """Acknowledge the message of a task that is over; see to it first that a dead letter is there."""
        assert self._consumer is not None
        buried = None if failure is None else self._conclusions.bury_again(task, delivery, failure)
        if buried is not None:
            buried.add_done_callback(functools.partial(self._ack, delivery))
        else:
            self._consumer.ack(delivery)

    # --- orders -----------------------------------------------------------------------------------

    def _cancel(self, task_id: str, replay: int, reason: str) -> None:
        self._control.remember(task_id, replay, reason)  # also where it is here: it may be about to be tried again
        if (job := self._roster.find(task_id, replay)) is not None:
            self._attempts.cancel(job, reason)

    def _holds(self, question: AskHolder) -> Hold:
        key = (question.task_id, question.attempt)
        if self._roster.holds(key) is not None:
            return Hold.RUNNING
        return Hold.ENDED if self._leases.has_ended(key, time.monotonic()) else Hold.UNKNOWN

    def _told_to_drain(self) -> int:
        logger.info("somebody has ordered it to stop")
        self.draining = True  # whoever runs it looks
        return self._roster.busy

    def _park_long_ones(self) -> None:
        for job, delivery in self._leases.due(self._roster.running(), time.monotonic()):
            job.deliveries.remove(delivery)
            self._leases.parked(job.key)
            self._park(job.task, delivery, self.name)

    def _park(self, task: Task, delivery: Delivery, holder: str) -> None:
        """Let a copy of the task wait in the broker in place of the delivery."""
        copy = Outgoing(
            self._topology.delayed,
            delivery.routing_key,
            delivery.body,
            message_id=task.task_id,
            headers={**delay_headers(self._leases.wait), headers.HOLDER: holder},
        )
        self._publisher.publish_nowait(copy).add_done_callback(functools.partial(self._ack, delivery))

    # --- acknowledgements -------------------------------------------------------------------------

    def _settle(self, job: Job[Delivery], done: asyncio.Future[Any]) -> None:
        deliveries = self._roster.settled(job)
        self._busy_at = time.monotonic()
        if not done.cancelled() and done.exception() is None:
            self._leases.ended(job.key, self._busy_at)
        self._changed.set()
        for delivery in deliveries:
            self._ack(delivery, done)

    def _ack(self, delivery: Delivery, done: asyncio.Future[Any]) -> None:
        assert self._consumer is not None
        if done.cancelled() or done.exception() is not None:
            self._consumer.reject(delivery)  # what is kept unacknowledged counts against the prefetch
        else:
            self._consumer.ack(delivery)

    # --- from time to time ------------------------------------------------------------------------

    def _beat(self) -> None:
        self._herald.beat(
            self._attempts.starts(),
            memory=self._attempts.memory(),
            cpu=self._usage.cores(self._attempts.processes()),
            done=self._attempts.done,
            draining=self.draining,
        )

    async def _keep_pace(self) -> None:
        """Hold more deliveries where tasks are short, and give back what waits behind one that isn't."""
        assert self._consumer is not None
        while True:
            await asyncio.sleep(PACE)
            oldest = self._attempts.oldest()
            if self._pace.too_many(oldest, self._roster.waiting):
                await self._consumer.hold_ahead(0)
                self._give_back(lambda delivery: delivery.ahead)
            else:
                await self._consumer.hold_ahead(self._pace.ahead())
            if len(self.families) > 1:
                await self._share(oldest)

    async def _share(self, oldest: float) -> None:
        """Let no family's tasks wait here behind another's: each queue's prefetch alone would fill all the slots."""
        assert self._consumer is not None
        idle = self._roster.idle
        if self._roster.waiting and not idle and oldest >= LONG:
            self._crowded = True
        if not self._crowded:
            return
        if idle >= self._options.slots:
            self._crowded = False
            await self._consumer.take(None)
        else:
            await self._consumer.take(idle)
            if not idle:
                self._give_back(lambda _delivery: True)

    def _give_back(self, which: Callable[[Delivery], bool]) -> None:
        assert self._consumer is not None
        for delivery in self._roster.give_back(lambda each: which(each) and each.count < MOST_GIVEN_BACK):
            self._consumer.reject(delivery)
