"""The `workbench` command and the worker scripts, as a person types them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.support import wait_until
from workbench.cli.common import parse_duration, parse_size
from workbench.local import control

ROOT = Path(__file__).parent.parent.parent


def workbench(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it printed."""
    command = [sys.executable, "-m", "workbench", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=ROOT, env={**os.environ, "COLUMNS": "160", **environ}
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workbench that `workbench up --detach` has started, without workers of its own."""
    directory = tmp_path_factory.mktemp("workbench")
    up = workbench("up", "--detach", "--directory", directory, "--workers", "0")
    assert up.returncode == 0, up.stderr
    assert "A workbench is running in" in up.stdout
    yield directory
    control.down(directory)


def serves(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_up_serves_the_dashboard_and_status_tells_where(directory: Path) -> None:
    said = workbench("status", "--directory", directory).stdout
    told = re.search(r"Its dashboard is at (http://127\.0\.0\.1:\d+/)", said)
    assert told is not None
    wait_until(lambda: serves(told[1]), what="the dashboard answers")


def test_a_worker_script_serves_its_family_until_sigterm(directory: Path) -> None:
    with wb.Client(directory=directory) as client:
        environ = {**os.environ, **client.settings.as_environ()}
        script = [sys.executable, ROOT / "workers" / "image_worker.py", "--slots", "1", "--name", "by-hand"]
        worker = subprocess.Popen(script, env=environ)
        try:
            task = client.submit("image.thumbnail", ROOT / "docs" / "images" / "contact-sheet.png", (64, 64))
            assert max(task.result(60).size) == 64
            wait_until(lambda: task.status().worker == "by-hand")
        finally:
            worker.terminate()
            assert worker.wait(30) == 0
        listed = workbench("tasks", "--url", client.settings.broker_url, "--state", "succeeded")
    assert task.id in listed.stdout
    assert "image.thumbnail" in listed.stdout
    assert "Image, 64 ×" in listed.stdout


@pytest.mark.parametrize("family", ["image", "data", "convert"])
def test_every_worker_script_explains_itself(family: str) -> None:
    script = [sys.executable, ROOT / "workers" / f"{family}_worker.py", "--help"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "--memory-limit" in done.stdout


def test_status_names_the_processes_and_counts_the_tasks(directory: Path) -> None:
    status = workbench("status", "--directory", directory)
    assert status.returncode == 0, status.stderr
    for word in ("node", "epmd", "tracker", "tasks:"):
        assert word in status.stdout


def test_up_where_one_is_running_says_so(directory: Path) -> None:
    again = workbench("up", "--detach", "--directory", directory)
    assert again.returncode == 1
    assert "already running" in again.stderr


def test_status_and_down_where_none_is_running_say_so(tmp_path: Path) -> None:
    status = workbench("status", "--directory", tmp_path)
    assert status.returncode == 1
    assert "workbench up --detach" in status.stdout
    down = workbench("down", "--directory", tmp_path)
    assert down.returncode == 0
    assert "No workbench is running" in down.stdout


def test_a_client_that_finds_no_workbench_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("WORKBENCH_BROKER_URL", raising=False)
    with pytest.raises(wb.NoWorkbench, match=r"workbench up --detach.*LocalCluster.*WORKBENCH_BROKER_URL"):
        wb.Client()
    tasks = workbench("tasks", WORKBENCH_DIRECTORY=str(tmp_path))
    assert tasks.returncode == 1
    assert "NoWorkbench" in tasks.stderr
    assert "Traceback" not in tasks.stderr


def test_a_broker_that_cannot_be_reached_is_one_clear_line() -> None:
    tasks = workbench("tasks", "--url", "amqp://a:b@127.0.0.1:9/")
    assert tasks.returncode == 1
    assert "127.0.0.1:9 can't be reached" in tasks.stderr.replace("\n", " ")
    assert "Traceback" not in tasks.stderr


@pytest.mark.parametrize("program", [("tracker",), ("worker", "image")])
def test_a_program_whose_credentials_the_broker_refuses_says_so_and_ends(
    directory: Path, program: tuple[str, ...]
) -> None:
    with wb.Client(directory=directory) as client:
        address = client.settings.broker_url.rpartition("@")[2]
    refused = workbench(*program, "--url", f"amqp://somebody:wrong@{address}", WORKBENCH_STORE=str(directory / "store"))
    assert refused.returncode == 1
    assert "refused the user, password or virtual host" in refused.stderr.replace("\n", " ")
    assert "Traceback" not in refused.stderr


def test_the_demo_is_right_and_says_so(tmp_path: Path) -> None:
    demo = workbench("demo", "--output", tmp_path / "out")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for word in ("image.contact_sheet", "data.groupby", "convert.table", "11 succeeded", "flights.parquet"):
        assert word in demo.stdout
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"contact-sheet.png", "delays-by-carrier.csv", "flights.parquet", "astronaut-thumbnail.png"} <= made


@pytest.mark.parametrize("size", ["12 parsecs", "-3", "0", "MiB"])
def test_a_memory_limit_that_is_not_a_size_is_refused(size: str) -> None:
    done = workbench("worker", f"--memory-limit={size}", "--url", "amqp://a:b@127.0.0.1:9/")
    assert done.returncode == 2
    assert "512MiB" in done.stderr


def test_sizes_are_read_as_people_write_them() -> None:
    assert parse_size("512MiB") == parse_size("512M") == parse_size("0.5GiB") == parse_size("536870912") == 2**29


def test_times_are_read_as_people_write_them() -> None:
    assert [parse_duration(text) for text in ("90", "90s", "1.5m", "2H", " 1d ")] == [90, 90, 90, 7200, 86400]


@pytest.mark.parametrize("option", ["--max-runtime", "--idle-exit"])
@pytest.mark.parametrize("time", ["soon", "-3", "0", "m", "5 weeks", "nan", "inf"])
def test_a_time_that_is_none_is_refused(option: str, time: str) -> None:
    done = workbench("worker", f"{option}={time}", "--url", "amqp://a:b@127.0.0.1:9/")
    assert done.returncode == 2
    assert "55m" in done.stderr
