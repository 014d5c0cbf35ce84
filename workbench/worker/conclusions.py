"""`Conclusions`: what follows from an attempt that has ended. Its outcome is told, then its delivery acknowledged.

The order that nothing is lost by: what goes on (the next attempt, a dead letter) and what is told (the outcome) are
confirmed by the broker before the delivery is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from workbench.broker import Delivery, Outgoing, Publisher, Topology
from workbench.broker.topology import delay_headers
from workbench.core import headers, messages, retry, routing
from workbench.core.messages import Failure, Status, Task, TaskFinished
from workbench.worker.clock import Clock
from workbench.worker.outbox import Outbox
from workbench.worker.roster import Job

logger = logging.getLogger(__name__)

Done = asyncio.Future[Any]

_KINDS = {"reject": "Rejected", retry.UNKNOWN: retry.UNKNOWN}


class Conclusions:
    """Concludes attempts.

    Parameters
    ----------
    publisher, topology
        Where everything goes.
    worker
        The worker's name.
    settle
        Called with a job and the future of the last message about it: acknowledges its deliveries, or gives them back
        where the message was given up.
    clock
        Tells the time.
    """

    def __init__(
        self,
        publisher: Publisher,
        topology: Topology,
        worker: str,
        settle: Callable[[Job[Delivery], Done], None],
        clock: Clock,
    ) -> None:
        self._publisher = publisher
        self._topology = topology
        self._worker = worker
        self._settle = settle
        self._clock = clock
        self._outbox = Outbox(publisher, topology)

    def flush(self) -> None:
        """Send what waits a moment for others."""
        self._outbox.flush()

    def outcome(
        self, job: Job[Delivery], status: Status, slot: int | None, *, failure: Failure | None = None, output: str = ""
    ) -> TaskFinished:
        """Make the outcome of an attempt that has just ended; `slot` is None where it never began."""
        task = job.task
        return TaskFinished(
            task_id=task.task_id,
            operation=task.operation,
            client=task.client,
            attempt=task.attempt,
            replay=task.replay,
            status=status,
            worker=self._worker,
            slot=slot,
            started_at=job.began,
            finished_at=self._clock.stamp(),
            failure=failure,
            output=output,
        )

    def conclude(self, job: Job[Delivery], outcome: TaskFinished) -> None:
        """Tell an outcome; where it is a failure, let what the policy says follow."""
        if outcome.status is not Status.FAILED or outcome.failure is None:
            self._tell(job, outcome)
            return
        draw = random.random()  # noqa: S311 - not a secret
        decision = retry.decide(job.task, outcome.failure, now=self._clock.now(), draw=draw)
        if decision.delay is not None:
            self._again(job, outcome, decision.delay)
            return
        if decision.note:
            hint = " ".join(filter(None, (outcome.failure.hint, decision.note)))
            outcome = msgspec.structs.replace(outcome, failure=msgspec.structs.replace(outcome.failure, hint=hint))
        if decision.dead:
            self._give_up(job, outcome, decision.dead)
        else:
            self._tell(job, outcome)

    def bury(self, delivery: Delivery, reason: str) -> Done:
        """Put a message that isn't a task among the dead letters."""
        logger.warning("dead letter %s from %s: %s", delivery.message_id, delivery.queue, reason)
        return self._letter(delivery.body, delivery.routing_key, delivery.message_id, "Unreadable", reason)

    def bury_again(self, task: Task, delivery: Delivery, failure: Failure) -> Done | None:
        """Put a task that is known to have failed among the dead letters, where it belongs there; None elsewhere.

        Who told its end may have died before this. Where that isn't so it lies there twice, which does no harm: both
        letters become the same replay.
        """
        decision = retry.decide(task, failure, now=self._clock.now(), draw=0.0)
        return self._dead_letter(task, delivery.body, failure, decision.dead) if decision.dead else None

    def _tell(self, job: Job[Delivery], outcome: TaskFinished) -> None:
        self._outbox.put(outcome, lambda done: self._settle(job, done))

    def _again(self, job: Job[Delivery], outcome: TaskFinished, delay: float) -> None:
        """Put the next attempt where it waits in the broker, then tell."""
        task, at = job.task, self._clock.stamp() + timedelta(seconds=delay)
        told = msgspec.structs.replace(outcome, status=Status.RETRY, retry_at=at)
        waiting = self._publisher.publish_nowait(
            Outgoing(
                self._topology.delayed,
                routing.routing_key(task.operation, task.lane),
                messages.encode(msgspec.structs.replace(task, attempt=task.attempt + 1, queued_at=at)),
                message_id=task.task_id,
                headers=delay_headers(delay),
            )
        )
        self._then(job, waiting, lambda: self._tell(job, told))

    def _give_up(self, job: Job[Delivery], outcome: TaskFinished, reason: str) -> None:
        """Tell, then put the task where somebody can look at it and send it again."""
        failure = outcome.failure
        assert failure is not None

        def bury() -> None:
            buried = self._dead_letter(job.task, job.body, failure, reason)
            buried.add_done_callback(lambda done: self._settle(job, done))

        self._outbox.put(outcome, lambda done: self._then(job, done, bury))

    def _dead_letter(self, task: Task, body: bytes, failure: Failure, reason: str) -> Done:
        kind = _KINDS.get(failure.asks or failure.type, "OutOfAttempts")
        key = routing.routing_key(task.operation, task.lane)
        return self._letter(body, key, task.task_id, kind, reason, told=True)

    def _letter(self, body: bytes, key: str, message_id: str, kind: str, reason: str, *, told: bool = False) -> Done:
        marks: dict[str, Any] = {
            headers.REASON: reason,
            headers.REASON_TYPE: kind,
            headers.BY_WORKER: self._worker,
            headers.AT: self._clock.stamp().isoformat(),
        }
        if told:
            marks[headers.TOLD] = True
        return self._publisher.publish_nowait(Outgoing(self._topology.dead, key, body, message_id, marks))

    def _then(self, job: Job[Delivery], done: Done, follow: Callable[[], None]) -> None:
        """Go on once a message is confirmed; give the job back where it is given up."""

        def confirmed(done: Done) -> None:
            if not done.cancelled() and done.exception() is None:
                follow()
            else:
                self._settle(job, done)

        done.add_done_callback(confirmed)
