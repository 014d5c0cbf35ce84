from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pytest

from workbench.core.errors import InputError
from workbench.operations import csvfiles, csvpieces, formats, reading
from workbench.operations.tabular import Options
from workbench.values.refs import FileRef

WORDS = ("a", "", "NA", "1", "2.5", "x y", "é", '"q"', '"two\nlines"', '"say ""so"""', "2013-01-01")


def read(path: Path) -> pa.Table:
    source = formats.source_of(FileRef(str(path), path.name))
    reader = formats.reader_of(source, Options(), None, None)

    def whole() -> pa.Table:
        with reader.open() as (schema, batches):
            return pa.Table.from_batches(list(batches), schema)

    return reading.settled(whole, reader)


def both_ways(path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> list[pa.Table | str]:
    """Read a file in pieces and as a stream; return tables, or the words of errors."""
    found: list[pa.Table | str] = []
    monkeypatch.setattr(csvfiles, "BLOCK", 64)
    for room in (0, 1 << 60):
        monkeypatch.setattr(csvpieces, "PIECE", piece)
        monkeypatch.setattr(csvpieces, "ROOM", room)
        try:
            found.append(read(path))
        except InputError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_file_in_pieces_is_read_as_one_that_is_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    words = WORDS if seed % 3 else [word for word in WORDS if '"' not in word]
    end = chance.choice(["\n", "\r\n"])
    rows = ["x,y,z", *(",".join(chance.choices(words, k=3)) for _ in range(chance.randrange(120)))]
    for _ in range(chance.randrange(4)):
        rows.insert(chance.randrange(1, len(rows) + 1), "")
    if seed % 10 == 0:
        rows.insert(chance.randrange(1, len(rows) + 1), "1,2")  # a field is missing
    text = chance.choice(["", "\ufeff"]) + end.join(rows) + chance.choice(["", end, end * 40])
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    pieces, stream = both_ways(path, monkeypatch, chance.randrange(60, 300))
    assert pieces == stream


def test_most_of_a_file_without_quotes_goes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    pieces = csvpieces.pieces

    def counted(file: io.BufferedReader) -> object:
        for piece in pieces(file):
            parsed.append(piece.nbytes)
            yield piece

    monkeypatch.setattr(csvpieces, "pieces", counted)
    monkeypatch.setattr(csvpieces, "PIECE", 1000)
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "1,2\n" * 1000 + '3,"4"\n' + "5,6\n" * 1000)
    table = read(path)
    assert table.num_rows == 2001
    assert 3000 <= sum(parsed) <= 4000


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ("1,2,3\n", "a.csv, line 5002: it has 3 fields where 2 were expected"),
        ("1,\udcff\n", "a.csv is not UTF-8"),
    ],
)
def test_what_is_wrong_in_a_later_piece_is_told_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str, words: str
) -> None:
    path = tmp_path / "a.csv"
    text = "x,y\n" + "1,2\n" * 5000 + later + "1,2\n" * 5000
    path.write_bytes(text.encode(errors="surrogateescape") + ("é" * 100).encode())
    for found in both_ways(path, monkeypatch, 2000):
        assert words in str(found)


def test_a_later_piece_that_contradicts_the_first_widens_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n" + "1\n" * 5000 + "2.5\n" * 5000)
    pieces, stream = both_ways(path, monkeypatch, 2000)
    assert isinstance(pieces, pa.Table)
    assert pieces.schema.field("x").type == pa.float64()
    assert pieces == stream


def test_a_header_in_quotes_and_lines_that_end_in_a_return_alone_are_streamed() -> None:
    assert csvpieces.skip_header(io.BytesIO(b'"x",y\n1,2\n')) == 0
    assert csvpieces.skip_header(io.BytesIO(b"x,y\r1,2\r\n")) == 0
    assert csvpieces.skip_header(io.BytesIO(b"x,y")) == 0
    assert csvpieces.skip_header(io.BytesIO(b"\xef\xbb\xbf\r\n\nx,y\r\n1,2\n")) == 11
