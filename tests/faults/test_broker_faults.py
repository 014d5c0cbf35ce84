"""What the broker itself may do: die, hang, stop, and throw everybody out, while tasks flow."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.report import Recorder
from tests.faults.scene import HELD, SLOTS, TASK, Scene, Stream, await_registered, lasting, now, running
from tests.support import rabbitmqctl, wait_until
from workbench.broker import Topology
from workbench.broker.node import Node

HEARTBEAT = 2  # seconds, instead of 30, so that the broker can hang for longer than it
NOTICED = 2 * (HEARTBEAT + 5) + 5  # pika looks every `heartbeat + 5` seconds whether anything came since the last look

# An acknowledgement has no confirm: what a broker had taken but not written when it was killed is delivered again. Its
# log is written many times a second, so that this is what ends within 0.2 s.
UNWRITTEN = int(SLOTS * 0.2 / TASK)
# What a producer has sent without a confirm is sent again; it runs again where the first copy had arrived.
SENT = Stream.THREADS
RECONNECT = HELD + SENT


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("faults") / "node") as node:
        yield node


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    with Scene(node.url, tmp_path) as scene:
        yield scene


@pytest.fixture
def nervous(node: Node, tmp_path: Path) -> Iterator[Scene]:
    """A scene whose connections notice a silent broker within seconds."""
    with Scene(f"{node.url}?heartbeat={HEARTBEAT}", tmp_path) as scene:
        yield scene


@pytest.mark.slow
def test_a_broker_killed_under_load_and_started_again_loses_nothing(node: Node, scene: Scene, report: Recorder) -> None:
    with running(scene) as stream:
        await_registered(node, Topology(scene.settings.namespace).task_queue("text"))
        struck = now()
        os.kill(node.processes()["node"], signal.SIGKILL)
        wait_until(lambda: not node.is_running)
        node.start()
        back = now()
        scene.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, twice=RECONNECT + UNWRITTEN)
    recovered = scene.recovered(struck)
    assert recovered < 60
    report.add("broker killed", "kill -9 of the node under load, started again at once", *verdict, recovered)


@pytest.mark.slow
def test_a_broker_that_hangs_for_less_than_the_heartbeat_costs_nothing_but_time(
    node: Node, scene: Scene, report: Recorder
) -> None:
    with running(scene) as stream:
        logs = [path.read_text() for path in _logs(scene)]
        with _paused(node):
            lasting(2.0)
        back = now()
        scene.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, twice=0)
        assert [path.read_text().count("trying again") for path in _logs(scene)] == [
            log.count("trying again") for log in logs
        ]
    recovered = scene.recovered(back)
    assert recovered < 10
    report.add("broker paused, briefly", "SIGSTOP for 2 s, heartbeat 30 s", *verdict, recovered)


@pytest.mark.slow
def test_a_broker_that_hangs_for_longer_than_the_heartbeat_is_left_and_found_again(
    node: Node, nervous: Scene, report: Recorder
) -> None:
    with running(nervous) as stream:
        with _paused(node):
            worker = next(path for path in _logs(nervous) if path.stem == "w1")
            wait_until(lambda: "trying again" in worker.read_text(), timeout=NOTICED, what="the worker notices")
        back = now()
        nervous.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = nervous.check(stream.accepted, twice=RECONNECT)
    recovered = nervous.recovered(back)
    assert recovered < 30
    report.add("broker paused, long", f"SIGSTOP past the heartbeat of {HEARTBEAT} s", *verdict, recovered)


@pytest.mark.slow
def test_a_broker_application_that_is_stopped_and_started_loses_nothing(
    node: Node, scene: Scene, report: Recorder
) -> None:
    with running(scene) as stream:
        rabbitmqctl(node, "stop_app")
        lasting(1.0)
        rabbitmqctl(node, "start_app")
        back = now()
        scene.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, twice=RECONNECT)
    recovered = scene.recovered(back)
    assert recovered < 30
    report.add("broker application stopped", "`stop_app`, a second later `start_app`", *verdict, recovered)


@pytest.mark.slow
def test_connections_that_the_broker_closes_come_back_at_once(node: Node, scene: Scene, report: Recorder) -> None:
    with running(scene) as stream:
        struck = now()
        for _ in range(3):
            rabbitmqctl(node, "close_all_connections", "a test")
            stream.await_executions(5)
        since = now()
        scene.await_task_after(since)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, twice=3 * RECONNECT)
    recovered = scene.recovered(struck)
    assert recovered < 15
    report.add("connections closed", "`close_all_connections`, three times", *verdict, recovered)


@pytest.mark.slow
def test_a_broker_that_takes_no_connections_for_a_while_is_tried_again_until_it_does(
    node: Node, scene: Scene, report: Recorder
) -> None:
    with running(scene) as stream:
        rabbitmqctl(node, "suspend_listeners")
        try:
            rabbitmqctl(node, "close_all_connections", "a test")
            accepted = len(stream.accepted)
            lasting(3.0)
            assert len(stream.accepted) <= accepted + Stream.THREADS  # those that were confirmed at that moment
        finally:
            rabbitmqctl(node, "resume_listeners")
        back = now()
        scene.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, twice=RECONNECT)
    recovered = scene.recovered(back)
    assert recovered < 15
    report.add(
        "listeners suspended", "`suspend_listeners` and `close_all_connections`, 3 s later resumed", *verdict, recovered
    )


def _logs(scene: Scene) -> list[Path]:
    return sorted(scene.logs.iterdir())


@contextlib.contextmanager
def _paused(node: Node) -> Iterator[None]:
    pid = node.processes()["node"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
