"""Compressed text without end: however little memory it takes to stream, it is over after a gigabyte."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from tests.security.limits import tried
from workbench.core.errors import InputTooLarge
from workbench.operations.data.summaries import describe
from workbench.values import tables, unpacking

WORDS = "unpacks to more than 1.1 GB, 250 times its size or more. Such a file is refused as a decompression bomb"


def bomb(directory: Path, name: str) -> Path:
    """Members of blank lines, of which nothing is ever made."""
    path = directory / name
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": lambda text: bytes(pa.compress(text, "zstd"))}
    member = compress[path.suffix](b"\n" * 8_000_000)
    with path.open("wb") as file:
        file.write(compress[path.suffix](b'{"x": 1}\n' if ".jsonl" in name else b"x\n1\n"))
        for _ in range(250):
            file.write(member)
    return path


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.tsv.zst", "a.jsonl.gz"])
def test_a_bomb_that_is_streamed_ends_in_bounded_time(name: str, tmp_path: Path) -> None:
    call = "registry.get('convert.table').function(FileRef(PATH, Path(PATH).name), 'parquet')"
    went = tried(call, PATH=bomb(tmp_path, name))
    # Blank lines make no rows to be counted: Arrow, which unpacks CSV itself, then meets the limit on memory.
    assert went.kind in ({"InputTooLarge"} if "jsonl" in name else {"InputTooLarge", "ArrowMemoryError"}), went
    assert went.kind == "ArrowMemoryError" or went.text.startswith(f"{name} {WORDS}"), went
    assert went.seconds < 60, went


def test_a_bomb_that_is_read_as_a_frame_ends_in_the_same_error(tmp_path: Path) -> None:
    went = tried("tables.read_frame(Path(PATH), Path(PATH).name)", PATH=bomb(tmp_path, "a.csv.gz"), megabytes=2048)
    assert went.kind == "InputTooLarge", went


def test_text_is_read_that_is_small_or_not_compressed_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, fair, unfair = (tmp_path / name for name in ("small.csv.gz", "fair.csv.gz", "unfair.csv.gz"))
    small.write_bytes(gzip.compress(b"x\n" + b"0\n" * 4_000_000))
    assert describe(small)["x"]["count"] == 4_000_000
    fair.write_bytes(gzip.compress(b"x\n" + b"".join(b"%d\n" % number for number in range(100_000))))
    unfair.write_bytes(gzip.compress(b"x\n" + b"0\n" * 100_000))
    monkeypatch.setattr(unpacking, "FREE", 10_000)
    assert describe(fair)["x"]["count"] == len(tables.read_frame(fair, fair.name)) == 100_000
    for read in (describe, lambda path: tables.read_table(path, path.name)):
        with pytest.raises(InputTooLarge, match=r"^unfair\.csv\.gz unpacks to more than"):
            read(unfair)
