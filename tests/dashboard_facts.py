"""What a tracker might tell a dashboard: made up, but consistent, at any rate, without a broker."""

from __future__ import annotations

import random
from collections import Counter as Counts
from datetime import UTC, datetime, timedelta
from typing import Any

from workbench.core.live import Bucket, Counter, Execution, Health, Mark, QueueFacts, bin_of
from workbench.core.rpc import Changes, Queues, WorkerRecord
from workbench.core.states import State

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OPERATIONS = ("image.thumbnail", "image.resize", "data.groupby", "data.join", "convert.table")


def health(now: datetime, **changes: Any) -> Health:
    facts: dict[str, Any] = {
        "tracker": "tracker-1",
        "started_at": BEGAN,
        "now": now,
        "last_event_at": now,
        "pending": 0,
        "lag": 0.01,
        "blocked": "",
    }
    return Health(**facts | changes)


def changes(now: datetime = BEGAN, **told: Any) -> Changes:
    """An answer in which nothing has happened, but for what is given."""
    facts: dict[str, Any] = {
        "mark": Mark("life", 1, 1),
        "anew": False,
        "health": health(now),
        "states": dict.fromkeys(State, 0),
    }
    return Changes(**facts | told)


def worker(name: str, now: datetime = BEGAN, **told: Any) -> WorkerRecord:
    facts: dict[str, Any] = {
        "worker": name,
        "host": "node-1",
        "pid": 4711,
        "families": ("data", "image"),
        "lane": None,
        "slots": 4,
        "busy": 2,
        "memory": 300 << 20,
        "done": 1234,
        "online": True,
        "started_at": BEGAN,
        "last_heartbeat_at": now,
        "cpu": 1.4,
    }
    return WorkerRecord(**facts | told)


def execution(number: int, start: float, seconds: float | None = 1.0, **told: Any) -> Execution:
    """The attempt of a task, `start` seconds after the beginning; running where `seconds` is None."""
    started = BEGAN + timedelta(seconds=start)
    facts: dict[str, Any] = {
        "index": number,
        "task_id": f"task-{number}",
        "operation": "image.thumbnail",
        "attempt": 1,
        "replay": 0,
        "worker": "w1",
        "slot": 1,
        "started_at": started,
        "finished_at": None if seconds is None else started + timedelta(seconds=seconds),
        "status": "running" if seconds is None else "succeeded",
    }
    return Execution(**facts | told)


class Busy:
    """A workbench under load, second by second: so many tasks a second on so many slots."""

    def __init__(self, rate: int = 2000, workers: int = 4, slots: int = 4, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._rate = rate
        self._lanes = [(f"node-{w}-{w * 7919 % 997:03d}", s + 1) for w in range(workers) for s in range(slots)]
        self._index = 0
        self._states = Counts({State.SUCCEEDED: 1_000_000, State.FAILED: 120})

    def next(self, now: datetime, first: bool) -> Changes:
        """What has changed within the second before `now`."""
        chance, second = self._chance, int(now.timestamp()) - 1
        buckets, executions = [], []
        ends: Counts[str] = Counts()
        share = 1.0 / self._rate * len(self._lanes)
        for lane in self._lanes:
            at = now.timestamp() - 1.0
            while at < now.timestamp():
                long = chance.expovariate(1.0 / share)
                operation = chance.choice(OPERATIONS[:2] if len(ends) % 2 else OPERATIONS)
                status = chance.choices(("succeeded", "failed", "retry"), (990, 6, 4))[0]
                ends[operation.partition(".")[0]] += 1
                self._states[State.SUCCEEDED if status == "succeeded" else State.FAILED] += 1
                self._index += 1
                executions.append(
                    Execution(
                        index=self._index, task_id=f"0199{self._index:08d}", operation=operation, attempt=1, replay=0,
                        worker=lane[0], slot=lane[1], started_at=datetime.fromtimestamp(at, UTC),
                        finished_at=datetime.fromtimestamp(at + long * 0.9, UTC), status=status,
                        failure="" if status == "succeeded" else "ValueError",
                    )
                )  # fmt: skip
                at += long
        for family, number in ends.items():
            failed = number // 200
            buckets.append(
                Bucket(
                    second, family, "", submitted=number + chance.randrange(40), arrived=number, started=number,
                    succeeded=number - failed, failed=failed,
                    waiting={bin_of(0.02 * chance.random() + 0.001): number}, running={bin_of(share): number},
                )
            )  # fmt: skip
        workers = []
        for name in dict.fromkeys(name for name, _ in self._lanes):
            running = tuple(f"0199{self._index - number:08d}" for number in range(3))
            workers.append(worker(name, now, busy=3, running=running, host=name[:6]))
        workers.append(worker("node-9-lost", now - timedelta(minutes=3), online=False, lost=True))
        return changes(
            now, anew=first, states=dict.fromkeys(State, 0) | dict(self._states) | {State.QUEUED: 1234},
            counters=tuple(Counter(name, State.SUCCEEDED, 1) for name in OPERATIONS) if first else (),
            buckets=tuple(buckets), executions=tuple(executions[-5000:]), workers=tuple(workers),
        )  # fmt: skip

    def queues(self, now: datetime) -> Queues:
        """What lies on the queues."""
        facts = [
            QueueFacts(
                queue=f"workbench.tasks.{family}", kind="tasks", family=family, ready=ready, consumers=consumers,
                in_flight=6, slots=8, arriving=arriving, leaving=420.0, drained_in=drained,
            )
            for family, ready, consumers, arriving, drained in (
                ("image", 1200, 2, 410.0, 120.0), ("data", 34, 2, 500.0, None), ("convert", 7, 0, 0.2, None)
            )
        ]  # fmt: skip
        facts.append(QueueFacts(queue="workbench.delay.4", kind="delay", ready=12, delay=4.0))
        facts.append(QueueFacts(queue="workbench.dead", kind="dead", ready=3))
        return Queues(queues=tuple(facts), at=now)
