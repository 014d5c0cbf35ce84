"""The tracker at work: from deliveries to commits, answers and verdicts on dead letters.

The order that nothing is lost by: a delivery is acknowledged after the commit that recorded it (or after the broker has
confirmed what it led to), never before. Databases block, so they are used in threads; this loop only moves messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from workbench.broker import ConnectionState, Consumer, Delivery, Outgoing, Publisher, Topology
from workbench.broker.inspect import Inspector
from workbench.broker.topology import TRACKER_ONLINE, finished_key
from workbench.core import rpc
from workbench.core.errors import BrokerUnavailable, StoreError
from workbench.core.ids import new_name
from workbench.core.messages import TaskFinished, TrackerOnline, encode, utcnow
from workbench.core.settings import Settings
from workbench.metrics import Family
from workbench.tracker import deadletters
from workbench.tracker.access import Access
from workbench.tracker.aggregates import Aggregates
from workbench.tracker.batcher import Batcher
from workbench.tracker.database import Database
from workbench.tracker.deadletters import DeadLetter
from workbench.tracker.duties import Duties
from workbench.tracker.lag import Lag
from workbench.tracker.live import LiveAnswers
from workbench.tracker.lookback import count_again, look_back
from workbench.tracker.metrics import families
from workbench.tracker.queues import QueueLooks
from workbench.tracker.recording import Refused, record
from workbench.tracker.retention import Retention
from workbench.tracker.retrying import Retrying
from workbench.tracker.rpc import Answers
from workbench.tracker.strays import Strays
from workbench.tracker.waiting import Waiting
from workbench.values.store import Store

logger = logging.getLogger(__name__)

BATCH = 1000
PREFETCH = 2 * BATCH  # while one batch is committed, the next one gathers
DEAD_BATCH = 100
RPC_PREFETCH = 256
MOST_REQUESTS = 12_000  # open at once, the parked ones included
WARM_UP = 5.0  # seconds after taking over in which the queue may hold what happened meanwhile
DRAIN_TIMEOUT = 10.0
UP_TO_DATE = 10.0  # seconds within which what has come in is recorded, if anything works


class Tracker:
    """Records, answers and judges from entering to leaving its context. Make sure that it is the only one that does.

    Parameters
    ----------
    settings
        Where the broker is, and what clients are told.
    database
        Open.
    name
        What it calls itself.
    """

    def __init__(self, settings: Settings, database: Database, *, name: str) -> None:
        self.name = name
        self._database = database
        self._topology = topology = Topology(settings.namespace)
        self._delays = topology.delay_queues
        self._waiting = Waiting()
        self._writer = ThreadPoolExecutor(1, "tracker-writer")
        self._reader = ThreadPoolExecutor(1, "tracker-reader")
        self._facts: Batcher[Delivery] = Batcher("messages", self._record, size=BATCH)
        self._letters: Batcher[Delivery] = Batcher("dead letters", self._judge, size=DEAD_BATCH)
        self._inspector = Inspector()
        self._requests: set[asyncio.Task[None]] = set()
        self._by_itself: list[asyncio.Task[None]] = []
        self._warm_at = 0.0
        self._publisher = Publisher(
            settings.broker_url,
            topology,
            name=f"{name} (publishing)",
            on_state=self._on_publisher_state,
        )
        self._publisher.connection.add(self._inspector)
        self._aggregates = Aggregates(new_name("life"))
        self._lag = Lag()
        self._live = LiveAnswers(
            self._aggregates,
            database,
            thread=self._reader,
            write=self._writer,
            queues=QueueLooks(self._aggregates, topology, self._inspector.depth),
            retrying=Retrying(database, thread=self._reader, publisher=self._publisher, topology=topology),
            name=name,
            pending=lambda: self._facts.pending,
            lag=lambda: self._lag.seconds(utcnow(), stalled=self._facts.stalled),
            blocked=self._blocked,
        )
        self._answers = Answers(
            database,
            self._waiting,
            thread=self._reader,
            settings=settings,
            behind=self._behind,
            depth=self._inspector.depth,
            blocked=self._blocked,
            write=self._writer,
            live=self._live,
        )
        access = Access(
            database=database,
            thread=self._reader,
            publisher=self._publisher,
            inspector=self._inspector,
            topology=topology,
            up_to_date=self._up_to_date,
        )
        self._duties = Duties(access)
        self._strays = Strays(access)
        self._retention = Retention(
            database,
            _store_of(settings),
            seconds=settings.retention,
            writer=self._writer,
            up_to_date=self._up_to_date,
        )
        self._consumer = Consumer(
            settings.broker_url,
            topology,
            name=f"{name} (consuming)",
            queues={
                topology.tracker_queue: PREFETCH,
                topology.tracker_dead_queue: DEAD_BATCH,
                topology.rpc_queue: RPC_PREFETCH,
            },
            on_delivery=self._on_delivery,
            on_open=lambda: self._duties.listening(True),
            on_lost=self._on_lost,
        )

    def __repr__(self) -> str:
        return f"<Tracker {self.name}: {self._facts!r}, {self._letters!r}, {len(self._requests)} requests>"

    async def __aenter__(self) -> Self:
        self._warm_at = asyncio.get_running_loop().time() + WARM_UP
        await asyncio.get_running_loop().run_in_executor(self._writer, look_back, self._aggregates, self._database)
        self._facts.start()
        self._letters.start()
        await self._publisher.__aenter__()
        await self._consumer.__aenter__()
        loop = asyncio.get_running_loop()
        self._by_itself = [loop.create_task(each.run()) for each in (self._duties, self._strays, self._retention)]
        self._by_itself.append(loop.create_task(count_again(self._aggregates, self._database, self._writer)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Take nothing more, finish and acknowledge what was taken, and let go of the broker. May be called twice."""
        for task in self._by_itself:
            task.cancel()
        await asyncio.gather(*self._by_itself, return_exceptions=True)
        await self._consumer.pause()
        finished = await asyncio.gather(self._letters.close(DRAIN_TIMEOUT), self._facts.close(DRAIN_TIMEOUT))
        if not all(finished):
            logger.warning("not everything could be recorded in time: the broker keeps it for the next tracker")
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        await self._consumer.close()
        await self._publisher.close()
        loop = asyncio.get_running_loop()
        for thread in (self._writer, self._reader):  # a commit that is under way ends by itself
            await loop.run_in_executor(None, thread.shutdown)

    def measures(self) -> Iterator[Family]:
        """Return what Prometheus is told."""
        return families(self._aggregates, self._live.health(), utcnow())

    # --- deliveries -------------------------------------------------------------------------------

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.queue == self._topology.tracker_queue:
            self._facts.put(delivery)
        elif delivery.queue == self._topology.tracker_dead_queue:
            self._letters.put(delivery)
        else:
            self._on_request(delivery)

    def _on_lost(self) -> None:
        self._duties.listening(False)
        self._facts.forget()
        self._letters.forget()

    def _on_publisher_state(self, state: ConnectionState, reason: str) -> None:
        # Each time, not only the first: answers that were under way are lost with the connection.
        if state is ConnectionState.OPEN:
            body = encode(TrackerOnline(tracker=self.name, at=utcnow()))
            news = Outgoing(self._topology.events, TRACKER_ONLINE, body, message_id=new_name("online"))
            self._publisher.publish_nowait(news)

    def _behind(self) -> bool:
        return self._facts.behind or asyncio.get_running_loop().time() < self._warm_at

    def _blocked(self) -> str:
        connection = self._publisher.connection
        return connection.reason if connection.state is ConnectionState.BLOCKED else ""

    async def _up_to_date(self) -> bool:
        """Wait until what has come in is recorded; return False where that takes long, or more than a batch waits."""
        try:
            async with asyncio.timeout(UP_TO_DATE):
                depth = await self._inspector.depth(self._topology.tracker_queue)
                await self._facts.caught_up()
        except (BrokerUnavailable, TimeoutError):
            return False
        return depth is not None and depth.ready <= BATCH

    # --- facts ------------------------------------------------------------------------------------

    async def _record(self, batch: Sequence[Delivery]) -> None:
        loop = asyncio.get_running_loop()
        recorded = await loop.run_in_executor(self._writer, record, self._database, batch)
        now = utcnow()
        self._live.last_event_at = now
        self._lag.note(recorded.told_at, now)
        self._aggregates.learn(recorded.transitions, now)
        for moves in recorded.moves:
            self._aggregates.groups.learn(moves)
        self._aggregates.meet(recorded.workers, now)
        self._waiting.wake(recorded.ended)
        if recorded.wishes:
            self._duties.wake()
        for refused in recorded.refused:
            await self._bury(refused)
        # In order, on one channel at a time: where the batch spans a reconnect, the earlier tags are void anyway.
        self._consumer.ack(batch[-1], multiple=True)

    async def _bury(self, refused: Refused) -> None:
        delivery = refused.delivery
        logger.error("message %s (%s): %s", delivery.message_id or "?", delivery.routing_key, refused.reason)
        headers = {
            deadletters.REASON: refused.reason,
            deadletters.REASON_TYPE: refused.type,
            deadletters.BY_TRACKER: self.name,
        }
        await self._publisher.publish(
            Outgoing(self._topology.dead, delivery.routing_key, delivery.body, delivery.message_id, headers)
        )

    # --- dead letters -----------------------------------------------------------------------------

    async def _judge(self, batch: Sequence[Delivery]) -> None:
        letters = [
            DeadLetter(delivery.body, delivery.routing_key, delivery.message_id, delivery.headers) for delivery in batch
        ]
        loop = asyncio.get_running_loop()
        verdicts = await loop.run_in_executor(self._reader, self._verdicts, letters)
        # Recorded by the way every outcome takes: through the events exchange and the tracker's own queue.
        await asyncio.gather(
            *[
                self._publisher.publish(
                    Outgoing(
                        self._topology.events,
                        finished_key(outcome.client),
                        encode(outcome),
                        message_id=f"{outcome.task_id}/{outcome.attempt}",
                    )
                )
                for outcome in verdicts
            ]
        )
        self._consumer.ack(batch[-1], multiple=True)

    def _verdicts(self, letters: Sequence[DeadLetter]) -> list[TaskFinished]:
        subjects = [deadletters.task_id_of(letter) for letter in letters]
        known = {record.task_id: record for record in self._database.records(subjects)}
        verdicts = []
        for letter, task_id in zip(letters, subjects, strict=True):
            outcome = deadletters.verdict(letter, known.get(task_id), delays=self._delays, now=utcnow())
            why = outcome.failure if outcome else "no task ends by it"
            logger.warning("dead letter %s (%s): %s", letter.message_id or "?", letter.routing_key, why)
            if outcome is not None:
                verdicts.append(outcome)
        return verdicts

    # --- requests ---------------------------------------------------------------------------------

    def _on_request(self, delivery: Delivery) -> None:
        # Acknowledged at once: a request may be parked for long, and whoever asked asks again if its answer is lost.
        self._consumer.ack(delivery)
        if len(self._requests) >= MOST_REQUESTS:
            busy = rpc.Problem(message=f"the tracker has {MOST_REQUESTS} requests open already; try again later")
            self._publisher.reply(delivery.reply_to, delivery.correlation_id, rpc.encode(busy))
            return
        request = asyncio.get_running_loop().create_task(self._answer(delivery))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _answer(self, delivery: Delivery) -> None:
        answer = await self._answers.answer(delivery.body)
        if delivery.reply_to:
            self._publisher.reply(delivery.reply_to, delivery.correlation_id, answer)


def _store_of(settings: Settings) -> Store | None:
    try:
        return Store(settings.store) if settings.store else None
    except StoreError as error:  # a reason not to sweep, and none not to record
        logger.error("the store is not swept: %s", error)
        return None
