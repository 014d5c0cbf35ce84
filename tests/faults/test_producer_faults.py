"""Whoever publishes dies, or never hears that the broker has it: producers of tasks, and workers of outcomes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

import workbench as wb
from tests.faults.proxy import Link, Proxy, Way
from tests.faults.report import Recorder
from tests.faults.scene import HELD, PATIENCE, ROOT, SLOTS, TASK, Scene, Stream, now
from tests.support import rabbitmqctl, wait_until
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.core.messages import decode_task
from workbench.tracker.database import Database
from workbench.values import codecs
from workbench.values.files import Files

MANY = 100


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("producers") / "node") as node:
        yield node


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    with Scene(node.url, tmp_path) as scene:
        yield scene


@pytest.fixture
def proxy(node: Node) -> Iterator[Proxy]:
    port = urlsplit(node.url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


class Producing:
    """A process that maps over numbers when it is told to; use it as a context manager."""

    def __init__(self, scene: Scene, url: str, directory: Path) -> None:
        self._file = directory / "accepted"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.producing", str(scene.marks), str(self._file)],
            env={**os.environ, **scene.through(url).as_environ(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Producing:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.communicate()

    def map(self, count: int) -> None:
        """Let it map over so many numbers more."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def accepted(self) -> dict[int, str]:
        """Return the ids of the tasks of each `map` that has returned, by number."""
        lines = self._file.read_text().splitlines()
        return {int(number): task_id for number, task_id in (line.split() for line in lines)}


class Load(NamedTuple):
    """What lies on a queue."""

    waiting: int
    held: int  # by workers, unacknowledged


def _load(node: Node, scene: Scene) -> Load:
    queue = Topology(scene.settings.namespace).task_queue("text")
    table = rabbitmqctl(node, "list_queues", "name", "messages_ready", "messages_unacknowledged", "--no-table-headers")
    return next(Load(*map(int, line.split()[1:])) for line in table.splitlines() if line.split()[0] == queue)


def _await_quiet(node: Node, scene: Scene) -> None:
    """Wait until no copy of any task is left to be done."""
    wait_until(lambda: _load(node, scene) == (0, 0), timeout=PATIENCE, what="the queue is empty")


def _recorded(scene: Scene) -> dict[int, str]:
    """Return the ids of all tasks of which the tracker had a copy from the broker, by number."""
    files = Files(scene.settings.store, scene.settings.roots)
    found = {}
    with Database(scene.settings.database) as database:
        for record in database.newest(limit=1_000_000):
            body = database.task(record.task_id)
            assert body is not None
            found[codecs.decode(decode_task(body).args[0], files)] = record.task_id
    return found


def _ended(scene: Scene) -> int:
    return sum(record.state.terminal for record in scene.records())


def _publishing(proxy: Proxy) -> Link:
    (link,) = proxy.links("publishes")
    return link


def test_tasks_of_a_producer_that_is_killed_before_any_confirm_run_once_each(
    node: Node, scene: Scene, proxy: Proxy, tmp_path: Path, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("w1")
    with Producing(scene, proxy.through(node.url), tmp_path) as producing:
        producing.map(MANY)
        wait_until(lambda: len(producing.accepted()) == MANY, what="the first tasks are accepted")
        _publishing(proxy).swallow(Way.TO_CLIENT)
        producing.map(MANY)
        wait_until(lambda: len(scene.records()) == 2 * MANY, what="the others have reached the broker")
        producing.kill()
        accepted = producing.accepted()
    _await_quiet(node, scene)
    reached = _recorded(scene)
    assert len(accepted) == MANY
    assert reached.items() >= accepted.items()
    assert len(reached) == 2 * MANY
    verdict = scene.check(reached, twice=0)
    report.add("producer killed, unconfirmed", f"kill -9 after {MANY} tasks without a confirm", *verdict, None)


def test_of_a_producer_that_is_killed_amid_a_map_each_task_runs_once_or_was_never_there(
    node: Node, scene: Scene, proxy: Proxy, tmp_path: Path, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("w1")
    with Producing(scene, proxy.through(node.url), tmp_path) as producing:
        producing.map(MANY)
        wait_until(lambda: len(producing.accepted()) == MANY, what="the first tasks are accepted")
        link = _publishing(proxy)
        link.swallow(Way.TO_BROKER, after=10_000)  # amid a message: they are some 300 bytes long
        producing.map(MANY)
        wait_until(lambda: link.kept[Way.TO_BROKER], what="some never arrive")
        producing.kill()
        wait_until(lambda: not link.is_open, what="the broker learns of it")
        accepted = producing.accepted()
    _await_quiet(node, scene)
    wait_until(lambda: len(scene.records()) > MANY, what="the tracker has heard of those that did arrive")
    reached = _recorded(scene)
    assert len(accepted) == MANY
    assert reached.items() >= accepted.items()
    assert sorted(reached) == list(range(len(reached))), "they reach the broker in their order, with no gap"
    assert MANY < len(reached) < 2 * MANY
    verdict = scene.check(reached, twice=0)
    report.add("producer killed amid a map", "kill -9 with a message half sent", *verdict, None)


@pytest.mark.slow
def test_confirms_that_come_late_cost_nothing_but_time(
    node: Node, scene: Scene, proxy: Proxy, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("w1")
    with Stream(scene, url=proxy.through(node.url)) as stream:
        stream.await_executions(10)
        link = _publishing(proxy)
        link.hold(Way.TO_CLIENT)
        wait_until(
            lambda: scene.executions() == len(stream.accepted) + Stream.THREADS, what="each thread waits for a confirm"
        )
        link.release(Way.TO_CLIENT)
        back = now()
        stream.await_executions(10)
        stream.stop()
        assert not stream.refused
        _await_quiet(node, scene)
        verdict = scene.check(stream.accepted, twice=0)
    report.add("confirms delayed, producer", "until it waits for nothing else", *verdict, scene.recovered(back))


def test_a_producer_whose_confirms_are_lost_publishes_again_and_each_task_is_recorded_once(
    node: Node, scene: Scene, proxy: Proxy, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("w1")
    settings = scene.through(proxy.through(node.url))
    with wb.Producer(settings=settings, confirm_timeout=PATIENCE) as producer, ThreadPoolExecutor(1) as pool:
        link = _publishing(proxy)
        link.swallow(Way.TO_CLIENT)
        mapping = pool.submit(producer.map, "text.number", range(MANY), directory=str(scene.marks))
        wait_until(lambda: _ended(scene) == MANY, timeout=PATIENCE, what="all have ended")
        assert not mapping.done()
        struck = now()
        link.cut()
        accepted = {number: task.id for number, task in enumerate(mapping.result(PATIENCE))}
        accepted[MANY] = producer.submit("text.number", MANY, str(scene.marks)).id
    _await_quiet(node, scene)
    # The second copies say that they may be such, so that the worker asks the tracker, which knows that all are over.
    verdict = scene.check(accepted, twice=0)
    assert len(scene.records()) == len(accepted)
    done = f"of {MANY} tasks; then its connection is cut"
    report.add("confirms lost, producer", done, *verdict, scene.recovered(struck))


@pytest.mark.parametrize(
    ("connections", "what", "twice"),
    [
        pytest.param("w1 publishes", "its publishing connection is", 0, id="publishing"),
        # Deliveries come again as well. The worker adopts those whose outcomes it still holds, and asks the tracker
        # about the others; where that doesn't answer in time, they run again.
        pytest.param("w1", "its connections are", HELD, id="all"),
    ],
)
@pytest.mark.slow
def test_a_worker_whose_confirms_are_lost_publishes_its_outcomes_again(
    node: Node, scene: Scene, proxy: Proxy, report: Recorder, connections: str, what: str, twice: int
) -> None:
    scene.tracker()
    scene.worker("w1", url=proxy.through(node.url))
    with wb.Producer(settings=scene.settings) as producer:

        def submit(numbers: range) -> dict[int, str]:
            return {number: producer.submit("text.mark", str(scene.marks), number, TASK).id for number in numbers}

        accepted = submit(range(20))
        wait_until(lambda: _ended(scene) == 20, what="what came before has ended")
        _await_quiet(node, scene)  # RabbitMQ counts what lies on quorum queues every few seconds only
        (link,) = proxy.links("w1 publishes")
        link.swallow(Way.TO_CLIENT)
        accepted |= submit(range(20, 40))

        def stuck() -> bool:
            waiting, held = _load(node, scene)
            return waiting + held == 20 and held == _ended(scene) - 20 >= SLOTS

        wait_until(stuck, what="all that it holds has ended, and nothing is acknowledged")
        struck = now()
        for each in proxy.links(connections):
            each.cut()
        accepted |= submit(range(40, 41))
        _await_quiet(node, scene)
    verdict = scene.check(accepted, twice=twice)
    report.add("confirms lost, worker", f"of its outcomes; then {what} cut", *verdict, scene.recovered(struck))
