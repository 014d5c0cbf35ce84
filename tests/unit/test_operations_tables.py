"""What an operation gets that asks for a table and is sent files: the same, whichever kind of table it asks for."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import signature
from workbench.operations.datasets import Dataset, from_wire
from workbench.operations.registry import operation
from workbench.values.arguments import to_wire
from workbench.values.files import Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def files(tmp_path: Path, root: Path) -> Files:
    return Files(str(tmp_path / "store"), [str(root)])


TABLE = pd.DataFrame({"a": [1, 2], "s": ["x", "y"]})
WRITERS = {
    "t.csv": lambda path: TABLE.to_csv(path, index=False),
    "t.csv.gz": lambda path: TABLE.to_csv(path, index=False),
    "T.TSV": lambda path: TABLE.to_csv(path, index=False, sep="\t"),
    "t.jsonl": lambda path: TABLE.to_json(path, orient="records", lines=True),
    "t.json": lambda path: TABLE.to_json(path, orient="records"),
    "t.parquet": TABLE.to_parquet,
    "t.feather": lambda path: pyarrow.feather.write_feather(TABLE, path),
    "t.arrow": lambda path: path.write_bytes(stream_of(pa.Table.from_pandas(TABLE))),
}


def stream_of(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_is_read_by_its_files_extension_also_from_the_store(name, files, tmp_path):
    WRITERS[name](tmp_path / name)
    ref = files.reference(tmp_path / name)
    assert ref.stored
    pd.testing.assert_frame_equal(from_wire("frame", ref, files), TABLE)
    assert from_wire("table", ref, files).to_pydict() == {"a": [1, 2], "s": ["x", "y"]}


@pytest.mark.parametrize("kind", ["frame", "table"])
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"a,b\n1,2\n3,4,5\n", r"t\.csv, line 3: it has 3 fields where 2"),
        ("t.csv", b"", r"t\.csv"),
        ("t.csv", b"a,b\n1,\xff\xfe\n", r"t\.csv"),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n" + random.Random(1).randbytes(3000).hex().encode(), mtime=0)[:-500],
            r"t\.csv\.gz.*(cut short|again)",
        ),
        ("t.csv.gz", b"a,b\n", r"t\.csv\.gz can't be unzipped"),
        ("t.parquet", b"PAR1 not really PAR1", r"t\.parquet"),
        ("t.arrow", b"junk", r"t\.arrow"),
        ("t.json", b'{"a"', r"t\.json"),
        ("t.xyz", b"", r"t\.xyz.*Known extensions: \.csv"),
        ("noextension", b"", "Known extensions"),
    ],
    ids=str,
)
def test_a_damaged_table_is_an_input_error_with_name_and_cure(kind, name, data, words, files, root):
    (root / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        from_wire(kind, files.reference(root / name), files)


def test_a_bad_line_of_json_is_named_by_its_number(files, root):
    (root / "t.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(InputError, match=r"t\.jsonl, line 2"):
        from_wire("frame", files.reference(root / "t.jsonl"), files)


def frame_of(files: Files, *paths: Path | str) -> pd.DataFrame:
    """What travels of these paths, as a worker makes a frame of it."""
    sent = to_wire("frame", paths[0] if len(paths) == 1 else list(paths), files)
    return from_wire("frame", sent, files)


def test_one_list_of_what_is_missing_holds_for_every_kind_of_parameter(files, root):
    (root / "t.csv").write_text('word,quoted\nNA,"NA"\nnull,"null"\nx,"y"\n#NA,"z"\n')
    read = frame_of(files, root / "t.csv")
    pd.testing.assert_frame_equal(read, Dataset.of(root / "t.csv").frame())
    assert read["word"].isna().tolist() == [True, True, False, False]
    assert read["quoted"].isna().sum() == 0
    table = from_wire("table", to_wire("table", root / "t.csv", files), files)
    assert [column.null_count for column in table.columns] == [2, 0]


def test_several_files_and_a_glob_are_one_frame(files, root):
    for number in range(3):
        (root / f"part-{number}.csv").write_text(f"n\n{number}\n")
    assert frame_of(files, str(root / "part-*.csv"))["n"].tolist() == [0, 1, 2]
    assert frame_of(files, root / "part-2.csv", str(root / "part-0.csv"))["n"].tolist() == [2, 0]
    with pytest.raises(InvalidArguments, match="name at least one"):
        to_wire("dataset", [], files)


def test_a_list_of_text_is_no_table_where_something_else_may_be_meant(files):
    @operation("mine.either")
    def either(value: pd.DataFrame | list[str]) -> None:
        """Take either."""

    spec = signature.describe("mine.either", either)
    bound, _ = signature.bind(spec, [["a", "b"]], {}, lambda kind, value: to_wire(kind, value, files))
    assert bound == (["a", "b"],)


def test_a_row_of_a_tsv_that_is_too_long_is_an_error_and_moves_no_column(files, root):
    (root / "t.tsv").write_text("a\tb\n1\t2\t\n")
    with pytest.raises(InputError, match=r"t\.tsv, line 2: it has 3 fields where 2"):
        frame_of(files, root / "t.tsv")


def test_text_of_json_stays_text(files, root):
    (root / "t.json").write_text('[{"zip": "01234"}]')
    (root / "t.jsonl").write_text('{"zip": "01234"}\n')
    assert frame_of(files, root / "t.json")["zip"].tolist() == ["01234"]
    assert frame_of(files, root / "t.jsonl")["zip"].tolist() == ["01234"]


def test_names_that_occur_twice_are_refused_and_latin_1_is_read(files, root):
    (root / "twice.csv").write_text("a,a\n1,2\n")
    with pytest.raises(InputError, match="the column names 'a' occur more than once"):
        frame_of(files, root / "twice.csv")
    (root / "latin.csv").write_bytes("name\nJosé Muñoz\nZoë Brontë\n".encode("latin-1"))
    assert frame_of(files, root / "latin.csv")["name"].tolist() == ["José Muñoz", "Zoë Brontë"]


def test_an_encoding_that_shows_late_is_told_as_one_that_shows_at_once(files, root):
    (root / "late.csv").write_bytes(b"n,t\n" + b"1,a\n" * 300_000 + "1,café\n".encode("latin-1"))
    assert frame_of(files, root / "late.csv")["t"].iloc[-1] == "café"
    assert Dataset.of(root / "late.csv").frame()["t"].iloc[-1] == "café"


def test_an_encoding_that_shows_in_a_first_row_of_megabytes_is_told(files, root):
    (root / "t.csv").write_bytes(b"n,t\n1," + b"x" * 2_000_000 + "é\n".encode("latin-1"))
    assert frame_of(files, root / "t.csv")["t"].iloc[0][-2:] == "xé"


def test_a_column_without_a_name_is_called_as_pandas_calls_it(files, root):
    TABLE.to_csv(root / "t.csv")
    pd.testing.assert_frame_equal(frame_of(files, root / "t.csv"), pd.read_csv(root / "t.csv"))
    TABLE.to_excel(root / "t.xlsx", engine="xlsxwriter")
    assert list(frame_of(files, root / "t.xlsx").columns) == ["Unnamed: 0", "a", "s"]


def test_types_of_several_files_are_joined_before_they_are_read(files, root):
    (root / "a.csv").write_text("zip,price,id\n01234,1.50,\n")
    (root / "b.csv").write_text("zip,price,id\nA1,free,9007199254740993\n")
    read = frame_of(files, root / "a.csv", root / "b.csv")
    assert read["zip"].tolist() == ["01234", "A1"]
    assert read["price"].tolist() == ["1.50", "free"]
    assert read["id"].iloc[1] == 9007199254740993
    (root / "a.jsonl").write_text('{"at": "2024-01-01T00:00:00Z"}\n')
    (root / "b.jsonl").write_text('{"at": "soon"}\n')
    assert frame_of(files, root / "a.jsonl", root / "b.jsonl")["at"].tolist() == ["2024-01-01T00:00:00Z", "soon"]


def test_keys_that_floats_would_make_one_stay_apart(files, root):
    (root / "t.csv").write_text("id\n9007199254740992\n9007199254740993\n\n".replace("\n\n", "\nNA\n"))
    read = frame_of(files, root / "t.csv")
    assert read["id"].nunique() == 2
    assert str(read["id"].dtype) == "Int64"
    (root / "small.csv").write_text("id\n1\nNA\n")
    assert str(frame_of(files, root / "small.csv")["id"].dtype) == "float64"


def test_a_field_longer_than_a_block_is_read_and_a_quote_that_is_not_closed_is_told(files, root, monkeypatch):
    (root / "long.csv").write_text("a,b\n1,x\n2," + "y" * 3_000_000 + "\n3.5,z\n")
    assert frame_of(files, root / "long.csv")["b"].str.len().tolist() == [1, 3_000_000, 1]
    monkeypatch.setattr("workbench.operations.csvfiles.LONGEST", 4 << 20)
    (root / "open.csv").write_text('a,b\n1,x\n2,"' + "y" * 5_000_000 + "\n" + "3,z\n" * 1_500_000)
    with pytest.raises(InputError, match=r"open\.csv: a row after line 2 is longer than 4\.2 MB: most likely a quote"):
        frame_of(files, root / "open.csv")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_quote_that_is_not_closed_swallows_no_rows(files, root, name, end):
    pack = gzip.compress if name.endswith("gz") else bytes
    (root / name).write_bytes(pack(f'a,b\n1,x\n2,"y\n3,z{end}'.encode()))
    with pytest.raises(InputError, match=r"t\.csv(\.gz)?, line 3: a quote isn't closed"):
        frame_of(files, root / name)
    (root / name).write_bytes(pack(f'a,b\n1,x\n2,"y\n3,z\n"{end}'.encode()))
    assert frame_of(files, root / name)["b"].tolist() == ["x", "y\n3,z\n"]


def test_what_numbers_would_change_stays_text(files, root):
    (root / "t.csv").write_text(
        "long,hexadecimal,answer,share\n18446744073709551615,12,1,1\n18446744073709551614,0x1F,0,0.5\nNA,3,True,2\n"
    )
    read = frame_of(files, root / "t.csv")
    assert read["long"].dropna().tolist() == ["18446744073709551615", "18446744073709551614"]
    assert read["hexadecimal"].tolist() == ["12", "0x1F", "3"]
    assert read["answer"].tolist() == ["1", "0", "True"]
    assert read["share"].tolist() == [1.0, 0.5, 2.0]
    (root / "late.csv").write_text("long\n" + "1\n" * 600_000 + "18446744073709551615\n18446744073709551614\n")
    assert frame_of(files, root / "late.csv")["long"].iloc[-1] == "18446744073709551614"
