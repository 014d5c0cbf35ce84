"""A link that swallows packets without a word, all or some of them, between a worker or a client and the broker."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.faults import slow_link
from tests.faults.namespaces import HERE, Namespace, why_not
from tests.faults.report import Recorder
from tests.faults.scene import HELD, TASK, Scene, Stream, now
from tests.support import rabbitmqctl, wait_until
from workbench.broker.node import Node

HEARTBEAT = 2
NOTICED = 2 * (HEARTBEAT + 5) + 5  # pika looks every `heartbeat + 5` seconds whether anything came since the last look
# A connection that is being opened as the link comes back waits for TCP's next try (after 1, 2, 4, 8 s) or for the
# 15 s that `open_session` gives it, and then for the longest back-off.
BACK = 15.0 + 5.0 + 5.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def far() -> Iterator[Namespace]:
    if reason := why_not():
        pytest.skip(reason)
    with Namespace() as far:
        yield far


@pytest.fixture(scope="module")
def node(far: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """A node that listens on the link too, and its address there."""
    directory = tmp_path_factory.mktemp("network") / "node"
    (directory / "conf" / "conf.d").mkdir(parents=True)
    with socket.create_server((HERE, 0)) as probe:
        port = probe.getsockname()[1]
    (directory / "conf" / "conf.d" / "90-link.conf").write_text(f"listeners.tcp.link = {HERE}:{port}\n")
    with Node(directory) as node:
        yield node, f"{node.url.partition('@')[0]}@{HERE}:{port}/%2F?heartbeat={HEARTBEAT}"


@pytest.fixture
def scene(node: tuple[Node, str], tmp_path: Path) -> Iterator[Scene]:
    with Scene(node[0].url, tmp_path) as scene:
        yield scene


def test_a_worker_behind_a_link_that_swallows_everything_is_back_by_its_heartbeat(
    node: tuple[Node, str], far: Namespace, scene: Scene, report: Recorder
) -> None:
    scene.tracker()
    worker = scene.worker("far", url=node[1], prefix=far.prefix)
    with Stream(scene) as stream:
        stream.await_executions(20)
        executed = scene.executions()
        with far.blackholed():
            wait_until(lambda: worker.log.read_text().count("trying again") >= 2, timeout=NOTICED, what="it notices")
            # What it held it did; then it had nothing to do. What it says of these waits for the connection.
            assert scene.executions() <= executed + HELD + 1
            wait_until(lambda: not _connections(node[0], "far"), timeout=NOTICED, what="the broker notices")
        back = now()
        stream.stop()
        assert not stream.refused
        assert worker.poll() is None
        verdict = scene.check(stream.accepted, twice=HELD)
    recovered = scene.recovered(back, backlog=True)
    assert recovered < BACK
    done = f"every packet of a worker's link dropped until both sides noticed, heartbeat {HEARTBEAT} s"
    report.add("link blackholed, worker", done, *verdict, recovered)


def test_a_client_behind_a_link_that_swallows_everything_fails_in_its_time_or_succeeds_later(
    node: tuple[Node, str], far: Namespace, scene: Scene, report: Recorder
) -> None:
    scene.tracker()
    scene.worker("near")
    with (
        far.call(lambda: Stream(scene, url=node[1])) as stream,
        far.call(lambda: wb.Producer(settings=scene.through(node[1]), confirm_timeout=1.0)) as hasty,
    ):
        stream.await_executions(20)
        with far.blackholed():
            began = time.monotonic()
            with pytest.raises(wb.BrokerUnavailable, match="has confirmed 0 of 1 tasks within 1 s"):
                hasty.submit("text.mark", str(scene.marks), 1_000_000, 0.0)
            assert time.monotonic() - began < 3.0
            wait_until(lambda: not stream.is_open, timeout=NOTICED, what="the client notices")
        back = now()
        scene.await_task_after(back)
        stream.stop()
        assert not stream.refused
        verdict = scene.check(stream.accepted, uncertain=[1_000_000], twice=Stream.THREADS)
    recovered = scene.recovered(back)
    assert recovered < BACK
    done = f"every packet of a client's link dropped until it noticed, heartbeat {HEARTBEAT} s"
    report.add("link blackholed, client", done, *verdict, recovered)


def test_over_a_slow_link_that_loses_packets_a_worker_loses_nothing_and_stays_connected(
    node: tuple[Node, str], far: Namespace, scene: Scene, report: Recorder
) -> None:
    if reason := slow_link.why_not():
        pytest.skip(reason)
    patient = node[1].partition("?")[0]  # the heartbeat as it is: an ordinary link, if a bad one
    scene.tracker()
    with slow_link.SlowLink(far, delay=0.1, jitter=0.05, loss=0.05) as link:
        worker = scene.worker("far", url=patient, prefix=far.prefix)
        with wb.Producer(settings=scene.settings) as producer:
            accepted = {n: producer.submit("text.mark", str(scene.marks), n, TASK).id for n in range(60)}
        verdict = scene.check(accepted, twice=0)
        assert "trying again" not in worker.log.read_text()
    assert link.lost
    done = "100 ms each way, give or take 50 ms, and 5 % of the packets lost"
    report.add("link slow and lossy, worker", done, *verdict, None)


def _connections(node: Node, name: str) -> list[str]:
    table = rabbitmqctl(node, "list_connections", "client_properties", "--no-table-headers")
    return [line for line in table.splitlines() if f'"{name} ' in line]
