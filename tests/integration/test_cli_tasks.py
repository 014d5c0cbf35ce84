"""The commands about tasks and dead letters, as a person types them: a real broker, and a tracker of a few lines."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

import workbench as wb
from tests.integration.fake_tracker import FakeTracker, outcome
from tests.support import wait_until
from workbench.broker import Outgoing, Publisher, Topology
from workbench.broker.node import Node
from workbench.core import messages, rpc
from workbench.core.messages import Failure, Status, Task
from workbench.core.settings import Settings
from workbench.core.states import Progress, State

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(node: Node, topology: Topology) -> Run:
    """Run the command against the test's own namespace."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environ = {
            **os.environ, "WORKBENCH_BROKER_URL": node.url, "WORKBENCH_NAMESPACE": topology.namespace, "COLUMNS": "200",
        }  # fmt: skip
        command = [sys.executable, "-m", "workbench", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environ, input=stdin)

    return run


@pytest.fixture
def client(node: Node, topology: Topology, tmp_path: Path) -> Iterator[wb.Client]:
    settings = Settings(broker_url=node.url, namespace=topology.namespace, store=str(tmp_path))
    with wb.Client(settings=settings) as client:
        yield client


@pytest.fixture
def tracker(node: Node, topology: Topology) -> Iterator[FakeTracker]:
    with FakeTracker(node.url, topology) as tracker:
        yield tracker


def bury(node: Node, topology: Topology, *letters: tuple[str, str, str]) -> None:
    async def publish() -> None:
        async with Publisher(node.url, topology, name="buries") as publisher:
            for task_id, operation, reason_type in letters:
                task = Task(task_id=task_id, operation=operation, client="c", submitted_at=NOW, queued_at=NOW)
                headers = {
                    "x-workbench-reason": f"why {task_id} died \x1b[2J",
                    "x-workbench-reason-type": reason_type,
                    "x-workbench-worker": "w1",
                    "x-workbench-at": NOW.isoformat(),
                }
                await publisher.publish(
                    Outgoing(topology.dead, operation, messages.encode(task), task_id, headers=headers)
                )

    asyncio.run(publish())


def test_dead_letters_are_listed_and_shown(run: Run, node: Node, topology: Topology) -> None:
    assert run("dead", "list").stdout == "There are no dead letters.\n"
    bury(node, topology, ("t1", "data.head", "OutOfAttempts"), ("t2", "image.info", "Rejected"))
    listed = run("dead", "list")
    assert listed.returncode == 0, listed.stderr
    for said in ("t1", "t2", "data.head", "OutOfAttempts", "2020-01-02 03:04:05", "w1", "why t1 died"):
        assert said in listed.stdout
    assert "\x1b[2J" not in listed.stdout
    assert "t1" not in run("dead", "list", "--reason-type", "Rejected").stdout
    assert [each["task_id"] for each in json.loads(run("dead", "list", "--json").stdout)] == ["t1", "t2"]
    shown = run("dead", "show", "t2")
    for said in ("image.info", "Rejected", "why t2 died", "routing key"):
        assert said in shown.stdout
    assert json.loads(run("dead", "show", "t2", "--json").stdout)["reason_type"] == "Rejected"
    missing = run("dead", "show", "t9")
    assert missing.returncode == 1
    assert "TaskNotFound" in missing.stderr


def test_dead_letters_are_replayed_and_purged(run: Run, node: Node, topology: Topology) -> None:
    bury(node, topology, *((f"t{n}", "data.head", "Rejected") for n in range(4)), ("i1", "image.info", "OutOfAttempts"))
    replayed = run("dead", "replay", "t0", "t1")
    assert replayed.stdout.splitlines() == ["2 sent again.", "  t0 data.head", "  t1 data.head"], replayed.stderr
    assert run("dead", "replay", "--operation", "image.info").stdout.startswith("1 sent again.")
    for arguments in ((), ("t2", "--all"), ("t2", "--operation", "data.head")):
        for command in ("replay", "purge"):
            wrong = run("dead", command, *arguments)
            assert wrong.returncode == 2
            assert "name ids, or --all" in wrong.stderr
    assert run("dead", "purge", "--all", stdin="n\n").returncode == 1
    assert len(json.loads(run("dead", "list", "--json").stdout)) == 2
    assert run("dead", "purge", "t2", stdin="y\n").stdout.endswith("1 removed.\n")
    assert run("dead", "purge", "--all", "--yes").stdout == "1 removed.\n"


def test_a_task_is_shown_with_its_attempts(run: Run, client: wb.Client, tracker: FakeTracker) -> None:
    task = client.submit("data.head", "a.csv")
    wait_until(lambda: task.id in tracker.records)
    failure = Failure(type="OSError", message="gone \x1b[31m", traceback="Traceback: the line", hint="Look there.")
    end = outcome(
        tracker.records[task.id], Status.FAILED, worker="w1", failure=failure, output="printed", peak_memory=3 * 2**20,
        exit_signal=9, started_at=NOW,
    )  # fmt: skip
    tracker.tell(end)
    wait_until(lambda: tracker.records[task.id].state is State.FAILED)
    tracker.attempts = (
        rpc.AttemptRecord(attempt=1, worker="w0", started_at=NOW, lost_at=NOW),
        rpc.AttemptRecord(attempt=1, worker="w1", started_at=NOW, finished_at=end.finished_at, outcome=end),
    )
    shown = run("show", task.id)
    assert shown.returncode == 0, shown.stderr
    for said in (
        "failed", "data.head", "w0", "lost with its worker", "w1", "OSError: gone", "3 MiB", "Traceback: the line",
        "printed", "Look there.", "9",
    ):  # fmt: skip
        assert said in shown.stdout
    assert "\x1b" not in shown.stdout
    told = json.loads(run("show", task.id, "--json").stdout)
    assert told["record"]["task_id"] == task.id
    assert [each["worker"] for each in told["attempts"]] == ["w0", "w1"]


def test_why_cancel_pin_and_unpin(run: Run, client: wb.Client, tracker: FakeTracker) -> None:
    first, second = client.map("data.head", ["a.csv", "b.csv"])
    wait_until(lambda: len(tracker.records) == 2)
    assert run("why", first.id).stdout == "It waits for a worker.\n"
    assert run("pin", first.id, second.id).stdout.startswith("2 pinned")
    assert run("unpin", first.id).stdout.startswith("1 unpinned")
    tracker._on_cancel = lambda wish: outcome(tracker.records[wish.task_id], Status.CANCELLED)
    cancelled = run("cancel", first.id, "--reason", "a mistake")
    assert cancelled.stdout == f"{first.id}: cancelled: it was waiting on its queue\n", cancelled.stderr
    assert cancelled.returncode == 0
    assert tracker.cancels[0].reason == "a mistake"
    tracker._on_cancel = None
    waiting = run("cancel", second.id, "--timeout", "0.2")
    assert waiting.returncode == 1
    assert "the intent stays" in waiting.stdout
    unknown = run("cancel", "0198c0de-0000-7000-8000-000000000000")
    assert unknown.returncode == 1
    assert "TaskNotFound" in unknown.stderr


def test_the_list_of_tasks_tells_progress_retries_and_intents(
    run: Run, client: wb.Client, tracker: FakeTracker
) -> None:
    tasks = client.map("data.head", ["a.csv"] * 3)
    wait_until(lambda: len(tracker.records) == 3)
    running, retrying, called_off = (tracker.records[each] for each in tasks.ids)
    tracker.records[tasks.ids[0]] = msgspec.structs.replace(
        running, state=State.RUNNING, worker="w1", progress=Progress(1, NOW, 0.42, "rows")
    )
    tracker.records[tasks.ids[1]] = msgspec.structs.replace(
        retrying, state=State.RETRYING, retry_at=NOW, failure=Failure(type="OSError", message="")
    )
    tracker.records[tasks.ids[2]] = msgspec.structs.replace(called_off, cancel_at=NOW)
    listed = run("tasks").stdout
    for said in ("42% rows", "again at 2020-01-02 03:04:05, after OSError", "to be cancelled"):
        assert said in listed
    assert {each["task_id"] for each in json.loads(run("tasks", "--json").stdout)} == set(tasks.ids)
