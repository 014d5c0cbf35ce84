"""Which files can be reached: paths and references as hostile producers write them, at submit and at the worker."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from workbench.core.errors import InputError, InputNotFound, InvalidArguments, PathRefused, StoreError
from workbench.core.messages import OperationSpec
from workbench.operations import context, datasets, registry, signature
from workbench.values import codecs
from workbench.values.arguments import from_wire, to_wire
from workbench.values.files import Files
from workbench.values.plain import Code
from workbench.values.refs import FileRef

URLS = [
    "file:///etc/passwd",
    "file:/etc/passwd",
    "FILE:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "https://[fe80::1]/",
    "http://127.0.0.1:15672/api/definitions",
    "ftp://host/a.csv",
    "s3://bucket/a.csv",
    "gs://bucket/a.csv",
    "hdfs://name/a.csv",
    "memory://a.csv",
    "simplecache::http://169.254.169.254/",
    "simplecache::file:///etc/passwd",
    "filecache::/etc/passwd",
    "zip://a.csv::http://host/a.zip",
    "zip://a.csv::simplecache::s3://bucket/a.zip",
    "reference://::/root/refs.json",
    "github://owner:repo@main/a.csv",
    "store:blake3/ab/" + "c" * 62,
]


READ = ["file", "files", "path", "frame", "table", "dataset", "image"]
"""The kinds of parameters that are files to read."""
WRITTEN = ["output", "directory"]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("kind", [*READ, *WRITTEN])
def test_a_url_is_refused_at_submit(url: str, kind: str, files: Files, root: Path) -> None:
    refused = f"{url} is a URL, and workers fetch none: pass a path of a file here or below a shared root ({root}), or "
    with pytest.raises(PathRefused, match=f"^{re.escape(refused)}"):
        to_wire(kind, url, files)


@pytest.mark.parametrize("url", URLS[:-1])
@pytest.mark.parametrize("kind", [*READ, *WRITTEN])
def test_a_url_that_came_without_being_checked_is_refused_at_the_worker(
    url: str, kind: str, files: Files, root: Path
) -> None:
    refused = f"^{re.escape(f'{url!r} is not an absolute path. Allowed are files below: {root}')}$"
    with pytest.raises(PathRefused, match=refused):
        from_wire(kind, url, files)
    if kind in READ:
        with pytest.raises(PathRefused, match=refused):
            from_wire(kind, FileRef(url, "a.csv"), files)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("kind", ["files", "dataset", "frame", "table"])
def test_a_url_among_several_files_is_refused_at_both_ends(url: str, kind: str, files: Files, root: Path) -> None:
    beside = root / "a.csv"
    with pytest.raises(PathRefused, match=r"^\S+ is a URL, and workers fetch none: pass a path of a file here or "):
        to_wire(kind, [beside, Path(url)], files)
    if kind in ("files", "dataset"):
        with pytest.raises(PathRefused, match=f"^{re.escape(url)} is a URL, and workers fetch none"):
            to_wire(kind, [str(beside), url], files)
    refused, words = (StoreError, "has no blake3/") if url == URLS[-1] else (PathRefused, "is not an absolute path")
    with pytest.raises(refused, match=words):
        from_wire(kind, [FileRef(str(beside), "a.csv"), FileRef(url, "a.csv")], files)


def hostile_paths(root: Path) -> dict[str, str]:
    """Return paths, and what the error that they are refused with begins with."""
    (root / "link.csv").symlink_to(root.parent / "secret" / "a.csv")
    (root / "dir").symlink_to(root.parent / "secret")
    (root / "deep").symlink_to("dir")
    (root / "proc").symlink_to("/proc/self/environ")
    outside = [
        "/etc/passwd",
        f"{root}/../secret/a.csv",
        f"{root}/sub/../../secret/a.csv",
        f"{root}/./sub/.././../secret//a.csv",
        f"//{root}/../secret/a.csv",
        f"{root}/link.csv",
        f"{root}/dir/a.csv",
        f"{root}/deep/a.csv",
        f"{root}/dir/../secret/a.csv",
        f"{root}/proc",
        f"{root}2/a.csv",
        f"/proc/self/root{root.parent}/secret/a.csv",
        f"/proc/self/cwd/../../../../../../..{root.parent}/secret/a.csv",
        "/dev/stdin",
        "/proc/self/environ",
    ]
    cut, long, deep = f"{root}/a.csv\0.png", f"{root}/" + "a" * 256, f"{root}/" + "a/" * 3000
    too_long = "… is too long for a path: shorten it to 4095 characters, and each name in it to 255 bytes"
    return {
        **{text: lies_outside(text, root) for text in outside},
        **{
            text: f"{text!r} is not an absolute path. Allowed are files below: {root}"
            for text in ("relative.csv", "~/a.csv", "")
        },
        cut: f"{cut!r} is not a path: leave out its null character",
        long: f"{long[:200]!r}{too_long}",
        deep: f"{deep[:200]!r}{too_long}",
    }


def lies_outside(text: str, root: Path) -> str:
    return f"{text} lies outside what the worker on {socket.gethostname()} may touch (shared roots: {root}). A file "


def refused_as(words: str) -> contextlib.AbstractContextManager[object]:
    """Expect that a path is refused, in these words."""
    return pytest.raises(PathRefused, match=f"^{re.escape(words)}")


def test_no_path_leads_out_of_the_roots_however_it_is_written(files: Files, root: Path) -> None:
    for text, words in hostile_paths(root).items():
        for value in (text, FileRef(text, "a.csv", 10), FileRef(text, "a.png", -1)):
            for kind in READ:
                with refused_as(words):
                    from_wire(kind, value, files)
            if isinstance(value, FileRef):
                for use in (files.open, files.local_path):
                    with refused_as(words):
                        use(value)
    with files.open(FileRef(f"{root}/sub/../a.csv", "a.csv")) as file:
        assert file.read() == b"x\n1\n"


def test_no_output_leads_out_of_the_roots_nor_onto_anything_but_a_file(files: Files, root: Path) -> None:
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(root)  # a socket's path is short
    listener.bind("socket")
    os.chdir(here)
    listener.close()
    (root / "null").symlink_to("/dev/null")
    (root / "dangling").symlink_to(root.parent / "secret" / "new.csv")
    outside = hostile_paths(root) | {
        text: lies_outside(text, root) for text in (f"{root}/null", f"{root}/dangling", f"{root}/dir")
    }
    special = {f"{root}/{name}": f"{root}/{name} is a device, a pipe or a socket: name " for name in ("pipe", "socket")}
    directory = {f"{root}/sub": f"{root}/sub is a directory: name the file to write in it"}
    for text, words in (outside | special | directory).items():
        with refused_as(words):
            from_wire("output", text, files)
    no_directory = {text: f"{text} is a file: name a directory" for text in (*special, f"{root}/a.csv")}
    for text, words in (outside | no_directory).items():
        with refused_as(words):
            from_wire("directory", text, files)
    missing = rf"{root}/no/a\.csv isn't there, as seen from .*: make it first, below a shared root \({root}\)$"
    for kind in WRITTEN:
        with pytest.raises(InputNotFound, match=missing):
            from_wire(kind, f"{root}/no/a.csv", files)
    assert from_wire("output", f"{root}/sub/../new.csv", files) == str(root / "new.csv")
    assert from_wire("directory", f"{root}/sub/../new", files) == str(root / "new")
    assert sorted(path.name for path in (root.parent / "secret").iterdir()) == ["a.csv"]


def test_a_pipe_or_a_device_below_a_root_is_not_waited_for(files: Files, root: Path) -> None:
    os.mkfifo(root / "pipe.csv")
    for use in (files.local_path, files.open):
        with pytest.raises(InputNotFound, match=r"pipe\.csv is not a regular file, as seen from .*: pass a file"):
            use(FileRef(str(root / "pipe.csv"), "pipe.csv"))


@pytest.mark.parametrize(
    ("swap", "error", "words"),
    [
        ("file for a link", PathRefused, r"has changed while it was opened: .*\. Submit the task again$"),
        ("directory for a link", PathRefused, r"has changed while it was opened: .*\. Submit the task again$"),
        ("file for a pipe", InputNotFound, r"is not a regular file, as seen from .*: pass a file's path$"),
        ("file for nothing", InputNotFound, r"isn't there any more: put it back, and submit the task again$"),
    ],
)
def test_what_is_put_in_a_files_place_between_the_check_and_the_opening_is_not_read(
    swap: str, error: type[InputError], words: str, files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "sub" / "a.csv").write_text("x\n1\n")
    checked = files.local_path

    def swapped(ref: FileRef) -> Path:
        path = checked(ref)
        if swap == "directory for a link":
            (root / "sub").rename(root / "old")
            (root / "sub").symlink_to(root.parent / "secret")
        else:
            (root / "sub" / "a.csv").unlink()
        if swap == "file for a link":
            (root / "sub" / "a.csv").symlink_to(root.parent / "secret" / "a.csv")
        elif swap == "file for a pipe":
            os.mkfifo(root / "sub" / "a.csv")
        return path

    monkeypatch.setattr(files, "local_path", swapped)
    with pytest.raises(error, match=rf"^{root}/sub/a\.csv {words}"):
        files.open(FileRef(str(root / "sub" / "a.csv"), "a.csv"))


def test_a_frame_is_never_read_from_where_a_link_is_switched_to_and_fro(files: Files, root: Path) -> None:
    """A name that is the root's own file at one moment and a link to a secret at the next."""
    name, stop = root / "sub" / "a.csv", threading.Event()

    def switch() -> None:
        while not stop.is_set():
            (root / "new").write_text("x\n1\n")
            (root / "new").replace(name)
            (root / "new").symlink_to(root.parent / "secret" / "a.csv")
            (root / "new").replace(name)

    name.write_text("x\n1\n")
    switcher = threading.Thread(target=switch)
    switcher.start()
    read, refusals = 0, list[str]()
    try:
        while read < 20 or len(refusals) < 20:
            try:
                with files.holding() as hold, context.attempt(root.parent / "scratch", hold):
                    frame = datasets.from_wire("frame", str(name), files)
                assert isinstance(frame, pd.DataFrame)
                assert list(frame.columns) == ["x"]
                read += 1
            except (PathRefused, InputNotFound) as error:
                refusals.append(str(error))
    finally:
        stop.set()
        switcher.join()
    assert {text[: len(str(name))] for text in refusals} == {str(name)}


# --- references made by hand, as messages carry them ------------------------------------------------


def carried(uri: object, name: object, size: object) -> bytes:
    inner = msgspec.msgpack.encode([uri, name, size])
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(Code.FILE, inner))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((1, "a", 1), "it is not a reference to a file"),
        (("/a", None, 1), "it is not a reference to a file"),
        (("/a", "a", "1"), "it is not a reference to a file"),
        (("/a", "a", 1.5), "it is not a reference to a file"),
        ((b"/a", "a", 1), "it is not a reference to a file"),
        ((["/a"], "a", 1), "it is not a reference to a file"),
        (("/a", "a\0b", 1), "it is a reference to a file whose name holds a zero byte"),
    ],
)
def test_a_reference_of_the_wrong_types_is_an_input_error(parts: tuple[object, ...], reason: str, files: Files) -> None:
    with pytest.raises(InputError, match=f"^a value can't be read: {reason}$"):
        codecs.decode(carried(*parts), files)


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "blake3/../../../etc/passwd",
        "blake3/ab/" + "C" * 62,
        "tmp/x",
        "",
        "/etc/passwd",
        "blake3/ab/../ab",
    ],
)
def test_a_reference_into_the_store_is_a_key_or_refused(key: str, files: Files) -> None:
    ref = codecs.decode(carried(f"store:{key}", "a.csv", 1), files)
    for use in (ref.open, ref.read_bytes, lambda: ref.path, lambda: from_wire("frame", ref, files)):
        with pytest.raises(StoreError, match="is not a key of the store"):
            use()
    stored = msgspec.msgpack.Ext(Code.STORED, msgspec.msgpack.encode([key, 1, 0]))
    with pytest.raises(StoreError, match="is not a key of the store"):
        codecs.decode(msgspec.msgpack.encode(stored), files)


def test_a_references_name_is_never_a_path(files: Files, root: Path, tmp_path: Path) -> None:
    """The name comes from a message: results are named after it."""
    for name in ("../../evil.csv", "/etc/evil.csv", "a/../../evil.csv"):
        ref = codecs.decode(carried(str(root / "a.csv"), name, 4), files)
        with context.attempt(tmp_path / "scratch", files.local_path):
            made = registry.get("convert.table").function(ref, "parquet")
        assert made == tmp_path / "scratch" / "evil.parquet"
        assert ref.save(root / "sub") == root / "sub" / "evil.csv"


@pytest.mark.parametrize(
    "text", ['{"uri": "/etc/passwd"}', '["/etc/passwd"]', "FileRef('/etc/passwd')", "{{x}}", "$HOME/x"]
)
def test_text_that_looks_like_a_reference_is_a_path_that_is_not_there(text: str, files: Files) -> None:
    for kind in ("file", "frame", "image", "output"):
        with pytest.raises(PathRefused, match="is not an absolute path"):
            from_wire(kind, text, files)


@pytest.mark.parametrize(
    "value", [{"uri": "/etc/passwd", "name": "a"}, ["/etc/passwd"], 3, None, b"/etc/passwd", 1.5, True]
)
def test_what_is_no_path_is_no_file(value: object, files: Files) -> None:
    spec = registry.get("convert.table").spec
    with pytest.raises(InvalidArguments, match="parameter 'source' takes a file"):
        signature.bind(spec, [value, "csv"], {}, lambda kind, item: from_wire(kind, item, files))


def test_every_path_to_write_to_that_an_operation_of_the_package_takes_is_checked_before_it_is_called(
    files: Files, root: Path
) -> None:
    """All that an operation of the package writes are its scratch files, and these."""
    registry.load()
    checked = []
    for spec in registry.specs():
        for parameter in spec.parameters:
            kinds = {parameter.type.kind, *(part.kind for part in parameter.type.args)}
            assert parameter.name != "output" or kinds & {"output", "directory"}, spec.name
            if not kinds & {"output", "directory"}:
                continue
            checked.append(spec.name)
            refused = {text: lies_outside(text, root) for text in ("/etc/evil", f"{root}/../evil")}
            refused["file:///etc/evil"] = "'file:///etc/evil' is not an absolute path. Allowed are files below: "
            if "output" in kinds:
                refused[f"{root}/sub"] = f"{root}/sub is a directory: name the file to write in it"
            for text, words in refused.items():
                with refused_as(words):
                    signature.bind(
                        OperationSpec(name=spec.name, parameters=(parameter,)),
                        (),
                        {parameter.name: text},
                        lambda kind, value: from_wire(kind, value, files),
                    )
    assert {"convert.table", "convert.concat", "convert.image", "convert.pages"} <= set(checked)
