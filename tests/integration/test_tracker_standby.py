"""A tracker takes over from one that was killed or hangs, and none counts anything twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.tracker_desk import LONG, Desk, Play, connections, eventually, player, program
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.core import rpc
from workbench.core.messages import Status, Task
from workbench.core.states import State
from workbench.tracker.database import Database
from workbench.tracker.run import HEARTBEAT, with_heartbeat


@pytest.fixture(params=["sqlite", "postgresql"])
def play(request: pytest.FixtureRequest, node: Node, topology: Topology, tmp_path: Path) -> Play:
    path = f"sqlite:///{tmp_path / 'tracker.db'}"
    # A short heartbeat, so that a tracker that hangs is found out soon.
    return player(
        node, topology, path if request.param == "sqlite" else request.getfixturevalue("postgres_url"), heartbeat=2
    )


@contextlib.asynccontextmanager
async def active_and_standby(
    desk: Desk,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.subprocess.Process]]:
    async with program(desk, "first") as first:
        assert (await desk.ask(rpc.GetStats())).tracker == "first"
        async with program(desk, "second") as second:
            # It stands by once the broker knows of its connection.
            await eventually(lambda: connections(desk), lambda names: "second (lock)" in names)
            yield first, second


async def takes_over(desk: Desk) -> float:
    """Return how many seconds it takes until the other tracker has recorded something and told of it."""
    began = time.monotonic()
    task = await desk.submit()
    await desk.finish(task)

    await eventually(lambda: desk.quick(rpc.GetTasks(task_ids=(task.task_id,))), lambda told: told and told.records)
    return time.monotonic() - began


def test_a_standby_takes_over_within_seconds_from_a_tracker_that_was_killed(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with active_and_standby(desk) as (first, _):
            waiting = await desk.submit()
            await desk.recorded(waiting.task_id, State.QUEUED)
            parked = asyncio.ensure_future(desk.outcome(waiting.task_id))
            first.kill()
            took = await takes_over(desk)
            print(f"took over from a killed tracker within {took:.2f} s")
            assert took < 5
            assert (await desk.ask(rpc.GetStats())).tracker == "second"
            desk.caller.ask_again()  # as a client does when it hears that a tracker is online
            await desk.finish(waiting)
            assert (await asyncio.wait_for(parked, LONG)).status is Status.SUCCEEDED

    play(scene)


def test_a_standby_takes_over_from_a_tracker_that_hangs_and_that_one_stands_by_when_it_goes_on(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        async with active_and_standby(desk) as (first, second):
            waiting = await desk.submit()
            await desk.recorded(waiting.task_id, State.QUEUED)
            first.send_signal(signal.SIGSTOP)
            try:
                took = await takes_over(desk)
                print(f"took over from a stopped tracker within {took:.2f} s")
                assert took < 20
            finally:
                first.send_signal(signal.SIGCONT)
            assert (await desk.ask(rpc.GetStats())).tracker == "second"
            tasks = [await desk.submit() for _ in range(20)]
            for task in tasks:
                await desk.finish(task)
            await desk.recorded(tasks[-1].task_id, State.SUCCEEDED)
            second.terminate()
            assert await asyncio.wait_for(second.wait(), LONG) == 0
            stats = await eventually(lambda: desk.quick(rpc.GetStats()), lambda told: told is not None)
            assert (stats.tracker, stats["succeeded"], stats.total) == ("first", 21, 22)

    play(scene)


def test_trackers_killed_at_random_moments_under_load_count_nothing_twice(play: Play) -> None:
    async def scene(desk: Desk) -> None:
        chance = random.Random(7)
        tasks: list[Task] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                some = [await desk.submit() for _ in range(20)]
                tasks.extend(some)
                for number, task in enumerate(some):
                    end = desk.finish(task, Status.FAILED if number % 5 == 0 else Status.SUCCEEDED)
                    await end
                    if number % 7 == 0:
                        await desk.finish(task)  # once more: it ran twice

        loading = asyncio.ensure_future(load())
        for number in range(5):
            async with program(desk, f"tracker-{number}") as tracker:
                before = len(tasks)
                await eventually(lambda: desk.quick(rpc.GetStats()), lambda told: told is not None)
                await eventually(lambda: asyncio.sleep(0), lambda _: len(tasks) > before)  # noqa: B023
                await asyncio.sleep(chance.random() / 5)  # any moment will do
                tracker.kill()
        stop.set()
        await loading
        async with program(desk, "last"):
            await desk.recorded(tasks[-1].task_id, State.SUCCEEDED)
            stats = await eventually(
                lambda: desk.ask(rpc.GetStats()),
                lambda told: told["queued"] + told["running"] == 0 and told.total == len(tasks),
            )
        failed = len(tasks) // 5
        assert (stats["failed"], stats["succeeded"]) == (failed, len(tasks) - failed)
        with Database(desk.settings.database) as database:
            twice = [task for number, task in enumerate(tasks) if number % 20 in (0, 7, 14)]
            for task in twice[:5]:
                assert len(database.attempts(task.task_id)) == 1  # the same attempt, told twice

    play(scene)


def test_a_tracker_has_a_short_heartbeat_unless_another_is_given() -> None:
    assert with_heartbeat("amqp://host") == f"amqp://host?heartbeat={HEARTBEAT}"
    assert with_heartbeat("amqp://host/?a=b") == f"amqp://host/?a=b&heartbeat={HEARTBEAT}"
    assert with_heartbeat("amqp://host?heartbeat=60") == "amqp://host?heartbeat=60"
