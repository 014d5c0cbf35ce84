"""Output files are complete or absent, whatever happens to who writes them."""

from __future__ import annotations

import errno
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from workbench.core.errors import InvalidArguments, OutputFailed
from workbench.operations import context, convert, parts, registry
from workbench.operations.image import animation, files
from workbench.values import writer
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


def grow(part: Path, *, told: threading.Event | None = None) -> None:
    """Write a file large enough for the disk to begin with it, and wait until it has."""
    with parts.settling(part) as settle:
        part.write_bytes(bytes(parts.UNSETTLED))
        settle()
        assert told is None or told.wait(30)


def test_the_disk_is_at_work_while_a_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(writer, "_fdatasync", lambda file: begun.set())
    context.write_file("x", context.Output(str(tmp_path / "x")), functools.partial(grow, told=begun))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("workbench settles")]


def test_it_is_while_a_table_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(parts, "UNSETTLED", 1)
    monkeypatch.setattr(writer, "_fdatasync", lambda file: begun.set())
    (tmp_path / "a.csv").write_text("x\n" + "1\n" * 100_000)
    convert.table(FileRef(str(tmp_path / "a.csv"), "a.csv"), "feather", output=str(tmp_path / "a.feather"))
    assert begun.is_set()


def test_what_the_disk_says_meanwhile_fails_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "_fdatasync", full)
    with pytest.raises(OutputFailed, match="No space left"):
        context.write_file("x", context.Output(str(tmp_path / "x")), grow)
    assert list(tmp_path.iterdir()) == []


def test_where_no_other_thread_can_be_started_a_file_is_settled_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert context.write_file("x", context.Output(str(tmp_path / "x")), grow).stat().st_size == parts.UNSETTLED


# --- pictures -----------------------------------------------------------------------------------------

PICTURE = Image.linear_gradient("L")


def photo(directory: Path) -> FileRef:
    (directory / "in").mkdir()
    path = directory / "in" / "photo.jpg"
    PICTURE.save(path, comment=b"taken at home")
    return FileRef(str(path), path.name)


def turned(directory: Path) -> FileRef:
    (directory / "in").mkdir()
    path, exif = directory / "in" / "photo.jpg", Image.Exif()
    exif[0x0112] = 6
    PICTURE.save(path, exif=exif)
    return FileRef(str(path), path.name)


PICTURES = {
    "convert.image": lambda at, **more: convert.image(photo(at), "webp", **more),
    "convert.pages": lambda at, **more: convert.pages([PICTURE, PICTURE], **more),
    "image.animate": lambda at, **more: animation.animate([PICTURE, PICTURE.rotate(90)], **more),
    "image.optimize": lambda at, **more: files.optimize(photo(at), 10_000, **more),
    "image.strip_metadata": lambda at, **more: files.strip_metadata(photo(at), **more),
    "image.strip_metadata, turned": lambda at, **more: files.strip_metadata(turned(at), orientation="apply", **more),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_s_output_that_is_there_stays_as_it_is_with_error_and_is_replaced_without(
    tmp_path: Path, name: str
) -> None:
    for overwrite, written in (("error", False), ("replace", True), (None, True)):
        (at := tmp_path / str(overwrite)).mkdir()
        (out := at / "out").mkdir()
        target = out / "x"
        target.write_text("old")
        options = {"output": str(target)} | ({} if overwrite is None else {"overwrite": overwrite})
        if written:
            assert PICTURES[name](at, **options) == target
        else:
            with pytest.raises(InvalidArguments, match="x is there already: pass overwrite='replace'"):
                PICTURES[name](at, **options)
        assert (target.read_bytes() != b"old") is written
        assert list(out.iterdir()) == [target]  # nothing half-written beside it


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_written_where_nothing_is_with_error_and_other_words_are_refused(
    tmp_path: Path, name: str
) -> None:
    for overwrite in ("error", "append"):
        (at := tmp_path / overwrite).mkdir()
        (out := at / "out").mkdir()
        options = {"output": str(out / "x"), "overwrite": overwrite}
        if overwrite == "error":
            assert PICTURES[name](at, **options).stat().st_size > 0
        else:
            with pytest.raises(InvalidArguments, match=r"overwrite: takes 'error' or 'replace', got 'append'"):
                PICTURES[name](at, **options)
            assert not list(out.iterdir())


def test_every_picture_s_and_every_conversion_s_operation_that_writes_where_it_is_told_takes_overwrite() -> None:
    registry.load()
    writing = [
        (spec.name, {each.name for each in spec.parameters})
        for spec in registry.specs(["image", "convert"])
        if any(each.name == "output" for each in spec.parameters)
    ]
    assert len(writing) == 9
    assert not [name for name, names in writing if "overwrite" not in names]


def test_a_picture_that_fails_while_it_is_written_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def save(self: Image.Image, path: Path, *more: object, **options: object) -> None:
        Path(path).write_bytes(b"half of i")
        raise OSError(28, "No space left on device")

    source = photo(tmp_path)
    (out := tmp_path / "out").mkdir()
    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match="No space"):
        convert.image(source, "png", output=str(out / "x.png"))
    assert not list(out.iterdir())


# --- directories --------------------------------------------------------------------------------------


def test_one_partition_that_is_there_refuses_all_of_them(tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out"
    source.write_text("x,y\n1,a\n2,b\n3,c\n")
    (out / "y=b").mkdir(parents=True)
    (there := out / "y=b" / "a.parquet").write_text("old")

    with pytest.raises(InvalidArguments, match=r"a\.parquet is there already"):
        convert.partition(FileRef(str(source), "a.csv"), ["y"], output=str(out), overwrite="error")
    assert [path for path in out.rglob("*") if path.is_file()] == [there]
    assert there.read_text() == "old"

    convert.partition(FileRef(str(source), "a.csv"), ["y"], output=str(out))
    assert sorted(path.parent.name for path in out.rglob("*.parquet")) == ["y=a", "y=b", "y=c"]
    assert there.read_bytes() != b"old"


def test_a_set_of_partitions_says_that_it_is_whole_and_never_does_before(tmp_path: Path, monkeypatch) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out"
    source.write_text("x,y\n1,a\n2,b\n")
    convert.partition(FileRef(str(source), "a.csv"), ["y"], output=str(out))
    assert (out / "_SUCCESS").read_text() == "y=a/a.parquet\ny=b/a.parquet\n"

    source.write_text("x,y\n1,a\n2,b\n3,c\n")
    published: list[Path] = []

    def publish(part: Path, target: Path, *more: object, **options: object) -> None:
        assert not (out / "_SUCCESS").exists()
        if published:
            raise OSError(5, "Input/output error")
        published.append(target)

    with monkeypatch.context() as patched:
        patched.setattr("workbench.operations.parts.publish", publish)
        with pytest.raises(OSError, match="Input/output"):
            convert.partition(FileRef(str(source), "a.csv"), ["y"], output=str(out))
    assert len(published) == 1
    assert not (out / "_SUCCESS").exists()

    convert.partition(FileRef(str(source), "a.csv"), ["y"], output=str(out))
    assert (out / "_SUCCESS").read_text().splitlines() == [f"y={each}/a.parquet" for each in "abc"]


def test_a_picture_of_a_folder_that_is_there_is_that_file_s_error(tmp_path: Path) -> None:
    photo(tmp_path)
    PICTURE.save(tmp_path / "in" / "other.jpg")
    (out := tmp_path / "out").mkdir()
    (out / "photo.png").write_text("old")
    told = convert.batch(str(tmp_path / "in"), str(out), "png", overwrite="error").set_index("file")
    assert told["status"].to_dict() == {"other.jpg": "converted", "photo.jpg": "failed"}
    assert "is there already" in told.loc["photo.jpg", "error"]
    assert (out / "photo.png").read_text() == "old"
    assert sorted(path.name for path in out.iterdir()) == ["other.png", "photo.png"]
