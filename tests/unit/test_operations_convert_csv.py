"""`convert.table` and what CSVs are in reality: encodings, delimiters, decimal commas, rows of the wrong length."""

from __future__ import annotations

import csv
import gzip
import io
import time
import weakref
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wait_until
from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, csvfiles, csvtext, jsonlines
from workbench.operations.convert import table
from workbench.operations.tabular import Options, Source
from workbench.values.refs import FileRef

WESTERN = "Straße, œuvre; déjà-vu: «été», “naïve” — 5 €, señor\u2019s Þórr\n"


@pytest.fixture
def notes(tmp_path: Path):
    """What the attempt notes."""
    attempt = context.Attempt()
    with context.attempt(tmp_path / "scratch", None, attempt):
        yield attempt.notes


@pytest.fixture(autouse=True)
def _scratch(notes: dict[str, str]):
    """Every test runs in an attempt."""


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csvfiles, "BLOCK", 64)
    monkeypatch.setattr(jsonlines, "BLOCK", 64)
    monkeypatch.setattr(csvtext, "SAMPLE", 64)


def write(tmp_path: Path, name: str, content: str | bytes) -> FileRef:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return FileRef(str(path), name)


def read(source: FileRef, **options) -> dict[str, list]:
    made = table(source, "parquet", **options)
    return pq.read_table(made["table"] if isinstance(made, dict) else made).to_pydict()


# --- encodings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_encoding_that_the_bytes_leave_no_doubt_of_is_recognised(
    tmp_path: Path, encoding: str, zipped: bool, notes: dict[str, str]
):
    text = f'n,text\n1,"{WESTERN.strip()}"\n2,plain\n'.encode(encoding)
    source = write(tmp_path, "a.csv.gz" if zipped else "a.csv", gzip.compress(text) if zipped else text)
    assert read(source) == {"n": [1, 2], "text": [WESTERN.strip(), "plain"]}
    assert (f"encoding of {source.name}" in notes) is not encoding.startswith("utf-8")


@pytest.mark.usefixtures("small_blocks")
def test_latin_1_that_shows_only_late_in_the_file_is_recognised_as_well(tmp_path: Path, notes: dict[str, str]):
    rows = [f"{number},plain" for number in range(100)] + ["100,café"]
    source = write(tmp_path, "a.csv", ("n,text\n" + "\n".join(rows) + "\n").encode("latin-1"))
    assert read(source)["text"][-1] == "café"
    assert notes["encoding of a.csv"].startswith("cp1252")
    assert table(source, "csv").read_text().endswith("100,café\n")


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859-2"])
def test_what_may_be_of_another_encoding_of_latin_letters_is_assumed_to_be_western_and_that_is_told(
    tmp_path: Path, encoding: str, notes: dict[str, str]
):
    source = write(tmp_path, "a.csv", "n,composer\n1,Dvořák\n".encode(encoding))
    assert read(source)["composer"] == ["Dvoøák"]
    told = notes["encoding of a.csv"]
    assert told.startswith("cp1252 (with Latin-1) is assumed")
    assert "pass encoding=" in told
    notes.clear()
    assert table(source, "csv", encoding=encoding).read_text() == "n,composer\n1,Dvořák\n"
    assert notes == {}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("имя,n\nжил,1\n", "cp1251"),
        ("名前,n\n虫,1\n", "shift_jis"),
        ("n,x\n1,Łódź\n", "cp1250"),
        ("όνομα,n\nx,1\n", "cp1253"),
    ],
)
def test_an_encoding_in_doubt_is_an_error_and_read_when_it_is_given(tmp_path: Path, text: str, encoding: str):
    source = write(tmp_path, "a.csv", text.encode(encoding))
    with pytest.raises(InputError, match=r"pass its encoding, .*encoding='latin-1'"):
        table(source, "parquet")
    assert table(source, "csv", encoding=encoding).read_text() == text


def test_what_is_no_text_at_all_never_becomes_a_column_of_bytes(tmp_path: Path):
    with pytest.raises(InputError):
        table(write(tmp_path, "a.csv", b"a,b\n1,\x00\xff\xfe\x81\n"), "parquet")
    with pytest.raises(InputError, match="is not ascii"):
        table(write(tmp_path, "a.csv", "a\né\n"), "parquet", encoding="ascii")


# --- delimiters and numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_delimiter_that_the_first_rows_leave_no_doubt_of_is_taken(
    tmp_path: Path, delimiter: str, notes: dict[str, str]
):
    rows = [["name", "price", "note"], ["a", "1,5", "x"], ["b", "2,25", "y,z"]]
    source = write(tmp_path, "a.csv", "\n".join(delimiter.join(row) for row in rows))
    assert read(source, decimal=",") == {"name": ["a", "b"], "price": [1.5, 2.25], "note": ["x", "y,z"]}
    assert notes["delimiter of a.csv"].startswith(repr(delimiter))


@pytest.mark.parametrize(
    "text", ["a,b;c\n1,2;3\n", "a;b\n", "a\n1;2\n", "a\n1\n2\n", "a,b\n1;x,2\n3,4\n", "a;b\n1;2\n3\n", "a;b|c\n1;2|3\n"]
)
def test_where_the_delimiter_is_in_doubt_it_is_a_comma(tmp_path: Path, text: str, notes: dict[str, str]):
    found = table(write(tmp_path, "a.csv", text), "jsonl")
    assert "delimiter of a.csv" not in notes
    assert found.stat().st_size or text.count("\n") == 1


def test_a_decimal_comma_becomes_a_point(tmp_path: Path):
    source = write(tmp_path, "a.csv", "x;y\n1,5;a\n-0,25;b\n")
    assert table(source, "csv", decimal=",").read_text() == "x,y\n1.5,a\n-0.25,b\n"
    with pytest.raises(InvalidArguments, match="decimal"):
        table(source, "csv", decimal="")


# --- types ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "n,x\n" + "1,1\n" * 50 + "2,2.5\n"),
        ("a.jsonl", '{"n": 1, "x": 1}\n' * 50 + '{"n": 2, "x": 2.5}\n'),
        ("a.json", "[" + '{"n": 1, "x": 1},' * 50 + '{"n": 2, "x": 2.5}]'),
    ],
)
def test_a_type_that_a_later_row_widens_is_reported(tmp_path: Path, name: str, text: str, notes: dict[str, str]):
    assert read(write(tmp_path, name, text))["x"][-1] == 2.5
    assert notes == {f"types of {name}": "widened as later rows ask for: x: int64 → double"}


# --- rows of the wrong length -----------------------------------------------------------------------------

BAD = 'a,b\n1,x\n\n2\n"3\n3",y\n4,"z\nz",5\n6,w\n7,8,9\n'


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("on_bad_rows", ["skip", "warn"])
def test_bad_rows_are_left_out_and_told_with_their_lines(
    tmp_path: Path, zipped: bool, encoding: str, on_bad_rows: str, notes: dict[str, str], caplog
):
    text = BAD.encode(encoding)
    source = write(tmp_path, "a.csv.gz" if zipped else "a.csv", gzip.compress(text) if zipped else text)
    made = table(source, "parquet", on_bad_rows=on_bad_rows)
    assert pq.read_table(made["table"]).to_pydict() == {"a": ["1", "3\n3", "6"], "b": ["x", "y", "w"]}
    assert made["rejects"].name == "a.rejects.csv"
    with made["rejects"].open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "reason", "row"],
            ["4", "it has 1 fields where 2 were expected", "2"],
            ["7", "it has 3 fields where 2 were expected", '4,"z\nz",5'],
            ["10", "it has 3 fields where 2 were expected", "7,8,9"],
        ]
    assert notes[f"bad rows of {source.name}"] == "3 left out, in lines 4, 7, 10"
    assert ("line 4: it has 1 fields" in caplog.text) is (on_bad_rows == "warn")


def test_bad_rows_are_told_once_though_the_types_were_settled(tmp_path: Path, small_blocks: None):
    source = write(tmp_path, "a.csv", "n,x\n" + "1,1\n" * 50 + "1,2,3\n" + "2,text\n")
    made = table(source, "csv", on_bad_rows="skip", columns=["x"])
    assert made["table"].read_text().splitlines()[-2:] == ["1", "text"]
    assert pd.read_csv(made["rejects"])["line"].tolist() == [52]


def test_without_bad_rows_the_rejects_are_none(tmp_path: Path):
    made = table(write(tmp_path, "a.csv", "a,b\n1,2\n"), "jsonl", on_bad_rows="skip")
    assert made["rejects"].read_text() == "line,reason,row\n"
    made = table(write(tmp_path, "a.jsonl", '{"a": 1}\n'), "csv", on_bad_rows="skip")
    assert made["rejects"].read_text() == "line,reason,row\n"


def test_more_bad_rows_than_can_be_exceptions_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csvfiles, "MOST_BAD_ROWS", 10)
    with pytest.raises(InputError, match=r"more than 10 rows .*delimiter="):
        table(write(tmp_path, "a.csv", "a,b\n" + "1\n" * 11), "jsonl", on_bad_rows="skip")


# --- what is written --------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=6),
            st.none() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53).map(float),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([",", ";", "\t", " "]),
)
def test_whatever_is_written_reads_back_equal(rows: list, delimiter: str):
    made = pa.table(
        {
            "s": pa.array([row[0] for row in rows], pa.string()),
            "x": pa.array([row[1] for row in rows], pa.float64()),
            "n": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    path = context.scratch_file("a.csv")
    from workbench.operations.csvwriting import csv_writer

    with csv_writer(path, made.schema, "none", delimiter) as put:
        for batch in made.slice(len(rows) // 2).to_batches() + made.slice(0, len(rows) // 2).to_batches():
            put(batch)
    back = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=made.schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    assert back.equals(pa.concat_tables([made.slice(len(rows) // 2), made.slice(0, len(rows) // 2)]))


# --- reading ahead ------------------------------------------------------------------------------------


def test_a_file_isnt_closed_while_a_reader_that_was_left_reads_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: weakref.WeakSet[SlowFile] = weakref.WeakSet()
    reads: list[bool] = []  # whether the file was closed meanwhile: its descriptor may be another file's by then

    class SlowFile(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            time.sleep(0.01)
            reads.append(self.closed)
            return b"" if self.closed else super().read(size)

        def __del__(self) -> None:
            self.close()

    def slow_stream(path: str, _: object) -> pa.PythonFile:
        file = SlowFile(path)
        opened.add(file)
        return pa.PythonFile(file, "r")

    monkeypatch.setattr(pa, "input_stream", slow_stream)
    monkeypatch.setattr(csvfiles, "BLOCK", 1 << 10)
    source = write(tmp_path, "a.csv", "x\n" + "1\n" * (1 << 16))
    reader = csvfiles.CsvReader(Source(Path(source.uri), "a.csv", "csv", None), Options())
    for _ in range(5):
        with reader.open():
            pass
    wait_until(lambda: not opened, what="the last thread has left its file")
    assert reads
    assert not any(reads)
