"""Output files are complete or absent, whatever happens to who writes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.core.errors import InvalidArguments
from workbench.operations import context, convert, parts
from workbench.values.refs import FileRef

WRITER = """
import sys
from pathlib import Path
from workbench.operations import context
def write(part):
    part.write_text("half of i")
    print("halfway", flush=True)
    sys.stdin.read()
with context.attempt(Path(sys.argv[2])):
    context.write_file("x", context.Output(sys.argv[1]), write)
"""


CONVERTER = """
import sys
from pathlib import Path
from workbench.operations import context, formats
from workbench.operations.convert import table
from workbench.values.refs import FileRef
def writer(self, path, schema, real=formats.Target.writer):
    print("halfway", flush=True)
    with real(self, path, schema) as write:
        sys.stdin.read()
formats.Target.writer = writer
with context.attempt(Path(sys.argv[2])):
    table(FileRef(sys.argv[3], "a.csv"), sys.argv[4], output=sys.argv[1])
"""


def put(text: str):
    return lambda part: part.write_text(text) and None


def halfway(target: Path, scratch: Path, script: str = WRITER, *more: object) -> subprocess.Popen[str]:
    """Start a process that writes and stays in the middle of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, (target, scratch, *more))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdout.readline() == "halfway\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_attempt_leaves_nothing_under_the_name_and_the_next_one_removes_the_rest(tmp_path: Path) -> None:
    target, scratch = tmp_path / "out" / "x.txt", tmp_path / "task-1"
    target.parent.mkdir()
    kill(halfway(target, scratch))
    (left,) = target.parent.iterdir()
    assert left.name.endswith(".part")

    with context.attempt(tmp_path / "task-2"):  # another task leaves it for a day …
        context.write_file("y", context.Output(str(target.with_name("y"))), put("y"))
    assert left.exists()
    with context.attempt(scratch):  # … and the task's own next attempt doesn't
        context.write_file("x", context.Output(str(target)), put("whole"))
    assert sorted(path.name for path in target.parent.iterdir()) == ["x.txt", "y"]
    assert target.read_text() == "whole"


@pytest.mark.parametrize("to", ["csv", "json", "parquet", "feather", "orc", "xlsx"])
def test_a_conversion_that_is_killed_in_the_middle_leaves_nothing_under_the_name(tmp_path: Path, to: str) -> None:
    source, target, scratch = tmp_path / "a.csv", tmp_path / "out" / f"b.{to}", tmp_path / "task-1"
    source.write_text("x\n1\n")
    target.parent.mkdir()
    kill(halfway(target, scratch, CONVERTER, source, to))
    assert not target.exists()

    with context.attempt(scratch):
        convert.table(FileRef(str(source), "a.csv"), to, output=str(target))
    assert list(target.parent.iterdir()) == [target]


def test_what_a_task_left_that_was_never_tried_again_is_gone_after_a_day(tmp_path: Path) -> None:
    left = tmp_path / f".task-1-{'0' * 12}.part"
    left.write_text("half")
    old = time.time() - parts.LONGEST - 60
    os.utime(left, (old, old))
    own = tmp_path / "thesis.part"
    own.write_text("the user's")
    os.utime(own, (old, old))

    context.write_file("x", context.Output(str(tmp_path / "x")), put("x"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.part", "x"]


def test_a_second_attempt_leaves_alone_what_the_first_still_writes(tmp_path: Path) -> None:
    target, scratch = tmp_path / "out" / "x.txt", tmp_path / "task-1"
    target.parent.mkdir()
    first = halfway(target, scratch)
    with context.attempt(scratch):
        context.write_file("x", context.Output(str(target)), put("the second's"))
    first.communicate("")  # it goes on, and ends
    assert first.returncode == 0
    assert target.read_text() == "half of i"
    assert list(target.parent.iterdir()) == [target]


def test_an_output_that_is_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("old")
    with pytest.raises(InvalidArguments, match=r"x is there already: pass overwrite='replace'"):
        context.write_file("x", context.Output(str(target), "error"), lambda part: pytest.fail("it was written"))
    with pytest.raises(InvalidArguments, match="overwrite"):
        context.write_file("x", context.Output(str(target), "append"), put("x"))  # type: ignore[arg-type]
    assert target.read_text() == "old"
    assert context.write_file("x", context.Output(str(target), "replace"), put("new")) == target
    assert target.read_text() == "new"


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "x"

    def write(part: Path) -> None:
        part.write_text("ours")
        target.write_text("theirs")

    with pytest.raises(InvalidArguments, match="is there already"):
        context.write_file("x", context.Output(str(target), "error"), write)
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_what_an_earlier_attempt_of_the_same_task_has_written_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "x"
    for text in ("first", "second"):
        with context.attempt(tmp_path / "task-1"):
            context.write_file("x", context.Output(str(target), "error"), put(text))
    assert target.read_text() == "second"
    with context.attempt(tmp_path / "task-2"), pytest.raises(InvalidArguments, match="there already"):
        context.write_file("x", context.Output(str(target), "error"), put("third"))
