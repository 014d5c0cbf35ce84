"""Bad tasks and bad messages: each ends as failed, or dead, says why and what to do, and the worker goes on."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec
import pytest
from PIL import Image

import workbench as wb
from tests.support import wait_until
from workbench.broker import Outgoing, Publisher, Topology
from workbench.core.ids import new_task_id
from workbench.core.states import State

PATIENCE = 60.0


def failure(task: wb.TaskHandle) -> wb.TaskFailed:
    with pytest.raises(wb.TaskFailed) as caught:
        task.result(PATIENCE)
    assert task.status().state is State.FAILED
    return caught.value


def goes_on(client: wb.Client) -> None:
    assert client.map("text.wordcount", ["still", "there"]).results(PATIENCE) == [1, 1]


def test_an_operation_that_raises(client: wb.Client) -> None:
    error = failure(client.submit("bad.raises", "no such luck"))
    assert "ValueError: no such luck" in str(error)
    assert "in raises" in "".join(error.__notes__)
    assert "workbench/worker" not in "".join(error.__notes__)
    goes_on(client)


def test_an_operation_that_returns_what_cannot_travel(client: wb.Client) -> None:
    error = failure(client.submit("bad.unserialisable"))
    assert "UnsupportedValue" in str(error)
    assert "object" in str(error)
    goes_on(client)


def test_an_operation_that_ends_its_process(client: wb.Client) -> None:
    error = failure(client.submit("bad.exits", 7))
    assert "ended by itself with status 7" in str(error)
    assert "before the end" in "".join(error.__notes__)
    assert "SystemExit" in str(failure(client.submit("bad.sysexit")))
    goes_on(client)


def test_an_operation_that_crashes_in_c(client: wb.Client) -> None:
    error = failure(client.submit("bad.segfaults"))
    assert "died of SIGSEGV" in str(error)
    assert "in segfaults" in "".join(error.__notes__)  # faulthandler's last words
    goes_on(client)


def test_an_operation_that_is_killed(client: wb.Client) -> None:
    assert "was killed (SIGKILL)" in str(failure(client.submit("bad.killed")))
    goes_on(client)


def test_an_operation_that_runs_past_its_time_limit_in_c(client: wb.Client) -> None:
    start = time.monotonic()
    error = failure(client.submit("bad.stuck"))
    assert "TimeLimitExceeded" in str(error)
    assert time.monotonic() - start < 20
    assert "longer than its limit of 0.2 s" in str(failure(client.with_options(timeout=0.2).submit("text.sleep", 30)))
    goes_on(client)


def test_a_query_that_never_ends(client: wb.Client) -> None:
    endless = "WITH RECURSIVE n(k, x) USING KEY (k) AS (SELECT 1, 0 UNION SELECT k, x + 1 FROM n) SELECT * FROM n"
    error = failure(client.with_options(timeout=1.0).submit("data.sql", endless))
    assert "longer than its limit of 1 s and was killed" in str(error)
    assert "with_options(timeout=…)" in str(error)
    goes_on(client)


def test_a_neighbour_of_a_crash_does_not_notice(client: wb.Client) -> None:
    neighbour = client.submit("text.sleep", 1.0)
    failure(client.submit("bad.segfaults"))
    assert neighbour.result(PATIENCE) == "slept 1 s"
    assert neighbour.status().attempt == 1


def test_what_a_task_prints_and_logs_is_kept_with_its_record_and_with_no_other(client: wb.Client) -> None:
    task = client.submit("bad.talks", 3)
    task.result(PATIENCE)
    output = task.status().output
    assert output.startswith("line 0\nline 1\nline 2\n")
    assert "WARNING talks: a warning" in output
    assert "from below" in output
    quiet = client.submit("text.wordcount", "x")
    quiet.result(PATIENCE)
    assert quiet.status().output == ""


def test_of_very_much_output_the_end_is_kept(client: wb.Client) -> None:
    task = client.submit("bad.talks", 100_000)
    task.result(PATIENCE)
    output = task.status().output
    assert 60_000 < len(output) < 70_000
    assert "bytes before this are cut" in output.splitlines()[0]
    assert "line 99999" in output


def test_a_task_that_forks_returns_its_own_result_and_no_other_tasks(client: wb.Client) -> None:
    assert client.submit("bad.forks").result(PATIENCE) == "the original's result"
    later = client.map("text.sleep", [0.6, 0.6])
    assert later.results(PATIENCE) == ["slept 0.6 s"] * 2


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_what_a_task_has_started_ends_with_its_process(client: wb.Client, tmp_path: Path, seconds: float) -> None:
    marks = tmp_path / "pid"
    failure(client.with_options(timeout=1.0).submit("bad.leaves", str(marks), seconds))
    pid = int(marks.read_text())
    wait_until(lambda: not alive(pid), what=f"the end of {pid}")
    goes_on(client)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_parameter_that_is_a_path_gets_one_that_can_be_read(client: wb.Client, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "b.txt").write_text("de")
    names = [str(tmp_path / "a.txt"), tmp_path / "b.txt"]
    assert client.submit("text.size", names[0], others=names).result(PATIENCE) == 8


def test_a_missing_file(client: wb.Client, tmp_path: Path) -> None:
    error = failure(client.submit("image.info", tmp_path / "missing.jpg"))
    assert "missing.jpg" in str(error)
    assert "InputNotFound" in str(error) or "PathRefused" in str(error)
    here = Path.cwd() / "not-there.jpg"
    assert "InputNotFound" in str(failure(client.submit("image.info", here)))
    goes_on(client)


def test_a_truncated_jpeg(client: wb.Client, tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((400, 300), 60).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:5000])
    error = failure(client.submit("image.thumbnail", cut))
    assert "InputError" in str(error)
    assert "cut.jpg" in str(error)
    goes_on(client)


def test_a_csv_with_a_bad_row(client: wb.Client, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n3,4,5\n6,7\n")
    for operation, arguments in (("data.head", {}), ("convert.table", {"to": "parquet"})):
        error = failure(client.submit(operation, table, **arguments))
        assert "InputError" in str(error)
        assert "table.csv" in str(error)
        assert "line 3" in str(error)
    goes_on(client)


def test_a_malformed_message_put_on_a_queue_by_hand_lies_among_the_dead_and_the_worker_goes_on(
    client: wb.Client, cluster: wb.LocalCluster
) -> None:
    async def put() -> None:
        topology = Topology()
        async with Publisher(cluster.url, topology, name="by hand") as publisher:
            for body in bodies:
                await publisher.publish(Outgoing("", topology.task_queue("text"), body, message_id="by-hand"))
                await publisher.publish(Outgoing(topology.submit, "text.wordcount", body, message_id="by-hand"))
                await publisher.publish(Outgoing(topology.events, "task.finished.x", body, message_id="by-hand"))

    bodies = [b"", b"\xff\xfe", b"{}", b"\x80", os.urandom(2000), *hostile()]
    before = dead_letters(cluster)
    asyncio.run(put())
    goes_on(client)
    # One each from the task queue, the submission and the tracker's copy of it, and the event.
    wait_until(lambda: dead_letters(cluster) >= before + 4 * len(bodies))
    task = client.submit("text.wordcount", "and the tracker goes on")
    assert task.result(PATIENCE) == 5
    wait_until(lambda: task.status().finished_at is not None)


def hostile() -> list[bytes]:
    """Return tasks that are bad to believe: ids that are paths, nesting that exhausts the stack, senseless numbers."""
    now = "2026-01-01T00:00:00Z"
    good = {
        "type": "task",
        "task_id": "t",
        "operation": "text.wordcount",
        "args": [],
        "client": "c",
        "submitted_at": now,
        "queued_at": now,
    }
    bad: list[dict[str, object]] = [
        {"task_id": "/tmp/victim"},
        {"task_id": "../victim"},
        {"task_id": "x" * 100_000},
        {"client": "c" * 300},
        {"client": "#"},
        {"attempt": 2**63},
        {"attempt": 0},
        {"retry": {"attempts": 0}},
        {"soft_timeout": 0.0},
        {"replay": -1},
        {"deadline_at": "2026-01-01T00:00:00"},
        {"timeout": float("nan")},
        {"timeout": -1.0},
        {"expires_at": "2026-01-01T00:00:00"},
        {"queued_at": "2026-01-01T00:00:00"},
    ]
    nested = msgspec.msgpack.encode({**good, "args": None})
    nested = nested.replace(b"\xa4args\xc0", b"\xa4args" + b"\x91" * 10_000 + b"\x01")
    return [nested, *(msgspec.msgpack.encode({**good, **change}) for change in bad)]


def test_an_unknown_operation_that_reaches_a_worker(client: wb.Client, cluster: wb.LocalCluster) -> None:
    from workbench.core import messages

    now = messages.utcnow()
    task = messages.Task(
        task_id=new_task_id(), operation="text.nosuch", client="by-hand", submitted_at=now, queued_at=now
    )

    async def put() -> None:
        topology = Topology()
        async with Publisher(cluster.url, topology, name="by hand") as publisher:
            await publisher.publish(
                Outgoing(topology.submit, "text.nosuch", messages.encode(task), message_id=task.task_id)
            )

    asyncio.run(put())
    error = failure(client.get(task.task_id))
    assert "UnknownOperation" in str(error)
    assert "text.nosuch" in str(error)
    letter = asyncio.run(client.dead_letter(task.task_id))
    assert (letter.reason_type, letter.attempts) == ("UnknownOperation", 3)  # another worker might have known it
    goes_on(client)


def dead_letters(cluster: wb.LocalCluster) -> int:
    from workbench.broker.session import open_session

    async def count() -> int:
        session = await open_session(cluster.url, name="counts")
        channel = await session.channel()
        ready = await channel.count(Topology().dead_queue)
        await session.close()
        return ready

    return asyncio.run(count())
