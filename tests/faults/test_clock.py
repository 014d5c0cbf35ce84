"""A wall clock that jumps, of a worker or of the tracker, while tasks flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.faults.report import Recorder
from tests.faults.scene import PATIENCE, TASK, Scene, Stream, now
from tests.support import wait_until
from workbench.broker.node import Node
from workbench.core.states import State
from workbench.tracker.database import Database
from workbench.tracker.duties import LISTEN
from workbench.tracker.questions import SILENCE

HOUR = 3600
TICK = "text.tick"
INCLUDE = ("--include", "tests.faults.clock_operations")

pytestmark = pytest.mark.slow


def _library() -> Path | None:
    places = (*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/usr/lib/faketime/libfaketimeMT.so.1"))
    return next((place for place in places if place.exists()), None)


class Clock:
    """What a process takes for the time: the real one, moved by as much as its file says.

    Only the wall clock moves, as where an administrator or NTP sets it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Move the clock, from the real time."""
        self._path.write_text(f"{seconds:+d}\n")

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to go by it."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if _library() is None:
        pytest.skip("libfaketime isn't installed (Debian: faketime)")
    return Clock(tmp_path / "clock")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("clock") / "node") as node:
        yield node


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    (tmp_path / "scene").mkdir()
    with Scene(node.url, tmp_path / "scene") as scene:
        yield scene


def _flow_through_jumps(scene: Scene, clock: Clock) -> dict[int, str]:
    with Stream(scene, operation=TICK) as stream:
        stream.await_executions(20)
        for jump in (HOUR, -HOUR, 0):
            clock.jump(jump)
            stream.await_executions(20)
        stream.stop()
        assert not stream.refused
        return stream.accepted


def _check_durations(scene: Scene) -> None:
    records = scene.records()
    assert all((record.seconds_queued or 0.0) >= 0 for record in records)
    assert all((record.seconds_running or 0.0) >= 0 for record in records)
    assert all(record.attempt == 1 for record in records)


def test_tasks_flow_on_while_their_worker_s_clock_jumps_to_and_fro(
    scene: Scene, clock: Clock, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("w1", *INCLUDE, environ=clock.environ)
    accepted = _flow_through_jumps(scene, clock)
    verdict = scene.check(accepted, twice=0)
    _check_durations(scene)
    times = [float(mark.read_text().split()[1]) for mark in scene.marks.iterdir()]
    assert max(times) - min(times) > 1.9 * HOUR, "the tasks didn't see the clock jump"
    assert all(-1 < (record.started_at - record.submitted_at).total_seconds() < 60 for record in scene.records())
    report.add("worker's clock jumps", "an hour ahead, two back, one ahead", *verdict, None)


def test_tasks_are_recorded_alike_while_the_tracker_s_clock_jumps_to_and_fro(
    scene: Scene, clock: Clock, report: Recorder
) -> None:
    scene.tracker(environ=clock.environ)
    scene.worker("w1", *INCLUDE)
    accepted = _flow_through_jumps(scene, clock)
    verdict = scene.check(accepted, twice=0)
    _check_durations(scene)
    report.add("tracker's clock jumps", "an hour ahead, two back, one ahead", *verdict, None)


def test_a_task_expires_by_the_time_that_has_passed_and_not_by_a_worker_s_wrong_clock(
    scene: Scene, clock: Clock, report: Recorder
) -> None:
    scene.tracker()
    clock.jump(HOUR)
    worker = scene.worker("w1", *INCLUDE, environ=clock.environ)
    wait_until(lambda: "off the tracker's" in worker.log.read_text(), what="it has heard the tracker's time")
    with wb.Producer(settings=scene.settings) as producer:
        patient = producer.with_options(expires=HOUR / 2)
        accepted = {n: patient.submit(TICK, str(scene.marks), n, TASK).id for n in range(10)}
    wait_until(lambda: len(_ended(scene)) == len(accepted), timeout=PATIENCE, what="all have ended")
    verdict = scene.check(accepted, twice=0)
    wait_until(lambda: round(_skew(scene) / HOUR, 2) == 1.0, what="its record tells how far its clock is off")
    report.add("worker's clock wrong", "an hour ahead, for tasks that expire after half of one", *verdict, None)


def test_a_worker_whose_clock_is_set_back_is_not_taken_for_lost(scene: Scene, clock: Clock, report: Recorder) -> None:
    scene.tracker()
    scene.worker("w1", *INCLUDE, environ=clock.environ)
    with wb.Producer(settings=scene.settings) as producer:
        accepted = {0: producer.submit(TICK, str(scene.marks), 0, LISTEN + 2 * SILENCE / 3).id}
        wait_until(lambda: any(record.state is State.RUNNING for record in scene.records()), what="it runs")
        clock.jump(-HOUR)
        verdict = scene.check(accepted, twice=0)
    (record,) = scene.records()
    assert record.loss is None, f"it was taken for lost: {record.loss}"
    report.add("worker's clock set back", "by an hour, while a task runs", *verdict, None)


def _skew(scene: Scene) -> float:
    with Database(scene.settings.database) as database:
        (worker,) = database.workers(now=now())
    return worker.clock_skew


def _ended(scene: Scene) -> list[str]:
    return [record.task_id for record in scene.records() if record.state.terminal]
