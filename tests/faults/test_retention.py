"""Results are swept every few seconds while tasks flow, and what anybody still needs stays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import msgspec
import pytest
import sqlalchemy as sa

import workbench as wb
from tests.faults.bulk import content
from tests.faults.report import Recorder
from tests.faults.scene import PATIENCE, Scene
from tests.support import wait_until
from workbench.broker.node import Node
from workbench.core.states import State
from workbench.tracker import schema
from workbench.tracker.database import Database

RETENTION = 3.0
INCLUDE = ("--include", "tests.faults.store_operations")
SPECIAL = 1_000_000  # numbers from here on are not the load's

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("retention") / "node") as node:
        yield node


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    with Scene(node.url, tmp_path) as scene:
        scene.settings = msgspec.structs.replace(scene.settings, retention=RETENTION)
        yield scene


class Gifts:
    """A thread that submits tasks with large results until it is stopped."""

    PAUSE = 0.02

    def __init__(self, scene: Scene, producer: wb.Producer) -> None:
        self.accepted: dict[int, str] = {}
        self._scene = scene
        self._producer = producer
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._submitting = self._thread.submit(self._submit)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()

    def stop(self) -> None:
        """Submit nothing more; return when all is accepted, or raise why it isn't."""
        self._stop.set()
        self._submitting.result()

    def _submit(self) -> None:
        while not self._stop.wait(self.PAUSE):
            number = len(self.accepted)
            self.accepted[number] = self._producer.submit("text.give", str(self._scene.marks), number, "bytes").id


def test_sweeping_under_load_takes_what_is_over_and_nothing_that_waits_runs_or_is_pinned(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("w1", *INCLUDE, "--slots", "5")
    idle = scene.worker("slow", *INCLUDE, "--lane", "slow")  # declares the lane's queue
    idle.terminate()
    assert idle.wait(20) == 0
    marks, gate, early = str(scene.marks), scene.marks.parent / "opened", scene.marks.parent / "opened early"
    upload = tmp_path_factory.mktemp("elsewhere") / "input"  # outside the roots: it is copied into the store
    upload.write_bytes(content(SPECIAL))
    with (
        wb.Producer(settings=scene.settings) as producer,
        scene.client() as client,
        Gifts(scene, producer) as gifts,
    ):
        slow = producer.with_options(lane="slow")
        queued = {n: slow.submit("text.take", marks, n, content(n)).id for n in range(SPECIAL + 10, SPECIAL + 15)}
        running = producer.submit("text.hold", marks, SPECIAL, str(gate), upload).id
        retrying = producer.submit("text.again", marks, SPECIAL + 1, 3 * RETENTION, content(SPECIAL + 1)).id
        # Two tasks with one result: only one of them is pinned.
        pinned, twin = (producer.submit("text.hold", marks, SPECIAL + n, str(early), upload).id for n in (2, 3))
        wait_until(lambda: pinned in {record.task_id for record in scene.records()}, what="it is recorded")
        assert asyncio.run(client.pin(pinned)) == [pinned]
        early.touch()
        wait_until(lambda: {pinned, twin} <= _succeeded(scene), timeout=PATIENCE, what="both have ended")

        later = len(gifts.accepted)
        wait_until(lambda: later + 50 in gifts.accepted, timeout=PATIENCE, what="50 more are submitted")
        after = gifts.accepted[later + 50]
        # By now everything above is older than results are kept.
        wait_until(lambda: {twin, after} <= _swept(scene), timeout=PATIENCE, what="what came later is swept, too")
        gate.touch()
        scene.worker("slow", *INCLUDE, "--lane", "slow")
        # Each read what it had been given. Their results, too, are swept soon after.
        live = {running, retrying, *queued.values()}
        wait_until(lambda: live <= _succeeded(scene), timeout=PATIENCE, what="what waited or ran has succeeded")
        assert client.get(pinned).result(PATIENCE) == content(SPECIAL)
        with pytest.raises(wb.ResultExpired):
            client.get(after).result(PATIENCE)
        gifts.stop()
        wait_until(lambda: set(gifts.accepted.values()) <= _swept(scene), timeout=PATIENCE, what="the rest is swept")
        # What only swept tasks referred to leaves the store; the pinned one's file and result stay.
        wait_until(lambda: len(_objects(scene)) == 2, timeout=PATIENCE, what="the store is swept")
        assert client.get(pinned).result(PATIENCE) == content(SPECIAL)

    records = scene.records()
    others = {running, retrying, pinned, twin, *queued.values()}
    assert {record.task_id for record in records} == {*gifts.accepted.values(), *others}
    assert {record.state for record in records} == {State.SUCCEEDED}
    executed = scene.executions() - len(records) - 1  # one had two attempts
    assert executed == 0
    done = f"every {RETENTION:g} s while tasks with large results flow; some wait, run or are pinned for longer"
    report.add("results swept under load", done, len(records), 0, executed, None)


def _succeeded(scene: Scene) -> set[str]:
    return {record.task_id for record in scene.records() if record.state is State.SUCCEEDED}


def _swept(scene: Scene) -> set[str]:
    with Database(scene.settings.database) as database, database._connections.read() as connection:
        return set(connection.scalars(sa.select(schema.tasks.c.task_id).where(schema.tasks.c.swept_at.is_not(None))))


def _objects(scene: Scene) -> list[Path]:
    return list(Path(scene.settings.store, "blake3").glob("*/*"))
