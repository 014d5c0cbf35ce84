"""The whole system: one cluster for all tests of this file, real processes, real files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import trio
from PIL import Image

import workbench as wb
from tests.support import wait_until
from workbench.core.states import State
from workbench.worker import memory

HERE = Path(__file__).parent
OPERATIONS = "tests.integration.user_operations"
PATIENCE = 60.0


# --- results --------------------------------------------------------------------------------------


def test_a_result_comes_back_to_whoever_blocks_for_it(client: wb.Client) -> None:
    task = client.submit("text.wordcount", "to be or not to be")
    assert task.result(PATIENCE) == 6
    assert task.done()
    assert task.status().state is State.SUCCEEDED


def test_a_result_comes_back_to_whoever_awaits_the_handle_or_the_id(client: wb.Client) -> None:
    async def run() -> tuple[int, int, State]:
        task = client.submit("text.wordcount", "one two three")
        by_handle = await task
        by_id = await client.result(task.id, timeout=PATIENCE)
        return by_handle, by_id, (await client.status(task.id)).state

    assert asyncio.run(run()) == (3, 3, State.SUCCEEDED)


def test_blocking_calls_work_inside_a_running_loop(client: wb.Client) -> None:
    async def run() -> int:
        return client.submit("text.wordcount", "one two").result(PATIENCE)

    assert asyncio.run(run()) == 2


def test_awaiting_works_in_trio(client: wb.Client) -> None:
    async def run() -> tuple[int, State]:
        task = client.submit("text.wordcount", "one two three four")
        return await client.result(task.id, timeout=PATIENCE), (await client.status(task.id)).state

    assert trio.run(run) == (4, State.SUCCEEDED)


def test_a_worker_tells_its_slots_allocator_how_to_allocate(client: wb.Client) -> None:
    told = client.submit("text.environment", "GLIBC_TUNABLES").result(PATIENCE)
    # Some releases of glibc end the text behind each setting as they read it.
    assert told
    assert os.environ.get("GLIBC_TUNABLES", memory.tunables()).startswith(told)


def test_a_wait_that_is_cancelled_leaves_the_task_and_other_waits_alone(client: wb.Client) -> None:
    async def run() -> str:
        task = client.submit("text.sleep", 0.5)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(task.wait(), 0.05)
        return await task

    assert asyncio.run(run()) == "slept 0.5 s"


def test_waiting_too_short_says_so_and_the_task_goes_on(client: wb.Client) -> None:
    task = client.submit("text.sleep", 0.5)
    with pytest.raises(wb.ResultTimeout, match="has not ended within"):
        task.result(0.05)
    assert task.result(PATIENCE) == "slept 0.5 s"


def test_map_keeps_the_order_of_its_items(client: wb.Client) -> None:
    texts = ["x " * count for count in range(500)]
    group = client.map("text.wordcount", texts)
    assert group.results(PATIENCE) == list(range(500))
    assert asyncio.run(group.wait()) == list(range(500))
    assert len(group[:10]) == 10
    assert "500 done" in repr(group)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3.5,
        "text",
        b"bytes",
        [1, "two", None],
        {"a": {"b": [1.5]}},
    ],
)
def test_plain_values_travel_unchanged(client: wb.Client, value: object) -> None:
    assert client.submit("text.echo", value).result(PATIENCE) == value


def test_a_frame_travels_unchanged_small_and_large(client: wb.Client) -> None:
    for rows in (10, 200_000):
        frame = pd.DataFrame(
            {
                "number": np.arange(rows, dtype="int32"),
                "text": pd.array([f"row {row}" for row in range(rows)]),
                "kind": pd.Categorical(["a", "b"] * (rows // 2), ordered=True),
                "time": pd.date_range("2026-01-01", periods=rows, freq="min", tz="Europe/Berlin"),
            },
            index=pd.MultiIndex.from_arrays([np.arange(rows) % 7, np.arange(rows)], names=["week", "row"]),
        )
        back = client.submit("text.echo", frame).result(PATIENCE)
        pd.testing.assert_frame_equal(back, frame, check_freq=False)


def test_series_tables_arrays_and_images_travel_unchanged(client: wb.Client) -> None:
    series = pd.Series([1, None, 3], name="s", dtype="Int64")
    pd.testing.assert_series_equal(client.submit("text.echo", series).result(PATIENCE), series)
    table = pa.table({"x": [1, 2], "y": ["a", None]})
    assert client.submit("text.echo", table).result(PATIENCE).equals(table)
    array = np.arange(60_000, dtype="float32").reshape(3, 100, 200)
    np.testing.assert_array_equal(client.submit("text.echo", array).result(PATIENCE), array)
    image = Image.fromarray((np.arange(300 * 200 * 3) % 251).astype("uint8").reshape(200, 300, 3))
    back = client.submit("text.echo", image).result(PATIENCE)
    assert (back.mode, back.size) == ("RGB", (300, 200))
    assert back.tobytes() == image.tobytes()


def test_a_large_value_lies_in_the_store_once_however_often_it_is_sent(
    client: wb.Client, cluster: wb.LocalCluster
) -> None:
    array = np.random.default_rng(1).integers(0, 255, 1_000_000, dtype="uint8")

    def stored() -> int:
        return sum(1 for path in Path(cluster.settings.store).rglob("*") if path.is_file())

    before = stored()
    for _ in range(3):
        np.testing.assert_array_equal(client.submit("text.echo", array).result(PATIENCE), array)
    assert stored() - before == 1


def test_a_file_that_an_operation_makes_comes_back_as_a_reference(client: wb.Client, tmp_path: Path) -> None:
    ref = client.submit("text.file", "poem.txt", "a rose").result(PATIENCE)
    assert isinstance(ref, wb.FileRef)
    assert (ref.name, ref.size) == ("poem.txt", 6)
    assert ref.read_bytes() == b"a rose"
    ref.save(tmp_path / "copy.txt")
    assert (tmp_path / "copy.txt").read_text() == "a rose"


# --- submitting -----------------------------------------------------------------------------------


def test_an_unknown_operation_is_refused_with_the_names_that_come_close(client: wb.Client) -> None:
    with pytest.raises(wb.UnknownOperation, match=r"image\.thumbnail"):
        client.submit("image.thumbnial", "x.png")
    with pytest.raises(wb.UnknownOperation, match=r"text\.wordcount"):
        client.submit("text.wordcounts", "x")


def test_bad_arguments_are_refused_with_the_parameter_named(client: wb.Client) -> None:
    with pytest.raises(wb.InvalidArguments, match=r"text\.wordcount: parameter 'text' takes str, got 3 \(int\)"):
        client.submit("text.wordcount", 3)
    with pytest.raises(wb.InvalidArguments, match="missing parameter 'text'"):
        client.submit("text.wordcount")
    with pytest.raises(wb.InvalidArguments, match="has no parameter 'size'"):
        client.submit("text.wordcount", "x", size=3)


def test_a_value_that_cannot_travel_is_refused_at_submit(client: wb.Client) -> None:
    with pytest.raises(wb.UnsupportedValue):
        client.submit("text.echo", object())
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(wb.UnsupportedValue, match="'a'"):
        client.submit("text.echo", twice)


def test_a_client_that_never_imported_a_users_module_may_submit_its_operations_by_name(
    cluster: wb.LocalCluster,
) -> None:
    code = (
        "import sys, workbench as wb\n"
        f"client = wb.Client({cluster.url!r})\n"
        "task = client.submit('text.wordcount', 'by name alone')\n"
        f"assert {OPERATIONS!r} not in sys.modules\n"
        "print(task.result(60))\n"
        "try: client.submit('text.wordcount', 5)\n"
        "except wb.InvalidArguments as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "3"
    assert "parameter 'text' takes str" in done.stdout


def test_a_task_for_a_lane_that_does_not_exist_ends_at_once_as_unroutable(client: wb.Client) -> None:
    task = client.with_options(lane="nowhere").submit("text.wordcount", "x")
    with pytest.raises(wb.Unroutable, match=r"text\.wordcount\.nowhere"):
        task.result(PATIENCE)
    assert task.status().state is State.FAILED


def test_a_lane_has_workers_of_its_own(client: wb.Client, cluster: wb.LocalCluster) -> None:
    environ = {**os.environ, **cluster.settings.as_environ(), "PYTHONPATH": str(HERE.parent.parent)}
    command = [sys.executable, "-m", "workbench", "worker", "text", "--lane", "high", "--slots", "1"]
    worker = subprocess.Popen([*command, "--include", OPERATIONS, "--name", "express"], env=environ)
    try:
        wait_until(lambda: any(w.worker == "express" for w in asyncio.run(client.workbench()).workers))
        task = client.with_options(lane="high").submit("text.wordcount", "a b")
        assert task.result(PATIENCE) == 2
        assert task.status().worker == "express"
    finally:
        worker.terminate()
        assert worker.wait(30) == 0


def test_a_task_that_was_not_started_in_time_expires(client: wb.Client) -> None:
    blockers = client.map("text.sleep", [1.0] * 4)
    late = client.with_options(expires=timedelta(seconds=0.2)).submit("text.wordcount", "too late")
    with pytest.raises(wb.TaskExpired, match="was not started before"):
        late.result(PATIENCE)
    blockers.results(PATIENCE)


def test_a_failed_attempt_is_tried_again_where_retries_are_asked_for(client: wb.Client, tmp_path: Path) -> None:
    task = client.with_options(retries=2).submit("bad.flaky", str(tmp_path))
    assert task.result(PATIENCE) == 2
    assert task.status().attempt == 2


@pytest.mark.parametrize("options", [{"timeout": 0}, {"retries": -1}, {"lane": "Not A Lane"}, {"expires": -1}])
def test_options_that_make_no_sense_are_refused(client: wb.Client, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="takes"):
        client.with_options(**options)  # type: ignore[arg-type]


# --- asking ---------------------------------------------------------------------------------------


def test_a_task_can_be_listed_counted_and_asked_for_by_its_id(client: wb.Client) -> None:
    task = client.submit("text.wordcount", "count me")
    task.result(PATIENCE)
    wait_until(lambda: task.status().finished_at is not None)
    listed = asyncio.run(client.tasks(operation="text.wordcount", state="succeeded", limit=5))
    assert listed[0].task_id == task.id
    assert listed[0].summary == "2"
    assert listed[0].seconds_running is not None
    stats = asyncio.run(client.stats())
    assert stats["succeeded"] > 0
    assert sum(stats.states.values()) == stats.total


def test_paging_through_all_tasks_shows_each_once(client: wb.Client) -> None:
    ids = set(client.map("text.wordcount", ["x"] * 25).ids)

    async def pages() -> list[str]:
        seen: list[str] = []
        before = None
        while page := await client.tasks(before=before, limit=7):
            seen += [record.task_id for record in page]
            before = page[-1].task_id
        return seen

    wait_until(lambda: ids <= set(asyncio.run(pages())))
    seen = asyncio.run(pages())
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=True)


def test_an_id_that_never_was_is_not_found(client: wb.Client) -> None:
    for ask in (client.result, client.status):
        with pytest.raises(wb.TaskNotFound):
            asyncio.run(ask("01900000-0000-7000-8000-000000000000"))


def test_the_workbench_knows_its_workers_and_their_operations(client: wb.Client) -> None:
    facts = asyncio.run(client.workbench())
    assert {"image.thumbnail", "data.groupby", "convert.table", "text.wordcount"} <= {o.name for o in facts.operations}
    (worker,) = [w for w in facts.workers if w.online]
    assert set(worker.families) >= {"image", "data", "convert", "text"}
    assert worker.slots == 2


def test_a_task_submitted_by_a_process_that_is_gone_is_fetched_by_another(
    client: wb.Client, cluster: wb.LocalCluster
) -> None:
    code = (
        "import workbench as wb, os\n"
        f"producer = wb.Producer({cluster.url!r})\n"
        "print(producer.submit('data.head', __import__('pandas').DataFrame({'a': range(9)}), 2).id, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, cwd="/")
    assert done.returncode == 0, done.stderr
    frame = asyncio.run(client.result(done.stdout.strip(), timeout=PATIENCE))
    assert frame["a"].tolist() == [0, 1]


def test_a_producers_handle_says_whom_to_ask(cluster: wb.LocalCluster) -> None:
    with wb.Producer(cluster.url) as producer:
        task = producer.submit("data.head", pd.DataFrame({"a": [1]}), 1)
        with pytest.raises(wb.WorkbenchError, match=r"wb\.Client\(\)\.get"):
            task.result(1)


def test_a_busy_kernel_breaks_nothing(cluster: wb.LocalCluster) -> None:
    # A short heartbeat, and a thread that holds on to Python for several of its intervals.
    with wb.Client(f"{cluster.url}?heartbeat=1") as client:
        group = client.map("text.sleep", [0.2] * 20)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            sum(range(100_000))
        assert group.results(PATIENCE) == ["slept 0.2 s"] * 20
        assert client.submit("text.wordcount", "still here").result(PATIENCE) == 2


def test_clients_of_many_threads_share_one(client: wb.Client) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(client.submit("text.wordcount", "a b c").result(PATIENCE)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [3] * 8
