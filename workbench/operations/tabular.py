"""What the table converters share: which format a file is in, how its types are joined, how its errors read.

The formats themselves are in `csvfiles`, `jsonlines` and `columnar`. Each has a reader, which yields record batches of
one schema, and a writer, which takes them; so any format becomes any other one without being loaded whole.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, NoReturn, Protocol

from workbench.core.errors import InputError, InvalidArguments

TableFormat = Literal["csv", "jsonl", "parquet", "feather"]
Compression = Literal["none", "gzip", "zstd", "snappy", "lz4", "brotli"]
Write = Callable[[Any], None]

_EXTENSIONS: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
}
TEXT = ("csv", "jsonl")


class Source(NamedTuple):
    """A table's file."""

    path: Path
    name: str  # as the user knows it
    format: TableFormat
    zipped: bool

    @property
    def stem(self) -> str:
        """The name without the extensions that say the format."""
        return Path(self.name[: -len(".gz")] if self.zipped else self.name).stem or "table"

    @property
    def tabs(self) -> bool:
        """Whether the name promises tabs between the fields."""
        return Path(self.name.lower().removesuffix(".gz")).suffix == ".tsv"

    def open(self) -> BinaryIO:
        """Open the file, unzipped."""
        return gzip.open(self.path, "rb") if self.zipped else self.path.open("rb")  # type: ignore[return-value]


class Options(NamedTuple):
    """What `convert.table` was asked for, as far as reading text is concerned."""

    delimiter: str
    column_types: dict[str, Any]  # name → pyarrow.DataType
    null_values: tuple[str, ...] | None
    quoted_strings_can_be_null: bool
    encoding: str
    as_text: bool  # leave what has no type in `column_types` as it is written


class Reader(Protocol):
    """Reads one table, as often as asked."""

    def open(self) -> AbstractContextManager[tuple[Any, Iterator[Any]]]:
        """Open the table: its `pyarrow.Schema` and its record batches. Iterating may raise `Contradicted`."""

    def settle(self) -> None:
        """Look at every row to find types that fit them all; the next `open` uses these."""


class Contradicted(Exception):
    """A later row doesn't fit the types that the first rows suggested."""


def source_of(path: Path, name: str) -> Source:
    """Tell a table's format by its name.

    Raises
    ------
    InputError
        If the extension isn't known.
    """
    lower = name.lower()
    zipped = lower.endswith(".gz")
    format_ = _EXTENSIONS.get(Path(lower.removesuffix(".gz")).suffix)
    if format_ is None or (zipped and format_ not in TEXT):
        raise InputError(
            f"{name}: can't tell from its name how to read it as a table. Known extensions: {', '.join(_EXTENSIONS)}; "
            "those of text also with .gz. Rename the file"
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
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(
            f"{source.name}: the column names {', '.join(map(repr, twice[:5]))} occur more than once. Rename them"
        )


def check_typed(types: dict[str, Any], names: list[str], source: Source) -> None:
    """Raise `InvalidArguments` if a type is given for a column that isn't there."""
    for column in types:
        if column not in names:
            raise InvalidArguments(
                f"column_types: {source.name} has no column {column!r}. Its columns: {', '.join(names[:20])}"
            )


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
        f"{source.name} is not {'UTF-8' if encoding == 'utf8' else encoding}: pass its encoding, e.g. "
        f"encoding='latin-1'"
        if source.format == "csv"
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
        return column.cast(pa.timestamp(type_.unit, "UTC")).cast(pa.string())
    text = column.cast(pa.string())
    if pa.types.is_floating(type_):  # Arrow writes 1.0 as 1, which would read back as a whole number
        whole = pc.match_substring_regex(text, r"^-?\d+$")
        text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    return text


def pieces(batches: Iterator[Any], rows: int) -> Iterator[Iterator[Any]]:
    """Cut batches into pieces of so many rows. Use up each piece before the next one is asked for."""
    rest: list[Any] = []

    def piece() -> Iterator[Any]:
        left = rows
        while left:
            batch = rest.pop() if rest else next(batches, None)
            if batch is None:
                return
            if batch.num_rows > left:
                rest.append(batch.slice(left))
                batch = batch.slice(0, left)
            left -= batch.num_rows
            yield batch

    while (first := rest.pop() if rest else next(batches, None)) is not None:
        if first.num_rows:
            rest.append(first)
            yield piece()


def at_least_one(items: Iterator[Iterator[Any]]) -> Iterator[Iterator[Any]]:
    """Yield the items, or an empty one where there are none."""
    none = True
    for item in items:
        none = False
        yield item
    if none:
        yield iter(())


def joint_schema(schemas: list[tuple[Source, Any]]) -> Any:
    """Return the schema that holds the rows of all sources: the first one's columns, of the narrowest types for all.

    Raises
    ------
    InvalidArguments
        If the sources differ in their columns, or nothing holds both of two types.
    """
    import pyarrow as pa

    first, joint = schemas[0]
    for source, schema in schemas[1:]:
        if set(schema.names) != set(joint.names):
            differing = ", ".join(sorted(set(schema.names) ^ set(joint.names)))
            raise InvalidArguments(
                f"sources: {first.name} and {source.name} differ in the columns {differing}: select the same ones first"
            )
        for position, name in enumerate(joint.names):
            left, right = joint.field(name).type, schema.field(name).type
            both = join_types(left, right, text=first.format == source.format == "csv")
            if both is None:
                raise InvalidArguments(
                    f"sources: column {name!r} is {left} in {first.name} and {right} in {source.name}, which no type "
                    "holds together: convert one of them first"
                )
            joint = joint.set(position, pa.field(name, both))
    return joint
