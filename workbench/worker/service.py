"""`Worker`: deliveries in, attempts in slots, outcomes out; a delivery is acknowledged when its outcome is confirmed.

The worker's own process only moves messages, so its heartbeats never miss, whatever its tasks do. What goes where is
the roster's decision, what a failure leads to is `core.retry`'s; this file ties them to the broker and the slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from workbench.broker import ConnectionState, Consumer, Delivery, Outgoing, Publisher, Topology
from workbench.broker.topology import TASKS_STARTED, delay_headers, families
from workbench.core import messages, retry, routing
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_name
from workbench.core.messages import (
    Failure,
    OperationSpec,
    Status,
    TaskFinished,
    TasksStarted,
    TaskStarted,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
    utcnow,
)
from workbench.core.settings import Settings
from workbench.worker import wire
from workbench.worker.outbox import Outbox
from workbench.worker.pace import Pace
from workbench.worker.roster import Job, Roster
from workbench.worker.slots import Slot, context, resident_memory

logger = logging.getLogger(__name__)

HEARTBEAT = 5.0
STARTS = 0.05
"""Seconds a start waits to be told: a task that has ended by then needs no event of its own."""
MEMORY_CHECK = 0.25
PACE = 0.05
MOST_FAILED_STARTS = 5
MOST_GIVEN_BACK = 5
"""Times the broker may have delivered a task before it waits here rather than being given back: each one counts towards
the limit at which the broker takes a task for poison."""

WorkerJob = Job[Delivery]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works.

    Parameters
    ----------
    families
        Whose queues it consumes from; None for all that its operations belong to.
    include
        Modules with a user's operations.
    lane
        Consume from this lane's queues instead of the families' own.
    slots
        How many tasks run at once.
    memory_limit
        Bytes one slot may use; None for no limit.
    recycle_after
        Replace a slot's process after so many attempts; None for never.
    grace
        Seconds that running tasks have to end when the worker is told to stop.
    name
        How the worker is called; None for the host's name and a random part.
    """

    families: tuple[str, ...] | None = None
    include: tuple[str, ...] = ()
    lane: str | None = None
    slots: int = 1
    memory_limit: int | None = None
    recycle_after: int | None = None
    grace: float = 60.0
    name: str | None = None


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
        self.families: tuple[str, ...] = ()
        self._settings = settings
        self._options = options
        self._topology = Topology(settings.namespace)
        self._roster: Roster[Delivery] = Roster()
        self._started: dict[str, TaskStarted] = {}  # not told yet
        self._jobs: dict[int, WorkerJob] = {}  # by slot
        self._done = 0
        self._announced = False
        self._failed_starts = 0  # since a child last came up
        self._specs: tuple[OperationSpec, ...] = ()
        self._ready: asyncio.Future[wire.Ready] = asyncio.get_running_loop().create_future()
        self._pace = Pace(options.slots)
        self._settled = asyncio.Event()
        self._tasks: set[asyncio.Future[None]] = set()
        self._publisher = Publisher(
            settings.broker_url, self._topology, name=f"{self.name} publishes", declare=self._topology.delays()
        )
        self._outbox = Outbox(self._publisher, self._topology)
        self._consumer: Consumer | None = None
        self._scratch = _scratch_directory(settings, self.name)
        processes = context(options.include)
        self._slots = [Slot(number, self._config(number), self, processes) for number in range(1, options.slots + 1)]

    def __repr__(self) -> str:
        return f"<Worker {self.name}: {', '.join(self.families) or 'starting'}, {self._roster.busy} busy>"

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
        """
        await self._publisher.__aenter__()
        for slot in self._slots:
            self._spawn(self._start(slot))
        ready = await self._ready
        self.families, self._specs = ready.families, ready.operations
        for family in set(self.families) - {routing.family_of(spec.name) for spec in self._specs}:
            raise WorkbenchError(
                f"no operation of the family {family!r} is known here: check its spelling, or name the module that has "
                "them with --include"
            )
        queues = {self._topology.task_queue(name, self._options.lane): self._options.slots for name in self.families}
        self._consumer = Consumer(
            self._settings.broker_url,
            self._topology,
            name=f"{self.name} consumes",
            queues=queues,
            declare=families(self._topology, self.families, self._options.lane),
            on_delivery=self._on_delivery,
            on_open=self._on_open,
            on_lost=self._roster.lost,
        )
        await self._consumer.__aenter__()
        self._spawn(self._every(HEARTBEAT, self._beat))
        self._spawn(self._every(STARTS, self._tell_starts))
        self._spawn(self._every(MEMORY_CHECK, self._check_memory))
        self._spawn(self._keep_pace())

    async def drain(self) -> None:
        """Take nothing more, give back what waits, and let what runs end, for as long as the grace time allows."""
        assert self._consumer is not None
        logger.info("draining: %d tasks still run", self._roster.busy)
        waiting = self._roster.drain()
        await self._consumer.pause()
        for delivery in waiting + self._roster.drain():  # some came until the pause had begun
            self._consumer.reject(delivery, requeue=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace):
                while self._roster.held:
                    self._settled.clear()
                    await self._settled.wait()
        if self._roster.held:
            logger.warning("%d tasks did not end in time: they go back to their queues", self._roster.held)

    async def close(self) -> None:
        """Stop: whatever was not acknowledged is delivered again, elsewhere. May be called twice."""
        if self._consumer is not None:
            await self._consumer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        offline = WorkerOffline(worker=self.name, at=utcnow())
        self._outbox.flush()
        if self._announced:
            self._tell("worker.offline", messages.encode(offline))
        await self._publisher.flush(2.0)
        await self._publisher.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _config(self, slot: int) -> wire.ChildConfig:
        return wire.ChildConfig(
            settings=self._settings,
            include=self._options.include,
            families=self._options.families,
            scratch=str(self._scratch / f"slot-{slot}"),
            memory_limit=self._options.memory_limit,
        )

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a part of the worker failed", exc_info=error)
            if not self._ready.done():
                self._ready.set_exception(error)

    @staticmethod
    async def _every(seconds: float, what: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            what()

    # --- deliveries -------------------------------------------------------------------------------

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            task = messages.decode_task(delivery.body)
        except msgspec.DecodeError as error:
            self._bury(delivery, f"the message can't be read as a task: {error}")
            return
        if (job := self._roster.arrived(task, delivery.body, delivery)) is not None:
            self._run(job)

    def _run(self, job: WorkerJob) -> None:
        assert job.slot is not None
        task, now = job.task, utcnow()
        if task.attempt == 1 and task.expires_at is not None and task.expires_at < now:
            self._drop_expired(job, job.slot)
            return
        self._jobs[job.slot] = job
        job.began = now
        self._started[task.task_id] = TaskStarted(
            task_id=task.task_id, attempt=task.attempt, worker=self.name, slot=job.slot, started_at=now
        )
        self._slots[job.slot - 1].run(job.body, task.timeout)

    def _bury(self, delivery: Delivery, reason: str) -> None:
        """Put what can't be done where somebody can look at it, with the reason."""
        logger.warning("dead letter %s from %s: %s", delivery.message_id, delivery.queue, reason)
        letter = Outgoing(
            self._topology.dead,
            delivery.routing_key,
            delivery.body,
            message_id=delivery.message_id,
            headers={"x-workbench-reason": reason, "x-workbench-worker": self.name},
        )
        self._publisher.publish_nowait(letter).add_done_callback(lambda done: self._ack(delivery, done))

    def _drop_expired(self, job: WorkerJob, slot: int) -> None:
        self._roster.ended(job)
        failure = Failure(
            type="Expired", message=f"the task was not started before {job.task.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        self._finish(job, self._outcome(job, Status.EXPIRED, None, failure=failure))
        asyncio.get_running_loop().call_soon(self._free, self._slots[slot - 1])  # a whole queue may have expired

    # --- worker.slots.Listener --------------------------------------------------------------------

    def slot_ready(self, slot: Slot, ready: wire.Ready) -> None:
        """Let a fresh child take tasks."""
        self._failed_starts = 0
        if not self._ready.done():
            self._ready.set_result(ready)
        self._free(slot)

    def slot_failed(self, slot: Slot, failure: Failure, output: str) -> None:
        """Start another child, ever more slowly; give up where not one has ever come up."""
        self._failed_starts += 1
        logger.error("slot %d can't start: %s\n%s%s", slot.number, failure, failure.traceback, output)
        if not self._ready.done() and (failure.type == "WorkbenchError" or self._failed_starts >= MOST_FAILED_STARTS):
            self._ready.set_exception(WorkbenchError(f"no slot can start: {failure}"))
        else:
            self._spawn(self._start(slot, min(0.1 * 2**self._failed_starts, 10.0)))

    async def _start(self, slot: Slot, delay: float = 0.0) -> None:
        await asyncio.sleep(delay)
        try:
            await slot.restart()
        except (OSError, EOFError) as error:  # no memory, no file descriptors, or the fork server has died
            self.slot_failed(slot, Failure(type=type(error).__name__, message=str(error)), "")

    def slot_reported(self, slot: Slot, report: wire.Report, output: str) -> None:
        """Send an attempt's outcome, and give the slot the next task."""
        job = self._jobs.get(slot.number)
        if job is None or job.task.task_id != report.task_id:
            slot.kill(
                Failure(type="WorkerProcessDied", message="the slot's process spoke of a task that it doesn't run")
            )
            return
        del self._jobs[slot.number]
        self._roster.ended(job)
        self._pace.ended(_seconds_since(job.began))
        outcome = self._outcome(job, report.status, slot.number, failure=report.failure, output=output)
        peak = max(report.peak_memory or 0, slot.peak) or None
        self._conclude(
            job, msgspec.structs.replace(outcome, result=report.result, summary=report.summary, peak_memory=peak)
        )
        if self._options.recycle_after is not None and slot.done >= self._options.recycle_after:
            self._spawn(self._start(slot))
        else:
            self._free(slot)

    def slot_died(self, slot: Slot, failure: Failure, exit_signal: int | None, output: str) -> None:
        """Send the outcome of the attempt that a child took with it, and start another child."""
        logger.warning("slot %d: %s", slot.number, failure)
        self._roster.gone(slot.number)
        job = self._jobs.pop(slot.number, None)
        if job is not None:
            self._roster.ended(job)
            outcome = self._outcome(job, Status.FAILED, slot.number, failure=failure, output=output)
            self._conclude(
                job, msgspec.structs.replace(outcome, exit_signal=exit_signal, peak_memory=slot.peak or None)
            )
        self._spawn(self._start(slot))

    def _free(self, slot: Slot) -> None:
        if slot.takes_tasks and (job := self._roster.freed(slot.number)) is not None:
            self._run(job)

    # --- outcomes ---------------------------------------------------------------------------------

    def _outcome(
        self, job: WorkerJob, status: Status, slot: int | None, *, failure: Failure | None = None, output: str = ""
    ) -> TaskFinished:
        task = job.task
        return TaskFinished(
            task_id=task.task_id,
            operation=task.operation,
            client=task.client,
            attempt=task.attempt,
            status=status,
            worker=self.name,
            slot=slot,
            started_at=job.began,
            finished_at=utcnow(),
            failure=failure,
            output=output,
        )

    def _conclude(self, job: WorkerJob, outcome: TaskFinished) -> None:
        """Decide between the end and another attempt."""
        self._done += 1
        self._started.pop(job.task.task_id, None)
        decision = retry.Decision()
        if outcome.status is Status.FAILED and outcome.failure is not None:
            decision = retry.decide(job.task, outcome.failure, now=outcome.finished_at, draw=random.random())  # noqa: S311
        if decision.delay is None:
            self._finish(job, outcome)
        else:
            self._retry(job, outcome, decision.delay)

    def _finish(self, job: WorkerJob, outcome: TaskFinished) -> None:
        """Publish the outcome; the delivery is acknowledged when the broker has confirmed it."""
        self._outbox.put(outcome, lambda done: self._settle(job, done))

    def _retry(self, job: WorkerJob, outcome: TaskFinished, delay: float) -> None:
        """Put the next attempt where it waits in the broker, then tell; acknowledge when both are confirmed."""
        task, at = job.task, utcnow() + timedelta(seconds=delay)
        again = msgspec.structs.replace(task, attempt=task.attempt + 1, queued_at=at)
        told = msgspec.structs.replace(outcome, status=Status.RETRY, retry_at=at)
        waiting = self._publisher.publish_nowait(
            Outgoing(
                self._topology.delayed,
                routing.routing_key(task.operation, task.lane),
                messages.encode(again),
                message_id=task.task_id,
                headers=delay_headers(delay),
            )
        )

        def waits(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._finish(job, told)
            else:
                self._settle(job, done)

        waiting.add_done_callback(waits)

    def _settle(self, job: WorkerJob, done: asyncio.Future[Any]) -> None:
        deliveries = self._roster.settled(job)
        self._settled.set()
        for delivery in deliveries:
            self._ack(delivery, done)

    def _ack(self, delivery: Delivery, done: asyncio.Future[Any]) -> None:
        assert self._consumer is not None
        if done.cancelled() or done.exception() is not None:
            self._consumer.reject(delivery)  # what is kept unacknowledged counts against the prefetch
        else:
            self._consumer.ack(delivery)

    # --- what is told from time to time -----------------------------------------------------------

    def _on_open(self) -> None:
        online = WorkerOnline(
            worker=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            families=self.families,
            lane=self._options.lane,
            slots=self._options.slots,
            operations=self._specs,
            at=utcnow(),
        )
        self._announced = True
        self._tell("worker.online", messages.encode(online))
        logger.info("%s takes %s tasks in %d slots", self.name, ", ".join(self.families), self._options.slots)

    def _beat(self) -> None:
        if self._publisher.connection.state is not ConnectionState.OPEN:
            return  # old heartbeats are no news, and would pile up
        memory = resident_memory(os.getpid()) + sum(resident_memory(slot.pid) for slot in self._slots if slot.pid)
        beat = WorkerHeartbeat(worker=self.name, busy=self._roster.busy, memory=memory, done=self._done, at=utcnow())
        self._tell("worker.heartbeat", messages.encode(beat))

    def _tell_starts(self) -> None:
        if self._started:
            starts, self._started = tuple(self._started.values()), {}
            self._tell(TASKS_STARTED, messages.encode(TasksStarted(starts=starts)))

    def _tell(self, key: str, body: bytes) -> None:
        self._publisher.publish_nowait(Outgoing(self._topology.events, key, body, message_id=new_name(key)))

    async def _keep_pace(self) -> None:
        """Hold more deliveries where tasks are short, and give back what waits behind one that isn't."""
        assert self._consumer is not None
        while True:
            await asyncio.sleep(PACE)
            oldest = max((_seconds_since(job.began) for job in self._jobs.values()), default=0.0)
            if self._pace.too_many(oldest, self._roster.waiting):
                await self._consumer.hold_ahead(0)
                for delivery in self._roster.give_back(_may_go):
                    self._consumer.reject(delivery)
            else:
                await self._consumer.hold_ahead(self._pace.ahead())

    def _check_memory(self) -> None:
        for number in list(self._jobs):
            self._slots[number - 1].check_memory()


def _may_go(delivery: Delivery) -> bool:
    return delivery.ahead and delivery.count < MOST_GIVEN_BACK


def _seconds_since(began: datetime | None) -> float:
    return (utcnow() - began).total_seconds() if began is not None else 0.0


def _scratch_directory(settings: Settings, name: str) -> Path:
    """Return where attempts make files: on the store's own file system where it is local, so that a file is moved."""
    if settings.store.startswith("/"):
        return Path(settings.store) / "scratch" / name
    return Path(tempfile.gettempdir()) / f"workbench-{name}"
