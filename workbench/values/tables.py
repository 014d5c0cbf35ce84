"""Tables from files, by the file's extension, with errors that say which file, which line, and what to do."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from workbench.core.errors import InputError, WorkbenchError
from workbench.values import bounds, frugality
from workbench.values.unpacking import unpacked


class _Format(NamedTuple):
    """How a format is read: each takes the open file, and its name for what it says."""

    frame: Callable[[BinaryIO, str], Any]
    table: Callable[[BinaryIO, str], Any]


def read_frame(path: Path, name: str) -> Any:
    """Read a pandas.DataFrame.

    Parameters
    ----------
    path
        The file; in the store it has no telling name.
    name
        Its name, whose extension says how to read it.

    Raises
    ------
    InputError
        If the extension isn't known, or the file is damaged; `InputTooLarge` if it takes more memory than there is.
    """
    return _read(path, name, lambda format_: format_.frame)


def read_table(path: Path, name: str) -> Any:
    """Read a pyarrow.Table. As `read_frame`; text is read by Arrow's own readers."""
    return _read(path, name, lambda format_: format_.table)


def _read(path: Path, name: str, choose: Callable[[_Format], Callable[[BinaryIO, str], Any]]) -> Any:
    lower = name.lower()
    zipped = lower.endswith(".gz")
    extension = Path(lower.removesuffix(".gz")).suffix
    format_ = _FORMATS.get(extension)
    if format_ is None or (zipped and extension not in _TEXT):
        raise InputError(
            f"{name}: can't tell from its name how to read it as a table. Known extensions: {', '.join(_FORMATS)}; "
            f"{', '.join(_TEXT)} also with .gz. Rename the file"
        )
    with _explained(path, name, zipped), _opened(path, name, zipped) as file:
        if extension not in _TEXT:
            return choose(format_)(file, name)
        with bounds.bounded_text(file, name) as text:
            return choose(format_)(text, name)


@contextlib.contextmanager
def _opened(path: Path, name: str, zipped: bool) -> Iterator[Any]:
    with unpacked(gzip.open(path, "rb"), path, name) if zipped else path.open("rb") as file:
        yield file


@contextlib.contextmanager
def _explained(path: Path, name: str, zipped: bool) -> Iterator[None]:
    """Translate what pandas's and pyarrow's readers raise into an `InputError` with the file's name and line."""
    import pandas as pd
    import pyarrow as pa

    try:
        yield
    except WorkbenchError:
        raise
    except (MemoryError, pa.ArrowCapacityError) as error:  # Arrow's and numpy's among them
        raise bounds.too_large(name) from error
    except RecursionError:
        raise bounds.nested(name) from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{name} is empty: there is no header to name the columns. Write the file again") from None
    except pd.errors.ParserWarning as error:
        raise InputError(
            f"{name}: a row has more fields than the header names. Correct the row, or name the columns"
        ) from error
    except pd.errors.ParserError as error:
        if "out of memory" in str(error):
            raise bounds.too_large(name) from error
        raise InputError(_bad_row(name, str(error))) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8 (byte {error.object[error.start]:#04x}). Convert it first: "
            f"iconv -f latin1 -t utf-8 {name}"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{name} can't be unzipped: {error}. It is cut short or damaged: get the file again"
        ) from error
    except pa.ArrowException as error:
        raise InputError(_bad_row(name, str(error))) from error
    except OSError as error:
        if error.errno is not None:  # the file server's, not the file's
            raise
        raise InputError(_bad_row(name, str(error))) from error
    except ValueError as error:
        line = _bad_json_line(path, name, zipped) if ".jsonl" in name.lower() else None
        where = f"{name}, line {line}" if line else name
        raise InputError(f"{where}: {error}. Correct it, or get the file again") from error
    except Exception as error:  # what a hostile file says of itself makes the libraries raise whatever they like
        raise InputError(_bad_row(name, f"{type(error).__name__}: {error}")) from error


def _bad_row(name: str, text: str) -> str:
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text):
        expected, line, seen = found.groups()
        return (
            f"{name}, line {line}: it has {seen} fields where {expected} were expected. "
            "Correct the row, or quote the field that holds the separator"
        )
    if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text):
        line, expected, seen = found.groups()
        return (
            f"{name}, line {line}: it has {seen} fields where {expected} were expected. "
            "Correct the row, or quote the field that holds the separator"
        )
    return f"{name}: {text.strip()}. The file is damaged, or not what its name says: get it again, or rename it"


def _bad_json_line(path: Path, name: str, zipped: bool) -> int | None:
    with contextlib.suppress(OSError, EOFError, zlib.error), _opened(path, name, zipped) as file:
        for number, line in enumerate(file, 1):
            try:
                json.loads(line) if line.strip() else None
            except (ValueError, RecursionError):
                return number
    return None


# --- the formats ------------------------------------------------------------------------------------


def _csv_frame(file: BinaryIO, name: str) -> Any:
    import pandas as pd

    bounds.check_header(file, b",", name)
    # Rows longer than the header are an error; left to itself, pandas would take their first fields for an index.
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(file, index_col=False)


def _csv_table(file: BinaryIO, name: str) -> Any:
    return _arrow_csv(file, name, ",")


def _tsv_frame(file: BinaryIO, name: str) -> Any:
    import pandas as pd

    bounds.check_header(file, b"\t", name)
    return pd.read_csv(file, sep="\t")


def _tsv_table(file: BinaryIO, name: str) -> Any:
    return _arrow_csv(file, name, "\t")


def _arrow_csv(file: BinaryIO, name: str, separator: str) -> Any:
    import pyarrow as pa
    import pyarrow.csv

    columns = bounds.check_header(file, separator.encode(), name)
    block = bounds.check_delimited(file, columns, separator.encode(), name)
    # In one thread it tells a bad row's number, and has in memory only what was counted.
    read = pyarrow.csv.ReadOptions(use_threads=False, block_size=block)
    with frugality.for_width(columns):
        table = pyarrow.csv.read_csv(file, read, pyarrow.csv.ParseOptions(delimiter=separator))
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise ValueError(f"the column {field.name!r} is not UTF-8, so that it can't be read as text")
    return table


def _jsonl_frame(file: BinaryIO, name: str) -> Any:
    import pandas as pd

    return pd.read_json(file, lines=True)


def _jsonl_table(file: BinaryIO, name: str) -> Any:
    import pyarrow.json

    block = bounds.check_json_lines(file, name)
    return pyarrow.json.read_json(file, pyarrow.json.ReadOptions(use_threads=False, block_size=block))


def _json_frame(file: BinaryIO, name: str) -> Any:
    import pandas as pd

    return pd.read_json(file, orient="records")


def _json_table(file: BinaryIO, name: str) -> Any:
    import pyarrow as pa

    rows = json.load(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it isn't a list of records: [{…}, {…}]")
    names = dict.fromkeys(column for row in rows for column in row)  # of all rows: Arrow goes by the first one's
    bounds.check_columns(len(names), name)
    bounds.check_rows(name, len(rows), pa.schema([(column, pa.int64()) for column in names]))
    return pa.table({column: [row.get(column) for row in rows] for column in names})


def _parquet_frame(file: BinaryIO, name: str) -> Any:
    import pandas as pd

    _check_parquet(file, name)
    return pd.read_parquet(file, engine="pyarrow")


def _parquet_table(file: BinaryIO, name: str) -> Any:
    import pyarrow.parquet

    _check_parquet(file, name)
    return pyarrow.parquet.ParquetFile(file).read()


def _check_parquet(file: BinaryIO, name: str) -> None:
    import pyarrow.parquet

    parquet = pyarrow.parquet.ParquetFile(file)
    bounds.check_rows(name, parquet.metadata.num_rows, parquet.schema_arrow)
    file.seek(0)


def _arrow_table(file: BinaryIO, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.feather

    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"FEA1"):
        raise InputError(f"{name} is Feather version 1: write it again with today's pandas or pyarrow")
    if magic == b"ARROW1":
        table = pyarrow.feather.read_table(file)
    else:
        with pa.ipc.open_stream(file) as reader:
            table = reader.read_all()
    table.validate(full=True)  # an offset that leads out of its buffer would crash whoever follows it
    return table


def _arrow_frame(file: BinaryIO, name: str) -> Any:
    table = _arrow_table(file, name)
    bounds.check_rows(name, table.num_rows, table.schema)
    return table.to_pandas()


_CSV, _TSV = _Format(_csv_frame, _csv_table), _Format(_tsv_frame, _tsv_table)
_JSONL, _ARROW = _Format(_jsonl_frame, _jsonl_table), _Format(_arrow_frame, _arrow_table)
_FORMATS = {
    ".csv": _CSV,
    ".tsv": _TSV,
    ".jsonl": _JSONL,
    ".json": _Format(_json_frame, _json_table),
    ".parquet": _Format(_parquet_frame, _parquet_table),
    ".feather": _ARROW,
    ".arrow": _ARROW,
}
_TEXT = (".csv", ".tsv", ".jsonl", ".json")
