"""A store that is full or can't be written while large values flow, and the tracker's disk when it is full."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

import workbench as wb
from tests.faults.bulk import FORMS, SIZE, as_bytes, content
from tests.faults.disks import Disk, why_not
from tests.faults.report import Recorder
from tests.faults.scene import PATIENCE, Scene, now
from tests.support import rabbitmqctl, wait_until
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.core.errors import StoreError
from workbench.core.messages import Failure, Status
from workbench.core.rpc import AttemptRecord
from workbench.core.states import State
from workbench.tracker.database import Database

INCLUDE = ("--include", "tests.faults.store_operations")
TASKS = 2 * len(FORMS)
HALF = SIZE // 2  # bytes left on a full disk: what is put begins well, and fails in the middle
FOREVER = wb.RetryPolicy(attempts=1000, delay=0.5, factor=1.0)
FAULTS = pytest.mark.parametrize(
    ("fault", "cause"), [("full", "No space left on device"), ("read-only", "Read-only file system")]
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("stores") / "node") as node:
        yield node


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    with Disk(tmp_path / "disk", 16 * 2**20) as disk:
        yield disk


@pytest.fixture
def scene(node: Node, disk: Disk, tmp_path: Path) -> Iterator[Scene]:
    """A scene whose store lies on that disk."""
    (tmp_path / "scene").mkdir()
    with Scene(node.url, tmp_path / "scene") as scene:
        scene.settings = msgspec.structs.replace(scene.settings, store=str(disk.path / "store"))
        yield scene


@pytest.mark.slow
@FAULTS
def test_results_that_the_store_does_not_take_are_tried_again_until_it_does(
    scene: Scene, disk: Disk, report: Recorder, fault: str, cause: str
) -> None:
    scene.tracker()
    scene.worker("w1", *INCLUDE)
    with wb.Producer(settings=scene.settings) as producer, scene.client() as client:
        patient = producer.with_options(retry=FOREVER)
        accepted = _submit(patient, scene, range(TASKS))
        _await_ended(scene, accepted)  # as long as there is room
        with _broken(disk, fault):
            accepted |= _submit(patient, scene, range(TASKS, 2 * TASKS))
            struck = list(accepted.values())[TASKS:]
            wait_until(
                lambda: _is_intact(scene) and all(_failures(scene, task_id) for task_id in struck),
                timeout=PATIENCE,
                what="each has failed to put its result",
            )
            for failure in (failure for task_id in struck for failure in _failures(scene, task_id)):
                assert failure.type == "StoreError"
                assert scene.settings.store in failure.message
                assert cause in failure.message
            small = producer.submit("text.echo", "what fits into a message needs no store").id
            assert client.get(small).result(PATIENCE) == "what fits into a message needs no store"
        back = now()
        _await_ended(scene, accepted)
        for number, task_id in accepted.items():
            assert as_bytes(client.get(task_id).result(PATIENCE)) == content(number)
    assert _is_intact(scene)
    assert not list(Path(scene.settings.store, "tmp").iterdir()), "something half-written was left"
    twice = _check_attempts(scene, accepted)
    recovered = scene.recovered(back, backlog=True)
    assert recovered < 10
    report.add(f"store {fault}", "while large results are put; later not any more", len(accepted), 0, twice, recovered)


@pytest.mark.slow
@FAULTS
def test_tasks_whose_attempts_run_out_meanwhile_are_dead_letters_and_succeed_when_sent_again(
    scene: Scene, disk: Disk, report: Recorder, fault: str, cause: str
) -> None:
    scene.tracker()
    scene.worker("w1", *INCLUDE)
    with wb.Producer(settings=scene.settings) as producer, scene.client() as client:
        with _broken(disk, fault):
            accepted = _submit(producer, scene, range(TASKS))
            _await_ended(scene, accepted)
        assert {record.state for record in scene.records()} == {State.FAILED}
        with pytest.raises(wb.TaskFailed, match=cause):
            client.get(accepted[0]).result(PATIENCE)
        letters = asyncio.run(client.dead_letters())
        assert {letter.task_id for letter in letters} == set(accepted.values())
        assert all("failed, the last with StoreError" in letter.reason for letter in letters)
        back = now()
        sent = {handle.id: handle for handle in asyncio.run(client.replay(all=True))}
        for number, task_id in accepted.items():
            assert as_bytes(sent[task_id].result(PATIENCE)) == content(number)
    _await_ended(scene, accepted)
    assert {record.state for record in scene.records()} == {State.SUCCEEDED}
    twice = _check_attempts(scene, accepted)
    assert asyncio.run(_letters(scene)) == 0
    recovered = scene.recovered(back, backlog=True)
    done = "until the attempts of all were used up; then sent again from the dead letters"
    report.add(f"store {fault}", done, len(accepted), 0, twice, recovered)


@FAULTS
def test_an_argument_that_the_store_does_not_take_fails_at_once_in_the_notebook_and_nothing_is_sent(
    scene: Scene, disk: Disk, fault: str, cause: str
) -> None:
    scene.tracker()
    scene.worker("w1", *INCLUDE)
    with wb.Producer(settings=scene.settings) as producer:
        marks = str(scene.marks)
        with _broken(disk, fault):
            began = time.monotonic()
            with pytest.raises(StoreError, match=cause) as refused:
                producer.submit("text.take", marks, 0, content(0))
            with pytest.raises(StoreError, match=cause):
                producer.map("text.take", [marks] * 3, number=1, data=content(1))
            assert time.monotonic() - began < 2.0
            assert scene.settings.store in str(refused.value)
            accepted = {2: producer.submit("text.take", marks, 2, b"small").id}
        accepted[3] = producer.submit("text.take", marks, 3, content(3)).id
    _await_ended(scene, accepted)
    assert {record.task_id for record in scene.records()} == set(accepted.values())
    assert _check_attempts(scene, accepted) == 0
    assert _is_intact(scene)


@pytest.mark.slow
def test_a_tracker_whose_disk_is_full_acknowledges_nothing_and_records_everything_once_there_is_room(
    node: Node, disk: Disk, tmp_path: Path, report: Recorder
) -> None:
    (tmp_path / "scene").mkdir()
    with Scene(node.url, tmp_path / "scene") as scene:
        scene.settings = msgspec.structs.replace(
            scene.settings, database=f"sqlite:///{disk.path / 'tracker' / 'tracker.sqlite'}"
        )
        tracker = scene.tracker()
        scene.worker("w1")
        scene.await_announced()
        marks = str(scene.marks)
        with scene.client() as client:
            handles = [client.submit("text.mark", marks, number) for number in range(20)]
            _await_ended(scene, {number: handle.id for number, handle in enumerate(handles)})
            with disk.full():
                later = [client.submit("text.mark", marks, number) for number in range(20, 220)]
                # Who submitted them has the results all the same, and a tracker that can't record still answers.
                assert [handle.result(PATIENCE) for handle in later] == list(range(20, 220))
                wait_until(lambda: "database or disk is full" in tracker.log.read_text(), what="a commit fails")
                assert asyncio.run(client.stats()).total == len(handles)
                queue = Topology(scene.settings.namespace).tracker_queue
                wait_until(lambda: _messages(node, queue) >= len(later), what="the broker counts what it keeps")
                assert len(scene.records()) == len(handles)
            began = time.monotonic()
            accepted = {number: handle.id for number, handle in enumerate(handles + later)}
            _await_ended(scene, accepted)
            recovered = time.monotonic() - began
            assert asyncio.run(client.stats())["succeeded"] == len(accepted)
        verdict = scene.check(accepted, twice=0)
        wait_until(lambda: _messages(node, queue) == 0, what="all is acknowledged")
    report.add("tracker's disk full", "while tasks flow; later not any more; sqlite", *verdict, recovered)


# --- inside -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _broken(disk: Disk, fault: str) -> Iterator[None]:
    with disk.full(but=HALF) if fault == "full" else disk.read_only():
        yield


def _submit(producer: wb.Producer, scene: Scene, numbers: range) -> dict[int, str]:
    marks = str(scene.marks)
    return {number: producer.submit("text.give", marks, number, FORMS[number % len(FORMS)]).id for number in numbers}


def _await_ended(scene: Scene, accepted: Mapping[int, str]) -> None:
    def ended() -> bool:
        with Database(scene.settings.database) as database:
            records = database.records(list(accepted.values()))
        return len(records) == len(accepted) and all(record.state.terminal for record in records)

    wait_until(ended, timeout=PATIENCE, what="all have ended")


def _attempts(scene: Scene, task_id: str) -> list[AttemptRecord]:
    with Database(scene.settings.database) as database:
        return database.attempts(task_id)


def _failures(scene: Scene, task_id: str) -> list[Failure]:
    ends = (attempt.outcome for attempt in _attempts(scene, task_id))
    return [end.failure for end in ends if end is not None and end.failure is not None]


def _is_intact(scene: Scene) -> bool:
    """Whether what lies under each digest is what the digest says, at any moment."""
    for path in Path(scene.settings.store, "blake3").glob("*/*"):
        assert path.parent.name + path.name == blake3(path.read_bytes()).hexdigest(), f"{path} is damaged"
    return True


def _check_attempts(scene: Scene, accepted: Mapping[int, str]) -> int:
    """See that each attempt ran once and the last one succeeded; return how many executions there were too many."""
    executed = 0
    for number, task_id in accepted.items():
        attempts = _attempts(scene, task_id)
        ends = [attempt.outcome.status for attempt in attempts if attempt.outcome is not None]
        assert [attempt.attempt for attempt in attempts] == list(range(1, len(attempts) + 1))
        assert ends.count(Status.SUCCEEDED) == 1
        assert ends[-1] is Status.SUCCEEDED
        runs = len((scene.marks / f"{number}").read_text().splitlines())
        executed += runs - len(attempts)
    assert executed == 0
    return executed


async def _letters(scene: Scene) -> int:
    with scene.client() as client:
        return len(await client.dead_letters())


def _messages(node: Node, queue: str) -> int:
    table = rabbitmqctl(node, "list_queues", "name", "messages", "--no-table-headers")
    return next(int(count) for name, count in (line.split() for line in table.splitlines()) if name == queue)
