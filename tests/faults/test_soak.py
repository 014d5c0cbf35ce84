"""The soak: ten minutes of tasks of every kind, while faults drawn at random befall everything that runs.

`make soak` runs it by itself. `--soak-seconds` makes it shorter, `--soak-seed` draws the same faults again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.faults import chaos, soak_tasks
from tests.faults.chaos import Chaos, Fault, Supervisor
from tests.faults.report import Recorder
from tests.faults.scene import await_registered
from tests.faults.soak_books import Books, Row
from tests.faults.soak_producer import NOT_NOW
from tests.faults.soak_tasks import Plan
from tests.faults.vitals import MIB, Life, Vitals, table
from tests.support import rabbitmqctl, wait_until
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.client.outcomes import result_of
from workbench.core.rpc import Stats
from workbench.core.settings import Settings
from workbench.core.states import State
from workbench.values import codecs
from workbench.values.files import Files
from workbench.worker.lease import LONGEST_WAIT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
WHOLE = 600.0  # seconds of the soak that counts
LEAST = 50_000  # tasks that it takes
RATE = 85.0  # tasks a second, the time in which the broker or all the workers are away included
PACE = 52.0  # tasks a second of each producer
HEARTBEAT = 3  # seconds: short enough that a process can be stopped for longer than the broker waits
PATIENCE = 300.0
TRACKERS = ("t1", "t2")
# The third has no name of its own, and another one each time it is started, as on a cluster.
WORKERS = {
    "w1": ("text", "image", "data", "convert", "--name", "w1"),
    "w2": ("text", "data", "convert", "--name", "w2", "--recycle-after", "500"),
    "w3": ("text", "image"),
}
FAMILIES = ("text", "image", "data", "convert")
SLOTS = 2
# What each says once it does its work, and ends in order when it is told to.
UP = {"t": (" is active", "standing by"), "w": (" takes ",), "p": ("submits from",)}
# Of two producers one is patient, the other gives up what isn't confirmed soon. The patient one is never killed.
PRODUCERS = {"p1": ("p2", 0, 60.0), "p2": ("p1", 10_000_000, 4.0)}

LONG_LIFE = 60.0
"""Seconds a process has to have lived to be judged by its memory."""
# A process may grow by a tenth, or by so much, between the medians of the second and of the last quarter of its life.
# Allocators keep what they once had. The tracker's two connections to its database have caches, of 64 MiB each, that
# fill as the file grows. The broker keeps in memory what has come in since it last wrote its log to segments.
SHARE = 0.10
GROWTH = {"broker": 64 * MIB, "t": 2 * 64 * MIB, "p": 16 * MIB, "w": 16 * MIB}
MORE_FILES = 16  # connections that are being made again, a log that is rotated


class Soak:
    """Everything that takes part."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.settings = Settings(
            broker_url=f"{node.url}?heartbeat={HEARTBEAT}",
            namespace="soak.",
            store=str(directory / "store"),
            roots=(str(directory),),
            database=f"sqlite:///{directory / 'tracker.sqlite'}",
        )
        self.files = Files(self.settings.store, self.settings.roots)
        self.began = time.monotonic()
        self._logged: dict[str, int] = {}  # characters in each log as its process was started
        for name in ("inputs", "marks", "logs"):
            (directory / name).mkdir()
        soak_tasks.make_bases(directory / "inputs")
        starts = {name: self._tracker(name) for name in TRACKERS}
        starts |= {name: self._worker(name) for name in WORKERS}
        starts |= {name: self._producer(name) for name in PRODUCERS}
        self.supervisor = Supervisor(node, starts)

    def say(self, what: str) -> None:
        """Tell what happens, as it does."""
        print(f"{time.monotonic() - self.began:7.1f} s  {what}", flush=True)

    def log(self, name: str) -> str:
        """Return what all processes of a name have printed."""
        return (self.directory / "logs" / f"{name}.log").read_text(errors="replace")

    def await_up(self) -> None:
        """Wait until every process is there and does its work, after whatever has killed it."""

        def up(name: str) -> bool:
            return any(word in self.log(name)[self._logged[name] :] for word in UP[name[0]])

        names = (*PRODUCERS, *WORKERS, *TRACKERS)
        alive = self.supervisor.pids
        wait_until(lambda: alive().keys() >= set(names) and all(map(up, names)), timeout=PATIENCE, what="all is up")

    def active_tracker(self) -> str:
        """Return the name of the tracker that was the last to say that it is active."""
        lines = [line for name in TRACKERS for line in self.log(name).splitlines() if " is active" in line]
        last = max(lines, default="")  # they begin with the time
        return next((name for name in TRACKERS if last and last in self.log(name)), TRACKERS[0])

    def roles(self) -> dict[str, int]:
        """Return the pids of all that live, the active tracker by another name: it holds more than a standby."""
        active = self.active_tracker()
        return {f"{name} active" if name == active else name: pid for name, pid in self.supervisor.pids().items()}

    def faults(self) -> list[Fault]:
        """Return what may happen. One deck of them takes about three minutes."""
        node, process = self.node, self.supervisor.process
        workers = tuple(WORKERS)
        watermark = ("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")
        disk = ("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "200MB")

        def standby() -> subprocess.Popen[bytes]:
            return process(next(name for name in TRACKERS if name != self.active_tracker()))

        def active() -> subprocess.Popen[bytes]:
            return process(self.active_tracker())

        def one(name: str):
            return lambda: process(name)

        return [
            *(Fault(f"worker {w} killed", lambda w=w: chaos.killed(one(w)), share=2, parts=(w,)) for w in ("w2", "w3")),
            Fault("worker w3 told to end", lambda: chaos.ended(one("w3")), parts=("w3",)),
            *(Fault(f"slot of {w} killed", lambda w=w: chaos.child_killed(one(w), depth=2)) for w in WORKERS),
            Fault("helper of w1 killed", lambda: chaos.child_killed(one("w1"), depth=1)),
            Fault("worker w1 paused", lambda: chaos.paused(one("w1")), (1.0, 3.0), parts=("w1",)),
            Fault("worker w2 paused past the heartbeat", lambda: chaos.paused(one("w2")), (8.0, 12.0), parts=("w2",)),
            Fault("worker w1 paused until it is lost", lambda: chaos.paused(one("w1")), (18.0, 22.0), parts=("w1",)),
            Fault("active tracker killed", lambda: chaos.killed(active)),
            Fault("standby tracker killed", lambda: chaos.killed(standby)),
            Fault("active tracker told to end", lambda: chaos.ended(active)),
            Fault("active tracker paused", lambda: chaos.paused(active), (1.0, 3.0)),
            Fault("active tracker paused past the heartbeat", lambda: chaos.paused(active), (12.0, 16.0)),
            Fault("producer killed", lambda: chaos.killed(one("p2")), share=2),
            Fault("producer paused past the heartbeat", lambda: chaos.paused(one("p1")), (8.0, 10.0)),
            Fault("broker killed", lambda: chaos.node_killed(node), of_broker=True, parts=workers),
            Fault("broker paused", lambda: chaos.node_paused(node), (1.0, 3.0), of_broker=True, parts=workers),
            Fault(
                "broker paused past the heartbeat",
                lambda: chaos.node_paused(node),
                (12.0, 16.0),
                of_broker=True,
                parts=workers,
            ),
            Fault(
                "connections closed",
                lambda: chaos.ordered(node, ("close_all_connections", "the soak")),
                share=2,
                of_broker=True,
                parts=workers,
            ),
            Fault(
                "application stopped",
                lambda: chaos.ordered(node, ("stop_app",), ("start_app",)),
                (0.5, 2.0),
                of_broker=True,
                parts=workers,
            ),
            Fault("listeners suspended", lambda: self._suspended(), (2.0, 4.0), of_broker=True, parts=workers),
            Fault("memory alarm", lambda: chaos.ordered(node, *watermark), (2.0, 6.0), of_broker=True),
            Fault("disk alarm", lambda: chaos.ordered(node, *disk), (2.0, 6.0), of_broker=True),
        ]

    @contextlib.contextmanager
    def _suspended(self) -> Iterator[None]:
        with chaos.ordered(self.node, ("suspend_listeners",), ("resume_listeners",)):
            rabbitmqctl(self.node, "close_all_connections", "the soak")
            yield

    # --- processes --------------------------------------------------------------------------------

    def _tracker(self, name: str):
        return lambda: self._start(name, "workbench", "tracker")

    def _worker(self, name: str):
        words = (*WORKERS[name], "--include", "tests.faults.soak_operations", "--slots", str(SLOTS), "--grace", "10")
        return lambda: self._start(name, "workbench", "worker", *words)

    def _producer(self, name: str):
        other, offset, confirm_timeout = PRODUCERS[name]
        numbers = ("--offset", str(offset), "--pace", str(PACE), "--confirm-timeout", str(confirm_timeout))
        return lambda: self._start(name, "tests.faults.soak_producer", str(self.directory), name, other, *numbers)

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, **self.settings.as_environ(), "PYTHONPATH": str(ROOT)}
        (self.directory / "logs" / f"{name}.log").touch()
        self._logged[name] = len(self.log(name))
        with (self.directory / "logs" / f"{name}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        yield node


@pytest.fixture
def soak(node: Node, tmp_path: Path) -> Iterator[Soak]:
    directory = tmp_path / "soak"
    directory.mkdir()
    soak = Soak(node, directory)
    yield soak
    for name in (*PRODUCERS, *WORKERS, *TRACKERS):  # what a failure has left
        with contextlib.suppress(KeyError):
            soak.supervisor.process(name).kill()
            soak.supervisor.process(name).wait()


def test_whatever_goes_wrong_for_ten_minutes_each_accepted_task_ends_once_and_nothing_grows(
    soak: Soak, report: Recorder, request: pytest.FixtureRequest
) -> None:
    seconds: float = request.config.getoption("--soak-seconds")
    seed: int = request.config.getoption("--soak-seed") or random.randrange(1_000_000)
    print(f"\nsoak of {seconds:g} s with --soak-seed {seed} in {soak.directory}", flush=True)
    supervisor = soak.supervisor
    storm = Chaos(soak.faults(), supervisor, random.Random(seed), soak.say)
    with supervisor:
        _await_flow(soak)
        with Vitals(soak.roles, families=WORKERS) as vitals:
            began = time.monotonic()
            storm.run(began + seconds)
            supervisor.await_broker()
            ended = time.monotonic()
            soak.say("the faults are over")
            soak.await_up()
            status = supervisor.end(PRODUCERS, PATIENCE)
        settled = time.monotonic() - ended
        soak.say(f"all that the producers wait for has ended: {status}")
        books = Books(soak.directory, soak.files, PRODUCERS)
        _await_the_end(soak, books)
        stats = _stats(soak)
        letters = _dead_letters(soak)
        _await_empty(soak)
        status |= supervisor.end(WORKERS, 60.0)
        status |= supervisor.end(TRACKERS, 60.0)
    print(table(vitals.lives(LONG_LIFE)), flush=True)

    wrong = [line for name in PRODUCERS for line in soak.log(name).splitlines() if line.startswith("WRONG")]
    assert not wrong, "\n".join(wrong[:20])
    assert set(status.values()) == {0}, status
    rows = books.rows()
    twice = _check_records(soak, books, rows)
    assert stats.total == len(rows)
    assert stats.total == sum(stats.states.values())
    dead = {task_id for task_id, row in rows.items() if row.record.state is State.FAILED and _plan(soak, row).dead}
    assert letters == dead, f"{len(letters - dead)} letters too many, {len(dead - letters)} too few"
    allowed = _check_repeats(twice, storm)
    _check_deaths(supervisor, storm)
    _check_logs(soak)
    _check_nothing_is_left(soak)
    _check_flat(vitals.lives(LONG_LIFE))
    rate = len(books.accepted) / (ended - began)
    soak.say(
        f"{len(rows):,} tasks recorded, {len(books.accepted):,} accepted ({rate:.0f} a second), {twice} executed "
        f"too often of {allowed} allowed, {sum(storm.done.values())} faults of {len(storm.done)} kinds, all ended "
        f"{settled:.1f} s after the last"
    )
    if seconds >= WHOLE:
        assert len(books.accepted) >= LEAST
        assert rate >= RATE
        kinds = len(storm.done)
        done = f"{seconds / 60:.0f} minutes of faults drawn at random, of {kinds} kinds, one every few seconds"
        report.add("soak", done, len(books.accepted), 0, twice, settled)


def _await_flow(soak: Soak) -> None:
    """Wait until tasks flow, and the broker may be killed (see `await_registered`)."""
    topology = Topology(soak.settings.namespace)
    names = {topology.task_queue(family) for family in FAMILIES}
    for queue in (*names, topology.tracker_queue, topology.tracker_dead_queue, topology.dead_queue, topology.rpc_queue):
        await_registered(soak.node, queue)
    for queue in topology.delay_queues:
        await_registered(soak.node, queue)
    journal = soak.directory / "journal"
    wait_until(lambda: journal.exists() and journal.stat().st_size > 1000, timeout=60.0, what="tasks flow")


def _await_the_end(soak: Soak, books: Books) -> None:
    terminal = {state.value for state in State if state.terminal}
    count = len(books.accepted)

    def ended() -> bool:
        states = books.states()
        return set(states) <= terminal and sum(states.values()) >= count

    with contextlib.suppress(AssertionError):  # told by what is checked later, with examples
        wait_until(ended, timeout=60.0)
    soak.say(f"recorded: {dict(books.states())}")


def _queues(soak: Soak) -> dict[str, int]:
    lines = rabbitmqctl(soak.node, "list_queues", "name", "messages").splitlines()[1:]
    return {name: int(count) for name, count in (line.split("\t") for line in lines)}


def _await_empty(soak: Soak) -> None:
    """Wait until the copies of tasks whose holders had to be asked have found out that those have ended."""
    dead = Topology(soak.settings.namespace).dead_queue

    def empty() -> bool:
        return not any(count for name, count in _queues(soak).items() if name != dead)

    with contextlib.suppress(AssertionError):  # told by what is checked later, with examples
        wait_until(empty, timeout=2 * LONGEST_WAIT)


def _stats(soak: Soak) -> Stats:
    with wb.Client(settings=soak.settings) as client:
        return asyncio.run(client.stats())


def _dead_letters(soak: Soak) -> set[str]:
    with wb.Client(settings=soak.settings) as client:
        return {letter.task_id for letter in asyncio.run(client.dead_letters(limit=10_000))}


def _plan(soak: Soak, row: Row) -> Plan:
    assert row.number is not None, f"{row.record} has no task"
    return soak_tasks.plan(row.number, soak.directory)


def _check_records(soak: Soak, books: Books, rows: dict[str, Row]) -> int:
    """Hold the records against what was accepted; return the number of executions too many."""
    lost = [
        (task_id, number)
        for task_id, number in books.accepted.items()
        if task_id not in rows or not rows[task_id].record.state.terminal
    ]
    assert not lost, f"{len(lost)} of {len(books.accepted)} accepted tasks never ended, such as {lost[:5]}"
    open_ones = [row.record for row in rows.values() if not row.record.state.terminal]
    assert not open_ones, f"{len(open_ones)} tasks were left half-way, such as {open_ones[:5]}"
    assert len(set(books.accepted.values())) == len(books.accepted), "a number was accepted twice"
    # What a producer gave up and withdrew before the broker had taken it: of the task itself nobody has heard.
    unheard = {task_id for task_id, row in rows.items() if row.number is None}
    assert not unheard & set(books.accepted), "the tracker has an accepted task without its message"
    assert {rows[task_id].record.state for task_id in unheard} <= {State.CANCELLED}
    heard = {task_id: row for task_id, row in rows.items() if row.number is not None}
    numbers = Counter(row.number for row in heard.values())
    assert all(count == 1 for count in numbers.values()), f"recorded twice: {numbers.most_common(3)}"
    assert all(map(books.is_intended, numbers)), "there are records of tasks that nobody submitted"
    wrong = [text for task_id, row in heard.items() for text in _complaints(soak, row, task_id in books.accepted)]
    assert not wrong, f"{len(wrong)} of {len(rows)} records are wrong:\n" + "\n".join(wrong[:20])
    again = [row for row in rows.values() if len(row.ends) > 1]
    differently = sum(len({status for _, status in row.ends}) > 1 for row in again)
    soak.say(f"of {len(again)} tasks the tracker heard of two ends, {differently} times of different ones")
    executions = books.executions()
    return sum(max(0, executions[row.number] - row.record.attempt) for row in heard.values())


def _check_repeats(twice: int, storm: Chaos) -> int:
    """Hold the executions too many against what the faults allow; return how many they do.

    A task runs again only where its worker held it as it was parted from the broker: nothing else makes the broker hand
    out again what was taken. Of each family a worker holds one delivery for each slot, and one more for each while
    tasks are short (`worker.pace`; while they take less than 20 ms, more: which these, of some ten kinds, don't in the
    mean). Most of it wasn't begun, or is found to be running or reported, and so isn't run again: far below the bound.
    """
    held = {name: 2 * SLOTS * sum(word in FAMILIES for word in words) for name, words in WORKERS.items()}
    allowed = sum(count * held[name] for name, count in storm.parted.items())
    assert twice <= allowed, f"{twice} executions too many, of {allowed} that {dict(storm.parted)} explain"
    return allowed


def _complaints(soak: Soak, row: Row, accepted: bool) -> Iterator[str]:
    """Yield what isn't as it should be."""
    plan, record = _plan(soak, row), row.record
    given_up = not accepted and record.state is State.CANCELLED  # its producer withdrew it
    if record.state not in plan.ends and not given_up:
        yield f"{plan.kind} {plan.number} ended as {record}: {record.failure}"
    if row.outcome is None or row.outcome.status.value != record.state.value:
        yield f"{record} has the outcome {row.outcome}"
        return
    if record.started_at is not None and (record.attempt, record.state.value) not in row.ends:
        yield f"{record} has no such end among its attempts: {row.ends}"
    if record.state is State.FAILED and record.failure is not None and record.failure.type != plan.failure:
        yield f"{plan.kind} {plan.number} failed of {record.failure}"
    if record.state is State.SUCCEEDED:
        value = codecs.decode(result_of(row.outcome), soak.files)
        if not soak_tasks.is_right(plan, value):
            yield f"{plan.kind} {plan.number} returned {value!r:.200}"


def _check_deaths(supervisor: Supervisor, storm: Chaos) -> None:
    """Nothing may have died that the chaos didn't kill, or tell to end: maybe before it could catch a signal."""
    died = Counter((name[0], status) for name, status in supervisor.deaths)
    told = {"w": storm.done["worker w3 told to end"], "t": storm.done["active tracker told to end"]}
    killed = {
        ("w", -9): sum(count for name, count in storm.done.items() if name.startswith("worker") and "killed" in name),
        ("t", -9): storm.done["active tracker killed"] + storm.done["standby tracker killed"],
        **{(kind, status): count for kind, count in told.items() for status in (0, -signal.SIGTERM)},
        ("p", -9): storm.done["producer killed"],
        ("p", NOT_NOW): died["p", NOT_NOW],
    }
    for who, count in died.items():
        assert count <= killed.get(who, 0), f"{who} died {count} times, and was killed {killed.get(who, 0)} times"


def _check_logs(soak: Soak) -> None:
    """Faults are told as warnings at the most: an error would be one of the package's own making."""
    expected = "can't start"  # a slot, as its fork server is killed
    errors = [
        line
        for name in (*PRODUCERS, *WORKERS, *TRACKERS)
        for line in soak.log(name).splitlines()
        if line.startswith("Traceback") or (" ERROR " in line and expected not in line)
    ]
    assert not errors, "\n".join(errors[:20])


def _check_nothing_is_left(soak: Soak) -> None:
    store = Path(soak.settings.store)
    scratch = sorted(str(path.relative_to(store)) for path in (store / "scratch").rglob("*"))
    assert not scratch, f"left in the scratch directory: {scratch[:10]}"
    print(f"{len(list((store / 'tmp').iterdir()))} half-written objects await their sweep", flush=True)
    topology = Topology(soak.settings.namespace)
    queues = _queues(soak)
    of_the_living = (topology.client_queue(""), topology.control_queue(""), topology.tracker_lock)
    assert not [name for name in queues if name.startswith(of_the_living)]
    full = {name: count for name, count in queues.items() if count and name != topology.dead_queue}
    assert not full, f"left on queues: {full}"
    assert not rabbitmqctl(soak.node, "list_connections", "name").splitlines()[1:]


def _check_flat(lives: list[Life]) -> None:
    grown = []
    for life in lives:
        second, last = life.quarters()
        allowed = next(growth for kind, growth in GROWTH.items() if life.name.startswith(kind))
        if last.memory > second.memory + max(allowed, SHARE * second.memory):
            grown.append(f"{life.name} ({life.pid}) uses more and more memory")
        if last.files > second.files + MORE_FILES:
            grown.append(f"{life.name} ({life.pid}) has more and more files open")
    assert not grown, "\n".join(grown)
