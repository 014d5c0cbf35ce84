"""Compressed text without end: however little memory it takes to stream, it is over after a gigabyte."""

from __future__ import annotations

import bz2
import collections
import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from tests.security.limits import tried
from tests.security.received import read
from workbench.core.errors import InputError, InputTooLarge
from workbench.operations import csvfiles, tabular
from workbench.operations.csvfiles import CsvReader
from workbench.operations.data.summaries import describe
from workbench.values import unpacking

WORDS = "unpacks to more than {}, 250 times its size or more. Such a file is refused as a decompression bomb"
QUARTER = "setattr(unpacking, 'FREE', 1 << 28) or "
"""Put before an expression: enough is less, and the test sooner over."""


def bomb(directory: Path, name: str, members: int) -> Path:
    """Members of blank lines, of which nothing is ever made, each of eight megabytes."""
    path = directory / name
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": lambda text: bytes(pa.compress(text, "zstd"))}
    member = compress[path.suffix](b"\n" * 8_000_000)
    with path.open("wb") as file:
        start = b"x\n" if name.startswith("header") else b"x\n1\n"
        file.write(compress[path.suffix](b'{"x": 1}\n' if ".jsonl" in name else start))
        for _ in range(members):
            file.write(member)
    return path


@pytest.mark.parametrize(
    ("name", "first", "members", "most"),
    [
        ("a.csv.gz", "", 250, "1.1 GB"),
        *((name, QUARTER, 70, "268.4 MB") for name in ("a.csv.bz2", "a.tsv.zst", "a.jsonl.gz", "header.csv.gz")),
    ],
)
def test_a_bomb_that_is_streamed_ends_in_bounded_time(
    name: str, first: str, members: int, most: str, tmp_path: Path
) -> None:
    call = "registry.get('convert.table').function(FileRef(PATH, Path(PATH).name), 'parquet')"
    went = tried(first + call, PATH=bomb(tmp_path, name, members))
    assert (went.how, went.kind) == ("raised", "InputTooLarge"), went
    assert went.text.startswith(f"{name} {WORDS.format(most)}"), went
    assert went.seconds < 60, went


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("shape", ["numbers", "texts", "blank lines", "rows of too few fields"])
def test_what_a_streamed_csv_unpacks_to_is_counted_as_it_is_whatever_becomes_of_it(
    shape: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a block: eight megabytes of text are too much where seven are allowed, and not where nine are."""
    line = {
        "numbers": "1,2\n",
        "texts": "abcdefgh,ijklmnop\n",
        "blank lines": "\n",
        "rows of too few fields": "1" * 99 + "\n",
    }[shape]
    times = min((8 << 20) // len(line), 90_000 if "few" in shape else 1 << 30)
    text = "x,y\n1,2\n" + line * times
    path = tmp_path / "a.csv.gz"
    with path.open("wb") as file:  # many small members, as bgzip and others write
        for start in range(0, len(text), 1 << 19):
            file.write(
                gzip.compress(text[start : start + (1 << 19)].encode(encoding if not start else _inner(encoding)))
            )
    monkeypatch.setattr(unpacking, "TIMES", 0)
    monkeypatch.setattr(tabular, "unpacked", lambda file, path, name: file)  # what else looks at the file isn't meant
    options = tabular.Options(on_bad_rows="skip", encoding=encoding)
    for most, enough in ((len(text) - (2 << 20), False), (len(text) + (2 << 20), True)):
        monkeypatch.setattr(unpacking, "FREE", most)
        with CsvReader(tabular.source_of(path, path.name), options).open() as (_, batches):
            if enough:
                assert sum(batch.num_rows for batch in batches) == 1 + (times if shape in ("numbers", "texts") else 0)
            else:
                with pytest.raises(InputTooLarge, match=r"^a\.csv\.gz unpacks to more than"):
                    collections.deque(batches, 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_blank_lines_before_the_first_row_are_counted_as_arrow_reads_to_their_end_at_once(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(("x\n" + "\n" * (8 << 20) + "1\n").encode(encoding), 1))
    source = tabular.source_of(path, path.name)
    with CsvReader(source, tabular.Options()).open() as (_, batches):
        assert sum(batch.num_rows for batch in batches) == 1
    monkeypatch.setattr(unpacking, "TIMES", 0)
    monkeypatch.setattr(unpacking, "FREE", 6 << 20)
    with pytest.raises(InputTooLarge, match=r"^a\.csv\.gz unpacks to more than"):
        CsvReader(source, tabular.Options())


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_table_that_begins_with_blank_lines_without_end_is_an_error_and_not_an_empty_table(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    text = b"\r\n" * (1 << 20) + b"x\n1\n"
    path.write_bytes(gzip.compress(text, 1) if name.endswith("gz") else text)
    with pytest.raises(InputError, match=rf"^{name} begins with 1,048,576 bytes of blank lines or more, and no header"):
        CsvReader(tabular.source_of(path, name), tabular.Options())
    path.write_bytes(gzip.compress(text[-1000:], 1) if name.endswith("gz") else text[-1000:])
    with CsvReader(tabular.source_of(path, name), tabular.Options()).open() as (_, batches):
        assert sum(batch.num_rows for batch in batches) == 1


def test_rows_that_are_left_out_are_kept_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n" + ("a" * 99_999 + "\n") * 30)
    options = tabular.Options(on_bad_rows="skip")
    for most in (3_000_000, 2_900_000):
        monkeypatch.setattr(csvfiles, "MOST_BAD_TEXT", most)
        with CsvReader(tabular.source_of(path, path.name), options).open() as (_, batches):
            if most == 3_000_000:
                assert sum(batch.num_rows for batch in batches) == 1
            else:
                with pytest.raises(
                    InputError, match=r"100,000 rows \(or 2\.9 MB of them\) have another number of fields"
                ):
                    collections.deque(batches, 0)


def _inner(encoding: str) -> str:
    return "utf-16-le" if encoding == "utf-16" else encoding


def test_a_bomb_that_is_read_as_a_frame_ends_in_the_same_error(tmp_path: Path) -> None:
    call = "read('frame', PATH)"
    went = tried(QUARTER + call, PATH=bomb(tmp_path, "a.csv.gz", 70), megabytes=2048)
    assert (went.how, went.kind) == ("raised", "InputTooLarge"), went
    assert went.text.startswith(f"a.csv.gz {WORDS.format('268.4 MB')}"), went


def test_text_is_read_that_is_small_or_not_compressed_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, fair, unfair = (tmp_path / name for name in ("small.csv.gz", "fair.csv.gz", "unfair.csv.gz"))
    small.write_bytes(gzip.compress(b"x\n" + b"0\n" * 4_000_000))
    assert describe(small)["x"]["count"] == 4_000_000
    fair.write_bytes(gzip.compress(b"x\n" + b"".join(b"%d\n" % number for number in range(100_000))))
    unfair.write_bytes(gzip.compress(b"x\n" + b"0\n" * 100_000))
    monkeypatch.setattr(unpacking, "FREE", 10_000)
    assert describe(fair)["x"]["count"] == len(read("frame", str(fair))) == 100_000
    for use in (describe, lambda path: read("table", str(path))):
        with pytest.raises(InputTooLarge, match=r"^unfair\.csv\.gz unpacks to more than"):
            use(unfair)
