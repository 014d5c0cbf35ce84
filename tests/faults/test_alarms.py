"""What the broker refuses: messages during an alarm, more than a queue may hold, what no queue takes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.faults.report import Recorder
from tests.faults.scene import PATIENCE, Scene, Stream, now, running
from tests.support import rabbitmqctl, wait_until
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.core.states import State

MOST = 20  # tasks that the queue may hold in the scenes where it is full


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("alarms") / "node") as node:
        yield node


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    with Scene(node.url, tmp_path) as scene:
        yield scene


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alarm", "raised", "cleared"),
    [
        ("memory", ("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")),
        ("disk", ("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "200MB")),
    ],
)
def test_a_submission_during_an_alarm_takes_longer_or_fails_in_its_time_and_says_why(
    node: Node, scene: Scene, report: Recorder, alarm: str, raised: tuple[str, ...], cleared: tuple[str, ...]
) -> None:
    with running(scene) as stream, wb.Producer(settings=scene.settings, confirm_timeout=1.0) as hasty:
        rabbitmqctl(node, *raised)
        try:
            wait_until(lambda: stream.is_blocked, what="the stream's connection is blocked")
            began = time.monotonic()
            with pytest.raises(wb.BrokerUnavailable, match=rf"takes no messages until an alarm ends: low on {alarm}"):
                hasty.submit("text.mark", str(scene.marks), 1_000_000, 0.0)
            assert time.monotonic() - began < 3.0
            accepted = len(stream.accepted)
        finally:
            rabbitmqctl(node, *cleared)
        back = now()
        scene.await_task_after(back)
        stream.stop()
        assert len(stream.accepted) > accepted
        assert not stream.refused
        verdict = scene.check(stream.accepted, uncertain=[1_000_000], twice=0)
    recovered = scene.recovered(back)
    assert recovered < 10
    report.add(f"{alarm} alarm", f"`{raised[0]} {raised[1]}`, then back", *verdict, recovered)


@pytest.fixture
def full(node: Node, scene: Scene) -> Iterator[Scene]:
    """A scene without workers, whose task queue holds no more than `MOST`."""
    queue = Topology(scene.settings.namespace).task_queue("text")
    scene.tracker()
    first = scene.worker("first")  # declares the queue
    first.terminate()
    assert first.wait(20) == 0
    pattern = "^" + queue.replace(".", r"\.") + "$"
    rabbitmqctl(node, "set_policy", "--apply-to", "queues", "full", pattern, json.dumps({"max-length": MOST}))
    yield scene
    _lift(node)


def _lift(node: Node) -> None:
    if "full" in rabbitmqctl(node, "list_policies"):
        rabbitmqctl(node, "clear_policy", "full")


@pytest.mark.slow
def test_submissions_to_a_full_queue_wait_until_there_is_room(node: Node, full: Scene, report: Recorder) -> None:
    with Stream(full) as stream:
        wait_until(lambda: stream.refusals() >= 3 * Stream.THREADS, what="the broker refuses each thread's submission")
        accepted = len(stream.accepted)
        # A quorum queue refuses a moment after it is full: what is under way then is still taken.
        assert MOST <= accepted <= MOST + 2 * Stream.THREADS
        _lift(node)
        back = now()
        full.worker("w1")
        full.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = full.check(stream.accepted, twice=Stream.THREADS)
    recovered = full.recovered(back)
    report.add("queue full", f"a policy of {MOST} messages, no worker; lifted, a worker starts", *verdict, recovered)


def test_a_submission_given_up_as_the_queue_is_full_leaves_no_record_half_way(node: Node, full: Scene) -> None:
    accepted: dict[int, str] = {}
    with wb.Producer(settings=full.settings, confirm_timeout=1.0) as producer:

        def is_refused() -> bool:
            try:
                accepted[len(accepted)] = producer.submit("text.mark", str(full.marks), len(accepted), 0.0).id
            except wb.BrokerUnavailable:
                return True
            return False

        wait_until(is_refused, timeout=PATIENCE, what="the queue is full")
    _lift(node)
    full.worker("w1")
    full.check(accepted, uncertain=[len(accepted)], twice=0, patience=10)


@pytest.mark.slow
def test_a_queue_deleted_under_its_consumer_is_back_and_what_ran_ends_once(
    node: Node, scene: Scene, report: Recorder
) -> None:
    queue = Topology(scene.settings.namespace).task_queue("text")
    scene.tracker()
    worker = scene.worker("w1")
    with wb.Producer(settings=scene.settings) as producer:
        accepted = {n: producer.submit("text.mark", str(scene.marks), n, 2.0).id for n in range(2)}
        wait_until(lambda: scene.executions() == 2, what="both run")
        struck = now()
        rabbitmqctl(node, "delete_queue", queue)
        wait_until(lambda: worker.log.read_text().count("w1 takes") == 2, what="the worker has declared it again")
        accepted |= {n: producer.submit("text.mark", str(scene.marks), n, 0.05).id for n in range(2, 52)}
        verdict = scene.check(accepted, twice=0)
    recovered = scene.recovered(struck)
    assert recovered < 15
    report.add("queue deleted", "under its consumer, with two tasks running", *verdict, recovered)


def test_what_no_queue_takes_ends_as_unroutable_amid_tasks_that_run(scene: Scene, report: Recorder) -> None:
    scene.tracker()
    scene.worker("w1")
    with wb.Producer(settings=scene.settings) as producer:
        nowhere = producer.with_options(lane="nowhere")
        accepted, astray = {}, []
        for number in range(50):
            accepted[number] = producer.submit("text.mark", str(scene.marks), number, 0.0).id
            astray.append(nowhere.submit("text.mark", str(scene.marks), 1000 + number, 0.0).id)
    verdict = scene.check(accepted, uncertain=range(50), twice=0)
    records = {record.task_id: record for record in scene.records()}
    assert {records[task_id].state for task_id in astray} == {State.FAILED}
    failures = {failure.type for task_id in astray if (failure := records[task_id].failure) is not None}
    assert failures == {"Unroutable"}
    assert scene.executions() == 50
    report.add("unroutable", "50 tasks for a lane that doesn't exist, amid 50 others", *verdict, None)
