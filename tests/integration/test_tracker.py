from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from tests.integration.tracker_desk import LONG, Desk, Play, connections, eventually, holds, player, program
from tests.support import until
from workbench.broker import Consumer, Delivery, Lock, Topology
from workbench.broker.node import Node
from workbench.broker.topology import finished_key
from workbench.core import rpc
from workbench.core.live import Health
from workbench.core.messages import (
    Status,
    TaskFinished,
    TrackerOnline,
    WorkerOnline,
    decode,
    encode,
    utcnow,
)
from workbench.core.states import State
from workbench.tracker import batcher, service
from workbench.tracker.database import Database
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.store import Store
from workbench.values.sweep import find_references


@pytest.fixture(params=["sqlite", "postgresql"])
def play(request: pytest.FixtureRequest, node: Node, topology: Topology, tmp_path: Path) -> Play:
    path = f"sqlite:///{tmp_path / 'tracker.db'}"
    return player(node, topology, path if request.param == "sqlite" else request.getfixturevalue("postgres_url"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracker.db"


@pytest.fixture
def play_on_sqlite(node: Node, topology: Topology, path: Path) -> Play:
    return player(node, topology, f"sqlite:///{path}")


async def lag(desk: Desk, holds: Callable[[float], object]) -> Health:
    """Wait until the tracker's lag is such, and return how it does then."""
    return (await eventually(lambda: desk.ask(rpc.GetChanges()), lambda told: holds(told.health.lag))).health


def test_a_task_and_its_outcome_are_recorded_and_told(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit()
            await desk.recorded(task.task_id, State.QUEUED)
            waiting = asyncio.ensure_future(desk.outcome(task.task_id))
            end = await desk.finish(task)
            assert await waiting == end
            stats = await desk.ask(rpc.GetStats())
            assert (stats["succeeded"], stats.tracker) == (1, "tracker-1")

    play(scene)


def test_what_happened_while_no_tracker_ran_is_recorded_by_the_next(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        tasks = [await desk.submit() for _ in range(50)]
        waiting = asyncio.ensure_future(desk.outcome(tasks[-1].task_id))
        for task in tasks:
            await desk.finish(task)
        async with desk.tracker():
            assert (await waiting).task_id == tasks[-1].task_id
        with Database(desk.settings.database) as database:
            assert database.counts()[State.SUCCEEDED] == 50
        await holds(desk, desk.topology.tracker_queue, 0)

    play(scene)


def test_a_task_for_a_lane_that_does_not_exist_ends_as_unroutable(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit(lane="nowhere")
            end = await desk.outcome(task.task_id)
            assert end.status is Status.FAILED
            assert end.failure is not None
            assert end.failure.type == "Unroutable"
            assert "image.thumbnail.nowhere" in end.failure.message
            record = await desk.recorded(task.task_id, State.FAILED)
            assert record.lane == "nowhere"

    play(scene)


def test_a_task_that_no_worker_survives_ends_at_its_delivery_limit(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            task = await desk.submit()

            def lose(delivery: Delivery) -> None:
                worker.reject(delivery, requeue=True)

            queue = desk.topology.task_queue("image")
            worker = Consumer(desk.node.url, desk.topology, name="lost", queues={queue: 1}, on_delivery=lose)
            async with worker:
                end = await desk.outcome(task.task_id)
            assert end.failure is not None
            assert end.failure.type == "DeliveryLimitExceeded"

    play(scene)


def test_a_message_that_nobody_can_read_is_set_aside_and_the_tracker_goes_on(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            broken = await desk.submit()
            await desk.recorded(broken.task_id, State.QUEUED)
            await desk.event("worker.heartbeat", b"\xc1", "broken-heartbeat")
            await desk.event(finished_key("c"), b"\xc1", f"{broken.task_id}/1")
            task = await desk.submit()
            await desk.finish(task)
            await desk.outcome(task.task_id)
            end = await desk.outcome(broken.task_id)
            assert end.failure is not None
            assert end.failure.type == "Unreadable"
        assert "broken-heartbeat" in caplog.text
        await holds(desk, desk.topology.dead_queue, 2)

    play(scene)


def test_nothing_is_acknowledged_while_the_database_is_locked_and_all_is_recorded_after(
    play_on_sqlite: Play, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "DRAIN_TIMEOUT", 0.1)
    monkeypatch.setattr(batcher, "LONGEST_PAUSE", 0.1)

    async def scene(desk: Desk) -> None:
        lock = sqlite3.connect(path, isolation_level=None)
        async with desk.tracker() as tracker:
            with tracker._database._connections.write() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout=1")
            lock.execute("BEGIN IMMEDIATE")
            tasks = [await desk.submit() for _ in range(10)]
            await until(lambda: "locked" in caplog.text, what="a commit that failed")
            assert await desk.record(tasks[0].task_id) is None  # and it still answers
            health = await lag(desk, lambda seconds: seconds > 0.2)
            assert health.pending >= 10
        await holds(desk, desk.topology.tracker_queue, 11)  # the tasks, and the news that the tracker is there
        lock.execute("ROLLBACK")
        async with desk.tracker():
            for task in tasks:
                await desk.recorded(task.task_id, State.QUEUED)
        lock.close()

    play_on_sqlite(scene)


def test_a_tracker_is_behind_by_the_age_of_what_it_hears_and_no_longer_than_it_hears_old_news(
    play_on_sqlite: Play,
) -> None:
    async def scene(desk: Desk) -> None:
        ago = utcnow() - timedelta(seconds=60)
        task = await desk.submit()
        end = TaskFinished(
            task_id=task.task_id,
            operation=task.operation,
            client=task.client,
            attempt=1,
            status=Status.RETRY,
            finished_at=ago,
            started_at=ago,
            worker="w",
        )
        async with desk.tracker():
            await desk.recorded(task.task_id, State.QUEUED)
            await desk.event(finished_key(task.client), encode(end))
            await lag(desk, lambda seconds: seconds > 59)
            await lag(desk, lambda seconds: seconds < 1)  # nothing waits, and nothing comes
            await desk.start(msgspec.structs.replace(task, attempt=2))
            await desk.recorded(task.task_id, State.RUNNING)
            health = await lag(desk, lambda _: True)
            assert (health.lag < 5, health.pending) == (True, 0)  # though its first attempt failed a minute ago
            await desk.cancel(task.task_id)
            await eventually(lambda: desk.record(task.task_id), lambda record: record.cancel_at is not None)
            assert (await lag(desk, lambda _: True)).lag < 5

    play_on_sqlite(scene)


def test_workers_and_their_operations_are_told(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            news = WorkerOnline(worker="w", host="h", pid=1, families=("image",), slots=2, at=utcnow())
            await desk.event("worker.online", encode(news))
            workbench = await eventually(lambda: desk.ask(rpc.GetWorkbench()), lambda told: told.workers)
            assert workbench.workers[0].online
            assert workbench.store == "/store"

    play(scene)


def test_a_tracker_that_takes_over_says_so(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        heard: list[object] = []
        consumer = Consumer(
            desk.node.url,
            desk.topology,
            name="c",
            queues={desk.topology.client_queue("c"): 10},
            declare=desk.topology.client("c"),
            on_delivery=lambda delivery: heard.append(decode(delivery.body)),
        )
        async with consumer:
            await consumer.connection.wait_open(LONG)
            async with desk.tracker():
                await until(lambda: any(isinstance(event, TrackerOnline) for event in heard))

    play(scene)


def test_one_tracker_is_active_and_another_takes_over_when_it_is_killed(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with program(desk, "first") as first:
            assert (await desk.ask(rpc.GetStats())).tracker == "first"
            async with program(desk, "second") as second:
                first.kill()
                task = await desk.submit()
                await desk.recorded(task.task_id, State.QUEUED)
                assert (await desk.ask(rpc.GetStats())).tracker == "second"
                second.terminate()
                assert await asyncio.wait_for(second.wait(), LONG) == 0
        async with Lock(desk.node.url, desk.topology.tracker_lock, name="test"):
            pass  # it is free

    play(scene)


def test_a_tracker_that_stands_by_ends_with_a_signal_too_and_leaves_the_database_alone(
    play_on_sqlite: Play, path: Path
) -> None:
    async def scene(desk: Desk) -> None:
        async with Lock(desk.node.url, desk.topology.tracker_lock, name="test"), program(desk, "idle") as idle:
            await eventually(lambda: connections(desk), lambda names: "idle (lock)" in names)
            assert not await asyncio.to_thread(path.exists)  # whoever is active may be of an earlier version
            idle.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(idle.wait(), LONG) == 0

    play_on_sqlite(scene)


def test_a_stopped_tracker_has_recorded_what_it_acknowledged(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            await asyncio.gather(*[desk.submit() for _ in range(500)])
        with Database(desk.settings.database) as database:
            recorded = database.counts()[State.QUEUED]
        # The tracker's own news may lie there too, if it was stopped before that came back to it.
        await holds(desk, desk.topology.tracker_queue, 500 - recorded, 501 - recorded)

    play(scene)


def test_results_and_what_only_they_refer_to_are_swept_while_the_tracker_works(
    node: Node, topology: Topology, path: Path, tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "store"))
    files = Files(store.location)
    large = codecs.encode(["x" * 100_000], files)
    kept = codecs.encode(["y" * 100_000], files)

    async def scene(desk: Desk) -> None:
        async with desk.tracker():
            done, pinned = await desk.submit(), await desk.submit()
            await desk.finish(pinned, result=kept)
            await desk.recorded(pinned.task_id, State.SUCCEEDED)
            assert (await desk.ask(rpc.PinTasks(task_ids=(pinned.task_id,)))).task_ids == (pinned.task_id,)
            await desk.finish(done, result=large)
            await eventually(lambda: desk.ask(rpc.GetOutcomes(task_ids=(done.task_id,))), lambda told: told.expired)
            gone, stays = (store.directory / key for body in (large, kept) for key in find_references(body))
            await until(lambda: not gone.exists())
            assert stays.exists()
            assert (await desk.outcome(pinned.task_id)).result == kept

    player(node, topology, f"sqlite:///{path}", store=store.location, retention=1.0)(scene)
