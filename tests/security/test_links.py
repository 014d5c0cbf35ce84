"""Links, and names that are switched: what is read stays what was checked, and nothing is written through one."""

from __future__ import annotations

import io
import resource
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from workbench.core.errors import InputNotFound, InputTooLarge, InvalidArguments, PathRefused, StoreError
from workbench.operations import context, registry
from workbench.values import codecs
from workbench.values.arguments import from_wire
from workbench.values.files import Files
from workbench.values.plain import Code
from workbench.values.refs import FileRef


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("operation", ["convert.table", "data.describe", "image.info"])
def test_what_an_operation_has_begun_to_read_stays_what_it_was_whatever_takes_its_name(
    operation: str, files: Files, root: Path, tmp_path: Path
) -> None:
    registry.load()
    name = root / "sub" / ("a.png" if operation == "image.info" else "a.csv")
    Image.new("RGB", (7, 5)).save(name) if name.suffix == ".png" else name.write_text("x\n1\n")
    ref = from_wire("file", str(name), files)
    extra = ["csv"] if operation == "convert.table" else []
    with files.holding() as hold, context.attempt(tmp_path / "scratch", hold):
        first = hold(ref)
        name.unlink()
        name.symlink_to(tmp_path / "secret" / "a.csv")
        assert hold(ref) == first
        made = registry.get(operation).function(ref, *extra)
    told = made.read_text() if isinstance(made, Path) else str(made)
    assert "hunter2" not in told
    assert "password" not in told
    assert {"convert.table": "1", "data.describe": "x", "image.info": "7"}[operation] in told
    with files.holding() as hold, pytest.raises(PathRefused, match="lies outside what the worker on"):
        hold(ref)


def test_more_files_than_can_be_open_are_an_error_that_says_so(files: Files, root: Path) -> None:
    refs = []
    for number in range(200):
        (root / f"{number}.csv").write_text("x\n")
        refs.append(FileRef(str(root / f"{number}.csv"), "a.csv"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 100, hard))
    try:
        with files.holding() as hold, pytest.raises(InputTooLarge, match=r"one file too many .* \(ulimit -n\)"):
            list(map(hold, refs))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("place", ["blake3/ab/" + "c" * 62, "blake3/ab", "blake3"])
def test_a_link_that_somebody_has_put_into_the_store_is_not_followed(place: str, files: Files, tmp_path: Path) -> None:
    key = "blake3/ab/" + "c" * 62
    secret = tmp_path / "secret"
    (secret / "ab").mkdir()
    for copy in (secret / ("c" * 62), secret / "ab" / ("c" * 62)):
        copy.write_text("password\nhunter2\n")
    link = tmp_path / "store" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(secret / "a.csv" if place == key else secret)
    ref = FileRef(f"store:{key}", "a.csv", reach=files)
    values = [msgspec.msgpack.encode(msgspec.msgpack.Ext(Code.STORED, msgspec.msgpack.encode([key, 1, code])))
              for code in (0, Code.FRAME, Code.IMAGE)]  # fmt: skip
    for use in (
        ref.open,
        lambda: ref.path,
        lambda: from_wire("frame", ref, files),
        lambda: from_wire("dataset", ref, files),
        *(lambda data=data: codecs.decode(data, files) for data in values),  # type: ignore[misc]
        lambda: files.need_store().copy(key, io.BytesIO()),
    ):
        with pytest.raises(StoreError, match="is reached through a link, and the store makes none"):
            use()


def test_a_store_that_lies_behind_a_link_is_read(root: Path, tmp_path: Path) -> None:
    """It is whoever runs the worker that names the store."""
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    files = Files(str(tmp_path / "linked" / "store"), [str(root)])
    key = files.need_store().put_bytes(b"x\n1\n")
    assert FileRef(f"store:{key}", "a.csv", reach=files).read_bytes() == b"x\n1\n"


# --- writing ----------------------------------------------------------------------------------------


def test_no_link_below_an_output_directory_leads_what_is_written_out_of_it(files: Files, root: Path) -> None:
    registry.load()
    out, secret = root / "out", root.parent / "secret"
    (root / "in" / "sub").mkdir(parents=True)
    (root / "in" / "sub" / "a.csv").write_text("x\n1\n")
    (root / "in" / "b.csv").write_text("x\n1\n")
    out.mkdir()
    (out / "sub").symlink_to(secret)
    with files.holding() as hold, context.attempt(root.parent / "scratch", hold):
        rows = registry.get("convert.batch").function(str(root / "in"), str(out), "jsonl", pattern="**/*.csv")
    assert rows.set_index("file")["status"].to_dict() == {"b.csv": "converted", "sub/a.csv": "failed"}
    assert "leads through a link or a file" in rows.set_index("file")["error"]["sub/a.csv"]
    assert names_in(secret) == ["a.csv"]


def test_no_link_in_a_partitions_place_leads_what_is_written_out_of_the_directory(files: Files, root: Path) -> None:
    registry.load()
    out, secret = root / "out", root.parent / "secret"
    out.mkdir()
    (out / "x=1").symlink_to(secret)
    (root / "b.csv").write_text("x,y\n1,2\n")
    ref = FileRef(str(root / "b.csv"), "b.csv")
    words = r"out/x=1 leads through a link or a file .* name the directory itself"
    with (
        files.holding() as hold,
        context.attempt(root.parent / "scratch", hold),
        pytest.raises(PathRefused, match=words),
    ):
        registry.get("convert.partition").function(ref, ["x"], to="csv", output=str(out))
    assert names_in(secret) == ["a.csv"]


def test_a_link_to_a_folder_elsewhere_does_not_tell_the_names_in_it(files: Files, root: Path) -> None:
    registry.load()
    (root / "in" / "sub").mkdir(parents=True)
    (root / "in" / "sub" / "b.csv").write_text("x\n1\n")
    (root / "in" / "link").symlink_to(root.parent / "secret")
    with files.holding() as hold, context.attempt(root.parent / "scratch", hold):
        batch = registry.get("convert.batch").function
        rows = batch(str(root / "in"), str(root / "out"), "jsonl", pattern="*/*")
        assert rows["file"].tolist() == ["sub/b.csv"]
        with pytest.raises(InputNotFound, match="holds no file that matches 'link/\\*'"):
            batch(str(root / "in"), str(root / "out"), "jsonl", pattern="link/*")


def test_a_pattern_that_goes_through_deep_folders_over_and_over_is_refused(root: Path) -> None:
    registry.load()
    (root / "/".join("d" * 20)).mkdir(parents=True)
    with pytest.raises(InvalidArguments, match=r"has more than 2 '\*\*', .* one is enough"):
        registry.get("convert.batch").function(str(root), str(root / "out"), "csv", pattern="**/" * 20 + "x")


@pytest.mark.parametrize("when", ["before", "while"])
def test_an_output_directory_that_is_switched_for_a_link_is_not_followed(when: str, files: Files, root: Path) -> None:
    secret = root.parent / "secret"
    output = from_wire("output", str(root / "sub" / "new.csv"), files)
    assert isinstance(output, str)

    def switch() -> None:
        (root / "sub").rename(root / "moved")
        (root / "sub").symlink_to(secret)

    def write(part: Path) -> None:
        if when == "while":
            switch()
        part.write_text("made")

    with context.attempt(root.parent / "scratch"):
        if when == "before":
            switch()
            with pytest.raises(PathRefused, match="leads through a link or a file"):
                context.write_file("new.csv", context.Output(output), write)
            assert names_in(root / "moved") == []
        else:
            assert context.write_file("new.csv", context.Output(output), write) == Path(output)
            assert (root / "moved" / "new.csv").read_text() == "made"
    assert names_in(secret) == ["a.csv"]
