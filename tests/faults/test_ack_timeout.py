"""A broker that enforces a short acknowledgement timeout, as foreign ones may, and a task that takes longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.report import Recorder
from tests.faults.scene import PATIENCE, SLOTS, Scene
from tests.support import rabbitmqctl
from workbench.broker.node import Node

TIMEOUT = 60.0
LONG = 150.0
CHECKS = 60.0  # RabbitMQ looks once a minute which deliveries are overdue, and closes their channel (406)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Node]:
    """A node whose own limit is a minute; the queue's `x-consumer-timeout` means nothing to RabbitMQ before 3.12."""
    directory = tmp_path / "node"
    (directory / "conf" / "conf.d").mkdir(parents=True)
    (directory / "conf" / "conf.d" / "90-impatient.conf").write_text(f"consumer_timeout = {int(TIMEOUT * 1000)}\n")
    with Node(directory) as node:
        assert str(int(TIMEOUT * 1000)) in rabbitmqctl(node, "eval", "application:get_env(rabbit, consumer_timeout).")
        yield node


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])  # a second one with free slots gets what the first one loses
def test_a_task_longer_than_the_broker_s_acknowledgement_timeout_runs_once_and_has_one_outcome(
    impatient: Node, tmp_path: Path, report: Recorder, workers: int
) -> None:
    (tmp_path / "scene").mkdir()
    with Scene(impatient.url, tmp_path / "scene") as scene, scene.client() as client:
        scene.tracker()
        started = [scene.worker(f"w{number}") for number in range(1, workers + 1)]
        scene.await_announced()
        tasks = {0: client.submit("text.mark", str(scene.marks), 0, LONG)}
        short = 0
        while not tasks[0].done():  # some before the timeout, some around it, some after
            short += 1
            tasks[short] = client.submit("text.mark", str(scene.marks), short, 2.0)
            assert tasks[short].result(PATIENCE) == short
        assert tasks[0].result(1) == 0
        accepted = {number: task.id for number, task in tasks.items()}
        verdict = scene.check(accepted, twice=0)
        assert [worker.poll() for worker in started] == [None] * workers
        assert short > SLOTS
    done = f"a task of {LONG:g} s where the broker allows {TIMEOUT:g} s, {workers} worker{'s' * (workers > 1)}"
    report.add("acknowledgement timeout", done, *verdict, None)
