"""A tracker's database with many tasks in it, as a week of work would leave it: recorded as a tracker records them.

`python -m tests.seeding URL --tasks 1000000` fills one for a look at by hand.
"""

from __future__ import annotations

import argparse
import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from workbench.core.messages import (
    Event,
    Failure,
    Status,
    Task,
    TaskFinished,
    TasksFinished,
    TaskStarted,
    WorkerOnline,
    encode,
    utcnow,
)
from workbench.core.routing import family_of
from workbench.tracker.database import Database

WORKERS = 4
"""Of each family."""
WEIGHTS = {
    "image.thumbnail": 30,
    "image.resize": 20,
    "data.groupby": 15,
    "data.filter": 14,
    "convert.csv_to_parquet": 10,
    "data.sort": 6,
    "image.rotate": 4,
    "convert.image": 1,
}
_BATCH = 5000
_TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/home/ada/operations.py", line {line}, in {function}\n'
    "    raise {type}(text)\n"
    "{type}: {message}\n"
)
_FAILURES = (
    ("ValueError", "could not convert string to float: 'n/a'", 88, "read_numbers"),
    ("KeyError", "'carrier'", 31, "pick"),
    ("MemoryError", "", 140, "join"),
    ("TimeLimit", "it ran for more than 60 s", 0, ""),
)


def seed(url: str, tasks: int, *, seed: int = 1, end: datetime | None = None) -> list[str]:
    """Fill a database, which need not exist, with tasks of the week before `end`; return their ids, in order.

    One of fifty has failed, one of five hundred was cancelled, and the last are queued or running.
    """
    made: list[str] = []
    with Database(url) as database:
        for batch in _batches(tasks, random.Random(seed), end or utcnow()):
            made += [message.task_id for message in batch if isinstance(message, Task)]
            database.apply([(message, encode(message)) for message in batch], now=utcnow())
    return made


def task_id_at(at: datetime, number: int) -> str:
    """Return an id as a producer would have made at a time; `number` tells those of a millisecond apart."""
    millis = int(at.timestamp() * 1000)
    return str(uuid.UUID(int=(millis << 80) | (7 << 76) | (0b10 << 62) | number))


def _batches(tasks: int, rng: random.Random, end: datetime) -> Iterator[list[Task | Event]]:
    week = timedelta(days=7)
    families = sorted({family_of(name) for name in WEIGHTS})
    batch: list[Task | Event] = [
        WorkerOnline(worker=_worker(family, number), host="node", pid=1, families=(family,), slots=4, at=end - week)
        for family in families
        for number in range(WORKERS)
    ]
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    ended: list[TaskFinished] = []
    for number in range(tasks):
        at = end - week + week * ((number + 1) / (tasks + 1))
        task = Task(
            task_id=task_id_at(at, number),
            operation=rng.choices(names, weights)[0],
            args=(msgspec.Raw(msgspec.msgpack.encode(f"flights-{number}.csv.gz")),),
            kwargs={"by": msgspec.Raw(msgspec.msgpack.encode("carrier"))},
            client=f"client-{number % 5}",
            submitted_at=at,
            queued_at=at,
            lane="high" if number % 97 == 0 else None,
        )
        batch.append(task)
        left = tasks - number
        if left > 50:
            ended.append(_end(task, rng, at))
        elif left > 20:
            worker = _worker(family_of(task.operation), number % WORKERS)
            start = at + timedelta(seconds=1)
            batch.append(TaskStarted(task_id=task.task_id, attempt=1, worker=worker, slot=1, started_at=start))
        if len(batch) >= _BATCH:
            yield [*batch, TasksFinished(outcomes=tuple(ended))]
            batch, ended = [], []
    yield [*batch, TasksFinished(outcomes=tuple(ended))]


def _end(task: Task, rng: random.Random, at: datetime) -> TaskFinished:
    waited, ran, dice = rng.expovariate(2.0), rng.lognormvariate(-1.0, 1.0), rng.random()
    failure, status = None, Status.SUCCEEDED
    if dice < 0.02:
        kind, message, line, function = rng.choices(_FAILURES, (60, 25, 10, 5))[0]
        text = _TRACEBACK.format(line=line, function=function, type=kind, message=message) if line else ""
        status, failure = Status.FAILED, Failure(type=kind, message=message, traceback=text)
    elif dice < 0.022:
        status, failure = Status.CANCELLED, Failure(type="Cancelled", message="it was cancelled: not needed")
    start = at + timedelta(seconds=waited)
    return TaskFinished(
        task_id=task.task_id,
        operation=task.operation,
        client=task.client,
        attempt=1,
        status=status,
        worker=_worker(family_of(task.operation), rng.randrange(WORKERS)),
        slot=rng.randrange(1, 5),
        started_at=start,
        finished_at=start + timedelta(seconds=ran),
        summary="DataFrame, 16 × 3" if failure is None else "",
        failure=failure,
        output="reading …\n",
    )


def _worker(family: str, number: int) -> str:
    return f"{family}-{number:02d}"


def main() -> None:
    """Fill the database that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    arguments = parser.parse_args()
    seed(arguments.url, arguments.tasks)


if __name__ == "__main__":
    main()
