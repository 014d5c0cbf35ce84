"""`Scene`: a tracker, workers and a stream of tasks as bare processes against a broker that the test may harm.

Nothing here starts again what dies, and nothing decides what a fault may cost: a test does both, in the open.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

import workbench as wb
from tests.support import wait_until
from workbench.broker import ConnectionState
from workbench.broker.files import tail
from workbench.broker.node import Node
from workbench.client.outcomes import result_of
from workbench.core.ids import new_name
from workbench.core.messages import Status, utcnow
from workbench.core.rpc import AttemptRecord
from workbench.core.settings import Settings
from workbench.core.states import TaskRecord
from workbench.tracker.database import Database
from workbench.values import codecs
from workbench.values.files import Files

ROOT = Path(__file__).parent.parent.parent
OPERATIONS = "tests.integration.user_operations"
PATIENCE = 120.0
SLOTS = 2
AHEAD = SLOTS  # a worker holds one more delivery a slot where tasks take between 20 and 250 ms (`worker.pace`)
HELD = SLOTS + AHEAD  # deliveries of one worker that may be unacknowledged, hence done and delivered again
TASK = 0.05  # seconds one task of a stream takes


class Verdict(NamedTuple):
    """What became of the tasks of a scene."""

    tasks: int
    lost: int
    twice: int


class Process(subprocess.Popen[bytes]):
    """A program of the package, whose output goes to a file: after that of its predecessors of the same name."""

    log: Path
    log_begins: int  # bytes of its predecessors

    def output(self) -> str:
        """Return what it has said itself."""
        return self.log.read_bytes()[self.log_begins :].decode()


class Scene:
    """One namespace on a broker, with everything that a test starts in it.

    Parameters
    ----------
    url
        The broker's, or that of something in front of it.
    directory
        Empty; the database, the store, the marks and the logs come to lie in it.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self.marks = directory / "marks"
        self.settings = Settings(
            broker_url=url,
            namespace=f"{new_name('fault')}.",
            store=str(directory / "store"),
            roots=(str(directory),),
            database=f"sqlite:///{directory / 'tracker.sqlite'}",
        )
        self.logs = directory / "logs"
        self._processes: list[Process] = []
        for name in ("marks", "store", "logs"):
            (directory / name).mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:  # killed: what a test wants to see end in order, it ends itself
            process.kill()
            process.wait()

    def tracker(
        self,
        name: str = "tracker",
        *,
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        program: str = "workbench",
    ) -> Process:
        """Start a tracker, as another program or behind another command where these are given; `name` is its log's."""
        return self._start(name, ("tracker",), prefix=prefix, environ=environ, program=program)

    def worker(
        self,
        name: str,
        *options: str,
        url: str | None = None,
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        program: str = "workbench",
    ) -> Process:
        """Start a worker and wait for it: with another broker URL, behind another command, as another program."""
        words = ("worker", "text", "--include", OPERATIONS, "--slots", str(SLOTS), "--name", name, *options)
        changed = {**(environ or {}), **({"WORKBENCH_BROKER_URL": url} if url else {})}
        process = self._start(name, words, prefix=prefix, environ=changed, program=program)
        takes = f"{name} takes"  # what it logs once it consumes
        wait_until(lambda: takes in process.output() or process.poll() is not None, what=f"{name} consumes")
        assert process.poll() is None, tail(process.log)
        return process

    def await_announced(self) -> None:
        """Wait until the tracker knows the worker's operations, as clients ask it for them."""

        def known() -> bool:
            with Database(self.settings.database) as database:
                return any(spec.name == "text.mark" for spec in database.operations())

        wait_until(known, what="the operations are announced")

    def client(self, **options: float) -> wb.Client:
        """Return a client of this namespace."""
        return wb.Client(settings=self.settings, **options)

    def through(self, url: str) -> Settings:
        """Return the settings with another way to the broker."""
        return msgspec.structs.replace(self.settings, broker_url=url)

    def executions(self) -> int:
        """Return how often tasks were executed."""
        return sum(len(mark.read_text().splitlines()) for mark in self.marks.iterdir())

    def records(self) -> list[TaskRecord]:
        """Return everything the tracker has recorded, newest first."""
        with Database(self.settings.database) as database:
            return database.newest(limit=1_000_000)

    def record(self, task_id: str) -> TaskRecord | None:
        """Return what the tracker has recorded of one task."""
        with Database(self.settings.database) as database:
            return next(iter(database.records([task_id])), None)

    def attempts(self, task_id: str) -> list[AttemptRecord]:
        """Return the executions of one task that the tracker has recorded."""
        with Database(self.settings.database) as database:
            return database.attempts(task_id)

    def recovered(self, since: datetime, *, backlog: bool = False) -> float:
        """Return the seconds from `since` to the end of the first task that was submitted after it.

        With a backlog, the first that started after it: those submitted later wait for many others.
        """
        ended = [(r.started_at if backlog else r.submitted_at, r.finished_at) for r in self.records()]
        return min((end - since).total_seconds() for begin, end in ended if begin and end and begin >= since)

    def await_task_after(self, since: datetime, timeout: float = PATIENCE) -> None:
        """Wait until a task that was submitted after `since` has ended."""

        def found() -> bool:
            with Database(self.settings.database) as database:
                newest = database.newest(limit=200)
            return any(
                record.finished_at is not None and record.submitted_at is not None and record.submitted_at >= since
                for record in newest
            )

        wait_until(found, timeout=timeout, what=f"a task submitted after {since:%H:%M:%S} ends")

    def check(
        self,
        accepted: Mapping[int, str],
        *,
        uncertain: Sequence[int] = (),
        twice: int,
        retries: int = 0,
        patience: float = PATIENCE,
    ) -> Verdict:
        """Hold what was accepted against what is recorded.

        Parameters
        ----------
        accepted
            The ids of the `text.mark` tasks whose submission returned, by number.
        uncertain
            The numbers of those whose submission failed: they ran as a whole, or not at all.
        twice
            How many executions too many the fault may have cost, those of further attempts among them.
        retries
            How many attempts of all the tasks together the fault may have ended, so that another followed.
        """
        ids = set(accepted.values())

        def ended() -> bool:
            records = self.records()
            return ids <= {r.task_id for r in records if r.state.terminal} and all(r.state.terminal for r in records)

        with contextlib.suppress(AssertionError):  # told below, with numbers
            wait_until(ended, timeout=patience)
        records = {record.task_id: record for record in self.records()}
        lost = {number for number, task_id in accepted.items() if not _has_ended(records.get(task_id))}
        assert not lost, f"{len(lost)} of {len(ids)} accepted tasks never ended, such as {sorted(lost)[:5]}"
        assert not [r for r in records.values() if not r.state.terminal], "a task was left half-way"
        assert len(records) <= len(accepted) + len(uncertain), "there are records of tasks that nobody submitted"
        retried = self._check_results(accepted)
        assert retried <= retries, f"{retried} attempts were followed by another, at most {retries} were to be expected"
        runs = {int(mark.name): len(mark.read_text().splitlines()) for mark in self.marks.iterdir()}
        assert set(accepted) <= set(runs), "a task is recorded as done that was never executed"
        executed_twice = sum(runs.values()) - len(runs)
        assert executed_twice <= twice, f"{executed_twice} executions too many, at most {twice} were to be expected"
        return Verdict(len(accepted), len(lost), executed_twice)

    def _check_results(self, accepted: Mapping[int, str]) -> int:
        """Hold each task's result and attempts against what they should be; return how many were tried again."""
        retried = 0
        files = Files(self.settings.store, self.settings.roots)
        with Database(self.settings.database) as database:
            outcomes = {outcome.task_id: outcome for outcome in database.outcomes(list(accepted.values())).ended}
            for number, task_id in accepted.items():
                assert codecs.decode(result_of(outcomes[task_id]), files) == number
                ends = {(a.attempt, a.outcome.status) for a in database.attempts(task_id) if a.outcome is not None}
                last = max(attempt for attempt, _ in ends)
                expected = {(attempt, Status.RETRY) for attempt in range(1, last)} | {(last, Status.SUCCEEDED)}
                assert ends == expected, f"task {number} has ended as {ends}"
                retried += last - 1
        return retried

    def _start(
        self,
        name: str,
        words: Sequence[str],
        *,
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        program: str = "workbench",
    ) -> Process:
        log = self.logs / f"{name}.log"
        whole = {**os.environ, **self.settings.as_environ(), "PYTHONPATH": str(ROOT), **(environ or {})}
        with log.open("ab") as output:
            begins = output.tell()
            process = Process(
                [*prefix, sys.executable, "-m", program, *words],
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.log, process.log_begins = log, begins
        self._processes.append(process)
        return process


def _has_ended(record: TaskRecord | None) -> bool:
    return record is not None and record.state.terminal


class Stream:
    """Threads that submit numbered tasks, one after another, until they are stopped.

    Parameters
    ----------
    scene
        Where.
    confirm_timeout
        Seconds a submission may take: longer than the fault where all shall be accepted in the end.
    url
        Another way to the broker than the scene's.
    operation
        Takes what `text.mark` takes, and does as much.
    """

    THREADS = 3
    PAUSE = 0.15  # between a thread's submissions: together half of what two slots can do, so that no backlog stays

    def __init__(
        self, scene: Scene, *, confirm_timeout: float = 60.0, url: str | None = None, operation: str = "text.mark"
    ) -> None:
        self.accepted: dict[int, str] = {}
        self.refused: dict[int, wb.BrokerUnavailable] = {}
        self._scene = scene
        self._operation = operation
        # A producer: it asks no tracker what an operation takes, so that the broker alone decides what is accepted.
        settings = scene.through(url or scene.settings.broker_url)
        self._producer = wb.Producer(settings=settings, confirm_timeout=confirm_timeout)
        self._refusals = _Refusals()
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(self.THREADS)]

    def __enter__(self) -> Self:
        self._refusals.listen()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._producer.close()
        self._refusals.end()

    @property
    def is_open(self) -> bool:
        """Whether its connection is open."""
        return self._producer.engine.state is ConnectionState.OPEN

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes nothing in from its connection."""
        return self._producer.engine.state is ConnectionState.BLOCKED

    def refusals(self) -> int:
        """Return how many refusals (nacks) of the broker it has heard."""
        return self._refusals.count

    def stop(self) -> None:
        """Submit nothing more; return when the last submission has. May be called twice."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_executions(self, count: int) -> None:
        """Wait until so many more tasks were executed."""
        target = self._scene.executions() + count
        wait_until(lambda: self._scene.executions() >= target, timeout=PATIENCE, what=f"{count} more executions")

    def _submit(self) -> None:
        while not self._stop.wait(self.PAUSE):
            with self._lock:
                number, self._next = self._next, self._next + 1
            try:
                handle = self._producer.submit(self._operation, str(self._scene.marks), number, TASK)
            except wb.BrokerUnavailable as error:
                self.refused[number] = error
            else:
                self.accepted[number] = handle.id


class _Refusals(logging.Handler):
    """Counts what the publisher reports of nacks: nothing else tells of them while they are tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._logger = logging.getLogger("workbench.broker.publisher")
        self._level = self._logger.level

    def listen(self) -> None:
        """Begin; all but the first of them are told for debugging only."""
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(self)

    def end(self) -> None:
        """Count no more."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "refused a message" in record.getMessage()


@contextlib.contextmanager
def running(scene: Scene, *, confirm_timeout: float = 60.0, workers: int = 1) -> Iterator[Stream]:
    """Start a tracker, workers and a stream; enter when tasks flow."""
    scene.tracker()
    for number in range(1, workers + 1):
        scene.worker(f"w{number}")
    with Stream(scene, confirm_timeout=confirm_timeout) as stream:
        stream.await_executions(20)
        yield stream


def await_registered(node: Node, queue: str) -> None:
    """Wait until a node could be killed without losing this quorum queue.

    RabbitMQ before 3.13.3 writes which data belongs to a queue's name half a second later than it declares the queue
    (https://github.com/rabbitmq/ra/pull/443). Killed in between, it comes back with an empty queue that has no leader.
    """

    def registered() -> bool:
        return any(queue.encode() in path.read_bytes() for path in node.directory.glob("data/node/quorum/*/names.dets"))

    wait_until(registered, what=f"{queue} is registered on disk")


def lasting(seconds: float) -> None:
    """Let a fault last: its length is the scenario, not a wait for something to happen."""
    time.sleep(seconds)


def now() -> datetime:
    """Return the time as records have it."""
    return utcnow()
