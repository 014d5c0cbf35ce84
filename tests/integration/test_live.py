"""What a live view of a whole workbench is told, and what can be done from it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import workbench as wb
from tests.support import until, wait_until
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.broker.rpc import NobodyThere
from workbench.core.errors import TaskNotFound
from workbench.core.live import Execution, FailureGroup, Mark
from workbench.core.rpc import Changes, WorkerRecord
from workbench.core.states import State

LONG = 60.0
R = TypeVar("R")


@pytest.fixture(scope="module")
def cluster() -> Iterator[wb.LocalCluster]:
    """A workbench of these tests' own: they drain its worker."""
    with wb.LocalCluster(workers=1, slots=2, include=["tests.integration.user_operations"]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: wb.LocalCluster) -> Iterator[wb.Client]:
    with cluster.client() as client:
        yield client


async def eventually(ask: Callable[[], Awaitable[R]], holds: Callable[[R], object]) -> R:
    async with asyncio.timeout(LONG):
        while not holds(answer := await ask()):  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.05)
    return answer


class View:
    """Polls as a screen does, and keeps what it was told."""

    def __init__(self, client: wb.Client) -> None:
        self.client = client
        self.mark: Mark | None = None
        self.states: dict[State, int] = {}
        self.counts: dict[tuple[str, State], int] = {}
        self.executions: dict[object, Execution] = {}
        self.workers: dict[str, WorkerRecord] = {}

    async def poll(self) -> Changes:
        changes = await self.client.live.changes(self.mark)
        self.mark, self.states = changes.mark, changes.states
        self.counts.update({(each.operation, each.state): each.count for each in changes.counters})
        self.executions.update({each.key: each for each in changes.executions})
        self.workers.update({each.worker: each for each in changes.workers})
        return changes

    async def told(self, holds: Callable[[View], Any]) -> None:
        await eventually(self.poll, lambda _changes: holds(self))

    def of(self, task_id: str) -> list[str]:
        return [each.status for each in self.executions.values() if each.task_id == task_id]


async def group_of(client: wb.Client, operation: str) -> FailureGroup:
    def of_operation(failures: Any) -> list[FailureGroup]:
        return [group for group in failures.groups if group.operation == operation]

    return of_operation(await eventually(client.live.failures, of_operation))[0]


def test_a_view_follows_tasks_from_the_queue_to_their_end(client: wb.Client) -> None:
    async def scene() -> None:
        view = View(client)
        assert (await view.poll()).anew
        tasks = [client.submit("text.sleep", 2.0) for _ in range(3)]
        await view.told(lambda _: sorted(view.of(tasks[0].id) + view.of(tasks[1].id)) == ["running", "running"])
        lanes = {(each.worker, each.slot) for each in view.executions.values()}
        assert lanes == {("worker-1", 1), ("worker-1", 2)}
        assert view.counts["text.sleep", State.QUEUED] == 1
        await view.told(lambda _: view.counts.get(("text.sleep", State.SUCCEEDED)) == 3)
        assert [view.of(task.id) for task in tasks] == [["succeeded"]] * 3
        assert view.states[State.QUEUED] == view.states[State.RUNNING] == 0
        changes = await client.live.changes()
        buckets = [each for each in changes.buckets if each.family == "text"]
        assert sum(each.submitted for each in buckets) == sum(each.succeeded for each in buckets) == 3
        assert sum(sum(each.running.values()) for each in buckets) == 3
        health = changes.health
        assert health.last_event_at is not None
        assert (health.blocked, health.now >= health.last_event_at) == ("", True)
        await view.told(lambda _: view.workers["worker-1"].busy == 0)
        assert (await view.poll()).executions == ()

    asyncio.run(scene())


def test_a_detail_shows_what_a_task_was_given_and_gave(client: wb.Client, tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "a.txt"
        path.write_text("a b c")
        task = client.submit("text.echo", {"a": [1, 2], "b": b"\x00" * 10})
        sized = client.submit("text.size", path)
        await task
        await sized
        for each in (task, sized):  # a result may be here before the tracker has heard of its task
            await eventually(functools.partial(client.live.search, text=each.id), lambda page: page.total)
        detail = await eventually(lambda: client.live.detail(task.id), lambda told: told.record.state.terminal)
        ((name, text),) = detail.arguments
        assert (name, text) == ("0", "{'a': [1, 2], 'b': b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'}")
        assert detail.result == text
        assert [event.what for event in detail.events] == [
            f"submitted by {detail.record.client}",
            "attempt 1 started on worker-1",
            "attempt 1 ended as succeeded",
        ]
        assert not detail.retryable
        (argument,) = (await client.live.detail(sized.id)).arguments
        assert "a.txt" in argument[1]
        with pytest.raises(TaskNotFound):
            await client.live.detail("nothing")

    asyncio.run(scene())


def test_a_group_of_failures_is_sent_again_as_a_whole_with_what_lies_among_the_dead_letters(client: wb.Client) -> None:
    async def scene() -> None:
        tasks = [client.submit("bad.rejects", "no good") for _ in range(3)]
        await eventually(client.dead_letters, lambda letters: len(letters) == 3)
        group = await group_of(client, "bad.rejects")
        page = await client.live.search(group=group.group)
        assert (group.count, group.type, page.total) == (3, "Reject", 3)
        retried = await client.live.retry_group(group.group)
        assert retried.sent == {task.id: 1 for task in tasks}
        await eventually(
            lambda: client.live.search(group=group.group),
            lambda page: [record.replay for record in page.records] == [1, 1, 1],
        )
        letters = await eventually(client.dead_letters, lambda letters: len(letters) == 3)
        assert {letter.replay for letter in letters} == {1}  # the old ones are gone
        attempts = await client.attempts(tasks[0])
        assert [attempt.attempt for attempt in attempts] == [1, 2]
        assert await client.live.discard_group(group.group) == 3
        assert await client.dead_letters() == []
        assert not [each for each in (await client.live.failures()).groups if each.operation == "bad.rejects"]
        assert (await client.status(tasks[0].id)).state is State.FAILED

    asyncio.run(scene())


def test_only_what_has_ended_and_not_well_is_sent_again(client: wb.Client) -> None:
    async def scene() -> None:
        failing, well, running = (
            client.submit("bad.raises", "no"),
            client.submit("text.echo", 1),
            client.submit("text.sleep", 3.0),
        )
        await group_of(client, "bad.raises")
        await eventually(lambda: client.live.detail(well.id), lambda told: told.record.state is State.SUCCEEDED)
        await eventually(lambda: client.live.detail(running.id), lambda told: told.record.state is State.RUNNING)
        assert (await client.live.detail(failing.id)).retryable
        ids = [failing.id, well.id, running.id, "nobody"]
        retried, also = await asyncio.gather(client.live.retry(ids), client.live.retry(failing))
        assert retried.sent == also.sent == {failing.id: 1}
        assert retried.refused == {
            well.id: "it has succeeded",
            running.id: "it hasn't ended: it is running",
            "nobody": "the tracker has no such task",
        }
        await eventually(
            lambda: client.live.detail(failing.id),
            lambda told: (told.record.state, told.record.replay) == (State.FAILED, 1),
        )
        assert [attempt.attempt for attempt in await client.attempts(failing.id)] == [1, 2]  # asked for twice, run once
        assert (await client.live.retry(failing)).sent == {failing.id: 2}

    asyncio.run(scene())


def test_queues_tell_what_is_on_them_and_who_takes_from_them(client: wb.Client) -> None:
    async def scene() -> None:
        tasks = [client.submit("text.sleep", 1.0) for _ in range(6)]

        def of_text(queues: Any) -> Any:
            return next(each for each in queues.queues if each.family == "text")

        queues = await eventually(client.live.queues, lambda queues: of_text(queues).in_flight == 2)
        facts = of_text(queues)
        assert (facts.kind, facts.workers, facts.slots) == ("tasks", 1, 2)
        assert facts.consumers in (1, 2)  # the second takes ahead, where tasks are short
        kinds = [each.kind for each in queues.queues]
        assert (kinds.count("delay"), kinds.count("dead"), kinds.count("tracker")) == (20, 1, 1)
        for task in tasks:
            await task
        facts = of_text(await eventually(client.live.queues, lambda queues: of_text(queues).leaving > 0))
        assert facts.arriving > 0
        assert (await eventually(client.live.queues, lambda queues: of_text(queues).ready == 0)) is not None

    asyncio.run(scene())


def test_a_worker_that_is_drained_from_a_client_stays_away_until_it_is_asked_back(
    cluster: wb.LocalCluster, client: wb.Client
) -> None:
    async def scene() -> None:
        view = View(client)
        await view.told(lambda _: view.states[State.QUEUED] == view.states[State.RUNNING] == 0)
        task = client.submit("text.sleep", 2.0)
        await view.told(lambda _: view.of(task.id) == ["running"])
        pid = view.workers["worker-1"].pid
        assert await client.live.drain("worker-1") == 1
        assert (await client.result(task.id, LONG)) == "slept 2 s"  # it was let end
        await view.told(lambda _: not view.workers["worker-1"].online)
        assert view.of(task.id) == ["succeeded"]
        await until(lambda: cluster._state().drained, what="the supervisor knows")
        waiting = client.submit("text.echo", 1)
        assert "drained: worker-1" in repr(cluster)
        assert await asyncio.to_thread(cluster.resume) == ("worker-1",)
        assert await client.result(waiting.id, LONG) == 1
        await view.told(lambda _: view.workers["worker-1"].pid != pid and view.workers["worker-1"].online)
        assert cluster.restarts() == {}
        assert len(await client.attempts(task.id)) == 1
        with pytest.raises(NobodyThere):
            await client.live.drain("nobody")

    asyncio.run(scene())


def test_a_workers_heartbeat_tells_how_much_of_the_processor_it_uses(client: wb.Client) -> None:
    async def scene() -> None:
        view = View(client)
        client.submit("bad.says", "x")
        await view.told(lambda _: 0.0 < view.workers["worker-1"].cpu < 64.0)

    asyncio.run(scene())


def test_a_tracker_and_a_worker_serve_metrics(node: Node, topology: Topology, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "WORKBENCH_BROKER_URL": node.url,
        "WORKBENCH_NAMESPACE": topology.namespace,
        "WORKBENCH_DATABASE": f"sqlite:///{tmp_path / 't.db'}",
        "WORKBENCH_STORE": str(tmp_path / "store"),
        "WORKBENCH_DIRECTORY": str(tmp_path),
    }
    parts = {
        "workbench_tracker_pending": ("tracker",),
        "workbench_process_slots": ("worker", "text", "--include", "tests.integration.user_operations"),
    }
    with contextlib.ExitStack() as stack:
        for metric, command in parts.items():
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            whole = [sys.executable, "-m", "workbench", *command, "--metrics-port", str(port)]
            process = stack.enter_context(subprocess.Popen(whole, env=environ, cwd=Path(__file__).parents[2]))
            stack.callback(process.terminate)

            def tells(metric: str = metric, port: int = port) -> bool:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                        return metric in answer.read().decode()
                except OSError:
                    return False

            wait_until(tells, timeout=LONG, what=f"{metric} is served")
