"""`Attempts`: what runs in a worker's slots, from the moment a job has a slot until its outcome is on the way.

Which job comes next is the roster's decision; what follows from an outcome is the conclusions' part.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable

import msgspec

from workbench.broker import Delivery
from workbench.core.errors import WorkbenchError
from workbench.core.messages import Failure, Status, TaskFinished, TaskProgress, TaskStarted
from workbench.core.settings import Settings
from workbench.worker import intake, wire
from workbench.worker.clock import Clock
from workbench.worker.conclusions import Conclusions
from workbench.worker.control import Control
from workbench.worker.herald import Herald
from workbench.worker.options import Options
from workbench.worker.pace import Pace
from workbench.worker.roster import Job, Roster
from workbench.worker.scratch import Scratch
from workbench.worker.slots import Slot, context, resident_memory

logger = logging.getLogger(__name__)

MOST_FAILED_STARTS = 5

WorkerJob = Job[Delivery]


class Attempts:
    """The slots and their jobs; told by the slots what happens in them (`worker.slots.Listener`).

    Parameters
    ----------
    settings, options, worker
        What the slots' children are told, and how many there are.
    roster, control, herald, conclusions, pace, clock
        The worker's other parts.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        worker: str,
        *,
        roster: Roster[Delivery],
        control: Control,
        herald: Herald,
        conclusions: Conclusions,
        pace: Pace,
        clock: Clock,
    ) -> None:
        self.done = 0  # attempts that have ended
        self.ready: asyncio.Future[wire.Ready] = asyncio.get_running_loop().create_future()
        """Done once the first child has come up, failed if none can."""
        self._settings = settings
        self._options = options
        self._worker = worker
        self._roster = roster
        self._control = control
        self._herald = herald
        self._conclusions = conclusions
        self._pace = pace
        self._clock = clock
        self._jobs: dict[int, WorkerJob] = {}  # by slot
        self._failed_starts = 0  # since a child last came up
        self._starting: set[asyncio.Future[None]] = set()
        self._scratch = Scratch(settings, worker)
        self._scratch.claim()
        processes = context(options.include)
        self._slots = [Slot(number, self._config(number), self, processes) for number in range(1, options.slots + 1)]

    def _config(self, slot: int) -> wire.ChildConfig:
        return wire.ChildConfig(
            settings=self._settings,
            include=self._options.include,
            families=self._options.families,
            scratch=str(self._scratch.path / f"slot-{slot}"),
            memory_limit=self._options.memory_limit,
        )

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to start all slots, and to remove what workers have left that were killed."""
        for slot in self._slots:
            self._spawn(self._start(slot))
        self._spawn(asyncio.to_thread(self._scratch.tidy))

    async def stop(self) -> None:
        """End all slots, whatever runs in them."""
        for starting in self._starting:
            starting.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        self._scratch.remove()

    def _spawn(self, work: Awaitable[None]) -> None:
        starting = asyncio.ensure_future(work)
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    async def _start(self, slot: Slot, delay: float = 0.0) -> None:
        await asyncio.sleep(delay)
        try:
            await slot.restart()
        except Exception as error:  # no memory, no file descriptors, or the fork server has died
            self.slot_failed(slot, Failure(type=type(error).__name__, message=str(error)), "")

    # --- what runs --------------------------------------------------------------------------------

    def run(self, job: WorkerJob) -> None:
        """Start a job in the slot it was given, unless it comes too late."""
        assert job.slot is not None
        task, now = job.task, self._clock.now()
        if self._control.is_cancelled(task):
            self._skip(job, Status.CANCELLED, _cancelled("before it was started", self._control.reason(task)))
            return
        if (late := intake.too_late(task, now)) is not None:
            self._skip(job, *late)
            return
        self._jobs[job.slot] = job
        job.began, job.began_at = self._clock.stamp(), time.monotonic()
        self._herald.started(self.start_of(job))
        limits = intake.limits_of(task, now)
        self._slots[job.slot - 1].run(
            task,
            job.body,
            timeout=limits.hard,
            soft_timeout=limits.soft,
            timeout_failure=limits.failure,
        )

    def cancel(self, job: WorkerJob, reason: str) -> None:
        """End a job that is held here, wherever it is."""
        if job.slot is not None:
            self._slots[job.slot - 1].cancel(reason)
        elif self._roster.withdraw(job):
            self._drop(job, Status.CANCELLED, _cancelled("before it was started", reason))

    def _skip(self, job: WorkerJob, status: Status, failure: Failure) -> None:
        """End a job whose turn has come, without starting it; the slot takes the next one."""
        slot = job.slot
        assert slot is not None
        self._roster.ended(job)
        self._drop(job, status, failure)
        asyncio.get_running_loop().call_soon(self._free, self._slots[slot - 1])  # a whole queue may go this way

    def _drop(self, job: WorkerJob, status: Status, failure: Failure) -> None:
        self._control.dropped(job.task)
        self._conclusions.conclude(job, self._conclusions.outcome(job, status, None, failure=failure))

    def _free(self, slot: Slot) -> None:
        if slot.takes_tasks and (job := self._roster.freed(slot.number)) is not None:
            self.run(job)

    def starts(self) -> list[TaskStarted]:
        """Return the starts of all that runs."""
        return [self.start_of(job) for job in self._jobs.values()]

    def start_of(self, job: WorkerJob) -> TaskStarted:
        """Return the start of a job that runs."""
        assert job.slot is not None
        assert job.began is not None
        return TaskStarted(
            task_id=job.task.task_id,
            attempt=job.task.attempt,
            replay=job.task.replay,
            worker=self._worker,
            slot=job.slot,
            started_at=job.began,
        )

    def oldest(self) -> float:
        """Return the seconds that the longest of the running attempts has run."""
        now = time.monotonic()
        return max((now - job.began_at for job in self._jobs.values()), default=0.0)

    def processes(self) -> list[int]:
        """Return the ids of the worker's process and its children's."""
        return [os.getpid(), *(slot.pid for slot in self._slots if slot.pid)]

    def memory(self) -> int:
        """Return the bytes that the worker and its children have in use."""
        return sum(map(resident_memory, self.processes()))

    def check_memory(self) -> None:
        """Sample what running attempts use, and kill what uses too much."""
        for number in list(self._jobs):
            self._slots[number - 1].check_memory()

    # --- worker.slots.Listener --------------------------------------------------------------------

    def slot_ready(self, slot: Slot, ready: wire.Ready) -> None:
        """Let a fresh child take tasks."""
        self._failed_starts = 0
        if not self.ready.done():
            self.ready.set_result(ready)
        self._free(slot)

    def slot_failed(self, slot: Slot, failure: Failure, output: str) -> None:
        """Start another child, ever more slowly; give up where not one has ever come up."""
        self._failed_starts += 1
        logger.error("slot %d can't start: %s\n%s%s", slot.number, failure, failure.traceback, output)
        if not self.ready.done() and (failure.type == "WorkbenchError" or self._failed_starts >= MOST_FAILED_STARTS):
            self.ready.set_exception(WorkbenchError(f"no slot can start: {failure}"))
        else:
            self._spawn(self._start(slot, min(0.1 * 2**self._failed_starts, 10.0)))

    def slot_progressed(self, slot: Slot, progress: wire.Progress) -> None:
        """Tell how far a task says it is."""
        job = self._jobs.get(slot.number)
        if job is not None and job.task.task_id == progress.task_id:
            self._herald.progressed(
                TaskProgress(
                    task_id=progress.task_id,
                    attempt=job.task.attempt,
                    replay=job.task.replay,
                    fraction=progress.fraction,
                    message=progress.message,
                    at=self._clock.stamp(),
                )
            )

    def slot_reported(self, slot: Slot, report: wire.Report, output: str) -> None:
        """Send an attempt's outcome, and give the slot the next task."""
        job = self._jobs.get(slot.number)
        if job is None or job.task.task_id != report.task_id:
            slot.kill(
                Failure(type="WorkerProcessDied", message="the slot's process spoke of a task that it doesn't run")
            )
            return
        self._pace.ended(time.monotonic() - job.began_at)
        failure = report.failure
        if report.status is Status.CANCELLED:
            failure = _cancelled("while it ran", slot.cancelled_for or "")
        outcome = self._conclusions.outcome(job, report.status, slot.number, failure=failure, output=output)
        peak = max(report.peak_memory or 0, slot.peak) or None
        self._ended(
            slot,
            job,
            msgspec.structs.replace(
                outcome, result=report.result, summary=report.summary, peak_memory=peak, notes=report.notes
            ),
        )
        worn = self._options.recycle_after is not None and slot.done >= self._options.recycle_after
        if worn or report.status is Status.CANCELLED:  # processes that it has started, and left, end with its child
            self._spawn(self._start(slot))
        else:
            self._free(slot)

    def slot_died(self, slot: Slot, failure: Failure, exit_signal: int | None, output: str) -> None:
        """Send the outcome of the attempt that a child took with it, and start another child."""
        logger.warning("slot %d: %s", slot.number, failure)
        self._roster.gone(slot.number)
        job = self._jobs.get(slot.number)
        if job is not None:
            status = Status.FAILED
            if slot.cancelled_for is not None:
                status, failure = Status.CANCELLED, _cancelled("while it ran, and killed", slot.cancelled_for)
            outcome = self._conclusions.outcome(job, status, slot.number, failure=failure, output=output)
            self._ended(
                slot, job, msgspec.structs.replace(outcome, exit_signal=exit_signal, peak_memory=slot.peak or None)
            )
        self._spawn(self._start(slot))

    def _ended(self, slot: Slot, job: WorkerJob, outcome: TaskFinished) -> None:
        del self._jobs[slot.number]
        self.done += 1
        self._roster.ended(job)
        self._herald.ended(job.task.task_id)
        if outcome.status is not Status.FAILED:  # after a failure another attempt may come, to be dropped
            self._control.dropped(job.task)
        self._conclusions.conclude(job, outcome)


def _cancelled(when: str, reason: str) -> Failure:
    return Failure(type="Cancelled", message=f"the task was cancelled {when}{f': {reason}' if reason else ''}")
