from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.settings import Settings
from workbench.worker.scratch import Scratch

HOLDER = """
import sys, time
from pathlib import Path
from workbench.core.settings import Settings
from workbench.worker.scratch import Scratch

scratch = Scratch(Settings(broker_url="", store=sys.argv[1]), "w1")
scratch.claim()
Path(scratch.path, "slot-1", "task").mkdir(parents=True)
Path(scratch.path, "slot-1", "task", "half").write_text("made")
print(scratch.path, flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["local", "remote"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # it is asked for once
    return Settings(broker_url="", store={"local": f"{tmp_path}/store", "remote": "s3://bucket"}[request.param])


def claimed(settings: Settings, name: str) -> Scratch:
    scratch = Scratch(settings, name)
    scratch.claim()
    return scratch


def test_what_a_killed_worker_left_is_removed_by_another_and_what_a_living_one_has_is_not(settings: Settings) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, settings.store], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        other = claimed(settings, "w2")
        other.tidy()
        assert (left / "slot-1" / "task" / "half").exists()
        holder.kill()
    other.tidy()
    assert not left.exists()
    assert other.path.exists()


def test_two_workers_of_one_name_do_not_remove_each_other_s_files(settings: Settings) -> None:
    first, second = claimed(settings, "w1"), claimed(settings, "w1")
    (second.path / "half").touch()
    first.remove()
    first.remove()
    assert not first.path.exists()
    assert (second.path / "half").exists()


def test_what_cannot_be_removed_keeps_its_lock_and_another_worker_removes_it_later(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = claimed(settings, "w1"), claimed(settings, "w2")
    for name in ("half", "stuck", "whole"):
        (first.path / name).mkdir()
        (first.path / name / "file").touch()
    rmtree = shutil.rmtree

    def refused(path: Path, *, ignore_errors: bool = False) -> None:
        if path.name != "stuck":
            rmtree(path, ignore_errors=ignore_errors)
        elif not ignore_errors:
            raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refused)
        first.remove()
    assert sorted(path.name for path in first.path.iterdir()) == ["lock", "stuck"]
    assert f"{first.path} can't be removed yet" in caplog.text
    second.tidy()
    assert not first.path.exists()


def test_what_is_no_worker_s_is_left_alone(settings: Settings) -> None:
    scratch = claimed(settings, "w1")
    of_an_earlier_version, file = scratch.path.with_name("w2"), scratch.path.with_name("a file")
    of_an_earlier_version.mkdir()
    file.touch()
    scratch.tidy()
    assert of_an_earlier_version.exists()
    assert file.exists()


def test_a_place_that_cannot_be_made_is_told_and_no_reason_not_to_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").touch()
    scratch = claimed(Settings(broker_url="", store=f"{tmp_path}/store"), "w1")
    scratch.tidy()
    scratch.remove()
    assert "can't be made, or locked" in caplog.text
