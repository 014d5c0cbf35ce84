"""The store keeps what it is given, roots hold, references lead to their files, and arguments fit their kinds."""

from __future__ import annotations

import io
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from PIL import Image

from workbench.core.errors import (
    InputError,
    InputNotFound,
    InvalidArguments,
    PathRefused,
    StoreError,
    WorkbenchError,
)
from workbench.values import codecs
from workbench.values.arguments import from_wire, to_wire
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.values.store import Store


@pytest.fixture(params=["directory", "memory"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "directory":
        return Store(str(tmp_path / "store"))
    return Store(f"memory://{tmp_path.name}-{os.getpid()}")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def files(tmp_path, root):
    return Files(str(tmp_path / "store"), [str(root)])


# --- the store --------------------------------------------------------------------------------------


def test_bytes_lie_under_their_digest_and_are_put_once(store):
    key = store.put_bytes(b"abc")
    assert key == "blake3/64/37b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    assert store.put_bytes(b"abc") == key
    assert store.exists(key)
    assert store.read_bytes(key) == b"abc"
    with store.open(key) as file:
        assert file.read(2) == b"ab"
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)


def test_a_file_is_copied_or_moved_into_the_store(store, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    key = store.put_file(path)
    assert path.read_bytes() == b"abc"
    assert store.put_file(path, move=True) == key
    assert not path.exists()
    (tmp_path / "b.bin").write_bytes(b"another")
    other = store.put_file(tmp_path / "b.bin", move=True)
    assert not (tmp_path / "b.bin").exists()
    assert store.read_bytes(other) == b"another"


def test_moving_a_symbolic_link_copies_what_it_leads_to(tmp_path):
    store = Store(str(tmp_path / "store"))
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    key = store.put_file(tmp_path / "link", move=True)
    assert not store.local_path(key).is_symlink()
    assert (tmp_path / "a").read_bytes() == b"abc"
    (tmp_path / "a").write_bytes(b"changed")
    assert store.read_bytes(key) == b"abc"


def test_the_store_is_its_owners_and_its_files_are_read_only(tmp_path):
    store = Store(str(tmp_path / "new" / "store"))
    path = store.local_path(store.put_bytes(b"abc"))
    assert stat.S_IMODE((tmp_path / "new" / "store").stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_a_write_that_fails_half_way_leaves_nothing(store, tmp_path):
    def write_half():
        with store.writer() as writer:
            writer.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_putting_again_renews_the_files_time(tmp_path):
    store = Store(str(tmp_path / "store"))
    key = store.put_bytes(b"abc")
    os.utime(store.local_path(key), (0, 0))
    store.put_bytes(b"abc")
    assert store.local_path(key).stat().st_mtime > 0


@pytest.mark.parametrize(
    "key",
    [
        "",
        "../x",
        "blake3/../../etc/passwd",
        "blake3/ab/" + "c" * 61,
        "blake3/AB/" + "c" * 62,
        "blake3/ab/" + "c" * 62 + "\n",
    ],
)
def test_what_is_no_key_is_refused(key, store):
    for use in (store.exists, store.open, store.local_path, store.read_bytes, store.delete):
        with pytest.raises(StoreError, match="not a key"):
            use(key)


def test_a_missing_key_says_why_it_may_be_missing(store):
    with pytest.raises(StoreError, match="retention"):
        store.read_bytes("blake3/ab/" + "c" * 62)


def test_a_remote_file_is_fetched_once_and_held_against_its_digest(tmp_path, monkeypatch):
    location = f"memory://{tmp_path.name}-remote"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "writer"))
    key = Store(location).put_bytes(b"abc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "reader"))
    reader = Store(location)
    assert reader.local_path(key).read_bytes() == b"abc"
    filesystem, where = reader._filesystem
    assert [path for path in filesystem.find(where) if path.endswith(".tmp")] == []
    filesystem.pipe_file(f"{where}/{key}", b"abd")
    assert reader.read_bytes(key) == b"abc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    with pytest.raises(StoreError, match="damaged"):
        Store(location).read_bytes(key)


def test_large_frames_come_back_from_a_remote_store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote = Files(f"memory://{tmp_path.name}-frames")
    frame = pd.DataFrame({"a": range(50_000), "s": ["text"] * 50_000})
    pd.testing.assert_frame_equal(codecs.decode(codecs.encode(frame, remote), remote), frame)


def test_a_store_that_cannot_be_used_is_an_error_with_a_cure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="writable"):
        Store(str(tmp_path / "file" / "store")).put_bytes(b"x")
    with pytest.raises(StoreError, match="absolute"):
        Store("relative/dir")
    with pytest.raises(StoreError, match="nosuchscheme"):
        Store("nosuchscheme://x/y").put_bytes(b"x")


def test_a_password_in_the_stores_url_is_not_shown():
    assert "secret" not in repr(Store("s3://user:secret@host/bucket"))


# --- references in the notebook ---------------------------------------------------------------------


def test_a_file_below_a_root_is_referred_to_where_it_is(files, root, monkeypatch):
    (root / "a.csv").write_text("x\n1\n")
    monkeypatch.chdir(root)
    assert files.reference("a.csv") == FileRef(str(root / "a.csv"), "a.csv", 4)
    assert files.reference(root / "sub" / ".." / "a.csv").uri == str(root / "a.csv")
    assert not files.store.location or not Path(files.store.location).exists()


def test_any_other_file_is_uploaded_once(files, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    ref = files.reference(path)
    assert ref.stored
    assert (ref.name, ref.size) == ("a.csv", 4)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_file", None)  # a second submit costs no read
        assert files.reference(path) == ref
    files.store.delete(ref.uri.removeprefix("store:"))  # swept in the meantime
    assert files.reference(path).read_bytes() == b"x\n1\n"
    path.write_text("x\n22\n")
    assert files.reference(path) != ref


def test_a_link_out_of_a_root_is_uploaded_and_a_link_into_it_is_not(files, root, tmp_path):
    (tmp_path / "secret.txt").write_text("s")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert files.reference(root / "link.txt").stored
    (root / "real.txt").write_text("r")
    (tmp_path / "shortcut.txt").symlink_to(root / "real.txt")
    assert files.reference(tmp_path / "shortcut.txt").uri == str(root / "real.txt")


def test_a_file_that_is_not_here_is_left_to_the_worker(files):
    assert files.reference("/data/elsewhere.csv") == FileRef("/data/elsewhere.csv", "elsewhere.csv")


def test_directories_and_urls_are_refused(files, tmp_path):
    with pytest.raises(InvalidArguments, match="directory"):
        files.reference(tmp_path)
    for url in ("http://host/a.csv", "s3://bucket/a", "file:///etc/passwd", "store:blake3/ab/cd"):
        with pytest.raises(PathRefused, match="URL"):
            files.reference(url)
    for text in ("", "a\0b"):
        with pytest.raises(InvalidArguments):
            files.reference(text)


# --- paths in the worker ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "dots", "link", "linked directory", "prefix", "relative", "url"])
def test_no_way_leads_out_of_the_roots(way, files, root, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.txt").write_text("s")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "s.txt").write_text("s")
    (root / "link.txt").symlink_to(tmp_path / "secret" / "s.txt")
    (root / "linked").symlink_to(tmp_path / "secret")
    uri = {
        "plain": str(tmp_path / "secret" / "s.txt"),
        "dots": f"{root}/../secret/s.txt",
        "link": str(root / "link.txt"),
        "linked directory": str(root / "linked" / "s.txt"),
        "prefix": str(tmp_path / "root2" / "s.txt"),
        "relative": "s.txt",
        "url": f"file://{root}/a.txt",
    }[way]
    for use in (files.local_path, files.open):
        with pytest.raises(PathRefused):
            use(FileRef(uri, "s.txt"))
    with pytest.raises(PathRefused):
        files.output_path(uri)


def test_a_root_may_be_a_link_itself(tmp_path, root):
    (root / "a.txt").write_text("a")
    (tmp_path / "shared").symlink_to(root)
    files = Files("", [str(tmp_path / "shared")])
    ref = files.reference(tmp_path / "shared" / "a.txt")
    assert ref.uri == str(tmp_path / "shared" / "a.txt")
    assert files.local_path(ref).read_text() == "a"
    assert files.output_path(str(tmp_path / "shared" / "new.txt")) == root / "new.txt"


def test_a_missing_input_says_where_it_was_looked_for(files, root):
    with pytest.raises(InputNotFound, match=r"gone\.csv isn't there.*worker.*roots") as caught:
        files.local_path(FileRef(str(root / "gone.csv"), "gone.csv"))
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(InputNotFound, match="regular file"):
        files.local_path(FileRef(str(root), "root"))


def test_an_output_needs_its_directory(files, root):
    assert files.output_path(str(root / "new.csv")) == root / "new.csv"
    with pytest.raises(InputNotFound, match="directory"):
        files.output_path(str(root / "no" / "new.csv"))
    with pytest.raises(PathRefused, match="directory"):
        files.output_path(str(root))


def test_an_output_that_is_a_link_out_of_the_roots_is_refused(files, root, tmp_path):
    (root / "out.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(PathRefused):
        files.output_path(str(root / "out.csv"))


def test_a_file_a_task_made_moves_into_the_store(files, tmp_path):
    made = tmp_path / "scratch" / "table.parquet"
    made.parent.mkdir()
    made.write_bytes(b"PAR1")
    ref = files.adopt(made)
    assert not made.exists()
    assert (ref.name, ref.size, ref.read_bytes()) == ("table.parquet", 4, b"PAR1")
    with pytest.raises(InvalidArguments, match="must have written"):
        files.adopt(made)


# --- references as results --------------------------------------------------------------------------


def test_a_reference_that_came_back_reaches_its_file(files, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    sent = files.reference(tmp_path / "a.csv")
    ref = codecs.decode(codecs.encode(sent, files), files)
    assert ref == sent
    assert hash(ref) == hash(sent)
    assert ref.read_bytes() == b"x\n1\n"
    with ref.open() as file:
        assert file.read(1) == b"x"
    assert pd.read_csv(ref)["x"].tolist() == [1]
    (tmp_path / "out").mkdir()
    copy = ref.save(tmp_path / "out")
    assert copy == tmp_path / "out" / "a.csv"
    copy.write_text("it can be written to")
    assert ref.path.read_text() == "x\n1\n"
    assert repr(ref).startswith("<FileRef a.csv, 4 B, store:blake3/")


def test_a_reference_saves_under_its_plain_name_only(files, tmp_path):
    (tmp_path / "a").write_text("x")
    ref = FileRef(files.reference(tmp_path / "a").uri, "../../evil", reach=files)
    (tmp_path / "out").mkdir()
    assert ref.save(tmp_path / "out") == tmp_path / "out" / "evil"


def test_a_reference_made_by_hand_says_that_it_reaches_nothing():
    ref = pickle.loads(pickle.dumps(FileRef("/data/a.csv", "a.csv", 5_200_000)))
    assert ref == FileRef("/data/a.csv", "a.csv", 5_200_000)
    assert repr(ref) == "<FileRef a.csv, 5.2 MB, /data/a.csv>"
    for use in (ref.open, ref.read_bytes, ref.save, lambda: ref.path):
        with pytest.raises(WorkbenchError, match="made by hand"):
            use()


# --- arguments --------------------------------------------------------------------------------------


def test_paths_become_references_where_the_kind_asks_for_a_file(files, root):
    (root / "a.png").write_bytes(b"x")
    ref = files.reference(root / "a.png")
    for kind in ("image", "frame", "table", "file"):
        assert to_wire(kind, str(root / "a.png"), files) == ref
        assert to_wire(kind, root / "a.png", files) == ref
        assert to_wire(kind, ref, files) == ref
    assert to_wire("any", {"x": [root / "a.png", "a.png"]}, files) == {"x": [ref, "a.png"]}
    assert to_wire("any", "a.png", files) == "a.png"


def test_an_output_becomes_absolute(files, root, monkeypatch):
    monkeypatch.chdir(root)
    assert to_wire("output", "new.csv", files) == str(root / "new.csv")
    assert from_wire("output", str(root / "new.csv"), files) == str(root / "new.csv")
    with pytest.raises(PathRefused):
        from_wire("output", "/etc/new.csv", files)
    with pytest.raises(PathRefused):
        to_wire("output", "http://host/x", files)


@pytest.mark.parametrize("kind", ["image", "frame", "table", "file", "series", "array", "output"])
def test_a_value_of_another_kind_is_a_type_error_at_both_ends(kind, files):
    for leaf in (to_wire, from_wire):
        with pytest.raises(TypeError):
            leaf(kind, 3, files)


def test_frames_and_tables_are_turned_into_each_other(files):
    frame = pd.DataFrame({"a": [1]})
    assert from_wire("table", frame, files).column_names == ["a"]
    pd.testing.assert_frame_equal(from_wire("frame", pa.table({"a": [1]}), files), frame)
    for kind, value in (("frame", frame), ("series", frame["a"]), ("array", np.arange(3)), ("any", {"a": 1})):
        assert from_wire(kind, to_wire(kind, value, files), files) is value


def test_arrays_of_bytes_are_images_and_others_say_what_to_do(files):
    for array in (np.zeros((2, 3), "u1"), np.zeros((2, 3, 1), "u1"), np.zeros((2, 3, 4), "u1")):
        assert to_wire("image", array, files).size == (3, 2)
    with pytest.raises(InvalidArguments, match=r"float64.*astype"):
        to_wire("image", np.zeros((2, 3)), files)


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_is_loaded_from_a_reference_or_from_bytes(files, root):
    (root / "a.png").write_bytes(png())
    for value in (files.reference(root / "a.png"), png(), Image.open(io.BytesIO(png())), str(root / "a.png")):
        image = from_wire("image", value, files)
        assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not an image", "not an image"),
        (png()[:60], "a.png"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "Known formats"),
        (b"", "a.png"),
    ],
)
def test_what_is_no_image_is_an_input_error_that_names_it(data, words, files, root):
    (root / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=words):
        from_wire("image", files.reference(root / "a.png"), files)


def test_a_decompression_bomb_is_an_input_error(files, monkeypatch):
    for limit in (100, 500):  # an error of Pillow's, and a warning that is made one
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match="megapixels, and the limit is"):
            from_wire("image", png(), files)


def test_a_file_argument_is_checked_and_stays_a_reference_that_opens(files, root):
    (root / "a.bin").write_bytes(b"abc")
    ref = from_wire("file", FileRef(str(root / "a.bin"), "a.bin"), files)
    assert ref.read_bytes() == b"abc"
    with pytest.raises(InputNotFound):
        from_wire("file", FileRef(str(root / "b.bin"), "b.bin"), files)
