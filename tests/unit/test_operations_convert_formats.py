"""`convert.table`: each format into each, column options, and what JSON arrays, ORC and Excel can hold."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
import python_calamine
import xlsxwriter

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context, jsonarrays, jsonlines, workbooks
from workbench.operations.convert import table
from workbench.operations.tabular import as_text
from workbench.values.refs import FileRef

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "feather", "arrow", "orc", "xlsx")
NOON = datetime(2013, 6, 1, 12, 30, 15, 123000)

SIMPLE = pa.table(
    {
        "whole": pa.array([1, None, -3], pa.int64()),
        "number": pa.array([1.5, 0.1, None], pa.float64()),
        "text": ["=1+1", 'with "quotes", commas\nand lines', None],
        "flag": [True, None, False],
        "day": pa.array([date(2013, 1, 1), None, date(2014, 12, 31)]),
        "local": pa.array([NOON, None, datetime(2013, 1, 1)], pa.timestamp("ms")),
    }
)


@pytest.fixture
def notes(tmp_path: Path):
    """What the attempt notes."""
    attempt = context.Attempt()
    with context.attempt(tmp_path / "scratch", None, attempt):
        yield attempt.notes


@pytest.fixture(autouse=True)
def _scratch(notes: dict[str, str]):
    """Every test runs in an attempt."""


def ref(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


def write(tmp_path: Path, name: str, content: str | bytes) -> FileRef:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ref(path)


def parquet(tmp_path: Path, data: pa.Table | dict) -> FileRef:
    path = tmp_path / "a.parquet"
    pq.write_table(data if isinstance(data, pa.Table) else pa.table(data), path)
    return ref(path)


def cells(path: Path) -> list[list]:
    return python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()


@pytest.mark.parametrize(("start", "end"), list(product(FORMATS, FORMATS)))
def test_what_every_format_holds_survives_every_direction(tmp_path: Path, start: str, end: str):
    first = table(parquet(tmp_path, SIMPLE), start).rename(tmp_path / f"first.{start}")
    second = table(ref(first), end)
    assert second.name == f"first.{end}"
    found = pq.read_table(table(ref(second.rename(tmp_path / second.name)), "parquet"))
    assert found.cast(SIMPLE.schema).equals(SIMPLE)


# --- columns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", FORMATS)
def test_columns_are_chosen_ordered_and_renamed(tmp_path: Path, start: str):
    first = table(parquet(tmp_path, SIMPLE), start).rename(tmp_path / f"first.{start}")
    made = pq.read_table(table(ref(first), "parquet", columns=["text", "whole"], rename={"whole": "n"}))
    assert made.to_pydict() == {"text": SIMPLE["text"].to_pylist(), "n": [1, None, -3]}
    with pytest.raises(InvalidArguments, match=r"columns: first.* has no column 'x'\. Its columns: whole, number"):
        table(ref(first), "csv", columns=["x"])
    with pytest.raises(InvalidArguments, match=r"rename: first.* has no column 'x'"):
        table(ref(first), "csv", rename={"x": "y"})


def test_two_columns_cannot_get_one_name(tmp_path: Path):
    with pytest.raises(InputError, match="'b' occur more than once"):
        table(write(tmp_path, "a.csv", "a,b\n1,2\n"), "jsonl", rename={"a": "b"})


@pytest.mark.parametrize(("kind", "ending"), [("gzip", ".gz"), ("zstd", ".zst"), ("bz2", ".bz2")])
@pytest.mark.parametrize("to", ["csv", "tsv", "jsonl", "json"])
def test_text_is_compressed_as_asked_and_read_again(tmp_path: Path, to: str, kind: str, ending: str):
    made = table(write(tmp_path, "a.csv", "a,b\n1,x\n"), to, compression=kind)
    assert made.name == f"a.{to}{ending}"
    with pa.input_stream(str(made), compression=kind) as file:
        text = file.read()
    assert text == table(ref(tmp_path / "a.csv"), to).read_bytes()
    back = table(ref(made.rename(tmp_path / made.name)), "jsonl")
    assert back.read_text() == '{"a":1,"b":"x"}\n'
    cut = write(tmp_path, f"cut.{to}{ending}", (tmp_path / made.name).read_bytes()[:-4])
    with pytest.raises(InputError, match=rf"^cut\.{to}"):
        table(cut, "parquet")


@pytest.mark.parametrize(
    ("to", "compression"), [("orc", c) for c in ("zstd", "snappy", "zlib", "lz4", "none")] + [("arrow", "zstd")]
)
def test_orc_and_arrow_are_compressed_as_asked(tmp_path: Path, to: str, compression: str):
    made = table(write(tmp_path, "a.csv", "a\n1\n"), to, compression=compression)
    if to == "orc":
        assert pa.orc.ORCFile(made).compression.lower() == {"none": "uncompressed"}.get(compression, compression)
    assert table(ref(made), "jsonl").read_text() == '{"a":1}\n'


# --- JSON ---------------------------------------------------------------------------------------------

RECORDS = [
    {"n": number, "s": f'}}, {{"{number}\\ ]', "l": [{"x": number}, {"y": []}], "é": None} for number in range(300)
]


@pytest.mark.parametrize("block", [16, 64, 1000, 1 << 22])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_records_is_read_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, indent: int | None
):
    monkeypatch.setattr(jsonlines, "BLOCK", block)
    source = write(tmp_path, "a.json", "\ufeff \n" + json.dumps(RECORDS, indent=indent, ensure_ascii=False) + "\n ")
    made = pq.read_table(table(source, "parquet")).to_pylist()
    assert [(row["n"], row["s"], row["l"][0]["x"]) for row in made] == [
        (record["n"], record["s"], record["l"][0]["x"]) for record in RECORDS
    ]


def test_records_are_written_as_an_array_that_json_reads(tmp_path: Path):
    rows = [{"a": "line\nand \\n, {}", "b": 1}, {"a": "]", "b": None}]
    made = table(parquet(tmp_path, pa.Table.from_pylist(rows)), "json")
    assert json.loads(made.read_text()) == rows
    assert len(made.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1}\n{"a": 2}\n', r"no array of records.*JSON Lines"),
        ("null", "no array of records"),
        ('[{"a": 1}, {"a": 2}', "without a ]"),
        ('[{"a": 1}, {"a": ]', "record 1 or after"),
        ('[{"a": 1}, {"a": 2}, 3]', "record 3: it is not an object"),
        ('[{"a": 1}, {"a": "x"}]', "record 2: the column 'a' changes from number to string"),
    ],
)
def test_a_file_that_is_no_array_of_records_is_refused_with_the_record(tmp_path: Path, text: str, reason: str):
    with pytest.raises(InputError, match=rf"^a\.json.*{reason}"):
        table(write(tmp_path, "a.json", text), "parquet")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("depth", [jsonarrays.DEEPEST + 5, 500, 100_000])
def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path, name: str, depth: int):
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        value = f'{{"a": {opening * depth}1{closing * depth}}}'
        with pytest.raises(InputError, match="nested"):
            table(write(tmp_path, name, f"[{value}]" if name == "a.json" else f"{value}\n"), "parquet")


def test_a_record_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jsonlines, "BLOCK", 1000)
    monkeypatch.setattr(jsonarrays, "LONGEST_RECORD", 10_000)
    with pytest.raises(InputError, match="record 1: it has no end"):
        table(write(tmp_path, "a.json", '[{"a": "' + "x" * 50_000 + '"}]'), "parquet")


# --- ORC ----------------------------------------------------------------------------------------------


def test_types_that_orc_lacks_become_the_nearest(tmp_path: Path, notes: dict[str, str]):
    source = {
        "small": pa.array([1, None], pa.uint8()),
        "large": pa.array([2**63, None], pa.uint64()),
        "category": pa.array(["x", None]).dictionary_encode(),
        "nothing": pa.nulls(2),
        "clock": pa.array([time(1, 2, 3), None], pa.time64("us")),
        "nested": [[{"a": 1}], None],
    }
    made = pa.orc.read_table(table(parquet(tmp_path, source), "orc"))
    assert made.to_pydict() == {
        "small": [1, None],
        "large": [Decimal(2**63), None],
        "category": ["x", None],
        "nothing": [None, None],
        "clock": ["01:02:03.000000", None],
        "nested": [[{"a": 1}], None],
    }
    assert notes == {"as text": "ORC has no type for clock (time64[us])"}


# --- Excel --------------------------------------------------------------------------------------------


def test_a_sheet_holds_dates_as_dates_text_as_text_and_times_in_utc(tmp_path: Path, notes: dict[str, str]):
    source = {
        "text": ["=1+1", "https://x.org", "007"],
        "day": [date(2013, 1, 1), None, date(1815, 6, 18)],
        "zoned": pa.array([NOON.replace(tzinfo=UTC)] * 3, pa.timestamp("ns", "America/New_York")),
        "number": [float("nan"), float("inf"), 2.5],
        "large": [2**53 + 1, 1, None],
        "span": [timedelta(hours=30), None, None],
        "exact": [Decimal("0.10"), None, Decimal("12345678901234567890.12")],
    }
    made = table(parquet(tmp_path, source), "xlsx")
    header, *rows = cells(made)
    assert header == list(source)
    assert rows == [
        ["=1+1", date(2013, 1, 1), NOON, "", str(2**53 + 1), timedelta(hours=30), 0.1],
        ["https://x.org", "", NOON, "inf", 1.0, "", ""],
        ["007", "1815-06-18", NOON, 2.5, "", "", "12345678901234567890.12"],
    ]
    assert b"<f>" not in zipfile.ZipFile(made).read("xl/worksheets/sheet1.xml")
    assert "hyperlink" not in zipfile.ZipFile(made).read("xl/worksheets/sheet1.xml").decode()
    assert notes["time zones"] == "Excel has none: the times of zoned are in UTC"
    assert notes["as text"].endswith("of: day, exact, large, number")


def test_a_sheet_that_pandas_wrote_is_read(tmp_path: Path, notes: dict[str, str]):
    frame = pd.DataFrame(
        {"n": [1, 2], "x": [1.5, None], "s": ["a", "b"], "t": pd.to_datetime(["2013-01-01 00:00", "2013-01-02 10:00"])}
    )
    with pd.ExcelWriter(tmp_path / "a.xlsx", engine="xlsxwriter") as writer:
        pd.DataFrame({"other": [0]}).to_excel(writer, sheet_name="first", index=False)
        frame.to_excel(writer, sheet_name="second", index=False)
    made = pd.read_parquet(table(ref(tmp_path / "a.xlsx"), "parquet", sheet="second"))
    pd.testing.assert_frame_equal(made, frame, check_dtype=False)
    assert notes == {}
    assert table(ref(tmp_path / "a.xlsx"), "csv").read_text() == "other\n0\n"
    assert notes == {"sheet of a.xlsx": "'first', the first of 2: name another: sheet="}
    with pytest.raises(InvalidArguments, match=r"has no sheet 'third'. Its sheets: first, second"):
        table(ref(tmp_path / "a.xlsx"), "csv", sheet="third")


def sheet(tmp_path: Path, rows: list[list]) -> FileRef:
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as book:
        page = book.add_worksheet()
        for number, row in enumerate(rows):
            page.write_row(number, 0, row)
    return ref(tmp_path / "a.xlsx")


def test_cells_of_several_kinds_become_text_as_excel_shows_them(tmp_path: Path, notes: dict[str, str]):
    source = sheet(tmp_path, [["zip", "n"], [123, 1], ["A1", 2], [1.5, None], [True, 3]])
    assert pq.read_table(table(source, "parquet")).to_pydict() == {
        "zip": ["123", "A1", "1.5", "true"],
        "n": [1, 2, None, 3],
    }
    assert "zip" in notes["types of a.xlsx"]
    made = pq.read_table(table(source, "parquet", column_types={"n": "string"}))
    assert made["n"].to_pylist() == ["1", "2", None, "3"]
    with pytest.raises(InputError, match=r"column 'zip'.*column_types"):
        table(source, "parquet", column_types={"zip": "int64"})


def test_a_sheets_columns_have_different_names_and_one_without_is_called_as_pandas_calls_it(tmp_path: Path):
    assert table(sheet(tmp_path, [["a", None, "c"], [1, 2, 3]]), "csv").read_text() == "a,Unnamed: 1,c\n1,2,3\n"
    with pytest.raises(InputError, match="'a' occur more than once"):
        table(sheet(tmp_path, [["a", "a"], [1, 2]]), "csv")
    with pytest.raises(InputError, match="is empty"):
        table(sheet(tmp_path, []), "csv")


def test_what_stands_for_a_missing_value_in_csv_does_so_in_a_sheet(tmp_path: Path):
    source = sheet(tmp_path, [["n", "s"], [1, "NA"], ["NA", "x"]])
    assert pq.read_table(table(source, "parquet")).to_pydict() == {"n": [1, None], "s": [None, "x"]}
    made = pq.read_table(table(source, "parquet", null_values=["x"])).to_pydict()
    assert made == {"n": ["1", "NA"], "s": ["NA", None]}


def test_what_a_sheet_cannot_hold_is_refused_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workbooks, "ROWS", 4)
    assert len(cells(table(parquet(tmp_path, {"a": [1, 2, 3]}), "xlsx"))) == 4
    output = tmp_path / "out" / "a.xlsx"
    output.parent.mkdir()
    with pytest.raises(InvalidArguments, match=r"a sheet holds 4 rows.*convert\.split"):
        table(parquet(tmp_path, {"a": [1, 2, 3, 4]}), "xlsx", output=str(output))
    assert list(output.parent.iterdir()) == []
    with pytest.raises(InvalidArguments, match="32,767"):
        table(parquet(tmp_path, {"a": ["x" * 32_768]}), "xlsx")
    with pytest.raises(InvalidArguments, match="holds list"):
        table(parquet(tmp_path, {"a": [[1]]}), "xlsx")
    with pytest.raises(InvalidArguments, match="sheet:"):
        table(parquet(tmp_path, {"a": [1]}), "xlsx", sheet="a/b")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("early", ["1", "[[1]]", '{"b": [1]}'])
def test_what_is_nested_too_deeply_far_down_the_file_is_refused_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, early: str
):
    monkeypatch.setattr(jsonlines, "BLOCK", 64)
    deep = early.replace("1", "[" * 100_000 + "1" + "]" * 100_000)
    rows = [f'{{"a": {early}}}'] * 50 + [f'{{"a": {deep}}}']
    text = "\n".join(rows) if name == "a.jsonl" else f"[{','.join(rows)}]"
    with pytest.raises(InputError, match="nested"):
        table(write(tmp_path, name, text), "parquet")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Prague", "+05:30"])
def test_times_with_a_zone_are_written_as_arrow_writes_utc(unit: str, zone: str) -> None:
    moments = [0, -1, 1, 1_375_315_508, None, -62_135_596_800]  # the last one in seconds: the year 1
    column = pa.array(moments, pa.timestamp(unit, zone))
    expected = column.cast(pa.timestamp(unit, "UTC")).cast(pa.string())
    assert as_text(column).equals(expected)


@pytest.mark.parametrize("extension", ["feather", "parquet", "orc"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_that_is_no_utf8_is_refused_and_what_is_is_kept(tmp_path: Path, kind: pa.DataType, extension: str) -> None:
    def text(values: list[bytes | None]) -> pa.Table:
        bytes_ = pa.array(values, pa.large_binary() if kind == pa.large_string() else pa.binary())
        return pa.table({"x": bytes_.view(kind)})

    writers = {"feather": pa.feather.write_feather, "parquet": pq.write_table, "orc": pa.orc.write_table}
    writers[extension](text([b"abc", None, b"\xff"]), tmp_path / f"wrong.{extension}")
    with pytest.raises(InputError, match=rf"wrong\.{extension}: In column 0: Invalid: Invalid UTF8"):
        table(ref(tmp_path / f"wrong.{extension}"), "csv")
    writers[extension](text([b"abc", None, "äöü".encode(), b""]), tmp_path / f"right.{extension}")
    assert table(ref(tmp_path / f"right.{extension}"), "csv").read_text() == 'x\nabc\nNA\näöü\n""\n'
