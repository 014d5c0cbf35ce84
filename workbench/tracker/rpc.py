"""Answers to what clients ask: from the database, and for outcomes as soon as there is one."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import ParamSpec, TypeVar

import msgspec

from workbench.broker import Topology
from workbench.broker.inspect import QueueDepth
from workbench.core import rpc
from workbench.core.errors import BrokerUnavailable, WorkbenchError
from workbench.core.messages import utcnow
from workbench.core.routing import family_of
from workbench.core.settings import Settings
from workbench.tracker.database import Database
from workbench.tracker.live import LiveAnswers
from workbench.tracker.views import brief
from workbench.tracker.waiting import Waiting
from workbench.tracker.why import MOST_AHEAD, View, why

logger = logging.getLogger(__name__)

YOUNG = 10.0
"""Seconds after a task's id was made within which it may be on its way here still, and so isn't unknown yet."""

LOOK_AGAIN = 1.0
"""Seconds between two looks for a task that may be on its way."""

LOOK_ANYWAY = 5.0
"""Seconds between two looks for any task: another tracker, active for a moment as well, may have recorded it."""

MOST_WAITS = 10_000
LONGEST_WAIT = 3600.0
MOST_TASKS = 1000
BROKER_ANSWERS = 5.0
"""Seconds the broker has to tell of a queue."""

LARGEST_ANSWER = 8 * 2**20
"""Bytes. Brokers refuse messages over 16 MiB from 4.0 on; what doesn't fit is asked for again."""

P = ParamSpec("P")
R = TypeVar("R")


class Answers:
    """Answers requests, many at a time.

    Parameters
    ----------
    database
        Asked in `thread`, so that the event loop never waits for a disk.
    waiting
        Woken by whoever records outcomes.
    settings
        What clients are told of this workbench.
    behind
        Whether facts are known to wait unrecorded: what isn't found then may still come.
    depth
        Asks the broker for what is on a queue; None where that isn't there.
    blocked
        Tells why the broker takes nothing in; empty where it does.
    write
        The thread of all that writes.
    live
        Answers what live views ask.
    """

    def __init__(
        self,
        database: Database,
        waiting: Waiting,
        *,
        thread: Executor,
        settings: Settings,
        behind: Callable[[], bool],
        depth: Callable[[str], Awaitable[QueueDepth | None]],
        blocked: Callable[[], str],
        write: Executor,
        live: LiveAnswers,
    ) -> None:
        self._database = database
        self._waiting = waiting
        self._thread = thread
        self._settings = settings
        self._behind = behind
        self._depth = depth
        self._blocked = blocked
        self._write = write
        self._live = live
        self._topology = Topology(settings.namespace)

    async def answer(self, body: bytes) -> bytes:
        """Answer one request; whatever goes wrong is an answer as well."""
        try:
            return encode_to_fit(await self._answer(rpc.decode_request(body)))
        except msgspec.DecodeError as error:
            return rpc.encode(rpc.Problem(message=f"the tracker can't read the request: {error}"))
        except WorkbenchError as error:
            logger.warning("a request could not be answered: %s", error)
            return rpc.encode(rpc.Problem(message=str(error)))
        except Exception as error:
            logger.exception("a request could not be answered")
            return rpc.encode(rpc.Problem(message=f"the tracker failed: {type(error).__name__}: {error}"))

    async def _answer(self, request: rpc.AnyRequest) -> rpc.AnyAnswer:
        match request:
            case rpc.GetTasks(task_ids=task_ids):
                return rpc.Tasks(records=tuple(await self._ask(self._database.records, task_ids)))
            case rpc.ListTasks():
                newest = await self._ask(
                    self._database.newest,
                    state=request.state,
                    operation=request.operation,
                    worker=request.worker,
                    before=request.before,
                    limit=max(0, min(request.limit, MOST_TASKS)),
                )
                return rpc.Tasks(records=tuple(newest))
            case rpc.GetOutcomes(task_ids=task_ids, timeout=timeout):
                return await self._outcomes(task_ids, timeout)
            case rpc.GetStats():
                counts = await self._ask(self._database.counts)
                return rpc.Stats(
                    states=counts,
                    total=sum(counts.values()),
                    tracker=(health := self._live.health()).tracker,
                    started_at=health.started_at,
                    last_event_at=health.last_event_at,
                )
            case rpc.GetTime():
                return rpc.TrackerTime(at=utcnow())
            case rpc.GetAttempts(task_id=task_id):
                return rpc.Attempts(attempts=tuple(await self._ask(self._database.attempts, task_id)))
            case rpc.GetWhy(task_id=task_id):
                return rpc.Why(sentence=await self._why(task_id))
            case rpc.GetCancelled():
                cancelled = await self._ask(
                    self._database.cancelled,
                    request.families,
                    request.lane,
                    after=request.after,
                    limit=request.limit,
                )
                return rpc.Cancelled(tasks=tuple(cancelled))
            case rpc.PinTasks(task_ids=task_ids, pinned=pinned):
                pin = functools.partial(self._database.pin, task_ids, pinned)
                return rpc.TaskIds(task_ids=tuple(await asyncio.get_running_loop().run_in_executor(self._write, pin)))
            case rpc.GetWorkbench():
                return rpc.Workbench(
                    store=self._settings.store,
                    roots=self._settings.roots,
                    operations=tuple(await self._ask(self._database.operations)),
                    workers=tuple(await self._ask(self._database.workers, now=utcnow())),
                    version=importlib.metadata.version("workbench"),
                )
            case _:
                return await self._live.answer(request)

    async def _outcomes(self, task_ids: Sequence[str], timeout: float) -> rpc.Outcomes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(0.0, min(timeout, LONGEST_WAIT))
        with self._waiting.open(task_ids) as wait:
            while True:
                found = await self._ask(self._database.outcomes, wait.task_ids, budget=LARGEST_ANSWER)
                missing = found.unknown
                # An outcome that was recorded between the look and now: the wait has been told.
                ended = {outcome.task_id: outcome for outcome in found.ended} | wait.ended
                unknown = (
                    () if self._behind() else tuple(task_id for task_id in missing if not young(task_id, utcnow()))
                )
                left = deadline - loop.time()
                if ended or unknown or found.expired or left <= 0 or len(self._waiting) > MOST_WAITS:
                    unknown = tuple(task_id for task_id in unknown if task_id not in ended)
                    return rpc.Outcomes(ended=tuple(ended.values()), unknown=unknown, expired=found.expired)
                if await wait.news(min(left, LOOK_AGAIN if missing else LOOK_ANYWAY)):
                    return rpc.Outcomes(ended=tuple(wait.ended.values()))

    async def _why(self, task_id: str) -> str:
        records = await self._ask(self._database.records, [task_id])
        if not records:
            on_its_way = self._behind() or young(task_id, utcnow())
            return "it is not recorded yet, and may be on its way" if on_its_way else ""
        record = records[0]
        family = family_of(record.operation)
        queue, depth, asked = self._topology.task_queue(family, record.lane), None, True
        try:
            async with asyncio.timeout(BROKER_ANSWERS):
                depth = await self._depth(queue)
        except (BrokerUnavailable, TimeoutError):
            asked = False
        view = View(
            record=record,
            workers=await self._ask(self._database.workers, now=utcnow()),
            queue=queue,
            depth=depth,
            asked=asked,
            ahead=await self._ask(self._database.ahead, record, most=MOST_AHEAD),
            blocked=self._blocked(),
        )
        return why(view, now=utcnow())

    async def _ask(self, question: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def young(task_id: str, now: datetime) -> bool:
    """Whether a task's copy may be on its way still, by the time in its UUIDv7. Ids of another form aren't ours."""
    try:
        number = uuid.UUID(task_id)
    except ValueError:
        return False
    return number.version == 7 and now.timestamp() - (number.int >> 80) / 1000 < YOUNG


def encode_to_fit(answer: rpc.AnyAnswer) -> bytes:
    """Encode an answer so that a broker takes it: fewer outcomes at a time, or records without what was printed."""
    body = rpc.encode(answer)
    if len(body) > LARGEST_ANSWER and isinstance(answer, rpc.Attempts):
        return rpc.encode(rpc.Attempts(attempts=tuple(_brief_attempt(attempt) for attempt in answer.attempts)))
    if len(body) > LARGEST_ANSWER and isinstance(answer, rpc.Tasks):
        return rpc.encode(rpc.Tasks(records=tuple(brief(record) for record in answer.records)))
    while len(body) > LARGEST_ANSWER and isinstance(answer, rpc.Outcomes) and len(answer.ended) > 1:
        answer = msgspec.structs.replace(answer, ended=answer.ended[: len(answer.ended) // 2])
        body = rpc.encode(answer)
    return body


def _brief_attempt(attempt: rpc.AttemptRecord) -> rpc.AttemptRecord:
    outcome = attempt.outcome
    if outcome is None:
        return attempt
    failure = outcome.failure and msgspec.structs.replace(outcome.failure, traceback="")
    return msgspec.structs.replace(attempt, outcome=msgspec.structs.replace(outcome, output="", failure=failure))
