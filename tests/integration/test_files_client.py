"""Files go into the store and come out of it at a user's wish: in chunks, told of, complete or not at all."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from tests.support import wait_until
from workbench.broker.node import Node
from workbench.client import bar
from workbench.client.transfer import download, upload
from workbench.core.errors import InputNotFound, InvalidArguments, PathRefused, StoreError
from workbench.core.settings import Settings
from workbench.values.files import Files
from workbench.values.refs import FileRef

LARGE = random.Random(3).randbytes(20 << 20)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "root").mkdir()
    return Files(str(tmp_path / "store"), [str(tmp_path / "root")])


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    return path


def left_in(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file()]


# --- with a workbench -------------------------------------------------------------------------------


def test_what_is_uploaded_is_an_argument_and_a_result_is_downloaded(client: wb.Client, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(1000), "b": ["x", "y"] * 500})
    (tmp_path / "table.csv").write_text(frame.to_csv(index=False))
    ref = client.upload(tmp_path / "table.csv")
    assert ref.stored
    (tmp_path / "table.csv").unlink()
    made = client.submit("convert.table", ref, to="parquet").result(60)
    pd.testing.assert_frame_equal(made.preview(3), frame.head(3))
    path = client.download(made, tmp_path)
    assert path == tmp_path / "table.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)


def test_a_producer_uploads_and_downloads_without_a_tracker(node: Node, tmp_path: Path) -> None:
    settings = Settings(broker_url=node.url, store=str(tmp_path / "store"))
    (tmp_path / "a.txt").write_text("text")
    with wb.Producer(settings=settings) as producer:
        ref = producer.upload(tmp_path / "a.txt")
        assert producer.download(ref, tmp_path / "b.txt").read_text() == "text"
        by_hand = FileRef(ref.uri, "c.txt")
        assert producer.download(by_hand, tmp_path).read_text() == "text"


# --- the ways ---------------------------------------------------------------------------------------


def test_both_ways_are_told_of_in_chunks_up_to_the_end(files: Files, large: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    ref = upload(files, large, lambda *step: told.append(step))
    assert [done for done, _ in told] == [(index + 1) << 20 for index in range(20)]
    assert {total for _, total in told} == {len(LARGE)}
    told.clear()
    copy = download(files, ref, tmp_path / "copy.bin", lambda *step: told.append(step))
    assert copy.read_bytes() == LARGE
    assert told[-1] == (len(LARGE), len(LARGE))
    assert len(told) == 20


def test_an_empty_file_is_told_of_once(files: Files, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    told: list[tuple[int, int]] = []
    ref = upload(files, tmp_path / "empty", lambda *step: told.append(step))
    assert told == [(0, 0)]
    assert download(files, ref, tmp_path / "copy").read_bytes() == b""


def test_a_file_below_a_root_is_uploaded_as_it_is_now(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "root" / "a.txt"
    path.write_text("before")
    ref = upload(files, path)
    path.write_text("after")
    assert ref.read_bytes() == b"before"
    assert upload(files, ref) == ref
    assert files.reference(path).read_bytes() == b"after"
    assert download(files, files.reference(path), tmp_path).read_text() == "after"


def test_what_cannot_be_uploaded_or_downloaded_says_why(files: Files, tmp_path: Path) -> None:
    with pytest.raises(InputNotFound, match="spelling"):
        upload(files, tmp_path / "gone.csv")
    with pytest.raises(InvalidArguments, match="one by one"):
        upload(files, tmp_path)
    with pytest.raises(PathRefused, match="URL"):
        upload(files, "https://example.com/a.csv")
    with pytest.raises(StoreError, match="WORKBENCH_STORE"):
        upload(Files(""), __file__)
    with pytest.raises(InvalidArguments, match="FileRef"):
        download(files, "a.csv", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(PathRefused, match="shared roots"):
        download(files, FileRef("/etc/hostname", "hostname"), tmp_path)
    with pytest.raises(StoreError, match="retention"):
        download(files, FileRef("store:blake3/ab/" + "c" * 62, "gone"), tmp_path)
    with pytest.raises(StoreError, match="not a key"):
        download(files, FileRef("store:../../etc/passwd", "x"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


# --- interrupted ------------------------------------------------------------------------------------


def test_an_upload_that_is_interrupted_leaves_nothing(files: Files, large: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(files, large, interrupt)
    assert left_in(tmp_path / "store") == []


def test_a_download_that_is_interrupted_leaves_what_was_there(files: Files, large: Path, tmp_path: Path) -> None:
    ref = upload(files, large)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "large.bin").write_text("mine")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(files, ref, tmp_path / "out", interrupt)
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["mine"]


def _upload_and_hang(files: Files, path: Path, half: Path) -> None:
    def hang(done: int, total: int) -> None:
        if done > total // 2:
            half.touch()
            signal.pause()

    upload(files, path, hang)


def test_an_upload_that_is_killed_leaves_nothing_under_a_key(files: Files, large: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    process = multiprocessing.get_context("spawn").Process(target=_upload_and_hang, args=(files, large, half))
    process.start()
    wait_until(half.exists, what="half of it is through")
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert [path.parent.name for path in left_in(tmp_path / "store")] == ["tmp"]  # which a sweep removes
    assert upload(files, large).read_bytes() == LARGE


# --- the bar ----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_large_file_fills_a_line_in_a_terminal(
    files: Files, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(bar, "_EVERY", 0.0)
    upload(files, large)
    lines = terminal.getvalue().split("\r")
    assert lines[1].startswith("↑ large.bin █░░░")
    assert lines[-1] == f"↑ large.bin {'█' * 24} 100% of 21.0 MB\n"


def test_a_small_file_or_one_that_nobody_watches_or_that_tells_somebody_else_is_silent(
    files: Files, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(files, large)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    (tmp_path / "small").write_bytes(b"x" * 1000)
    upload(files, tmp_path / "small")
    upload(files, large, lambda done, total: None)
    assert terminal.getvalue() == ""


def test_a_notebook_gets_the_line_where_its_cell_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    out = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(bar, "_EVERY", 0.0)
    with bar.Bar("↓ a", bar.LARGE) as line:
        line(bar.LARGE, bar.LARGE)
    monkeypatch.undo()
    assert out.getvalue() == f"\r↓ a {'█' * 24} 100% of 16.8 MB\n"
