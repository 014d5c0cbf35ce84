"""What the system survives: the death of a worker, of the tracker, of the broker, and of everything at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from tests.support import is_alive, wait_until
from workbench.core.messages import Status
from workbench.core.states import State
from workbench.local import control
from workbench.tracker.database import Database

ROOT = Path(__file__).parent.parent.parent
OPERATIONS = "tests.integration.user_operations"
PATIENCE = 120.0


@pytest.fixture
def cluster() -> Iterator[wb.LocalCluster]:
    with wb.LocalCluster(workers=1, slots=2, families=["text", "bad"], include=[OPERATIONS]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def calm() -> Iterator[wb.LocalCluster]:
    """A cluster for tests that harm none of its processes: they bring workers of their own, on lanes of their own."""
    with wb.LocalCluster(workers=1, slots=2, families=["text", "bad"], include=[OPERATIONS]) as cluster:
        yield cluster


def executions(directory: Path, count: int) -> list[int]:
    """Return how often each numbered task was executed, as `text.mark` left it."""
    return [len((directory / str(number)).read_text().splitlines()) for number in range(count)]


def test_all_of_200_tasks_end_succeeded_exactly_once_though_their_worker_is_killed_in_the_middle(
    cluster: wb.LocalCluster, tmp_path: Path
) -> None:
    with cluster.client() as client:
        group = wb.TaskGroup([client.submit("text.mark", str(tmp_path), number, 0.02) for number in range(200)])
        wait_until(lambda: len(list(tmp_path.iterdir())) > 50)
        first = cluster.processes()["worker-1"]
        os.kill(first, signal.SIGKILL)
        assert group.results(PATIENCE) == list(range(200))
        wait_until(lambda: asyncio.run(client.stats())["succeeded"] == 200)
        stats = asyncio.run(client.stats())
        assert stats.total == 200
        assert cluster.processes()["worker-1"] != first
    runs = executions(tmp_path, 200)
    assert min(runs) == 1
    # At most what it held when it died runs again: one delivery for each of its two slots, and as its tasks take more
    # than 20 ms (see worker.pace) one more for each. Those that have ended and aren't confirmed yet are among them.
    assert sum(runs) <= 200 + 4
    with Database(cluster.settings.database) as database:
        for task_id in group.ids:
            ends = [a for a in database.attempts(task_id) if a.outcome and a.outcome.status is Status.SUCCEEDED]
            assert len(ends) == 1


def test_what_a_task_has_started_ends_with_its_worker_though_that_is_killed(
    cluster: wb.LocalCluster, tmp_path: Path
) -> None:
    started = tmp_path / "pid"
    with cluster.client() as client:
        client.submit("bad.leaves", str(started), 600.0)
        wait_until(lambda: started.exists() and started.read_text())
        left = int(started.read_text())
        os.kill(cluster.processes()["worker-1"], signal.SIGKILL)
        wait_until(lambda: not is_alive(left), what="what it started is gone")


def test_what_an_ended_task_has_left_ends_with_its_worker_though_that_is_killed(
    cluster: wb.LocalCluster, tmp_path: Path
) -> None:
    started = tmp_path / "pid"
    with cluster.client() as client:
        assert client.submit("bad.leaves", str(started), 0.0, "returns").result(PATIENCE) == 1
        left = int(started.read_text())
        assert is_alive(left)
        os.kill(cluster.processes()["worker-1"], signal.SIGKILL)
        wait_until(lambda: not is_alive(left), what="what it started is gone")


def test_tasks_and_results_outlive_the_tracker_and_the_broker(cluster: wb.LocalCluster) -> None:
    with cluster.client() as client:
        done = client.submit("text.wordcount", "before the crash")
        assert done.result(PATIENCE) == 3
        wait_until(lambda: done.status().state is State.SUCCEEDED)
        for name in ("tracker", "node"):
            before = cluster.processes()[name]
            os.kill(before, signal.SIGKILL)
            during = client.submit("text.wordcount", f"while the {name} is away")  # just takes longer
            wait_until(lambda name=name, before=before: cluster.processes().get(name, before) != before)
            assert during.result(PATIENCE) == 5
        ids = [done.id, during.id]
    code = (
        "import asyncio, sys, workbench as wb\n"
        f"with wb.Client({cluster.url!r}) as client:\n"
        "    print(*[asyncio.run(client.result(task_id, timeout=60)) for task_id in sys.argv[1:]])\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, *ids], capture_output=True, text=True, timeout=PATIENCE, cwd="/"
    )
    assert other.stdout.split() == ["3", "5"], other.stderr


def test_a_result_waited_for_in_the_broker_s_absence_arrives_when_it_is_back(cluster: wb.LocalCluster) -> None:
    with cluster.client() as client:
        task = client.submit("text.sleep", 3.0)
        wait_until(lambda: task.status().state is State.RUNNING)
        os.kill(cluster.processes()["node"], signal.SIGKILL)
        assert task.result(PATIENCE) == "slept 3 s"
        wait_until(lambda: task.status().state is State.SUCCEEDED, timeout=60)


def test_a_submission_that_a_hanging_broker_does_not_confirm_is_an_error_in_the_time_given(
    cluster: wb.LocalCluster,
) -> None:
    with cluster.client(confirm_timeout=1.0) as client:
        assert client.submit("text.wordcount", "it works").result(PATIENCE) == 2
        node = cluster.processes()["node"]
        os.kill(node, signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(wb.BrokerUnavailable, match="has confirmed 0 of 1 tasks within 1 s"):
                client.submit("text.wordcount", "hello")
            assert time.monotonic() - start < 5
        finally:
            os.kill(node, signal.SIGCONT)
        wait_until(lambda: _submits(client), timeout=60)


def _submits(client: wb.Client) -> bool:
    try:
        return bool(client.submit("text.wordcount", "again").result(PATIENCE))
    except wb.BrokerUnavailable:
        return False


def test_queued_tasks_and_results_are_kept_over_down_and_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    directory = tmp_path / "wb"
    control.up(directory, workers={"text": 1}, slots=1, include=[OPERATIONS])
    try:
        with wb.Client(directory=directory) as client:
            done = client.submit("text.wordcount", "one two")
            assert done.result(PATIENCE) == 2
            wait_until(lambda: done.status().state is State.SUCCEEDED)
        assert control.down(directory)
        assert not control.down(directory)

        control.up(directory, workers=0)
        with wb.Client(directory=directory) as client:
            waiting = client.submit("data.value_counts", pd.DataFrame({"a": [1, 1]}), "a")
            wait_until(lambda: waiting.status().state is State.QUEUED)
        assert control.down(directory)

        control.up(directory, workers={"data": 1}, slots=1)
        with wb.Client(directory=directory) as client:
            assert client.get(waiting.id).result(PATIENCE)["count"].tolist() == [2]
            assert client.get(done.id).result(PATIENCE) == 2
    finally:
        control.down(directory)


def worker(cluster: wb.LocalCluster, *options: str) -> subprocess.Popen[bytes]:
    """Start one more worker, with options of its own."""
    environ = {**os.environ, **cluster.settings.as_environ(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "workbench", "worker", "--include", OPERATIONS, *options]
    return subprocess.Popen(command, env=environ)


def test_sigterm_lets_running_tasks_end_and_gives_the_others_back(calm: wb.LocalCluster, tmp_path: Path) -> None:
    with calm.client() as client:
        leaving = worker(calm, "text", "--lane", "slow", "--slots", "1", "--name", "leaving")
        wait_until(lambda: any(w.worker == "leaving" for w in asyncio.run(client.workbench()).workers))
        slow = client.with_options(lane="slow")
        tasks = [slow.submit("text.mark", str(tmp_path), number, 1.0) for number in range(6)]
        wait_until(lambda: tasks[1].status().state is State.RUNNING)
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(20) == 0
        wait_until(lambda: tasks[1].status().state is State.SUCCEEDED)
        assert not (tmp_path / "3").exists()
        staying = worker(calm, "text", "--lane", "slow", "--slots", "2", "--name", "staying")
        try:
            assert [task.result(PATIENCE) for task in tasks] == list(range(6))
            assert executions(tmp_path, 6) == [1] * 6
            assert {task.status().worker for task in tasks[:2]} == {"leaving"}
            assert {task.status().attempt for task in tasks} == {1}
        finally:
            staying.terminate()
            assert staying.wait(20) == 0


@pytest.mark.slow
def test_twenty_tasks_of_two_seconds_take_twenty_seconds_on_two_slots_right_after_ten_thousand_short_ones() -> None:
    with (
        wb.LocalCluster(workers=2, slots=1, families=["text"], include=[OPERATIONS]) as cluster,
        cluster.client() as client,
    ):
        client.map("text.sleep", [0.0] * 10_000).results(PATIENCE)
        start = time.monotonic()
        group = client.map("text.sleep", [2.0] * 20)
        group.results(PATIENCE)
        assert time.monotonic() - start < 22.5  # ten each: 20 s, and what it takes to notice and give back
        wait_until(lambda: all(handle.status().worker for handle in group))
        assert Counter(handle.status().worker for handle in group) == {"text-1": 10, "text-2": 10}


def test_long_tasks_are_spread_evenly_also_right_after_very_many_short_ones() -> None:
    with (
        wb.LocalCluster(workers=2, slots=1, families=["text"], include=[OPERATIONS]) as cluster,
        cluster.client() as client,
    ):
        client.map("text.sleep", [0.0] * 3000).results(PATIENCE)
        start = time.monotonic()
        group = client.map("text.sleep", [1.0] * 8)
        group.results(PATIENCE)
        assert time.monotonic() - start < 5.5  # four each: 4 s, and what it takes to notice and give back
        assert sorted(Counter(handle.status().worker for handle in group).values()) == [4, 4]
        assert {handle.status().attempt for handle in group} == {1}


def test_a_slot_over_its_memory_limit_is_stopped_and_a_recycled_one_is_fresh(calm: wb.LocalCluster) -> None:
    with calm.client() as client:
        options = ("--memory-limit", "600MiB", "--recycle-after", "3", "--slots", "1", "--lane", "tight")
        tight = worker(calm, "bad", *options)
        try:
            wait_until(lambda: any(w.lane == "tight" for w in asyncio.run(client.workbench()).workers))
            lane = client.with_options(lane="tight")
            with pytest.raises(wb.TaskFailed, match=r"MemoryLimitExceeded|MemoryError"):
                lane.submit("bad.hungry", 3000).result(PATIENCE)
            modest = lane.submit("bad.hungry", 200)
            assert modest.result(PATIENCE) == 200 * 2**20
            wait_until(lambda: (modest.status().peak_memory or 0) > 200 * 2**20)
            pids = [lane.submit("bad.talks", 0).result(PATIENCE) for _ in range(7)]
            assert len(set(pids)) == 3
        finally:
            tight.terminate()
            assert tight.wait(20) == 0


def test_sigterm_to_the_whole_process_group_drains_as_well(calm: wb.LocalCluster, tmp_path: Path) -> None:
    environ = {**os.environ, **calm.settings.as_environ(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "workbench", "worker", "text", "--include", OPERATIONS, "--lane", "group"]
    group = subprocess.Popen([*command, "--name", "group"], env=environ, start_new_session=True)
    with calm.client() as client:
        wait_until(lambda: any(w.worker == "group" for w in asyncio.run(client.workbench()).workers))
        task = client.with_options(lane="group").submit("text.sleep", 1.5)
        wait_until(lambda: task.status().state is State.RUNNING)
        os.killpg(group.pid, signal.SIGTERM)
        assert task.result(PATIENCE) == "slept 1.5 s"
        assert group.wait(20) == 0


def test_a_worker_that_knows_only_the_broker_asks_for_the_store_and_the_roots(
    calm: wb.LocalCluster, tmp_path: Path
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    environ |= {"WORKBENCH_BROKER_URL": calm.url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "workbench", "worker", "data", "--name", "bare"]
    bare = subprocess.Popen(command, env=environ, cwd="/")
    try:
        with calm.client() as client:
            frame = pd.DataFrame({"a": range(100_000)})
            assert client.submit("data.head", frame, -1).result(PATIENCE)["a"].sum() == sum(range(99_999))
    finally:
        bare.terminate()
        assert bare.wait(20) == 0


def test_a_worker_for_a_family_without_operations_ends_and_says_so(calm: wb.LocalCluster) -> None:
    environ = {**os.environ, **calm.settings.as_environ()}
    command = [sys.executable, "-m", "workbench", "worker", "imgae"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no operation of the family 'imgae' is known here" in done.stderr.replace("\n", " ")


def test_a_result_whose_retention_time_is_over_has_expired_and_its_record_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBENCH_RETENTION", "1.5")
    with wb.LocalCluster(workers=1, slots=1, families=["text"], include=[OPERATIONS]) as cluster:
        with cluster.client() as client:
            task = client.submit("text.wordcount", "gone soon")
            assert task.result(PATIENCE) == 2
        with cluster.client() as other:

            def expired() -> bool:
                try:
                    other.get(task.id).result(PATIENCE)
                except wb.ResultExpired:
                    return True
                return False

            wait_until(expired)
            assert other.get(task.id).status().state is State.SUCCEEDED
