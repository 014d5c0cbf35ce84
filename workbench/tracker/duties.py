"""The tracker's duties: what it does by itself, about twice a second, and at once when a task is to be cancelled.

Orders to workers to end what was cancelled, the ends of tasks that nobody else ends, and the news of lost workers. What
to say is decided in `endings`; each is said through the broker, as a fact like any other, so that saying it again after
a crash changes nothing. Nothing is said before everything that has come in is recorded: a heartbeat or an outcome may
be among it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta

from workbench.broker import Outgoing
from workbench.broker.topology import ALL_WORKERS, TASK_LOST, finished_key
from workbench.core import control
from workbench.core.errors import WorkbenchError
from workbench.core.messages import TaskFinished, TaskLost, encode, utcnow
from workbench.core.states import State, TaskRecord
from workbench.tracker import endings
from workbench.tracker.access import Access
from workbench.tracker.questions import SILENCE, Due

logger = logging.getLogger(__name__)

ROUND = 0.5
"""Seconds between two rounds."""

GRACE = 0.5
"""Seconds a worker has to say that it has a task which is to be cancelled."""

SLACK = 2.0
"""Seconds past its time after which the tracker ends a task itself: workers' clocks differ, and theirs comes first."""

LISTEN = SILENCE + 3.0
"""Seconds the tracker has to have listened before it takes a silent worker for lost."""

AGAIN = 5.0
"""Seconds after which something is said again that hasn't been recorded, or obeyed, yet."""

_TOGETHER = 1000  # ids in one order
_PATIENCE = 30.0  # seconds for the broker to confirm


class Duties:
    """Does them, from `run` to its cancelling.

    Parameters
    ----------
    access
        What it works with.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._trouble = ""  # of the last round: said once, not in each
        self._listening_since: float | None = None
        self._ordered: dict[str, tuple[float, float]] = {}  # by task id: when its end was ordered first, and last
        self._said: dict[str, float] = {}  # by message id

    def wake(self) -> None:
        """Begin a round now: a task is to be cancelled."""
        self._wake.set()

    def listening(self, whether: bool) -> None:
        """Learn that facts come in from now on, or don't: a silence is a worker's only while somebody listens."""
        self._listening_since = self._loop.time() if whether else None

    async def run(self) -> None:
        """Do one round after the other, for ever."""
        while True:
            self._wake.clear()
            trouble = ""
            try:
                await self._round()
            except (WorkbenchError, TimeoutError) as error:
                trouble = str(error) or "the broker confirms nothing"
                if trouble != self._trouble:
                    logger.warning("the tracker's duties have to wait: %s", trouble)
            except Exception:
                logger.exception("the tracker's duties failed this time")
            self._trouble = trouble
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND):
                    await self._wake.wait()

    async def _round(self) -> None:
        due = await self._look()
        await self._order(due.cancels)
        if not self._decide(due) or not await self._access.up_to_date():
            return
        await self._say(self._decide(await self._look()))

    async def _look(self) -> Due:
        before = utcnow() - timedelta(seconds=SLACK)
        return await self._access.ask(lambda: self._access.database.due(now=utcnow(), before=before))

    async def _order(self, cancels: Sequence[TaskRecord]) -> None:
        """Tell workers to end tasks: each once, and again while one of them has it and doesn't."""
        now = self._loop.time()
        told = {record.task_id: self._ordered.get(record.task_id) for record in cancels}
        running = {record.task_id for record in cancels if record.state is State.RUNNING}
        replays = {record.task_id: record.replay for record in cancels}
        new = [
            (task_id, replays[task_id])
            for task_id, times in told.items()
            if times is None or (task_id in running and now - times[1] >= AGAIN)
        ]
        for first in range(0, len(new), _TOGETHER):
            order = control.CancelTasks(tasks=tuple(new[first : first + _TOGETHER]))
            await self._access.inspector.call_out(self._access.topology.control, ALL_WORKERS, control.encode(order))
        sent = {task_id: ((told[task_id] or (now, now))[0], now) for task_id, _ in new}
        self._ordered = {task_id: times for task_id, times in told.items() if times is not None} | sent

    def _decide(self, due: Due) -> list[TaskFinished | TaskLost]:
        now, time = utcnow(), self._loop.time()
        words: list[TaskFinished | TaskLost | None] = [endings.overdue(record, now=now) for record in due.overdue]
        for record in due.cancels:
            first, _ = self._ordered.get(record.task_id, (time, time))
            if time - first >= GRACE:
                words.append(endings.cancelled(record, due.workers.get(record.worker or ""), now=now))
        if self._listening_since is not None and time - self._listening_since >= LISTEN:
            words += [endings.lost(record, due.workers.get(record.worker or ""), now=now) for record in due.running]
        self._said = {key: at for key, at in self._said.items() if time - at < AGAIN}
        return [word for word in words if word is not None and _id_of(word) not in self._said]

    async def _say(self, words: Iterable[TaskFinished | TaskLost]) -> None:
        saying = [self._access.publisher.publish(self._outgoing(word)) for word in words]
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(*saying)
        for word in words:
            self._said[_id_of(word)] = self._loop.time()

    def _outgoing(self, word: TaskFinished | TaskLost) -> Outgoing:
        if isinstance(word, TaskLost):
            logger.warning("worker %s is gone with attempt %d of task %s", word.worker, word.attempt, word.task_id)
            key = TASK_LOST
        else:
            logger.info("task %s ends as %s: %s", word.task_id, word.status.value, word.failure)
            key = finished_key(word.client)
        return Outgoing(self._access.topology.events, key, encode(word), message_id=_id_of(word))


def _id_of(word: TaskFinished | TaskLost) -> str:
    lost = "/lost" if isinstance(word, TaskLost) else ""
    return f"{word.task_id}/{word.attempt}{lost}"
