"""Tables from hostile files: refused in bounded time and memory, with an error that says what, and what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from tests.security import hostile_tables
from tests.security.limits import tried
from tests.security.received import read
from workbench.core.errors import InputError
from workbench.operations import context, registry
from workbench.values import bounds
from workbench.values.files import Files
from workbench.values.refs import FileRef

SECONDS = 20.0  # of processor time; most take less than one

Maker = Callable[[Path], Path]
CURE = "Convert, filter or aggregate it without loading it whole"

CASES: list[tuple[Maker, str, str]] = [
    (
        hostile_tables.parquet_of_many_rows,
        "InputTooLarge",
        "rows.parquet: it doesn't fit into the memory this process may use",
    ),
    (hostile_tables.parquet_of_one_long_text, "InputTooLarge", "texts.parquet: it doesn't fit into the memory"),
    (
        hostile_tables.parquet_whose_footer_is_longer_than_itself,
        "InputError",
        "footer.parquet: Parquet file size is 112 bytes, smaller than the size reported by footer's (2147483632bytes)",
    ),
    (
        hostile_tables.parquet_whose_footer_claims_a_billion_columns,
        "InputError",
        "thrift.parquet: Couldn't deserialize thrift",
    ),
    (hostile_tables.feather_of_many_rows, "InputTooLarge", "rows.feather: it doesn't fit into the memory"),
    (
        hostile_tables.feather_whose_offsets_lead_out,
        "InputError",
        "offsets.feather: In column 0: Invalid: Length spanned by binary offsets (1073741824) larger than values array",
    ),
    (hostile_tables.feather_whose_categories_are_not_there, "InputError", "codes.feather: In column 0: "),
    (
        hostile_tables.arrow_whose_metadata_is_absurdly_long,
        "InputError",
        "metadata.arrow: Expected to read 2147483647 metadata bytes, but only read 100. The file is damaged",
    ),
    (
        hostile_tables.zipped_endless_line,
        "InputError",
        "MB: most likely a quote in it isn't closed. Close it, or get the file again",
    ),
    (
        hostile_tables.csv_of_a_million_columns,
        "InputTooLarge",
        "columns.csv has 1,000,000 columns, and a table of text may have 100,000. Write it with a row for each value",
    ),
    (hostile_tables.zipped_zeros, "InputTooLarge", "zeros.csv.gz: it"),
    (hostile_tables.lines_of_a_key_each, "InputTooLarge", "keys.jsonl: it "),
    (
        lambda directory: hostile_tables.lines_of_a_key_each(directory, "keys.json"),
        "InputTooLarge",
        "doesn't fit into the memory",
    ),
    (hostile_tables.nested_json, "InputError", "deep.json"),
    (hostile_tables.nested_lines, "InputError", "deep.jsonl"),
    (lambda directory: hostile_tables.nested_lines(directory, '{"a":', "}"), "InputError", "deep.jsonl"),
    (hostile_tables.unclosed_json, "InputError", "open.json"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Maker], Path]:
    """Make a file once for all tests that want it."""
    return functools.cache(lambda make: make(tmp_path_factory.mktemp("made")))


Made = Callable[[Maker], Path]


@pytest.mark.parametrize("kind", ["frame", "table"])
@pytest.mark.parametrize(("make", "error", "words"), CASES)
def test_a_hostile_file_is_refused_by_its_name_in_bounded_time_and_memory(
    make: Maker, error: str, words: str, kind: str, made: Made
) -> None:
    path = made(make)
    assert path.stat().st_size < 12_000_000
    went = tried(f"read({kind!r}, PATH)", PATH=path)
    assert (went.how, went.kind) == ("raised", error), went
    assert words in went.text, went
    assert went.text.startswith(path.name), went
    assert error != "InputTooLarge" or CURE in went.text or "Write it" in went.text or "write it again" in went.text
    assert went.seconds < SECONDS, went


@pytest.mark.parametrize("megabytes", [3, 10, 30, 100])
@pytest.mark.parametrize(
    "shape",
    [
        "digits",
        "letters",
        "nothing",
        "columns",
        "many columns",
        "long lines",
        "carriage returns",
        "quotes",
        "blank lines",
    ],
)
def test_arrow_reads_text_that_fits_and_is_spared_what_it_would_abort_on(
    shape: str, megabytes: int, tmp_path: Path
) -> None:
    """Where its reader runs out of memory it ends the process: that may not happen at any size."""
    path = hostile_tables.csv_of(shape, tmp_path, megabytes << 20)
    went = tried("read('table', PATH).num_rows", PATH=path)
    if megabytes == 100 and shape not in ("nothing", "long lines", "quotes", "blank lines"):
        assert went.kind == "InputTooLarge", went
    if went.how == "raised":
        assert went.kind in ("InputTooLarge", "InputError"), went
        assert went.text.startswith(path.name), went
    else:
        assert int(went.text) > 0 or shape == "blank lines", went


@pytest.mark.parametrize("kind", ["frame", "table"])
@pytest.mark.parametrize("shape", ["digits", "empty", "lists", "many columns", "long lines", "spaces", "endless line"])
def test_zipped_lines_of_json_without_end_are_refused_before_a_reader_runs_out_of_memory(
    shape: str, kind: str, tmp_path: Path
) -> None:
    path = hostile_tables.zipped_lines(shape, tmp_path)
    went = tried(f"read({kind!r}, PATH)", PATH=path)
    nothing = shape in ("empty", "spaces")
    assert went.kind == ("InputError" if nothing else "InputTooLarge"), went
    assert went.text.startswith(path.name), went
    assert not nothing or "nothing names" in went.text, went
    assert went.seconds < SECONDS, went


@pytest.mark.parametrize("to", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (hostile_tables.parquet_of_one_long_text, "ArrowMemoryError", "failed"),
        (hostile_tables.feather_of_many_rows, "ArrowMemoryError", "failed"),
        (hostile_tables.feather_whose_offsets_lead_out, "InputError", "offsets.feather: "),
        (hostile_tables.feather_whose_categories_are_not_there, "InputError", "codes.feather: "),
        (hostile_tables.zipped_endless_line, "InputError", "line.csv.gz: a row after line 1 is longer than"),
        (hostile_tables.csv_of_a_million_columns, "InputTooLarge", "columns.csv has 1,000,000 columns"),
        (hostile_tables.csv_of_one_name_for_all_columns, "InputError", "names.csv: the column names 'c' occur more"),
        (hostile_tables.nested_lines, "InputError", "deep.jsonl is nested too deeply to be a table"),
        (hostile_tables.lines_of_a_key_each, "ArrowMemoryError", "failed"),
    ],
)
def test_converting_a_hostile_file_ends_in_an_error_and_not_in_the_slots_death(
    make: Maker, error: str, words: str, to: str, made: Made
) -> None:
    path = made(make)
    went = tried(f"registry.get('convert.table').function(FileRef(PATH, Path(PATH).name), {to!r})", PATH=path)
    assert (went.how, went.kind) == ("raised", error), went
    assert words in went.text, went
    assert went.seconds < SECONDS, went


def test_twenty_million_rows_in_kilobytes_are_converted_in_bounded_memory_as_there_is_no_need_to_hold_them(
    tmp_path: Path,
) -> None:
    path = hostile_tables.parquet_of_many_rows(tmp_path, 20_000_000)
    went = tried(
        "registry.get('convert.table').function(FileRef(PATH, Path(PATH).name), 'parquet').stat().st_size",
        PATH=path,
        megabytes=300,
    )
    assert went.how == "returned", went


def test_two_hundred_million_rows_in_a_megabyte_are_described_on_disk(made: Made) -> None:
    path = made(hostile_tables.parquet_of_many_rows)
    assert path.stat().st_size < 1_000_000
    went = tried("registry.get('data.describe').function(PATH)['x']['count']", PATH=path)
    assert (went.how, went.text) == ("returned", "np.float64(200000000.0)"), went
    assert went.seconds < SECONDS, went


def test_a_table_of_a_third_of_the_memory_is_loaded(tmp_path: Path) -> None:
    """Its row groups are large, and what is freed of each must not stay mapped."""
    numbers = np.arange(3_600_000)
    pq.write_table(pa.table({f"c{number}": numbers for number in range(7)}), tmp_path / "t.parquet")
    call = "__import__('workbench.operations.datasets', fromlist=['Dataset']).Dataset.of(Path(PATH)).frame().shape"
    went = tried(call, PATH=tmp_path / "t.parquet", megabytes=668)
    assert went.text == "(3600000, 7)", went


def test_a_file_cut_short_anywhere_is_an_error_that_names_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(1000), "b": [f"text {n}" for n in range(1000)]})
    frame.to_parquet(tmp_path / "whole.parquet")
    frame.to_feather(tmp_path / "whole.feather")
    for whole in (tmp_path / "whole.parquet", tmp_path / "whole.feather"):
        data = whole.read_bytes()
        for length in (0, 3, 4, 8, 12, 100, len(data) // 2, len(data) - 9, len(data) - 1):
            cut = tmp_path / f"cut{whole.suffix}"
            cut.write_bytes(data[:length])
            for kind in ("frame", "table"):
                with pytest.raises(InputError, match=r"^cut\."):
                    read(kind, str(cut))


@pytest.mark.parametrize(
    ("operation", "options"),
    [
        ("data.sql", {"query": "SELECT sum(x) FROM t", "t": None}),
        ("data.describe", {"data": None}),
        ("data.groupby", {"data": None, "by": "k", "agg": {"x": "sum"}}),
    ],
)
def test_a_parquet_file_that_duckdb_cannot_read_is_named_with_the_cure(
    operation: str, options: dict[str, object], tmp_path: Path
) -> None:
    registry.load()
    path = tmp_path / "bad.parquet"
    pd.DataFrame({"x": [1.0, 2.0], "k": ["a", "b"]}).to_parquet(path)
    data = bytearray(path.read_bytes())
    data[4:24] = b"\xff" * 20  # where its first page says what is in it
    path.write_bytes(data)
    ref = FileRef(str(path), path.name)
    files = Files(str(tmp_path / "store"), [str(tmp_path)])
    with (
        files.holding() as hold,
        context.attempt(tmp_path / "scratch", hold, context.Attempt(memory_limit=10)),
        pytest.raises(InputError, match=r"^bad\.parquet can't be read: .* It is damaged: get it again$"),
    ):
        registry.get(operation).function(**{name: ref if value is None else value for name, value in options.items()})


def test_an_orc_file_cut_short_is_an_error_of_arrows_and_no_crash(tmp_path: Path) -> None:
    pyarrow.orc.write_table(pa.table({"a": range(1000), "b": [f"text {n}" for n in range(1000)]}), tmp_path / "a.orc")
    data = (tmp_path / "a.orc").read_bytes()
    for length in (3, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.orc").write_bytes(data[:length])
        went = tried("pyarrow.orc.read_table(PATH).num_rows", PATH=tmp_path / "cut.orc")
        assert went.how == "raised", (length, went)


# --- what isn't hostile -----------------------------------------------------------------------------


def test_a_long_line_and_many_columns_within_the_bounds_are_read(tmp_path: Path) -> None:
    long, wide, nested = tmp_path / "long.csv", tmp_path / "wide.csv", tmp_path / "nested.jsonl"
    long.write_text("a,b\n1," + "x" * 3_000_000 + "\n")
    wide.write_text(",".join(f"c{n}" for n in range(2000)) + "\n" + ",".join(["1"] * 2000) + "\n")
    nested.write_text('{"a": "' + "[" * 5000 + '"}\n{"a": "b"}\n')
    for kind in ("frame", "table"):
        assert read(kind, str(long)).shape == (1, 2)
        assert read(kind, str(wide)).shape == (1, 2000)
        assert read(kind, str(nested)).shape == (2, 1)


def test_records_of_json_keep_the_columns_that_the_first_one_lacks(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": 2, "b": "x"}]')
    assert read("table", str(tmp_path / "a.json")).to_pydict() == {"a": [1, 2], "b": [None, "x"]}


def test_brackets_in_strings_and_unbalanced_ones_do_not_count_as_depth() -> None:
    bounds.check_depth(b'{"a": "' + b"[" * 10_000 + b'\\"[[["}\n' * 2, "x")
    bounds.check_depth(b"[]" * 10_000, "x")
    for deep in (b"[" * 10_000, b'{"a":' * 10_000, b"[\r" * 10_000, b'"unclosed\n' + b"[" * 10_000):
        with pytest.raises(InputError, match="nested too deeply"):
            bounds.check_depth(deep, "x")


CONVERT = "registry.get('convert.table').function(FileRef(PATH, 'wide.csv'), {!r}).name"


@pytest.mark.parametrize("columns", [300, 3000])
@pytest.mark.parametrize("expression", ["read('table', PATH).num_columns", *map(CONVERT.format, ("parquet", "csv"))])
def test_a_wide_table_of_text_fits_as_a_narrow_one_does(expression: str, columns: int, tmp_path: Path) -> None:
    """Arrow reserves a megabyte for each column of text, and gives it back; where holes stay, they count."""
    path = wide(tmp_path / "wide.csv", columns, "text", 6_000_000)
    went = tried(expression, PATH=path)
    assert (went.how, went.text.strip("'").partition(".")[0]) == (
        "returned",
        str(columns) if "num_columns" in expression else "wide",
    ), went


@pytest.mark.parametrize(
    ("to", "columns", "words"),
    [
        ("parquet", 50_000, "wide.csv: a table of 50,000 columns, for each of which reading it takes 35.0 kB, doesn't"),
        ("orc", 100, "ORC: a table of 100 columns, for each of which its writer takes 4.7 MB, doesn't fit into the"),
    ],
)
def test_a_table_too_wide_for_its_reader_or_writer_is_refused_before_either_ends_the_process(
    to: str, columns: int, words: str, tmp_path: Path
) -> None:
    path = wide(tmp_path / "wide.csv", columns, "1.5", 1000)
    went = tried(CONVERT.format(to), PATH=path)
    assert (went.how, went.kind) == ("raised", "InputTooLarge"), went
    assert went.text.startswith(words), went


def test_a_table_too_wide_for_parquets_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.feather"
    pyarrow.feather.write_feather(pa.table({f"c{number}": [1.5] for number in range(20_000)}), path)
    went = tried("registry.get('convert.table').function(FileRef(PATH, 'wide.feather'), 'parquet')", PATH=path)
    assert (went.how, went.kind) == ("raised", "InputTooLarge"), went
    words = "Parquet: a table of 20,000 columns, for each of which its writer takes 30.0 kB, doesn't fit into the"
    assert went.text.startswith(words), went


def wide(path: Path, columns: int, value: str, size: int) -> Path:
    """Write a CSV of that many columns and bytes, of one row at least."""
    row = ",".join([value] * columns) + "\n"
    path.write_text(",".join(f"c{number}" for number in range(columns)) + "\n" + row * max(1, size // len(row)))
    return path
