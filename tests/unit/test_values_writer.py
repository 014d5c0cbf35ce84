from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from workbench.core.errors import StoreError
from workbench.values import writer
from workbench.values.store import Store

PIECE = os.urandom(1 << 20)


def put(store: Store, pieces: int) -> str:
    with store.writer() as written:
        for _ in range(pieces):
            written.write(PIECE)
    return written.key


def test_what_is_written_in_pieces_of_any_size_has_the_digest_of_the_whole(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    pieces = [random.Random(size).randbytes(size) for size in (10, 300_000, 1, 0, 2_000_000, 40_000_000, 7)]
    with store.writer() as written:
        for piece in pieces:
            assert written.write(memoryview(piece)) == len(piece)
    whole = b"".join(pieces)
    assert written.size == len(whole)
    assert written.key == store.put_bytes(whole)
    assert store.read_bytes(written.key) == whole
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith(("workbench dig", "workbench set"))
    ]


def test_the_disk_is_at_work_while_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(writer, "_fdatasync", slow)
    with Store(str(tmp_path)).writer() as written:
        for _ in range(200):  # none of them waits for the disk
            written.write(PIECE)
        assert begun.wait(30)
        go_on.set()
    assert written.size == 200 << 20


def test_what_the_disk_says_meanwhile_fails_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(writer, "_fdatasync", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        put(Store(str(tmp_path)), 33)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_where_no_other_thread_can_be_started_all_is_done_in_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[int] = []

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(writer, "_fdatasync", settled.append)
    digest = blake3(PIECE * 70).hexdigest()
    assert put(Store(str(tmp_path)), 70) == f"blake3/{digest[:2]}/{digest[2:]}"
    assert len(settled) == 2
