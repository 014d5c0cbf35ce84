"""What a worker makes of orders, limits and policies; with a broker, and no tracker but the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from tests.integration.stage import OPERATIONS, Stage, play, task
from tests.support import is_alive, until
from workbench.broker import Topology
from workbench.broker.node import Node
from workbench.core import headers
from workbench.core.messages import Failure, Status, decode_task, utcnow
from workbench.core.policy import RetryPolicy
from workbench.core.settings import Settings
from workbench.core.states import Loss, State, TaskRecord
from workbench.worker.options import Options
from workbench.worker.service import Worker

ROOT = Path(__file__).parent.parent.parent


def marks(directory: Path, number: int) -> int:
    """How often a numbered `text.mark` was executed."""
    path = directory / str(number)
    return len(path.read_text().splitlines()) if path.exists() else 0


# --- cancelling -----------------------------------------------------------------------------------


def test_a_running_task_that_is_cancelled_ends_as_cancelled_and_its_slot_goes_on(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        running, next_one = task("text.sleep", 60.0), task("text.wordcount", "a b")
        await stage.submit(running)
        await stage.starts(running)
        await stage.order_cancelled(running)
        outcome = await stage.ends(running)
        assert outcome.status is Status.CANCELLED
        assert outcome.failure is not None
        assert outcome.failure.message == "the task was cancelled while it ran: the test says so"
        await stage.submit(next_one)
        assert (await stage.ends(next_one)).status is Status.SUCCEEDED
        await stage.settles()

    play(node, topology, tmp_path, scene)


def test_what_a_cancelled_task_has_started_and_left_ends_with_it(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        started = tmp_path / "pid"
        running = task("bad.leaves", str(started), 60.0)
        await stage.submit(running)
        await until(lambda: started.exists() and started.read_text())
        await stage.order_cancelled(running)
        assert (await stage.ends(running)).status is Status.CANCELLED
        left = int(started.read_text())
        await until(lambda: not is_alive(left), what="what it started is gone")

    play(node, topology, tmp_path, scene)


def test_a_task_that_is_cancelled_while_it_waits_here_is_never_started(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        tasks = [task("text.mark", str(tmp_path), number, 1.0) for number in range(2)]
        # The second waits in the worker as it comes from another queue.
        waiting = task("bad.flaky", str(tmp_path))
        await stage.submit(tasks[0])
        await stage.starts(tasks[0])
        await stage.submit(waiting)
        await stage.order_cancelled(waiting)
        outcome = await stage.ends(waiting)
        assert (outcome.status, outcome.worker) == (Status.CANCELLED, stage.worker.name)
        assert not (tmp_path / "attempts").exists()
        assert (await stage.ends(tasks[0])).status is Status.SUCCEEDED
        await stage.settles()

    play(node, topology, tmp_path, scene)


def test_a_cancelled_task_that_comes_later_is_dropped_once_also_by_a_worker_that_starts_later(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        for number in range(2):
            ordered = task("text.mark", str(tmp_path), number)
            await stage.order_cancelled(ordered)
            await until(lambda ordered=ordered: stage.worker._control.is_cancelled(ordered))
            await stage.submit(ordered)
            outcome = await stage.ends(ordered)
            assert (outcome.status, marks(tmp_path, number)) == (Status.CANCELLED, 0)
            assert not stage.worker._control.is_cancelled(ordered)
        known = task("text.mark", str(tmp_path), 7)
        stage.told.cancelled.append((known.task_id, 0))
        await stage.worker._control.begin(("text", "bad"), None)
        await stage.submit(known)
        assert (await stage.ends(known)).status is Status.CANCELLED
        assert marks(tmp_path, 7) == 0
        replayed = task("text.mark", str(tmp_path), 8, replay=1)
        stage.worker._control.remember(replayed.task_id, 0, "")
        await stage.submit(replayed)
        assert (await stage.ends(replayed)).status is Status.SUCCEEDED

    play(node, topology, tmp_path, scene)


# --- policies and dead letters --------------------------------------------------------------------


def test_a_task_out_of_attempts_fails_and_lies_among_the_dead_letters_with_the_reason(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        fails = task("bad.raises", "always", retry=RetryPolicy(attempts=2, delay=0.25, jitter=0))
        await stage.submit(fails)
        await until(lambda: len(stage.told.outcomes) == 2)
        first, second = stage.told.outcomes
        assert (first.status, first.attempt) == (Status.RETRY, 1)
        assert first.retry_at is not None
        assert (second.status, second.attempt) == (Status.FAILED, 2)
        assert second.failure is not None
        assert "last of 2 attempts" in second.failure.hint
        await until(lambda: stage.told.letters)
        letter = stage.told.letters[0]
        assert letter.headers[headers.REASON] == "out of attempts: 2 of 2 failed, the last with ValueError"
        assert letter.headers[headers.REASON_TYPE] == "OutOfAttempts"
        assert letter.headers[headers.TOLD] is True
        assert (decode_task(letter.body).attempt, letter.routing_key) == (2, "bad.raises")
        await stage.settles()

    play(node, topology, tmp_path, scene)


def test_a_failure_that_no_policy_covers_ends_the_task_without_a_dead_letter(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        plain, narrow = task("bad.raises", "once"), task("bad.raises", "x", retry=RetryPolicy(on=("OSError",)))
        for each in (plain, narrow):
            await stage.submit(each)
            assert (await stage.ends(each)).status is Status.FAILED
        await stage.settles()
        assert stage.told.letters == []

    play(node, topology, tmp_path, scene)


def test_a_crashed_process_costs_an_attempt_and_is_tried_again_without_any_policy(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        crashes = task("bad.killed", retry=RetryPolicy(delay=0.25, on=("ValueError",)))
        await stage.submit(crashes)
        await until(lambda: len(stage.told.outcomes) == 3)
        assert [outcome.status for outcome in stage.told.outcomes] == [Status.RETRY, Status.RETRY, Status.FAILED]
        assert {outcome.exit_signal for outcome in stage.told.outcomes} == {signal.SIGKILL}

    play(node, topology, tmp_path, scene)


# --- limits ---------------------------------------------------------------------------------------


def test_a_task_is_killed_at_its_deadline_and_not_tried_again(node: Node, topology: Topology, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        late = task("text.sleep", 60.0, deadline_at=utcnow() + timedelta(seconds=1), retry=RetryPolicy())
        await stage.submit(late)
        outcome = await stage.ends(late)
        assert (outcome.status, outcome.failure and outcome.failure.type) == (Status.FAILED, "DeadlineExceeded")
        after = task("text.mark", str(tmp_path), 1, deadline_at=utcnow())
        await stage.submit(after)
        outcome = await stage.ends(after)
        assert outcome.failure is not None
        assert outcome.failure.message.startswith("the task was not started at its deadline")
        assert marks(tmp_path, 1) == 0
        await stage.settles()

    play(node, topology, tmp_path, scene)


# --- long tasks -----------------------------------------------------------------------------------


def test_a_task_that_runs_for_longer_than_the_broker_waits_is_executed_once_though_another_worker_gets_its_copies(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        long = task("text.mark", str(tmp_path), 1, 6.0)
        await stage.submit(long)
        await stage.starts(long)
        settings = Settings(
            broker_url=node.url, namespace=topology.namespace, store=str(tmp_path / "other"), ack_timeout=2.0
        )
        async with Worker(settings, Options(families=("text",), include=(OPERATIONS,), name="other")) as other:
            await until(lambda: not _held_delivery(stage.worker, long.task_id), what="its delivery is acknowledged")
            assert (await stage.ends(long)).status is Status.SUCCEEDED
            await stage.settles()
            await until(lambda: other._roster.held == 0)
            follows = task("text.wordcount", "a b")  # the queue is served as before, and holds no copy any more
            await stage.submit(follows)
            await stage.ends(follows)
        assert marks(tmp_path, 1) == 1
        assert len([outcome for outcome in stage.told.outcomes if outcome.task_id == long.task_id]) == 1

    play(node, topology, tmp_path, scene, ack_timeout=2.0, name="holder")


def _held_delivery(worker: Worker, task_id: str) -> bool:
    job = worker._roster.holds((task_id, 1))
    return job is None or bool(job.deliveries)


def test_a_copy_whose_holder_is_gone_is_run_or_dropped_as_the_tracker_says(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        orphan, ended = (task("text.mark", str(tmp_path), number) for number in (1, 2))
        stage.told.records[ended.task_id] = TaskRecord(task_id=ended.task_id, attempt=1, state=State.SUCCEEDED)
        stage.told.records[orphan.task_id] = TaskRecord(task_id=orphan.task_id, attempt=1, state=State.RUNNING)
        for each in (ended, orphan):
            await stage.submit(each, **{headers.HOLDER: "gone"})
        assert (await stage.ends(orphan)).status is Status.SUCCEEDED
        await stage.settles()
        assert (marks(tmp_path, 1), marks(tmp_path, 2)) == (1, 0)

    play(node, topology, tmp_path, scene)


def test_a_task_that_began_in_time_and_lost_its_worker_is_run_again_though_it_would_have_expired(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        expired = utcnow() - timedelta(seconds=5)
        begun, unbegun = (task("text.mark", str(tmp_path), number, expires_at=expired) for number in (1, 2))
        lost = Loss(attempt=1, since=expired, worker="gone")
        stage.told.records[begun.task_id] = TaskRecord(task_id=begun.task_id, attempt=1, loss=lost)
        for each in (begun, unbegun):
            await stage.submit(each, **{headers.AGAIN: "yes"})
        assert (await stage.ends(begun)).status is Status.SUCCEEDED
        assert (await stage.ends(unbegun)).status is Status.EXPIRED
        assert (marks(tmp_path, 1), marks(tmp_path, 2)) == (1, 0)

    play(node, topology, tmp_path, scene)


def test_the_message_of_a_task_that_has_failed_becomes_a_dead_letter_where_one_belongs_before_it_is_dropped(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        failure = Failure(type="ValueError", message="told, but its worker died before it wrote the dead letter")
        spent, hopeless = (
            task("text.mark", str(tmp_path), 1, attempt=2, retry=RetryPolicy(attempts=2)),
            task("text.mark", str(tmp_path), 2),  # no policy: it ends without a dead letter
        )
        for each in (hopeless, spent):
            stage.told.records[each.task_id] = TaskRecord(
                task_id=each.task_id, attempt=each.attempt, state=State.FAILED, failure=failure
            )
            await stage.submit(each, **{headers.HOLDER: "gone"})
        follows = task("text.wordcount", "a b")
        await stage.submit(follows)
        await stage.ends(follows)
        await until(lambda: stage.told.letters)
        await stage.settles()
        (letter,) = stage.told.letters
        assert decode_task(letter.body) == spent
        assert letter.headers[headers.REASON] == "out of attempts: 2 of 2 failed, the last with ValueError"
        assert letter.headers[headers.TOLD] is True
        assert (marks(tmp_path, 1), marks(tmp_path, 2)) == (0, 0)

    play(node, topology, tmp_path, scene)


# --- several families -----------------------------------------------------------------------------


def test_no_familys_task_waits_behind_anothers_while_another_worker_idles(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        long = task("text.sleep", 6.0)
        await stage.submit(long)
        await stage.starts(long)
        settings = Settings(broker_url=node.url, namespace=topology.namespace, store=str(tmp_path / "other"))
        waiting = task("bad.raises", "as it should")
        await stage.submit(waiting)
        await until(lambda: stage.worker._roster.waiting == 1 or stage.worker._crowded)
        async with Worker(settings, Options(families=("bad",), include=(OPERATIONS,), name="other")):
            assert (await stage.ends(waiting)).worker == "other"
            assert not any(outcome.task_id == long.task_id for outcome in stage.told.outcomes)
        await stage.ends(long)
        for _ in range(3):  # and it takes both families' again
            both = [task("text.wordcount", "a b"), task("bad.raises", "as it should")]
            for each in both:
                await stage.submit(each)
            for each in both:
                await stage.ends(each)

    play(node, topology, tmp_path, scene)


# --- the program ----------------------------------------------------------------------------------


def program(node: Node, topology: Topology, store: Path, *options: str) -> subprocess.Popen[bytes]:
    settings = Settings(broker_url=node.url, namespace=topology.namespace, store=str(store))
    command = [sys.executable, "-m", "workbench", "worker", "text", "--include", OPERATIONS, "--slots", "1", *options]
    return subprocess.Popen(command, env={**os.environ, **settings.as_environ(), "PYTHONPATH": str(ROOT)})


def test_a_worker_told_to_leave_when_idle_does_its_tasks_first(node: Node, topology: Topology, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.worker.drain()
        tasks = [task("text.mark", str(tmp_path), number, 0.5) for number in range(4)]
        for each in tasks:
            await stage.submit(each)
        leaving = program(node, topology, tmp_path, "--idle-exit", "1", "--name", "leaving")
        try:
            for each in tasks:
                assert (await stage.ends(each)).worker == "leaving"
            ended = time.monotonic()
            await until(lambda: leaving.poll() is not None)
            assert leaving.returncode == 0
            assert 0.5 < time.monotonic() - ended < 15
        finally:
            leaving.kill()

    play(node, topology, tmp_path, scene)


def test_a_worker_at_the_end_of_its_time_finishes_what_runs_and_gives_back_the_rest(
    node: Node, topology: Topology, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.worker.drain()
        tasks = [task("text.mark", str(tmp_path), number, 3.0) for number in range(4)]
        for each in tasks:
            await stage.submit(each)
        leaving = program(node, topology, tmp_path, "--max-runtime", "8", "--name", "leaving")
        try:
            await until(lambda: leaving.poll() is not None, timeout=60)
            assert leaving.returncode == 0
        finally:
            leaving.kill()
        ended = list(stage.told.outcomes)
        assert [outcome.status for outcome in ended] == [Status.SUCCEEDED] * len(ended)
        assert 1 <= len(ended) < 4
        assert marks(tmp_path, 3) == 0

    play(node, topology, tmp_path, scene)
