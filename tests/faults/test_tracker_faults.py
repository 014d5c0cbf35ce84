"""A tracker that dies, hangs or vanishes under load, in the middle of a batch and at its worst moments."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import sqlalchemy as sa

import workbench as wb
from tests import postgres
from tests.faults import failing_tracker
from tests.faults.failing_tracker import Moment, Orders
from tests.faults.namespaces import HERE, Namespace, why_not
from tests.faults.report import Recorder
from tests.faults.scene import PATIENCE, Process, Scene, lasting, now
from tests.support import wait_until
from workbench.broker.node import Node
from workbench.client.client import RPC_TIMEOUT
from workbench.core.rpc import Stats
from workbench.tracker import connections, schema
from workbench.tracker.database import Database
from workbench.tracker.run import HEARTBEAT

HUNG = 3 * HEARTBEAT  # the broker looks twice in a heartbeat, and lets two pass
TAKEN_OVER = RPC_TIMEOUT  # a question that is asked as the tracker dies is answered in its time, by the next one
INCLUDE = ("--include", "tests.faults.tracker_operations")

Start = Callable[[str], Process]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("trackers") / "node") as node:
        yield node


@pytest.fixture(params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest, node: Node, tmp_path: Path) -> Iterator[Scene]:
    """A scene with either database."""
    with Scene(node.url, tmp_path) as scene:
        if request.param == "postgresql":
            _use(scene, request.getfixturevalue("postgres_url"))
        yield scene


class Flood:
    """A thread that maps short tasks until it is stopped: some hundred a second, which two slots can do.

    Parameters
    ----------
    scene
        Where.
    size
        How many it maps in a tenth of a second, at the most. Fewer where they flow for long.
    """

    PAUSE = 0.1
    AHEAD = 500  # tasks at most that are accepted and haven't run: on a busy machine no backlog grows

    def __init__(self, scene: Scene, size: int = 50) -> None:
        self.accepted: dict[int, str] = {}
        self._scene = scene
        self._size = size
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._mapping = self._thread.submit(self._map)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()

    def stop(self) -> None:
        """Map nothing more; return when all is accepted, or raise why it isn't."""
        self._stop.set()
        self._mapping.result()

    def _map(self) -> None:
        with wb.Producer(settings=self._scene.settings) as producer:
            while not self._stop.wait(self.PAUSE):
                if len(self.accepted) - sum(1 for _ in self._scene.marks.iterdir()) > self.AHEAD:
                    continue
                numbers = range(len(self.accepted), len(self.accepted) + self._size)
                group = producer.map("text.score", numbers, directory=str(self._scene.marks))
                self.accepted.update(zip(numbers, group.ids, strict=True))


def test_a_tracker_killed_again_and_again_under_load_loses_nothing_and_counts_nothing_twice(
    scene: Scene, report: Recorder
) -> None:
    chance = random.Random(3)
    tracker = scene.tracker()
    scene.worker("w1", *INCLUDE)
    with Flood(scene) as flood:
        for _ in range(5):
            _await_recorded(scene, flood)
            lasting(chance.random() / 2)  # any moment will do
            tracker.kill()
            tracker.wait()
            struck = now()
            tracker = scene.tracker()
        _await_recorded(scene, flood)
        flood.stop()
    verdict = scene.check(flood.accepted, twice=0)
    _check_counts(scene, flood.accepted)
    done = f"kill -9 of the only one under load, five times, another started each time; {_kind(scene)}"
    report.add("tracker killed", done, *verdict, scene.recovered(struck))


@pytest.mark.parametrize("moment", Moment)
def test_a_tracker_killed_at_its_worst_moment_loses_nothing_and_counts_nothing_twice(
    scene: Scene, moment: Moment, tmp_path: Path, report: Recorder
) -> None:
    orders = Orders(tmp_path / "order")
    tracker = scene.tracker(program=failing_tracker.MODULE, environ=orders.environ)
    scene.worker("w1", *INCLUDE)
    with Flood(scene) as flood:
        _await_recorded(scene, flood)
        orders.give(moment, signal.SIGKILL)
        assert tracker.wait(PATIENCE) == -signal.SIGKILL
        struck = now()
        among = set(orders.struck()) & _ended(scene)
        assert among == (set(orders.struck()) if moment is Moment.AFTER_COMMIT else set())
        scene.tracker()
        _await_recorded(scene, flood)
        flood.stop()
    verdict = scene.check(flood.accepted, twice=0)
    _check_counts(scene, flood.accepted)
    report.add("tracker killed", f"{moment}; {_kind(scene)}", *verdict, scene.recovered(struck))


def test_a_standby_answers_within_seconds_after_the_active_tracker_was_killed(scene: Scene, report: Recorder) -> None:
    active = _once(scene.tracker("first"), "is active")
    _once(scene.tracker("second"), "standing by")
    took = _take_over(scene, active.kill)
    assert took < TAKEN_OVER
    _report_takeover(scene, report, f"kill -9 of the active one, a standby on the same host; {_kind(scene)}", took)


@pytest.mark.parametrize("moment", Moment)
def test_a_tracker_that_hangs_and_goes_on_while_another_is_active_counts_nothing_twice(
    scene: Scene, moment: Moment, tmp_path: Path, report: Recorder
) -> None:
    orders = Orders(tmp_path / "order")
    first = scene.tracker("first", program=failing_tracker.MODULE, environ=orders.environ)
    scene.worker("w1", *INCLUDE)
    with Flood(scene, size=10) as flood:
        _await_recorded(scene, flood)
        second = _once(scene.tracker("second"), "standing by")
        orders.give(moment, signal.SIGSTOP)
        wait_until(orders.struck, timeout=PATIENCE, what="the first tracker has stopped itself")
        struck = time.monotonic()
        try:
            if scene.settings.database.startswith("sqlite") and moment is Moment.BEFORE_COMMIT:
                # It holds SQLite's lock for as long as it hangs: the second one holds the workbench's, and waits.
                _once(second, "can't take over yet")
                took = None
            else:
                with scene.client() as client:
                    stats = _first_answer(client)
                took = time.monotonic() - struck
                assert stats.tracker in second.log.read_text()
                # A transaction that hangs is ended by PostgreSQL itself.
                assert took < HUNG + TAKEN_OVER + connections.LONGEST_TRANSACTION
                _await_recorded(scene, flood)
        finally:
            first.send_signal(signal.SIGCONT)
        _once(first, "stands by")
        _await_recorded(scene, flood)
        flood.stop()
    verdict = scene.check(flood.accepted, twice=0)
    _check_counts(scene, flood.accepted)
    done = f"SIGSTOP past the heartbeat of {HEARTBEAT} s, {moment}; SIGCONT with a standby active; {_kind(scene)}"
    report.add("tracker hangs", done, *verdict, took)


# --- on another host ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def far() -> Iterator[Namespace]:
    if reason := why_not():
        pytest.skip(reason)
    with Namespace() as far:
        yield far


@pytest.fixture(scope="module")
def linked_node(far: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """A node that listens on the link too, and its address there."""
    directory = tmp_path_factory.mktemp("linked") / "node"
    (directory / "conf" / "conf.d").mkdir(parents=True)
    with socket.create_server((HERE, 0)) as probe:
        port = probe.getsockname()[1]
    (directory / "conf" / "conf.d" / "90-link.conf").write_text(f"listeners.tcp.link = {HERE}:{port}\n")
    with Node(directory) as node:
        yield node, f"{node.url.partition('@')[0]}@{HERE}:{port}/%2F"


@pytest.fixture
def shared(far: Namespace, linked_node: tuple[Node, str], tmp_path: Path) -> Iterator[tuple[Scene, Start]]:
    """A scene whose database is PostgreSQL, and what starts a tracker on the other host."""
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    node, there = linked_node
    with (
        postgres.server(binaries, network=f"{HERE}/30") as url,
        Scene(node.url, tmp_path) as scene,
    ):
        _use(scene, url.render_as_string(hide_password=False))
        database = url.set(host=HERE).render_as_string(hide_password=False)
        environ = {"WORKBENCH_BROKER_URL": there, "WORKBENCH_DATABASE": database}
        yield scene, lambda name: scene.tracker(name, prefix=far.prefix, environ=environ)


def test_a_standby_on_another_host_answers_within_seconds_after_the_active_tracker_was_killed(
    shared: tuple[Scene, Start], report: Recorder
) -> None:
    scene, elsewhere = shared
    active = _once(scene.tracker("first"), "is active")
    _once(elsewhere("second"), "standing by")
    took = _take_over(scene, active.kill)
    assert took < TAKEN_OVER
    _report_takeover(scene, report, "kill -9 of the active one, a standby on another host; postgresql", took)


def test_a_standby_takes_over_from_a_tracker_whose_host_vanishes_and_comes_back(
    shared: tuple[Scene, Start], far: Namespace, report: Recorder
) -> None:
    scene, elsewhere = shared
    first = elsewhere("first")
    scene.worker("w1", *INCLUDE)
    with Flood(scene, size=10) as flood:
        _await_recorded(scene, flood)
        second = _once(scene.tracker("second"), "standing by")
        with far.blackholed():
            struck = time.monotonic()
            with scene.client() as client:
                stats = _first_answer(client)
            took = time.monotonic() - struck
            assert stats.tracker in second.log.read_text()
            # What it had written without committing it is given up by PostgreSQL, which then lets the next one write.
            assert took < HUNG + TAKEN_OVER + connections.LONGEST_TRANSACTION
            _await_recorded(scene, flood)
            _once(first, "stands by")
        _await_recorded(scene, flood)
        flood.stop()
    verdict = scene.check(flood.accepted, twice=0)
    _check_counts(scene, flood.accepted)
    assert first.poll() is None
    done = f"every packet of its link dropped until it noticed, heartbeat {HEARTBEAT} s; postgresql"
    report.add("tracker's host vanishes", done, *verdict, took)


def test_a_tracker_whose_host_vanishes_amid_what_it_sends_keeps_no_other_from_writing(
    shared: tuple[Scene, Start], far: Namespace
) -> None:
    scene, _ = shared

    def opened(url: sa.URL) -> Database:
        return Database(url.render_as_string(hide_password=False)).__enter__()

    url = sa.make_url(scene.settings.database)
    with contextlib.closing(opened(url)) as here, contextlib.ExitStack() as vanishing:
        vanished = far.call(lambda: opened(url.set(host=HERE)))
        vanishing.callback(vanished.close)
        vanishing.enter_context(contextlib.suppress(Exception))  # its connection is gone, and so is its transaction
        connection = vanishing.enter_context(vanished._connections.write())  # it has the lock
        driver: Any = connection.connection.driver_connection
        vanishing.enter_context(driver.pipeline())
        driver.execute("SELECT 1")  # of several statements sent together this arrives, and the others don't
        driver.pgconn.send_flush_request()
        driver.pgconn.flush()
        with far.blackholed():
            began = time.monotonic()
            here.pin(["any task"], pinned=True)
            assert time.monotonic() - began < connections.SILENT + 5.0


# --- inside -----------------------------------------------------------------------------------------


def _use(scene: Scene, database: str) -> None:
    scene.settings = msgspec.structs.replace(scene.settings, database=database)


def _kind(scene: Scene) -> str:
    return sa.make_url(scene.settings.database).get_backend_name()


def _once(tracker: Process, says: str) -> Process:
    """Return a tracker once its log says so."""
    wait_until(lambda: says in tracker.log.read_text(), timeout=PATIENCE, what=f"a tracker {says}")
    return tracker


def _first_answer(client: wb.Client) -> Stats:
    """Ask until there is an answer: one question waits for 10 s, and is sent again when a tracker comes."""
    for _ in range(int(PATIENCE / 10)):
        try:
            return asyncio.run(client.stats())
        except wb.TrackerUnavailable:
            continue
    raise AssertionError(f"no tracker answered within {PATIENCE:g} s")


def _take_over(scene: Scene, strike: Callable[[], None]) -> float:
    """Let a standby take over while somebody waits for another's result; return the seconds to its first answer."""
    scene.worker("w1", *INCLUDE)
    gate = scene.marks.parent / "opened"
    with (
        wb.Producer(settings=scene.settings) as producer,
        scene.client() as other,
        scene.client() as asking,
        ThreadPoolExecutor(1) as thread,
    ):
        task_id = producer.submit("text.gate", str(scene.marks), 0, str(gate)).id
        waiting = thread.submit(other.get(task_id).result, PATIENCE)
        wait_until(lambda: waiting.running() and other.engine.room.open(), what="somebody waits")
        asked = asyncio.run(other.stats())  # after the question for the result: that one is parked by now
        strike()
        struck = time.monotonic()
        answered = asyncio.run(asking.stats())
        took = time.monotonic() - struck
        assert answered.tracker != asked.tracker
        assert not waiting.done()
        gate.touch()
        assert waiting.result(PATIENCE) == 0
    verdict = scene.check({0: task_id}, twice=0)
    assert verdict.lost == 0
    return took


def _report_takeover(scene: Scene, report: Recorder, done: str, took: float) -> None:
    records = scene.records()
    report.add("tracker killed, standby", done, len(records), 0, 0, took)


def _ended(scene: Scene) -> set[str]:
    return {record.task_id for record in scene.records() if record.state.terminal}


def _await_recorded(scene: Scene, flood: Flood) -> None:
    """Wait until a task that is accepted from now on is recorded as ended."""
    since = len(flood.accepted)

    def recorded() -> bool:
        later = [flood.accepted[number] for number in range(since, since + 10) if number in flood.accepted]
        with Database(scene.settings.database) as database:
            return any(record.state.terminal for record in database.records(later))

    wait_until(recorded, timeout=PATIENCE, what="what is accepted from now on is recorded")


def _check_counts(scene: Scene, accepted: dict[int, str]) -> None:
    """Hold what the tracker tells, the records and the executions against each other."""
    with scene.client() as client:
        stats = asyncio.run(client.stats())
    assert (stats.total, stats["succeeded"]) == (len(accepted), len(accepted))
    engine = sa.create_engine(scene.settings.database)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.tasks)) == len(accepted)
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.attempts)) == len(accepted)
    engine.dispose()
