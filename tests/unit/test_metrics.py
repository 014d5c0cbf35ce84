from __future__ import annotations

import asyncio
import json
import re
import socket
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracker_facts import IDS, T0, accepted, at, finished, online, started
from workbench.core.errors import WorkbenchError
from workbench.core.live import Health, bin_of
from workbench.core.messages import Failure, Status, Task, TaskFinished, TaskStarted, WorkerHeartbeat
from workbench.core.states import TaskRecord, fold
from workbench.metrics import LOOPBACK, Family, served
from workbench.tracker.aggregates import Aggregates
from workbench.tracker.metrics import families
from workbench.tracker.workers import fold_workers
from workbench.worker import metrics as of_worker

HEALTH = Health(tracker="t", started_at=T0, now=T0, last_event_at=None, pending=3, lag=0.5, blocked="disk")


def learn(aggregates: Aggregates, *facts: Task | TaskStarted | TaskFinished, seconds: float = 20) -> None:
    known: dict[str, TaskRecord] = {}
    transitions = []
    for fact in facts:
        before = known.get(fact.task_id)
        known[fact.task_id] = after = fold(before, fact)
        transitions.append((before, after))
    aggregates.learn(transitions, at(seconds))


def value(told: list[Family], name: str, *labels: str) -> Any:
    (family,) = [each for each in told if each.name == name]
    return dict(family.samples)[labels]


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def test_a_scrape_tells_counts_histograms_and_workers() -> None:
    aggregates = Aggregates("life")
    learn(aggregates, accepted(), started(), finished(), accepted(IDS[1], lane="high"))
    aggregates.meet(
        fold_workers([online(), WorkerHeartbeat(worker="w1", busy=1, slots=2, cpu=0.5, at=at(5))], {}), at(20)
    )

    async def scene() -> str:
        with served(LOOPBACK, 0, lambda: families(aggregates, HEALTH, at(20))) as port:
            return await asyncio.to_thread(scraped, port)

    text = asyncio.run(scene())
    for line in (
        'workbench_tasks{operation="image.thumbnail",state="queued"} 1.0',
        'workbench_tasks{operation="image.thumbnail",state="succeeded"} 1.0',
        'workbench_tasks_submitted_total{family="image",lane="high"} 1.0',
        'workbench_tasks_finished_total{family="image",lane="",state="succeeded"} 1.0',
        'workbench_running_seconds_bucket{family="image",lane="",le="0.8192"} 0.0',
        'workbench_running_seconds_bucket{family="image",lane="",le="1.6384"} 1.0',
        'workbench_running_seconds_count{family="image",lane=""} 1.0',
        'workbench_worker_cores{worker="w1"} 0.5',
        "workbench_tracker_pending 3.0",
        "workbench_tracker_blocked 1.0",
    ):
        assert line in text.splitlines()


def test_totals_go_on_as_seconds_are_forgotten_and_leave_out_what_was_recalled() -> None:
    aggregates = Aggregates("life")
    aggregates.recall([fold(fold(None, accepted()), finished())], at(20))
    told = list(families(aggregates, HEALTH, at(20)))
    assert value(told, "workbench_tasks_submitted", "image", "") == 0
    failure = Failure(type="E", message="")
    learn(aggregates, accepted(IDS[1]), finished(IDS[1], status=Status.FAILED, failure=failure))
    later = finished(IDS[2], started_at=at(7199), finished_at=at(7200))
    learn(aggregates, later, seconds=7200)
    assert {key[0] for key in aggregates.tallies._tallies} == {int(at(7199).timestamp()), int(at(7200).timestamp())}
    told = list(families(aggregates, HEALTH, at(20) + timedelta(hours=2)))
    assert value(told, "workbench_tasks_submitted", "image", "") == 1
    assert value(told, "workbench_tasks_finished", "image", "", "failed") == 1
    assert value(told, "workbench_tasks_finished", "image", "", "succeeded") == 1
    assert value(told, "workbench_running_seconds", "image", "")[bin_of(1.0)] == 2


def test_a_worker_tells_what_its_heartbeat_told() -> None:
    beat = WorkerHeartbeat(worker="w1", busy=1, slots=2, memory=5, done=7, cpu=0.25, draining=True, at=T0)
    told = {family.name: family.samples[0][1] for family in of_worker.families(beat)}
    assert told["workbench_process_attempts"] == 7
    assert (told["workbench_process_busy"], told["workbench_process_draining"]) == (1, 1.0)


def test_a_port_that_is_taken_is_told_of() -> None:
    async def scene() -> None:
        with (
            socket.create_server((LOOPBACK, 0)) as taken,
            pytest.raises(WorkbenchError, match=r"can't be served on 127\.0\.0\.1"),
            served(LOOPBACK, taken.getsockname()[1], list),
        ):
            pass

    asyncio.run(scene())


def test_a_port_is_free_again_afterwards() -> None:
    async def scene() -> None:
        with served(LOOPBACK, 0, list) as port:
            pass
        with served(LOOPBACK, port, list) as again:
            assert again == port

    asyncio.run(scene())


def test_every_metric_on_the_grafana_dashboard_is_served() -> None:
    served_names = set()
    for family in families(Aggregates("life"), HEALTH, T0):
        ending = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}[family.kind]
        served_names |= {family.name + each for each in ending}
    dashboard = json.loads((Path(__file__).parents[2] / "docs" / "grafana.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"workbench_\w+", target["expr"])
    }
    assert len(asked) > 10
    assert asked <= served_names
