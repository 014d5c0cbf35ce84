"""One worker in this process, on a real broker: what it does when its parts are lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.integration.stage import OPERATIONS, Stage, play, task
from tests.support import until
from workbench.broker import Outgoing, Topology
from workbench.broker.node import Node
from workbench.core import headers
from workbench.core.errors import InvalidName
from workbench.core.messages import Status, Task, encode
from workbench.core.settings import Settings
from workbench.worker.holders import Fate, Found
from workbench.worker.options import Options
from workbench.worker.service import Worker


def test_a_slot_whose_child_was_killed_while_idle_runs_one_task_at_a_time_after_it(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        first = task("text.wordcount", "a b")
        await stage.submit(first)
        await stage.ends(first)
        slot = stage.worker._attempts._slots[0]
        pid = slot.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: slot.pid not in (None, pid) and slot.takes_tasks)
        tasks = [task("text.sleep", 0.5), task("bad.raises", "as it should")]  # of two queues, so both are here at once
        for each in tasks:
            await stage.submit(each)
        slept, raised = [await stage.ends(each) for each in tasks]
        assert slept.status is Status.SUCCEEDED
        assert raised.failure is not None
        assert raised.failure.message == "as it should"
        await stage.settles()

    play(node, topology, tmp_path, scene)


def test_a_task_submitted_right_after_its_slots_child_was_killed_ends(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(3):
            await until(lambda: stage.worker._attempts._slots[0].takes_tasks)
            pid = stage.worker._attempts._slots[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            each = task("text.wordcount", "a b")
            await stage.submit(each)
            await stage.ends(each)

    play(node, topology, tmp_path, scene)


def test_both_copies_of_a_task_are_acknowledged(node: Node, topology: Topology, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        twice = task("text.sleep", 0.5)
        await asyncio.gather(stage.submit(twice), stage.submit(twice))
        await stage.ends(twice)
        await stage.settles()
        tasks = [task("text.sleep", 0.3) for _ in range(2)]
        for each in tasks:
            await stage.submit(each)
        outcomes = [await stage.ends(each) for each in tasks]
        starts = [outcome.started_at for outcome in outcomes]
        assert abs((starts[0] - starts[1]).total_seconds()) < 0.25  # type: ignore[operator]  # both slots have work

    play(node, topology, tmp_path, scene, slots=2)


def test_an_error_whose_text_is_endless_or_no_utf8_is_told_as_any_other(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        long = task("bad.raises", "x" * 200_000)
        await stage.submit(long)
        outcome = await stage.ends(long)
        assert outcome.failure is not None
        assert outcome.failure.type == "ValueError"
        assert len(outcome.failure.message) < 20_000

    play(node, topology, tmp_path, scene)


def test_a_drain_gives_back_what_was_still_on_its_way(node: Node, topology: Topology, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for number in range(300):
            stage.publisher.publish_nowait(
                Outgoing(topology.submit, "text.sleep", encode(task("text.sleep", 0.01 if number < 200 else 0.05)))
            )
        await until(lambda: len(stage.told.outcomes) > 30)
        await asyncio.wait_for(stage.worker.drain(), 5)
        assert stage.worker._roster.held == 0

    play(node, topology, tmp_path, scene)


def test_a_drain_gives_back_what_it_was_still_asking_about(
    node: Node, topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        asked, answered = asyncio.Event(), asyncio.Event()

        async def of_redelivery(_task: Task) -> Found:
            asked.set()
            await answered.wait()
            return Found(Fate.RUN)

        monkeypatch.setattr(stage.worker._holders, "of_redelivery", of_redelivery)
        monkeypatch.setattr(stage.worker, "families", ("text",))  # one of several families gives back what waits anyway
        running = task("text.sleep", 1.0)
        await stage.submit(running)
        await stage.starts(running)
        await stage.submit(task("bad.raises", "it never runs"), **{headers.AGAIN: "yes"})
        await asyncio.wait_for(asked.wait(), 20)
        draining = asyncio.ensure_future(stage.worker.drain())
        consumer = stage.worker._consumer
        assert consumer is not None
        await until(lambda: consumer._paused and not consumer._changing.locked(), what="it takes nothing more")
        answered.set()
        await stage.ends(running)
        await asyncio.wait_for(draining, 5)
        assert stage.worker._roster.held == 0

    play(node, topology, tmp_path, scene)


def test_what_has_just_ended_here_is_not_run_again_though_the_tracker_has_not_heard_of_it(
    node: Node, topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        consumer, acked = stage.worker._consumer, []
        assert consumer is not None
        ack = consumer.ack
        monkeypatch.setattr(consumer, "ack", lambda delivery: acked.append(ack(delivery)))
        marked = task("text.mark", str(tmp_path), 1)
        await stage.submit(marked)
        await stage.ends(marked)
        await stage.settles()
        await stage.submit(marked, **{headers.AGAIN: "yes"})
        await until(lambda: len(acked) == 2, what="the second copy is acknowledged")
        assert len((tmp_path / "1").read_text().splitlines()) == 1

    play(node, topology, tmp_path / "store", scene)


def test_a_drain_ends_in_its_time_where_the_broker_does_not_answer(
    node: Node, topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.worker.service.PAUSE", 0.1)

    async def scene(stage: Stage) -> None:
        running = task("text.sleep", 60.0)
        await stage.submit(running)
        await stage.starts(running)
        monkeypatch.setattr(stage.worker._consumer, "pause", asyncio.Event().wait)  # as one that was stopped
        monkeypatch.setattr(stage.worker, "_options", msgspec.structs.replace(stage.worker._options, grace=0.1))
        async with asyncio.timeout(30):
            await stage.worker.drain()
        assert stage.worker._roster.held == 1

    play(node, topology, tmp_path, scene)


def test_a_lane_that_no_client_can_name_is_refused() -> None:
    with pytest.raises(InvalidName, match="not a lane"):
        Worker(Settings(broker_url="amqp://nowhere/"), Options(lane="A b"))


def test_a_worker_is_not_idle_before_it_can_be_given_a_task() -> None:
    async def run() -> None:
        worker = Worker(Settings(broker_url="amqp://nowhere/"), Options(families=("text",), include=(OPERATIONS,)))
        await asyncio.sleep(0.01)
        assert worker.idle_seconds == 0.0
        worker._on_open()
        await until(lambda: worker.idle_seconds > 0.0)

    asyncio.run(run())
