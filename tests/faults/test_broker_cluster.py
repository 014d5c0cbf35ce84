"""A broker of three nodes: what the death of one costs, and of the majority."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.faults.broker_cluster import BrokerCluster
from tests.faults.proxy import Proxy
from tests.faults.report import Recorder
from tests.faults.scene import HELD, SLOTS, TASK, Scene, Stream, await_registered, now, running
from workbench.broker import Topology

WORKERS = 2
UNWRITTEN = int(WORKERS * SLOTS * 0.2 / TASK)  # acknowledgements of the last moment, as where a single node is killed
RECONNECT = WORKERS * HELD + Stream.THREADS + UNWRITTEN
STRIKES = 3  # a leader's death, the majority's, and its return


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[BrokerCluster]:
    (tmp_path / "brokers").mkdir()
    with BrokerCluster(tmp_path / "brokers") as brokers:
        yield brokers


@pytest.mark.slow
def test_a_leader_s_death_costs_moments_and_the_majority_s_stops_confirms_until_it_is_back(
    brokers: BrokerCluster, tmp_path: Path, report: Recorder
) -> None:
    (tmp_path / "scene").mkdir()
    with (
        Proxy(*(member.identity.amqp_port for member in brokers.members)) as balancer,
        Scene(balancer.through(brokers.members[0].identity.url), tmp_path / "scene") as scene,
        running(scene, confirm_timeout=180.0, workers=WORKERS) as stream,
    ):
        queue = Topology(scene.settings.namespace).task_queue("text")
        assert brokers.copies(queue) == 3
        for member in brokers.members:
            await_registered(member, queue)

        leader = brokers.leader(queue)
        struck = now()
        leader.kill()
        scene.await_task_after(now())
        survived = scene.recovered(struck)
        assert survived < 30
        second = brokers.leader(queue)
        assert second is not leader

        second.kill()
        with wb.Producer(settings=scene.settings, connect_timeout=30.0, confirm_timeout=3.0) as hasty:
            began = time.monotonic()
            with pytest.raises(wb.BrokerUnavailable, match="has confirmed 0 of 1 tasks within 3 s"):
                hasty.submit("text.mark", str(scene.marks), 1_000_000, 0.0)
            assert time.monotonic() - began < 6.0
            accepted = len(stream.accepted)
            with pytest.raises(wb.BrokerUnavailable):
                hasty.submit("text.mark", str(scene.marks), 1_000_001, 0.0)
            assert len(stream.accepted) == accepted

        for member in (leader, second):
            member.launch()
        for member in (leader, second):
            member.wait_ready(120)
        back = now()
        scene.await_task_after(back, timeout=180)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, uncertain=[1_000_000, 1_000_001], twice=STRIKES * RECONNECT)
        recovered = scene.recovered(back)
    report.add("one node of three killed", "the leader of the task queue, kill -9", *verdict, survived)
    report.add("two nodes of three killed", "nothing is confirmed; both started again", *verdict, recovered)
