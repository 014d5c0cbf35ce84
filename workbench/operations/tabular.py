"""What the table converters share: which format a file is in, how its types are joined, how its errors read.

The formats themselves are in `csvfiles`, `jsonlines`, `columnar` and `workbooks`; `formats` finds them. Each has a
reader, which yields record batches of one schema, and a writer, which takes them; so any format becomes any other one
without being loaded whole.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal, NamedTuple, NoReturn, Protocol

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.values import bounds
from workbench.values.unpacking import unpacked

TableFormat = Literal["csv", "tsv", "jsonl", "json", "parquet", "feather", "arrow", "orc", "xlsx"]
Compression = Literal["none", "gzip", "zstd", "bz2", "snappy", "lz4", "brotli", "zlib"]
BadRows = Literal["error", "skip", "warn"]
Write = Callable[[Any], None]

_EXTENSIONS: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "arrow",
    ".orc": "orc",
    ".xlsx": "xlsx",
}
NULLS = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "None", "<NA>")
"""What stands for a missing value, unless it is in quotes: pandas's words without the exotic ones."""

TEXT = ("csv", "tsv", "jsonl", "json")
ZIPPED: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
"""Endings of text files that are compressed as a whole."""


class Source(NamedTuple):
    """A table's file."""

    path: Path
    name: str  # as the user knows it
    format: TableFormat
    zipped: Compression | None  # as a whole: text only

    @property
    def stem(self) -> str:
        """The name without the extensions that say the format."""
        return Path(Path(self.name).stem if self.zipped else self.name).stem or "table"

    @property
    def delimited(self) -> bool:
        """Whether it is a CSV, by whichever name."""
        return self.format in ("csv", "tsv")

    def open(self) -> BinaryIO:
        """Open the file, unzipped."""
        if self.zipped is None:
            return self.path.open("rb")
        if self.zipped == "gzip":
            return unpacked(gzip.open(self.path, "rb"), self.path, self.name)
        import pyarrow as pa

        return unpacked(pa.input_stream(str(self.path), self.zipped), self.path, self.name)


class Options(NamedTuple):
    """What `convert.table` was asked for, as far as reading is concerned."""

    delimiter: str | None = None  # None: a comma, or what the first lines leave no doubt of
    column_types: Mapping[str, Any] = MappingProxyType({})  # name → pyarrow.DataType
    null_values: tuple[str, ...] | None = None
    quoted_strings_can_be_null: bool = False
    encoding: str | None = None  # None: UTF-8, or what the file leaves no doubt of
    decimal: str = "."
    on_bad_rows: BadRows = "error"
    sheet: str | None = None
    as_text: bool = False  # leave what has no type in `column_types` as it is written


class BadRow(NamedTuple):
    """A row of a CSV that was left out."""

    line: int
    reason: str
    text: str


class Reader(Protocol):
    """Reads one table, as often as asked."""

    def open(self) -> AbstractContextManager[tuple[Any, Iterator[Any]]]:
        """Open the table: its `pyarrow.Schema` and its record batches. Iterating may raise `Contradicted`."""

    def settle(self) -> None:
        """Look at every row to find types that fit them all; the next `open` uses these."""

    def fit(self, types: Mapping[str, Any]) -> None:
        """Read columns with these types from now on, where the file leaves a choice: until the next `settle`."""

    def bad_rows(self) -> Iterable[BadRow]:
        """Return the rows that the latest reading has left out."""


class Typed:
    """What the readers of files that say their types themselves have in common."""

    def settle(self) -> None:
        """Do nothing: the file says its types."""

    def fit(self, types: Mapping[str, Any]) -> None:
        """Do nothing either."""

    def bad_rows(self) -> Iterable[BadRow]:
        """Return none: a damaged file of this kind is damaged as a whole."""
        return ()


class Contradicted(Exception):
    """A later row doesn't fit the types that the first rows suggested."""


def source_of(path: Path, name: str) -> Source:
    """Tell a table's format by its name.

    Raises
    ------
    InputError
        If the extension isn't known.
    """
    lower = Path(name.lower())
    zipped = ZIPPED.get(lower.suffix)
    format_ = _EXTENSIONS.get(Path(lower.stem).suffix if zipped else lower.suffix)
    if format_ is None or (zipped and format_ not in TEXT):
        raise InputError(
            f"{name}: can't tell from its name how to read it as a table. Known extensions: {', '.join(_EXTENSIONS)}; "
            f"those of text also with {', '.join(ZIPPED)}. Rename the file"
        )
    return Source(path, name, format_, zipped)


def types_of(column_types: dict[str, str] | None) -> dict[str, Any]:
    """Turn names of types into Arrow's.

    Raises
    ------
    InvalidArguments
        If a name isn't one.
    """
    import pyarrow as pa

    types = {}
    for column, name in (column_types or {}).items():
        try:
            types[column] = pa.type_for_alias(name)
        except (ValueError, TypeError, AttributeError):
            raise InvalidArguments(
                f"column_types: {name!r} for column {column!r} is not a type. Take Arrow's names: string, int64, "
                "float64, bool, date32, timestamp[s], timestamp[ns] …"
            ) from None
    return types


def check_names(names: list[str], source: Source) -> None:
    """Raise `InputError` if a column's name occurs twice, which most formats and pandas can't hold."""
    if source.format in TEXT:
        bounds.check_columns(len(names), source.name)
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in collections.Counter(names).items() if count > 1)
        raise InputError(
            f"{source.name}: the column names {', '.join(map(repr, twice[:5]))} occur more than once. Rename them"
        )


def check_known(asked: Iterable[str], names: list[str], source: Source, what: str) -> None:
    """Raise `InvalidArguments` if a column is asked for (`what` says by which parameter) that isn't there."""
    for column in asked:
        if column not in names:
            raise InvalidArguments(
                f"{what}: {source.name} has no column {column!r}. Its columns: {', '.join(names[:20])}"
            )


def note_wider(before: Any, after: Any, source: Source) -> None:
    """Note which columns got another type than the first rows suggested."""
    wider = [
        f"{field.name}: {before.field(field.name).type} → {field.type}"
        for field in after
        if field.name in before.names and before.field(field.name).type != field.type
    ]
    if wider:
        context.note(f"types of {source.name}", f"widened as later rows ask for: {', '.join(wider[:20])}")


def join_types(left: Any, right: Any, *, text: bool) -> Any:
    """Return the narrowest type that holds values of both.

    Parameters
    ----------
    left, right
        Arrow types that were inferred from different rows.
    text
        Whether any value can be read as a string, as in CSV; in JSON only what is written as one.

    Returns
    -------
    pyarrow.DataType or None
        None where nothing holds both.
    """
    import pyarrow as pa

    if left == right:
        return left
    times = [type_ for type_ in (left, right) if pa.types.is_timestamp(type_)]
    if len(times) == 1 and any(map(pa.types.is_date, (left, right))) and times[0].tz is None:
        return times[0]
    fields = [pa.schema([("x", type_)]) for type_ in (left, right)]
    with contextlib.suppress(pa.ArrowException):
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    return pa.string() if text or (written_as_text(left) and written_as_text(right)) else None


def written_as_text(type_: Any) -> bool:
    """Tell whether JSON writes values of this type as strings."""
    import pyarrow as pa

    return bool(pa.types.is_temporal(type_) or pa.types.is_string(type_))


def damaged(source: Source, reason: object) -> NoReturn:
    """Raise the `InputError` of a file that can't be read on."""
    raise InputError(f"{source.name}: {reason}. The file is damaged, or not what its name says: get it again") from None


def not_utf8(source: Source, encoding: str) -> InputError:
    """Make the error for text in another encoding."""
    return InputError(
        f"{source.name} is not {'UTF-8' if encoding == 'utf8' else encoding}, and what it is can't be told with "
        "certainty: pass its encoding, e.g. encoding='latin-1', 'cp1251' or 'shift_jis'"
        if source.delimited
        else f"{source.name} is not UTF-8, as JSON has to be. Convert it first: iconv -f latin1 -t utf-8"
    )


@contextlib.contextmanager
def unzipping(source: Source) -> Iterator[None]:
    """Translate what reading a damaged file raises while the block lasts."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{source.name} can't be unzipped: {error}. It is cut short or damaged: get the file again"
        ) from error
    except OSError as error:
        if error.errno is not None or source.zipped in (None, "gzip"):  # the disk's, not the file's
            raise
        raise InputError(
            f"{source.name} can't be unzipped: {error}. It is cut short or damaged: get the file again"
        ) from error


def iso_type(column: Any) -> Any:
    """Return the type of a column of text: a date or a timestamp if every value is one in ISO 8601, or `string`.

    Timestamps are all with a zone, which makes them UTC, or all without.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.drop_null(column)
    if not len(values):
        return pa.string()
    date = r"^\d{4}-\d{2}-\d{2}"
    clock = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
    if pc.all(pc.match_substring_regex(values, f"{date}$")).as_py():
        return _if_castable(values, pa.date32())
    zone = None
    if pc.all(pc.match_substring_regex(values, rf"{date}{clock}(Z|[+-]\d{{2}}:?\d{{2}})$")).as_py():
        zone = "UTC"
    elif not pc.all(pc.match_substring_regex(values, rf"{date}({clock})?$")).as_py():
        return pa.string()
    fractions = pc.any(pc.match_substring(values, ".")).as_py()
    return _if_castable(values, pa.timestamp("ns" if fractions else "s", zone))


def _if_castable(values: Any, type_: Any) -> Any:
    import pyarrow as pa

    try:
        values.cast(type_)
    except pa.ArrowInvalid:
        return pa.string()
    return type_


def is_text(type_: Any) -> bool:
    """Tell whether an Arrow type is one of text."""
    import pyarrow as pa

    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def as_text(column: Any) -> Any:
    """Return a column as strings: what has a zone as UTC with a Z, numbers so that they read back as the same type.

    Raises
    ------
    pyarrow.ArrowNotImplementedError
        For nested values.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    type_ = column.type
    if pa.types.is_dictionary(type_):
        return as_text(column.dictionary_decode())
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        # What is stored is in UTC already. Text of a time without a zone is made 40 times as fast as of one with.
        text = column.cast(pa.int64()).cast(pa.timestamp(type_.unit)).cast(pa.string())
        return pc.binary_join_element_wise(text, "Z", "")
    if is_text(type_):
        return column
    text = column.cast(pa.string())
    if pa.types.is_floating(type_):  # Arrow writes 1.0 as 1, which would read back as a whole number
        whole = pc.and_(pc.equal(pc.trunc(column), column), pc.less(pc.abs(column), 1e10))  # beyond, with an exponent
        if pc.any(whole).as_py():
            text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    return text
