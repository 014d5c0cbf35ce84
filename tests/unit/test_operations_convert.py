import csv
import gzip
import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from workbench import samples
from workbench.core.errors import InputError, InputNotFound, InvalidArguments
from workbench.operations import context, csvfiles, jsonlines
from workbench.operations.convert import table
from workbench.values.refs import FileRef

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "feather", "arrow", "orc")
NOON = datetime(2013, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)

MIXED = pa.table(
    {
        "whole": pa.array([1, None, -3], pa.int64()),
        "number": pa.array([1.0, 0.1, None], pa.float64()),
        "text": ["plain", 'with "quotes", commas\nand lines', None],
        "tricky": ["NA", "", "null"],
        "flag": [True, None, False],
        "day": pa.array([date(2013, 1, 1), None, date(2014, 12, 31)]),
        "local": pa.array([NOON.replace(tzinfo=None), None, datetime(2013, 1, 1)], pa.timestamp("ns")),
        "zoned": pa.array([NOON, None, NOON + timedelta(days=1)], pa.timestamp("ns", "UTC")),
    }
)


def ref(path: Path) -> FileRef:
    return FileRef(str(path), path.name)


def write(tmp_path: Path, name: str, content: str | bytes) -> FileRef:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ref(path)


def read(path: Path) -> pa.Table:
    """Read any of the formats into a table by way of Parquet."""
    if path.suffix in (".feather", ".arrow"):
        return pyarrow.feather.read_table(path)
    return pq.read_table(path if path.suffix == ".parquet" else table(ref(path), "parquet"))


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path):
    with context.attempt(tmp_path / "scratch"):
        yield


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.flights(tmp_path_factory.mktemp("flights"))


# --- every direction --------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), list(product(FORMATS, FORMATS)))
def test_a_table_survives_every_direction_and_back(tmp_path: Path, start: str, end: str):
    pq.write_table(MIXED, tmp_path / "mixed.parquet")
    first = table(ref(tmp_path / "mixed.parquet"), start)  # type: ignore[arg-type]
    first = first.rename(tmp_path / f"first.{start}")

    second = table(ref(first), end)  # type: ignore[arg-type]

    assert second.name == f"first.{end}"
    found = read(second)
    assert found.schema.names == MIXED.schema.names
    assert found.cast(MIXED.schema).equals(MIXED)
    assert found.schema.types == MIXED.schema.types


def test_the_flights_become_the_parquet_that_arrow_would_write(flights: Path, tmp_path: Path):
    made = pq.read_table(table(ref(flights), "parquet"))

    assert made.num_rows == samples.FLIGHTS
    expected = pd.read_csv(flights, parse_dates=["time_hour"])
    found = made.to_pandas()
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False, check_column_type=False)
    assert pa.types.is_timestamp(made.schema.field("time_hour").type)


@pytest.mark.parametrize("end", ["jsonl", "feather"])
def test_the_flights_survive_a_round_trip(flights: Path, end: str):
    there = table(ref(flights), end)  # type: ignore[arg-type]
    with there.open("rb") as file:
        assert end == "feather" or sum(1 for _ in file) == samples.FLIGHTS

    back = table(ref(there), "csv")

    times = ["time_hour"]
    assert pd.read_csv(back, parse_dates=times).equals(pd.read_csv(flights, parse_dates=times))


# --- memory -----------------------------------------------------------------------------------------

_MEASURE = """
import resource, sys
from workbench.operations.convert import table
from workbench.values.refs import FileRef
small, large, to = sys.argv[1:]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
table(FileRef(small, small.rpartition("/")[2]), to)
before = peak()
table(FileRef(large, large.rpartition("/")[2]), to)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("start", "end"), [("csv", "feather"), ("jsonl", "csv"), ("parquet", "csv"), ("feather", "parquet")]
)
def test_a_large_table_takes_little_more_memory_than_a_small_one(tmp_path: Path, start: str, end: str):
    block = pa.table({"number": pa.array(range(100_000)), "text": [f"{n:0100}" for n in range(100_000)]})
    files = []
    for name, times in (("small", 2), ("large", 16)):  # 20 and 160 MB
        files.append(tmp_path / f"{name}.{start}")
        _write_blocks(files[-1], block, times)

    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *map(str, files), end],
        capture_output=True,
        text=True,
        check=True,
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )

    assert int(done.stdout) < 80e6


def _write_blocks(path: Path, block: pa.Table, times: int) -> None:
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, block.schema) as writer:
            for _ in range(times):
                writer.write_table(block)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(pa.concat_tables([block] * times), path, chunksize=10_000_000)
    else:
        one = path.with_name(f"block{path.suffix}")
        pq.write_table(block, path.with_suffix(".one.parquet"))
        table(ref(path.with_suffix(".one.parquet")), path.suffix[1:], output=str(one))  # type: ignore[arg-type]
        header, body = one.read_bytes().split(b"\n", 1) if path.suffix == ".csv" else (b"", one.read_bytes())
        with path.open("wb") as file:
            file.write(header + b"\n" if header else b"")
            for _ in range(times):
                file.write(body)


# --- types ------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csvfiles, "BLOCK", 64)
    monkeypatch.setattr(jsonlines, "BLOCK", 64)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("early", "late", "type_"),
    [
        ("1", "2.5", "double"),
        ("1", "x", "string"),
        ("", "7", "int64"),
        ("", "x", "string"),
        ("2013-01-01", "2013-01-01 10:00:00", "timestamp[s]"),
        ("2013-01-01 10:00:00", "2013-01-01 10:00:00.5", "timestamp[ns]"),
        ("2013-01-01", "tomorrow", "string"),
        ("true", "maybe", "string"),
        ("1.5", "n", "string"),
    ],
)
def test_a_csv_column_gets_the_type_that_fits_all_its_rows(tmp_path: Path, early: str, late: str, type_: str):
    rows = [f"{number},{early}" for number in range(40)] + [f"41,{late}"]
    source = write(tmp_path, "a.csv", "n,x\n" + "\n".join(rows) + "\n")

    made = pyarrow.feather.read_table(table(source, "feather"))

    assert str(made.schema.field("x").type) == type_
    assert made.num_rows == 41
    assert made["n"].to_pylist() == [*range(40), 41]
    if type_ == "string":
        assert made["x"].to_pylist() == [early or None] * 40 + [late]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("early", "late", "type_"),
    [
        ("1", "2.5", "double"),
        ("null", '"x"', "string"),
        ('"2013-01-01"', '"2013-01-01T10:00:00"', "timestamp[s]"),
        ('"2013-01-01T10:00:00Z"', '"2013-01-01T10:00:00.25+01:00"', "timestamp[ns, tz=UTC]"),
        ('"2013-01-01"', '"tomorrow"', "string"),
        ('{"a": 1}', '{"b": [1.5]}', "struct<a: int64, b: list<item: double>>"),
    ],
)
def test_a_json_field_gets_the_type_that_fits_all_its_lines(tmp_path: Path, early: str, late: str, type_: str):
    lines = [f'{{"n": {number}, "x": {early}}}' for number in range(40)] + [f'{{"x": {late}, "new": 1}}']
    source = write(tmp_path, "a.jsonl", "\n".join(lines) + "\n")

    made = pyarrow.feather.read_table(table(source, "feather"))

    assert str(made.schema.field("x").type) == type_
    assert made["n"].to_pylist() == [*range(40), None]
    assert made["new"].to_pylist() == [None] * 40 + [1]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("late", ['"text"', "true", "[1]", '{"a": 1}'])
@pytest.mark.parametrize("rows", [1, 40])
def test_a_json_field_that_no_type_fits_is_named_with_its_line(tmp_path: Path, late: str, rows: int):
    lines = ['{"x": 1}'] * rows + ["", f'{{"x": {late}}}', '{"x": 2}']
    source = write(tmp_path, "a.jsonl", "\n".join(lines))

    with pytest.raises(InputError, match=rf"a\.jsonl, line ({rows + 2}|{rows + 3}): the column 'x' changes from"):
        table(source, "parquet")


def test_types_that_are_given_count(tmp_path: Path):
    source = write(tmp_path, "a.csv", "zip,n\n00123,1\n00456,2\n")
    made = pq.read_table(table(source, "parquet", column_types={"zip": "string", "n": "float32"}))
    assert made.to_pydict() == {"zip": ["00123", "00456"], "n": [1.0, 2.0]}
    assert made.schema.types == [pa.string(), pa.float32()]

    source = write(tmp_path, "a.jsonl", '{"t": "2013-01-01", "n": 1}\n')
    made = pq.read_table(table(source, "parquet", column_types={"t": "string", "n": "float64"}))
    assert made.to_pydict() == {"t": ["2013-01-01"], "n": [1.0]}


@pytest.mark.usefixtures("small_blocks")
def test_a_value_that_contradicts_its_given_type_is_named_with_line_column_and_cure(tmp_path: Path):
    source = write(tmp_path, "a.csv", "n,x\n" + "1,2\n" * 50 + '"3",soon\n')

    with pytest.raises(InputError, match=r"a\.csv, line 52, column 'x': 'soon' is not int64.*column_types"):
        table(source, "parquet", column_types={"x": "int64"})


def test_types_of_unknown_columns_and_unknown_types_are_refused(tmp_path: Path):
    for name, content in (("a.csv", "n\n1\n"), ("a.jsonl", '{"n": 1}\n')):
        source = write(tmp_path, name, content)
        with pytest.raises(InvalidArguments, match=r"'number' for column 'n' is not a type"):
            table(source, "parquet", column_types={"n": "number"})
    with pytest.raises(InvalidArguments, match="no column 'm'"):
        table(write(tmp_path, "a.csv", "n\n1\n"), "parquet", column_types={"m": "int64"})
    pq.write_table(MIXED, tmp_path / "a.parquet")
    with pytest.raises(InvalidArguments, match="says its types itself"):
        table(ref(tmp_path / "a.parquet"), "csv", column_types={"whole": "string"})


# --- bad and odd input ------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("row", ["4,5,6", "4", '4,"5\n6",7'])
def test_a_row_of_the_wrong_length_is_named_with_its_line(tmp_path: Path, row: str, zipped: bool):
    text = f'a,b\n1,2\n\n"x\ny",3\n{row}\n8,9\n'.encode()
    source = write(tmp_path, "bad.csv.gz" if zipped else "bad.csv", gzip.compress(text) if zipped else text)

    with pytest.raises(InputError, match=r"bad\.csv.*, line 6: it has \d fields where 2 were expected.*Correct"):
        table(source, "parquet")


@pytest.mark.parametrize("end", FORMATS)
def test_a_header_without_rows_becomes_a_table_without_rows(tmp_path: Path, end: str):
    for text in ("a,b\n", "a,b"):
        made = table(write(tmp_path, "h.csv", text), end)  # type: ignore[arg-type]
        if end in ("jsonl", "json"):
            assert made.read_bytes() == (b"" if end == "jsonl" else b"[]\n")
        elif end in ("csv", "tsv"):
            assert made.read_text() == ("a,b\n" if end == "csv" else "a\tb\n")
        else:
            assert read(made).schema.names == ["a", "b"]
            assert read(made).num_rows == 0


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_refused_with_the_reason(tmp_path: Path, content: str):
    with pytest.raises(InputError, match=r"e\.csv is empty: there is no header"):
        table(write(tmp_path, "e.csv", content), "parquet")
    with pytest.raises(InputError, match=r"e\.jsonl holds no rows.*column_types"):
        table(write(tmp_path, "e.jsonl", content), "parquet")
    made = table(write(tmp_path, "e.jsonl", content), "parquet", column_types={"a": "int64"})
    assert pq.read_table(made).schema == pa.schema([("a", pa.int64())])


@pytest.mark.parametrize(
    "name", ["x.parquet", "x.feather", "x.arrow", "x.orc", "x.xlsx", "x.json", "x.csv.gz", "x.jsonl.zst"]
)
@pytest.mark.parametrize("content", [b"rubbish that is no table at all", b""])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes):
    with pytest.raises(InputError, match=rf"^{name}"):
        table(write(tmp_path, name, content), "csv")


@pytest.mark.parametrize("start", ["csv.gz", "jsonl.gz", "json", "parquet", "feather", "orc"])
def test_a_file_that_is_cut_short_is_named_and_leaves_nothing_behind(tmp_path: Path, start: str, flights: Path):
    rows = pd.read_csv(flights, nrows=30_000)
    pq.write_table(pa.Table.from_pandas(rows), tmp_path / "w.parquet")
    kind, _, zipped = start.partition(".")
    whole = table(ref(tmp_path / "w.parquet"), kind, compression="gzip" if zipped else None)  # type: ignore[arg-type]
    source = write(tmp_path, f"cut.{start}", whole.read_bytes()[: whole.stat().st_size // 2])
    output = tmp_path / "out" / "new.csv"
    output.parent.mkdir()

    with pytest.raises(InputError, match=rf"^cut\.{start}"):
        table(source, "csv", output=str(output))
    assert list(output.parent.iterdir()) == []


def test_a_line_that_is_no_json_is_named(tmp_path: Path):
    for line, reason in (('{"a": 2', "line 3"), ("[1]", "line 3: it is not an object"), ("x", "line 3")):
        with pytest.raises(InputError, match=reason):
            table(write(tmp_path, "a.jsonl", f'{{"a": 1}}\n\n{line}\n{{"a": 3}}\n'), "csv")


def test_another_encoding_is_named_with_the_cure_and_read_when_it_is_given(tmp_path: Path):
    source = write(tmp_path, "a.csv", "name,n\nжил,1\n".encode("cp1251"))

    with pytest.raises(InputError, match=r"a\.csv is not UTF-8.*encoding='latin-1'"):
        table(source, "parquet")
    with pytest.raises(InputError, match=r"a\.csv is not UTF-8"):
        table(write(tmp_path, "a.csv", "жил,n\nx,1\n".encode("cp1251")), "parquet")
    source = write(tmp_path, "a.csv", "name,n\ncafé,1\n".encode("latin-1"))
    assert pq.read_table(table(source, "parquet", encoding="latin-1"))["name"].to_pylist() == ["café"]
    with pytest.raises(InvalidArguments, match="encoding"):
        table(source, "parquet", encoding="latin-99")
    with pytest.raises(InputError, match=r"b\.jsonl is not UTF-8"):
        table(write(tmp_path, "b.jsonl", '{"a": "é"}\n'.encode("latin-1")), "parquet")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    made = table(write(tmp_path, "a.csv", "\ufeffa,b\n1,2\n"), "jsonl")

    assert made.read_text() == '{"a":1,"b":2}\n'


def test_names_that_occur_twice_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="'a' occur more than once"):
        table(write(tmp_path, "a.csv", "a,b,a\n1,2,3\n"), "parquet")


def test_an_unknown_extension_is_refused_with_those_that_are_known(tmp_path: Path):
    for name in ("a.xls", "a", "a.parquet.gz"):
        with pytest.raises(InputError, match=rf"{name}: can't tell.*\.csv"):
            table(write(tmp_path, name, "x"), "csv")
    with pytest.raises(InputNotFound):
        table(FileRef(str(tmp_path / "no.csv"), "no.csv"), "jsonl")


# --- missing values, delimiters, compression ----------------------------------------------------------


def test_words_for_missing_values_are_missing_unless_they_are_quoted(tmp_path: Path):
    source = write(tmp_path, "a.csv", 'x,y\nNA,1\n"NA",\n,NaN\n"",2\n')

    made = pq.read_table(table(source, "parquet")).to_pydict()
    assert made == {"x": [None, "NA", None, ""], "y": [1, None, None, 2]}
    made = pq.read_table(table(source, "parquet", null_values=["NaN", ""])).to_pydict()
    assert made["x"] == ["NA", "NA", None, ""]
    made = pq.read_table(table(source, "parquet", quoted_strings_can_be_null=True)).to_pydict()
    assert made["x"] == [None, None, None, None]


def test_nan_is_a_missing_value_in_text_and_stays_what_it_is_elsewhere(tmp_path: Path):
    pq.write_table(pa.table({"n": [1, 2, 3, 4], "x": [1.5, float("nan"), None, float("inf")]}), tmp_path / "a.parquet")
    source = ref(tmp_path / "a.parquet")

    assert str(pyarrow.feather.read_table(table(source, "feather"))["x"].to_pylist()) == "[1.5, nan, None, inf]"
    lines = table(source, "jsonl").read_text().splitlines()
    assert [json.loads(line)["x"] for line in lines] == [1.5, None, None, None]
    made = table(source, "csv")
    assert made.read_text() == "n,x\n1,1.5\n2,nan\n3,\n4,inf\n"
    assert pq.read_table(table(ref(made), "parquet"))["x"].null_count == 2
    assert pd.read_csv(made)["x"].tolist()[3] == float("inf")


def test_another_delimiter_leaves_the_cells_as_they_are_written(tmp_path: Path):
    source = write(tmp_path, "a.csv", 'zip;price;note\n00123;1.50;"a;b"\n007;NA;\n;2,5;""\n')

    made = table(source, "csv", delimiter=";", output_delimiter="\t")

    assert made.read_bytes() == b'zip\tprice\tnote\n00123\t1.50\ta;b\n007\t\t\n\t2,5\t""\n'
    made = table(source, "csv", delimiter=";")
    assert made.read_bytes() == b'zip,price,note\n00123,1.50,a;b\n007,,\n,"2,5",""\n'


def test_a_delimiter_is_the_sources_where_it_is_a_csv_and_the_targets_where_it_is_not(tmp_path: Path):
    source = write(tmp_path, "a.csv", "a;b\n1;2\n")
    there = table(source, "jsonl", delimiter=";")

    assert there.read_text() == '{"a":1,"b":2}\n'
    assert table(ref(there), "csv", delimiter=";").read_text() == "a;b\n1;2\n"
    assert table(write(tmp_path, "t.tsv", "a\tb\n1\t2\n"), "jsonl").read_text() == '{"a":1,"b":2}\n'
    for bad in ("", ";;", '"', "\n", "é"):
        with pytest.raises(InvalidArguments, match="delimiter"):
            table(source, "csv", output_delimiter=bad)


def test_what_is_written_as_csv_pythons_own_reader_understands(tmp_path: Path):
    pq.write_table(MIXED, tmp_path / "mixed.parquet")

    with table(ref(tmp_path / "mixed.parquet"), "csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert [row["text"] for row in rows] == ["plain", 'with "quotes", commas\nand lines', ""]
    assert [row["number"] for row in rows] == ["1.0", "0.1", ""]
    assert rows[0]["zoned"] == "2013-06-01 12:30:15.123456000Z"


def test_a_single_column_keeps_its_empty_rows(tmp_path: Path):
    for values in ([1, None, 3], ["a", None, "", "b"]):
        pq.write_table(pa.table({"x": values}), tmp_path / "a.parquet")
        made = table(ref(table(ref(tmp_path / "a.parquet"), "csv")), "jsonl")
        assert [json.loads(line)["x"] for line in made.read_text().splitlines()] == values


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_is_zipped_and_unzipped_by_its_name(tmp_path: Path, kind: str):
    source = write(tmp_path, "a.csv.gz", gzip.compress(b"a,b\n1,2\n"))
    output = tmp_path / f"b.{kind}.gz"

    assert table(source, kind, output=str(output)) == output  # type: ignore[arg-type]
    assert gzip.decompress(output.read_bytes()) == table(source, kind).read_bytes()  # type: ignore[arg-type]
    assert table(source, kind, compression="gzip").name == f"a.{kind}.gz"  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "lz4", "none"])
def test_parquet_is_compressed_as_asked(tmp_path: Path, compression: str):
    made = table(write(tmp_path, "a.csv", "a\n1\n"), "parquet", compression=compression)  # type: ignore[arg-type]

    found = pq.ParquetFile(made).metadata.row_group(0).column(0).compression.lower()
    assert found == {"none": "uncompressed"}.get(compression, compression)


def test_a_compression_that_the_format_does_not_know_is_refused(tmp_path: Path):
    with pytest.raises(InvalidArguments, match="csv takes one of none, gzip, zstd, bz2, got 'snappy'"):
        table(write(tmp_path, "a.csv", "a\n1\n"), "csv", compression="snappy")


# --- what only some formats hold ------------------------------------------------------------------------


def test_nested_columns_go_to_json_and_are_refused_by_csv(tmp_path: Path):
    nested = pa.table({"l": [[1, 2], None], "s": [{"a": 1}, {"a": None}]})
    pq.write_table(nested, tmp_path / "n.parquet")

    made = table(ref(tmp_path / "n.parquet"), "jsonl")

    assert [json.loads(line) for line in made.read_text().splitlines()] == nested.to_pylist()
    with pytest.raises(InvalidArguments, match=r"column 'l' holds list.*CSV can't"):
        table(ref(tmp_path / "n.parquet"), "csv")


def test_categories_stay_categories_though_each_row_group_has_its_own(tmp_path: Path):
    frame = pd.DataFrame({"c": pd.Categorical(["x", "y", None, "z", "x", "w"])})
    with pq.ParquetWriter(tmp_path / "c.parquet", pa.Schema.from_pandas(frame)) as writer:
        for part in (frame[:3], frame[3:]):
            part = part.assign(c=part["c"].cat.remove_unused_categories())
            writer.write_table(pa.Table.from_pandas(part, preserve_index=False))

    made = table(ref(tmp_path / "c.parquet"), "feather")

    found = pyarrow.feather.read_feather(made)["c"]
    assert isinstance(found.dtype, pd.CategoricalDtype)
    assert found.astype(object).where(found.notna(), None).tolist() == ["x", "y", None, "z", "x", "w"]
    assert table(ref(made), "csv").read_text() == "c\nx\ny\nNA\nz\nx\nw\n"


def test_a_parquet_files_row_groups_gather_many_batches(flights: Path):
    made = pq.ParquetFile(table(ref(flights), "parquet"))

    assert made.metadata.num_row_groups == 1


def test_an_arrow_stream_is_read_as_well(tmp_path: Path):
    path = tmp_path / "s.arrow"
    with pa.ipc.new_stream(path, MIXED.schema) as writer:
        writer.write_table(MIXED)

    assert pq.read_table(table(ref(path), "parquet")).equals(MIXED)
